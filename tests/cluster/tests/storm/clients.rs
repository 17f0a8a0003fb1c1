//! Clients that write and read weights of roles all the time, and remember what they saw.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nesos_cluster_tests::eventually;
use nesos_cluster_tests::history::{Deed, Moment, Operation, judge};
use serde_json::{Value, json};

const CLIENTS: usize = 3;
/// Roles whose weights they write: few, so that they meet.
const ROLES: usize = 2;
/// Between two deeds of a client, for other tests want to run too.
const PACE: Duration = Duration::from_millis(10);
/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an HTTP server has said.
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }
}

/// Sends a request and waits a moment for the answer. None: there was none.
pub fn ask(address: &str, method: &str, path: &str, body: &str) -> Option<Answer> {
    let peer: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&peer, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        body: body.to_owned(),
    })
}

type Histories = [Vec<Operation>; ROLES];

/// What all of them share.
struct Shared {
    masters: Vec<String>,
    begin: Instant,
    histories: Mutex<Histories>,
    next_value: AtomicU64,
    written: AtomicU64,
}

/// See the module.
pub struct Clients {
    shared: Arc<Shared>,
    running: Vec<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Clients {
    pub fn new(masters: Vec<String>) -> Self {
        Self {
            shared: Arc::new(Shared {
                masters,
                begin: Instant::now(),
                histories: Mutex::default(),
                next_value: AtomicU64::new(2),
                written: AtomicU64::new(0),
            }),
            running: Vec::new(),
        }
    }

    pub fn begin(&mut self) {
        for client in 0..CLIENTS {
            let (stop, stopped) = mpsc::channel();
            let shared = Arc::clone(&self.shared);
            let run = move || shared.run(client, &stopped);
            self.running.push((stop, std::thread::spawn(run)));
        }
    }

    /// Waits until something more was written.
    pub fn must_write(&self, limit: Duration) {
        let written = || self.shared.written.load(Ordering::Relaxed);
        let before = written();
        eventually("clients can write", limit, || {
            (written() > before).then_some(())
        });
    }

    pub fn end(&mut self) {
        for (stop, client) in self.running.drain(..) {
            drop(stop);
            client.join().unwrap();
        }
    }

    /// Looks for a contradiction in what they saw.
    pub fn judge(&self) {
        let histories = self.shared.histories.lock().unwrap();
        for history in histories.iter() {
            let answered = history.iter().filter(|operation| operation.end.is_some());
            let answered = answered.count();
            eprintln!("{} operations, {answered} answered", history.len());
            assert!(answered > 30, "clients did next to nothing");
            if let Err(contradiction) = judge(history) {
                panic!("{contradiction}");
            }
        }
    }
}

impl Shared {
    fn run(&self, client: usize, stopped: &mpsc::Receiver<()>) {
        let mut master = 0;
        let mut number = client;
        while stopped.recv_timeout(PACE) == Err(mpsc::RecvTimeoutError::Timeout) {
            number += 1;
            let role = number / 3 % ROLES;
            let address = &self.masters[master % self.masters.len()];
            let has_answered = match number % 3 {
                0 => self.write(address, role),
                _ => self.read(address, role),
            };
            if !has_answered {
                master += 1;
            }
        }
    }

    fn now(&self) -> Moment {
        // 0 is before everything.
        1 + u64::try_from(self.begin.elapsed().as_nanos()).unwrap()
    }

    fn write(&self, address: &str, role: usize) -> bool {
        let value = self.next_value.fetch_add(1, Ordering::Relaxed);
        let weight = json!({"role": name(role), "weight": value});
        let call = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [weight]}});
        let begin = self.now();
        let answer = ask(address, "POST", "/api/v1", &call.to_string());
        let end = self.now();
        let status = answer.map_or(0, |answer| answer.status);
        // One that does not lead has done nothing for sure; of all else nobody knows.
        if status != 307 {
            self.note(
                role,
                Deed::Write(value),
                begin,
                (status == 200).then_some(end),
            );
        }
        if status == 200 {
            self.written.fetch_add(1, Ordering::Relaxed);
        }
        status == 200
    }

    fn read(&self, address: &str, role: usize) -> bool {
        let begin = self.now();
        let call = json!({"type": "GET_WEIGHTS"}).to_string();
        let answer = ask(address, "POST", "/api/v1", &call);
        let end = self.now();
        let Some(answer) = answer.filter(|answer| answer.status == 200) else {
            return false;
        };
        let answer = answer.json().unwrap();
        let weights = answer["get_weights"]["weight_infos"].as_array();
        let mut weights = weights.into_iter().flatten();
        let found = weights.find(|weight| weight["role"] == name(role));
        let value = found.map_or(0, |weight| weight["weight"].as_f64().unwrap() as u64);
        self.note(role, Deed::Read(value), begin, Some(end));
        true
    }

    fn note(&self, role: usize, deed: Deed, begin: Moment, end: Option<Moment>) {
        self.histories.lock().unwrap()[role].push(Operation { deed, begin, end });
    }
}

fn name(role: usize) -> String {
    format!("register-{role}")
}
