//! Numbers for monitoring: the parts of `/metrics/snapshot` and `/metrics` that both daemons share.
//!
//! Called by the handlers of metrics. Invariant: every value is a finite number.

use std::collections::BTreeMap;

use super::Refusal;
use super::query::Query;
use crate::flags;

/// Media type of Prometheus's text format.
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Numbers by name.
pub type Values = BTreeMap<String, f64>;

/// Checks `?timeout=`. No metric has to be waited for, so it never ends anything early.
pub fn check_timeout(query: &Query) -> Result<(), Refusal> {
    match query.get("timeout") {
        Some(text) if flags::parse_duration(text).is_none() => Err(Refusal::bad(format!(
            "'timeout' must be a duration such as 10secs, not '{text}'"
        ))),
        _ => Ok(()),
    }
}

/// The numbers in Prometheus's text format, `master/tasks_running` as `mesos_master_tasks_running`.
pub fn exposition(values: &Values) -> String {
    let mut text = String::new();
    for (name, value) in values {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let prefix = if name.starts_with("nesos/") {
            ""
        } else {
            "mesos_"
        };
        text.push_str(prefix);
        text.extend(name.chars().map(plain));
        text.push_str(&format!(" {value}\n"));
    }
    text
}

/// What Mesos reports of the host; left out where the kernel does not tell.
pub fn system(values: &mut Values) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let names = ["system/load_1min", "system/load_5min", "system/load_15min"];
    for (name, text) in names.into_iter().zip(load.split_whitespace()) {
        values.extend(text.parse().ok().map(|load: f64| (name.to_string(), load)));
    }
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    for (name, key) in [
        ("system/mem_total_bytes", "MemTotal:"),
        ("system/mem_free_bytes", "MemFree:"),
    ] {
        let line = memory.lines().find_map(|line| line.strip_prefix(key));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        values.extend(kilobytes.map(|kilobytes| (name.to_string(), kilobytes * 1024.0)));
    }
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    values.insert("system/cpus_total".into(), cpus as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_names_have_no_slashes() {
        let values = Values::from([
            ("master/cpus_total".to_string(), 1.5),
            ("nesos/operator_event_streams_cut".to_string(), 2.0),
        ]);
        let expected = "mesos_master_cpus_total 1.5\nnesos_operator_event_streams_cut 2\n";
        assert_eq!(exposition(&values), expected);
    }
}
