//! Checks and health checks of real tasks, by commands beside them and through their network.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::sync::Arc;

use common::{Link, Master, pod, run, shell};
use nesos_wire::check::{Check, CheckStatus, Checks, HealthCheck, HttpProbe, Probe};
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use nesos_wire::task::{Command, Reason, TaskSpec, TaskState, TaskStatus};
use nesos_wire::{Attempt, ExecutorId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const WAITER: &str = "echo 0 > code; echo $$ > pid; while [ ! -e go ]; do sleep 0.02; done";

fn command(text: &str) -> Probe {
    Probe::Command(Box::new(Command {
        shell: true,
        value: text.into(),
        ..Command::default()
    }))
}

fn often(probe: Probe) -> Check {
    Check {
        probe,
        delay_ms: 0,
        interval_ms: 100,
        timeout_ms: 20_000,
    }
}

fn healthy_if(probe: Probe, consecutive_failures: u32) -> Option<HealthCheck> {
    Some(HealthCheck {
        check: often(probe),
        consecutive_failures,
        grace_ms: 20_000,
    })
}

fn checked(health: Option<HealthCheck>, check: Option<Check>) -> TaskSpec {
    TaskSpec {
        checks: Some(Box::new(Checks { health, check })),
        ..shell("t", WAITER)
    }
}

/// Acknowledges updates until one fits.
async fn until(link: &mut Link, what: &str, fits: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
    loop {
        let message = link.next().await.unwrap_or_else(|| panic!("{what}"));
        let AgentToMaster::Update(update) = message else {
            continue;
        };
        link.acknowledge(&update).await;
        if fits(&update.status) {
            return update.status;
        }
        assert!(!update.status.state.is_terminal(), "{what}: {update:?}");
    }
}

#[test]
fn a_task_is_healthy_as_its_command_says_and_killed_when_it_is_not() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        // In its directory, and with its environment below the check's.
        let text = r#"test "$MESOS_TASK_ID$OWN" = tx && test "$(cat code)" = 0"#;
        let mut probe = command(text);
        if let Probe::Command(command) = &mut probe {
            command.environment = vec![("OWN".into(), "x".into())];
        }
        link.launch(checked(healthy_if(probe, 2), None)).await;
        let status = until(&mut link, "health", |s| s.healthy == Some(true)).await;
        let reason = Some(Reason::TaskHealthCheckStatusUpdated);
        assert_eq!((status.state, status.reason), (TaskState::Running, reason));
        fs::write(master.sandbox("t").join("code"), "1").unwrap();
        let status = until(&mut link, "illness", |s| s.healthy == Some(false)).await;
        assert_eq!(
            status.message,
            "Health check failed: the command exited with status 1"
        );
        let status = until(&mut link, "the end", |s| s.state == TaskState::Killed).await;
        assert_eq!(status.healthy, Some(false));
    });
}

#[test]
fn what_a_check_finds_is_told_when_it_changes_also_after_a_restart() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let mut check = often(command("sleep $(cat pause || echo 0); exit $(cat code)"));
        check.timeout_ms = 5000;
        link.launch(checked(None, Some(check))).await;
        let found = |code| move |s: &TaskStatus| s.check == Some(CheckStatus::Command(code));
        let status = until(&mut link, "the start", found(None)).await;
        assert_eq!((status.state, status.reason), (TaskState::Starting, None));
        let status = until(&mut link, "0", found(Some(0))).await;
        assert_eq!(status.reason, Some(Reason::TaskCheckStatusUpdated));
        fs::write(master.sandbox("t").join("code"), "3").unwrap();
        until(&mut link, "3", found(Some(3))).await;
        master.kill_agent();
        fs::write(master.sandbox("t").join("code"), "4").unwrap();
        master.start_agent();
        let (mut link, _) = master.link().await;
        until(&mut link, "4", found(Some(4))).await;
        // Longer than it may take: it is ended, and what it was is not known any more.
        fs::write(master.sandbox("t").join("pause"), "1234").unwrap();
        let status = until(&mut link, "silence", found(None)).await;
        assert_eq!(
            status.message,
            "Check failed: the command did not end within 5000 ms"
        );
        common::until("the slow check to be killed", || {
            let found = nesos_sys::process::with_environment(b"MESOS_TASK_ID=t");
            let is_slow = |pid: u32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.starts_with(b"sleep\x001234")
            };
            (!found.iter().any(|(pid, _)| is_slow(*pid))).then_some(())
        })
        .await;
    });
}

/// Answers each connection with this.
async fn serve(answer: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let exchange = async |mut stream: Box<dyn Stream>| {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap_or(0);
            if request[..length].starts_with(b"GET /health HTTP/1.1\r\n") {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            let _ = stream.shutdown().await;
        };
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => exchange(Box::new(stream)).await,
                Some(config) => {
                    let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
                    if let Ok(stream) = acceptor.accept(stream).await {
                        exchange(Box::new(stream)).await;
                    }
                }
            }
        }
    });
    port
}

trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Stream for S {}

fn self_signed() -> Arc<rustls::ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["nobody".to_string()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

fn page(port: u16, is_https: bool) -> Probe {
    Probe::Http(HttpProbe {
        is_https,
        port,
        path: "/health".into(),
        is_ipv6: false,
        statuses: Vec::new(),
    })
}

#[test]
fn pages_and_ports_are_asked() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let good = serve("HTTP/1.1 204 No Content\r\n\r\n", None).await;
        let bad = serve("HTTP/1.1 500 Oops\r\n\r\n", None).await;
        let safe = serve("HTTP/1.0 200 OK\r\n\r\n", Some(self_signed())).await;
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let port = |port| Probe::Tcp {
            port,
            is_ipv6: false,
        };
        for (attempt, (health, check, is_healthy, found)) in [
            (
                page(good, false),
                page(bad, false),
                true,
                CheckStatus::Http(Some(500)),
            ),
            (
                page(safe, true),
                port(good),
                true,
                CheckStatus::Tcp(Some(true)),
            ),
            (
                port(good),
                port(closed),
                true,
                CheckStatus::Tcp(Some(false)),
            ),
            (
                page(bad, false),
                page(good, false),
                false,
                CheckStatus::Http(Some(204)),
            ),
            (
                port(closed),
                page(closed, false),
                false,
                CheckStatus::Http(None),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let mut health = healthy_if(health, 1_000).unwrap();
            health.grace_ms = 0;
            let mut spec = checked(Some(health), Some(often(check)));
            spec.attempt = Attempt(attempt as u64 + 1);
            link.launch(spec).await;
            let what = format!("case {attempt}");
            let whole = |s: &TaskStatus| s.healthy == Some(is_healthy) && s.check == Some(found);
            until(&mut link, &what, whole).await;
            fs::write(master.sandbox("t").join("go"), "").unwrap();
            until(&mut link, &what, |s| s.state == TaskState::Finished).await;
        }
    });
}

#[test]
fn tasks_of_pods_are_checked_and_an_ill_one_ends_its_group() {
    run(async {
        let mut master = Master::new().await;
        master.start_agent();
        let (mut link, _) = master.link().await;
        let member = |task: &str, attempt, checks| TaskSpec {
            attempt: Attempt(attempt),
            executor: ExecutorId::new("p"),
            kind: ExecutorKind::Default,
            checks,
            ..shell(task, WAITER)
        };
        let health = healthy_if(command("test $(cat code) = 0"), 1);
        let checks = Checks {
            health,
            check: None,
        };
        let tasks = vec![
            member("ill", 1, Some(Box::new(checks))),
            member("well", 2, None),
        ];
        let message = MasterToAgent::LaunchExecutor {
            executor: Box::new(pod()),
            start: true,
            tasks,
            group: true,
        };
        link.send(&message).await;
        until(&mut link, "health", |s| s.healthy == Some(true)).await;
        let sandbox = master.sandbox("p").join("tasks/ill");
        fs::write(sandbox.join("code"), "1").unwrap();
        for _ in 0..2 {
            until(&mut link, "an end", |s| s.state == TaskState::Killed).await;
        }
    });
}
