//! `nesos master`: who the masters are, and who is to be one.
//!
//! Called by `main`. Where one is added, this waits until it takes part, or says that it does not yet.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::args::{MasterCommand, Output};
use crate::dev::{DevError, find};
use crate::failure::{Failure, REFUSED};
use crate::http::Client;
use crate::output;

const PATH: &str = "/nesos/v1/masters";
const BACKUP: &str = "/nesos/v1/backup";
/// How long a master may take to catch up before this is no longer waited for; it goes on by itself.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(100);

/// Why this machine does not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasterError {
    /// masterd is not beside `nesos`.
    #[error(transparent)]
    Program(DevError),
    /// It does not start.
    #[error("start masterd: {0}")]
    Start(#[source] std::io::Error),
    /// The backup's file.
    #[error("write {file}: {reason}")]
    File {
        /// Which.
        file: PathBuf,
        /// The system's word.
        reason: std::io::Error,
    },
}

/// A master, as the leader tells. A missing key becomes an empty value: other versions say less or more.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Master {
    /// The node's name.
    pub(crate) name: String,
    /// Its disk's number, in hexadecimal.
    pub(crate) number: String,
    /// `host:port`.
    pub(crate) address: String,
    /// `leader`, `voter`, `learner` or `candidate`.
    pub(crate) role: String,
    /// Whether the leader has a connection to it.
    pub(crate) is_connected: bool,
    /// How many entries of the log it lacks; of a candidate nobody knows.
    pub(crate) behind: Option<u64>,
}

impl Master {
    fn read(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            number: text("number"),
            address: text("address"),
            role: text("role"),
            is_connected: value["connected"].as_bool().unwrap_or_default(),
            behind: value["behind"].as_u64(),
        }
    }

    /// Whether its vote counts.
    pub(crate) fn votes(&self) -> bool {
        ["leader", "voter"].contains(&self.role.as_str())
    }
}

/// `nesos master …`
pub(crate) async fn run(
    client: &Client,
    command: &MasterCommand,
    format: Output,
) -> Result<(), Failure> {
    match command {
        MasterCommand::List => list(client, format).await,
        MasterCommand::Add { who, learner } => {
            let (wish, role) = match learner {
                true => ("add_learner", "learner"),
                false => ("add", "voter"),
            };
            let added = wish_for(client, json!({ wish: who })).await?;
            until(client, &added, role, format).await
        }
        MasterCommand::Promote { who } => {
            let promoted = wish_for(client, json!({ "promote": who })).await?;
            until(client, &promoted, "voter", format).await
        }
        MasterCommand::Remove { who } => {
            let removed = wish_for(client, json!({ "remove": who })).await?;
            say(&removed, "removed", format)
        }
        MasterCommand::Backup { file } => backup(client, file, format).await,
        // Needs no master: `main` has done it.
        MasterCommand::Recover { .. } => Ok(()),
        MasterCommand::HandOver { who } => {
            let next = wish_for(client, json!({ "hand_over": who })).await?;
            until(client, &next, "leader", format).await
        }
    }
}

/// `nesos master recover`: has masterd do it, which knows its disk.
pub(crate) fn recover(
    work_dir: &Path,
    number: Option<&str>,
    backup: Option<&Path>,
) -> Result<u8, MasterError> {
    let program = find("masterd").map_err(MasterError::Program)?;
    let mut masterd = Command::new(program);
    masterd.arg(format!("--work_dir={}", work_dir.display()));
    masterd.args(number.map(|number| format!("--force_new_cluster={number}")));
    masterd.args(backup.map(|file| format!("--restore={}", file.display())));
    let status = masterd.status().map_err(MasterError::Start)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(REFUSED))
}

/// Whole or not at all, and for its owner only: it names principals.
async fn backup(client: &Client, file: &Path, format: Output) -> Result<(), Failure> {
    let (_, bytes) = client.bytes(BACKUP).await?;
    let failed = |reason| MasterError::File {
        file: file.to_owned(),
        reason,
    };
    let unfinished = file.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let write = || {
        let mut out = options.open(&unfinished)?;
        out.write_all(&bytes)?;
        out.sync_all()?;
        std::fs::rename(&unfinished, file)
    };
    write().map_err(failed)?;
    match format {
        Output::Json => output::json(&json!({"file": file, "bytes": bytes.len()})),
        Output::Table => output::line(&format!("{}: {} bytes", file.display(), bytes.len())),
    }
}

async fn list(client: &Client, format: Output) -> Result<(), Failure> {
    let masters = masters(client).await?;
    if format == Output::Json {
        return masters.iter().try_for_each(output::json);
    }
    let rows = masters.iter().map(Master::read).map(|master| {
        let behind = master.behind.map(|behind| behind.to_string());
        vec![
            master.name,
            master.number,
            master.address,
            master.role,
            if master.is_connected { "yes" } else { "no" }.to_owned(),
            behind.unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let headings = ["NAME", "NUMBER", "ADDRESS", "ROLE", "CONNECTED", "BEHIND"];
    output::table(&headings, &rows.collect::<Vec<_>>())
}

/// Lets in who asks, one at a time; how many masters vote.
pub(crate) async fn let_in_all(client: &Client) -> Result<usize, Failure> {
    let known = all(client).await?;
    let is_quiet = !known.iter().any(|master| master.role == "learner");
    let asking = known.iter().find(|master| master.role == "candidate");
    if let Some(asking) = asking.filter(|_| is_quiet) {
        wish_for(client, json!({"add": asking.number})).await?;
    }
    Ok(known.iter().filter(|master| master.votes()).count())
}

/// The masters, and those that ask to be let in.
pub(crate) async fn all(client: &Client) -> Result<Vec<Master>, Failure> {
    let known = masters(client).await?;
    Ok(known.iter().map(Master::read).collect())
}

async fn masters(client: &Client) -> Result<Vec<Value>, Failure> {
    let answer = client.json(PATH).await?;
    Ok(answer["masters"].as_array().cloned().unwrap_or_default())
}

/// Says who is meant.
async fn wish_for(client: &Client, wish: Value) -> Result<Value, Failure> {
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
    let answer = client
        .post(PATH, &headers, wish.to_string().into_bytes())
        .await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    Ok(answer["master"].clone())
}

/// Waits until the master has this role, or leads.
async fn until(client: &Client, master: &Value, role: &str, format: Output) -> Result<(), Failure> {
    let end = Instant::now() + CATCH_UP;
    loop {
        // While the leadership changes nobody may answer.
        let known = masters(client).await.unwrap_or_default();
        let found = known
            .iter()
            .find(|known| known["number"] == master["number"]);
        let has = found
            .and_then(|found| found["role"].as_str())
            .unwrap_or_default();
        if has == role || has == "leader" {
            return say(master, has, format);
        }
        if Instant::now() >= end {
            return say(master, "under way", format);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn say(master: &Value, state: &str, format: Output) -> Result<(), Failure> {
    let name = master["name"].as_str().unwrap_or_default();
    match format {
        Output::Json => {
            output::json(&json!({"name": name, "number": master["number"], "state": state}))
        }
        Output::Table => output::line(&format!("{}: {state}", output::printable(name))),
    }
}
