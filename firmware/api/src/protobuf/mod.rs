//! proto2's binary format for any message.
//!
//! No groups, no packed output (proto2 writes lists unpacked; packed input is read). Called through `from_protobuf` and
//! `to_protobuf`. Invariant: fields are written by ascending number, so the same message gives the same bytes.

mod read;
mod write;

pub use read::read;
pub use write::write;
