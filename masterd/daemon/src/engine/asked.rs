//! Answers to questions about the master's state, kept back until what they tell is the group's.
//!
//! Called by `lead`. Invariants: an answer leaves after all that the master had decided by then is agreed on, and after a
//! majority has confirmed that this master still led when it was asked; so nobody is told what may be taken back, nor what
//! another leader has changed already. They leave in the order in which they were asked.

use std::collections::VecDeque;

use masterd_core::Master;

/// Sends an answer that is made already.
pub(super) type Delivery = Box<dyn FnOnce() + Send>;
/// Reads the state and makes the answer.
pub(super) type Question = Box<dyn FnOnce(&Master) -> Delivery + Send>;

/// Answers that wait: as many as questions may.
const MAX_ASKED: usize = super::MAX_QUERIES;

/// See the module.
#[derive(Default)]
pub(super) struct Asked(VecDeque<Waiting>);

struct Waiting {
    /// How many of the master's wishes must be carried out before.
    after: u64,
    /// What the group must have confirmed before.
    sure: u64,
    deliver: Delivery,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Asked({})", self.0.len())
    }
}

impl Asked {
    /// Whether no further question is to be taken in for the moment.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_ASKED
    }

    /// Keeps an answer back.
    pub(super) fn keep(&mut self, after: u64, sure: u64, deliver: Delivery) {
        self.0.push_back(Waiting {
            after,
            sure,
            deliver,
        });
    }

    /// Delivers what may be.
    pub(super) fn deliver(&mut self, carried_out: u64, confirmed: u64) {
        while let Some(first) = self.0.front()
            && first.after <= carried_out
            && first.sure <= confirmed
            && let Some(first) = self.0.pop_front()
        {
            (first.deliver)();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn answers_wait_for_decisions_and_for_certainty_and_keep_their_order() {
        let (sender, heard) = mpsc::channel();
        let mut asked = Asked::default();
        for (name, after, sure) in [("a", 1, 0), ("b", 1, 1), ("c", 2, 1)] {
            let sender = sender.clone();
            asked.keep(after, sure, Box::new(move || sender.send(name).unwrap()));
        }
        let mut told = |carried_out, confirmed| {
            asked.deliver(carried_out, confirmed);
            heard.try_iter().collect::<String>()
        };
        assert_eq!(told(0, 9), "");
        assert_eq!(told(1, 0), "a");
        assert_eq!(told(2, 0), "");
        assert_eq!(told(2, 1), "bc");
    }
}
