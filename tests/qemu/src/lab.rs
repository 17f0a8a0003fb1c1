//! A board on which a test's framework proves things by tasks: what they write and how they end.
//!
//! Called by the tests, which panic. Invariant: one boot for all proofs of a test, since boots are what costs time here.

use std::collections::BTreeMap;

use nesos_cluster_tests::scheduler::{Scheduler, task};
use serde_json::{Value, json};

use crate::VmCluster;

/// What a task gets of a processor.
const SHARE: f64 = 0.1;

/// A board, and a framework that has all of it.
#[derive(Debug)]
pub struct Lab {
    /// The boards; tasks run on board-2.
    pub cluster: VmCluster,
    scheduler: Scheduler,
    ended: BTreeMap<String, Value>,
    count: u32,
}

/// How a task has ended and what it has written.
#[derive(Debug)]
pub struct Told {
    /// The last status.
    pub status: Value,
    /// What it has written.
    pub stdout: String,
    /// And as errors.
    pub stderr: String,
}

impl Told {
    /// Its output, if it has ended well.
    ///
    /// # Panics
    /// It has not.
    #[must_use]
    pub fn well(self) -> String {
        assert_eq!(self.status["state"], "TASK_FINISHED", "{self:?}");
        self.stdout
    }

    /// The sentence with which it was not started.
    ///
    /// # Panics
    /// It was.
    #[must_use]
    pub fn refusal(self) -> String {
        assert_eq!(
            self.status["reason"], "REASON_CONTAINER_LAUNCH_FAILED",
            "{self:?}"
        );
        self.status["message"].as_str().unwrap().to_owned()
    }
}

impl Lab {
    /// Boots, and subscribes with these members of `framework_info`.
    ///
    /// # Panics
    /// The boards do not join.
    #[must_use]
    pub fn new(members: Value) -> Self {
        Self::with_boards(members, &[])
    }

    /// The same with more flags of `nesos vm up`.
    ///
    /// # Panics
    /// The boards do not join.
    #[must_use]
    pub fn with_boards(members: Value, flags: &[&str]) -> Self {
        Self::on(VmCluster::start_with(2, flags), members)
    }

    /// Subscribes at boards that are there, with these members of `framework_info`.
    ///
    /// # Panics
    /// The master does not take it.
    #[must_use]
    pub fn on(cluster: VmCluster, members: Value) -> Self {
        let scheduler = Scheduler::subscribe(cluster.master(), members);
        Self {
            cluster,
            scheduler,
            ended: BTreeMap::new(),
            count: 0,
        }
    }

    /// Launches a shell text with so much memory and these members; its id.
    ///
    /// # Panics
    /// The master does not take it.
    pub fn launch(&mut self, megabytes: u32, text: &str, members: Value) -> String {
        let memory = json!({"name": "mem", "type": "SCALAR", "scalar": {"value": megabytes}});
        let offer = self.offer_of(&[("mem", megabytes)]);
        let cpus = task(&offer, "", SHARE, "")["resources"][0].take();
        let mut all = json!({"resources": [cpus, memory]});
        for (name, value) in members.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        self.launch_from(&offer, text, &all)
    }

    /// Launches a shell text with these members, its resources among them, where so much of resources is offered; its id.
    ///
    /// # Panics
    /// The master does not take it.
    pub fn launch_on(&mut self, wanted: &[(&str, u32)], text: &str, members: Value) -> String {
        let offer = self.offer_of(wanted);
        self.launch_from(&offer, text, &members)
    }

    fn launch_from(&mut self, offer: &Value, text: &str, members: &Value) -> String {
        self.count += 1;
        let id = format!("proof-{}", self.count);
        let mut task = task(offer, &id, SHARE, text);
        for (name, value) in members.as_object().into_iter().flatten() {
            task[name] = value.clone();
        }
        self.scheduler.launch(&[offer], json!([task]));
        id
    }

    /// Launches shell texts as one group, whose executor has this ContainerInfo; their ids.
    ///
    /// # Panics
    /// The master does not take it.
    pub fn launch_group(&mut self, mut container: Value, texts: &[&str]) -> Vec<String> {
        container["type"] = "MESOS".into();
        let offer = self.offer_of(&[("mem", 32 + 8 * texts.len() as u32)]);
        let one = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let group = self.count;
        let mut tasks = Vec::new();
        for text in texts {
            self.count += 1;
            let mut task = task(&offer, &format!("proof-{}", self.count), 0.1, text);
            task["resources"] = json!([one("cpus", 0.02), one("mem", 8.0)]);
            tasks.push(task);
        }
        let executor = json!({"type": "DEFAULT", "executor_id": {"value": format!("group-{group}")},
            "framework_id": self.scheduler.id, "container": container,
            "resources": [one("cpus", 0.02), one("mem", 32.0)]});
        let operation = json!({"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": tasks}}});
        self.scheduler.accept(&offer, json!([operation]));
        let first = group + 1;
        (first..=self.count)
            .map(|number| format!("proof-{number}"))
            .collect()
    }

    /// The same where revocable resources of this name are offered.
    ///
    /// # Panics
    /// The master does not take it.
    pub fn launch_on_lent(&mut self, name: &str, text: &str, members: Value) -> String {
        let offer = self.offer_where(|resources| {
            let mut all = resources.iter();
            all.any(|one| one["name"] == name && one["revocable"].is_object())
        });
        self.launch_from(&offer, text, &members)
    }

    /// An offer with so much of these resources, and a share of a processor.
    ///
    /// # Panics
    /// None comes.
    pub fn offer_of(&mut self, wanted: &[(&str, u32)]) -> Value {
        self.offer_where(|resources| {
            let has = |name: &str, amount: f64| {
                let same = resources.iter().filter(|one| one["name"] == name);
                let sum: f64 = same.filter_map(|one| one["scalar"]["value"].as_f64()).sum();
                sum >= amount
            };
            let mut all = wanted.iter();
            all.all(|(name, amount)| has(name, f64::from(*amount))) && has("cpus", SHARE)
        })
    }

    /// An offer that fits; others go back, and come together.
    fn offer_where(&mut self, fits: impl Fn(&[Value]) -> bool) -> Value {
        loop {
            let offer = self.scheduler.standing_offer();
            if fits(offer["resources"].as_array().unwrap()) {
                return offer;
            }
            let decline = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0}});
            self.scheduler.call("DECLINE", decline);
        }
    }

    /// Waits until it runs.
    ///
    /// # Panics
    /// It ends instead.
    pub fn wait_running(&mut self, id: &str) {
        loop {
            let status = self.scheduler.status();
            self.scheduler.acknowledge(&status);
            if status["task_id"]["value"] != id {
                continue;
            }
            match status["state"].as_str().unwrap() {
                "TASK_STAGING" | "TASK_STARTING" => {}
                "TASK_RUNNING" => return,
                other => panic!("{other}: {status}"),
            }
        }
    }

    /// Waits for a task's end.
    ///
    /// # Panics
    /// It does not come.
    pub fn end(&mut self, id: &str) -> Told {
        while !self.ended.contains_key(id) {
            let status = self.scheduler.status();
            self.scheduler.acknowledge(&status);
            let state = status["state"].as_str().unwrap();
            if !["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING"].contains(&state) {
                let of = status["task_id"]["value"].as_str().unwrap().to_owned();
                self.ended.insert(of, status);
            }
        }
        let status = self.ended.remove(id).unwrap();
        let logs = |more: &[&str]| {
            let arguments = [&["logs", id], more].concat();
            self.cluster.nesos.run(&arguments).stdout
        };
        Told {
            stdout: logs(&[]),
            stderr: logs(&["--stderr"]),
            status,
        }
    }

    /// Runs a shell text to its end.
    pub fn run(&mut self, text: &str, members: Value) -> Told {
        let id = self.launch(32, text, members);
        self.end(&id)
    }

    /// With this ContainerInfo.
    pub fn contained(&mut self, text: &str, mut container: Value) -> Told {
        container["type"] = "MESOS".into();
        self.run(text, json!({"container": container}))
    }
}
