//! Checks and health checks: when a task is looked at, what its framework hears, when it is killed.

use nesos_base::time::{Duration, Instant};
use nesos_wire::check::{Check, CheckStatus, Checks, HealthCheck, HttpProbe, Probe};
use nesos_wire::executor::Outcome;
use nesos_wire::task::{Command, Reason, TaskSpec, TaskState};
use proptest::prelude::*;

use super::{Bench, config, spec};
use crate::probing::{News, Probing};
use crate::{Action, ContainerEvent, Event, MAX_UPDATES, ProbeKind};

const OK: Result<CheckStatus, String> = Ok(CheckStatus::Command(Some(0)));
const BAD: Result<CheckStatus, String> = Ok(CheckStatus::Command(Some(1)));

fn check() -> Check {
    Check {
        probe: Probe::Command(Box::new(Command {
            shell: true,
            value: "true".into(),
            ..Command::default()
        })),
        delay_ms: 15_000,
        interval_ms: 10_000,
        timeout_ms: 20_000,
    }
}

fn health() -> HealthCheck {
    HealthCheck {
        check: check(),
        consecutive_failures: 3,
        grace_ms: 10_000,
    }
}

fn checked(checks: Checks) -> TaskSpec {
    TaskSpec {
        checks: Some(Box::new(checks)),
        ..spec("t", 1)
    }
}

/// State, reason, health and check of a status.
type Told = (TaskState, Option<Reason>, Option<bool>, Option<CheckStatus>);

impl Bench {
    fn run_checked(&mut self, checks: Checks) {
        self.launch(checked(checks));
        self.container_event("t", ContainerEvent::Started);
        self.container_event("t", ContainerEvent::Running);
    }

    /// Lets time pass until a look is wanted; how long that took, in seconds.
    fn until_probe(&mut self) -> (ProbeKind, u64) {
        let start = self.now;
        for _ in 0..400 {
            let wanted = |action: &Action| matches!(action, Action::Probe { .. });
            if let Some(at) = self.actions.iter().position(wanted)
                && let Action::Probe { kind, .. } = self.actions.remove(at)
            {
                return (kind, (self.now - start).as_secs());
            }
            self.pass(Duration::from_secs(1));
        }
        panic!("no look is wanted");
    }

    fn probed(&mut self, kind: ProbeKind, result: Result<CheckStatus, String>) {
        let container = self.container("t");
        self.event(Event::Probed {
            container,
            kind,
            result,
        });
    }

    /// Acknowledges all; state, reason, health and check of each.
    fn told(&mut self) -> Vec<Told> {
        let mut heard = Vec::new();
        while let Some(update) = self.updates().last().map(|update| (*update).clone()) {
            self.sent.clear();
            let status = &update.status;
            heard.push((status.state, status.reason, status.healthy, status.check));
            self.acknowledge(&update);
        }
        heard
    }
}

#[test]
fn health_is_told_when_it_turns_and_with_each_failure() {
    let mut bench = Bench::live();
    bench.run_checked(Checks {
        health: Some(health()),
        check: None,
    });
    bench.told();
    assert_eq!(bench.until_probe(), (ProbeKind::Health, 15));
    let status = |healthy| {
        let reason = Some(Reason::TaskHealthCheckStatusUpdated);
        (TaskState::Running, reason, Some(healthy), None)
    };
    bench.probed(ProbeKind::Health, OK);
    assert_eq!(bench.told(), [status(true)]);
    assert_eq!(bench.until_probe(), (ProbeKind::Health, 10));
    bench.probed(ProbeKind::Health, OK);
    assert_eq!(bench.told(), []);
    bench.until_probe();
    bench.probed(ProbeKind::Health, BAD);
    bench.until_probe();
    bench.probed(ProbeKind::Health, Err("too late".into()));
    assert_eq!(
        bench.last_update().status.message,
        "Health check failed: the command exited with status 1"
    );
    assert_eq!(bench.told(), [status(false), status(false)]);
    bench.until_probe();
    bench.probed(ProbeKind::Health, OK);
    assert_eq!(bench.told(), [status(true)]);
    for _ in 0..3 {
        bench.until_probe();
        bench.probed(ProbeKind::Health, BAD);
    }
    let heard = bench.told();
    assert_eq!(heard[..3], [status(false), status(false), status(false)]);
    assert_eq!(heard[3], (TaskState::Killing, None, Some(false), None));
    bench.finish("t", Outcome::Signal(15));
    assert_eq!(bench.told(), [(TaskState::Killed, None, Some(false), None)]);
}

#[test]
fn failures_before_the_first_success_are_forgiven_for_a_while() {
    let mut bench = Bench::live();
    let mut health = health();
    (health.check.delay_ms, health.check.interval_ms) = (0, 1000);
    (health.grace_ms, health.consecutive_failures) = (5_500, 1);
    bench.run_checked(Checks {
        health: Some(health),
        check: None,
    });
    bench.told();
    // Looks at 0, 1, … 5 seconds.
    for _ in 0..6 {
        bench.until_probe();
        bench.probed(ProbeKind::Health, BAD);
        assert_eq!(bench.told(), []);
    }
    bench.until_probe();
    bench.probed(ProbeKind::Health, BAD);
    let states: Vec<_> = bench.told().iter().map(|(state, ..)| *state).collect();
    assert_eq!(states, [TaskState::Running, TaskState::Killing]);
}

#[test]
fn checks_tell_what_has_changed_and_do_not_hide_health() {
    let mut bench = Bench::live();
    bench.run_checked(Checks {
        health: Some(health()),
        check: Some(check()),
    });
    let nothing = Some(CheckStatus::Command(None));
    let first: Vec<_> = bench.told().iter().map(|heard| heard.3).collect();
    assert_eq!(first, [nothing, nothing]);
    bench.until_probe();
    bench.probed(ProbeKind::Health, OK);
    let found = Some(CheckStatus::Command(Some(7)));
    for result in [
        Ok(CheckStatus::Command(Some(7))),
        Ok(CheckStatus::Command(Some(7))),
    ] {
        bench.probed(ProbeKind::Check, result);
        bench.pass(Duration::from_secs(11));
    }
    bench.probed(ProbeKind::Check, Err("too late".into()));
    let (health, check) = (
        Some(Reason::TaskHealthCheckStatusUpdated),
        Some(Reason::TaskCheckStatusUpdated),
    );
    let running = TaskState::Running;
    assert_eq!(
        bench.told(),
        [
            (running, health, Some(true), nothing),
            (running, check, Some(true), found),
            (running, check, Some(true), nothing)
        ]
    );
}

#[test]
fn a_restart_of_the_agent_forgets_neither_health_nor_checks() {
    let mut bench = Bench::live();
    bench.run_checked(Checks {
        health: Some(health()),
        check: Some(check()),
    });
    bench.until_probe();
    bench.probed(ProbeKind::Check, OK);
    bench.probed(ProbeKind::Health, OK);
    bench.told();
    bench.restart(config());
    bench.connect();
    bench.container_event("t", ContainerEvent::Running);
    assert_eq!(bench.until_probe().1, 10);
    bench.probed(ProbeKind::Check, OK);
    bench.probed(ProbeKind::Health, OK);
    assert_eq!(bench.told(), []);
    bench.pass(Duration::from_secs(10));
    // In no grace period: it was healthy before.
    bench.probed(ProbeKind::Health, BAD);
    assert_eq!(bench.told()[0].2, Some(false));
}

#[test]
fn what_comes_late_or_twice_changes_nothing() {
    let mut bench = Bench::live();
    bench.run_checked(Checks {
        health: Some(health()),
        check: None,
    });
    bench.told();
    bench.probed(ProbeKind::Health, BAD);
    bench.probed(ProbeKind::Check, BAD);
    bench.until_probe();
    bench.message(nesos_wire::message::MasterToAgent::Kill {
        key: super::key("t"),
        grace_ms: None,
    });
    bench.told();
    bench.probed(ProbeKind::Health, OK);
    assert_eq!(bench.told(), []);
    bench.actions.clear();
    bench.pass(Duration::from_secs(3));
    let looks = |action: &Action| matches!(action, Action::Probe { .. });
    assert!(!bench.actions.iter().any(looks));
}

#[test]
fn a_framework_that_does_not_listen_fills_no_memory_but_its_task_is_killed() {
    let mut bench = Bench::live();
    let mut health = health();
    (health.consecutive_failures, health.grace_ms) = (80, 0);
    bench.run_checked(Checks {
        health: Some(health),
        check: None,
    });
    for _ in 0..80 {
        bench.until_probe();
        bench.probed(ProbeKind::Health, BAD);
    }
    let container = bench.container("t");
    let kill =
        |action: &Action| matches!(action, Action::Kill { container: c, .. } if *c == container);
    assert!(bench.actions.iter().any(kill));
    let view = bench.agent.tasks().next().expect("there");
    assert!(view.statuses().count() <= MAX_UPDATES + 1);
}

#[test]
fn pages_are_good_by_their_status() {
    let page = |statuses: &[u32]| {
        Probe::Http(HttpProbe {
            is_https: false,
            port: 80,
            path: "/".into(),
            is_ipv6: false,
            statuses: statuses.to_vec(),
        })
    };
    let good = |statuses: &[u32], code| page(statuses).is_good(CheckStatus::Http(Some(code)));
    assert!(good(&[], 200) && good(&[], 399) && !good(&[], 400) && !good(&[], 199));
    assert!(good(&[503], 503) && !good(&[503], 200));
    assert!(!page(&[]).is_good(CheckStatus::Http(None)));
    assert!(!page(&[]).is_good(CheckStatus::Tcp(Some(true))));
}

proptest! {
    /// Against the rule in words: told when healthy for the first time and after failures, with each failure that counts,
    /// fatal with the n-th in a row.
    #[test]
    fn any_row_of_looks_is_judged_by_the_rule(
        looks in prop::collection::vec((any::<bool>(), 0u64..3000), 0..60),
        allowed in 1u32..5,
        grace_ms in 0u64..8000,
    ) {
        let mut health = health();
        (health.consecutive_failures, health.grace_ms) = (allowed, grace_ms);
        (health.check.delay_ms, health.check.interval_ms) = (500, 700);
        let checks = Checks { health: Some(health), check: None };
        let start = Instant::from_secs(5);
        let mut probing = Probing::begin(&checks, None, start);
        let mut now = start;
        let (mut row, mut ever, mut last) = (0, false, None);
        for (is_good, took) in looks {
            let due = probing.deadline().expect("a look is planned");
            prop_assert!(due >= now);
            prop_assert_eq!(probing.take_due(&checks, due - Duration::from_millis(1)).count(), 0);
            prop_assert_eq!(probing.take_due(&checks, due).count(), 1);
            prop_assert_eq!(probing.take_due(&checks, due).count(), 0);
            prop_assert_eq!(probing.deadline(), None);
            now = due + Duration::from_millis(took);
            let found = Some(CheckStatus::Command(Some(i32::from(!is_good))));
            let news = probing.found(&checks, ProbeKind::Health, found, true, now);
            let forgiven = !ever && now <= start + Duration::from_millis(grace_ms);
            let expected = if is_good {
                (ever, row) = (true, 0);
                News { is_told: last != Some(true), is_fatal: false }
            } else if forgiven {
                News { is_told: false, is_fatal: false }
            } else {
                row += 1;
                News { is_told: true, is_fatal: row >= allowed }
            };
            if expected.is_told {
                last = Some(is_good);
            }
            prop_assert_eq!(news, expected);
        }
    }
}
