//! Three members of etcd on loopback, if this machine has it. Called by the parent module. Invariant: none outlives this value.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nesos_cluster_tests::hosts::Host;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Blow, Connection, Service, signal};

const MEMBERS: usize = 3;
/// Where members listen on networks of their own.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// How long the members may take to agree on a leader.
const WHOLE: Duration = Duration::from_secs(30);
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(5);
/// 256 bytes in base64.
const VALUE: usize = 344;

/// The members.
#[derive(Debug)]
pub(super) struct Group {
    home: TempDir,
    clients: Vec<SocketAddr>,
    peers: Vec<SocketAddr>,
    processes: Vec<Option<Child>>,
    /// A network for each; none: all are on loopback.
    hosts: Vec<Host>,
    /// Stands still, or is cut off.
    stopped: Option<usize>,
}

impl Drop for Group {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Group {
    /// `None`: there is no etcd.
    pub(super) fn start() -> Result<Option<Self>> {
        Self::start_on(Vec::new())
    }

    /// The same, on hosts whose cables can be pulled.
    pub(super) fn start_on(hosts: Vec<Host>) -> Result<Option<Self>> {
        let probe = Command::new("etcd")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if probe.is_err() {
            return Ok(None);
        }
        let at = |port| {
            let hosts = hosts.iter();
            hosts.map(move |host| SocketAddr::from((host.address(), port)))
        };
        let (clients, peers) = match hosts.is_empty() {
            true => free_addresses()?,
            false => (at(CLIENT_PORT).collect(), at(PEER_PORT).collect()),
        };
        let mut group = Self {
            home: tempfile::Builder::new().prefix("nesos-load-").tempdir()?,
            clients,
            peers,
            processes: (0..MEMBERS).map(|_| None).collect(),
            hosts,
            stopped: None,
        };
        for member in 0..MEMBERS {
            group.spawn(member, "new")?;
        }
        group.wait()?;
        Ok(Some(group))
    }

    fn spawn(&mut self, member: usize, state: &str) -> Result<()> {
        let name = |member: usize| format!("m{member}");
        let peers = self.peers.iter().enumerate();
        let all: Vec<String> = peers
            .map(|(member, peer)| format!("{}=http://{peer}", name(member)))
            .collect();
        let (client, peer) = (self.clients[member], self.peers[member]);
        let log = File::create(self.home.path().join(format!("{}.log", name(member))))?;
        let mut command = match self.hosts.get(member) {
            Some(host) => host.command("etcd".as_ref()),
            None => Command::new("etcd"),
        };
        let child = command
            .args(["--name", &name(member), "--initial-cluster-state", state])
            .args(["--initial-cluster", &all.join(",")])
            .arg(format!(
                "--data-dir={}",
                self.home.path().join(name(member)).display()
            ))
            .arg(format!("--listen-client-urls=http://{client}"))
            .arg(format!("--advertise-client-urls=http://{client}"))
            .arg(format!("--listen-peer-urls=http://{peer}"))
            .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting etcd")?;
        self.processes[member] = Some(child);
        Ok(())
    }

    fn signal(&self, at: usize, what: Signal) -> Result<()> {
        let process = self.processes[at].as_ref().context("it runs")?;
        signal(process.id(), what)
    }

    /// Until all members say the same of who leads: one that was cut off believes for a while that it does.
    fn wait(&self) -> Result<()> {
        let begin = Instant::now();
        let said = |address: &SocketAddr| {
            let status = status(*address).ok()?;
            let leader = status["leader"].as_str().filter(|id| *id != "0");
            leader.map(str::to_owned)
        };
        let agree = || {
            let said: Vec<Option<String>> = self.living().iter().map(said).collect();
            said.iter().all(|one| one.is_some() && *one == said[0])
        };
        while !agree() {
            ensure!(begin.elapsed() < WHOLE, "etcd does not become whole");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Service for Group {
    fn leader(&self) -> Result<SocketAddr> {
        let leads = |address: &SocketAddr| {
            status(*address).is_ok_and(|status| status["leader"] == status["header"]["member_id"])
        };
        self.living()
            .into_iter()
            .find(leads)
            .context("nobody leads")
    }

    fn living(&self) -> Vec<SocketAddr> {
        let members = self.clients.iter().zip(&self.processes).enumerate();
        let living =
            members.filter(|(at, (_, process))| process.is_some() && self.stopped != Some(*at));
        living.map(|(_, (address, _))| *address).collect()
    }

    fn write(&self, connection: &mut Connection, number: usize) -> Result<bool> {
        connection.post(request(number))
    }

    fn strike(&mut self, blow: Blow) -> Result<usize> {
        let leader = self.leader()?;
        let at = self.clients.iter().position(|address| *address == leader);
        let at = at.context("a member")?;
        match blow {
            Blow::Kill => {
                if let Some(mut process) = self.processes[at].take() {
                    process.kill()?;
                    process.wait()?;
                }
            }
            Blow::Stop => {
                self.signal(at, Signal::SIGSTOP)?;
                self.stopped = Some(at);
            }
            Blow::Cut => {
                self.hosts.get(at).context("a host")?.plug(false);
                self.stopped = Some(at);
            }
        }
        Ok(at)
    }

    fn mend(&mut self, blow: Blow, which: usize) -> Result<()> {
        match blow {
            Blow::Kill => self.spawn(which, "existing")?,
            Blow::Stop => {
                self.signal(which, Signal::SIGCONT)?;
                self.stopped = None;
            }
            Blow::Cut => {
                self.hosts.get(which).context("a host")?.plug(true);
                self.stopped = None;
            }
        }
        self.wait()
    }
}

/// For clients, and for each other.
fn free_addresses() -> Result<(Vec<SocketAddr>, Vec<SocketAddr>)> {
    let mut ports = Vec::new();
    for _ in 0..2 * MEMBERS {
        ports.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let addresses: Result<Vec<SocketAddr>, _> = ports.iter().map(TcpListener::local_addr).collect();
    let mut clients = addresses?;
    let peers = clients.split_off(MEMBERS);
    Ok((clients, peers))
}

fn status(address: SocketAddr) -> Result<Value> {
    let (_, body) = Connection::to(address)?.ask("POST", "/v3/maintenance/status", "{}")?;
    Ok(serde_json::from_str(&body)?)
}

/// What is POSTed for a write: path and body. Each number's is another one.
fn request(number: usize) -> (&'static str, String) {
    let body = format!(
        r#"{{"key":"a2V5","value":"{}{}"}}"#,
        number % 10,
        "A".repeat(VALUE - 1)
    );
    ("/v3/kv/put", body)
}
