//! What this master says about itself: name, address, versions.
//!
//! Called by the engine (MasterInfo) and the HTTP handlers. Invariant: the compatible version is digits and dots only,
//! because clients take it apart with `int()`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use nesos_api::v1;
use nesos_shell::address;
use nesos_wire::MasterId;
use nesos_wire::domain::Domain;

pub(crate) use nesos_api::MESOS_VERSION;

/// Pause between looks for an address: DHCP takes seconds.
const ADDRESS_PAUSE: Duration = Duration::from_millis(200);

/// This software's version.
pub(crate) const NESOS_VERSION: &str = env!("CARGO_PKG_VERSION");

/// This master.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// Name as others reach it.
    pub(crate) hostname: String,
    /// Address told to others, if it was given or is the one listened on.
    pub(crate) address: Option<IpAddr>,
    /// Port told to others.
    pub(crate) port: u16,
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// Where it stands.
    pub(crate) domain: Option<Domain>,
}

impl About {
    /// The address told to others; without a given one, that of the interface with the default route, or where there is
    /// none of any other network; it may come and change after the start.
    pub(crate) fn ip(&self) -> IpAddr {
        self.address
            .or_else(address::of_this_host)
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Waits until this host has an address that others reach: a master that is to have others tells its address once, and a
    /// board's network may come after it.
    pub(crate) async fn await_address(&self) {
        let mut is_told = false;
        while self.address.is_none() && address::of_this_host().is_none() {
            if !is_told {
                tracing::info!("waits for an address of this host by which other masters reach it");
            }
            is_told = true;
            tokio::time::sleep(ADDRESS_PAUSE).await;
        }
    }

    /// `host:port` as others reach it.
    pub(crate) fn endpoint(&self) -> String {
        match self.ip() {
            IpAddr::V4(ip) => format!("{ip}:{}", self.port),
            IpAddr::V6(ip) => format!("[{ip}]:{}", self.port),
        }
    }

    /// `master@ip:port`.
    pub(crate) fn pid(&self) -> String {
        format!("master@{}", self.endpoint())
    }

    /// The public message.
    pub(crate) fn master_info(&self, id: &MasterId) -> v1::MasterInfo {
        let ip = self.ip();
        let number = match ip {
            // An in_addr as a little-endian machine reads it: that is what Mesos put there.
            IpAddr::V4(ip) => u32::from_le_bytes(ip.octets()),
            IpAddr::V6(_) => 0,
        };
        let capability = |capability| v1::MasterInfoCapability {
            r#type: Some(capability),
        };
        v1::MasterInfo {
            id: id.as_str().into(),
            ip: number,
            port: u32::from(self.port),
            pid: Some(self.pid()),
            hostname: Some(self.hostname.clone()),
            version: Some(MESOS_VERSION.into()),
            address: Some(v1::Address {
                hostname: Some(self.hostname.clone()),
                ip: Some(ip.to_string()),
                port: i32::from(self.port),
            }),
            domain: self.domain.as_ref().map(nesos_api::domain::shown),
            capabilities: vec![capability(v1::MasterInfoCapabilityType::AgentUpdate)],
        }
    }
}
