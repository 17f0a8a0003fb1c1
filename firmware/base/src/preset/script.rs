//! `firstrun.sh`: the commands by which Imager has Raspberry Pi OS set itself up. Called by the parent. Invariant: words are taken apart
//! as a shell does it with quotes, and nothing is substituted.

use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;

use super::Preset;

/// The program that the script calls; what follows it says what to do.
const HELPER: &str = "imager_custom";
/// Longest list of words of a line: `enable_ssh -k` and the keys.
const WORDS_MAX: usize = 64;

pub(super) fn read(preset: &mut Preset, text: &str) {
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("/usr/lib/userconf-pi/userconf") {
            preset.user(true);
        }
        // The shell's own words, such as `if [ -f … ]`, are of no interest.
        let Some((program, rest)) = line
            .split_once(' ')
            .filter(|(program, _)| program.ends_with(HELPER))
        else {
            continue;
        };
        if !program.starts_with('/') {
            continue;
        }
        let words = words(rest);
        let Some((command, arguments)) = words.split_first() else {
            continue;
        };
        match command.as_str() {
            "set_hostname" => preset.name(arguments.first().cloned()),
            "enable_ssh" => preset.keys(
                arguments
                    .iter()
                    .filter(|word| *word != "-k")
                    .cloned()
                    .collect(),
            ),
            "set_timezone" => preset.time_zone(arguments.first().cloned()),
            "set_wlan" => wlan(preset, arguments),
            _ => {}
        }
    }
}

/// `[-h] SSID KEY COUNTRY`.
fn wlan(preset: &mut Preset, arguments: &[String]) {
    let hidden = arguments.first().is_some_and(|word| word == "-h");
    let mut rest = arguments.iter().skip(usize::from(hidden)).cloned();
    if let Some(ssid) = rest.next() {
        let (password, country) = (rest.next(), rest.next());
        preset.wifi(ssid, password, country, hidden);
    }
}

/// Words of a line, with single quotes, double quotes and backslashes.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote, mut in_word) = (String::new(), None, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => (quote, in_word) = (Some(letter), true),
            (None | Some('"'), '\\') => {
                word.extend(letters.next());
                in_word = true;
            }
            (None, ' ' | '\t') => {
                if in_word && words.len() < WORDS_MAX {
                    words.push(core::mem::take(&mut word));
                }
                in_word = false;
            }
            (_, letter) => {
                word.push(letter);
                in_word = true;
            }
        }
    }
    if in_word && words.len() < WORDS_MAX {
        words.push(word.to_owned());
    }
    words
}
