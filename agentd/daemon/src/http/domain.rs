//! The executor API on a unix socket: who calls is known from the kernel, and speaks for its own container only.
//!
//! Called by `http` (listen, serve), by launches (where containers see it) and by `executor` (who calls). A container with
//! files of its own sees the socket's folder and not the socket, which the next agentd makes anew. Invariant: a process
//! counts to a container only if it descends from that one's helper, to which orphans come back.

use std::cell::{Cell, RefCell};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use hyper::StatusCode;
use nesos_shell::http::Refusal;
use nesos_sys::process;
use nesos_wire::ContainerId;
use nesos_wire::file_system::{FileSystem, Mount, MountSource};
use tokio::net::{UnixListener, UnixStream};

use super::{ACCEPT_PAUSE, App, Context, attend};
use crate::settings::SettingsError;

/// Below the work directory: a folder that holds nothing but the socket.
const FOLDER: &str = "executors";
const SOCKET: &str = "agent.sock";
/// Where containers with files of their own see that folder.
const INSIDE: &str = "/run/nesos-agent";
/// Connections at a time: an executor has two.
const MAX_CONNECTIONS: usize = 64;
/// Ancestors that are looked at between a process and its helper.
const MAX_ANCESTORS: usize = 256;

/// The socket's path.
pub(crate) fn location(work_dir: &Path) -> PathBuf {
    work_dir.join(FOLDER).join(SOCKET)
}

/// Makes the socket visible to a container, and tells where that one sees it.
pub(crate) fn show(path: &Path, files: &mut Option<FileSystem>) -> String {
    let Some(files) = files else {
        return path.display().to_string();
    };
    let folder = path.parent().unwrap_or(path);
    files.mounts.push(Mount {
        source: MountSource::Host(folder.display().to_string()),
        target: INSIDE.into(),
        is_read_only: true,
    });
    format!("{INSIDE}/{SOCKET}")
}

/// Makes the socket. Any user may connect: executors run as theirs.
pub(super) fn listen(path: &Path) -> Result<UnixListener, SettingsError> {
    let make = || {
        let folder = path.parent().unwrap_or(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
        Ok(listener)
    };
    make().map_err(|error| {
        let reason = format!("listen on {}: {error}", path.display());
        SettingsError::new("--http_executor_domain_sockets", reason)
    })
}

/// Serves until the process ends.
pub(super) async fn serve(listener: UnixListener, app: Rc<App>) {
    let open = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(caller) = Caller::of(&stream).filter(|_| open.get() < MAX_CONNECTIONS) else {
            continue;
        };
        open.set(open.get() + 1);
        let open = open.clone();
        let context = Context {
            app: app.clone(),
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            local: None,
            control: Rc::default(),
            is_masters: false,
            caller: Some(caller),
        };
        tokio::task::spawn_local(async move {
            attend(stream, context).await;
            open.set(open.get() - 1);
        });
    }
}

/// Who has connected.
#[derive(Debug)]
pub(super) struct Caller {
    pid: u32,
    /// With it the process id is that process's for ever.
    start_time: u64,
    /// Known once a call has been looked at; children may go on with the connection.
    container: RefCell<Option<ContainerId>>,
}

impl Caller {
    fn of(stream: &UnixStream) -> Option<Self> {
        let pid = u32::try_from(stream.peer_cred().ok()?.pid()?).ok()?;
        Some(Self {
            pid,
            start_time: process::start_time(pid).ok()?,
            container: RefCell::default(),
        })
    }

    /// Refuses a call for an executor in whose container it is not. `helper`: that container's.
    pub(super) fn must_be_of(
        &self,
        container: &ContainerId,
        helper: Option<u32>,
    ) -> Result<(), Refusal> {
        if let Some(own) = &*self.container.borrow() {
            return if own == container {
                Ok(())
            } else {
                Err(stranger())
            };
        }
        let Some(helper) = helper else {
            // agentd has just begun and has not found it again.
            let sentence = "The executor's container is not known yet";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence));
        };
        if !self.descends_from(helper) {
            return Err(stranger());
        }
        *self.container.borrow_mut() = Some(container.clone());
        Ok(())
    }

    fn descends_from(&self, ancestor: u32) -> bool {
        let mut pid = self.pid;
        for _ in 0..MAX_ANCESTORS {
            let Ok(stat) = process::stat(pid) else {
                return false;
            };
            if pid == self.pid && stat.start_time != self.start_time {
                return false;
            }
            if pid == ancestor {
                return true;
            }
            pid = stat.parent;
        }
        false
    }
}

fn stranger() -> Refusal {
    let sentence = "This process is not in the executor's container";
    Refusal::new(StatusCode::FORBIDDEN, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_speaks_for_its_own_container_only() {
        let own = std::process::id();
        let parent = process::stat(own).expect("it runs").parent;
        let caller = || Caller {
            pid: own,
            start_time: process::start_time(own).expect("it runs"),
            container: RefCell::default(),
        };
        let (one, other) = (ContainerId::new("one"), ContainerId::new("other"));
        let mine = caller();
        assert!(mine.must_be_of(&one, Some(parent)).is_ok());
        // Its helper's number may be another's by now.
        assert!(mine.must_be_of(&one, None).is_ok());
        assert!(mine.must_be_of(&other, Some(parent)).is_err());
        let stranger = caller().must_be_of(&one, Some(u32::MAX));
        assert_eq!(
            stranger.err().map(|refusal| refusal.status),
            Some(StatusCode::FORBIDDEN)
        );
        let early = caller().must_be_of(&one, None).err();
        assert_eq!(
            early.map(|refusal| refusal.status),
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        let mut reused = caller();
        reused.start_time += 1;
        assert!(reused.must_be_of(&one, Some(parent)).is_err());
    }
}
