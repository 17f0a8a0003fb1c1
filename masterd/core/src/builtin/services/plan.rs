//! What is to be done next about the instances of one service, by their numbers alone.
//!
//! Not which ones (`services`). Called whenever something about the service has changed. Invariants: of those that are ready never
//! fewer are left than `min_healthy` of the target while old ones are replaced, and never more are there than `max_over` above the
//! target, but for one where otherwise nothing could move.

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::builtin) struct Counts {
    /// How many there are to be.
    pub(in crate::builtin) target: u32,
    /// Made by the present definition, not being killed.
    pub(in crate::builtin) current: u32,
    /// Of these, ready.
    pub(in crate::builtin) current_ready: u32,
    /// Made by an older definition, not being killed.
    pub(in crate::builtin) old: u32,
    /// Of these, ready.
    pub(in crate::builtin) old_ready: u32,
    /// Waiting for an offer.
    pub(in crate::builtin) waiting: u32,
    /// Being killed.
    pub(in crate::builtin) dying: u32,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::builtin) struct Plan {
    /// Have so many more wait for an offer.
    pub(in crate::builtin) ask: u32,
    /// Have so many fewer wait.
    pub(in crate::builtin) withdraw: u32,
    /// Kill so many of the present definition.
    pub(in crate::builtin) kill_current: u32,
    /// Kill so many of older ones, those that are not ready first.
    pub(in crate::builtin) kill_old: u32,
}

impl Counts {
    /// Whether all is as it is to be.
    pub(in crate::builtin) fn is_settled(&self) -> bool {
        let is_whole = self.current == self.target && self.current_ready == self.target;
        is_whole && self.old == 0 && self.waiting == 0 && self.dying == 0
    }

    /// `min_healthy` and `max_over` are shares of the target, from 0 to 1.
    pub(in crate::builtin) fn plan(&self, min_healthy: f64, max_over: f64) -> Plan {
        let expected = self.current + self.waiting;
        let missing = self.target.saturating_sub(expected);
        let excess = expected.saturating_sub(self.target);
        let withdraw = excess.min(self.waiting);
        let kill_current = excess - withdraw;
        let share = |of: f64| f64::from(self.target) * of.clamp(0.0, 1.0);
        let least_ready = share(min_healthy).ceil() as u32;
        let most = self.target + share(max_over).floor() as u32;
        // Where all are to be ready and none may be too many, one must be, or nothing could be replaced.
        let most = most.max(least_ready + 1);
        let room = most.saturating_sub(expected + self.old);
        let ask = if self.old == 0 {
            missing
        } else {
            missing.min(room)
        };
        let surplus = (self.current_ready + self.old_ready).saturating_sub(least_ready);
        let ready = match self.current_ready >= self.target {
            true => self.old_ready,
            false => self.old_ready.min(surplus),
        };
        Plan {
            ask,
            withdraw,
            kill_current,
            kill_old: self.old - self.old_ready + ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scaling_touches_only_the_difference() {
        let running = |target| Counts {
            target,
            current: 3,
            current_ready: 3,
            ..Counts::default()
        };
        assert!(running(3).is_settled());
        assert_eq!(running(3).plan(1.0, 1.0), Plan::default());
        let ask = Plan {
            ask: 2,
            ..Plan::default()
        };
        assert_eq!(running(5).plan(1.0, 1.0), ask);
        let kill = Plan {
            kill_current: 2,
            ..Plan::default()
        };
        assert_eq!(running(1).plan(1.0, 1.0), kill);
        let waiting = Counts {
            waiting: 2,
            ..running(1)
        };
        let less = Plan {
            withdraw: 2,
            kill_current: 2,
            ..Plan::default()
        };
        assert_eq!(waiting.plan(1.0, 1.0), less);
    }

    /// Runs a replacement to its end; each step what waits becomes ready, what is killed goes. Gives the fewest that were ready
    /// and the most that there were.
    fn replace(target: u32, min_healthy: f64, max_over: f64) -> (u32, u32) {
        let mut counts = Counts {
            target,
            old: target,
            old_ready: target,
            ..Counts::default()
        };
        let (mut fewest, mut most) = (target, target);
        for _ in 0..1000 {
            if counts.is_settled() {
                return (fewest, most);
            }
            let plan = counts.plan(min_healthy, max_over);
            let killed_ready = plan.kill_old.min(counts.old_ready);
            counts.old -= plan.kill_old;
            counts.old_ready -= killed_ready;
            fewest = fewest.min(counts.old_ready + counts.current_ready);
            counts.waiting += plan.ask;
            most = most.max(counts.old + counts.current + counts.waiting);
            counts.current += counts.waiting;
            counts.current_ready += counts.waiting;
            counts.waiting = 0;
        }
        (u32::MAX, u32::MAX)
    }

    #[test]
    fn replacing_keeps_to_its_bounds() {
        assert_eq!(replace(4, 1.0, 1.0), (4, 8));
        assert_eq!(replace(4, 1.0, 0.0), (4, 5));
        assert_eq!(replace(4, 0.5, 0.0), (2, 4));
        assert_eq!(replace(1, 0.0, 0.0), (0, 1));
        assert_eq!(replace(0, 1.0, 1.0), (0, 0));
    }

    proptest! {
        #[test]
        fn replacing_always_ends_within_its_bounds(
            target in 0_u32..40,
            min_healthy in 0.0..=1.0_f64,
            max_over in 0.0..=1.0_f64,
        ) {
            let (fewest, most) = replace(target, min_healthy, max_over);
            let least = (f64::from(target) * min_healthy).ceil() as u32;
            let bound = target + (f64::from(target) * max_over).floor() as u32;
            prop_assert!(fewest >= least && fewest <= target);
            prop_assert!(most <= bound.max(least + 1));
        }
    }
}
