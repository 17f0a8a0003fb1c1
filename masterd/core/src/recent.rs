//! What most have in common, in memory once.
//!
//! Boards of one kind have the same resources, attributes and software, and ten thousand of them need it written down only
//! once. Not a table of everything there is: only the newest few kinds are looked for, so it is bounded whatever agents say.
//! Called by whoever notes what an agent says. Invariant: what is given back equals what was handed in.

/// Kinds a newcomer is compared with: more kinds of boards than most clusters have.
const MAX_KINDS: usize = 16;

/// The newest kinds, newest last; at most [`MAX_KINDS`].
#[derive(Debug)]
pub(crate) struct Recent<T>(Vec<T>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone + PartialEq> Recent<T> {
    /// The same value, in the memory of an equal one if there was one lately.
    pub(crate) fn share(&mut self, value: T) -> T {
        let same = self.0.iter().rposition(|kind| *kind == value);
        let kind = same.map_or(value, |at| self.0.remove(at));
        if self.0.len() >= MAX_KINDS {
            self.0.remove(0);
        }
        self.0.push(kind.clone());
        kind
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn equal_values_share_memory_as_long_as_their_kind_is_recent() {
        let mut recent = Recent::default();
        let mut share = |value: usize| recent.share(Arc::new(value));
        let first = share(7);
        assert!(Arc::ptr_eq(&first, &share(7)));
        for other in 100..100 + MAX_KINDS - 1 {
            share(other);
        }
        assert!(Arc::ptr_eq(&first, &share(7)));
        for other in 200..200 + MAX_KINDS {
            share(other);
        }
        let again = share(7);
        assert!(first == again && !Arc::ptr_eq(&first, &again));
        assert_eq!(recent.0.len(), MAX_KINDS);
    }
}
