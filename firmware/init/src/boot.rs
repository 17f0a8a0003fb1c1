//! The boot list and its functions. The order and meaning of results is `phase`'s; partitions are `data`'s, the
//! network is `network`'s.
//!
//! Called by `main`, once. Invariant: no phase waits without end: each has a limit, and what cannot be interrupted
//! touches only local disks.

use crate::board::{BOOT, Board, CLUSTER_TOML, Configuration};
use crate::cmdline::CommandLine;
use crate::phase::{Outcome, Phase, Sequence, Step};
use crate::{
    data, identity, journal, network, power_button, preset, root_disk, runtime, services, sntp,
    trial, watchdog,
};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use nesos_base::cluster_config::{ClusterConfig, DEFAULT_CLUSTER, MAX_FILE};
use nesos_sys::mount::{Mount, MsFlags, make_private, mount};
use nesos_sys::reboot::Ending;
use nesos_sys::{clock, memory, netlink, spawn};
use std::fs;
use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::rc::Rc;

type Run = fn(Rc<Board>) -> Pin<Box<dyn Future<Output = Outcome>>>;

const fn phase(name: &'static str, essential: bool, seconds: u64, run: Run) -> Phase<Run> {
    Phase {
        name,
        essential,
        limit: Duration::from_secs(seconds),
        run,
    }
}

/// What happens between the kernel and the daemons, in order.
const PHASES: &[Phase<Run>] = &[
    phase("devices", true, 5, |board| {
        Box::pin(async move { devices(&board) })
    }),
    phase("options", false, 5, |board| {
        Box::pin(async move { options(&board) })
    }),
    phase("watchdog", false, 5, |board| {
        Box::pin(async move { watchdog::start(&board) })
    }),
    phase("mounts", true, 5, |_| Box::pin(async move { mounts() })),
    phase("clock", false, 5, |_| Box::pin(async move { wall_clock() })),
    phase("disk", false, 10, |board| Box::pin(root_disk::find(board))),
    phase("boot", false, 5, |board| {
        Box::pin(async move { boot_partition(&board) })
    }),
    phase("slots", false, 10, |board| {
        Box::pin(async move { trial::find(&board) })
    }),
    phase("config", false, 5, |board| {
        Box::pin(async move { configuration(&board) })
    }),
    phase("preset", false, 5, |board| {
        Box::pin(async move { preset::read(&board) })
    }),
    phase("identity", false, 8, |board| Box::pin(node_identity(board))),
    phase("links", false, 5, |board| {
        Box::pin(async move { network::start(board) })
    }),
    phase("journal", false, 5, |board| {
        Box::pin(async move { journal::start(board) })
    }),
    phase("data", false, 60, |board| Box::pin(data::prepare(board))),
    phase("time", false, 5, |_| {
        Box::pin(async move { sntp::restore() })
    }),
    phase("network", false, 10, |board| {
        Box::pin(network::configured(board))
    }),
    phase("daemons", false, 5, |board| {
        Box::pin(async move { services::start(board) })
    }),
];

/// How long a message on the console stays before a board that cannot boot tries again.
const GIVE_UP_PAUSE: Duration = Duration::from_secs(10);

/// How long after the boot its code is given back: the daemons have been started by then, and their first deaths seen.
const SETTLE: Duration = Duration::from_secs(10);

/// Boots the board.
pub(crate) async fn run(board: Rc<Board>) {
    let mut sequence = Sequence::new(PHASES);
    loop {
        match sequence.step() {
            Step::Run(phase) => {
                let started = Instant::now();
                let outcome = with_timeout(phase.limit, (phase.run)(board.clone()))
                    .await
                    .unwrap_or(Outcome::TimedOut);
                if matches!(outcome, Outcome::Failed(_)) && board.failed_phase.get().is_none() {
                    board.failed_phase.set(Some(phase.name));
                }
                let line = sequence.ended(&outcome, started, Instant::now());
                board.say_line(&line);
            }
            Step::Finished => break,
            Step::GiveUp(name) => {
                board.say(
                    "boot",
                    &format!("cannot go on without '{name}': restart in 10 s"),
                );
                Timer::after(GIVE_UP_PAUSE).await;
                if trial::is_open(&board) {
                    return trial::fail(&board, &format!("the boot's phase '{name}' failed"));
                }
                return board.end(Ending::Restart, "restart, since the boot failed");
            }
        }
    }
    board.booted.set(true);
    power_button::start(&board);
    runtime::spawn(sntp::keep(board.clone()));
    let (name, id) = (
        board.host_name.borrow().clone(),
        board.node_id.borrow().clone(),
    );
    board.say("ready", &format!("{name} (node id {id})"));
    if trial::is_open(&board) {
        runtime::spawn(trial::watch(board.clone()));
    }
    Timer::after(SETTLE).await;
    // PID 1 is to be small for the years after the boot; if the kernel refuses it is merely larger.
    let _ = memory::release_code();
}

fn devices(board: &Board) -> Outcome {
    let (nosuid, noexec) = (MsFlags::MS_NOSUID, MsFlags::MS_NOEXEC);
    // /proc first: it tells what is mounted already.
    let first = [
        Mount {
            source: "proc",
            target: "/proc",
            fstype: "proc",
            flags: nosuid | noexec | MsFlags::MS_NODEV,
            options: "",
        },
        Mount {
            source: "dev",
            target: "/dev",
            fstype: "devtmpfs",
            flags: nosuid,
            options: "mode=0755",
        },
    ];
    let errors = mount_all(&first);
    board.reopen_console();
    match errors.is_empty() {
        true => Outcome::Done(String::new()),
        false => Outcome::Failed(errors.join("; ")),
    }
}

fn mounts() -> Outcome {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    let shared = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let entry = |source, target, fstype, flags, options| Mount {
        source,
        target,
        fstype,
        flags,
        options,
    };
    let errors = mount_all(&[
        entry("sysfs", "/sys", "sysfs", safe, ""),
        entry("run", "/run", "tmpfs", shared, "mode=0755,size=16m"),
    ]);
    if !errors.is_empty() {
        return Outcome::Failed(errors.join("; "));
    }
    let errors = mount_all(&[
        entry(
            "devpts",
            "/dev/pts",
            "devpts",
            MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
            "mode=0620,ptmxmode=0666",
        ),
        entry("shm", "/dev/shm", "tmpfs", shared, "mode=1777"),
        entry("tmp", "/tmp", "tmpfs", shared, "mode=1777,size=25%"),
        entry("cgroup", "/sys/fs/cgroup", "cgroup2", safe, "nsdelegate"),
    ]);
    // A board whose PID 1 crashes restarts even if the command line forgot `panic=`.
    write_setting("/proc/sys/kernel/panic", "10");
    // The default of 10 would stop a daemon after ten log records that init has not read yet.
    write_setting("/proc/sys/net/unix/max_dgram_qlen", "512");
    let problems = [
        make_private("/").err().map(|e| e.to_string()),
        spawn::set_own_oom_score(-1000)
            .err()
            .map(|e| format!("out-of-memory score: {e}")),
        enable_controllers(),
        fs::create_dir_all("/run/nesos")
            .err()
            .map(|e| format!("create /run/nesos: {e}")),
    ];
    let problems: Vec<String> = errors
        .into_iter()
        .chain(problems.into_iter().flatten())
        .collect();
    match problems.is_empty() {
        true => Outcome::Done(String::new()),
        false => Outcome::Degraded(problems.join("; ")),
    }
}

/// Mounts all it can; returns what went wrong.
fn mount_all(mounts: &[Mount<'_>]) -> Vec<String> {
    mounts
        .iter()
        .filter_map(|m| mount(m).err())
        .map(|e| e.to_string())
        .collect()
}

/// Hands the controllers that tasks need to the children of the root cgroup; returns which are missing.
fn enable_controllers() -> Option<String> {
    let enable = |name: &&str| {
        fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{name}")).is_err()
    };
    let missing: Vec<&str> = ["cpu", "memory", "pids", "io"]
        .into_iter()
        .filter(enable)
        .collect();
    (!missing.is_empty())
        .then(|| format!("the kernel lacks cgroup controllers: {}", missing.join(" ")))
}

/// Settings that a kernel may lack: their absence is not worth a line.
fn write_setting(path: &str, value: &str) {
    let _ = fs::write(path, value);
}

fn options(board: &Board) -> Outcome {
    let text = match fs::read_to_string("/proc/cmdline") {
        Ok(text) => text,
        Err(error) => return Outcome::Failed(format!("read /proc/cmdline: {error}")),
    };
    let line = CommandLine::parse(&text);
    let unknown = line.unknown.join(" ");
    *board.command_line.borrow_mut() = line;
    match unknown.is_empty() {
        true => Outcome::Done(String::new()),
        false => Outcome::Degraded(format!("not understood: {unknown}")),
    }
}

fn wall_clock() -> Outcome {
    let (now, floor) = (clock::wall_seconds(), sntp::build_time());
    let (best, source) = match clock::rtc_seconds() {
        Some(rtc) if rtc >= floor => (rtc.max(now), "real-time clock"),
        _ if now >= floor => (now, "kernel"),
        _ => (floor, "build time, no real-time clock"),
    };
    if best > now
        && let Err(errno) = clock::set_wall_seconds(best)
    {
        return Outcome::Failed(format!("set the clock: {errno}"));
    }
    Outcome::Done(format!("{best} from {source}"))
}

fn boot_partition(board: &Board) -> Outcome {
    let Some(disk) = board.disk.borrow().clone() else {
        return Outcome::Degraded("no disk".to_owned());
    };
    let Some(device) = root_disk::partition(&disk, 1) else {
        return Outcome::Degraded(format!("{} has no partition 1", disk.display()));
    };
    let device = device.to_string_lossy().into_owned();
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(&Mount {
        source: &device,
        target: BOOT,
        fstype: "vfat",
        flags,
        options: "",
    }) {
        Ok(()) => Outcome::Done(device),
        Err(error) => Outcome::Degraded(format!("{error}; going on with defaults")),
    }
}

fn configuration(board: &Board) -> Outcome {
    let (configuration, outcome) = match read_limited(CLUSTER_TOML) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (
            Configuration::Absent,
            Outcome::Done("no cluster.toml: defaults".to_owned()),
        ),
        Err(e) => (
            Configuration::Refused,
            Outcome::Degraded(format!("read {CLUSTER_TOML}: {e}")),
        ),
        Ok(bytes) => match ClusterConfig::parse(&bytes) {
            Ok(config) => {
                let words =
                    format!("cluster {}, role {:?}", config.cluster, config.role).to_lowercase();
                (Configuration::Read(Box::new(config)), Outcome::Done(words))
            }
            Err(e) => (
                Configuration::Refused,
                Outcome::Degraded(format!(
                    "{e}. The board stays up with defaults and joins no cluster until the file is corrected"
                )),
            ),
        },
    };
    *board.configuration.borrow_mut() = configuration;
    outcome
}

/// Reads one byte more than is allowed at most, so that a file that is too large is seen as such.
fn read_limited(path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(MAX_FILE as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn node_identity(board: Rc<Board>) -> Outcome {
    let serial = fs::read_to_string("/proc/device-tree/serial-number").ok();
    let mut id = identity::node_id(serial.as_deref(), None);
    let deadline = Instant::now() + Duration::from_secs(5);
    while id.is_none() && Instant::now() < deadline {
        // USB ethernet takes a moment to appear.
        id = identity::node_id(None, netlink::ethernet_links().first().map(|link| link.mac));
        if id.is_none() {
            Timer::after(Duration::from_millis(50)).await;
        }
    }
    let mut config = match &*board.configuration.borrow() {
        Configuration::Read(config) => (**config).clone(),
        _ => ClusterConfig {
            cluster: DEFAULT_CLUSTER.to_owned(),
            ..ClusterConfig::default()
        },
    };
    config.name = config.name.or(board.preset.borrow().host_name.clone());
    let Some(id) = id else {
        let host_name =
            identity::host_name(&config.cluster, config.name.as_deref().unwrap_or("unnamed"));
        write_setting("/proc/sys/kernel/hostname", &host_name);
        *board.host_name.borrow_mut() = host_name;
        return Outcome::Degraded(
            "no serial number and no ethernet address to derive the node id from".to_owned(),
        );
    };
    let node = config.name.unwrap_or_else(|| identity::default_name(&id));
    let host_name = identity::host_name(&config.cluster, &node);
    *board.node_id.borrow_mut() = id.clone();
    *board.host_name.borrow_mut() = host_name.clone();
    let written = [
        fs::write("/proc/sys/kernel/hostname", &host_name),
        fs::write("/run/nesos/node-id", format!("{id}\n")),
        fs::write("/run/nesos/node-name", format!("{node}\n")),
    ];
    match written.into_iter().find_map(Result::err) {
        None => Outcome::Done(format!("{host_name}, node id {id}")),
        Some(error) => {
            Outcome::Degraded(format!("{host_name}, node id {id}; not written: {error}"))
        }
    }
}

/// Lets other tasks run; for long work in small pieces.
pub(crate) async fn breathe() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_names_fit_their_column_and_are_distinct() {
        let names: std::collections::BTreeSet<&str> = PHASES.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PHASES.len());
        assert!(names.iter().all(|name| name.len() <= 10));
    }
}
