//! `nesos vm up`: makes the boards, switches them on, waits until all have joined.
//!
//! Called by `vm`. Invariant: a start that fails before the boards run leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::disk::Secrets;
use super::state::{Board, Cluster};
use super::{VmError, board, disk, lease, switch};
use crate::args::{Output, VmUpArgs};
use crate::cluster::{self, Node};
use crate::failure::Failure;
use crate::http::Client;
use crate::masters;
use crate::output;
use crate::signals::Stop;

/// The image that boards boot.
const IMAGE: &str = "qemu-virt";
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

/// Starts a cluster in `folder`.
pub(super) async fn up(args: &VmUpArgs, folder: &Path, output: Output) -> Result<(), Failure> {
    let cluster = prepare(args, folder)?;
    let booted = boot(args, &cluster).await;
    if let Err(error) = booted {
        // The first error is the one to show.
        let _ = board::shut_down_all(&cluster).await;
        let _ = switch::stop(&cluster).await;
        let _ = fs::remove_dir_all(folder);
        return Err(error.into());
    }
    if !args.attach {
        return wait_joined(args, &cluster, output).await;
    }
    let mut stop = Stop::new().map_err(|source| VmError::Terminal {
        operation: "listen for signals",
        source,
    })?;
    let stay = async {
        wait_joined(args, &cluster, output).await?;
        eprintln!("nesos: Ctrl-C takes the cluster down");
        std::future::pending::<Result<(), Failure>>().await
    };
    let result = tokio::select! {
        result = stay => result,
        () = stop.asked() => Ok(()),
    };
    super::down(folder.to_owned(), output).await?;
    result
}

/// Checks everything that can be checked before anything is made.
fn prepare(args: &VmUpArgs, folder: &Path) -> Result<Cluster, VmError> {
    if args.masters > args.boards {
        return Err(VmError::Masters {
            masters: args.masters,
            boards: args.boards,
        });
    }
    match Cluster::load(folder) {
        Ok(old)
            if old.switch_pid().is_some()
                || old.boards.iter().any(|board| old.pid_of(board).is_some()) =>
        {
            return Err(VmError::Running(folder.to_owned()));
        }
        // The rest of one that ended with the machine.
        Ok(_) => fs::remove_dir_all(folder).map_err(|source| VmError::File {
            operation: "remove",
            path: folder.to_owned(),
            source,
        })?,
        Err(VmError::None(_)) => {}
        Err(error) => return Err(error),
    }
    let image = match &args.image {
        Some(folder) => nesos_image::artifacts_in(folder, IMAGE)?,
        None => nesos_image::artifacts(IMAGE)?,
    };
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|source| VmError::File {
            operation: "resolve",
            path: path.to_owned(),
            source,
        })
    };
    let (port, ways) = free_ports(args.port, args.masters)?;
    let master = match args.master_runs_tasks || args.masters == args.boards {
        true => "both",
        false => "master",
    };
    let boards = (1..=args.boards).map(|number| {
        let way = ways.get(usize::from(number) - 1).copied();
        Board::new(number, way.map_or("agent", |_| master), way)
    });
    let boards = boards.collect();
    let mut command_line = image.manifest.command_line.clone();
    for word in image.manifest.qemu.append.iter().chain(&args.append) {
        command_line = format!("{command_line} {word}");
    }
    Ok(Cluster {
        folder: folder.to_owned(),
        port,
        memory: args.memory,
        cpus: args.cpus,
        kernel: absolute(&image.kernel)?,
        image: absolute(&image.image)?,
        command_line,
        machine: image.manifest.qemu.machine.clone(),
        cpu: image.manifest.qemu.cpu.clone(),
        boards,
    })
}

async fn boot(args: &VmUpArgs, cluster: &Cluster) -> Result<(), VmError> {
    cluster.save()?;
    let key = nesos_shell::tls::generate_cluster_key()?;
    let token = nesos_shell::tls::join_token(&key)?;
    let secrets = Secrets {
        key: key.to_text(),
        token: token.to_text(),
        masters: cluster.masters(),
    };
    for board in &cluster.boards {
        disk::make(
            &cluster.image,
            &cluster.disk(board),
            args.disk,
            board,
            &secrets,
        )?;
    }
    switch::start(cluster).await?;
    cluster
        .boards
        .iter()
        .try_for_each(|board| lease::reserve(cluster, board))?;
    cluster
        .boards
        .iter()
        .try_for_each(|board| board::start(cluster, board))
}

async fn wait_joined(args: &VmUpArgs, cluster: &Cluster, output: Output) -> Result<(), Failure> {
    let begin = Instant::now();
    let mut view = View::new(cluster, output);
    let mut patience = PATIENCE;
    let mut joined: BTreeMap<&str, f64> = BTreeMap::new();
    loop {
        let seen = timeout(patience, look(cluster)).await;
        if seen.is_err() {
            // Or the boards are that slow.
            patience = MAX_PATIENCE.min(patience * 2);
        }
        let seen = seen.ok().and_then(Result::ok);
        for board in &cluster.boards {
            if joined.contains_key(board.name.as_str()) {
                continue;
            }
            if seen.as_ref().is_some_and(|seen| seen.is_up(board)) {
                joined.insert(&board.name, begin.elapsed().as_secs_f64());
                let what = match () {
                    () if board.runs_tasks() => "joined",
                    () if cluster.masters() > 1 => "votes",
                    () => "leads",
                };
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
        if joined.len() == cluster.boards.len() {
            break;
        }
        if begin.elapsed() > Duration::from_secs(args.timeout) {
            let missing: Vec<&str> = cluster
                .boards
                .iter()
                .map(|b| b.name.as_str())
                .filter(|name| !joined.contains_key(name))
                .collect();
            let first = missing.first().copied().unwrap_or_default().to_owned();
            return Err(VmError::NotJoined {
                seconds: args.timeout,
                missing: missing.join(", "),
                first,
            }
            .into());
        }
        tokio::time::sleep(POLL).await;
    }
    let master = format!("http://{}", cluster.master());
    match output {
        Output::Json => output::json(
            &json!({"event": "ready", "master": master, "state_dir": cluster.folder, "seconds": joined}),
        ),
        Output::Table => output::line(&format!(
            "{} boards are up; the API is {master}",
            cluster.boards.len()
        )),
    }
}

/// What the leading master knows.
struct Seen {
    nodes: Vec<Node>,
    /// Names of the masters that vote.
    voting: Vec<String>,
}

impl Seen {
    fn is_up(&self, board: &Board) -> bool {
        let has_joined = |node: &Node| node.active && node.answers_to(&board.name);
        (!board.is_master() || self.voting.contains(&board.name))
            && (!board.runs_tasks() || self.nodes.iter().any(has_joined))
    }
}

/// Asks anew whoever leads: a redirect that was followed leads to an address that this machine does not reach.
async fn look(cluster: &Cluster) -> Result<Seen, Failure> {
    let client = Client::new(cluster.master(), None);
    Ok(Seen {
        nodes: cluster::nodes(&client).await?,
        voting: masters::voting(&client).await?,
    })
}

/// One line per board on standard error; nothing but events for programs.
struct View {
    bars: Option<(MultiProgress, Vec<ProgressBar>)>,
    output: Output,
}

impl View {
    fn new(cluster: &Cluster, output: Output) -> Self {
        let show = output == Output::Table && std::io::stderr().is_terminal();
        let bars = show.then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("{spinner} {prefix:<9} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bars = cluster.boards.iter().map(|board| {
                let bar = all.add(
                    ProgressBar::new_spinner()
                        .with_style(style.clone())
                        .with_prefix(board.name.clone()),
                );
                bar.enable_steady_tick(POLL);
                bar
            });
            let bars = bars.collect();
            (all, bars)
        });
        Self { bars, output }
    }

    fn bar(&self, board: &Board) -> Option<&ProgressBar> {
        self.bars.as_ref()?.1.get(usize::from(board.number) - 1)
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

/// The API's port, and the ports that lead to the masters: with one master they are the same.
fn free_ports(wanted: u16, masters: u8) -> Result<(u16, Vec<u16>), VmError> {
    // Held until all are chosen, so that none is chosen twice.
    let mut held = Vec::new();
    let mut take = |wanted| -> Result<u16, VmError> {
        let failed = |source| VmError::Port {
            port: wanted,
            source,
        };
        let listener = TcpListener::bind(("127.0.0.1", wanted)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        held.push(listener);
        Ok(port)
    };
    let door = take(wanted)?;
    if masters == 1 {
        return Ok((door, vec![door]));
    }
    let ways = (0..masters).map(|_| take(0)).collect::<Result<_, _>>()?;
    Ok((door, ways))
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
