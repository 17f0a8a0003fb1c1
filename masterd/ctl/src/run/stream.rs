//! The master's event stream: one subscription, its id, its records.
//!
//! Called by the scheduler. Invariant: a stream that is silent for several heartbeats is an ended one.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use nesos_api::recordio::Decoder;
use nesos_api::scheduler::{Call, Event};
use tokio::time::timeout;

use crate::http::{Client, HttpError};

/// Where schedulers post.
const PATH: &str = "/api/v1/scheduler";
/// Mesos's header that ties calls to a subscription.
const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");
/// Silence after which a stream counts as broken, in heartbeats (15 s each unless the master says otherwise).
const MISSED_HEARTBEATS: f64 = 3.0;
const DEFAULT_HEARTBEAT: f64 = 15.0;

/// A running subscription.
#[derive(Debug)]
pub(super) struct EventStream {
    body: Incoming,
    decoder: Decoder,
    headers: HeaderMap,
    silence: Duration,
}

impl EventStream {
    /// Posts the SUBSCRIBE call and holds on to the answer.
    pub(super) async fn subscribe(client: &Client, call: &Call) -> Result<Self, HttpError> {
        let response = client
            .stream(PATH, &json_headers(None), call.to_json())
            .await?;
        let id = response.headers().get(&STREAM_ID).cloned();
        Ok(Self {
            headers: json_headers(id),
            body: response.into_body(),
            decoder: Decoder::default(),
            silence: silence_limit(DEFAULT_HEARTBEAT),
        })
    }

    /// The master's heartbeat interval, in seconds.
    pub(super) fn set_heartbeat(&mut self, seconds: f64) {
        self.silence = silence_limit(seconds);
    }

    /// The next event; an error text when the stream has ended or broken. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some(record) = self
                .decoder
                .next_record()
                .map_err(|error| error.to_string())?
            {
                return Event::from_json(&record)
                    .map_err(|error| format!("an event that is none: {error}"));
            }
            let frame = match timeout(self.silence, self.body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(None) => return Err("the master closed the stream".to_owned()),
                Err(_) => return Err("the master is silent".to_owned()),
            };
            if let Some(data) = frame.data_ref() {
                self.decoder.push(data);
            }
        }
    }

    /// Posts a call that belongs to this subscription.
    pub(super) async fn post(&self, client: &Client, call: &Call) -> Result<(), HttpError> {
        client
            .post(PATH, &self.headers, call.to_json())
            .await
            .map(drop)
    }
}

fn json_headers(stream: Option<HeaderValue>) -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, json.clone()), (ACCEPT, json)]);
    if let Some(id) = stream {
        headers.insert(STREAM_ID, id);
    }
    headers
}

fn silence_limit(heartbeat: f64) -> Duration {
    let seconds = if heartbeat.is_finite() {
        heartbeat.clamp(1.0, 3600.0)
    } else {
        DEFAULT_HEARTBEAT
    };
    Duration::from_secs_f64(seconds * MISSED_HEARTBEATS)
}
