//! What the executor API answers to calls that cannot be, in Mesos's order.
#![allow(clippy::unwrap_used)]

mod common;

use common::executor::{Executor, Form};
use common::http::request;
use common::{Master, run};
use nesos_api::executor::{Call, CallSubscribe, CallType};
use nesos_api::v1;

const PATH: &str = "/api/v1/executor";
const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn calls_are_checked_in_mesoss_order() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (_link, hello) = master.link().await;
        let port = hello.port;
        let get = request(port, "GET", PATH, &[], b"").await;
        assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
        assert_eq!(request(port, "POST", PATH, &[], b"{}").await.status, 400);
        let odd = request(port, "POST", PATH, &[("Content-Type", "text/plain")], b"{}").await;
        assert_eq!(odd.status, 415);
        for body in [
            &b"{"[..],
            b"{}",
            br#"{"executor_id":{"value":"e"},"framework_id":{"value":"f"}}"#,
        ] {
            let answer = request(port, "POST", PATH, &[JSON], body).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
        }
        for form in [Form::Json, Form::Protobuf] {
            let executor = Executor::new("e", port, form);
            let status = async |call: &Call| {
                let answer = executor.post(call).await;
                (answer.status, answer.text())
            };
            let missing = status(&executor.call(CallType::Update)).await;
            assert_eq!(missing.0, 400);
            assert!(
                missing.1.contains("Expecting 'update' to be present"),
                "{}",
                missing.1
            );
            let mut update = executor.update("t", v1::TaskState::Running, 1);
            if let Some(update) = &mut update.update {
                update.status.source = Some(v1::TaskStatusSource::Agent);
            }
            let source = status(&update).await;
            assert!(
                source.0 == 400 && source.1.contains("update.status.source"),
                "{}",
                source.1
            );
            assert_eq!(
                status(&executor.call(CallType::Heartbeat)).await,
                (202, String::new())
            );
            let subscribe = Call {
                subscribe: Some(CallSubscribe::default()),
                ..executor.call(CallType::Subscribe)
            };
            let unknown = (400, "Framework cannot be found".to_string());
            assert_eq!(status(&subscribe).await, unknown);
            assert_eq!(status(&executor.message(b"x")).await, unknown);
            assert_eq!(status(&executor.call(CallType::Unknown)).await, unknown);
            let headers = [("Content-Type", form.media_type()), ("Accept", "text/html")];
            let answer = request(port, "POST", PATH, &headers, &form.bytes(&subscribe)).await;
            assert_eq!(answer.status, 406);
        }
    });
}

#[test]
fn a_page_of_another_origin_may_not_speak_as_an_executor() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (_link, hello) = master.link().await;
        let executor = Executor::new("e", hello.port, Form::Json);
        let body = Form::Json.bytes(&executor.call(CallType::Heartbeat));
        let headers = [JSON, ("Origin", "http://elsewhere")];
        let answer = request(hello.port, "POST", PATH, &headers, &body).await;
        assert_eq!(answer.status, 403);
        master.kill_agent();
        let mut open = Master::new()
            .await
            .with_flag("--executor_access=open".into());
        open.start_agent();
        let (_link, hello) = open.link().await;
        let answer = request(hello.port, "POST", PATH, &headers, &body).await;
        assert_eq!(answer.status, 202);
    });
}
