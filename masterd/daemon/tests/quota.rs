//! Quota through the operator API, in both forms, and through the older endpoints: what is refused, what is offered then,
//! where it is shown, that it stays.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::agent::{Agent, board};
use common::form::{FORMS, Form, Scheduler};
use common::http::{get, request};
use common::{Master, run};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::resource_text::parse;
use serde_json::{Value, json};

/// A linked agent with these resources.
async fn agent(address: &str, dir: &Path, node: &str, resources: &str) -> Agent {
    let board = board(address, dir, node).await;
    let mut hello = board.hello();
    hello.resources = parse(resources).unwrap();
    let mut agent = board.dial(address).await;
    agent.say(&AgentToMaster::Hello(hello)).await;
    assert!(matches!(agent.hear().await, MasterToAgent::Welcome(_)));
    agent
}

async fn framework(form: Form, address: &str, role: &str) -> Scheduler {
    let info = json!({"user": "root", "name": role, "roles": [role], "capabilities": [{"type": "MULTI_ROLE"}]});
    Scheduler::subscribe(form, address, json!({ "framework_info": info })).await
}

fn scalars(amounts: &[(&str, f64)]) -> Value {
    let scalar = |(name, value): &(&str, f64)| ((*name).to_owned(), json!({ "value": value }));
    amounts
        .iter()
        .map(scalar)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// As it is shown, too: Mesos leaves empty maps out.
fn config(role: &str, guarantees: &[(&str, f64)], limits: &[(&str, f64)]) -> Value {
    let mut config = json!({ "role": role });
    for (member, amounts) in [("guarantees", guarantees), ("limits", limits)] {
        if !amounts.is_empty() {
            config[member] = scalars(amounts);
        }
    }
    config
}

/// UPDATE_QUOTA; its status and sentence.
async fn update(form: Form, address: &str, force: bool, configs: &[Value]) -> (u16, String) {
    let call =
        json!({"type": "UPDATE_QUOTA", "update_quota": {"force": force, "quota_configs": configs}});
    let (status, sentence) = form.operate(address, &call).await;
    (status, sentence.as_str().unwrap_or_default().to_owned())
}

async fn set(form: Form, address: &str, configs: &[Value]) {
    assert_eq!(
        update(form, address, false, configs).await,
        (200, String::new())
    );
}

async fn shown(form: Form, address: &str) -> Value {
    let (status, answer) = form.operate(address, &json!({"type": "GET_QUOTA"})).await;
    assert_eq!(status, 200);
    answer["get_quota"]["status"].clone()
}

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

/// Status of a request to an older endpoint.
async fn older(address: &str, method: &str, path: &str, body: &str) -> u16 {
    let answer = request(address, method, path, &[], body.as_bytes()).await;
    answer.status
}

#[test]
fn quota_is_set_shown_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut master = Master::start(dir.path(), 0, &[]);
    for form in FORMS {
        let address = master.address();
        run(async {
            let _agent = agent(&address, dir.path(), "n1", "cpus:4;mem:1024").await;
            let lab = config("lab", &[("cpus", 1.0)], &[("cpus", 2.5), ("mem", 0.0)]);
            let web = config("web", &[("cpus", 3.0)], &[]);
            set(form, &address, &[lab.clone(), web.clone()]).await;
            // All or nothing: the second is refused, so the first is not changed.
            let configs = [
                config("lab", &[], &[]),
                config("web", &[("cpus", 5.0)], &[]),
            ];
            let (status, sentence) = update(form, &address, false, &configs).await;
            assert_eq!(status, 400);
            assert!(sentence.contains("'cpus' would be 5"), "{sentence}");
            assert_eq!(shown(form, &address).await["configs"], json!([lab, web]));
            let metrics = get(&address, "/metrics/snapshot").await.json();
            let of_lab =
                |tail| &metrics[format!("allocator/mesos/quota/roles/lab/resources/{tail}")];
            assert_eq!(
                (of_lab("cpus/guarantee"), of_lab("mem/limit")),
                (&json!(1.0), &json!(0.0))
            );
            let text = get(&address, "/metrics").await.text();
            let line = "mesos_allocator_mesos_quota_roles_resources_limit{role=\"lab\",resource=\"cpus\"} 2.5\n";
            assert!(text.contains(line), "{text}");
        });
        let port = master.port;
        master.kill();
        master = Master::start(dir.path(), port, &[]);
        let address = master.address();
        run(async {
            let status = shown(form, &address).await;
            assert_eq!(status["configs"][0]["limits"]["cpus"]["value"], 2.5);
            let info = &status["infos"][0];
            assert_eq!(
                (&info["role"], &info["guarantee"][0]["scalar"]["value"]),
                (&json!("lab"), &json!(1.0))
            );
            assert_eq!(
                get(&address, "/quota").await.json()["configs"],
                status["configs"]
            );
            let none = [
                config("lab", &[], &[]),
                config("web", &[("cpus", 0.0)], &[]),
            ];
            set(form, &address, &none).await;
            assert!(
                shown(form, &address).await["configs"]
                    .as_array()
                    .is_none_or(Vec::is_empty)
            );
        });
    }
}

/// A configuration, and a part of the sentence that refuses it.
fn refused() -> Vec<(Value, &'static str)> {
    vec![
        (
            config("a/b", &[], &[("cpus", 1.0)]),
            "'QuotaConfig.role' 'a/b': quota is for top-level roles only",
        ),
        (
            config("-a", &[], &[("cpus", 1.0)]),
            "'QuotaConfig.role': Role '-a' is not valid",
        ),
        (
            config("a", &[("cpus", -1.0)], &[]),
            "'quota_configs[0].guarantees[cpus]': it must be a number from 0 to 1000000000000, not -1",
        ),
        (
            config("a", &[], &[("cpus", 1e12 + 1.0)]),
            "'quota_configs[0].limits[cpus]'",
        ),
        (
            config("a", &[], &[("mem", 1_099_511_627_777.0)]),
            "'quota_configs[0].limits[mem]'",
        ),
        (
            config("a", &[], &[("", 1.0)]),
            "a resource's name has 1 to 128 bytes",
        ),
        (
            config("a", &[("cpus", 2.0)], &[("cpus", 1.0)]),
            "'QuotaConfig.guarantees' of role 'a': the guarantee of 'cpus', 2, is above its limit, 1",
        ),
        (
            config("a", &[("cpus", 4.5)], &[]),
            "total quota guarantees of 'cpus' would be 4.5 but the cluster has 4",
        ),
        (
            config("other", &[], &[("cpus", 1.0)]),
            "'QuotaConfig.role' 'other': it is not present in the master's --roles",
        ),
        (config(&"r".repeat(201), &[], &[]), "longer than 200 bytes"),
    ]
}

#[test]
fn a_refusal_names_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let roles = format!("--roles=a,b,-a,a/b,{}", "r".repeat(201));
    let master = Master::start(dir.path(), 0, &[&roles]);
    let address = master.address();
    run(async {
        let _agent = agent(&address, dir.path(), "n1", "cpus:4;mem:1024").await;
        for form in FORMS {
            for (config, part) in refused() {
                let (status, sentence) = update(form, &address, false, &[config]).await;
                assert_eq!(status, 400, "{part}");
                assert!(sentence.contains(part), "{sentence}");
            }
            let twice = [config("a", &[], &[]), config("a", &[], &[])];
            let (status, sentence) = update(form, &address, true, &twice).await;
            assert_eq!(status, 400);
            assert!(
                sentence.contains("'QuotaConfig.role' 'a': it stands twice"),
                "{sentence}"
            );
            let (status, _) = form
                .operate(&address, &json!({"type": "UPDATE_QUOTA"}))
                .await;
            assert_eq!(status, 400);
            // The default role is always allowed.
            framework(form, &address, "*").await;
            // What cannot be kept now can be forced, what makes no sense cannot.
            let much = config("a", &[("cpus", 40.0)], &[]);
            assert_eq!(update(form, &address, true, &[much]).await.0, 200);
            set(form, &address, &[config("a", &[], &[])]).await;
        }
        let text = r#"{"type":"UPDATE_QUOTA","update_quota":{"quota_configs":[{"role":"a","limits":{"cpus":{"value":"many"}}}]}}"#;
        let headers = [("Content-Type", "application/json")];
        let answer = request(&address, "POST", "/api/v1", &headers, text.as_bytes()).await;
        assert_eq!(answer.status, 400);
    });
}

fn guarantee(cpus: f64) -> Value {
    json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}}])
}

fn set_quota(request: &Value) -> Value {
    json!({"type": "SET_QUOTA", "set_quota": {"quota_request": request}})
}

#[test]
fn the_older_calls_set_guarantee_and_limit_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    let remove = json!({"type": "REMOVE_QUOTA", "remove_quota": {"role": "web"}});
    run(async {
        let _agent = agent(&address, dir.path(), "n1", "cpus:4;mem:1024").await;
        for form in FORMS {
            let web = |cpus| set_quota(&json!({"role": "web", "guarantee": guarantee(cpus)}));
            assert_eq!(form.operate(&address, &web(5.0)).await.0, 400);
            assert_eq!(form.operate(&address, &web(2.0)).await.0, 200);
            assert_eq!(
                form.operate(&address, &web(1.0)).await.0,
                400,
                "it has quota already"
            );
            let status = shown(form, &address).await;
            let both = config("web", &[("cpus", 2.0)], &[("cpus", 2.0)]);
            assert_eq!(status["configs"], json!([both]));
            assert_eq!(form.operate(&address, &remove).await.0, 200);
            assert_eq!(form.operate(&address, &remove).await.0, 400, "it has none");
            older_refusals(form, &address).await;
        }
        older_endpoints(&address).await;
    });
}

async fn older_refusals(form: Form, address: &str) {
    let mut reserved = guarantee(1.0);
    reserved[0]["role"] = json!("web");
    let ports =
        json!([{"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]}}]);
    for (request, part) in [
        (json!({"guarantee": guarantee(1.0)}), "'role'"),
        (
            json!({"role": "web"}),
            "'guarantee': it must name at least one",
        ),
        (
            json!({"role": "web", "guarantee": reserved}),
            "'guarantee[0]' (cpus): it must not be reserved",
        ),
        (
            json!({"role": "web", "guarantee": ports}),
            "'guarantee[0]' (ports): only scalars",
        ),
        (
            json!({"role": "a/b", "guarantee": guarantee(1.0)}),
            "top-level roles only",
        ),
    ] {
        let (status, sentence) = form.operate(address, &set_quota(&request)).await;
        assert_eq!(status, 400, "{part}");
        assert!(sentence.as_str().unwrap().contains(part), "{sentence}");
    }
}

/// `/quota`, which answers an overcommitment with 409.
async fn older_endpoints(address: &str) {
    let body = |cpus, force| {
        json!({"force": force, "role": "web", "guarantee": guarantee(cpus)}).to_string()
    };
    let (much, forced, again) = (body(5.0, false), body(5.0, true), body(1.0, true));
    assert_eq!(older(address, "POST", "/quota", &much).await, 409);
    assert_eq!(older(address, "POST", "/quota", &forced).await, 200);
    assert_eq!(older(address, "POST", "/quota", &again).await, 400);
    assert_eq!(older(address, "POST", "/quota", "{").await, 400);
    let shown = get(address, "/master/quota").await.json();
    assert_eq!(shown["infos"][0]["guarantee"][0]["scalar"]["value"], 5.0);
    assert_eq!(older(address, "PUT", "/quota", "").await, 405);
    assert_eq!(older(address, "DELETE", "/quota", "").await, 400);
    assert_eq!(older(address, "DELETE", "/quota/web", "").await, 200);
    assert_eq!(older(address, "DELETE", "/quota/web", "").await, 400);
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
