//! One sample of every message that crosses a link or rests on a disk, named, with all its fields set.
//! Not a test itself: `tests/golden.rs` pins the bytes of these samples. Invariant: each variant of each wire enum stands
//! here once, so that a new variant without a sample fails the test.

mod builtin;
pub mod decoders;
mod executors;
mod file_system;
mod holding;
mod maintenance;
mod masters;
mod operations;
mod plain;
mod registry;
mod upkeep;

use nesos_wire::check::{Check, CheckStatus, Checks, HealthCheck, HttpProbe, Probe};
use nesos_wire::domain::Domain;
use nesos_wire::frame;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::message::{
    AgentToMaster, FileChunk, FileError, Hello, MasterToAgent, TaskReport, TaskUpdate, Welcome,
};
use nesos_wire::resource::{Resources, Scalar};
use nesos_wire::task::{
    Attribute, AttributeValue, Command as TaskCommand, Reason, Source, TaskSpec, TaskState,
    TaskStatus, Uri,
};
use nesos_wire::version::Version;
use nesos_wire::{
    AgentId, Attempt, ContainerId, ExecutorId, FrameworkId, MasterId, NodeId, TaskId, TaskKey,
    Uuid, resource_text,
};
use serde::{Serialize, de::DeserializeOwned};

/// A sample: its name, its frame, and whether those bytes decode to a message that encodes to the same bytes.
#[derive(Debug)]
pub struct Sample {
    /// `Type::Variant`.
    pub name: &'static str,
    /// Header and body.
    pub bytes: Vec<u8>,
    /// Decodes any bytes as this sample's type and encodes the result again; `None` if they are not of that type.
    pub recode: fn(&[u8]) -> Option<Vec<u8>>,
}

/// Every sample, in the order of the golden file.
pub fn samples() -> Vec<Sample> {
    let mut all = agent_to_master();
    all.extend(master_to_agent());
    all.extend(registry::commands());
    all.extend(builtin::commands());
    all.extend(masters::messages());
    all.extend(upkeep::commands());
    all.extend(plain::greeting());
    all.extend(operations::messages());
    all.extend(maintenance::commands());
    all.extend(executors::messages());
    all.extend(holding::messages());
    all
}

fn agent_to_master() -> Vec<Sample> {
    vec![
        sample("AgentToMaster::Hello", AgentToMaster::Hello(hello())),
        sample(
            "AgentToMaster::Update",
            AgentToMaster::Update(TaskUpdate {
                key: key(),
                status: status(),
                latest: TaskState::Finished,
            }),
        ),
        sample("AgentToMaster::Pong", AgentToMaster::Pong { sequence: 300 }),
        sample(
            "AgentToMaster::FileData",
            AgentToMaster::FileData {
                request: 5,
                result: Ok(FileChunk {
                    offset: 1,
                    data: vec![1, 2],
                    size: 3,
                    identity: 4,
                    ended: true,
                }),
            },
        ),
        sample(
            "AgentToMaster::FileData (error)",
            AgentToMaster::FileData {
                request: 6,
                result: Err(FileError::Io("disk".into())),
            },
        ),
        sample(
            "AgentToMaster::FrameworkMessage",
            AgentToMaster::FrameworkMessage {
                framework: framework(),
                executor: executor(),
                data: vec![9],
            },
        ),
        sample("AgentToMaster::Goodbye", AgentToMaster::Goodbye),
        sample(
            "AgentToMaster::CallBack",
            AgentToMaster::CallBack {
                token: Uuid([7; 16]),
            },
        ),
        sample(
            "AgentToMaster::Lent",
            AgentToMaster::Lent {
                resources: resources(),
            },
        ),
        sample(
            "MasterToAgent::CallBack",
            MasterToAgent::CallBack {
                token: Uuid([8; 16]),
            },
        ),
    ]
}

fn master_to_agent() -> Vec<Sample> {
    let welcome = Welcome {
        agent: AgentId::new("m-S0"),
        master: MasterId::new("m"),
        cluster: "home".into(),
        silence_limit_ms: 15_000,
        kill: vec![key()],
        time: 1.5,
    };
    vec![
        sample("MasterToAgent::Welcome", MasterToAgent::Welcome(welcome)),
        sample(
            "MasterToAgent::Refused",
            MasterToAgent::Refused {
                reason: "no".into(),
            },
        ),
        sample(
            "MasterToAgent::Redirect",
            MasterToAgent::Redirect {
                leader: "a:5050".into(),
            },
        ),
        sample("MasterToAgent::Ping", MasterToAgent::Ping { sequence: 300 }),
        sample(
            "MasterToAgent::Launch",
            MasterToAgent::Launch {
                tasks: vec![spec()],
            },
        ),
        sample(
            "MasterToAgent::Kill",
            MasterToAgent::Kill {
                key: key(),
                grace_ms: Some(3000),
            },
        ),
        sample(
            "MasterToAgent::Acknowledge",
            MasterToAgent::Acknowledge {
                key: key(),
                uuid: Uuid([7; 16]),
            },
        ),
        sample(
            "MasterToAgent::ShutdownFramework",
            MasterToAgent::ShutdownFramework {
                framework: framework(),
            },
        ),
        sample(
            "MasterToAgent::FrameworkMessage",
            MasterToAgent::FrameworkMessage {
                framework: framework(),
                executor: executor(),
                data: vec![9],
            },
        ),
        sample(
            "MasterToAgent::ReadFile",
            MasterToAgent::ReadFile {
                request: 5,
                key: key(),
                path: "stdout".into(),
                offset: 1,
                length: 65_536,
            },
        ),
    ]
}

fn checks() -> Checks {
    let check = |probe| Check {
        probe,
        delay_ms: 15_000,
        interval_ms: 10_000,
        timeout_ms: 20_000,
    };
    let page = HttpProbe {
        is_https: true,
        port: 443,
        path: "/".into(),
        is_ipv6: true,
        statuses: vec![200],
    };
    Checks {
        health: Some(HealthCheck {
            check: check(Probe::Http(page)),
            consecutive_failures: 3,
            grace_ms: 10_000,
        }),
        check: Some(check(Probe::Tcp {
            port: 80,
            is_ipv6: false,
        })),
    }
}

fn sample<T: Serialize + DeserializeOwned>(name: &'static str, message: T) -> Sample {
    let bytes = frame::encode(&message).expect("samples are small");
    Sample {
        name,
        bytes,
        recode: |bytes| {
            let (message, _) = frame::decode::<T>(bytes)?.ok()?;
            frame::encode(&message).ok()
        },
    }
}

fn framework() -> FrameworkId {
    FrameworkId::new("m-0000")
}

fn executor() -> ExecutorId {
    ExecutorId::new("e")
}

fn key() -> TaskKey {
    TaskKey {
        framework: framework(),
        task: TaskId::new("t"),
    }
}

fn resources() -> Resources {
    resource_text::parse("cpus:0.5;mem:32;ports:[31000-31001];tags:{a}").expect("valid")
}

fn status() -> TaskStatus {
    TaskStatus {
        state: TaskState::Running,
        source: Source::Executor,
        reason: Some(Reason::ContainerLimitationMemory),
        message: "m".into(),
        timestamp: 1.25,
        uuid: Some(Uuid([7; 16])),
        agent: Some(AgentId::new("m-S0")),
        executor: Some(executor()),
        container: Some(ContainerId::new("c")),
        healthy: Some(true),
        check: Some(CheckStatus::Command(Some(3))),
        data: vec![1],
        unreachable_time: Some(2.5),
        extra: vec![3],
    }
}

fn spec() -> TaskSpec {
    let uri = Uri {
        value: "http://h/f".into(),
        executable: true,
        extract: false,
        cache: true,
        output_file: None,
    };
    TaskSpec {
        key: key(),
        attempt: Attempt(1 << 32),
        name: "t".into(),
        executor: executor(),
        kind: ExecutorKind::Custom,
        role: "*".into(),
        resources: resources(),
        limits: [
            ("mem".to_owned(), Some(Scalar(64_000))),
            ("cpus".to_owned(), None),
        ]
        .into(),
        command: TaskCommand {
            shell: true,
            value: "true".into(),
            arguments: vec!["a".into()],
            environment: vec![("A".into(), "1".into())],
            uris: vec![uri],
            user: Some("nobody".into()),
        },
        kill_grace_ms: 3000,
        partition_aware: true,
        task_killing: true,
        checkpoint: true,
        checks: Some(Box::new(checks())),
        info: vec![1],
        framework_info: vec![2],
    }
}

fn hello() -> Hello {
    Hello {
        version: Version(1),
        node: NodeId::new("n"),
        agent: Some(AgentId::new("m-S0")),
        boot_id: "b".into(),
        hostname: "home-n".into(),
        ip: "10.0.0.1".into(),
        port: 5051,
        software: "0.1.0".into(),
        resources: resources(),
        attributes: vec![Attribute {
            name: "rack".into(),
            value: AttributeValue::Text("a".into()),
        }],
        tasks: vec![TaskReport {
            spec: spec(),
            latest: TaskState::Running,
            status: Some(status()),
        }],
        operations: vec![operations::report()],
        executors: vec![executors::executor()],
        domain: Domain::parse("garden/shed").ok(),
    }
}
