//! What a cluster of emulated boards is, as it lies on disk between commands.
//!
//! `cluster.json` changes only when boards are added, and then as a whole; which processes run is told by one `run.json`
//! per process. Called by the other modules of `vm`. Invariants: a process id is believed only together with the process's
//! start time; who changes `cluster.json` holds the folder's lock.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nesos_base::token::ClusterKey;
use serde::{Deserialize, Serialize};

use super::VmError;
use super::door::Ways;
use crate::locate;

/// Longest socket path that the kernel takes is 107 bytes.
const MAX_SOCKET_PATH: usize = 107;
/// Where masters listen on boards.
const MASTER_PORT: u16 = 5050;
/// What the boards' Ethernet addresses begin with: locally administered, and in nobody else's use here.
pub(super) const BOARD_MAC: [u8; 5] = [0x52, 0x54, 0x00, 0x6e, 0x65];
/// Boards of a cluster: slirp's DHCP server has no more addresses.
pub(super) const MAX_BOARDS: u8 = 16;
/// First address of slirp's DHCP server in its network 10.0.2.0/24; boards have it and those after it, in order.
const FIRST_ADDRESS: u8 = 15;

/// A cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cluster {
    /// Where it lives.
    pub(super) folder: PathBuf,
    /// The API on 127.0.0.1.
    pub(super) port: u16,
    /// Memory of each board, MiB.
    pub(super) memory: u32,
    /// CPUs of each board.
    pub(super) cpus: u8,
    /// Size of each board's disk, MiB.
    pub(super) disk: u32,
    /// How many masters are to vote.
    pub(super) voting: u8,
    /// Silence of the leader until another master asks to be elected, milliseconds.
    pub(super) election_ms: u16,
    /// Boards start through U-Boot, and have slots.
    pub(super) u_boot: bool,
    /// Words for the kernel that the image itself has not.
    pub(super) append: Vec<String>,
    /// Kernel file.
    pub(super) kernel: PathBuf,
    /// Disk image that the boards' disks are copies of.
    pub(super) image: PathBuf,
    /// Kernel command line.
    pub(super) command_line: String,
    /// QEMU's `-M`.
    pub(super) machine: String,
    /// QEMU's `-cpu`.
    pub(super) cpu: Option<String>,
    /// The boards, in order; the first one founds the cluster.
    pub(super) boards: Vec<Board>,
}

/// A board.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    /// `board-1`.
    pub(super) name: String,
    /// From 1.
    pub(super) number: u8,
    /// As in cluster.toml.
    pub(super) role: String,
    /// Port of 127.0.0.1 that leads to its masterd, if it has one.
    pub(super) way: Option<u16>,
}

/// A running process.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    pid: u32,
    started: u64,
}

impl Board {
    /// Number `number`, from 1.
    pub(super) fn new(number: u8, role: &str, way: Option<u16>) -> Self {
        Self {
            name: format!("board-{number}"),
            number,
            role: role.to_owned(),
            way,
        }
    }

    /// Fixed, since a board's identity may come from it.
    pub(super) fn mac(&self) -> [u8; 6] {
        let [a, b, c, d, e] = BOARD_MAC;
        [a, b, c, d, e, self.number]
    }

    /// The address that [`super::lease`] reserves.
    pub(super) fn address(&self) -> String {
        format!("10.0.2.{}", FIRST_ADDRESS + self.number - 1)
    }

    /// Whether a master runs on it.
    pub(super) fn is_master(&self) -> bool {
        self.role != "agent"
    }

    /// Whether an agent runs on it.
    pub(super) fn runs_tasks(&self) -> bool {
        self.role != "master"
    }
}

impl Cluster {
    /// The cluster in `folder`.
    pub(super) fn load(folder: &Path) -> Result<Self, VmError> {
        let path = folder.join("cluster.json");
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| VmError::Foreign { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(VmError::None(folder.to_owned()))
            }
            Err(source) => Err(failed("read", &path)(source)),
        }
    }

    /// Creates the folders and writes `cluster.json`.
    pub(super) fn save(&self) -> Result<(), VmError> {
        let longest = self.folder.join("board-16/console.sock");
        if longest.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(VmError::LongPath(self.folder.clone()));
        }
        let boards = self.boards.iter().map(|board| self.board_folder(board));
        for folder in boards.chain([self.uplink_folder()]) {
            fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        }
        let path = self.folder.join("cluster.json");
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        // Commands that read it meanwhile see the old one or the new one.
        let unfinished = self.folder.join("cluster.json.part");
        fs::write(&unfinished, text).map_err(failed("write", &unfinished))?;
        fs::rename(&unfinished, &path).map_err(failed("write", &path))
    }

    /// Keeps others from changing the cluster until the file is dropped.
    pub(super) fn lock(folder: &Path) -> Result<File, VmError> {
        let lock = match File::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VmError::None(folder.to_owned()));
            }
            other => other.map_err(failed("open", folder))?,
        };
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(VmError::Busy(folder.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock", folder)(source)),
        }
    }

    /// Keeps the cluster's key for boards that are added, for its owner only.
    pub(super) fn save_key(&self, key: &ClusterKey) -> Result<(), VmError> {
        let path = self.key_file();
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let write = || options.open(&path)?.write_all(key.to_text().as_bytes());
        write().map_err(failed("write", &path))
    }

    /// The cluster's key.
    pub(super) fn key(&self) -> Result<ClusterKey, VmError> {
        let path = self.key_file();
        let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
        ClusterKey::parse(text.trim()).map_err(|_| {
            let source = io::Error::from(io::ErrorKind::InvalidData);
            failed("read", &path)(source)
        })
    }

    fn key_file(&self) -> PathBuf {
        self.folder.join("cluster.key")
    }

    /// The board called `name`.
    pub(super) fn board(&self, name: &str) -> Result<&Board, VmError> {
        let found = self.boards.iter().find(|board| board.name == name);
        let known = || {
            self.boards
                .iter()
                .map(|board| board.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        found.ok_or_else(|| VmError::NoBoard {
            node: name.to_owned(),
            known: known(),
        })
    }

    /// `127.0.0.1:port` of the API.
    pub(super) fn master(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many boards are masters.
    pub(super) fn masters(&self) -> usize {
        self.boards.iter().filter(|board| board.is_master()).count()
    }

    /// Of each master the port of 127.0.0.1 that leads to it, and its own address.
    pub(super) fn ways(&self) -> Ways {
        let boards = self.boards.iter();
        let ways = boards.filter_map(|board| Some((board.way?, Self::api_of(board))));
        ways.collect()
    }

    /// Where boards reach the master on `board`.
    pub(super) fn api_of(board: &Board) -> String {
        format!("{}:{MASTER_PORT}", board.address())
    }

    /// The board's own folder.
    pub(super) fn board_folder(&self, board: &Board) -> PathBuf {
        self.folder.join(&board.name)
    }

    /// Its disk.
    pub(super) fn disk(&self, board: &Board) -> PathBuf {
        self.board_folder(board).join("disk.img")
    }

    /// Socket of its serial console.
    pub(super) fn console(&self, board: &Board) -> PathBuf {
        self.board_folder(board).join("console.sock")
    }

    /// Everything that its console printed.
    pub(super) fn console_log(&self, board: &Board) -> PathBuf {
        self.board_folder(board).join("console.log")
    }

    /// Socket of its emulator's monitor.
    pub(super) fn monitor(&self, board: &Board) -> PathBuf {
        self.board_folder(board).join("qmp.sock")
    }

    /// Where boards plug in.
    pub(super) fn switch_socket(&self) -> PathBuf {
        self.folder.join("switch.sock")
    }

    /// Where the switch is told what to do differently.
    pub(super) fn control_socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Folder of the process that leads in from this machine.
    pub(super) fn uplink_folder(&self) -> PathBuf {
        self.folder.join("uplink")
    }

    /// Socket of that process's monitor.
    pub(super) fn uplink_monitor(&self) -> PathBuf {
        self.uplink_folder().join("qmp.sock")
    }

    /// The board's emulator, if it runs.
    pub(super) fn pid_of(&self, board: &Board) -> Option<u32> {
        running(&self.board_folder(board))
    }

    /// The way in, if it runs.
    pub(super) fn uplink_pid(&self) -> Option<u32> {
        running(&self.uplink_folder())
    }

    /// The switch, if it runs.
    pub(super) fn switch_pid(&self) -> Option<u32> {
        running(&self.folder)
    }
}

/// Remembers that the process whose id QEMU wrote to `folder/pid` runs.
pub(super) fn remember(folder: &Path) -> Result<u32, VmError> {
    let path = folder.join("pid");
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    let pid = text.trim().parse().map_err(|_| {
        let source = io::Error::from(io::ErrorKind::InvalidData);
        failed("read", &path)(source)
    })?;
    remember_pid(folder, pid)?;
    Ok(pid)
}

/// Remembers that process `pid` runs for `folder`.
pub(super) fn remember_pid(folder: &Path, pid: u32) -> Result<(), VmError> {
    let run = Run {
        pid,
        started: locate::start_time(pid).unwrap_or_default(),
    };
    let path = folder.join("run.json");
    let text = serde_json::to_vec(&run).unwrap_or_default();
    fs::write(&path, text).map_err(failed("write", &path))
}

/// What a file's error becomes.
fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> VmError + use<> {
    let path = path.to_owned();
    move |source| VmError::File {
        operation,
        path: path.clone(),
        source,
    }
}

fn running(folder: &Path) -> Option<u32> {
    let run: Run = serde_json::from_slice(&fs::read(folder.join("run.json")).ok()?).ok()?;
    (locate::start_time(run.pid) == Some(run.started)).then_some(run.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_differ_in_everything_that_identifies_them() {
        let (one, two) = (
            Board::new(1, "master", Some(7)),
            Board::new(2, "agent", None),
        );
        assert_eq!(
            (one.name.as_str(), one.address().as_str()),
            ("board-1", "10.0.2.15")
        );
        assert_ne!(one.mac(), two.mac());
        assert!(!one.runs_tasks() && two.runs_tasks());
        assert_eq!(Board::new(16, "agent", None).address(), "10.0.2.30");
    }
}
