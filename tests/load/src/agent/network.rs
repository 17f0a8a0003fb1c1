//! A container with a network of its own, as agentd makes it, beside the least program that makes the same namespaces and a pair of
//! devices. On a "host" that is a network namespace of this program: the machine's own network is not touched.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use nesos_sys::netlink::{Netlink, Pair};
use nesos_sys::netns;
use nix::sched::{CloneFlags, unshare};

use super::container::{Place, WARM_UP, time};
use crate::table::{Row, quantile};

/// Containers that are not cleared away yet keep their devices' names.
const NAMES: usize = 60_000;

/// The rows; none where no network namespaces are allowed.
pub(super) fn run(programs: &Path, count: usize) -> Result<Vec<Row>> {
    let measured = std::thread::scope(|scope| scope.spawn(|| measure(programs, count)).join());
    match measured {
        Ok(Ok(rows)) => Ok(rows),
        Ok(Err(reason)) => {
            eprintln!("containers with networks are not measured: {reason:#}");
            Ok(Vec::new())
        }
        Err(_) => anyhow::bail!("the measurement of networks has failed"),
    }
}

fn measure(programs: &Path, count: usize) -> Result<Vec<Row>> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
    let mut netlink = Netlink::open()?;
    let gateway = Ipv4Addr::new(10, 87, 0, 1);
    let bridge = netlink.bridge("nesos0", gateway, 16)?;
    let place = Place::new(programs)?;
    let pair = |kind: char, number: usize| {
        let low = (number % NAMES + 2) as u16;
        let [high, low] = low.to_be_bytes();
        Pair {
            outer: format!("{kind}{number}"),
            bridge,
            gateway,
            address: Ipv4Addr::new(10, 87, high, low),
            prefix: 16,
        }
    };
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + count {
        let floor_ms =
            time(|| netns::within_bare(&mut netlink, &pair('f', number), || place.floor(number))?)?;
        let ours_ms = time(|| {
            let namespace = netns::connected(&mut netlink, &pair('c', number), None)?;
            place.container(number, Some(namespace.as_fd()))
        })?;
        if number >= WARM_UP {
            floor.push(floor_ms);
            ours.push(ours_ms);
        }
    }
    let [floor, ours] = [&mut floor, &mut ours].map(|all| quantile(all, 0.5));
    Ok(vec![
        Row::new(
            "floor with a network namespace and a pair of devices; p50",
            floor,
            "ms",
        ),
        Row::new("container with a network, start to reaped; p50", ours, "ms"),
        Row::new("container with a network to its floor", ours / floor, "x").target(1.5),
    ])
}
