//! A whole cluster in one process and in virtual time: real cores, simulated network, disks, executors, schedulers.
//!
//! Everything that happens follows from one seed, so that a failing run replays exactly. First a phase with faults
//! (broken links, partitions, crashes, reboots, full disks), checked after every step; then everything heals, and within
//! a bounded virtual time every task must have come to an end that its framework knows of. Not here: sockets, TLS, HTTP,
//! protobuf (tests/cluster), and what the kernel does (tests/qemu). Called by `tests/seeds.rs` and `tests/kill_matrix.rs`;
//! `tests/mutants.rs` shows of each checker what it finds.

mod board;
mod books;
mod check;
mod container;
mod converting;
mod fairness;
mod fault;
mod hearing;
mod hostile;
mod launching;
mod laws;
mod lending;
mod master;
mod mutant;
mod net;
mod noting;
mod operator;
mod planned;
mod plot;
mod probing;
mod program;
mod quota;
mod refusals;
mod rng;
mod saying;
mod scheduler;
mod suiting;
mod temper;
mod thinking;
mod upgrade;
mod world;

pub use mutant::Mutant;
pub use plot::{Hour, Victim};
pub use upgrade::Mixed;
pub use world::{Outcome, World, run, run_mutant, run_plot};
