//! Brings a task's files into its sandbox: copies of local files, downloads over HTTP and HTTPS, what archives hold.
//!
//! Called by the containerizer before the task starts, with a plan from `agentd_core::fetch`. Downloads happen here, on
//! the agent's own loop and connections; whatever reads a local path or the inside of an archive is a process of the
//! task's user (`helper`). Invariant: bounded in size by the task's disk and the room on the machine's, in time without
//! progress, and in redirects; nothing is written outside the sandbox.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agentd_core::fetch::{Fetch, Source};
use hyper::header::HeaderMap;
use nesos_sys::disk;
use nesos_sys::fs::{Access, give_to, open_beneath};

pub(crate) mod authorities;
pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod helper;
pub(crate) mod options;
pub(crate) mod proxy;
#[cfg(test)]
mod secure;

use cache::{Cache, Miss, Reservation};
use client::Client;
use helper::Helper;

/// Kept free on the machine's disk, whatever a task may use: checkpoints and logs need it.
pub(crate) const KEEP_FREE: u64 = 16 * 1024 * 1024;
/// Bytes hashed at once.
const CHUNK: usize = 64 * 1024;

/// Why a file could not be fetched. Names the URI.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch '{uri}': {reason}")]
pub(crate) struct FetchFailure {
    uri: String,
    reason: String,
}

/// Where to and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) sandbox: PathBuf,
    pub(crate) helper: Helper,
    pub(crate) client: Client,
    /// The task's disk, bytes; none: as much as there is.
    pub(crate) disk: Option<u64>,
}

/// A file that is there and is to be unpacked.
type Waiting<'a> = (&'a Fetch, File);

/// Fetches everything in order.
pub(crate) async fn fetch_all(
    plan: &[Fetch],
    target: &Target,
    cache: &Cache,
) -> Result<(), FetchFailure> {
    if plan.is_empty() {
        return Ok(());
    }
    let fetched = fetch_and_unpack(plan, target, cache).await;
    cache.count(fetched.is_ok());
    fetched
}

async fn fetch_and_unpack(
    plan: &[Fetch],
    target: &Target,
    cache: &Cache,
) -> Result<(), FetchFailure> {
    let mut fetching = Fetching {
        target,
        cache,
        left: room(target),
    };
    let failed = |fetch: &Fetch| {
        let uri = fetch.uri.clone();
        move |reason| FetchFailure { uri, reason }
    };
    let mut waiting: Vec<Waiting<'_>> = Vec::new();
    for fetch in plan {
        let archive = fetching.fetch(fetch).await.map_err(failed(fetch))?;
        waiting.extend(archive.map(|archive| (fetch, archive)));
    }
    // After all fetching: what is unpacked may hold links, and nothing is fetched through those.
    for (fetch, archive) in waiting {
        fetching
            .unpack(fetch, archive)
            .await
            .map_err(failed(fetch))?;
    }
    Ok(())
}

/// The fetching of one task.
struct Fetching<'a> {
    target: &'a Target,
    cache: &'a Cache,
    /// Bytes that it may still write.
    left: u64,
}

impl Fetching<'_> {
    /// Answers with the file if it is to be unpacked.
    async fn fetch(&mut self, fetch: &Fetch) -> Result<Option<File>, String> {
        if fetch.cache {
            match self.fetch_cached(fetch).await {
                Err(Miss::Bypass) => {}
                Err(Miss::Failed(reason)) => return Err(reason),
                Ok(file) if fetch.extract.is_some() => return Ok(Some(file)),
                Ok(file) => {
                    self.place(fetch, file).await?;
                    return Ok(None);
                }
            }
        }
        let mut file = create(fetch, self.target)?;
        let size = match &fetch.source {
            Source::Path(path) => {
                let copy = file.try_clone().map_err(said)?;
                self.target.helper.copy(path, copy, self.left).await?;
                file.metadata().map_err(said)?.len()
            }
            Source::Http(url) => {
                let (client, left) = (&self.target.client, self.left);
                let headers = HeaderMap::new();
                client
                    .download(url, &headers, &mut file, &mut |_| Ok(left))
                    .await?
            }
        };
        self.left = self.left.saturating_sub(size);
        let path = Path::new(&fetch.target);
        let reopen = || open_beneath(&self.target.sandbox, path, Access::Read).map_err(said);
        if let Some(sha256) = fetch.sha256 {
            verify(reopen()?, sha256).await?;
        }
        fetch.extract.map(|_| reopen()).transpose()
    }

    async fn fetch_cached(&self, fetch: &Fetch) -> Result<File, Miss> {
        let user = self.target.helper.user.as_ref().map(|user| user.uid);
        let key = (user, fetch.uri.clone());
        self.cache
            .obtain(key, async |reservation| self.fill(fetch, reservation).await)
            .await
    }

    async fn fill(&self, fetch: &Fetch, reservation: &mut Reservation<'_>) -> Result<(), Miss> {
        let path = reservation.path().to_owned();
        let fail = |error: io::Error| Miss::Failed(error.to_string());
        match &fetch.source {
            Source::Path(source) => {
                let size = fs::metadata(source).map_err(fail)?.len();
                reservation.reserve(size)?;
                let file = File::create(&path).map_err(fail)?;
                let copied = self.target.helper.copy(source, file, size).await;
                copied.map_err(Miss::Failed)?;
            }
            Source::Http(url) => {
                let mut file = File::create(&path).map_err(fail)?;
                let mut bypass = false;
                let mut room = |size: Option<u64>| {
                    let reserved = size.ok_or(Miss::Bypass).and_then(|size| {
                        reservation.reserve(size)?;
                        Ok(size)
                    });
                    bypass = reserved.is_err();
                    reserved.map_err(|_| String::new())
                };
                let headers = HeaderMap::new();
                let client = &self.target.client;
                let done = client.download(url, &headers, &mut file, &mut room).await;
                done.map_err(|reason| {
                    if bypass {
                        Miss::Bypass
                    } else {
                        Miss::Failed(reason)
                    }
                })?;
            }
        }
        if let Some(sha256) = fetch.sha256 {
            let file = File::open(&path).map_err(fail)?;
            verify(file, sha256).await.map_err(Miss::Failed)?;
        }
        Ok(())
    }

    /// Copies a file of the cache into the sandbox.
    async fn place(&mut self, fetch: &Fetch, mut from: File) -> Result<(), String> {
        let size = from.metadata().map_err(said)?.len();
        let left = self.left.checked_sub(size);
        self.left = left.ok_or_else(|| client::too_large(self.left))?;
        let mut file = create(fetch, self.target)?;
        // Copying may take long on a memory card; the loop must go on.
        let copied = tokio::task::spawn_blocking(move || io::copy(&mut from, &mut file)).await;
        copied.map_err(said)?.map(drop).map_err(said)
    }

    async fn unpack(&mut self, fetch: &Fetch, archive: File) -> Result<(), String> {
        let Some(format) = fetch.extract else {
            return Ok(());
        };
        let (into, left) = (&self.target.sandbox, self.left);
        let helper = &self.target.helper;
        let used = helper.unpack(archive, (format, &fetch.target), into, left);
        self.left = left.saturating_sub(used.await?);
        Ok(())
    }
}

/// The task's disk, or what is free if that is less.
fn room(target: &Target) -> u64 {
    let free = disk::space(&target.sandbox).map_or(0, |space| space.available);
    let free = free.saturating_sub(KEEP_FREE);
    target.disk.map_or(free, |disk| disk.min(free))
}

async fn verify(mut file: File, expected: [u8; 32]) -> Result<(), String> {
    let hash = move || {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(context.finish()),
                Ok(count) => context.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    let found = tokio::task::spawn_blocking(hash).await.map_err(said)?;
    let found = found.map_err(said)?;
    if found.as_ref() == expected {
        return Ok(());
    }
    let digits: String = found
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Err(format!("its SHA-256 is {digits}, the URI says otherwise"))
}

fn create(fetch: &Fetch, target: &Target) -> Result<File, String> {
    let relative = Path::new(&fetch.target);
    // The task does not run yet and nothing is unpacked yet, so nobody can have planted a link here.
    if let Some(folder) = relative
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        let mut path = target.sandbox.clone();
        for name in folder {
            path.push(name);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.map_err(said)?,
            }
            if let Some(user) = &target.helper.user {
                std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid)).map_err(said)?;
            }
        }
    }
    let mode = if fetch.executable { 0o755 } else { 0o644 };
    let file = open_beneath(&target.sandbox, relative, Access::Replace(mode)).map_err(said)?;
    if let Some(user) = &target.helper.user {
        give_to(&file, user.uid, user.gid).map_err(said)?;
    }
    Ok(file)
}

fn said(error: impl ToString) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
