//! The addresses and ports of containers that have a network of their own: a private subnet of this agent, and who has what.
//!
//! Pure; the shell makes devices of it. Called by the isolator of networks. Invariants: an address, and a port of the host, is
//! one container's at a time; an address that was given back rests as long as others are free, since somebody may still speak
//! to who had it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use nesos_wire::ContainerId;

/// Most mappings of one container: more is a range, which nobody needs to map one by one.
pub const MAX_MAPPINGS: usize = 64;
/// Most mappings of all containers: they are told to the kernel in one message.
pub const MAX_ALL_MAPPINGS: usize = 1024;
/// Lengths of prefixes that a subnet may have: a bridge has room for some thousand ends, and one container needs four
/// addresses.
const PREFIXES: std::ops::RangeInclusive<u8> = 20..=29;

/// Why there is no such thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not a subnet.
    #[error("'{0}' is no subnet such as 10.87.0.0/24 with a prefix of 20 to 29 bits")]
    Subnet(String),
    /// Not a mapping.
    #[error("'{0}' is no mapping such as tcp:31000:80")]
    Mapping(String),
    /// All are given.
    #[error("all {0} addresses of the agent's network are in use")]
    NoAddress(u32),
    /// Another container has it.
    #[error("port {0} of the host is mapped to another container")]
    PortTaken(Mapping),
    /// The same port twice.
    #[error("port {0} of the host is mapped twice")]
    PortTwice(Mapping),
    /// More than there may be.
    #[error("{asked} port mappings are asked for, {left} are possible")]
    TooMany {
        /// How many.
        asked: usize,
        /// How many more there may be.
        left: usize,
    },
}

/// A private subnet. The first address is the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// Its first address, which is nobody's.
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// Bits that all addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The host's own address in it.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + 1)
    }

    /// Whether the address belongs to it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == u32::from(self.first)
    }

    /// How many containers it has addresses for.
    pub fn capacity(self) -> u32 {
        self.end() - self.begin()
    }

    /// The first address of containers, as a number.
    fn begin(self) -> u32 {
        u32::from(self.first) + 2
    }

    /// The number behind the last: that of the broadcast.
    fn end(self) -> u32 {
        u32::from(self.first) | !mask(self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let fail = || NetworkError::Subnet(text.into());
        let (first, prefix) = text.split_once('/').ok_or_else(fail)?;
        let first: Ipv4Addr = first.parse().map_err(|_| fail())?;
        let prefix = prefix.parse().map_err(|_| fail())?;
        let subnet = Self { first, prefix };
        (PREFIXES.contains(&prefix) && subnet.contains(first))
            .then_some(subnet)
            .ok_or_else(fail)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// A port of the host that leads to one of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// Else it is TCP.
    pub is_udp: bool,
    /// The host's.
    pub host: u16,
    /// The container's.
    pub container: u16,
}

impl Mapping {
    fn is_of_same_port(&self, other: &Self) -> bool {
        (self.is_udp, self.host) == (other.is_udp, other.host)
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.is_udp { "udp" } else { "tcp" };
        write!(f, "{protocol}:{}:{}", self.host, self.container)
    }
}

impl FromStr for Mapping {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let fail = || NetworkError::Mapping(text.into());
        let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or_else(fail);
        let mut parts = text.split(':');
        let (Some(protocol), Some(host), Some(container), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(fail());
        };
        let is_udp = match protocol {
            "udp" => true,
            "tcp" => false,
            _ => return Err(fail()),
        };
        Ok(Self {
            is_udp,
            host: port(host)?,
            container: port(container)?,
        })
    }
}

/// What one container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its own.
    pub address: Ipv4Addr,
    /// What leads to it.
    pub mappings: Vec<Mapping>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        let mut mappings = self.mappings.iter();
        mappings.try_for_each(|mapping| write!(f, " {mapping}"))
    }
}

impl FromStr for Place {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let mut words = text.split_ascii_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        Ok(Self {
            address: address.ok_or_else(|| NetworkError::Subnet(text.into()))?,
            mappings: words.map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}

/// Who has what.
#[derive(Debug, Clone)]
pub struct Addresses {
    subnet: Subnet,
    held: BTreeMap<ContainerId, Place>,
    /// The number that was given last; of those that were adopted the highest.
    last: Option<u32>,
}

impl Addresses {
    /// All are free.
    pub fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            held: BTreeMap::new(),
            last: None,
        }
    }

    /// The subnet that they are of.
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// What the container has.
    pub fn of(&self, container: &ContainerId) -> Option<&Place> {
        self.held.get(container)
    }

    /// All places that are taken.
    pub fn all(&self) -> impl Iterator<Item = &Place> {
        self.held.values()
    }

    /// An address, and these ports, for a container that has none yet.
    pub fn give(
        &mut self,
        container: &ContainerId,
        mappings: Vec<Mapping>,
    ) -> Result<&Place, NetworkError> {
        self.check(&mappings)?;
        let address = self.free()?;
        self.last = Some(u32::from(address));
        self.give_back(container);
        let place = Place { address, mappings };
        Ok(self.held.entry(container.clone()).or_insert(place))
    }

    /// What the container of an earlier agentd has, whatever it is.
    pub fn adopt(&mut self, container: &ContainerId, place: Place) {
        self.last = self.last.max(Some(u32::from(place.address)));
        self.held.insert(container.clone(), place);
    }

    /// Takes all of it back.
    pub fn give_back(&mut self, container: &ContainerId) -> Option<Place> {
        self.held.remove(container)
    }

    fn check(&self, mappings: &[Mapping]) -> Result<(), NetworkError> {
        let all = self.held.values().map(|place| place.mappings.len()).sum();
        let left = MAX_ALL_MAPPINGS.saturating_sub(all).min(MAX_MAPPINGS);
        let asked = mappings.len();
        if asked > left {
            return Err(NetworkError::TooMany { asked, left });
        }
        for (index, mapping) in mappings.iter().enumerate() {
            let is_same = |other: &Mapping| mapping.is_of_same_port(other);
            if mappings[..index].iter().any(is_same) {
                return Err(NetworkError::PortTwice(*mapping));
            }
            let mut taken = self.held.values().flat_map(|place| &place.mappings);
            if taken.any(is_same) {
                return Err(NetworkError::PortTaken(*mapping));
            }
        }
        Ok(())
    }

    /// The next one behind the last that was given, around the end.
    fn free(&self) -> Result<Ipv4Addr, NetworkError> {
        let (begin, end) = (self.subnet.begin(), self.subnet.end());
        let next = self.last.map_or(begin, |last| (last + 1).clamp(begin, end));
        let mut candidates = (next..end).chain(begin..next).map(Ipv4Addr::from);
        let is_free =
            |address: &Ipv4Addr| self.held.values().all(|place| place.address != *address);
        candidates
            .find(is_free)
            .ok_or(NetworkError::NoAddress(self.subnet.capacity()))
    }
}

fn mask(prefix: u8) -> u32 {
    !u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn books(subnet: &str) -> Addresses {
        Addresses::new(subnet.parse().unwrap())
    }

    fn mapping(text: &str) -> Mapping {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_read_and_bounded() {
        let subnet: Subnet = "10.87.0.0/24".parse().unwrap();
        assert_eq!(subnet.to_string(), "10.87.0.0/24");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 87, 0, 1));
        assert_eq!(subnet.capacity(), 253);
        assert!(subnet.contains(Ipv4Addr::new(10, 87, 0, 255)));
        assert!(!subnet.contains(Ipv4Addr::new(10, 87, 1, 0)));
        for wrong in [
            "",
            "10.87.0.0",
            "10.87.0.1/24",
            "10.87.0.0/30",
            "10.0.0.0/8",
            "x/24",
        ] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_rests_before_it_is_given_again() {
        let mut books = books("10.0.0.0/29");
        let id = |n: u32| ContainerId::new(format!("c{n}"));
        let mut give = |n: u32| {
            books
                .give(&id(n), Vec::new())
                .map(|place| place.address.octets()[3])
        };
        let given: Vec<u8> = (2..7).map(|n| give(n).unwrap()).collect();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        assert_eq!(give(8), Err(NetworkError::NoAddress(5)));
        for n in [5, 3] {
            books.give_back(&id(n));
        }
        assert_eq!(
            books.give(&id(8), Vec::new()).unwrap().address.octets()[3],
            3
        );
        assert_eq!(
            books.give(&id(9), Vec::new()).unwrap().address.octets()[3],
            5
        );
    }

    #[test]
    fn a_port_is_one_containers() {
        let mut books = books("10.0.0.0/24");
        let [a, b] = ["a", "b"].map(ContainerId::new);
        let (tcp, udp) = (mapping("tcp:31000:80"), mapping("udp:31000:53"));
        books.give(&a, vec![tcp]).unwrap();
        let taken = books.give(&b, vec![tcp]).unwrap_err();
        assert_eq!(
            taken.to_string(),
            "port tcp:31000:80 of the host is mapped to another container"
        );
        assert_eq!(
            books.give(&b, vec![udp, udp]).unwrap_err(),
            NetworkError::PortTwice(udp)
        );
        books.give(&b, vec![udp]).unwrap();
        assert_eq!(books.give_back(&a).unwrap().mappings, [tcp]);
        books.give(&a, vec![tcp]).unwrap();
        let many = (1..=65).map(|port| Mapping { host: port, ..tcp });
        let error = books.give(&b, many.collect()).unwrap_err();
        assert_eq!(
            error,
            NetworkError::TooMany {
                asked: 65,
                left: 64
            }
        );
    }

    #[test]
    fn places_are_written_and_read() {
        let text = "10.87.0.2 tcp:31000:80 udp:1:2";
        let place: Place = text.parse().unwrap();
        assert_eq!(place.to_string(), text);
        for wrong in [
            "",
            "x",
            "10.0.0.1 tcp:0:1",
            "10.0.0.1 sctp:1:1",
            "10.0.0.1 tcp:1:2:3",
        ] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
        let mut books = books("10.87.0.0/24");
        books.adopt(&ContainerId::new("old"), place);
        let next = books.give(&ContainerId::new("new"), Vec::new()).unwrap();
        assert_eq!(next.address, Ipv4Addr::new(10, 87, 0, 3));
    }

    proptest! {
        #[test]
        fn nobody_shares_an_address(steps in prop::collection::vec((0u8..12, any::<bool>()), 0..80)) {
            let mut books = books("10.0.0.0/29");
            for (name, gives) in steps {
                let id = ContainerId::new(format!("c{name}"));
                match gives {
                    true if books.of(&id).is_none() => drop(books.give(&id, Vec::new()).map(drop)),
                    true => {}
                    false => drop(books.give_back(&id)),
                }
                let mut all: Vec<Ipv4Addr> = books.all().map(|place| place.address).collect();
                prop_assert!(all.iter().all(|address| (2..7).contains(&address.octets()[3])));
                let count = all.len();
                all.sort();
                all.dedup();
                prop_assert_eq!(all.len(), count);
            }
        }

        #[test]
        fn any_text_is_survived(text in ".{0,40}") {
            drop((text.parse::<Subnet>(), text.parse::<Place>(), text.parse::<Mapping>()));
        }
    }
}
