//! A master that does what a test says, and an agentd process that believes it. Everything on loopback, as any user.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses its part; a failed step of a test may panic.

pub mod attach;
pub mod executor;
pub mod form;
pub mod http;
pub mod image;
mod link;

pub use link::Link;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Once};
use std::time::Duration;

use nesos_base::token::ClusterKey;
use nesos_shell::framed::{self, FrameReader};
use nesos_shell::tls::{self, Authority};
use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::join::{ALPN_AGENT, ALPN_JOIN, JoinAnswer, JoinRequest};
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, Welcome};
use nesos_wire::plain::{LinkSecret, PREFACE};
use nesos_wire::resource_text;
use nesos_wire::task::TaskSpec;
use nesos_wire::{
    AgentId, Attempt, ExecutorId, ExecutorKey, FrameworkId, MasterId, TaskId, TaskKey,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Nothing in these tests takes longer on a machine that is not broken.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Runs a test with a deadline.
pub fn run(test: impl Future<Output = ()>) {
    // Before the clock runs: the build may have to wait for another one.
    helper();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(4 * LIMIT, test)
            .await
            .expect("the test takes too long")
    });
}

/// The helper beside agentd, built if nobody has yet.
fn helper() -> PathBuf {
    static BUILD: Once = Once::new();
    let path = Path::new(env!("CARGO_BIN_EXE_agentd")).with_file_name("nesos-executor");
    BUILD.call_once(|| {
        let mut cargo = Command::new(env!("CARGO"));
        let built = cargo
            .args([
                "build",
                "--quiet",
                "-p",
                "nesos-executor",
                "-p",
                "nesos-fetcher",
            ])
            .status()
            .unwrap();
        assert!(
            built.success() && path.exists(),
            "the helper must be at {}",
            path.display()
        );
    });
    path
}

pub fn key(task: &str) -> TaskKey {
    TaskKey {
        framework: FrameworkId::new("f"),
        task: TaskId::new(task),
    }
}

/// A shell task.
pub fn shell(task: &str, text: &str) -> TaskSpec {
    TaskSpec {
        key: key(task),
        attempt: Attempt(1),
        name: task.into(),
        executor: ExecutorId::new(task),
        kind: Default::default(),
        role: "*".into(),
        resources: resource_text::parse("cpus:0.1;mem:32").unwrap(),
        limits: Default::default(),
        command: nesos_wire::task::Command {
            shell: true,
            value: text.into(),
            ..Default::default()
        },
        kill_grace_ms: 3000,
        partition_aware: true,
        task_killing: true,
        checkpoint: true,
        checks: None,
        info: Vec::new(),
        framework_info: Vec::new(),
    }
}

/// A default executor, `p`, with as much for itself as a shell task.
pub fn pod() -> FrameworkExecutor {
    FrameworkExecutor {
        key: ExecutorKey {
            framework: FrameworkId::new("f"),
            executor: ExecutorId::new("p"),
        },
        attempt: Attempt(1),
        kind: ExecutorKind::Default,
        name: String::new(),
        source: String::new(),
        role: "*".into(),
        resources: resource_text::parse("cpus:0.1;mem:32").unwrap(),
        command: Default::default(),
        shutdown_grace_ms: None,
        checkpoint: true,
        partition_aware: true,
        info: Vec::new(),
        framework_info: Vec::new(),
    }
}

pub struct Master {
    pub folder: TempDir,
    listener: TcpListener,
    authority: Authority,
    secret: [u8; 16],
    token: String,
    agent: Option<Child>,
    starts: usize,
    extra_flags: Vec<String>,
    resources: String,
    port: u16,
}

impl Master {
    pub async fn new() -> Self {
        let key = ClusterKey([7; 32]);
        let token = tls::join_token(&key).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            authority: Authority::new(&key).unwrap(),
            secret: token.secret,
            token: token.to_text(),
            agent: None,
            starts: 0,
            extra_flags: Vec::new(),
            resources: "cpus:4;mem:512".into(),
            port: 0,
        }
    }

    pub fn with_token(mut self, token: &str) -> Self {
        self.token = token.into();
        self
    }

    pub fn with_flag(mut self, flag: String) -> Self {
        self.extra_flags.push(flag);
        self
    }

    pub fn with_resources(mut self, resources: &str) -> Self {
        self.resources = resources.into();
        self
    }

    /// The same port over restarts, as executors expect it.
    pub fn with_fixed_port(mut self) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        self.port = free.local_addr().unwrap().port();
        self
    }

    pub fn work_dir(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn start_agent(&mut self) {
        self.starts += 1;
        let log = fs::File::create(self.log_path()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
        command
            .arg(format!("--master={}", self.listener.local_addr().unwrap()))
            .arg(format!("--work_dir={}", self.work_dir().display()))
            .args(["--ip=127.0.0.1", "--mdns=off", "--hostname=test"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--resources={}", self.resources))
            .args(&self.extra_flags)
            .args(self.executor())
            .env("NESOS_JOIN_TOKEN", &self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.agent = Some(command.spawn().unwrap());
    }

    /// The helper, unless the test brings its own.
    fn executor(&self) -> Option<String> {
        let is_given = self
            .extra_flags
            .iter()
            .any(|f| f.starts_with("--executor="));
        (!is_given).then(|| format!("--executor={}", helper().display()))
    }

    fn log_path(&self) -> PathBuf {
        self.folder
            .path()
            .join(format!("agentd-{}.log", self.starts))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.agent.as_ref().unwrap().id() as i32)
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// SIGKILL: nothing is written, nobody is told.
    pub fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub async fn agent_ends(&mut self) -> std::process::ExitStatus {
        let mut agent = self.agent.take().unwrap();
        until("agentd to end", || agent.try_wait().unwrap()).await
    }

    /// The next link; boards that want to join are let in on the way.
    pub async fn link(&self) -> (Link, Hello) {
        let (mut link, hello) = tokio::time::timeout(LIMIT, self.greeted())
            .await
            .unwrap_or_else(|_| panic!("no agent dials: {}", self.log()));
        link.send(&MasterToAgent::Welcome(welcome())).await;
        (link, hello)
    }

    async fn greeted(&self) -> (Link, Hello) {
        loop {
            let Some(stream) = self.accept().await else {
                continue;
            };
            let alpn = stream
                .get_ref()
                .1
                .alpn_protocol()
                .unwrap_or_default()
                .to_vec();
            if alpn == ALPN_JOIN {
                self.let_in(stream).await;
                continue;
            }
            assert_eq!(alpn, ALPN_AGENT);
            let (reader, writer) = tokio::io::split(stream);
            let mut link = Link {
                reader: FrameReader::new(reader),
                writer,
            };
            if let Ok(Some(AgentToMaster::Hello(hello))) = link.reader.read().await {
                return (link, hello);
            }
        }
    }

    async fn accept(&self) -> Option<TlsStream<TcpStream>> {
        let config = self
            .authority
            .server_config(&[ALPN_AGENT, ALPN_JOIN])
            .unwrap();
        let (stream, _) = self.listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::clone(&config))
            .accept(stream)
            .await
            .ok()
    }

    async fn let_in(&self, stream: TlsStream<TcpStream>) {
        let (reader, mut writer) = tokio::io::split(stream);
        let Ok(Some(request)) = FrameReader::new(reader).read::<JoinRequest>().await else {
            return;
        };
        let answer = if request.secret == self.secret {
            let certificate = self
                .authority
                .issue_node(&request.node, request.public_key)
                .unwrap();
            JoinAnswer::Accepted {
                certificate,
                ca: self.authority.certificate().to_vec(),
                cluster: "test".into(),
                secret: LinkSecret([7; 32]),
            }
        } else {
            JoinAnswer::Refused {
                reason: "the secret is wrong".into(),
            }
        };
        framed::write(&mut writer, &answer).await.unwrap();
        writer.shutdown().await.unwrap();
    }

    /// The next connection without TLS; boards that want to join are let in on the way.
    pub async fn accept_plain(&self) -> TcpStream {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            let mut first = [0];
            stream.peek(&mut first).await.unwrap();
            if first != PREFACE[..1] {
                let config = self.authority.server_config(&[ALPN_JOIN]).unwrap();
                let stream = TlsAcceptor::from(config).accept(stream).await;
                self.let_in(stream.unwrap()).await;
                continue;
            }
            return stream;
        }
    }

    /// Refuses whoever dials until the agent's log holds `text`.
    pub async fn serve_until_logged(&self, text: &str) {
        let serve = async {
            loop {
                if let Some(stream) = self.accept().await {
                    self.let_in(stream).await;
                }
            }
        };
        tokio::select! {
            () = serve => {}
            () = until(text, || self.log().contains(text).then_some(())) => {}
        }
    }

    /// The newest sandbox of a task.
    pub fn sandbox(&self, task: &str) -> PathBuf {
        self.work_dir()
            .join("slaves/m-S1/frameworks/f/executors")
            .join(task)
            .join("runs/latest")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            // Tasks of a failed test must not outlive it.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(agent.id() as i32),
                nix::sys::signal::Signal::SIGUSR1,
            );
            let begin = std::time::Instant::now();
            while agent.try_wait().is_ok_and(|ended| ended.is_none())
                && begin.elapsed() < Duration::from_secs(5)
            {
                std::thread::yield_now();
            }
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

pub fn welcome() -> Welcome {
    Welcome {
        agent: AgentId::new("m-S1"),
        master: MasterId::new("m"),
        cluster: "test".into(),
        silence_limit_ms: 75_000,
        kill: Vec::new(),
        time: 0.0,
    }
}

/// Waits for a condition.
pub async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = tokio::time::Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begin.elapsed() < LIMIT, "waiting for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
