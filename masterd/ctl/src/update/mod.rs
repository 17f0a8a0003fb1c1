//! `nesos update`: puts a bundle onto the cluster's boards, one after the other, and stops at the first that does not come back with it.
//!
//! Each board is drained, given the bundle (by this machine, or by a board that runs it already), restarts, proves itself, and is taken
//! back. Called by `main`. Not here: installing and judging an image, which is the board's (`init`). Invariants: at most one board is
//! away because of this; whoever ends this in the middle can begin it again, and boards that are done stay as they are.

mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use nesos_base::bundle::{BundleError, Prelude};
use serde_json::json;
use tokio::time::Instant;

use crate::args::{Global, Output, UpdateArgs};
use crate::cluster::{self, Node};
use crate::failure::Failure;
use crate::http::{Client, HttpError};
use crate::output::{self, Progress};
use crate::{locate, masters, nodes};
use plan::{Board, Plan, Rank, Status, Verdict, judge, plan};

/// Largest bundle: two slots are smaller.
const MAX_BUNDLE: u64 = 128 << 20;
/// How long a board may take to install one: a slow card.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// How long a board may take to restart and prove itself, or to come back as it was: a trial, two boots and two joins.
const RETURN_LIMIT: Duration = Duration::from_secs(240);
/// How long a drain may take beyond the tasks' grace.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// How long a board may take to be offered again.
const ACTIVE_LIMIT: Duration = Duration::from_secs(30);
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(500);

/// Why the update ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    /// The bundle's file.
    #[error("read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is none.
    #[error("{path}: {source}")]
    Bundle {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// Not as long as it says.
    #[error("{path} has {have} bytes, its header says {want}")]
    Length {
        /// Which.
        path: PathBuf,
        /// Bytes there are.
        have: u64,
        /// Bytes there should be.
        want: u64,
    },
    /// A board has not become what it should.
    #[error("stopped at {node}: {why}; {done} of {all} boards are updated")]
    Stopped {
        /// Which board.
        node: String,
        /// What happened.
        why: String,
        /// Boards that are done.
        done: usize,
        /// Boards that were to be.
        all: usize,
    },
}

/// The bundle to install.
struct Bundle {
    prelude: Prelude,
    bytes: Bytes,
}

/// `nesos update`.
pub(crate) async fn update(
    global: &Global,
    args: &UpdateArgs,
    output: Output,
) -> Result<(), Failure> {
    let bundle = read(&args.bundle)?;
    let header = &bundle.prelude.header;
    let mut roll = Roll {
        client: locate::client(global).await?,
        global,
        args,
        progress: Progress::new(),
    };
    let (boards, lonely) = roll.boards().await?;
    let mut plan = plan(boards, header, &args.nodes);
    if args.nodes.is_empty() {
        let why = "no agent runs on it (role = \"master\"): update its card, or have it be both";
        plan.left_out
            .extend(lonely.into_iter().map(|name| (name, why.to_owned())));
    }
    tell(&plan, &bundle, output)?;
    if args.dry_run {
        return Ok(());
    }
    let all = plan.update.len();
    // Boards that others may take the bundle from.
    let mut holders: Vec<String> = addresses(&plan.current);
    for (done, board) in plan.update.iter().enumerate() {
        let name = board.node.name.clone();
        match roll.one(board, &bundle, &holders).await {
            Ok(from) => report(&name, &from, output)?,
            Err(Trouble::Failed(why)) => {
                return Err(UpdateError::Stopped {
                    node: name,
                    why,
                    done,
                    all,
                }
                .into());
            }
            Err(Trouble::Failure(failure)) => return Err(failure),
        }
        holders.insert(0, board.node.address.clone());
    }
    Ok(())
}

fn addresses(boards: &[Board]) -> Vec<String> {
    boards
        .iter()
        .map(|board| board.node.address.clone())
        .collect()
}

fn read(path: &Path) -> Result<Bundle, UpdateError> {
    let failed = |source| UpdateError::Read {
        path: path.to_owned(),
        source,
    };
    let have = std::fs::metadata(path).map_err(failed)?.len();
    if have > MAX_BUNDLE {
        let error =
            std::io::Error::other(format!("{have} bytes, at most {MAX_BUNDLE} are expected"));
        return Err(failed(error));
    }
    let bytes: Bytes = std::fs::read(path).map_err(failed)?.into();
    let prelude = Prelude::parse(&bytes).map_err(|source| UpdateError::Bundle {
        path: path.to_owned(),
        source,
    })?;
    match prelude.total() {
        want if want == bytes.len() as u64 => Ok(Bundle { prelude, bytes }),
        want => Err(UpdateError::Length {
            path: path.to_owned(),
            have: bytes.len() as u64,
            want,
        }),
    }
}

fn tell(plan: &Plan, bundle: &Bundle, output: Output) -> Result<(), Failure> {
    let header = &bundle.prelude.header;
    let names = |boards: &[Board]| -> Vec<String> {
        boards.iter().map(|board| board.node.name.clone()).collect()
    };
    let (update, current) = (names(&plan.update), names(&plan.current));
    if output == Output::Json {
        let left_out: BTreeMap<_, _> = plan.left_out.iter().cloned().collect();
        return output::json(&json!({
            "board": header.board, "version": header.version, "build_id": header.build_id,
            "update": update, "current": current, "left_out": left_out,
        }));
    }
    output::line(&format!(
        "Nesos {} ({}) for {}",
        header.version, header.build_id, header.board
    ))?;
    for (name, why) in &plan.left_out {
        output::line(&format!("{name} is left out: {why}"))?;
    }
    for name in current {
        output::line(&format!("{name} runs it already"))?;
    }
    match update.is_empty() {
        true => output::line("nothing is to be updated"),
        false => output::line(&format!("in this order: {}", update.join(", "))),
    }
}

fn report(name: &str, from: &str, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => output::json(&json!({"node": name, "state": "updated", "from": from})),
        Output::Table => output::line(&format!("{name} is updated (from {from})")),
    }
}

/// Why a board is not done.
enum Trouble {
    /// The board.
    Failed(String),
    /// This side.
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        Self::Failure(error.into())
    }
}

/// The update under way.
struct Roll<'a> {
    client: Client,
    global: &'a Global,
    args: &'a UpdateArgs,
    progress: Progress,
}

impl Roll<'_> {
    /// All boards, with what they say, and the names of masters on whose boards no agent runs.
    async fn boards(&self) -> Result<(Vec<Board>, Vec<String>), Failure> {
        let mut masters = masters::all(&self.client).await?;
        let mut boards = Vec::new();
        for node in cluster::nodes(&self.client).await? {
            let at = masters
                .iter()
                .position(|master| nodes::is_same(&node, master));
            let master = at.map(|at| masters.remove(at));
            let rank = match master.as_ref().map(|master| master.role.as_str()) {
                // A master alone is no other board's neighbour, and leads.
                Some("leader") => Rank::Leader,
                Some(_) => Rank::Master,
                None => Rank::Agent,
            };
            let status = match node.state {
                "unreachable" | "awaited" => Err("it cannot be reached".to_owned()),
                _ => self.status(&node).await.map_err(|error| error.to_string()),
            };
            boards.push(Board { node, rank, status });
        }
        let lonely = masters.into_iter().map(|master| master.name);
        Ok((boards, lonely.collect()))
    }

    async fn status(&self, node: &Node) -> Result<Status, HttpError> {
        let said = self.client.json(&path(node)).await?;
        let said = said.as_object().into_iter().flatten();
        let texts = said.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        Ok(Status::of(&texts.collect()))
    }

    /// Updates one board; returns where it had the bundle from.
    async fn one(
        &mut self,
        board: &Board,
        bundle: &Bundle,
        holders: &[String],
    ) -> Result<String, Trouble> {
        let node = &board.node;
        let before = board.status.clone().map_err(Trouble::Failed)?;
        if !self.args.no_drain {
            self.drain(node).await?;
        }
        let given = self.give(node, bundle, holders).await;
        let done = match given {
            Ok(from) => self
                .wait_for_return(node, &before, bundle)
                .await
                .map(|()| from),
            Err(trouble) => Err(trouble),
        };
        // It is taken back as what it is now, be that the old image.
        let active = match self.args.no_drain {
            true => Ok(()),
            false => self.activate(node).await,
        };
        let from = done?;
        active.map(|()| from)
    }

    async fn drain(&mut self, node: &Node) -> Result<(), Trouble> {
        self.progress.now(&format!("{}: draining", node.name));
        let grace = json!({"seconds": self.args.grace as i64, "nanos": 0});
        let drain = json!({"agent_id": {"value": node.agent}, "max_grace_period": grace, "mark_gone": false});
        let call = json!({"type": "DRAIN_AGENT", "drain_agent": drain});
        self.client.operate(&call).await?;
        let limit = Duration::from_secs_f64(self.args.grace) + DRAIN_LIMIT;
        let is_drained = |state: &str| state == "drained";
        match self.wait_for_state(node, limit, is_drained).await? {
            true => Ok(()),
            false => {
                let why = format!("it is not empty after {} s", limit.as_secs());
                // What it had is gone or going, but it may have new tasks.
                self.activate(node).await?;
                Err(Trouble::Failed(why))
            }
        }
    }

    async fn activate(&mut self, node: &Node) -> Result<(), Trouble> {
        let member = json!({"agent_id": {"value": node.agent}});
        let call = json!({"type": "REACTIVATE_AGENT", "reactivate_agent": member});
        let until = Instant::now() + ACTIVE_LIMIT;
        loop {
            match self.client.operate(&call).await {
                Ok(()) => break,
                Err(error) if error.is_temporary() && Instant::now() < until => {
                    self.pause_and_look_again().await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        // A board that is away is taken back when it comes.
        self.wait_for_state(node, ACTIVE_LIMIT, |state| state == "active")
            .await?;
        Ok(())
    }

    /// Whether the node came into the state in time.
    async fn wait_for_state(
        &mut self,
        node: &Node,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<bool, Trouble> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            match cluster::nodes(&self.client).await {
                Ok(nodes) => {
                    let now = nodes.iter().find(|other| other.agent == node.agent);
                    if now.is_some_and(|now| wanted(now.state)) {
                        return Ok(true);
                    }
                }
                Err(error) if error.is_temporary() => {}
                Err(error) => return Err(error.into()),
            }
            self.pause_and_look_again().await;
        }
        Ok(false)
    }

    /// From a board that runs it, if one is left that can, else from this machine.
    async fn give(
        &mut self,
        node: &Node,
        bundle: &Bundle,
        holders: &[String],
    ) -> Result<String, Trouble> {
        for holder in holders {
            self.progress
                .now(&format!("{}: takes it from {holder}", node.name));
            let path = format!("{}?from={holder}", path(node));
            match self
                .client
                .post_slowly(&path, Bytes::new(), INSTALL_LIMIT)
                .await
            {
                Ok(_) => return Ok(holder.clone()),
                Err(error) => self.progress.note(&format!("{}: {error}", node.name)),
            }
        }
        self.progress
            .now(&format!("{}: takes it from this machine", node.name));
        let path = path(node);
        let sent = self
            .client
            .post_slowly(&path, bundle.bytes.clone(), INSTALL_LIMIT);
        match sent.await {
            Ok(_) => Ok("this machine".to_owned()),
            Err(error) => Err(Trouble::Failed(error.to_string())),
        }
    }

    async fn wait_for_return(
        &mut self,
        node: &Node,
        before: &Status,
        bundle: &Bundle,
    ) -> Result<(), Trouble> {
        let until = Instant::now() + RETURN_LIMIT;
        let mut last = "it has yet to restart";
        while Instant::now() < until {
            // Not being answered is what a restart is like, of the leader's board too.
            if let Ok(now) = self.status(node).await {
                match judge(before, &now, &bundle.prelude.header) {
                    Verdict::Updated => return Ok(()),
                    Verdict::Failed(why) => return Err(Trouble::Failed(why)),
                    Verdict::Wait(why) => last = why,
                }
            } else {
                last = "it restarts";
            }
            self.progress.now(&format!("{}: {last}", node.name));
            self.pause_and_look_again().await;
        }
        let seconds = RETURN_LIMIT.as_secs();
        Err(Trouble::Failed(format!("after {seconds} s {last}")))
    }

    /// The leader may be another one by now.
    async fn pause_and_look_again(&mut self) {
        tokio::time::sleep(LOOK).await;
        if self.client.json("/version").await.is_err()
            && let Ok(client) = locate::client(self.global).await
        {
            self.client = client;
        }
    }
}

fn path(node: &Node) -> String {
    format!("/nesos/v1/agents/{}/update", node.agent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_bundle_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.nub");
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).map(drop).unwrap_err().to_string()
        };
        assert!(refused(b"PK").contains("x.nub: not a Nesos update bundle"));
        assert!(refused(b"NESOSUB1").contains("truncated"));
        assert!(read(&folder.path().join("none")).is_err());
    }
}
