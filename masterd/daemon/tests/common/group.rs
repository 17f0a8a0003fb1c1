//! Several masters that agree with each other.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{get, request};
use super::{DEADLINE, Master, run};

/// Machines of tests stand still for longer than cards and networks do. A leader's death is noticed at once all the same.
const PATIENT: &str = "--election_timeout_ms=2000";
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(10);

/// A master of a group, which may be dead.
#[derive(Debug)]
pub struct Member {
    pub dir: PathBuf,
    pub port: u16,
    pub master: Option<Master>,
}

impl Member {
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn start(&mut self) {
        self.master = Some(Master::start(&self.dir, self.port, &[PATIENT]));
    }

    pub fn kill(&mut self) {
        self.master.take().unwrap().kill();
    }
}

/// The group.
#[derive(Debug)]
pub struct Group {
    pub members: Vec<Member>,
    _dir: TempDir,
}

impl Group {
    /// Starts one master, and lets the others be added by it.
    pub fn start(count: usize) -> Self {
        let mut group = Self::found(&[]);
        for _ in 1..count {
            let address = group.candidate();
            assert_eq!(group.wish(0, &json!({ "add": address })).0, 200);
            group.until("the newcomer votes", |group| {
                group.role(0, &address).as_deref() == Some("voter")
            });
        }
        group
    }

    /// Starts one master, with these flags.
    pub fn found(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join("0");
        let master = Master::start(&first, 0, &[&[PATIENT], flags].concat());
        Self {
            members: vec![Member {
                dir: first,
                port: master.port,
                master: Some(master),
            }],
            _dir: dir,
        }
    }

    /// Starts one more master, which asks to be let in; its address once it is heard.
    pub fn candidate(&mut self) -> String {
        let address = self.ask();
        self.until("the candidate is heard", |group| {
            group.role(0, &address).as_deref() == Some("candidate")
        });
        address
    }

    /// Starts one more master, which asks to be let in.
    pub fn ask(&mut self) -> String {
        let dir = self._dir.path().join(self.members.len().to_string());
        give_key(&self.members[0].dir, &dir);
        let join = format!("--join={}", self.members[0].address());
        let master = Master::start(&dir, 0, &[PATIENT, &join]);
        let address = master.address();
        self.members.push(Member {
            dir,
            port: master.port,
            master: Some(master),
        });
        address
    }

    /// Kills a master and starts it again.
    pub fn again(&mut self, at: usize) {
        self.members[at].kill();
        self.members[at].start();
    }

    /// What master `at` says of the masters.
    pub fn masters(&self, at: usize) -> Vec<Value> {
        let answer = run(get(&self.members[at].address(), "/nesos/v1/masters"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["masters"].as_array().unwrap().clone()
    }

    /// The role of the master at this address, as master `at` sees it.
    pub fn role(&self, at: usize, address: &str) -> Option<String> {
        let masters = self.masters(at);
        let found = masters.iter().find(|master| master["address"] == address)?;
        found["role"].as_str().map(str::to_owned)
    }

    /// Wants something of the masters; status and text of the answer.
    pub fn wish(&self, at: usize, wish: &Value) -> (u16, String) {
        let headers = [("Content-Type", "application/json")];
        let body = wish.to_string();
        let address = self.members[at].address();
        let answer = run(request(
            &address,
            "POST",
            "/nesos/v1/masters",
            &headers,
            body.as_bytes(),
        ));
        (answer.status, answer.text())
    }

    pub fn alive(&self) -> Vec<usize> {
        let alive = self.members.iter().enumerate();
        let alive = alive.filter(|(_, member)| member.master.is_some());
        alive.map(|(at, _)| at).collect()
    }

    /// The master that leads, once the living ones agree who does.
    pub fn leader(&self) -> usize {
        let mut found = None;
        self.until("all agree on a leader", |group| {
            let leads = |at: usize| run(get(&group.members[at].address(), "/state")).status == 200;
            let leaders: Vec<usize> = group.alive().into_iter().filter(|at| leads(*at)).collect();
            let [leader] = leaders[..] else { return false };
            found = Some(leader);
            let address = group.members[leader].address();
            let knows = |at: &usize| group.role(*at, &address).as_deref() == Some("leader");
            group.alive().iter().all(knows)
        });
        found.unwrap()
    }

    pub fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
            std::thread::park_timeout(LOOK);
        }
    }
}

/// What makes a master one of this cluster.
pub fn give_key(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let key = to.join("cluster.key");
    std::fs::copy(from.join("cluster.key"), &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
}
