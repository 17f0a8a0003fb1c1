//! The agent's older endpoints: `/state` and its like, and the files of sandboxes and log.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::http::{get, request};
use common::{Link, Master, run, shell, until};
use nesos_wire::task::TaskState;

/// An agent with one task that runs, and the task's sandbox as `/state` tells it.
async fn with_task() -> (Master, Link, u16, String) {
    let mut master = Master::new()
        .await
        .with_resources("cpus:4;mem:512;cpus(db):2;ports:[31000-31009]")
        .with_flag("--attributes=rack:a1".into())
        .with_flag("--domain=home/shelf".into());
    master.start_agent();
    let (mut link, hello) = master.link().await;
    link.launch(shell(
        "t",
        "mkdir out; echo hello > out/file; while [ ! -e go ]; do sleep 0.02; done",
    ))
    .await;
    link.until(TaskState::Running).await;
    link.settle().await;
    let state = get(hello.port, "/state").await.json();
    let directory = state["frameworks"][0]["executors"][0]["directory"].as_str();
    let directory = directory.unwrap().to_string();
    let file = master.sandbox("t").join("out/file");
    until("the task's file", || {
        fs::read(&file).ok().filter(|bytes| !bytes.is_empty())
    })
    .await;
    (master, link, hello.port, directory)
}

#[test]
fn the_state_has_the_keys_that_tools_read() {
    run(async {
        let (master, mut link, port, directory) = with_task().await;
        let state = get(port, "/slave(1)/state").await.json();
        for key in [
            "version",
            "start_time",
            "id",
            "pid",
            "hostname",
            "capabilities",
            "resources",
            "reserved_resources",
            "reserved_resources_full",
            "reserved_resources_allocated",
            "unreserved_resources",
            "unreserved_resources_full",
            "unreserved_resources_allocated",
            "resource_providers",
            "attributes",
            "master_hostname",
            "flags",
            "frameworks",
            "completed_frameworks",
        ] {
            assert!(!state[key].is_null(), "{key}: {state:#}");
        }
        assert_eq!(state["master_hostname"], "127.0.0.1");
        assert_eq!(state["attributes"]["rack"], "a1");
        assert_eq!(state["domain"]["fault_domain"]["zone"]["name"], "shelf");
        assert_eq!(state["resources"]["cpus"], 6.0);
        assert_eq!(state["resources"]["ports"], "[31000-31009]");
        assert_eq!(state["unreserved_resources"]["cpus"], 4.0);
        assert_eq!(state["unreserved_resources_allocated"]["cpus"], 0.1);
        assert_eq!(state["reserved_resources"]["db"]["cpus"], 2.0);
        assert_eq!(state["reserved_resources_full"]["db"][0]["name"], "cpus");
        assert_eq!(state["flags"]["join_token"], serde_json::Value::Null);
        let executor = &state["frameworks"][0]["executors"][0];
        assert_eq!(executor["id"], "t");
        assert_eq!(executor["tasks"][0]["state"], "TASK_RUNNING");
        assert_eq!(executor["tasks"][0]["slave_id"], "m-S1");
        assert!(directory.ends_with(executor["container"].as_str().unwrap()));
        fs::write(master.sandbox("t").join("go"), "").unwrap();
        link.until(TaskState::Finished).await;
        link.settle().await;
        let state = get(port, "/state.json?jsonp=show").await.text();
        let json = state.strip_prefix("show(").unwrap();
        let state: serde_json::Value =
            serde_json::from_str(json.strip_suffix(");").unwrap()).unwrap();
        assert_eq!(state["frameworks"], serde_json::json!([]));
        let over = &state["completed_frameworks"][0]["completed_executors"][0];
        assert_eq!(over["completed_tasks"][0]["state"], "TASK_FINISHED");
        assert_eq!(over["directory"], directory);
    });
}

#[test]
fn containers_and_metrics_are_shown() {
    run(async {
        let (_master, _link, port, _) = with_task().await;
        let all = get(port, "/containers").await.json();
        let container = all[0]["container_id"].as_str().unwrap();
        assert_eq!(all[0]["status"]["container_id"]["value"], container);
        assert_eq!(all[0]["executor_id"], "t");
        let one = get(port, &format!("/containers?container_id={container}")).await;
        assert_eq!(one.json().as_array().unwrap().len(), 1);
        assert_eq!(get(port, "/containers?container_id=x").await.text(), "[]");
        let statistics = get(port, "/monitor/statistics").await.json();
        assert_eq!(statistics[0]["framework_id"], "f");
        assert_eq!(statistics[0]["statistics"]["cpus_limit"], 0.1);
        assert!(statistics[0]["statistics"]["timestamp"].as_f64().unwrap() > 0.0);
        // The shell and its sleep.
        assert!(statistics[0]["statistics"]["processes"].as_u64().unwrap() >= 1);
        assert!(
            statistics[0]["statistics"]["mem_rss_bytes"]
                .as_u64()
                .unwrap()
                > 4096
        );
        let metrics = get(port, "/metrics/snapshot?timeout=5secs").await.json();
        for (name, value) in [
            ("slave/tasks_running", 1.0),
            ("slave/executors_running", 1.0),
            ("slave/frameworks_active", 1.0),
            ("slave/cpus_used", 0.1),
            ("slave/tasks_finished", 0.0),
            ("slave/valid_status_updates", 2.0),
        ] {
            assert_eq!(metrics[name], value, "{name}");
        }
        assert_eq!(get(port, "/metrics/snapshot?timeout=x").await.status, 400);
        let text = get(port, "/metrics").await.text();
        assert!(text.contains("\nmesos_slave_tasks_running 1\n"), "{text}");
        assert_eq!(get(port, "/logging/toggle").await.text(), "0\n");
        assert_eq!(get(port, "/health").await.status, 200);
        assert_eq!(get(port, "/version").await.json()["version"], "1.11.0");
        assert_eq!(get(port, "/nothing").await.status, 404);
        let answer = request(port, "POST", "/state", &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")));
    });
}

#[test]
fn sandboxes_are_browsed_read_and_downloaded() {
    run(async {
        let (_master, _link, port, directory) = with_task().await;
        let latest = format!("{}/latest", directory.rsplit_once('/').unwrap().0);
        for root in [&directory, &latest, "/frameworks/f/executors/t/runs/latest"] {
            let entries = get(port, &format!("/files/browse?path={root}/"))
                .await
                .json();
            let names: Vec<&str> = entries
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["path"].as_str().unwrap())
                .collect();
            assert_eq!(
                names,
                ["out", "stderr", "stdout"].map(|name| format!("{root}/{name}"))
            );
            assert_eq!(entries[0]["mode"].as_str().unwrap().as_bytes()[0], b'd');
            let read = get(
                port,
                &format!("/files/read?path={root}/out/file&offset=1&length=3"),
            )
            .await;
            assert_eq!(read.text(), r#"{"offset":1,"data":"ell"}"#);
        }
        let size = get(port, &format!("/files/read?path={directory}/out/file")).await;
        assert_eq!(size.text(), r#"{"offset":6,"data":""}"#);
        assert_eq!(
            get(port, &format!("/files/browse?path={directory}/out/file"))
                .await
                .text(),
            "[]"
        );
        let large: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        fs::write(format!("{directory}/large"), &large).unwrap();
        let answer = get(port, &format!("/files/download?path={directory}/large")).await;
        assert_eq!(answer.body, large);
        assert_eq!(
            answer.header("content-disposition"),
            Some("attachment; filename=large")
        );
        assert_eq!(answer.header("content-length"), Some("300000"));
        // A query is decoded once: a name may look like an encoded one.
        fs::write(format!("{directory}/foo%3Abar"), b"odd").unwrap();
        let path = format!("/files/download?path={directory}/foo%253Abar");
        assert_eq!(get(port, &path).await.body, b"odd");
        let roots = get(port, "/files/debug").await.json();
        assert_eq!(roots[&directory], directory);
        assert_eq!(roots["/slave/log"], "memory");
        let log = get(port, "/files/read?path=/slave/log&offset=0")
            .await
            .json();
        assert!(
            log["data"].as_str().unwrap().contains("launching task"),
            "{log}"
        );
    });
}

#[test]
fn nothing_outside_the_sandbox_is_shown() {
    run(async {
        let (master, _link, port, directory) = with_task().await;
        fs::write(master.folder.path().join("secret"), "s").unwrap();
        symlink(master.folder.path(), format!("{directory}/up")).unwrap();
        symlink("/etc/passwd", format!("{directory}/passwd")).unwrap();
        symlink("/proc/self/root", format!("{directory}/magic")).unwrap();
        nix::unistd::mkfifo(
            format!("{directory}/pipe").as_str(),
            nix::sys::stat::Mode::S_IRWXU,
        )
        .unwrap();
        let work = master.work_dir().display().to_string();
        for (path, status) in [
            (format!("{directory}/up/secret"), 400),
            (format!("{directory}/passwd"), 400),
            (format!("{directory}/magic/etc/passwd"), 400),
            (
                format!("{directory}/../../../../../../../../meta/checkpoint.log"),
                400,
            ),
            (format!("{directory}/out/../../x"), 400),
            (format!("{directory}/pipe"), 400),
            (format!("{directory}/nothing"), 404),
            (directory.clone(), 400),
            (format!("{work}/meta/checkpoint.log"), 404),
            (
                format!("{work}/slaves/../meta/frameworks/f/executors/t/runs/latest/x"),
                404,
            ),
            (
                format!("{work}/slaves/m-S1/frameworks/../executors/t/runs/latest/x"),
                404,
            ),
            ("/frameworks/f/executors/../runs/latest/x".into(), 404),
            ("/frameworks/f/executors/t/runs".into(), 404),
            ("/etc/passwd".into(), 404),
            ("/slave/log/x".into(), 404),
            ("/".into(), 404),
        ] {
            for what in ["read", "download"] {
                let answer = get(port, &format!("/files/{what}?path={path}&offset=0")).await;
                assert_eq!(answer.status, status, "{what} {path}: {}", answer.text());
            }
        }
        for (path, status) in [
            ("/up", 400),
            ("/magic", 400),
            ("/..", 400),
            ("/nothing", 404),
        ] {
            let answer = get(port, &format!("/files/browse?path={directory}{path}")).await;
            assert_eq!(answer.status, status, "browse {path}: {}", answer.text());
        }
    });
}

#[test]
fn the_host_and_the_endpoints_are_told() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (_link, hello) = master.link().await;
        let shown = get(hello.port, "/system/stats.json").await.json();
        for name in [
            "cpus_total",
            "avg_load_1min",
            "mem_total_bytes",
            "mem_free_bytes",
        ] {
            assert!(shown[name].is_number(), "{name}: {shown}");
        }
        let all = get(hello.port, "/slave(1)/help").await.text();
        assert!(all.contains("/containers\n    "), "{all}");
        let one = get(hello.port, "/help/slave(1)/health").await.text();
        assert_eq!(one, "/health\n    200 if the agent is there.\n");
        assert_eq!(get(hello.port, "/help/nothing").await.status, 404);
    });
}
