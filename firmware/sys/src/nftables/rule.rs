//! One rule as nftables takes it: expressions that load, compare and act. Called by the module above only.
//!
//! The numbers are those of linux/netfilter/nf_tables.h; numbers in attributes are big-endian, what is compared is as it is in
//! memory.

use std::net::Ipv4Addr;

use super::kind;
use crate::netlink::message::Message;

/// Subsystem of these messages.
const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
/// IPv4.
const FAMILY: u8 = 2;
/// The first register, and the second quarter of it.
const REGISTER: u32 = 1;
const SECOND_WORD: u32 = 9;
/// Headers that are read from.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
/// `RTN_LOCAL`: an address of this host.
const LOCAL: u32 = 2;

/// Where in a packet's way rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    /// It comes in, before it is known where it goes.
    Arrival,
    /// It is this host's own.
    Output,
    /// It goes out, after all is known.
    Departure,
    /// It is to be passed on.
    Forward,
}

impl Hook {
    pub(super) const ALL: [Hook; 4] = [Hook::Arrival, Hook::Output, Hook::Departure, Hook::Forward];

    /// Name of its chain, kind, number of the hook, and priority among others.
    fn place(self) -> (&'static str, &'static str, u32, i32) {
        match self {
            Hook::Arrival => ("arrival", "nat", 0, -100),
            Hook::Output => ("output", "nat", 3, -100),
            Hook::Departure => ("departure", "nat", 4, 100),
            Hook::Forward => ("forward", "filter", 2, 0),
        }
    }

    pub(super) fn chain(self, table: &str) -> Message {
        let (name, kind, number, priority) = self.place();
        message(kind::NEW_CHAIN, true, |m| {
            m.text(1, table).text(3, name).text(7, kind);
            m.nested(4, |hook| {
                hook.attribute(1, &number.to_be_bytes());
                hook.attribute(2, &priority.to_be_bytes());
            });
        })
    }
}

/// Takes all rules of a chain away.
pub(super) fn flush(table: &str, hook: Hook) -> Message {
    message(kind::DELETE_RULE, false, |m| {
        m.text(1, table).text(2, hook.place().0);
    })
}

/// Name of the map of a protocol's ports.
pub(super) fn name_of(is_udp: bool) -> &'static str {
    if is_udp { "udp" } else { "tcp" }
}

pub(super) fn mask_of(prefix: u8) -> Ipv4Addr {
    let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    Ipv4Addr::from(!host_bits)
}

/// A message of a batch.
pub(super) fn message(kind: u16, creates: bool, fill: impl FnOnce(&mut Message)) -> Message {
    let flags = if creates {
        libc::NLM_F_CREATE | libc::NLM_F_APPEND
    } else {
        0
    };
    let mut message = Message::quiet(SUBSYSTEM << 8 | kind, flags);
    message.bytes(&[FAMILY, 0, 0, 0]);
    fill(&mut message);
    message
}

/// The beginning or the end of a batch.
pub(super) fn bound(kind: i32) -> Message {
    let mut message = Message::quiet(kind as u16, 0);
    message.bytes(&[0, 0]).bytes(&SUBSYSTEM.to_be_bytes());
    message
}

/// A rule so far.
#[derive(Debug)]
pub(super) struct Rule {
    hook: Hook,
    expressions: Vec<(&'static str, Vec<u8>)>,
}

impl Rule {
    pub(super) fn new(hook: Hook) -> Rule {
        Rule {
            hook,
            expressions: Vec::new(),
        }
    }

    pub(super) fn for_this_host(self) -> Rule {
        const BY_DESTINATION: u32 = 2;
        const KIND_OF_ADDRESS: u32 = 3;
        self.with("fib", |e| {
            numbers(
                e,
                &[(1, REGISTER), (2, KIND_OF_ADDRESS), (3, BY_DESTINATION)],
            );
        })
        .compare(true, &LOCAL.to_ne_bytes())
    }

    pub(super) fn source_in(self, first: Ipv4Addr, mask: Ipv4Addr) -> Rule {
        self.address_in(12, first, mask, true)
    }

    pub(super) fn destination_not_in(self, first: Ipv4Addr, mask: Ipv4Addr) -> Rule {
        self.address_in(16, first, mask, false)
    }

    pub(super) fn protocol(self, is_udp: bool) -> Rule {
        const PROTOCOL: u32 = 16;
        let number = if is_udp {
            libc::IPPROTO_UDP
        } else {
            libc::IPPROTO_TCP
        };
        self.meta(PROTOCOL).compare(true, &[number as u8])
    }

    pub(super) fn by_bridge(self, index: u32) -> Rule {
        const CAME_BY: u32 = 4;
        self.meta(CAME_BY).compare(true, &index.to_ne_bytes())
    }

    pub(super) fn over_bridge(self, index: u32) -> Rule {
        const GOES_BY: u32 = 5;
        self.meta(GOES_BY).compare(true, &index.to_ne_bytes())
    }

    /// It belongs to what a container began, or is about it.
    pub(super) fn of_known_flow(self) -> Rule {
        const STATE: u32 = 0;
        const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
        self.flow(STATE, ESTABLISHED_OR_RELATED)
    }

    /// It came to a mapped port.
    pub(super) fn of_mapped_flow(self) -> Rule {
        const STATUS: u32 = 2;
        const DESTINATION_CHANGED: u32 = 1 << 5;
        self.flow(STATUS, DESTINATION_CHANGED)
    }

    /// Looks its port up, and sends it where that leads.
    pub(super) fn lead_to_mapped(self, is_udp: bool) -> Rule {
        const NEW_DESTINATION: u32 = 1;
        self.payload(TRANSPORT, 2, 2)
            .with("lookup", |e| {
                e.text(1, name_of(is_udp));
                numbers(e, &[(2, REGISTER), (3, REGISTER)]);
            })
            .with("nat", |e| {
                let registers = [
                    (3, REGISTER),
                    (4, REGISTER),
                    (5, SECOND_WORD),
                    (6, SECOND_WORD),
                ];
                numbers(e, &[(1, NEW_DESTINATION), (2, FAMILY.into())]);
                numbers(e, &registers);
            })
    }

    pub(super) fn masquerade(self) -> Rule {
        self.with("masq", |_| ())
    }

    /// Passes, or does not.
    pub(super) fn verdict(self, passes: bool) -> Rule {
        const VERDICT: u32 = 0;
        self.with("immediate", |e| {
            numbers(e, &[(1, VERDICT)]);
            e.nested(2, |data| {
                data.nested(2, |verdict| numbers(verdict, &[(1, u32::from(passes))]));
            });
        })
    }

    pub(super) fn finish(self, table: &str) -> Message {
        message(kind::NEW_RULE, true, |m| {
            m.text(1, table).text(2, self.hook.place().0);
            m.nested(4, |list| {
                for (name, data) in &self.expressions {
                    list.nested(1, |one| {
                        one.text(1, name);
                        one.attribute(2, data);
                    });
                }
            });
        })
    }

    fn with(mut self, name: &'static str, fill: impl FnOnce(&mut Message)) -> Rule {
        self.expressions.push((name, Message::attributes(fill)));
        self
    }

    fn compare(self, is_equal: bool, value: &[u8]) -> Rule {
        let operator = u32::from(!is_equal);
        self.with("cmp", |e| {
            numbers(e, &[(1, REGISTER), (2, operator)]);
            data(e, 3, value);
        })
    }

    fn meta(self, key: u32) -> Rule {
        self.with("meta", |e| numbers(e, &[(1, REGISTER), (2, key)]))
    }

    fn payload(self, header: u32, offset: u32, length: u32) -> Rule {
        self.with("payload", |e| {
            numbers(e, &[(1, REGISTER), (2, header), (3, offset), (4, length)]);
        })
    }

    fn address_in(self, offset: u32, first: Ipv4Addr, mask: Ipv4Addr, is_so: bool) -> Rule {
        let within = first & mask;
        self.payload(NETWORK, offset, 4)
            .masked(&mask.octets())
            .compare(is_so, &within.octets())
    }

    fn flow(self, key: u32, any_of: u32) -> Rule {
        self.with("ct", |e| numbers(e, &[(1, REGISTER), (2, key)]))
            .masked(&any_of.to_ne_bytes())
            .compare(false, &[0; 4])
    }

    fn masked(self, mask: &[u8; 4]) -> Rule {
        self.with("bitwise", |e| {
            numbers(e, &[(1, REGISTER), (2, REGISTER), (3, 4)]);
            data(e, 4, mask);
            data(e, 5, &[0; 4]);
        })
    }
}

fn numbers(message: &mut Message, all: &[(u16, u32)]) {
    for (attribute, value) in all {
        message.attribute(*attribute, &value.to_be_bytes());
    }
}

fn data(message: &mut Message, attribute: u16, value: &[u8]) {
    message.nested(attribute, |inner| {
        inner.attribute(1, value);
    });
}
