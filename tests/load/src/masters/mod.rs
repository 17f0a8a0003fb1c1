//! Three masters on loopback: what a durable commit costs, how long nobody takes writes after the leader's end, and what they do
//! while nothing happens; on networks of their own: how long when the leader's cable is pulled (`cuts`). Beside it, in the same
//! minutes, etcd and ZooKeeper, if they are there.
//!
//! Called by `main`. A write is an operator's UPDATE_WEIGHTS of a role with a name of 200 bytes: one entry of the log, answered
//! when it is agreed on. etcd gets values of 256 bytes through its HTTP gateway.

mod client;
mod cuts;
mod etcd;
mod group;
mod placements;
mod writes;
mod zookeeper;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::table::{self, Row, quantile};
use client::{Blow, Connection, Service};
use group::Group;
use writes::{CLIENTS, WRITES, crowd, serial};

/// Leaders that are killed, and that stand still.
const BLOWS: usize = 20;
/// Leaders that hand over.
const HAND_OVERS: usize = 10;
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(10);
/// Until memory that was needed for a moment is given back.
const RELEASE: Duration = Duration::from_secs(15);
/// Longest time without anybody who takes writes that is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Durable writes, idleness and memory
    Writes,
    /// Hand-overs, leaders that are killed and that stand still
    Outages,
    /// Leaders whose cable is pulled, on networks of their own; needs `ip`, `unshare` and `nsenter`
    Cuts,
    /// Tasks placed on a thousand stand-in agents
    Placements,
    /// What etcd does beside them
    Etcd,
    /// What ZooKeeper does beside them
    Zookeeper,
}

/// Leaders of ZooKeeper that each blow befalls: its followers wait 10 s for one that says nothing.
const FEW: usize = 5;

/// Measures all of it, or one part.
pub(crate) async fn run(programs: &Path, only: Option<Part>) -> Result<()> {
    let is_wanted = |part| only.is_none_or(|only| only == part);
    let mut rows = Vec::new();
    if is_wanted(Part::Writes) || is_wanted(Part::Outages) {
        let mut group = Group::start(programs).await?;
        let one = is_wanted(Part::Writes).then(|| alone(&group)).transpose()?;
        group.grow()?;
        if let Some((floor, alone)) = one {
            rows.extend(alone);
            rows.extend(writes(&group, floor)?);
        }
        if is_wanted(Part::Outages) {
            rows.extend(outages(&mut group)?);
        }
    }
    // In namespaces of its own, by this very program.
    let is_inside = is_wanted(Part::Cuts) && cuts::is_inside(programs);
    if is_inside {
        rows.extend(cuts::run(programs).await?);
    }
    if is_wanted(Part::Placements) {
        rows.extend(placements::run(programs).await?);
    }
    if is_wanted(Part::Etcd) {
        match etcd::Group::start() {
            Ok(Some(etcd)) => rows.extend(beside("etcd", etcd, BLOWS)?),
            Ok(None) => eprintln!("... no etcd on this machine (Debian's etcd-server)"),
            Err(error) => eprintln!("... etcd does not run: {error:#}"),
        }
    }
    if is_wanted(Part::Zookeeper) {
        match zookeeper::Group::start_on(Vec::new()) {
            Ok(Some(zookeeper)) => rows.extend(beside("ZooKeeper", zookeeper, FEW)?),
            Ok(None) => eprintln!("... no ZooKeeper on this machine (scripts/setup --bench)"),
            Err(error) => eprintln!("... ZooKeeper does not run: {error:#}"),
        }
    }
    if !rows.is_empty() {
        table::print(&rows);
    }
    Ok(())
}

/// What one master does, and before it what a write cannot do without: a flush and a round trip, ms.
fn alone(group: &Group) -> Result<(f64, [Row; 3])> {
    let flush = flush(&group.folder())?;
    let round_trip = round_trip()?;
    let mut writes = serial(group)?;
    let rows = [
        Row::new("append of 4 KB to a file and its flush, p50", flush, "ms"),
        Row::new("round trip of 256 bytes on loopback, p50", round_trip, "ms"),
        Row::new(
            "one master: durable write, 1 client, p50",
            quantile(&mut writes, 0.5),
            "ms",
        ),
    ];
    Ok((flush + round_trip, rows))
}

/// What three masters do while they are written to, and while they are not.
fn writes(group: &Group, floor: f64) -> Result<Vec<Row>> {
    let mut rows = writes::alone(group, floor)?;
    group.settle()?;
    rows.extend(idle(group)?);
    rows.extend(writes::at_once(group)?);
    let at_once = crowd(group)?;
    let name = format!("writes per second of {CLIENTS} clients");
    rows.push(Row::new(name, at_once, "/s"));
    group.settle()?;
    rows.push(Row::new(
        "  resident afterwards, most",
        group.resident()?,
        "MB",
    ));
    std::thread::sleep(RELEASE);
    let name = format!("  the same {} s later", RELEASE.as_secs());
    rows.push(Row::new(name, group.resident()?, "MB"));
    Ok(rows)
}

/// How long nobody takes writes.
fn outages(group: &mut Group) -> Result<Vec<Row>> {
    let mut outages = Vec::new();
    for _ in 0..HAND_OVERS {
        outages.push(group.hand_over()?);
    }
    let name = "hand-over, asked to the next accepted write, p50";
    let mut rows = vec![Row::new(name, quantile(&mut outages, 0.5), "ms").target(15.0)];
    rows.extend(befallen(group, Blow::Kill, [60.0, 250.0])?);
    rows.extend(befallen(group, Blow::Stop, [450.0, 800.0])?);
    Ok(rows)
}

/// What others do; each blow befalls so many of their leaders.
fn beside(whose: &str, mut service: impl Service, count: usize) -> Result<Vec<Row>> {
    let mut writes = serial(&service)?;
    let at_once = crowd(&service)?;
    let name = format!("{whose}, three members: durable write, 1 client, p50");
    let mut rows = vec![
        Row::new(name, quantile(&mut writes, 0.5), "ms"),
        Row::new("  p99", quantile(&mut writes, 0.99), "ms"),
        Row::new(
            format!("  writes per second of {CLIENTS} clients"),
            at_once,
            "/s",
        ),
    ];
    for (blow, what) in [(Blow::Kill, "killed"), (Blow::Stop, "silent")] {
        let mut times = without_leaders(&mut service, blow, count)?;
        let name = format!("  leader {what} to the next accepted write, p50");
        rows.push(Row::new(name, quantile(&mut times, 0.5), "ms"));
    }
    Ok(rows)
}

/// How long nobody takes writes when it befalls leaders; the promises are for the median and the most.
fn befallen(group: &mut Group, blow: Blow, promises: [f64; 2]) -> Result<[Row; 2]> {
    let mut times = without_leaders(group, blow, BLOWS)?;
    let what = match blow {
        Blow::Kill => "killed",
        Blow::Stop => "silent",
        Blow::Cut => "cut off",
    };
    let name = format!("leader {what} to the next accepted write, p50");
    Ok([
        Row::new(name, quantile(&mut times, 0.5), "ms").target(promises[0]),
        Row::new(
            format!("  most of {BLOWS}"),
            quantile(&mut times, 1.0),
            "ms",
        )
        .target(promises[1]),
    ])
}

/// Median time of an append with its flush where the masters' logs are, ms.
fn flush(folder: &Path) -> Result<f64> {
    let path = folder.join("flush");
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).open(&path);
    let file = file.context("the file to flush")?;
    file.write_all_at(&vec![0; WRITES * 4096], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for number in 0..WRITES {
        let begin = Instant::now();
        file.write_all_at(&[1; 4096], (number * 4096) as u64)?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(quantile(&mut times, 0.5))
}

/// Median time of a few bytes' way to another thread and back, ms.
fn round_trip() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while far.read_exact(&mut bytes).is_ok() && far.write_all(&bytes).is_ok() {}
    });
    let mut times = Vec::new();
    let mut bytes = [1; 256];
    for _ in 0..WRITES {
        let begin = Instant::now();
        near.write_all(&bytes)?;
        near.read_exact(&mut bytes)?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    drop(near);
    ensure!(echo.join().is_ok(), "the echo has ended badly");
    Ok(quantile(&mut times, 0.5))
}

/// How long nobody takes writes when it befalls the leader, again and again, ms.
fn without_leaders(service: &mut impl Service, blow: Blow, count: usize) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for number in 0..count {
        let struck = service.strike(blow)?;
        let begin = Instant::now();
        while !anybody(service, number) {
            ensure!(begin.elapsed() < LIMIT, "nobody takes writes");
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        service.mend(blow, struck)?;
    }
    Ok(times)
}

/// Whether any living member takes a write.
fn anybody(service: &impl Service, number: usize) -> bool {
    let mut living = service.living().into_iter();
    living.any(|address| {
        let connection = Connection::impatient(address);
        connection
            .is_ok_and(|mut connection| service.write(&mut connection, number).unwrap_or(false))
    })
}

/// What the masters do while nothing happens.
fn idle(group: &Group) -> Result<Vec<Row>> {
    let before = group.doings()?;
    std::thread::sleep(IDLE);
    let after = group.doings()?;
    let seconds = IDLE.as_secs_f64();
    let mut rows = Vec::new();
    let (mut follower, mut written, mut resident) = (0.0_f64, 0.0, 0.0_f64);
    for (before, after) in before.iter().zip(&after) {
        let wakeups = (after.wakeups - before.wakeups) / seconds;
        match after.leads {
            true => {
                rows.push(Row::new("idle: leader, wake-ups per second", wakeups, "/s").target(30.0))
            }
            false => follower = follower.max(wakeups),
        }
        written += after.written - before.written;
        resident = resident.max(after.resident);
    }
    rows.push(Row::new("idle: follower, wake-ups per second, most", follower, "/s").target(12.0));
    rows.push(Row::new("idle: bytes written by all", written, "B").target(0.0));
    rows.push(Row::new("idle: resident, most", resident, "MB").target(6.0));
    Ok(rows)
}
