//! Whose a reservation is, with a real agent: a role's, whoever of it or of the operators made it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use nesos_cluster_tests::resources::{Format, PRINCIPAL, ROLE, of, scalar, sum};
use nesos_cluster_tests::scheduler::{Scheduler, operate};
use nesos_cluster_tests::{DevCluster, eventually, http};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const FORMAT: Format = Format::Stack;

fn subscribe(cluster: &DevCluster, role: &str) -> Scheduler {
    let members =
        json!({"principal": PRINCIPAL, "roles": [role], "capabilities": FORMAT.capabilities()});
    Scheduler::subscribe(&cluster.master, members)
}

fn order(cluster: &DevCluster, kind: &str, agent: &Value, name: &str, resource: &Value) -> u16 {
    let member = json!({"agent_id": agent, name: [resource]});
    operate(&cluster.master, kind, member).status
}

fn is_reserved(resource: &Value) -> bool {
    !FORMAT.is_unreserved(resource)
}

#[test]
fn it_is_the_roles_to_the_last_thousandth() {
    let cluster = DevCluster::start(1, &[]);
    let mut first = subscribe(&cluster, ROLE);
    let offer = first.standing_offer();
    let reserve = |value: f64| {
        let resources = json!([FORMAT.reserved("cpus", value)]);
        json!({"type": "RESERVE", "reserve": {"resources": resources}})
    };
    // As floating point numbers these do not add up.
    first.accept(&offer, json!([reserve(0.1), reserve(0.2), reserve(0.1)]));
    let offer = first.standing_offer();
    let cpus = |resource: &Value| resource["name"] == "cpus" && is_reserved(resource);
    assert_eq!(sum(&offer["resources"], cpus), 0.4);
    let refused = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 3600.0}});
    first.call("DECLINE", refused);
    // Another framework of the role has it too, one of another role has not.
    let mut other = subscribe(&cluster, "other");
    let offer = other.standing_offer();
    assert_eq!(sum(&offer["resources"], is_reserved), 0.0);
    let mut second = subscribe(&cluster, ROLE);
    let offer = second.standing_offer();
    assert_eq!(sum(&offer["resources"], cpus), 0.4);
    let unreserve =
        json!({"type": "UNRESERVE", "unreserve": {"resources": [FORMAT.reserved("cpus", 0.4)]}});
    second.accept(&offer, json!([unreserve]));
    eventually("nothing is reserved", SOON, || {
        let answer = http::request(&cluster.master, "GET", "/slaves", &[], b"");
        let shown: Value = serde_json::from_str(&answer.body).unwrap();
        (shown["slaves"][0]["reserved_resources"] == json!({})).then_some(())
    });
    cluster.stop();
}

#[test]
fn frameworks_and_operators_undo_what_the_other_made() {
    let cluster = DevCluster::start(1, &[]);
    let mut scheduler = subscribe(&cluster, ROLE);
    let offer = scheduler.standing_offer();
    let agent = offer["agent_id"].clone();
    let mut labelled = FORMAT.reserved("disk", 64.0);
    labelled["reservations"][0]["labels"] = json!({"labels": [{"key": "k", "value": "v"}]});
    let mut volume = FORMAT.volume("made", 32.0);
    volume["reservations"] = labelled["reservations"].clone();
    // What is on offer is taken back for the operator.
    let reserved = order(
        &cluster,
        "RESERVE_RESOURCES",
        &agent,
        "resources",
        &labelled,
    );
    assert_eq!(reserved, 202);
    assert_eq!(
        scheduler.wait("RESCIND")["rescind"]["offer_id"],
        offer["id"]
    );
    let offer = scheduler.standing_offer();
    let made = offer["resources"].as_array().unwrap().iter();
    let made: Vec<&Value> = made.filter(|resource| is_reserved(resource)).collect();
    assert_eq!(made[0]["reservations"], labelled["reservations"]);
    // The framework makes a volume of it, the operator removes that.
    let create = json!([{"type": "CREATE", "create": {"volumes": [volume]}}]);
    scheduler.accept(&offer, create);
    let offer = scheduler.standing_offer();
    assert_eq!(scalar(of(&offer["resources"], "made").unwrap()), 32.0);
    // A volume's disk cannot be unreserved, nor what has other labels.
    for wrong in [labelled.clone(), FORMAT.reserved("disk", 32.0)] {
        let status = order(&cluster, "UNRESERVE_RESOURCES", &agent, "resources", &wrong);
        assert_eq!(status, 409, "{wrong}");
    }
    let mut other = volume.clone();
    other["disk"]["persistence"]["id"] = json!("other");
    let status = order(&cluster, "DESTROY_VOLUMES", &agent, "volumes", &other);
    assert!(matches!(status, 400 | 409), "{status}");
    assert_eq!(
        order(&cluster, "DESTROY_VOLUMES", &agent, "volumes", &volume),
        202
    );
    // The operator makes one, the framework removes it, and gives the reservation back.
    assert_eq!(
        order(&cluster, "CREATE_VOLUMES", &agent, "volumes", &volume),
        202
    );
    let has = |offer: &Value| of(&offer["resources"], "made").is_some();
    let offer = loop {
        let offer = scheduler.standing_offer();
        if has(&offer) {
            break offer;
        }
    };
    let operations = json!([
        {"type": "DESTROY", "destroy": {"volumes": [volume]}},
        {"type": "UNRESERVE", "unreserve": {"resources": [labelled]}}
    ]);
    scheduler.accept(&offer, operations);
    loop {
        let offer = scheduler.standing_offer();
        let mut all = offer["resources"].as_array().unwrap().iter();
        if all.all(|resource| !is_reserved(resource)) {
            break;
        }
    }
    cluster.stop();
}

#[test]
fn volumes_of_a_role_and_of_its_children_are_apart() {
    let cluster = DevCluster::start(1, &[]);
    let mut scheduler = subscribe(&cluster, ROLE);
    let agent = scheduler.standing_offer()["agent_id"].clone();
    let child = format!("{ROLE}/child");
    let folders: Vec<_> = [ROLE, &child]
        .map(|role| {
            let mut volume = FORMAT.volume("same", 16.0);
            volume["reservations"][0]["role"] = json!(role);
            let mut disk = FORMAT.reserved("disk", 16.0);
            disk["reservations"] = volume["reservations"].clone();
            let reserved = order(&cluster, "RESERVE_RESOURCES", &agent, "resources", &disk);
            assert_eq!(reserved, 202);
            let created = order(&cluster, "CREATE_VOLUMES", &agent, "volumes", &volume);
            assert_eq!(created, 202);
            let role = role.replace('/', " ");
            cluster
                .work_dir()
                .join(format!("agent-1/volumes/roles/{role}/same"))
        })
        .into();
    for folder in folders {
        eventually("the volume is there", SOON, || {
            folder.is_dir().then_some(())
        });
    }
    cluster.stop();
}
