//! SNTP's message (RFC 4330) and DNS's, as far as asking for the time needs them. Pure.
//!
//! Called by the parent. Invariant: an answer counts only if it repeats what was drawn for the question, and says a time at which this
//! image can run.

use std::net::Ipv4Addr;

/// Bytes of a message without its optional parts.
pub(super) const MESSAGE: usize = 48;
/// Seconds from 1900, where NTP counts from, to 1970.
const EPOCH: u64 = 2_208_988_800;
/// How long NTP's seconds last until they begin anew (2036, 2172, ...).
const ERA: u64 = 1 << 32;
/// How long after its build an image may be in use, seconds: 50 years. A server that says more is wrong.
const LIFE_MAX: u64 = 50 * 365 * 86_400;

/// A question; `nonce` is what a client may write where its own time belongs, and the answer repeats.
pub(super) fn question(nonce: [u8; 8]) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    // No warning, version 4, client.
    message[0] = 4 << 3 | 3;
    message[40..].copy_from_slice(&nonce);
    message
}

/// The time of an answer, seconds since 1970, for an image that was built at `floor`; `None` if it is none to this question, or not
/// one to rely on.
pub(super) fn time(answer: &[u8], nonce: [u8; 8], floor: u64) -> Option<u64> {
    let answer: &[u8; MESSAGE] = answer.first_chunk()?;
    let (leap, mode, stratum) = (answer[0] >> 6, answer[0] & 7, answer[1]);
    // A leap of 3: its clock is not set. Stratum 0: it asks to be left alone.
    if mode != 4 || leap == 3 || !(1..=15).contains(&stratum) || answer[24..32] != nonce {
        return None;
    }
    let word = |at: usize| {
        u32::from_be_bytes([answer[at], answer[at + 1], answer[at + 2], answer[at + 3]])
    };
    let (seconds, fraction) = (u64::from(word(40)), word(44));
    if seconds == 0 && fraction == 0 {
        return None;
    }
    // To the nearest second, in the era that is not over when the image was built.
    let mut since_1900 = seconds + u64::from(fraction >> 31);
    while since_1900 < floor + EPOCH {
        since_1900 += ERA;
    }
    let time = since_1900 - EPOCH;
    is_plausible(time, floor).then_some(time)
}

/// True if an image that was built at `floor` can run at `time`.
pub(super) fn is_plausible(time: u64, floor: u64) -> bool {
    (floor..floor.saturating_add(LIFE_MAX)).contains(&time)
}

/// DNS's question for the IPv4 addresses of `name`; `None` if it is no name.
pub(super) fn dns_question(name: &str, id: u16) -> Option<Vec<u8>> {
    let mut message = Vec::with_capacity(name.len() + 18);
    message.extend(id.to_be_bytes());
    // Recursion desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..=63).contains(n))?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    (message.len() <= 273).then_some(message)
}

/// The first address in DNS's answer to `question`.
pub(super) fn dns_address(answer: &[u8], question: &[u8]) -> Option<Ipv4Addr> {
    let half = |at: usize| Some(u16::from_be_bytes(*answer.get(at..)?.first_chunk()?));
    // The same id and question, an answer, no error.
    let is_answer = answer.get(..2)? == question.get(..2)?
        && answer.get(2)? & 0x80 != 0
        && answer.get(3)? & 15 == 0;
    if !is_answer || answer.get(12..question.len())? != question.get(12..)? {
        return None;
    }
    let mut at = question.len();
    for _ in 0..half(6)? {
        at = behind_name(answer, at)?;
        let (kind, class, length) = (half(at)?, half(at + 2)?, usize::from(half(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        if let (1, 1, &[a, b, c, d]) = (kind, class, data) {
            return Some(Ipv4Addr::new(a, b, c, d));
        }
        at += 10 + length;
    }
    None
}

/// Where a name ends; what a pointer points to is of no interest.
fn behind_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NONCE: [u8; 8] = *b"whatever";
    const FLOOR: u64 = 1_767_225_600;

    fn answer(seconds: u64) -> [u8; MESSAGE] {
        let mut message = [0; MESSAGE];
        (message[0], message[1]) = (4 << 3 | 4, 2);
        message[24..32].copy_from_slice(&NONCE);
        message[40..44].copy_from_slice(&((seconds + EPOCH) as u32).to_be_bytes());
        message
    }

    #[test]
    fn a_servers_time_is_read_in_this_and_the_next_era() {
        assert_eq!(question(NONCE)[0], 0x23);
        assert_eq!(time(&answer(FLOOR + 5), NONCE, FLOOR), Some(FLOOR + 5));
        // NTP's seconds begin anew on 2036-02-07.
        assert_eq!(
            time(&answer(2_100_000_000), NONCE, FLOOR),
            Some(2_100_000_000)
        );
        let mut half = answer(FLOOR);
        half[44] = 0x80;
        assert_eq!(time(&half, NONCE, FLOOR), Some(FLOOR + 1));
    }

    #[test]
    fn what_nobody_should_rely_on_is_no_time() {
        let with = |at: usize, byte: u8| {
            let mut message = answer(FLOOR + 5);
            message[at] = byte;
            time(&message, NONCE, FLOOR)
        };
        assert_eq!(with(0, 4 << 3 | 3), None, "a question");
        assert_eq!(
            with(0, 3 << 6 | 4 << 3 | 4),
            None,
            "a clock that is not set"
        );
        assert_eq!(
            (with(1, 0), with(1, 16)),
            (None, None),
            "a server that refuses, or has none itself"
        );
        assert_eq!(with(24, 0), None, "the answer to another question");
        assert_eq!(
            time(&answer(FLOOR - 86_400), NONCE, FLOOR),
            None,
            "before the image was built"
        );
        assert_eq!(time(&answer(FLOOR + 5)[..47], NONCE, FLOOR), None);
    }

    #[test]
    fn an_address_is_found_behind_other_records() {
        let question = dns_question("time.example.org", 7).unwrap();
        let mut answer = question.clone();
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, 2);
        // An alias, then the address of what it stands for.
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 3, 1, b'x', 0]);
        answer.extend([1, b'x', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
        assert_eq!(
            dns_address(&answer, &question),
            Some(Ipv4Addr::new(192, 0, 2, 1))
        );
        for length in 0..answer.len() {
            assert_eq!(dns_address(&answer[..length], &question), None);
        }
        let mut other = answer.clone();
        other[1] = 8;
        assert_eq!(dns_address(&other, &question), None);
        answer[3] = 0x83;
        assert_eq!(dns_address(&answer, &question), None, "no such name");
        assert!(dns_question("", 1).is_none() && dns_question(&"x".repeat(64), 1).is_none());
    }

    #[test]
    fn no_answer_ends_the_program() {
        let question = dns_question("a.b", 1).unwrap();
        let mut random = 42u64;
        for _ in 0..20_000 {
            let mut answer = question.clone();
            (answer[2], answer[7]) = (0x80, 9);
            for _ in 0..40 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                answer.push((random >> 56) as u8);
            }
            let _ = (dns_address(&answer, &question), time(&answer, NONCE, FLOOR));
        }
    }
}
