//! What the kernel does with packets of containers' networks: translation on their way out, mapped ports on their way in.
//!
//! One table of nftables for each bridge, IPv4 only. Called by agentd. Invariants: the table is laid as a whole or not at all,
//! and laid again it is as if laid once; a container is reached from outside through mapped ports only.

mod rule;

use std::net::Ipv4Addr;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::netlink::NetlinkError;
use crate::netlink::message::Message;
use crate::netlink::socket::Socket;
use rule::{Hook, Rule, flush, mask_of, message, name_of};

/// Numbers of linux/netfilter/nf_tables.h, which the crate libc lacks.
mod kind {
    pub(super) const NEW_TABLE: u16 = 0;
    pub(super) const NEW_CHAIN: u16 = 3;
    pub(super) const NEW_RULE: u16 = 6;
    pub(super) const DELETE_RULE: u16 = 8;
    pub(super) const NEW_SET: u16 = 9;
    pub(super) const NEW_ELEMENT: u16 = 12;
    pub(super) const DELETE_ELEMENT: u16 = 14;
}

/// A network of containers, to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    /// Name of the table.
    pub table: String,
    /// Number of the bridge.
    pub bridge: u32,
    /// First address of the network.
    pub first: Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
}

/// A port of the host that leads into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Else it is TCP.
    pub is_udp: bool,
    /// The host's port.
    pub host: u16,
    /// The container.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
}

/// A socket for changes.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
}

impl Nftables {
    /// Opens it; fails where the kernel knows no netfilter.
    pub fn open() -> Result<Nftables, NetlinkError> {
        Ok(Nftables {
            socket: Socket::open(SockProtocol::NetlinkNetFilter)?,
        })
    }

    /// Lays the table, with these mappings and no others.
    pub fn lay(&mut self, net: &Net, mapped: &[Mapped]) -> Result<(), NetlinkError> {
        let mut messages = vec![message(kind::NEW_TABLE, true, |m| {
            m.text(1, &net.table);
        })];
        for hook in Hook::ALL {
            messages.push(hook.chain(&net.table));
            messages.push(flush(&net.table, hook));
        }
        for is_udp in [false, true] {
            messages.push(map(&net.table, is_udp));
            messages.push(message(kind::DELETE_ELEMENT, false, |m| {
                m.text(1, &net.table).text(2, name_of(is_udp));
            }));
        }
        messages.extend(rules(net).into_iter().map(|rule| rule.finish(&net.table)));
        messages.extend(elements(kind::NEW_ELEMENT, &net.table, mapped));
        self.commit(messages, || format!("lay the table {}", net.table))
    }

    /// Adds mappings.
    pub fn add(&mut self, table: &str, mapped: &[Mapped]) -> Result<(), NetlinkError> {
        let messages = elements(kind::NEW_ELEMENT, table, mapped);
        self.commit(messages, || format!("map ports in the table {table}"))
    }

    /// Takes mappings away; one that is not there counts as taken.
    pub fn remove(&mut self, table: &str, mapped: &[Mapped]) -> Result<(), NetlinkError> {
        for one in mapped {
            let messages = elements(kind::DELETE_ELEMENT, table, std::slice::from_ref(one));
            let operation = || format!("give back the port {} in the table {table}", one.host);
            match self.commit(messages, operation) {
                Err(error) if error.errno != Errno::ENOENT => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// All of them or none.
    fn commit(
        &mut self,
        messages: Vec<Message>,
        operation: impl Fn() -> String,
    ) -> Result<(), NetlinkError> {
        let mut messages = messages;
        let Some(last) = messages.pop() else {
            return Ok(());
        };
        let mut batch = vec![rule::bound(libc::NFNL_MSG_BATCH_BEGIN)];
        batch.extend(messages);
        // Everything is told when all is done, in this order: with the last one it is known that none has failed. The end of a
        // batch itself is acknowledged by newer kernels only.
        let count = batch.len() + 1;
        batch.extend([last.acknowledged(), rule::bound(libc::NFNL_MSG_BATCH_END)]);
        self.socket.batch(batch, count, operation)
    }
}

/// In the order in which they are laid.
fn rules(net: &Net) -> Vec<Rule> {
    let mask = mask_of(net.prefix);
    let from_net = || Rule::new(Hook::Departure).source_in(net.first, mask);
    let mut rules = Vec::new();
    for is_udp in [false, true] {
        for hook in [Hook::Arrival, Hook::Output] {
            let mut rule = Rule::new(hook).for_this_host();
            if hook == Hook::Output {
                // The loopback's own addresses mean nothing outside of it.
                rule = rule.destination_not_in(Ipv4Addr::LOCALHOST, mask_of(8));
            }
            rules.push(rule.protocol(is_udp).lead_to_mapped(is_udp));
        }
    }
    // To the outside; and from one container by a mapped port to another, which would answer directly.
    rules.push(from_net().destination_not_in(net.first, mask).masquerade());
    rules.push(from_net().of_mapped_flow().masquerade());
    rules.push(Rule::new(Hook::Forward).by_bridge(net.bridge).verdict(true));
    rules.push(
        Rule::new(Hook::Forward)
            .over_bridge(net.bridge)
            .of_known_flow()
            .verdict(true),
    );
    rules.push(
        Rule::new(Hook::Forward)
            .over_bridge(net.bridge)
            .of_mapped_flow()
            .verdict(true),
    );
    rules.push(
        Rule::new(Hook::Forward)
            .over_bridge(net.bridge)
            .verdict(false),
    );
    rules
}

/// From ports to addresses with ports.
fn map(table: &str, is_udp: bool) -> Message {
    const MAP: u32 = 8;
    /// For tools that show it: `inet_service`, and `ipv4_addr . inet_service`.
    const PORT: u32 = 13;
    const ADDRESS_AND_PORT: u32 = 7 << 6 | PORT;
    message(kind::NEW_SET, true, |m| {
        m.text(1, table).text(2, name_of(is_udp));
        let words = [
            (3, MAP),
            (4, PORT),
            (5, 2),
            (6, ADDRESS_AND_PORT),
            (7, 8),
            (10, 1 + u32::from(is_udp)),
        ];
        for (attribute, value) in words {
            m.attribute(attribute, &value.to_be_bytes());
        }
    })
}

fn elements(kind: u16, table: &str, mapped: &[Mapped]) -> Vec<Message> {
    let mut messages = Vec::new();
    for is_udp in [false, true] {
        let mut of_kind = mapped.iter().filter(|one| one.is_udp == is_udp).peekable();
        if of_kind.peek().is_none() {
            continue;
        }
        messages.push(message(kind, kind == kind::NEW_ELEMENT, |m| {
            m.text(1, table).text(2, name_of(is_udp));
            m.nested(3, |list| {
                for one in of_kind {
                    list.nested(1, |element| {
                        element.nested(1, |key| {
                            key.attribute(1, &one.host.to_be_bytes());
                        });
                        if kind == kind::NEW_ELEMENT {
                            let [a, b, c, d] = one.address.octets();
                            let [high, low] = one.port.to_be_bytes();
                            element.nested(2, |data| {
                                data.attribute(1, &[a, b, c, d, high, low, 0, 0]);
                            });
                        }
                    });
                }
            });
        }));
    }
    messages
}

#[cfg(test)]
mod tests;
