//! Marathon's API: definitions of apps and groups as clients send them, and what they are shown.
//!
//! Data, defaults, validation and pure conversions; no HTTP, and no state: what runs is the caller's to know. Used by
//! masterd. Invariants: a definition that was read holds every rule named here, what is written reads back as itself, and
//! only keys that Marathon has are written, since clients take a key that they do not know for an error.

pub mod about;
pub mod app;
mod container;
pub mod event;
mod fields;
pub mod group;
mod health;
pub mod id;
mod parts;
pub mod ports;
pub mod progress;
mod read;
pub mod shown;
mod task;
#[cfg(test)]
mod tests;
pub mod time;

pub use app::{App, AppUpdate};
pub use fields::{Fault, Refusal};
pub use task::{Place, task_info};
