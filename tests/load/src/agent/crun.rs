//! `crun run` on the smallest bundle: one program and its libraries. Optional: not every machine has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::container::PROGRAM;

/// A bundle.
#[derive(Debug)]
pub(super) struct Crun {
    bundle: PathBuf,
}

impl Crun {
    /// A bundle below `folder`, which has run once; an error says why it is not measured.
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let bundle = folder.join("bundle");
        let root = bundle.join("rootfs");
        for file in needed()? {
            let inside = root.join(file.strip_prefix("/")?);
            fs::create_dir_all(inside.parent().context("a file")?)?;
            fs::copy(&file, &inside).with_context(|| file.display().to_string())?;
        }
        for mount_point in ["proc", "dev", "tmp"] {
            fs::create_dir_all(root.join(mount_point))?;
        }
        let kinds = ["pid", "mount", "uts", "ipc", "cgroup"];
        let namespaces: Vec<_> = kinds.iter().map(|kind| json!({"type": kind})).collect();
        let config = json!({
            "ociVersion": "1.0.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": [PROGRAM], "cwd": "/", "env": ["PATH=/bin"]},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            ],
            "linux": {"namespaces": namespaces},
        });
        fs::write(bundle.join("config.json"), config.to_string())?;
        let crun = Self { bundle };
        crun.run(usize::MAX)?;
        Ok(crun)
    }

    /// Runs a container to its end.
    pub(super) fn run(&self, number: usize) -> Result<()> {
        let output = Command::new("crun")
            .args(["--cgroup-manager=cgroupfs", "run", "--bundle"])
            .arg(&self.bundle)
            .arg(format!("nesos-load-{}-{number}", std::process::id()))
            .stdin(Stdio::null())
            .output()
            .context("crun is not installed (Debian: apt-get install crun)")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "crun run: {}", words.trim());
        Ok(())
    }
}

/// The program and the libraries that its loader names.
fn needed() -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(PROGRAM).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    let mut files: Vec<PathBuf> = words.map(PathBuf::from).collect();
    files.push(PROGRAM.into());
    if files.len() < 2 {
        bail!("ldd says nothing of {PROGRAM}");
    }
    Ok(files)
}
