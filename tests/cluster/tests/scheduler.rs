//! What Mesos's own tests expect of a scheduler's calls, with a real agent behind the master.
//!
//! The table in tests/cluster/README.md names these tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::scheduler::{Scheduler, task};
use nesos_cluster_tests::{DevCluster, eventually, http};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

fn get(cluster: &DevCluster, path: &str) -> Value {
    let answer = http::request(&cluster.master, "GET", path, &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn cpus(offer: &Value) -> f64 {
    let mut all = offer["resources"].as_array().unwrap().iter();
    let cpus = all.find(|resource| resource["name"] == "cpus");
    cpus.map_or(0.0, |cpus| cpus["scalar"]["value"].as_f64().unwrap())
}

/// Offers until one has so many cpus; the others are declined.
fn offer_of(scheduler: &mut Scheduler, wanted: f64) -> Value {
    loop {
        let offer = scheduler.offer();
        if cpus(&offer) == wanted {
            return offer;
        }
        let filters = json!({"refuse_seconds": 0.0});
        let member = json!({"offer_ids": [offer["id"]], "filters": filters});
        scheduler.call("DECLINE", member);
    }
}

/// A command that runs until a file of this name appears beside the cluster's logs.
fn until_file(cluster: &DevCluster, name: &str) -> String {
    let file = cluster.work_dir().join(name);
    format!("while [ ! -e {} ]; do sleep 0.05; done", file.display())
}

fn make_file(cluster: &DevCluster, name: &str) {
    std::fs::write(cluster.work_dir().join(name), "").unwrap();
}

#[test]
fn a_task_is_shown_as_it_was_described_and_its_resources_return() {
    let cluster = DevCluster::start(1, &[]);
    let labels = json!({"labels": [{"key": "k", "value": "v"}]});
    let mut scheduler = Scheduler::subscribe(&cluster.master, json!({ "labels": labels }));
    let offer = scheduler.offer();
    assert_eq!(cpus(&offer), 2.0);
    let mut described = task(&offer, "t", 0.5, &until_file(&cluster, "go"));
    described["labels"] = labels.clone();
    described["discovery"] = json!({"visibility": "CLUSTER", "name": "found"});
    scheduler.launch(&[&offer], json!([described]));
    let status = scheduler.status_until("TASK_RUNNING");
    assert_eq!(status["source"], "SOURCE_EXECUTOR");
    let state = get(&cluster, "/state");
    let framework = &state["frameworks"][0];
    assert_eq!(framework["labels"], labels["labels"]);
    let shown = &framework["tasks"][0];
    assert_eq!(shown["labels"], labels["labels"]);
    assert_eq!(shown["discovery"], described["discovery"]);
    let statuses = shown["statuses"].as_array().unwrap();
    assert_eq!(statuses.last().unwrap()["state"], "TASK_RUNNING");
    assert!(statuses[0]["container_status"]["container_id"].is_object());
    assert_eq!(cpus(&offer_of(&mut scheduler, 1.5)), 1.5);
    // An end that is not acknowledged frees the resources all the same, but the task stays listed.
    make_file(&cluster, "go");
    let end = loop {
        let status = scheduler.status();
        if status["state"] == "TASK_FINISHED" {
            break status;
        }
    };
    eventually("its resources are free", SOON, || {
        let slaves = get(&cluster, "/slaves");
        (slaves["slaves"][0]["used_resources"]["cpus"] == 0.0).then_some(())
    });
    let listed = get(&cluster, "/frameworks");
    assert_eq!(
        listed["frameworks"][0]["tasks"][0]["state"],
        "TASK_FINISHED"
    );
    scheduler.call("RECONCILE", json!({"tasks": []}));
    let again = scheduler.status();
    assert_eq!(
        (&again["state"], &again["reason"], &again["uuid"]),
        (
            &json!("TASK_FINISHED"),
            &json!("REASON_RECONCILIATION"),
            &Value::Null
        )
    );
    scheduler.acknowledge(&end);
    eventually("it is history", SOON, || {
        let framework = get(&cluster, "/frameworks")["frameworks"][0].take();
        (framework["completed_tasks"][0]["id"] == "t").then_some(())
    });
    cluster.stop();
}

#[test]
fn whoever_subscribes_next_hears_what_was_not_acknowledged() {
    let cluster = DevCluster::start(1, &[]);
    let members = json!({"failover_timeout": 600.0});
    let mut first = Scheduler::subscribe(&cluster.master, members.clone());
    let offer = first.offer();
    first.launch(&[&offer], json!([task(&offer, "t", 0.1, "sleep 600")]));
    let unseen = loop {
        let status = first.status();
        if status["state"] == "TASK_RUNNING" {
            break status;
        }
        first.acknowledge(&status);
    };
    let mut members = members;
    members["id"] = first.id.clone();
    let mut second = Scheduler::subscribe(&cluster.master, members.clone());
    let error = first.wait("ERROR");
    assert_eq!(error["error"]["message"], "Framework failed over");
    while first.event().is_some() {}
    let status = second.status_until("TASK_RUNNING");
    assert_eq!(status["uuid"], unseen["uuid"]);
    // The same after a master that was killed: the agent has kept it.
    second.call("KILL", json!({"task_id": {"value": "t"}}));
    let unseen = loop {
        let status = second.status();
        if status["state"] == "TASK_KILLED" {
            break status;
        }
        second.acknowledge(&status);
    };
    cluster.kill_and_wait_restart("master");
    eventually("the master answers", SOON, || {
        std::net::TcpStream::connect(&cluster.master).ok()
    });
    let mut third = Scheduler::subscribe(&cluster.master, members);
    assert_eq!(third.id, first.id);
    let status = third.status_until("TASK_KILLED");
    assert_eq!(status["uuid"], unseen["uuid"]);
    cluster.stop();
}

#[test]
fn what_is_unknown_is_answered_and_what_runs_is_told_as_it_is() {
    let cluster = DevCluster::start(1, &[]);
    let aware = json!({"capabilities": [{"type": "PARTITION_AWARE"}]});
    for (members, on_agent, nowhere) in [
        (json!({}), "TASK_LOST", "TASK_LOST"),
        (aware, "TASK_GONE", "TASK_UNKNOWN"),
    ] {
        let mut scheduler = Scheduler::subscribe(&cluster.master, members);
        let offer = scheduler.offer();
        scheduler.launch(&[&offer], json!([task(&offer, "t", 0.1, "sleep 600")]));
        scheduler.status_until("TASK_RUNNING");
        let unknown = json!({"value": "unknown"});
        let known = json!({"task_id": {"value": "t"}});
        let with_agent = json!({"task_id": unknown, "agent_id": offer["agent_id"]});
        let without = json!({"task_id": unknown, "agent_id": {"value": "nowhere"}});
        for (asked, state) in [
            (known, "TASK_RUNNING"),
            (with_agent.clone(), on_agent),
            (without, nowhere),
        ] {
            scheduler.call("RECONCILE", json!({"tasks": [asked]}));
            let status = scheduler.status();
            assert_eq!(status["state"], state, "{status}");
            assert_eq!(status["reason"], "REASON_RECONCILIATION");
        }
        // KILL of what is unknown is answered like a reconciliation.
        scheduler.call("KILL", with_agent);
        assert_eq!(scheduler.status()["state"], on_agent);
        scheduler.call("KILL", json!({"task_id": {"value": "t"}}));
        scheduler.status_until("TASK_KILLED");
        // Of what has ended and been acknowledged an implicit reconciliation says nothing.
        scheduler.call("RECONCILE", json!({"tasks": []}));
        scheduler.call("TEARDOWN", json!({}));
        while let Some(event) = scheduler.event() {
            assert_ne!(event["type"], "UPDATE", "{event}");
        }
    }
    cluster.stop();
}

#[test]
fn a_framework_that_ends_takes_its_tasks_along() {
    let cluster = DevCluster::start(1, &[]);
    let file = cluster.work_dir().join("pid");
    let command = format!("echo $$ > {}; sleep 600", file.display());
    for how in ["leaves", "TEARDOWN", "/teardown"] {
        let mut scheduler = Scheduler::subscribe(&cluster.master, json!({}));
        let offer = scheduler.offer();
        scheduler.launch(&[&offer], json!([task(&offer, "t", 0.1, &command)]));
        scheduler.status_until("TASK_RUNNING");
        let pid = eventually("the task has said who it is", SOON, || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            text.trim().parse::<u32>().ok()
        });
        match how {
            // Without a failover timeout that is its end.
            "leaves" => drop(scheduler),
            "TEARDOWN" => scheduler.call("TEARDOWN", json!({})),
            path => {
                let body = format!("frameworkId={}", scheduler.id["value"].as_str().unwrap());
                let answer = http::request(&cluster.master, "POST", path, &[], body.as_bytes());
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        }
        eventually("the task's process has ended", SOON, || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            status.is_err().then_some(())
        });
        std::fs::remove_file(&file).unwrap();
        eventually("its resources are free", SOON, || {
            let slaves = get(&cluster, "/slaves");
            (slaves["slaves"][0]["used_resources"]["cpus"] == 0.0).then_some(())
        });
    }
    cluster.stop();
}

#[test]
fn an_offer_that_is_not_answered_is_taken_back() {
    let cluster = DevCluster::start(1, &["--master-flag=--offer_timeout=1secs"]);
    let mut scheduler = Scheduler::subscribe(&cluster.master, json!({}));
    let old = scheduler.offer();
    let rescinded = scheduler.wait("RESCIND");
    assert_eq!(rescinded["rescind"]["offer_id"], old["id"]);
    assert_ne!(scheduler.offer()["id"], old["id"]);
    scheduler.launch(&[&old], json!([task(&old, "late", 0.1, "true")]));
    let status = scheduler.status();
    assert_eq!(status["reason"], "REASON_INVALID_OFFERS");
    cluster.stop();
}

#[test]
fn offers_of_one_agent_are_used_together() {
    let cluster = DevCluster::start(1, &[]);
    let mut scheduler = Scheduler::subscribe(&cluster.master, json!({}));
    let whole = offer_of(&mut scheduler, 2.0);
    scheduler.launch(&[&whole], json!([task(&whole, "one", 1.0, "true")]));
    let half = offer_of(&mut scheduler, 1.0);
    scheduler.status_until("TASK_FINISHED");
    let other = offer_of(&mut scheduler, 1.0);
    let all = task(&half, "both", 2.0, "true");
    scheduler.launch(&[&half, &other], json!([all]));
    scheduler.status_until("TASK_FINISHED");
    cluster.stop();
}

#[test]
fn commands_run_as_they_are_described() {
    let cluster = DevCluster::start(1, &[]);
    let mut scheduler = Scheduler::subscribe(&cluster.master, json!({}));
    let offer = scheduler.offer();
    let mut arguments = task(&offer, "arguments", 0.1, "/bin/sh");
    arguments["command"] = json!({"shell": false, "value": "/bin/sh", "arguments": ["sh", "-c", "test \"$0 $1\" = 'a b c'", "a b", "c"]});
    let mut nobody = task(&offer, "user", 0.1, "true");
    nobody["command"]["user"] = json!("there-is-no-such-user");
    let mut slow = task(&offer, "slow", 0.1, "trap '' TERM; echo; sleep 600");
    slow["kill_policy"] = json!({"grace_period": {"nanoseconds": 200_000_000}});
    // Less than resources are counted in is nothing, and no reason not to run.
    let mut tiny = task(&offer, "tiny", 0.00001, "true");
    let mem = json!({"name": "mem", "type": "SCALAR", "scalar": {"value": 1.0}});
    tiny["resources"].as_array_mut().unwrap().push(mem);
    scheduler.launch(&[&offer], json!([arguments, nobody, slow, tiny]));
    let mut states = std::collections::BTreeMap::new();
    while states.len() < 4 {
        let status = scheduler.status();
        scheduler.acknowledge(&status);
        let id = status["task_id"]["value"].as_str().unwrap().to_owned();
        match status["state"].as_str().unwrap() {
            "TASK_RUNNING" if id == "slow" => {
                scheduler.call("KILL", json!({"task_id": {"value": "slow"}}));
            }
            state @ ("TASK_FINISHED" | "TASK_FAILED" | "TASK_KILLED") => {
                states.insert(id, state.to_owned());
            }
            _ => {}
        }
    }
    let expected = [
        ("arguments", "TASK_FINISHED"),
        ("slow", "TASK_KILLED"),
        ("tiny", "TASK_FINISHED"),
        ("user", "TASK_FAILED"),
    ];
    let expected = expected.map(|(id, state)| (id.to_owned(), state.to_owned()));
    assert_eq!(states, expected.into());
    cluster.stop();
}
