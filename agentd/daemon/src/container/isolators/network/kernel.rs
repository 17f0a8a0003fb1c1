//! The agent's network as the kernel has it: bridge, table, and a pair of devices for each container. Called by the module above.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use agentd_core::network::{Addresses, Place, Subnet};
use nesos_sys::netlink::{Netlink, NetlinkError, Pair, on_bridge};
use nesos_sys::netns;
use nesos_sys::nftables::{Mapped, Net, Nftables};
use nesos_wire::rights::IdRange;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::super::users::id_map;

/// First letters of the names of devices on the bridge.
const DEVICE: &str = "nv";
/// Lets the kernel pass packets on.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// What the kernel is told by.
#[derive(Debug)]
pub(super) struct Kernel {
    netlink: Netlink,
    nftables: Nftables,
    net: Net,
}

impl Kernel {
    pub(super) fn new(bridge: &str, addresses: &Addresses) -> Result<Self, String> {
        let text = |error: NetlinkError| error.to_string();
        let subnet = addresses.subnet();
        is_free(subnet, bridge)?;
        let mut netlink = Netlink::open().map_err(text)?;
        let mut nftables = Nftables::open().map_err(text)?;
        let index = netlink.bridge(bridge, subnet.gateway(), subnet.prefix());
        let net = Net {
            table: bridge.to_owned(),
            bridge: index.map_err(text)?,
            first: subnet.first(),
            prefix: subnet.prefix(),
        };
        let mapped: Vec<Mapped> = addresses.all().flat_map(mapped).collect();
        nftables.lay(&net, &mapped).map_err(text)?;
        fs::write(FORWARD, "1").map_err(|error| format!("write {FORWARD}: {error}"))?;
        Ok(Self {
            netlink,
            nftables,
            net,
        })
    }

    /// A namespace of its own for who has this place, and the ports that lead to it. With ids it belongs to a user namespace of
    /// its own.
    pub(super) fn connect(
        &mut self,
        place: &Place,
        subnet: Subnet,
        ids: Option<IdRange>,
    ) -> Result<OwnedFd, String> {
        let pair = Pair {
            outer: device(place.address),
            bridge: self.net.bridge,
            gateway: subnet.gateway(),
            address: place.address,
            prefix: subnet.prefix(),
        };
        // Of a container that had this address long ago, and that the kernel has not cleared away yet.
        let _ = self.netlink.remove_link(&pair.outer);
        let made = netns::connected(&mut self.netlink, &pair, ids.map(id_map));
        let namespace = made.map_err(|error| error.to_string())?;
        let mapped: Vec<Mapped> = mapped(place).collect();
        let added = self.nftables.add(&self.net.table, &mapped);
        added.map_err(|error| error.to_string())?;
        Ok(namespace)
    }

    /// Nothing leads there any more. The devices go with the namespace.
    pub(super) fn disconnect(&mut self, place: &Place) -> Result<(), NetlinkError> {
        let mapped: Vec<Mapped> = mapped(place).collect();
        self.nftables.remove(&self.net.table, &mapped)
    }
}

/// Takes away the devices of containers that are no more: their processes have died while no agentd was there to see it.
pub(super) fn sweep(bridge: &str, addresses: &Addresses) -> Result<(), NetlinkError> {
    let held: Vec<String> = addresses.all().map(|place| device(place.address)).collect();
    let mut strays = on_bridge(bridge);
    strays.retain(|name| name.starts_with(DEVICE) && !held.contains(name));
    if strays.is_empty() {
        return Ok(());
    }
    let mut netlink = Netlink::open()?;
    strays.iter().try_for_each(|name| netlink.remove_link(name))
}

/// The outer end of what a container has.
fn device(address: Ipv4Addr) -> String {
    format!("{DEVICE}{:08x}", u32::from(address))
}

fn mapped(place: &Place) -> impl Iterator<Item = Mapped> {
    let address = place.address;
    place.mappings.iter().map(move |mapping| Mapped {
        is_udp: mapping.is_udp,
        host: mapping.host,
        address,
        port: mapping.container,
    })
}

/// Whether no other device of this machine has addresses of the subnet.
fn is_free(subnet: Subnet, bridge: &str) -> Result<(), String> {
    let devices = getifaddrs().map_err(|error| format!("list addresses: {error}"))?;
    for device in devices.filter(|device| device.interface_name != bridge) {
        let ip = |address: Option<SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip());
        let (Some(address), Some(mask)) = (ip(device.address), ip(device.netmask)) else {
            continue;
        };
        if subnet.contains(address) || address & mask == subnet.first() & mask {
            return Err(format!(
                "{subnet} overlaps with the network of {}; --network_subnet names another",
                device.interface_name
            ));
        }
    }
    Ok(())
}
