//! The bytes of netlink: requests under construction, and acknowledgements.
//!
//! Called by `netlink` and `nftables`. Invariant: attributes and messages are padded to four bytes, as the kernel counts them.

/// Every length in a message is rounded up to this.
const ALIGN: usize = 4;

/// A request under construction: netlink header, fixed part, attributes.
#[derive(Debug)]
pub(crate) struct Message {
    data: Vec<u8>,
}

impl Message {
    /// One that the kernel acknowledges.
    pub(crate) fn new(kind: u16, flags: i32) -> Message {
        Message::quiet(kind, flags | libc::NLM_F_ACK)
    }

    /// One that it acknowledges only if it fails.
    pub(crate) fn quiet(kind: u16, flags: i32) -> Message {
        let mut message = Message {
            data: Vec::with_capacity(64),
        };
        let flags = flags | libc::NLM_F_REQUEST;
        message
            .word(0)
            .bytes(&kind.to_ne_bytes())
            .bytes(&(flags as u16).to_ne_bytes())
            .word(0)
            .word(0);
        message
    }

    /// The same, acknowledged in any case.
    pub(crate) fn acknowledged(mut self) -> Message {
        let flags = u16::from_ne_bytes([self.data[6], self.data[7]]) | libc::NLM_F_ACK as u16;
        self.data[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    /// Nothing but attributes, to be put into others.
    pub(crate) fn attributes(fill: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message { data: Vec::new() };
        fill(&mut message);
        message.data
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Message {
        self.data.extend_from_slice(bytes);
        self
    }

    pub(crate) fn word(&mut self, word: u32) -> &mut Message {
        self.bytes(&word.to_ne_bytes())
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Message {
        self.nested(kind, |message| {
            message.bytes(value);
        })
    }

    /// As the kernel wants names: with a zero behind.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Message {
        self.nested(kind, |message| {
            message.bytes(value.as_bytes()).bytes(&[0]);
        })
    }

    /// An attribute whose value is what `fill` writes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) -> &mut Message {
        let start = self.data.len();
        self.bytes(&[0; 2]).bytes(&kind.to_ne_bytes());
        fill(self);
        let length = (self.data.len() - start) as u16;
        self.data[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.data.resize(self.data.len().next_multiple_of(ALIGN), 0);
        self
    }

    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.data.len() as u32;
        self.data[..4].copy_from_slice(&length.to_ne_bytes());
        self.data[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.data
    }
}

/// The request that an answer acknowledges, and the error number in it; `None` if `answer` is something else.
pub(crate) fn acknowledgement(answer: &[u8]) -> Option<(u32, i32)> {
    let word = |at: usize| answer.get(at..at + 4).map(|b| [b[0], b[1], b[2], b[3]]);
    let kind = u16::from_ne_bytes([*answer.get(4)?, *answer.get(5)?]);
    if i32::from(kind) != libc::NLMSG_ERROR {
        return None;
    }
    let sequence = u32::from_ne_bytes(word(8)?);
    Some((sequence, -i32::from_ne_bytes(word(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_count_themselves() {
        let mut message = Message::new(1, 0);
        message.nested(7, |inner| {
            inner.text(3, "lo");
        });
        let bytes = message.finish(9);
        assert_eq!(bytes[..4], 28u32.to_ne_bytes());
        let attributes = [
            &12u16.to_ne_bytes()[..],
            &7u16.to_ne_bytes(),
            &7u16.to_ne_bytes(),
            &3u16.to_ne_bytes(),
            b"lo\0\0",
        ];
        assert_eq!(bytes[16..], attributes.concat());
    }

    #[test]
    fn an_acknowledgement_names_its_request() {
        let mut answer = vec![0u8; 36];
        answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        answer[8..12].copy_from_slice(&3u32.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-17i32).to_ne_bytes());
        assert_eq!(acknowledgement(&answer), Some((3, 17)));
        assert_eq!(acknowledgement(&answer[..10]), None);
        answer[4] = 0;
        assert_eq!(acknowledgement(&answer), None);
    }
}
