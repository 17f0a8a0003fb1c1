//! What sets two resources of the same name apart: reservations, the disk behind it, being revocable or shared.
//!
//! Called by [`super::Resources`], which never merges what differs here (Mesos's `addable`). Invariant: a name that
//! Nesos knows takes no memory of its own.

use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use arcstr::{ArcStr, literal};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

/// A resource's name; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(ArcStr);

/// The names that boards have by themselves.
static KNOWN: [ArcStr; 5] = [
    literal!("cpus"),
    literal!("disk"),
    literal!("gpus"),
    literal!("mem"),
    literal!("ports"),
];

impl Name {
    /// The name of this text.
    pub fn new(text: &str) -> Self {
        match KNOWN.iter().find(|known| *known == text) {
            Some(known) => Self(known.clone()),
            None => Self(text.into()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Most names are known and need no memory while they are read either.
struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resource's name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
        Ok(Name::new(text))
    }
}

/// Under which terms a resource is held; the default is: unreserved, not revocable, not shared, no disk in particular.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Terms {
    /// From the outermost to the innermost; the last one's role owns the resource.
    pub reservations: Vec<Reservation>,
    /// Which disk, for `disk`.
    pub disk: Option<Disk>,
    /// Can be taken away any time.
    pub is_revocable: bool,
    /// Can be used by many at once; only persistent volumes can be.
    pub is_shared: bool,
}

impl Terms {
    /// Whose it is, if it is reserved.
    pub fn owner(&self) -> Option<&str> {
        self.reservations.last().map(|last| last.role.as_str())
    }

    /// The persistent volume it is.
    pub fn volume(&self) -> Option<&Volume> {
        self.disk.as_ref()?.volume.as_ref()
    }

    /// Whether it can only be given as a whole: a persistent volume, a whole mounted disk.
    pub fn is_indivisible(&self) -> bool {
        let disk = self.disk.as_ref();
        disk.is_some_and(|disk| {
            disk.volume.is_some() || matches!(disk.source, Some(DiskSource::Mount(_)))
        })
    }
}

/// One reservation of a stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reservation {
    /// Made by RESERVE, not by the agent's `--resources`.
    pub is_dynamic: bool,
    /// For whom; in a stack a strict sub-role of the one before.
    pub role: String,
    /// Who made it.
    pub principal: Option<String>,
    /// The maker's notes.
    pub labels: Vec<(String, Option<String>)>,
}

impl Reservation {
    /// A static one.
    pub fn fixed(role: &str) -> Self {
        Self {
            is_dynamic: false,
            role: role.to_owned(),
            principal: None,
            labels: Vec::new(),
        }
    }

    /// A dynamic one.
    pub fn dynamic(role: &str, principal: Option<&str>) -> Self {
        Self {
            is_dynamic: true,
            principal: principal.map(ToOwned::to_owned),
            ..Self::fixed(role)
        }
    }
}

/// What a `disk` is, beyond an amount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Disk {
    /// `None`: the disk of the agent's work directory.
    pub source: Option<DiskSource>,
    /// What CREATE made of it.
    pub volume: Option<Volume>,
}

/// A disk of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DiskSource {
    /// A directory that many can have parts of.
    Path(Option<String>),
    /// A mount point that one has whole.
    Mount(Option<String>),
}

/// A persistent volume. How a task sees it ([`Volume::container_path`], [`Volume::is_read_only`]) is the task's business
/// and counts in no comparison, as in Mesos.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// Unique per agent and role.
    pub id: String,
    /// Who made it.
    pub principal: Option<String>,
    /// Where the task finds it, relative to its sandbox.
    pub container_path: String,
    /// Whether the task may only read it.
    pub is_read_only: bool,
}

impl Volume {
    /// Whether the task can find it inside its sandbox. `Err` is a sentence.
    pub fn check_path(&self) -> Result<(), String> {
        let path = &self.container_path;
        if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(alloc::format!(
                "container_path '{path}' is not valid, expected one relative to the sandbox and inside it"
            ));
        }
        Ok(())
    }

    fn key(&self) -> (&str, Option<&str>) {
        (&self.id, self.principal.as_deref())
    }
}

impl PartialEq for Volume {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Volume {}

impl PartialOrd for Volume {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Volume {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for Volume {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
