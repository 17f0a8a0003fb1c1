//! Quota through the operator API, in both forms, and through the older endpoints: what is refused, where it is shown, that
//! it stays.
#![allow(clippy::unwrap_used)]

mod common;

use common::form::{FORMS, Form};
use common::http::{get, request};
use common::quota::{agent, config, framework, set, shown, update};
use common::{Master, run};
use serde_json::{Value, json};

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
            config("a", &[("cpus", 1e-310)], &[]),
            "'quota_configs[0].guarantees[cpus]': it is too small a number",
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
