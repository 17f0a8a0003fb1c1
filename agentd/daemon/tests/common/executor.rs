//! The test as an executor: calls in either form, and a stream whose chunks are records.

use nesos_api::executor::{
    Call, CallMessage, CallSubscribe, CallType, CallUpdate, Event, EventType,
};
use nesos_api::message::Bytes;
use nesos_api::v1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use nesos_wire::framework_executor::{ExecutorKind, FrameworkExecutor};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::{Command, TaskSpec};
use nesos_wire::{Attempt, ExecutorId, ExecutorKey, FrameworkId, resource_text};

use super::http::{Answer, request};
use super::{LIMIT, Link, shell};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Protobuf,
}

impl Form {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    pub fn bytes(self, call: &Call) -> Vec<u8> {
        match self {
            Self::Json => call.to_json(),
            Self::Protobuf => call.to_protobuf(),
        }
    }
}

/// An executor of framework `f`.
#[derive(Debug, Clone)]
pub struct Executor {
    pub id: String,
    pub port: u16,
    pub form: Form,
}

impl Executor {
    pub fn new(id: &str, port: u16, form: Form) -> Self {
        Self {
            id: id.into(),
            port,
            form,
        }
    }

    pub fn call(&self, kind: CallType) -> Call {
        Call {
            executor_id: self.id.as_str().into(),
            framework_id: "f".into(),
            r#type: Some(kind),
            ..Call::default()
        }
    }

    pub async fn post(&self, call: &Call) -> Answer {
        let headers = [("Content-Type", self.form.media_type())];
        request(
            self.port,
            "POST",
            "/api/v1/executor",
            &headers,
            &self.form.bytes(call),
        )
        .await
    }

    /// An update with this uuid in each byte.
    pub fn update(&self, task: &str, state: v1::TaskState, number: u8) -> Call {
        let status = v1::TaskStatus {
            task_id: task.into(),
            state,
            source: Some(v1::TaskStatusSource::Executor),
            uuid: Some(Bytes(vec![number; 16])),
            data: Some(Bytes(b"payload".to_vec())),
            healthy: Some(true),
            ..v1::TaskStatus::default()
        };
        Call {
            update: Some(CallUpdate { status }),
            ..self.call(CallType::Update)
        }
    }

    /// Sends an update and is answered 202.
    pub async fn says(&self, task: &str, state: v1::TaskState, number: u8) {
        let answer = self.post(&self.update(task, state, number)).await;
        assert_eq!((answer.status, answer.text().as_str()), (202, ""));
    }

    pub fn message(&self, data: &[u8]) -> Call {
        let message = CallMessage {
            data: Bytes(data.to_vec()),
        };
        Call {
            message: Some(message),
            ..self.call(CallType::Message)
        }
    }

    pub async fn subscribe(&self) -> Stream {
        self.subscribe_with(CallSubscribe::default()).await
    }

    /// SUBSCRIBE, again and again until it is answered with a stream: agentd may be starting.
    pub async fn subscribe_with(&self, subscribe: CallSubscribe) -> Stream {
        let call = Call {
            subscribe: Some(subscribe),
            ..self.call(CallType::Subscribe)
        };
        let begin = tokio::time::Instant::now();
        loop {
            match self.try_subscribe(&call).await {
                Ok(stream) => return stream,
                Err(why) => assert!(begin.elapsed() < LIMIT, "no stream: {why}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn try_subscribe(&self, call: &Call) -> Result<Stream, String> {
        let body = self.form.bytes(call);
        let media_type = self.form.media_type();
        let head = format!(
            "POST /slave(1)/api/v1/executor HTTP/1.1\r\nHost: agent\r\nContent-Type: {media_type}\r\nAccept: {media_type}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .map_err(|e| e.to_string())?;
        socket
            .write_all(head.as_bytes())
            .await
            .map_err(|e| e.to_string())?;
        socket.write_all(&body).await.map_err(|e| e.to_string())?;
        let mut stream = Stream {
            socket,
            buffer: Vec::new(),
            form: self.form,
        };
        let head = stream.line_until(b"\r\n\r\n").await.ok_or("closed")?;
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(head);
        }
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(
            head.contains(&format!("content-type: {media_type}\r\n")),
            "{head}"
        );
        assert!(!head.contains("mesos-stream-id"), "{head}");
        Ok(stream)
    }
}

/// An executor's events.
pub struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
    form: Form,
}

impl Stream {
    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(LIMIT, self.chunk())
            .await
            .expect("the agent says nothing")
            .map(|chunk| {
                let at = chunk
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .expect("RecordIO");
                let length: usize = std::str::from_utf8(&chunk[..at]).unwrap().parse().unwrap();
                let record = &chunk[at + 1..];
                assert_eq!(record.len(), length, "one record per chunk");
                match self.form {
                    Form::Json => Event::from_json(record).unwrap(),
                    Form::Protobuf => Event::from_protobuf(record).unwrap(),
                }
            })
    }

    /// The next event, which is of this type.
    pub async fn expect(&mut self, kind: EventType) -> Event {
        let event = self
            .next()
            .await
            .unwrap_or_else(|| panic!("{kind} instead of the end"));
        assert_eq!(event.r#type, Some(kind), "{event:?}");
        event
    }

    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = self.line_until(b"\r\n").await?;
        let length = usize::from_str_radix(std::str::from_utf8(&length).unwrap(), 16).unwrap();
        if length == 0 {
            return None;
        }
        while self.buffer.len() < length + 2 {
            if !self.fill().await {
                return None;
            }
        }
        let chunk = self.buffer.drain(..length).collect();
        self.buffer.drain(..2);
        Some(chunk)
    }

    async fn line_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self
                .buffer
                .windows(end.len())
                .position(|window| window == end)
            {
                let line = self.buffer.drain(..at).collect();
                self.buffer.drain(..end.len());
                return Some(line);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        self.socket
            .read_buf(&mut self.buffer)
            .await
            .is_ok_and(|read| read > 0)
    }
}

/// Writes what it was started with, then waits for somebody to end it.
const PROCESS: &str = "echo begun; env > environment; ps -o pgid= -p $$ > group 2>/dev/null || cut -d' ' -f5 /proc/$$/stat > group; exec sleep 1000";

/// A custom executor with little grace.
pub fn custom(id: &str) -> FrameworkExecutor {
    let info = v1::ExecutorInfo {
        executor_id: id.into(),
        data: Some(nesos_api::message::Bytes(b"own".to_vec())),
        ..v1::ExecutorInfo::default()
    };
    let framework = v1::FrameworkInfo {
        name: "demo".into(),
        ..v1::FrameworkInfo::default()
    };
    FrameworkExecutor {
        key: ExecutorKey {
            framework: FrameworkId::new("f"),
            executor: ExecutorId::new(id),
        },
        attempt: Attempt(1),
        kind: ExecutorKind::Custom,
        name: "the executor".into(),
        source: "tests".into(),
        role: "*".into(),
        resources: resource_text::parse("cpus:0.1;mem:32").unwrap(),
        command: Command {
            shell: true,
            value: PROCESS.into(),
            ..Command::default()
        },
        shutdown_grace_ms: Some(300),
        checkpoint: true,
        partition_aware: true,
        info: info.to_protobuf(),
        framework_info: framework.to_protobuf(),
    }
}

/// A task for it.
pub fn given(task: &str, attempt: u64) -> TaskSpec {
    let info = v1::TaskInfo {
        name: task.into(),
        task_id: task.into(),
        data: Some(nesos_api::message::Bytes(b"for the task".to_vec())),
        ..v1::TaskInfo::default()
    };
    TaskSpec {
        attempt: Attempt(attempt),
        executor: ExecutorId::new("e"),
        kind: ExecutorKind::Custom,
        info: info.to_protobuf(),
        ..shell(task, "")
    }
}

pub async fn launch(link: &mut Link, tasks: Vec<TaskSpec>, start: bool) {
    let executor = Box::new(custom("e"));
    let message = MasterToAgent::LaunchExecutor {
        executor,
        start,
        tasks,
        group: false,
    };
    link.send(&message).await;
}

/// The status with which an executor ends.
pub async fn ended(link: &mut Link) -> i32 {
    loop {
        if let AgentToMaster::ExecutorEnded { status, .. } =
            link.next().await.expect("the link is open")
        {
            return status;
        }
    }
}
