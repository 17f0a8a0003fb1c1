//! A real cgroup for tests, with or without controllers.

use super::{Cgroup, mount_of_cgroup2};

/// A group of a cgroup v2 tree, removed when dropped.
#[derive(Debug)]
pub(crate) struct Group(pub(crate) Cgroup);

impl Group {
    /// None where this machine has none, or this process may not make one.
    pub(crate) fn new(purpose: &str) -> Option<Group> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mount_of_cgroup2(&mounts)?;
        let name = format!("nesos-test-{purpose}-{}", std::process::id());
        let group = Cgroup::at(mount).child(&name);
        group.create().ok()?;
        Some(Group(group))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has just ended leaves its group a moment later.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while self.0.remove().is_err() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
    }
}
