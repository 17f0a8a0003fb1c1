//! What the HTTP servers of both daemons judge alike: queries, media types, who may write, numbers for monitoring.
//!
//! No server and no bodies: each daemon has its own, for they live on different runtimes. Called by the handlers of masterd
//! and agentd. Invariant: whatever is refused here is a [`Refusal`], a status with a sentence.

pub mod access;
pub mod answer;
pub mod files;
pub mod help;
pub mod jsonp;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod path;
pub mod query;
mod refusal;

pub use refusal::Refusal;
