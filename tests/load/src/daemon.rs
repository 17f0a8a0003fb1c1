//! Real masterd and agentd as child processes on loopback.
//!
//! Called by the subjects. Invariant: a daemon is dead and buried when its value is dropped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nesos_base::token::ClusterKey;
use nesos_cluster_tests::hosts::Host;
use nesos_shell::tls;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How long a daemon may take until it listens.
const UP: Duration = Duration::from_secs(20);
/// A file system in memory, on every Linux that people use.
const MEMORY: &str = "/dev/shm";
/// Pause between two tries to connect: well below what is measured.
const POLL: Duration = Duration::from_millis(1);

/// A cluster's folder and key, with at most one master.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Where masterd listens.
    pub(crate) address: SocketAddr,
    /// The CA's seed.
    pub(crate) key: ClusterKey,
    programs: PathBuf,
    home: TempDir,
    /// Where agents keep what a reboot ends, in memory as on a board; none: this machine has no such place.
    runtime: Option<TempDir>,
    /// A network for each master; none: all are on loopback.
    hosts: Vec<Host>,
    master: Option<Process>,
}

/// Where masters listen on networks of their own.
const PORT: u16 = 5050;

/// A child that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Resident memory, MB.
    pub(crate) fn resident(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.0.id());
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("{path}: no VmRSS"))? * 1024.0 / 1e6)
    }
}

impl Process {
    /// Processor time it has used until now, seconds.
    pub(crate) fn processor(&self) -> Result<f64> {
        processor(&format!("/proc/{}/stat", self.0.id()))
    }
}

/// Processor time this process has used until now, seconds.
pub(crate) fn own_processor() -> Result<f64> {
    processor("/proc/self/stat")
}

/// User and system time together, from a file of the form of /proc/PID/stat.
fn processor(path: &str) -> Result<f64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    // The second field is the program's name in parentheses and may hold anything.
    let fields = text.rsplit_once(')').map(|(_, fields)| fields);
    let mut times = fields.unwrap_or_default().split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<f64>().ok();
    let ticks = ticks().zip(ticks()).map(|(user, system)| user + system);
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock")?;
    Ok(ticks.with_context(|| format!("{path}: no times"))? / per_second as f64)
}

impl Cluster {
    /// A new cluster whose masterd runs.
    pub(crate) async fn start(programs: &Path) -> Result<Self> {
        Self::start_on(programs, Vec::new()).await
    }

    /// The same, its masters on these hosts, in their order.
    pub(crate) async fn start_on(programs: &Path, hosts: Vec<Host>) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("nesos-load-").tempdir()?;
        let key = tls::generate_cluster_key()?;
        let token = tls::join_token(&key)?.to_text();
        let master = format!(
            "role = \"master\"\n[cluster]\nkey = \"{}\"\n",
            key.to_text()
        );
        let address = match hosts.first() {
            Some(host) => (host.address(), PORT).into(),
            None => TcpListener::bind("127.0.0.1:0")?.local_addr()?,
        };
        fs::write(home.path().join("master.toml"), master)?;
        let agent = format!("role = \"agent\"\n[cluster]\ntoken = \"{token}\"\n");
        fs::write(home.path().join("agent.toml"), agent)?;
        let mut cluster = Self {
            address,
            key,
            programs: programs.to_owned(),
            home,
            runtime: tempfile::Builder::new()
                .prefix("nesos-load-")
                .tempdir_in(MEMORY)
                .ok(),
            hosts,
            master: None,
        };
        cluster.start_master().await?;
        Ok(cluster)
    }

    /// The running master.
    pub(crate) fn master(&self) -> Result<&Process> {
        self.master.as_ref().context("masterd is not running")
    }

    /// The master is somebody else's from now on.
    pub(crate) fn take_master(&mut self) -> Option<Process> {
        self.master.take()
    }

    /// Pulls the cable of the host of master `number`, or plugs it in.
    pub(crate) fn plug(&self, number: usize, is_in: bool) -> Result<()> {
        let host = self.hosts.get(number).context("a network of its own")?;
        host.plug(is_in);
        Ok(())
    }

    /// Where everything is.
    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Starts master `number`: 0 is the one that was started first. Without an address it is new, gets one, and asks to be let in.
    pub(crate) fn start_another_master(
        &self,
        number: usize,
        address: Option<SocketAddr>,
    ) -> Result<(SocketAddr, Process)> {
        let name = match number {
            0 => "master".to_owned(),
            _ => format!("master-{number}"),
        };
        let (address, flags) = match address {
            Some(address) => (address, Vec::new()),
            None => {
                let config = format!(
                    "name = \"{name}\"\nrole = \"master\"\n[cluster]\nkey = \"{}\"\n",
                    self.key.to_text()
                );
                fs::write(self.home.path().join(format!("{name}.toml")), config)?;
                let address = match self.hosts.get(number) {
                    Some(host) => (host.address(), PORT).into(),
                    None => TcpListener::bind("127.0.0.1:0")?.local_addr()?,
                };
                (address, vec![format!("--join={}", self.address)])
            }
        };
        let process = self.spawn_on(
            self.hosts.get(number),
            "masterd",
            &name,
            address.port(),
            &flags,
        )?;
        Ok((address, process))
    }

    /// Kills masterd as a power cut would.
    pub(crate) fn kill_master(&mut self) {
        self.master = None;
    }

    /// Starts masterd and waits until it accepts connections.
    pub(crate) async fn start_master(&mut self) -> Result<()> {
        let port = self.address.port();
        let mut process = self.spawn_on(
            self.hosts.first(),
            "masterd",
            "master",
            port,
            &["--agent_tls=optional".to_owned()],
        )?;
        let begin = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = process.0.try_wait()? {
                bail!("masterd ended with {status}: {}", self.log("master"));
            }
            ensure!(begin.elapsed() < UP, "masterd does not listen");
            sleep(POLL).await;
        }
        self.master = Some(process);
        Ok(())
    }

    /// Starts a real agentd with these resources and more flags.
    pub(crate) fn start_agent(&self, resources: &str, more: &[String]) -> Result<Process> {
        let mut flags = vec![
            format!("--master={}", self.address),
            format!("--resources={resources}"),
            "--hostname=agent".to_owned(),
        ];
        if let Some(runtime) = &self.runtime {
            flags.push(format!("--runtime_dir={}", runtime.path().display()));
        }
        flags.extend_from_slice(more);
        self.spawn("agentd", "agent", 0, &flags)
    }

    fn spawn(&self, program: &str, name: &str, port: u16, flags: &[String]) -> Result<Process> {
        self.spawn_on(None, program, name, port, flags)
    }

    fn spawn_on(
        &self,
        host: Option<&Host>,
        program: &str,
        name: &str,
        port: u16,
        flags: &[String],
    ) -> Result<Process> {
        let home = self.home.path();
        let log = File::create(home.join(format!("{name}.log")))?;
        let path = self.programs.join(program);
        let mut command = match host {
            Some(host) => host.command(&path),
            None => Command::new(&path),
        };
        match host {
            // Who measures calls from another host.
            Some(host) => command.args([
                format!("--ip={}", host.address()),
                "--api_access=open".into(),
            ]),
            None => command.arg("--ip=127.0.0.1"),
        };
        let child = command
            .arg(format!("--port={port}"))
            .arg(format!("--work_dir={}", home.join(name).display()))
            .arg(format!(
                "--config={}",
                home.join(format!("{name}.toml")).display()
            ))
            .arg("--mdns=off")
            .arg("--logging_level=WARNING")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", path.display()))?;
        Ok(Process(child))
    }

    /// What a daemon has logged, for messages.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(format!("{name}.log"))).unwrap_or_default()
    }
}
