//! Reads any message from JSON text in one pass, with Mesos's lenience.
//!
//! Unknown keys are ignored at any depth, `null` is unset, numbers and booleans may be strings, one value may stand for
//! a list of one, an unknown name in an optional enumeration is unset. Called through `from_json`.
//! Invariants: no input panics, nesting is bounded by `serde_json` (128), memory by `MAX_DECODED_BYTES`.

use crate::error::{Error, Reading, Step};
use crate::message::{Field, FieldValue, Item, Kind, Label, Message, Slot};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::fmt;

/// Memory that one scalar of a list is charged with, in bytes: a `String` without its text.
const SCALAR_BYTES: usize = 24;

/// Reads one message; `message` is left half read on failure.
///
/// # Errors
/// Not JSON, not an object, a value of the wrong type, a required field missing, or too large.
pub fn read(text: &[u8], message: &mut dyn Message) -> Result<(), Error> {
    let mut state = State {
        reading: Reading::new(text.len())?,
        failure: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let result = deserializer
        .deserialize_any(MessageReader {
            message,
            state: &mut state,
        })
        .and_then(|()| deserializer.end());
    match (result, state.failure) {
        (Ok(()), _) => state.reading.finish(),
        (Err(_), Some(failure)) => Err(failure),
        (Err(error), None) => Err(Error::Json(error.to_string())),
    }
}

/// What is carried down: serde's error holds only text, so our own waits here.
struct State {
    reading: Reading,
    failure: Option<Error>,
}

impl State {
    fn fail<E: serde::de::Error>(&mut self, error: Error) -> E {
        self.failure = Some(error);
        E::custom("")
    }

    fn refuse<E: serde::de::Error>(&mut self, reason: impl Into<String>) -> E {
        let error = self.reading.field_error(reason);
        self.fail(error)
    }

    fn spend<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        match self.reading.spend(bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }
}

/// Reads an object into a message.
struct MessageReader<'a> {
    message: &'a mut dyn Message,
    state: &'a mut State,
}

impl<'de> Visitor<'de> for MessageReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = self.message.descriptor().fields;
        let mut seen: u128 = 0;
        while let Some(index) = map.next_key_seed(KeyReader(fields))? {
            let Some(field) = fields.get(index) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let Some(value) = self.message.field_mut(field.number) else {
                continue;
            };
            self.state.reading.enter(Step::Field(field.name));
            let set = map.next_value_seed(ValueReader {
                field,
                value,
                state: self.state,
            })?;
            self.state.reading.leave();
            seen |= u128::from(set) << index;
        }
        self.state.reading.missing(fields, seen);
        Ok(())
    }
}

/// Reads a key to the index of its field; `usize::MAX` for an unknown one.
struct KeyReader(&'static [Field]);

impl<'de> DeserializeSeed<'de> for KeyReader {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyReader {
    type Value = usize;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<usize, E> {
        Ok(self
            .0
            .iter()
            .position(|field| field.name == key)
            .unwrap_or(usize::MAX))
    }
}

/// Reads one value, or a list or map of them, into a field; answers whether the field is set now.
struct ValueReader<'a> {
    field: &'static Field,
    value: &'a mut dyn FieldValue,
    state: &'a mut State,
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueReader<'_> {
    fn push<E: serde::de::Error>(self, item: Item<'_>) -> Result<bool, E> {
        let text = match item {
            Item::Str(text) => text.len(),
            Item::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        self.state.spend(SCALAR_BYTES + text)?;
        if self.value.push(item) {
            Ok(true)
        } else {
            Err(self.state.refuse("number is out of range")) // kinds were compared before: only its range is left
        }
    }

    fn unexpected<E: serde::de::Error>(self, what: &str) -> E {
        self.state.refuse(format!("not expecting a JSON {what}"))
    }

    /// A whole number, written as a number or as a string.
    fn push_number<E: serde::de::Error>(self, number: Number) -> Result<bool, E> {
        let item = match (self.field.kind, number) {
            (_, _) if self.field.label == Label::Map => None,
            (Kind::F64, number) => Some(Item::Float(number.as_f64())),
            (Kind::I32 | Kind::I64, number) => number.as_i64().map(Item::Int),
            (Kind::U32 | Kind::U64, number) => number.as_u64().map(Item::Uint),
            _ => return Err(self.unexpected("number")),
        };
        match item {
            Some(item) => self.push(item),
            None => Err(self.state.refuse("number is out of range")),
        }
    }
}

impl<'de> Visitor<'de> for ValueReader<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<bool, E> {
        match self.field.kind {
            Kind::Bool => self.push(Item::Bool(value)),
            _ => Err(self.unexpected("boolean")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<bool, E> {
        self.push_number(Number::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<bool, E> {
        self.push_number(Number::Uint(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<bool, E> {
        self.push_number(Number::Float(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        match self.field.kind {
            Kind::String => self.push(Item::Str(text)),
            Kind::Bytes => match STANDARD.decode(text) {
                Ok(bytes) => self.push(Item::Bytes(&bytes)),
                Err(error) => Err(self.state.refuse(format!("not base64: {error}"))),
            },
            Kind::Bool => match text {
                "true" => self.push(Item::Bool(true)),
                "false" => self.push(Item::Bool(false)),
                _ => Err(self.state.refuse("string is not a boolean")),
            },
            Kind::Enum(values) => match values.iter().find(|value| value.1 == text) {
                Some(value) => self.push(Item::Enum(value.0)),
                None if self.field.label == Label::Required => {
                    Err(self.state.refuse(format!("no such name: {text:?}")))
                }
                None => Ok(false),
            },
            Kind::Message => Err(self.unexpected("string")),
            Kind::F64 | Kind::I32 | Kind::I64 | Kind::U32 | Kind::U64 => {
                match Number::parse(text) {
                    Some(number) => self.push_number(number),
                    None => Err(self.state.refuse("string is not a number")),
                }
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let Self {
            field,
            value,
            state,
        } = self;
        if !matches!(field.label, Label::Repeated | Label::Map) {
            return Err(state.refuse("not expecting a JSON array"));
        }
        let (mut any, mut index) = (false, 0);
        loop {
            state.reading.enter(Step::Index(index));
            let set = list.next_element_seed(ValueReader {
                field,
                value: &mut *value,
                state: &mut *state,
            })?;
            state.reading.leave();
            let Some(set) = set else { return Ok(any) };
            any |= set;
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self {
            field,
            value,
            state,
        } = self;
        if field.label != Label::Map {
            let Slot::Message(message) = value.slot("") else {
                return Err(state.refuse("not expecting a JSON object"));
            };
            state.spend::<A::Error>(size_of_val(message))?;
            MessageReader { message, state }.visit_map(map)?;
            return Ok(true);
        }
        while let Some(key) = map.next_key::<String>()? {
            state.spend::<A::Error>(SCALAR_BYTES + key.len())?;
            state.reading.enter(Step::Key(key.clone()));
            let Slot::Entry(entry) = value.slot(&key) else {
                return Err(A::Error::custom("not a map"));
            };
            let set = map.next_value_seed(ValueReader {
                field: entry_of(field.kind),
                value: &mut *entry,
                state: &mut *state,
            })?;
            if !set && let Slot::Message(message) = entry.slot("") {
                state.reading.missing(message.descriptor().fields, 0); // `null`: an empty message
            }
            state.reading.leave();
        }
        Ok(true)
    }
}

/// A map's value as a field of its own.
fn entry_of(kind: Kind) -> &'static Field {
    const fn entry(kind: Kind) -> Field {
        Field {
            name: "value",
            number: 2,
            label: Label::Optional,
            kind,
            default: None,
        }
    }
    static TEXT: Field = entry(Kind::String);
    static MESSAGE: Field = entry(Kind::Message);
    // The API has maps to strings and to messages only; a test keeps it so.
    if matches!(kind, Kind::Message) {
        &MESSAGE
    } else {
        &TEXT
    }
}

/// A number as JSON gives it.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Uint(u64),
    Float(f64),
}

impl Number {
    /// A number in a string. Mesos parses it as JSON, so Rust's `inf`, `nan` and `+1` are none.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "Infinity" => return Some(Self::Float(f64::INFINITY)),
            "-Infinity" => return Some(Self::Float(f64::NEG_INFINITY)),
            _ => {}
        }
        if !text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            || text.starts_with(['+', '.'])
        {
            return None;
        }
        text.parse()
            .map(Self::Uint)
            .or_else(|_| text.parse().map(Self::Int))
            .or_else(|_| text.parse().map(Self::Float))
            .ok()
    }

    #[allow(clippy::cast_precision_loss)] // doubles are what the field holds
    fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Uint(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The whole part, `None` if out of range.
    #[allow(clippy::cast_possible_truncation)] // in range by the check before
    fn as_i64(self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(value),
            Self::Uint(value) => value.try_into().ok(),
            Self::Float(value) => (value.abs() < 9.2e18).then_some(value as i64),
        }
    }

    /// The whole part, `None` if negative or out of range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range by the check before
    fn as_u64(self) -> Option<u64> {
        match self {
            Self::Int(value) => value.try_into().ok(),
            Self::Uint(value) => Some(value),
            Self::Float(value) => (value > -1.0 && value < 1.8e19).then_some(value as u64),
        }
    }
}
