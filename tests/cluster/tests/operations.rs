//! Reservations and volumes through a real agent: in both formats, several operations and a launch in one ACCEPT, resizing.
//!
//! The table in tests/cluster/README.md names these tests; what frameworks are told of operations is in `feedback`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::resources::{Format, PRINCIPAL, ROLE, amount, id_of, of, scalar, sum};
use nesos_cluster_tests::scheduler::{Scheduler, operate, task};
use nesos_cluster_tests::{DevCluster, eventually, http};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

fn subscribe(cluster: &DevCluster, format: Format) -> Scheduler {
    let members =
        json!({"principal": PRINCIPAL, "roles": [ROLE], "capabilities": format.capabilities()});
    Scheduler::subscribe(&cluster.master, members)
}

/// Offers until one fits. What is free comes in parts; once they are declined, together.
fn offer_with(scheduler: &mut Scheduler, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let offer = scheduler.standing_offer();
        if fits(&offer["resources"]) {
            return offer;
        }
        let filters = json!({"refuse_seconds": 0.05});
        let member = json!({"offer_ids": [offer["id"]], "filters": filters});
        scheduler.call("DECLINE", member);
    }
}

/// A task with these resources.
fn with(offer: &Value, name: &str, resources: Value, command: &str) -> Value {
    let mut described = task(offer, name, 0.0, command);
    described["resources"] = resources;
    described
}

fn launch(task: Value) -> Value {
    json!({"type": "LAUNCH", "launch": {"task_infos": [task]}})
}

/// The statuses of tasks until these have ended, by task.
fn ends(scheduler: &mut Scheduler, count: usize) -> std::collections::BTreeMap<String, String> {
    let mut ends = std::collections::BTreeMap::new();
    while ends.len() < count {
        let status = scheduler.status();
        scheduler.acknowledge(&status);
        let state = status["state"].as_str().unwrap();
        if !matches!(state, "TASK_STARTING" | "TASK_RUNNING") {
            let name = status["task_id"]["value"].as_str().unwrap().to_owned();
            ends.insert(name, state.to_owned());
        }
    }
    ends
}

fn end_of(scheduler: &mut Scheduler) -> String {
    ends(scheduler, 1).into_values().next().unwrap()
}

#[test]
fn reserve_create_and_launch_in_one_accept_and_back_again_in_both_formats() {
    let cluster = DevCluster::start(1, &[]);
    for format in Format::ALL {
        let mut scheduler = subscribe(&cluster, format);
        let offer = scheduler.standing_offer();
        let all = offer["resources"].as_array().unwrap();
        assert!(
            all.iter().all(|resource| format.is_unreserved(resource)),
            "{offer}"
        );
        let (cpus, disk) = (format.reserved("cpus", 0.5), format.reserved("disk", 64.0));
        let volume = format.volume("kept", 32.0);
        let writer = with(
            &offer,
            "writer",
            json!([cpus, volume]),
            "echo precious > data/file",
        );
        let operations = json!([
            {"type": "RESERVE", "reserve": {"resources": [cpus, disk]}},
            {"type": "CREATE", "create": {"volumes": [volume]}},
            launch(writer)
        ]);
        scheduler.accept(&offer, operations);
        assert_eq!(end_of(&mut scheduler), "TASK_FINISHED");
        // The offer speaks of what was made as the framework did.
        let reserved = |all: &Value, name: &str| {
            sum(all, |resource| {
                resource["name"] == name && !format.is_unreserved(resource)
            })
        };
        let offer = offer_with(&mut scheduler, |all| {
            reserved(all, "disk") == 64.0 && reserved(all, "cpus") == 0.5
        });
        let offered = of(&offer["resources"], "kept").unwrap();
        assert_eq!(format.reservation(offered), format.reservation(&volume));
        let reader = with(
            &offer,
            "reader",
            json!([cpus, volume]),
            "grep -x precious data/file",
        );
        let operations = json!([
            launch(reader),
            {"type": "UNRESERVE", "unreserve": {"resources": [format.reserved("disk", 32.0)]}}
        ]);
        scheduler.accept(&offer, operations);
        assert_eq!(end_of(&mut scheduler), "TASK_FINISHED");
        let offer = offer_with(&mut scheduler, |all| {
            of(all, "kept").is_some() && reserved(all, "cpus") == 0.5
        });
        let operations = json!([
            {"type": "DESTROY", "destroy": {"volumes": [volume]}},
            {"type": "UNRESERVE", "unreserve": {"resources": [cpus, format.reserved("disk", 32.0)]}}
        ]);
        scheduler.accept(&offer, operations);
        offer_with(&mut scheduler, |all| {
            let cpus = sum(all, |resource| resource["name"] == "cpus");
            let mut all = all.as_array().unwrap().iter();
            cpus == 2.0 && all.all(|resource| format.is_unreserved(resource))
        });
        scheduler.call("TEARDOWN", json!({}));
    }
    cluster.stop();
}

#[test]
fn a_group_runs_on_what_was_reserved_in_the_same_accept_in_both_formats() {
    let cluster = DevCluster::start(1, &[]);
    for format in Format::ALL {
        let mut scheduler = subscribe(&cluster, format);
        let offer = scheduler.standing_offer();
        let reserved = json!([format.reserved("cpus", 1.0), format.reserved("mem", 64.0)]);
        let share = json!([format.reserved("cpus", 0.25), format.reserved("mem", 16.0)]);
        let tasks = ["one", "two"].map(|name| with(&offer, name, share.clone(), "true"));
        let executor = json!({"type": "DEFAULT", "executor_id": {"value": "pod"}, "framework_id": scheduler.id,
            "resources": [format.reserved("cpus", 0.1), format.reserved("mem", 32.0)]});
        let operations = json!([
            {"type": "RESERVE", "reserve": {"resources": reserved}},
            {"type": "LAUNCH_GROUP", "launch_group": {"executor": executor, "task_group": {"tasks": tasks}}}
        ]);
        scheduler.accept(&offer, operations);
        let ends = ends(&mut scheduler, 2);
        let all_well = ends.values().all(|state| state == "TASK_FINISHED");
        assert!(all_well, "{ends:?}");
        let offer = offer_with(&mut scheduler, |all| {
            let cpus =
                |resource: &Value| resource["name"] == "cpus" && !format.is_unreserved(resource);
            sum(all, cpus) == 1.0
        });
        let operations = json!([{"type": "UNRESERVE", "unreserve": {"resources": reserved}}]);
        scheduler.accept(&offer, operations);
        scheduler.call("TEARDOWN", json!({}));
        eventually("nothing is reserved", SOON, || {
            let slave = slave(&cluster.master);
            (slave["reserved_resources"] == json!({})).then_some(())
        });
    }
    cluster.stop();
}

/// The only agent, as `/slaves` shows it.
fn slave(master: &str) -> Value {
    let answer = http::request(master, "GET", "/slaves", &[], b"");
    let mut shown: Value = serde_json::from_str(&answer.body).unwrap();
    shown["slaves"][0].take()
}

#[test]
fn operators_reserve_and_make_volumes_in_both_formats() {
    let cluster = DevCluster::start(1, &[]);
    let agent = slave(&cluster.master)["id"].clone();
    for format in Format::ALL {
        let about = |kind: &str, name: &str, resource: Value| {
            let member = json!({"agent_id": {"value": agent}, name: [resource]});
            let answer = operate(&cluster.master, kind, member);
            assert_eq!(answer.status, 202, "{kind}: {answer:?}");
        };
        let (disk, volume) = (format.reserved("disk", 64.0), format.volume("made", 32.0));
        about("RESERVE_RESOURCES", "resources", disk.clone());
        about("CREATE_VOLUMES", "volumes", volume.clone());
        let on_disk = || {
            let folder = format!("agent-1/volumes/roles/{ROLE}/made");
            cluster.work_dir().join(folder).is_dir()
        };
        eventually("the agent has made the volume", SOON, || {
            on_disk().then_some(())
        });
        let shown = slave(&cluster.master);
        assert_eq!(shown["reserved_resources"][ROLE]["disk"], 64.0);
        // For tools of both kinds both formats are shown.
        let full = shown["reserved_resources_full"][ROLE].as_array().unwrap();
        let made = full.iter().find(|resource| id_of(resource) == "made");
        for format in Format::ALL {
            let made = made.expect("the volume");
            let asked = format.volume("made", 32.0);
            assert_eq!(format.reservation(made), format.reservation(&asked));
        }
        about("DESTROY_VOLUMES", "volumes", volume);
        about("UNRESERVE_RESOURCES", "resources", disk);
        eventually("the agent has removed the volume", SOON, || {
            (!on_disk()).then_some(())
        });
        assert_eq!(slave(&cluster.master)["reserved_resources"], json!({}));
    }
    cluster.stop();
}

#[test]
fn a_volume_that_changes_its_size_is_for_the_next_accept() {
    let cluster = DevCluster::start(1, &[]);
    let format = Format::Stack;
    let mut scheduler = subscribe(&cluster, format);
    let offer = scheduler.standing_offer();
    let volume = |size: f64| format.volume("elastic", size);
    let cpus = amount("cpus", 0.1);
    let fill = with(
        &offer,
        "fill",
        json!([cpus, volume(32.0)]),
        "echo kept > data/file",
    );
    let operations = json!([
        {"type": "RESERVE", "reserve": {"resources": [format.reserved("disk", 64.0)]}},
        {"type": "CREATE", "create": {"volumes": [volume(32.0)]}},
        launch(fill)
    ]);
    scheduler.accept(&offer, operations);
    assert_eq!(end_of(&mut scheduler), "TASK_FINISHED");
    let grow = json!({"volume": volume(32.0), "addition": format.reserved("disk", 32.0)});
    let shrink = json!({"volume": volume(64.0), "subtract": {"value": 16.0}});
    let steps = [
        ("GROW_VOLUME", grow, 32.0, 64.0),
        ("SHRINK_VOLUME", shrink, 64.0, 48.0),
    ];
    for (kind, member, before, after) in steps {
        // With all else that is reserved.
        let has = |size: f64| {
            move |all: &Value| {
                let disk = |resource: &Value| {
                    resource["name"] == "disk" && !format.is_unreserved(resource)
                };
                let volume = of(all, "elastic").map(scalar);
                volume == Some(size) && sum(all, disk) == 64.0
            }
        };
        let offer = offer_with(&mut scheduler, has(before));
        let early = with(
            &offer,
            "early",
            json!([amount("cpus", 0.1), volume(after)]),
            "true",
        );
        let beside = with(&offer, "beside", json!([amount("cpus", 0.1)]), "true");
        let operations = json!([
            {"type": kind, "id": {"value": kind}, kind.to_lowercase(): member},
            launch(early),
            launch(beside)
        ]);
        scheduler.accept(&offer, operations);
        let ends = ends(&mut scheduler, 2);
        assert_eq!(ends["early"], "TASK_ERROR", "{kind}");
        assert_eq!(ends["beside"], "TASK_FINISHED", "{kind}");
        let status = scheduler.operation_status();
        assert_eq!(status["state"], "OPERATION_FINISHED", "{status}");
        scheduler.acknowledge_operation(&status);
        let offer = offer_with(&mut scheduler, has(after));
        let late = with(
            &offer,
            "late",
            json!([amount("cpus", 0.1), volume(after)]),
            "grep -x kept data/file",
        );
        scheduler.accept(&offer, json!([launch(late)]));
        assert_eq!(end_of(&mut scheduler), "TASK_FINISHED", "{kind}");
    }
    cluster.stop();
}
