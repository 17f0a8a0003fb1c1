//! `cgroups/cpuset`: processors of their own for tasks that ask for whole ones.
//!
//! Mesos has an isolator of this name that sets nothing. Here a task whose `cpus` are a whole number gets so many processors to
//! itself, and all others share the rest; where that would be none, it shares too. Executors of frameworks share: what they may
//! use changes with their tasks. Invariant: a processor that is one container's is no other's.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nesos_sys::cgroup::{Cgroup, CgroupError, Limits};
use nesos_wire::ContainerId;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::TaskSpec;

use super::{Isolator, Refusal, Setup, Wish};
use crate::settings::Settings;

/// The note of which processors a container has to itself.
const NOTE: &str = "processors";
/// Most processors that are told apart.
const MAX: u32 = 4096;

/// Numbers of processors.
type Processors = BTreeSet<u32>;

/// Who has which.
#[derive(Debug)]
pub(super) struct Cpuset {
    /// The group of all containers.
    parent: Cgroup,
    all: Processors,
    /// Containers by what they have to themselves; empty: they share.
    held: RefCell<BTreeMap<ContainerId, Processors>>,
}

impl Cpuset {
    pub(super) fn new(settings: &Settings) -> Self {
        let top = Cgroup::find_root().unwrap_or_else(|| Cgroup::at("/"));
        let all = fs::read_to_string(top.path().join("cpuset.cpus.effective"));
        Self {
            parent: top.child(settings.flags.text_or_empty("cgroups_root")),
            all: parse(&all.unwrap_or_default()),
            held: RefCell::default(),
        }
    }

    /// What nobody has to himself; all, if that is nothing.
    fn shared(&self) -> Processors {
        let held = self.held.borrow();
        let own: Processors = held.values().flatten().copied().collect();
        let rest: Processors = self.all.difference(&own).copied().collect();
        if rest.is_empty() {
            self.all.clone()
        } else {
            rest
        }
    }

    /// Writes what is shared to those who share it. One that is just ending cannot take it any more.
    fn tell_sharers(&self) {
        let shared = text(&self.shared());
        let held = self.held.borrow();
        let sharers = held.iter().filter(|(_, own)| own.is_empty());
        for group in sharers.map(|(container, _)| self.parent.child(container.as_str())) {
            if group.exists()
                && let Err(error) = group.set_processors(&shared)
            {
                tracing::warn!("{error}");
            }
        }
    }
}

/// How many processors of its own the task asks for.
fn whole(spec: &TaskSpec) -> usize {
    let mut entries = spec.resources.entries().iter();
    let is_revocable = entries.any(|entry| entry.name() == "cpus" && entry.terms().is_revocable);
    match spec.resources.scalar("cpus").0 {
        cpus if cpus % 1000 == 0 && !is_revocable && spec.kind != ExecutorKind::Custom => {
            usize::try_from(cpus / 1000).unwrap_or(0)
        }
        _ => 0,
    }
}

impl Isolator for Cpuset {
    fn name(&self) -> &'static str {
        "cgroups/cpuset"
    }

    fn check(&self) -> Result<(), String> {
        match self.all.is_empty() {
            true => Err("this machine's cgroup v2 tree has no cpuset controller".into()),
            false => Ok(()),
        }
    }

    fn limit(&self, _spec: &TaskSpec, limits: &mut Option<Limits>) {
        limits.get_or_insert_default();
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        if wish.container_id.as_str().contains('.') {
            // It runs in the group of the container around it.
            return Ok(());
        }
        let count = whole(wish.spec);
        let free = self.shared();
        // One stays for the others, whoever they will be.
        let own: Processors = match count < free.len() {
            true => free.into_iter().rev().take(count).collect(),
            false => Processors::new(),
        };
        if !own.is_empty() {
            setup.notes.push((NOTE, text(&own)));
        }
        let mut held = self.held.borrow_mut();
        held.insert(wish.container_id.clone(), own);
        Ok(())
    }

    fn equip(
        &self,
        container: &ContainerId,
        _spec: &TaskSpec,
        group: &Cgroup,
    ) -> Result<(), Refusal> {
        let own = self
            .held
            .borrow()
            .get(container)
            .cloned()
            .unwrap_or_default();
        let set = |processors: &Processors| -> Result<(), CgroupError> {
            group.set_processors(&text(processors))
        };
        if own.is_empty() {
            return Ok(set(&self.shared())?);
        }
        set(&own)?;
        self.tell_sharers();
        Ok(())
    }

    fn adopt(&self, container: &ContainerId, run: &Path) {
        let note = fs::read_to_string(run.join(NOTE)).unwrap_or_default();
        let own = parse(&note).intersection(&self.all).copied().collect();
        self.held.borrow_mut().insert(container.clone(), own);
    }

    fn release(&self, container: &ContainerId) {
        let gone = self.held.borrow_mut().remove(container);
        if gone.is_some_and(|own| !own.is_empty()) {
            self.tell_sharers();
        }
    }
}

/// `0-2,5`, as the kernel writes it.
fn parse(text: &str) -> Processors {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?.min(MAX))
    });
    ranges.flatten().collect()
}

fn text(processors: &Processors) -> String {
    let words: Vec<String> = processors.iter().map(u32::to_string).collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::resource_text;

    struct Lab {
        folder: tempfile::TempDir,
        cpuset: Cpuset,
    }

    impl Lab {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let cpuset = Cpuset {
                parent: Cgroup::at(folder.path()),
                all: parse("0-3"),
                held: RefCell::default(),
            };
            Self { folder, cpuset }
        }

        fn launch(&self, name: &str, resources: &str) -> Vec<(&'static str, String)> {
            let key = nesos_wire::TaskKey {
                framework: nesos_wire::FrameworkId::new("f"),
                task: nesos_wire::TaskId::new(name),
            };
            let spec = TaskSpec {
                resources: resource_text::parse(resources).unwrap(),
                ..crate::container::tests::spec(&key)
            };
            let container = ContainerId::new(name);
            let wish = Wish::new(&spec, &container, Path::new("/s"), None);
            let mut setup = Setup::default();
            self.cpuset.prepare(&wish, &mut setup).unwrap();
            let group = self.cpuset.parent.child(name);
            group.create().unwrap();
            self.cpuset.equip(&container, &spec, &group).unwrap();
            setup.notes
        }

        fn of(&self, name: &str) -> String {
            fs::read_to_string(self.folder.path().join(name).join("cpuset.cpus")).unwrap()
        }
    }

    #[test]
    fn whole_processors_are_one_containers_and_the_others_share() {
        let lab = Lab::new();
        assert!(lab.launch("small", "cpus:0.5").is_empty());
        assert_eq!(lab.of("small"), "0,1,2,3");
        assert_eq!(lab.launch("two", "cpus:2"), [(NOTE, "2,3".to_owned())]);
        assert_eq!(
            (lab.of("two"), lab.of("small")),
            ("2,3".into(), "0,1".into())
        );
        lab.launch("one", "cpus:1");
        assert_eq!((lab.of("one"), lab.of("small")), ("1".into(), "0".into()));
        // The last one is never one container's.
        assert!(lab.launch("next", "cpus:1").is_empty());
        assert_eq!(lab.of("next"), "0");
        lab.cpuset.release(&ContainerId::new("two"));
        assert_eq!(
            (lab.of("small"), lab.of("next")),
            ("0,2,3".into(), "0,2,3".into())
        );
        assert_eq!(lab.of("one"), "1");
    }

    #[test]
    fn a_later_agentd_knows_who_has_which() {
        let lab = Lab::new();
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join(NOTE), "3,9").unwrap();
        lab.cpuset.adopt(&ContainerId::new("old"), run.path());
        lab.launch("new", "cpus:1.5");
        assert_eq!(lab.of("new"), "0,1,2");
    }

    #[test]
    fn lists_are_the_kernels() {
        assert_eq!(text(&parse("0-2,5\n")), "0,1,2,5");
        assert!(parse("").is_empty() && parse("x-y").is_empty());
    }
}
