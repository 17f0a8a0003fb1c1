//! Chronos's API: definitions of jobs as clients send them, and what they are shown.
//!
//! Data, defaults and pure conversions; no HTTP, no calendar and no state: when a job runs is the scheduler's to know. Used by
//! masterd. Invariants: what is written reads back as itself; what Nesos cannot run is refused with the field's name, and
//! fields that Chronos does not have are ignored.

mod container;
mod fields;
mod job;
mod task;
#[cfg(test)]
mod tests;

pub use container::{Container, Volume};
pub use fields::FieldError;
pub use job::{Constraint, Fetch, Job, Operator, Past, Variable};
pub use task::Place;
