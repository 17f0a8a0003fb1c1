//! `nesos vm`: a cluster of emulated boards on this machine, without root and without touching its network.
//!
//! Each board is a QEMU process with its own copy of the image; two more processes are their network ([`switch`]).
//! [`state`] is what lies on disk between commands. Called by `main`. Invariant: no frame of the boards leaves this
//! machine; the only ways in are ports of 127.0.0.1, which lead to masters' APIs.

mod add;
mod board;
mod console;
mod control;
mod disk;
mod door;
mod fabric;
mod join;
mod lease;
mod loss;
mod monitor;
mod state;
mod switch;
mod up;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::args::{Output, VmCommand, VmDirArgs, VmLossArgs};
use crate::failure::{Failure, REFUSED, USAGE};
use crate::locate::{self, LocateError};
use crate::output;
use control::{Answer, Errand};
use state::{Board, Cluster};

/// How long boards may take to shut down in order: tasks get 3 s of grace, file systems a second.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(12);
/// How long a killed process may take to disappear.
const GONE_LIMIT: Duration = Duration::from_secs(5);

/// Why a command about emulated boards failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VmError {
    /// There is one already.
    #[error("a cluster runs in {0} already; `nesos vm down` ends it")]
    Running(PathBuf),
    /// There is none.
    #[error("no cluster in {0}; `nesos vm up 3` starts one")]
    None(PathBuf),
    /// No such board.
    #[error("there is no board '{node}'; there are {known}")]
    NoBoard {
        /// What was asked for.
        node: String,
        /// What there is.
        known: String,
    },
    /// The board is not in the state that the command needs.
    #[error("{node} is {state}")]
    State {
        /// Which board.
        node: String,
        /// `running already` or `off`.
        state: &'static str,
    },
    /// Somebody adds boards right now.
    #[error("another command changes the cluster in {0} right now")]
    Busy(PathBuf),
    /// No address is left.
    #[error("there are {have} boards; a cluster has at most {}", state::MAX_BOARDS)]
    Full {
        /// How many boards there are.
        have: usize,
    },
    /// A second master behind a port that leads to the first.
    #[error(
        "the cluster was started with one master, to which its API's port leads; `nesos vm up 3 --masters 3` starts one that can have more"
    )]
    OneMaster,
    /// More masters than boards.
    #[error("--masters: {masters} masters need as many boards, not {boards}")]
    Masters {
        /// How many masters were asked for.
        masters: u8,
        /// How many boards.
        boards: u8,
    },
    /// No built image.
    #[error(transparent)]
    Image(#[from] nesos_image::ArtifactsError),
    /// A board's copy of the image.
    #[error(transparent)]
    Disk(#[from] nesos_image::PersonaliseError),
    /// Key and token.
    #[error("make the cluster's key: {0}")]
    Key(#[from] nesos_shell::tls::TlsError),
    /// Files.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// `cluster.json` of another version.
    #[error("{path} cannot be understood: {source}; `nesos vm down` removes it")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The folder's name is too long for sockets.
    #[error("{0} is too long for the socket files in it; choose a shorter --state-dir")]
    LongPath(PathBuf),
    /// The API's port.
    #[error(
        "port {port} of 127.0.0.1 cannot be used: {source}; choose another with --port (0: any)"
    )]
    Port {
        /// Which.
        port: u16,
        /// What went wrong.
        source: io::Error,
    },
    /// QEMU is not there or does not like its arguments.
    #[error("start {what}: {reason}")]
    Qemu {
        /// `the switch` or a board.
        what: String,
        /// QEMU's words.
        reason: String,
    },
    /// No way from this machine to a new master.
    #[error("open a way to {node}: {source}")]
    Way {
        /// Which board.
        node: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The switch gave no address.
    #[error("reserve an address for {node}: {reason}")]
    Lease {
        /// Which board.
        node: String,
        /// What went wrong.
        reason: String,
    },
    /// The switch does not do what it was told.
    #[error("tell the switch: {0}")]
    Switch(#[source] io::Error),
    /// A board's process ended by itself.
    #[error("the emulator of {node} ended; the end of {log}:\n{tail}")]
    Ended {
        /// Which board.
        node: String,
        /// Its console's log.
        log: PathBuf,
        /// The last lines.
        tail: String,
    },
    /// Boards that did not join.
    #[error(
        "not joined after {seconds} s: {missing}. The cluster stays up; the console says more: `nesos vm console {first}`"
    )]
    NotJoined {
        /// How long was waited.
        seconds: u64,
        /// Which boards.
        missing: String,
        /// The first of them.
        first: String,
    },
    /// A process that does not go away.
    #[error("process {pid} of {node} does not end")]
    Stuck {
        /// Which board.
        node: String,
        /// Its emulator.
        pid: u32,
    },
    /// The console or a terminal.
    #[error("{operation}: {source}")]
    Terminal {
        /// What was tried.
        operation: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// Where state lives.
    #[error(transparent)]
    Locate(#[from] LocateError),
}

impl VmError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::None(_)
            | Self::NoBoard { .. }
            | Self::Masters { .. }
            | Self::Full { .. }
            | Self::OneMaster
            | Self::LongPath(_)
            | Self::Locate(_) => USAGE,
            _ => REFUSED,
        }
    }
}

/// `nesos vm …`.
pub(crate) async fn vm(command: &VmCommand, output: Output) -> Result<(), Failure> {
    match command {
        VmCommand::Up(args) => up::up(args, &folder(&args.dir)?, output).await,
        VmCommand::Add(args) => add::add(args, &folder(&args.dir)?, output).await,
        VmCommand::Loss(args) => lose(&Cluster::load(&folder(&args.dir)?)?, args, output),
        VmCommand::Switch(args) => Ok(fabric::run(args).await?),
        VmCommand::Down(args) => down(folder(args)?, output).await,
        VmCommand::List(args) => list(&Cluster::load(&folder(args)?)?, output),
        VmCommand::Console(args) => {
            let cluster = Cluster::load(&folder(&args.dir)?)?;
            Ok(console::attach(&cluster, cluster.board(&args.node)?).await?)
        }
        VmCommand::Kill(args) => {
            let cluster = Cluster::load(&folder(&args.dir)?)?;
            let board = cluster.board(&args.node)?;
            board::cut_power(&cluster, board).await?;
            tell(output, "killed", board)
        }
        VmCommand::Start(args) => {
            let cluster = Cluster::load(&folder(&args.dir)?)?;
            let board = cluster.board(&args.node)?;
            if cluster.pid_of(board).is_some() {
                return Err(VmError::State {
                    node: board.name.clone(),
                    state: "running already",
                }
                .into());
            }
            board::start(&cluster, board)?;
            tell(output, "started", board)
        }
    }
}

/// Ends every process of the cluster in `folder` and removes it; also what a broken start has left.
async fn down(folder: PathBuf, output: Output) -> Result<(), Failure> {
    match Cluster::load(&folder) {
        Ok(cluster) => {
            board::shut_down_all(&cluster).await?;
            switch::stop(&cluster).await?;
        }
        // Nothing that this version could stop; the folder is in the way.
        Err(VmError::Foreign { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    std::fs::remove_dir_all(&folder).map_err(|source| VmError::File {
        operation: "remove",
        path: folder,
        source,
    })?;
    match output {
        Output::Json => output::json(&json!({"event": "down"})),
        Output::Table => output::line("the cluster is down"),
    }
}

/// Has the switch lose frames, if it is asked to; says what is lost and was.
fn lose(cluster: &Cluster, args: &VmLossArgs, output: Output) -> Result<(), Failure> {
    if cluster.switch_pid().is_none() {
        return Err(VmError::None(cluster.folder.clone()).into());
    }
    let ask = |errand: &Errand| control::ask(&cluster.control_socket(), errand);
    let told = || {
        if let Some(per_thousand) = args.share {
            ask(&Errand::Lose(per_thousand, args.seed))?;
        }
        match ask(&Errand::Tell)? {
            Answer::Lost(lost) => Ok(lost),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    };
    let lost = told().map_err(VmError::Switch)?;
    let percent = f64::from(lost.per_thousand) / 10.0;
    match output {
        Output::Json => output::json(
            &json!({"event": "loss", "percent": percent, "passed": lost.passed, "lost": lost.lost}),
        ),
        Output::Table => output::line(&format!(
            "{percent} % of the frames between boards are lost; {} passed and {} were lost since this was said",
            lost.passed, lost.lost
        )),
    }
}

fn list(cluster: &Cluster, output: Output) -> Result<(), Failure> {
    let state = |board: &Board| {
        if cluster.pid_of(board).is_some() {
            "running"
        } else {
            "off"
        }
    };
    if output == Output::Json {
        return cluster.boards.iter().try_for_each(|board| {
            output::json(&json!({
                "name": board.name, "role": board.role, "state": state(board), "address": board.address(),
                "pid": cluster.pid_of(board), "console_log": cluster.console_log(board),
                "console": cluster.console(board), "disk": cluster.disk(board), "api": cluster.master(),
            }))
        });
    }
    let rows: Vec<Vec<String>> = cluster
        .boards
        .iter()
        .map(|board| {
            let pid = cluster
                .pid_of(board)
                .map_or_else(String::new, |pid| pid.to_string());
            vec![
                board.name.clone(),
                board.role.clone(),
                state(board).to_owned(),
                board.address(),
                pid,
            ]
        })
        .collect();
    output::table(&["BOARD", "ROLE", "STATE", "ADDRESS", "PID"], &rows)
}

fn tell(output: Output, event: &str, board: &Board) -> Result<(), Failure> {
    match output {
        Output::Json => output::json(&json!({"event": event, "name": board.name})),
        Output::Table => output::line(&format!("{} {event}", board.name)),
    }
}

fn folder(args: &VmDirArgs) -> Result<PathBuf, VmError> {
    let folder = match &args.state_dir {
        Some(folder) => folder.clone(),
        None => locate::state_home()?.join("vm"),
    };
    // QEMU leaves this folder when it becomes a daemon.
    std::path::absolute(&folder).map_err(|source| VmError::File {
        operation: "resolve",
        path: folder,
        source,
    })
}
