//! Texts as differences to others that are much like them.
//!
//! Called by `task`, which keeps a hundred thousand such. Invariant: [`apply`] undoes [`difference`].

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
    postcard::to_allocvec(&(start, end, middle)).unwrap_or_default()
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

/// The bytes with every `from` in them replaced.
pub(super) fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    // Looking for one byte is what processors are good at; a master does this for each task of each agent that returns.
    while let Some(at) = rest
        .iter()
        .position(|byte| Some(byte) == from.as_bytes().first())
    {
        let (before, found) = rest.split_at(at);
        replaced.extend_from_slice(before);
        rest = match found.strip_prefix(from.as_bytes()) {
            Some(behind) => {
                replaced.extend_from_slice(to.as_bytes());
                behind
            }
            None => {
                replaced.extend_from_slice(&found[..1]);
                &found[1..]
            }
        };
    }
    replaced.extend_from_slice(rest);
    replaced
}
