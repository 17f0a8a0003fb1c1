//! `nesos vm add`: new boards for a cluster that runs.
//!
//! Called by `vm`. The boards are as those that `up` made: same image, memory, words for the kernel. Invariants: two do not
//! add at once; a board that cannot be started leaves neither a folder nor an entry in `cluster.json`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::disk::Secrets;
use super::join::{self, Until};
use super::state::{Board, Cluster, MAX_BOARDS};
use super::{VmError, board, disk, lease, switch, up};
use crate::args::{Output, VmAddArgs};
use crate::failure::Failure;
use crate::output;

/// Adds boards to the cluster in `folder`.
pub(super) async fn add(args: &VmAddArgs, folder: &Path, output: Output) -> Result<(), Failure> {
    let (cluster, added) = {
        let _lock = Cluster::lock(folder)?;
        let mut cluster = Cluster::load(folder)?;
        let added = plan(&cluster, args)?;
        for board in &added {
            plug_in(&mut cluster, board)?;
        }
        (cluster, added)
    };
    let limit = Duration::from_secs(args.timeout);
    let joined = join::wait(&cluster, &added, Until::Known, limit, output).await?;
    let names: Vec<&str> = added.iter().map(|board| board.name.as_str()).collect();
    match output {
        Output::Json => output::json(&json!({"event": "added", "seconds": joined})),
        Output::Table => output::line(&format!("added {}", names.join(", "))),
    }
}

/// The new boards, as far as it can be said before anything is made.
fn plan(cluster: &Cluster, args: &VmAddArgs) -> Result<Vec<Board>, VmError> {
    if cluster.switch_pid().is_none() || cluster.uplink_pid().is_none() {
        return Err(VmError::None(cluster.folder.clone()));
    }
    let have = cluster.boards.len();
    if have + usize::from(args.boards) > usize::from(MAX_BOARDS) {
        return Err(VmError::Full { have });
    }
    let founder = cluster.boards.first().map(|board| board.role.as_str());
    if args.masters > args.boards {
        return Err(VmError::Masters {
            masters: args.masters,
            boards: args.boards,
        });
    }
    // Its API's port leads to the one master, not to whoever leads.
    if args.masters > 0 && cluster.ways().len() < 2 {
        return Err(VmError::OneMaster);
    }
    let numbers = (1..=MAX_BOARDS).skip(have).take(args.boards.into());
    let boards = numbers.enumerate().map(|(at, number)| {
        let is_master = at < usize::from(args.masters);
        let way = is_master.then(up::free_port).transpose()?;
        let role = founder.filter(|_| is_master).unwrap_or("agent");
        Ok(Board::new(number, role, way))
    });
    boards.collect()
}

/// Makes the board and gives it its power.
fn plug_in(cluster: &mut Cluster, board: &Board) -> Result<(), VmError> {
    let before = cluster.clone();
    cluster.boards.push(board.clone());
    let started = start(cluster, board);
    if started.is_err() {
        // The first error is the one to show.
        let _ = before.save();
        let _ = fs::remove_dir_all(cluster.board_folder(board));
        *cluster = before;
    }
    started
}

fn start(cluster: &Cluster, board: &Board) -> Result<(), VmError> {
    // Known before it runs: who takes the cluster down meanwhile ends it too.
    cluster.save()?;
    let secrets = Secrets::new(cluster, &cluster.key()?)?;
    disk::make(cluster, board, &secrets)?;
    lease::reserve(cluster, board)?;
    switch::open_way(cluster, board)?;
    board::start(cluster, board)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::VmDirArgs;
    use crate::vm::state;

    /// A cluster whose network is this very process.
    fn cluster(folder: &Path, boards: u8, masters: u8) -> Cluster {
        let boards = (1..=boards).map(|number| {
            let way = (number <= masters).then_some(1000 + u16::from(number));
            Board::new(number, way.map_or("agent", |_| "both"), way)
        });
        let cluster = Cluster {
            folder: folder.to_owned(),
            port: 5050,
            memory: 128,
            cpus: 1,
            disk: 256,
            voting: masters,
            election_ms: 1500,
            u_boot: false,
            append: Vec::new(),
            kernel: "kernel".into(),
            image: "image".into(),
            command_line: String::new(),
            machine: "virt".into(),
            cpu: None,
            boards: boards.collect(),
        };
        cluster.save().unwrap();
        for folder in [cluster.folder.clone(), cluster.uplink_folder()] {
            state::remember_pid(&folder, std::process::id()).unwrap();
        }
        cluster
    }

    fn args(boards: u8, masters: u8) -> VmAddArgs {
        VmAddArgs {
            boards,
            masters,
            timeout: 1,
            dir: VmDirArgs { state_dir: None },
        }
    }

    #[test]
    fn new_boards_come_after_those_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = cluster(folder.path(), 5, 3);
        let agents = plan(&cluster, &args(2, 0)).unwrap();
        let names: Vec<&str> = agents.iter().map(|board| board.name.as_str()).collect();
        assert_eq!(names, ["board-6", "board-7"]);
        assert!(agents.iter().all(|board| !board.is_master()));
        let [master, agent] = &plan(&cluster, &args(2, 1)).unwrap()[..] else {
            panic!("two boards");
        };
        assert_eq!((master.role.as_str(), master.way.is_some()), ("both", true));
        assert_eq!((agent.role.as_str(), agent.way.is_some()), ("agent", false));
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = cluster(folder.path(), 15, 1);
        let full = plan(&cluster, &args(2, 0)).unwrap_err();
        assert!(matches!(full, VmError::Full { have: 15 }), "{full}");
        let one = plan(&cluster, &args(1, 1)).unwrap_err();
        assert!(matches!(one, VmError::OneMaster), "{one}");
        let more = plan(&cluster, &args(1, 2)).unwrap_err();
        assert!(matches!(more, VmError::Masters { .. }), "{more}");
        state::remember_pid(&cluster.uplink_folder(), u32::MAX).unwrap();
        let off = plan(&cluster, &args(1, 0)).unwrap_err();
        assert!(matches!(off, VmError::None(_)), "{off}");
    }

    #[test]
    fn a_board_that_does_not_start_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = cluster(folder.path(), 2, 1);
        let board = plan(&cluster, &args(1, 0)).unwrap().remove(0);
        // There is no key, and no image.
        assert!(plug_in(&mut cluster, &board).is_err());
        assert!(!cluster.board_folder(&board).exists());
        assert_eq!(Cluster::load(folder.path()).unwrap().boards.len(), 2);
        assert_eq!(cluster.boards.len(), 2);
    }

    #[test]
    fn two_do_not_change_a_cluster_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Cluster::lock(folder.path()).unwrap();
        let busy = Cluster::lock(folder.path()).unwrap_err();
        assert!(matches!(busy, VmError::Busy(_)), "{busy}");
        drop(lock);
        assert!(Cluster::lock(folder.path()).is_ok());
    }
}
