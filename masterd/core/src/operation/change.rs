//! What an operation on resources asks for, and what it comes to: these resources taken, those made of them.
//!
//! Pure rules (Mesos's `validation::operation`), no books: whether the resources are there is the caller's question.
//! Called for ACCEPT and for operators. Invariant: a conversion neither makes nor loses any amount.

use nesos_wire::operation::OperationKind;
use nesos_wire::resource::{Disk, DiskSource, Entry, Resources, Scalar, Terms, Value};
use nesos_wire::{PersistenceId, resource_text, role};

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Reserve `resources`; from `source`, or if that is empty from the same without their innermost reservations.
    Reserve {
        /// What they are now; operators only.
        source: Resources,
        /// What they are to be.
        resources: Resources,
    },
    /// Take the innermost, dynamic, reservation off.
    Unreserve(Resources),
    /// Make persistent volumes of reserved disk.
    Create(Resources),
    /// Make reserved disk of persistent volumes.
    Destroy(Resources),
    /// Add disk to a volume.
    Grow {
        /// As it is.
        volume: Resources,
        /// Disk of the same reservation and source.
        addition: Resources,
    },
    /// Take disk from a volume.
    Shrink {
        /// As it is.
        volume: Resources,
        /// How much.
        subtract: Scalar,
    },
}

/// What a change comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conversion {
    pub(crate) kind: OperationKind,
    pub(crate) consumed: Resources,
    pub(crate) converted: Resources,
}

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asker<'a> {
    /// The role of the offers; `None`: an operator.
    pub(crate) role: Option<&'a str>,
    /// Authenticated or claimed.
    pub(crate) principal: Option<&'a str>,
    /// May make shared volumes.
    pub(crate) can_share: bool,
}

impl Change {
    /// Checks the request by itself. `Err` is a sentence.
    pub(crate) fn conversion(&self, asker: &Asker<'_>) -> Result<Conversion, String> {
        let (kind, consumed, converted) = match self {
            Self::Reserve { source, resources } => (
                OperationKind::Reserve,
                reserved_from(source, resources, asker)?,
                resources.clone(),
            ),
            Self::Unreserve(resources) => (
                OperationKind::Unreserve,
                resources.clone(),
                each(resources, unreserved)?,
            ),
            Self::Create(volumes) => (
                OperationKind::Create,
                each(volumes, |entry| created_from(entry, asker))?,
                volumes.clone(),
            ),
            Self::Destroy(volumes) => (
                OperationKind::Destroy,
                volumes.clone(),
                each(volumes, |entry| {
                    volume_id(entry)?;
                    Ok(without_volume(entry))
                })?,
            ),
            Self::Grow { volume, addition } => grown(volume, addition)?,
            Self::Shrink { volume, subtract } => shrunk(volume, *subtract)?,
        };
        if consumed.is_empty() {
            return Err("it names no resources".to_owned());
        }
        Ok(Conversion {
            kind,
            consumed,
            converted,
        })
    }
}

/// Persistent volumes by role and id.
pub(crate) fn volumes(resources: &Resources) -> impl Iterator<Item = (&str, &str)> {
    resources.entries().iter().filter_map(|entry| {
        let volume = entry.terms().volume()?;
        Some((entry.owner().unwrap_or(role::DEFAULT), volume.id.as_str()))
    })
}

fn each(
    resources: &Resources,
    change: impl Fn(&Entry) -> Result<Entry, String>,
) -> Result<Resources, String> {
    resources.entries().iter().map(change).collect()
}

fn shown(entry: &Entry) -> String {
    resource_text::text(&[entry.clone()].into_iter().collect())
}

fn reserved_from(
    source: &Resources,
    resources: &Resources,
    asker: &Asker<'_>,
) -> Result<Resources, String> {
    let consumed = each(resources, |entry| unreserved_by(entry, asker))?;
    if source.is_empty() {
        return Ok(consumed);
    }
    let bare = |entry: &Entry| {
        Ok(entry.under(Terms {
            reservations: Vec::new(),
            ..entry.terms().clone()
        }))
    };
    if each(source, bare)? != each(resources, bare)? {
        return Err("its source and its resources are not the same amounts".to_owned());
    }
    Ok(source.clone())
}

/// The entry before it was reserved.
fn unreserved_by(entry: &Entry, asker: &Asker<'_>) -> Result<Entry, String> {
    let terms = entry.terms();
    let Some(made) = terms.reservations.last().filter(|made| made.is_dynamic) else {
        return Err(format!("{} has no dynamic reservation", shown(entry)));
    };
    if asker.role.is_some_and(|role| role != made.role) {
        return Err(format!(
            "{} is to be reserved to role {}, the offer is for role {}",
            shown(entry),
            made.role,
            asker.role.unwrap_or_default()
        ));
    }
    check_principal(entry, made.principal.as_deref(), asker)?;
    unreserved(entry)
}

fn check_principal(entry: &Entry, named: Option<&str>, asker: &Asker<'_>) -> Result<(), String> {
    match (asker.principal, named) {
        (Some(own), Some(named)) if own != named => Err(format!(
            "{} names principal {named}, but {own} asks",
            shown(entry)
        )),
        (Some(own), None) => Err(format!(
            "{} names no principal, but {own} asks",
            shown(entry)
        )),
        _ => Ok(()),
    }
}

/// The entry without its innermost reservation, which must be dynamic.
fn unreserved(entry: &Entry) -> Result<Entry, String> {
    let mut terms = entry.terms().clone();
    if terms.volume().is_some() {
        return Err(format!(
            "{} is a persistent volume, expected none",
            shown(entry)
        ));
    }
    match terms.reservations.pop() {
        Some(made) if made.is_dynamic => Ok(entry.under(terms)),
        _ => Err(format!("{} is not dynamically reserved", shown(entry))),
    }
}

fn volume_id(entry: &Entry) -> Result<&str, String> {
    let volume = entry.terms().volume();
    volume
        .map(|volume| volume.id.as_str())
        .ok_or_else(|| format!("{} is not a persistent volume", shown(entry)))
}

/// The disk of which the volume is made.
fn created_from(entry: &Entry, asker: &Asker<'_>) -> Result<Entry, String> {
    let id = volume_id(entry)?;
    PersistenceId::parse(id).map_err(|e| format!("{}: {e}", shown(entry)))?;
    let terms = entry.terms();
    if terms.owner().is_none() {
        return Err(format!("{} is not reserved", shown(entry)));
    }
    if terms.is_shared && !asker.can_share {
        return Err(format!(
            "{} is shared, but the framework lacks SHARED_RESOURCES",
            shown(entry)
        ));
    }
    if let Some(volume) = terms.volume() {
        check_principal(entry, volume.principal.as_deref(), asker)?;
        if volume.is_read_only {
            return Err(format!("{} is read-only, expected mode RW", shown(entry)));
        }
        volume
            .check_path()
            .map_err(|e| format!("{}: {e}", shown(entry)))?;
    }
    Ok(without_volume(entry))
}

fn without_volume(entry: &Entry) -> Entry {
    let terms = entry.terms().clone();
    let source = terms.disk.and_then(|disk| disk.source);
    entry.under(Terms {
        disk: source.map(|source| Disk {
            source: Some(source),
            volume: None,
        }),
        is_shared: false,
        ..terms
    })
}

/// The one entry of a request that must have one.
fn single(resources: &Resources) -> Result<&Entry, String> {
    match resources.entries() {
        [entry] => Ok(entry),
        _ => Err("it names no resources".to_owned()),
    }
}

/// A volume that may change its size.
fn resizable(volume: &Resources) -> Result<&Entry, String> {
    let entry = single(volume)?;
    volume_id(entry)?;
    let disk = entry.terms().disk.as_ref();
    if entry.is_shared() {
        return Err(format!("{} is shared, its size is fixed", shown(entry)));
    }
    if disk.is_some_and(|disk| matches!(disk.source, Some(DiskSource::Mount(_)))) {
        return Err(format!(
            "{} is a whole mounted disk, its size is fixed",
            shown(entry)
        ));
    }
    Ok(entry)
}

fn grown(
    volume: &Resources,
    addition: &Resources,
) -> Result<(OperationKind, Resources, Resources), String> {
    let (entry, more) = (resizable(volume)?, single(addition)?);
    if without_volume(entry).terms() != more.terms() || entry.name() != more.name() {
        return Err(format!(
            "{} is not disk of the same reservation and source as {}",
            shown(more),
            shown(entry)
        ));
    }
    let mut consumed = volume.clone();
    consumed.add(addition);
    let sum = Scalar(entry.scalar().0.saturating_add(more.scalar().0));
    Ok((OperationKind::GrowVolume, consumed, sized(entry, sum)))
}

fn shrunk(
    volume: &Resources,
    subtract: Scalar,
) -> Result<(OperationKind, Resources, Resources), String> {
    let entry = resizable(volume)?;
    let rest = Scalar(entry.scalar().0.saturating_sub(subtract.0));
    if subtract.0 <= 0 || rest.0 <= 0 {
        return Err(format!(
            "{} cannot be shrunk by {}: expected more than nothing and less than all of it",
            shown(entry),
            subtract.to_f64()
        ));
    }
    let mut converted = sized(entry, rest);
    converted.add(&sized(&without_volume(entry), subtract));
    Ok((OperationKind::ShrinkVolume, volume.clone(), converted))
}

fn sized(entry: &Entry, amount: Scalar) -> Resources {
    let terms = entry.terms().clone();
    [Entry::new(entry.name(), terms, Value::Scalar(amount))]
        .into_iter()
        .collect()
}
