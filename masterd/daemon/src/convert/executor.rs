//! `ExecutorInfo`: an executor that a framework brings, taken out of its protobuf.
//!
//! Called by `launch` for tasks with an executor, and for each LAUNCH_GROUP. Invariant: what is not said is filled in before
//! anything is compared, and resources are brought into one form, so that equal bytes mean the same executor whoever
//! encoded it.

use masterd_core::LaunchExecutor;
use nesos_api::v1::{self, ExecutorInfoType as Type};
use nesos_wire::ExecutorId;
use nesos_wire::framework_executor::ExecutorKind;
use nesos_wire::resource::Resources;
use nesos_wire::task::Command;

use super::launch::{MAX_TASK_INFO, check_container, command, grace_ms, image_of};
use super::resource::{self, Shape};

/// Which operation brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// LAUNCH.
    Task,
    /// LAUNCH_GROUP.
    Group,
}

/// The same with what is implied: the framework, and that an executor with a command is a custom one.
pub(crate) fn complete(info: &v1::ExecutorInfo, framework: &str, used: Use) -> v1::ExecutorInfo {
    let mut info = info.clone();
    info.framework_id.get_or_insert_with(|| framework.into());
    if used == Use::Task && info.command.is_some() {
        info.r#type.get_or_insert(Type::Custom);
    }
    info
}

/// An executor that was made [complete].
pub(crate) fn executor(info: &v1::ExecutorInfo, framework: &str, used: Use) -> LaunchExecutor {
    let mut faults = Vec::new();
    let mut note = |fault: Result<(), String>| faults.extend(fault.err());
    let id = ExecutorId::parse(&info.executor_id.value);
    note(id.map(drop).map_err(|e| e.to_string()));
    note(check(info, framework, used));
    let resources = resource::bag(&info.resources).unwrap_or_else(|fault| {
        note(Err(fault));
        Resources::new()
    });
    let role = resource::allocated_role(&info.resources).unwrap_or_else(|fault| {
        note(Err(fault));
        None
    });
    let container = info.container.as_deref();
    let program = info.command.as_ref().map(|own| command(own, container));
    let program = program
        .unwrap_or(Ok(Command::default()))
        .unwrap_or_else(|fault| {
            note(Err(fault));
            Command::default()
        });
    let bytes = v1::ExecutorInfo {
        resources: resource::list(&resources, &Shape::default()),
        ..info.clone()
    }
    .to_protobuf();
    if bytes.len() > MAX_TASK_INFO {
        note(Err(format!(
            "ExecutorInfo has {} bytes, at most {MAX_TASK_INFO} are allowed",
            bytes.len()
        )));
    }
    LaunchExecutor {
        executor: ExecutorId::new(info.executor_id.value.as_str()),
        kind: match info.r#type {
            Some(Type::Default) => ExecutorKind::Default,
            _ => ExecutorKind::Custom,
        },
        name: info.name.clone().unwrap_or_default(),
        source: info.source.clone().unwrap_or_default(),
        role,
        resources,
        command: program,
        shutdown_grace_ms: info.shutdown_grace_period.as_ref().map(grace_ms),
        info: bytes,
        invalid: (!faults.is_empty()).then(|| faults.join("; ")),
    }
}

fn check(info: &v1::ExecutorInfo, framework: &str, used: Use) -> Result<(), String> {
    if let Some(id) = info
        .framework_id
        .as_ref()
        .filter(|id| id.value != framework)
    {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {framework})",
            id.value
        ));
    }
    match (info.r#type, used) {
        (None | Some(Type::Unknown), Use::Group) => {
            return Err("'ExecutorInfo.type' must be set, to DEFAULT or CUSTOM".into());
        }
        (Some(Type::Default), Use::Task) => {
            return Err("'ExecutorInfo.type' must be 'CUSTOM' in a LAUNCH".into());
        }
        (Some(Type::Default), Use::Group) if info.command.is_some() => {
            return Err("'ExecutorInfo.command' must not be set for a 'DEFAULT' executor".into());
        }
        (Some(Type::Default), Use::Group)
            if info.container.as_deref().and_then(image_of).is_some() =>
        {
            return Err(
                "'ExecutorInfo.container.mesos.image' must not be set for a 'DEFAULT' executor"
                    .into(),
            );
        }
        (Some(Type::Default), Use::Group)
            if info
                .container
                .as_deref()
                .is_some_and(|own| own.tty_info.is_some()) =>
        {
            // It is no process here; Mesos would give one a terminal that nobody reads.
            return Err(
                "'ExecutorInfo.container.tty_info' must not be set for a 'DEFAULT' executor".into(),
            );
        }
        (Some(Type::Default), Use::Group) => {}
        _ if info.command.is_none() => {
            return Err("'ExecutorInfo.command' must be set for a 'CUSTOM' executor".into());
        }
        _ => {}
    }
    let grace = info.shutdown_grace_period.as_ref();
    if grace.is_some_and(|grace| grace.nanoseconds < 0) {
        return Err("'ExecutorInfo.shutdown_grace_period' must be non-negative".into());
    }
    info.container.as_deref().map_or(Ok(()), check_container)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(rest: &str, used: Use) -> LaunchExecutor {
        let text = format!(r#"{{"executor_id":{{"value":"e"}}{rest}}}"#);
        let info = v1::ExecutorInfo::from_json(text.as_bytes()).unwrap();
        executor(&complete(&info, "f", used), "f", used)
    }

    const COMMAND: &str = r#","command":{"value":"./run"}"#;

    #[test]
    fn what_is_implied_makes_no_difference() {
        let plain = read(COMMAND, Use::Task);
        assert_eq!(
            (plain.invalid.as_deref(), plain.kind),
            (None, ExecutorKind::Custom)
        );
        let said = read(
            r#","command":{"value":"./run"},"framework_id":{"value":"f"},"type":"CUSTOM","unknown":{"x":1}"#,
            Use::Task,
        );
        assert_eq!(said, plain);
        let other = read(
            r#","command":{"value":"./run"},"name":"n"}"#.trim_end_matches('}'),
            Use::Task,
        );
        assert_ne!(other.info, plain.info);
        // Whatever the resources' order and allocation.
        let cpus = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1}}"#;
        let allocated = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"r"}}"#;
        let mem = r#"{"name":"mem","type":"SCALAR","scalar":{"value":32}}"#;
        let with =
            |a: &str, b: &str| read(&format!(r#"{COMMAND},"resources":[{a},{b}]"#), Use::Task);
        assert_eq!(with(cpus, mem).info, with(mem, allocated).info);
        assert_eq!(with(mem, allocated).role.as_deref(), Some("r"));
    }

    #[test]
    fn what_cannot_be_says_why() {
        let why = |rest: &str, used| read(rest, used).invalid.unwrap();
        assert!(why("", Use::Task).contains("must be set for a 'CUSTOM'"));
        assert!(why(r#","type":"DEFAULT""#, Use::Task).contains("must be 'CUSTOM'"));
        assert!(why("", Use::Group).contains("'ExecutorInfo.type' must be set"));
        assert!(why(COMMAND, Use::Group).contains("'ExecutorInfo.type' must be set"));
        let both = format!(r#"{COMMAND},"type":"DEFAULT""#);
        assert!(why(&both, Use::Group).contains("must not be set"));
        let other = format!(r#"{COMMAND},"framework_id":{{"value":"g"}}"#);
        assert!(why(&other, Use::Task).contains("invalid FrameworkID (Actual: g vs Expected: f)"));
        let grace = format!(r#"{COMMAND},"shutdown_grace_period":{{"nanoseconds":-1}}"#);
        assert!(why(&grace, Use::Task).contains("must be non-negative"));
        let docker =
            r#","type":"DEFAULT","container":{"type":"DOCKER","docker":{"image":"busybox"}}"#;
        assert!(why(docker, Use::Group).contains("Docker"));
        let image = r#","type":"DEFAULT","container":{"type":"MESOS","mesos":{"image":{"type":"DOCKER","docker":{"name":"x"}}}}"#;
        assert!(why(image, Use::Group).contains("mesos.image"));
        let terminal = r#","type":"DEFAULT","container":{"type":"MESOS","tty_info":{}}"#;
        assert!(why(terminal, Use::Group).contains("tty_info"));
        let terminal = format!(r#"{COMMAND},"container":{{"type":"MESOS","tty_info":{{}}}}"#);
        assert_eq!(read(&terminal, Use::Task).invalid, None);
        let mut odd = v1::ExecutorInfo::from_json(br#"{"executor_id":{"value":"e"}}"#).unwrap();
        odd.executor_id = "a/b".into();
        assert!(
            executor(&odd, "f", Use::Task)
                .invalid
                .unwrap()
                .contains('/')
        );
        let large = format!(r#"{COMMAND},"source":"{}""#, "x".repeat(MAX_TASK_INFO));
        assert!(why(&large, Use::Task).contains("ExecutorInfo has"));
    }
}
