//! What a task in a mount namespace of its own sees as its files: part of the helper's spec.
//!
//! Plain data, written by agentd's isolators, carried out by `nesos-executor`. Nothing here is trusted to be free of links:
//! whoever mounts resolves every path so that it cannot leave the directory it belongs to.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

/// The task's tree. Beside what is listed here it always has `/proc`, `/sys`, `/dev` and an empty `/tmp` of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// What `/` is.
    pub root: Root,
    /// Where the sandbox appears, absolute.
    pub sandbox: String,
    /// Where the task starts; none: in the sandbox.
    pub directory: Option<String>,
    /// Mounts, in this order, after the sandbox.
    pub mounts: Vec<Mount>,
    /// Device files of the host that appear at the same path.
    pub devices: Vec<String>,
    /// `/dev/shm`.
    pub shared_memory: SharedMemory,
    /// It has a network of its own, of which `/sys` tells, and these files; none: the host's.
    pub network: Option<Names>,
}

impl FileSystem {
    /// The host's files, read-only, with a sandbox where it is on the host.
    pub fn host(sandbox: impl Into<String>, hidden: Vec<String>, system: Vec<String>) -> Self {
        Self {
            root: Root::Host { hidden, system },
            sandbox: sandbox.into(),
            directory: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            shared_memory: SharedMemory::Own { megabytes: None },
            network: None,
        }
    }
}

/// What a task with a network of its own finds in `/etc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// `hostname`.
    pub hostname: String,
    /// `hosts`.
    pub hosts: String,
    /// `resolv.conf`.
    pub resolv_conf: String,
}

/// What a task's `/` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// The host's root file system read-only, and nothing else that is mounted on the host outside of its system folders.
    Host {
        /// Files and folders, absolute, of which nothing is to be seen.
        hidden: Vec<String>,
        /// Mount points of the host's system folders, absolute, in the order in which they were mounted.
        system: Vec<String>,
    },
    /// A directory that is used as it is.
    Directory(String),
    /// Read-only directories, the topmost first, below a writable one.
    Overlay {
        /// At least one.
        layers: Vec<String>,
        /// Takes what the task writes.
        upper: String,
        /// Empty, on the same file system as `upper`.
        work: String,
    },
}

/// Something that appears in the task's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where: absolute, or relative to the sandbox.
    pub target: String,
    /// The task cannot write to it.
    pub is_read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or folder of the host, with what is mounted below it.
    Host(String),
    /// A folder inside a directory that tasks can write to; made if it is not there.
    Inside {
        /// A sandbox, absolute.
        directory: String,
        /// Relative to it.
        path: String,
    },
    /// A file with these bytes, in memory only.
    Secret(#[serde(with = "serde_bytes")] Vec<u8>),
    /// An image: as [`Root::Overlay`].
    Overlay {
        /// At least one.
        layers: Vec<String>,
        /// Takes what the task writes.
        upper: String,
        /// Empty, on the same file system as `upper`.
        work: String,
    },
    /// A folder of the agent's that is there for tasks: as `Host`, but in a user namespace its files belong to whom they belong
    /// to on the host.
    Volume(String),
}

/// What `/dev/shm` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedMemory {
    /// The task's own.
    Own {
        /// Its size; none: half of the machine's memory.
        megabytes: Option<u32>,
    },
    /// The host's.
    Host,
}
