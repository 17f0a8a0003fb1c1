//! What `nesos-update --status` says: one `key=value` a line.
//!
//! Called by the parent module.

use super::content;
use super::install::{Board, UpdateError, io_error};
use nesos_base::slots::Slot;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// The value of `key` in the text of /etc/os-release; empty if it has none.
pub(super) fn release_value<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == key)
        .map_or("", |(_, value)| value.trim_matches('"'))
}

/// Writes `length` bytes from `at` of the bundle whose content the running slot is, fewer at its end.
pub(super) fn read(
    board: &Board,
    at: u64,
    length: u64,
    to: &mut impl Write,
) -> Result<(), UpdateError> {
    let prelude = content::prelude(board.slots.boot(), board.running).ok_or(UpdateError::NoHead)?;
    let end = at.saturating_add(length).min(prelude.total());
    let mut at = at;
    let head = prelude.bytes();
    if let Some(rest) = usize::try_from(at).ok().and_then(|at| head.get(at..)) {
        let rest = &rest[..rest
            .len()
            .min(usize::try_from(end.saturating_sub(at)).unwrap_or(0))];
        to.write_all(rest).map_err(UpdateError::Output)?;
        at += rest.len() as u64;
    }
    let mut begin = prelude.content_at();
    for file in &prelude.header.files {
        let next = begin + file.length;
        let root = &board.running_root;
        let path = content::path(board.slots.boot(), board.running, root, &file.place);
        if at < next && at < end {
            let mut source = File::open(&path).map_err(io_error("open", &path))?;
            source
                .seek(SeekFrom::Start(at - begin))
                .map_err(io_error("read", &path))?;
            let count = end.min(next) - at;
            io::copy(&mut source.take(count), to).map_err(UpdateError::Output)?;
            at += count;
        }
        begin = next;
    }
    to.flush().map_err(UpdateError::Output)
}

/// All lines.
pub(super) fn text(board: &Board) -> Result<String, UpdateError> {
    let state = board.slots.state()?;
    let trial = state.trial.map_or("-", |trial| trial.slot.letter());
    let mut text = format!(
        "board={}\nrunning={}\non_trial={}\ncommitted={}\ntrial={trial}\n",
        board.name,
        board.running.letter(),
        board.on_trial,
        state.committed.letter(),
    );
    for slot in Slot::ALL {
        let version = content::prelude(board.slots.boot(), slot).map_or_else(
            || "-".to_owned(),
            |p| format!("{} {}", p.header.version, p.header.build_id),
        );
        text += &format!("slot_{}={version}\n", slot.letter());
    }
    Ok(text)
}
