//! Three members of ZooKeeper, on loopback or on networks of their own, if this machine has it (`scripts/setup --bench`).
//!
//! Called by the parent module. Its configuration is Debian's example, but for files, ports and how many clients may come from
//! one host. A write is a `setData` of 256 bytes; of its protocol nothing else is spoken here but what opens a session.
//! Invariant: no member outlives this value.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nesos_cluster_tests::hosts::Host;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::client::{Blow, Connection, Service, signal};

const MEMBERS: usize = 3;
/// How long three Java machines may take to start and to agree; one that was cut off, to come back.
const WHOLE: Duration = Duration::from_secs(60);
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(10);
/// Where Debian has it.
const JAR: &str = "/usr/share/java/zookeeper.jar";
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
/// What is written to.
const NODE: &str = "/nesos-load";
const VALUE: usize = 256;
/// Operations, of its protocol.
const CREATE: i32 = 1;
const SET_DATA: i32 = 5;
/// The node is there already.
const NODE_EXISTS: i32 = -110;
/// A session that is asked for: far longer than any measurement.
const SESSION_MS: i32 = 60_000;
/// Longest answer.
const MAX_ANSWER: usize = 4096;

/// The members.
#[derive(Debug)]
pub(super) struct Group {
    home: TempDir,
    clients: Vec<SocketAddr>,
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
    /// `None`: there is no ZooKeeper.
    pub(super) fn start_on(hosts: Vec<Host>) -> Result<Option<Self>> {
        if !Path::new(JAR).exists() {
            return Ok(None);
        }
        let addresses = addresses(&hosts)?;
        let home = tempfile::Builder::new().prefix("nesos-load-").tempdir()?;
        let servers: Vec<String> = addresses.iter().enumerate().map(server_line).collect();
        for (member, [client, ..]) in addresses.iter().enumerate() {
            let data = home.path().join(member.to_string());
            fs::create_dir(&data)?;
            fs::write(data.join("myid"), (member + 1).to_string())?;
            let config = format!(
                "tickTime=2000\nmaxClientCnxns=0\ninitLimit=10\nsyncLimit=5\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n\
                 dataDir={}\nclientPortAddress={}\nclientPort={}\n{}\n",
                data.display(),
                client.ip(),
                client.port(),
                servers.join("\n"),
            );
            fs::write(data.join("zoo.cfg"), config)?;
        }
        let mut group = Self {
            home,
            clients: addresses.into_iter().map(|[client, ..]| client).collect(),
            processes: (0..MEMBERS).map(|_| None).collect(),
            hosts,
            stopped: None,
        };
        for member in 0..MEMBERS {
            group.spawn(member)?;
        }
        group.wait()?;
        let mut connection = Connection::to(group.leader()?)?;
        let error = operate(&mut connection, CREATE, &create())?;
        ensure!(error == 0 || error == NODE_EXISTS, "create: error {error}");
        Ok(Some(group))
    }

    fn spawn(&mut self, member: usize) -> Result<()> {
        let data = self.home.path().join(member.to_string());
        let log = File::create(data.join("log"))?;
        let mut command = match self.hosts.get(member) {
            Some(host) => host.command("java".as_ref()),
            None => Command::new("java"),
        };
        let child = command
            .args(["-cp", JAR, MAIN])
            .arg(data.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting java")?;
        self.processes[member] = Some(child);
        Ok(())
    }

    fn signal(&self, at: usize, what: Signal) -> Result<()> {
        let process = self.processes[at].as_ref().context("it runs")?;
        signal(process.id(), what)
    }

    /// Until one leads and all others follow.
    fn wait(&self) -> Result<()> {
        let begin = Instant::now();
        let is_whole = || {
            let modes: Vec<String> = self.living().into_iter().filter_map(mode).collect();
            let count = |mode: &str| modes.iter().filter(|one| *one == mode).count();
            count("leader") == 1 && count("follower") + 1 == self.living().len()
        };
        while !is_whole() {
            ensure!(begin.elapsed() < WHOLE, "ZooKeeper does not become whole");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Service for Group {
    fn leader(&self) -> Result<SocketAddr> {
        let leads = |address: &SocketAddr| mode(*address).as_deref() == Some("leader");
        let mut living = self.living().into_iter();
        living.find(leads).context("nobody leads")
    }

    fn living(&self) -> Vec<SocketAddr> {
        let members = self.clients.iter().zip(&self.processes).enumerate();
        let living =
            members.filter(|(at, (_, process))| process.is_some() && self.stopped != Some(*at));
        living.map(|(_, (address, _))| *address).collect()
    }

    fn write(&self, connection: &mut Connection, number: usize) -> Result<bool> {
        let mut payload = Vec::new();
        put(&mut payload, NODE.as_bytes())?;
        put(&mut payload, &[b'0' + (number % 10) as u8; VALUE])?;
        // Whatever version it has.
        payload.extend((-1_i32).to_be_bytes());
        Ok(operate(connection, SET_DATA, &payload)? == 0)
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
                return Ok(at);
            }
            Blow::Stop => self.signal(at, Signal::SIGSTOP)?,
            Blow::Cut => self.hosts.get(at).context("a host")?.plug(false),
        }
        self.stopped = Some(at);
        Ok(at)
    }

    fn mend(&mut self, blow: Blow, which: usize) -> Result<()> {
        match blow {
            Blow::Kill => self.spawn(which)?,
            Blow::Stop => self.signal(which, Signal::SIGCONT)?,
            Blow::Cut => self.hosts.get(which).context("a host")?.plug(true),
        }
        self.stopped = None;
        self.wait()
    }
}

/// For clients, for followers, for elections, of each member.
fn addresses(hosts: &[Host]) -> Result<Vec<[SocketAddr; 3]>> {
    if !hosts.is_empty() {
        let of = |host: &Host| [2181, 2888, 3888].map(|port| (host.address(), port).into());
        return Ok(hosts.iter().map(of).collect());
    }
    // Held until all are chosen, so that none is chosen twice.
    let mut held = Vec::new();
    let mut free = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        held.push(listener);
        anyhow::Ok(address)
    };
    (0..MEMBERS)
        .map(|_| Ok([free()?, free()?, free()?]))
        .collect()
}

fn server_line((member, [_, peers, elections]): (usize, &[SocketAddr; 3])) -> String {
    format!("server.{}={peers}:{}", member + 1, elections.port())
}

/// `leader` or `follower`, of who says so.
fn mode(address: SocketAddr) -> Option<String> {
    let mut connection = Connection::impatient(address).ok()?;
    let text = connection.whole("srvr").ok()?;
    let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "))?;
    Some(mode.to_owned())
}

/// One operation; its error, 0 for none. Opens the session first.
fn operate(connection: &mut Connection, operation: i32, payload: &[u8]) -> Result<i32> {
    if connection.greet() {
        let mut hello = Vec::new();
        // Protocol version, last transaction seen, length of the session, its number.
        hello.extend(0_i32.to_be_bytes());
        hello.extend(0_i64.to_be_bytes());
        hello.extend(SESSION_MS.to_be_bytes());
        hello.extend(0_i64.to_be_bytes());
        put(&mut hello, &[0; 16])?;
        connection.send_frame(&hello)?;
        connection.frame(MAX_ANSWER)?;
    }
    let mut request = Vec::new();
    request.extend(1_i32.to_be_bytes());
    request.extend(operation.to_be_bytes());
    request.extend(payload);
    connection.send_frame(&request)?;
    // The request's number, the transaction, the error.
    let answer = connection.frame(MAX_ANSWER)?;
    let error = answer.get(12..16).context("half an answer")?;
    Ok(i32::from_be_bytes(error.try_into()?))
}

fn create() -> Vec<u8> {
    let mut payload = Vec::new();
    // A path, no data, one rule: everything for anyone, and no flags.
    for text in [NODE, ""] {
        payload.extend((text.len() as i32).to_be_bytes());
        payload.extend(text.as_bytes());
    }
    payload.extend(1_i32.to_be_bytes());
    payload.extend(31_i32.to_be_bytes());
    for text in ["world", "anyone"] {
        payload.extend((text.len() as i32).to_be_bytes());
        payload.extend(text.as_bytes());
    }
    payload.extend(0_i32.to_be_bytes());
    payload
}

/// With its length before it.
fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    out.extend(i32::try_from(bytes.len())?.to_be_bytes());
    out.extend(bytes);
    Ok(())
}
