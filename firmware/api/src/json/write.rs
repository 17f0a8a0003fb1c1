//! Writes any message as one line of ASCII JSON.
//!
//! No pretty printing. Called through `to_json` and by the daemons for strings.
//! Invariant: every byte written is printable ASCII.

use crate::message::{Field, Item, Kind, Label, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;

/// Appends the message to `out`.
pub fn write(message: &dyn Message, out: &mut Vec<u8>) {
    out.push(b'{');
    let start = out.len();
    for field in message.descriptor().fields {
        if let Some(value) = message.field(field.number) {
            let mut first = true;
            value.visit(&mut |key, item| {
                begin_value(field, key, &mut first, start, out);
                write_item(field, item, out);
            });
            match (first, field.label, field.default) {
                (false, Label::Repeated, _) => out.push(b']'),
                (false, Label::Map, _) => out.push(b'}'),
                (true, _, Some(default)) => {
                    begin_value(field, "", &mut first, start, out);
                    write_item(field, default(), out);
                }
                _ => {}
            }
        }
    }
    out.push(b'}');
}

/// Writes what stands before a value: a comma, the field's name, a bracket, a map's key.
fn begin_value(field: &Field, key: &str, first: &mut bool, start: usize, out: &mut Vec<u8>) {
    if *first {
        if out.len() > start {
            out.push(b',');
        }
        write_string(field.name, out);
        out.push(b':');
        match field.label {
            Label::Repeated => out.push(b'['),
            Label::Map => out.push(b'{'),
            Label::Required | Label::Optional => {}
        }
        *first = false;
    } else {
        out.push(b',');
    }
    if field.label == Label::Map {
        write_string(key, out);
        out.push(b':');
    }
}

fn write_item(field: &Field, item: Item<'_>, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = match item {
        Item::Bool(value) => write!(out, "{value}"),
        Item::Int(value) => write!(out, "{value}"),
        Item::Uint(value) => write!(out, "{value}"),
        // `{:?}` keeps the point of whole numbers and turns to exponents far out: both are JSON.
        Item::Float(value) if value.is_finite() => write!(out, "{value:?}"),
        Item::Float(value) => write!(out, "\"{}\"", non_finite(value)),
        Item::Str(value) => {
            write_string(value, out);
            Ok(())
        }
        Item::Bytes(value) => write!(out, "\"{}\"", STANDARD.encode(value)),
        Item::Enum(number) => {
            write_string(enumeration_name(field.kind, number), out);
            Ok(())
        }
        Item::Message(value) => {
            write(value, out);
            Ok(())
        }
    };
}

/// How Mesos spells numbers that JSON has not.
pub(super) fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// The wire name of an enumeration's number.
pub(super) fn enumeration_name(kind: Kind, number: i32) -> &'static str {
    let Kind::Enum(values) = kind else { return "" };
    values
        .iter()
        .find(|value| value.0 == number)
        .map_or("", |value| value.1)
}

/// Appends a JSON string: quoted, ASCII only.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            ' '..='~' => out.push(character as u8),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a Vec does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push(b'"');
}
