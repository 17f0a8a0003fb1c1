//! Every call and event of the APIs against bytes that Nesos did not make: both formats, both directions.
//!
//! The cases are in `golden/`, one file per API. Invariant: a released Nesos reads and writes these bytes for ever.
#![allow(clippy::unwrap_used)]

use nesos_api::scheduler::{Call, Event, EventType};
use nesos_api::{Error, message::Enumeration};
use std::collections::BTreeSet;
use std::fmt::Debug;

/// Bound of the places where a case is cut off.
const CUTS: usize = 300;

struct Case<'a> {
    name: &'a str,
    kind: &'a str,
    json: &'a str,
    protobuf: Vec<u8>,
    written: &'a str,
}

const SCHEDULER: &str = include_str!("golden/scheduler.txt");
const EXECUTOR: &str = include_str!("golden/executor.txt");

fn cases(text: &'static str) -> Vec<Case<'static>> {
    let blocks = text.split("\n\n").skip(1);
    blocks
        .map(|block| {
            let [name, kind, json, hex, written] = block
                .trim_end()
                .lines()
                .collect::<Vec<_>>()
                .try_into()
                .unwrap();
            Case {
                name,
                kind,
                json,
                protobuf: bytes(hex),
                written: if written == "=" { json } else { written },
            }
        })
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn check<M: PartialEq + Debug>(
    case: &Case<'_>,
    from_json: fn(&[u8]) -> Result<M, Error>,
    from_protobuf: fn(&[u8]) -> Result<M, Error>,
    to_json: fn(&M) -> Vec<u8>,
    to_protobuf: fn(&M) -> Vec<u8>,
) -> M {
    let name = case.name;
    let message = from_json(case.json.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(
        String::from_utf8(to_json(&message)).unwrap(),
        case.written,
        "{name}: JSON written"
    );
    assert_eq!(
        to_protobuf(&message),
        case.protobuf,
        "{name}: protobuf written"
    );
    let again = from_protobuf(&case.protobuf).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(again, message, "{name}: protobuf read");
    // What is written shows defaults, so it is another message, but it must read and write as itself.
    let shown = from_json(case.written.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(to_json(&shown)).unwrap(),
        case.written,
        "{name}: JSON read back"
    );
    for cut in (0..case.protobuf.len()).step_by(1 + case.protobuf.len() / CUTS) {
        let _ = from_protobuf(&case.protobuf[..cut]); // may be whole by chance, must not panic
    }
    for cut in (0..case.json.len()).step_by(1 + case.json.len() / CUTS) {
        assert!(
            from_json(&case.json.as_bytes()[..cut]).is_err(),
            "{name}: JSON cut at {cut}"
        );
    }
    message
}

/// Checks all cases of one API, and that each call and event but UNKNOWN has one.
macro_rules! check_api {
    ($cases:expr, $api:ident) => {{
        use nesos_api::$api::{Call, CallType, Event, EventType};
        let (mut calls, mut events) = (BTreeSet::new(), BTreeSet::new());
        for case in cases($cases) {
            if case.kind == "call" {
                let call = check(
                    &case,
                    Call::from_json,
                    Call::from_protobuf,
                    Call::to_json,
                    Call::to_protobuf,
                );
                calls.insert(call.r#type.unwrap());
            } else {
                let event = check(
                    &case,
                    Event::from_json,
                    Event::from_protobuf,
                    Event::to_json,
                    Event::to_protobuf,
                );
                events.insert(event.r#type.unwrap());
            }
        }
        assert_eq!(
            calls.len(),
            CallType::VALUES.len() - 1,
            "every call has a case"
        );
        assert_eq!(
            events.len(),
            EventType::VALUES.len() - 1,
            "every event has a case"
        );
    }};
}

#[test]
fn the_scheduler_api_is_read_and_written_as_by_mesos() {
    check_api!(SCHEDULER, scheduler);
}

#[test]
fn the_executor_api_is_read_and_written_as_by_mesos() {
    check_api!(EXECUTOR, executor);
}

#[test]
fn a_heartbeat_has_twenty_bytes() {
    let event = Event {
        r#type: Some(EventType::Heartbeat),
        ..Event::default()
    };
    assert_eq!(event.to_json(), br#"{"type":"HEARTBEAT"}"#);
    assert_eq!(event.to_json().len(), 20);
}

#[test]
fn a_message_inside_serde_is_written_as_alone() {
    for case in cases(SCHEDULER) {
        let alone: serde_json::Value = serde_json::from_str(case.written).unwrap();
        let inside = match case.kind {
            "call" => serde_json::to_value(Call::from_json(case.json.as_bytes()).unwrap()).unwrap(),
            _ => serde_json::to_value(Event::from_json(case.json.as_bytes()).unwrap()).unwrap(),
        };
        assert_eq!(inside, alone, "{}", case.name);
    }
}

/// Checks messages that have all their fields set.
macro_rules! check_full {
    ($cases:expr, $api:path, $($message:ident)*) => {{
        use $api::*;
        for block in $cases.split("\n\n").skip(1) {
            let [name, hex, json] = block.trim_end().lines().collect::<Vec<_>>().try_into().unwrap();
            match name {
                $(stringify!($message) => {
                    let case = Case { name, kind: "", json, protobuf: bytes(hex), written: json };
                    check(
                        &case,
                        $message::from_json,
                        $message::from_protobuf,
                        $message::to_json,
                        $message::to_protobuf,
                    );
                })*
                _ => panic!("{name}"),
            }
        }
    }};
}

#[test]
fn the_operator_apis_are_read_and_written_as_by_mesos() {
    check_full!(include_str!("golden/operator_master.txt"), nesos_api::operator::master, Call Response Event);
    check_full!(include_str!("golden/operator_agent.txt"), nesos_api::operator::agent, Call Response ProcessIO);
}
