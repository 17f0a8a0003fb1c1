//! The limit of open files: raised for a process that holds many others, not for those that it starts.
//!
//! Called by `agentd` at start and by the parent module. Invariant: a started process has the limit that the caller began
//! with; programs that use select() break with more than 1024.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

static BEFORE: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises this process's limit to `wanted`, or as far as it may. A failure leaves it as it was.
pub fn raise(wanted: u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let raised = wanted.min(hard).max(soft);
    if raised > soft && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
        let before = libc::rlimit {
            rlim_cur: soft,
            rlim_max: hard,
        };
        // Raised a second time: the first value counts.
        let _ = BEFORE.set(before);
    }
}

/// What a started process is to get, if it is not what this one has.
pub(super) fn before() -> Option<&'static libc::rlimit> {
    BEFORE.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{SpawnPlan, spawn};
    use std::io::Read;

    #[test]
    fn what_is_started_has_the_old_limit() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
        raise(soft + 1);
        let text = ["sh", "-c", "ulimit -n"].map(str::to_owned).to_vec();
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let plan = SpawnPlan {
            stdout: Some(writer.into()),
            ..SpawnPlan::new("/bin/sh", text)
        };
        let child = spawn(&plan).expect("start");
        drop(plan);
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("read");
        child.pidfd.wait().expect("wait");
        assert_eq!(told.trim(), soft.to_string());
    }
}
