//! Harness for tests with real processes: the `nesos` command, a cluster made by `nesos dev up`, plain HTTP, waiting.
//!
//! Everything panics with a sentence: this is test code. Used by tests/cluster, tests/qemu and tests/clients. Invariants: no test
//! touches a network but loopback, nothing outlives its test, and waiting means looking at a condition until a deadline.
#![allow(clippy::expect_used, clippy::panic)]

mod command;
mod dev;
pub mod history;
pub mod hosts;
pub mod http;
pub mod resources;
pub mod scheduler;
mod wait;

pub use command::{Ended, Nesos, Running, binary};
pub use dev::DevCluster;
pub use wait::eventually;
