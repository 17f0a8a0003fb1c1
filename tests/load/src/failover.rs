//! masterd is killed and started again; all agents dial at once with all of their tasks.
//!
//! Stronger than Mesos's figure, which has local messages: here they come over sockets, once in the open and once behind
//! TLS, for which each agent resumes its last session as agents do whose master comes back.

use std::path::Path;

use anyhow::{Result, ensure};
use nesos_wire::FrameworkId;
use tokio::time::Instant;

use crate::Size;
use crate::agents::{Fleet, Online, Security};
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
    let online = fleet.register().await?;
    let first = begin.elapsed().as_secs_f64();
    online.end().await;
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

/// Measures a failover behind TLS and one without.
pub(crate) async fn run(programs: &Path, size: Size) -> Result<()> {
    let agents = size.agents.unwrap_or(10_000);
    let tasks = agents * size.tasks_per_agent;
    eprintln!("... {agents} agents with {tasks} tasks");
    let Loaded {
        first,
        mut cluster,
        mut fleet,
        mut online,
        // Kept: a framework that leaves an orderly master has ended.
        owner: _owner,
    } = load(programs, agents, size.tasks_per_agent).await?;
    let mut rows = vec![Row::new(
        format!("first registration of {agents} agents: whole handshakes"),
        first,
        "s",
    )];
    for (security, how, promise) in [
        (Security::Plain, "without TLS", 1.0),
        (Security::Tls, "with TLS, resumed", 3.0),
    ] {
        fleet.security = security;
        // As in a power cut: agents learn it from their broken links.
        cluster.kill_master();
        online.end().await;
        let taken;
        (taken, online) = fail_over(&mut cluster, &mut fleet, tasks).await?;
        let what = format!("{agents} agents, {tasks} tasks re-registered, {how}");
        let mesos = "1.5: 4.4 s (10k/100k, no TLS)";
        rows.push(
            Row::new(what, taken.registered, "s")
                .target(promise)
                .mesos(mesos),
        );
        let more = [
            ("  of that: until masterd listens", taken.up * 1e3, "ms"),
            ("  masterd's processor time", taken.used, "s"),
            ("  the stand-in agents' processor time", taken.own, "s"),
            (
                "  masterd resident afterwards",
                cluster.master()?.resident()?,
                "MB",
            ),
        ];
        rows.extend(more.map(|(what, value, unit)| Row::new(what, value, unit)));
    }
    table::print(&rows);
    Ok(())
}

/// What a failover took, seconds.
struct Taken {
    up: f64,
    registered: f64,
    used: f64,
    own: f64,
}

/// Starts masterd again and waits until all agents are back with all tasks.
async fn fail_over(
    cluster: &mut Cluster,
    fleet: &mut Fleet,
    tasks: usize,
) -> Result<(Taken, Online)> {
    let before = own_processor()?;
    let begin = Instant::now();
    cluster.start_master().await?;
    let up = begin.elapsed().as_secs_f64();
    let mut online = fleet.register().await?;
    let taken = Taken {
        up,
        registered: begin.elapsed().as_secs_f64(),
        used: cluster.master()?.processor()?,
        own: own_processor()? - before,
    };
    let (alive, agents) = (online.alive(), fleet.len());
    ensure!(
        alive == agents,
        "only {alive} of {agents} links live: {}",
        cluster.log("master")
    );
    let mut connection = Connection::new(cluster.address).await?;
    let snapshot = connection.get("/metrics/snapshot").await?;
    let metrics: serde_json::Value = serde_json::from_slice(&snapshot)?;
    let known = metrics["master/tasks_running"].as_f64().unwrap_or_default();
    ensure!(
        known == tasks as f64,
        "the master knows {known} of {tasks} tasks"
    );
    Ok((taken, online))
}
