//! Three real masterds. Called by the parent module. Invariant: none outlives this value.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nesos_base::token::ClusterKey;
use nesos_cluster_tests::hosts::Host;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::client::{Blow, Connection, Service, signal};
use crate::daemon::{Cluster, Process};

const MASTERS: &str = "/nesos/v1/masters";
/// How long the group may take to be whole.
const WHOLE: Duration = Duration::from_secs(30);
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(1);

/// The group.
#[derive(Debug)]
pub(super) struct Group {
    cluster: Cluster,
    members: Vec<(SocketAddr, Option<Process>)>,
    /// Stands still.
    stopped: Option<usize>,
}

/// What a master has done until now.
#[derive(Debug)]
pub(super) struct Doings {
    pub(super) leads: bool,
    pub(super) wakeups: f64,
    pub(super) written: f64,
    pub(super) resident: f64,
    /// Processor time, seconds.
    pub(super) processor: f64,
}

impl Group {
    /// One master, for now.
    pub(super) async fn start(programs: &Path) -> Result<Self> {
        Self::of(Cluster::start(programs).await?)
    }

    /// The same, on hosts whose cables can be pulled.
    pub(super) async fn start_on(programs: &Path, hosts: Vec<Host>) -> Result<Self> {
        Self::of(Cluster::start_on(programs, hosts).await?)
    }

    fn of(mut cluster: Cluster) -> Result<Self> {
        let first = (cluster.address, cluster.take_master());
        Ok(Self {
            cluster,
            members: vec![first],
            stopped: None,
        })
    }

    /// Where their work folders are.
    pub(super) fn folder(&self) -> PathBuf {
        self.cluster.folder().to_owned()
    }

    /// The key of the cluster.
    pub(super) fn key(&self) -> &ClusterKey {
        &self.cluster.key
    }

    /// Adds two.
    pub(super) fn grow(&mut self) -> Result<()> {
        for _ in 1..3 {
            let number = self.members.len();
            let (address, process) = self.cluster.start_another_master(number, None)?;
            self.members.push((address, Some(process)));
            let name = address.to_string();
            self.until(|masters| role(masters, &name) == Some("candidate"))?;
            let leader = self.leader()?;
            let body = json!({ "add": name }).to_string();
            let (status, text) = Connection::to(leader)?.ask("POST", MASTERS, &body)?;
            ensure!(status == 200, "{text}");
            self.until(|masters| role(masters, &name) == Some("voter"))?;
        }
        self.settle()
    }

    /// Waits until all have everything.
    pub(super) fn settle(&self) -> Result<()> {
        let count = self.members.len();
        let has_all = |master: &Value| master["connected"] == true && master["behind"] == 0;
        self.until(|masters| masters.len() == count && masters.iter().all(has_all))
    }

    /// From the question to the next accepted write, ms.
    pub(super) fn hand_over(&mut self) -> Result<f64> {
        let leader = self.leader()?;
        let mut connection = Connection::to(leader)?;
        let begin = Instant::now();
        let (status, text) = connection.ask("POST", MASTERS, r#"{"hand_over": null}"#)?;
        ensure!(status == 200, "{text}");
        let others = self
            .living()
            .into_iter()
            .filter(|address| *address != leader);
        let others: Vec<SocketAddr> = others.collect();
        let accepts = |address: &SocketAddr| {
            let connection = Connection::to(*address);
            connection.is_ok_and(|mut connection| self.write(&mut connection, 7).unwrap_or(false))
        };
        while !others.iter().any(accepts) {
            ensure!(begin.elapsed() < WHOLE, "nobody takes writes");
        }
        let taken = begin.elapsed().as_secs_f64() * 1e3;
        self.settle()?;
        Ok(taken)
    }

    fn signal(&self, at: usize, what: Signal) -> Result<()> {
        let process = self.members[at].1.as_ref().context("it runs")?;
        signal(process.id(), what)
    }

    /// What each has done until now.
    pub(super) fn doings(&self) -> Result<Vec<Doings>> {
        let leader = self.leader()?;
        let members = self.members.iter();
        let living = members.filter_map(|(address, process)| Some((*address, process.as_ref()?)));
        living
            .map(|(address, process)| {
                Ok(Doings {
                    leads: address == leader,
                    wakeups: wakeups(process.id())?,
                    written: written(process.id())?,
                    resident: process.resident()?,
                    processor: process.processor()?,
                })
            })
            .collect()
    }

    /// How often the leader has flushed its log until now.
    pub(super) fn flushes(&self) -> Result<f64> {
        let (_, body) = Connection::to(self.leader()?)?.ask("GET", "/metrics/snapshot", "")?;
        let metrics: Value = serde_json::from_str(&body)?;
        metrics["nesos/log_flushes"]
            .as_f64()
            .context("no count of flushes")
    }

    /// Memory of the one that has most, MB.
    pub(super) fn resident(&self) -> Result<f64> {
        let each = self.doings()?.into_iter().map(|doings| doings.resident);
        Ok(each.fold(0.0, f64::max))
    }

    /// What the one that leads has done until now.
    pub(super) fn leaders_doings(&self) -> Result<Doings> {
        let mut doings = self.doings()?.into_iter();
        let leads = doings.find(|doings| doings.leads);
        leads.context("nobody leads")
    }

    fn until(&self, is_so: impl Fn(&[Value]) -> bool) -> Result<()> {
        let begin = Instant::now();
        loop {
            let known = self.leader().and_then(masters);
            if known.is_ok_and(|known| is_so(&known)) {
                return Ok(());
            }
            ensure!(begin.elapsed() < WHOLE, "the group does not become whole");
            std::thread::sleep(LOOK);
        }
    }
}

impl Service for Group {
    fn leader(&self) -> Result<SocketAddr> {
        let leads = |address: &SocketAddr| {
            let asked = Connection::to(*address).and_then(|mut it| it.ask("GET", "/weights", ""));
            asked.is_ok_and(|(status, _)| status == 200)
        };
        self.living()
            .into_iter()
            .find(leads)
            .context("nobody leads")
    }

    fn living(&self) -> Vec<SocketAddr> {
        let members = self.members.iter().enumerate();
        let living = members.filter(|(at, member)| member.1.is_some() && self.stopped != Some(*at));
        living.map(|(_, (address, _))| *address).collect()
    }

    fn write(&self, connection: &mut Connection, number: usize) -> Result<bool> {
        connection.post(request(number))
    }

    fn strike(&mut self, blow: Blow) -> Result<usize> {
        let leader = self.leader()?;
        let mut members = self.members.iter();
        let at = members.position(|(address, _)| *address == leader);
        let at = at.context("a member")?;
        match blow {
            Blow::Kill => self.members[at].1 = None,
            Blow::Stop => {
                self.signal(at, Signal::SIGSTOP)?;
                self.stopped = Some(at);
            }
            Blow::Cut => {
                self.cluster.plug(at, false)?;
                self.stopped = Some(at);
            }
        }
        Ok(at)
    }

    fn mend(&mut self, blow: Blow, which: usize) -> Result<()> {
        match blow {
            Blow::Kill => {
                let address = self.members[which].0;
                let (_, process) = self.cluster.start_another_master(which, Some(address))?;
                self.members[which].1 = Some(process);
            }
            Blow::Stop => {
                self.signal(which, Signal::SIGCONT)?;
                self.stopped = None;
            }
            Blow::Cut => {
                self.cluster.plug(which, true)?;
                self.stopped = None;
            }
        }
        self.settle()
    }
}

fn masters(address: SocketAddr) -> Result<Vec<Value>> {
    let (_, body) = Connection::to(address)?.ask("GET", MASTERS, "")?;
    let answer: Value = serde_json::from_str(&body)?;
    Ok(answer["masters"].as_array().cloned().unwrap_or_default())
}

fn role<'a>(masters: &'a [Value], address: &str) -> Option<&'a str> {
    let found = masters.iter().find(|master| master["address"] == address)?;
    found["role"].as_str()
}

/// How often its threads have waited for something.
fn wakeups(process: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path().join("status");
        sum += number(&fs::read_to_string(path)?, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// Bytes that it has had written to disks.
fn written(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/io"))?;
    number(&text, "write_bytes:")
}

fn number(text: &str, key: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.trim().parse().ok());
    number.with_context(|| format!("no {key}"))
}

/// What is POSTed for a write: path and body. Each number's is another one.
pub(super) fn request(number: usize) -> (&'static str, String) {
    // Another one each time, or there were nothing to agree on.
    let weight = 1.0 + number as f64;
    let infos = json!([{"role": "r".repeat(200), "weight": weight}]);
    let call = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": infos}});
    ("/api/v1", call.to_string())
}
