//! Reads any message from protobuf bytes.
//!
//! Unknown fields and unknown enumeration values are skipped, repeated scalars may be packed, the parts of a singular
//! message that comes in pieces are merged. Called through `from_protobuf`.
//! Invariants: no input panics; depth is bounded by `MAX_DEPTH`, memory by `MAX_DECODED_BYTES`, time by depth x size.

use crate::error::{Error, MAX_DEPTH, Reading, Step};
use crate::message::{Field, FieldValue, Item, Kind, Label, Message, Slot};

/// Memory that one scalar of a list is charged with, in bytes: a `String` without its text.
const SCALAR_BYTES: usize = 24;

/// Reads one message; `message` is left half read on failure.
///
/// # Errors
/// Malformed bytes, a required field missing, or too large.
pub fn read(bytes: &[u8], message: &mut dyn Message) -> Result<(), Error> {
    let mut reading = Reading::new(bytes.len())?;
    read_message(bytes, message, &mut reading, 0)?;
    reading.finish()
}

fn read_message(
    bytes: &[u8],
    message: &mut dyn Message,
    reading: &mut Reading,
    depth: usize,
) -> Result<(), Error> {
    if depth >= MAX_DEPTH {
        return Err(malformed(reading, "nested too deeply"));
    }
    let fields = message.descriptor().fields;
    let mut seen: u128 = 0;
    let mut list_lengths = [0_u32; crate::message::MAX_FIELDS];
    let mut input = Input(bytes);
    while let Some((number, wire)) = input
        .record()
        .map_err(|reason| malformed(reading, reason))?
    {
        let Some(index) = fields.iter().position(|field| field.number == number) else {
            continue;
        };
        let (Some(field), Some(value)) = (fields.get(index), message.field_mut(number)) else {
            continue;
        };
        let bit = 1_u128 << index;
        let already = seen & bit != 0;
        reading.enter(Step::Field(field.name));
        let is_list = field.label == Label::Repeated;
        if is_list && let Some(length) = list_lengths.get_mut(index) {
            reading.enter(Step::Index(*length as usize));
            *length += 1;
        }
        let set = match (field.label, field.kind, wire) {
            (Label::Map, _, Wire::Bytes(entry)) => read_entry(entry, field, value, reading, depth)?,
            (Label::Map, ..) => false,
            // The first piece already took all the later ones.
            (Label::Required | Label::Optional, Kind::Message, Wire::Bytes(_)) if already => true,
            (Label::Required | Label::Optional, Kind::Message, Wire::Bytes(first)) => {
                let pieces = merged(first, number, &input);
                // Each level of nesting may hold such a copy at the same time.
                reading.spend(pieces.as_ref().map_or(0, Vec::len))?;
                let whole = Wire::Bytes(pieces.as_deref().unwrap_or(first));
                read_value(field, value, whole, reading, depth)?
            }
            _ => read_value(field, value, wire, reading, depth)?,
        };
        if is_list {
            reading.leave();
        }
        reading.leave();
        if set {
            seen |= bit;
        }
    }
    reading.missing(fields, seen);
    Ok(())
}

/// A singular message may come in several pieces; protobuf defines the result as that of their concatenation.
fn merged(first: &[u8], number: u32, rest: &Input<'_>) -> Option<Vec<u8>> {
    let mut rest = Input(rest.0);
    let mut whole: Option<Vec<u8>> = None;
    // Errors are met again, and reported, by the caller's own loop.
    while let Ok(Some((other, wire))) = rest.record() {
        if let Wire::Bytes(piece) = wire
            && other == number
        {
            whole
                .get_or_insert_with(|| first.to_vec())
                .extend_from_slice(piece);
        }
    }
    whole
}

/// Reads one value, or a packed list of them; answers whether the field is set now.
fn read_value(
    field: &Field,
    value: &mut dyn FieldValue,
    wire: Wire<'_>,
    reading: &mut Reading,
    depth: usize,
) -> Result<bool, Error> {
    let item = match (field.kind, wire) {
        (Kind::Message, Wire::Bytes(bytes)) => {
            let Slot::Message(message) = value.slot("") else {
                return Ok(false);
            };
            reading.spend(size_of_val(message))?;
            read_message(bytes, message, reading, depth + 1)?;
            return Ok(true);
        }
        (Kind::String, Wire::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => Item::Str(text),
            Err(_) => return Err(malformed(reading, "string is not UTF-8")),
        },
        (Kind::Bytes, Wire::Bytes(bytes)) => Item::Bytes(bytes),
        (_, Wire::Bytes(bytes)) if field.label == Label::Repeated => {
            let mut input = Input(bytes);
            while !input.0.is_empty() {
                let wire = input
                    .packed(field.kind)
                    .map_err(|reason| malformed(reading, reason))?;
                read_value(field, value, wire, reading, depth)?;
            }
            return Ok(true);
        }
        (kind, wire) => match scalar(kind, wire) {
            Some(item) => item,
            None => return Ok(false), // the wire type of another schema: an unknown field
        },
    };
    let size = if let Wire::Bytes(bytes) = wire {
        bytes.len()
    } else {
        0
    };
    reading.spend(SCALAR_BYTES + size)?;
    Ok(value.push(item)) // refused: an enumeration's unknown number, which is as good as an unknown field
}

fn scalar(kind: Kind, wire: Wire<'_>) -> Option<Item<'static>> {
    // Truncation is how protobuf defines the narrow types.
    Some(match (kind, wire) {
        (Kind::Bool, Wire::Varint(value)) => Item::Bool(value != 0),
        (Kind::I32, Wire::Varint(value)) => Item::Int(i64::from(value as i32)),
        (Kind::I64, Wire::Varint(value)) => Item::Int(value.cast_signed()),
        (Kind::U32, Wire::Varint(value)) => Item::Uint(u64::from(value as u32)),
        (Kind::U64, Wire::Varint(value)) => Item::Uint(value),
        (Kind::Enum(_), Wire::Varint(value)) => Item::Enum(value as i32),
        (Kind::F64, Wire::Fixed64(value)) => Item::Float(f64::from_bits(value)),
        _ => return None,
    })
}

/// Reads a map's entry: a message of key (1) and value (2), either of which may be absent.
fn read_entry(
    bytes: &[u8],
    field: &Field,
    value: &mut dyn FieldValue,
    reading: &mut Reading,
    depth: usize,
) -> Result<bool, Error> {
    let (mut key, mut content) = ("", Wire::Bytes(&[]));
    let mut input = Input(bytes);
    while let Some((number, wire)) = input
        .record()
        .map_err(|reason| malformed(reading, reason))?
    {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => {
                key = std::str::from_utf8(bytes)
                    .map_err(|_| malformed(reading, "key is not UTF-8"))?;
            }
            (2, wire) => content = wire,
            _ => {}
        }
    }
    reading.spend(SCALAR_BYTES + key.len())?;
    let Slot::Entry(entry) = value.slot(key) else {
        return Ok(false);
    };
    reading.enter(Step::Key(key.to_owned()));
    let single = Field {
        name: "value",
        number: 2,
        label: Label::Optional,
        kind: field.kind,
        default: None,
    };
    read_value(&single, entry, content, reading, depth)?;
    reading.leave();
    Ok(true)
}

fn malformed(reading: &Reading, reason: &'static str) -> Error {
    let path = reading.path();
    Error::Protobuf {
        path: if path.is_empty() {
            "message".to_owned()
        } else {
            path
        },
        reason,
    }
}

/// What follows a field's key.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
    Group,
}

/// The bytes that are left.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The next field's number and value, `None` at the end.
    fn record(&mut self) -> Result<Option<(u32, Wire<'a>)>, &'static str> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.key()?;
        let wire = self.value(kind)?;
        if matches!(wire, Wire::Group) {
            self.skip_group(number)?;
        }
        Ok(Some((number, wire)))
    }

    fn key(&mut self) -> Result<(u32, u8), &'static str> {
        let key = u32::try_from(self.varint()?).map_err(|_| "field number is too large")?;
        if key >> 3 == 0 {
            Err("field number is zero")
        } else {
            Ok((key >> 3, (key & 7) as u8))
        }
    }

    fn value(&mut self, kind: u8) -> Result<Wire<'a>, &'static str> {
        Ok(match kind {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.fixed64()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "length is too large")?;
                Wire::Bytes(self.take(length)?)
            }
            3 => Wire::Group,
            5 => self.take(4).map(|_| Wire::Fixed32)?,
            _ => return Err("unknown wire type"),
        })
    }

    /// Skips an unknown group: a relic that no Mesos message has, but that the format allows.
    fn skip_group(&mut self, number: u32) -> Result<(), &'static str> {
        let mut open = vec![number];
        while let Some(&current) = open.last() {
            match self.key()? {
                (number, 4) if number == current => drop(open.pop()),
                (_, 4) => return Err("group ends that did not begin"),
                (number, 3) if open.len() < MAX_DEPTH => open.push(number),
                (_, 3) => return Err("groups are nested too deeply"),
                (_, kind) => drop(self.value(kind)?),
            }
        }
        Ok(())
    }

    /// One value of a packed list.
    fn packed(&mut self, kind: Kind) -> Result<Wire<'a>, &'static str> {
        match kind {
            Kind::F64 => self.fixed64().map(Wire::Fixed64),
            _ => self.varint().map(Wire::Varint),
        }
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let Some((&byte, rest)) = self.0.split_first() else {
                return Err("ends within a number");
            };
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("number is longer than ten bytes")
    }

    fn fixed64(&mut self) -> Result<u64, &'static str> {
        let Some((bytes, rest)) = self.0.split_first_chunk() else {
            return Err("ends within a number");
        };
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let Some((taken, rest)) = self.0.split_at_checked(length) else {
            return Err("ends within a field");
        };
        self.0 = rest;
        Ok(taken)
    }
}
