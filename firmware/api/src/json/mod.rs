//! Mesos's JSON: snake_case names, numbers as numbers, bytes as base64, defaults shown. It is not proto3's JSON.
//!
//! Not the legacy endpoints (`legacy`). Called by the methods of the messages. Invariant: output is one line of ASCII,
//! because clients compare the record's length in bytes with a count of characters.

mod read;
mod serialize;
mod write;

pub use read::read;
pub use serialize::serialize;
pub use write::{write, write_string};
