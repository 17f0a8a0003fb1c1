//! What a leader does for the group by itself: lets in who is wanted, has learners vote, keeps the records of members true.
//!
//! Not what operators ask for (`members`). Called by `replica` at every turn. Invariant: only the leader changes anything, one
//! thing at a time.

use masterd_core::consensus::{admission, versions};
use nesos_wire::command::Command;
use nesos_wire::version::CURRENT;
use raft_proto::eraftpb::ConfChangeType;

use super::Replica;
use super::members::change;

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
            self.corrected = 0;
            self.tidy_records();
        }
        self.correct_records();
        self.promote_learners();
        self.admit();
    }

    /// Members may come back with another name, address or wire version than the group knows; who they told it may have led or not.
    fn correct_records(&mut self) {
        if self.applied < self.corrected {
            return;
        }
        let said = self.present.values();
        let said = said.map(|said| (&said.master, said.version));
        let mut commands = versions::corrections(&self.registry, said);
        if !self.is_recorded() {
            commands.extend(versions::told(&self.me, CURRENT));
        }
        // If it cannot be now, this comes again.
        if !commands.is_empty()
            && let Ok(index) = self.propose(&commands)
        {
            self.corrected = index;
        }
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
        let asking = asking.filter(|number| !self.registry.is_dismissed(*number));
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

    /// Who is sent away while it is there is a candidate from then on: it has introduced itself, and does so again only with its
    /// next connection.
    pub(super) fn note_dismissal(&mut self, command: &Command) {
        let Command::RemoveMaster { number } = command else {
            return;
        };
        let is_there = !self.consensus.is_silent(*number);
        if let Some(introduced) = self.present.remove(number).filter(|_| is_there) {
            self.candidates.insert(*number, introduced);
        }
    }

    /// Records of those who did not become members, or are none any more.
    fn tidy_records(&mut self) {
        let members = self.consensus.members();
        let is_member =
            |number: u64| members.voters.contains(&number) || members.learners.contains(&number);
        let strangers = self.registry.masters().map(|master| master.number);
        let commands: Vec<Command> = strangers
            .filter(|number| !is_member(*number))
            .map(|number| Command::RemoveMaster { number })
            .collect();
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
