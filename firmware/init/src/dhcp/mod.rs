//! A DHCP client (RFC 2131) as a pure state machine: packets and times in, packets and leases out.
//!
//! `network` owns the sockets and the interface. Invariant: an answer is believed only if it carries the running
//! transaction's number and our hardware address; a lease is given up when its time is over, never earlier.

mod message;

use embassy_time::{Duration, Instant};
pub(crate) use message::{CLIENT_PORT, SERVER_PORT, link_packet, link_payload};
use message::{Kind, Reply, Request};
use std::net::Ipv4Addr;

/// Wait for an answer before the first repetition; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest wait before a repetition while there is no lease: a server that comes up late is found soon.
const RETRY_MAX: Duration = Duration::from_secs(16);
/// Requests for one offer before a new search.
const REQUEST_TRIES: u32 = 4;
/// Shortest wait between two renewals (RFC 2131 4.4.5 says one minute).
const RENEW_MIN: Duration = Duration::from_secs(60);
/// Leases are taken for at least this long and at most for [`LEASE_MAX`], whatever the server says.
const LEASE_MIN: Duration = Duration::from_secs(60);
/// A year.
const LEASE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the server granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The board's address.
    pub(crate) address: Ipv4Addr,
    /// Length of the network prefix.
    pub(crate) prefix: u8,
    /// Default route.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// Name servers, at most [`message::DNS_MAX`].
    pub(crate) dns: Vec<Ipv4Addr>,
    server: Ipv4Addr,
    renew: Duration,
    rebind: Duration,
    lifetime: Duration,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// To every station, by the packet socket: the board has no address yet.
    Link,
    /// To this address, by UDP.
    Address(Ipv4Addr),
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this UDP payload.
    Send(To, Vec<u8>),
    /// Configure the interface.
    Bound(Lease),
    /// The lease is over: take the address away.
    Lost(Lease),
}

#[derive(Debug)]
enum State {
    Searching {
        tries: u32,
    },
    Requesting {
        tries: u32,
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    Bound {
        lease: Lease,
        since: Instant,
    },
}

/// The client of one interface.
#[derive(Debug)]
pub(crate) struct Client {
    mac: [u8; 6],
    host_name: String,
    transaction: u32,
    state: State,
    started: Instant,
    next: Instant,
}

impl Client {
    /// Begins to search at `now`. `seed` makes the transaction numbers differ between boots.
    pub(crate) fn new(mac: [u8; 6], host_name: &str, seed: u32, now: Instant) -> Client {
        let transaction = mac.iter().fold(seed, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        let host_name = host_name.chars().take(message::HOST_NAME_MAX).collect();
        Client {
            mac,
            host_name,
            transaction,
            state: State::Searching { tries: 0 },
            started: now,
            next: now,
        }
    }

    /// When to call [`Client::poll`] again.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// True while the packet socket is needed.
    pub(crate) fn needs_link(&self) -> bool {
        !matches!(self.state, State::Bound { .. })
    }

    /// What to do at `now`; call again until `None`.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Action> {
        if now < self.next {
            return None;
        }
        match &mut self.state {
            State::Requesting { tries, .. } if *tries >= REQUEST_TRIES => {
                self.search(now);
                self.poll(now)
            }
            State::Searching { tries } | State::Requesting { tries, .. } => {
                self.next = now + retry(*tries);
                *tries += 1;
                Some(self.send(To::Link, now))
            }
            State::Bound { lease, since } => {
                let age = now.saturating_duration_since(*since);
                if age >= lease.lifetime {
                    let lost = lease.clone();
                    self.search(now);
                    return Some(Action::Lost(lost));
                }
                let (goal, to) = if age < lease.rebind {
                    (lease.rebind, To::Address(lease.server))
                } else {
                    (lease.lifetime, To::Address(Ipv4Addr::BROADCAST))
                };
                // Half of what is left until the next stage, as the RFC has it.
                let wait = Duration::from_micros((goal - age).as_micros() / 2).max(RENEW_MIN);
                self.next = (now + wait).min(
                    *since
                        + if age < lease.rebind {
                            lease.rebind
                        } else {
                            lease.lifetime
                        },
                );
                Some(self.send(to, now))
            }
        }
    }

    /// Takes a UDP payload that came to the client's port.
    pub(crate) fn receive(&mut self, payload: &[u8], now: Instant) -> Option<Action> {
        let reply = Reply::parse(payload, self.transaction, self.mac)?;
        match (&self.state, reply.kind) {
            (State::Searching { .. }, Kind::Offer) => {
                self.state = State::Requesting {
                    tries: 0,
                    address: reply.address,
                    server: reply.server?,
                };
                self.next = now;
                self.poll(now)
            }
            (State::Requesting { server, .. }, Kind::Ack)
                if reply.server.is_none_or(|s| s == *server) =>
            {
                let server = *server;
                Some(self.bind(reply, server, now))
            }
            (State::Bound { lease, since }, Kind::Ack) if now >= *since + lease.renew => {
                let (old, server) = (lease.clone(), reply.server.unwrap_or(lease.server));
                let bound = self.bind(reply, server, now);
                match &self.state {
                    // Renewed unchanged: the interface needs nothing.
                    State::Bound { lease, .. } if same_address(lease, &old) => None,
                    _ => Some(bound),
                }
            }
            (State::Requesting { .. }, Kind::Nak) => {
                self.search(now);
                None
            }
            (State::Bound { lease, since }, Kind::Nak) if now >= *since + lease.renew => {
                let lost = lease.clone();
                self.search(now);
                Some(Action::Lost(lost))
            }
            _ => None,
        }
    }

    fn search(&mut self, now: Instant) {
        self.transaction = self.transaction.wrapping_add(1);
        self.state = State::Searching { tries: 0 };
        self.started = now;
        // Not at once: a server that refuses every request must not be flooded.
        self.next = now + RETRY_FIRST;
    }

    fn bind(&mut self, reply: Reply, server: Ipv4Addr, now: Instant) -> Action {
        let lifetime = reply.lifetime.clamp(LEASE_MIN, LEASE_MAX);
        let part = |eighths: u64| Duration::from_micros(lifetime.as_micros() / 8 * eighths);
        let rebind = reply.rebind.filter(|t| *t < lifetime).unwrap_or(part(7));
        let renew = reply
            .renew
            .filter(|t| *t < rebind)
            .unwrap_or(part(4).min(rebind));
        let Reply {
            address,
            prefix,
            gateway,
            dns,
            ..
        } = reply;
        let lease = Lease {
            address,
            prefix,
            gateway,
            dns,
            server,
            renew,
            rebind,
            lifetime,
        };
        self.next = now + renew;
        self.transaction = self.transaction.wrapping_add(1);
        self.state = State::Bound {
            lease: lease.clone(),
            since: now,
        };
        Action::Bound(lease)
    }

    fn send(&self, to: To, now: Instant) -> Action {
        let seconds = now
            .saturating_duration_since(self.started)
            .as_secs()
            .min(u64::from(u16::MAX)) as u16;
        let (kind, current, wanted, server) = match &self.state {
            State::Searching { .. } => (Kind::Discover, None, None, None),
            State::Requesting {
                address, server, ..
            } => (Kind::Request, None, Some(*address), Some(*server)),
            State::Bound { lease, .. } => (Kind::Request, Some(lease.address), None, None),
        };
        let request = Request {
            kind,
            transaction: self.transaction,
            seconds,
            mac: self.mac,
            current,
            wanted,
            server,
            host_name: &self.host_name,
        };
        Action::Send(to, request.encode())
    }
}

fn retry(tries: u32) -> Duration {
    // The cap is reached at the fifth doubling.
    Duration::from_micros(RETRY_FIRST.as_micros() << tries.min(5)).min(RETRY_MAX)
}

fn same_address(a: &Lease, b: &Lease) -> bool {
    (a.address, a.prefix, a.gateway, &a.dns) == (b.address, b.prefix, b.gateway, &b.dns)
}

#[cfg(test)]
mod tests;
