//! The command line from outside: exit codes and where words go, without any cluster.
//!
//! That this test exists also makes cargo build `nesos` itself for the tests with clusters.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn nesos(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nesos"));
    command.args(arguments).env("XDG_STATE_HOME", home.path());
    command.env("NESOS_MDNS", "off").env_remove("NESOS_MASTER");
    command.output().unwrap()
}

#[test]
fn exit_codes_are_those_promised() {
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["--version"], 0),
        (&[], 2),
        (&["fly"], 2),
        (&["run", "--mem", "none", "--", "true"], 2),
        (
            &[
                "run",
                "--name",
                "a/b",
                "--master",
                "127.0.0.1:1",
                "--",
                "true",
            ],
            2,
        ),
        (&["token", "/no/such/file"], 2),
        (&["dev", "up", "--masters", "10"], 2),
        (&["vm", "list"], 2),
        (&["quota", "set", "web"], 2),
        (&["weights", "set", "web=heavy"], 2),
        (&["drain"], 2),
        (&["nodes"], 3),
        (&["--master", "127.0.0.1:1", "quota"], 3),
        (&["--master", "127.0.0.1:1", "drain", "board-2"], 3),
        (&["--master", "127.0.0.1:1", "ps"], 3),
        (&["--principal", "ann", "ps"], 2),
    ] {
        let output = nesos(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
        assert_eq!(
            code == 0,
            words.is_empty(),
            "errors, and only they, go to standard error: {arguments:?}: {words}"
        );
    }
}

#[test]
fn a_token_follows_from_its_key() {
    let made = nesos(&["--output", "json", "token", "--new"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("key");
    std::fs::write(&bare, made["key"].as_str().unwrap()).unwrap();
    let config = folder.path().join("cluster.toml");
    std::fs::write(&config, format!("[cluster]\nkey = {}\n", made["key"])).unwrap();
    for file in [bare, config] {
        let derived = nesos(&["token", &file.display().to_string()]);
        assert_eq!(
            String::from_utf8_lossy(&derived.stdout).trim(),
            made["token"].as_str().unwrap()
        );
    }
}
