//! Some parts of a body, sent with one system call.
//!
//! hyper's own buffers take one part at a time, and `/state` has hundreds. Called by `answer`, read by hyper. Invariant: no
//! part is empty but the only one.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// The parts, in order.
#[derive(Debug, Default)]
pub(super) struct Parts {
    first: Bytes,
    rest: VecDeque<Bytes>,
    /// Bytes in `rest`.
    behind: usize,
}

impl Parts {
    /// One more part, if there is anything in it.
    pub(super) fn push(&mut self, part: Bytes) {
        if self.first.is_empty() {
            self.first = part;
        } else if !part.is_empty() {
            self.behind += part.len();
            self.rest.push_back(part);
        }
    }
}

impl From<Bytes> for Parts {
    fn from(first: Bytes) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.first.len() + self.behind
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let parts = std::iter::once(&self.first).filter(|part| !part.is_empty());
        let pairs = slices.iter_mut().zip(parts.chain(&self.rest));
        pairs
            .map(|(slice, part)| *slice = IoSlice::new(part))
            .count()
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let now = count.min(self.first.len());
            self.first.advance(now);
            count -= now;
            if !self.first.is_empty() {
                return;
            }
            let Some(next) = self.rest.pop_front() else {
                assert_eq!(count, 0, "more was sent than there was");
                return;
            };
            self.behind -= next.len();
            self.first = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[&'static str]) -> Parts {
        let mut parts = Parts::default();
        for text in texts {
            parts.push(Bytes::from_static(text.as_bytes()));
        }
        parts
    }

    #[test]
    fn they_are_sent_in_order_however_far_each_call_gets() {
        for step in 1..10 {
            let mut parts = parts(&["ab", "", "cdef", "g"]);
            let mut sent = Vec::new();
            while parts.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 8];
                let count = parts.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
                assert_eq!(all.len(), parts.remaining());
                let now = step.min(all.len());
                sent.extend_from_slice(&all[..now]);
                parts.advance(now);
            }
            assert_eq!(sent, b"abcdefg");
        }
    }

    #[test]
    fn nothing_is_nothing() {
        let nothing = parts(&[""]);
        assert_eq!(nothing.remaining(), 0);
        assert_eq!(nothing.chunks_vectored(&mut [IoSlice::new(&[])]), 0);
    }
}
