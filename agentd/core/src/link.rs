//! The link to the master: Seeking, Greeting, Live.
//!
//! Knows when to dial, when a greeting has taken too long and when silence means loss; not what is said. Called by
//! `agent`. Invariant: at most one dial or link exists at a time, and events of an older one are ignored.

use nesos_base::backoff::Backoff;
use nesos_base::time::{Duration, Instant};

/// A master that does not answer a `Hello` for this long is taken for dead.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// First pause between dials.
const DIAL_FIRST: Duration = Duration::from_millis(250);
/// Longest pause between dials: a returning master has its agents back after this long.
const DIAL_LAST: Duration = Duration::from_secs(15);
/// First and last pause between redirections in a row: masters that name each other are about to agree on one who leads.
const REDIRECTED_FIRST: Duration = Duration::from_millis(100);
const REDIRECTED_LAST: Duration = Duration::from_secs(2);
/// First and last pause after a refusal: a person must act first.
const REFUSED_FIRST: Duration = Duration::from_secs(30);
const REFUSED_LAST: Duration = Duration::from_secs(300);
/// A link that lived this long was sound: its end is news, not the next failure of a row. Two boards with one identity
/// displace each other at once and so dial ever more rarely.
const SOUND: Duration = Duration::from_secs(10);
/// Least silence that is believed: a master's smaller number would make a slow network flap.
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// The link as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkView {
    /// No connection.
    Seeking,
    /// `Hello` is sent, no answer yet.
    Greeting,
    /// Registered.
    Live,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// Between two dials.
    Resting { until: Instant },
    /// The shell is dialling.
    Dialling,
    /// Connected and greeted.
    Greeting { until: Instant },
    /// Welcomed.
    Live {
        since: Instant,
        heard: Instant,
        silence: Duration,
    },
    /// The agent has said goodbye.
    Closed,
}

#[derive(Debug, Clone)]
pub(crate) struct Link {
    state: State,
    number: u64,
    /// Greetings on this link that no Welcome has answered.
    unanswered: u32,
    leader: Option<String>,
    /// Where masters are, as the last one said.
    masters: Vec<String>,
    /// Whose turn it is to be dialled: 0 is whoever the agent is configured to dial, then `masters`.
    turn: usize,
    failed: Backoff,
    refused: Backoff,
    redirected: Backoff,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Resting {
                until: Instant::MIN,
            },
            number: 0,
            unanswered: 0,
            leader: None,
            masters: Vec::new(),
            turn: 0,
            failed: Backoff::new(DIAL_FIRST, DIAL_LAST),
            refused: Backoff::new(REFUSED_FIRST, REFUSED_LAST),
            redirected: Backoff::new(REDIRECTED_FIRST, REDIRECTED_LAST),
        }
    }

    /// Number of the present dial or link.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether an event of link `number` concerns a dial or link that still exists.
    pub(crate) fn is_current(&self, number: u64) -> bool {
        number == self.number && !matches!(self.state, State::Resting { .. } | State::Closed)
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Live { .. } | State::Greeting { .. })
    }

    pub(crate) fn view(&self) -> LinkView {
        match self.state {
            State::Greeting { .. } => LinkView::Greeting,
            State::Live { .. } => LinkView::Live,
            State::Resting { .. } | State::Dialling | State::Closed => LinkView::Seeking,
        }
    }

    /// If it is time to dial: the new link's number and where the leader is said to be.
    pub(crate) fn take_dial(&mut self, now: Instant) -> Option<(u64, Option<String>)> {
        match self.state {
            State::Resting { until } if until <= now => {
                self.number += 1;
                self.state = State::Dialling;
                let known = self.turn.checked_sub(1);
                let known = known.and_then(|turn| self.masters.get(turn)).cloned();
                Some((self.number, self.leader.take().or(known)))
            }
            _ => None,
        }
    }

    /// Connected: greet. Returns false if nobody was dialling.
    pub(crate) fn up(&mut self, now: Instant) -> bool {
        let dialling = self.state == State::Dialling;
        if dialling {
            self.unanswered = 0;
            self.state = State::Greeting {
                until: now + GREETING_TIMEOUT,
            };
        }
        dialling
    }

    pub(crate) fn greeted(&mut self) {
        self.unanswered += 1;
    }

    /// Whether what is heard now was said before the master read the newest greeting.
    pub(crate) fn is_behind(&self) -> bool {
        self.unanswered > 0
    }

    pub(crate) fn welcomed(&mut self, now: Instant, silence: Duration) {
        self.refused.reset();
        self.redirected.reset();
        self.unanswered = self.unanswered.saturating_sub(1);
        self.state = State::Live {
            since: now,
            heard: now,
            silence: silence.max(SILENCE_MIN),
        };
    }

    pub(crate) fn heard(&mut self, now: Instant) {
        if let State::Live { heard, .. } = &mut self.state {
            *heard = now;
        }
    }

    /// Failed or broke: rest, then dial again.
    pub(crate) fn failed(&mut self, now: Instant, random: u32) -> Duration {
        if matches!(self.state, State::Live { since, .. } if since + SOUND <= now) {
            self.failed.reset();
        }
        let mut pauses = self.failed.clone();
        let pause = pauses.next(random);
        self.turn = (self.turn + 1) % (self.masters.len() + 1);
        // Each master is tried once before the pauses grow.
        if self.turn == 0 {
            self.failed = pauses;
        }
        self.state = State::Resting { until: now + pause };
        pause
    }

    /// Where masters are, as the last one said.
    pub(crate) fn masters(&self) -> &[String] {
        &self.masters
    }

    /// Masters to dial when the present one does not answer.
    pub(crate) fn know_masters(&mut self, masters: Vec<String>) {
        self.masters = masters;
        self.turn = 0;
    }

    /// Refused: rest long.
    pub(crate) fn refused(&mut self, now: Instant, random: u32) -> Duration {
        let pause = self.refused.next(random);
        self.state = State::Resting { until: now + pause };
        pause
    }

    /// Another master leads: go there, without a pause the first time. Masters that name each other must not make the agent
    /// spin.
    pub(crate) fn redirected(&mut self, now: Instant, leader: String, random: u32) {
        self.leader = Some(leader);
        let is_first = self.redirected.failures() == 0;
        let pause = self.redirected.next(random);
        self.state = State::Resting {
            until: if is_first { now } else { now + pause },
        };
    }

    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    /// Whether the master has been silent too long.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.state, State::Greeting { .. } | State::Live { .. })
            && self.deadline().is_some_and(|deadline| deadline <= now)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until } | State::Greeting { until } => Some(until),
            State::Live { heard, silence, .. } => Some(heard + silence),
            State::Dialling | State::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_known_masters_are_dialled_in_turn_before_the_pauses_grow() {
        let (mut link, mut now) = (Link::new(), Instant::from_secs(1));
        link.know_masters(vec!["a:1".into(), "b:1".into()]);
        let mut dialled = Vec::new();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            dialled.push(link.take_dial(now).and_then(|(_, leader)| leader));
            let pause = link.failed(now, u32::MAX);
            pauses.push(pause);
            now += pause;
        }
        let (a, b) = (Some("a:1".to_owned()), Some("b:1".to_owned()));
        let round = [None, a, b];
        assert_eq!(dialled[..3], round);
        assert_eq!(dialled[3..6], round);
        assert!(pauses[..3].iter().all(|pause| *pause == pauses[0]));
        assert!(pauses[4] > pauses[0] && pauses[6] > pauses[4], "{pauses:?}");
    }

    /// Dials, is welcomed, and loses the link after `lived`; the pause until the next dial.
    fn pause_after(link: &mut Link, now: &mut Instant, lived: Duration) -> Duration {
        assert!(link.take_dial(*now).is_some() && link.up(*now));
        link.welcomed(*now, Duration::from_secs(15));
        *now += lived;
        let pause = link.failed(*now, u32::MAX);
        *now += pause;
        pause
    }

    #[test]
    fn links_that_are_displaced_at_once_are_dialled_ever_more_rarely() {
        let (mut link, mut now) = (Link::new(), Instant::from_secs(1));
        let pauses: Vec<Duration> = (0..10)
            .map(|_| pause_after(&mut link, &mut now, Duration::from_millis(50)))
            .collect();
        assert!(
            pauses.windows(2).all(|pair| pair[0] <= pair[1]),
            "{pauses:?}"
        );
        assert!(pauses[9] > Duration::from_secs(14), "{pauses:?}");
        assert!(pause_after(&mut link, &mut now, SOUND) < Duration::from_secs(1));
    }
}
