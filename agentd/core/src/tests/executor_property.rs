//! Executors under whatever happens in whatever order: the invariants hold, nothing is told twice, everything ends.

use super::executors::{executor, executor_key, given, says, subscription};
use super::*;
use crate::ExecutorCall;
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Give {
        executor: u8,
        tasks: u8,
        group: bool,
    },
    Subscribe(u8),
    Lost(u8),
    Says {
        task: u8,
        state: u8,
    },
    Holder {
        executor: u8,
        what: u8,
    },
    Contained(u8, u8),
    Kill(u8),
    Shutdown(u8),
    Acknowledge,
    Restart,
    Reconnect,
    Pass(u16),
    FullDisk(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u8..4, 1u8..4, any::<bool>()).prop_map(|(executor, tasks, group)| Op::Give { executor, tasks, group }),
        3 => (0u8..4).prop_map(Op::Subscribe),
        1 => (0u8..4).prop_map(Op::Lost),
        4 => (0u8..8, 0u8..4).prop_map(|(task, state)| Op::Says { task, state }),
        1 => (0u8..4, 0u8..4).prop_map(|(executor, what)| Op::Holder { executor, what }),
        3 => (0u8..8, 0u8..4).prop_map(|(task, what)| Op::Contained(task, what)),
        1 => (0u8..8).prop_map(Op::Kill),
        1 => (0u8..4).prop_map(Op::Shutdown),
        4 => Just(Op::Acknowledge),
        1 => Just(Op::Restart),
        1 => Just(Op::Reconnect),
        1 => (0u16..20_000).prop_map(Op::Pass),
        1 => any::<bool>().prop_map(Op::FullDisk),
    ]
}

struct World {
    bench: Bench,
    number: u64,
}

impl World {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Even numbers are custom executors, odd ones pods.
    fn known(&mut self, number: u8) -> (FrameworkExecutor, bool) {
        let id = format!("e{number}");
        let live = self
            .bench
            .agent
            .executor(&executor_key(&id))
            .map(|view| view.spec.clone());
        let kind = if number.is_multiple_of(2) {
            ExecutorKind::Custom
        } else {
            ExecutorKind::Default
        };
        let is_new = live.is_none();
        (
            live.unwrap_or_else(|| executor(&id, kind, self.number + 1)),
            is_new,
        )
    }

    fn task(&self, index: u8) -> Option<TaskSpec> {
        let tasks: Vec<_> = self
            .bench
            .agent
            .tasks()
            .map(|view| view.spec.clone())
            .collect();
        tasks.get(usize::from(index) % tasks.len().max(1)).cloned()
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Give {
                executor,
                tasks,
                group,
            } => {
                self.give(*executor, *tasks, *group);
            }
            Op::Subscribe(number) => {
                let stream = self.next();
                self.bench.call(&format!("e{number}"), subscription(stream));
            }
            Op::Lost(number) => {
                let stream = self.number;
                self.bench
                    .call(&format!("e{number}"), ExecutorCall::Lost { stream });
            }
            Op::Says { task, state } => self.say(*task, *state),
            Op::Holder { executor, what } => self.holder(*executor, *what),
            Op::Contained(task, what) => {
                let task = self
                    .task(*task)
                    .filter(|task| task.kind == ExecutorKind::Default);
                let container = task.and_then(|task| {
                    let mut tasks = self.bench.agent.tasks();
                    tasks
                        .find(|view| view.spec.key == task.key)?
                        .container
                        .cloned()
                });
                if let Some(container) = container {
                    self.bench.event(Event::Container {
                        container,
                        event: event(*what),
                    });
                }
            }
            Op::Kill(task) => {
                if let Some(task) = self.task(*task) {
                    self.bench.message(MasterToAgent::Kill {
                        key: task.key,
                        grace_ms: None,
                    });
                }
            }
            Op::Shutdown(number) => {
                let key = executor_key(&format!("e{number}"));
                self.bench.message(MasterToAgent::ShutdownExecutor { key });
            }
            Op::Acknowledge => self.acknowledge_all(),
            Op::Restart => {
                self.bench.restart(config());
                self.bench.connect();
            }
            Op::Reconnect => self.bench.reconnect(),
            Op::Pass(milliseconds) => self
                .bench
                .pass(Duration::from_millis(u64::from(*milliseconds))),
            Op::FullDisk(is_full) => self.bench.disk_is_full = *is_full,
        }
    }

    fn give(&mut self, executor: u8, tasks: u8, group: bool) {
        let (executor, start) = self.known(executor);
        let is_group = group || executor.kind == ExecutorKind::Default;
        let specs = (0..tasks).map(|_| {
            let number = self.next();
            given(&format!("t{number}"), &executor, number)
        });
        let specs = specs.collect();
        self.bench.give(&executor, start, specs, is_group);
    }

    fn holder(&mut self, executor: u8, what: u8) {
        let id = format!("e{executor}");
        if self.bench.agent.executor(&executor_key(&id)).is_some() {
            self.bench.holder_event(&id, event(what));
        }
    }

    fn say(&mut self, task: u8, state: u8) {
        let Some(spec) = self
            .task(task)
            .filter(|task| task.kind == ExecutorKind::Custom)
        else {
            return;
        };
        let states = [
            TaskState::Starting,
            TaskState::Running,
            TaskState::Finished,
            TaskState::Failed,
        ];
        let number = self.next();
        let mut status = says(states[usize::from(state)], 0);
        status.uuid = Some(nesos_wire::Uuid(u128::from(number).to_be_bytes()));
        let call = ExecutorCall::Update {
            task: spec.key.task,
            status: Box::new(status),
        };
        self.bench.call(spec.executor.as_str(), call);
    }

    fn acknowledge_all(&mut self) {
        let updates: Vec<_> = self.bench.updates().into_iter().cloned().collect();
        self.bench.sent.clear();
        for update in updates.iter().filter(|update| update.status.uuid.is_some()) {
            self.bench.acknowledge(update);
        }
    }

    /// The disk works, everybody is told to end and does.
    fn settle(&mut self) {
        self.bench.disk_is_full = false;
        self.bench.pass(Duration::from_secs(10));
        self.bench.reconnect();
        for number in 0..4 {
            self.apply(&Op::Shutdown(number));
        }
        for _ in 0..200 {
            let containers: Vec<_> = self
                .bench
                .agent
                .tasks()
                .filter(|view| view.phase.is_active() && view.spec.kind == ExecutorKind::Default)
                .filter_map(|view| view.container.cloned())
                .chain(
                    self.bench
                        .agent
                        .executors()
                        .filter(|view| view.spec.kind == ExecutorKind::Custom)
                        .map(|view| view.container.clone()),
                )
                .collect();
            for container in containers {
                self.bench.event(Event::Container {
                    container,
                    event: event(3),
                });
            }
            self.acknowledge_all();
            if self.bench.agent.tasks().count() + self.bench.agent.executors().count() == 0 {
                return;
            }
        }
    }
}

fn event(what: u8) -> ContainerEvent {
    match what {
        0 => ContainerEvent::Started,
        1 => ContainerEvent::Running,
        2 => ContainerEvent::LaunchFailed {
            message: "no".into(),
        },
        _ => finished(Outcome::Exit(1)),
    }
}

/// What is durable, in words that do not depend on the process.
fn durable(records: Vec<Record>, now: Instant) -> (Vec<String>, Vec<String>) {
    let agent = Agent::recover(config(), Seed([9; 16]), records, moment(now));
    let tasks = agent.tasks().map(|view| {
        format!(
            "{} {:?} {:?} {:?}",
            view.spec.key, view.phase, view.latest, view.container
        )
    });
    let executors = agent
        .executors()
        .map(|view| format!("{} {:?} {:?}", view.spec.key, view.spec.attempt, view.phase));
    (tasks.collect(), executors.collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn executors_hold_together(ops in prop::collection::vec(op(), 0..80)) {
        let mut world = World { bench: Bench::live(), number: 0 };
        for op in &ops {
            world.apply(op);
            let told: Vec<_> = world.bench.heard().into_iter().filter(|word| word.contains("LAUNCH t")).collect();
            let mut once = told.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), told.len(), "a task is handed over once");
        }
        world.bench.disk_is_full = false;
        world.bench.pass(Duration::from_secs(10));
        let now = world.bench.now;
        let snapshot = durable(world.bench.agent.snapshot(), now);
        prop_assert_eq!(snapshot, durable(world.bench.disk.clone(), now), "a short log says the same");
        world.settle();
        prop_assert_eq!(world.bench.agent.tasks().count(), 0);
        prop_assert_eq!(world.bench.agent.executors().count(), 0);
        prop_assert_eq!(resource_text::text(&world.bench.agent.used()), "");
    }
}
