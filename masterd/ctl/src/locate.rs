//! Finding the master: flag or environment, a cluster that this machine runs, mDNS.
//!
//! Also keeps the notes about running clusters that make the second way work. Called by `main`, `nesos dev` and
//! `nesos vm`. Invariant: a note whose process is gone is never believed.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use nesos_shell::mdns;
use serde::{Deserialize, Serialize};

use crate::args::Global;
use crate::failure::{UNREACHABLE, USAGE};
use crate::http::Client;

/// Set to `off`, it keeps `nesos` from sending multicast on its own account.
const MDNS_VARIABLE: &str = "NESOS_MDNS";
/// How long mDNS may take: the second query goes out after a second, a board under load answers within another.
const MDNS_LIMIT: Duration = Duration::from_secs(4);
/// The port of a master that was named without one.
const DEFAULT_PORT: u16 = 5050;

/// Why no master was found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocateError {
    /// More than one cluster would do.
    #[error("several clusters run on this machine; choose one with --master: {0}")]
    Ambiguous(String),
    /// No trace of a master.
    #[error(
        "no master: name one with --master HOST:PORT or NESOS_MASTER, or start one with `nesos vm up 3` or `nesos dev up`{0}"
    )]
    Nowhere(String),
    /// The folder for the notes.
    #[error("{operation} {path}: {source}")]
    Note {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Neither `XDG_STATE_HOME` nor `HOME`.
    #[error("neither XDG_STATE_HOME nor HOME is set: there is no folder for state")]
    Homeless,
}

impl LocateError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Nowhere(_) => UNREACHABLE,
            Self::Ambiguous(_) | Self::Note { .. } | Self::Homeless => USAGE,
        }
    }
}

/// A cluster that runs on this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Note {
    /// `dev` or `vm`.
    pub(crate) kind: String,
    /// `host:port` of the API.
    pub(crate) master: String,
    /// The process that is the cluster.
    pub(crate) pid: u32,
    /// When it was started, in the kernel's ticks: process ids are used again.
    pub(crate) started: u64,
}

/// A note on disk; removed when dropped unless [`NoteFile::keep`] was called.
#[derive(Debug)]
pub(crate) struct NoteFile {
    path: PathBuf,
    remove: bool,
}

/// The client for the master that the person means.
pub(crate) async fn client(global: &Global) -> Result<Client, LocateError> {
    let master = master(global).await?;
    Ok(Client::new(
        master,
        global.principal.as_deref().zip(global.secret.as_deref()),
    ))
}

async fn master(global: &Global) -> Result<String, LocateError> {
    if !global.discover {
        if let Some(master) = &global.master {
            return Ok(with_port(master));
        }
        let mut running = running_clusters();
        if running.len() > 1 {
            let list: Vec<_> = running
                .iter()
                .map(|note| format!("{} ({})", note.master, note.kind))
                .collect();
            return Err(LocateError::Ambiguous(list.join(", ")));
        }
        if let Some(note) = running.pop() {
            return Ok(note.master);
        }
        if std::env::var_os(MDNS_VARIABLE).is_some_and(|value| value == "off") {
            return Err(LocateError::Nowhere(String::new()));
        }
    }
    discover().await
}

/// The first master that answers over mDNS.
async fn discover() -> Result<String, LocateError> {
    let browser = mdns::browse(&mdns::Mode::On, None)
        .map_err(|error| LocateError::Nowhere(format!("; {error}")))?;
    let silence = || {
        LocateError::Nowhere(format!(
            "; nobody answered over mDNS within {} s",
            MDNS_LIMIT.as_secs()
        ))
    };
    let found = browser.ok_or_else(silence)?.leader_within(MDNS_LIMIT).await;
    found
        .and_then(|found| found.addresses.first().map(ToString::to_string))
        .ok_or_else(silence)
}

/// `$XDG_STATE_HOME/nesos` or `~/.local/state/nesos`.
pub(crate) fn state_home() -> Result<PathBuf, LocateError> {
    let set = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    Ok(base.ok_or(LocateError::Homeless)?.join("nesos"))
}

/// Notes that process `pid` is a cluster of `kind` with its API at `master`.
pub(crate) fn write_note(kind: &str, master: &str, pid: u32) -> Result<NoteFile, LocateError> {
    let folder = state_home()?.join("clusters");
    fs::create_dir_all(&folder).map_err(|source| LocateError::Note {
        operation: "create",
        path: folder.clone(),
        source,
    })?;
    let path = folder.join(format!("{kind}-{pid}.json"));
    let note = Note {
        kind: kind.to_owned(),
        master: master.to_owned(),
        pid,
        started: start_time(pid).unwrap_or_default(),
    };
    let text = serde_json::to_vec(&note).unwrap_or_default();
    fs::write(&path, text).map_err(|source| LocateError::Note {
        operation: "write",
        path: path.clone(),
        source,
    })?;
    Ok(NoteFile { path, remove: true })
}

/// Removes the note about process `pid`, if there is one.
pub(crate) fn remove_note(kind: &str, pid: u32) {
    if let Ok(home) = state_home() {
        // A note that stays is harmless: its process is gone, so nobody believes it.
        let _ = fs::remove_file(home.join("clusters").join(format!("{kind}-{pid}.json")));
    }
}

impl NoteFile {
    /// Leaves the note: the cluster outlives this process.
    pub(crate) fn keep(mut self) {
        self.remove = false;
    }
}

impl Drop for NoteFile {
    fn drop(&mut self) {
        if self.remove {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn running_clusters() -> Vec<Note> {
    let Ok(entries) = state_home().and_then(|home| {
        let path = home.join("clusters");
        fs::read_dir(&path).map_err(|source| LocateError::Note {
            operation: "read",
            path,
            source,
        })
    }) else {
        return Vec::new();
    };
    let mut notes: Vec<Note> = entries
        .flatten()
        .filter_map(|entry| read_note(&entry.path()))
        .collect();
    notes.sort_by(|a, b| a.master.cmp(&b.master));
    notes
}

fn read_note(path: &Path) -> Option<Note> {
    let note: Note = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    if start_time(note.pid) == Some(note.started) {
        return Some(note);
    }
    let _ = fs::remove_file(path);
    None
}

/// When process `pid` started (field 22 of `/proc/<pid>/stat`); none: there is no such process, or it is a zombie.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn with_port(master: &str) -> String {
    let master = master
        .strip_prefix("http://")
        .unwrap_or(master)
        .trim_end_matches('/');
    if master.contains(':') {
        master.to_owned()
    } else {
        format!("{master}:{DEFAULT_PORT}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_or_a_bare_name_is_a_master_too() {
        assert_eq!(with_port("http://a:1/"), "a:1");
        assert_eq!(with_port("a"), "a:5050");
    }

    #[test]
    fn a_process_has_a_start_time_and_a_missing_one_has_none() {
        assert!(start_time(std::process::id()).is_some());
        assert_eq!(start_time(u32::MAX), None);
    }
}
