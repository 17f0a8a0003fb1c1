//! Writes any message as protobuf bytes.
//!
//! Called through `to_protobuf`. Invariant: only what is set is written; defaults are the reader's business.

use crate::message::{Item, Label, Message};

/// Appends the message to `out`.
pub fn write(message: &dyn Message, out: &mut Vec<u8>) {
    let descriptor = message.descriptor();
    for &index in descriptor.by_number {
        let Some(field) = descriptor.fields.get(usize::from(index)) else {
            continue;
        };
        let Some(value) = message.field(field.number) else {
            continue;
        };
        value.visit(&mut |key, item| {
            if field.label == Label::Map {
                write_delimited(field.number, out, |out| {
                    write_item(1, Item::Str(key), out);
                    write_item(2, item, out);
                });
            } else {
                write_item(field.number, item, out);
            }
        });
    }
}

fn write_item(number: u32, item: Item<'_>, out: &mut Vec<u8>) {
    match item {
        Item::Bool(value) => write_varint_field(number, u64::from(value), out),
        // Negative numbers are sign-extended to ten bytes, those of 32 bits too.
        Item::Int(value) => write_varint_field(number, value.cast_unsigned(), out),
        Item::Enum(value) => write_varint_field(number, i64::from(value).cast_unsigned(), out),
        Item::Uint(value) => write_varint_field(number, value, out),
        Item::Float(value) => {
            write_varint(u64::from(number) << 3 | 1, out);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Item::Str(value) => write_bytes_field(number, value.as_bytes(), out),
        Item::Bytes(value) => write_bytes_field(number, value, out),
        Item::Message(value) => write_delimited(number, out, |out| write(value, out)),
    }
}

fn write_varint_field(number: u32, value: u64, out: &mut Vec<u8>) {
    write_varint(u64::from(number) << 3, out);
    write_varint(value, out);
}

fn write_bytes_field(number: u32, value: &[u8], out: &mut Vec<u8>) {
    write_varint(u64::from(number) << 3 | 2, out);
    write_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Writes a nested message: its content first, then its length is put in front.
fn write_delimited(number: u32, out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    write_varint(u64::from(number) << 3 | 2, out);
    let start = out.len();
    content(out);
    let content_end = out.len();
    write_varint((content_end - start) as u64, out);
    let length_bytes = out.len() - content_end;
    if let Some(written) = out.get_mut(start..) {
        written.rotate_right(length_bytes);
    }
}

fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
