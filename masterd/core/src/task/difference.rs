//! Texts as differences to others that are much like them.
//!
//! Called by `task`, which keeps a hundred thousand such. Invariant: [`apply`] undoes [`difference`].

use serde_bytes::Bytes;

/// What it takes to make `text` of `base`: how much they have in common at both ends, and what stands between.
/// Nothing, if they are the same.
pub(super) fn difference(text: &[u8], base: &[u8]) -> Vec<u8> {
    if text == base {
        return Vec::new();
    }
    let common = |(a, b): &(&u8, &u8)| a == b;
    let start = text.iter().zip(base).take_while(common).count();
    let (rest, base) = (&text[start..], &base[start..]);
    let end = rest.iter().rev().zip(base.iter().rev());
    let end = end.take_while(common).count();
    let middle = &rest[..rest.len() - end];
    // It cannot fail: there is memory.
    postcard::to_allocvec(&(start, end, Bytes::new(middle))).unwrap_or_default()
}

/// The text again.
pub(super) fn apply(difference: &[u8], base: Vec<u8>) -> Vec<u8> {
    if difference.is_empty() {
        return base;
    }
    let parts: Result<(usize, usize, &[u8]), _> = postcard::from_bytes(difference);
    let (start, end, middle) = parts.unwrap_or_default();
    let (start, end) = (
        base.get(..start),
        base.get(base.len().saturating_sub(end)..),
    );
    [start.unwrap_or_default(), middle, end.unwrap_or_default()].concat()
}
