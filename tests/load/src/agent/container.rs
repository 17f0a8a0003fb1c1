//! One container from its start until it is reaped: as agentd does it with its helper, as the least program that makes the
//! same namespaces and cgroup would, and as `crun run` does it.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nesos_sys::cgroup::Cgroup;
use nesos_sys::container::fork_server::{ForkServer, Order};
use nesos_sys::container::{Namespaces, SpawnPlan, Spawned, spawn};
use nesos_sys::mount_table::MountTable;
use nesos_sys::reap::Exit;
use nesos_wire::executor::{ExecutorSpec, FromExecutor, Outcome, OutputLimits};
use nesos_wire::file_system::{FileSystem, Names};
use nesos_wire::frame;
use nesos_wire::rights::Rights;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tempfile::TempDir;

use super::crun::Crun;
use crate::table::{Row, quantile};

/// Of each kind before the measurement: page cache.
pub(super) const WARM_UP: usize = 5;
/// What every container runs.
pub(super) const PROGRAM: &str = "/bin/true";
/// What every task of many runs.
pub(super) const SLEEP: &str = "/bin/sleep";
/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// As agentd's flags have it.
const OUTPUT: OutputLimits = OutputLimits {
    stdout_bytes: 10 << 20,
    stderr_bytes: 10 << 20,
    files: 2,
};
/// `crun` is slow: one of its runs for so many of the others.
const CRUN_EVERY: usize = 4;

/// Where containers are made.
pub(super) struct Place {
    helpers: ForkServer,
    folder: TempDir,
    cgroups: Option<Cgroup>,
    /// Mount points of the machine's system.
    system: Vec<String>,
}

/// The rows of all kinds.
pub(super) fn run(programs: &Path, count: usize) -> Result<Vec<Row>> {
    if let Err(error) = one_hierarchy() {
        eprintln!("the cgroups stay as this machine has them: {error:#}");
    }
    let place = Place::new(programs)?;
    let crun = Crun::find(place.folder.path());
    let (mut floor, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..WARM_UP + count {
        let floor_ms = time(|| place.floor(number))?;
        let ours_ms = time(|| place.container(number, None))?;
        if number < WARM_UP {
            continue;
        }
        floor.push(floor_ms);
        ours.push(ours_ms);
        if let Ok(crun) = &crun
            && number % CRUN_EVERY == 0
        {
            theirs.push(time(|| crun.run(number))?);
        }
    }
    let [floor, ours] = [&mut floor, &mut ours].map(|all| quantile(all, 0.5));
    let groups = if place.cgroups.is_some() {
        "cgroup + "
    } else {
        ""
    };
    let mut rows = vec![
        Row::new(
            format!("floor: {groups}pid, mount, uts, ipc; p50"),
            floor,
            "ms",
        ),
        Row::new("container, start to reaped; p50", ours, "ms"),
        Row::new("container to floor", ours / floor, "x").target(1.5),
    ];
    match crun {
        Ok(_) => {
            let theirs = quantile(&mut theirs, 0.5);
            rows.push(Row::new("crun run; p50", theirs, "ms"));
            rows.push(Row::new("crun run to container", theirs / ours, "x").at_least(3.5));
        }
        Err(reason) => eprintln!("crun is not measured: {reason:#}"),
    }
    Ok(rows)
}

pub(super) fn time(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    work()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// In memory where there is such a place: what is measured is not a disk.
fn scratch() -> Result<TempDir> {
    let mut named = tempfile::Builder::new();
    let named = named.prefix("nesos-load-");
    Ok(named.tempdir_in("/dev/shm").or_else(|_| named.tempdir())?)
}

/// On hosts with both kinds of cgroups: a mount table of this process's own in which there is the second kind only, as on
/// boards. crun refuses a mixture.
fn one_hierarchy() -> Result<()> {
    let is_mixed = Path::new(CGROUPS).join("unified").exists();
    if !is_mixed {
        return Ok(());
    }
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
    mount(
        Some("cgroup2"),
        CGROUPS,
        Some("cgroup2"),
        MsFlags::empty(),
        none,
    )?;
    Ok(())
}

/// What agentd reads again only when it changes.
fn system_mounts() -> Result<Vec<String>> {
    let mut table = MountTable::open()?;
    let points = table.system()?.iter();
    Ok(points.map(|point| point.display().to_string()).collect())
}

/// A group of this process in the cgroup v2 tree, if there is one, with or without controllers.
fn own_group() -> Option<Cgroup> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    // The newest one: it may lie over others.
    let mut mounts = mounts.lines().rev().map(|line| line.split(' '));
    let root = mounts.find_map(|mut fields| {
        let place = fields.nth(1)?.to_owned();
        (fields.next() == Some("cgroup2")).then_some(place)
    })?;
    let group = Cgroup::at(root).child(&format!("nesos-load-{}", std::process::id()));
    group.create().ok().map(|()| group)
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(group) = &self.cgroups {
            // What is left is empty and shows.
            let _ = group.remove();
        }
    }
}

impl Place {
    pub(super) fn new(programs: &Path) -> Result<Self> {
        let helper = programs.join("nesos-executor").display().to_string();
        Ok(Self {
            helpers: ForkServer::start(&helper, "nesos-executor")?,
            folder: scratch()?,
            cgroups: own_group(),
            system: system_mounts()?,
        })
    }

    /// A new group, empty.
    fn group(&self, number: usize) -> Result<Option<Cgroup>> {
        let group = self
            .cgroups
            .as_ref()
            .map(|all| all.child(&format!("c{number}")));
        if let Some(group) = &group {
            group.create()?;
        }
        Ok(group)
    }

    /// clone3 with namespaces, into a cgroup, and exec.
    pub(super) fn floor(&self, number: usize) -> Result<()> {
        let (floor, group) = self.spawn(number, PROGRAM, &[PROGRAM])?;
        let exit = floor.pidfd.wait()?;
        ensure!(exit == Exit::Code(0), "{PROGRAM} ended with {exit:?}");
        Ok(group.map_or(Ok(()), |group| fs::remove_dir(group.path()))?)
    }

    /// The same with a program that stays.
    pub(super) fn begin(&self, number: usize) -> Result<(Spawned, Option<Cgroup>)> {
        self.spawn(number, SLEEP, &["sleep", "100000"])
    }

    fn spawn(
        &self,
        number: usize,
        program: &str,
        arguments: &[&str],
    ) -> Result<(Spawned, Option<Cgroup>)> {
        let group = self.group(number)?;
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        let plan = SpawnPlan {
            namespaces: Namespaces::TASK,
            cgroup: group.as_ref().map(Cgroup::directory).transpose()?,
            ..SpawnPlan::new(program, arguments.collect())
        };
        Ok((spawn(&plan)?, group))
    }

    /// What agentd does for a task, from the sandbox to the removal of the run directory.
    pub(super) fn container(&self, number: usize, network: Option<BorrowedFd<'_>>) -> Result<()> {
        let group = self.group(number)?;
        let [sandbox, run] = ["sandbox", "run"].map(|name| self.fresh(name, number));
        let (sandbox, run) = (sandbox?, run?);
        let spec = ExecutorSpec {
            program: PROGRAM.to_owned(),
            arguments: vec![PROGRAM.to_owned()],
            environment: Vec::new(),
            sandbox: sandbox.display().to_string(),
            user: None,
            cgroup_procs: group
                .as_ref()
                .map(|group| group.procs_file().display().to_string()),
            pid_namespace: true,
            cgroup_namespace: false,
            file_system: Some(self.files(&sandbox, network.is_some())),
            hostname: None,
            rights: Rights::default(),
            kill_grace_ms: 3000,
            output: Some(OUTPUT),
            terminal: None,
        };
        let flags = MFdFlags::MFD_CLOEXEC;
        let input = fs::File::from(memfd_create("spec", flags)?);
        input.write_all_at(&frame::encode(&spec)?, 0)?;
        let (mut here, there) = UnixStream::pair()?;
        let cgroup = self.cgroups.as_ref().map(Cgroup::directory).transpose()?;
        let words = fs::File::from(memfd_create("words", flags)?);
        let helper = self.helpers.fork(&Order {
            word: &run,
            // The helper makes the mount namespace.
            namespaces: Namespaces {
                mount: false,
                ..Namespaces::TASK
            },
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
            network,
            stdio: [input.as_fd(), there.as_fd(), words.as_fd()],
        })?;
        drop((input, there, words));
        loop {
            match next(&mut here)? {
                FromExecutor::Running { .. }
                | FromExecutor::BesideRuns
                | FromExecutor::BesideEnded(_)
                | FromExecutor::Terminal => {}
                FromExecutor::Exited(record) => {
                    ensure!(record.outcome == Outcome::Exit(0), "it ended: {record:?}");
                    break;
                }
            }
        }
        helper.pidfd.wait()?;
        group.map_or(Ok(()), |group| group.remove())?;
        fs::remove_file(run.join("exit"))?;
        fs::remove_file(run.join("socket"))?;
        Ok(fs::remove_dir(run)?)
    }

    /// As agentd's isolator describes them.
    fn files(&self, sandbox: &Path, has_network: bool) -> FileSystem {
        let sandbox = sandbox.display().to_string();
        let names = || Names {
            hostname: "c\n".into(),
            hosts: "127.0.0.1 localhost\n".into(),
            resolv_conf: String::new(),
        };
        FileSystem {
            network: has_network.then(names),
            ..FileSystem::host(sandbox, Vec::new(), self.system.clone())
        }
    }

    fn fresh(&self, kind: &str, number: usize) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{kind}-{number}"));
        fs::create_dir(&path)?;
        Ok(path)
    }
}

fn next(stream: &mut UnixStream) -> Result<FromExecutor> {
    let mut header = [0; frame::HEADER];
    stream
        .read_exact(&mut header)
        .context("the helper said nothing")?;
    let mut body = vec![0; frame::body_len(header)?];
    stream.read_exact(&mut body)?;
    Ok(frame::decode_body(&body)?)
}
