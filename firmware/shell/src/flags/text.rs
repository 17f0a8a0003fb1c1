//! Texts of flag values: checking, durations in Mesos's notation, and the distance between two names.
//!
//! Only called by the flags module. Pure.

use std::time::Duration;

use super::Kind;

/// Reads `<number><unit>` with Mesos's units (`ns us ms secs mins hrs days weeks`) or `s`, `min`, `h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "secs" | "sec" | "s" => 1.0,
        "mins" | "min" => 60.0,
        "hrs" | "hr" | "h" => 3600.0,
        "days" | "day" => 86_400.0,
        "weeks" | "week" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * factor).ok()
}

/// Reads `<number><unit>` with Mesos's units (`B KB MB GB TB`, each 1024 times the one before).
pub fn parse_bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(split);
    let power = ["B", "KB", "MB", "GB", "TB"]
        .iter()
        .position(|known| *known == unit.trim())?;
    let bytes = number.parse::<f64>().ok()? * 1024f64.powi(power as i32);
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// The value in its kept form, or what was expected.
pub(super) fn check(kind: Kind, value: &str) -> Result<String, String> {
    let expected = |what: String| Err(format!("expected {what}, found '{value}'"));
    match kind {
        Kind::Text => Ok(value.into()),
        Kind::Path => match value.strip_prefix("file://").unwrap_or(value) {
            "" => expected("a path".into()),
            path => Ok(path.into()),
        },
        Kind::Bool => match value {
            "true" | "1" => Ok("true".into()),
            "false" | "0" => Ok("false".into()),
            _ => expected("true or false".into()),
        },
        Kind::Number(min, max) => match value.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
            _ => expected(format!("a number from {min} to {max}")),
        },
        Kind::Duration(min, max) => match parse_duration(value) {
            Some(d) if d >= Duration::from_secs(min) && d <= Duration::from_secs(max) => {
                Ok(value.into())
            }
            _ => expected(format!(
                "a duration from {min}secs to {max}secs such as 15secs"
            )),
        },
        Kind::Choice(words) if words.contains(&value) => Ok(value.into()),
        Kind::Choice(words) => expected(words.join(" or ")),
    }
}

/// What stands for the value in `--help`.
pub(super) fn placeholder(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Bool => "VALUE".into(),
        Kind::Path => "PATH".into(),
        Kind::Number(..) => "N".into(),
        Kind::Duration(..) => "DURATION".into(),
        Kind::Choice(words) => words.join("|"),
    }
}

/// Levenshtein distance: how many letters to change to come from one name to the other.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
