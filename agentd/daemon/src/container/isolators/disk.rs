//! `disk/du`: how much of the disk containers use, looked at now and then, and their end if it is more than they were given.
//!
//! Counted are the sandbox with what was written to images (against `disk`), and each persistent volume (against its size).
//! Whole disks are their task's. Invariant: one look at a time, however many containers there are.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agentd_core::{Limitation, VolumePlace};
use nesos_sys::cgroup::{Limits, Usage};
use nesos_wire::ContainerId;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::task::TaskSpec;
use tokio::sync::Semaphore;

use super::{Isolator, Refusal, Setup, Wish};
use crate::settings::Settings;
use crate::volumes;

/// The note of what is counted: a line for each bound, its bytes and folders.
const NOTE: &str = "disk";
/// Most files of one look; a container with more is not looked at to the end.
const MAX_FILES: usize = 4_000_000;

/// Folders, and what they may hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    most: u64,
    folders: Vec<PathBuf>,
}

#[derive(Debug, Default)]
struct Watched {
    /// What is counted against `disk`.
    own: Vec<PathBuf>,
    bounds: Vec<Bound>,
    used: Option<u64>,
    over: Option<Limitation>,
}

/// What is known of all containers.
#[derive(Debug)]
pub(in crate::container) struct Books {
    work_dir: PathBuf,
    interval: Duration,
    is_enforced: bool,
    watched: RefCell<BTreeMap<ContainerId, Watched>>,
    /// Whose look it is.
    turn: Arc<Semaphore>,
}

impl Books {
    pub(super) fn new(settings: &Settings) -> Rc<Self> {
        let interval = settings.flags.duration("container_disk_watch_interval");
        Rc::new(Self {
            work_dir: settings.work_dir.clone(),
            interval: interval.unwrap_or(Duration::from_secs(15)),
            is_enforced: settings.flags.is_on("enforce_container_disk_quota"),
            watched: RefCell::default(),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Looks at the container again and again until it uses more than it may.
    pub(in crate::container) async fn exceeded(&self, container: &ContainerId) {
        loop {
            tokio::time::sleep(self.interval).await;
            let bounds = self
                .watched
                .borrow()
                .get(container)
                .map(|one| one.bounds.clone());
            let Some(bounds) = bounds.filter(|bounds| !bounds.is_empty()) else {
                continue;
            };
            let Ok(turn) = self.turn.clone().acquire_owned().await else {
                continue;
            };
            let look = move || {
                let found: Vec<_> = bounds
                    .iter()
                    .map(|bound| (bound.most, used(&bound.folders)))
                    .collect();
                drop(turn);
                found
            };
            let Ok(found) = tokio::task::spawn_blocking(look).await else {
                continue;
            };
            if self.note(container, &found) {
                return;
            }
        }
    }

    /// What was found of each bound; whether the container is to end for it.
    fn note(&self, container: &ContainerId, found: &[(u64, Option<u64>)]) -> bool {
        let mut watched = self.watched.borrow_mut();
        let Some(one) = watched.get_mut(container) else {
            return false;
        };
        one.used = found.first().and_then(|(_, used)| *used);
        let over = found
            .iter()
            .find(|(most, used)| used.is_none_or(|used| used > *most));
        if let (true, Some((limit, used))) = (self.is_enforced, over) {
            one.over = Some(Limitation::Disk {
                limit: *limit,
                used: used.unwrap_or(0),
            });
        }
        one.over.is_some()
    }

    /// What it may use and used when somebody last looked, bytes.
    pub(in crate::container) fn shown(
        &self,
        container: &ContainerId,
    ) -> Option<(u64, Option<u64>)> {
        let watched = self.watched.borrow();
        let one = watched.get(container)?;
        Some((one.bounds.first()?.most, one.used))
    }

    fn bounds(&self, spec: &TaskSpec, own: &[PathBuf]) -> Result<Vec<Bound>, Refusal> {
        const MB: f64 = 1024.0 * 1024.0;
        let mut sandbox = 0.0;
        let mut bounds = Vec::new();
        for entry in spec
            .resources
            .entries()
            .iter()
            .filter(|entry| entry.name() == "disk")
        {
            let amount = entry.scalar().to_f64() * MB;
            match VolumePlace::of(entry) {
                Some(place) if !place.is_whole_disk => bounds.push(Bound {
                    most: amount as u64,
                    folders: vec![volumes::path(&self.work_dir, &place)?],
                }),
                Some(_) => {}
                None => sandbox += amount,
            }
        }
        if sandbox > 0.0 {
            let folders = own.to_vec();
            let most = sandbox as u64;
            bounds.insert(0, Bound { most, folders });
        }
        Ok(bounds)
    }
}

/// The isolator.
#[derive(Debug)]
pub(super) struct Disk(pub(super) Rc<Books>);

impl Isolator for Disk {
    fn name(&self) -> &'static str {
        "disk/du"
    }

    fn needs_root(&self) -> bool {
        false
    }

    fn prepare(&self, wish: &Wish<'_>, setup: &mut Setup) -> Result<(), Refusal> {
        let mut own = vec![wish.sandbox.to_owned()];
        let images = wish.image.into_iter().chain(wish.image_volumes);
        own.extend(images.map(|image| image.upper.clone()));
        let bounds = self.0.bounds(wish.spec, &own)?;
        // What an executor may use changes with its tasks: a later agentd hears of it with the next one.
        if !bounds.is_empty() && wish.spec.kind != ExecutorKind::Custom {
            setup.notes.push((NOTE, text(&bounds)));
        }
        let mut watched = self.0.watched.borrow_mut();
        let one = Watched {
            own,
            bounds,
            ..Watched::default()
        };
        watched.insert(wish.container_id.clone(), one);
        Ok(())
    }

    fn resize(&self, container: &ContainerId, spec: &TaskSpec) -> Result<(), Refusal> {
        let mut watched = self.0.watched.borrow_mut();
        if let Some(one) = watched.get_mut(container) {
            one.bounds = self.0.bounds(spec, &one.own)?;
        }
        Ok(())
    }

    fn adopt(&self, container: &ContainerId, run: &Path) {
        let note = fs::read_to_string(run.join(NOTE)).unwrap_or_default();
        let bounds = parse(&note);
        if !bounds.is_empty() {
            let one = Watched {
                bounds,
                ..Watched::default()
            };
            self.0.watched.borrow_mut().insert(container.clone(), one);
        }
    }

    fn release(&self, container: &ContainerId) {
        self.0.watched.borrow_mut().remove(container);
    }

    fn limitation(
        &self,
        container: &ContainerId,
        _group: Option<&(Usage, Limits)>,
    ) -> Option<Limitation> {
        self.0.watched.borrow().get(container)?.over
    }
}

fn text(bounds: &[Bound]) -> String {
    let mut text = String::new();
    for bound in bounds {
        let folders: Vec<_> = bound
            .folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\t{}", bound.most, folders.join("\t"));
    }
    text
}

fn parse(note: &str) -> Vec<Bound> {
    let bound = |line: &str| {
        let (most, folders) = line.split_once('\t')?;
        Some(Bound {
            most: most.parse().ok()?,
            folders: folders.split('\t').map(PathBuf::from).collect(),
        })
    };
    note.lines().filter_map(bound).collect()
}

/// Bytes of the disk that the folders take together, as `du` counts them; none if paths are longer than the kernel takes, which
/// nobody but a task that hides something makes.
fn used(folders: &[PathBuf]) -> Option<u64> {
    let mut bytes = 0;
    let mut count = 0;
    let mut seen = HashSet::new();
    let mut open: Vec<(PathBuf, Option<u64>)> = folders
        .iter()
        .map(|folder| (folder.clone(), None))
        .collect();
    while let Some((path, device)) = open.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => return None,
            // Gone meanwhile.
            Err(_) => continue,
        };
        let is_elsewhere = device.is_some_and(|device| device != metadata.dev());
        let is_known = metadata.nlink() > 1
            && !metadata.is_dir()
            && !seen.insert((metadata.dev(), metadata.ino()));
        count += 1;
        if is_elsewhere || is_known || count > MAX_FILES {
            continue;
        }
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            let entries = match fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::InvalidFilename => return None,
                entries => entries.into_iter().flatten().flatten(),
            };
            open.extend(entries.map(|entry| (entry.path(), Some(metadata.dev()))));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::resource_text;

    fn books(work_dir: &Path) -> Rc<Books> {
        Rc::new(Books {
            work_dir: work_dir.into(),
            interval: Duration::from_millis(1),
            is_enforced: true,
            watched: RefCell::default(),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    #[test]
    fn files_are_counted_once_and_links_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        for folder in [&a, &b] {
            fs::create_dir(folder).unwrap();
        }
        let empty = used(&[a.clone(), b.clone()]).unwrap();
        fs::write(a.join("file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(a.join("file"), b.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", b.join("link")).unwrap();
        let full = used(&[a, b.clone()]).unwrap();
        assert!(
            (1 << 20..(1 << 20) + 65_536).contains(&(full - empty)),
            "{empty} {full}"
        );
        assert_eq!(used(&["/nothing".into()]), Some(0));
        // Deeper than any path can say.
        let mut made = std::process::Command::new("sh");
        let name = "d".repeat(200);
        made.arg("-c")
            .arg(format!(
                "i=0; while [ $i -lt 25 ]; do mkdir {name} && cd {name}; i=$((i+1)); done"
            ))
            .current_dir(&b);
        assert!(made.status().unwrap().success());
        assert_eq!(used(std::slice::from_ref(&b)), None);
        let removed = std::process::Command::new("rm")
            .arg("-rf")
            .arg(&b)
            .status()
            .unwrap();
        assert!(removed.success());
    }

    #[test]
    fn sandbox_and_volumes_have_bounds_of_their_own() {
        let spec = |resources: &str| {
            let key = nesos_wire::TaskKey {
                framework: nesos_wire::FrameworkId::new("f"),
                task: nesos_wire::TaskId::new("t"),
            };
            TaskSpec {
                resources: resource_text::parse(resources).unwrap(),
                ..crate::container::tests::spec(&key)
            }
        };
        let books = books(Path::new("/w"));
        let own = [PathBuf::from("/s"), PathBuf::from("/upper")];
        assert!(books.bounds(&spec("cpus:1"), &own).unwrap().is_empty());
        let bounds = books.bounds(&spec("disk:2"), &own).unwrap();
        let expected = Bound {
            most: 2 << 20,
            folders: own.to_vec(),
        };
        assert_eq!(bounds, [expected]);
        assert_eq!(parse(&text(&bounds)), bounds);
        assert!(parse("x\ty\n\n5").is_empty());
    }

    #[tokio::test]
    async fn one_that_uses_more_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let run = tempfile::tempdir().unwrap();
        fs::write(
            run.path().join(NOTE),
            format!("1000000\t{}\n", folder.path().display()),
        )
        .unwrap();
        let disk = Disk(books(Path::new("/w")));
        let container = ContainerId::new("c");
        disk.adopt(&container, run.path());
        fs::write(folder.path().join("file"), vec![1; 2_000_000]).unwrap();
        disk.0.exceeded(&container).await;
        let over = disk.limitation(&container, None).unwrap();
        assert!(
            matches!(
                over,
                Limitation::Disk {
                    limit: 1_000_000,
                    used: 2_000_000..
                }
            ),
            "{over:?}"
        );
        assert!(matches!(
            disk.0.shown(&container),
            Some((1_000_000, Some(2_000_000..)))
        ));
        disk.release(&container);
        assert_eq!(disk.limitation(&container, None), None);
    }
}
