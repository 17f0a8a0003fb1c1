//! Oversubscription: how much of what tasks were given and do not use can be lent, and who has to go when it was too much.
//!
//! Pure: samples in, decisions out; `lending` carries them out. Both parts are off unless flags name them. Only containers
//! without revocable resources count as lenders. Invariants: nothing is lent of a container that was not watched for a
//! whole window, nor more than it left unused at its busiest moment in it, less a reserve; one container is ended per sample.

use std::collections::{BTreeMap, VecDeque};

use nesos_base::time::{Duration, Instant};
use nesos_wire::ContainerId;

/// Samples that make a window: a minute with Mesos's pause of 15 s.
pub const WINDOW: usize = 4;
/// Part of what a container was given that is never lent, in per cent: it may want it back in the next moment.
const RESERVE_PERCENT: i64 = 20;
/// Lent amounts are multiples of these, thousandths of a cpu and of a megabyte.
const CPU_STEP: i64 = 100;
const MEMORY_STEP: i64 = 16_000;
/// An estimate that grows by less than so many steps is not worth taking offers back for.
const STEPS_TO_GROW: i64 = 2;

/// What to do with samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rules {
    /// Lend what is not used.
    pub lends: bool,
    /// End revocable containers under pressure.
    pub evicts: Option<Tolerance>,
}

/// How long lenders may have to wait, in per cent of the last ten seconds, before somebody goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// For a processor, some of their processes.
    pub cpu: f64,
    /// For memory, all of their processes.
    pub memory: f64,
}

/// What was seen of all containers at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sample {
    /// Of each that could be measured.
    pub containers: BTreeMap<ContainerId, Measured>,
    /// Of the machine, for containers that have no pressure of their own.
    pub machine: Waits,
}

/// What was seen of one container.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Microseconds of processor since its start.
    pub cpu_us: u64,
    /// Bytes.
    pub memory: u64,
    /// None: it has no cgroup, or the kernel does not tell.
    pub waits: Option<Waits>,
}

/// Per cent of the last ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Waits {
    /// Some waited for a processor.
    pub cpu: f64,
    /// All waited for memory.
    pub memory: f64,
}

/// An amount, thousandths of cpus and of megabytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Of processors.
    pub cpus: i64,
    /// Of memory.
    pub mem: i64,
}

/// One container as the books have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder {
    /// Which.
    pub container: ContainerId,
    /// What it was given that is its own.
    pub own: Amount,
    /// It was given something that can be taken away.
    pub is_revocable: bool,
}

/// What containers have used lately.
#[derive(Debug, Clone, Default)]
pub struct Estimator {
    watched: BTreeMap<ContainerId, Watched>,
    lent: Amount,
}

#[derive(Debug, Clone)]
struct Watched {
    at: Instant,
    cpu_us: u64,
    /// The newest last.
    used: VecDeque<Amount>,
}

impl Estimator {
    /// What is lent now.
    pub fn lent(&self) -> Amount {
        self.lent
    }

    /// Samples are taken for evictions only.
    pub(crate) fn lend_nothing(&mut self) {
        self.lent = Amount::default();
    }

    /// What each container uses at present.
    pub fn present(&self, container: &ContainerId) -> Amount {
        let newest = self.watched.get(container).and_then(|one| one.used.back());
        newest.copied().unwrap_or_default()
    }

    /// Takes a sample in; what is lent from now on.
    pub fn take(&mut self, now: Instant, holders: &[Holder], sample: &Sample) -> Amount {
        self.watched
            .retain(|container, _| holders.iter().any(|one| one.container == *container));
        let mut slack = Amount::default();
        for holder in holders {
            let Some(measured) = sample.containers.get(&holder.container) else {
                continue;
            };
            let watched = self.watched.entry(holder.container.clone());
            let watched = watched.or_insert_with(|| Watched::new(now, measured));
            watched.take(now, measured);
            if !holder.is_revocable
                && let Some(peak) = watched.peak()
            {
                slack.cpus += unused(holder.own.cpus, peak.cpus);
                slack.mem += unused(holder.own.mem, peak.mem);
            }
        }
        self.lent = Amount {
            cpus: settled(self.lent.cpus, slack.cpus, CPU_STEP),
            mem: settled(self.lent.mem, slack.mem, MEMORY_STEP),
        };
        self.lent
    }
}

impl Watched {
    fn new(at: Instant, measured: &Measured) -> Self {
        Self {
            at,
            cpu_us: measured.cpu_us,
            used: VecDeque::new(),
        }
    }

    fn take(&mut self, now: Instant, measured: &Measured) {
        let passed = now.saturating_duration_since(self.at);
        if passed == Duration::from_millis(0) {
            return;
        }
        // Without a cgroup what ended processes have used is not counted any more.
        let used_us = measured.cpu_us.saturating_sub(self.cpu_us);
        let cpus = used_us / passed.as_millis().max(1);
        let memory = u128::from(measured.memory) * 1000 / (1 << 20);
        if self.used.len() >= WINDOW {
            self.used.pop_front();
        }
        self.used.push_back(Amount {
            cpus: i64::try_from(cpus).unwrap_or(i64::MAX),
            mem: i64::try_from(memory).unwrap_or(i64::MAX),
        });
        (self.at, self.cpu_us) = (now, measured.cpu_us);
    }

    /// The most of each in a whole window.
    fn peak(&self) -> Option<Amount> {
        let most = |of: fn(&Amount) -> i64| self.used.iter().map(of).max();
        let peak = Amount {
            cpus: most(|used| used.cpus)?,
            mem: most(|used| used.mem)?,
        };
        (self.used.len() >= WINDOW).then_some(peak)
    }
}

fn unused(given: i64, used: i64) -> i64 {
    let reserve = given / 100 * RESERVE_PERCENT;
    given.saturating_sub(reserve).saturating_sub(used).max(0)
}

/// Whole steps; what shrinks does so at once, what grows has to be worth it.
fn settled(before: i64, slack: i64, step: i64) -> i64 {
    let whole = slack / step * step;
    let is_worth_it = whole - before >= STEPS_TO_GROW * step;
    if whole < before || is_worth_it {
        whole
    } else {
        before
    }
}

/// Which revocable container has to go, and why: the one that uses most of what lenders wait for.
pub fn victim(
    tolerance: Tolerance,
    estimator: &Estimator,
    holders: &[Holder],
    sample: &Sample,
) -> Option<(ContainerId, String)> {
    let lenders = holders.iter().filter(|one| !one.is_revocable);
    let waits = lenders.filter_map(|one| {
        let measured = sample.containers.get(&one.container)?;
        Some((&one.container, measured.waits.unwrap_or(sample.machine)))
    });
    let waits: Vec<_> = waits.collect();
    let longest = |of: fn(&Waits) -> f64| {
        let all = waits
            .iter()
            .map(|(container, waits)| (*container, of(waits)));
        all.max_by(|one, other| one.1.total_cmp(&other.1))
    };
    let most = |of: fn(&Amount) -> i64| {
        let revocable = holders.iter().filter(|one| one.is_revocable);
        let used = revocable.map(|one| (of(&estimator.present(&one.container)), &one.container));
        used.max().map(|(_, container)| container.clone())
    };
    // Memory first: who waits for it does nothing else.
    if let Some((lender, per_cent)) = longest(|waits| waits.memory)
        && per_cent >= tolerance.memory
    {
        let why = format!("container {lender} waited {per_cent} % of the time for memory");
        return most(|used| used.mem).map(|victim| (victim, why));
    }
    let (lender, per_cent) = longest(|waits| waits.cpu)?;
    if per_cent < tolerance.cpu {
        return None;
    }
    let why = format!("container {lender} waited {per_cent} % of the time for a processor");
    most(|used| used.cpus).map(|victim| (victim, why))
}
