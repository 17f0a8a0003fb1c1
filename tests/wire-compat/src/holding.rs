//! Samples of what agentd and a task's helper say to each other, and of how a board joins.
//!
//! Called by `samples`. Invariant: each field is set.

use nesos_wire::NodeId;
use nesos_wire::executor::{
    BesideSpec, ExecutorSpec, ExitRecord, FromExecutor, Outcome, OutputLimits, TaskUser, ToExecutor,
};
use nesos_wire::join::{JoinAnswer, JoinRequest};
use nesos_wire::version::Version;

use crate::{Sample, file_system, sample};

pub(crate) fn messages() -> Vec<Sample> {
    let exit = |outcome| ExitRecord {
        outcome,
        kill_requested: true,
        at_ms: 1234,
    };
    let spec = executor_spec();
    let with = |file_system| ExecutorSpec {
        file_system: Some(file_system),
        ..spec.clone()
    };
    let request = JoinRequest {
        version: Version(1),
        secret: [3; 16],
        node: NodeId::new("n"),
        hostname: "home-n".into(),
        public_key: [4; 32],
    };
    vec![
        sample("ExecutorSpec (layers)", with(file_system::layered())),
        sample("ExecutorSpec (directory)", with(file_system::directory())),
        sample("ExecutorSpec", spec),
        sample("ToExecutor::Kill", ToExecutor::Kill { grace_ms: 3000 }),
        sample("ToExecutor::Beside", ToExecutor::Beside { terminal: true }),
        sample("ToExecutor::Signal", ToExecutor::Signal { number: 15 }),
        sample(
            "ToExecutor::SignalTask",
            ToExecutor::SignalTask { number: 10 },
        ),
        sample(
            "ToExecutor::Terminal",
            ToExecutor::Terminal { listen: true },
        ),
        sample("FromExecutor::Terminal", FromExecutor::Terminal),
        sample("BesideSpec", beside()),
        sample("FromExecutor::BesideRuns", FromExecutor::BesideRuns),
        sample(
            "FromExecutor::BesideEnded",
            FromExecutor::BesideEnded(Outcome::Exit(3)),
        ),
        sample("FromExecutor::Running", FromExecutor::Running { pid: 2 }),
        sample(
            "FromExecutor::Exited",
            FromExecutor::Exited(exit(Outcome::Exit(3))),
        ),
        sample("ExitRecord (signal)", exit(Outcome::Signal(9))),
        sample(
            "ExitRecord (not started)",
            exit(Outcome::NotStarted("exec".into())),
        ),
        sample("JoinRequest", request),
        sample(
            "JoinAnswer::Accepted",
            JoinAnswer::Accepted {
                certificate: vec![1],
                ca: vec![2],
                cluster: "home".into(),
                secret: nesos_wire::plain::LinkSecret([5; 32]),
            },
        ),
        sample(
            "JoinAnswer::Refused",
            JoinAnswer::Refused {
                reason: "no".into(),
            },
        ),
    ]
}

fn executor_spec() -> ExecutorSpec {
    ExecutorSpec {
        program: "/bin/sh".into(),
        arguments: vec!["sh".into(), "-c".into(), "true".into()],
        environment: vec![("A".into(), "1".into())],
        sandbox: "/s".into(),
        user: Some(TaskUser {
            uid: 7,
            gid: 8,
            groups: vec![8, 9],
        }),
        cgroup_procs: Some("/c".into()),
        pid_namespace: true,
        cgroup_namespace: true,
        file_system: Some(file_system::file_system()),
        hostname: Some("h".into()),
        rights: file_system::rights(),
        kill_grace_ms: 3000,
        output: Some(OutputLimits {
            stdout_bytes: 1,
            stderr_bytes: 2,
            files: 3,
        }),
        terminal: Some((24, 80)),
    }
}

fn beside() -> BesideSpec {
    BesideSpec {
        program: "sh".into(),
        arguments: vec!["sh".into()],
        environment: vec![("A".into(), "1".into())],
        user: Some(TaskUser {
            uid: 65534,
            gid: 65534,
            groups: vec![65534],
        }),
        directory: "containers/c".into(),
    }
}
