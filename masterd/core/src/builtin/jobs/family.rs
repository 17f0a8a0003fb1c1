//! Parents and children: who starts whom.
//!
//! Part of `Jobs`. Called by its other methods, and by the shell when a parent goes. Invariant: no job starts itself, over
//! however many others.

use std::collections::BTreeSet;

use super::Jobs;
use super::facts::{JobError, MAX_RUNS, Trigger};

/// What starts a job whose parent goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inherited {
    /// Its other parents, and those of the one that goes.
    Parents(BTreeSet<String>),
    /// The schedule of the one that goes, with what is left of it.
    Schedule(String),
}

impl Jobs {
    /// The children of a job, and what is to start each when the job goes: as in Chronos, the parent's parents, or its
    /// schedule where there is no other parent. The shell puts them so before it removes the job.
    pub fn inherited(&self, name: &str) -> Vec<(String, Inherited)> {
        let Some(job) = self.jobs.get(name) else {
            return Vec::new();
        };
        let inherited = |child: &str| {
            let mut parents = self.parents(child);
            parents.remove(name);
            match &job.facts.trigger {
                Trigger::Parents(own) => parents.extend(own.iter().cloned()),
                Trigger::Schedule(_) if parents.is_empty() => {
                    return Inherited::Schedule(job.schedule().unwrap_or_default());
                }
                Trigger::Schedule(_) => {}
            }
            Inherited::Parents(parents)
        };
        let children = self.children(name);
        children
            .map(|child| (child.to_owned(), inherited(child)))
            .collect()
    }

    /// Pairs of parent and child, by name.
    pub fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.jobs.keys();
        names.flat_map(|parent| self.children(parent).map(|child| (&**parent, child)))
    }

    /// Who is started by this job, by name.
    pub(super) fn children(&self, name: &str) -> impl Iterator<Item = &str> {
        let is_child = move |trigger: &Trigger| match trigger {
            Trigger::Parents(parents) => parents.contains(name),
            Trigger::Schedule(_) => false,
        };
        let jobs = self.jobs.iter();
        let children = jobs.filter(move |(_, job)| is_child(&job.facts.trigger));
        children.map(|(child, _)| child.as_str())
    }

    /// A job has succeeded: starts its children, those with several parents when all of these have since they last did.
    pub(super) fn start_children(&mut self, name: &str, wall_ms: u64) {
        let children: Vec<String> = self.children(name).map(str::to_owned).collect();
        for child in children {
            let parents = self.parents(&child);
            let Some(job) = self.jobs.get_mut(&child) else {
                continue;
            };
            if job.facts.disabled {
                continue;
            }
            let done = &mut job.progress.parents_done;
            if parents.len() > 1 && !done.iter().any(|parent| parent == name) {
                done.push(name.to_owned());
                self.changed.insert(child.clone());
            }
            if parents.len() > 1 && done.len() < parents.len() {
                continue;
            }
            done.clear();
            // Children that take longer than their parents do not wait without end.
            if job.runs.len() >= MAX_RUNS {
                continue;
            }
            self.changed.insert(child.clone());
            self.begin(&child, wall_ms, false, None, wall_ms);
            self.look(&child, wall_ms);
        }
    }

    /// Whether a job can have this trigger.
    pub(super) fn check_parents(&self, name: &str, trigger: &Trigger) -> Result<(), JobError> {
        let Trigger::Parents(parents) = trigger else {
            return Ok(());
        };
        if parents.is_empty() {
            return Err(JobError::NoParents);
        }
        for parent in parents {
            let is_known = self.jobs.contains_key(parent);
            if !is_known && parent != name {
                return Err(JobError::NoParent(parent.clone()));
            }
            let mut open = vec![parent.clone()];
            let mut seen = BTreeSet::new();
            while let Some(next) = open.pop() {
                if next == name {
                    let (name, parent) = (name.to_owned(), parent.clone());
                    return Err(JobError::Circle { name, parent });
                }
                if seen.insert(next.clone()) {
                    open.extend(self.parents(&next));
                }
            }
        }
        Ok(())
    }

    fn parents(&self, name: &str) -> BTreeSet<String> {
        match self.jobs.get(name).map(|job| &job.facts.trigger) {
            Some(Trigger::Parents(parents)) => parents.clone(),
            _ => BTreeSet::new(),
        }
    }
}
