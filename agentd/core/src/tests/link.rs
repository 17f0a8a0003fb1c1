//! Dialling, greeting, silence, and streams across broken links.

use super::*;
use crate::LinkView;

fn dials(bench: &Bench) -> usize {
    bench
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Dial { .. }))
        .count()
}

#[test]
fn the_first_dial_is_immediate_and_later_ones_back_off() {
    let mut bench = Bench::new();
    assert_eq!(dials(&bench), 1);
    for _ in 0..10 {
        bench.disconnect();
        let before = dials(&bench);
        bench.pass(Duration::from_secs(16));
        assert_eq!(dials(&bench), before + 1, "no dial while one is under way");
    }
}

#[test]
fn a_silent_master_is_left() {
    let mut bench = Bench::new();
    bench.event(Event::LinkUp { link: bench.link });
    bench.message(MasterToAgent::Welcome(Welcome {
        silence_limit_ms: 2000,
        ..welcome()
    }));
    bench.pass(Duration::from_millis(1500));
    bench.message(MasterToAgent::Ping { sequence: 9 });
    assert_eq!(
        bench.sent.last(),
        Some(&AgentToMaster::Pong { sequence: 9 })
    );
    bench.pass(Duration::from_millis(1900));
    assert_eq!(bench.agent.link(), LinkView::Live);
    bench.pass(Duration::from_millis(200));
    assert_eq!(bench.agent.link(), LinkView::Seeking);
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::HangUp { link: 1 }))
    );
}

#[test]
fn a_greeting_without_answer_is_given_up() {
    let mut bench = Bench::new();
    bench.event(Event::LinkUp { link: bench.link });
    bench.pass(crate::GREETING_TIMEOUT);
    assert!(bench.actions.contains(&Action::HangUp { link: 1 }));
}

#[test]
fn events_of_an_old_link_are_ignored() {
    let mut bench = Bench::live();
    let old = bench.link;
    bench.reconnect();
    bench.event(Event::LinkDown {
        link: old,
        error: LinkError::Failed("late".into()),
    });
    bench.event(Event::Message {
        link: old,
        message: MasterToAgent::Launch {
            tasks: vec![spec("t", 1)],
        },
    });
    assert_eq!(bench.agent.link(), LinkView::Live);
    assert_eq!(bench.agent.tasks().count(), 0);
}

#[test]
fn a_redirect_is_followed_at_once_but_not_in_circles() {
    let mut bench = Bench::new();
    let redirect = |bench: &mut Bench| {
        bench.event(Event::LinkUp { link: bench.link });
        bench.message(MasterToAgent::Redirect {
            leader: "b:5050".into(),
        });
    };
    redirect(&mut bench);
    assert_eq!(dials(&bench), 2, "at once");
    redirect(&mut bench);
    assert_eq!(dials(&bench), 2, "then with a pause");
    bench.pass(Duration::from_secs(1));
    assert_eq!(dials(&bench), 3);
    let leader = bench.actions.iter().rev().find_map(|action| match action {
        Action::Dial { leader, .. } => leader.clone(),
        _ => None,
    });
    assert_eq!(leader.as_deref(), Some("b:5050"));
}

#[test]
fn a_leadership_that_moves_again_and_again_is_followed_soon() {
    let mut bench = Bench::new();
    for _ in 0..12 {
        bench.event(Event::LinkUp { link: bench.link });
        bench.message(MasterToAgent::Redirect {
            leader: "b:5050".into(),
        });
        bench.event(Event::LinkUp { link: bench.link });
        bench.message(MasterToAgent::Welcome(welcome()));
        bench.message(MasterToAgent::Masters {
            addresses: ["a:5050", "b:5050", "c:5050"].map(String::from).into(),
        });
        bench.pass(Duration::from_secs(1));
        let before = dials(&bench);
        bench.disconnect();
        bench.pass(Duration::from_secs(2));
        assert_eq!(dials(&bench), before + 1);
    }
}

#[test]
fn a_refusal_makes_it_slow() {
    let mut bench = Bench::new();
    bench.event(Event::LinkDown {
        link: bench.link,
        error: LinkError::Refused("wrong token".into()),
    });
    bench.pass(Duration::from_secs(14));
    assert_eq!(dials(&bench), 1);
    bench.pass(Duration::from_secs(30));
    assert_eq!(dials(&bench), 2);
}

#[test]
fn an_unacknowledged_update_is_repeated_with_doubling_pauses() {
    let mut bench = Bench::live();
    bench.launch(spec("t", 1));
    bench.container_event("t", ContainerEvent::Started);
    let mut pause = crate::RETRY_FIRST;
    for sent in 2..12 {
        bench.pass(pause - Duration::from_millis(1));
        assert_eq!(bench.updates().len(), sent - 1);
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.updates().len(), sent);
        pause = (pause * 2).min(crate::RETRY_LAST);
    }
    assert_eq!(pause, crate::RETRY_LAST);
}

#[test]
fn streams_rest_while_the_link_is_down_and_resume_after_the_welcome() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.disconnect();
    bench.finish("t", Outcome::Exit(0));
    bench.sent.clear();
    bench.pass(Duration::from_secs(20));
    bench.event(Event::LinkUp { link: bench.link });
    assert!(bench.updates().is_empty(), "not before the welcome");
    let report = bench.hello().tasks.remove(0);
    assert_eq!(report.latest, TaskState::Finished);
    assert_eq!(
        report.status.map(|status| status.state),
        Some(TaskState::Starting)
    );
    bench.message(MasterToAgent::Welcome(welcome()));
    assert_eq!(bench.last_update().status.state, TaskState::Starting);
    assert_eq!(bench.last_update().latest, TaskState::Finished);
}

#[test]
fn strange_acknowledgements_are_ignored() {
    let mut bench = Bench::live();
    bench.run("t");
    let head = bench.last_update();
    bench.message(MasterToAgent::Acknowledge {
        key: key("t"),
        uuid: nesos_wire::Uuid([9; 16]),
    });
    assert_eq!(bench.last_update(), head);
    bench.acknowledge(&head);
    assert_eq!(bench.last_update().status.state, TaskState::Running);
    bench.acknowledge(&head);
    assert_eq!(bench.last_update().status.state, TaskState::Running);
}

#[test]
fn the_welcome_kills_what_has_no_framework() {
    let mut bench = Bench::live();
    bench.run("t");
    bench.disconnect();
    bench.pass(Duration::from_secs(20));
    bench.event(Event::LinkUp { link: bench.link });
    bench.message(MasterToAgent::Welcome(Welcome {
        kill: vec![key("t")],
        ..welcome()
    }));
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Kill { .. }))
    );
}

#[test]
fn files_are_read_on_the_link_that_asked() {
    let mut bench = Bench::live();
    bench.run("t");
    let path = "stdout".to_string();
    bench.message(MasterToAgent::ReadFile {
        request: 4,
        key: key("t"),
        path,
        offset: 0,
        length: 10,
    });
    assert!(matches!(
        bench.actions.last(),
        Some(Action::ReadFile {
            request: 4,
            container: Some(_),
            ..
        })
    ));
    let old = bench.link;
    let result = Err(nesos_wire::message::FileError::NotFound);
    bench.event(Event::FileRead {
        link: old,
        request: 4,
        result: result.clone(),
    });
    assert!(matches!(
        bench.sent.last(),
        Some(AgentToMaster::FileData { request: 4, .. })
    ));
    bench.reconnect();
    bench.sent.clear();
    bench.event(Event::FileRead {
        link: old,
        request: 5,
        result,
    });
    assert!(bench.sent.is_empty());
}

#[test]
fn masters_that_were_named_are_remembered_over_a_restart_and_dialled_in_turn() {
    let mut bench = Bench::live();
    let addresses = vec!["a:1".to_owned(), "b:1".to_owned()];
    bench.message(MasterToAgent::Masters {
        addresses: addresses.clone(),
    });
    bench.restart(config());
    assert_eq!(bench.agent.link.masters(), addresses);
    // Said again it is no news for the disk.
    bench.connect();
    let before = bench.agent.snapshot();
    bench.message(MasterToAgent::Masters { addresses });
    assert_eq!(bench.agent.snapshot(), before);
}
