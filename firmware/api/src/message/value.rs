//! How Rust types stand for the API's field types: `T` required, `Option<T>` optional, `Vec<T>` repeated, `BTreeMap` map.
//!
//! Not concerned with any format. Called by the readers and writers through `dyn FieldValue`.
//! Invariant: a refused value leaves the field as it was.

use super::{Enumeration, FieldValue, Item, Kind, Message, Slot};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

/// One value of a field: a scalar, an enumeration or a message.
pub trait Element: Default {
    /// The type on the wire.
    const KIND: Kind;
    /// The value.
    fn item(&self) -> Item<'_>;
    /// Replaces the value; false if the item does not fit.
    fn set(&mut self, item: Item<'_>) -> bool;
    /// The value as a message for writing, `None` for everything else.
    fn message(&mut self) -> Option<&mut dyn Message> {
        None
    }
}

/// A `bytes` field: base64 in JSON, raw in protobuf.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

macro_rules! scalar {
    ($type:ty, $kind:ident, $item:ident($wide:ty)) => {
        impl Element for $type {
            const KIND: Kind = Kind::$kind;
            fn item(&self) -> Item<'_> {
                Item::$item(<$wide>::from(*self))
            }
            fn set(&mut self, item: Item<'_>) -> bool {
                if let Item::$item(value) = item
                    && let Ok(value) = <$type>::try_from(value)
                {
                    *self = value;
                    return true;
                }
                false
            }
        }
    };
}
scalar!(bool, Bool, Bool(bool));
scalar!(i32, I32, Int(i64));
scalar!(i64, I64, Int(i64));
scalar!(u32, U32, Uint(u64));
scalar!(u64, U64, Uint(u64));
scalar!(f64, F64, Float(f64));

impl Element for String {
    const KIND: Kind = Kind::String;
    fn item(&self) -> Item<'_> {
        Item::Str(self)
    }
    fn set(&mut self, item: Item<'_>) -> bool {
        let Item::Str(value) = item else { return false };
        *self = value.to_owned();
        true
    }
}

impl Element for Bytes {
    const KIND: Kind = Kind::Bytes;
    fn item(&self) -> Item<'_> {
        Item::Bytes(&self.0)
    }
    fn set(&mut self, item: Item<'_>) -> bool {
        let Item::Bytes(value) = item else {
            return false;
        };
        self.0 = value.to_vec();
        true
    }
}

/// Used by [`super::messages!`] for each enumeration.
pub(crate) fn set_enumeration<E: Enumeration>(target: &mut E, item: Item<'_>) -> bool {
    let Item::Enum(number) = item else {
        return false;
    };
    let value = E::from_number(number);
    *target = value.unwrap_or(*target);
    value.is_some()
}

impl<M: Message + Default> Element for Box<M> {
    const KIND: Kind = Kind::Message;
    fn item(&self) -> Item<'_> {
        Item::Message(&**self)
    }
    fn set(&mut self, _: Item<'_>) -> bool {
        false
    }
    fn message(&mut self) -> Option<&mut dyn Message> {
        Some(&mut **self)
    }
}

/// Whether a value is filled in place; known while compiling, so that scalars get no code for it and messages no other.
const fn is_message<T: Element>() -> bool {
    matches!(T::KIND, Kind::Message)
}

fn slot_of<T: Element>(value: &mut T) -> Slot<'_> {
    value.message().map_or(Slot::None, Slot::Message)
}

/// A new value, if the item fits.
fn new<T: Element>(item: Item<'_>) -> Option<T> {
    let mut value = T::default();
    (!is_message::<T>() && value.set(item)).then_some(value)
}

impl<T: Element> FieldValue for T {
    fn visit(&self, f: &mut dyn FnMut(&str, Item<'_>)) {
        f("", self.item());
    }
    fn push(&mut self, item: Item<'_>) -> bool {
        self.set(item)
    }
    fn slot(&mut self, _: &str) -> Slot<'_> {
        if is_message::<T>() {
            *self = T::default();
        }
        slot_of(self)
    }
}

impl<T: Element> FieldValue for Option<T> {
    fn visit(&self, f: &mut dyn FnMut(&str, Item<'_>)) {
        if let Some(value) = self {
            f("", value.item());
        }
    }
    fn push(&mut self, item: Item<'_>) -> bool {
        let value = new(item);
        let fits = value.is_some();
        if fits {
            *self = value;
        }
        fits
    }
    fn slot(&mut self, _: &str) -> Slot<'_> {
        if is_message::<T>() {
            slot_of(self.insert(T::default()))
        } else {
            Slot::None
        }
    }
}

impl<T: Element> FieldValue for Vec<T> {
    fn visit(&self, f: &mut dyn FnMut(&str, Item<'_>)) {
        for value in self {
            f("", value.item());
        }
    }
    fn push(&mut self, item: Item<'_>) -> bool {
        let value = new(item);
        let fits = value.is_some();
        self.extend(value);
        fits
    }
    fn slot(&mut self, _: &str) -> Slot<'_> {
        if !is_message::<T>() {
            return Slot::None;
        }
        self.push(T::default());
        self.last_mut().map_or(Slot::None, slot_of)
    }
}

impl<T: Element> FieldValue for BTreeMap<String, T> {
    fn visit(&self, f: &mut dyn FnMut(&str, Item<'_>)) {
        for (key, value) in self {
            f(key, value.item());
        }
    }
    fn push(&mut self, _: Item<'_>) -> bool {
        false
    }
    fn slot(&mut self, key: &str) -> Slot<'_> {
        Slot::Entry(self.entry(key.to_owned()).or_default())
    }
}
