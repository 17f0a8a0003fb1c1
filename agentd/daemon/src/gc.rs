//! Removes sandboxes of ended tasks when they are old, sooner when the disk fills up (Mesos's rule).
//!
//! Called by `run` now and then. A sandbox may go at age `gc_delay × max(0, 1 − headroom − used part of the disk)`.
//! Invariant: sandboxes of tasks the agent still knows are never touched; symbolic links are removed, not followed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nesos_sys::disk;

use crate::sandbox;

/// Most sandboxes removed in one pass: the next one goes on.
const MAX_PER_PASS: usize = 256;
/// Most directories looked at per level; more than tasks of a week on a board.
const MAX_ENTRIES: usize = 100_000;

/// What a pass goes by.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) work_dir: PathBuf,
    pub(crate) delay: Duration,
    pub(crate) headroom: f64,
    /// The system's wall clock, by which files are dated: seconds since 1970.
    pub(crate) unix: f64,
    /// Containers of tasks that the agent knows.
    pub(crate) keep: BTreeSet<String>,
}

/// One pass; how many sandboxes went. Blocking.
pub(crate) fn collect(policy: &Policy) -> usize {
    collect_at(policy, used_part(&policy.work_dir))
}

fn collect_at(policy: &Policy, used: f64) -> usize {
    let limit = age_limit(policy, used);
    let now = UNIX_EPOCH + Duration::try_from_secs_f64(policy.unix).unwrap_or_default();
    let mut removed = 0;
    for runs in runs(&policy.work_dir) {
        for sandbox in entries(&runs) {
            let name = sandbox
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_string();
            let Ok(metadata) = fs::symlink_metadata(&sandbox) else {
                continue;
            };
            if !metadata.is_dir() || policy.keep.contains(&name) {
                continue;
            }
            // A clock that was set back makes a sandbox young, not old.
            let age = metadata
                .modified()
                .ok()
                .and_then(|at| now.duration_since(at).ok())
                .unwrap_or_default();
            if age >= limit && fs::remove_dir_all(&sandbox).is_ok() {
                removed += 1;
            }
            if removed >= MAX_PER_PASS {
                return removed;
            }
        }
        if runs.ends_with("runs") {
            remove_if_empty(&runs);
        }
    }
    removed
}

fn age_limit(policy: &Policy, used: f64) -> Duration {
    policy
        .delay
        .mul_f64((1.0 - policy.headroom - used).clamp(0.0, 1.0))
}

fn used_part(work_dir: &Path) -> f64 {
    match disk::space(work_dir) {
        Ok(space) if space.total > 0 => 1.0 - space.available as f64 / space.total as f64,
        _ => 0.0,
    }
}

/// Every `runs` folder, and that of operators' containers.
fn runs(work_dir: &Path) -> Vec<PathBuf> {
    let frameworks = entries(&work_dir.join("slaves"))
        .into_iter()
        .flat_map(|agent| entries(&agent.join("frameworks")));
    let executors = frameworks.flat_map(|framework| entries(&framework.join("executors")));
    let runs = executors.map(|executor| executor.join("runs"));
    let own = sandbox::standalone(work_dir);
    runs.take(MAX_ENTRIES).chain([own]).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .take(MAX_ENTRIES)
        .map(|entry| entry.path())
        .collect()
}

/// An executor without runs goes, with a `latest` that leads nowhere; its framework too if it was the last one.
fn remove_if_empty(runs: &Path) {
    if entries(runs)
        .iter()
        .any(|path| path.is_dir() && !path.is_symlink())
    {
        return;
    }
    let _ = fs::remove_file(runs.join("latest"));
    // Each fails where something is left, and then the ones above it do as well.
    let executors = runs.parent().and_then(Path::parent);
    for folder in [
        Some(runs),
        runs.parent(),
        executors,
        executors.and_then(Path::parent),
    ]
    .into_iter()
    .flatten()
    {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn policy(work_dir: &Path, delay: u64) -> Policy {
        Policy {
            work_dir: work_dir.into(),
            delay: Duration::from_secs(delay),
            headroom: 0.1,
            unix: nesos_shell::clock::Clock::wall(),
            keep: BTreeSet::from(["known".to_string()]),
        }
    }

    #[test]
    fn old_sandboxes_go_and_known_ones_stay() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let runs = folder.path().join("slaves/a/frameworks/f/executors/e/runs");
        for name in ["known", "old"] {
            fs::create_dir_all(runs.join(name)).expect("mkdir");
        }
        symlink("old", runs.join("latest")).expect("link");
        symlink("/etc", runs.join("old/etc")).expect("link");
        assert_eq!(collect_at(&policy(folder.path(), 86_400 * 365), 0.0), 0);
        assert_eq!(collect(&policy(folder.path(), 0)), 1);
        assert!(runs.join("known").is_dir() && !runs.join("old").exists());
        assert!(Path::new("/etc/passwd").exists());
    }

    #[test]
    fn empty_folders_go_with_the_last_sandbox() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let runs = folder.path().join("slaves/a/frameworks/f/executors/e/runs");
        fs::create_dir_all(runs.join("old")).expect("mkdir");
        symlink("old", runs.join("latest")).expect("link");
        assert_eq!(collect(&policy(folder.path(), 0)), 1);
        assert!(!folder.path().join("slaves/a/frameworks/f").exists());
    }

    #[test]
    fn a_full_disk_shortens_the_delay_to_nothing() {
        let policy = policy(Path::new("/"), 1000);
        assert_eq!(age_limit(&policy, 0.0), Duration::from_secs(900));
        assert_eq!(age_limit(&policy, 0.9), Duration::ZERO);
        assert_eq!(age_limit(&policy, 1.0), Duration::ZERO);
    }
}
