//! Container images as the documents about them say: what an image is called, of which layers it is made, what it runs.
//!
//! Pure, and everything in it was written by strangers; the shell asks registries and unpacks layers. Invariant: a digest
//! is a SHA-256, and no document makes more than its own bounded size of work.

mod command;
mod document;
mod reference;

pub use command::{NoProgram, program};
pub use document::{
    Config, Descriptor, Document, DocumentError, MAX_DOCUMENT, MAX_LAYERS, Manifest, Platform,
    choose,
};
pub use reference::{Digest, Reference, ReferenceError, Version};
