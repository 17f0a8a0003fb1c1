//! What scripts cannot say: status codes, overtaken links, other versions, lost registries, large launches.
//!
//! Drives the public interface event by event.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;

use bench::{Bench, config};
use masterd_core::{
    Answer, Call, CallRefusal, Config, Event, FrameworkEvent, LinkId, Ready, RequestId, StreamId,
};
use nesos_base::time::Duration;
use nesos_wire::message::{AgentToMaster, FileError, MasterToAgent};
use nesos_wire::version::Version;
use nesos_wire::{AgentId, FrameworkId, NodeId, TaskId, TaskKey, Uuid};

#[test]
fn calls_are_refused_with_mesoss_codes_in_mesoss_order() {
    let mut bench = Bench::new(config());
    let id = bench.master.next_framework_id();
    let (one, two) = (StreamId(Uuid([1; 16])), StreamId(Uuid([2; 16])));
    let code = |bench: &Bench, stream, principal| {
        bench
            .master
            .check_call(&id, stream, principal)
            .map_err(|refusal: CallRefusal| refusal.http_status())
    };
    assert_eq!(code(&bench, Some(one), None), Err(400));
    bench.subscribe(1, None);
    assert_eq!(code(&bench, Some(one), None), Ok(()));
    assert_eq!(code(&bench, Some(one), Some("p")), Ok(()));
    assert_eq!(code(&bench, Some(one), Some("q")), Err(400));
    assert_eq!(code(&bench, None, None), Err(400));
    assert_eq!(code(&bench, Some(two), None), Err(400));
    bench.step(Event::StreamClosed { stream: one });
    assert_eq!(code(&bench, Some(one), None), Err(403));
    assert_eq!(
        bench.master.check_call(&id, Some(one), Some("q")),
        Err(CallRefusal::WrongPrincipal)
    );
    // What is not allowed is not done either.
    let idle = bench.call(1, Call::Reconcile { tasks: Vec::new() });
    assert!(idle.is_idle());
}

#[test]
fn a_hello_that_was_overtaken_changes_nothing() {
    let mut bench = Bench::new(config());
    bench.hello(2, |_| {});
    let ready = bench.hello(1, |hello| hello.hostname = "old".into());
    assert_eq!(
        (ready.close_links.as_slice(), ready.to_agents.len()),
        (&[LinkId(1)][..], 0)
    );
    bench.step(Event::AgentClosed { link: LinkId(2) });
    assert_eq!(bench.hello(1, |_| {}).close_links, [LinkId(1)]);
    let ready = bench.hello(3, |_| {});
    assert!(matches!(
        ready.to_agents[0],
        (LinkId(3), MasterToAgent::Welcome(_))
    ));
    // A newer link ends the older one.
    assert_eq!(bench.hello(4, |_| {}).close_links, [LinkId(3)]);
}

#[test]
fn strangers_are_told_why() {
    let mut bench = Bench::new(Config {
        max_agents: 1,
        max_frameworks: 1,
        ..config()
    });
    let refusal = |ready: Ready| match &ready.to_agents[..] {
        [(link, MasterToAgent::Refused { reason })] if ready.close_links == [*link] => {
            reason.clone()
        }
        other => panic!("{other:?}"),
    };
    let reason = refusal(bench.hello(1, |hello| hello.version = Version(0)));
    assert!(reason.contains("wire version 0"), "{reason}");
    bench.hello(2, |_| {});
    let reason = refusal(bench.hello(3, |hello| hello.node = NodeId::new("other")));
    assert!(reason.contains("1 agents are admitted"), "{reason}");
    bench.subscribe(1, None);
    let ready = bench.subscribe(2, None);
    assert!(matches!(
        &ready.to_frameworks[..],
        [(_, FrameworkEvent::Error(_))]
    ));
    assert_eq!(ready.close_streams, [StreamId(Uuid([2; 16]))]);
}

#[test]
fn an_agent_keeps_its_id_when_the_registry_is_lost() {
    let mut bench = Bench::new(config());
    let remembered = AgentId::new("old-S7");
    bench.hello(1, |hello| hello.agent = Some(remembered.clone()));
    assert!(bench.master.agent(&remembered).is_some());
    // But not one that is taken.
    bench.hello(2, |hello| {
        hello.node = NodeId::new("other");
        hello.agent = Some(remembered.clone());
    });
    assert_eq!(bench.master.agents().count(), 2);
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.hello(1, |_| {}).commands.len(), 1);
    assert_eq!(bench.subscribe(1, None).commands.len(), 1);
    bench.step(Event::AgentClosed { link: LinkId(1) });
    assert_eq!(bench.hello(2, |_| {}).commands, []);
    assert_eq!(
        bench
            .subscribe(2, Some(FrameworkId::new("m-0000")))
            .commands,
        []
    );
    for _ in 0..1000 {
        bench.now += Duration::from_secs(1);
        let ready = bench.step(Event::Tick);
        assert_eq!(ready.commands, []);
        for (link, message) in ready.to_agents {
            if let MasterToAgent::Ping { sequence } = message {
                bench.step(Event::AgentMessage {
                    link,
                    message: AgentToMaster::Pong { sequence },
                });
            }
        }
    }
}

#[test]
fn large_launches_are_sent_in_parts() {
    let mut bench = Bench::new(config());
    bench.subscribe(1, None);
    bench.hello(1, |_| {});
    let ready = bench.launch(&[("a", 700_000), ("b", 700_000), ("c", 10)]);
    let sizes: Vec<usize> = ready
        .to_agents
        .iter()
        .map(|(_, message)| match message {
            MasterToAgent::Launch { tasks } => tasks.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [1, 2]);
}

#[test]
fn files_are_read_over_the_agents_link() {
    let mut bench = Bench::new(config());
    bench.subscribe(1, None);
    bench.hello(1, |_| {});
    bench.launch(&[("a", 0)]);
    let key = |task: &str| TaskKey {
        framework: FrameworkId::new("m-0000"),
        task: TaskId::new(task),
    };
    let read = |bench: &mut Bench, request, task: &str| {
        let (request, path) = (RequestId(request), "stdout".to_owned());
        bench.step(Event::ReadFile {
            request,
            key: key(task),
            path,
            offset: 0,
            length: 10,
        })
    };
    assert!(matches!(
        &read(&mut bench, 1, "x").answers[..],
        [(_, Answer::NotFound(_))]
    ));
    let ready = read(&mut bench, 2, "a");
    assert!(matches!(
        &ready.to_agents[..],
        [(LinkId(1), MasterToAgent::ReadFile { request: 2, .. })]
    ));
    let result = Err(FileError::NotFound);
    let message = AgentToMaster::FileData {
        request: 2,
        result: result.clone(),
    };
    let ready = bench.step(Event::AgentMessage {
        link: LinkId(1),
        message,
    });
    assert_eq!(ready.answers, [(RequestId(2), Answer::File(result))]);
    read(&mut bench, 3, "a");
    let ready = bench.step(Event::AgentClosed { link: LinkId(1) });
    assert!(matches!(
        &ready.answers[..],
        [(RequestId(3), Answer::Unavailable(_))]
    ));
    assert!(matches!(
        &read(&mut bench, 4, "a").answers[..],
        [(_, Answer::Unavailable(_))]
    ));
}

#[test]
fn operators_kill_in_the_frameworks_place() {
    let mut bench = Bench::new(config());
    bench.subscribe(1, None);
    bench.hello(1, |_| {});
    bench.launch(&[("a", 0)]);
    let key = |task: &str| TaskKey {
        framework: FrameworkId::new("m-0000"),
        task: TaskId::new(task),
    };
    let kill = |bench: &mut Bench, task: &str| {
        bench.step(Event::KillTask {
            request: RequestId(1),
            key: key(task),
            grace_ms: Some(5),
        })
    };
    let ready = kill(&mut bench, "a");
    assert_eq!(ready.answers, [(RequestId(1), Answer::Done)]);
    assert!(matches!(
        &ready.to_agents[..],
        [(
            _,
            MasterToAgent::Kill {
                grace_ms: Some(5),
                ..
            }
        )]
    ));
    assert!(matches!(
        &kill(&mut bench, "b").answers[..],
        [(_, Answer::NotFound(_))]
    ));
}
