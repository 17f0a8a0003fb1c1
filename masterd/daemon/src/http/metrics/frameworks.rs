//! What each framework says, hears and runs, and how much is said in the name of each principal.
//!
//! Called when all metrics are gathered. Names are Mesos's: `master/frameworks/NAME/ID/…` with NAME percent-encoded, and
//! `frameworks/PRINCIPAL/…`. Ended frameworks have none.

use std::fmt::Write;

use masterd_core::{Counts, Framework, Master, Tally};
use nesos_shell::http::metrics::Values;
use nesos_wire::task::TaskState;

/// States of tasks that go on.
const ACTIVE: [(TaskState, &str); 5] = [
    (TaskState::Staging, "task_staging"),
    (TaskState::Starting, "task_starting"),
    (TaskState::Running, "task_running"),
    (TaskState::Killing, "task_killing"),
    (TaskState::Unreachable, "task_unreachable"),
];

/// Adds them; those by framework only if `each`.
pub(super) fn fill(master: &Master, each: bool, values: &mut Values) {
    for (principal, calls) in master.calls_by_principal() {
        for tail in ["messages_received", "messages_processed"] {
            values.insert(format!("frameworks/{principal}/{tail}"), *calls as f64);
        }
    }
    if each {
        let frameworks = master.frameworks();
        frameworks.for_each(|known| framework(master, known, values));
    }
}

fn framework(master: &Master, known: &Framework, values: &mut Values) {
    let name = encoded(&known.facts.name);
    let prefix = format!("master/frameworks/{name}/{}", known.id);
    let mut put = |tail: &str, value: f64| values.insert(format!("{prefix}/{tail}"), value);
    put("subscribed", f64::from(u8::from(known.is_connected())));
    for role in &known.facts.roles {
        let suppressed = f64::from(u8::from(known.suppressed.contains(role)));
        put(&format!("roles/{role}/suppressed"), suppressed);
    }
    let all = || known.tasks.values().chain(known.unreachable.values());
    for (state, name) in ACTIVE {
        let count = all().filter(|task| task.latest == state).count();
        put(&format!("tasks/active/{name}"), count as f64);
    }
    let none = Tally::default();
    let tally = master.tally(&known.id).unwrap_or(&none);
    put("calls", tally.calls.sum() as f64);
    put("events", tally.events.sum() as f64);
    put("operations", tally.operations.sum() as f64);
    each("calls", &tally.calls, &mut put);
    each("events", &tally.events, &mut put);
    each("operations", &tally.operations, &mut put);
    each("offers", &tally.offers, &mut put);
    each("tasks/terminal", &tally.ends, &mut put);
}

fn each<const N: usize>(
    kind: &str,
    counts: &Counts<N>,
    put: &mut impl FnMut(&str, f64) -> Option<f64>,
) {
    for (name, count) in counts.iter() {
        put(&format!("{kind}/{name}"), count as f64);
    }
}

/// A framework's name as part of a path.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                text.push(char::from(byte));
            }
            // Writing into a text cannot fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded() {
        assert_eq!(encoded("my-fw_1.0"), "my-fw_1.0");
        assert_eq!(encoded("a b/ü%"), "a%20b%2F%C3%BC%25");
    }
}
