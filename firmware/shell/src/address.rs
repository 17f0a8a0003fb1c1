//! By which address a network knows this host.
//!
//! Not names, and not what is listened on. Called by masterd, which tells others where it is. Invariant: nothing is sent.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;

use nix::ifaddrs::getifaddrs;

/// That of the interface with the default route; where there is none, the lowest IPv4 address of any other network, so that it
/// is the same at each start. None: there is no network.
pub fn of_this_host() -> Option<IpAddr> {
    behind_default_route().or_else(of_any_network)
}

/// Whether this host has the address still, or as far as can be told: addresses come and go with DHCP.
pub fn is_own(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    bound.err().map(|error| error.kind()) != Some(ErrorKind::AddrNotAvailable)
}

/// Asks the routing table; connecting a datagram socket sends nothing.
fn behind_default_route() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // TEST-NET-1: an address that is nobody's, behind the default route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified())
}

fn of_any_network() -> Option<IpAddr> {
    let interfaces = getifaddrs().ok()?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?.as_sockaddr_in()?.ip();
        // A bridge is this host's own network, of containers.
        let is_bridge = Path::new("/sys/class/net")
            .join(&interface.interface_name)
            .join("bridge")
            .exists();
        (is_reached_by_others(address) && !is_bridge).then_some(address)
    });
    addresses.min().map(IpAddr::V4)
}

fn is_reached_by_others(address: Ipv4Addr) -> bool {
    !address.is_loopback() && !address.is_link_local() && !address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_do_not_reach_loopback() {
        assert!(is_reached_by_others(Ipv4Addr::new(10, 0, 2, 15)));
        assert!(!is_reached_by_others(Ipv4Addr::LOCALHOST));
        assert!(!is_reached_by_others(Ipv4Addr::new(169, 254, 3, 4)));
        let found = of_this_host();
        assert!(found.is_none_or(|ip| !ip.is_loopback()), "{found:?}");
    }

    #[test]
    fn a_hosts_own_addresses_are_told_from_others() {
        assert!(is_own(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        // TEST-NET-1.
        assert!(!is_own(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))));
    }
}
