//! The isolators of device files: what a container may open, and the accelerators that it has to itself.
//!
//! `gpu/devices` keeps the books of who has which; they survive agentd by a note in the container's run directory. Invariant:
//! an accelerator is one container's until nothing of that container runs.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nesos_sys::cgroup::{Cgroup, Limits};
use nesos_sys::device_filter::{DEFAULT, Filter, FilterError, Rule};
use nesos_wire::ContainerId;
use nesos_wire::task::TaskSpec;

use super::{Isolator, Refusal, Setup, Wish};
use crate::accelerators::Accelerator;

/// The note of which accelerators a container has: their numbers.
const NOTE: &str = "gpus";

/// Who has which.
#[derive(Debug)]
pub(super) struct Books {
    all: Vec<Accelerator>,
    given: RefCell<BTreeMap<ContainerId, Vec<usize>>>,
}

impl Books {
    pub(super) fn new(all: Vec<Accelerator>) -> Rc<Self> {
        Rc::new(Self {
            all,
            given: RefCell::default(),
        })
    }

    fn take(&self, container: &ContainerId, count: usize) -> Result<Vec<usize>, Refusal> {
        let mut given = self.given.borrow_mut();
        let taken: Vec<usize> = given.values().flatten().copied().collect();
        let free = (0..self.all.len()).filter(|number| !taken.contains(number));
        let numbers: Vec<usize> = free.take(count).collect();
        if numbers.len() < count {
            return Err(Refusal::new(format!(
                "{count} gpus are asked for, {} are free",
                numbers.len()
            )));
        }
        given.insert(container.clone(), numbers.clone());
        Ok(numbers)
    }

    /// The files of what the container has.
    fn files(&self, container: &ContainerId) -> Vec<PathBuf> {
        let given = self.given.borrow();
        let numbers = given.get(container).into_iter().flatten();
        let mut files: Vec<_> = numbers
            .filter_map(|number| self.all.get(*number))
            .flatten()
            .cloned()
            .collect();
        // What several have in common.
        files.sort();
        files.dedup();
        files
    }
}

/// A filter of what may be opened, for containers in a cgroup.
#[derive(Debug)]
pub(super) struct Devices {
    books: Rc<Books>,
    /// That of all containers without devices of their own.
    common: OnceCell<Filter>,
}

impl Devices {
    pub(super) fn new(books: Rc<Books>) -> Self {
        Self {
            books,
            common: OnceCell::new(),
        }
    }
}

impl Isolator for Devices {
    fn name(&self) -> &'static str {
        "cgroups/devices"
    }

    fn check(&self) -> Result<(), String> {
        let common = Filter::new(&DEFAULT).map_err(|error| error.to_string())?;
        // Set twice it would be the same.
        let _ = self.common.set(common);
        Ok(())
    }

    fn limit(&self, _spec: &TaskSpec, limits: &mut Option<Limits>) {
        limits.get_or_insert_default();
    }

    fn equip(
        &self,
        container: &ContainerId,
        _spec: &TaskSpec,
        group: &Cgroup,
    ) -> Result<(), Refusal> {
        let fail = |error: FilterError| Refusal::new(error.to_string());
        let group = group.directory()?;
        let files = self.books.files(container);
        if let (true, Some(common)) = (files.is_empty(), self.common.get()) {
            return common.attach(group).map_err(fail);
        }
        let own = files.iter().map(|file| Rule::of_file(file));
        let rules = DEFAULT.into_iter().map(Ok).chain(own);
        let rules = rules.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        Filter::new(&rules)
            .and_then(|filter| filter.attach(group))
            .map_err(fail)
    }
}

/// `gpus`: whole ones, each one container's. An executor has those that it begins with.
#[derive(Debug)]
pub(super) struct Gpus(pub(super) Rc<Books>);

impl Isolator for Gpus {
    fn name(&self) -> &'static str {
        "gpu/devices"
    }

    fn check(&self) -> Result<(), String> {
        let mut files = self.0.all.iter().flatten();
        let checked = files.try_for_each(|file| Rule::of_file(file).map(drop));
        checked.map_err(|error| error.to_string())
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let count = wish.spec.resources.scalar("gpus").0 / 1000;
        let count = usize::try_from(count).unwrap_or(0);
        let Some(files) = setup.file_system.as_mut().filter(|_| count > 0) else {
            return Ok(());
        };
        let numbers = self.0.take(wish.container_id, count)?;
        let paths = self.0.files(wish.container_id);
        if setup.rights.ids.is_some() {
            paths.iter().try_for_each(|path| check_open(path))?;
        }
        let paths = paths.into_iter().map(|path| path.display().to_string());
        files.devices.extend(paths);
        let words: Vec<String> = numbers.iter().map(usize::to_string).collect();
        setup.notes.push((NOTE, words.join(" ")));
        Ok(())
    }

    fn adopt(&self, container: &ContainerId, run: &Path) {
        // One without a note has none.
        let note = fs::read_to_string(run.join(NOTE)).unwrap_or_default();
        let numbers: Vec<usize> = note
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        if !numbers.is_empty() {
            let mut given = self.0.given.borrow_mut();
            given.insert(container.clone(), numbers);
        }
    }

    fn release(&self, container: &ContainerId) {
        self.0.given.borrow_mut().remove(container);
    }
}

/// In a user namespace what the host has is nobody's.
fn check_open(path: &Path) -> Result<(), Refusal> {
    const EVERYBODY: u32 = 0o006;
    let mode = fs::metadata(path).map_or(EVERYBODY, |metadata| metadata.permissions().mode());
    if mode & EVERYBODY != EVERYBODY {
        return Err(Refusal::new(format!(
            "{} cannot be opened from a user namespace (namespaces/user), as not everybody may read and write it",
            path.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_accelerator_is_one_containers() {
        let path = |text: &str| PathBuf::from(text);
        let (a, b, both) = (path("/dev/a"), path("/dev/b"), path("/dev/both"));
        let books = Books::new(vec![
            vec![a.clone(), both.clone()],
            vec![b.clone(), both.clone()],
        ]);
        let id = ContainerId::new;
        assert_eq!(books.take(&id("x"), 1).unwrap(), [0]);
        let error = books.take(&id("y"), 2).unwrap_err().to_string();
        assert!(
            error.contains("2 gpus are asked for, 1 are free"),
            "{error}"
        );
        assert_eq!(books.take(&id("y"), 1).unwrap(), [1]);
        assert_eq!(books.files(&id("x")), [a.clone(), both.clone()]);
        assert_eq!(books.files(&id("y")), [b.clone(), both.clone()]);
        let gpus = Gpus(books);
        gpus.release(&id("x"));
        gpus.release(&id("y"));
        assert_eq!(gpus.0.take(&id("z"), 2).unwrap(), [0, 1]);
        assert_eq!(gpus.0.files(&id("z")), [a, b, both]);
    }

    #[test]
    fn a_user_namespace_opens_what_everybody_may() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("device");
        fs::write(&file, "").unwrap();
        for (mode, may) in [(0o660, false), (0o664, false), (0o666, true)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_open(&file).is_ok(), may, "{mode:o}");
        }
    }

    #[test]
    fn a_note_outlives_agentd() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(NOTE), "1").unwrap();
        let gpus = Gpus(Books::new(vec![
            vec!["/dev/a".into()],
            vec!["/dev/b".into()],
        ]));
        gpus.adopt(&ContainerId::new("old"), run.path());
        gpus.adopt(&ContainerId::new("other"), Path::new("/nothing"));
        assert_eq!(gpus.0.take(&ContainerId::new("new"), 1).unwrap(), [0]);
        assert!(gpus.0.take(&ContainerId::new("next"), 1).is_err());
    }
}
