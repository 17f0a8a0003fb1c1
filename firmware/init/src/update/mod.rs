//! The updater, which this program is when it is called `nesos-update`: puts a bundle into the slot that does not run and has the boot
//! loader try it once.
//!
//! ```text
//! nesos-update FILE      installs a bundle that is on this board
//! nesos-update --feed    installs one that the caller feeds through standard input, as asked for on standard output
//! nesos-update --status  says which slot runs and what is installed
//! nesos-update --read AT LENGTH   writes bytes of the bundle that runs, for a neighbour
//! ```
//!
//! Restarts nothing: the caller does. Called by agentd (`--feed`, `--status`) and by people. Invariant: what runs is never written, and
//! nothing is tried that was not signed, written and read back.

mod content;
mod install;
mod source;
mod status;

use crate::board::BOOT;
use crate::cmdline::CommandLine;
use crate::root_disk;
use crate::slots::{BootPartition, SlotError, Slots};
use install::{Board, UpdateError};
use nesos_base::bundle::key::PublicKey;
use nesos_base::slots::Slot;
use source::{Feed, FileSource};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The name by which this program is the updater.
const NAME: &str = "nesos-update";
const USAGE: &str = "usage: nesos-update FILE | --feed | --status | --read AT LENGTH";
/// Whose signature a bundle must have.
const PUBLIC_KEY: &str = "/etc/nesos/update.pub";

/// True if the program was called as the updater.
pub(crate) fn is_called(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|name| name == NAME)
}

/// Does what the arguments ask for; returns the exit code: 0 done, 1 refused or failed, 2 usage.
pub(crate) fn run(arguments: &[String]) -> i32 {
    let done = match arguments {
        [flag] if flag == "--status" => this_board().and_then(|board| {
            let text = status::text(&board)?;
            io::stdout()
                .write_all(text.as_bytes())
                .map_err(UpdateError::Output)
        }),
        [flag] if flag == "--feed" => this_board().and_then(|board| {
            let mut feed = Feed::new(io::stdin().lock(), io::stdout().lock());
            let slot = install::install(&board, &mut feed)?;
            feed.say(&format!("installed {}", slot.letter()))
                .map_err(UpdateError::Output)
        }),
        [flag, at, length] if flag == "--read" => match (at.parse(), length.parse()) {
            (Ok(at), Ok(length)) => this_board()
                .and_then(|board| status::read(&board, at, length, &mut io::stdout().lock())),
            _ => {
                eprintln!("{USAGE}");
                return 2;
            }
        },
        [file] if !file.starts_with('-') => this_board().and_then(|board| {
            let mut source = FileSource::open(Path::new(file))?;
            let slot = install::install(&board, &mut source)?;
            println!("installed in slot {slot}; it is tried at the next restart");
            Ok(())
        }),
        _ => {
            eprintln!("{USAGE}");
            return 2;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("nesos-update: {error}");
            1
        }
    }
}

/// The board that this process runs on.
fn this_board() -> Result<Board, UpdateError> {
    let text = fs::read_to_string("/proc/cmdline").map_err(|source| UpdateError::Io {
        operation: "read",
        path: "/proc/cmdline".into(),
        source,
    })?;
    let line = CommandLine::parse(&text);
    let (Some(loader), Some(running)) = (line.loader, line.slot) else {
        return Err(SlotError::NoLoader.into());
    };
    let disk = root_disk::of_root().ok_or(UpdateError::NoDisk)?;
    let root = |slot: Slot| {
        root_disk::partition(&disk, slot.partition()).ok_or(UpdateError::NoPartition {
            disk: disk.clone(),
            number: slot.partition(),
        })
    };
    let slots = Slots::new(loader, disk.clone(), BootPartition::mounted(BOOT));
    let on_trial = slots
        .state()?
        .trial
        .is_some_and(|trial| trial.slot == running);
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    Ok(Board {
        name: status::release_value(&release, "NESOS_BOARD").to_owned(),
        running,
        on_trial,
        running_root: root(running)?,
        other_root: root(running.other())?,
        slots,
        key: public_key(Path::new(PUBLIC_KEY))?,
    })
}

fn public_key(path: &Path) -> Result<PublicKey, UpdateError> {
    let text = fs::read_to_string(path).map_err(|source| UpdateError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    PublicKey::parse(&text).map_err(|source| UpdateError::Key {
        path: PathBuf::from(path),
        source,
    })
}
