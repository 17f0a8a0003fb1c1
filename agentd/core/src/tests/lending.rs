//! What the agent lends, tells and takes back.

use super::executors::{executor, given};
use super::*;
use crate::slack::{Measured, Rules, Sample, Tolerance, Waits};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Entry, Resources, Terms};
use nesos_wire::task::Reason;

const LENDS: Rules = Rules {
    lends: true,
    evicts: None,
};
const EVICTS: Rules = Rules {
    lends: true,
    evicts: Some(Tolerance {
        cpu: 50.0,
        memory: 50.0,
    }),
};

/// The same amounts, revocable.
fn revocable(text: &str) -> Resources {
    let terms = Terms {
        is_revocable: true,
        ..Terms::default()
    };
    let plain = resource_text::parse(text).expect("valid");
    let entries = plain.entries().iter();
    entries
        .map(|entry: &Entry| entry.under(terms.clone()))
        .collect()
}

/// All containers idle, the processors in demand for so many per cent of the time.
fn look(bench: &mut Bench, rules: Rules, cpu: f64) {
    bench.pass(Duration::from_secs(15));
    let mut sample = Sample {
        machine: Waits { cpu, memory: 0.0 },
        ..Sample::default()
    };
    let of_tasks = bench.agent.tasks().filter_map(|view| view.container);
    let of_executors = bench.agent.executors().map(|view| view.container);
    for container in of_tasks.chain(of_executors) {
        sample
            .containers
            .insert(container.clone(), Measured::default());
    }
    let sample = Box::new(sample);
    bench.event(Event::Measured { rules, sample });
}

/// A live agent with an idle task, which lends.
fn lender() -> Bench {
    let mut bench = Bench::live();
    bench.run("lender");
    for _ in 0..5 {
        look(&mut bench, LENDS, 0.0);
    }
    bench
}

fn told(bench: &Bench) -> Option<Resources> {
    bench.sent.iter().rev().find_map(|message| match message {
        AgentToMaster::Lent { resources } => Some(resources.clone()),
        _ => None,
    })
}

fn destroyed(bench: &Bench, container: &ContainerId) -> bool {
    let order = Action::Destroy {
        container: container.clone(),
    };
    bench.actions.contains(&order)
}

#[test]
fn what_is_lent_is_told_once_and_again_in_each_greeting() {
    let mut bench = lender();
    // Too little memory to be worth a word.
    let lent = revocable("cpus:0.8");
    assert_eq!(told(&bench), Some(lent.clone()));
    assert_eq!(bench.agent.lent(), lent);
    bench.sent.clear();
    look(&mut bench, LENDS, 0.0);
    assert_eq!(told(&bench), None, "nothing has changed");
    bench.reconnect();
    let mut all = resource_text::parse("cpus:4;mem:256").expect("valid");
    all.add(&lent);
    assert_eq!(bench.hello().resources, all);
    assert_eq!(told(&bench), None);
    // With its lender it goes, and so it does while nobody hears it.
    bench.disconnect();
    bench.finish("lender", Outcome::Exit(0));
    look(&mut bench, LENDS, 0.0);
    bench.sent.clear();
    bench.pass(Duration::from_secs(20));
    bench.connect();
    assert_eq!(bench.hello().resources, bench.agent.resources());
    // An agent that starts again has watched nobody yet.
    let mut bench = lender();
    bench.restart(config());
    assert!(bench.agent.lent().is_empty());
}

#[test]
fn a_task_takes_what_is_lent_and_no_more() {
    let mut bench = lender();
    for (task, text, is_taken) in [("much", "cpus:0.9", false), ("fits", "cpus:0.8", true)] {
        let mut spec = spec(task, 2);
        spec.resources = revocable(text);
        bench.launch(spec);
        let update = bench.updates().last().map(|update| (*update).clone());
        let refused = update.filter(|update| update.key == key(task));
        assert_eq!(refused.is_none(), is_taken, "{task}");
    }
    // What it runs on may shrink under it.
    bench.finish("lender", Outcome::Exit(0));
    look(&mut bench, LENDS, 0.0);
    assert_eq!(told(&bench), Some(Resources::new()));
}

#[test]
fn under_pressure_a_revocable_task_is_gone_with_its_reason() {
    for (is_aware, state) in [(true, TaskState::Gone), (false, TaskState::Lost)] {
        let mut bench = lender();
        let mut lodger = spec("lodger", 2);
        lodger.resources = revocable("cpus:0.5");
        lodger.partition_aware = is_aware;
        bench.launch(lodger);
        bench.container_event("lodger", ContainerEvent::Running);
        look(&mut bench, LENDS, 90.0);
        look(&mut bench, EVICTS, 49.0);
        let container = bench.container("lodger");
        assert!(!destroyed(&bench, &container));
        look(&mut bench, EVICTS, 50.0);
        assert!(destroyed(&bench, &container));
        assert!(!destroyed(&bench, &bench.container("lender")));
        bench.finish("lodger", Outcome::Signal(9));
        let statuses = bench.agent.tasks();
        let mut its = statuses.filter(|view| view.spec.key == key("lodger"));
        let status = its.next().and_then(|view| view.status.cloned());
        let status = status.expect("it has ended");
        assert_eq!(
            (status.state, status.reason),
            (state, Some(Reason::ContainerPreempted))
        );
        assert!(status.message.contains("processor"), "{}", status.message);
        drop(its);
        assert_eq!(bench.agent.counters().preempted, 1);
    }
}

#[test]
fn an_executor_on_lent_resources_goes_with_all_of_its_tasks() {
    let mut bench = lender();
    let mut brought = executor("e", ExecutorKind::Custom, 7);
    brought.resources = revocable("cpus:0.1");
    let task = given("guest", &brought, 8);
    let task = TaskSpec {
        resources: revocable("cpus:0.1"),
        ..task
    };
    let key = brought.key.clone();
    bench.message(MasterToAgent::LaunchExecutor {
        executor: Box::new(brought),
        start: true,
        tasks: vec![task],
        group: false,
    });
    let container = bench.agent.executor(&key).expect("taken").container.clone();
    look(&mut bench, EVICTS, 90.0);
    assert!(destroyed(&bench, &container));
    bench.event(Event::Container {
        container,
        event: finished(Outcome::Signal(9)),
    });
    let mut tasks = bench.agent.tasks();
    let guest = tasks.find(|view| view.spec.key.task.as_str() == "guest");
    let status = guest.and_then(|view| view.status).expect("it has ended");
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Gone, Some(Reason::ContainerPreempted))
    );
}

#[test]
fn who_was_preempted_is_told_so_by_the_next_agent() {
    let mut bench = lender();
    let mut lodger = spec("lodger", 2);
    lodger.resources = revocable("cpus:0.5");
    bench.launch(lodger);
    bench.container_event("lodger", ContainerEvent::Running);
    look(&mut bench, LENDS, 90.0);
    look(&mut bench, EVICTS, 50.0);
    // Twice: a log is replaced by its shortest form in between.
    for _ in 0..2 {
        bench.actions.clear();
        bench.restart(config());
        let container = bench.container("lodger");
        assert!(destroyed(&bench, &container), "{:?}", bench.actions);
    }
    bench.finish("lodger", Outcome::Signal(9));
    let statuses = bench.agent.tasks();
    let mut its = statuses.filter(|view| view.spec.key == key("lodger"));
    let status = its
        .next()
        .and_then(|view| view.status)
        .expect("it has ended");
    assert_eq!(
        (status.state, status.reason),
        (TaskState::Gone, Some(Reason::ContainerPreempted))
    );
    assert!(status.message.contains("processor"), "{}", status.message);
}

#[test]
fn so_is_an_executor() {
    let mut bench = lender();
    let mut brought = executor("e", ExecutorKind::Custom, 7);
    brought.resources = revocable("cpus:0.1");
    let task = TaskSpec {
        resources: revocable("cpus:0.1"),
        ..given("guest", &brought, 8)
    };
    let key = brought.key.clone();
    bench.message(MasterToAgent::LaunchExecutor {
        executor: Box::new(brought),
        start: true,
        tasks: vec![task],
        group: false,
    });
    let container = bench.agent.executor(&key).expect("taken").container.clone();
    look(&mut bench, EVICTS, 90.0);
    bench.restart(config());
    bench.event(Event::Container {
        container,
        event: finished(Outcome::Signal(9)),
    });
    let mut tasks = bench.agent.tasks();
    let guest = tasks.find(|view| view.spec.key.task.as_str() == "guest");
    let status = guest.and_then(|view| view.status).expect("it has ended");
    assert_eq!(status.reason, Some(Reason::ContainerPreempted));
}
