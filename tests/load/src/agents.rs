//! Stand-ins for agents: the real link (mutual TLS or none, postcard frames) without anything behind it.
//!
//! Called by the subjects. An agent reports the tasks it was given, runs what it is told to run in no time, and answers
//! pings. Invariants: no more dials are under way at a time than masterd lets in; what agents do before they dial and after
//! their link broke (writing their greeting, closing sockets) is done before and after what is measured.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nesos_base::token::ClusterKey;
use nesos_shell::framed::FrameReader;
use nesos_shell::plain::{self, Secrets};
use nesos_shell::tls::{self, Authority, NodeKey};
use nesos_wire::frame;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, TaskReport, TaskUpdate};
use nesos_wire::plain::LinkSecret;
use nesos_wire::resource_text;
use nesos_wire::task::{Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{
    AgentId, Attempt, ExecutorId, FrameworkId, NodeId, TaskId, TaskKey, Uuid, version,
};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Dials at a time: masterd drops the eldest of more than 512 unfinished handshakes.
const DIALS: usize = 256;
/// What each agent has.
const RESOURCES: &str = "cpus:10;mem:1280;disk:10000;ports:[31000-32000]";
/// What each task of the initial load has; ten fill an agent.
const TASK_RESOURCES: &str = "cpus:1;mem:128";

/// A link's bytes: behind TLS or not.
type Stream = Box<dyn Duplex>;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + std::fmt::Debug> Duplex for S {}

/// How a link is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Tls,
    /// Both ends prove themselves, then speak in the open.
    Plain,
}

/// All agents of a run.
#[derive(Debug)]
pub(crate) struct Fleet {
    address: SocketAddr,
    agents: Vec<Agent>,
    pub(crate) security: Security,
    /// Tasks run on instead of finishing as soon as the framework knows that they run.
    pub(crate) is_lasting: bool,
    /// How many dial at a time.
    pub(crate) dials: usize,
}

#[derive(Debug)]
struct Agent {
    tls: Arc<ClientConfig>,
    secret: LinkSecret,
    hello: Hello,
    /// `hello` as it is sent: writing it is not what is measured.
    greeting: Arc<[u8]>,
}

/// What one dial needs.
struct Dial {
    number: usize,
    address: SocketAddr,
    security: Security,
    node: NodeId,
    tls: Arc<ClientConfig>,
    secret: LinkSecret,
    greeting: Arc<[u8]>,
}

/// A registered agent's link.
#[derive(Debug)]
struct Link {
    number: usize,
    id: AgentId,
    reader: FrameReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
}

/// Agents that are being served; dropping it cuts their links.
#[derive(Debug)]
pub(crate) struct Online(JoinSet<Result<()>>);

impl Online {
    /// How many links still live.
    pub(crate) fn alive(&mut self) -> usize {
        while self.0.try_join_next().is_some() {}
        self.0.len()
    }

    /// Closes all links and waits until they are closed.
    pub(crate) async fn end(mut self) {
        self.0.shutdown().await;
    }
}

impl Fleet {
    /// `count` agents, `prefix` in front of their names, with certificates but not registered yet.
    pub(crate) fn new(
        address: SocketAddr,
        key: &ClusterKey,
        prefix: &str,
        count: usize,
    ) -> Result<Self> {
        let authority = Authority::new(key)?;
        let secrets = Secrets::new(key);
        let node_key = NodeKey::generate()?;
        let public_key = node_key.public_key()?;
        let resources = resource_text::parse(RESOURCES)?;
        let agents = (0..count).map(|number| {
            let node = NodeId::new(format!("{prefix}-{number}"));
            let certificate = authority.issue_node(&node, public_key)?;
            let tls = tls::link_client(authority.certificate(), &certificate, &node_key)?;
            let secret = secrets.of(&node);
            let hello = Hello {
                version: version::CURRENT,
                hostname: node.to_string(),
                node,
                agent: None,
                boot_id: "6e6f7420-6120-7265-616c-20626f617264".into(),
                ip: String::new(),
                port: 5051,
                software: env!("CARGO_PKG_VERSION").into(),
                resources: resources.clone(),
                attributes: Vec::new(),
                tasks: Vec::new(),
                operations: Vec::new(),
                executors: Vec::new(),
                domain: None,
            };
            let mut agent = Agent {
                tls,
                secret,
                hello,
                greeting: Arc::default(),
            };
            agent.write_greeting()?;
            Ok(agent)
        });
        Ok(Self {
            address,
            security: Security::Tls,
            is_lasting: false,
            dials: DIALS,
            agents: agents.collect::<Result<_>>()?,
        })
    }

    /// How many agents there are.
    pub(crate) fn len(&self) -> usize {
        self.agents.len()
    }

    /// Registers all agents and serves them. Returns when the last has its Welcome.
    pub(crate) async fn register(&mut self) -> Result<Online> {
        let mut dialing = JoinSet::new();
        let mut online = JoinSet::new();
        let mut next = 0;
        loop {
            while dialing.len() < self.dials && next < self.agents.len() {
                dialing.spawn(self.dial(next).greet());
                next += 1;
            }
            let Some(link) = dialing.join_next().await else {
                return Ok(Online(online));
            };
            let link = link??;
            let agent = &mut self.agents[link.number].hello.agent;
            if agent.is_none() {
                *agent = Some(link.id.clone());
            }
            online.spawn(serve(link, self.is_lasting));
        }
    }

    fn dial(&self, number: usize) -> Dial {
        let agent = &self.agents[number];
        Dial {
            number,
            address: self.address,
            security: self.security,
            node: agent.hello.node.clone(),
            tls: Arc::clone(&agent.tls),
            secret: agent.secret,
            greeting: Arc::clone(&agent.greeting),
        }
    }

    /// From the next registration on each agent reports `count` running tasks of `framework`.
    pub(crate) fn load(
        &mut self,
        count: usize,
        framework: &FrameworkId,
        info: &[u8],
    ) -> Result<()> {
        let resources = resource_text::parse(TASK_RESOURCES)?;
        for agent in &mut self.agents {
            let id = agent.hello.agent.clone().context("not registered yet")?;
            let tasks = (0..count).map(|number| {
                let task = format!("{}-task-{number}", agent.hello.node);
                let mut spec = spec(framework, &task, &id, info);
                spec.resources = resources.clone();
                let status = Some(status(&spec, &id, TaskState::Running, None));
                let latest = TaskState::Running;
                TaskReport {
                    spec,
                    latest,
                    status,
                }
            });
            agent.hello.tasks = tasks.collect();
            agent.write_greeting()?;
        }
        Ok(())
    }
}

impl Agent {
    /// From now on it greets as its `hello` says.
    fn write_greeting(&mut self) -> Result<()> {
        let hello = AgentToMaster::Hello(self.hello.clone());
        self.greeting = frame::encode(&hello)?.into();
        Ok(())
    }
}

impl Dial {
    async fn greet(self) -> Result<Link> {
        let number = self.number;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream: Stream = match self.security {
            Security::Tls => Box::new(tls::connect(self.tls, stream).await?),
            Security::Plain => Box::new(plain::knock(stream, &self.node, &self.secret).await?),
        };
        let (read, mut writer) = tokio::io::split(stream);
        let mut reader = FrameReader::new(read);
        writer.write_all(&self.greeting).await?;
        writer.flush().await?;
        match reader.read().await? {
            Some(MasterToAgent::Welcome(welcome)) => Ok(Link {
                number,
                id: welcome.agent,
                reader,
                writer,
            }),
            Some(other) => bail!("agent {number}: instead of a Welcome came {other:?}"),
            None => bail!("agent {number}: the master closed the link"),
        }
    }
}

/// Tasks run as soon as they are launched and, unless they last, have finished as soon as the framework knows that they run.
/// What is said in answer to one message is written at once.
async fn serve(mut link: Link, is_lasting: bool) -> Result<()> {
    let mut running: Vec<TaskSpec> = Vec::new();
    let mut updates = 0;
    while let Some(message) = link.reader.read().await? {
        let mut replies = Vec::new();
        let mut uuid = || {
            updates += 1;
            let (mut bytes, number) = ([0; 16], u64::try_from(link.number).unwrap_or_default());
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            bytes[8..].copy_from_slice(&u64::to_be_bytes(updates));
            Uuid(bytes)
        };
        match message {
            MasterToAgent::Ping { sequence } => {
                replies.extend(frame::encode(&AgentToMaster::Pong { sequence })?);
            }
            MasterToAgent::Launch { tasks } => {
                for spec in tasks {
                    let update = update(&spec, &link.id, TaskState::Running, uuid());
                    replies.extend(frame::encode(&update)?);
                    if !is_lasting {
                        running.push(spec);
                    }
                }
            }
            MasterToAgent::Acknowledge { key, .. } => {
                if let Some(index) = running.iter().position(|spec| spec.key == key) {
                    let spec = running.swap_remove(index);
                    let update = update(&spec, &link.id, TaskState::Finished, uuid());
                    replies.extend(frame::encode(&update)?);
                }
            }
            _ => {}
        }
        if !replies.is_empty() {
            link.writer.write_all(&replies).await?;
            link.writer.flush().await?;
        }
    }
    Ok(())
}

fn update(spec: &TaskSpec, agent: &AgentId, state: TaskState, uuid: Uuid) -> AgentToMaster {
    AgentToMaster::Update(TaskUpdate {
        key: spec.key.clone(),
        status: status(spec, agent, state, Some(uuid)),
        latest: state,
    })
}

fn status(spec: &TaskSpec, agent: &AgentId, state: TaskState, uuid: Option<Uuid>) -> TaskStatus {
    TaskStatus {
        state,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 1_700_000_000.0,
        uuid,
        agent: Some(agent.clone()),
        executor: Some(spec.executor.clone()),
        container: None,
        healthy: None,
        check: None,
        data: Vec::new(),
        unreachable_time: None,
        extra: Vec::new(),
    }
}

/// What an agent would have been told to run, but for the resources.
fn spec(framework: &FrameworkId, task: &str, agent: &AgentId, framework_info: &[u8]) -> TaskSpec {
    use nesos_api::v1;
    let command = "exec /usr/bin/worker --shard 7 --listen $PORT0";
    let info = v1::TaskInfo {
        name: "worker".into(),
        task_id: v1::TaskID::from(task),
        agent_id: v1::AgentID::from(agent.as_str()),
        command: Some(v1::CommandInfo {
            value: Some(command.into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    TaskSpec {
        key: TaskKey {
            framework: framework.clone(),
            task: TaskId::new(task),
        },
        attempt: Attempt(1 << 32),
        name: "worker".into(),
        executor: ExecutorId::new(task),
        kind: Default::default(),
        role: "load".into(),
        resources: nesos_wire::resource::Resources::new(),
        limits: Default::default(),
        command: nesos_wire::task::Command {
            shell: true,
            value: command.into(),
            ..Default::default()
        },
        kill_grace_ms: 3000,
        partition_aware: true,
        task_killing: false,
        checkpoint: true,
        checks: None,
        info: info.to_protobuf(),
        framework_info: framework_info.to_vec(),
    }
}
