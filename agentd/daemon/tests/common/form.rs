//! The operator API in both forms.

use nesos_api::operator::agent as api;
use serde_json::{Value, json};

pub use super::executor::Form;
use super::http::{Answer, request};

impl Form {
    pub fn operator_bytes(self, call: &Value) -> Vec<u8> {
        let text = call.to_string().into_bytes();
        match self {
            Form::Json => text,
            Form::Protobuf => api::Call::from_json(&text).unwrap().to_protobuf(),
        }
    }

    /// `POST /api/v1`
    pub async fn operate(self, port: u16, call: &Value) -> Answer {
        let headers = [
            ("Content-Type", self.media_type()),
            ("Accept", self.media_type()),
        ];
        request(
            port,
            "POST",
            "/api/v1",
            &headers,
            &self.operator_bytes(call),
        )
        .await
    }

    /// A call about this container that has nothing else to say; its status and answer.
    pub async fn about(self, port: u16, kind: &str, id: &Value) -> (u16, Value) {
        let call = json!({"type": kind, kind.to_lowercase(): {"container_id": id}});
        let answer = self.operate(port, &call).await;
        let value = match self {
            _ if answer.status != 200 || answer.body.is_empty() => json!(answer.text()),
            form => form.json(&answer),
        };
        (answer.status, value)
    }

    /// What was answered.
    pub fn json(self, answer: &Answer) -> Value {
        match self {
            Form::Json => answer.json(),
            Form::Protobuf => {
                let response = api::Response::from_protobuf(&answer.body).unwrap();
                serde_json::from_slice(&response.to_json()).unwrap()
            }
        }
    }
}
