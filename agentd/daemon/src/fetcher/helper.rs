//! The processes that do what archives and local files need: `nesos-fetcher`, one per step.
//!
//! Called by the fetcher. They become the task's user and give all else up by themselves. Invariant: bounded in
//! time, and ended when the launch is given up.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agentd_core::fetch::Archive;
use agentd_core::image::Digest;
use nesos_sys::user::Credentials;
use tokio::process::Command;

/// A large archive on a slow card.
const LIMIT: Duration = Duration::from_secs(600);
/// Characters of the helper's complaint that go into the task's status.
const MAX_COMPLAINT: usize = 400;

/// How to start one.
#[derive(Debug, Clone)]
pub(crate) struct Helper {
    /// The program.
    pub(crate) program: PathBuf,
    /// As whom; none: agentd's own user.
    pub(crate) user: Option<Credentials>,
}

impl Helper {
    /// Copies the local file `path`, as far as the user may read it, into `target`.
    pub(crate) async fn copy(&self, path: &str, target: File, most: u64) -> Result<(), String> {
        let mut command = self.command("copy", most);
        command
            .arg("--")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(target);
        run(command).await.map(drop)
    }

    /// Unpacks `archive` into the directory `into`; answers with the bytes that it took. `name`: the file's own.
    pub(super) async fn unpack(
        &self,
        archive: File,
        (format, name): (Archive, &str),
        into: &Path,
        most: u64,
    ) -> Result<u64, String> {
        let mut command = self.command("unpack", most);
        command.arg("--format").arg(format.name());
        if let Some(plain) = name.strip_suffix(".gz") {
            // A name may begin with a hyphen.
            command.arg(option("--name=", plain));
        }
        command
            .current_dir(into)
            .stdin(archive)
            .stdout(Stdio::piped());
        let said = run(command).await?;
        said.trim()
            .parse()
            .map_err(|_| format!("nesos-fetcher answered '{said}'"))
    }

    /// Unpacks a layer of an image, whose plain bytes have this digest, into the directory `into`.
    pub(crate) async fn layer(
        &self,
        layer: File,
        digest: &Digest,
        into: &Path,
        most: u64,
    ) -> Result<(), String> {
        let mut command = self.command("layer", most);
        command
            .arg(format!("--sha256={}", digest.digits()))
            .current_dir(into)
            .stdin(layer)
            .stdout(Stdio::null());
        run(command).await.map(drop)
    }

    fn command(&self, verb: &str, most: u64) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(verb)
            .arg(format!("--max-bytes={most}"))
            .env_clear();
        if let Some(user) = &self.user {
            let groups: Vec<String> = user.groups.iter().map(u32::to_string).collect();
            command.arg(format!("--user={}:{}", user.uid, groups.join(",")));
        }
        command.stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

fn option(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

/// Its standard output.
async fn run(mut command: Command) -> Result<String, String> {
    // Not `output()`: it would take the standard output, which is the copy.
    let child = command.spawn();
    let child = child.map_err(|error| format!("cannot run nesos-fetcher: {error}"))?;
    let output = match tokio::time::timeout(LIMIT, child.wait_with_output()).await {
        Ok(output) => output.map_err(|error| format!("nesos-fetcher: {error}"))?,
        Err(_) => return Err(format!("it takes longer than {} s", LIMIT.as_secs())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(MAX_COMPLAINT).collect();
    Err(match said.is_empty() {
        true => format!("nesos-fetcher ended with {}", output.status),
        false => said,
    })
}
