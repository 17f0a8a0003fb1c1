//! Masters whose places change: a router gives one another address, a founder's card is replaced by an empty one, one that was
//! removed comes back to masters that have been started anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nesos_base::token::ClusterKey;
use nesos_cluster_tests::hosts::{self, Host};
use nesos_cluster_tests::http;
use nesos_cluster_tests::{Running, binary, eventually};
use nesos_shell::tls;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everything runs on one machine, beside other tests.
const SOON: Duration = Duration::from_secs(90);
const PORT: u16 = 5050;

/// Three boards with one cluster.toml, but that the first founds.
struct Shelf {
    home: TempDir,
    boards: Vec<Board>,
}

struct Board {
    host: Host,
    /// Where it is reached by now.
    ip: String,
    process: Option<Running>,
}

impl Shelf {
    /// So many masters, of which the first founds the group and lets the others in by itself.
    fn new(count: u8) -> Self {
        let home = tempfile::Builder::new()
            .prefix("nesos-test-")
            .tempdir()
            .unwrap();
        let key = tls::generate_cluster_key().unwrap();
        let boards = (1..=count).map(|number| {
            let host = Host::new(number);
            let ip = host.address().to_string();
            Board {
                host,
                ip,
                process: None,
            }
        });
        let mut shelf = Self {
            boards: boards.collect(),
            home,
        };
        for at in 0..shelf.boards.len() {
            shelf.configure(at, &key);
            shelf.start(at);
        }
        shelf.until_voting(&(0..shelf.boards.len()).collect::<Vec<_>>());
        shelf
    }

    fn configure(&self, at: usize, key: &ClusterKey) {
        let key = key.to_text();
        let joins = match at {
            0 => "",
            _ => "master = \"mdns\"\n",
        };
        let text = format!(
            "name = \"board-{at}\"\nrole = \"master\"\n[cluster]\nname = \"home\"\nkey = \"{key}\"\nmasters = 3\n\
             election_timeout_ms = 1000\n{joins}"
        );
        let path = self.folder(&format!("board-{at}.toml"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn start(&mut self, at: usize) {
        let mut command = self.boards[at].host.command(&binary("masterd"));
        let work_dir = self.folder(&format!("board-{at}"));
        let config = self.folder(&format!("board-{at}.toml"));
        command.arg(format!("--work_dir={}", work_dir.display()));
        command.arg(format!("--config={}", config.display()));
        // As boards do: the address is what the network gives.
        command.args(["--ip=0.0.0.0", "--mdns=eth0", "--api_access=open"]);
        self.boards[at].process = Some(Running::start(command, &format!("board-{at}")));
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn address(&self, at: usize) -> String {
        format!("{}:{PORT}", self.boards[at].ip)
    }

    fn alive(&self) -> Vec<usize> {
        let boards = self.boards.iter().enumerate();
        let alive = boards.filter(|(_, board)| board.process.is_some());
        alive.map(|(at, _)| at).collect()
    }

    fn leads(&self, at: usize) -> bool {
        let answer = http::try_get(&self.address(at), "/state");
        answer.is_some_and(|answer| answer.status == 200)
    }

    fn leader(&self) -> Option<usize> {
        self.alive().into_iter().find(|at| self.leads(*at))
    }

    /// What the leader says of the masters.
    fn list(&self) -> Option<Vec<Value>> {
        let leader = self.leader()?;
        let answer = http::try_get(&self.address(leader), "/nesos/v1/masters")?;
        let answer: Value = serde_json::from_str(&answer.body).ok()?;
        Some(answer["masters"].as_array()?.clone())
    }

    fn found(&self, address: &str) -> Option<Value> {
        let masters = self.list()?;
        masters
            .into_iter()
            .find(|master| master["address"] == address)
    }

    /// Until these vote, are connected where they are now, and have everything.
    fn until_voting(&self, boards: &[usize]) {
        eventually(&format!("{boards:?} vote"), SOON, || {
            let is_well = |at: &usize| {
                let found = self.found(&self.address(*at));
                found.is_some_and(|master| {
                    let votes = master["role"] == "voter" || master["role"] == "leader";
                    votes && master["connected"] == true && master["behind"] == 0
                })
            };
            boards.iter().all(is_well).then_some(())
        });
    }

    fn wish(&self, wish: &Value) -> u16 {
        let leader = eventually("somebody leads", SOON, || self.leader());
        let headers = [("Content-Type", "application/json")];
        let body = wish.to_string();
        let path = "/nesos/v1/masters";
        http::request(
            &self.address(leader),
            "POST",
            path,
            &headers,
            body.as_bytes(),
        )
        .status
    }

    /// Pulls the plug.
    fn kill(&mut self, at: usize) {
        self.boards[at].process = None;
    }

    /// The router has given it another address.
    fn move_to(&mut self, at: usize, ip: &str) {
        let board = &mut self.boards[at];
        let old = format!("{}/24", board.ip);
        board.host.readdress(&old, &format!("{ip}/24"));
        ip.clone_into(&mut board.ip);
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (at, board) in self.boards.iter().enumerate() {
                let said = board.process.as_ref().map(Running::stderr);
                eprintln!("--- board {at}: {}", said.unwrap_or_default());
            }
        }
    }
}

#[test]
fn masters_that_get_other_addresses_are_found_while_they_run() {
    if !hosts::alone("masters_that_get_other_addresses_are_found_while_they_run") {
        return;
    }
    let mut shelf = Shelf::new(3);
    let all = [0, 1, 2];
    for round in 0..2_u8 {
        let leader = eventually("somebody leads", SOON, || shelf.leader());
        // One that follows, and then the one that leads.
        let at = match round {
            0 => (leader + 1) % 3,
            _ => leader,
        };
        let id = shelf.boards[at].process.as_ref().unwrap().id();
        shelf.move_to(at, &format!("10.99.0.{}", 100 + round));
        shelf.until_voting(&all);
        let still = shelf.boards[at].process.as_ref().unwrap().id();
        assert_eq!(id, still, "nobody has started it again");
        assert_eq!(shelf.list().unwrap().len(), 3, "nobody is there twice");
        // It can be counted on: with it and one more there is a majority.
        let other = (at + 1) % 3;
        shelf.kill(other);
        eventually("two of three agree", SOON, || shelf.leader());
        shelf.until_voting(&[at]);
        shelf.start(other);
        shelf.until_voting(&all);
    }
}

#[test]
fn a_founder_with_an_empty_card_founds_no_second_cluster() {
    if !hosts::alone("a_founder_with_an_empty_card_founds_no_second_cluster") {
        return;
    }
    let mut shelf = Shelf::new(3);
    let own = shelf.address(0);
    let old = shelf.found(&own).unwrap();
    shelf.kill(0);
    std::fs::remove_dir_all(shelf.folder("board-0")).unwrap();
    eventually("the others agree", SOON, || {
        (shelf.leader()? != 0).then_some(())
    });
    shelf.start(0);
    let process = shelf.boards[0].process.as_mut().unwrap();
    process.wait_for_complaint("asks to be let in instead of founding it anew", SOON);
    let asks = |shelf: &Shelf| {
        eventually("it asks to be let in", SOON, || {
            let masters = shelf.list()?;
            let mut own = masters.iter().filter(|master| master["address"] == own);
            own.any(|master| master["role"] == "candidate")
                .then_some(())
        });
        assert!(!shelf.leads(0));
    };
    asks(&shelf);
    // Nor when its power goes before anybody has let it in.
    shelf.kill(0);
    shelf.start(0);
    asks(&shelf);
    assert_eq!(shelf.wish(&json!({ "remove": old["number"] })), 200);
    shelf.until_voting(&[0, 1, 2]);
    let new = shelf.found(&own).unwrap();
    assert_ne!(new["number"], old["number"], "it is another master");
}

#[test]
fn who_was_removed_is_not_let_in_by_masters_that_were_started_anew() {
    if !hosts::alone("who_was_removed_is_not_let_in_by_masters_that_were_started_anew") {
        return;
    }
    let mut shelf = Shelf::new(3);
    let leader = shelf.leader().unwrap();
    let at = (leader + 1) % 3;
    let number = shelf.found(&shelf.address(at)).unwrap()["number"].clone();
    shelf.kill(at);
    assert_eq!(shelf.wish(&json!({ "remove": number })), 200);
    let left: Vec<usize> = shelf.alive();
    for other in &left {
        shelf.kill(*other);
    }
    for other in &left {
        shelf.start(*other);
    }
    shelf.until_voting(&left);
    shelf.start(at);
    let own = shelf.address(at);
    eventually("it asks to be let in", SOON, || {
        (shelf.found(&own)?["role"] == "candidate").then_some(())
    });
    let leader = shelf.leader().unwrap();
    let process = shelf.boards[leader].process.as_mut().unwrap();
    process.wait_for_complaint(
        "was removed, and is not let in by itself: nesos master add",
        SOON,
    );
    // Two are fewer than the three that are wanted, so anybody else would have been let in by the next heartbeats.
    shelf.until_voting(&left);
    assert_eq!(shelf.found(&own).unwrap()["role"], "candidate");
    assert_eq!(shelf.wish(&json!({ "add": number })), 200);
    shelf.until_voting(&[0, 1, 2]);
}

#[test]
fn a_master_without_power_is_missed_also_by_those_that_only_follow() {
    if !hosts::alone("a_master_without_power_is_missed_also_by_those_that_only_follow") {
        return;
    }
    let shelf = Shelf::new(3);
    let leader = shelf.leader().unwrap();
    let (gone, left) = ((leader + 1) % 3, (leader + 2) % 3);
    let address = shelf.address(gone);
    let is_connected = || {
        let answer = http::try_get(&shelf.address(left), "/nesos/v1/masters")?;
        let answer: Value = serde_json::from_str(&answer.body).ok()?;
        let masters = answer["masters"].as_array()?;
        let found = masters.iter().find(|master| master["address"] == address)?;
        found["connected"].as_bool()
    };
    assert_eq!(is_connected(), Some(true));
    // As a board without power, it closes no connection, and neither of the two has anything to say to the other.
    shelf.boards[gone].host.plug(false);
    eventually("it is missed", SOON, || (!is_connected()?).then_some(()));
    shelf.boards[gone].host.plug(true);
    eventually("it is back", SOON, || is_connected()?.then_some(()));
    shelf.until_voting(&[0, 1, 2]);
}
