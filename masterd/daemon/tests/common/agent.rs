//! An agent that says what a test tells it, over the real link.

use nesos_base::token::{ClusterKey, JoinToken};
use nesos_shell::framed::{self, FrameReader};
use nesos_shell::tls::{self, Authority, NodeKey};
use nesos_wire::join::{JoinAnswer, JoinRequest};
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, TaskUpdate};
use nesos_wire::plain::LinkSecret;
use nesos_wire::resource_text;
use nesos_wire::task::{Source, TaskSpec, TaskState, TaskStatus};
use nesos_wire::version;
use nesos_wire::{ContainerId, NodeId, Uuid};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What a board keeps.
#[derive(Debug, Clone)]
pub struct Board {
    pub node: NodeId,
    pub key: NodeKey,
    pub certificate: Vec<u8>,
    pub ca: Vec<u8>,
    pub secret: LinkSecret,
}

/// A linked agent.
#[derive(Debug)]
pub struct Agent {
    pub reader: FrameReader<ReadHalf<TlsStream<TcpStream>>>,
    pub writer: WriteHalf<TlsStream<TcpStream>>,
}

/// Asks to be let in.
pub async fn join(address: &str, token: &JoinToken, node: &str) -> (JoinAnswer, NodeKey) {
    let key = NodeKey::generate().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = tls::connect(tls::join_client(token).unwrap(), stream)
        .await
        .unwrap();
    let request = JoinRequest {
        version: version::CURRENT,
        secret: token.secret,
        node: NodeId::new(node),
        hostname: format!("host-{node}"),
        public_key: key.public_key().unwrap(),
    };
    framed::write(&mut stream, &request).await.unwrap();
    let answer = FrameReader::new(&mut stream)
        .read()
        .await
        .unwrap()
        .expect("an answer");
    (answer, key)
}

/// A board that has joined by the token in masterd's work folder.
pub async fn board(address: &str, work_dir: &std::path::Path, node: &str) -> Board {
    let token =
        JoinToken::parse(&std::fs::read_to_string(work_dir.join("token")).unwrap()).unwrap();
    match join(address, &token, node).await {
        (
            JoinAnswer::Accepted {
                certificate,
                ca,
                cluster,
                secret,
            },
            key,
        ) => {
            assert_eq!(cluster, "test");
            Board {
                node: NodeId::new(node),
                key,
                certificate,
                ca,
                secret,
            }
        }
        (JoinAnswer::Refused { reason }, _) => panic!("refused: {reason}"),
    }
}

/// A board whose certificate comes from another cluster.
pub fn foreign_board(node: &str) -> Board {
    let authority = Authority::new(&ClusterKey([99; 32])).unwrap();
    let key = NodeKey::generate().unwrap();
    let certificate = authority
        .issue_node(&NodeId::new(node), key.public_key().unwrap())
        .unwrap();
    Board {
        node: NodeId::new(node),
        key,
        certificate,
        ca: authority.certificate().to_vec(),
        secret: LinkSecret([99; 32]),
    }
}

impl Board {
    /// A TLS link without a word said.
    pub async fn dial(&self, address: &str) -> Agent {
        let config = tls::link_client(&self.ca, &self.certificate, &self.key).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let stream = tls::connect(config, stream).await.unwrap();
        let (reader, writer) = tokio::io::split(stream);
        Agent {
            reader: FrameReader::new(reader),
            writer,
        }
    }

    pub fn hello(&self) -> Hello {
        Hello {
            version: version::CURRENT,
            node: self.node.clone(),
            agent: None,
            boot_id: "boot".into(),
            hostname: format!("host-{}", self.node),
            ip: String::new(),
            port: 5051,
            software: "0.1.0".into(),
            resources: resource_text::parse("cpus:4;mem:1024;ports:[31000-32000]").unwrap(),
            attributes: resource_text::parse_attributes("rack:a").unwrap(),
            tasks: Vec::new(),
            operations: Vec::new(),
            executors: Vec::new(),
            domain: None,
        }
    }

    /// Dials, says hello, and is welcome; the agent id.
    pub async fn register(&self, address: &str) -> (Agent, String) {
        let mut agent = self.dial(address).await;
        agent.say(&AgentToMaster::Hello(self.hello())).await;
        match agent.hear().await {
            MasterToAgent::Welcome(welcome) => (agent, welcome.agent.to_string()),
            other => panic!("not welcome: {other:?}"),
        }
    }
}

impl Agent {
    pub async fn say(&mut self, message: &AgentToMaster) {
        framed::write(&mut self.writer, message).await.unwrap();
    }

    /// The next message that is not a ping; pings are answered.
    pub async fn hear(&mut self) -> MasterToAgent {
        self.hear_or_end()
            .await
            .expect("the master closed the link")
    }

    /// As `hear`; `None` when the link has ended.
    pub async fn hear_or_end(&mut self) -> Option<MasterToAgent> {
        loop {
            match self.reader.read_within(super::DEADLINE).await {
                Ok(Some(MasterToAgent::Ping { sequence })) => {
                    self.say(&AgentToMaster::Pong { sequence }).await
                }
                Ok(message) => return message,
                Err(_) => return None,
            }
        }
    }
}

/// What an executor says of a task; the uuid tells the state.
pub fn update(spec: &TaskSpec, state: TaskState) -> AgentToMaster {
    let status = TaskStatus {
        state,
        source: Source::Executor,
        reason: None,
        message: String::new(),
        timestamp: 1.5,
        uuid: Some(Uuid::from_random([state as u8; 16])),
        agent: None,
        executor: Some(spec.executor.clone()),
        container: Some(ContainerId::new("c1")),
        healthy: None,
        check: None,
        data: Vec::new(),
        unreachable_time: None,
        extra: Vec::new(),
    };
    AgentToMaster::Update(TaskUpdate {
        key: spec.key.clone(),
        status,
        latest: state,
    })
}
