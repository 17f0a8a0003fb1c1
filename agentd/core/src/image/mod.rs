//! Container images as the documents about them say: what an image is called, of which layers it is made, what it runs.
//!
//! Pure, and everything in it was written by strangers; the shell asks registries and unpacks layers. Invariant: a digest
//! is a SHA-256, and no document makes more than its own bounded size of work.

mod archive;
mod command;
mod document;
mod login;
mod pick;
mod platform;
mod reference;

pub use archive::Archived;
pub use command::{NoProgram, program};
pub use document::{
    Choice, Config, Descriptor, Document, DocumentError, MAX_DOCUMENT, MAX_LAYERS, Manifest,
};
pub use login::{Challenge, Logins, MAX_CONFIG, token};
pub use pick::{Pick, pick};
pub use platform::{Platform, choose};
pub use reference::{Digest, Reference, ReferenceError, Version, is_host};
