//! Whether an offer has what an instance needs, and what of it the instance is to get.
//!
//! Not whether the agent suits it (`rules`). Called by `placing`. Invariant: what is taken is contained in what was free, and holds no
//! volume, nothing revocable and nothing shared.

use nesos_wire::resource::{Entry, Ranges, Resources, Scalar, Value};

use super::need::{Need, PortNeed};

/// What an instance gets.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Share {
    pub(super) resources: Resources,
    /// Host ports, in the order of the need.
    pub(super) ports: Vec<u16>,
    /// The last of these that nobody asked for by number; if there is none, what it was before.
    pub(super) last_port: u16,
}

/// Takes what is needed; `None`: there is not enough. Ports are looked for behind `last_port`, the one that was given out last, wherever:
/// so one that was given back is not given out again at once, and agents that share a host do not give the same one while others are free.
pub(super) fn take(need: &Need, free: &Resources, last_port: u16) -> Option<Share> {
    let mut free = free.clone();
    let mut share = Share {
        last_port,
        ..Share::default()
    };
    for (name, amount) in &need.scalars {
        take_scalar(need, name, *amount, &mut free, &mut share.resources)?;
    }
    share.ports = vec![0; need.ports.len()];
    // Fixed ones first, so that no other port takes theirs.
    let is_fixed = |port: &PortNeed| matches!(port, PortNeed::Fixed(_));
    for fixed in [true, false] {
        for (at, port) in need.ports.iter().enumerate() {
            if is_fixed(port) == fixed {
                let after = share.last_port;
                let number = take_port(need, *port, after, &mut free, &mut share.resources)?;
                share.ports[at] = number;
                if !fixed {
                    share.last_port = number;
                }
            }
        }
    }
    Some(share)
}

/// What may be used of a bag: what is reserved before what anybody may have.
fn usable<'a>(
    need: &'a Need,
    free: &'a Resources,
    name: &'a str,
) -> impl Iterator<Item = &'a Entry> {
    let suits = move |entry: &&Entry| {
        let terms = entry.terms();
        let is_wanted = match entry.owner() {
            Some(_) => need.takes_reserved,
            None => need.takes_unreserved,
        };
        entry.name() == name
            && is_wanted
            && terms.disk.is_none()
            && !terms.is_revocable
            && !terms.is_shared
    };
    let reserved = free
        .entries()
        .iter()
        .filter(|entry| entry.owner().is_some());
    let plain = free
        .entries()
        .iter()
        .filter(|entry| entry.owner().is_none());
    reserved.chain(plain).filter(suits)
}

fn take_scalar(
    need: &Need,
    name: &str,
    amount: Scalar,
    free: &mut Resources,
    taken: &mut Resources,
) -> Option<()> {
    let mut missing = amount.0;
    let mut pieces = Vec::new();
    for entry in usable(need, free, name) {
        let piece = entry.scalar().0.min(missing);
        if piece > 0 {
            missing -= piece;
            let value = Value::Scalar(Scalar(piece));
            pieces.push(Entry::new(name, entry.terms().clone(), value));
        }
    }
    if missing > 0 {
        return None;
    }
    move_over(pieces, free, taken);
    Some(())
}

fn take_port(
    need: &Need,
    port: PortNeed,
    after: u16,
    free: &mut Resources,
    taken: &mut Resources,
) -> Option<u16> {
    let ranges = usable(need, free, "ports").flat_map(|entry| match entry.value() {
        Value::Ranges(ranges) => ranges.iter().map(|range| (entry, range)).collect(),
        _ => Vec::new(),
    });
    let ranges: Vec<_> = ranges.collect();
    let (entry, number) = match port {
        PortNeed::Fixed(number) => {
            let number = u64::from(number);
            let held = ranges.iter().find(|(_, range)| range.contains(&number));
            (held?.0, number)
        }
        PortNeed::Any => {
            // The next one that is free, or else the first.
            let next = |from: u64| {
                let free = ranges.iter().filter(|(_, range)| *range.end() >= from);
                let free = free.map(|(entry, range)| (*entry, from.max(*range.start())));
                free.min_by_key(|(_, number)| *number)
            };
            next(u64::from(after) + 1).or_else(|| next(0))?
        }
    };
    let value = Value::Ranges(Ranges::new([number..=number]));
    let piece = Entry::new("ports", entry.terms().clone(), value);
    move_over(vec![piece], free, taken);
    u16::try_from(number).ok()
}

fn move_over(pieces: Vec<Entry>, free: &mut Resources, taken: &mut Resources) {
    let pieces = Resources::from(pieces);
    free.subtract(&pieces);
    taken.add(&pieces);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::resource::{Reservation, Terms};

    fn cpus(amount: f64, reserved: bool) -> Entry {
        let mut terms = Terms::default();
        if reserved {
            terms.reservations.push(Reservation::fixed("nesos"));
        }
        let amount = Scalar::from_f64(amount).unwrap();
        Entry::new("cpus", terms, Value::Scalar(amount))
    }

    fn ports(ranges: &[(u64, u64)]) -> Entry {
        let ranges = Ranges::from(ranges.to_vec());
        Entry::new("ports", Terms::default(), Value::Ranges(ranges))
    }

    fn need(amount: f64, ports: &[PortNeed]) -> Need {
        Need {
            scalars: vec![("cpus".into(), Scalar::from_f64(amount).unwrap())],
            ports: ports.to_vec(),
            takes_reserved: true,
            takes_unreserved: true,
            ..Need::default()
        }
    }

    #[test]
    fn what_is_reserved_is_used_first_and_the_rest_comes_from_what_is_not() {
        let free = Resources::from(vec![cpus(1.0, false), cpus(0.5, true)]);
        let share = take(&need(1.25, &[]), &free, 0).unwrap();
        let expected = Resources::from(vec![cpus(0.75, false), cpus(0.5, true)]);
        assert_eq!(share.resources, expected);
        let mut only_plain = need(1.25, &[]);
        only_plain.takes_reserved = false;
        assert_eq!(take(&only_plain, &free, 0), None);
        assert_eq!(take(&need(1.6, &[]), &free, 0), None);
    }

    #[test]
    fn ports_are_given_in_turn_whatever_is_taken_of_them() {
        let mut last = 0;
        let given: Vec<Vec<u16>> = [(31_000, 31_003), (31_001, 31_003), (31_000, 31_002)]
            .iter()
            .map(|range| {
                let free = Resources::from(vec![cpus(1.0, false), ports(&[*range])]);
                let share = take(&need(0.1, &[PortNeed::Any; 2]), &free, last).unwrap();
                last = share.last_port;
                share.ports
            })
            .collect();
        assert_eq!(
            given,
            [[31_000, 31_001], [31_002, 31_003], [31_000, 31_001]]
        );
    }

    #[test]
    fn fixed_ports_are_kept_for_who_needs_them_and_ports_differ() {
        let free = Resources::from(vec![cpus(1.0, false), ports(&[(80, 80), (31000, 31001)])]);
        let wanted = [PortNeed::Any, PortNeed::Fixed(80), PortNeed::Any];
        for last in [0, 31000, 31001, 32000] {
            let share = take(&need(0.1, &wanted), &free, last).unwrap();
            let mut given = share.ports.clone();
            assert_eq!(given[1], 80);
            given.sort_unstable();
            assert_eq!(given, [80, 31000, 31001]);
            assert!(free.contains(&share.resources));
        }
        let too_many = [PortNeed::Any; 4];
        assert_eq!(take(&need(0.1, &too_many), &free, 0), None);
        assert_eq!(take(&need(0.1, &[PortNeed::Fixed(81)]), &free, 0), None);
    }
}
