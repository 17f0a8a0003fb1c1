//! A host, an outside and containers, all of them namespaces of this test: nothing of it touches the machine's own network.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use super::*;
use crate::netlink::{Netlink, Pair};
use crate::netns;

/// Longest wait for what must come.
const SOON: Duration = Duration::from_secs(10);
/// How long nothing comes where nothing is to come.
const NEVER: Duration = Duration::from_millis(300);
const HOST: &str = "192.168.77.1";

struct Place {
    namespace: OwnedFd,
    address: Ipv4Addr,
}

impl Place {
    fn new(host: &mut Netlink, bridge: u32, address: [u8; 4]) -> Place {
        let address = Ipv4Addr::from(address);
        let [a, b, c, d] = address.octets();
        let pair = Pair {
            outer: format!("t{d}.{c}"),
            bridge,
            gateway: Ipv4Addr::new(a, b, c, 1),
            address,
            prefix: 24,
        };
        let namespace = netns::connected(host, &pair, None).unwrap();
        Place { namespace, address }
    }

    fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        inside(self.namespace.as_fd(), what)
    }

    /// Answers each connection to this port with who is seen to have made it.
    fn serve(&self, port: u16, name: &'static str) {
        let (listener, socket) = self.run(|| {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            (listener, UdpSocket::bind(("0.0.0.0", port)).unwrap())
        });
        thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                let _ = write!(stream, "{name} {}", peer.ip());
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }

    fn ask(&self, address: &str, limit: Duration) -> Option<String> {
        self.run(|| ask(address, limit))
    }

    fn ask_udp(&self, address: &str) -> Option<String> {
        self.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket.send_to(b"?", address).ok()?;
            let mut buffer = [0; 64];
            let (count, _) = socket.recv_from(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
        })
    }
}

fn ask(address: &str, limit: Duration) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Runs something in another namespace, on a thread of its own.
fn inside<T: Send>(namespace: BorrowedFd<'_>, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            what()
        });
        thread.join().unwrap()
    })
}

/// On a thread in a network namespace that stands for a host; not where that is not allowed.
fn on_a_host(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => test(),
            Err(errno) => eprintln!("no network namespaces here ({errno}): nothing tested"),
        });
    });
}

fn mapped(is_udp: bool, host: u16, to: &Place, port: u16) -> Mapped {
    Mapped {
        is_udp,
        host,
        address: to.address,
        port,
    }
}

#[test]
fn containers_reach_the_outside_and_are_reached_by_mapped_ports_only() {
    on_a_host(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink.link_up(1).unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let uplink = netlink.bridge("up0", HOST.parse().unwrap(), 24).unwrap();
        let gateway = Ipv4Addr::new(10, 87, 0, 1);
        let bridge = netlink.bridge("nesos0", gateway, 24).unwrap();
        assert_eq!(netlink.bridge("nesos0", gateway, 24).unwrap(), bridge);
        let net = Net {
            table: "nesos0".into(),
            bridge,
            first: Ipv4Addr::new(10, 87, 0, 0),
            prefix: 24,
        };
        let outside = Place::new(&mut netlink, uplink, [192, 168, 77, 2]);
        let a = Place::new(&mut netlink, bridge, [10, 87, 0, 2]);
        let b = Place::new(&mut netlink, bridge, [10, 87, 0, 3]);
        let mut nftables = Nftables::open().unwrap();
        nftables.lay(&net, &[mapped(false, 9, &b, 9)]).unwrap();
        // Again, as after a restart: what was mapped then is not any more.
        nftables.lay(&net, &[mapped(false, 31000, &a, 80)]).unwrap();
        let more = [mapped(false, 31001, &b, 80), mapped(true, 31000, &b, 80)];
        nftables.add(&net.table, &more).unwrap();
        outside.serve(80, "outside");
        // Both on the same port.
        a.serve(80, "a");
        b.serve(80, "b");

        let said = |text: &str| Some(text.to_owned());
        let at_host = |port: u16| format!("{HOST}:{port}");
        assert_eq!(a.ask("192.168.77.2:80", SOON), said("outside 192.168.77.1"));
        assert_eq!(a.ask_udp("192.168.77.2:80"), said("outside 192.168.77.1"));
        assert_eq!(a.ask("10.87.0.3:80", SOON), said("b 10.87.0.2"));
        assert_eq!(outside.ask(&at_host(31000), SOON), said("a 192.168.77.2"));
        assert_eq!(outside.ask(&at_host(31001), SOON), said("b 192.168.77.2"));
        assert_eq!(outside.ask_udp(&at_host(31000)), said("b 192.168.77.2"));
        // From the host itself, and from a neighbour.
        assert_eq!(ask(&at_host(31000), SOON), said("a 192.168.77.1"));
        assert_eq!(b.ask(&at_host(31000), SOON), said("a 10.87.0.1"));
        // A port of somebody else's host is none of ours.
        assert_eq!(a.ask("192.168.77.2:31001", SOON), None);
        assert_eq!(outside.ask(&at_host(9), SOON), None);
        let route = |place: &Place| {
            place.run(|| {
                std::fs::read_to_string("/proc/net/route")
                    .unwrap()
                    .lines()
                    .count()
            })
        };
        assert_eq!(route(&a), 3, "the heading, the default, the network");
        assert_eq!(outside.ask("10.87.0.2:80", NEVER), None, "behind its host");

        nftables.remove(&net.table, &more).unwrap();
        nftables.remove(&net.table, &more).unwrap();
        assert_eq!(outside.ask(&at_host(31001), SOON), None);
        assert_eq!(outside.ask(&at_host(31000), SOON), said("a 192.168.77.2"));
    });
}

#[test]
fn a_container_has_two_devices_and_may_use_all_ports() {
    on_a_host(|| {
        let mut netlink = Netlink::open().unwrap();
        let bridge = netlink
            .bridge("nesos0", Ipv4Addr::new(10, 87, 0, 1), 24)
            .unwrap();
        let a = Place::new(&mut netlink, bridge, [10, 87, 0, 2]);
        let (devices, least) = a.run(|| {
            let read = |path: &str| std::fs::read_to_string(path).unwrap();
            let devices = read("/proc/thread-self/net/dev");
            let names = devices.lines().filter_map(|line| line.split_once(':'));
            let mut names: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
            names.sort();
            let least = read("/proc/sys/net/ipv4/ip_unprivileged_port_start");
            (names, least.trim().to_owned())
        });
        assert!(devices.contains(&"eth0".into()) && devices.contains(&"lo".into()));
        assert!(
            !devices.iter().any(|name| name.starts_with("nesos")),
            "{devices:?}"
        );
        assert_eq!(least, "0");
        let taken = Pair {
            outer: "nesos0".into(),
            bridge,
            gateway: Ipv4Addr::new(10, 87, 0, 1),
            address: Ipv4Addr::new(10, 87, 0, 9),
            prefix: 24,
        };
        let error = netns::connected(&mut netlink, &taken, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "make the pair of devices nesos0: EEXIST: File exists"
        );
        netlink.remove_link("t2.0").unwrap();
        netlink.remove_link("t2.0").unwrap();
    });
}
