//! A framework over plain HTTP: what it says is JSON as a test writes it, what it hears is JSON as it came.
//!
//! Called by the tests. Not a client to build on: it waits for one thing at a time. Invariant: an event that does not come
//! fails the test instead of holding it up.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http;

const PATH: &str = "/api/v1/scheduler";
/// Longest wait for an event; heartbeats come every 15 s.
const LIMIT: Duration = Duration::from_secs(40);
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A subscribed framework.
#[derive(Debug)]
pub struct Scheduler {
    /// Its id.
    pub id: Value,
    address: String,
    stream: TcpStream,
    stream_id: String,
    buffer: Vec<u8>,
    /// Came before what was waited for.
    aside: VecDeque<Value>,
}

impl Scheduler {
    /// Subscribes with these members of `framework_info` beside user and name.
    ///
    /// # Panics
    /// It is refused.
    #[must_use]
    pub fn subscribe(address: &str, members: Value) -> Self {
        let mut info = json!({"user": "root", "name": "test"});
        for (member, value) in members.as_object().into_iter().flatten() {
            info[member] = value.clone();
        }
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        if !info["id"].is_null() {
            call["framework_id"] = info["id"].clone();
        }
        let body = call.to_string();
        let mut stream = http::connect(address);
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(&[head.as_bytes(), body.as_bytes()].concat())
            .expect("a connection");
        let mut scheduler = Self {
            id: Value::Null,
            address: address.to_owned(),
            stream,
            stream_id: String::new(),
            buffer: Vec::new(),
            aside: VecDeque::new(),
        };
        let head = scheduler.line_until("\r\n\r\n").to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let id = head
            .lines()
            .find_map(|l| l.strip_prefix("mesos-stream-id: "));
        scheduler.stream_id = id.expect("a stream id").to_owned();
        let event = scheduler.event().expect("an event");
        assert_eq!(event["type"], "SUBSCRIBED", "{event}");
        scheduler.id = event["subscribed"]["framework_id"].clone();
        scheduler
    }

    /// The next event that is no heartbeat; `None`: the stream has ended.
    ///
    /// # Panics
    /// Nothing comes.
    pub fn event(&mut self) -> Option<Value> {
        match self.aside.pop_front() {
            Some(event) => Some(event),
            None => self.read(),
        }
    }

    /// The next event of this type; others are kept.
    ///
    /// # Panics
    /// It does not come.
    pub fn wait(&mut self, kind: &str) -> Value {
        let mut aside = self.aside.iter();
        if let Some(at) = aside.position(|event| event["type"] == kind) {
            return self.aside.remove(at).expect("an event");
        }
        loop {
            let event = self.read();
            let event = event.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
            self.aside.push_back(event);
        }
    }

    fn read(&mut self) -> Option<Value> {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < LIMIT, "nothing but heartbeats");
            let length = usize::from_str_radix(&self.line_until("\r\n"), 16).ok()?;
            let chunk = self.take(length + 2);
            if length == 0 {
                return None;
            }
            let chunk = String::from_utf8(chunk).expect("text");
            let (_, record) = chunk.split_once('\n').expect("a record");
            let event: Value = serde_json::from_str(record.trim_end()).expect("JSON");
            if event["type"] != "HEARTBEAT" {
                return Some(event);
            }
        }
    }

    /// The next offer.
    pub fn offer(&mut self) -> Value {
        self.wait("OFFERS")["offers"]["offers"][0].take()
    }

    /// The next offer that has not been rescinded since it came.
    ///
    /// # Panics
    /// The stream ends.
    pub fn standing_offer(&mut self) -> Value {
        loop {
            let all = self.aside.iter();
            let rescinded = all.map(|event| &event["rescind"]["offer_id"]);
            let rescinded: Vec<&Value> = rescinded.filter(|id| !id.is_null()).collect();
            let stands = |event: &Value| {
                event["type"] == "OFFERS"
                    && !rescinded.contains(&&event["offers"]["offers"][0]["id"])
            };
            if let Some(at) = self.aside.iter().position(stands) {
                return self.aside.remove(at).expect("an event")["offers"]["offers"][0].take();
            }
            let event = self.read().expect("the stream ended before an offer");
            self.aside.push_back(event);
        }
    }

    /// The next status of a task.
    pub fn status(&mut self) -> Value {
        self.wait("UPDATE")["update"]["status"].take()
    }

    /// Acknowledges statuses until one of this state has come, and that one too; it.
    pub fn status_until(&mut self, state: &str) -> Value {
        loop {
            let status = self.status();
            self.acknowledge(&status);
            if status["state"] == state {
                return status;
            }
        }
    }

    /// Acknowledges a status, if it wants that.
    pub fn acknowledge(&self, status: &Value) {
        if status["uuid"].is_null() {
            return;
        }
        let member = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
        self.call("ACKNOWLEDGE", member);
    }

    /// The next status of an operation.
    pub fn operation_status(&mut self) -> Value {
        self.wait("UPDATE_OPERATION_STATUS")["update_operation_status"]["status"].take()
    }

    /// Acknowledges the status of an operation, if it wants that.
    pub fn acknowledge_operation(&self, status: &Value) {
        if status["uuid"].is_null() {
            return;
        }
        let member = json!({"agent_id": status["agent_id"], "operation_id": status["operation_id"],
            "uuid": status["uuid"]["value"]});
        self.call("ACKNOWLEDGE_OPERATION_STATUS", member);
    }

    /// Operations on an offer; what is left of it may be offered again at once.
    pub fn accept(&self, offer: &Value, operations: Value) {
        let filters = json!({"refuse_seconds": 0.0});
        let member =
            json!({"offer_ids": [offer["id"]], "operations": operations, "filters": filters});
        self.call("ACCEPT", member);
    }

    /// Launches tasks on offers; what is left of these may be offered again at once.
    pub fn launch(&self, offers: &[&Value], tasks: Value) {
        let ids: Vec<&Value> = offers.iter().map(|offer| &offer["id"]).collect();
        let operations = json!([{"type": "LAUNCH", "launch": {"task_infos": tasks}}]);
        let filters = json!({"refuse_seconds": 0.0});
        let member = json!({"offer_ids": ids, "operations": operations, "filters": filters});
        self.call("ACCEPT", member);
    }

    /// Makes a call of this type; `member` is what belongs to it.
    ///
    /// # Panics
    /// It is refused.
    pub fn call(&self, kind: &str, member: Value) {
        let call = json!({"type": kind, "framework_id": self.id, kind.to_lowercase(): member});
        let headers = [JSON, ("Mesos-Stream-Id", &self.stream_id)];
        let body = call.to_string();
        let answer = http::request(&self.address, "POST", PATH, &headers, body.as_bytes());
        assert!(matches!(answer.status, 200 | 202), "{call}: {answer:?}");
    }

    fn line_until(&mut self, end: &str) -> String {
        loop {
            let found = self.buffer.windows(end.len());
            if let Some(at) = found.into_iter().position(|bytes| bytes == end.as_bytes()) {
                let line: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            if !self.more() {
                return String::new();
            }
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length && self.more() {}
        let length = length.min(self.buffer.len());
        self.buffer.drain(..length).collect()
    }

    /// `false`: the peer has closed.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).expect("an event in time");
        self.buffer.extend_from_slice(&bytes[..read]);
        read > 0
    }
}

/// What an operator says to `address`, a master or an agent.
#[must_use]
pub fn operate(address: &str, kind: &str, member: Value) -> http::Answer {
    let call = json!({"type": kind, kind.to_lowercase(): member});
    let headers = [JSON, ("Accept", "application/json")];
    http::request(
        address,
        "POST",
        "/api/v1",
        &headers,
        call.to_string().as_bytes(),
    )
}

/// A task that runs a shell command on the offer's agent with so many cpus.
#[must_use]
pub fn task(offer: &Value, id: &str, cpus: f64, command: &str) -> Value {
    let cpus = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}}]);
    json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"], "resources": cpus,
        "command": {"value": command}})
}
