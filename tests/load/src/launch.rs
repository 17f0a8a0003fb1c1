//! From an ACCEPT to its TASK_RUNNING: a real masterd, a real agentd, a process started for each task.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tokio::time::Instant;

use crate::daemon::Cluster;
use crate::framework::Framework;
use crate::table::{self, Row, quantile};

/// Tasks before the measurement: page cache, first connections.
const WARM_UP: usize = 10;

/// Measures `tasks` launches, one after the other.
pub(crate) async fn run(programs: &Path, tasks: usize) -> Result<()> {
    let cluster = Cluster::start(programs).await?;
    let _agent = cluster.start_agent("cpus:4;mem:1024;disk:1000;ports:[31000-32000]", &[])?;
    let mut framework = Framework::subscribe(cluster.address, "launch", false).await?;
    let mut offers = VecDeque::new();
    let mut taken = Vec::new();
    for number in 0..WARM_UP + tasks {
        let offer = next_offer(&mut framework, &mut offers).await?;
        let begin = Instant::now();
        framework
            .launch(&offer, &format!("launch-{number}"))
            .await?;
        let mut running = None;
        loop {
            let event = framework.next().await?;
            offers.extend(
                event["offers"]["offers"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            let status = &event["update"]["status"];
            match status["state"].as_str() {
                Some("TASK_RUNNING") => running = running.or(Some(begin.elapsed())),
                Some("TASK_STARTING") | None => {}
                Some("TASK_FINISHED") => {
                    framework.acknowledge(status).await?;
                    break;
                }
                Some(_) => anyhow::bail!("a task did not run: {status}"),
            }
            framework.acknowledge(status).await?;
        }
        if number >= WARM_UP {
            taken.extend(running.map(|time| time.as_secs_f64() * 1e3));
        }
    }
    table::print(&[
        Row::new(
            format!("ACCEPT to TASK_RUNNING, p50 of {}", taken.len()),
            quantile(&mut taken, 0.5),
            "ms",
        )
        .target(2.5),
        Row::new(
            "ACCEPT to TASK_RUNNING, p99",
            quantile(&mut taken, 0.99),
            "ms",
        ),
        Row::new(
            "ACCEPT to TASK_RUNNING, least",
            quantile(&mut taken, 0.0),
            "ms",
        ),
    ]);
    Ok(())
}

async fn next_offer(framework: &mut Framework, offers: &mut VecDeque<Value>) -> Result<Value> {
    loop {
        if let Some(offer) = offers.pop_front() {
            return Ok(offer);
        }
        let event = framework.next().await?;
        if event["type"] == "RESCIND" {
            offers.retain(|offer: &Value| offer["id"] != event["rescind"]["offer_id"]);
        }
        offers.extend(
            event["offers"]["offers"]
                .as_array()
                .into_iter()
                .flatten()
                .cloned(),
        );
        framework.acknowledge(&event["update"]["status"]).await?;
    }
}
