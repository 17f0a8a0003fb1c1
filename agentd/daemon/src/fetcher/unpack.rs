//! Unpacks fetched archives with the system's own tools (BusyBox on a board), as Mesos's fetcher does.
//!
//! Called by the fetcher when everything is fetched. The tools run as the task's user, in the sandbox. Invariant: bounded in
//! time, and ended when the launch is given up.

use std::process::Stdio;
use std::time::Duration;

use agentd_core::command::DEFAULT_PATH;
use agentd_core::fetch::Archive;
use tokio::process::Command;

use super::Target;

/// A large archive on a slow card.
const LIMIT: Duration = Duration::from_secs(600);
/// Characters of the tool's complaint that go into the task's status.
const MAX_COMPLAINT: usize = 300;

/// Unpacks `name` into the sandbox and leaves the archive there.
pub(super) async fn unpack(archive: Archive, name: &str, target: &Target) -> Result<(), String> {
    // A name that begins with a hyphen must not become an option.
    let path = target.sandbox.join(name).display().to_string();
    let line: Vec<&str> = match archive {
        Archive::Tar => vec!["tar", "-x", "-f", &path],
        Archive::TarGz => vec!["tar", "-x", "-z", "-f", &path],
        Archive::TarBz2 => vec!["tar", "-x", "-j", "-f", &path],
        Archive::TarXz => vec!["tar", "-x", "-J", "-f", &path],
        Archive::Gz => vec!["gzip", "-d", "-k", "-f", &path],
        Archive::Zip => vec!["unzip", "-q", "-o", &path],
    };
    let (program, arguments) = (line[0], &line[1..]);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&target.sandbox)
        .env_clear()
        .env("PATH", DEFAULT_PATH);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(user) = &target.user {
        command.uid(user.uid).gid(user.gid);
    }
    let output = match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(output) => {
            output.map_err(|error| format!("cannot run {program} to unpack it: {error}"))?
        }
        Err(_) => {
            return Err(format!(
                "{program} does not finish unpacking it within {} s",
                LIMIT.as_secs()
            ));
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let complaint: String = String::from_utf8_lossy(&output.stderr)
        .trim()
        .chars()
        .take(MAX_COMPLAINT)
        .collect();
    Err(format!("{program} cannot unpack it: {complaint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn run(archive: Archive, name: &str, target: &Target) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        runtime.block_on(unpack(archive, name, target))
    }

    #[test]
    fn a_tarball_is_unpacked_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().expect("scratch folder");
        fs::create_dir(folder.path().join("in")).expect("mkdir");
        fs::write(folder.path().join("in/file"), "content").expect("write");
        let sandbox = folder.path().join("sandbox");
        fs::create_dir(&sandbox).expect("mkdir");
        let archive = sandbox.join("-a.tar.gz");
        let packed = std::process::Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(folder.path())
            .arg("in")
            .status();
        assert!(packed.expect("tar").success());
        let target = Target {
            sandbox: sandbox.clone(),
            user: None,
            stall_timeout: LIMIT,
            authorities: None,
            unix: 0.0,
        };
        run(Archive::TarGz, "-a.tar.gz", &target).expect("unpacked");
        assert_eq!(
            fs::read_to_string(sandbox.join("in/file")).expect("there"),
            "content"
        );
        fs::write(sandbox.join("broken.tar"), "not a tar").expect("write");
        let error = run(Archive::Tar, "broken.tar", &target).expect_err("broken");
        assert!(error.starts_with("tar cannot unpack it: "), "{error}");
    }
}
