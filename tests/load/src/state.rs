//! `/state` while a framework launches tasks all the time: for one client, and for twenty at once.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use anyhow::Result;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::Size;
use crate::agents::Fleet;
use crate::failover;
use crate::framework::Framework;
use crate::reader::Reader;
use crate::table::{self, Row, quantile};

/// Agents on which scheduling goes on.
const BUSY_AGENTS: usize = 20;
/// Answers per client count.
const ANSWERS: usize = 100;

/// Measures one master.
pub(crate) async fn run(programs: &Path, size: Size) -> Result<()> {
    let agents = size.agents.unwrap_or(2000);
    let tasks = agents * size.tasks_per_agent;
    eprintln!("... {agents} agents with {tasks} tasks");
    let loaded = failover::load(programs, agents, size.tasks_per_agent).await?;
    let address = loaded.cluster.address;
    let mut busy = Fleet::new(address, &loaded.cluster.key, "busy", BUSY_AGENTS)?;
    let _online = busy.register().await?;
    let local = LocalSet::new();
    local
        .run_until(async {
            let launched = Rc::new(Cell::new(0));
            let scheduler = Framework::subscribe(address, "churn", false).await?;
            let churn = tokio::task::spawn_local(scheduler.churn(Rc::clone(&launched)));
            let mut rows = Vec::new();
            for clients in [1, 20] {
                let (before, begin) = (launched.get(), Instant::now());
                let (mut times, bytes) = ask(address, clients).await?;
                let rate = (launched.get() - before) as f64 / begin.elapsed().as_secs_f64();
                let row = Row::new(
                    format!("/state, {clients} clients, p50"),
                    quantile(&mut times, 0.5),
                    "ms",
                );
                // Mesos: 100 agents x 10 frameworks x 20 tasks, 20k in all.
                rows.push(if clients == 1 {
                    row.target(5.0).mesos("1.7: 100 ms")
                } else {
                    row.mesos("1.7: 1000 ms (mean)")
                });
                rows.push(Row::new(
                    format!("/state, {clients} clients, p99"),
                    quantile(&mut times, 0.99),
                    "ms",
                ));
                rows.push(Row::new("  its size", bytes as f64 / 1e6, "MB"));
                rows.push(Row::new("  launches meanwhile", rate, "/s"));
            }
            anyhow::ensure!(!churn.is_finished(), "scheduling ended: {:?}", churn.await);
            churn.abort();
            table::print(&rows);
            Ok(())
        })
        .await
}

/// Times of `ANSWERS` answers shared by `clients` clients, ms, and the size of one. Each client has a thread, as agents and
/// framework have one.
async fn ask(address: std::net::SocketAddr, clients: usize) -> Result<(Vec<f64>, usize)> {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..clients {
        asking.spawn_blocking(move || {
            let mut reader = Reader::new(address, "/state")?;
            (0..ANSWERS / clients).map(|_| reader.get()).collect()
        });
    }
    let (mut times, mut bytes) = (Vec::new(), 0);
    while let Some(answers) = asking.join_next().await {
        let answers: Result<Vec<_>> = answers?;
        for (time, size) in answers? {
            times.push(time.as_secs_f64() * 1e3);
            bytes = size;
        }
    }
    Ok((times, bytes))
}
