//! The isolators that are namespaces of their own, apart from files: processes, IPC, the host name.

use nesos_api::v1::LinuxInfoIpcMode as IpcMode;
use nesos_wire::file_system::SharedMemory;

use super::{Isolator, Refusal, Setup, Wish};

/// Longest host name of Linux.
const MAX_HOSTNAME: usize = 64;

/// The task sees only its own processes.
#[derive(Debug)]
pub(super) struct Pid;

impl Isolator for Pid {
    fn name(&self) -> &'static str {
        "namespaces/pid"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        if wish.linux().share_pid_namespace == Some(true) {
            // Mesos lets nobody see the agent's processes unless its operator agrees, which he does by leaving this out.
            return Err(Refusal::new(
                "share_pid_namespace is not allowed on an agent that isolates with namespaces/pid",
            ));
        }
        setup.namespaces.pid = true;
        Ok(())
    }
}

/// System V IPC, message queues and /dev/shm of its own.
#[derive(Debug)]
pub(super) struct Ipc;

impl Isolator for Ipc {
    fn name(&self) -> &'static str {
        "namespaces/ipc"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let linux = wish.linux();
        let is_shared = linux.ipc_mode == Some(IpcMode::ShareParent);
        match (is_shared, linux.shm_size) {
            (true, Some(_)) => {
                return Err(Refusal::new("shm_size goes with ipc_mode PRIVATE only"));
            }
            (true, None) if wish.parent.is_some() => {
                return Err(Refusal::new(
                    "ipc_mode SHARE_PARENT is not supported for tasks of a group",
                ));
            }
            _ => {}
        }
        setup.namespaces.ipc = !is_shared;
        if let Some(files) = &mut setup.file_system {
            files.shared_memory = match is_shared {
                true => SharedMemory::Host,
                false => SharedMemory::Own {
                    megabytes: linux.shm_size,
                },
            };
        }
        Ok(())
    }
}

/// Its cgroup is the root of all that it sees of cgroups. Nothing where it has none.
#[derive(Debug)]
pub(super) struct CgroupView;

impl Isolator for CgroupView {
    fn name(&self) -> &'static str {
        "namespaces/cgroup"
    }

    fn prepare(&self, _wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        setup.cgroup_namespace = setup.limits.is_some();
        Ok(())
    }
}

/// A host name of its own, where one is asked for. Mesos has it as a part of `network/cni`.
#[derive(Debug)]
pub(super) struct Uts;

impl Isolator for Uts {
    fn name(&self) -> &'static str {
        "namespaces/uts"
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        setup.namespaces.uts = true;
        let Some(name) = &wish.container.hostname else {
            return Ok(());
        };
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if name.is_empty() || name.len() > MAX_HOSTNAME || !name.chars().all(is_valid) {
            return Err(Refusal::new(format!(
                "'{name}' is no host name, expected 1 to {MAX_HOSTNAME} letters, digits, '-' and '.'"
            )));
        }
        setup.hostname = Some(name.clone());
        Ok(())
    }
}
