//! Values of options, read and checked.
//!
//! Called by clap. `Err` says what was expected.

use std::collections::BTreeMap;

/// Amounts by the resource's name.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Amounts(pub(crate) BTreeMap<String, f64>);

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// A part of a hundred, in parts of a thousand.
pub(super) fn percent(text: &str) -> Result<u16, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok((number * 10.0).round() as u16),
        _ => Err("expected a number from 0 to 100".to_owned()),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    // As far as the master counts in nanoseconds.
    const MOST: f64 = 9e9;
    match text.parse::<f64>() {
        Ok(number) if (0.0..=MOST).contains(&number) => Ok(number),
        _ => Err("expected a number of seconds, 0 or more".to_owned()),
    }
}

pub(super) fn amounts(text: &str) -> Result<Amounts, String> {
    let mut amounts = BTreeMap::new();
    for item in text.split(';').map(str::trim).filter(|i| !i.is_empty()) {
        let (name, value) = item
            .split_once(':')
            .and_then(|(name, value)| Some((name.trim(), value.trim().parse::<f64>().ok()?)))
            .filter(|(name, value)| !name.is_empty() && value.is_finite() && *value >= 0.0)
            .ok_or_else(|| format!("expected name:number such as cpus:2, found '{item}'"))?;
        if amounts.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} stands twice"));
        }
    }
    if amounts.is_empty() {
        return Err("expected amounts such as cpus:2;mem:512".to_owned());
    }
    Ok(Amounts(amounts))
}

pub(super) fn weight(text: &str) -> Result<(String, f64), String> {
    text.split_once('=')
        .and_then(|(role, weight)| Some((role.to_owned(), weight.parse::<f64>().ok()?)))
        .filter(|(role, weight)| !role.is_empty() && weight.is_finite() && *weight > 0.0)
        .ok_or_else(|| "expected ROLE=WEIGHT with a weight above 0".to_owned())
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A number of masters that vote: an even one survives no more losses than the odd one below it.
pub(super) fn voting(text: &str) -> Result<u8, String> {
    let count = text.parse().ok();
    count
        .filter(|count| matches!(count, 1 | 3 | 5 | 7))
        .ok_or_else(|| "expected 1, 3, 5 or 7".to_owned())
}

/// `PORT=HOST:PORT`.
pub(super) fn way(text: &str) -> Result<(u16, String), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(port, address)| Some((port.parse().ok()?, address.to_owned())));
    parsed.ok_or_else(|| "expected PORT=HOST:PORT".to_owned())
}
