//! Ethernet: waits for the first interface, brings it up, gives it its static address or runs DHCP on it, for ever.
//!
//! Called by `boot`; a task of its own afterwards. The DHCP protocol is `dhcp`'s. Invariant: whatever happens to
//! cable, adapter or server, the task goes on trying; an address stays until its lease is over or another is given.

use crate::board::{Board, Configuration};
use crate::dhcp::{self, Action, Client, Lease, To};
use crate::phase::Outcome;
use crate::runtime::{self, Either, Watched, either};
use embassy_time::{Duration, Instant, Timer};
use nesos_base::cluster_config::StaticNetwork;
use nesos_sys::netlink::{self, Link, LinkBell, Netlink, NetlinkError};
use nesos_sys::packet::PacketSocket;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::rc::Rc;

/// Where resolvers look; /etc/resolv.conf is a link to it.
const RESOLV_CONF: &str = "/run/resolv.conf";
/// How often to look at the interfaces although the kernel announced nothing: the announcement may have been lost.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Pause before an interface that made trouble is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Largest packet read; DHCP messages are limited to 1500 bytes by option 57.
const PACKET_BYTES: usize = 1600;

/// Brings the loopback up and starts the task that cares for ethernet.
pub(crate) fn start(board: Rc<Board>) -> Outcome {
    let opened = Netlink::open().and_then(|mut netlink| {
        netlink.link_up(netlink::index_of("lo").unwrap_or(1))?;
        Ok((netlink, LinkBell::open()?))
    });
    let (netlink, bell) = match opened {
        Ok(opened) => opened,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    match Watched::new(bell) {
        Ok(bell) => runtime::spawn(
            Ethernet {
                board,
                netlink,
                bell,
                current: None,
            }
            .run(),
        ),
        Err(error) => return Outcome::Failed(format!("wait for links: {error}")),
    }
    Outcome::Done("lo".to_owned())
}

/// Waits for the first address; the phase's limit ends the waiting.
pub(crate) async fn configured(board: Rc<Board>) -> Outcome {
    loop {
        if let Some(words) = board.network.borrow().clone() {
            return Outcome::Done(words);
        }
        board.network_changed.heard().await;
    }
}

/// An address that the interface has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Current {
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
}

struct Ethernet {
    board: Rc<Board>,
    netlink: Netlink,
    bell: Watched<LinkBell>,
    current: Option<Current>,
}

impl Ethernet {
    async fn run(mut self) {
        loop {
            let link = self.first_link().await;
            let wanted = match &*self.board.configuration.borrow() {
                Configuration::Read(config) => config.network,
                _ => None,
            };
            let result = match self.netlink.link_up(link.index) {
                Ok(()) => match wanted {
                    Some(network) => self.keep_static(&link, network).await,
                    None => self.keep_lease(&link).await,
                },
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = result {
                self.board
                    .say("network", &format!("{}: {error}", link.name));
                Timer::after(RETRY_AFTER).await;
            }
        }
    }

    async fn first_link(&self) -> Link {
        loop {
            if let Some(link) = netlink::ethernet_links().into_iter().next() {
                return link;
            }
            self.link_change().await;
        }
    }

    /// Waits for the kernel to announce something about a link, or a while.
    async fn link_change(&self) {
        either(self.bell.readable(), Timer::after(LOOK_EVERY)).await;
        self.bell.get().clear();
    }

    async fn keep_static(&mut self, link: &Link, network: StaticNetwork) -> Result<(), String> {
        let StaticNetwork {
            address,
            prefix,
            gateway,
            dns,
        } = network;
        let current = Current {
            index: link.index,
            address,
            prefix,
        };
        self.configure(current, gateway, dns.as_slice())
            .map_err(|e| e.to_string())?;
        self.announce(Some(format!("static {address}/{prefix} on {}", link.name)));
        while netlink::index_of(&link.name) == Some(link.index) {
            self.link_change().await;
        }
        self.gone(&link.name);
        Ok(())
    }

    /// Runs DHCP until the cable is pulled or the adapter is gone.
    async fn keep_lease(&mut self, link: &Link) -> Result<(), String> {
        while !netlink::has_carrier(&link.name) {
            if netlink::index_of(&link.name) != Some(link.index) {
                return Ok(());
            }
            self.link_change().await;
        }
        let now = Instant::now();
        let mut client = Client::new(
            link.mac,
            &self.board.host_name.borrow(),
            now.as_ticks() as u32,
            now,
        );
        let mut sockets = Sockets::default();
        loop {
            while let Some(action) = client.poll(Instant::now()) {
                self.act(action, link, &mut sockets)?;
            }
            sockets.choose(client.needs_link(), link.index)?;
            match either(
                sockets.receive(),
                either(Timer::at(client.deadline()), self.bell.readable()),
            )
            .await
            {
                Either::First(payload) => {
                    if let Some(action) = client.receive(&payload, Instant::now()) {
                        self.act(action, link, &mut sockets)?;
                    }
                }
                Either::Second(Either::First(())) => {}
                Either::Second(Either::Second(())) => {
                    self.bell.get().clear();
                    if netlink::index_of(&link.name) != Some(link.index) {
                        self.gone(&link.name);
                        return Ok(());
                    }
                    if !netlink::has_carrier(&link.name) {
                        // The cable may come back into another network; the address stays until that one answers.
                        return Ok(());
                    }
                }
            }
        }
    }

    fn act(&mut self, action: Action, link: &Link, sockets: &mut Sockets) -> Result<(), String> {
        match action {
            Action::Send(to, payload) => sockets.send(to, &payload, link.index),
            Action::Bound(lease) => {
                let Lease {
                    address,
                    prefix,
                    gateway,
                    ref dns,
                    ..
                } = lease;
                self.configure(
                    Current {
                        index: link.index,
                        address,
                        prefix,
                    },
                    gateway,
                    dns,
                )
                .map_err(|e| e.to_string())?;
                self.announce(Some(format!("dhcp {address}/{prefix} on {}", link.name)));
                Ok(())
            }
            Action::Lost(lease) => {
                self.board.say(
                    "network",
                    &format!("the lease of {} is over", lease.address),
                );
                self.announce(None);
                match self.current.take() {
                    Some(old) => self
                        .netlink
                        .remove_address(old.index, old.address, old.prefix)
                        .map_err(|e| e.to_string()),
                    None => Ok(()),
                }
            }
        }
    }

    fn configure(
        &mut self,
        new: Current,
        gateway: Option<Ipv4Addr>,
        dns: &[Ipv4Addr],
    ) -> Result<(), NetlinkError> {
        if let Some(old) = self.current.take_if(|old| *old != new) {
            // An address of an adapter that was pulled is gone already.
            let _ = self
                .netlink
                .remove_address(old.index, old.address, old.prefix);
        }
        self.netlink
            .add_address(new.index, new.address, new.prefix)?;
        self.current = Some(new);
        if let Some(gateway) = gateway {
            self.netlink.set_default_route(new.index, gateway)?;
        }
        let text: String = dns
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
        if let Err(error) = fs::write(RESOLV_CONF, text) {
            self.board
                .say("network", &format!("write {RESOLV_CONF}: {error}"));
        }
        Ok(())
    }

    fn gone(&mut self, name: &str) {
        self.current = None;
        self.board.say("network", &format!("{name} is gone"));
        self.announce(None);
    }

    fn announce(&self, words: Option<String>) {
        let changed = *self.board.network.borrow() != words;
        if let (true, true, Some(words)) = (changed, self.board.booted.get(), &words) {
            self.board.say("network", words);
        }
        *self.board.network.borrow_mut() = words;
        self.board.network_changed.ring();
    }
}

/// The packet socket while there is no address, a UDP socket afterwards.
#[derive(Default)]
struct Sockets {
    link: Option<Watched<PacketSocket>>,
    udp: Option<Watched<UdpSocket>>,
}

impl Sockets {
    fn choose(&mut self, needs_link: bool, index: u32) -> Result<(), String> {
        if needs_link {
            self.udp = None;
            self.open_link(index)
        } else {
            self.link = None;
            self.open_udp()
        }
    }

    fn send(&mut self, to: To, payload: &[u8], index: u32) -> Result<(), String> {
        // No route, no buffer, cable just pulled: the protocol repeats what is lost.
        match to {
            To::Link => {
                self.open_link(index)?;
                let packet = dhcp::link_packet(payload);
                let _ = self
                    .link
                    .as_ref()
                    .map(|socket| socket.get().broadcast(&packet));
            }
            To::Address(address) => {
                self.open_udp()?;
                let to = SocketAddrV4::new(address, dhcp::SERVER_PORT);
                let _ = self
                    .udp
                    .as_ref()
                    .map(|socket| socket.get().send_to(payload, to));
            }
        }
        Ok(())
    }

    async fn receive(&self) -> Vec<u8> {
        let mut buffer = [0u8; PACKET_BYTES];
        loop {
            match (&self.link, &self.udp) {
                (Some(socket), _) => {
                    socket.readable().await;
                    if let Ok(Some(count)) = socket.get().receive(&mut buffer)
                        && let Some(payload) = dhcp::link_payload(&buffer[..count])
                    {
                        return payload.to_vec();
                    }
                }
                (None, Some(socket)) => {
                    socket.readable().await;
                    if let Ok((count, from)) = socket.get().recv_from(&mut buffer)
                        && from.port() == dhcp::SERVER_PORT
                    {
                        return buffer[..count].to_vec();
                    }
                }
                (None, None) => std::future::pending().await,
            }
        }
    }

    fn open_link(&mut self, index: u32) -> Result<(), String> {
        if self.link.is_none() {
            let socket = PacketSocket::open(index, dhcp::CLIENT_PORT)
                .map_err(|e| format!("packet socket: {e}"))?;
            self.link = Some(Watched::new(socket).map_err(|e| format!("packet socket: {e}"))?);
        }
        Ok(())
    }

    fn open_udp(&mut self) -> Result<(), String> {
        if self.udp.is_none() {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, dhcp::CLIENT_PORT))
                .and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    socket.set_broadcast(true)?;
                    Watched::new(socket)
                })
                .map_err(|e| format!("UDP port {}: {e}", dhcp::CLIENT_PORT))?;
            self.udp = Some(socket);
        }
        Ok(())
    }
}
