//! What Mesos forgives in JSON and protobuf, and what it does not, with the text of each error.
//!
//! Not the golden bytes (`golden.rs`). Invariant: an error names the field by its full path.
#![allow(clippy::unwrap_used)]

use nesos_api::scheduler::Call;
use nesos_api::v1::{
    CapabilityInfo, CommandInfo, ContainerID, FrameworkInfo, Labels, TaskInfo, TaskState,
    TaskStatus, ValueScalar,
};

fn call(json: &str) -> Call {
    Call::from_json(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn unknown_keys_and_nulls_are_ignored_at_any_depth() {
    let plain = call(r#"{"type":"DECLINE","decline":{"offer_ids":[{"value":"o"}]}}"#);
    for same in [
        r#"{"type":"DECLINE","nonsense":{"deep":[1,{"x":null}]},"decline":{"offer_ids":[{"value":"o","y":1}],"z":[[]]}}"#,
        r#"{"type":"DECLINE","framework_id":null,"accept":null,"decline":{"filters":null,"offer_ids":[{"value":"o"}]}}"#,
        r#"{"type":"DECLINE","decline":{"offer_ids":[null,{"value":"o"},null]}}"#,
        r#"{"type":"DECLINE","decline":{"offer_ids":{"value":"o"}}}"#,
        r#"{"type":"KILL","type":"DECLINE","decline":{"offer_ids":[{"value":"p"}]},"decline":{"offer_ids":[{"value":"o"}]}}"#,
        "\n{ \"type\" : \"DECLINE\", \"decline\":\t{\"offer_ids\":[{\"value\":\"\\u006f\"}]} }\n",
    ] {
        assert_eq!(call(same), plain, "{same}");
    }
}

#[test]
fn values_may_be_strings() {
    let info = FrameworkInfo::from_json(
        br#"{"user":"u","name":"n","failover_timeout":"1e2","checkpoint":"true"}"#,
    )
    .unwrap();
    assert_eq!(
        (info.failover_timeout, info.checkpoint),
        (Some(100.0), Some(true))
    );
    for (text, value) in [
        ("\"Infinity\"", f64::INFINITY),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("\"2.5\"", 2.5),
        ("7", 7.0),
    ] {
        let scalar = ValueScalar::from_json(format!(r#"{{"value":{text}}}"#).as_bytes()).unwrap();
        assert_eq!(scalar.value, value);
    }
    let range =
        nesos_api::v1::ValueRange::from_json(br#"{"begin":"18446744073709551615","end":3.9e1}"#)
            .unwrap();
    assert_eq!((range.begin, range.end), (u64::MAX, 39));
}

#[test]
fn an_unknown_name_unsets_an_optional_enumeration_only() {
    assert_eq!(call(r#"{"type":"FUTURE"}"#).r#type, None);
    let capabilities =
        CapabilityInfo::from_json(br#"{"capabilities":["CHOWN","FUTURE","KILL"]}"#).unwrap();
    assert_eq!(capabilities.capabilities.len(), 2);
    let error =
        TaskStatus::from_json(br#"{"task_id":{"value":"t"},"state":"TASK_FUTURE"}"#).unwrap_err();
    assert_eq!(error.to_string(), r#"state: no such name: "TASK_FUTURE""#);
}

/// JSON that is no call, and what the error says.
const REFUSED: &[(&str, &str)] = &[
    ("", "EOF while parsing a value at line 1 column 0"),
    (
        "[]",
        "invalid type: sequence, expected a JSON object at line 1 column 2",
    ),
    (
        "\"x\"",
        "invalid type: string \"x\", expected a JSON object at line 1 column 3",
    ),
    (
        "null",
        "invalid type: null, expected a JSON object at line 1 column 4",
    ),
    (
        "{\"type\":\"KILL\"} x",
        "trailing characters at line 1 column 17",
    ),
    ("{\"type\":}", "expected value at line 1 column 9"),
    (r#"{"type":1}"#, "type: not expecting a JSON number"),
    (r#"{"type":["KILL"]}"#, "type: not expecting a JSON array"),
    (r#"{"type":true}"#, "type: not expecting a JSON boolean"),
    (r#"{"type":{}}"#, "type: not expecting a JSON object"),
    (r#"{"kill":"t1"}"#, "kill: not expecting a JSON string"),
    (r#"{"kill":{}}"#, "kill.task_id: required field is missing"),
    (
        r#"{"kill":{"task_id":{"value":null}}}"#,
        "kill.task_id.value: required field is missing",
    ),
    (
        r#"{"kill":{"task_id":{"value":7}}}"#,
        "kill.task_id.value: not expecting a JSON number",
    ),
    (
        r#"{"acknowledge":{"uuid":"AAE"}}"#,
        "acknowledge.uuid: not base64: Invalid padding",
    ),
    (
        r#"{"acknowledge":{}}"#,
        "acknowledge.agent_id, acknowledge.task_id, acknowledge.uuid: required field is missing",
    ),
    (
        r#"{"decline":{"filters":{"refuse_seconds":"soon"}}}"#,
        "decline.filters.refuse_seconds: string is not a number",
    ),
    (
        r#"{"decline":{"filters":{"refuse_seconds":""}}}"#,
        "decline.filters.refuse_seconds: string is not a number",
    ),
    (
        r#"{"decline":{"offer_ids":[{"value":"a"},{}]}}"#,
        "decline.offer_ids[1].value: required field is missing",
    ),
    (
        r#"{"accept":{"operations":[{},{"launch":{"task_infos":[{"name":"t","task_id":{"value":"t"}}]}}]}}"#,
        "accept.operations[1].launch.task_infos[0].agent_id: required field is missing",
    ),
    (
        r#"{"subscribe":{"framework_info":{"user":"u","name":"n","checkpoint":"yes"}}}"#,
        "subscribe.framework_info.checkpoint: string is not a boolean",
    ),
    (
        r#"{"subscribe":{"framework_info":{"user":"u","name":"n","offer_filters":{"a b":7}}}}"#,
        r#"subscribe.framework_info.offer_filters["a b"]: not expecting a JSON number"#,
    ),
];

#[test]
fn errors_name_the_field() {
    for (json, text) in REFUSED {
        assert_eq!(
            Call::from_json(json.as_bytes()).unwrap_err().to_string(),
            *text,
            "{json}"
        );
    }
}

#[test]
fn limits_are_messages_as_mesos_parses_them() {
    let task = |limits: &str| {
        format!(
            r#"{{"name":"t","task_id":{{"value":"t"}},"agent_id":{{"value":"a"}},"limits":{limits}}}"#
        )
    };
    let read = |limits: &str| TaskInfo::from_json(task(limits).as_bytes());
    assert_eq!(
        read(r#"{"cpus":{"value":"Infinity"}}"#).unwrap().limits["cpus"].value,
        f64::INFINITY
    );
    assert!(
        read(r#"{"cpus":"Infinity"}"#).is_err(),
        "the documentation's form, which Mesos refuses"
    );
    assert_eq!(
        read(r#"{"cpus":null}"#).unwrap_err().to_string(),
        r#"limits["cpus"].value: required field is missing"#
    );
    assert_eq!(
        read(r#"[{"cpus":{"value":1}},{"mem":{"value":2}}]"#)
            .unwrap()
            .limits
            .len(),
        2
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    for number in ["-1", "18446744073709551616", "\"-1\"", "1e30"] {
        let json = format!(r#"{{"begin":{number},"end":1}}"#);
        let error = nesos_api::v1::ValueRange::from_json(json.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "begin: number is out of range",
            "{number}"
        );
    }
    let error = nesos_api::v1::Address::from_json(br#"{"port":4294967296}"#).unwrap_err();
    assert_eq!(error.to_string(), "port: number is out of range");
}

#[test]
fn output_is_ascii_on_one_line() {
    let labels = Labels::from_json(
        "{\"labels\":[{\"key\":\"é\\n\\u0000\\\"\\\\\",\"value\":\"🍏\u{7f}\"}]}".as_bytes(),
    )
    .unwrap();
    let text = String::from_utf8(labels.to_json()).unwrap();
    assert_eq!(
        text,
        r#"{"labels":[{"key":"\u00e9\n\u0000\"\\","value":"\ud83c\udf4f\u007f"}]}"#
    );
    assert_eq!(Labels::from_json(text.as_bytes()).unwrap(), labels);
}

#[test]
fn defaults_and_conveniences() {
    let command = CommandInfo::default();
    assert!(command.shell());
    assert_eq!(command.to_json(), br#"{"shell":true}"#);
    assert_eq!(
        CommandInfo {
            shell: Some(false),
            ..command
        }
        .to_json(),
        br#"{"shell":false}"#
    );
    assert_eq!(
        TaskState::GoneByOperator.to_string(),
        "TASK_GONE_BY_OPERATOR"
    );
    assert!(TaskState::Lost.is_terminal() && !TaskState::Unreachable.is_terminal());
    assert_eq!(ContainerID::from("c").to_string(), "c");
}
