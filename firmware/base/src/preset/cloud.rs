//! cloud-init's `user-data` and `network-config`, as far as Imager writes them. Called by the parent.
//!
//! Not a YAML parser: lines of `key: value`, and lists of `- value`, by their indentation. What is written in YAML's other ways is not
//! understood and so not obeyed. Invariant: each line is looked at once.

use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

use super::Preset;

/// A line: how far it is indented, and what it says.
struct Line<'a> {
    indent: usize,
    text: &'a str,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let lines = text.lines().map(|line| Line {
        indent: line.len() - line.trim_start_matches(' ').len(),
        text: line.trim(),
    });
    lines.filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
}

/// `key: value`; the value is empty where others follow below.
fn pair(text: &str) -> Option<(String, String)> {
    let end = match text.strip_prefix('"') {
        // A quoted key may hold colons.
        Some(rest) => {
            let mut escaped = false;
            let close = rest.char_indices().find(|(_, letter)| {
                let is_end = *letter == '"' && !escaped;
                escaped = *letter == '\\' && !escaped;
                is_end
            })?;
            close.0 + 2
        }
        None => text.find(':')?,
    };
    let (key, rest) = (text.get(..end)?, text.get(end..)?);
    Some((scalar(key), scalar(rest.strip_prefix(':')?.trim())))
}

/// A value without its quotes.
fn scalar(text: &str) -> String {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(inner) = inner('\'') {
        return inner.replace("''", "'");
    }
    match inner('"') {
        Some(inner) => unescape(inner),
        None => text.to_owned(),
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    let mut buffer = [0; 4];
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend(letter.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        match letters.next() {
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('r') => bytes.push(b'\r'),
            // Imager writes the bytes of a name this way, not code points.
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                bytes.extend(u8::from_str_radix(&digits, 16));
            }
            Some(other) => bytes.extend(other.encode_utf8(&mut buffer).as_bytes()),
            None => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn user_data(preset: &mut Preset, text: &str) {
    let mut keys = Vec::new();
    // The indentation of the list of keys, while it lasts.
    let mut list = None;
    for line in lines(text) {
        if let Some(indent) = list {
            match line.text.strip_prefix("- ") {
                Some(key) if line.indent >= indent => {
                    keys.push(scalar(key.trim()));
                    continue;
                }
                _ => list = None,
            }
        }
        let Some((key, value)) = pair(line.text) else {
            continue;
        };
        match (line.indent, key.as_str()) {
            (0, "hostname") => preset.name(Some(value)),
            (0, "timezone") => preset.time_zone(Some(value)),
            (_, "ssh_authorized_keys") if value.is_empty() => list = Some(line.indent),
            (_, "passwd") => preset.user(true),
            _ => {}
        }
    }
    preset.keys(keys);
}

pub(super) fn network_config(preset: &mut Preset, text: &str) {
    let (mut ssid, mut password, mut country, mut hidden) = (None, None, None, false);
    // The indentation of `access-points:`; what is next below it is the network's name.
    let mut points = None;
    for line in lines(text) {
        let Some((key, value)) = pair(line.text) else {
            continue;
        };
        match (points, key.as_str()) {
            (_, "access-points") => points = Some(line.indent),
            (_, "regulatory-domain") => country = Some(value),
            (Some(indent), _) if line.indent <= indent => points = None,
            (Some(_), _) if ssid.is_none() => ssid = Some(key),
            (Some(_), "password") => password = Some(value),
            (Some(_), "hidden") => hidden = value == "true",
            _ => {}
        }
    }
    if let Some(ssid) = ssid {
        preset.wifi(ssid, password, country, hidden);
    }
}
