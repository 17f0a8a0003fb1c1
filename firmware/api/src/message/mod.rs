//! The reflection that one set of structs needs to be read and written in two formats.
//!
//! Every message of the API is a plain Rust struct made by [`messages!`] together with a static [`Descriptor`]. The JSON
//! and protobuf routines see only `dyn Message`: one copy of each routine serves all messages, which keeps the daemons
//! small. Not a general protobuf implementation: only what the Mesos API uses (no groups, no oneof, no extensions).
//! Called by `json`, `protobuf` and the message tables. Invariant: the table and the struct come from the same line.

pub(crate) mod macros;
mod value;

pub(crate) use macros::messages;
pub(crate) use value::set_enumeration;
pub use value::{Bytes, Element};

use std::fmt::Debug;

/// A message: a struct whose fields can be reached by number.
pub trait Message: 'static {
    /// The table of the fields.
    fn descriptor(&self) -> &'static Descriptor;
    /// The field with this number, `None` if the message has none such.
    fn field(&self, number: u32) -> Option<&dyn FieldValue>;
    /// The field with this number for writing, `None` if the message has none such.
    fn field_mut(&mut self, number: u32) -> Option<&mut dyn FieldValue>;
}

impl Debug for dyn Message {
    // Not a supertrait: that would link the derived `Debug` of every message into the daemons.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.descriptor().name)
    }
}

/// What a message looks like from outside.
#[derive(Debug)]
pub struct Descriptor {
    /// The name of the Rust struct.
    pub name: &'static str,
    /// The fields in the order in which they are written as JSON. At most [`MAX_FIELDS`].
    pub fields: &'static [Field],
    /// Indices into `fields`, by ascending number: the order in which they are written as protobuf.
    pub by_number: &'static [u8],
}

/// Bound of the fields of one message: readers keep one bit per field.
pub const MAX_FIELDS: usize = 128;

/// One line of a message's table.
#[derive(Debug)]
pub struct Field {
    /// The JSON key.
    pub name: &'static str,
    /// The protobuf field number.
    pub number: u32,
    /// How many values the field holds.
    pub label: Label,
    /// What one value is.
    pub kind: Kind,
    /// The value that stands in JSON output when the field is unset.
    pub default: Option<fn() -> Item<'static>>,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Exactly one; decoding fails without it.
    Required,
    /// None or one.
    Optional,
    /// Any number, in order.
    Repeated,
    /// Any number, each under a string key.
    Map,
}

/// The type of one value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `int32`
    I32,
    /// `int64`
    I64,
    /// `uint32`
    U32,
    /// `uint64`
    U64,
    /// `double`
    F64,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// An enumeration, with its numbers and names.
    Enum(&'static [(i32, &'static str)]),
    /// A message.
    Message,
}

/// One value on its way into or out of a field.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// `bool`
    Bool(bool),
    /// `int32` and `int64`
    Int(i64),
    /// `uint32` and `uint64`
    Uint(u64),
    /// `double`
    Float(f64),
    /// `string`
    Str(&'a str),
    /// `bytes`
    Bytes(&'a [u8]),
    /// The number of an enumeration's value.
    Enum(i32),
    /// A message; only out of a field, never into one.
    Message(&'a dyn Message),
}

/// A field of a message, whatever its label and type. Few methods on purpose: each costs 32 bytes per type of field.
pub trait FieldValue {
    /// Calls `f` for each value in order; the key is empty unless the field is a map.
    fn visit(&self, f: &mut dyn FnMut(&str, Item<'_>));
    /// Sets the value of a single field, or appends to a repeated one. False if the value does not fit: another kind,
    /// out of range, or an enumeration's unknown number; the field is unchanged then.
    fn push(&mut self, item: Item<'_>) -> bool;
    /// Makes room for a value that is filled in place: sets a single message to an empty one, appends one to a list, or
    /// finds or makes the value under a map's key (which is of no meaning elsewhere).
    fn slot(&mut self, key: &str) -> Slot<'_>;
}

/// What [`FieldValue::slot`] hands out.
pub enum Slot<'a> {
    /// The field holds scalars: use [`FieldValue::push`].
    None,
    /// The message to fill.
    Message(&'a mut dyn Message),
    /// The value of a map's entry, as an optional field of its own.
    Entry(&'a mut dyn FieldValue),
}

impl Debug for Slot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Message(_) => "Message",
            Self::Entry(_) => "Entry",
        })
    }
}

/// An enumeration of the API; numbers and names are those of the wire.
pub trait Enumeration: Copy + Default + PartialEq + Debug + 'static {
    /// Numbers and wire names of all values.
    const VALUES: &'static [(i32, &'static str)];
    /// The value with this number.
    fn from_number(number: i32) -> Option<Self>;
    /// The number on the wire.
    fn number(self) -> i32;
}

/// `r#type` is called `type` on the wire.
pub(crate) const fn wire_name(rust_name: &'static str) -> &'static str {
    match rust_name.as_bytes() {
        [b'r', b'#', ..] => rust_name.split_at(2).1,
        _ => rust_name,
    }
}

/// The order of the fields by number, computed while compiling.
pub(crate) const fn order_by_number<const N: usize>(fields: &[Field]) -> [u8; N] {
    assert!(N <= MAX_FIELDS && N == fields.len());
    let mut order = [0; N];
    let mut i = 0;
    while i < N {
        let mut at = i;
        while at > 0 && fields[order[at - 1] as usize].number > fields[i].number {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = i as u8;
        i += 1;
    }
    order
}
