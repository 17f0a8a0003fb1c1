//! What Nesos's daemons say to each other: ids, resources, tasks, messages, replicated commands and their framing.
//!
//! `no_std` + `alloc`, no I/O. Everything here derives serde and travels as [postcard](frame) bytes, so the types obey
//! two rules: enums are append-only, and a released struct never changes (a new variant carries the new shape).
//! Not here: the public HTTP types (`nesos-api`), and anything that knows a socket, a clock or a file.
//!
//! ```
//! use nesos_wire::{frame, message::MasterToAgent};
//! let bytes = frame::encode(&MasterToAgent::Ping { sequence: 7 }).expect("small message");
//! let (message, used) = frame::decode::<MasterToAgent>(&bytes).expect("whole frame").expect("valid");
//! assert_eq!((message, used), (MasterToAgent::Ping { sequence: 7 }, bytes.len()));
//! ```
#![no_std]

extern crate alloc;

pub mod builtin;
pub mod check;
pub mod command;
pub mod domain;
pub mod executor;
pub mod file_system;
pub mod frame;
pub mod framework_executor;
pub mod id;
pub mod join;
pub mod maintenance;
pub mod masters;
pub mod message;
pub mod operation;
pub mod plain;
pub mod resource;
pub mod resource_text;
pub mod rights;
pub mod role;
pub mod task;
pub mod version;

pub use id::*;
