//! The tempers of simulated schedulers: how each treats offers, and how often it misbehaves.
//!
//! Only choices; what is done with them stands in `thinking`, `launching` and `hostile`. Invariant: every temper answers
//! every offer in the end, or loses it by the master's offer timeout, a rescind, or its stream.

use nesos_base::time::Duration;

use crate::rng::Rng;

/// What kind of scheduler it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    /// Launches when it has something to launch.
    Worker,
    /// Takes all it gets.
    Greedy,
    /// Refuses nearly everything, for all lengths of time.
    Picky,
    /// Sits on offers for minutes.
    Hoarder,
    /// Answers late.
    Slow,
    /// Suppresses and revives its roles, joins and leaves roles.
    Moody,
    /// Uses ids that are stale, foreign or doubled, and asks for what cannot be.
    Hostile,
}

/// Seconds that refusals are asked for: unset, none, nonsense, short, long, for ever.
const REFUSALS: [Option<f64>; 8] = [
    None,
    Some(0.0),
    Some(-3.0),
    Some(f64::NAN),
    Some(0.2),
    Some(2.0),
    Some(20.0),
    Some(4_294_967_295.0),
];

impl Temper {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        use Temper::*;
        [
            Worker, Worker, Greedy, Picky, Hoarder, Slow, Moody, Moody, Hostile,
        ][rng.between(0, 8) as usize]
    }

    /// How often out of a hundred it uses an offer.
    pub(crate) fn appetite(self) -> u64 {
        match self {
            Self::Greedy => 100,
            Self::Worker | Self::Slow => 70,
            Self::Moody | Self::Hostile => 50,
            Self::Hoarder => 40,
            Self::Picky => 10,
        }
    }

    /// How long an offer lies before it is looked at.
    pub(crate) fn hesitation(self, rng: &mut Rng) -> Duration {
        match self {
            Self::Slow => rng.millis(500, 30_000),
            Self::Hoarder => rng.millis(20_000, 400_000),
            _ if rng.chance(80) => Duration::from_ticks(0),
            _ => rng.millis(0, 3000),
        }
    }

    /// How long it refuses what it does not use. The longest times are for those who revive again.
    pub(crate) fn refusal(self, rng: &mut Rng) -> Option<f64> {
        let last = match self {
            Self::Picky | Self::Moody | Self::Hostile => 7,
            _ => 6,
        };
        REFUSALS[rng.between(0, last) as usize]
    }

    /// How often out of a hundred thoughts it does something unusual with its roles.
    pub(crate) fn moodiness(self) -> u64 {
        match self {
            Self::Moody => 40,
            Self::Picky | Self::Hostile => 10,
            _ => 2,
        }
    }
}
