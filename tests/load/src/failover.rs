//! masterd is killed and started again; all agents dial at once with all of their tasks.
//!
//! Stronger than Mesos's figure, which has local messages and no TLS: here each agent does a handshake, a resumed one as
//! agents do whose master comes back.

use std::path::Path;

use anyhow::{Result, ensure};
use nesos_wire::FrameworkId;
use tokio::time::Instant;

use crate::Size;
use crate::agents::{Fleet, Online};
use crate::daemon::{Cluster, own_processor};
use crate::framework::{self, Connection, Framework};
use crate::table::{self, Row};

/// A cluster with agents whose tasks belong to one framework that wants no offers.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// How long the first registration took, with whole handshakes and without tasks, seconds.
    pub(crate) first: f64,
    pub(crate) cluster: Cluster,
    pub(crate) fleet: Fleet,
    pub(crate) online: Online,
    pub(crate) owner: Framework,
}

/// Brings up `agents` agents with `tasks_per_agent` tasks each.
pub(crate) async fn load(programs: &Path, agents: usize, tasks_per_agent: usize) -> Result<Loaded> {
    let cluster = Cluster::start(programs).await?;
    let owner = Framework::subscribe(cluster.address, "load", true).await?;
    let mut fleet = Fleet::new(cluster.address, &cluster.key, "board", agents)?;
    let begin = Instant::now();
    drop(fleet.register().await?);
    let first = begin.elapsed().as_secs_f64();
    let mut info =
        nesos_api::v1::FrameworkInfo::from_json(framework::info("load").to_string().as_bytes())?;
    info.id = Some(nesos_api::v1::FrameworkID::from(owner.id.as_str()));
    fleet.load(
        tasks_per_agent,
        &FrameworkId::new(owner.id.as_str()),
        &info.to_protobuf(),
    )?;
    let online = fleet.register().await?;
    Ok(Loaded {
        first,
        cluster,
        fleet,
        online,
        owner,
    })
}

/// Measures one failover.
pub(crate) async fn run(programs: &Path, size: Size) -> Result<()> {
    let agents = size.agents.unwrap_or(10_000);
    let tasks = agents * size.tasks_per_agent;
    eprintln!("... {agents} agents with {tasks} tasks");
    let Loaded {
        first,
        mut cluster,
        mut fleet,
        online,
        owner,
    } = load(programs, agents, size.tasks_per_agent).await?;
    cluster.kill_master();
    drop((online, owner));
    let before = own_processor()?;
    let begin = Instant::now();
    cluster.start_master().await?;
    let up = begin.elapsed().as_secs_f64();
    let mut online = fleet.register().await?;
    let registered = begin.elapsed().as_secs_f64();
    let used = cluster.master()?.processor()?;
    let own = own_processor()? - before;
    let alive = online.alive();
    ensure!(
        alive == agents,
        "only {alive} of {agents} links live: {}",
        cluster.log("master")
    );
    let snapshot = Connection::new(cluster.address)
        .await?
        .get("/metrics/snapshot")
        .await?;
    let metrics: serde_json::Value = serde_json::from_slice(&snapshot)?;
    let known = metrics["master/tasks_running"].as_f64().unwrap_or_default();
    ensure!(
        known == tasks as f64,
        "the master knows {known} of {tasks} tasks"
    );
    table::print(&[
        Row::new(
            format!("first registration of {agents} agents: whole handshakes"),
            first,
            "s",
        ),
        Row::new("masterd started to accepting", up * 1e3, "ms"),
        Row::new(
            format!("started to {agents} agents, {tasks} tasks re-registered"),
            registered,
            "s",
        )
        .target(1.0)
        .mesos("1.5: 4.4 s (10k/100k, no TLS)"),
        Row::new(
            "of that, for each agent",
            (registered - up) * 1e6 / agents as f64,
            "us",
        ),
        Row::new("masterd's processor time meanwhile", used, "s"),
        Row::new("the stand-in agents' processor time meanwhile", own, "s"),
        Row::new(
            "masterd resident afterwards",
            cluster.master()?.resident()?,
            "MB",
        ),
    ]);
    Ok(())
}
