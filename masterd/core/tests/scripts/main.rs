//! Golden scripts: each `tests/data/*.txt` holds commands and, indented below each, all that the master then does.
//!
//! Not a place for logic: the driver only translates. `UPDATE_EXPECT=1 cargo test -p masterd-core --test scripts` writes
//! the outputs anew; read the diff before you believe it. After every command the master's invariants are checked.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod commands;
mod executors;
mod hearing;
mod maintenance;
mod shares;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use masterd_core::{Config, Event, LinkId, Master, Registry, StreamId};
use nesos_base::time::{Duration, Instant};
use nesos_wire::framework_executor::FrameworkExecutor;
use nesos_wire::message::TaskReport;
use nesos_wire::resource::Resources;
use nesos_wire::{AgentId, ExecutorKey, FrameworkId, MasterId, TaskId, TaskKey, Uuid};

#[derive(Default)]
struct FakeAgent {
    id: Option<AgentId>,
    link: Option<LinkId>,
    resources: Resources,
    tasks: BTreeMap<TaskKey, TaskReport>,
    executors: BTreeMap<ExecutorKey, FrameworkExecutor>,
}

#[derive(Default)]
struct FakeFramework {
    id: Option<FrameworkId>,
    stream: Option<StreamId>,
    unacknowledged: BTreeMap<TaskId, (AgentId, Uuid)>,
}

struct Script {
    master: Master,
    starts: u32,
    now: Instant,
    next: u64,
    agents: BTreeMap<String, FakeAgent>,
    frameworks: BTreeMap<String, FakeFramework>,
    is_mute: bool,
    removal_pause: Option<Duration>,
    offer_timeout: Option<Duration>,
    weights: BTreeMap<String, f64>,
    /// What is done to every master's configuration in the end.
    spoil: fn(&mut Config),
    out: String,
}

fn config(start: u32) -> Config {
    Config::new(
        MasterId::new(if start == 0 {
            "m".to_owned()
        } else {
            format!("m{start}")
        }),
        "test",
    )
}

impl Script {
    fn new(spoil: fn(&mut Config)) -> Self {
        let now = Instant::from_secs(0);
        let mut config = config(0);
        spoil(&mut config);
        let mut script = Self {
            master: Master::new(config, Registry::default(), now, 0.0),
            starts: 0,
            now,
            next: 0,
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            is_mute: false,
            removal_pause: None,
            offer_timeout: None,
            weights: BTreeMap::new(),
            spoil,
            out: String::new(),
        };
        script.master.ready();
        script
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.number().to_be_bytes());
        Uuid(bytes)
    }

    fn step(&mut self, event: Event) {
        self.master
            .step(event, self.now, self.now.as_millis() as f64 / 1000.0);
    }

    fn agent_name(&self, id: &AgentId) -> String {
        let found = self
            .agents
            .iter()
            .find(|(_, agent)| agent.id.as_ref() == Some(id));
        found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
    }

    fn framework_name(&self, stream: StreamId) -> String {
        let found = self
            .frameworks
            .iter()
            .find(|(_, framework)| framework.stream == Some(stream));
        found.map_or_else(|| "(old stream)".to_owned(), |(name, _)| name.clone())
    }

    fn say(&mut self, text: &str) {
        writeln!(self.out, "  {text}").unwrap();
    }

    /// Lets time pass, ticking at every deadline.
    fn advance(&mut self, seconds: f64) {
        let end = self.now + Duration::from_millis((seconds * 1000.0) as u64);
        loop {
            let deadline = self.master.ready();
            assert!(deadline.is_idle(), "obeyed before: {deadline:?}");
            match deadline.deadline.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.step(Event::Tick);
            self.obey();
        }
        self.now = end;
        self.step(Event::Tick);
    }

    fn restart(&mut self) {
        self.starts += 1;
        let registry = self.master.registry().clone();
        let mut config = config(self.starts);
        config.agent_removal_pause = self.removal_pause;
        config.offer_timeout = self.offer_timeout;
        config.weights = self.weights.clone();
        (self.spoil)(&mut config);
        self.master = Master::new(config, registry, self.now, self.now.as_secs() as f64);
        self.agents.values_mut().for_each(|agent| agent.link = None);
        self.frameworks
            .values_mut()
            .for_each(|framework| framework.stream = None);
    }
}

/// The commands of a script, and what comes of them.
fn play(text: &str, spoil: fn(&mut Config)) -> String {
    let mut script = Script::new(spoil);
    for line in text.lines().filter(|line| !line.starts_with("  ")) {
        script.out.push_str(line);
        script.out.push('\n');
        if line.starts_with("---") {
            let out = std::mem::take(&mut script.out);
            script = Script::new(spoil);
            script.out = out;
        } else if !line.is_empty() && !line.starts_with('#') {
            script.run(line);
        }
    }
    script.out
}

/// A script about an adversary says something else of a master that lacks what protects from it. What protects from the
/// greedy and the disconnecting one no setting turns off: it is the order by shares and counts. Without it (a key that is
/// always the same in `allocator/order.rs`) both scripts say something else too; without shares alone counts still protect.
#[test]
fn adversaries_win_where_nothing_protects_from_them() {
    let patient = |config: &mut Config| config.offer_timeout = None;
    let hasty = |config: &mut Config| config.decline_pause = Duration::from_ticks(0);
    let text = include_str!("../data/adversaries.txt");
    for (title, spoil) in [
        ("--- Slow", patient as fn(&mut Config)),
        ("--- Declining", hasty),
    ] {
        let (_, rest) = text.split_once(title).expect(title);
        let script = rest.split("\n---").next().unwrap_or_default();
        let (_, commands) = script.split_once('\n').expect(title);
        assert_ne!(play(commands, spoil), play(commands, |_| {}), "{title}");
    }
}

#[test]
fn scripts_print_what_they_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty());
    let is_update = std::env::var_os("UPDATE_EXPECT").is_some();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let out = play(&expected, |_| {});
        if is_update {
            std::fs::write(&path, out).unwrap();
        } else {
            assert_eq!(
                out,
                expected,
                "{} differs; UPDATE_EXPECT=1 writes it anew",
                path.display()
            );
        }
    }
}
