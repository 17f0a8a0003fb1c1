//! The isolator of networks: a container that asks for one has devices, an address and ports of its own.
//!
//! One network for each agent: a bridge, a private subnet behind it, a table that translates addresses (nftables). Tasks of a
//! pod, and what operators start inside a container, share one. Called by the containerizer; the books are also asked by
//! displays. Invariants: what a container has, its run directory says, so that a later agentd knows; the devices go with the
//! last process, whoever else has died.

mod kernel;

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use agentd_core::network::{Addresses, Mapping, Place, Subnet};
use nesos_api::v1;
use nesos_sys::netns;
use nesos_wire::ContainerId;
use nesos_wire::file_system::Names;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::{Resources, Value};
use nesos_wire::rights::IdRange;

use self::kernel::Kernel;
use super::{Isolator, Refusal, Setup, Wish};
use crate::settings::{Settings, SettingsError};

/// The note of what a container has: whose network it is in, its address, and what is mapped.
const NOTE: &str = "network";
/// Longest name of a device.
const MAX_NAME: usize = 15;
/// Where name servers are listed, and where a host lists them whose own is a process on its loopback.
const RESOLV_CONF: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Who is in which network, and what that network has.
#[derive(Debug)]
pub(super) struct Books {
    name: String,
    bridge: String,
    /// The agent's ports: only these may be mapped.
    resources: Resources,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    addresses: Addresses,
    /// Whose network each container is in: its own, its pod's, or that of the container around it.
    members: BTreeMap<ContainerId, ContainerId>,
    networks: BTreeMap<ContainerId, Network>,
    kernel: Option<Kernel>,
}

/// A network that is there, by the container or pod that asked for it.
#[derive(Debug)]
struct Network {
    /// Holds it while it may get more members.
    namespace: Rc<OwnedFd>,
    /// As it was asked for.
    info: Option<v1::NetworkInfo>,
}

impl Books {
    pub(super) fn new(settings: &Settings) -> Result<Rc<Self>, SettingsError> {
        let flags = &settings.flags;
        let subnet = flags.text_or_empty("network_subnet");
        let subnet: Subnet = subnet
            .parse()
            .map_err(|e| SettingsError::new("--network_subnet", e))?;
        let bridge = flags.text_or_empty("network_bridge").to_owned();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if bridge.is_empty() || bridge.len() > MAX_NAME || !bridge.chars().all(is_plain) {
            let reason = format!("expected 1 to {MAX_NAME} letters, digits, '-', '_' and '.'");
            return Err(SettingsError::new("--network_bridge", reason));
        }
        let name = flags.text_or_empty("network_name").to_owned();
        if name.is_empty() {
            return Err(SettingsError::new("--network_name", "expected a name"));
        }
        Ok(Rc::new(Self {
            name,
            bridge,
            resources: settings.resources.clone(),
            state: RefCell::new(State {
                addresses: Addresses::new(subnet),
                members: BTreeMap::new(),
                networks: BTreeMap::new(),
                kernel: None,
            }),
        }))
    }

    /// What is shown of the network that a container has.
    pub(super) fn shown(&self, container: &ContainerId) -> Option<v1::NetworkInfo> {
        let state = self.state.borrow();
        let owner = state.members.get(container)?;
        let place = state.addresses.of(owner)?;
        let known = state.networks.get(owner);
        let known = known.and_then(|network| network.info.clone());
        let address = v1::NetworkInfoIPAddress {
            ip_address: Some(place.address.to_string()),
            ..v1::NetworkInfoIPAddress::default()
        };
        Some(v1::NetworkInfo {
            ip_addresses: vec![address],
            ..known.unwrap_or_else(|| v1::NetworkInfo {
                name: Some(self.name.clone()),
                port_mappings: place.mappings.iter().map(mapping_shown).collect(),
                ..v1::NetworkInfo::default()
            })
        })
    }

    /// Whether it is one of the addresses that containers have.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let state = self.state.borrow();
        let all = state.addresses.all();
        let mut all = all.map(|place| IpAddr::V4(place.address));
        all.any(|one| one == address)
    }

    /// In whose network the container is to be, and how that one asked for it.
    fn wanted<'a>(&self, wish: &'a Wish<'_>) -> Option<(ContainerId, Option<&'a v1::NetworkInfo>)> {
        if let Some(info) = named(&wish.container) {
            return Some((wish.container_id.clone(), Some(info)));
        }
        if let Some(pod) = &wish.pod {
            return Some((pod.container.clone(), Some(named(&pod.info)?)));
        }
        let (around, _) = wish.container_id.as_str().rsplit_once('.')?;
        let state = self.state.borrow();
        let owner = state.members.get(&ContainerId::new(around))?;
        Some((owner.clone(), None))
    }

    /// The mappings that are asked for.
    fn mappings(&self, info: &v1::NetworkInfo) -> Result<Vec<Mapping>, Refusal> {
        let all = info.port_mappings.iter();
        let read = |one: &v1::NetworkInfoPortMapping| {
            let protocol = one
                .protocol
                .as_deref()
                .unwrap_or("tcp")
                .to_ascii_lowercase();
            let text = format!("{protocol}:{}:{}", one.host_port, one.container_port);
            let mapping: Mapping = text.parse()?;
            if !self.is_offered(mapping.host) {
                return Err(Refusal::new(format!(
                    "port {mapping} of the host: only ports that the agent offers can be mapped"
                )));
            }
            Ok(mapping)
        };
        all.map(read).collect()
    }

    fn is_offered(&self, port: u16) -> bool {
        let mut entries = self.resources.entries().iter();
        entries.any(|entry| match entry.value() {
            Value::Ranges(ranges) if entry.name() == "ports" => {
                ranges.iter().any(|range| range.contains(&port.into()))
            }
            _ => false,
        })
    }

    /// Puts the container into the network, which is made, with these ids, if it is not there.
    fn join(
        &self,
        container: &ContainerId,
        owner: &ContainerId,
        info: Option<&v1::NetworkInfo>,
        ids: Option<IdRange>,
    ) -> Result<(Rc<OwnedFd>, Place), Refusal> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.members.insert(container.clone(), owner.clone());
        let known = state.addresses.of(owner).cloned();
        if let (Some(place), Some(network)) = (&known, state.networks.get(owner)) {
            return Ok((network.namespace.clone(), place.clone()));
        }
        let place = match known {
            Some(place) => place,
            None => {
                let mappings = info.map_or(Ok(Vec::new()), |info| self.mappings(info))?;
                state.addresses.give(owner, mappings)?.clone()
            }
        };
        let subnet = state.addresses.subnet();
        let namespace = self.kernel(state)?.connect(&place, subnet, ids);
        let namespace = Rc::new(namespace.map_err(|error| {
            // Whatever it was that somebody took away, it is looked for at the next attempt.
            state.kernel = None;
            Refusal::new(error)
        })?);
        let network = Network {
            namespace: namespace.clone(),
            info: info.cloned(),
        };
        state.networks.insert(owner.clone(), network);
        Ok((namespace, place))
    }

    /// Bridge and table, made if this process has not made them yet.
    fn kernel<'a>(&self, state: &'a mut State) -> Result<&'a mut Kernel, Refusal> {
        let kernel = match state.kernel.take() {
            Some(kernel) => kernel,
            None => Kernel::new(&self.bridge, &state.addresses).map_err(|error| {
                Refusal::new(format!("this machine gives containers no network: {error}"))
            })?,
        };
        Ok(state.kernel.insert(kernel))
    }
}

/// `network/bridge`.
#[derive(Debug)]
pub(super) struct Bridge(pub(super) Rc<Books>);

impl Isolator for Bridge {
    fn name(&self) -> &'static str {
        "network/bridge"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let Some((owner, info)) = self.0.wanted(wish) else {
            return Ok(());
        };
        let asked = info.and_then(|info| info.name.as_deref());
        if let Some(asked) = asked.filter(|asked| *asked != self.0.name) {
            return Err(Refusal::new(format!(
                "this agent has no network '{asked}', only '{}'",
                self.0.name
            )));
        }
        let (namespace, place) = self
            .0
            .join(wish.container_id, &owner, info, setup.rights.ids)?;
        setup.notes.push((NOTE, format!("{owner} {place}")));
        setup.network = Some(namespace);
        let name = match (&setup.hostname, setup.namespaces.uts) {
            (Some(name), _) => name.clone(),
            (None, true) => setup.hostname.insert(owner.to_string()).clone(),
            (None, false) => nesos_sys::machine::hostname().unwrap_or_default(),
        };
        if let Some(files) = &mut setup.file_system {
            files.network = Some(names(name, place.address));
        }
        let variable = match wish.spec.kind {
            ExecutorKind::Custom => ("LIBPROCESS_IP", "0.0.0.0".to_owned()),
            _ => ("MESOS_CONTAINER_IP", place.address.to_string()),
        };
        setup.environment.push((variable.0.to_owned(), variable.1));
        Ok(())
    }

    fn adopt(&self, container: &ContainerId, run: &Path) {
        let note = fs::read_to_string(run.join(NOTE)).unwrap_or_default();
        let Some((owner, place)) = note.split_once(' ') else {
            return;
        };
        match place.parse() {
            Ok(place) => {
                let mut state = self.0.state.borrow_mut();
                let owner = ContainerId::new(owner);
                state.addresses.adopt(&owner, place);
                state.members.insert(container.clone(), owner);
            }
            Err(error) => tracing::warn!("container {container}: its network: {error}"),
        }
    }

    fn adopted(&self) {
        let mut state = self.0.state.borrow_mut();
        let is_used = state.addresses.all().next().is_some();
        if is_used && let Err(error) = self.0.kernel(&mut state) {
            tracing::warn!("{error}");
        }
        if let Err(error) = kernel::sweep(&self.0.bridge, &state.addresses) {
            tracing::warn!("{error}");
        }
    }

    fn runs(&self, container: &ContainerId, helper: u32) {
        let mut state = self.0.state.borrow_mut();
        let Some(owner) = state.members.get(container).cloned() else {
            return;
        };
        if state.networks.contains_key(&owner) {
            return;
        }
        // Of an earlier agentd: others of the pod may come.
        if let Ok(namespace) = netns::of_process(helper) {
            let network = Network {
                namespace: Rc::new(namespace),
                info: None,
            };
            state.networks.insert(owner, network);
        }
    }

    fn release(&self, container: &ContainerId) {
        let mut state: RefMut<'_, State> = self.0.state.borrow_mut();
        let Some(owner) = state.members.remove(container) else {
            return;
        };
        if state.members.values().any(|other| *other == owner) {
            return;
        }
        state.networks.remove(&owner);
        let place = state.addresses.give_back(&owner);
        if let (Some(place), Some(kernel)) = (place, &mut state.kernel)
            && let Err(error) = kernel.disconnect(&place)
        {
            tracing::warn!("container {container}: {error}");
        }
    }
}

/// The network that is asked for by name; without a name it is the host's, as in Mesos.
pub(super) fn named(container: &v1::ContainerInfo) -> Option<&v1::NetworkInfo> {
    let mut infos = container.network_infos.iter();
    infos.find(|info| info.name.is_some())
}

fn mapping_shown(mapping: &Mapping) -> v1::NetworkInfoPortMapping {
    v1::NetworkInfoPortMapping {
        host_port: mapping.host.into(),
        container_port: mapping.container.into(),
        protocol: Some(if mapping.is_udp { "udp" } else { "tcp" }.into()),
    }
}

fn names(hostname: String, address: Ipv4Addr) -> Names {
    let read = |path| fs::read_to_string(path).ok();
    let lists = RESOLV_CONF.into_iter().filter_map(read);
    let servers = lists.into_iter().find(|text| reaches_out(text));
    Names {
        hosts: format!("127.0.0.1 localhost\n::1 localhost\n{address} {hostname}\n"),
        hostname: format!("{hostname}\n"),
        resolv_conf: servers.unwrap_or_default(),
    }
}

/// Whether a list has a name server that is not on the host's loopback.
fn reaches_out(list: &str) -> bool {
    let mut servers = list.lines().filter_map(|line| {
        let address = line.trim().strip_prefix("nameserver")?.trim();
        address.parse::<IpAddr>().ok()
    });
    servers.any(|address| !address.is_loopback())
}

#[cfg(test)]
mod tests;
