//! The devices of containers' networks: a bridge, and pairs of which one end is on it and the other in a network namespace.
//!
//! Called by `netns` and agentd.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use super::message::Message;
use super::{
    Netlink, NetlinkError, address_message, link_header, link_message, route_message, up_message,
};

/// What containers call their own end.
pub const INNER_NAME: &str = "eth0";
/// Its number, the first that is free in a new namespace.
const INNER_INDEX: u32 = 2;
/// That of the loopback, everywhere.
const LOOPBACK: u32 = 1;
/// `VETH_INFO_PEER` of linux/veth.h.
const PEER: u16 = 1;

/// Two ends of a cable: one on a bridge, the other a container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Name of the end on the bridge.
    pub outer: String,
    /// The bridge's number.
    pub bridge: u32,
    /// Where the container reaches everybody else.
    pub gateway: Ipv4Addr,
    /// The container's own address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
}

impl Netlink {
    /// A bridge of this name with this address, which is up; the one that is there, if it is one. Its number.
    pub fn bridge(
        &mut self,
        name: &str,
        address: Ipv4Addr,
        prefix: u8,
    ) -> Result<u32, NetlinkError> {
        let fail = |errno| NetlinkError {
            operation: format!("make the bridge {name}"),
            errno,
        };
        let mut message = link_message(
            libc::RTM_NEWLINK,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            0,
            libc::IFF_UP,
        );
        message.text(libc::IFLA_IFNAME, name);
        message.attribute(libc::IFLA_ADDRESS, &mac_of(address));
        message.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "bridge");
        });
        match self.socket.request(message, || fail(Errno::EIO).operation) {
            Err(error) if error.errno != Errno::EEXIST => return Err(error),
            _ => {}
        }
        let folder = format!("/sys/class/net/{name}");
        let is_there = |path: &str| fs::exists(path).unwrap_or(false);
        if is_there(&folder) && !is_there(&format!("{folder}/bridge")) {
            return Err(fail(Errno::EEXIST));
        }
        let index = if_nametoindex(name).map_err(fail)?;
        self.link_up(index)?;
        self.add_address(index, address, prefix)?;
        Ok(index)
    }

    /// A pair of which one end goes to the namespace.
    pub(crate) fn pair(
        &mut self,
        pair: &Pair,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        let mut message = link_message(
            libc::RTM_NEWLINK,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            0,
            libc::IFF_UP,
        );
        message.text(libc::IFLA_IFNAME, &pair.outer);
        message.attribute(libc::IFLA_MASTER, &pair.bridge.to_ne_bytes());
        let peer = |peer: &mut Message| {
            link_header(peer, INNER_INDEX, 0);
            peer.text(libc::IFLA_IFNAME, INNER_NAME);
            peer.attribute(libc::IFLA_ADDRESS, &mac_of(pair.address));
            peer.attribute(
                libc::IFLA_NET_NS_FD,
                &(namespace.as_raw_fd() as u32).to_ne_bytes(),
            );
        };
        message.nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(PEER, peer);
            });
        });
        let operation = || format!("make the pair of devices {}", pair.outer);
        self.socket.request(message, operation)
    }

    /// From inside: the loopback and the container's end up, with address and route.
    pub(crate) fn settle(&mut self, pair: &Pair) -> Result<(), NetlinkError> {
        let messages = vec![
            up_message(LOOPBACK),
            address_message(libc::RTM_NEWADDR, INNER_INDEX, pair.address, pair.prefix),
            up_message(INNER_INDEX),
            route_message(INNER_INDEX, pair.gateway),
        ];
        let operation = || format!("give the container the address {}", pair.address);
        self.socket.batch(messages, 4, operation)
    }

    /// Takes a device away; one that is not there counts as taken.
    pub fn remove_link(&mut self, name: &str) -> Result<(), NetlinkError> {
        let mut message = link_message(libc::RTM_DELLINK, 0, 0, 0);
        message.text(libc::IFLA_IFNAME, name);
        let operation = || format!("remove the device {name}");
        match self.socket.request(message, operation) {
            Err(error) if error.errno == Errno::ENODEV => Ok(()),
            other => other,
        }
    }
}

/// Names of the devices on this bridge.
pub fn on_bridge(name: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/sys/class/net/{name}/brif"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// A hardware address that follows from the other one: who gets an address again is found at once.
fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    // Locally administered, for one device.
    [0x0a, 0x6e, a, b, c, d]
}
