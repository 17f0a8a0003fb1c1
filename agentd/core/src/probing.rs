//! When to look at a task, what a look means, and what its framework hears of it (mesos.md 7.4).
//!
//! [`Probing`] is the state of one task's checks; `agent` steps it, the shell looks. Not for tasks of custom executors, which
//! check their own. Invariants: of each kind at most one look is under way; a check's status is told only when it differs
//! from the one told before; a task is killed by its health check exactly when as many looks in a row as it allows have
//! failed, not counting those that its grace period forgives.

use nesos_base::time::{Duration, Instant};
use nesos_wire::TaskKey;
use nesos_wire::check::{Check, CheckStatus, Checks, Probe};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::{Reason, TaskSpec, TaskState, TaskStatus};

use crate::agent::Agent;
use crate::event::{Action, Level};
use crate::task::{Draft, LOOKED_AT, Phase, Task};

/// Shortest pause between two looks of a kind: one without would keep a core busy.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Which of a task's two checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// The health check.
    Health,
    /// The check that is only told.
    Check,
}

/// The checks of one running task.
#[derive(Debug, Clone)]
pub(crate) struct Probing {
    since: Instant,
    health: Look,
    check: Look,
    /// Failures in a row that count.
    failures: u32,
    has_succeeded: bool,
    told_healthy: Option<bool>,
    told_check: Option<CheckStatus>,
}

/// Where one kind of looking is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Never,
    At(Instant),
    UnderWay,
}

/// What a look has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct News {
    /// Its framework is to hear of it.
    pub(crate) is_told: bool,
    /// The task is to be killed.
    pub(crate) is_fatal: bool,
}

impl Probing {
    /// Begins when the task runs, or when it is found running. `newest`: its newest status.
    pub(crate) fn begin(checks: &Checks, newest: Option<&TaskStatus>, now: Instant) -> Self {
        let ours = [
            Some(Reason::TaskHealthCheckStatusUpdated),
            Some(Reason::TaskCheckStatusUpdated),
        ];
        let told = newest.filter(|status| ours.contains(&status.reason));
        let first = |check: &Check| {
            let pause = match told {
                Some(_) => interval(check),
                None => Duration::from_millis(check.delay_ms),
            };
            Look::At(later(now, pause))
        };
        let healthy = told.and_then(|status| status.healthy);
        Self {
            since: now,
            health: checks
                .health
                .as_ref()
                .map_or(Look::Never, |h| first(&h.check)),
            check: checks.check.as_ref().map_or(Look::Never, first),
            failures: u32::from(healthy == Some(false)),
            has_succeeded: healthy.is_some(),
            told_healthy: healthy,
            told_check: told.and_then(|status| status.check),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let at = |look| match look {
            Look::At(at) => Some(at),
            Look::Never | Look::UnderWay => None,
        };
        [at(self.health), at(self.check)]
            .into_iter()
            .flatten()
            .min()
    }

    /// The looks that are due; they are under way from now on.
    pub(crate) fn take_due<'a>(
        &mut self,
        checks: &'a Checks,
        now: Instant,
    ) -> impl Iterator<Item = (ProbeKind, &'a Check)> + use<'a> {
        let take = |look: &mut Look| {
            let is_due = matches!(look, Look::At(at) if *at <= now);
            if is_due {
                *look = Look::UnderWay;
            }
            is_due
        };
        let (health, check) = (take(&mut self.health), take(&mut self.check));
        let health = checks.health.as_ref().filter(|_| health);
        let health = health.map(|health| (ProbeKind::Health, &health.check));
        let check = checks.check.as_ref().filter(|_| check);
        let check = check.map(|check| (ProbeKind::Check, check));
        health.into_iter().chain(check)
    }

    /// A look has ended; `None` inside: it could not be done, or not in time. `can_tell`: there is room for a status.
    pub(crate) fn found(
        &mut self,
        checks: &Checks,
        kind: ProbeKind,
        found: Option<CheckStatus>,
        can_tell: bool,
        now: Instant,
    ) -> News {
        match (kind, &checks.health, &checks.check) {
            (ProbeKind::Health, Some(health), _) if self.health == Look::UnderWay => {
                self.health = Look::At(later(now, interval(&health.check)));
                let is_good = found.is_some_and(|found| health.check.probe.is_good(found));
                let grace = later(self.since, Duration::from_millis(health.grace_ms));
                self.found_health(is_good, now <= grace, health.consecutive_failures, can_tell)
            }
            (ProbeKind::Check, _, Some(check)) if self.check == Look::UnderWay => {
                self.check = Look::At(later(now, interval(check)));
                let status = found.unwrap_or(check.probe.nothing());
                let is_told = can_tell && self.told_check != Some(status);
                if is_told {
                    self.told_check = Some(status);
                }
                News {
                    is_told,
                    is_fatal: false,
                }
            }
            _ => News {
                is_told: false,
                is_fatal: false,
            },
        }
    }

    fn found_health(
        &mut self,
        is_good: bool,
        in_grace: bool,
        allowed: u32,
        can_tell: bool,
    ) -> News {
        let mut news = News {
            is_told: false,
            is_fatal: false,
        };
        if is_good {
            (self.has_succeeded, self.failures) = (true, 0);
            news.is_told = can_tell && self.told_healthy != Some(true);
        } else if self.has_succeeded || !in_grace {
            self.failures = self.failures.saturating_add(1);
            news.is_told = can_tell;
            news.is_fatal = self.failures >= allowed;
        }
        if news.is_told {
            self.told_healthy = Some(is_good);
        }
        news
    }
}

impl Agent {
    /// Begins to check a task that runs, if it is to be checked here.
    pub(crate) fn begin_probing(&mut self, key: &TaskKey) {
        let now = self.moment.now;
        if let Some(task) = self.tasks.get_mut(key)
            && let Some(checks) = checks_of(&task.spec)
            && task.phase == Phase::Running
        {
            let probing = Probing::begin(checks, task.stream.newest(), now);
            task.probing = Some(Box::new(probing));
        }
    }

    pub(crate) fn run_probes(&mut self) {
        let now = self.moment.now;
        for key in self.tasks.due(LOOKED_AT, now) {
            let Some(task) = self.tasks.get_mut(&key) else {
                continue;
            };
            let (Some(probing), Some(checks), Some(container)) =
                (&mut task.probing, checks_of(&task.spec), &task.container)
            else {
                continue;
            };
            let due = probing.take_due(checks, now);
            let looks = due.map(|(kind, check)| Action::Probe {
                container: container.clone(),
                kind,
                probe: Box::new(check.probe.clone()),
                timeout_ms: check.timeout_ms,
            });
            self.out.actions.extend(looks);
        }
    }

    /// A look at the task in this container has ended; `Err`: how it came to nothing.
    pub(crate) fn probed(
        &mut self,
        container: &nesos_wire::ContainerId,
        kind: ProbeKind,
        result: Result<CheckStatus, String>,
    ) {
        let Some(key) = self.containers.get(container).cloned() else {
            return;
        };
        let running = self.tasks.get_mut(&key);
        let Some(task) = running.filter(|task| task.phase == Phase::Running) else {
            return;
        };
        let (Some(probing), Some(checks)) = (&mut task.probing, checks_of(&task.spec)) else {
            return;
        };
        let (can_tell, found) = (task.stream.has_room(), result.as_ref().ok().copied());
        let news = probing.found(checks, kind, found, can_tell, self.moment.now);
        let (healthy, check) = (probing.told_healthy, probing.told_check);
        let message = match (kind, &result) {
            (ProbeKind::Health, _) if healthy == Some(true) => String::new(),
            (ProbeKind::Health, Ok(found)) => format!("Health check failed: {}", text(*found)),
            (ProbeKind::Health, Err(why)) => format!("Health check failed: {why}"),
            (ProbeKind::Check, Err(why)) => format!("Check failed: {why}"),
            (ProbeKind::Check, Ok(_)) => String::new(),
        };
        if news.is_told {
            let reason = match kind {
                ProbeKind::Health => Reason::TaskHealthCheckStatusUpdated,
                ProbeKind::Check => Reason::TaskCheckStatusUpdated,
            };
            let draft = Draft {
                reason: Some(reason),
                ..Draft::executor(TaskState::Running, message.clone())
            };
            let uuid = self.rng.uuid();
            let mut status = self.status(&key, draft, Some(uuid));
            (status.healthy, status.check) = (healthy, check.or(status.check));
            self.push_status(&key, status);
        }
        if news.is_fatal {
            self.note(Level::Warn, format!("task {key} is killed: {message}"));
            self.kill(&key, None);
        }
    }
}

/// What of the task is checked here.
pub(crate) fn checks_of(spec: &TaskSpec) -> Option<&Checks> {
    let is_ours = spec.kind != ExecutorKind::Custom;
    spec.checks.as_deref().filter(|_| is_ours)
}

/// What a new status says of the task's check, and of the health of one that its health check has killed.
pub(crate) fn of_new_status(
    task: Option<&Task>,
    state: TaskState,
) -> (Option<bool>, Option<CheckStatus>) {
    let checks = task.and_then(|task| checks_of(&task.spec));
    let check = checks.and_then(|checks| Some(checks.check.as_ref()?.probe.nothing()));
    let newest = task.and_then(|task| task.stream.newest());
    let was_ill = newest.and_then(|status| status.healthy) == Some(false);
    let is_end = matches!(state, TaskState::Killing | TaskState::Killed);
    let is_ill = was_ill && is_end && checks.is_some();
    (is_ill.then_some(false), check)
}

fn interval(check: &Check) -> Duration {
    Duration::from_millis(check.interval_ms).max(MIN_INTERVAL)
}

fn later(from: Instant, pause: Duration) -> Instant {
    from.checked_add(pause).unwrap_or(Instant::MAX)
}

fn text(found: CheckStatus) -> String {
    match found {
        CheckStatus::Command(Some(code)) => format!("the command exited with status {code}"),
        CheckStatus::Http(Some(code)) => format!("the answer has status {code}"),
        CheckStatus::Tcp(_) => "nobody takes the connection".into(),
        CheckStatus::Command(None) | CheckStatus::Http(None) => "no answer".into(),
    }
}

/// The sentence for a look that took too long.
pub fn timed_out(probe: &Probe, timeout_ms: u64) -> String {
    let what = match probe {
        Probe::Command(_) => "the command did not end",
        Probe::Http(_) => "there was no answer",
        Probe::Tcp { .. } => "there was no connection",
    };
    format!("{what} within {timeout_ms} ms")
}
