//! rtnetlink as far as a board needs it: links up, IPv4 addresses and default route, and a bell for link changes.
//!
//! Called by `init::network`. What links exist is read from /sys/class/net, which needs no dump parser.
//! Invariant: every request waits for the kernel's acknowledgement, so an `Ok` means done.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// What went wrong in talking to the kernel's network side.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {errno}")]
pub struct NetlinkError {
    operation: String,
    errno: Errno,
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

/// Bytes of one netlink answer; an acknowledgement is 36 bytes plus the request.
const ANSWER_BYTES: usize = 4096;

/// A socket for requests.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a request socket.
    pub fn open() -> Result<Netlink, NetlinkError> {
        Ok(Netlink {
            fd: open_socket(0, SockFlag::SOCK_CLOEXEC)?,
            sequence: 0,
        })
    }

    /// Brings the interface up.
    pub fn link_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        let mut message = Message::new(libc::RTM_NEWLINK, 0);
        message
            .bytes(&[libc::AF_UNSPEC as u8, 0])
            .bytes(&0u16.to_ne_bytes())
            .word(index);
        message.word(libc::IFF_UP as u32).word(libc::IFF_UP as u32);
        self.request(message, || format!("bring up interface {index}"))
    }

    /// Gives the interface an address, or renews the same one.
    pub fn add_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), NetlinkError> {
        let message = address_message(libc::RTM_NEWADDR, index, address, prefix);
        self.request(message, || format!("add address {address}/{prefix}"))
    }

    /// Takes an address from the interface; one that is not there counts as taken.
    pub fn remove_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<(), NetlinkError> {
        let message = address_message(libc::RTM_DELADDR, index, address, prefix);
        match self.request(message, || format!("remove address {address}/{prefix}")) {
            Err(e) if e.errno == Errno::EADDRNOTAVAIL => Ok(()),
            other => other,
        }
    }

    /// Sets the default route, in place of one that is there.
    pub fn set_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> Result<(), NetlinkError> {
        let mut message =
            Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE);
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
        self.request(message, || format!("route by {gateway}"))
    }

    fn request(
        &mut self,
        message: Message,
        operation: impl Fn() -> String,
    ) -> Result<(), NetlinkError> {
        self.sequence += 1;
        let bytes = message.finish(self.sequence);
        let fail = |errno| NetlinkError {
            operation: operation(),
            errno,
        };
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(fail)?;
        let mut answer = [0u8; ANSWER_BYTES];
        loop {
            let count = match recv(self.fd.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other.map_err(fail)?,
            };
            if let Some(errno) = acknowledgement(&answer[..count], self.sequence) {
                return if errno == 0 {
                    Ok(())
                } else {
                    Err(fail(Errno::from_raw(errno)))
                };
            }
        }
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
            fd: open_socket(libc::RTMGRP_LINK as u32, flags)?,
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

fn open_socket(groups: u32, flags: SockFlag) -> Result<OwnedFd, NetlinkError> {
    let fail = |errno| NetlinkError {
        operation: "open netlink socket".to_owned(),
        errno,
    };
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags,
        Some(SockProtocol::NetlinkRoute),
    )
    .map_err(fail)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(fail)?;
    Ok(fd)
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

/// The error number in the acknowledgement of request `sequence`; `None` if `answer` is something else.
fn acknowledgement(answer: &[u8], sequence: u32) -> Option<i32> {
    let word = |at: usize| answer.get(at..at + 4).map(|b| [b[0], b[1], b[2], b[3]]);
    let kind = u16::from_ne_bytes([*answer.get(4)?, *answer.get(5)?]);
    if i32::from(kind) != libc::NLMSG_ERROR || u32::from_ne_bytes(word(8)?) != sequence {
        return None;
    }
    Some(-i32::from_ne_bytes(word(16)?))
}

/// A request under construction: netlink header, fixed part, attributes.
struct Message {
    data: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: i32) -> Message {
        let mut message = Message {
            data: Vec::with_capacity(64),
        };
        let flags = flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        message
            .word(0)
            .bytes(&kind.to_ne_bytes())
            .bytes(&(flags as u16).to_ne_bytes())
            .word(0)
            .word(0);
        message
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Message {
        self.data.extend_from_slice(bytes);
        self
    }

    fn word(&mut self, word: u32) -> &mut Message {
        self.bytes(&word.to_ne_bytes())
    }

    /// Every attribute here is four bytes long, so none needs padding.
    fn attribute(&mut self, kind: u16, value: &[u8; 4]) {
        self.bytes(&8u16.to_ne_bytes())
            .bytes(&kind.to_ne_bytes())
            .bytes(value);
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.data.len() as u32;
        self.data[..4].copy_from_slice(&length.to_ne_bytes());
        self.data[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.data
    }
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
    fn only_the_acknowledgement_of_the_request_counts() {
        let mut answer = vec![0u8; 36];
        answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        answer[8..12].copy_from_slice(&3u32.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-17i32).to_ne_bytes());
        assert_eq!(acknowledgement(&answer, 3), Some(17));
        assert_eq!(acknowledgement(&answer, 4), None);
        assert_eq!(acknowledgement(&answer[..10], 3), None);
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
