//! `messages!`: one line per field defines the struct, its table and the way from one to the other.
//!
//! Not a procedural macro and no build script: what is written is what is compiled. Used by the message modules only.
//! Invariant: field numbers are unique within a message (a duplicate is an unreachable pattern, which is denied).

/// Defines messages and enumerations.
///
/// ```text
/// messages! {
///     /// Optional documentation.
///     message Filters {
///         1 refuse_seconds: optional f64 = 5.0;   // number, name, label, type, default that JSON output shows
///     }
///     enum Mode { 1 Rw = "RW"; 2 Ro = "RO"; }     // the first value is Rust's `Default`
/// }
/// ```
/// Labels: `required` (`T`), `optional` (`Option<T>`), `repeated` (`Vec<T>`), `map` (`BTreeMap<String, T>`). An optional
/// field with a default also gets a method of its name that answers the default when the field is unset.
macro_rules! messages {
    () => {};
    (
        $(#[$meta:meta])*
        message $name:ident {
            $($number:literal $field:ident : $label:ident $type:ty $(= $default:expr)?;)*
        }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[doc = concat!("The `", stringify!($name), "` message.")]
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name {
            $(
                #[doc = concat!("Field ", stringify!($number), ", ", stringify!($label), ".")]
                pub $field: $crate::message::macros::field_type!($label $type),
            )*
        }

        impl $crate::message::Message for $name {
            fn descriptor(&self) -> &'static $crate::message::Descriptor {
                const FIELDS: &[$crate::message::Field] = &[$($crate::message::Field {
                    name: $crate::message::wire_name(stringify!($field)),
                    number: $number,
                    label: $crate::message::macros::field_label!($label),
                    kind: <$type as $crate::message::Element>::KIND,
                    default: $crate::message::macros::field_default!($type $(, $default)?),
                },)*];
                const ORDER: [u8; FIELDS.len()] = $crate::message::order_by_number(FIELDS);
                static DESCRIPTOR: $crate::message::Descriptor = $crate::message::Descriptor {
                    name: stringify!($name),
                    fields: FIELDS,
                    by_number: &ORDER,
                };
                &DESCRIPTOR
            }
            #[deny(unreachable_patterns)]
            fn field(&self, number: u32) -> Option<&dyn $crate::message::FieldValue> {
                match number {
                    $($number => Some(&self.$field),)*
                    _ => None,
                }
            }
            fn field_mut(&mut self, number: u32) -> Option<&mut dyn $crate::message::FieldValue> {
                match number {
                    $($number => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }

        impl $crate::message::Element for $name {
            const KIND: $crate::message::Kind = $crate::message::Kind::Message;
            fn item(&self) -> $crate::message::Item<'_> {
                $crate::message::Item::Message(self)
            }
            fn set(&mut self, _: $crate::message::Item<'_>) -> bool {
                false
            }
            fn message(&mut self) -> Option<&mut dyn $crate::message::Message> {
                Some(self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::json::serialize(self, serializer)
            }
        }

        impl $name {
            /// Reads one message from JSON text as Mesos does.
            ///
            /// # Errors
            /// Not JSON, a value of the wrong type, a required field missing, or too large; see [`crate::Error`].
            #[inline]
            pub fn from_json(text: &[u8]) -> Result<Self, $crate::Error> {
                let mut message = Self::default();
                $crate::json::read(text, &mut message)?;
                Ok(message)
            }

            /// Writes the message as one line of ASCII JSON.
            #[inline]
            #[must_use]
            pub fn to_json(&self) -> Vec<u8> {
                let mut out = Vec::new();
                $crate::json::write(self, &mut out);
                out
            }

            /// Reads one message from protobuf bytes.
            ///
            /// # Errors
            /// Malformed bytes, a required field missing, or too large; see [`crate::Error`].
            #[inline]
            pub fn from_protobuf(bytes: &[u8]) -> Result<Self, $crate::Error> {
                let mut message = Self::default();
                $crate::protobuf::read(bytes, &mut message)?;
                Ok(message)
            }

            /// Writes the message as protobuf bytes.
            #[inline]
            #[must_use]
            pub fn to_protobuf(&self) -> Vec<u8> {
                let mut out = Vec::new();
                $crate::protobuf::write(self, &mut out);
                out
            }

            $($crate::message::macros::default_getter!($field $type $(, $default)?);)*
        }

        $crate::message::macros::messages! { $($rest)* }
    };
    (
        $(#[$meta:meta])*
        enum $name:ident {
            $first_number:literal $first:ident = $first_wire:literal;
            $($number:literal $variant:ident = $wire:literal;)*
        }
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[doc = concat!("The `", stringify!($name), "` enumeration.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name {
            #[default]
            #[doc = concat!("`", $first_wire, "`")]
            $first = $first_number,
            $(
                #[doc = concat!("`", $wire, "`")]
                $variant = $number,
            )*
        }

        impl $name {
            /// The name on the wire.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    Self::$first => $first_wire,
                    $(Self::$variant => $wire,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl $crate::message::Enumeration for $name {
            const VALUES: &'static [(i32, &'static str)] =
                &[($first_number, $first_wire), $(($number, $wire),)*];
            fn from_number(number: i32) -> Option<Self> {
                match number {
                    $first_number => Some(Self::$first),
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
            fn number(self) -> i32 {
                self as i32
            }
        }

        impl $crate::message::Element for $name {
            const KIND: $crate::message::Kind =
                $crate::message::Kind::Enum(<Self as $crate::message::Enumeration>::VALUES);
            fn item(&self) -> $crate::message::Item<'_> {
                $crate::message::Item::Enum(*self as i32)
            }
            fn set(&mut self, item: $crate::message::Item<'_>) -> bool {
                $crate::message::set_enumeration(self, item)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        $crate::message::macros::messages! { $($rest)* }
    };
}

/// The Rust type of a field.
macro_rules! field_type {
    (required $type:ty) => { $type };
    (optional $type:ty) => { Option<$type> };
    (repeated $type:ty) => { Vec<$type> };
    (map $type:ty) => { std::collections::BTreeMap<String, $type> };
}

/// The label of a field.
macro_rules! field_label {
    (required) => {
        $crate::message::Label::Required
    };
    (optional) => {
        $crate::message::Label::Optional
    };
    (repeated) => {
        $crate::message::Label::Repeated
    };
    (map) => {
        $crate::message::Label::Map
    };
}

/// The default in the table: a function, because a table cannot point to a value of any type.
macro_rules! field_default {
    ($type:ty) => {
        None
    };
    ($type:ty, $default:expr) => {
        Some({
            fn default() -> $crate::message::Item<'static> {
                static DEFAULT: $type = $default;
                $crate::message::Element::item(&DEFAULT)
            }
            default
        })
    };
}

/// The method that answers the default when the field is unset.
macro_rules! default_getter {
    ($field:ident $type:ty) => {};
    ($field:ident $type:ty, $default:expr) => {
        #[doc = concat!("The field of this name, `", stringify!($default), "` if unset.")]
        #[must_use]
        pub fn $field(&self) -> $type {
            self.$field.unwrap_or($default)
        }
    };
}

pub(crate) use {default_getter, field_default, field_label, field_type, messages};
