//! The messages of `mesos/v1/mesos.proto`, shared by the scheduler, executor and operator APIs.
//!
//! Nested types have one joined name: `Resource.DiskInfo.Source` is [`ResourceDiskInfoSource`]. Used by the daemons and the
//! command line. Invariant: field names, numbers and defaults are Mesos's own.

mod command;
mod container;
mod convenience;
mod framework;
mod id;
mod offer;
mod resource;
mod status;
mod task;

pub use command::*;
pub use container::*;
pub use framework::*;
pub use id::*;
pub use offer::*;
pub use resource::*;
pub use status::*;
pub use task::*;
