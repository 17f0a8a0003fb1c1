//! rtnetlink as far as a board needs it: links up, IPv4 addresses and default route, a bell for link changes, and the
//! devices of containers' networks.
//!
//! Called by `init::network` and agentd. What links exist is read from /sys/class/net, which needs no dump parser.
//! Invariant: every request waits for the kernel's acknowledgement, so an `Ok` means done.

mod bridge;
pub(crate) mod message;
pub(crate) mod socket;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockFlag, SockProtocol, recv};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub use bridge::{INNER_NAME, Pair, on_bridge};
use message::Message;
use socket::{ANSWER_BYTES, Socket};

/// What went wrong in talking to the kernel's network side.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {errno}")]
pub struct NetlinkError {
    /// What was tried.
    pub operation: String,
    /// What the kernel said.
    pub errno: Errno,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Name, such as `eth0`.
    pub name: String,
    /// The kernel's number of it.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
}

/// A socket for requests.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
}

impl Netlink {
    /// Opens a request socket.
    pub fn open() -> Result<Netlink, NetlinkError> {
        Ok(Netlink {
            socket: Socket::open(SockProtocol::NetlinkRoute)?,
        })
    }

    /// Brings the interface up.
    pub fn link_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        let message = up_message(index);
        self.socket
            .request(message, || format!("bring up interface {index}"))
    }

    /// Gives the interface an address, or renews the same one.
    pub fn add_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), NetlinkError> {
        let message = address_message(libc::RTM_NEWADDR, index, address, prefix);
        self.socket
            .request(message, || format!("add address {address}/{prefix}"))
    }

    /// Takes an address from the interface; one that is not there counts as taken.
    pub fn remove_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), NetlinkError> {
        let message = address_message(libc::RTM_DELADDR, index, address, prefix);
        let operation = || format!("remove address {address}/{prefix}");
        match self.socket.request(message, operation) {
            Err(e) if e.errno == Errno::EADDRNOTAVAIL => Ok(()),
            other => other,
        }
    }

    /// Sets the default route, in place of one that is there.
    pub fn set_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> Result<(), NetlinkError> {
        let message = route_message(index, gateway);
        self.socket
            .request(message, || format!("route by {gateway}"))
    }
}

/// A non-blocking socket that becomes readable when a link appears, goes, or changes its carrier.
#[derive(Debug)]
pub struct LinkBell {
    fd: OwnedFd,
}

impl LinkBell {
    /// Opens the bell.
    pub fn open() -> Result<LinkBell, NetlinkError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Ok(LinkBell {
            fd: socket::open(SockProtocol::NetlinkRoute, libc::RTMGRP_LINK as u32, flags)?,
        })
    }

    /// Empties the queue of events. Lost events do not matter: the caller looks at /sys afterwards.
    pub fn clear(&self) {
        let mut buffer = [0u8; ANSWER_BYTES];
        loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for LinkBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The ethernet interfaces of real or emulated hardware, `eth*` before others, each group by name.
pub fn ethernet_links() -> Vec<Link> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return Vec::new();
    };
    let mut links: Vec<Link> = entries
        .flatten()
        .filter_map(|entry| ethernet_link(entry.file_name().to_str()?))
        .collect();
    links.sort_by_key(|link| (!link.name.starts_with("eth"), link.name.clone()));
    links
}

/// True if the interface has a cable or its equivalent.
pub fn has_carrier(name: &str) -> bool {
    fs::read_to_string(format!("/sys/class/net/{name}/carrier"))
        .is_ok_and(|text| text.trim() == "1")
}

/// The kernel's number of an interface.
pub fn index_of(name: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn ethernet_link(name: &str) -> Option<Link> {
    let read = |file: &str| fs::read_to_string(format!("/sys/class/net/{name}/{file}")).ok();
    // 1 is ARPHRD_ETHER; only hardware has a `device`, bridges and veth pairs of tasks have none.
    let hardware = fs::exists(format!("/sys/class/net/{name}/device")).unwrap_or(false);
    (hardware && read("type")?.trim() == "1").then_some(())?;
    Some(Link {
        name: name.to_owned(),
        index: index_of(name)?,
        mac: parse_mac(read("address")?.trim())?,
    })
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0u8; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// The fixed part of requests about links, with the flags that are to change and their new values.
fn link_message(kind: u16, flags: i32, index: u32, set: libc::c_int) -> Message {
    let mut message = Message::new(kind, flags);
    link_header(&mut message, index, set);
    message
}

fn link_header(message: &mut Message, index: u32, set: libc::c_int) {
    message
        .bytes(&[libc::AF_UNSPEC as u8, 0])
        .bytes(&0u16.to_ne_bytes())
        .word(index)
        .word(set as u32)
        .word(set as u32);
}

fn up_message(index: u32) -> Message {
    link_message(libc::RTM_NEWLINK, 0, index, libc::IFF_UP)
}

fn route_message(index: u32, gateway: Ipv4Addr) -> Message {
    let mut message = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
    message.bytes(&[
        libc::AF_INET as u8,
        0,
        0,
        0,
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT,
    ]);
    message
        .bytes(&[libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST])
        .word(0);
    message.attribute(libc::RTA_GATEWAY, &gateway.octets());
    message.attribute(libc::RTA_OIF, &index.to_ne_bytes());
    message
}

fn address_message(kind: u16, index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    let create = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let mut message = Message::new(kind, if kind == libc::RTM_NEWADDR { create } else { 0 });
    message
        .bytes(&[libc::AF_INET as u8, prefix, 0, libc::RT_SCOPE_UNIVERSE])
        .word(index);
    message.attribute(libc::IFA_LOCAL, &address.octets());
    message.attribute(libc::IFA_ADDRESS, &address.octets());
    if kind == libc::RTM_NEWADDR && prefix < 31 {
        let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        message.attribute(
            libc::IFA_BROADCAST,
            &(u32::from(address) | host_bits).to_be_bytes(),
        );
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_request_has_the_kernel_layout() {
        let bytes =
            address_message(libc::RTM_NEWADDR, 2, Ipv4Addr::new(10, 0, 2, 15), 24).finish(7);
        assert_eq!(bytes.len(), 16 + 8 + 3 * 8);
        assert_eq!(bytes[..4], (bytes.len() as u32).to_ne_bytes());
        assert_eq!(bytes[8..12], 7u32.to_ne_bytes());
        assert_eq!(bytes[bytes.len() - 4..], [10, 0, 2, 255]);
    }

    #[test]
    fn mac_addresses_parse_or_are_refused() {
        assert_eq!(
            parse_mac("52:54:00:12:34:56"),
            Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])
        );
        assert_eq!(parse_mac("52:54:00:12:34"), None);
        assert_eq!(parse_mac("52:54:00:12:34:56:78"), None);
    }
}
