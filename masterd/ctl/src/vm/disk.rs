//! A board's disk: a sparse copy of the built image with its own cluster.toml.
//!
//! Called by `up` and `add`. Invariant: the built image is never written to.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use nesos_base::slots::Slot;
use nesos_base::token::ClusterKey;

use super::VmError;
use super::state::{Board, Cluster};

/// Bytes copied at a time, and the grain of holes.
const BLOCK: usize = 64 << 10;

/// What every cluster.toml of a cluster shares.
#[derive(Debug)]
pub(super) struct Secrets {
    /// For the master.
    pub(super) key: String,
    /// For the agents.
    pub(super) token: String,
    /// How many masters are to vote.
    pub(super) masters: u8,
    /// Silence of the leader until another one asks to be elected.
    pub(super) election_ms: u16,
}

impl Secrets {
    /// Of a cluster with this key.
    pub(super) fn new(cluster: &Cluster, key: &ClusterKey) -> Result<Self, VmError> {
        Ok(Self {
            key: key.to_text(),
            token: nesos_shell::tls::join_token(key)?.to_text(),
            masters: cluster.voting,
            election_ms: cluster.election_ms,
        })
    }
}

/// Makes the disk of `board`.
pub(super) fn make(cluster: &Cluster, board: &Board, secrets: &Secrets) -> Result<(), VmError> {
    let path = cluster.disk(board);
    sparse_copy(&cluster.image, &path).map_err(|source| VmError::File {
        operation: "copy the image to",
        path: path.clone(),
        source,
    })?;
    nesos_image::personalise(&path, cluster_toml(board, secrets).as_bytes())?;
    if cluster.u_boot && !cluster.append.is_empty() {
        let words = cluster.append.join(" ");
        append(&path, &words).map_err(|source| VmError::File {
            operation: "add words for the kernel to",
            path: path.clone(),
            source,
        })?;
    }
    nesos_image::grow(&path, u64::from(cluster.disk) << 20)?;
    Ok(())
}

/// Adds words to the command line that U-Boot reads; an update brings its own.
fn append(disk: &Path, words: &str) -> io::Result<()> {
    let files = nesos_image::BootPartition::new(disk);
    let path = format!("{}/boot.env", Slot::A.folder());
    let text = String::from_utf8_lossy(&files.read(&path)?).into_owned();
    files.write(&path, format!("{} {words}\n", text.trim_end()).as_bytes())
}

fn cluster_toml(board: &Board, secrets: &Secrets) -> String {
    let Secrets {
        key,
        token,
        masters,
        election_ms,
    } = secrets;
    let mut text = format!(
        "# Written by `nesos vm up`.\nname = \"{}\"\nrole = \"{}\"\n\n[cluster]\nname = \"vm\"\n",
        board.name, board.role
    );
    match board.is_master() {
        true => text.push_str(&format!(
            "key = \"{key}\"\nmasters = {masters}\nelection_timeout_ms = {election_ms}\n"
        )),
        false => text.push_str(&format!("token = \"{token}\"\n")),
    }
    // The first one founds the cluster, the others ask it to be let in.
    if board.is_master() && board.number > 1 {
        text.push_str("master = \"mdns\"\n");
    }
    // Requests reach the board through the forwarded port of 127.0.0.1, so they come from this machine's users alone.
    text.push_str("\n[api]\naccess = \"open\"\n");
    text
}

fn sparse_copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create_new(to)?);
    let (mut block, zeros) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let count = from.read(&mut block)?;
        if count == 0 {
            break;
        }
        if block[..count] != zeros[..count] {
            to.write_all(&block[..count])?;
        } else {
            to.seek(SeekFrom::Current(count as i64))?;
        }
    }
    let length = to.stream_position()?;
    to.set_len(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_base::cluster_config::{ClusterConfig, MasterAt, Role};

    #[test]
    fn the_boards_understand_what_is_written_for_them() {
        let key = nesos_shell::tls::generate_cluster_key().unwrap();
        let secrets = Secrets {
            key: key.to_text(),
            token: nesos_shell::tls::join_token(&key).unwrap().to_text(),
            masters: 3,
            election_ms: 700,
        };
        let parse =
            |board: &Board| ClusterConfig::parse(cluster_toml(board, &secrets).as_bytes()).unwrap();
        let master = parse(&Board::new(1, "master", Some(1)));
        assert_eq!((master.master, master.masters), (None, Some(3)));
        assert_eq!(master.election_timeout_ms, Some(700));
        let second = parse(&Board::new(2, "both", Some(2)));
        assert_eq!(
            (second.master, second.key.is_some()),
            (Some(MasterAt::Mdns), true)
        );
        assert_eq!(
            (master.role, master.key.is_some(), master.token.is_some()),
            (Role::Master, true, false)
        );
        let agent = parse(&Board::new(2, "agent", None));
        assert_eq!(
            (agent.role, agent.key.is_some(), agent.token.is_some()),
            (Role::Agent, false, true)
        );
        assert_eq!(agent.name.as_deref(), Some("board-2"));
    }

    #[test]
    fn a_copy_is_equal_and_keeps_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let mut content = vec![0; 5 * BLOCK + 17];
        content[2 * BLOCK + 3] = 7;
        std::fs::write(&a, &content).unwrap();
        sparse_copy(&a, &b).unwrap();
        assert_eq!(std::fs::read(&b).unwrap(), content);
        assert!(
            sparse_copy(&a, &b).is_err(),
            "an existing disk is not overwritten"
        );
    }
}
