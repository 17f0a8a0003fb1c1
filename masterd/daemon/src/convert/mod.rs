//! Between the public Mesos v1 types (`nesos-api`) and the core's and wire types.
//!
//! Pure functions, no I/O. Called by the HTTP handlers (calls in) and the engine (events out, state). Invariant: what the
//! core cannot represent is refused with a sentence, never dropped without one.

pub(crate) mod call;
mod check;
pub(crate) mod constraints;
pub(crate) mod event;
pub(crate) mod executor;
pub(crate) mod job;
pub(crate) mod launch;
pub(crate) mod maintenance;
mod network;
pub(crate) mod news;
pub(crate) mod operation;
pub(crate) mod operator;
pub(crate) mod service;
pub(crate) mod shares;
pub(crate) mod status;
pub(crate) mod subscribe;

pub(crate) use nesos_api::resources as resource;
