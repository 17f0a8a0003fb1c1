//! masterd ends, in order or not, and comes back: nothing that was said is forgotten.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::{Board, board};
use common::http::{Scheduler, get};
use common::{Master, run};

#[test]
fn after_a_kill_the_same_agents_and_frameworks_return() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let (address, port) = (master.address(), master.port);
    let (node, agent, framework): (Board, String, String) = run(async {
        let node = board(&address, dir.path(), "n1").await;
        let (_link, agent) = node.register(&address).await;
        let scheduler = Scheduler::subscribe(&address, r#","failover_timeout":600"#, None).await;
        (node, agent, scheduler.framework)
    });
    let token = std::fs::read(dir.path().join("token")).unwrap();
    master.kill();

    let master = Master::start(dir.path(), port, &[]);
    let is_second = |line: &String| line.contains("start 2 of the registry");
    assert!(master.early.iter().any(is_second), "{:?}", master.early);
    assert_eq!(std::fs::read(dir.path().join("token")).unwrap(), token);
    run(async {
        let state = get(&address, "/state").await.json();
        assert_eq!(state["recovered_slaves"][0]["id"], agent.as_str());
        assert_eq!(state["frameworks"][0]["id"], framework.as_str());
        let (_link, again) = node.register(&address).await;
        assert_eq!(again, agent, "the same board is the same agent");
        let mut scheduler =
            Scheduler::subscribe(&address, r#","failover_timeout":600"#, Some(&framework)).await;
        assert_eq!(
            scheduler.wait("OFFERS").await["offers"]["offers"][0]["agent_id"]["value"],
            agent.as_str()
        );
    });
    assert_eq!(master.terminate(), Some(0));
}

#[test]
fn while_the_disk_is_full_events_wait_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start_limitable(dir.path());
    let address = master.address();
    master.limit_files("100");
    std::thread::scope(|scope| {
        let subscribing = scope.spawn(|| {
            run(async {
                // Sixty kilobytes that the registry has to keep.
                let info = format!(
                    r#","failover_timeout":600,"webui_url":"{}""#,
                    "x".repeat(60_000)
                );
                let scheduler = Scheduler::subscribe(&address, &info, None).await;
                scheduler.call(r#""type":"REVIVE""#).await
            })
        });
        master.wait_log("nothing is agreed on until this works");
        let state = run(get(&address, "/state"));
        assert_eq!(state.status, 200);
        assert!(!subscribing.is_finished());
        master.limit_files("unlimited");
        master.wait_log("the disk takes writes again");
        assert_eq!(subscribing.join().unwrap(), 202);
    });
    let port = master.port;
    master.kill();
    let master = Master::start(dir.path(), port, &[]);
    run(async {
        let state = get(&master.address(), "/state").await.json();
        assert_eq!(
            state["frameworks"].as_array().unwrap().len(),
            1,
            "nothing is lost"
        );
    });
}

#[test]
fn a_second_masterd_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _master = Master::start(dir.path(), 0, &[]);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_masterd"))
        .args([
            "--ip=127.0.0.1",
            "--port=0",
            &format!("--work_dir={}", dir.path().display()),
        ])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another masterd uses"));
}

#[test]
fn wrong_usage_ends_with_2_and_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("cluster.toml");
    std::fs::write(&config, "[cluster]\nnmae = 'x'\n").unwrap();
    let config = format!("--config={}", config.display());
    for (flags, expected) in [
        (vec!["--work_dri=/x"], "did you mean '--work_dir'?"),
        (
            vec!["--port=70000"],
            "--port: expected a number from 0 to 65535",
        ),
        (vec![], "--work_dir is required"),
        (vec!["--work_dir=/x", &config], "nmae"),
        (
            vec!["--work_dir=/x", "--api_access=authenticated"],
            "--credentials",
        ),
        (
            vec!["--work_dir=/x", "--weights=a=0"],
            "--weights: Invalid 'WeightInfo.weight' of role 'a': it must be above 0",
        ),
        (
            vec!["--work_dir=/x", "--weights=a"],
            "--weights: expected role=weight, found 'a'",
        ),
        (
            vec!["--work_dir=/x", "--weights=a=1,a=2"],
            "--weights: role 'a' stands twice",
        ),
        (
            vec!["--work_dir=/x", "--allocator_agent_recovery_factor=1.5"],
            "--allocator_agent_recovery_factor: expected a number from 0 to 1, found '1.5'",
        ),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_masterd"))
            .args(&flags)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(text.contains(expected), "{flags:?}: {text}");
    }
}
