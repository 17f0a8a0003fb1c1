//! What the running switch is told to do differently: a line of JSON for each errand, and one for its answer.
//!
//! Served in the switch's process ([`super::fabric`]), asked by the commands that change a cluster. Not for frames. The socket
//! lies in the cluster's folder, so who may write there may ask. Invariant: who says nothing holds nobody up.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::door::Ways;
use super::loss::{Loss, Lost};

/// How long either side waits for the other, which does next to nothing.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest line.
const MAX_LINE: u64 = 1024;
/// Pause after a connection could not be accepted: others end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Errand {
    /// One more master behind the door: the port of 127.0.0.1 that leads to it, and its own address.
    Way(u16, String),
    /// From now on so many of a thousand frames between boards are lost, by chance that follows from a seed.
    Lose(u16, u64),
    /// What is lost, and was.
    Tell,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    /// It is so now.
    Done,
    /// It cannot be.
    Refused(String),
    /// What is lost, and was.
    Lost(Lost),
}

/// What errands change.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    /// Behind the door; none: there is no door.
    pub(super) ways: Option<Rc<RefCell<Ways>>>,
    /// Of the switch.
    pub(super) loss: Rc<RefCell<Loss>>,
}

/// Serves the socket for ever. Runs on a `LocalSet`.
pub(super) async fn serve(listener: UnixListener, rooms: Rooms) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let rooms = rooms.clone();
        // Who goes away without an errand, or is too slow, is not answered.
        spawn_local(timeout(LIMIT, async move { run(stream, &rooms).await }));
    }
}

async fn run(stream: UnixStream, rooms: &Rooms) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(MAX_LINE));
    reader.read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(errand) => rooms.obey(errand),
        Err(error) => Answer::Refused(error.to_string()),
    };
    let text = serde_json::to_string(&answer)?;
    writer.write_all(format!("{text}\n").as_bytes()).await
}

impl Rooms {
    fn obey(&self, errand: Errand) -> Answer {
        match errand {
            Errand::Lose(per_thousand, seed) => {
                self.loss.borrow_mut().set(per_thousand, seed);
                Answer::Done
            }
            Errand::Tell => Answer::Lost(self.loss.borrow().told()),
            Errand::Way(port, address) => match &self.ways {
                Some(ways) => {
                    let mut ways = ways.borrow_mut();
                    ways.retain(|(_, known)| *known != address);
                    ways.push((port, address));
                    Answer::Done
                }
                None => Answer::Refused("there is no door".to_owned()),
            },
        }
    }
}

/// Has the switch behind the socket at `path` do it; its answer.
pub(super) fn ask(path: &Path, errand: &Errand) -> io::Result<Answer> {
    let mut socket = std::os::unix::net::UnixStream::connect(path)?;
    socket.set_read_timeout(Some(LIMIT))?;
    let text = serde_json::to_string(errand)?;
    socket.write_all(format!("{text}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(io::Read::take(socket, MAX_LINE)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::task::{LocalSet, spawn_blocking};

    use super::*;

    #[tokio::test]
    async fn errands_are_done_once_each_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let ways = Rc::new(RefCell::new(vec![(1, "a:5050".to_owned())]));
        let rooms = Rooms {
            ways: Some(Rc::clone(&ways)),
            loss: Rc::default(),
        };
        let listener = UnixListener::bind(&path).unwrap();
        let tasks = LocalSet::new();
        let story = tasks.run_until(async {
            spawn_local(serve(listener, rooms));
            let silent = UnixStream::connect(&path).await.unwrap();
            for port in [2, 3] {
                let (path, errand) = (path.clone(), Errand::Way(port, "b:5050".to_owned()));
                let answer = spawn_blocking(move || ask(&path, &errand)).await.unwrap();
                assert_eq!(answer.unwrap(), Answer::Done);
            }
            let lost = |per_thousand| Lost {
                per_thousand,
                passed: 0,
                lost: 0,
            };
            for (errand, expected) in [
                (Errand::Tell, Answer::Lost(lost(0))),
                (Errand::Lose(50, 3), Answer::Done),
                (Errand::Tell, Answer::Lost(lost(50))),
            ] {
                let path = path.clone();
                let answer = spawn_blocking(move || ask(&path, &errand)).await.unwrap();
                assert_eq!(answer.unwrap(), expected);
            }
            drop(silent);
            let mut foreign = UnixStream::connect(&path).await.unwrap();
            foreign.write_all(b"\"dance\"\n").await.unwrap();
            let mut said = String::new();
            foreign.read_to_string(&mut said).await.unwrap();
            assert!(said.contains("refused"), "{said}");
        });
        timeout(LIMIT * 4, story).await.unwrap();
        let known = [(1, "a:5050".to_owned()), (3, "b:5050".to_owned())];
        assert_eq!(*ways.borrow(), known);
    }

    #[test]
    fn without_a_door_nobody_is_put_behind_it() {
        let rooms = Rooms {
            ways: None,
            loss: Rc::default(),
        };
        let answer = rooms.obey(Errand::Way(1, "a:5050".to_owned()));
        assert_eq!(answer, Answer::Refused("there is no door".to_owned()));
    }
}
