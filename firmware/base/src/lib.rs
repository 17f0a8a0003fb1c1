//! What every part of Nesos needs and no part owns: time types, back-off, restart policy, join tokens, cluster.toml.
//!
//! Pure and, without the feature `config`, `no_std`: nothing here reads a clock, opens a file or draws a random number.
#![cfg_attr(not(feature = "config"), no_std)]

extern crate alloc;

pub mod backoff;
pub mod bundle;
#[cfg(feature = "config")]
pub mod cluster_config;
#[cfg(feature = "config")]
pub mod preset;
pub mod restart;
pub mod slots;
pub mod time;
pub mod token;
