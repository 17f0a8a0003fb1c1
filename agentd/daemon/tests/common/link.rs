//! The master's end of an agent's link.

use nesos_shell::framed::{self, FrameReader};
use nesos_wire::message::{AgentToMaster, FileChunk, FileError, MasterToAgent, TaskUpdate};
use nesos_wire::task::{TaskSpec, TaskState};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{LIMIT, key};

pub struct Link {
    pub(super) reader: FrameReader<ReadHalf<TlsStream<TcpStream>>>,
    pub(super) writer: WriteHalf<TlsStream<TcpStream>>,
}

impl Link {
    pub async fn send(&mut self, message: &MasterToAgent) {
        framed::write(&mut self.writer, message).await.unwrap();
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
        self.writer.flush().await.unwrap();
    }

    /// The agent's next message; `None` when it has closed.
    pub async fn next(&mut self) -> Option<AgentToMaster> {
        tokio::time::timeout(LIMIT, self.reader.read())
            .await
            .expect("the agent is silent")
            .ok()
            .flatten()
    }

    pub async fn launch(&mut self, spec: TaskSpec) {
        self.send(&MasterToAgent::Launch { tasks: vec![spec] })
            .await;
    }

    pub async fn acknowledge(&mut self, update: &TaskUpdate) {
        if let Some(uuid) = update.status.uuid {
            self.send(&MasterToAgent::Acknowledge {
                key: update.key.clone(),
                uuid,
            })
            .await;
        }
    }

    /// Acknowledges updates until one has this state; all states on the way, and that update.
    pub async fn until(&mut self, state: TaskState) -> (Vec<TaskState>, TaskUpdate) {
        let mut states = Vec::new();
        loop {
            let message = self.next().await.expect("the link is open");
            let AgentToMaster::Update(update) = message else {
                continue;
            };
            self.acknowledge(&update).await;
            states.push(update.status.state);
            if update.status.state == state {
                return (states, update);
            }
            assert!(!update.status.state.is_terminal(), "{:?}", update.status);
        }
    }

    /// Returns when the agent has worked through everything sent so far.
    pub async fn settle(&mut self) {
        self.send(&MasterToAgent::Ping { sequence: 77 }).await;
        while !matches!(
            self.next().await,
            Some(AgentToMaster::Pong { sequence: 77 })
        ) {}
    }

    pub async fn read_file(&mut self, task: &str, path: &str) -> Result<FileChunk, FileError> {
        let path = path.to_string();
        self.send(&MasterToAgent::ReadFile {
            request: 1,
            key: key(task),
            path,
            offset: 0,
            length: 65536,
        })
        .await;
        loop {
            if let AgentToMaster::FileData { result, .. } =
                self.next().await.expect("the link is open")
            {
                return result;
            }
        }
    }

    pub async fn text(&mut self, task: &str, path: &str) -> String {
        String::from_utf8(self.read_file(task, path).await.expect("readable").data).unwrap()
    }
}
