//! All kernel contact of the board and the only unsafe code of the workspace. Callers: `init`, `agentd` and its helpers, `nesos-shell`.
//!
//! Knows no policy: a module here wraps one kernel interface, returns owned types, and names operation and path or
//! id in its errors. Invariant: every `unsafe` block has a `SAFETY` comment, and nothing here logs or retries.
#![allow(unsafe_code)]

pub mod block;
pub mod cgroup;
pub mod clock;
pub mod confine;
pub mod console;
pub mod container;
mod detached;
pub mod device_filter;
pub mod disk;
pub mod fs;
pub mod input;
pub mod journal_socket;
pub mod machine;
pub mod memory;
pub mod mount;
pub mod mount_table;
pub mod namespace;
pub mod netlink;
pub mod netns;
pub mod new_root;
pub mod nftables;
pub mod packet;
pub mod passing;
pub mod pidfd;
pub mod poller;
pub mod process;
pub mod reap;
pub mod reboot;
mod seccomp;
pub mod signal;
pub mod spawn;
pub mod terminal;
pub mod tree;
pub mod user;
pub mod user_namespace;
pub mod watchdog;
