//! `nesos nodes`: which boards there are, what runs on them, and which of them are masters.
//!
//! Joins what the leader tells of agents and of masters; both know their boards by name and address. Called by `main`.
//! Invariant: an agent's line has the same keys, and stands in the same order, whether there are several masters or one.

use serde_json::{Value, json};

use crate::args::Output;
use crate::cluster::{self, Node, Quantities};
use crate::failure::Failure;
use crate::http::Client;
use crate::masters::{self, Master};
use crate::output::{self, number};

/// A board, as far as anybody knows: an agent, a master, or both.
#[derive(Debug, PartialEq)]
struct Row {
    node: Option<Node>,
    master: Option<Master>,
}

/// `nesos nodes`.
pub(crate) async fn nodes(client: &Client, output: Output) -> Result<(), Failure> {
    let nodes = cluster::nodes(client).await?;
    let rows = pair(nodes, masters::all(client).await?);
    if output == Output::Json {
        return rows.iter().try_for_each(|row| output::json(&row.to_json()));
    }
    let head = ["NODE", "STATE", "MASTER", "CPUS", "MEM", "ADDRESS", "AGENT"];
    let rows: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    output::table(&head, &rows)
}

/// Agents first, in their order, with the master on the same board; then the boards that are masters only. A master alone has
/// no line of its own: it is the one that answers.
fn pair(nodes: Vec<Node>, mut masters: Vec<Master>) -> Vec<Row> {
    let is_group = masters.len() > 1;
    let mut rows: Vec<Row> = Vec::new();
    for node in nodes {
        let at = masters.iter().position(|master| is_same(&node, master));
        rows.push(Row {
            node: Some(node),
            master: at.map(|at| masters.remove(at)),
        });
    }
    masters.sort_by(|a, b| (&a.name, &a.number).cmp(&(&b.name, &b.number)));
    let alone = masters.into_iter().map(|master| Row {
        node: None,
        master: Some(master),
    });
    rows.extend(alone.filter(|_| is_group));
    rows
}

/// Whether both are on one board. Names may be given twice, and many daemons may share an address.
pub(crate) fn is_same(node: &Node, master: &Master) -> bool {
    let host = |address: &str| address.rsplit_once(':').map(|(host, _)| host.to_owned());
    cluster::is_called(&node.name, &master.name) && host(&node.address) == host(&master.address)
}

impl Row {
    fn to_json(&self) -> Value {
        let mut value = match (&self.node, &self.master) {
            (Some(node), _) => node.to_json(),
            (None, Some(master)) => json!({
                "name": master.name, "agent": null, "address": master.address, "state": null,
                "cpus": null, "cpus_used": null, "mem": null, "mem_used": null, "version": null,
            }),
            (None, None) => json!({}),
        };
        value["master"] = self.master.as_ref().map_or(Value::Null, |master| {
            json!({
                "role": master.role, "connected": master.is_connected, "number": master.number,
                "address": master.address, "behind": master.behind,
            })
        });
        value
    }

    fn cells(&self) -> Vec<String> {
        let none = || "-".to_owned();
        let master = self.master.as_ref();
        let role = master.map_or_else(none, |master| match master.is_connected {
            true => master.role.clone(),
            false => format!("{} (away)", master.role),
        });
        let Some(node) = &self.node else {
            let (name, address) = master.map_or_else(Default::default, |master| {
                (master.name.clone(), master.address.clone())
            });
            return vec![name, none(), role, none(), none(), address, none()];
        };
        let Quantities { cpus, mem } = node.total;
        let share = |used: f64, total: f64| format!("{}/{}", number(used), number(total));
        vec![
            node.name.clone(),
            node.state.to_owned(),
            role,
            share(node.used.cpus, cpus),
            share(node.used.mem, mem),
            node.address.clone(),
            node.agent.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str) -> Node {
        Node {
            agent: format!("m-{name}"),
            name: name.to_owned(),
            address: address.to_owned(),
            active: true,
            state: "active",
            total: Quantities::default(),
            used: Quantities::default(),
            version: String::new(),
        }
    }

    fn master(name: &str, address: &str, role: &str, is_connected: bool) -> Master {
        Master {
            name: name.to_owned(),
            number: format!("n-{name}"),
            address: address.to_owned(),
            role: role.to_owned(),
            is_connected,
            behind: Some(0),
        }
    }

    #[test]
    fn a_board_has_one_line_and_masters_alone_come_last() {
        let nodes = vec![
            node("vm-board-2", "10.0.2.16:5051"),
            node("vm-board-9", "10.0.2.23:5051"),
        ];
        let masters = vec![
            master("board-3", "10.0.2.17:5050", "voter", false),
            master("board-2", "10.0.2.16:5050", "leader", true),
            master("board-1", "10.0.2.15:5050", "candidate", true),
        ];
        let rows = pair(nodes, masters);
        let told: Vec<(String, String)> = rows
            .iter()
            .map(|row| (row.cells()[0].clone(), row.cells()[2].clone()))
            .collect();
        let expected = [
            ("vm-board-2", "leader"),
            ("vm-board-9", "-"),
            ("board-1", "candidate"),
            ("board-3", "voter (away)"),
        ];
        assert_eq!(told, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let lost = rows[3].to_json();
        assert_eq!(lost["master"]["connected"], false);
        assert_eq!(
            (&lost["agent"], &lost["state"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(rows[1].to_json()["master"], Value::Null);
        assert_eq!(rows[0].to_json()["agent"], "m-vm-board-2");
        let keys = |row: &Row| -> Vec<String> {
            let value = row.to_json();
            let keys = value.as_object().into_iter().flatten();
            keys.map(|(key, _)| key.clone()).collect()
        };
        assert!(rows.iter().all(|row| keys(row) == keys(&rows[0])));
    }

    #[test]
    fn a_master_alone_has_no_line_and_names_do_not_suffice() {
        let alone = vec![master("board-1", "10.0.2.15:5050", "leader", true)];
        let nodes = vec![node("vm-board-1", "10.0.2.99:5051")];
        let rows = pair(nodes.clone(), alone);
        assert_eq!((rows.len(), rows[0].master.is_some()), (1, false));
        let both = vec![
            master("board-1", "10.0.2.15:5050", "leader", true),
            master("board-2", "10.0.2.16:5050", "voter", true),
        ];
        assert_eq!(pair(nodes, both).len(), 3, "another host of that name");
    }
}
