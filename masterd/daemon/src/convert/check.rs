//! `CheckInfo` and `HealthCheck`: taken out of their protobuf, with Mesos's words for what is wrong.
//!
//! Called by `launch` for tasks that the agent itself checks. Invariant: what is converted can be done; nothing in it is left
//! out in silence.

use nesos_api::v1;
use nesos_base::time::seconds;
use nesos_wire::check::{Check, Checks, HealthCheck, HttpProbe, Probe};

use super::launch::command;

/// Most status codes that a health check may call good.
const MAX_STATUSES: usize = 64;

/// Both checks of a task.
pub(super) fn checks(info: &v1::TaskInfo) -> Result<Option<Box<Checks>>, String> {
    let health = info.health_check.as_deref().map(health).transpose();
    let health = health.map_err(|fault| format!("Task uses invalid health check: {fault}"))?;
    let check = info.check.as_deref().map(check).transpose();
    let check = check.map_err(|fault| format!("Task uses invalid check: {fault}"))?;
    let is_any = health.is_some() || check.is_some();
    Ok(is_any.then(|| Box::new(Checks { health, check })))
}

fn check(check: &v1::CheckInfo) -> Result<Check, String> {
    let probe = match check.r#type {
        None => return Err("CheckInfo must specify 'type'".into()),
        Some(v1::CheckInfoType::Unknown) => {
            return Err("'UNKNOWN' is not a valid check type".into());
        }
        Some(v1::CheckInfoType::Command) => {
            let command = check.command.as_ref();
            let command = command.ok_or("Expecting 'command' to be set for COMMAND check")?;
            command_probe(&command.command, "Command check")?
        }
        Some(v1::CheckInfoType::Http) => {
            let http = check.http.as_ref();
            let http = http.ok_or("Expecting 'http' to be set for HTTP check")?;
            Probe::Http(HttpProbe {
                is_https: false,
                port: port(http.port)?,
                path: path(http.path.as_deref(), "HTTP check")?,
                is_ipv6: false,
                statuses: Vec::new(),
            })
        }
        Some(v1::CheckInfoType::Tcp) => {
            let tcp = check.tcp.as_ref();
            let tcp = tcp.ok_or("Expecting 'tcp' to be set for TCP check")?;
            Probe::Tcp {
                port: port(tcp.port)?,
                is_ipv6: false,
            }
        }
    };
    Ok(Check {
        probe,
        delay_ms: millis("delay_seconds", check.delay_seconds())?,
        interval_ms: millis("interval_seconds", check.interval_seconds())?,
        timeout_ms: millis("timeout_seconds", check.timeout_seconds())?,
    })
}

fn health(check: &v1::HealthCheck) -> Result<HealthCheck, String> {
    // Before there were types, what was set said which it is.
    let inferred = match (&check.command, &check.http) {
        (Some(_), None) => Some(v1::HealthCheckType::Command),
        (None, Some(_)) => Some(v1::HealthCheckType::Http),
        _ => None,
    };
    let probe = match check.r#type.or(inferred) {
        None => return Err("HealthCheck must specify 'type'".into()),
        Some(v1::HealthCheckType::Unknown) => {
            return Err("'UNKNOWN' is not a valid health check type".into());
        }
        Some(v1::HealthCheckType::Command) => {
            let command = check.command.as_ref();
            let command =
                command.ok_or("Expecting 'command' to be set for COMMAND health check")?;
            command_probe(command, "Command health check")?
        }
        Some(v1::HealthCheckType::Http) => {
            let http = check.http.as_ref();
            page(http.ok_or("Expecting 'http' to be set for HTTP health check")?)?
        }
        Some(v1::HealthCheckType::Tcp) => {
            let tcp = check.tcp.as_ref();
            let tcp = tcp.ok_or("Expecting 'tcp' to be set for TCP health check")?;
            Probe::Tcp {
                port: port(tcp.port)?,
                is_ipv6: is_ipv6(tcp.protocol()),
            }
        }
    };
    Ok(HealthCheck {
        check: Check {
            probe,
            delay_ms: millis("delay_seconds", check.delay_seconds())?,
            interval_ms: millis("interval_seconds", check.interval_seconds())?,
            timeout_ms: millis("timeout_seconds", check.timeout_seconds())?,
        },
        consecutive_failures: check.consecutive_failures(),
        grace_ms: millis("grace_period_seconds", check.grace_period_seconds())?,
    })
}

fn page(http: &v1::HealthCheckHTTPCheckInfo) -> Result<Probe, String> {
    let scheme = http.scheme.as_deref().unwrap_or("http");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
    }
    if http.statuses.len() > MAX_STATUSES {
        return Err(format!(
            "'http.statuses' has more than {MAX_STATUSES} entries"
        ));
    }
    Ok(Probe::Http(HttpProbe {
        is_https: scheme == "https",
        port: port(http.port)?,
        path: path(http.path.as_deref(), "HTTP health check")?,
        is_ipv6: is_ipv6(http.protocol()),
        statuses: http.statuses.clone(),
    }))
}

fn command_probe(info: &v1::CommandInfo, whose: &str) -> Result<Probe, String> {
    if info.value.as_deref().unwrap_or_default().is_empty() {
        let what = if info.shell() {
            "'shell command'"
        } else {
            "'executable path'"
        };
        return Err(format!("{whose} must contain {what}"));
    }
    if !info.uris.is_empty() {
        return Err(format!("{whose} must not have 'command.uris'"));
    }
    command(info, None).map(|command| Probe::Command(Box::new(command)))
}

fn path(path: Option<&str>, whose: &str) -> Result<String, String> {
    let path = path.unwrap_or_default();
    if !path.is_empty() && !path.starts_with('/') {
        return Err(format!("The path '{path}' of {whose} must start with '/'"));
    }
    // It becomes part of a line that is sent.
    if path.chars().any(|c| c.is_control() || c == ' ') {
        return Err(format!(
            "The path of {whose} must contain neither blanks nor control characters"
        ));
    }
    Ok(path.into())
}

fn port(port: u32) -> Result<u16, String> {
    let valid = u16::try_from(port).ok().filter(|port| *port != 0);
    valid.ok_or_else(|| format!("Expecting 'port' to be from 1 to 65535, it is {port}"))
}

fn is_ipv6(protocol: v1::NetworkInfoProtocol) -> bool {
    protocol == v1::NetworkInfoProtocol::IPv6
}

fn millis(field: &str, value: f64) -> Result<u64, String> {
    if value >= 0.0 {
        Ok(seconds(value).as_millis())
    } else {
        Err(format!("Expecting '{field}' to be non-negative"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(rest: &str) -> Result<Option<Box<Checks>>, String> {
        let text = format!(
            r#"{{"name":"t","task_id":{{"value":"t1"}},"agent_id":{{"value":"a"}},{rest}}}"#
        );
        checks(&v1::TaskInfo::from_json(text.as_bytes()).unwrap())
    }

    #[test]
    fn checks_convert_with_their_defaults() {
        let read = |rest: &str| *read(rest).unwrap().unwrap();
        let health = read(r#""health_check":{"command":{"value":"true"}}"#).health;
        let health = health.unwrap();
        let times = (health.check.delay_ms, health.check.interval_ms);
        assert_eq!((times, health.check.timeout_ms), ((15_000, 10_000), 20_000));
        assert_eq!((health.consecutive_failures, health.grace_ms), (3, 10_000));
        assert!(matches!(health.check.probe, Probe::Command(_)));
        let page = r#""http":{"scheme":"https","port":443,"path":"/h","statuses":[204],"protocol":"IPv6"}"#;
        let health = read(&format!(r#""health_check":{{{page}}}"#))
            .health
            .unwrap();
        let page = HttpProbe {
            is_https: true,
            port: 443,
            path: "/h".into(),
            is_ipv6: true,
            statuses: vec![204],
        };
        assert_eq!(health.check.probe, Probe::Http(page));
        let both = read(
            r#""health_check":{"type":"TCP","tcp":{"port":80}},"check":{"type":"TCP","tcp":{"port":81},"delay_seconds":0.5}"#,
        );
        assert_eq!(both.check.unwrap().delay_ms, 500);
        assert!(both.health.is_some());
    }

    #[test]
    fn what_is_wrong_is_said_in_mesoss_words() {
        for (rest, sentence) in [
            (
                r#""check":{}"#,
                "Task uses invalid check: CheckInfo must specify 'type'",
            ),
            (r#""health_check":{}"#, "HealthCheck must specify 'type'"),
            (
                r#""check":{"type":"COMMAND"}"#,
                "Expecting 'command' to be set for COMMAND check",
            ),
            (
                r#""health_check":{"type":"COMMAND","command":{}}"#,
                "Task uses invalid health check: Command health check must contain 'shell command'",
            ),
            (
                r#""check":{"type":"COMMAND","command":{"command":{"shell":false}}}"#,
                "Command check must contain 'executable path'",
            ),
            (
                r#""check":{"type":"HTTP"}"#,
                "Expecting 'http' to be set for HTTP check",
            ),
            (
                r#""check":{"type":"TCP"}"#,
                "Expecting 'tcp' to be set for TCP check",
            ),
            (
                r#""check":{"type":"UNKNOWN"}"#,
                "'UNKNOWN' is not a valid check type",
            ),
            (
                r#""check":{"type":"HTTP","http":{"port":80,"path":"x"}}"#,
                "The path 'x' of HTTP check must start with '/'",
            ),
            (
                r#""health_check":{"http":{"port":80,"scheme":"ftp"}}"#,
                "Unsupported HTTP health check scheme: 'ftp'",
            ),
            (
                r#""check":{"type":"TCP","tcp":{"port":0}}"#,
                "from 1 to 65535",
            ),
            (
                r#""check":{"type":"TCP","tcp":{"port":1},"interval_seconds":-1}"#,
                "Expecting 'interval_seconds' to be non-negative",
            ),
            (
                r#""health_check":{"type":"TCP","tcp":{"port":1},"grace_period_seconds":-1}"#,
                "Expecting 'grace_period_seconds' to be non-negative",
            ),
            (
                r#""check":{"type":"HTTP","http":{"port":80,"path":"/a b"}}"#,
                "neither blanks",
            ),
        ] {
            let fault = read(rest).expect_err(rest);
            assert!(fault.contains(sentence), "{rest}: {fault}");
        }
    }
}
