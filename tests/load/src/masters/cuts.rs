//! How long nobody takes writes after the leader's cable was pulled: of three masters, and of three members of etcd and of ZooKeeper.
//!
//! Called by the parent module, in namespaces where nothing else is: each member has a network of its own, on a switch that
//! only this program has. Unlike a leader that stands still, one that is cut off goes on believing that it leads. Invariant:
//! nothing reaches this machine's own network.

use std::path::Path;

use anyhow::Result;
use nesos_cluster_tests::hosts::{self, Host};

use super::client::{Blow, Service};
use super::group::Group;
use super::{BLOWS, FEW, befallen, etcd, without_leaders, zookeeper};
use crate::table::{Row, quantile};

/// Members of each group.
const MEMBERS: u8 = 3;
/// Promised: median and most, ms.
const PROMISES: [f64; 2] = [450.0, 800.0];

/// Whether this process is in namespaces of its own. Otherwise another one was, and has printed its table.
pub(super) fn is_inside(programs: &Path) -> bool {
    let programs = programs.display().to_string();
    hosts::inside(&["--programs", &programs, "masters", "--only", "cuts"])
}

/// Measures all of them.
pub(super) async fn run(programs: &Path) -> Result<Vec<Row>> {
    let plugged = |from: u8| (from..from + MEMBERS).map(Host::new).collect::<Vec<_>>();
    let mut group = Group::start_on(programs, plugged(1)).await?;
    group.grow()?;
    let mut rows = Vec::from(befallen(&mut group, Blow::Cut, PROMISES)?);
    drop(group);
    match etcd::Group::start_on(plugged(1 + MEMBERS)) {
        Ok(Some(etcd)) => rows.extend(beside("etcd", etcd, BLOWS)?),
        Ok(None) => eprintln!("... no etcd on this machine (Debian's etcd-server)"),
        Err(error) => eprintln!("... etcd does not run: {error:#}"),
    }
    match zookeeper::Group::start_on(plugged(1 + 2 * MEMBERS)) {
        Ok(Some(zookeeper)) => rows.extend(beside("ZooKeeper", zookeeper, FEW)?),
        Ok(None) => eprintln!("... no ZooKeeper on this machine (scripts/setup --bench)"),
        Err(error) => eprintln!("... ZooKeeper does not run: {error:#}"),
    }
    Ok(rows)
}

/// What others do; so many of their leaders are cut off.
fn beside(whose: &str, mut service: impl Service, count: usize) -> Result<[Row; 2]> {
    let mut times = without_leaders(&mut service, Blow::Cut, count)?;
    let name = format!("{whose}: leader cut off to the next accepted write, p50");
    Ok([
        Row::new(name, quantile(&mut times, 0.5), "ms"),
        Row::new(
            format!("  most of {count}"),
            quantile(&mut times, 1.0),
            "ms",
        ),
    ])
}
