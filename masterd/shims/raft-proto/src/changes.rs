//! Changes of the members in both forms, and as text in raft's own short form.
//!
//! Called by `raft`. Invariant: [`parse_conf_change`] reads what [`stringify_conf_change`] writes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};

/// A change in either form.
pub trait ConfChangeI {
    /// In the newer form.
    fn into_v2(self) -> ConfChangeV2;

    /// The same, borrowed where it can be.
    fn as_v2(&self) -> Cow<'_, ConfChangeV2>;

    /// In the older form, if that is what it is.
    fn as_v1(&self) -> Option<&ConfChange>;
}

impl ConfChangeI for ConfChange {
    fn into_v2(self) -> ConfChangeV2 {
        ConfChangeV2 {
            transition: ConfChangeTransition::Auto,
            changes: vec![new_conf_change_single(self.node_id, self.change_type)],
            context: self.context,
        }
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Owned(self.clone().into_v2())
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        Some(self)
    }
}

impl ConfChangeI for ConfChangeV2 {
    fn into_v2(self) -> ConfChangeV2 {
        self
    }

    fn as_v2(&self) -> Cow<'_, ConfChangeV2> {
        Cow::Borrowed(self)
    }

    fn as_v1(&self) -> Option<&ConfChange> {
        None
    }
}

impl ConfChangeV2 {
    /// Whether it is made by a joint configuration, and whether that ends by itself: more than one member changes, or it
    /// was asked for.
    pub fn enter_joint(&self) -> Option<bool> {
        match self.transition {
            ConfChangeTransition::Auto => (self.changes.len() > 1).then_some(true),
            ConfChangeTransition::Implicit => Some(true),
            ConfChangeTransition::Explicit => Some(false),
        }
    }

    /// Whether it ends a joint configuration.
    pub fn leave_joint(&self) -> bool {
        self.transition == ConfChangeTransition::Auto && self.changes.is_empty()
    }
}

/// What becomes of one member.
pub fn new_conf_change_single(node_id: u64, change_type: ConfChangeType) -> ConfChangeSingle {
    ConfChangeSingle {
        change_type,
        node_id,
    }
}

/// Reads words like `v1` (votes), `l2` (only follows), `r3` (is removed).
pub fn parse_conf_change(text: &str) -> Result<Vec<ConfChangeSingle>, String> {
    let one = |word: &str| {
        let (kind, number) = word.split_at_checked(1).unwrap_or((word, ""));
        let kind = match kind {
            "v" => ConfChangeType::AddNode,
            "l" => ConfChangeType::AddLearnerNode,
            "r" => ConfChangeType::RemoveNode,
            _ => return Err(format!("{word:?}: v, l or r and a number is expected")),
        };
        let number = number.parse();
        let number = number.map_err(|error| format!("{word:?}: {error}"))?;
        Ok(new_conf_change_single(number, kind))
    };
    text.split_ascii_whitespace().map(one).collect()
}

/// Writes what [`parse_conf_change`] reads.
pub fn stringify_conf_change(changes: &[ConfChangeSingle]) -> String {
    let word = |change: &ConfChangeSingle| {
        let kind = match change.change_type {
            ConfChangeType::AddNode => 'v',
            ConfChangeType::AddLearnerNode => 'l',
            ConfChangeType::RemoveNode => 'r',
        };
        format!("{kind}{}", change.node_id)
    };
    changes.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Whether both are the same members, in whatever order.
#[must_use]
pub fn conf_state_eq(one: &ConfState, other: &ConfState) -> bool {
    let sets = |state: &ConfState| {
        let lists = [
            &state.voters,
            &state.learners,
            &state.voters_outgoing,
            &state.learners_next,
        ];
        lists.map(|list| list.iter().copied().collect::<BTreeSet<u64>>())
    };
    one.auto_leave == other.auto_leave && sets(one) == sets(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_is_read_as_written() {
        let text = "v1 l2 r30";
        let changes = parse_conf_change(text).expect("well formed");
        assert_eq!(stringify_conf_change(&changes), text);
        for wrong in ["x1", "v", "vx", "é1"] {
            assert!(parse_conf_change(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_changes_are_made_jointly() {
        let change = |text: &str| ConfChangeV2 {
            changes: parse_conf_change(text).expect("well formed"),
            ..ConfChangeV2::default()
        };
        assert_eq!(change("v1").enter_joint(), None);
        assert_eq!(change("v1 r2").enter_joint(), Some(true));
        assert!(change("").leave_joint() && !change("v1").leave_joint());
    }

    #[test]
    fn members_are_compared_without_order() {
        let one = ConfState::from(([1, 2, 3], [4]));
        assert!(conf_state_eq(&one, &ConfState::from(([3, 1, 2], [4]))));
        assert!(!conf_state_eq(&one, &ConfState::from(([1, 2], [4]))));
    }
}
