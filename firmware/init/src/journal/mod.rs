//! The board's log: takes journald datagrams and the daemons' output, keeps a ring, echoes warnings to the serial
//! console, and hands the ring to whoever connects to /run/nesos/log.
//!
//! Not durable, by purpose: an idle board writes nothing. Called by `boot` and `services`. Invariant: a sender never
//! waits for a reader of the log; PID 1 itself never sends to the socket.

mod record;
mod ring;

use crate::board::Board;
use crate::phase::{Outcome, console_line};
use crate::runtime::{self, Watched};
use embassy_time::{Duration, Instant, with_timeout};
use nesos_sys::journal_socket::JournalSocket;
use record::{LINE_MAX, Record, printable, priority_name};
use ring::{Brake, Ring};
use std::cell::RefCell;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;

/// Where journald's clients send.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Where the ring is read: connect, read lines to the end.
const READER: &str = "/run/nesos/log";
/// Bytes read of one record; its text is kept up to [`LINE_MAX`], the rest are other fields.
const RECORD_BYTES: usize = 8 * 1024;
/// Records taken before other tasks get their turn.
const RECORDS_PER_TURN: usize = 64;
/// A reader of the ring that takes no bytes for this long is dropped; the next one waits for it.
const READER_PATIENCE: Duration = Duration::from_secs(2);
/// The least important priority that goes to the console.
const CONSOLE_PRIORITY: u8 = 4;
/// Priority of plain output: daemons log by the socket, so what they print is a panic or a refusal to start.
pub(crate) const PRIORITY_OUTPUT: u8 = 4;

/// The ring and the console's brake.
#[derive(Debug)]
pub(crate) struct Journal {
    ring: RefCell<Ring>,
    brake: RefCell<Brake>,
}

impl Journal {
    /// An empty one.
    pub(crate) fn new(now: Instant) -> Journal {
        Journal {
            ring: RefCell::new(Ring::new()),
            brake: RefCell::new(Brake::new(now)),
        }
    }

    /// Adds something that `init` did about a daemon; not echoed.
    pub(crate) fn note(&self, board: &Board, name: &str, text: &str) {
        let record = Record {
            priority: 6,
            identifier: Some("init".to_owned()),
            text: format!("{name} {text}"),
        };
        self.add(board, &record, "init");
    }

    /// Adds a line that a daemon printed.
    pub(crate) fn output(&self, board: &Board, name: &str, priority: u8, line: &[u8]) {
        let text = printable(line, LINE_MAX);
        if !text.is_empty() {
            self.add(
                board,
                &Record {
                    priority,
                    identifier: Some(name.to_owned()),
                    text,
                },
                name,
            );
        }
    }

    fn add(&self, board: &Board, record: &Record, sender: &str) {
        let who = record.identifier.as_deref().unwrap_or(sender);
        let text = format!("{:<4} {}", priority_name(record.priority), record.text);
        let line = console_line(Instant::now(), who, &text);
        self.ring.borrow_mut().push(&line);
        if record.priority > CONSOLE_PRIORITY {
            return;
        }
        if let Some(held_back) = self.brake.borrow_mut().pass(Instant::now()) {
            if held_back > 0 {
                board.say(
                    "journal",
                    &format!("{held_back} lines not shown here; they are in {READER}"),
                );
            }
            board.say_line(&line);
        }
    }
}

/// Opens both sockets.
pub(crate) fn start(board: Rc<Board>) -> Outcome {
    match open(&board) {
        Ok(()) => Outcome::Done(String::new()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn open(board: &Rc<Board>) -> io::Result<()> {
    let socket = Path::new(SOCKET);
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    runtime::spawn(receive(
        board.clone(),
        Watched::new(JournalSocket::bind(socket)?)?,
    ));
    let listener = UnixListener::bind(READER)?;
    listener.set_nonblocking(true)?;
    runtime::spawn(serve(board.clone(), Watched::new(listener)?));
    Ok(())
}

async fn receive(board: Rc<Board>, socket: Watched<JournalSocket>) {
    let mut buffer = vec![0u8; RECORD_BYTES];
    loop {
        socket.readable().await;
        for _ in 0..RECORDS_PER_TURN {
            let received = match socket.get().receive(&mut buffer) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                // A malformed control message: that record is lost, the next may be right.
                Err(_) => break,
            };
            if let Some(record) = Record::parse(&buffer[..received.length]) {
                let sender = board.services.name_of(received.pid);
                board.journal.add(&board, &record, sender.unwrap_or("task"));
            }
        }
    }
}

/// Hands the ring to one reader after the other.
async fn serve(board: Rc<Board>, listener: Watched<UnixListener>) {
    loop {
        listener.readable().await;
        let Ok((stream, _)) = listener.get().accept() else {
            continue;
        };
        // A reader that goes away or stalls has itself to blame.
        let _ = dump(&board, stream).await;
    }
}

async fn dump(board: &Board, stream: UnixStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut stream = Watched::new(stream)?;
    // What is added while the reader reads is for the next reader: otherwise a busy board's dump never ends.
    let end = board.journal.ring.borrow().end();
    let mut place = 0;
    loop {
        let found = board
            .journal
            .ring
            .borrow()
            .line_at(place)
            .filter(|(_, next)| *next <= end);
        let Some((mut line, next)) = found else {
            return Ok(());
        };
        line.push(b'\n');
        place = next;
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            match stream.get_mut().write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    with_timeout(READER_PATIENCE, stream.writable())
                        .await
                        .map_err(|_| io::ErrorKind::TimedOut)?;
                }
                Err(e) => return Err(e),
            }
        }
    }
}
