//! Starts the daemons that the role asks for, starts them again when they end, takes their output, reaps every orphan.
//!
//! The rules are `supervise`'s. Called by `boot` (start), `main` (SIGCHLD) and `shutdown`. Invariant: nothing here
//! waits for a daemon; a daemon's silence, flood or death costs PID 1 nothing but bounded work.

use crate::board::{Board, CLUSTER_TOML, Configuration, DATA};
use crate::data;
use crate::journal::PRIORITY_OUTPUT;
use crate::phase::Outcome;
use crate::runtime::{self, Bell, Watched, either};
use crate::supervise::Supervisor;
use crate::trial;
use embassy_time::{Instant, Timer};
use nesos_base::cluster_config::{ClusterConfig, Role};
use nesos_sys::reap::{Reaped, reap_one};
use nesos_sys::signal::{self, Signal};
use nesos_sys::spawn::{self, Daemon};
use std::cell::{Cell, RefCell};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::rc::Rc;

/// Daemons are killed for memory after everything else; tasks come first.
const DAEMON_OOM_SCORE: i32 = -500;
/// What tasks are isolated by on the appliance, in Mesos's names.
const ISOLATION: &str = "cgroups/cpu,cgroups/mem,cgroups/pids,cgroups/blkio,cgroups/devices,gpu/devices,disk/du,\
    filesystem/linux,docker/runtime,volume/host_path,volume/image,volume/sandbox_path,volume/secret,environment_secret,\
    namespaces/pid,namespaces/ipc,namespaces/uts,namespaces/cgroup,network/bridge,\
    linux/capabilities,linux/nnp,linux/seccomp,posix/rlimits";
/// Search path of daemons and, through them, of tasks.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
/// Where masterd writes the cluster's join token, and where an agentd on the same board looks for it.
const MASTER_TOKEN: &str = "/data/masterd/token";
const LOCAL_TOKEN: &str = "/run/nesos/join-token";
/// Bytes read from a daemon's output at a time, and the longest line that is kept whole.
const OUTPUT_BYTES: usize = 1024;
/// Reads from one daemon's output before others get their turn.
const READS_PER_TURN: usize = 16;

/// A program to keep running.
#[derive(Debug)]
struct Definition {
    name: &'static str,
    program: &'static str,
    arguments: Vec<String>,
    on_console: bool,
}

#[derive(Debug)]
struct Service {
    definition: Definition,
    /// The writing end of its output pipe; `None` on the console.
    output: Option<OwnedFd>,
}

/// All services, and what is left to reap.
#[derive(Debug, Default)]
pub(crate) struct Services {
    list: RefCell<Vec<Service>>,
    supervisor: RefCell<Supervisor>,
    changed: Bell,
    /// Rings when the kernel says that a child ended.
    pub(crate) reaped: Bell,
    children: Cell<bool>,
    ends: Cell<u32>,
}

/// Starts what the role asks for.
pub(crate) fn start(board: Rc<Board>) -> Outcome {
    let configuration = board.configuration.borrow().clone();
    let mut definitions = match &configuration {
        Configuration::Absent => daemons(&ClusterConfig::default(), false),
        Configuration::Read(config) => daemons(config, true),
        Configuration::Refused => Vec::new(),
    };
    if trial::is_open(&board) {
        ask_for_proof(&mut definitions);
    }
    found_no_second(&board, &configuration, &mut definitions);
    let refused = configuration == Configuration::Refused;
    if board.command_line.borrow().shell {
        definitions.push(Definition {
            name: "shell",
            program: "/bin/sh",
            arguments: Vec::new(),
            on_console: true,
        });
    }
    let names: Vec<&str> = definitions.iter().map(|d| d.name).collect();
    let words = names.join(" ");
    if names.contains(&"masterd")
        && let Err(error) = symlink(MASTER_TOKEN, LOCAL_TOKEN)
    {
        board.say("daemons", &format!("{LOCAL_TOKEN}: {error}"));
    }
    for definition in definitions {
        if let Err(error) = board.services.add(&board, definition) {
            return Outcome::Failed(error.to_string());
        }
    }
    runtime::spawn(keep(board.clone()));
    match refused {
        true => Outcome::Degraded("not started: cluster.toml was refused".to_owned()),
        false => Outcome::Done(words),
    }
}

/// A card that was used in another board may hold the key of a cluster that is there: its masterd asks to be let in.
fn found_no_second(board: &Board, configuration: &Configuration, definitions: &mut [Definition]) {
    let founds = matches!(configuration, Configuration::Read(config) if config.key.is_some() && config.master.is_none());
    if !founds || !data::came_from_another_board() {
        return;
    }
    for definition in definitions.iter_mut().filter(|d| d.name == "masterd") {
        definition.arguments.push("--join=mdns".to_owned());
        board.say(
            "daemons",
            "this card founded a cluster in another board: masterd asks the masters to be let in, and founds no second one",
        );
    }
}

/// Has the daemons say that they work.
fn ask_for_proof(definitions: &mut [Definition]) {
    for definition in definitions {
        definition.arguments.extend(match definition.name {
            "agentd" => Some(format!("--self_test={}", trial::SELF_TEST)),
            "masterd" => Some(format!("--ready_file={}", trial::MASTER_READY)),
            _ => None,
        });
    }
}

/// The daemons that are to run.
pub(crate) fn expected(board: &Board) -> Vec<&'static str> {
    let list = board.services.list.borrow();
    list.iter().map(|service| service.definition.name).collect()
}

fn daemons(config: &ClusterConfig, file: bool) -> Vec<Definition> {
    let joins = config.token.is_some() || config.master.is_some();
    let (master, agent) = match config.role {
        Role::Auto => (!joins, true),
        Role::Master => (true, false),
        Role::Agent => (false, true),
        Role::Both => (true, true),
    };
    let definition = |name: &'static str, program, more: &[String]| {
        let mut arguments = vec![format!("--work_dir={DATA}/{name}")];
        arguments.extend(file.then(|| format!("--config={CLUSTER_TOML}")));
        arguments.extend_from_slice(more);
        Definition {
            name,
            program,
            arguments,
            on_console: false,
        }
    };
    let mut list = Vec::new();
    if master {
        list.push(definition(
            "masterd",
            "/usr/bin/masterd",
            &["--mdns=on".to_owned()],
        ));
    }
    if agent {
        list.push(definition(
            "agentd",
            "/usr/bin/agentd",
            &[
                format!("--isolation={ISOLATION}"),
                "--runtime_dir=/run/nesos/agentd".to_owned(),
                "--enforce_container_disk_quota".to_owned(),
                // A board has two users, root and nobody; frameworks come with the names of people.
                "--unknown_framework_user=self".to_owned(),
            ],
        ));
    }
    list
}

impl Services {
    fn add(&self, board: &Rc<Board>, definition: Definition) -> std::io::Result<()> {
        let output = match definition.on_console {
            true => None,
            false => {
                let (reader, writer) = spawn::output_pipe()?;
                runtime::spawn(read_output(
                    board.clone(),
                    definition.name,
                    Watched::new(reader)?,
                ));
                Some(writer)
            }
        };
        self.list.borrow_mut().push(Service { definition, output });
        self.supervisor.borrow_mut().add(Instant::now());
        Ok(())
    }

    fn start_due(&self, board: &Board) {
        let mut supervisor = self.supervisor.borrow_mut();
        let list = self.list.borrow();
        while let Some(index) = supervisor.due(Instant::now()) {
            // The supervisor has exactly the services of the list.
            let Some(service) = list.get(index) else {
                return;
            };
            let name = service.definition.name;
            match service.start() {
                Ok(pid) => {
                    supervisor.started(index, pid, Instant::now());
                    board
                        .journal
                        .note(board, name, &format!("started as process {pid}"));
                }
                Err(error) => {
                    let delay = supervisor.start_failed(index, Instant::now());
                    board.say(
                        name,
                        &format!(
                            "cannot be started: {error}; again in {} ms",
                            delay.as_millis()
                        ),
                    );
                }
            }
        }
    }

    /// Collects every dead child and notes the services among them.
    pub(crate) fn reap(&self, board: &Board) {
        loop {
            match reap_one() {
                Reaped::Child { pid, exit } => {
                    let ended = self.supervisor.borrow_mut().exited(pid, Instant::now());
                    let Some(ended) = ended else { continue };
                    self.ends.set(self.ends.get().saturating_add(1));
                    let name = self
                        .list
                        .borrow()
                        .get(ended.service)
                        .map_or("service", |s| s.definition.name);
                    let then = match ended.again_in {
                        Some(delay) => format!("; again in {} ms", delay.as_millis()),
                        None => String::new(),
                    };
                    board.say(name, &format!("ended with {exit}{then}"));
                    board
                        .journal
                        .note(board, name, &format!("ended with {exit}{then}"));
                }
                Reaped::NoneEnded => break self.children.set(true),
                Reaped::NoChildren => break self.children.set(false),
            }
        }
        self.changed.ring();
    }

    /// The kernel says that a child ended.
    pub(crate) fn child_ended(&self, board: &Board) {
        self.reap(board);
        self.reaped.ring();
    }

    /// Starts nothing from now on.
    pub(crate) fn stop(&self) {
        self.supervisor.borrow_mut().stop();
    }

    /// Asks the running daemons to end.
    pub(crate) fn ask_to_end(&self) {
        let (list, supervisor) = (self.list.borrow(), self.supervisor.borrow());
        for pid in supervisor.pids() {
            let service = supervisor.index_of(pid).and_then(|index| list.get(index));
            // An interactive shell ignores SIGTERM, but not the loss of its terminal.
            let on_console = service.is_some_and(|s| s.definition.on_console);
            // One that ended in the meantime is no error.
            _ = signal::send(
                pid,
                if on_console {
                    Signal::SIGHUP
                } else {
                    Signal::SIGTERM
                },
            );
        }
    }

    /// Process ids of the running daemons.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.supervisor.borrow().pids().collect()
    }

    /// How often a daemon has ended.
    pub(crate) fn ends(&self) -> u32 {
        self.ends.get()
    }

    /// True if the last look saw any child at all.
    pub(crate) fn has_children(&self) -> bool {
        self.children.get()
    }

    /// The daemon's name, if `pid` is one.
    pub(crate) fn name_of(&self, pid: u32) -> Option<&'static str> {
        let index = self.supervisor.borrow().index_of(pid)?;
        self.list.borrow().get(index).map(|s| s.definition.name)
    }
}

impl Service {
    fn start(&self) -> std::io::Result<u32> {
        let Definition {
            name,
            program,
            arguments,
            ..
        } = &self.definition;
        if self.output.is_some() {
            // Fails only if /data is broken, which the daemon itself reports better.
            let _ = fs::create_dir_all(format!("{DATA}/{name}"));
        }
        let output = self.output.as_ref().map(|output| output.as_fd());
        let mut environment = vec![("PATH".to_owned(), PATH.to_owned())];
        if let Some(stream) = output.and_then(spawn::journal_stream) {
            environment.push(("JOURNAL_STREAM".to_owned(), stream));
        }
        spawn::start(&Daemon {
            program,
            arguments,
            environment: &environment,
            oom_score: DAEMON_OOM_SCORE,
            output,
        })
    }
}

/// Starts what is due, for ever.
async fn keep(board: Rc<Board>) {
    loop {
        board.services.start_due(&board);
        let next = board.services.supervisor.borrow().next_start();
        match next {
            Some(at) => drop(either(board.services.changed.heard(), Timer::at(at)).await),
            None => board.services.changed.heard().await,
        }
    }
}

/// Puts a daemon's output into the journal line by line.
async fn read_output(board: Rc<Board>, name: &'static str, reader: Watched<OwnedFd>) {
    let mut line = Vec::with_capacity(OUTPUT_BYTES);
    let mut buffer = [0u8; OUTPUT_BYTES];
    loop {
        reader.readable().await;
        for _ in 0..READS_PER_TURN {
            let Some(count) = spawn::read_output(reader.get().as_fd(), &mut buffer) else {
                break;
            };
            for byte in &buffer[..count] {
                if *byte != b'\n' {
                    line.push(*byte);
                }
                if *byte == b'\n' || line.len() >= OUTPUT_BYTES {
                    board.journal.output(&board, name, PRIORITY_OUTPUT, &line);
                    line.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(toml: &str) -> Vec<&'static str> {
        let config = ClusterConfig::parse(toml.as_bytes()).unwrap();
        daemons(&config, true).iter().map(|d| d.name).collect()
    }

    #[test]
    fn the_role_decides_which_daemons_run() {
        assert_eq!(names(""), ["masterd", "agentd"]);
        assert_eq!(names("[cluster]\nmaster = '10.0.0.1:5050'"), ["agentd"]);
        assert_eq!(
            names("role = 'both'\n[cluster]\nmaster = '10.0.0.1:5050'"),
            ["masterd", "agentd"]
        );
        assert_eq!(names("role = 'master'"), ["masterd"]);
        assert_eq!(names("role = 'agent'"), ["agentd"]);
    }

    #[test]
    fn a_missing_file_is_not_named_to_the_daemons() {
        let with = daemons(&ClusterConfig::default(), true);
        let without = daemons(&ClusterConfig::default(), false);
        assert!(with.iter().all(|d| {
            d.arguments
                .contains(&"--config=/boot/cluster.toml".to_owned())
        }));
        assert!(
            without
                .iter()
                .all(|d| d.arguments.iter().all(|a| !a.starts_with("--config")))
        );
    }
}
