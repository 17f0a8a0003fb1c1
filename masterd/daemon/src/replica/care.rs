//! What a leader does for the group by itself: lets in who is wanted, has learners vote, keeps the records of members true.
//!
//! Not what operators ask for (`members`). Called by `replica` at every turn. Invariant: only the leader changes anything, one
//! thing at a time.

use masterd_core::consensus::admission;
use nesos_wire::command::Command;
use raft_proto::eraftpb::ConfChangeType;

use super::Replica;
use super::members::change;

/// Masters sent away that are remembered: several times what a cluster may have.
const MAX_DISMISSED: usize = 64;

impl Replica {
    /// What a leader does about the members by itself.
    pub(super) fn care_for_members(&mut self) {
        let role = self.consensus.role();
        let can_write = !self.is_refused || self.is_alone();
        if !role.leads || !can_write {
            self.led_term = None;
            self.own.clear();
            return;
        }
        if self.led_term != Some(role.term) {
            self.led_term = None;
            if !self.consensus.is_up_to_date_leader() {
                return;
            }
            self.led_term = Some(role.term);
            self.tidy_records();
        }
        self.promote_learners();
        self.admit();
    }

    /// Lets in who asks, if so many masters are wanted.
    fn admit(&mut self) {
        if self.masters == 0 || self.candidates.is_empty() {
            return;
        }
        let members = self.consensus.members();
        let wants_to_vote = |number: &&u64| {
            let record = self.registry.master(**number);
            record.is_none_or(|record| record.is_to_vote)
        };
        let group = admission::Group {
            wanted: self.masters,
            members: members.voters.len() + members.learners.len(),
            learning: members.learners.iter().filter(wants_to_vote).count(),
        };
        let asking = self.candidates.keys().copied();
        let asking = asking.filter(|number| !self.dismissed.contains(number));
        if let Some(number) = admission::next(group, asking) {
            // If it cannot be now, this comes again.
            if let Ok(record) = self.add_member(&format!("{number:016x}"), true) {
                tracing::info!(
                    "lets in master {} at {}: {} masters are wanted",
                    record.name,
                    record.address,
                    self.masters
                );
            }
        }
    }

    /// Remembers who was sent away, and forgets who was let in again. Who is sent away while it is there is a candidate from then
    /// on: it has introduced itself, and does so again only with its next connection.
    pub(super) fn note_dismissal(&mut self, command: &Command) {
        match command {
            Command::RemoveMaster { number } => {
                while self.dismissed.len() >= MAX_DISMISSED {
                    self.dismissed.pop_first();
                }
                self.dismissed.insert(*number);
                let is_there = !self.consensus.is_silent(*number);
                if self.present.remove(number)
                    && is_there
                    && let Some(master) = self.registry.master(*number)
                {
                    self.candidates.insert(*number, master.clone());
                }
            }
            Command::PutMaster(master) => {
                self.dismissed.remove(&master.number);
            }
            _ => {}
        }
    }

    /// Records of those who did not become members, or are none any more, and this master's own.
    fn tidy_records(&mut self) {
        let members = self.consensus.members();
        let is_member =
            |number: u64| members.voters.contains(&number) || members.learners.contains(&number);
        let strangers = self.registry.masters().map(|master| master.number);
        let mut commands: Vec<Command> = strangers
            .filter(|number| !is_member(*number))
            .map(|number| Command::RemoveMaster { number })
            .collect();
        if !self.is_recorded() {
            commands.push(Command::PutMaster(self.me.clone()));
        }
        if !commands.is_empty() {
            // If it cannot be now, the next leader does it.
            let _ = self.propose(&commands);
        }
    }

    fn promote_learners(&mut self) {
        let committed = self.consensus.committed_index();
        let learners = self.consensus.members().learners.iter();
        let ready = learners.copied().find(|number| {
            let record = self.registry.master(*number);
            let wants = record.is_some_and(|record| record.is_to_vote);
            wants && self.consensus.progress(*number) >= Some(committed)
        });
        if let Some(number) = ready {
            // One change at a time: if one is under way, this comes again.
            let promoted = change(number, ConfChangeType::AddNode);
            let _ = self.consensus.propose_members(promoted, Vec::new());
        }
    }
}
