//! Whether waiting for an offer makes sense, and a word to the person about why it takes so long.
//!
//! Called by `run` beside the scheduler. Invariant: only what all registered nodes together cannot change is refused; a
//! busy or absent node is waited for.

use std::cell::RefCell;
use std::time::Duration;

use tokio::sync::watch;

use super::job::Job;
use super::{RunError, Stage};
use crate::cluster::{self, Node};
use crate::http::Client;
use crate::output::{Progress, number};

/// How often the nodes are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long an offer may take before the person is told what is waited for.
const PATIENCE: Duration = Duration::from_millis(700);

/// Returns when an offer was taken; fails when none can ever fit.
pub(super) async fn watch(
    client: &Client,
    job: &Job,
    mut stage: watch::Receiver<Stage>,
    progress: &RefCell<Progress>,
) -> Result<(), RunError> {
    let mut pause = PATIENCE;
    loop {
        tokio::select! {
            // An error means that the scheduler is gone, and its error is the one to show.
            _ = stage.wait_for(|stage| !stage.is_waiting()) => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        // A master that is away is the scheduler's business.
        if let Ok(nodes) = cluster::nodes(client).await
            && stage.borrow().is_waiting()
        {
            let text = verdict(job, &nodes).map_err(RunError::NeverFits)?;
            progress.borrow_mut().now(&text);
        }
        pause = LOOK;
    }
}

/// What is waited for, or why waiting is in vain.
fn verdict(job: &Job, nodes: &[Node]) -> Result<String, String> {
    if nodes.is_empty() {
        return Ok("waiting for the first node to join".to_owned());
    }
    let meant: Vec<&Node> = nodes
        .iter()
        .filter(|node| job.on.as_deref().is_none_or(|on| node.answers_to(on)))
        .collect();
    if meant.is_empty() {
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        return Err(format!(
            "no node is called '{}'; there are {}",
            job.on.as_deref().unwrap_or_default(),
            names.join(", ")
        ));
    }
    let large: Vec<&&Node> = meant
        .iter()
        .filter(|node| node.total.cpus + 1e-9 >= job.cpus && node.total.mem + 1e-9 >= job.mem)
        .collect();
    if large.is_empty() {
        let cpus = meant.iter().map(|node| node.total.cpus).fold(0.0, f64::max);
        let mem = meant.iter().map(|node| node.total.mem).fold(0.0, f64::max);
        return Err(format!(
            "no node can ever run this: it asks for {} cpus and {} MiB on one node; the most there is are {} cpus and {} MiB",
            number(job.cpus),
            number(job.mem),
            number(cpus),
            number(mem)
        ));
    }
    if large.iter().any(|node| node.active) {
        Ok(format!(
            "waiting for {} free cpus and {} MiB",
            number(job.cpus),
            number(job.mem)
        ))
    } else {
        Ok("waiting for a node to come back".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::{Cli, Command};
    use crate::cluster::Quantities;
    use clap::Parser;

    fn node(name: &str, cpus: f64, mem: f64) -> Node {
        Node {
            agent: format!("{name}-id"),
            name: name.to_owned(),
            address: "10.0.0.1:5051".to_owned(),
            active: true,
            state: "active",
            total: Quantities { cpus, mem },
            used: Quantities::default(),
            version: String::new(),
        }
    }

    fn job(words: &[&str]) -> Job {
        let words = ["nesos", "run"].iter().chain(words).chain(&["--", "x"]);
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!()
        };
        Job::new(&args).unwrap()
    }

    #[test]
    fn only_the_impossible_is_refused() {
        let nodes = [node("a", 1.0, 512.0), node("b", 4.0, 64.0)];
        assert!(verdict(&job(&["--cpus", "1", "--mem", "512"]), &nodes).is_ok());
        assert!(verdict(&job(&[]), &[]).is_ok());
        let both = verdict(&job(&["--cpus", "2", "--mem", "128"]), &nodes).unwrap_err();
        assert!(
            both.contains("most there is are 4 cpus and 512 MiB"),
            "{both}"
        );
        let unknown = verdict(&job(&["--on", "c"]), &nodes).unwrap_err();
        assert!(unknown.contains("there are a, b"), "{unknown}");
        assert!(verdict(&job(&["--on", "a", "--cpus", "2"]), &nodes).is_err());
        let away = Node {
            active: false,
            ..node("a", 1.0, 64.0)
        };
        assert_eq!(
            verdict(&job(&[]), &[away]).unwrap(),
            "waiting for a node to come back"
        );
    }
}
