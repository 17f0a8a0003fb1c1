//! Who takes part: masters come as learners, vote once they have caught up, and leave when they are told to.
//!
//! Not the agreement itself (raft's). Called by `replica` at every turn and by the engine for operators. Invariants: only the
//! leader changes anything; nobody is removed whose going would leave the rest without a majority of connected masters.

use std::collections::BTreeSet;

use masterd_core::Registry;
use masterd_core::consensus::{ProposeError, versions};
use nesos_base::time::Instant;
use nesos_wire::command::Command;
use nesos_wire::masters::{MAX_MASTERS, MasterRecord};
use nesos_wire::version::{CURRENT, FIRST, Version};
use raft_proto::eraftpb::{ConfChangeType, ConfChangeV2, ConfState};
use raft_proto::new_conf_change_single;

use super::Replica;
use super::peers::Introduced;

/// What this master is, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It leads.
    Leads,
    /// It does not.
    Follows {
        /// `host:port` of who does, if that is known.
        leader: Option<String>,
    },
}

/// One master, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberView {
    /// What is known of it.
    pub(crate) record: MasterRecord,
    /// `leader`, `voter`, `learner` or `candidate`.
    pub(crate) role: &'static str,
    /// It has a link with this master, or is it.
    pub(crate) is_connected: bool,
    /// How many entries of the log it has not got yet, if this master leads.
    pub(crate) behind: Option<u64>,
    /// The newest wire version that it speaks, as far as is known.
    pub(crate) version: Version,
}

/// Why the masters are not changed; a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemberError {
    /// Nobody is called or numbered so.
    #[error("there is no master '{name}' among {among}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        among: String,
    },
    /// A name that several have.
    #[error("several masters are called '{0}': give the number")]
    Ambiguous(String),
    /// It would find what it cannot read.
    #[error(
        "{name} speaks wire version {}, all masters speak {} by now and may have written what it cannot read: upgrade it first", speaks.0, group.0
    )]
    TooOld {
        /// Who was to be let in.
        name: String,
        /// The newest that it speaks.
        speaks: Version,
        /// What the group does.
        group: Version,
    },
    /// Too many.
    #[error("there are {MAX_MASTERS} masters already, and no more are allowed")]
    TooMany,
    /// It would cost the majority.
    #[error(
        "without {name} {voters} masters would vote, of which {connected} are connected, and {quorum} are needed: nothing could be agreed on any more"
    )]
    Quorum {
        /// Who was to go.
        name: String,
        /// How many would be left.
        voters: usize,
        /// Of these.
        connected: usize,
        /// Of these.
        quorum: usize,
    },
    /// The leader itself.
    #[error("{0} leads: hand the leadership over first (nesos master hand-over)")]
    Leads(String),
    /// Nobody to hand over to.
    #[error("no other master that votes is connected")]
    Nobody,
    /// raft says no.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl Replica {
    /// What this master is.
    pub(crate) fn standing(&self) -> Standing {
        match self.led_term.is_some() {
            true => Standing::Leads,
            false => {
                let leader = self.consensus.role().leader;
                let known = leader.filter(|number| *number != self.me.number);
                let record = known.and_then(|number| self.registry.master(number));
                Standing::Follows {
                    leader: record.map(|record| record.address.clone()),
                }
            }
        }
    }

    /// The term in which this master leads, with all that was agreed on before.
    pub(crate) fn led_term(&self) -> Option<u64> {
        self.led_term
    }

    /// Whether the group knows this master as it is.
    pub(crate) fn is_recorded(&self) -> bool {
        let number = self.me.number;
        let is_same = self.registry.master(number) == Some(&self.me);
        is_same && self.registry.version_of(number) == CURRENT
    }

    /// Whether it is a member of a group.
    pub(crate) fn takes_part(&self) -> bool {
        self.consensus.members() != &ConfState::default()
    }

    /// Whether nobody else takes part.
    pub(crate) fn is_alone(&self) -> bool {
        let members = self.consensus.members();
        members.voters == [self.me.number] && members.learners.is_empty()
    }

    /// All masters, and those who would like to be.
    pub(crate) fn members(&self) -> Vec<MemberView> {
        let members = self.consensus.members();
        let leader = self.consensus.role().leader;
        let numbers: BTreeSet<u64> = members
            .voters
            .iter()
            .chain(&members.learners)
            .copied()
            .collect();
        let member = |number: &u64| {
            let known = self.registry.master(*number).cloned();
            let last = self.consensus.committed_index();
            let progress = self.consensus.progress(*number);
            MemberView {
                record: known.unwrap_or_else(|| unknown(*number)),
                role: match () {
                    () if leader == Some(*number) => "leader",
                    () if members.voters.contains(number) => "voter",
                    () => "learner",
                },
                is_connected: self.is_there(*number),
                behind: progress.map(|matched| last.saturating_sub(matched)),
                version: self.registry.version_of(*number),
            }
        };
        let candidates = self.candidates.values().map(|asking| MemberView {
            record: asking.master.clone(),
            role: "candidate",
            is_connected: true,
            behind: None,
            version: asking.version,
        });
        let own = (!numbers.contains(&self.me.number)).then(|| MemberView {
            record: self.me.clone(),
            role: "candidate",
            is_connected: true,
            behind: None,
            version: CURRENT,
        });
        let members = numbers.iter().map(member);
        members.chain(own).chain(candidates).collect()
    }

    /// Lets a candidate take part: it learns, and votes once it has caught up, if it is to.
    pub(crate) fn add_member(
        &mut self,
        name: &str,
        is_to_vote: bool,
    ) -> Result<MasterRecord, MemberError> {
        let asking = self.candidates.values().map(|asking| &asking.master);
        let found = find(asking, name, "those that ask to be let in")?;
        let record = MasterRecord {
            is_to_vote,
            ..found.clone()
        };
        if self.registry.masters().count() >= MAX_MASTERS {
            return Err(MemberError::TooMany);
        }
        let number = record.number;
        let speaks = self.candidates.get(&number).map(|asking| asking.version);
        let (speaks, group) = (speaks.unwrap_or(FIRST), self.registry.version());
        if speaks < group {
            return Err(MemberError::TooOld {
                name: record.name,
                speaks,
                group,
            });
        }
        self.consensus
            .propose_members(change(number, ConfChangeType::AddLearnerNode), Vec::new())?;
        self.propose(&versions::told(&record, speaks))?;
        Ok(record)
    }

    /// Lets a learner vote once it has caught up.
    pub(crate) fn promote_member(&mut self, name: &str) -> Result<MasterRecord, MemberError> {
        let record = MasterRecord {
            is_to_vote: true,
            ..find(self.registry.masters(), name, "the masters")?.clone()
        };
        self.propose(&[Command::PutMaster(record.clone())])?;
        Ok(record)
    }

    /// Sends a master away.
    pub(crate) fn remove_member(&mut self, name: &str) -> Result<MasterRecord, MemberError> {
        let record = find(self.registry.masters(), name, "the masters")?.clone();
        let number = record.number;
        if number == self.me.number {
            return Err(MemberError::Leads(record.name));
        }
        let voters = &self.consensus.members().voters;
        if voters.contains(&number) {
            let left: Vec<u64> = voters
                .iter()
                .copied()
                .filter(|voter| *voter != number)
                .collect();
            let connected = left.iter().filter(|voter| self.is_there(**voter)).count();
            let quorum = left.len() / 2 + 1;
            if connected < quorum {
                return Err(MemberError::Quorum {
                    name: record.name.clone(),
                    voters: left.len(),
                    connected,
                    quorum,
                });
            }
        }
        self.consensus
            .propose_members(change(number, ConfChangeType::RemoveNode), Vec::new())?;
        self.propose(&[Command::RemoveMaster { number }])?;
        Ok(record)
    }

    /// Hands the leadership to this master, or to the one that is nearest to having everything.
    pub(crate) fn hand_over(&mut self, name: Option<&str>) -> Result<MasterRecord, MemberError> {
        let voters = self.consensus.members().voters.clone();
        let can_lead = |record: &&MasterRecord| {
            let is_other = record.number != self.me.number;
            is_other && voters.contains(&record.number) && self.is_there(record.number)
        };
        let able = self.registry.masters().filter(can_lead);
        let to = match name {
            Some(name) => find(
                able,
                name,
                "the connected masters that vote and do not lead",
            )?,
            None => able
                .max_by_key(|record| self.consensus.progress(record.number))
                .ok_or(MemberError::Nobody)?,
        }
        .clone();
        self.consensus.hand_over(to.number);
        Ok(to)
    }

    /// Whether this member can be counted on: this master itself, and those that are connected and, if this one leads, answer.
    fn is_there(&self, number: u64) -> bool {
        let is_heard = self.present.contains_key(&number) && !self.consensus.is_silent(number);
        number == self.me.number || is_heard
    }

    /// Whether it is known who the masters are.
    pub(crate) fn knows_masters(&self) -> bool {
        self.registry.masters().next().is_some()
    }

    /// One more master to ask for admission.
    pub(crate) fn add_seed(&mut self, address: String) {
        if self.seeds.len() < MAX_MASTERS && !self.seeds.contains(&address) {
            self.seeds.push(address);
            self.linked = None;
        }
    }

    pub(super) fn introduced(&mut self, introduced: Introduced) {
        let master = &introduced.master;
        if !self.knows_masters() {
            // Who lets this one in has to be answered, whether anybody has named it before or not.
            self.hearsay.retain(|known| known.number != master.number);
            self.hearsay.truncate(MAX_MASTERS - 1);
            self.hearsay.push(master.clone());
        }
        let members = self.consensus.members();
        let number = master.number;
        if !members.voters.contains(&number) && !members.learners.contains(&number) {
            if self.candidates.len() < MAX_MASTERS {
                tracing::info!(
                    "master {} ({number:016x}) at {} asks to be let in",
                    master.name,
                    master.address
                );
                if self.registry.is_dismissed(number) {
                    tracing::warn!(
                        "master {} was removed, and is not let in by itself: nesos master add {number:016x} does",
                        master.name
                    );
                }
                self.candidates.insert(number, introduced);
            }
            return;
        }
        self.present.insert(number, introduced);
    }

    /// Somebody who was dialled knows these masters; that helps who knows none.
    pub(super) fn heard_of(&mut self, masters: Vec<MasterRecord>) {
        if !self.knows_masters() && !masters.is_empty() {
            self.hearsay = masters;
            self.hearsay.truncate(MAX_MASTERS);
        }
    }

    /// This master has another address. The group's record follows when a leader has heard of it.
    pub(super) fn moved(&mut self, address: String) {
        if self.me.address == address {
            return;
        }
        tracing::warn!(
            "this master is at {address} from now on, it was at {}",
            self.me.address
        );
        self.me.address.clone_from(&address);
        if let Some(peers) = &mut self.peers {
            peers.moved(address);
        }
        self.linked = None;
    }

    /// Keeps links with all that are known.
    pub(super) fn link(&mut self) {
        // Who is heard is where it says it is, also while nobody leads who could note it.
        let said = |number| self.present.get(&number).map(|said| &said.master);
        let known = self.registry.masters();
        let known = known.map(|master| MasterRecord {
            address: said(master.number).unwrap_or(master).address.clone(),
            ..master.clone()
        });
        let mut known: Vec<MasterRecord> = known.collect();
        let seeds = match known.is_empty() {
            true => self.seeds.clone(),
            false => Vec::new(),
        };
        if known.is_empty() {
            known.clone_from(&self.hearsay);
        }
        let Some(peers) = &mut self.peers else {
            return;
        };
        if self.linked.as_ref() == Some(&known) {
            return;
        }
        peers.keep(&known, &seeds);
        let members: BTreeSet<u64> = known.iter().map(|master| master.number).collect();
        // Who was a candidate until now is connected, and the other way round.
        let came: Vec<u64> = self
            .candidates
            .keys()
            .copied()
            .filter(|number| members.contains(number))
            .collect();
        for number in came {
            if let Some(introduced) = self.candidates.remove(&number) {
                self.present.insert(number, introduced);
            }
        }
        self.linked = Some(known);
    }

    /// Before this master stops: has somebody else lead, if anybody can. Whether it is worth waiting for.
    pub(crate) fn leave(&mut self, now: Instant) -> bool {
        let is_leading = self.led_term.is_some() && self.hand_over(None).is_ok();
        self.advance(now);
        is_leading
    }
}

/// For people: who these are.
pub(super) fn names(registry: &Registry, numbers: &[u64]) -> String {
    let name = |number: &u64| {
        let known = registry.master(*number);
        known.map_or_else(|| format!("{number:016x}"), |master| master.name.clone())
    };
    let names: Vec<String> = numbers.iter().map(name).collect();
    names.join(", ")
}

/// Says what happens to the masters.
pub(super) fn tell(registry: &Registry, command: &Command) {
    match command {
        Command::PutMaster(master) => tracing::info!(
            "master {:?} ({:016x}) is at {:?}{}",
            master.name,
            master.number,
            master.address,
            if master.is_to_vote {
                ""
            } else {
                " and only learns"
            }
        ),
        Command::PutMasterVersion { number, version } => tracing::info!(
            "master {} speaks wire version {}",
            names(registry, &[*number]),
            version.0
        ),
        Command::RemoveMaster { number } => {
            tracing::info!("master {} takes part no more", names(registry, &[*number]));
        }
        _ => {}
    }
}

fn unknown(number: u64) -> MasterRecord {
    MasterRecord {
        number,
        name: String::new(),
        address: String::new(),
        is_to_vote: true,
    }
}

pub(super) fn change(number: u64, kind: ConfChangeType) -> ConfChangeV2 {
    ConfChangeV2 {
        changes: vec![new_conf_change_single(number, kind)],
        ..ConfChangeV2::default()
    }
}

/// By number or by name.
fn find<'a>(
    masters: impl Iterator<Item = &'a MasterRecord>,
    name: &str,
    among: &str,
) -> Result<&'a MasterRecord, MemberError> {
    let is_meant = |master: &&MasterRecord| {
        master.name == name || format!("{:016x}", master.number) == name || master.address == name
    };
    let mut found = masters.filter(is_meant);
    match (found.next(), found.next()) {
        (Some(master), None) => Ok(master),
        (None, _) => Err(MemberError::Unknown {
            name: name.to_owned(),
            among: among.to_owned(),
        }),
        (Some(_), Some(_)) => Err(MemberError::Ambiguous(name.to_owned())),
    }
}
