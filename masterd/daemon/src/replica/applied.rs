//! What the group has agreed on becomes the registry, and the registry is saved and given to who needs all of it.
//!
//! Called by the parent module. Invariants: entries are applied in order and whole, or this master ends; the registry is only
//! ever saved as it was applied.

use masterd_core::Registry;
use masterd_core::consensus::Committed;
use nesos_wire::command::Command;
use raft_proto::eraftpb::{Snapshot, SnapshotMetadata};

use super::store::Changes;
use super::{Replica, ReplicaError, SAVE_AFTER, members};

impl Replica {
    pub(super) fn apply(&mut self, committed: Vec<Committed>) {
        for committed in committed {
            if self.has_ended() {
                return;
            }
            match committed {
                Committed::Data { index, term, data } => {
                    let own = self.own_commands(index, term);
                    match own.map_or_else(|| postcard::from_bytes(&data), Ok) {
                        Ok(commands) => {
                            self.apply_commands(commands);
                            self.applied = index;
                        }
                        Err(reason) => self.unreadable = Some(unreadable(index, &reason)),
                    }
                }
                Committed::Members { members, .. } => {
                    tracing::info!(
                        "the masters that vote are {}",
                        members::names(&self.registry, &members.voters)
                    );
                }
                Committed::Snapshot { saved, data } => self.replace(&saved, &data),
            }
        }
    }

    /// What was proposed here at this place, if that is what stands there now. Others' entries at such places end all that was
    /// proposed before.
    fn own_commands(&mut self, index: u64, term: u64) -> Option<Vec<Command>> {
        while let Some((at, of, commands)) = self.own.pop_front() {
            if (at, of) == (index, term) {
                return Some(commands);
            }
            if at > index {
                self.own.push_front((at, of, commands));
                return None;
            }
        }
        None
    }

    fn apply_commands(&mut self, commands: Vec<Command>) {
        for command in &commands {
            members::tell(&self.registry, command);
            self.note_dismissal(command);
            for change in self.registry.apply(command) {
                self.unsaved_bytes += change.key.len() + change.value.as_ref().map_or(0, Vec::len);
                self.unsaved.insert(change.key, change.value);
            }
        }
    }

    fn replace(&mut self, saved: &SnapshotMetadata, data: &[u8]) {
        match Registry::from_rows(data) {
            Ok(registry) => {
                tracing::info!("took over the registry as of entry {}", saved.index);
                self.registry = registry;
                self.own.clear();
                self.applied = saved.index;
                self.unsaved.clear();
                self.grown = 0;
            }
            Err(error) => self.unreadable = Some(unreadable(saved.index, &error)),
        }
    }

    /// Gives the whole registry to members that need it.
    pub(super) fn tell_all(&mut self) {
        if self.is_storing || self.consensus.wants_snapshot().is_none() {
            return;
        }
        // Plain data always can be written.
        if let Ok(bytes) = postcard::to_allocvec(&self.registry.rows()) {
            let index = self.consensus.applied_index();
            self.consensus.give_snapshot(index, bytes.into());
        }
    }

    /// Saves the registry when the log has grown long.
    pub(super) fn save(&mut self) {
        let is_busy = self.is_storing || self.saving.is_some();
        let is_busy = is_busy || self.is_refused || self.has_ended();
        if is_busy || self.grown < SAVE_AFTER {
            return;
        }
        let index = self.consensus.applied_index();
        if let Some(place) = self.consensus.to_be_saved(index) {
            self.saving = Some(index);
            self.grown = 0;
            self.unsaved_bytes = 0;
            self.disk.save(std::mem::take(&mut self.unsaved), place);
        }
    }
}

/// What a snapshot makes of the saved registry, if it is one.
pub(super) fn changes_of(snapshot: Snapshot) -> Result<(Changes, SnapshotMetadata), ReplicaError> {
    let index = snapshot.metadata.index;
    Registry::from_rows(&snapshot.data).map_err(|reason| unreadable(index, &reason))?;
    let rows: Vec<(String, Vec<u8>)> =
        postcard::from_bytes(&snapshot.data).map_err(|reason| unreadable(index, &reason))?;
    let rows = rows.into_iter().map(|(key, value)| (key, Some(value)));
    Ok((rows.collect(), snapshot.metadata))
}

fn unreadable(index: u64, reason: &impl ToString) -> ReplicaError {
    ReplicaError::Unreadable {
        index,
        reason: reason.to_string(),
    }
}
