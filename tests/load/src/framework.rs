//! A scheduler over HTTP: SUBSCRIBE with its RecordIO stream, calls on a connection beside it, JSON throughout.
//!
//! Called by the subjects. Not a client library: it knows the calls that a measurement needs.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nesos_api::recordio::Decoder;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Largest event: offers of all agents in one.
const MAX_EVENT: usize = 64 << 20;
const SCHEDULER: &str = "/api/v1/scheduler";

/// A keep-alive connection to the master.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    /// Connects.
    pub(crate) async fn new(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; errors show up there.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender, address })
    }

    /// GETs `path`: the whole body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Bytes> {
        let request = Request::get(path)
            .header("Host", self.address.to_string())
            .body(Full::default())?;
        let response = self.send(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    async fn post(&mut self, stream: Option<&str>, body: &Value) -> Result<Response<Incoming>> {
        let mut request = Request::post(SCHEDULER)
            .header("Host", self.address.to_string())
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        if let Some(stream) = stream {
            request = request.header("Mesos-Stream-Id", stream);
        }
        self.send(request.body(Full::from(body.to_string()))?).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            let text = response.into_body().collect().await?.to_bytes();
            bail!("{status}: {}", String::from_utf8_lossy(&text));
        }
        Ok(response)
    }
}

/// A subscribed framework.
#[derive(Debug)]
pub(crate) struct Framework {
    /// Its id.
    pub(crate) id: String,
    calls: Connection,
    /// What calls name in Mesos-Stream-Id.
    pub(crate) stream: String,
    events: Events,
}

#[derive(Debug)]
struct Events {
    body: Incoming,
    decoder: Decoder,
}

impl Framework {
    /// Subscribes in `role`; suppressed: without ever getting an offer.
    pub(crate) async fn subscribe(
        address: SocketAddr,
        role: &str,
        is_suppressed: bool,
    ) -> Result<Self> {
        let mut connection = Connection::new(address).await?;
        let suppressed = if is_suppressed { vec![role] } else { vec![] };
        let subscribe = json!({"type": "SUBSCRIBE", "subscribe": {
            "framework_info": info(role),
            "suppressed_roles": suppressed,
        }});
        let response = connection.post(None, &subscribe).await?;
        let stream = response.headers().get("Mesos-Stream-Id");
        let stream = stream.context("no Mesos-Stream-Id")?.to_str()?.to_owned();
        let mut events = Events {
            body: response.into_body(),
            decoder: Decoder::new(MAX_EVENT),
        };
        let subscribed = events.next().await?;
        let id = subscribed["subscribed"]["framework_id"]["value"].as_str();
        Ok(Self {
            id: id.context("not subscribed")?.to_owned(),
            calls: Connection::new(address).await?,
            stream,
            events,
        })
    }

    /// The next event, heartbeats included.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        self.events.next().await
    }

    /// All events that have come, but at least one.
    pub(crate) async fn some(&mut self) -> Result<Vec<Value>> {
        let mut events = vec![self.events.next().await?];
        while let Some(record) = self.events.decoder.next_record()? {
            events.push(serde_json::from_slice(&record)?);
        }
        Ok(events)
    }

    /// Makes a call: `type` in capitals, its member in small letters.
    pub(crate) async fn call(&mut self, kind: &str, member: Value) -> Result<()> {
        let mut call = json!({"type": kind, "framework_id": {"value": self.id}});
        call[kind.to_lowercase()] = member;
        let response = self.calls.post(Some(&self.stream), &call).await?;
        response.into_body().collect().await?;
        Ok(())
    }

    /// Takes one task's worth out of an offer; the rest may be offered again at once.
    pub(crate) async fn launch(&mut self, offer: &Value, task: &str) -> Result<()> {
        let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let info = json!({
            "name": "t", "task_id": {"value": task}, "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
            "command": {"shell": false, "value": "/bin/true", "arguments": ["true"]},
        });
        let accept = json!({
            "offer_ids": [offer["id"]],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [info]}}],
            "filters": {"refuse_seconds": 0.0},
        });
        self.call("ACCEPT", accept).await
    }

    /// Acknowledges a status if it asks for that.
    pub(crate) async fn acknowledge(&mut self, status: &Value) -> Result<()> {
        if status["uuid"].is_null() {
            return Ok(());
        }
        let seen = json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
        self.call("ACKNOWLEDGE", seen).await
    }

    /// Keeps scheduling: a task on every offer, every update acknowledged. Ends only with an error.
    pub(crate) async fn churn(mut self, launched: std::rc::Rc<std::cell::Cell<u64>>) -> Result<()> {
        loop {
            let event = self.next().await?;
            for offer in event["offers"]["offers"].as_array().into_iter().flatten() {
                let number = launched.get();
                launched.set(number + 1);
                self.launch(offer, &format!("churn-{number}")).await?;
            }
            self.acknowledge(&event["update"]["status"]).await?;
        }
    }
}

impl Events {
    async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(record) = self.decoder.next_record()? {
                return Ok(serde_json::from_slice(&record)?);
            }
            let frame = self.body.frame().await.context("the stream ended")??;
            if let Some(piece) = frame.data_ref() {
                self.decoder.push(piece);
            }
        }
    }
}

/// What a framework in `role` says of itself.
pub(crate) fn info(role: &str) -> Value {
    json!({
        "user": "nobody", "name": format!("load-{role}"), "roles": [role], "failover_timeout": 3600.0,
        "checkpoint": true,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}, {"type": "RESERVATION_REFINEMENT"}],
    })
}
