//! What `nesos-update --status` says: one `key=value` a line.
//!
//! Called by the parent module.

use super::content;
use super::install::{Board, UpdateError};
use nesos_base::slots::Slot;
use std::fmt::Write;

/// The value of `key` in the text of /etc/os-release; empty if it has none.
pub(super) fn release_value<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == key)
        .map_or("", |(_, value)| value.trim_matches('"'))
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
        // Writing to a text cannot fail.
        _ = writeln!(text, "slot_{}={version}", slot.letter());
    }
    Ok(text)
}
