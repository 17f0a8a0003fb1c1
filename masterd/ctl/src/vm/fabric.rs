//! The Ethernet switch that joins the boards: learns which address is behind which connection, floods the rest.
//!
//! A hub will not do: slirp takes every frame that it sees for itself and resets the boards' connections to each other. Runs as a
//! process of its own (`nesos vm switch`, started by `up`). QEMU's stream protocol: each frame after its length in four bytes.
//! Invariant: a port that does not read loses frames, as with any switch; nobody waits for it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::control::{self, Rooms};
use super::loss::Loss;
use super::{VmError, door};
use crate::args::VmSwitchArgs;

/// Largest frame: QEMU's own bound.
const MAX_FRAME: usize = 69 * 1024;
/// Destination, source, type.
const MIN_FRAME: usize = 14;
/// Frames that wait for a port: a burst of TCP's default window.
const MAX_QUEUE: usize = 256;
/// Addresses remembered: boards have one each; a program that makes up addresses must not fill the memory.
const MAX_ADDRESSES: usize = 1024;
/// Connections: sixteen boards, the way out, and those that reserve addresses.
const MAX_PORTS: usize = 64;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];
type Frame = Rc<[u8]>;

/// Serves the sockets for ever, and the door if there is one.
pub(super) async fn run(args: &VmSwitchArgs) -> Result<(), VmError> {
    let socket: &Path = &args.socket;
    // The person's terminal may close; the cluster stays.
    let _ = nix::unistd::setsid();
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| VmError::File {
            operation,
            path,
            source,
        }
    };
    let door = match args.door {
        Some(port) => {
            let opened = TcpListener::bind(("127.0.0.1", port)).await;
            Some(opened.map_err(|source| VmError::Port { port, source })?)
        }
        None => None,
    };
    let control = UnixListener::bind(&args.control).map_err(failed("listen on", &args.control))?;
    let listener = UnixListener::bind(socket).map_err(failed("listen on", socket))?;
    let ways = Rc::new(RefCell::new(args.ways.clone()));
    LocalSet::new()
        .run_until(async {
            let table = Rc::new(RefCell::new(Table::default()));
            let rooms = Rooms {
                loss: Rc::clone(&table.borrow().loss),
                ways: door.as_ref().map(|_| Rc::clone(&ways)),
            };
            if let Some(door) = door {
                tokio::task::spawn_local(door::serve(door, ways));
            }
            tokio::task::spawn_local(control::serve(control, rooms));
            loop {
                let (stream, _) = listener
                    .accept()
                    .await
                    .map_err(failed("accept on", socket))?;
                serve(&table, stream);
            }
        })
        .await
}

fn serve(table: &Rc<RefCell<Table>>, stream: UnixStream) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUE);
    // A stream too many is closed by being dropped.
    let Some(port) = table.borrow_mut().open(sender) else {
        return;
    };
    let (reader, writer) = stream.into_split();
    let table = Rc::clone(table);
    tokio::task::spawn_local(async move {
        // Either end means that the emulator is gone.
        tokio::select! {
            _ = take_frames(&table, port, reader) => {}
            _ = give_frames(receiver, writer) => {}
        }
        table.borrow_mut().close(port);
    });
}

async fn take_frames(
    table: &RefCell<Table>,
    port: u32,
    mut reader: OwnedReadHalf,
) -> io::Result<()> {
    loop {
        let length = usize::try_from(reader.read_u32().await?).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; length];
        reader.read_exact(&mut frame).await?;
        table.borrow_mut().pass_on(port, frame.into());
    }
}

async fn give_frames(
    mut receiver: mpsc::Receiver<Frame>,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(frame) = receiver.recv().await {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        writer
            .write_all(&[&length.to_be_bytes()[..], &frame].concat())
            .await?;
    }
    Ok(())
}

/// Who is where.
#[derive(Debug, Default)]
struct Table {
    ports: BTreeMap<u32, mpsc::Sender<Frame>>,
    addresses: BTreeMap<Mac, u32>,
    next: u32,
    loss: Rc<RefCell<Loss>>,
}

impl Table {
    fn open(&mut self, sender: mpsc::Sender<Frame>) -> Option<u32> {
        if self.ports.len() >= MAX_PORTS {
            return None;
        }
        self.next = self.next.wrapping_add(1);
        self.ports.insert(self.next, sender);
        Some(self.next)
    }

    fn close(&mut self, port: u32) {
        self.ports.remove(&port);
        self.addresses.retain(|_, at| *at != port);
    }

    fn pass_on(&mut self, from: u32, frame: Frame) {
        let Some((destination, source)) = addresses(&frame) else {
            return;
        };
        let known = self.addresses.contains_key(&source);
        if !is_group(source) && (known || self.addresses.len() < MAX_ADDRESSES) {
            self.addresses.insert(source, from);
        }
        // The cable it comes from is a bad one.
        if self.loss.borrow_mut().takes(destination, source) {
            return;
        }
        let give = |sender: &mpsc::Sender<Frame>| {
            // Full: the frame is lost, and TCP slows down.
            let _ = sender.try_send(Rc::clone(&frame));
        };
        match self
            .addresses
            .get(&destination)
            .filter(|_| !is_group(destination))
        {
            Some(to) if *to == from => {}
            Some(to) => self.ports.get(to).into_iter().for_each(give),
            None => self
                .ports
                .iter()
                .filter(|(port, _)| **port != from)
                .for_each(|(_, sender)| give(sender)),
        }
    }
}

fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    if frame.len() < MIN_FRAME {
        return None;
    }
    Some((
        frame.get(..6)?.try_into().ok()?,
        frame.get(6..12)?.try_into().ok()?,
    ))
}

/// Broadcast or multicast.
pub(super) fn is_group(address: Mac) -> bool {
    address[0] & 1 == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: Mac = [2, 0, 0, 0, 0, 1];
    const B: Mac = [2, 0, 0, 0, 0, 2];
    const ALL: Mac = [0xff; 6];

    fn frame(to: Mac, from: Mac) -> Frame {
        [&to[..], &from, &[8, 0]].concat().into()
    }

    fn table() -> (Table, Vec<u32>, Vec<mpsc::Receiver<Frame>>) {
        let mut table = Table::default();
        let (mut ports, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (sender, receiver) = mpsc::channel(MAX_QUEUE);
            ports.push(table.open(sender).unwrap());
            receivers.push(receiver);
        }
        (table, ports, receivers)
    }

    fn got(receivers: &mut [mpsc::Receiver<Frame>]) -> Vec<bool> {
        receivers
            .iter_mut()
            .map(|receiver| receiver.try_recv().is_ok())
            .collect()
    }

    #[test]
    fn what_is_for_one_goes_to_one() {
        let (mut table, ports, mut receivers) = table();
        table.pass_on(ports[0], frame(ALL, A));
        assert_eq!(
            got(&mut receivers),
            [false, true, true],
            "to all is to all others"
        );
        table.pass_on(ports[1], frame(A, B));
        assert_eq!(got(&mut receivers), [true, false, false], "A is known");
        table.pass_on(ports[0], frame(B, A));
        assert_eq!(got(&mut receivers), [false, true, false]);
        table.pass_on(ports[2], frame([2, 9, 9, 9, 9, 9], B));
        assert_eq!(
            got(&mut receivers),
            [true, true, false],
            "an unknown address is to all others"
        );
    }

    #[test]
    fn what_is_lost_reaches_nobody() {
        let (mut table, ports, mut receivers) = table();
        let boards = [1, 2].map(|number| [0x52, 0x54, 0, 0x6e, 0x65, number]);
        table.loss.borrow_mut().set(1000, 1);
        table.pass_on(ports[0], frame(ALL, boards[0]));
        table.pass_on(ports[1], frame(boards[0], boards[1]));
        assert_eq!(got(&mut receivers), [false; 3]);
        // Where who lost it is stands all the same.
        table.loss.borrow_mut().set(0, 1);
        table.pass_on(ports[1], frame(boards[0], boards[1]));
        assert_eq!(got(&mut receivers), [true, false, false]);
    }

    #[test]
    fn a_closed_port_is_forgotten_and_a_full_one_loses_frames() {
        let (mut table, ports, mut receivers) = table();
        table.pass_on(ports[0], frame(ALL, A));
        let _ = got(&mut receivers);
        for _ in 0..2 * MAX_QUEUE {
            table.pass_on(ports[1], frame(A, B));
        }
        assert_eq!(receivers[0].len(), MAX_QUEUE);
        table.close(ports[0]);
        table.pass_on(ports[1], frame(A, B));
        assert_eq!(got(&mut receivers[1..]), [false, true]);
        table.pass_on(ports[1], frame(A, B)[..8].into());
        assert_eq!(
            got(&mut receivers[1..]),
            [false, false],
            "half a header is nothing"
        );
    }
}
