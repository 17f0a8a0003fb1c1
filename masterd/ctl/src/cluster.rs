//! What the master tells about nodes and tasks, reduced to what commands show.
//!
//! Reads Mesos's `/slaves` and `/tasks`. Called by `ps`, `nodes`, `logs`, `kill`, `run`, `dev` and `vm`. Invariant: a
//! missing key of the master's JSON becomes an empty value, never an error: other versions say less or more.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::http::{Client, HttpError};

/// Most tasks asked for: a table of more helps nobody, and the master caps it anyway.
const MAX_TASKS: usize = 10_000;

/// Most names listed for somebody who gave a wrong one.
const MAX_NAMED: usize = 10;

/// One agent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Agent id.
    pub(crate) agent: String,
    /// Host name, which is the node's name on a board.
    pub(crate) name: String,
    /// `ip:port` of the agent.
    pub(crate) address: String,
    /// Connected and usable.
    pub(crate) active: bool,
    /// `active`, `inactive` (its link broke), `awaited` (not seen since the master started), `unreachable`, or what an
    /// operator decided: `deactivated`, `draining`, `drained`.
    pub(crate) state: &'static str,
    /// All it has.
    pub(crate) total: Quantities,
    /// What tasks hold.
    pub(crate) used: Quantities,
    /// Software version.
    pub(crate) version: String,
}

/// CPUs and MiB.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Quantities {
    /// CPUs.
    pub(crate) cpus: f64,
    /// MiB.
    pub(crate) mem: f64,
}

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// Id within its framework.
    pub(crate) id: String,
    /// Display name.
    pub(crate) name: String,
    /// Owner.
    pub(crate) framework: String,
    /// Where it runs.
    pub(crate) agent: String,
    /// `TASK_RUNNING`.
    pub(crate) state: String,
    /// What its health check says, if it has one.
    pub(crate) healthy: Option<bool>,
    /// Its container's id, as Mesos shows it; null before it has one.
    pub(crate) container: Value,
    /// What it holds.
    pub(crate) resources: Quantities,
}

impl Node {
    /// Whether a person means this node by `text`.
    pub(crate) fn answers_to(&self, text: &str) -> bool {
        is_called(&self.name, text)
            || self.agent == text
            || self.address == text
            || self.address.split(':').next() == Some(text)
    }

    /// For `--output json`.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.name, "agent": self.agent, "address": self.address,
            "state": self.state,
            "cpus": self.total.cpus, "cpus_used": self.used.cpus,
            "mem": self.total.mem, "mem_used": self.used.mem, "version": self.version,
        })
    }
}

impl Task {
    /// Whether the state is a final one.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(
            self.state.as_str(),
            "TASK_STAGING"
                | "TASK_STARTING"
                | "TASK_RUNNING"
                | "TASK_KILLING"
                | "TASK_UNREACHABLE"
                | "TASK_UNKNOWN"
        )
    }

    /// For `--output json`.
    pub(crate) fn to_json(&self, nodes: &[Node]) -> Value {
        json!({
            "id": self.id, "name": self.name, "framework": self.framework, "agent": self.agent,
            "node": node_name(nodes, &self.agent), "state": self.state, "healthy": self.healthy,
            "cpus": self.resources.cpus,
            "mem": self.resources.mem,
        })
    }
}

/// Whether a host name is that of the node `text`: the same, or `<cluster>-<text>`, as boards call themselves.
pub(crate) fn is_called(host_name: &str, text: &str) -> bool {
    let label = host_name.strip_suffix(".local").unwrap_or(host_name);
    host_name == text
        || label == text
        || label
            .strip_suffix(text)
            .is_some_and(|rest| rest.ends_with('-') && !text.is_empty())
}

/// The agents by name, those that are away included.
pub(crate) async fn nodes(client: &Client) -> Result<Vec<Node>, HttpError> {
    let answer = client.json("/slaves").await?;
    let mut nodes: Vec<Node> = list(&answer, "slaves").map(read_node).collect();
    for (key, state) in [
        ("recovered_slaves", "awaited"),
        ("unreachable_slaves", "unreachable"),
    ] {
        nodes.extend(list(&answer, key).map(|value| Node {
            state,
            ..read_node(value)
        }));
    }
    nodes.sort_by(|a, b| (&a.name, &a.agent).cmp(&(&b.name, &b.agent)));
    Ok(nodes)
}

/// The tasks, running and ended, oldest first as far as the master tells.
pub(crate) async fn tasks(client: &Client) -> Result<Vec<Task>, HttpError> {
    let answer = client
        .json(&format!("/tasks?limit={MAX_TASKS}&order=asc"))
        .await?;
    Ok(list(&answer, "tasks").map(read_task).collect())
}

/// The one task that a person means by `text`: its id or name, else the beginning of one; running ones before ended ones.
pub(crate) async fn find_task(client: &Client, text: &str) -> Result<Task, Failure> {
    pick(tasks(client).await?, text).map_err(Failure::NoSuchTask)
}

/// The one node that a person means by `text`.
pub(crate) async fn find_node(client: &Client, text: &str) -> Result<Node, Failure> {
    pick_node(nodes(client).await?, text).map_err(Failure::NoSuchNode)
}

/// The name of agent `id`, or the id itself.
pub(crate) fn node_name<'a>(nodes: &'a [Node], id: &'a str) -> &'a str {
    nodes
        .iter()
        .find(|node| node.agent == id)
        .map_or(id, |node| &node.name)
}

fn pick_node(nodes: Vec<Node>, text: &str) -> Result<Node, String> {
    let mut matching = nodes.iter().filter(|node| node.answers_to(text));
    match (matching.next(), matching.next()) {
        (Some(node), None) => Ok(node.clone()),
        (Some(first), Some(second)) => Err(format!(
            "'{text}' can be {} or {}; give the agent id",
            first.agent, second.agent
        )),
        _ => {
            let mut names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            names.truncate(MAX_NAMED);
            let known = match names.is_empty() {
                true => "the cluster has none".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            Err(format!("no node is called '{text}'; {known}"))
        }
    }
}

fn pick(tasks: Vec<Task>, text: &str) -> Result<Task, String> {
    let rules: [fn(&Task, &str) -> bool; 4] = [
        |task, text| task.id == text && !task.is_over(),
        |task, text| task.id == text,
        |task, text| {
            !task.is_over()
                && (task.name == text || task.id.starts_with(text) || task.name.starts_with(text))
        },
        |task, text| task.name == text || task.id.starts_with(text) || task.name.starts_with(text),
    ];
    for rule in rules {
        let mut matching = tasks.iter().filter(|task| rule(task, text));
        match (matching.next(), matching.next()) {
            (Some(task), None) => return Ok(task.clone()),
            (Some(first), Some(second)) => {
                let more = matching.count();
                let more = if more == 0 {
                    String::new()
                } else {
                    format!(" and {more} more")
                };
                return Err(format!(
                    "'{text}' can be {} or {}{more}; give the id",
                    first.id, second.id
                ));
            }
            _ => {}
        }
    }
    Err(format!(
        "no task has an id or a name that begins with '{text}'"
    ))
}

fn list<'a>(answer: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    answer
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn read_node(value: &Value) -> Node {
    // `pid` is `slave(1)@ip:port`.
    let pid = text(value, "pid");
    let active = value.get("active").and_then(Value::as_bool) == Some(true);
    Node {
        agent: text(value, "id"),
        name: text(value, "hostname"),
        address: pid
            .split_once('@')
            .map_or(pid.as_str(), |(_, address)| address)
            .to_owned(),
        active,
        state: state(value, active),
        total: quantities(value.get("resources")),
        used: quantities(value.get("used_resources")),
        version: text(value, "version"),
    }
}

fn state(value: &Value, active: bool) -> &'static str {
    let drain = value.get("drain_info").map(|drain| text(drain, "state"));
    let is_deactivated = value.get("deactivated").and_then(Value::as_bool) == Some(true);
    match drain.as_deref() {
        Some("DRAINING") => "draining",
        Some("DRAINED") => "drained",
        _ if is_deactivated => "deactivated",
        _ if active => "active",
        _ => "inactive",
    }
}

fn read_task(value: &Value) -> Task {
    let statuses = value.get("statuses").and_then(Value::as_array);
    let newest = statuses.and_then(|statuses| statuses.last());
    let container = newest.and_then(|status| status.get("container_status")?.get("container_id"));
    Task {
        container: container.cloned().unwrap_or_default(),
        healthy: newest.and_then(|status| status.get("healthy")?.as_bool()),
        id: text(value, "id"),
        name: text(value, "name"),
        framework: text(value, "framework_id"),
        agent: text(value, "slave_id"),
        state: text(value, "state"),
        resources: quantities(value.get("resources")),
    }
}

fn quantities(value: Option<&Value>) -> Quantities {
    let get = |key: &str| {
        value
            .and_then(|v| v.get(key))
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    };
    Quantities {
        cpus: get("cpus"),
        mem: get("mem"),
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn task(id: &str, name: &str, state: &str) -> Task {
        read_task(&json!({"id": id, "name": name, "state": state}))
    }

    #[test]
    fn running_tasks_win_and_doubt_is_an_error() {
        let all = || {
            vec![
                task("web.1", "web", "TASK_FINISHED"),
                task("web.2", "web", "TASK_RUNNING"),
                task("db.1", "db", "TASK_RUNNING"),
                task("db.2", "db", "TASK_RUNNING"),
            ]
        };
        assert_eq!(pick(all(), "web").map(|t| t.id), Ok("web.2".to_owned()));
        assert_eq!(pick(all(), "web.1").map(|t| t.id), Ok("web.1".to_owned()));
        assert!(pick(all(), "db").is_err_and(|e| e.contains("db.1 or db.2")));
        assert!(pick(all(), "x").is_err());
    }

    #[test]
    fn a_board_is_called_by_its_node_name() {
        for host_name in ["board-2", "vm-board-2", "vm-board-2.local"] {
            assert!(is_called(host_name, "board-2"), "{host_name}");
        }
        assert!(
            !is_called("board-12", "board-2")
                && !is_called("myboard-2", "board-2")
                && !is_called("a-", "")
        );
    }

    #[test]
    fn a_node_is_found_by_one_name_only() {
        let node = |id: &str, name: &str| read_node(&json!({"id": id, "hostname": name}));
        let nodes = || vec![node("m-S1", "a"), node("m-S2", "b"), node("m-S3", "b")];
        assert_eq!(pick_node(nodes(), "a").map(|n| n.agent), Ok("m-S1".into()));
        assert_eq!(pick_node(nodes(), "m-S3").map(|n| n.name), Ok("b".into()));
        let doubt = pick_node(nodes(), "b").unwrap_err();
        assert!(doubt.contains("m-S2 or m-S3"), "{doubt}");
        let nobody = pick_node(nodes(), "c").unwrap_err();
        assert_eq!(nobody, "no node is called 'c'; there are a, b, b");
        assert!(pick_node(Vec::new(), "c").unwrap_err().ends_with("none"));
    }

    #[test]
    fn what_operators_decided_is_the_state() {
        let state = |value: &Value| read_node(value).state;
        let drain = |state: &str| json!({"deactivated": true, "drain_info": {"state": state}});
        assert_eq!(state(&drain("DRAINING")), "draining");
        assert_eq!(state(&drain("DRAINED")), "drained");
        assert_eq!(state(&json!({"deactivated": true})), "deactivated");
        assert_eq!(
            state(&json!({"active": true, "deactivated": false})),
            "active"
        );
        assert_eq!(state(&json!({"active": false})), "inactive");
    }

    #[test]
    fn a_node_answers_to_name_id_and_address() {
        let node = read_node(&json!({
            "id": "m-S1", "hostname": "board-2", "pid": "slave(1)@10.0.2.16:5051", "active": true,
            "resources": {"cpus": 1.0, "mem": 96.0}, "unknown": 3,
        }));
        for text in ["m-S1", "board-2", "10.0.2.16", "10.0.2.16:5051"] {
            assert!(node.answers_to(text), "{text}");
        }
        assert!(!node.answers_to("board"));
        assert_eq!(
            node.total,
            Quantities {
                cpus: 1.0,
                mem: 96.0
            }
        );
    }
}
