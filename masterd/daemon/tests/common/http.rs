//! HTTP as bytes: what is sent and received is what stands here.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: &str) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Status and headers of the next answer.
    pub async fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.more()
                .await
                .expect("the connection ended before an answer");
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let pair = |line: &str| {
            line.split_once(": ")
                .map(|(n, v)| (n.to_ascii_lowercase(), v.to_string()))
        };
        Answer {
            status,
            headers: lines.filter_map(pair).collect(),
            body: Vec::new(),
        }
    }

    /// The next answer with its whole body.
    pub async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                answer.body.extend(chunk);
            }
        } else {
            let length: usize = answer
                .header("content-length")
                .map_or(0, |text| text.parse().unwrap());
            answer.body = self.bytes(length).await.unwrap();
        }
        answer
    }

    /// The next chunk of a chunked body; `None` at its end or when the connection breaks.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                break at;
            }
            self.more().await?;
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
        let length = usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
        let chunk = self.bytes(length + 2).await?;
        (length > 0).then(|| chunk[..length].to_vec())
    }

    /// Whether the peer closes the connection, whatever it sends before.
    pub async fn ends(&mut self) -> bool {
        while self.more().await.is_some() {}
        true
    }

    async fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Some(self.buffer.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let read = tokio::time::timeout(super::DEADLINE, self.stream.read_buf(&mut self.buffer));
        match read.await.expect("the peer says nothing") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

/// One request on a connection of its own.
pub async fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut client = Client::connect(address).await;
    client.send(&head(method, path, headers, body.len())).await;
    client.send(body).await;
    client.answer().await
}

pub async fn get(address: &str, path: &str) -> Answer {
    request(address, "GET", path, &[], b"").await
}

/// The bytes of a request's head.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A subscribed scheduler that speaks JSON.
#[derive(Debug)]
pub struct Scheduler {
    pub client: Client,
    pub address: String,
    pub stream_id: String,
    pub framework: String,
    pub subscribed: Vec<u8>,
}

impl Scheduler {
    /// Subscribes with these members of `framework_info` (JSON, without braces) and waits for SUBSCRIBED.
    pub async fn subscribe(address: &str, info: &str, id: Option<&str>) -> Self {
        let (outer, inner) = match id {
            Some(id) => (
                format!(r#""framework_id":{{"value":"{id}"}},"#),
                format!(r#","id":{{"value":"{id}"}}"#),
            ),
            None => Default::default(),
        };
        let body = format!(
            r#"{{{outer}"type":"SUBSCRIBE","subscribe":{{"framework_info":{{"user":"root","name":"test"{info}{inner}}}}}}}"#
        );
        let mut client = Client::connect(address).await;
        let headers = [
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ];
        client
            .send(&head("POST", "/api/v1/scheduler", &headers, body.len()))
            .await;
        client.send(body.as_bytes()).await;
        let head = client.head().await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("application/json"));
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        let stream_id = head.header("mesos-stream-id").unwrap().to_string();
        let mut scheduler = Self {
            client,
            address: address.into(),
            stream_id,
            framework: String::new(),
            subscribed: Vec::new(),
        };
        scheduler.subscribed = scheduler.client.chunk().await.expect("an event");
        let event = parse(&scheduler.subscribed);
        assert_eq!(event["type"], "SUBSCRIBED", "{event}");
        scheduler.framework = event["subscribed"]["framework_id"]["value"]
            .as_str()
            .unwrap()
            .into();
        scheduler
    }

    /// The next event; exactly one stands in each chunk. `None`: the stream has ended.
    pub async fn event(&mut self) -> Option<serde_json::Value> {
        self.client.chunk().await.map(|chunk| parse(&chunk))
    }

    /// The next event of this type, others are skipped.
    pub async fn wait(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let event = self
                .event()
                .await
                .unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Makes a call; `members` is JSON without braces. The status.
    pub async fn call(&self, members: &str) -> u16 {
        let body = format!(
            r#"{{"framework_id":{{"value":"{}"}},{members}}}"#,
            self.framework
        );
        let headers = [
            ("Content-Type", "application/json"),
            ("Mesos-Stream-Id", &self.stream_id),
        ];
        request(
            &self.address,
            "POST",
            "/api/v1/scheduler",
            &headers,
            body.as_bytes(),
        )
        .await
        .status
    }
}

/// One record, which must be the whole chunk.
pub fn parse(chunk: &[u8]) -> serde_json::Value {
    let newline = chunk
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a length and a newline");
    let length: usize = std::str::from_utf8(&chunk[..newline])
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(chunk.len(), newline + 1 + length, "one record per chunk");
    serde_json::from_slice(&chunk[newline + 1..]).unwrap()
}

/// The members of an ACCEPT that launches a small task on this offer.
pub fn launch(offer: &serde_json::Value, task: &str) -> String {
    format!(
        r#""type":"ACCEPT","accept":{{"offer_ids":[{id}],"filters":null,"operations":[{{"type":"LAUNCH","reserve":null,
           "launch":{{"task_infos":[{{"name":"n","task_id":{{"value":"{task}"}},"agent_id":{agent},
           "resources":[{{"name":"cpus","type":"SCALAR","scalar":{{"value":0.1}}}}],
           "command":{{"value":"true"}},"unknown_key":1}}]}}}}]}}"#,
        id = offer["id"],
        agent = offer["agent_id"],
    )
}
