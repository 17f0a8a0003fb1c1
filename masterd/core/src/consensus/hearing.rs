//! When a leader has heard each of the others last.
//!
//! Not who may vote and not what raft itself thinks of its followers, which it forgets at each of its own looks. Called by
//! `consensus`. Invariant: who does not lead takes nobody for silent, since followers do not speak to each other.

use std::collections::BTreeMap;

use nesos_base::time::{Duration, Instant};

/// Members remembered: several times what a group may have; who speaks beyond that is taken for silent.
const MAX_MEMBERS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Hearing {
    /// The term in which this member leads, and since when.
    led: Option<(u64, Instant)>,
    heard: BTreeMap<u64, Instant>,
    now: Instant,
}

impl Hearing {
    /// Of a member that starts at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            led: None,
            heard: BTreeMap::new(),
            now,
        }
    }

    /// Another member says something.
    pub(super) fn heard(&mut self, member: u64, now: Instant) {
        if self.heard.len() < MAX_MEMBERS || self.heard.contains_key(&member) {
            self.heard.insert(member, now);
        }
    }

    /// It is `now`, and this member leads in the term `led`, if it leads.
    pub(super) fn advance(&mut self, led: Option<u64>, now: Instant) {
        self.now = now;
        if led != self.led.map(|(term, _)| term) {
            self.led = led.map(|term| (term, now));
            self.heard.clear();
        }
    }

    /// Whether this member leads, and has not heard `member` for so long.
    pub(super) fn is_silent(&self, member: u64, limit: Duration) -> bool {
        let Some((_, since)) = self.led else {
            return false;
        };
        let last = self.heard.get(&member).copied().unwrap_or(since);
        self.now.saturating_duration_since(last) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn who_leads_gives_everybody_time_to_answer() {
        let mut hearing = Hearing::new(at(0));
        hearing.heard(2, at(10));
        hearing.advance(None, at(5000));
        assert!(!hearing.is_silent(2, LIMIT), "it follows");
        hearing.advance(Some(3), at(5000));
        hearing.advance(Some(3), at(5500));
        assert!(!hearing.is_silent(2, LIMIT));
        hearing.heard(2, at(5501));
        hearing.advance(Some(3), at(5501));
        assert!(!hearing.is_silent(2, LIMIT) && hearing.is_silent(3, LIMIT));
        hearing.advance(Some(3), at(6002));
        assert!(hearing.is_silent(2, LIMIT));
        // Elected again: nobody was asked anything since.
        hearing.advance(Some(4), at(6002));
        assert!(!hearing.is_silent(2, LIMIT) && !hearing.is_silent(3, LIMIT));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut hearing = Hearing::new(at(0));
        hearing.advance(Some(1), at(0));
        for member in 1..=2 * MAX_MEMBERS as u64 {
            hearing.heard(member, at(1));
        }
        assert_eq!(hearing.heard.len(), MAX_MEMBERS);
    }
}
