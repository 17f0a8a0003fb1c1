//! Tests of the flags module.
#![allow(clippy::unwrap_used)]

use super::*;

const TABLE: Table = Table {
    program: "toyd",
    version: "1.2.3",
    about: "a toy",
    flags: &[
        Flag {
            name: "port",
            kind: Kind::Number(0, 65535),
            default: Some("5050"),
            help: "Port.",
        },
        Flag {
            name: "work_dir",
            kind: Kind::Path,
            default: None,
            help: "Folder.",
        },
        Flag {
            name: "root_submissions",
            kind: Kind::Bool,
            default: Some("true"),
            help: "Root may.",
        },
        Flag {
            name: "agent_ping_timeout",
            kind: Kind::Duration(1, 900),
            default: Some("15secs"),
            help: "Ping.",
        },
        Flag {
            name: "mdns",
            kind: Kind::Choice(&["on", "off"]),
            default: Some("off"),
            help: "mDNS.",
        },
    ],
};

fn parse(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Values, Stop> {
    TABLE.parse(arguments.iter().map(OsString::from), |name| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| OsString::from(v))
    })
}

fn usage(arguments: &[&str]) -> String {
    match parse(arguments, &[]).unwrap_err() {
        Stop::Usage(text) => text,
        Stop::Answer(text) => panic!("answered {text}"),
    }
}

#[test]
fn layers_override_each_other() {
    let mut values = parse(&["--port=1"], &[("NESOS_PORT", "2"), ("NESOS_MDNS", "on")]).unwrap();
    values.fill("port", "3").unwrap();
    values.fill("mdns", "off").unwrap();
    values.fill("agent_ping_timeout", "3secs").unwrap();
    assert_eq!(
        (values.number("port"), values.text("mdns")),
        (Some(1), Some("on"))
    );
    assert_eq!(
        values.duration("agent_ping_timeout"),
        Some(Duration::from_secs(3))
    );
    assert!(values.is_given("port") && !values.is_given("root_submissions"));
    assert!(
        values.fill("agent_ping_timeout", "soon").is_ok(),
        "a later file value does not count"
    );
}

#[test]
fn every_notation_is_understood() {
    let values = parse(
        &[
            "--port",
            "7",
            "--no-root_submissions",
            "--work-dir=file:///tmp/x",
        ],
        &[],
    )
    .unwrap();
    assert_eq!(values.number("port"), Some(7));
    assert!(!values.is_on("root_submissions"));
    assert_eq!(values.text("work_dir"), Some("/tmp/x"));
    assert!(
        parse(&["--root_submissions"], &[])
            .unwrap()
            .is_on("root_submissions")
    );
    assert!(
        !parse(&["--root_submissions=false"], &[])
            .unwrap()
            .is_on("root_submissions")
    );
}

#[test]
fn errors_name_flag_and_expectation() {
    assert_eq!(
        usage(&["--prot=1"]),
        "unknown flag '--prot', did you mean '--port'?"
    );
    assert!(usage(&["--quorum=1"]).contains("toyd --help"));
    assert_eq!(
        usage(&["--port=x"]),
        "--port: expected a number from 0 to 65535, found 'x'"
    );
    assert!(usage(&["--port"]).contains("value is missing"));
    assert!(usage(&["--port=1", "--port=2"]).contains("given twice"));
    assert!(usage(&["--agent_ping_timeout=5"]).contains("15secs"));
    assert!(usage(&["--no-port"]).contains("unknown flag"));
    assert!(usage(&["--mdns=maybe"]).contains("on or off"));
    assert!(usage(&["stray"]).contains("'stray'"));
    assert!(
        matches!(parse(&[], &[("NESOS_PORT", "x")]), Err(Stop::Usage(text)) if text.starts_with("NESOS_PORT"))
    );
}

#[test]
fn help_and_version_answer() {
    let Err(Stop::Answer(help)) = parse(&["--help"], &[]) else {
        panic!()
    };
    assert!(TABLE.flags.iter().all(|flag| help.contains(flag.name)));
    assert_eq!(
        parse(&["--version"], &[]).unwrap_err(),
        Stop::Answer("toyd 1.2.3\n".into())
    );
}

#[test]
fn durations_read_like_mesos() {
    assert_eq!(parse_duration("10mins"), Some(Duration::from_secs(600)));
    assert_eq!(parse_duration("1.5secs"), Some(Duration::from_millis(1500)));
    for bad in ["", "5", "secs", "-1secs", "5 parsecs", "1e400secs"] {
        assert_eq!(parse_duration(bad), None, "{bad}");
    }
}

#[test]
fn sizes_have_mesoss_units() {
    for (text, bytes) in [
        ("0B", 0),
        ("2GB", 2 << 30),
        ("1.5KB", 1536),
        ("10 MB", 10 << 20),
    ] {
        assert_eq!(parse_bytes(text), Some(bytes), "{text}");
    }
    for wrong in ["", "2", "GB", "2gb", "-1B", "1..2B", "99999999999999TB"] {
        assert_eq!(parse_bytes(wrong), None, "{wrong}");
    }
}
