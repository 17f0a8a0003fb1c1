//! Which frames a bad network loses: a share of those between boards, by chance that follows from a seed.
//!
//! Not a delay and not an order: the switch keeps both. Frames to and from this machine (slirp's way in) are never lost, since
//! their cable is none of the boards'. Called by the switch. Invariant: the same seed and the same frames lose the same ones.

use serde::{Deserialize, Serialize};

use super::fabric::{Mac, is_group};
use super::state::BOARD_MAC;

/// The whole.
pub(super) const THOUSAND: u16 = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Loss {
    per_thousand: u16,
    state: u64,
    passed: u64,
    lost: u64,
}

/// What is lost, and what was since that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lost {
    /// Of a thousand frames.
    pub(super) per_thousand: u16,
    /// Frames between boards that were passed on.
    pub(super) passed: u64,
    /// And that were not.
    pub(super) lost: u64,
}

impl Loss {
    /// From now on so many of a thousand frames are lost.
    pub(super) fn set(&mut self, per_thousand: u16, seed: u64) {
        *self = Self {
            per_thousand: per_thousand.min(THOUSAND),
            state: seed,
            ..Self::default()
        };
    }

    /// See [`Lost`].
    pub(super) fn told(&self) -> Lost {
        Lost {
            per_thousand: self.per_thousand,
            passed: self.passed,
            lost: self.lost,
        }
    }

    /// Whether a frame with these addresses is lost.
    pub(super) fn takes(&mut self, destination: Mac, source: Mac) -> bool {
        let is_between = is_board(source) && (is_board(destination) || is_group(destination));
        if !is_between {
            return false;
        }
        let is_lost = self.draw() % u64::from(THOUSAND) < u64::from(self.per_thousand);
        match is_lost {
            true => self.lost += 1,
            false => self.passed += 1,
        }
        is_lost
    }

    /// splitmix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn is_board(address: Mac) -> bool {
    address.starts_with(&BOARD_MAC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = [0x52, 0x54, 0, 0x6e, 0x65, 1];
    const B: Mac = [0x52, 0x54, 0, 0x6e, 0x65, 2];
    const ALL: Mac = [0xff; 6];
    const SLIRP: Mac = [0x52, 0x55, 0x0a, 0, 2, 2];

    fn taken(seed: u64, per_thousand: u16) -> Vec<bool> {
        let mut loss = Loss::default();
        loss.set(per_thousand, seed);
        (0..10_000).map(|_| loss.takes(B, A)).collect()
    }

    #[test]
    fn the_share_is_lost_and_the_seed_says_which() {
        let lost = taken(7, 50).iter().filter(|is_lost| **is_lost).count();
        assert!((450..=550).contains(&lost), "{lost} of 10,000");
        assert_eq!(taken(7, 50), taken(7, 50));
        assert_ne!(taken(7, 50), taken(8, 50));
        assert!(taken(7, 1000).iter().all(|is_lost| *is_lost));
        assert!(!taken(7, 0).contains(&true));
    }

    #[test]
    fn the_way_in_loses_nothing_and_what_is_lost_is_told() {
        let mut loss = Loss::default();
        loss.set(1000, 1);
        assert!(!loss.takes(SLIRP, A) && !loss.takes(A, SLIRP) && !loss.takes(ALL, SLIRP));
        assert!(loss.takes(ALL, A) && loss.takes(B, A));
        let told = loss.told();
        assert_eq!((told.per_thousand, told.passed, told.lost), (1000, 0, 2));
        loss.set(0, 1);
        assert!(!loss.takes(B, A));
        assert_eq!((loss.told().passed, loss.told().lost), (1, 0), "since then");
    }
}
