//! How deep and how large messages may be, and what of protobuf's own latitude is allowed.
//!
//! Not JSON's (`lenience.rs`). Invariant: no bytes cost more memory than they are bounded to, and errors say what was wrong.
#![allow(clippy::unwrap_used)]

use nesos_api::scheduler::{Call, CallType};
use nesos_api::v1::{ContainerID, Resource};
use nesos_api::{Error, MAX_DECODED_BYTES, MAX_DEPTH, MAX_ENCODED_BYTES};

#[test]
fn nesting_and_size_are_bounded() {
    let deep = |levels: usize| {
        let (open, close) = (
            r#"{"value":"c","parent":"#.repeat(levels),
            "}".repeat(levels),
        );
        ContainerID::from_json(format!(r#"{open}{{"value":"c"}}{close}"#).as_bytes())
    };
    assert!(deep(60).is_ok());
    assert!(matches!(deep(10_000), Err(Error::Json(_))));
    let unknown = format!(r#"{{"x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let _ = Call::from_json(unknown.as_bytes()); // refused or skipped, but no overflow

    let mut bytes = ContainerID::from("c").to_protobuf();
    for _ in 0..MAX_DEPTH {
        bytes = [&[0x0a, 1, b'c', 0x12][..], &varint(bytes.len()), &bytes].concat();
    }
    let error = ContainerID::from_protobuf(&bytes).unwrap_err();
    assert!(error.to_string().ends_with("nested too deeply"), "{error}");

    let error = Call::from_json(&vec![b' '; MAX_ENCODED_BYTES + 1]).unwrap_err();
    assert!(matches!(
        error,
        Error::TooLarge {
            limit: MAX_ENCODED_BYTES,
            ..
        }
    ));
    // Three bytes of text ask for one large struct each.
    let many = format!(
        r#"{{"accept":{{"operations":[{}{{}}]}}}}"#,
        "{},".repeat(1_000_000)
    );
    let error = Call::from_json(many.as_bytes()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                limit: MAX_DECODED_BYTES,
                ..
            }
        ),
        "{error}"
    );
    // A message in two pieces at every level would be copied at every level.
    let mut bytes = vec![0x0a, 0xff, 0xff, 0x7f];
    bytes.resize(4 + 0x1f_ffff, b'c');
    for _ in 0..30 {
        bytes = [&[0x12, 0, 0x12][..], &varint(bytes.len()), &bytes].concat();
    }
    let error = ContainerID::from_protobuf(&bytes).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooLarge {
                limit: MAX_DECODED_BYTES,
                ..
            }
        ),
        "{error}"
    );

    let body = [0x12, 0].repeat(1_000_000);
    let many = [&[0x22][..], &varint(body.len()), &body].concat();
    assert!(matches!(
        Call::from_protobuf(&many).unwrap_err(),
        Error::TooLarge { .. } | Error::Missing(_)
    ));
}

fn varint(value: usize) -> Vec<u8> {
    let mut value = value;
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

#[test]
fn protobuf_forgives_what_it_must() {
    // An unknown field of every wire type, then type = TEARDOWN.
    let unknown = [
        0x98, 0x06, 5, // field 99, number
        0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, // field 99, 8 bytes
        0x9a, 0x06, 2, 1, 2, // field 99, bytes
        0x9b, 0x06, 0x08, 1, 0x13, 0x14, 0x9c,
        0x06, // field 99, group with a number and a group in it
        0x9d, 0x06, 1, 2, 3, 4, // field 99, 4 bytes
        0x10, 2,
    ];
    assert_eq!(
        Call::from_protobuf(&unknown).unwrap().r#type,
        Some(CallType::Teardown)
    );
    assert_eq!(
        Call::from_protobuf(&[0x10, 99]).unwrap().r#type,
        None,
        "an unknown value"
    );
    assert_eq!(
        Call::from_protobuf(&[0x12, 1, 2]).unwrap().r#type,
        None,
        "another wire type"
    );
    assert_eq!(
        Call::from_protobuf(&[0x10, 2, 0x10, 6]).unwrap().r#type,
        Some(CallType::Kill),
        "the last one counts"
    );

    // Packed and unpacked lists, mixed.
    let statuses = [0x08, 80, 0x22, 3, 0xc8, 0x01, 7, 0x20, 9];
    let http = nesos_api::v1::HealthCheckHTTPCheckInfo::from_protobuf(&statuses).unwrap();
    assert_eq!((http.port, http.statuses), (80, vec![200, 7, 9]));

    // A message in pieces is merged: kill { task_id } + kill { agent_id }.
    let pieces = [
        0x32, 5, 0x0a, 3, 0x0a, 1, b't', 0x10, 6, 0x32, 5, 0x12, 3, 0x0a, 1, b'a',
    ];
    let kill = Call::from_protobuf(&pieces).unwrap().kill.unwrap();
    assert_eq!(
        (
            kill.task_id.value.as_str(),
            kill.agent_id.unwrap().value.as_str()
        ),
        ("t", "a")
    );

    // A map's entry without a value is the empty message.
    let error = Resource::from_protobuf(&[0x0a, 1, b'x']).unwrap_err();
    assert_eq!(error.to_string(), "type: required field is missing");
}

#[test]
fn malformed_protobuf_is_refused() {
    let table: &[(&[u8], &str)] = &[
        (&[0x08], "message: ends within a number"),
        (&[0x80], "message: ends within a number"),
        (&[0x0f], "message: unknown wire type"),
        (&[0x02, 0], "message: field number is zero"),
        (&[0x1a, 2, 0], "message: ends within a field"),
        (
            &[
                0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            "message: ends within a field",
        ),
        (
            &[
                0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            "message: number is longer than ten bytes",
        ),
        (&[0x0b], "message: ends within a number"),
        (&[0x0c], "message: unknown wire type"),
        (&[0x0b, 0x14], "message: group ends that did not begin"),
        (&[0x0a, 1, 0x0a], "framework_id: ends within a number"),
        (
            &[0x0a, 3, 0x0a, 1, 0xff],
            "framework_id.value: string is not UTF-8",
        ),
        (&[0x22, 2, 0x12, 0x05], "accept: ends within a field"),
        (
            &[0x22, 4, 0x12, 2, 0x08, 0x80],
            "accept.operations[0]: ends within a number",
        ),
    ];
    for (bytes, text) in table {
        let error = Call::from_protobuf(bytes).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("malformed protobuf in {text}"),
            "{bytes:02x?}"
        );
    }
    assert_eq!(
        Call::from_protobuf(&[0x32, 0]).unwrap_err().to_string(),
        "kill.task_id: required field is missing"
    );
}
