//! The v1 API in either form: tests say and read JSON values, what travels is JSON or protobuf.

use nesos_api::operator::master as operator;
use nesos_api::scheduler;
use serde_json::{Value, json};

use super::http::{Answer, Client, head, request};

/// The forms a test runs in.
pub const FORMS: [Form; 2] = [Form::Json, Form::Protobuf];

/// What travels.
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

    /// Makes an operator call; its status and, if it is an answer with content, the answer as JSON.
    pub async fn operate(self, address: &str, call: &Value) -> (u16, Value) {
        let body = self.operator_call(call);
        let headers = self.headers();
        let answer = request(address, "POST", "/api/v1", &headers, &body).await;
        let value = match self {
            _ if answer.body.is_empty() => Value::Null,
            _ if answer.status != 200 => json!(answer.text()),
            Self::Json => answer.json(),
            Self::Protobuf => {
                let response = operator::Response::from_protobuf(&answer.body).unwrap();
                serde_json::from_slice(&response.to_json()).unwrap()
            }
        };
        (answer.status, value)
    }

    /// Posts a scheduler call with further headers.
    pub async fn post(self, address: &str, call: &Value, further: &[(&str, &str)]) -> Answer {
        self.open(address, call, further).await.answer().await
    }

    /// Sends a scheduler call on a connection of its own and leaves the answer to be read.
    pub async fn open(self, address: &str, call: &Value, further: &[(&str, &str)]) -> Client {
        let body = self.scheduler_call(call);
        let mut headers = vec![("Content-Type", self.media_type())];
        headers.extend(further);
        let mut client = Client::connect(address).await;
        let head = head("POST", "/api/v1/scheduler", &headers, body.len());
        client.send(&head).await;
        client.send(&body).await;
        client
    }

    /// Content-Type and Accept.
    pub fn headers(self) -> [(&'static str, &'static str); 2] {
        let media_type = self.media_type();
        [("Content-Type", media_type), ("Accept", media_type)]
    }

    /// What travels of an operator call.
    pub fn operator_call(self, call: &Value) -> Vec<u8> {
        let text = call.to_string();
        match self {
            Self::Json => text.into_bytes(),
            Self::Protobuf => operator::Call::from_json(text.as_bytes())
                .unwrap()
                .to_protobuf(),
        }
    }

    /// What travels of a scheduler call.
    pub fn scheduler_call(self, call: &Value) -> Vec<u8> {
        let text = call.to_string();
        match self {
            Self::Json => text.into_bytes(),
            Self::Protobuf => scheduler::Call::from_json(text.as_bytes())
                .unwrap()
                .to_protobuf(),
        }
    }
}

/// A scheduler that speaks one of the forms.
#[derive(Debug)]
pub struct Scheduler {
    pub form: Form,
    pub id: Value,
    client: Client,
    address: String,
    pub stream: String,
}

impl Scheduler {
    /// Subscribes with these members of SUBSCRIBE and waits for SUBSCRIBED.
    pub async fn subscribe(form: Form, address: &str, subscribe: Value) -> Self {
        let mut client = ask(form, address, subscribe).await;
        let answer = client.head().await;
        assert_eq!(answer.status, 200);
        let stream = answer.header("mesos-stream-id").unwrap().to_owned();
        let mut scheduler = Self {
            form,
            id: Value::Null,
            client,
            address: address.into(),
            stream,
        };
        let event = scheduler.event().await;
        assert_eq!(event["type"], "SUBSCRIBED", "{event}");
        scheduler.id = event["subscribed"]["framework_id"].clone();
        scheduler
    }

    /// Subscribes and is refused with an ERROR event; its sentence.
    pub async fn refused(form: Form, address: &str, subscribe: Value) -> String {
        let answer = ask(form, address, subscribe).await.answer().await;
        assert_eq!(answer.status, 200);
        let event = parse(form, &answer.body);
        assert_eq!(event["type"], "ERROR", "{event}");
        event["error"]["message"].as_str().unwrap().to_owned()
    }

    /// The next event.
    pub async fn event(&mut self) -> Value {
        let chunk = self.client.chunk().await.expect("the stream ended");
        parse(self.form, &chunk)
    }

    /// The next event; `None`: the stream has ended.
    pub async fn event_or_end(&mut self) -> Option<Value> {
        let chunk = self.client.chunk().await?;
        Some(parse(self.form, &chunk))
    }

    /// Uses these offers for one LAUNCH of these tasks.
    pub async fn launch(&self, offers: &[&Value], tasks: Value) -> Answer {
        let ids: Vec<&Value> = offers.iter().map(|offer| &offer["id"]).collect();
        let launch = json!({"type": "LAUNCH", "launch": {"task_infos": tasks}});
        let filters = json!({"refuse_seconds": 0.0});
        let accept = json!({"offer_ids": ids, "operations": [launch], "filters": filters});
        self.call("ACCEPT", accept).await
    }

    /// The next event of this type, others are skipped.
    pub async fn wait(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await;
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Makes a call of this type; `member` is what belongs to it.
    pub async fn call(&self, kind: &str, member: Value) -> Answer {
        let call = json!({"type": kind, "framework_id": self.id, kind.to_lowercase(): member});
        let body = self.form.scheduler_call(&call);
        let headers = [
            ("Content-Type", self.form.media_type()),
            ("Mesos-Stream-Id", &self.stream),
        ];
        request(&self.address, "POST", "/api/v1/scheduler", &headers, &body).await
    }
}

/// An operator's event stream in one of the forms.
#[derive(Debug)]
pub struct Watcher {
    form: Form,
    client: Client,
}

impl Watcher {
    /// Opens it.
    pub async fn open(form: Form, address: &str) -> Self {
        let body = form.operator_call(&json!({"type": "SUBSCRIBE"}));
        let mut client = Client::connect(address).await;
        let head = head("POST", "/api/v1", &form.headers(), body.len());
        client.send(&head).await;
        client.send(&body).await;
        let answer = client.head().await;
        let found = (answer.status, answer.header("content-type"));
        assert_eq!(found, (200, Some(form.media_type())));
        Self { form, client }
    }

    /// The next event that is no heartbeat.
    pub async fn event(&mut self) -> Value {
        loop {
            let event = self.event_or_end().await.expect("the stream ended");
            if event["type"] != "HEARTBEAT" {
                return event;
            }
        }
    }

    /// The next event; `None`: the stream has ended.
    pub async fn event_or_end(&mut self) -> Option<Value> {
        let chunk = self.client.chunk().await?;
        Some(match self.form {
            Form::Json => serde_json::from_slice(record(&chunk)).unwrap(),
            Form::Protobuf => {
                let event = operator::Event::from_protobuf(record(&chunk)).unwrap();
                serde_json::from_slice(&event.to_json()).unwrap()
            }
        })
    }
}

/// Sends a SUBSCRIBE.
async fn ask(form: Form, address: &str, subscribe: Value) -> Client {
    let mut call = json!({"type": "SUBSCRIBE", "subscribe": subscribe});
    let id = subscribe["framework_info"]["id"].clone();
    if !id.is_null() {
        call["framework_id"] = id;
    }
    form.open(address, &call, &[("Accept", form.media_type())])
        .await
}

/// One record as JSON.
fn parse(form: Form, chunk: &[u8]) -> Value {
    match form {
        Form::Json => serde_json::from_slice(record(chunk)).unwrap(),
        Form::Protobuf => {
            let event = scheduler::Event::from_protobuf(record(chunk)).unwrap();
            serde_json::from_slice(&event.to_json()).unwrap()
        }
    }
}

/// What stands in a chunk behind the length.
fn record(chunk: &[u8]) -> &[u8] {
    let newline = chunk.iter().position(|byte| *byte == b'\n').unwrap();
    &chunk[newline + 1..]
}
