//! Waiting until boards that were switched on have joined the cluster, with a line for each.
//!
//! Called by `up` and `add`. Not here: making boards. Invariant: a board whose emulator has ended is told at once, with
//! the end of its console.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::VmError;
use super::state::{Board, Cluster};
use crate::args::Output;
use crate::cluster::{self, Node};
use crate::failure::Failure;
use crate::http::Client;
use crate::masters::{self, Master};
use crate::output;

/// Pause between looks at boards that boot.
const POLL: Duration = Duration::from_millis(150);
/// How long a request may take. slirp accepts connections for a board that is not there yet and asks it again only after
/// seconds, so a new request gets through earlier than an old one.
const PATIENCE: Duration = Duration::from_millis(500);
/// Enough for a board on a machine that does much else.
const MAX_PATIENCE: Duration = Duration::from_secs(8);
/// Bytes of a console's log that are looked at for its last line, and shown when the emulator has ended.
const TAIL: u64 = 2000;
/// Longest console line beside a board's name.
const LINE: usize = 90;

/// When a board that is a master is where it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// It votes.
    Votes,
    /// The leader knows it, if only as one that asks: whether it is let in is the operator's, or its founder's, affair.
    Known,
}

/// Seconds until each board had joined.
pub(super) type Joined = BTreeMap<String, f64>;

/// Waits until all `boards` have joined.
pub(super) async fn wait(
    cluster: &Cluster,
    boards: &[Board],
    until: Until,
    limit: Duration,
    output: Output,
) -> Result<Joined, Failure> {
    let begin = Instant::now();
    let mut view = View::new(boards, output);
    let mut patience = PATIENCE;
    let mut joined = Joined::new();
    loop {
        let seen = timeout(patience, look(cluster)).await;
        if seen.is_err() {
            // Or the boards are that slow.
            patience = MAX_PATIENCE.min(patience * 2);
        }
        let seen = seen.ok().and_then(Result::ok);
        for board in boards {
            if joined.contains_key(&board.name) {
                continue;
            }
            let state = seen.as_ref().and_then(|seen| seen.state(board, until));
            if let Some(what) = state {
                joined.insert(board.name.clone(), begin.elapsed().as_secs_f64());
                view.joined(board, what, begin.elapsed())?;
            } else if cluster.pid_of(board).is_none() {
                let (log, tail) = (cluster.console_log(board), tail(cluster, board));
                return Err(VmError::Ended {
                    node: board.name.clone(),
                    log,
                    tail,
                }
                .into());
            } else {
                view.booting(board, &tail(cluster, board));
            }
        }
        if joined.len() == boards.len() {
            return Ok(joined);
        }
        if begin.elapsed() > limit {
            let missing = boards.iter().map(|board| board.name.as_str());
            let missing: Vec<&str> = missing.filter(|name| !joined.contains_key(*name)).collect();
            return Err(VmError::NotJoined {
                seconds: limit.as_secs(),
                first: missing.first().copied().unwrap_or_default().to_owned(),
                missing: missing.join(", "),
            }
            .into());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What the leading master knows.
struct Seen {
    nodes: Vec<Node>,
    masters: Vec<Master>,
    /// Several boards are masters.
    is_group: bool,
}

impl Seen {
    /// What the board does now, if it is where it should be.
    fn state(&self, board: &Board, until: Until) -> Option<&'static str> {
        let has_joined = |node: &Node| node.active && node.answers_to(&board.name);
        if board.runs_tasks() && !self.nodes.iter().any(has_joined) {
            return None;
        }
        if !board.is_master() {
            return Some("joined");
        }
        let master = self.masters.iter().find(|one| one.name == board.name)?;
        match () {
            () if master.votes() && board.runs_tasks() => Some("joined"),
            () if master.votes() && self.is_group => Some("votes"),
            () if master.votes() => Some("leads"),
            () if until == Until::Known => Some("asks to be let in"),
            () => None,
        }
    }
}

/// Asks anew whoever leads: a redirect that was followed leads to an address that this machine does not reach.
async fn look(cluster: &Cluster) -> Result<Seen, Failure> {
    let client = Client::new(cluster.master(), None);
    Ok(Seen {
        nodes: cluster::nodes(&client).await?,
        masters: masters::all(&client).await?,
        is_group: cluster.masters() > 1,
    })
}

/// One line per board on standard error; nothing but events for programs.
struct View {
    bars: Option<(MultiProgress, BTreeMap<String, ProgressBar>)>,
    output: Output,
}

impl View {
    fn new(boards: &[Board], output: Output) -> Self {
        let show = output == Output::Table && std::io::stderr().is_terminal();
        let bars = show.then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("{spinner} {prefix:<9} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bars = boards.iter().map(|board| {
                let bar = all.add(
                    ProgressBar::new_spinner()
                        .with_style(style.clone())
                        .with_prefix(board.name.clone()),
                );
                bar.enable_steady_tick(POLL);
                (board.name.clone(), bar)
            });
            let bars = bars.collect();
            (all, bars)
        });
        Self { bars, output }
    }

    fn bar(&self, board: &Board) -> Option<&ProgressBar> {
        self.bars.as_ref()?.1.get(&board.name)
    }

    fn booting(&self, board: &Board, tail: &str) {
        if let Some(bar) = self.bar(board) {
            let line = tail
                .lines()
                .rev()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .unwrap_or("starting");
            bar.set_message(
                line.chars()
                    .filter(|c| !c.is_control())
                    .take(LINE)
                    .collect::<String>(),
            );
        }
    }

    fn joined(&mut self, board: &Board, what: &str, after: Duration) -> Result<(), Failure> {
        let text = format!("{what} after {:.1} s", after.as_secs_f64());
        match (self.bar(board), self.output) {
            (Some(bar), _) => bar.finish_with_message(text),
            (None, Output::Table) => eprintln!("nesos: {} {text}", board.name),
            (None, Output::Json) => output::json(
                &json!({"event": what, "name": board.name, "seconds": after.as_secs_f64()}),
            )?,
        }
        Ok(())
    }
}

fn tail(cluster: &Cluster, board: &Board) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut log = fs::File::open(cluster.console_log(board))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        log.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
