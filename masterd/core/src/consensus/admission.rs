//! Whom a leader lets into the group by itself.
//!
//! Not who may ask (who has shown a certificate of the cluster's key) and not the change itself (raft's). Called by the shell
//! at every turn. Invariants: one at a time; never more than wanted; nobody is let in unless with those that ask the number
//! becomes odd, so that a group does not stay at two, where the loss of either stops both.

/// The group as its leader sees it.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// How many masters are to take part.
    pub wanted: usize,
    /// How many do, those that only learn included.
    pub members: usize,
    /// How many of these learn in order to vote.
    pub learning: usize,
}

/// The next one of those that ask and are connected, if anybody is to be let in now.
pub fn next(group: Group, candidates: impl IntoIterator<Item = u64>) -> Option<u64> {
    let Group {
        wanted,
        members,
        learning,
    } = group;
    let mut candidates: Vec<u64> = candidates.into_iter().collect();
    let possible = (members + candidates.len()).min(wanted);
    let odd = match possible % 2 {
        0 => possible.saturating_sub(1),
        _ => possible,
    };
    if learning > 0 || members >= odd {
        return None;
    }
    candidates.sort_unstable();
    candidates.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_of(wanted: usize, members: usize, candidates: &[u64]) -> Option<u64> {
        let group = Group {
            wanted,
            members,
            learning: 0,
        };
        next(group, candidates.iter().copied())
    }

    #[test]
    fn without_a_wish_nobody_is_let_in() {
        assert_eq!(next_of(0, 1, &[7, 8]), None);
        assert_eq!(next_of(1, 1, &[7, 8]), None);
    }

    #[test]
    fn a_group_grows_to_what_is_wanted_and_not_beyond() {
        assert_eq!(next_of(3, 1, &[8, 7]), Some(7));
        assert_eq!(next_of(3, 2, &[8]), Some(8));
        assert_eq!(next_of(3, 3, &[9]), None);
        assert_eq!(next_of(5, 3, &[9, 10]), Some(9));
    }

    #[test]
    fn a_group_does_not_stay_at_two() {
        assert_eq!(next_of(3, 1, &[7]), None, "with one more there were two");
        assert_eq!(next_of(5, 1, &[7, 8, 9]), Some(7), "three at least");
        assert_eq!(next_of(5, 3, &[9]), None, "four survive no more than three");
        assert_eq!(next_of(3, 2, &[]), None, "who asked is gone");
    }

    #[test]
    fn one_at_a_time() {
        let group = Group {
            wanted: 5,
            members: 2,
            learning: 1,
        };
        assert_eq!(next(group, [7, 8, 9]), None);
        let group = Group {
            learning: 0,
            ..group
        };
        assert_eq!(next(group, [7, 8, 9]), Some(7));
    }
}
