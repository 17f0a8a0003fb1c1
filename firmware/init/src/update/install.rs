//! Puts a bundle into the slot that does not run.
//!
//! Called by the parent module. Invariant: the header is checked against the board's key before anything is changed; each chunk against
//! the header before it is written; each file as a whole, from the disk, before the slot goes on trial. Interrupted at any moment, the
//! board starts what it ran, and a second attempt writes only what is missing.

use super::content::{self, Local, Written};
use super::source::Source;
use crate::slots::{SlotError, Slots};
use ed25519_compact::{PublicKey as Verifier, Signature};
use nesos_base::bundle::key::{KeyError, PublicKey};
use nesos_base::bundle::{BundleError, CHUNK_MAX, HEAD, Header, Piece, Place, Prelude};
use nesos_base::slots::Slot;
use nesos_sys::block::{self, BlockError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How often a chunk with a wrong digest is asked for again: another neighbour may have the right one.
const ROUNDS: usize = 3;
/// Most bytes asked for at once, so that a feeder can change its source.
const RANGE_MAX: u64 = 1 << 20;
/// The command line for U-Boot's script, beside the slot's files.
const BOOT_ENVIRONMENT: &str = "boot.env";

/// A board that is to be updated.
#[derive(Debug)]
pub(super) struct Board {
    /// Its name in board-configs/.
    pub(super) name: String,
    /// The slot that runs.
    pub(super) running: Slot,
    /// True while that has not proven itself.
    pub(super) on_trial: bool,
    /// The root partition that is mounted.
    pub(super) running_root: PathBuf,
    /// The one that is written.
    pub(super) other_root: PathBuf,
    /// The boot loader's record.
    pub(super) slots: Slots,
    /// Whose signature counts.
    pub(super) key: PublicKey,
}

/// Why an update was not installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpdateError {
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error("{operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("the root is on no disk with partitions")]
    NoDisk,
    #[error("{disk} has no partition {number}")]
    NoPartition { disk: PathBuf, number: u32 },
    #[error("{path}: {source}")]
    Key { path: PathBuf, source: KeyError },
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("read the bundle: {0}")]
    Source(io::Error),
    #[error("the bundle is truncated")]
    Truncated,
    #[error("write standard output: {0}")]
    Output(io::Error),
    #[error("the bundle is not signed with the key of this board's image (/etc/nesos/update.pub)")]
    Signature,
    #[error("the bundle is for board '{bundle}', this is '{board}'")]
    OtherBoard { bundle: String, board: String },
    #[error("the root of the bundle has {length} bytes, more than {partition} with {room}")]
    TooLarge {
        length: u64,
        partition: PathBuf,
        room: u64,
    },
    #[error("what runs is on trial itself: an update is possible when it has proven itself")]
    OnTrial,
    #[error("{0} chunks of the bundle are damaged")]
    Damaged(usize),
    #[error("{0} reads back otherwise than it was written: the card may be worn out")]
    ReadBack(PathBuf),
    #[error(
        "the slot that runs says not what it holds: it was not made by an image with slots or by an update"
    )]
    NoHead,
    #[error("the header names no file {0}")]
    NoFile(usize),
}

/// Installs what `source` has and puts it on trial; returns the slot.
pub(super) fn install(board: &Board, source: &mut dyn Source) -> Result<Slot, UpdateError> {
    if board.on_trial {
        return Err(UpdateError::OnTrial);
    }
    let prelude = read_prelude(source)?;
    admit(board, &prelude)?;
    let header = &prelude.header;
    let slot = board.running.other();
    board.slots.settle(board.running)?;
    {
        let boot = board.slots.boot();
        let _writable = boot.writable()?;
        remove_others(board, header)?;
        let written = Written::open(boot, slot, &board.other_root, header)?;
        fill(board, &prelude, &written, source)?;
        written.check(header)?;
        let beside = |name: &str| format!("{}/{name}", slot.folder());
        boot.write(
            &beside(BOOT_ENVIRONMENT),
            header.boot_environment(slot).as_bytes(),
        )?;
        boot.write(&beside(content::SLOT_HEAD), prelude.bytes())?;
    }
    board.slots.begin_trial(board.running, header)?;
    Ok(slot)
}

fn read_prelude(source: &mut dyn Source) -> Result<Prelude, UpdateError> {
    let mut head = [0; HEAD];
    source.ask(0, HEAD as u64).map_err(source_error)?;
    source.read(&mut head).map_err(source_error)?;
    let mut bytes = vec![0; Prelude::length(&head)?];
    let (start, rest) = bytes.split_at_mut(HEAD);
    start.copy_from_slice(&head);
    source
        .ask(HEAD as u64, rest.len() as u64)
        .map_err(source_error)?;
    source.read(rest).map_err(source_error)?;
    Ok(Prelude::parse(&bytes)?)
}

/// What is refused before anything is touched.
fn admit(board: &Board, prelude: &Prelude) -> Result<(), UpdateError> {
    let (message, signature) = prelude.signed();
    let valid = Signature::from_slice(signature)
        .and_then(|signature| Verifier::new(board.key.0).verify(message, &signature));
    if valid.is_err() {
        return Err(UpdateError::Signature);
    }
    let header = &prelude.header;
    if header.board != board.name {
        return Err(UpdateError::OtherBoard {
            bundle: header.board.clone(),
            board: board.name.clone(),
        });
    }
    let room = room(&board.other_root)?;
    let root = header.files.iter().find(|file| file.place == Place::Root);
    match root.map_or(0, |file| file.length) {
        length if length > room => Err(UpdateError::TooLarge {
            length,
            partition: board.other_root.clone(),
            room,
        }),
        _ => Ok(()),
    }
}

fn room(root: &Path) -> Result<u64, UpdateError> {
    let metadata = fs::metadata(root).map_err(io_error("read", root))?;
    match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Ok(block::size_in_bytes(root)?),
    }
}

/// Makes room: what an older version had in the slot's folder and this one has not.
fn remove_others(board: &Board, header: &Header) -> Result<(), UpdateError> {
    let boot = board.slots.boot();
    let folder = board.running.other().folder();
    let path = boot.path(folder);
    fs::create_dir_all(&path).map_err(io_error("create", &path))?;
    // Says what the slot holds, which is not true any more.
    boot.remove(&format!("{folder}/{}", content::SLOT_HEAD))?;
    let entries = fs::read_dir(&path).map_err(io_error("list", &path))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_wanted = |file: &nesos_base::bundle::File| file.place == Place::Boot(name.clone());
        if !header.files.iter().any(is_wanted) {
            boot.remove(&format!("{folder}/{name}"))?;
        }
    }
    Ok(())
}

/// Writes every chunk that is not at its place yet, from the running slot where that has it.
fn fill(
    board: &Board,
    prelude: &Prelude,
    written: &Written,
    source: &mut dyn Source,
) -> Result<(), UpdateError> {
    let header = &prelude.header;
    let local = Local::of_slot(board.slots.boot(), board.running, &board.running_root);
    let mut buffer = vec![0; CHUNK_MAX as usize];
    let mut missing = Vec::new();
    let (mut done, total) = (0, header.content());
    for piece in header.pieces() {
        let bytes = &mut buffer[..piece.chunk.length as usize];
        if !written.has(piece.file, piece.at, &piece.chunk, bytes) {
            if !local.read(&piece.chunk, bytes) {
                missing.push(piece);
                continue;
            }
            written.write(piece.file, piece.at, bytes)?;
        }
        done += u64::from(piece.chunk.length);
        source.progress(done, total);
    }
    for _ in 0..ROUNDS {
        let mut damaged = Vec::new();
        for range in ranges(&missing) {
            let length = range.iter().map(|p| u64::from(p.chunk.length)).sum();
            let at = range.first().map_or(0, |p| p.content_at);
            source
                .ask(prelude.content_at() + at, length)
                .map_err(source_error)?;
            for piece in range {
                let bytes = &mut buffer[..piece.chunk.length as usize];
                source.read(bytes).map_err(source_error)?;
                if content::digest(bytes) != piece.chunk.digest {
                    damaged.push(*piece);
                    continue;
                }
                written.write(piece.file, piece.at, bytes)?;
                done += bytes.len() as u64;
                source.progress(done, total);
            }
        }
        missing = damaged;
        if missing.is_empty() {
            return Ok(());
        }
    }
    Err(UpdateError::Damaged(missing.len()))
}

/// Neighbours in the content, as long as they are not too much at once.
fn ranges(pieces: &[Piece]) -> Vec<&[Piece]> {
    let mut ranges = Vec::new();
    let mut rest = pieces;
    while let Some(first) = rest.first() {
        let mut end = first.content_at;
        let count = rest
            .iter()
            .take_while(|piece| {
                let next = end == piece.content_at
                    && end - first.content_at + u64::from(piece.chunk.length) <= RANGE_MAX;
                end += u64::from(piece.chunk.length);
                next
            })
            .count();
        let (range, others) = rest.split_at(count.max(1));
        ranges.push(range);
        rest = others;
    }
    ranges
}

fn source_error(error: io::Error) -> UpdateError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => UpdateError::Truncated,
        _ => UpdateError::Source(error),
    }
}

pub(super) fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> UpdateError {
    move |source| UpdateError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
