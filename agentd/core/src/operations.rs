//! Operations on resources: reservations and volumes are made here and kept over restarts.
//!
//! Called by `conversation`, `recovery` and `agent`. The agent's configured resources are the ground; what operations have
//! made of them is checkpointed apart, so that the ground may change. Invariants: an operation is applied once, and its
//! record is on disk before its end is told; what a task uses is never converted.

use std::collections::{BTreeMap, VecDeque};

use nesos_base::time::Instant;
use nesos_wire::Uuid;
use nesos_wire::message::AgentToMaster;
use nesos_wire::operation::{OperationReport, OperationSpec, OperationState, OperationStatus};
use nesos_wire::resource::{DiskSource, Entry, Resources};
use nesos_wire::resource_text;

use crate::agent::Agent;
use crate::checkpoint::Record;
use crate::event::{Action, Level};
use crate::repeat::Repeat;
use crate::timed::{Due, Timed};

/// Most operations whose end is unacknowledged; the master keeps to the same number.
pub const MAX_OPERATIONS: usize = 1000;

/// A persistent volume on this agent's disks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumePlace {
    /// Where its disk is mounted; `None`: the work directory.
    pub root: Option<String>,
    /// The root itself is the volume.
    pub is_whole_disk: bool,
    /// Whose.
    pub role: String,
    /// Which.
    pub id: String,
}

impl VolumePlace {
    /// Of an entry that is a persistent volume.
    pub fn of(entry: &Entry) -> Option<Self> {
        let terms = entry.terms();
        let volume = terms.volume()?;
        let source = terms.disk.as_ref().and_then(|disk| disk.source.as_ref());
        let root = source.and_then(|source| match source {
            DiskSource::Path(root) | DiskSource::Mount(root) => root.clone(),
        });
        Some(Self {
            is_whole_disk: root.is_some() && matches!(source, Some(DiskSource::Mount(_))),
            root,
            role: terms.owner().unwrap_or_default().to_owned(),
            id: volume.id.clone(),
        })
    }

    /// Its directory below the root, as Mesos lays it out; empty if it is the whole disk. `/` cannot stand in a directory's
    /// name and white space not in a role's, so roles never collide.
    pub fn relative(&self) -> String {
        if self.is_whole_disk {
            return String::new();
        }
        format!("volumes/roles/{}/{}", self.role.replace('/', " "), self.id)
    }
}

/// Volumes in a bag.
pub fn volume_places(resources: &Resources) -> impl Iterator<Item = VolumePlace> + '_ {
    resources.entries().iter().filter_map(VolumePlace::of)
}

#[derive(Debug, Clone)]
struct Pending {
    report: OperationReport,
    repeat: Repeat,
    /// Its record is (to be) on disk.
    is_stored: bool,
}

/// What an operation wants at its times: to be told, being on disk.
const STORED_TOLD: usize = 0;
/// To be told, not being checkpointed.
const UNSTORED_TOLD: usize = 1;
/// How many kinds that are.
const WISHES: usize = 2;

impl Due<WISHES> for Pending {
    fn due(&self) -> [Option<Instant>; WISHES] {
        let mut due = [None; WISHES];
        let wish = if self.is_stored {
            STORED_TOLD
        } else {
            UNSTORED_TOLD
        };
        due[wish] = Some(self.repeat.deadline());
        due
    }
}

/// Which may be told: while the disk rests only those that need not be on it.
fn sendable(is_resting: bool) -> &'static [usize] {
    if is_resting {
        &[UNSTORED_TOLD]
    } else {
        &[STORED_TOLD, UNSTORED_TOLD]
    }
}

/// What operations have made, and those whose end is unacknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operations {
    /// Dynamically reserved resources and volumes.
    made: Resources,
    pending: Timed<Uuid, Pending, WISHES>,
    /// Of these, by the uuid of the status.
    told: BTreeMap<Uuid, Uuid>,
    /// The newest acknowledged ones: a repeated order must not be carried out again.
    done: VecDeque<Uuid>,
}

impl Operations {
    /// `configured` with everything in it that operations have made. What no longer fits stays: a volume's data are there
    /// whatever the configuration says.
    pub(crate) fn total(&self, configured: &Resources) -> Resources {
        let mut total = configured.clone();
        let ground: Resources = self.made.entries().iter().map(Entry::ground).collect();
        total.subtract(&ground);
        total.add(&self.made);
        total
    }

    /// What was made of resources that are no longer configured.
    pub(crate) fn misfit(&self, configured: &Resources) -> Option<Resources> {
        let misfit = |entry: &Entry| !configured.contains(&[entry.ground()].into_iter().collect());
        let misfits = self.made.filter(misfit);
        (!misfits.is_empty()).then_some(misfits)
    }

    pub(crate) fn replay_made(&mut self, made: Resources) {
        self.made = made;
    }

    pub(crate) fn replay_applied(&mut self, report: OperationReport, made: Resources) {
        self.made = made;
        let pending = Pending {
            report,
            repeat: Repeat::default(),
            is_stored: true,
        };
        self.insert(pending);
    }

    fn insert(&mut self, pending: Pending) {
        let operation = pending.report.spec.uuid;
        self.remove(&operation);
        if let Some(status) = pending.report.status.uuid {
            self.told.insert(status, operation);
        }
        self.pending.insert(operation, pending);
    }

    pub(crate) fn replay_acknowledged(&mut self, operation: Uuid) {
        self.remove(&operation);
        self.remember(operation);
    }

    fn remove(&mut self, operation: &Uuid) {
        let pending = self.pending.remove(operation);
        if let Some(status) = pending.and_then(|pending| pending.report.status.uuid) {
            self.told.remove(&status);
        }
    }

    pub(crate) fn snapshot(&self) -> Vec<Record> {
        let made = (!self.made.is_empty()).then(|| Record::Made {
            made: self.made.clone(),
        });
        let stored = self.pending.values().filter(|pending| pending.is_stored);
        let applied = stored.map(|pending| Record::Applied {
            report: Box::new(pending.report.clone()),
            made: self.made.clone(),
        });
        let done = self
            .done
            .iter()
            .map(|operation| Record::OperationAcknowledged {
                operation: *operation,
            });
        made.into_iter().chain(applied).chain(done).collect()
    }

    pub(crate) fn reports(&self) -> impl Iterator<Item = &OperationReport> {
        self.pending.values().map(|pending| &pending.report)
    }

    /// The link is gone: all is to be sent again.
    pub(crate) fn pause(&mut self) {
        self.pending.change_all(|pending| pending.repeat.pause());
    }

    /// A greeting tells all of them: none is told again before its first repetition. Told twice at once, the second could
    /// cross the acknowledgement of the first and put back into the master's books what the agent has forgotten.
    pub(crate) fn greeted(&mut self, now: Instant) {
        self.pending.change_all(|pending| {
            pending.repeat.pause();
            pending.repeat.take_due(now);
        });
    }

    /// Takes back an update that was not sent after all; whether it must not be sent before the disk is well.
    pub(crate) fn unsend(&mut self, operation: &Uuid) -> bool {
        match self.pending.get_mut(operation) {
            Some(pending) => {
                pending.repeat.pause();
                pending.is_stored
            }
            None => true,
        }
    }

    /// When one wants to be sent. With a resting disk only those that are not on it.
    pub(crate) fn deadline(&mut self, is_resting: bool) -> Option<Instant> {
        let wishes = sendable(is_resting).iter();
        wishes.filter_map(|wish| self.pending.first(*wish)).min()
    }

    /// Whether the indices are right.
    pub(crate) fn check(&self) -> Result<(), String> {
        let by_status = |(operation, pending): (&Uuid, &Pending)| {
            Some((pending.report.status.uuid?, *operation))
        };
        if self.told != self.pending.iter().filter_map(by_status).collect() {
            return Err("operations are not found by what was told of them".into());
        }
        self.pending.check()
    }

    fn remember(&mut self, operation: Uuid) {
        if self.done.len() >= crate::MAX_FINISHED {
            self.done.pop_front();
        }
        self.done.push_back(operation);
    }

    /// Why the conversion cannot be made.
    fn fault(&self, spec: &OperationSpec, free: &Resources) -> Option<String> {
        if self.pending.len() >= MAX_OPERATIONS {
            return Some(format!(
                "{MAX_OPERATIONS} operations wait for their acknowledgement, which is the agent's limit"
            ));
        }
        (!free.contains(&spec.consumed)).then(|| {
            format!(
                "the operation takes {}, the agent has {} free",
                resource_text::text(&spec.consumed),
                resource_text::text(free)
            )
        })
    }
}

impl Agent {
    /// All that the agent has, with what operations have made of it.
    pub fn resources(&self) -> Resources {
        self.operations.total(&self.config.resources)
    }

    /// Operations whose end is unacknowledged.
    pub fn operations(&self) -> impl Iterator<Item = &OperationReport> {
        self.operations.reports()
    }

    pub(crate) fn apply(&mut self, spec: OperationSpec) {
        let uuid = spec.uuid;
        if self.operations.pending.contains_key(&uuid) || self.operations.done.contains(&uuid) {
            return;
        }
        let mut total = self.resources();
        let mut free = total.clone();
        free.subtract(&self.used());
        let fault = self.operations.fault(&spec, &free);
        let state = match fault {
            None => OperationState::Finished,
            Some(_) => OperationState::Failed,
        };
        let is_refused = fault.is_some();
        let report = OperationReport {
            spec,
            status: OperationStatus {
                state,
                message: fault.unwrap_or_default(),
                uuid: Some(self.rng.uuid()),
            },
        };
        if is_refused {
            let text = format!("an operation is refused: {}", report.status.message);
            self.note(Level::Warn, text);
        } else {
            total.subtract(&report.spec.consumed);
            total.add(&report.spec.converted);
            self.convert(&report, &total);
        }
        let pending = Pending {
            report,
            repeat: Repeat::default(),
            is_stored: !is_refused,
        };
        self.operations.insert(pending);
        if is_refused && self.link.is_live() {
            // The master believes that it has been done: it has to hear the truth.
            self.greet();
        }
    }

    pub(crate) fn acknowledge_operation(&mut self, uuid: Uuid) {
        let Some(operation) = self.operations.told.get(&uuid).copied() else {
            return;
        };
        let pending = self.operations.pending.get(&operation);
        let is_stored = pending.is_some_and(|pending| pending.is_stored);
        self.operations.replay_acknowledged(operation);
        if is_stored {
            self.out
                .persist
                .push(Record::OperationAcknowledged { operation });
        }
    }

    pub(crate) fn send_operations(&mut self) {
        let now = self.moment.now;
        for wish in sendable(self.is_store_resting()) {
            for operation in self.operations.pending.due(*wish, now) {
                if let Some(pending) = self.operations.pending.get_mut(&operation)
                    && pending.repeat.take_due(now)
                {
                    let report = pending.report.clone();
                    self.out.send.push(AgentToMaster::OperationUpdate(report));
                }
            }
        }
    }

    /// Writes down what the agent has now, and brings the disk in line.
    fn convert(&mut self, report: &OperationReport, total: &Resources) {
        self.operations.made = total.filter(Entry::is_made);
        self.out.persist.push(Record::Applied {
            report: Box::new(report.clone()),
            made: self.operations.made.clone(),
        });
        let (consumed, converted) = (&report.spec.consumed, &report.spec.converted);
        let is_in = |place: &VolumePlace, bag| volume_places(bag).any(|other| other == *place);
        let created = volume_places(converted).filter(|place| !is_in(place, consumed));
        let removed = volume_places(consumed).filter(|place| !is_in(place, converted));
        self.out
            .actions
            .extend(created.map(|place| Action::CreateVolume { place }));
        self.out
            .actions
            .extend(removed.map(|place| Action::RemoveVolume { place }));
        let text = format!(
            "{:?}: {} became {}",
            report.spec.kind,
            resource_text::text(consumed),
            resource_text::text(converted)
        );
        self.note(Level::Info, text);
    }
}
