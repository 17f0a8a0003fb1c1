//! Updates of boards through the master, as far as processes without a board can have them: a script stands in for the board's updater.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nesos_cluster_tests::http::{self, Answer};
use nesos_cluster_tests::{DevCluster, Nesos};
use serde_json::Value;

/// Asks for two parts of a bundle, which it keeps; gives parts of one.
fn updater(folder: &Path) -> String {
    let (script, kept) = (folder.join("nesos-update"), folder.display());
    let text = format!(
        r#"#!/bin/sh
case "$1" in
--status) echo board=test; echo running=a; echo on_trial=false ;;
--read) tail -c "+$(($2 + 1))" "{kept}/bundle" | head -c "$3" ;;
--feed)
    echo "need 0 4"; head -c 4 > "{kept}/got"
    if [ "$(cat "{kept}/got")" = FAIL ]; then echo "nesos-update: no bundle" >&2; exit 1; fi
    echo "progress 4 10"
    echo "need 10 6"; head -c 6 >> "{kept}/got"
    echo "installed b" ;;
esac
"#
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script.display().to_string()
}

fn agents(nesos: &Nesos) -> Vec<(String, String)> {
    let text = |node: &Value, key: &str| node[key].as_str().unwrap().to_owned();
    let nodes = nesos.json(&["nodes"]);
    nodes
        .iter()
        .map(|node| (text(node, "agent"), text(node, "address")))
        .collect()
}

fn ask(cluster: &DevCluster, method: &str, agent: &str, query: &str, body: &[u8]) -> Answer {
    let path = format!("/nesos/v1/agents/{agent}/update{query}");
    http::request(&cluster.master, method, &path, &[], body)
}

/// What a page of another origin is answered.
fn from_elsewhere(cluster: &DevCluster, agent: &str) -> Answer {
    let path = format!("/nesos/v1/agents/{agent}/update");
    let origin = [("Origin", "http://elsewhere")];
    http::request(&cluster.master, "POST", &path, &origin, b"")
}

#[test]
fn a_bundle_passes_through_the_master_or_comes_from_a_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bundle"), "abcdefghijklmnopqrstuvwxyz").unwrap();
    let flag = format!("--updater={}", updater(folder.path()));
    let cluster = DevCluster::start(2, &["--agent-flag", &flag]);
    let got = || std::fs::read_to_string(folder.path().join("got")).unwrap();
    let agents = agents(&cluster.nesos);
    let [(first, address), (second, _)] = &agents[..] else {
        panic!("two agents, found {agents:?}");
    };

    let answer = ask(&cluster, "GET", first, "", b"");
    let status: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &status["board"]),
        (200, &Value::from("test"))
    );
    assert!(status["boot_id"].is_string(), "{status}");

    // Skips what was not asked for, and what is left over.
    let body = b"0123456789ABCDEFGHIJ";
    let answer = ask(&cluster, "POST", first, "?restart=false", body);
    assert_eq!(
        (answer.status, got().as_str()),
        (200, "0123ABCDEF"),
        "{answer:?}"
    );
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(said, serde_json::json!({"slot": "b", "restarts": false}));

    let query = format!("?restart=false&from={address}");
    let answer = ask(&cluster, "POST", second, &query, b"");
    assert_eq!(
        (answer.status, got().as_str()),
        (200, "abcdklmnop"),
        "{answer:?}"
    );

    // What the updater refuses, what ends early, whom nobody knows, what is no address, who may not write.
    let refused: [(&str, &str, &[u8], u16, &str); 5] = [
        (first, "?restart=false", b"FAIL and more", 400, "no bundle"),
        (
            first,
            "?restart=false",
            b"0123456",
            400,
            "it ends after 7 bytes",
        ),
        ("nobody", "", b"", 404, ""),
        (first, "?from=10.0.0.1", b"", 400, "expected HOST:PORT"),
        (
            first,
            "?restart=perhaps",
            b"",
            400,
            "expected true or false",
        ),
    ];
    for (agent, query, body, status, words) in refused {
        let answer = ask(&cluster, "POST", agent, query, body);
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        assert!(answer.body.contains(words), "{query}: {answer:?}");
    }
    let answer = ask(&cluster, "DELETE", first, "", b"");
    assert_eq!(answer.status, 405);
    assert_eq!(from_elsewhere(&cluster, first).status, 403);
    cluster.stop();
}

#[test]
fn an_agent_without_a_board_says_so() {
    let cluster = DevCluster::start(1, &["--agent-flag", "--updater=/nowhere/nesos-update"]);
    let (agent, _) = &agents(&cluster.nesos)[0];
    let answer = ask(&cluster, "GET", agent, "", b"");
    assert_eq!(answer.status, 404);
    assert!(
        answer.body.contains("runs on no board of its own"),
        "{answer:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("x.nub");
    std::fs::write(&bundle, "something else").unwrap();
    let ended = cluster
        .nesos
        .run(&["update", &bundle.display().to_string()]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("does not begin with NESOSUB1"),
        "{ended:?}"
    );
    cluster.stop();
}
