//! Whatever happens in whatever order: every status arrives once acknowledged, in order, and none is lost.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Launch(u8),
    Container(u8, u8),
    Kill(u8),
    AcknowledgeNewest,
    AcknowledgeOld(usize),
    Reconnect,
    Restart,
    Pass(u16),
    FullDisk(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..6).prop_map(Op::Launch),
        (0u8..6, 0u8..4).prop_map(|(task, what)| Op::Container(task, what)),
        (0u8..6).prop_map(Op::Kill),
        Just(Op::AcknowledgeNewest),
        Just(Op::AcknowledgeNewest),
        any::<usize>().prop_map(Op::AcknowledgeOld),
        Just(Op::Reconnect),
        Just(Op::Restart),
        (0u16..20_000).prop_map(Op::Pass),
        any::<bool>().prop_map(Op::FullDisk),
    ]
}

/// The framework's view: the states it acknowledged of each task, in order.
#[derive(Default)]
struct Framework {
    seen: BTreeMap<TaskKey, Vec<(nesos_wire::Uuid, TaskState)>>,
}

impl Framework {
    fn acknowledge(&mut self, bench: &mut Bench, update: &TaskUpdate) {
        let Some(uuid) = update.status.uuid else {
            return;
        };
        let seen = self.seen.entry(update.key.clone()).or_default();
        if seen.iter().all(|(other, _)| *other != uuid) {
            seen.push((uuid, update.status.state));
        }
        bench.acknowledge(update);
    }
}

fn apply(bench: &mut Bench, framework: &mut Framework, op: &Op, attempts: &mut u64) {
    match op {
        Op::Launch(task) => {
            *attempts += 1;
            bench.launch(spec(&format!("t{task}-{attempts}"), *attempts));
        }
        Op::Container(index, what) => {
            let active: Vec<_> = bench
                .agent
                .tasks()
                .filter(|view| view.phase.is_active())
                .map(|view| view.spec.key.task.clone())
                .collect();
            let Some(task) = active.get(usize::from(*index)) else {
                return;
            };
            let event = match what {
                0 => ContainerEvent::Started,
                1 => ContainerEvent::Running,
                2 => finished(Outcome::Exit(0)),
                _ => ContainerEvent::LaunchFailed {
                    message: "no".into(),
                },
            };
            bench.container_event(task.as_str(), event);
        }
        Op::Kill(index) => {
            let keys: Vec<_> = bench
                .agent
                .tasks()
                .map(|view| view.spec.key.clone())
                .collect();
            if let Some(key) = keys.get(usize::from(*index)) {
                bench.message(MasterToAgent::Kill {
                    key: key.clone(),
                    grace_ms: None,
                });
            }
        }
        Op::AcknowledgeNewest => {
            if let Some(update) = bench.updates().last().cloned().cloned() {
                framework.acknowledge(bench, &update);
            }
        }
        Op::AcknowledgeOld(index) => {
            let updates: Vec<_> = bench.updates().into_iter().cloned().collect();
            if let Some(update) = updates.get(index % updates.len().max(1)) {
                framework.acknowledge(bench, update);
            }
        }
        Op::Reconnect => bench.reconnect(),
        Op::Restart => {
            // What the disk refused is not lost with a clean restart only; here it is.
            bench.restart(config());
            bench.connect();
        }
        Op::Pass(milliseconds) => bench.pass(Duration::from_millis(u64::from(*milliseconds))),
        Op::FullDisk(is_full) => bench.disk_is_full = *is_full,
    }
}

/// Everything works again: all tasks end and all statuses are acknowledged.
fn settle(bench: &mut Bench, framework: &mut Framework) {
    bench.disk_is_full = false;
    bench.pass(Duration::from_secs(10));
    bench.reconnect();
    let active: Vec<_> = bench
        .agent
        .tasks()
        .filter(|view| view.phase.is_active())
        .map(|view| view.spec.key.task.clone())
        .collect();
    for task in active {
        bench.container_event(task.as_str(), finished(Outcome::Exit(0)));
    }
    for _ in 0..1000 {
        let updates: Vec<_> = bench.updates().into_iter().cloned().collect();
        bench.sent.clear();
        for update in updates {
            framework.acknowledge(bench, &update);
        }
        if bench.agent.tasks().count() == 0 {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn no_status_is_lost_or_out_of_order(ops in prop::collection::vec(op(), 0..60)) {
        let mut bench = Bench::live();
        let mut framework = Framework::default();
        let mut attempts = 0;
        for op in &ops {
            apply(&mut bench, &mut framework, op, &mut attempts);
        }
        settle(&mut bench, &mut framework);
        prop_assert_eq!(bench.agent.tasks().count(), 0, "every task was told to its end");
        for (key, seen) in &framework.seen {
            let terminal = seen.iter().filter(|(_, state)| state.is_terminal()).count();
            prop_assert!(terminal <= 1, "{}: {:?}", key, seen);
            let order: Vec<u8> = seen.iter().map(|(_, state)| match state {
                TaskState::Starting => 0,
                TaskState::Running => 1,
                TaskState::Killing => 2,
                _ => 3,
            }).collect();
            prop_assert!(order.is_sorted(), "{}: {:?}", key, seen);
        }
        let again = Agent::recover(config(), Seed([9; 16]), bench.disk.clone(), moment(bench.now));
        prop_assert_eq!(again.tasks().count(), 0, "the log says so too");
    }
}
