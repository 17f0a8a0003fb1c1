//! DNS-SD: a master advertises `_nesos._tcp`, everybody else finds it.
//!
//! A hint, never a ground for trust: whoever is found still has to prove the cluster's CA in TLS. Called by masterd
//! (advertise, and browse for a group to join), agentd and the CLI (browse). The leader's TXT record has `leader=yes`; any
//! master knows who leads, so one that does not say so is as good after a moment. Invariant: with [`Mode::Off`] no socket is
//! opened and no packet sent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{
    DaemonEvent, IfKind, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent,
    ServiceInfo,
};

/// The service type of masters.
pub const SERVICE: &str = "_nesos._tcp.local.";
/// Most bytes in a DNS label.
const MAX_LABEL: usize = 63;

/// How long a stopping master waits for its goodbye to be sent.
const GOODBYE: Duration = Duration::from_millis(300);

/// Key of the leader's TXT record, and its value there.
const LEADER: (&str, &str) = ("leader", "yes");

/// How long the leader may be found later than the first master: half a second where its records take a question of their own,
/// and questions are repeated after a second.
const GRACE: Duration = Duration::from_millis(1500);

/// What mDNS may do (flag `--mdns`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Off,
    /// All interfaces but loopback.
    On,
    /// Only this interface.
    Interface(String),
}

impl Mode {
    /// Reads `off`, `on` or an interface's name.
    pub fn parse(text: &str) -> Self {
        match text {
            "off" | "false" | "" => Self::Off,
            "on" | "true" => Self::On,
            name => Self::Interface(name.into()),
        }
    }
}

/// Why mDNS does not work.
#[derive(Debug, thiserror::Error)]
#[error("mDNS cannot {operation}: {reason}")]
pub struct MdnsError {
    operation: &'static str,
    reason: mdns_sd::Error,
}

/// What a master says about itself.
#[derive(Debug, Clone)]
pub struct Advertisement {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name; the host name becomes `<cluster>-<node>.local`.
    pub node: String,
    /// Port of the master.
    pub port: u16,
    /// Software version.
    pub version: String,
    /// `master` or `both`.
    pub role: String,
    /// It leads the masters.
    pub leads: bool,
    /// The master's addresses; none: those of the interfaces, as they change.
    pub address: Option<IpAddr>,
}

/// Keeps the advertisement up until it is dropped, which says goodbye.
pub struct Advertiser {
    daemon: ServiceDaemon,
    full_name: String,
}

/// A master that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Instance name, e.g. `home-shelf-1`.
    pub name: String,
    /// The cluster's name.
    pub cluster: String,
    /// It says that it leads.
    pub leads: bool,
    /// Where to dial, IPv4 first.
    pub addresses: Vec<SocketAddr>,
}

/// Looks for masters until it is dropped.
pub struct Browser {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    cluster: Option<String>,
}

/// Advertises a master. `Ok(None)` with [`Mode::Off`].
pub fn advertise(mode: &Mode, what: &Advertisement) -> Result<Option<Advertiser>, MdnsError> {
    let Some(daemon) = start(mode)? else {
        return Ok(None);
    };
    let info = describe(what)?;
    let full_name = info.get_fullname().to_string();
    if let Ok(events) = daemon.monitor() {
        tokio::spawn(report(events));
    }
    let advertiser = Advertiser { daemon, full_name };
    advertiser.register(info)?;
    Ok(Some(advertiser))
}

fn describe(what: &Advertisement) -> Result<ServiceInfo, MdnsError> {
    let name = host_label(&what.cluster, &what.node);
    let host = format!("{name}.local.");
    let mut properties = vec![
        ("cluster", what.cluster.as_str()),
        ("version", what.version.as_str()),
        ("role", what.role.as_str()),
    ];
    properties.extend(what.leads.then_some(LEADER));
    let info = match what.address {
        Some(address) => {
            ServiceInfo::new(SERVICE, &name, &host, address, what.port, &properties[..])
        }
        None => ServiceInfo::new(SERVICE, &name, &host, "", what.port, &properties[..])
            .map(ServiceInfo::enable_addr_auto),
    };
    info.map_err(|reason| MdnsError {
        operation: "describe the service",
        reason,
    })
}

impl Advertiser {
    /// Says at once what has changed; the names are to be the same.
    pub fn update(&self, what: &Advertisement) -> Result<(), MdnsError> {
        let mut info = describe(what)?;
        // The names are this host's already. Asking for them again takes most of a second, in which nobody would lead.
        info.set_requires_probe(false);
        self.register(info)
    }

    fn register(&self, info: ServiceInfo) -> Result<(), MdnsError> {
        self.daemon.register(info).map_err(|reason| MdnsError {
            operation: "advertise the service",
            reason,
        })
    }
}

/// Begins to look for masters of `cluster`, or of any. `Ok(None)` with [`Mode::Off`].
pub fn browse(mode: &Mode, cluster: Option<&str>) -> Result<Option<Browser>, MdnsError> {
    let Some(daemon) = start(mode)? else {
        return Ok(None);
    };
    let events = daemon.browse(SERVICE).map_err(|reason| MdnsError {
        operation: "browse",
        reason,
    })?;
    Ok(Some(Browser {
        daemon,
        events,
        cluster: cluster.map(Into::into),
    }))
}

impl Browser {
    /// The next master found or changed; `None` when the responder has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Found> {
        loop {
            let ServiceEvent::ServiceResolved(service) = self.events.recv_async().await.ok()?
            else {
                continue;
            };
            let found = found(&service);
            if !found.addresses.is_empty()
                && self
                    .cluster
                    .as_ref()
                    .is_none_or(|wanted| *wanted == found.cluster)
            {
                return Some(found);
            }
        }
    }

    /// The leader, within `limit`; or any master, if none says in time that it leads.
    pub async fn leader_within(&mut self, limit: Duration) -> Option<Found> {
        let first = tokio::time::timeout(limit, self.next()).await.ok()??;
        if first.leads {
            return Some(first);
        }
        let leader = async {
            loop {
                match self.next().await {
                    Some(found) if !found.leads => {}
                    ended => return ended,
                }
            }
        };
        let leader = tokio::time::timeout(GRACE, leader).await.ok().flatten();
        Some(leader.unwrap_or(first))
    }
}

impl std::fmt::Debug for Advertiser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Advertiser")
            .field("full_name", &self.full_name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl Drop for Advertiser {
    fn drop(&mut self) {
        // Goodbyes are best effort: peers forget the record by its time to live.
        if let Ok(done) = self.daemon.unregister(&self.full_name) {
            let _ = done.recv_timeout(GOODBYE);
        }
        let _ = self.daemon.shutdown();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

/// The single label `<cluster>-<node>`; a node name that begins so already is kept.
pub fn host_label(cluster: &str, node: &str) -> String {
    let joined = match node.strip_prefix(cluster) {
        Some(rest) if rest.is_empty() || rest.starts_with('-') => node.to_string(),
        _ => format!("{cluster}-{node}"),
    };
    let safe = joined.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    safe.take(MAX_LABEL)
        .collect::<String>()
        .trim_matches('-')
        .to_string()
}

fn start(mode: &Mode) -> Result<Option<ServiceDaemon>, MdnsError> {
    if *mode == Mode::Off {
        return Ok(None);
    }
    let failed = |reason| MdnsError {
        operation: "open its socket",
        reason,
    };
    let daemon = ServiceDaemon::new().map_err(failed)?;
    match mode {
        // Loopback is of no use to other boards, and 127.0.0.1 would be advertised to them.
        Mode::On => daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]),
        Mode::Interface(name) => daemon
            .disable_interface(IfKind::All)
            .and_then(|()| daemon.enable_interface(IfKind::Name(name.clone()))),
        Mode::Off => Ok(()),
    }
    .map_err(failed)?;
    Ok(Some(daemon))
}

async fn report(events: Receiver<DaemonEvent>) {
    while let Ok(event) = events.recv_async().await {
        match event {
            DaemonEvent::NameChange(change) => {
                tracing::warn!(
                    "mDNS: another host uses the name {}, this one is now {}",
                    change.original,
                    change.new_name
                );
            }
            DaemonEvent::Error(error) => tracing::warn!("mDNS: {error}"),
            DaemonEvent::IpAdd(address) => tracing::debug!("mDNS: address {address} appeared"),
            _ => {}
        }
    }
}

fn found(service: &ResolvedService) -> Found {
    let mut addresses: Vec<SocketAddr> = service
        .addresses
        .iter()
        .filter_map(|ip| socket(ip, service.port))
        .collect();
    addresses.sort();
    let text = |key| {
        service
            .get_property_val_str(key)
            .unwrap_or_default()
            .to_string()
    };
    Found {
        name: service
            .fullname
            .trim_end_matches(SERVICE)
            .trim_end_matches('.')
            .to_string(),
        cluster: text("cluster"),
        leads: text(LEADER.0) == LEADER.1,
        addresses,
    }
}

/// Link-local IPv6 addresses need a scope that `host:port` texts lose: left out.
fn socket(ip: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match ip.to_ip_addr() {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
        ip => Some(SocketAddr::new(ip, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_single_and_short() {
        assert_eq!(host_label("home", "shelf-1"), "home-shelf-1");
        assert_eq!(host_label("home", "home-shelf-1"), "home-shelf-1");
        assert_eq!(host_label("home", "Shelf.1"), "home-shelf-1");
        assert!(host_label(&"c".repeat(30), &"n".repeat(60)).len() <= MAX_LABEL);
    }

    #[test]
    fn off_opens_nothing() {
        assert!(browse(&Mode::parse("off"), None).is_ok_and(|b| b.is_none()));
        assert_eq!(Mode::parse("eth0"), Mode::Interface("eth0".into()));
    }
}
