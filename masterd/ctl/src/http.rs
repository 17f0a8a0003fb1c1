//! A small HTTP/1.1 client for one master: JSON in and out, streams, redirects to the leader, Basic login.
//!
//! Not a general client: plain TCP, one connection per request. Called by every command that talks to a master.
//! Invariant: nothing waits without a limit except a stream that the caller reads itself.

use std::cell::RefCell;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{REFUSED, UNREACHABLE};

/// Longest wait for a TCP connection: a LAN answers in milliseconds, a board under load in a second.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for the head of an answer: a master that reads a file from an agent waits for the agent.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Largest answer that is held in memory: `/slaves` of 10,000 agents is about 20 MB.
const MAX_ANSWER: usize = 64 << 20;
/// Longest explanation printed from a refusal: a whole page helps nobody.
const MAX_EXPLANATION: usize = 2000;
/// Hops to the leader: one is normal, more happen while leadership changes.
const MAX_REDIRECTS: usize = 5;

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// Nobody answers there.
    #[error("cannot reach the master at {master}: {reason}")]
    Unreachable {
        /// Who was asked.
        master: String,
        /// What the network said.
        reason: String,
    },
    /// An answer that is not 2xx.
    #[error("the master at {master} refused {operation}: {status}{}{text}", if text.is_empty() { "" } else { ": " })]
    Refused {
        /// Who was asked.
        master: String,
        /// Method and path.
        operation: String,
        /// The status line's code.
        status: StatusCode,
        /// The master's explanation.
        text: String,
    },
    /// An answer that cannot be understood.
    #[error(
        "the master at {master} answered {operation} with something else than expected: {reason}"
    )]
    Answer {
        /// Who was asked.
        master: String,
        /// Method and path.
        operation: String,
        /// What does not fit.
        reason: String,
    },
}

impl HttpError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => UNREACHABLE,
            Self::Refused { .. } | Self::Answer { .. } => REFUSED,
        }
    }

    /// Whether asking again later can help: nobody there, or a master that is still getting ready.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => {
                matches!(
                    *status,
                    StatusCode::SERVICE_UNAVAILABLE
                        | StatusCode::GATEWAY_TIMEOUT
                        | StatusCode::BAD_GATEWAY
                )
            }
            Self::Answer { .. } => false,
        }
    }

    /// The status code of a refusal.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// One master, or rather its cluster: redirects to another leader are remembered.
#[derive(Debug)]
pub(crate) struct Client {
    master: RefCell<String>,
    authorization: Option<HeaderValue>,
    principal: Option<String>,
}

impl Client {
    /// For the master at `host:port`, with a principal and secret if it wants them.
    pub(crate) fn new(master: String, login: Option<(&str, &str)>) -> Self {
        let authorization = login.and_then(|(principal, secret)| {
            let mut value = HeaderValue::try_from(format!(
                "Basic {}",
                STANDARD.encode(format!("{principal}:{secret}"))
            ))
            .ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self {
            master: RefCell::new(master),
            authorization,
            principal: login.map(|(principal, _)| principal.to_owned()),
        }
    }

    /// The login as a header.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Who logs in, if anybody.
    pub(crate) fn principal(&self) -> Option<&str> {
        self.principal.as_deref()
    }

    /// `host:port` of whoever answered last.
    pub(crate) fn master(&self) -> String {
        self.master.borrow().clone()
    }

    /// GETs a JSON value.
    pub(crate) async fn json(&self, path: &str) -> Result<Value, HttpError> {
        let (_, body) = self
            .whole(Method::GET, path, &HeaderMap::new(), Bytes::new())
            .await?;
        serde_json::from_slice(&body)
            .map_err(|error| self.answer(&format!("GET {path}"), error.to_string()))
    }

    /// GETs bytes with their headers.
    pub(crate) async fn bytes(&self, path: &str) -> Result<(HeaderMap, Bytes), HttpError> {
        self.whole(Method::GET, path, &HeaderMap::new(), Bytes::new())
            .await
    }

    /// POSTs `body` and reads the whole answer.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<Bytes, HttpError> {
        Ok(self
            .whole(Method::POST, path, headers, body.into())
            .await?
            .1)
    }

    /// Makes an operator call that is answered with nothing but a status.
    pub(crate) async fn operate(&self, call: &Value) -> Result<(), HttpError> {
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
        let body = call.to_string().into_bytes();
        self.post("/api/v1", &headers, body).await?;
        Ok(())
    }

    /// Sends JSON (`null`: nothing) and reads the JSON of the answer; an empty one is `null`.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, HttpError> {
        let operation = format!("{method} {path}");
        let json = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let (_, answer) = self.whole(method, path, &headers, body).await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        let answer = serde_json::from_slice(&answer);
        answer.map_err(|error| self.answer(&operation, error.to_string()))
    }

    /// POSTs `body` and hands out the answer as it comes, once its status is 2xx.
    pub(crate) async fn stream(
        &self,
        path: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, HttpError> {
        self.send(Method::POST, path, headers, body.into(), ANSWER_LIMIT)
            .await
    }

    /// POSTs `body`, whose answer may take `limit`, and reads the JSON of it.
    pub(crate) async fn post_slowly(
        &self,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Value, HttpError> {
        let operation = format!("POST {path}");
        let headers = HeaderMap::new();
        let sent = self.send(Method::POST, path, &headers, body, limit).await?;
        match timeout(
            ANSWER_LIMIT,
            Limited::new(sent.into_body(), MAX_ANSWER).collect(),
        )
        .await
        {
            Ok(Ok(body)) => serde_json::from_slice(&body.to_bytes())
                .map_err(|error| self.answer(&operation, error.to_string())),
            Ok(Err(error)) => Err(self.answer(&operation, error.to_string())),
            Err(_) => Err(self.answer(&operation, "the answer does not end".to_owned())),
        }
    }

    async fn whole(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), HttpError> {
        let operation = format!("{method} {path}");
        let sent = self.send(method, path, headers, body, ANSWER_LIMIT);
        let (parts, body) = sent.await?.into_parts();
        match timeout(ANSWER_LIMIT, Limited::new(body, MAX_ANSWER).collect()).await {
            Ok(Ok(body)) => Ok((parts.headers, body.to_bytes())),
            Ok(Err(error)) => Err(self.answer(&operation, error.to_string())),
            Err(_) => Err(self.answer(&operation, "the answer does not end".to_owned())),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        let operation = format!("{method} {path}");
        for _ in 0..=MAX_REDIRECTS {
            let response = self
                .send_once(&method, path, headers, body.clone(), limit)
                .await?;
            if response.status() == StatusCode::TEMPORARY_REDIRECT {
                let leader = response
                    .headers()
                    .get(header::LOCATION)
                    .and_then(|v| leader_of(v.to_str().ok()?));
                let leader = leader
                    .ok_or_else(|| self.answer(&operation, "a redirect to nowhere".to_owned()))?;
                self.master.replace(leader);
                continue;
            }
            if response.status().is_success() {
                return Ok(response);
            }
            return Err(self.refusal(operation, response).await);
        }
        Err(self.answer(&operation, format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn send_once(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        let master = self.master();
        let unreachable = |reason: String| HttpError::Unreachable {
            master: master.clone(),
            reason,
        };
        let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(&master)).await {
            Ok(stream) => stream.map_err(|error| unreachable(error.to_string()))?,
            Err(_) => {
                return Err(unreachable(format!(
                    "no answer within {} s",
                    CONNECT_LIMIT.as_secs()
                )));
            }
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        // The connection lives until its answer has been read or dropped; its errors surface there.
        tokio::spawn(connection);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = path
            .parse()
            .map_err(|_| self.answer(path, "not a path".to_owned()))?;
        *request.headers_mut() = headers.clone();
        let host = HeaderValue::try_from(&master)
            .map_err(|_| unreachable("not a host:port".to_owned()))?;
        request.headers_mut().insert(header::HOST, host);
        if let Some(value) = &self.authorization {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, value.clone());
        }
        match timeout(limit, sender.send_request(request)).await {
            Ok(response) => response.map_err(|error| unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!(
                "connected, but no answer within {} s",
                limit.as_secs()
            ))),
        }
    }

    async fn refusal(&self, operation: String, response: Response<Incoming>) -> HttpError {
        let status = response.status();
        let body = timeout(
            ANSWER_LIMIT,
            Limited::new(response.into_body(), MAX_ANSWER).collect(),
        )
        .await;
        let text = match body {
            Ok(Ok(body)) => explanation(&body.to_bytes()),
            _ => String::new(),
        };
        HttpError::Refused {
            master: self.master(),
            operation,
            status,
            text,
        }
    }

    fn answer(&self, operation: &str, reason: String) -> HttpError {
        HttpError::Answer {
            master: self.master(),
            operation: operation.to_owned(),
            reason,
        }
    }
}

/// `text` as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `host:port` of a `Location` such as `//10.0.0.1:5050/api/v1/scheduler` or `http://10.0.0.1:5050`.
fn leader_of(location: &str) -> Option<String> {
    let rest = location
        .strip_prefix("http:")
        .unwrap_or(location)
        .strip_prefix("//")?;
    let authority = rest.split(['/', '?']).next().filter(|a| !a.is_empty())?;
    Some(if authority.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    })
}

/// What a refusal says: its text, or the `message` of the JSON that Marathon's and Chronos's APIs answer, with what they add.
fn explanation(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match (json["message"].as_str(), &json["details"]) {
        (Some(message), Value::Null) => message.to_owned(),
        (Some(message), details) => format!("{message}: {details}"),
        (None, _) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    text.chars().take(MAX_EXPLANATION).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_name_the_leader() {
        assert_eq!(
            leader_of("//10.0.0.1:5050").as_deref(),
            Some("10.0.0.1:5050")
        );
        assert_eq!(
            leader_of("http://a:1/api/v1/scheduler?x").as_deref(),
            Some("a:1")
        );
        assert_eq!(leader_of("//a/x").as_deref(), Some("a:80"));
        assert_eq!(leader_of("/relative"), None);
        assert_eq!(leader_of("//"), None);
    }

    #[test]
    fn refusals_are_sentences() {
        for (body, said) in [
            ("no such thing\n", "no such thing"),
            (
                r#"{"status": "Bad Request", "message": "job not found"}"#,
                "job not found",
            ),
            (
                r#"{"message": "Object is not valid", "details": [1]}"#,
                "Object is not valid: [1]",
            ),
            (r#"{"other": 1}"#, r#"{"other": 1}"#),
        ] {
            assert_eq!(explanation(body.as_bytes()), said);
        }
    }

    #[test]
    fn odd_ids_stay_one_segment() {
        assert_eq!(segment("a/b c%ä"), "a%2Fb%20c%25%C3%A4");
    }
}
