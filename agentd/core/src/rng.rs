//! A small deterministic generator for ids and back-off (SplitMix64, two lanes).
//!
//! Not cryptographic: status and container ids need only be unique, and the seed is 128 random bits per process.

use nesos_wire::{ContainerId, Uuid};

use crate::event::Seed;

#[derive(Debug, Clone)]
pub(crate) struct Rng {
    lanes: [u64; 2],
}

impl Rng {
    pub(crate) fn new(seed: Seed) -> Self {
        let (low, high) = seed.0.split_at(8);
        // Both halves are 8 bytes long by construction of `Seed`.
        let lane = |half: &[u8]| {
            half.iter()
                .fold(0u64, |lane, byte| (lane << 8) | u64::from(*byte))
        };
        Self {
            lanes: [lane(low), lane(high)],
        }
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        (self.lane(0) >> 32) as u32
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.lane(0).to_be_bytes());
        bytes[8..].copy_from_slice(&self.lane(1).to_be_bytes());
        Uuid::from_random(bytes)
    }

    pub(crate) fn container_id(&mut self) -> ContainerId {
        ContainerId::new(self.uuid().to_string())
    }

    fn lane(&mut self, index: usize) -> u64 {
        let state = &mut self.lanes[index];
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
