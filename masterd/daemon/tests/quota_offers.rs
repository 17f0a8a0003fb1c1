//! What quota does to offers, in both forms.
#![allow(clippy::unwrap_used)]

mod common;

use common::form::{FORMS, Form, Scheduler};
use common::http::get;
use common::quota::{agent, config, framework, set, update};
use common::{Master, run};
use nesos_wire::message::MasterToAgent;
use serde_json::{Value, json};

/// What the next OFFERS hold: role and cpus of each, sorted.
async fn offered(scheduler: &mut Scheduler) -> Vec<(String, f64)> {
    let event = scheduler.wait("OFFERS").await;
    let offers = event["offers"]["offers"].as_array().unwrap();
    let cpus = |offer: &Value| {
        let resources = offer["resources"].as_array().unwrap();
        let cpus = resources.iter().find(|resource| resource["name"] == "cpus");
        cpus.map_or(0.0, |cpus| cpus["scalar"]["value"].as_f64().unwrap())
    };
    let mut found: Vec<(String, f64)> = offers
        .iter()
        .map(|o| {
            (
                o["allocation_info"]["role"].as_str().unwrap().into(),
                cpus(o),
            )
        })
        .collect();
    found.sort_by(|a, b| a.partial_cmp(b).unwrap());
    found
}

fn of(role: &str, cpus: &[f64]) -> Vec<(String, f64)> {
    cpus.iter().map(|cpus| (role.to_owned(), *cpus)).collect()
}

/// Mesos's behaviours 22, 23, 24, 26 and 32: a guarantee is held back, from others and for nobody yet; a limit holds, for
/// `*` too; without quota sharing is fair again.
#[test]
fn quota_decides_what_is_offered() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let dir = dir.path();
            let _one = agent(&address, dir, "n1", "cpus:4;mem:1024").await;
            set(
                form,
                &address,
                &[config("web", &[("cpus", 1.0)], &[("cpus", 2.0)])],
            )
            .await;
            let mut greedy = framework(form, &address, "*").await;
            assert_eq!(
                offered(&mut greedy).await,
                of("*", &[3.0]),
                "one is kept for web"
            );
            let mut web = framework(form, &address, "web").await;
            assert_eq!(offered(&mut web).await, of("web", &[1.0]));
            let _two = agent(&address, dir, "n2", "cpus:4;mem:1024").await;
            assert_eq!(
                offered(&mut web).await,
                of("web", &[1.0]),
                "no more than its limit"
            );
            assert_eq!(offered(&mut greedy).await, of("*", &[3.0]));
            let roles = get(&address, "/roles").await.json();
            let shown = roles["roles"]
                .as_array()
                .unwrap()
                .iter()
                .find(|r| r["name"] == "web")
                .unwrap();
            let expected = json!({"role": "web", "guarantee": {"cpus": 1.0}, "limit": {"cpus": 2.0}, "consumed": {}});
            assert_eq!(shown["quota"], expected, "offers consume nothing");
            assert_eq!(shown["offered"]["cpus"], 2.0);
            // A limit below what is on offer takes offers back, in the subtree of its role only.
            set(form, &address, &[config("*", &[], &[("cpus", 3.5)])]).await;
            greedy.wait("RESCIND").await;
            assert_eq!(offered(&mut greedy).await, of("*", &[0.5]));
            // Without quota the rest goes to whoever has least.
            set(
                form,
                &address,
                &[config("*", &[], &[]), config("web", &[], &[])],
            )
            .await;
            assert_eq!(offered(&mut web).await, of("web", &[2.5]));
        });
    }
}

/// A new guarantee takes back what others were offered; a limit below what is in use is refused unless forced.
#[test]
fn a_guarantee_takes_offers_back_and_a_limit_counts_what_runs() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let mut agent = agent(&address, dir.path(), "n1", "cpus:4;mem:1024").await;
            let mut other = framework(form, &address, "other").await;
            assert_eq!(offered(&mut other).await, of("other", &[4.0]));
            let mut web = framework(form, &address, "web/front").await;
            set(
                form,
                &address,
                &[config("web", &[("cpus", 3.0)], &[("cpus", 3.0)])],
            )
            .await;
            other.wait("RESCIND").await;
            let event = web.wait("OFFERS").await;
            let offer = &event["offers"]["offers"][0];
            let cpus = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 2.0},
                "allocation_info": {"role": "web/front"}}]);
            let task = json!({"name": "n", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
                "resources": cpus, "command": {"value": "true"}});
            let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [task]}});
            let accept = json!({"offer_ids": [offer["id"]], "operations": [launch]});
            assert_eq!(web.call("ACCEPT", accept).await.status, 202);
            assert!(matches!(agent.hear().await, MasterToAgent::Launch { .. }));
            let low = [config("web", &[], &[("cpus", 1.5)])];
            let (status, sentence) = update(form, &address, false, &low).await;
            let expected = "Invalid 'QuotaConfig.limits' of role 'web': the limit of 'cpus' is 1.5 but the role consumes 2 already";
            assert_eq!((status, sentence.as_str()), (400, expected));
            assert_eq!(update(form, &address, true, &low).await.0, 200);
            let roles = get(&address, "/roles").await.json();
            let role = |name: &str| {
                roles["roles"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|r| r["name"] == name)
                    .cloned()
                    .unwrap()
            };
            assert_eq!(
                role("web")["quota"]["consumed"]["cpus"],
                2.0,
                "sub-roles consume"
            );
            assert_eq!(role("web/front")["allocated"]["cpus"], 2.0);
            assert_eq!(role("web/front")["frameworks"], json!([web.id["value"]]));
        });
    }
}

#[test]
fn with_quota_a_new_master_waits_for_its_agents() {
    let dir = tempfile::tempdir().unwrap();
    let form = Form::Json;
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let _one = agent(&address, dir.path(), "n1", "cpus:1;mem:128").await;
        let _two = agent(&address, dir.path(), "n2", "cpus:2;mem:128").await;
        set(form, &address, &[config("web", &[("cpus", 1.0)], &[])]).await;
    });
    let port = master.port;
    master.kill();
    let flags = [
        "--allocator_agent_recovery_factor=1.0",
        "--allocator_recovery_timeout=1hrs",
    ];
    let master = Master::start(dir.path(), port, &flags);
    let address = master.address();
    run(async {
        let mut web = framework(form, &address, "web").await;
        let _one = agent(&address, dir.path(), "n1", "cpus:1;mem:128").await;
        assert_eq!(web.call("REVIVE", json!({})).await.status, 202);
        assert_eq!(
            get(&address, "/metrics/snapshot").await.json()["master/outstanding_offers"],
            0.0
        );
        let _two = agent(&address, dir.path(), "n2", "cpus:2;mem:128").await;
        assert_eq!(
            offered(&mut web).await,
            of("web", &[1.0, 2.0]),
            "both at once"
        );
    });
}

/// Mesos's behaviours 35 to 37: reservations consume quota, given out or not; a guarantee is never kept in what others
/// have reserved; and who has reserved something gets it, whatever others are guaranteed.
#[test]
fn reservations_count_and_are_never_held_back() {
    for form in FORMS {
        let dir = tempfile::tempdir().unwrap();
        let master = Master::start(dir.path(), 0, &[]);
        let address = master.address();
        run(async {
            let resources = "cpus:3;cpus(web):2;cpus(lab/east):1;mem:1024";
            let _agent = agent(&address, dir.path(), "n1", resources).await;
            let two = [("cpus", 2.0)];
            set(form, &address, &[config("web", &two, &two)]).await;
            let mut other = framework(form, &address, "other").await;
            assert_eq!(
                offered(&mut other).await,
                of("other", &[3.0]),
                "web has its two"
            );
            let mut web = framework(form, &address, "web").await;
            assert_eq!(
                offered(&mut web).await,
                of("web", &[2.0]),
                "its reservation is its limit"
            );
            let roles = get(&address, "/roles").await.json();
            let role = |name: &str| {
                let mut all = roles["roles"].as_array().unwrap().iter();
                all.find(|role| role["name"] == name).cloned().unwrap()
            };
            assert_eq!(role("web")["quota"]["consumed"]["cpus"], 2.0);
            assert_eq!(
                (
                    &role("lab")["reserved"]["cpus"],
                    &role("lab")["quota"]["consumed"]["cpus"]
                ),
                (&json!(1.0), &json!(1.0))
            );
            // More than there is: nothing unreserved is left for others, but their reservations are.
            let much = [config("web", &[("cpus", 100.0)], &[])];
            assert_eq!(update(form, &address, true, &much).await.0, 200);
            other.wait("RESCIND").await;
            let mut lab = framework(form, &address, "lab/east").await;
            let event = lab.wait("OFFERS").await;
            let resources = event["offers"]["offers"][0]["resources"]
                .as_array()
                .unwrap()
                .clone();
            let cpus: Vec<&Value> = resources.iter().filter(|r| r["name"] == "cpus").collect();
            assert_eq!(cpus.len(), 1, "{resources:?}");
            assert_eq!(cpus[0]["scalar"]["value"], 1.0);
        });
    }
}
