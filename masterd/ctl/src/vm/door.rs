//! The port of 127.0.0.1 that leads to the master that leads, where boards have several.
//!
//! A redirect names an address that only boards reach, so a program on this machine cannot follow it; here it need not. Each
//! connection goes to the master that says of itself that it leads, and is cut as soon as another one says so: a board whose
//! power was cut says nothing any more. Runs in the process of the switch ([`super::fabric`]). Invariants: what is said on
//! a connection is neither read nor changed; masters are asked only while somebody is connected.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

/// How long a master may take to say whether it leads: an emulated board is slow, and one without power says nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Pause between questions while somebody is connected.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a connection waits until a master leads: an election takes a second.
const LEADER_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted: others end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Largest head of an answer.
const MAX_HEAD: u64 = 4096;
/// `/redirect` names the leader, at the leader itself too.
const QUESTION: &[u8] = b"GET /redirect HTTP/1.1\r\nHost: nesos\r\nConnection: close\r\n\r\n";

/// Each master: the port of 127.0.0.1 that leads to it, and `host:port` as boards reach it.
pub(super) type Ways = Vec<(u16, String)>;

/// What was found out last.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// How often the masters were asked.
    round: u64,
    /// The way to the leader.
    leader: Option<u16>,
}

/// Leads connections for ever. Runs on a `LocalSet`.
pub(super) async fn serve(listener: TcpListener, ways: Rc<RefCell<Ways>>) {
    let asked = Rc::new(Notify::new());
    let (tell, _) = watch::channel(Seen::default());
    let tell = Rc::new(tell);
    spawn_local(watch_masters(ways, Rc::clone(&asked), Rc::clone(&tell)));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let seen = tell.subscribe();
        let asked = Rc::clone(&asked);
        // A connection that cannot be led ends; its other end sees that.
        spawn_local(async move { lead(client, seen, &asked).await });
    }
}

async fn watch_masters(ways: Rc<RefCell<Ways>>, asked: Rc<Notify>, tell: Rc<watch::Sender<Seen>>) {
    loop {
        let is_watched = tell.receiver_count() > 0;
        tokio::select! {
            () = asked.notified() => {}
            () = sleep(PAUSE), if is_watched => {}
        }
        let known = ways.borrow().clone();
        let leader = leader(known).await;
        tell.send_modify(|seen| {
            seen.round += 1;
            seen.leader = leader;
        });
    }
}

async fn lead(
    mut client: TcpStream,
    mut seen: watch::Receiver<Seen>,
    asked: &Notify,
) -> io::Result<()> {
    let before = seen.borrow().round;
    asked.notify_one();
    let found = seen.wait_for(|seen| seen.round > before && seen.leader.is_some());
    let found = timeout(LEADER_LIMIT, found).await?;
    let way = found.map_err(io::Error::other)?.leader;
    let way = way.ok_or(io::ErrorKind::NotConnected)?;
    let mut master = TcpStream::connect(("127.0.0.1", way)).await?;
    client.set_nodelay(true)?;
    master.set_nodelay(true)?;
    let other_leads = seen.wait_for(|seen| seen.leader.is_some_and(|leader| leader != way));
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut master) => copied.map(drop),
        _ = other_leads => Ok(()),
    }
}

/// The way to the first master that says that it leads.
async fn leader(ways: Ways) -> Option<u16> {
    let mut answers = JoinSet::new();
    for (way, address) in ways {
        answers.spawn(async move {
            let head = timeout(ANSWER_LIMIT, ask(way)).await.ok()?.ok()?;
            (leader_of(&head)? == address).then_some(way)
        });
    }
    while let Some(answer) = answers.join_next().await {
        if let Ok(Some(way)) = answer {
            return Some(way);
        }
    }
    None
}

async fn ask(way: u16) -> io::Result<String> {
    let mut master = TcpStream::connect(("127.0.0.1", way)).await?;
    master.write_all(QUESTION).await?;
    let mut head = Vec::new();
    master.take(MAX_HEAD).read_to_end(&mut head).await?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Whom the head of an answer leads to.
fn leader_of(head: &str) -> Option<&str> {
    let header = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location")
            .then_some(value.trim())
    });
    header?.strip_prefix("//")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use tokio::task::LocalSet;

    use super::*;

    /// Longest wait for what takes milliseconds.
    const DEADLINE: Duration = Duration::from_secs(20);

    #[test]
    fn the_head_names_the_leader() {
        let head = "HTTP/1.1 307 Temporary Redirect\r\nLocation: //10.0.2.15:5050\r\n\r\n";
        assert_eq!(leader_of(head), Some("10.0.2.15:5050"));
        assert_eq!(leader_of("HTTP/1.1 503 Service Unavailable\r\n\r\n"), None);
        assert_eq!(leader_of("location: /elsewhere\r\n"), None);
    }

    /// A master that says `number` on any other request, and of whom `leads` says whether it leads.
    async fn master(number: u16, leads: Rc<Cell<u16>>) -> (u16, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = listener.local_addr().unwrap().port();
        spawn_local(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let leads = Rc::clone(&leads);
                spawn_local(async move {
                    let mut bytes = [0; 256];
                    let count = stream.read(&mut bytes).await.unwrap();
                    if bytes[..count].starts_with(b"GET /redirect") {
                        let leader = leads.get();
                        let head = format!("HTTP/1.1 307 x\r\nLocation: //board-{leader}\r\n\r\n");
                        return stream.write_all(head.as_bytes()).await.unwrap();
                    }
                    stream.write_all(&number.to_be_bytes()).await.unwrap();
                    // A stream that says nothing more, as of a board whose power was cut.
                    std::future::pending::<()>().await;
                });
            }
        });
        (way, format!("board-{number}"))
    }

    async fn visit(door: u16) -> (u16, TcpStream) {
        let mut stream = TcpStream::connect(("127.0.0.1", door)).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        (stream.read_u16().await.unwrap(), stream)
    }

    #[tokio::test]
    async fn connections_go_to_the_leader_and_are_cut_when_another_leads() {
        let tasks = LocalSet::new();
        let story = tasks.run_until(async {
            let leads = Rc::new(Cell::new(1));
            // One of them is a board without power: its way accepts, and says nothing.
            let dark = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut ways = vec![(dark.local_addr().unwrap().port(), "board-9".to_owned())];
            ways.push(master(1, Rc::clone(&leads)).await);
            let ways = Rc::new(RefCell::new(ways));
            let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = door.local_addr().unwrap().port();
            spawn_local(serve(door, Rc::clone(&ways)));
            let (first, mut stream) = visit(port).await;
            assert_eq!(first, 1);
            // A master that came later.
            let second = master(2, Rc::clone(&leads)).await;
            ways.borrow_mut().push(second);
            leads.set(2);
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0, "it is cut");
            assert_eq!(visit(port).await.0, 2);
        });
        timeout(DEADLINE, story).await.unwrap();
    }
}
