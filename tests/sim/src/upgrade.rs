//! Which wire version a daemon speaks after each of its starts: this build's, or the next one's, which is understood from
//! this one on. So every run is an upgrade in disorder, with ways back, while everything else goes wrong.
//!
//! Called where daemons start. Invariant: nothing here draws from the run's chance, so who is upgraded changes nothing else.

use nesos_wire::version::{CURRENT, MIN, Version, Window};

/// What the next version's daemons speak.
const NEXT: Window = Window {
    min: MIN,
    current: Version(CURRENT.0 + 1),
};

/// What speaks the daemon with this number (0: the master) in its so manieth life of the run.
pub(crate) fn window(seed: u64, daemon: u64, life: u64) -> Window {
    match mix(mix(mix(seed) ^ daemon) ^ life) & 1 {
        0 => Window::OURS,
        _ => NEXT,
    }
}

/// Greetings between versions that a master has taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mixed {
    /// Of a later agent, by an earlier master.
    pub later_agents: usize,
    /// Of an earlier agent, by a later master.
    pub earlier_agents: usize,
}

impl Mixed {
    pub(crate) fn note(&mut self, master: Window, agent: Version) {
        self.later_agents += usize::from(agent > master.current);
        self.earlier_agents += usize::from(agent < master.current);
    }
}

/// splitmix64.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
