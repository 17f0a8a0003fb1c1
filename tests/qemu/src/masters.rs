//! What tests know of a cluster's masters: who leads, in which term, and whether it takes writes.
//!
//! Called by the tests, which panic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nesos_cluster_tests::{eventually, http};
use serde_json::{Value, json};

use crate::{BOOT, VmCluster};

/// How long one write may take: a board without power says nothing.
const WRITE_LIMIT: Duration = Duration::from_secs(3);

impl VmCluster {
    /// The masters, and those that ask to be let in, as the leader tells.
    #[must_use]
    pub fn masters(&self) -> Vec<Value> {
        let ended = self.nesos.run(&["--output", "json", "master", "list"]);
        let lines = ended.stdout.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The name of the board that leads; the others vote, and have everything.
    ///
    /// # Panics
    /// It does not come to that.
    #[must_use]
    pub fn leader(&self, voting: usize, connected: usize) -> String {
        let what = format!("of {voting} masters {connected} are there, and one leads");
        eventually(&what, BOOT, || {
            let masters = self.masters();
            let (leaders, others): (Vec<&Value>, Vec<&Value>) = masters
                .iter()
                .partition(|master| master["role"] == "leader");
            let is_there = |master: &&&Value| master["connected"] == true && master["behind"] == 0;
            let there = others.iter().filter(is_there).count();
            let voters = others.iter().filter(|master| master["role"] == "voter");
            let is_so =
                leaders.len() == 1 && voters.count() + 1 == voting && there + 1 == connected;
            is_so.then(|| leaders[0]["name"].as_str().unwrap().to_owned())
        })
    }

    /// Who leads and in which term, if whoever leads answers.
    #[must_use]
    pub fn led(&self) -> Option<(String, u64)> {
        let answer = http::try_get(self.master(), "/nesos/v1/masters")?;
        let answer: Value = serde_json::from_str(&answer.body).ok()?;
        let mut masters = answer["masters"].as_array()?.iter();
        let leader = masters.find(|master| master["role"] == "leader")?;
        let name = leader["name"].as_str()?.to_owned();
        Some((name, answer["term"].as_u64()?))
    }

    /// Writes the weight of a role; the status of the answer, if there was one.
    #[must_use]
    pub fn put_weight(&self, role: &str, weight: u32) -> Option<u16> {
        let address = self.master();
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(WRITE_LIMIT)).ok()?;
        let body = json!([{"role": role, "weight": weight}]).to_string();
        let head = format!(
            "PUT /weights HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(&[head.as_bytes(), body.as_bytes()].concat())
            .ok()?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).ok()?;
        std::str::from_utf8(&head)
            .ok()?
            .split(' ')
            .nth(1)?
            .parse()
            .ok()
    }
}
