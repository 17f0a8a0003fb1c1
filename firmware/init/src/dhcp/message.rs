//! DHCP messages as bytes, and their IPv4/UDP wrapping for the time without an address. Pure; called by `dhcp` only.
//!
//! Invariant: every length from the network is checked; an odd option is skipped, a broken message is `None`.

use embassy_time::Duration;
use std::net::Ipv4Addr;

/// Where servers listen.
pub(crate) const SERVER_PORT: u16 = 67;
/// Where clients listen.
pub(crate) const CLIENT_PORT: u16 = 68;
/// Name servers kept: what resolvers read from resolv.conf.
pub(super) const DNS_MAX: usize = 3;
/// Longest host name sent.
pub(super) const HOST_NAME_MAX: usize = 63;
/// Fixed part of a message, up to and with the magic cookie.
const FIXED: usize = 240;
/// Some old relays drop messages shorter than BOOTP's.
const MIN_LENGTH: usize = 300;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// A lease without a time, which the RFC forbids, is taken for an hour.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// Message types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
}

/// A message to a server.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) kind: Kind,
    pub(super) transaction: u32,
    pub(super) seconds: u16,
    pub(super) mac: [u8; 6],
    pub(super) current: Option<Ipv4Addr>,
    pub(super) wanted: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) host_name: &'a str,
}

impl Request<'_> {
    /// The UDP payload.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut m = vec![0u8; FIXED];
        m[..4].copy_from_slice(&[1, 1, 6, 0]);
        m[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        m[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        m[12..16].copy_from_slice(&self.current.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        m[28..34].copy_from_slice(&self.mac);
        m[236..240].copy_from_slice(&COOKIE);
        let mut option = |code: u8, value: &[u8]| {
            m.extend([code, value.len() as u8]);
            m.extend(value);
        };
        option(53, &[self.kind as u8]);
        option(61, &[&[1], &self.mac[..]].concat());
        if let Some(address) = self.wanted {
            option(50, &address.octets());
        }
        if let Some(server) = self.server {
            option(54, &server.octets());
        }
        if !self.host_name.is_empty() {
            option(12, self.host_name.as_bytes());
        }
        option(55, &[1, 3, 6, 51, 54, 58, 59]);
        option(57, &1500u16.to_be_bytes());
        m.push(255);
        m.resize(m.len().max(MIN_LENGTH), 0);
        m
    }
}

/// A message from a server, as far as the client needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) kind: Kind,
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) dns: Vec<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) lifetime: Duration,
    pub(super) renew: Option<Duration>,
    pub(super) rebind: Option<Duration>,
}

impl Reply {
    /// Reads a payload; `None` if it is not an answer to `transaction` of `mac`.
    pub(super) fn parse(payload: &[u8], transaction: u32, mac: [u8; 6]) -> Option<Reply> {
        let fixed: &[u8; FIXED] = payload.first_chunk()?;
        let ours = fixed[0] == 2
            && fixed[4..8] == transaction.to_be_bytes()
            && fixed[28..34] == mac
            && fixed[236..240] == COOKIE;
        if !ours {
            return None;
        }
        let address = Ipv4Addr::from([fixed[16], fixed[17], fixed[18], fixed[19]]);
        let mut kind = None;
        let mut reply = Reply {
            kind: Kind::Nak,
            address,
            prefix: classful_prefix(address),
            gateway: None,
            dns: Vec::new(),
            server: None,
            lifetime: DEFAULT_LIFETIME,
            renew: None,
            rebind: None,
        };
        for (code, value) in Options(&payload[FIXED..]) {
            match code {
                53 => kind = value.first().and_then(|byte| server_kind(*byte)),
                1 => {
                    reply.prefix = address_in(value)
                        .map_or(reply.prefix, |m| u32::from(m).leading_ones() as u8)
                }
                3 => reply.gateway = address_in(value).filter(|a| !a.is_unspecified()),
                6 => {
                    reply.dns = value
                        .chunks_exact(4)
                        .take(DNS_MAX)
                        .filter_map(address_in)
                        .collect()
                }
                51 => reply.lifetime = seconds_in(value).unwrap_or(reply.lifetime),
                54 => reply.server = address_in(value),
                58 => reply.renew = seconds_in(value),
                59 => reply.rebind = seconds_in(value),
                _ => {}
            }
        }
        reply.kind = kind?;
        let usable =
            !(address.is_unspecified() || address.is_broadcast() || address.is_multicast());
        (reply.kind == Kind::Nak || usable).then_some(reply)
    }
}

/// The options behind the fixed part; ends at the end mark or at the first that is cut.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            match *self.0 {
                [0, ref rest @ ..] => self.0 = rest,
                [255, ..] => return None,
                [code, length, ref rest @ ..] => {
                    let (value, rest) = rest.split_at_checked(usize::from(length))?;
                    self.0 = rest;
                    return Some((code, value));
                }
                _ => return None,
            }
        }
    }
}

fn server_kind(byte: u8) -> Option<Kind> {
    [Kind::Offer, Kind::Ack, Kind::Nak]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
}

fn address_in(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

fn seconds_in(value: &[u8]) -> Option<Duration> {
    value
        .first_chunk::<4>()
        .map(|bytes| Duration::from_secs(u64::from(u32::from_be_bytes(*bytes))))
}

fn classful_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

/// Wraps a payload into UDP and IPv4 from nobody to everybody.
pub(crate) fn link_packet(payload: &[u8]) -> Vec<u8> {
    let udp_length = (8 + payload.len()) as u16;
    let mut packet = vec![
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
    ];
    packet[2..4].copy_from_slice(&(20 + udp_length).to_be_bytes());
    let checksum = !sum(&packet, 0);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(CLIENT_PORT.to_be_bytes());
    packet.extend(SERVER_PORT.to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    // The pseudo header: both addresses, protocol, length.
    let pseudo = sum(&packet[12..20], u32::from(udp_length) + 17);
    let checksum = match !sum(&packet[20..], u32::from(pseudo)) {
        0 => 0xffff,
        checksum => checksum,
    };
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The UDP payload of an IPv4 packet to the client's port. The UDP checksum is not looked at: a virtual network
/// whose sender leaves it to hardware never fills it in, and the transaction number guards us.
pub(crate) fn link_payload(packet: &[u8]) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let half = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let valid = packet[0] >> 4 == 4
        && header >= 20
        && *packet.get(9)? == 17
        && half(6)? & 0x3fff == 0
        && half(header + 2)? == CLIENT_PORT;
    let length = usize::from(half(header + 4)?);
    if !valid || length < 8 {
        return None;
    }
    packet.get(header + 8..header + length)
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = bytes.chunks(2).fold(start, |sum, pair| {
        sum + u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
