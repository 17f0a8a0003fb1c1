//! What the tokio shells of all daemons share: flags, logging, TLS with a pinned CA, framed links, mDNS, clocks.
//!
//! Everything here does I/O or reads the world; decisions are made in the cores. Called by masterd, agentd and the CLI.
//! Feature `authority` (certificate issuing) is for masters, `mdns` for whoever advertises or browses, `http` for daemons.

pub mod address;
pub mod alarm;
pub mod clock;
pub mod flags;
pub mod framed;
#[cfg(feature = "http")]
pub mod http;
pub mod limits;
pub mod log;
#[cfg(feature = "mdns")]
pub mod mdns;
pub mod plain;
pub mod settle;
pub mod stale;
pub mod tls;
