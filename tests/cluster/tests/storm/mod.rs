//! A cluster on hosts of its own, and what befalls its masters.
#![allow(unreachable_pub)]

mod clients;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clients::{Clients, ask};
use masterd_core::registry::backup;
use nesos_base::token::ClusterKey;
use nesos_cluster_tests::hosts::{Host, own_address};
use nesos_cluster_tests::scheduler::{Scheduler, task};
use nesos_cluster_tests::{Running, binary, eventually};
use nesos_shell::tls;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything runs on one machine, beside other tests.
const SOON: Duration = Duration::from_secs(90);
/// Longer than the default, for machines that run other tests stand still for longer than networks do.
const PATIENT: &str = "--election_timeout_ms=1000";
const PORT: u16 = 5050;

/// What befalls a master.
#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// It is killed, and started again.
    Kill,
    /// It stands still, connections open, and goes on as if nothing had been.
    Stop,
    /// Its cable is pulled.
    Unplug,
    /// It hears the other masters, who do not hear it.
    Mute,
    /// The other masters hear it, and it does not hear them.
    Deafen,
}

/// Of which wire version a daemon is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// This one.
    Present,
    /// The next one, which says nothing new: `cargo xtask next` makes these programs.
    Next,
}

impl Build {
    fn program(self, name: &str) -> PathBuf {
        match self {
            Self::Present => binary(name),
            Self::Next => binary(&format!("next/{name}")),
        }
    }

    /// The version that it speaks.
    pub fn version(self) -> u64 {
        let present = u64::from(nesos_wire::version::CURRENT.0);
        present + u64::from(self == Self::Next)
    }
}

/// A master and its host.
struct Master {
    host: Host,
    build: Build,
    process: Option<Running>,
}

/// See the module.
pub struct Storm {
    home: TempDir,
    masters: Vec<Master>,
    agents: Vec<Running>,
    framework: Value,
    clients: Clients,
}

impl Storm {
    /// So many masters that agree, and agents of which each runs a task.
    pub fn brew(masters: u8, agents: usize) -> Self {
        let home = tempfile::Builder::new()
            .prefix("nesos-test-")
            .tempdir()
            .unwrap();
        let key = tls::generate_cluster_key().unwrap();
        let masters: Vec<Master> = (1..=masters)
            .map(|number| Master {
                host: Host::new(number),
                build: Build::Present,
                process: None,
            })
            .collect();
        let addresses = masters.iter().map(|master| address(&master.host));
        let mut storm = Self {
            clients: Clients::new(addresses.collect()),
            home,
            masters,
            agents: Vec::new(),
            framework: Value::Null,
        };
        storm.configure(&key);
        for at in 0..storm.masters.len() {
            storm.start(at);
            storm.let_in(at);
        }
        for number in 0..agents {
            let agent = storm.agent(number, Build::Present);
            storm.agents.push(agent);
        }
        storm.launch();
        storm.clients.begin();
        storm
    }

    /// Has it befall so many masters, the leader first; then all is mended, and everybody must be well again.
    pub fn blow(&mut self, blow: Blow, count: usize) {
        let leader = self.leader();
        let all = self.masters.len();
        let hit: Vec<usize> = (0..count).map(|more| (leader + more) % all).collect();
        eprintln!("{blow:?} of masters {hit:?}");
        for at in &hit {
            self.strike(blow, *at, &hit);
        }
        eventually("another master leads", SOON, || {
            (0..all).find(|at| !hit.contains(at) && self.leads(*at))
        });
        self.clients.must_write(SOON);
        for at in &hit {
            self.mend(blow, *at, &hit);
        }
        self.until_well();
        self.clients.must_write(SOON);
    }

    /// Ends a master as an upgrade does, and starts it as `build`; then everybody must be well again.
    pub fn renew_master(&mut self, at: usize, build: Build) {
        eprintln!("master {at} becomes {build:?}");
        let master = &mut self.masters[at];
        master.build = build;
        let process = master.process.take().unwrap();
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait(SOON).code, 0);
        self.start(at);
        self.until_well();
        self.clients.must_write(SOON);
    }

    /// The same with an agent, whose task runs on.
    pub fn renew_agent(&mut self, number: usize, build: Build) {
        eprintln!("agent {number} becomes {build:?}");
        let process = self.agents.remove(number);
        process.signal(Signal::SIGTERM);
        assert_eq!(process.wait(SOON).code, 0);
        let agent = self.agent(number, build);
        self.agents.insert(number, agent);
        self.until_well();
    }

    /// One more master of this build asks to be let in, and is not, for this reason.
    pub fn refuse_newcomer(&mut self, build: Build, reason: &str) {
        let at = self.masters.len();
        let config = |at: usize| self.home.path().join(format!("master-{at}.toml"));
        let text = std::fs::read_to_string(config(0)).unwrap();
        let text = text.replace("\"master-0\"", &format!("\"master-{at}\""));
        write_secret(&config(at), &text);
        self.masters.push(Master {
            host: Host::new(u8::try_from(at + 1).unwrap()),
            build,
            process: None,
        });
        self.start(at);
        let address = self.address(at);
        eventually("it asks to be let in", SOON, || {
            let wish = json!({ "add": address }).to_string();
            let answer = ask(
                &self.address(self.leader()),
                "POST",
                "/nesos/v1/masters",
                &wish,
            )?;
            assert_ne!(answer.status, 200, "it was let in");
            let is_refused = answer.status == 409 && answer.body.contains(reason);
            is_refused.then_some(())
        });
        self.masters.pop();
    }

    /// Waits until the masters have agreed on the version of the group and of each of them.
    pub fn until_version(&self, group: u64, of: &[u64]) {
        eventually("the group knows its versions", SOON, || {
            let leader = (0..self.masters.len()).find(|at| self.leads(*at))?;
            let answer = ask(&self.address(leader), "GET", "/nesos/v1/masters", "")?.json()?;
            let masters = answer["masters"].as_array()?;
            let speaks = |at: usize| {
                let own = self.address(at);
                let found = masters.iter().find(|master| master["address"] == own);
                found?["version"].as_u64()
            };
            let known: Option<Vec<u64>> = (0..self.masters.len()).map(speaks).collect();
            (answer["version"] == group && known? == of).then_some(())
        });
    }

    /// Ends all tasks and looks at everything.
    pub fn calm(mut self) {
        self.clients.end();
        let leader = self.leader();
        let mut members = members();
        members["id"] = self.framework.clone();
        let mut scheduler = Scheduler::subscribe(&self.address(leader), members);
        std::fs::write(self.home.path().join("go"), "").unwrap();
        let mut left: Vec<String> = (0..self.agents.len()).map(|n| format!("t{n}")).collect();
        while !left.is_empty() {
            let status = scheduler.status_until("TASK_FINISHED");
            left.retain(|task| status["task_id"]["value"] != task.as_str());
        }
        for number in 0..self.agents.len() {
            let started = self.home.path().join(format!("started-{number}"));
            let times = std::fs::read_to_string(started).unwrap();
            assert_eq!(times, "x\n", "task {number} was started once");
        }
        let first = self.registry(0);
        for at in 1..self.masters.len() {
            assert!(
                self.registry(at) == first,
                "master {at} has another registry"
            );
        }
        self.clients.judge();
    }

    fn configure(&self, key: &ClusterKey) {
        let key_text = key.to_text();
        let token = tls::join_token(key).unwrap().to_text();
        for at in 0..self.masters.len() {
            let text = format!(
                "name = \"master-{at}\"\nrole = \"master\"\n[cluster]\nname = \"dev\"\nkey = \"{key_text}\"\n"
            );
            write_secret(&self.home.path().join(format!("master-{at}.toml")), &text);
        }
        let text = format!("role = \"agent\"\n[cluster]\nname = \"dev\"\ntoken = \"{token}\"\n");
        write_secret(&self.home.path().join("agent.toml"), &text);
    }

    fn start(&mut self, at: usize) {
        let host = &self.masters[at].host;
        let mut command = host.command(&self.masters[at].build.program("masterd"));
        let address = host.address();
        let name = format!("master-{at}");
        command.arg(format!("--ip={address}"));
        command.arg(format!("--hostname={address}"));
        command.args([PATIENT, "--api_access=open"]);
        if at > 0 {
            command.arg(format!("--join={}", self.address(0)));
        }
        self.masters[at].process = Some(self.daemon(command, &name, &name, PORT));
    }

    /// The first one founds the group.
    fn let_in(&self, at: usize) {
        if at > 0 {
            let address = self.address(at);
            self.until_role(&address, "candidate");
            let wish = json!({ "add": address }).to_string();
            let added = ask(&self.address(0), "POST", "/nesos/v1/masters", &wish);
            assert_eq!(added.unwrap().status, 200);
            self.until_role(&address, "voter");
        }
        eventually("the first master leads", SOON, || {
            self.leads(0).then_some(())
        });
    }

    fn until_role(&self, address: &str, role: &str) {
        eventually(&format!("{address} is a {role}"), SOON, || {
            let masters = self.list(0)?;
            let mut masters = masters.iter();
            masters
                .any(|master| master["address"] == address && master["role"] == role)
                .then_some(())
        });
    }

    fn agent(&self, number: usize, build: Build) -> Running {
        let mut command = Command::new(build.program("agentd"));
        command.arg(format!("--ip={}", own_address()));
        command.arg(format!("--master={}", self.address(0)));
        command.arg(format!("--hostname=agent-{number}"));
        command.arg("--resources=cpus:1;mem:64");
        command.arg("--isolation=posix/cpu,posix/mem");
        self.daemon(command, "agent", &format!("agent-{number}"), 0)
    }

    fn daemon(&self, mut command: Command, config: &str, name: &str, port: u16) -> Running {
        let home = self.home.path();
        command.arg(format!("--port={port}"));
        command.arg(format!("--work_dir={}", home.join(name).display()));
        let config = home.join(format!("{config}.toml"));
        command.arg(format!("--config={}", config.display()));
        command.args(["--mdns=off", "--logging_level=WARNING"]);
        Running::start(command, name)
    }

    /// A task on each agent, which ends when it is told to, or when the test is over.
    fn launch(&mut self) {
        let mut scheduler = Scheduler::subscribe(&self.address(0), members());
        let home = self.home.path().display().to_string();
        let mut offers = Vec::new();
        for number in 0..self.agents.len() {
            while offers.is_empty() {
                let mut event = scheduler.wait("OFFERS");
                let new = event["offers"]["offers"].as_array_mut().unwrap();
                // What a task has left is offered, too.
                offers.extend(new.drain(..).filter(has_cpus));
            }
            let offer = offers.remove(0);
            let command = format!(
                "echo x >> {home}/started-{number}; while test -d {home} && ! test -e {home}/go; do sleep 1; done"
            );
            let task = task(&offer, &format!("t{number}"), 1.0, &command);
            scheduler.accept(
                &offer,
                json!([{"type": "LAUNCH", "launch": {"task_infos": [task]}}]),
            );
        }
        for _ in 0..self.agents.len() {
            scheduler.status_until("TASK_RUNNING");
        }
        self.framework = scheduler.id.clone();
    }

    fn strike(&mut self, blow: Blow, at: usize, hit: &[usize]) {
        match blow {
            Blow::Kill => self.masters[at].process = None,
            Blow::Stop => self.process(at).signal(Signal::SIGSTOP),
            Blow::Unplug => self.masters[at].host.plug(false),
            Blow::Mute | Blow::Deafen => self.silence(blow, at, hit, true),
        }
    }

    fn mend(&mut self, blow: Blow, at: usize, hit: &[usize]) {
        match blow {
            Blow::Kill => self.start(at),
            Blow::Stop => self.process(at).signal(Signal::SIGCONT),
            Blow::Unplug => self.masters[at].host.plug(true),
            Blow::Mute | Blow::Deafen => self.silence(blow, at, hit, false),
        }
    }

    /// Between this one and those that are not hit.
    fn silence(&self, blow: Blow, at: usize, hit: &[usize], is_silent: bool) {
        let own = &self.masters[at].host;
        for (other, master) in self.masters.iter().enumerate() {
            match blow {
                _ if hit.contains(&other) => {}
                Blow::Deafen => master.host.mute_to(own, is_silent),
                _ => own.mute_to(&master.host, is_silent),
            }
        }
    }

    /// One leads, all are connected and have everything, all agents are registered and their tasks run.
    fn until_well(&self) {
        eventually("all is well", SOON, || {
            let leader = (0..self.masters.len()).find(|at| self.leads(*at))?;
            let masters = self.list(leader)?;
            let is_well = |master: &Value| master["connected"] == true && master["behind"] == 0;
            let all = masters.len() == self.masters.len() && masters.iter().all(is_well);
            let state = ask(&self.address(leader), "GET", "/state", "")?.json()?;
            let agents = state["activated_slaves"].as_f64()? as usize;
            (all && agents == self.agents.len()).then_some(())
        });
    }

    /// The registry as this master has it, who leads from now on; all but the count of leaderships.
    fn registry(&self, at: usize) -> Vec<(String, Vec<u8>)> {
        let own = self.address(at);
        if !self.leads(at) {
            let wish = json!({ "hand_over": own }).to_string();
            let leader = self.address(self.leader());
            let told = ask(&leader, "POST", "/nesos/v1/masters", &wish);
            assert_eq!(told.unwrap().status, 200);
        }
        eventually("it leads", SOON, || self.leads(at).then_some(()));
        self.until_well();
        let registry = backup::read(&download(&own).unwrap()).unwrap();
        let rows = registry.rows().into_iter();
        rows.filter(|(key, _)| key != "start").collect()
    }

    /// What the master says of the masters.
    fn list(&self, at: usize) -> Option<Vec<Value>> {
        let answer = ask(&self.address(at), "GET", "/nesos/v1/masters", "")?;
        Some(answer.json()?["masters"].as_array()?.clone())
    }

    fn leader(&self) -> usize {
        eventually("somebody leads", SOON, || {
            (0..self.masters.len()).find(|at| self.leads(*at))
        })
    }

    fn leads(&self, at: usize) -> bool {
        let answer = ask(&self.address(at), "GET", "/state", "");
        answer.is_some_and(|answer| answer.status == 200)
    }

    fn process(&self, at: usize) -> &Running {
        self.masters[at].process.as_ref().unwrap()
    }

    fn address(&self, at: usize) -> String {
        address(&self.masters[at].host)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for at in 0..self.masters.len() {
                let said = self.masters[at].process.as_ref().map(Running::stderr);
                eprintln!("--- master {at}: {}", said.unwrap_or_default());
            }
        }
    }
}

fn members() -> Value {
    json!({"failover_timeout": 3600.0})
}

fn has_cpus(offer: &Value) -> bool {
    let resources = offer["resources"].as_array().unwrap();
    resources.iter().any(|resource| resource["name"] == "cpus")
}

fn address(host: &Host) -> String {
    format!("{}:{PORT}", host.address())
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The registry of the master that leads.
fn download(address: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    let head = format!("GET /nesos/v1/backup HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let body = bytes.windows(4).position(|end| end == b"\r\n\r\n")?;
    bytes
        .starts_with(b"HTTP/1.0 200")
        .then(|| bytes.split_off(body + 4))
}
