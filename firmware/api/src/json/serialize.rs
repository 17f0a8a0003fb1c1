//! Messages as values of serde, so that they can stand inside the structs of the legacy endpoints.
//!
//! Not the way to write a message on its own: `to_json` is smaller and escapes to ASCII. Called by the messages'
//! `Serialize`. Invariant: the same fields appear as in `to_json`.

use super::write::{enumeration_name, non_finite};
use crate::message::{Field, Item, Label, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Hands the message to a serializer.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(message: &dyn Message, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for field in message.descriptor().fields {
        let Some(value) = message.field(field.number) else {
            continue;
        };
        let mut items = 0;
        value.visit(&mut |_, _| items += 1);
        if items > 0 {
            map.serialize_entry(field.name, &Values { message, field })?;
        } else if let Some(default) = field.default {
            map.serialize_entry(
                field.name,
                &One {
                    field,
                    item: default(),
                },
            )?;
        }
    }
    map.end()
}

/// All values of a field.
struct Values<'a> {
    message: &'a dyn Message,
    field: &'static Field,
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;
        let Some(value) = self.message.field(self.field.number) else {
            return serializer.serialize_none();
        };
        let mut result = Ok(());
        match self.field.label {
            Label::Required | Label::Optional => {
                let mut serializer = Some(serializer);
                let mut result = None;
                value.visit(&mut |_, item| {
                    if let Some(serializer) = serializer.take() {
                        result = Some(
                            One {
                                field: self.field,
                                item,
                            }
                            .serialize(serializer),
                        );
                    }
                });
                match (result, serializer) {
                    (Some(result), _) => result,
                    (None, Some(serializer)) => serializer.serialize_none(),
                    (None, None) => Err(serde::ser::Error::custom("field without a value")),
                }
            }
            Label::Repeated => {
                let mut list = serializer.serialize_seq(None)?;
                value.visit(&mut |_, item| {
                    if result.is_ok() {
                        result = list.serialize_element(&One {
                            field: self.field,
                            item,
                        });
                    }
                });
                result?;
                list.end()
            }
            Label::Map => {
                let mut map = serializer.serialize_map(None)?;
                value.visit(&mut |key, item| {
                    if result.is_ok() {
                        result = map.serialize_entry(
                            key,
                            &One {
                                field: self.field,
                                item,
                            },
                        );
                    }
                });
                result?;
                map.end()
            }
        }
    }
}

/// One value of a field.
struct One<'a> {
    field: &'static Field,
    item: Item<'a>,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.item {
            Item::Bool(value) => serializer.serialize_bool(value),
            Item::Int(value) => serializer.serialize_i64(value),
            Item::Uint(value) => serializer.serialize_u64(value),
            Item::Float(value) if value.is_finite() => serializer.serialize_f64(value),
            Item::Float(value) => serializer.serialize_str(non_finite(value)),
            Item::Str(value) => serializer.serialize_str(value),
            Item::Bytes(value) => serializer.serialize_str(&STANDARD.encode(value)),
            Item::Enum(number) => {
                serializer.serialize_str(enumeration_name(self.field.kind, number))
            }
            Item::Message(value) => serialize(value, serializer),
        }
    }
}
