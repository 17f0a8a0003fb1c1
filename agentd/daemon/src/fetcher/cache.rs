//! Files that tasks asked to keep (`cache: true`), for the next task that fetches the same.
//!
//! Called by the fetcher. A file is known by the user it was fetched for and its URI, checksum included; like Mesos, what
//! is there is not asked for again. Emptied when agentd starts: what was in flight cannot be told from what was whole.
//! Invariants: never more bytes than `--fetcher_cache_size`, counted before they are written; several tasks that want
//! the same wait for one download, and if it is given up another of them goes on.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::sync::OnceCell;

/// Whose it is, and what.
pub(super) type Key = (Option<u32>, String);

/// The cache.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    limit: u64,
    used: Cell<u64>,
    /// Tasks whose files were all fetched, and others: for metrics, and kept or not.
    tasks: Cell<(u64, u64)>,
    /// Counts uses and names files.
    turn: Cell<u64>,
    slots: RefCell<BTreeMap<Key, Rc<Slot>>>,
}

#[derive(Debug)]
struct Slot {
    name: u64,
    /// Its size, when it is whole.
    whole: OnceCell<u64>,
    used_at: Cell<u64>,
}

/// Why a file is not in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// It does not fit, or its size is not known: to be fetched past the cache.
    Bypass,
    /// It cannot be fetched.
    Failed(String),
}

/// Room in the cache for a file that is being written.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    cache: &'a Cache,
    path: PathBuf,
    bytes: u64,
    is_kept: bool,
}

impl Cache {
    /// An empty one in `directory`, made if missing; what was in it is removed.
    pub(crate) fn new(directory: PathBuf, limit: u64) -> std::io::Result<Self> {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Others would read what only their owner may.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        Ok(Self {
            directory,
            limit,
            used: Cell::new(0),
            tasks: Cell::default(),
            turn: Cell::new(0),
            slots: RefCell::default(),
        })
    }

    /// Bytes allowed and bytes used, for metrics.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.limit, self.used.get())
    }

    /// Tasks whose files were all fetched, and those for which that failed.
    pub(crate) fn tasks(&self) -> (u64, u64) {
        self.tasks.get()
    }

    /// The files of one more task are fetched, or cannot be.
    pub(super) fn count(&self, is_done: bool) {
        let (done, failed) = self.tasks.get();
        self.tasks
            .set((done + u64::from(is_done), failed + u64::from(!is_done)));
    }

    /// The file, open; fetched by `fill` if it is not there.
    pub(super) async fn obtain<'a>(
        &'a self,
        key: Key,
        fill: impl AsyncFnOnce(&mut Reservation<'a>) -> Result<(), Miss>,
    ) -> Result<File, Miss> {
        let slot = self.slot(&key);
        let filled = slot.whole.get_or_try_init(|| async {
            let mut reservation = Reservation {
                cache: self,
                path: self.path(slot.name),
                bytes: 0,
                is_kept: false,
            };
            fill(&mut reservation).await?;
            reservation.is_kept = true;
            Ok(reservation.bytes)
        });
        let opened = match filled.await {
            Ok(_) => File::open(self.path(slot.name)).map_err(|e| Miss::Failed(e.to_string())),
            Err(miss) => Err(miss),
        };
        drop(slot);
        // Slots that were given up, and of which nobody waits for the file.
        self.slots
            .borrow_mut()
            .retain(|_, slot| slot.whole.initialized() || Rc::strong_count(slot) > 1);
        opened
    }

    fn slot(&self, key: &Key) -> Rc<Slot> {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        let mut slots = self.slots.borrow_mut();
        let slot = slots.entry(key.clone()).or_insert_with(|| {
            Rc::new(Slot {
                name: turn,
                whole: OnceCell::new(),
                used_at: Cell::new(turn),
            })
        });
        slot.used_at.set(turn);
        slot.clone()
    }

    fn path(&self, name: u64) -> PathBuf {
        self.directory.join(name.to_string())
    }

    /// Removes the file that nobody has wanted for longest; false if there is none.
    fn evict(&self) -> bool {
        let mut slots = self.slots.borrow_mut();
        let idle = slots
            .iter()
            .filter(|(_, slot)| slot.whole.initialized() && Rc::strong_count(slot) == 1);
        let Some((key, slot)) = idle.min_by_key(|(_, slot)| slot.used_at.get()) else {
            return false;
        };
        let (key, path) = (key.clone(), self.path(slot.name));
        let bytes = slot.whole.get().copied().unwrap_or(0);
        slots.remove(&key);
        // Who has it open keeps it.
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
        self.used.set(self.used.get().saturating_sub(bytes));
        true
    }
}

impl Reservation<'_> {
    /// Where the file goes.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes room for so many bytes, once.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<(), Miss> {
        while self.cache.used.get().saturating_add(bytes) > self.cache.limit {
            if bytes > self.cache.limit || !self.cache.evict() {
                return Err(Miss::Bypass);
            }
        }
        self.cache.used.set(self.cache.used.get() + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let used = &self.cache.used;
            used.set(used.get().saturating_sub(self.bytes));
            // It may not have been made yet.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        tokio::task::LocalSet::new().block_on(&runtime.expect("runtime"), future)
    }

    async fn put(cache: &Cache, key: &str, size: usize) -> Result<String, Miss> {
        let key = (None, key.to_string());
        let mut file = cache
            .obtain(key, async |reservation| {
                reservation.reserve(size as u64)?;
                fs::write(reservation.path(), "x".repeat(size)).expect("write");
                Ok(())
            })
            .await?;
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        Ok(text)
    }

    async fn is_there(cache: &Cache, key: &str) -> bool {
        let missing = async |_: &mut Reservation<'_>| Err(Miss::Failed("asked".into()));
        cache.obtain((None, key.into()), missing).await.is_ok()
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_does_not_fit_passes_by() {
        let folder = tempfile::tempdir().expect("scratch folder");
        run(async {
            let cache = Cache::new(folder.path().join("cache"), 10).expect("made");
            for key in ["a", "b", "c"] {
                put(&cache, key, 3).await.expect("kept");
            }
            assert_eq!(cache.sizes(), (10, 9));
            assert!(is_there(&cache, "a").await);
            put(&cache, "d", 4).await.expect("kept");
            assert!(!is_there(&cache, "b").await, "the longest unused");
            assert!(is_there(&cache, "a").await && is_there(&cache, "c").await);
            assert_eq!(put(&cache, "e", 11).await, Err(Miss::Bypass));
            assert!(is_there(&cache, "a").await, "nothing was evicted for it");
            assert_eq!(cache.sizes(), (10, 10));
            let files = fs::read_dir(folder.path().join("cache")).expect("list");
            assert_eq!(files.count(), 3);
        });
        let emptied = Cache::new(folder.path().join("cache"), 10).expect("made");
        assert_eq!(emptied.sizes(), (10, 0));
        assert_eq!(fs::read_dir(&emptied.directory).expect("list").count(), 0);
    }

    #[test]
    fn many_wait_for_one_and_another_goes_on_when_it_is_given_up() {
        let folder = tempfile::tempdir().expect("scratch folder");
        run(async {
            let cache = Rc::new(Cache::new(folder.path().join("cache"), 10).expect("made"));
            let fills = Rc::new(Cell::new(0));
            let want = |stalls: bool| {
                let (cache, fills) = (cache.clone(), fills.clone());
                tokio::task::spawn_local(async move {
                    let fill = async |reservation: &mut Reservation<'_>| {
                        fills.set(fills.get() + 1);
                        reservation.reserve(6)?;
                        if stalls {
                            std::future::pending::<()>().await;
                        }
                        tokio::task::yield_now().await;
                        fs::write(reservation.path(), "whole.").expect("write");
                        Ok(())
                    };
                    cache.obtain((None, "k".into()), fill).await
                })
            };
            let first = want(true);
            tokio::task::yield_now().await;
            let others = [want(false), want(false), want(false)];
            tokio::task::yield_now().await;
            assert_eq!(fills.get(), 1, "all wait for the first");
            first.abort();
            for other in others {
                other.await.expect("ended").expect("there");
            }
            assert_eq!(fills.get(), 2, "one of them went on");
            assert_eq!(cache.sizes(), (10, 6));
        });
    }
}
