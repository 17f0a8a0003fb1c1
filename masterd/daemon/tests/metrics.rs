//! `/metrics/snapshot` by Mesos's names: which are always there, and what makes them count.
#![allow(clippy::unwrap_used)]

mod common;

use common::agent::board;
use common::http::{Scheduler, get, launch};
use common::{Master, run};
use nesos_wire::AgentId;
use nesos_wire::message::{AgentToMaster, Hello, MasterToAgent, TaskReport};
use nesos_wire::task::TaskState;
use serde_json::Value;

/// Names without the amounts of resources, tasks by state and messages by kind, which are made below.
const PLAIN: &str = "master/elected master/uptime_secs master/outstanding_offers
    master/slaves_active master/slaves_inactive master/slaves_connected master/slaves_disconnected
    master/slaves_unreachable master/slave_registrations master/slave_reregistrations master/slave_removals
    master/slave_removals/reason_unhealthy master/slave_removals/reason_unregistered
    master/slave_unreachable_scheduled master/slave_unreachable_completed master/slave_unreachable_canceled
    master/frameworks_active master/frameworks_inactive master/frameworks_connected master/frameworks_disconnected
    master/valid_status_updates master/invalid_status_updates master/valid_status_update_acknowledgements
    master/invalid_status_update_acknowledgements master/valid_framework_to_executor_messages
    master/invalid_framework_to_executor_messages master/valid_executor_to_framework_messages
    master/invalid_executor_to_framework_messages master/event_queue_messages master/event_queue_dispatches
    master/operator_event_stream_subscribers master/http_cache_hits allocator/mesos/allocation_runs
    master/operations/total master/operations/pending master/operations/finished master/operations/gone_by_operator
    master/valid_operation_status_update_acknowledgements master/invalid_operation_status_update_acknowledgements
    registrar/queued_operations registrar/registry_size_bytes registrar/state_fetch_ms registrar/state_store_ms
    system/cpus_total system/load_1min system/load_5min system/load_15min system/mem_total_bytes system/mem_free_bytes";

const STATES: &str = "dropped error failed finished gone gone_by_operator killed killing lost running staging starting unreachable";

const MESSAGES: &str = "deactivate_framework decline_offers executor_to_framework exited_executor framework_to_executor
    kill_task launch_tasks reconcile_tasks reconcile_operations register_framework register_slave
    reregister_framework reregister_slave resource_request revive_offers suppress_offers status_update
    status_update_acknowledgement operation_status_update operation_status_update_acknowledgement
    unregister_framework unregister_slave";

async fn snapshot(address: &str) -> Value {
    get(address, "/metrics/snapshot").await.json()
}

#[test]
fn mesoss_names_are_there_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let shown = snapshot(&address).await;
        let mut names: Vec<String> = PLAIN.split_whitespace().map(str::to_owned).collect();
        let states = STATES.split_whitespace();
        names.extend(states.map(|state| format!("master/tasks_{state}")));
        let kinds = MESSAGES.split_whitespace();
        names.extend(kinds.map(|kind| format!("master/messages_{kind}")));
        for name in ["cpus", "gpus", "mem", "disk"] {
            for tail in ["total", "used", "percent"] {
                names.push(format!("master/{name}_{tail}"));
                names.push(format!("master/{name}_revocable_{tail}"));
            }
            for tail in ["total", "offered_or_allocated"] {
                names.push(format!("allocator/mesos/resources/{name}/{tail}"));
            }
        }
        for name in names {
            assert!(shown[&name].is_number(), "{name}");
        }
        let order: Vec<&String> = shown.as_object().unwrap().keys().collect();
        assert!(order.is_sorted());
    });
}

#[test]
fn ends_and_removals_are_counted_with_their_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let (mut agent, id) = board.register(&address).await;
        let mut scheduler = Scheduler::subscribe(&address, r#","failover_timeout":60"#, None).await;
        let offers = scheduler.wait("OFFERS").await;
        let offer = &offers["offers"]["offers"][0];
        assert_eq!(scheduler.call(&launch(offer, "t:1")).await, 202);
        let MasterToAgent::Launch { tasks } = agent.hear().await else {
            panic!("no launch")
        };
        assert_eq!(scheduler.call(&launch(offer, "t:2")).await, 202);
        let update = scheduler.wait("UPDATE").await;
        assert_eq!(update["update"]["status"]["state"], "TASK_LOST");
        let shown = snapshot(&address).await;
        for (name, value) in [
            ("master/cpus_total", 4.0),
            ("master/cpus_used", 0.1),
            ("master/tasks_staging", 1.0),
            ("master/task_lost/source_master/reason_invalid_offers", 1.0),
        ] {
            assert_eq!(shown[name], value, "{name}");
        }
        // The link breaks and is made again, then the agent says goodbye.
        drop(agent);
        while snapshot(&address).await["master/slaves_disconnected"] != 1.0 {}
        let mut agent = board.dial(&address).await;
        let held = |spec| TaskReport {
            spec,
            latest: TaskState::Staging,
            status: None,
        };
        let hello = Hello {
            agent: Some(AgentId::new(id)),
            tasks: tasks.into_iter().map(held).collect(),
            ..board.hello()
        };
        agent.say(&AgentToMaster::Hello(hello)).await;
        assert!(matches!(agent.hear().await, MasterToAgent::Welcome(_)));
        agent.say(&AgentToMaster::Goodbye).await;
        scheduler.wait("FAILURE").await;
        let shown = snapshot(&address).await;
        for (name, value) in [
            ("master/slave_unreachable_scheduled", 2.0),
            ("master/slave_unreachable_canceled", 2.0),
            ("master/slave_removals", 1.0),
            ("master/slave_removals/reason_unregistered", 1.0),
            ("master/slave_removals/reason_unhealthy", 0.0),
            ("master/task_lost/source_master/reason_slave_removed", 1.0),
            ("master/tasks_lost", 2.0),
        ] {
            assert_eq!(shown[name], value, "{name}");
        }
    });
}

#[test]
fn each_framework_has_its_own_numbers_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &[]);
    let address = master.address();
    run(async {
        let board = board(&address, dir.path(), "n1").await;
        let (mut agent, _) = board.register(&address).await;
        let info = r#","principal":"web","failover_timeout":60"#;
        let mut scheduler = Scheduler::subscribe(&address, info, None).await;
        let offers = scheduler.wait("OFFERS").await;
        let offer = &offers["offers"]["offers"][0];
        assert_eq!(scheduler.call(&launch(offer, "t")).await, 202);
        assert!(matches!(agent.hear().await, MasterToAgent::Launch { .. }));
        let request = r#""type":"REQUEST","request":{"requests":[]}"#;
        assert_eq!(scheduler.call(request).await, 202);
        assert_eq!(scheduler.call(&launch(offer, "late")).await, 202);
        scheduler.wait("UPDATE").await;
        let shown = snapshot(&address).await;
        let prefix = format!("master/frameworks/test/{}", scheduler.framework);
        for (tail, value) in [
            ("subscribed", 1.0),
            ("roles/*/suppressed", 0.0),
            ("calls", 4.0),
            ("calls/subscribe", 1.0),
            ("calls/accept", 2.0),
            ("calls/request", 1.0),
            ("calls/decline", 0.0),
            ("events/subscribed", 1.0),
            ("events/update", 1.0),
            ("offers/accepted", 1.0),
            ("offers/declined", 0.0),
            ("operations", 1.0),
            ("operations/launch", 1.0),
            ("tasks/active/task_staging", 1.0),
            ("tasks/terminal/task_lost", 1.0),
            ("tasks/terminal/task_failed", 0.0),
        ] {
            assert_eq!(shown[format!("{prefix}/{tail}")], value, "{tail}");
        }
        assert!(shown[format!("{prefix}/offers/sent")].as_f64().unwrap() >= 1.0);
        for tail in ["messages_received", "messages_processed"] {
            assert_eq!(shown[format!("frameworks/web/{tail}")], 4.0, "{tail}");
        }
        assert_eq!(shown["master/messages_resource_request"], 1.0);
        // By now the registry was written and the allocator has run more than once.
        for name in [
            "registrar/state_store_ms",
            "allocator/mesos/allocation_run_ms",
            "allocator/mesos/allocation_run_latency_ms",
        ] {
            for part in [
                "", "/count", "/min", "/max", "/p50", "/p90", "/p95", "/p99", "/p999", "/p9999",
            ] {
                assert!(shown[format!("{name}{part}")].is_number(), "{name}{part}");
            }
        }
        assert!(shown["registrar/registry_size_bytes"].as_f64().unwrap() > 100.0);
        assert_eq!(scheduler.call(r#""type":"TEARDOWN""#).await, 202);
        let shown = snapshot(&address).await;
        let left = shown.as_object().unwrap().keys();
        let left: Vec<_> = left.filter(|name| name.contains("frameworks/")).collect();
        assert_eq!(left, Vec::<&String>::new());
    });
}

#[test]
fn a_flag_leaves_the_numbers_of_each_framework_out() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::start(dir.path(), 0, &["--publish_per_framework_metrics=false"]);
    let address = master.address();
    run(async {
        let _scheduler = Scheduler::subscribe(&address, r#","principal":"web""#, None).await;
        let shown = snapshot(&address).await;
        let shown = shown.as_object().unwrap();
        assert!(
            !shown
                .keys()
                .any(|name| name.starts_with("master/frameworks/"))
        );
        assert!(shown.contains_key("frameworks/web/messages_received"));
    });
}
