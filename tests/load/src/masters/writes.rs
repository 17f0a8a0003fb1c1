//! Durable writes: one after the other, by many clients, a thousand at once; and what of that reaches the leader's disk.
//!
//! Called by the parent module. Bytes are `write_bytes` of /proc/PID/io: 4096 for each page of a file that becomes dirty, so a
//! page counts again each time it is written after a flush, and a record that lies on two pages counts twice. The log's next
//! segments, made of zeros, and the savings of the registry are in it; the file system's own journal is not. Flushes are the
//! log's, as the leader counts them itself.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::client::{Connection, Service};
use super::group::{Group, request};
use crate::table::{Row, quantile};

/// Writes, one after the other.
pub(super) const WRITES: usize = 500;
/// Clients that write at the same time, and how long.
pub(super) const CLIENTS: usize = 400;
const CROWD: Duration = Duration::from_secs(5);
/// Writes that come at once, on so many connections: masterd has 512 open at most.
const BURST: usize = 1000;
const CONNECTIONS: usize = 250;
/// How often: segments and savings come with some bursts and not with others.
const BURSTS: usize = 20;
/// Promised bytes of a commit that is alone, and of each of many.
const ALONE: f64 = 4500.0;
const AMONG_MANY: f64 = 500.0;
/// Promised: a commit that is alone takes at most so many times as long as a flush and a round trip.
const FLOORS: f64 = 2.0;

/// Times of writes, one after the other, ms.
pub(super) fn serial(service: &impl Service) -> Result<Vec<f64>> {
    let mut connection = Connection::to(service.leader()?)?;
    let mut times = Vec::new();
    for number in 0..WRITES {
        let begin = Instant::now();
        ensure!(
            service.write(&mut connection, number)?,
            "a write was refused"
        );
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Writes per second of many clients at the same time.
pub(super) fn crowd(service: &impl Service) -> Result<f64> {
    let leader = service.leader()?;
    let begin = Instant::now();
    let client = |first: usize| {
        let mut connection = Connection::to(leader)?;
        let mut count = 0;
        while begin.elapsed() < CROWD {
            let taken = service.write(&mut connection, first + count)?;
            ensure!(taken, "a write was refused");
            count += 1;
        }
        anyhow::Ok(count)
    };
    let client = &client;
    let writes = std::thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| scope.spawn(move || client(number * 1_000_000)))
            .collect();
        let ended = clients.into_iter().map(|client| match client.join() {
            Ok(count) => count,
            Err(_) => anyhow::bail!("a client ended"),
        });
        ended.sum::<Result<usize>>()
    })?;
    Ok(writes as f64 / begin.elapsed().as_secs_f64())
}

/// Three masters' rows for writes one after the other; `floor` is what they cannot do without, ms.
pub(super) fn alone(group: &Group, floor: f64) -> Result<Vec<Row>> {
    let before = Disk::of(group)?;
    let mut times = serial(group)?;
    let each = Disk::of(group)?.since(&before, WRITES);
    let name = "three masters: durable write, 1 client, p50";
    let median = quantile(&mut times, 0.5);
    Ok(vec![
        Row::new(name, median, "ms"),
        Row::new("  to one flush and one round trip", median / floor, "x").target(FLOORS),
        Row::new("  p99", quantile(&mut times, 0.99), "ms"),
        Row::new("  bytes written by the leader for each", each.bytes, "B").target(ALONE),
        Row::new("  flushes of the leader's log for each", each.flushes, "").target(1.0),
    ])
}

/// Three masters' rows for writes that come at once.
pub(super) fn at_once(group: &Group) -> Result<Vec<Row>> {
    let before = Disk::of(group)?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::to(group.leader()?)?);
    }
    for burst in 0..BURSTS {
        for number in 0..BURST {
            let (path, body) = request(burst * BURST + number);
            connections[number % CONNECTIONS].say("POST", path, &body)?;
        }
        for number in 0..BURST {
            let (status, text) = connections[number % CONNECTIONS].hear()?;
            ensure!(status == 200, "a write was refused: {text}");
        }
    }
    let each = Disk::of(group)?.since(&before, BURSTS * BURST);
    let name = format!("{BURST} writes at once: bytes written by the leader for each");
    Ok(vec![
        Row::new(name, each.bytes, "B").target(AMONG_MANY),
        Row::new(
            "  flushes of its log for all of them",
            each.flushes * BURST as f64,
            "",
        ),
    ])
}

/// What the leader's disk has been told until now, or for each write.
struct Disk {
    bytes: f64,
    flushes: f64,
}

impl Disk {
    fn of(group: &Group) -> Result<Self> {
        Ok(Self {
            bytes: group.leaders_doings()?.written,
            flushes: group.flushes()?,
        })
    }

    fn since(&self, before: &Self, writes: usize) -> Self {
        Self {
            bytes: (self.bytes - before.bytes) / writes as f64,
            flushes: (self.flushes - before.flushes) / writes as f64,
        }
    }
}
