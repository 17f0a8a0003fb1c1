//! The text form of resources and attributes: `cpus:2;mem(db):512;ports:[31000-32000];tags:{a,b}` (flag `--resources`).
//!
//! Not JSON (Mesos's flag also takes a JSON array; the daemons parse that with `nesos-api`). Called by the daemons' flag
//! parsing and by displays. Invariant: `parse(&text(r)) == r` if `r` holds static reservations at most.

use alloc::{collections::BTreeSet, string::String, string::ToString, vec::Vec};
use core::fmt::Write;

use crate::resource::{DiskSource, Entry, Ranges, Reservation, Resources, Scalar, Terms, Value};
use crate::role;
use crate::task::{Attribute, AttributeValue};

/// Why a text is not resources or attributes; names the item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{item}': {expected}")]
pub struct ParseError {
    /// The offending `name:value` item.
    pub item: String,
    /// What was expected there.
    pub expected: &'static str,
}

/// Parses `name:value;…` where a value is a number, `[a-b,c-d]` or `{x,y}`, and a name may be followed by the role to
/// which the value is reserved for ever: `name(role):value`.
pub fn parse(text: &str) -> Result<Resources, ParseError> {
    let mut resources = Resources::new();
    for (item, name, value) in items(text) {
        let name = name.ok_or_else(|| error(item, "expected name:value"))?;
        let (name, terms) = parse_terms(item, name)?;
        let entry = Entry::new(name, terms, parse_value(item, value)?);
        let mut present = resources.entries().iter();
        if present.any(|have| have.name() == name && have.terms() == entry.terms()) {
            return Err(error(item, "this name stands twice"));
        }
        if let Some(have) = resources.entries().iter().find(|have| have.name() == name)
            && core::mem::discriminant(have.value()) != core::mem::discriminant(entry.value())
        {
            return Err(error(item, "this name stands there with another type"));
        }
        resources.put(entry);
    }
    Ok(resources)
}

/// Parses `name:value;…` attributes: a number, `[a-b]` ranges, or else text.
pub fn parse_attributes(text: &str) -> Result<Vec<Attribute>, ParseError> {
    items(text)
        .map(|(item, name, value)| {
            let name = name.ok_or_else(|| error(item, "expected name:value"))?;
            let value = match parse_value(item, value) {
                Ok(Value::Scalar(scalar)) => AttributeValue::Scalar(scalar),
                Ok(Value::Ranges(ranges)) => AttributeValue::Ranges(ranges),
                Ok(Value::Set(_)) | Err(_) => AttributeValue::Text(value.to_string()),
            };
            Ok(Attribute {
                name: name.to_string(),
                value,
            })
        })
        .collect()
}

/// Writes what [`parse`] reads; of volumes, dynamic reservations and so on what a person wants to know.
pub fn text(resources: &Resources) -> String {
    let mut out = String::new();
    for entry in resources.entries() {
        if !out.is_empty() {
            out.push(';');
        }
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{}{}:{}",
            entry.name(),
            terms_text(entry.terms()),
            value_text(entry.value())
        );
    }
    out
}

/// One value as Mesos's legacy endpoints print it: `2.5`, `[1-5, 8-9]`, `{a, b}` without spaces.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Scalar(scalar) => scalar_text(*scalar),
        Value::Ranges(ranges) => {
            let parts: Vec<String> = ranges
                .iter()
                .map(|r| alloc::format!("{}-{}", r.start(), r.end()))
                .collect();
            alloc::format!("[{}]", parts.join(","))
        }
        Value::Set(set) => {
            alloc::format!("{{{}}}", set.iter().cloned().collect::<Vec<_>>().join(","))
        }
    }
}

/// `(db)`, `(db, dynamic by ops)[volume v at data]{shared}`, or nothing.
fn terms_text(terms: &Terms) -> String {
    let mut out = String::new();
    let stack: Vec<String> = terms.reservations.iter().map(reservation_text).collect();
    if !stack.is_empty() {
        let _ = write!(out, "({})", stack.join(" > "));
    }
    if let Some(disk) = &terms.disk {
        let source = match &disk.source {
            None => String::new(),
            Some(DiskSource::Path(root)) => source_text("path", root.as_deref()),
            Some(DiskSource::Mount(root)) => source_text("mount", root.as_deref()),
        };
        let volume = disk.volume.as_ref().map_or_else(String::new, |volume| {
            alloc::format!("volume {} at {}", volume.id, volume.container_path)
        });
        let space = if source.is_empty() || volume.is_empty() {
            ""
        } else {
            ", "
        };
        let _ = write!(out, "[{source}{space}{volume}]");
    }
    if terms.is_shared {
        out.push_str("{shared}");
    }
    if terms.is_revocable {
        out.push_str("{revocable}");
    }
    out
}

fn source_text(kind: &str, root: Option<&str>) -> String {
    alloc::format!("{kind} {}", root.unwrap_or("anywhere"))
}

fn reservation_text(reservation: &Reservation) -> String {
    let by = match &reservation.principal {
        Some(principal) => alloc::format!(" by {principal}"),
        None => String::new(),
    };
    let dynamic = if reservation.is_dynamic {
        ", dynamic"
    } else {
        ""
    };
    alloc::format!("{}{dynamic}{by}", reservation.role)
}

/// `name` or `name(role)`.
fn parse_terms<'a>(item: &str, name: &'a str) -> Result<(&'a str, Terms), ParseError> {
    let Some((name, rest)) = name.split_once('(') else {
        return Ok((name, Terms::default()));
    };
    let role = rest.strip_suffix(')').map(str::trim);
    let role = role.ok_or_else(|| error(item, "expected name(role):value"))?;
    let mut terms = Terms::default();
    if role != "*" {
        if role::check(role).is_err() {
            return Err(error(
                item,
                "expected a role such as db or lab/east in the brackets",
            ));
        }
        terms.reservations.push(Reservation::fixed(role));
    }
    Ok((name.trim(), terms))
}

fn scalar_text(scalar: Scalar) -> String {
    let sign = if scalar.0 < 0 { "-" } else { "" };
    let (whole, rest) = (
        scalar.0.unsigned_abs() / 1000,
        scalar.0.unsigned_abs() % 1000,
    );
    if rest == 0 {
        return alloc::format!("{sign}{whole}");
    }
    let digits = alloc::format!("{rest:03}");
    alloc::format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

fn items(text: &str) -> impl Iterator<Item = (&str, Option<&str>, &str)> {
    text.split(';')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| match item.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => {
                (item, Some(name.trim()), value.trim())
            }
            _ => (item, None, ""),
        })
}

fn parse_value(item: &str, text: &str) -> Result<Value, ParseError> {
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return parse_ranges(item, inner).map(Value::Ranges);
    }
    if let Some(inner) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        let set: BTreeSet<String> = inner
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(ToString::to_string)
            .collect();
        return Ok(Value::Set(set));
    }
    let number: f64 = text
        .parse()
        .map_err(|_| error(item, "expected a number, [a-b,…] or {a,b,…}"))?;
    match Scalar::from_f64(number) {
        Some(scalar) if scalar.0 >= 0 => Ok(Value::Scalar(scalar)),
        _ => Err(error(item, "expected a finite number that is not negative")),
    }
}

fn parse_ranges(item: &str, inner: &str) -> Result<Ranges, ParseError> {
    let mut ranges = Vec::new();
    for part in inner
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let bounds = part.split_once('-').and_then(|(begin, end)| {
            Some((
                begin.trim().parse::<u64>().ok()?,
                end.trim().parse::<u64>().ok()?,
            ))
        });
        match bounds {
            Some((begin, end)) if begin <= end => ranges.push(begin..=end),
            _ => {
                return Err(error(
                    item,
                    "expected ranges such as [31000-32000], begin not after end",
                ));
            }
        }
    }
    Ok(Ranges::new(ranges))
}

fn error(item: &str, expected: &'static str) -> ParseError {
    ParseError {
        item: item.to_string(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let written =
            "cpus:2.5;cpus(lab/east):1;mem:512;ports:[31000-32000,40000-40001];tags(db):{a,b}";
        let resources = parse(written).expect("valid");
        assert_eq!(text(&resources), written);
    }

    #[test]
    fn errors_name_the_item() {
        for (bad, item) in [
            ("cpus", "cpus"),
            ("cpus:x", "cpus:x"),
            ("a:1;cpus:-1", "cpus:-1"),
            ("p:[5-1]", "p:[5-1]"),
            ("cpus(a:1", "cpus(a:1"),
            ("cpus(a/../b):1", "cpus(a/../b):1"),
            ("ink(a):1;ink(a):2", "ink(a):2"),
            ("ink(a):1;ink:[1-2]", "ink:[1-2]"),
        ] {
            assert_eq!(parse(bad).expect_err(bad).item, item);
        }
        assert!(parse("cpus:nan").is_err() && parse("cpus:1;cpus:2").is_err());
    }

    #[test]
    fn attributes_fall_back_to_text() {
        let attributes = parse_attributes("rack:a1;cores:4").expect("valid");
        assert_eq!(attributes[0].value, AttributeValue::Text("a1".into()));
        assert_eq!(attributes[1].value, AttributeValue::Scalar(Scalar(4000)));
    }
}
