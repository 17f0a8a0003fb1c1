//! The master's alarm clock: what is due when.
//!
//! Holds no state of what it wakes: a timer may ring for something that has changed meanwhile, and its handler looks.
//! Called by the other modules through `Master`. Invariant: timers ring in order of time, equal times in `Timer`'s order.

use std::collections::BTreeSet;

use nesos_base::time::Instant;
use nesos_wire::{AgentId, FrameworkId, OfferId};

use crate::event::{LinkId, RequestId, StreamId};

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// HEARTBEAT on this stream.
    Heartbeat(StreamId),
    /// Ping on this link.
    Ping(LinkId),
    /// The agent becomes unreachable unless it is back.
    Unreachable(AgentId),
    /// The framework ends unless it is back.
    Removal(FrameworkId),
    /// The offer has stood long enough.
    Offer(OfferId),
    /// The framework may be asked again to leave the agent.
    Inverse(AgentId, FrameworkId),
    /// The agent has not answered an operator's question.
    Request(RequestId),
    /// Agents have had their time to come back after a restart: offers are made, however few are there.
    AllocatorRecovery,
}

#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        self.0.insert((at, timer));
    }

    /// Forgets a timer that may be far away.
    pub(crate) fn disarm(&mut self, at: Instant, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// The next timer that is due at `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.0.first()?.0 <= now {
            self.0.pop_first()
        } else {
            None
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_ring_in_order_and_not_early() {
        let mut timers = Timers::default();
        timers.arm(Instant::from_secs(2), Timer::Ping(LinkId(1)));
        timers.arm(Instant::from_secs(1), Timer::Ping(LinkId(2)));
        assert_eq!(timers.next(), Some(Instant::from_secs(1)));
        assert_eq!(timers.pop(Instant::from_millis(999)), None);
        assert_eq!(
            timers.pop(Instant::from_secs(3)),
            Some((Instant::from_secs(1), Timer::Ping(LinkId(2))))
        );
        assert_eq!(
            timers.pop(Instant::from_secs(3)),
            Some((Instant::from_secs(2), Timer::Ping(LinkId(1))))
        );
        assert_eq!(timers.pop(Instant::from_secs(3)), None);
    }
}
