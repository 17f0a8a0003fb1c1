//! `nesos dev up`: masterd and agentd as plain processes on loopback, for framework authors and tests.
//!
//! No root, no network but 127.0.0.1, no multicast. [`plan`] decides flags and ports, [`children`] holds processes.
//! Called by `main`. Invariant: when it returns, nothing that it started runs any more, tasks included.

mod children;
mod plan;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nesos_base::restart::Restart;
use serde_json::json;
use tokio::time::Instant;

use crate::args::{DevUpArgs, Output};
use crate::failure::{REFUSED, USAGE};
use crate::http::Client;
use crate::locate;
use crate::output::{self, Progress};
use crate::signals::Stop;
use crate::{cluster, failure::Failure, masters};
use children::Children;
pub(crate) use plan::find;
use plan::{Plan, Program};

/// How long the daemons may take to find each other; a loaded machine needs a few seconds.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Pause between looks at a cluster that is not ready.
const READY_POLL: Duration = Duration::from_millis(100);
/// How often orphans are collected: adopted executors that ended must not look alive to their agent.
const COLLECT: Duration = Duration::from_millis(200);

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    /// Of a user.
    #[error("--images: tasks get mounts of their own, which needs root")]
    NotRoot,
    /// A daemon's file.
    #[error(
        "there is no {program} in {folder}: build it (`cargo build --workspace`) or name its folder in NESOS_BIN_DIR"
    )]
    NoProgram {
        /// Which.
        program: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Files and folders of the cluster.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// Key and token.
    #[error("make the cluster's key: {0}")]
    Key(#[from] nesos_shell::tls::TlsError),
    /// Ports, processes, signals.
    #[error("{operation}: {source}")]
    System {
        /// What was tried.
        operation: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A daemon ended while the cluster came up.
    #[error("{name} ended with {status} before the cluster was ready; the end of {log}:\n{tail}")]
    Died {
        /// Which.
        name: String,
        /// How.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// Not ready in time.
    #[error("the cluster was not ready within {} s: {what}; logs are in {folder}", READY_LIMIT.as_secs())]
    Slow {
        /// What was missing.
        what: String,
        /// Where the logs are.
        folder: PathBuf,
    },
}

impl DevError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotRoot | Self::NoProgram { .. } => USAGE,
            _ => REFUSED,
        }
    }
}

/// `nesos dev up`.
pub(crate) async fn up(args: &DevUpArgs, output: Output) -> Result<(), Failure> {
    let mut stop = Stop::new().map_err(|source| DevError::System {
        operation: "listen for signals".to_owned(),
        source,
    })?;
    let folder = WorkDir::new(args.work_dir.as_deref())?;
    let plan = Plan::new(args, &folder.path)?;
    let mut children = Children::new()?;
    let result = serve(args, &plan, &mut children, &mut stop, output).await;
    children.stop_all().await;
    if result.is_ok() {
        folder.remove();
        if output == Output::Json {
            output::json(&json!({"event": "stopped"}))?;
        }
    }
    result
}

async fn serve(
    args: &DevUpArgs,
    plan: &Plan,
    children: &mut Children,
    stop: &mut Stop,
    output: Output,
) -> Result<(), Failure> {
    for program in plan.programs() {
        children.start(program)?;
    }
    let mut progress = Progress::new();
    tokio::select! {
        ready = wait_ready(plan, children, &mut progress) => ready?,
        () = stop.asked() => return Ok(()),
    }
    progress.clear();
    let _note = locate::write_note("dev", &plan.master, std::process::id())?;
    announce(plan, children, output)?;
    watch(args.restart, plan, children, stop, output).await
}

async fn wait_ready(
    plan: &Plan,
    children: &mut Children,
    progress: &mut Progress,
) -> Result<(), DevError> {
    let client = Client::new(plan.master.clone(), None);
    let begin = Instant::now();
    loop {
        if let Some((program, status)) = children.ended() {
            let tail = children::tail(&program.log);
            return Err(DevError::Died {
                name: program.name.clone(),
                status,
                log: program.log.clone(),
                tail,
            });
        }
        let what = match missing(&client, plan).await {
            Ok(None) => return Ok(()),
            Ok(Some(what)) => what,
            Err(error) => error.to_string(),
        };
        if begin.elapsed() > READY_LIMIT {
            return Err(DevError::Slow {
                what,
                folder: plan.folder.clone(),
            });
        }
        progress.now(&format!(
            "starting {} × masterd and {} × agentd",
            1 + plan.others.len(),
            plan.agents.len()
        ));
        tokio::time::sleep(READY_POLL).await;
    }
}

/// What the cluster still lacks. Masters that ask to be let in are.
async fn missing(client: &Client, plan: &Plan) -> Result<Option<String>, Failure> {
    let (wanted, voting) = (1 + plan.others.len(), masters::let_in_all(client).await?);
    if voting < wanted {
        return Ok(Some(format!("{voting} of {wanted} masters take part")));
    }
    let nodes = cluster::nodes(client).await?;
    let (wanted, joined) = (
        plan.agents.len(),
        nodes.iter().filter(|node| node.active).count(),
    );
    Ok((joined < wanted).then(|| format!("{joined} of {wanted} agents have joined")))
}

fn announce(plan: &Plan, children: &Children, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        let describe = |program: &Program| json!({"name": program.name, "url": program.url, "pid": children.pid(&program.name), "log": program.log});
        let agents: Vec<_> = plan.agents.iter().map(describe).collect();
        let others: Vec<_> = plan.others.iter().map(describe).collect();
        return output::json(&json!({
            "event": "ready", "master": describe(&plan.masterd), "other_masters": others, "agents": agents, "work_dir": plan.folder,
        }));
    }
    let rows: Vec<Vec<String>> = plan
        .programs()
        .map(|program| vec![program.name.clone(), program.url.clone()])
        .collect();
    output::table(&["NAME", "URL"], &rows)?;
    eprintln!(
        "nesos: logs are in {}; Ctrl-C stops the cluster",
        plan.folder.display()
    );
    Ok(())
}

/// Until Ctrl-C: report what dies, start it again if asked to.
async fn watch(
    restart: bool,
    plan: &Plan,
    children: &mut Children,
    stop: &mut Stop,
    output: Output,
) -> Result<(), Failure> {
    let mut policies: Vec<(String, Restart)> = plan
        .programs()
        .map(|p| (p.name.clone(), Restart::default()))
        .collect();
    let mut due: Vec<(Instant, Program)> = Vec::new();
    let begin = Instant::now();
    let now = || {
        nesos_base::time::Instant::from_micros(
            u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX),
        )
    };
    for (_, policy) in &mut policies {
        policy.started(now());
    }
    loop {
        tokio::select! {
            () = stop.asked() => return Ok(()),
            () = tokio::time::sleep(COLLECT) => {}
        }
        while let Some((program, status)) = children.ended() {
            tell(
                output,
                "ended",
                &program.name,
                &format!("ended with {status}; its log is {}", program.log.display()),
                None,
            )?;
            if let Some((_, policy)) = policies
                .iter_mut()
                .find(|(name, _)| *name == program.name && restart)
            {
                let delay = Duration::from_micros(policy.ended(now()).as_micros());
                due.push((Instant::now() + delay, program));
            }
        }
        children.collect_orphans();
        let (ready, later) = due.into_iter().partition(|(at, _)| *at <= Instant::now());
        due = later;
        for (_, program) in ready {
            children.start(&program)?;
            if let Some((_, policy)) = policies.iter_mut().find(|(name, _)| *name == program.name) {
                policy.started(now());
            }
            tell(
                output,
                "started",
                &program.name,
                "started again",
                children.pid(&program.name),
            )?;
        }
    }
}

fn tell(
    output: Output,
    event: &str,
    name: &str,
    text: &str,
    pid: Option<u32>,
) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(&json!({"event": event, "name": name, "pid": pid, "message": text}));
    }
    eprintln!("nesos: {name} {text}");
    Ok(())
}

/// The cluster's folder; a temporary one is removed after a run without failure.
struct WorkDir {
    path: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl WorkDir {
    fn new(given: Option<&Path>) -> Result<Self, DevError> {
        let Some(given) = given else {
            let failed = |source| DevError::File {
                operation: "create a folder in",
                path: std::env::temp_dir(),
                source,
            };
            let mut temporary = tempfile::Builder::new()
                .prefix("nesos-dev-")
                .tempdir()
                .map_err(failed)?;
            temporary.disable_cleanup(true);
            return Ok(Self {
                path: temporary.path().to_owned(),
                temporary: Some(temporary),
            });
        };
        let failed = |source| DevError::File {
            operation: "create",
            path: given.to_owned(),
            source,
        };
        std::fs::create_dir_all(given).map_err(failed)?;
        Ok(Self {
            path: given.canonicalize().map_err(failed)?,
            temporary: None,
        })
    }

    fn remove(mut self) {
        if let Some(mut temporary) = self.temporary.take() {
            temporary.disable_cleanup(false);
        }
    }
}
