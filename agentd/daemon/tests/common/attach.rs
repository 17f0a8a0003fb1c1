//! The streams of ATTACH_CONTAINER_INPUT, ATTACH_CONTAINER_OUTPUT and sessions, from a client's side.
#![allow(clippy::unwrap_used, dead_code)] // Each test binary uses its own part.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use nesos_api::operator::agent as api;
use nesos_api::recordio;
use serde_json::{Value, json};

use super::form::Form;
use super::http::{Answer, request};

/// What is typed, all at once.
pub async fn input(form: Form, port: u16, id: &Value, said: &[Value]) -> Answer {
    let member =
        |member: Value| json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": member});
    let mut calls = vec![member(json!({"type": "CONTAINER_ID", "container_id": id}))];
    calls.extend(
        said.iter()
            .map(|io| member(json!({"type": "PROCESS_IO", "process_io": io}))),
    );
    let records = calls
        .iter()
        .map(|call| recordio::encode(&form.operator_bytes(call)));
    let body = records.collect::<Vec<_>>().concat();
    let headers = [
        ("Content-Type", "application/recordio"),
        ("Message-Content-Type", form.media_type()),
    ];
    request(port, "POST", "/api/v1", &headers, &body).await
}

/// What was typed, as a record.
pub fn keys(text: &[u8]) -> Value {
    let io = api::ProcessIO {
        r#type: Some(api::ProcessIOType::Data),
        data: Some(api::ProcessIOData {
            r#type: Some(api::ProcessIODataType::Stdin),
            data: Some(nesos_api::message::Bytes(text.to_vec())),
        }),
        ..Default::default()
    };
    serde_json::from_slice(&io.to_json()).unwrap()
}

/// A streamed answer.
pub struct Output {
    form: Form,
    body: Incoming,
    decoder: recordio::Decoder,
    pub out: String,
    pub err: String,
}

impl Output {
    /// Makes the call, which has to be answered with a stream.
    pub async fn open(form: Form, port: u16, call: &Value) -> Self {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let body = Full::new(Bytes::from(form.operator_bytes(call)));
        let request = hyper::Request::post("/api/v1")
            .header("Host", "agent")
            .header("Content-Type", form.media_type())
            .header("Accept", "application/recordio")
            .header("Message-Accept", form.media_type())
            .body(body)
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let content = answer.headers()["content-type"].clone();
        let body = answer.into_body();
        if status != 200 {
            let text = body.collect().await.unwrap().to_bytes();
            panic!("{status}: {}", String::from_utf8_lossy(&text));
        }
        assert_eq!(content, "application/recordio");
        Output {
            form,
            body,
            decoder: recordio::Decoder::default(),
            out: String::new(),
            err: String::new(),
        }
    }

    /// Reads until this was written, or without a text to the end.
    pub async fn until(&mut self, text: Option<&str>) {
        while !text.is_some_and(|text| self.out.contains(text)) {
            let frame = tokio::time::timeout(super::LIMIT, self.body.frame()).await;
            let Some(frame) = frame.unwrap_or_else(|_| panic!("{text:?} in {:?}", self.out)) else {
                assert_eq!(text, None, "the end came with {:?}", self.out);
                return;
            };
            self.decoder.push(frame.unwrap().data_ref().unwrap());
            while let Some(record) = self.decoder.next_record().unwrap() {
                let io = match self.form {
                    Form::Json => api::ProcessIO::from_json(&record).unwrap(),
                    Form::Protobuf => api::ProcessIO::from_protobuf(&record).unwrap(),
                };
                let Some(data) = io.data else {
                    continue;
                };
                let text = String::from_utf8(data.data.unwrap().0).unwrap();
                match data.r#type {
                    Some(api::ProcessIODataType::Stderr) => self.err.push_str(&text),
                    _ => self.out.push_str(&text),
                }
            }
        }
    }
}

/// An input that has typed `held` and stays attached until it is dropped.
pub async fn hold_input(port: u16, id: &Value) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt;
    let member =
        |member: Value| json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": member});
    let calls = [
        member(json!({"type": "CONTAINER_ID", "container_id": id})),
        member(json!({"type": "PROCESS_IO", "process_io": keys(b"held\n")})),
    ];
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    let head = "POST /api/v1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/recordio\r\n\
        Message-Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    for call in calls {
        let record = recordio::encode(call.to_string().as_bytes());
        bytes.extend_from_slice(format!("{:x}\r\n", record.len()).as_bytes());
        bytes.extend_from_slice(&record);
        bytes.extend_from_slice(b"\r\n");
    }
    stream.write_all(&bytes).await.unwrap();
    stream
}
