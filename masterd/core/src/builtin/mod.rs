//! The built-in schedulers: services are kept running, jobs are started by time or after other jobs.
//!
//! Not part of the [`Master`](crate::Master), which knows them as one more framework; not what is run either, which the
//! shell reads from JSON definitions. Pure as the master: the shell and the simulation carry events in and wishes out.

mod need;

pub use need::{Constraint, Need, Pattern, PatternError, PortNeed, Rule};
