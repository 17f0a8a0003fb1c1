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

/// The numbers in Prometheus's text format, `master/tasks_running` as `mesos_master_tasks_running`. What stands for a role
/// or its resources becomes labels, so that one metric covers all roles and no two names fall together.
pub fn exposition(values: &Values) -> String {
    let mut metrics: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in values {
        let (name, labels) = labelled(name);
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let prefix = if name.starts_with("nesos/") {
            ""
        } else {
            "mesos_"
        };
        let metric: String = prefix.chars().chain(name.chars().map(plain)).collect();
        let line = format!("{metric}{labels} {value}\n");
        metrics.entry(metric).or_default().push_str(&line);
    }
    metrics.into_values().collect()
}

/// `x/roles/ROLE/y` as `x/roles/y` with ROLE as label, and `x/roles/ROLE/resources/RESOURCE/y` with both.
fn labelled(name: &str) -> (String, String) {
    let whole = || (name.to_owned(), String::new());
    let Some((head, rest)) = name.split_once("/roles/") else {
        return whole();
    };
    for tail in ["active", "shares/dominant"] {
        if let Some(role) = rest.strip_suffix(tail).and_then(|r| r.strip_suffix('/')) {
            let labels = format!("{{role={}}}", quoted(role));
            return (format!("{head}/roles/{tail}"), labels);
        }
    }
    let parts = rest.split_once("/resources/").and_then(|(role, rest)| {
        let (resource, tail) = rest.rsplit_once('/')?;
        Some((role, resource, tail))
    });
    match parts {
        Some((role, resource, tail)) => {
            let (role, resource) = (quoted(role), quoted(resource));
            let labels = format!("{{role={role},resource={resource}}}");
            (format!("{head}/roles/resources/{tail}"), labels)
        }
        None => whole(),
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
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

/// The same of the host under the names of `/system/stats.json`, an endpoint of libprocess.
pub fn stats() -> Values {
    let mut values = Values::new();
    system(&mut values);
    let renamed = |name: &str| {
        let name = name.trim_start_matches("system/");
        name.strip_prefix("load_")
            .map_or_else(|| name.to_owned(), |span| format!("avg_load_{span}"))
    };
    let all = values.into_iter();
    all.map(|(name, value)| (renamed(&name), value)).collect()
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

    #[test]
    fn roles_are_labels() {
        let values = Values::from([
            (
                "allocator/mesos/quota/roles/a/resources/cpus/limit".to_string(),
                1.0,
            ),
            (
                "allocator/mesos/quota/roles/a/resources/mem/guarantee".to_string(),
                2.0,
            ),
            (
                "allocator/mesos/quota/roles/b/resources/cpus/limit".to_string(),
                3.0,
            ),
            ("allocator/mesos/roles/a/b/shares/dominant".to_string(), 0.5),
            (
                "allocator/mesos/roles/a\"/shares/dominant".to_string(),
                0.25,
            ),
        ]);
        let expected = concat!(
            "mesos_allocator_mesos_quota_roles_resources_guarantee{role=\"a\",resource=\"mem\"} 2\n",
            "mesos_allocator_mesos_quota_roles_resources_limit{role=\"a\",resource=\"cpus\"} 1\n",
            "mesos_allocator_mesos_quota_roles_resources_limit{role=\"b\",resource=\"cpus\"} 3\n",
            "mesos_allocator_mesos_roles_shares_dominant{role=\"a\\\"\"} 0.25\n",
            "mesos_allocator_mesos_roles_shares_dominant{role=\"a/b\"} 0.5\n",
        );
        assert_eq!(exposition(&values), expected);
    }
}
