//! `cargo xtask bench agent --guest`: the measurements of `bench agent` on an emulated board, with the boards' own programs.
//!
//! Compiles `nesos-load` for boards, puts it on one through a task of the cluster, runs it there from the console, beside the
//! board's own agentd, and shows what it prints. Called by `bench`. Invariant: agentd is measured with the isolators that
//! boards have, as the board's own agentd tells them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cross::{self, cargo};
use crate::guest::{Cluster, Console};

/// Runs on the cluster, and is put on a board.
const LOAD: &str = "nesos-load";
/// The board on which tasks run.
const BOARD: &str = "board-2";
/// Name of the task that takes the program in.
const DOOR: &str = "door";
/// Containers of each kind: an emulated board takes a tenth of a second and more for each.
const CONTAINERS: u32 = 50;
/// Each of the tasks at once runs for as many seconds as there are tasks, and these: an emulated board starts a few in a second.
const LENGTH: u32 = 30;
/// Seconds to watch an idle agent.
const IDLE: u32 = 60;
/// Longest wait for the task that takes the program in.
const DOOR_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for all measurements of a thousand tasks.
const LIMIT: Duration = Duration::from_secs(3600);
/// Pause between two looks whether they are done.
const POLL: Duration = Duration::from_secs(2);

/// Measures with so many tasks at once and so much memory of the board, MiB.
///
/// # Errors
/// Something cannot be built, the boards do not boot, or a measurement fails.
pub(crate) fn run(root: &Path, tasks: u32, memory: u32) -> Result<()> {
    let built = cross::build_for(cross::TARGET, root, &root.join("target/cross"), &[LOAD])?;
    let is_built = cargo(root, &["build", "--quiet", "--package", "nesos"]).status()?;
    ensure!(is_built.success(), "building nesos failed");
    let cluster = Cluster::up(root, memory)?;
    bring(&cluster, &built)?;
    let mut console = cluster.console(BOARD)?;
    let isolation = console
        .run("tr '\\0' '\\n' < /proc/$(pidof agentd)/cmdline | grep ^--isolation= | cat")?
        .trim()
        .to_owned();
    ensure!(
        isolation.starts_with("--isolation="),
        "the board's agentd has no isolators: {isolation:?}"
    );
    let length = LENGTH + tasks;
    // Their cgroups are beside those of the board's own agentd.
    let start = format!(
        "cd /data && mv agentd/slaves/*/frameworks/*/executors/*/runs/latest/{LOAD} . && mkdir -p bench && \
         (TMPDIR=/data/bench ./{LOAD} --programs /usr/bin agent --containers {CONTAINERS} --tasks {tasks} --length {length} \
         --idle {IDLE} --agent-flag={isolation} --agent-flag=--cgroups_root=bench > told 2> errors; echo $? > ended) & true"
    );
    console.run(&start)?;
    println!("{}", told(&mut console)?);
    Ok(())
}

/// Puts programs into the sandbox of a task.
fn bring(cluster: &Cluster, programs: &BTreeMap<String, PathBuf>) -> Result<()> {
    let mut door = cluster.nesos();
    door.args(["run", "--name", DOOR, "--on", BOARD, "--mem", "32"]);
    door.args(["--", "sleep 100000"]);
    let _door = Running(door.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    for (name, program) in programs {
        put(cluster, name, program)?;
    }
    Ok(())
}

/// Sends one by a command beside that task, which may not have started yet.
fn put(cluster: &Cluster, name: &str, program: &Path) -> Result<()> {
    let begin = Instant::now();
    loop {
        let text = format!("cat > {name} && chmod +x {name}");
        let mut command = cluster.nesos();
        command.args(["exec", "-i", DOOR, "--", &text]);
        let ended = command.stdin(File::open(program)?).output();
        let ended = ended.context("starting nesos exec")?;
        if ended.status.success() {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < DOOR_LIMIT,
            "nesos exec: {}",
            String::from_utf8_lossy(&ended.stderr)
        );
        std::thread::sleep(POLL);
    }
}

/// The table, once it is there.
fn told(console: &mut Console) -> Result<String> {
    let begin = Instant::now();
    loop {
        std::thread::sleep(POLL);
        let code = console.run("cat /data/ended 2>/dev/null")?;
        match code.trim() {
            "0" => return console.run("cat /data/errors /data/told"),
            "" => ensure!(begin.elapsed() < LIMIT, "the measurements do not end"),
            code => bail!(
                "{LOAD} ended with {code}: {}",
                console.run("cat /data/errors")?
            ),
        }
    }
}

/// A child that does not outlive this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
