//! Which daemon runs, which waits for its next start, and what an exit means. Pure; `services` starts and reaps.
//!
//! Invariant: a service has at most one process; a stopped supervisor starts nothing; nothing ever waits for a
//! service to become ready.

use embassy_time::{Duration, Instant};
use nesos_base::restart::Restart;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Running(u32),
    Stopped,
}

#[derive(Debug)]
struct Service {
    state: State,
    restart: Restart,
}

/// The supervised services, known by their index.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    services: Vec<Service>,
    stopping: bool,
}

/// A service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Which one.
    pub(crate) service: usize,
    /// When it starts again; `None` while stopping.
    pub(crate) again_in: Option<Duration>,
}

impl Supervisor {
    /// Adds a service that is due at `now`; returns its index.
    pub(crate) fn add(&mut self, now: Instant) -> usize {
        self.services.push(Service {
            state: State::Waiting(now),
            restart: Restart::default(),
        });
        self.services.len() - 1
    }

    /// A service to start at `now`. The caller answers with [`Supervisor::started`] or
    /// [`Supervisor::start_failed`] before it asks again.
    pub(crate) fn due(&self, now: Instant) -> Option<usize> {
        self.services
            .iter()
            .position(|s| matches!(s.state, State::Waiting(at) if at <= now && !self.stopping))
    }

    /// The service was started.
    pub(crate) fn started(&mut self, service: usize, pid: u32, now: Instant) {
        if let Some(service) = self.services.get_mut(service) {
            service.state = State::Running(pid);
            service.restart.started(now);
        }
    }

    /// The service could not be started; returns when it is tried again.
    pub(crate) fn start_failed(&mut self, service: usize, now: Instant) -> Duration {
        let Some(service) = self.services.get_mut(service) else {
            return Duration::from_ticks(0);
        };
        service.restart.started(now);
        let delay = service.restart.ended(now);
        service.state = State::Waiting(now + delay);
        delay
    }

    /// A child ended; `None` if it was no service but an orphan.
    pub(crate) fn exited(&mut self, pid: u32, now: Instant) -> Option<Ended> {
        let index = self.index_of(pid)?;
        let service = &mut self.services[index];
        let delay = service.restart.ended(now);
        let again_in = (!self.stopping).then_some(delay);
        service.state = again_in.map_or(State::Stopped, |delay| State::Waiting(now + delay));
        Some(Ended {
            service: index,
            again_in,
        })
    }

    /// The service that runs as process `pid`.
    pub(crate) fn index_of(&self, pid: u32) -> Option<usize> {
        self.services
            .iter()
            .position(|s| s.state == State::Running(pid))
    }

    /// When the next service is due.
    pub(crate) fn next_start(&self) -> Option<Instant> {
        let waiting = self.services.iter().filter_map(|s| match s.state {
            State::Waiting(at) if !self.stopping => Some(at),
            _ => None,
        });
        waiting.min()
    }

    /// From now on nothing is started.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// The processes that run.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.services.iter().filter_map(|s| match s.state {
            State::Running(pid) => Some(pid),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn services_start_once_and_again_after_their_exit() {
        let mut supervisor = Supervisor::default();
        let masterd = supervisor.add(at(0));
        let agentd = supervisor.add(at(0));
        assert_eq!(supervisor.due(at(0)), Some(masterd));
        supervisor.started(masterd, 10, at(0));
        assert_eq!(supervisor.due(at(0)), Some(agentd));
        supervisor.started(agentd, 11, at(0));
        assert_eq!(supervisor.due(at(0)), None);
        assert_eq!(supervisor.next_start(), None);

        assert_eq!(supervisor.exited(99, at(1000)), None);
        let ended = supervisor.exited(10, at(1000)).unwrap();
        let delay = ended.again_in.unwrap();
        assert_eq!(ended.service, masterd);
        assert_eq!(supervisor.next_start(), Some(at(1000) + delay));
        assert_eq!(supervisor.due(at(1000)), None);
        assert_eq!(supervisor.due(at(1000) + delay), Some(masterd));
        assert_eq!(supervisor.pids().collect::<Vec<_>>(), [11]);
    }

    #[test]
    fn a_program_that_cannot_start_is_tried_ever_more_slowly() {
        let mut supervisor = Supervisor::default();
        let service = supervisor.add(at(0));
        let mut now = at(0);
        let mut delays = Vec::new();
        for _ in 0..12 {
            assert_eq!(supervisor.due(now), Some(service));
            let delay = supervisor.start_failed(service, now);
            delays.push(delay);
            now += delay;
        }
        assert!(delays.is_sorted());
        assert_eq!(delays[11], nesos_base::restart::MAX_DELAY);
    }

    #[test]
    fn nothing_starts_after_the_stop() {
        let mut supervisor = Supervisor::default();
        let first = supervisor.add(at(0));
        supervisor.add(at(0));
        supervisor.started(first, 10, at(0));
        supervisor.stop();
        assert_eq!(supervisor.due(at(9)), None);
        assert_eq!(supervisor.next_start(), None);
        assert_eq!(
            supervisor.exited(10, at(9)),
            Some(Ended {
                service: first,
                again_in: None
            })
        );
        assert_eq!(supervisor.pids().count(), 0);
    }
}
