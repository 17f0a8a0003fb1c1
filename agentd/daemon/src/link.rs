//! The link to the master: one task that dials, then carries frames both ways.
//!
//! Called by `run`. Invariants: at most one task exists; every dial ends in `LinkUp` or `LinkDown`, every link that was up
//! in `LinkDown`, unless it was hung up.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use agentd_core::{Event, LinkError};
use nesos_shell::framed::{self, FrameReader, LinkError as LinkBroke};
use nesos_wire::Uuid;
use nesos_wire::frame::{self, FrameError};
use nesos_wire::message::{AgentToMaster, MasterToAgent};
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::credentials::Secured;
use crate::dial::{self, MasterStream};
use crate::http::{self, App};
use crate::settings::Settings;

/// Most messages that wait to be written: a head of each of 1024 streams, and answers. More means a master that does not
/// read, and the link is given up.
const OUTBOX: usize = 2048;
/// Bytes after which nothing more is written along: what a TLS record holds.
const TOGETHER: usize = 16 * 1024;
/// Most connections at a time that the master has asked for; a session of a person has two.
const MAX_CALLBACKS: usize = 64;
/// How long a goodbye may take.
const FINISH_LIMIT: Duration = Duration::from_secs(2);
/// A master that takes no bytes for this long is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Current {
    number: u64,
    outbox: mpsc::Sender<AgentToMaster>,
    task: JoinHandle<()>,
}

/// The link, if there is one.
#[derive(Debug)]
pub(crate) struct Links {
    settings: Rc<Settings>,
    secured: Rc<Secured>,
    events: mpsc::Sender<Event>,
    current: Option<Current>,
    /// Address of the master of the newest link.
    master: Rc<Cell<Option<IpAddr>>>,
    /// Where the newest link was told to lead.
    leader: Option<String>,
    /// Connections that the master has asked for.
    callbacks: Rc<Semaphore>,
}

impl Links {
    pub(crate) fn new(settings: Rc<Settings>, events: mpsc::Sender<Event>) -> Self {
        if settings.is_plain {
            tracing::warn!(
                "--master_tls=off: what this agent and its master say to each other can be read and changed on the network"
            );
        }
        Self {
            settings,
            secured: Rc::default(),
            events,
            current: None,
            master: Rc::default(),
            leader: None,
            callbacks: Rc::new(Semaphore::new(MAX_CALLBACKS)),
        }
    }

    /// Where the master's address is kept, for displays.
    pub(crate) fn master(&self) -> Rc<Cell<Option<IpAddr>>> {
        self.master.clone()
    }

    pub(crate) fn dial(&mut self, number: u64, leader: Option<String>) {
        self.drop_current();
        self.leader.clone_from(&leader);
        let (outbox, receiver) = mpsc::channel(OUTBOX);
        let (settings, events) = (self.settings.clone(), self.events.clone());
        let secured = self.secured.clone();
        let master = self.master.clone();
        let task = tokio::task::spawn_local(async move {
            let error = match dial::dial(&settings, &secured, leader).await {
                Ok((stream, address)) => {
                    master.set(address);
                    carry(stream, number, receiver, &events).await
                }
                Err(error) => error,
            };
            // Fails only when the daemon is ending.
            let _ = events
                .send(Event::LinkDown {
                    link: number,
                    error,
                })
                .await;
        });
        self.current = Some(Current {
            number,
            outbox,
            task,
        });
    }

    /// Dials the master of the link once more, to serve it the operator API on that connection.
    pub(crate) fn call_back(&self, token: Uuid, app: Rc<App>) {
        let (settings, secured) = (self.settings.clone(), self.secured.clone());
        let (leader, callbacks) = (self.leader.clone(), self.callbacks.clone());
        tokio::task::spawn_local(async move {
            let Ok(_permit) = callbacks.try_acquire() else {
                tracing::warn!("the master asks for more than {MAX_CALLBACKS} connections");
                return;
            };
            match dial::dial(&settings, &secured, leader).await {
                Ok((mut stream, _)) => {
                    let first = AgentToMaster::CallBack { token };
                    match timeout(WRITE_LIMIT, framed::write(&mut stream, &first)).await {
                        Ok(Ok(())) => http::serve_master(stream, app).await,
                        _ => tracing::warn!("the master takes no bytes"),
                    }
                }
                Err(error) => tracing::warn!("cannot call the master back: {error}"),
            }
        });
    }

    pub(crate) fn hang_up(&mut self, number: u64) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.number == number)
        {
            self.drop_current();
        }
    }

    /// Queues messages. An overflow gives the link up: the event to step then.
    pub(crate) fn send(&mut self, messages: Vec<AgentToMaster>) -> Option<Event> {
        let current = self.current.as_ref()?;
        let link = current.number;
        for message in messages {
            if let Err(mpsc::error::TrySendError::Full(_)) = current.outbox.try_send(message) {
                self.drop_current();
                let error = LinkError::Failed("the master does not read what it is sent".into());
                return Some(Event::LinkDown { link, error });
            }
        }
        None
    }

    /// Writes what is queued and closes.
    pub(crate) async fn finish(&mut self) {
        if let Some(Current {
            outbox, mut task, ..
        }) = self.current.take()
        {
            drop(outbox);
            if timeout(FINISH_LIMIT, &mut task).await.is_err() {
                task.abort();
            }
        }
    }

    fn drop_current(&mut self) {
        if let Some(current) = self.current.take() {
            current.task.abort();
        }
    }
}

/// Carries frames until the link breaks, or the outbox is closed and empty.
async fn carry(
    stream: MasterStream,
    number: u64,
    outbox: mpsc::Receiver<AgentToMaster>,
    events: &mpsc::Sender<Event>,
) -> LinkError {
    let _ = events.send(Event::LinkUp { link: number }).await;
    let (reader, writer) = tokio::io::split(stream);
    let text = tokio::select! {
        text = read_all(FrameReader::new(reader), number, events) => text,
        text = write_all(writer, outbox) => text,
    };
    LinkError::Failed(text)
}

async fn read_all(
    mut reader: FrameReader<tokio::io::ReadHalf<MasterStream>>,
    link: u64,
    events: &mpsc::Sender<Event>,
) -> String {
    loop {
        match reader.read::<MasterToAgent>().await {
            Ok(Some(message)) => {
                if events.send(Event::Message { link, message }).await.is_err() {
                    return "the agent is ending".into();
                }
            }
            Ok(None) => return "the master closed the link".into(),
            Err(error) => return error.to_string(),
        }
    }
}

async fn write_all(
    mut writer: tokio::io::WriteHalf<MasterStream>,
    mut outbox: mpsc::Receiver<AgentToMaster>,
) -> String {
    while let Some(message) = outbox.recv().await {
        let bytes = match with_what_waits(&message, &mut outbox) {
            Ok(bytes) => bytes,
            Err(error) => return error.to_string(),
        };
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        match timeout(WRITE_LIMIT, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return LinkBroke::from(error).to_string(),
            Err(_) => return "the master takes no bytes".into(),
        }
    }
    // The link is over in any case.
    let _ = writer.shutdown().await;
    "the agent closed the link".into()
}

/// The message as it is sent, and with it those that wait behind it: when many tasks start or end at once, one record and one
/// system call carry the statuses of dozens.
fn with_what_waits(
    message: &AgentToMaster,
    outbox: &mut mpsc::Receiver<AgentToMaster>,
) -> Result<Vec<u8>, FrameError> {
    let mut bytes = frame::encode(message)?;
    while bytes.len() < TOGETHER
        && let Ok(message) = outbox.try_recv()
    {
        bytes.extend(frame::encode(&message)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queues pongs of these numbers.
    fn queued(count: u64) -> mpsc::Receiver<AgentToMaster> {
        let (sender, outbox) = mpsc::channel(OUTBOX);
        for sequence in 0..count {
            let pong = AgentToMaster::Pong { sequence };
            sender.try_send(pong).expect("room");
        }
        outbox
    }

    #[test]
    fn what_waits_is_sent_along_in_its_order() {
        let mut outbox = queued(3);
        let first = AgentToMaster::Pong { sequence: 9 };
        let bytes = with_what_waits(&first, &mut outbox).expect("small");
        let mut rest = bytes.as_slice();
        let mut sequences = Vec::new();
        while let Some(decoded) = frame::decode(rest) {
            let (message, used) = decoded.expect("whole");
            match message {
                AgentToMaster::Pong { sequence } => sequences.push(sequence),
                other => panic!("{other:?}"),
            }
            rest = &rest[used..];
        }
        assert_eq!((sequences, rest), (vec![9, 0, 1, 2], [].as_slice()));
    }

    #[test]
    fn no_more_goes_along_than_a_record_holds() {
        let mut outbox = queued(OUTBOX as u64);
        let large = AgentToMaster::FrameworkMessage {
            framework: nesos_wire::FrameworkId::new("f"),
            executor: nesos_wire::ExecutorId::new("e"),
            data: vec![0; TOGETHER],
        };
        let bytes = with_what_waits(&large, &mut outbox).expect("small");
        assert_eq!(bytes, frame::encode(&large).expect("small"));
        let pong = AgentToMaster::Pong { sequence: 0 };
        let one = frame::encode(&pong).expect("small").len();
        let bytes = with_what_waits(&pong, &mut outbox).expect("small");
        assert!(bytes.len() < TOGETHER + 2 * one, "{} bytes", bytes.len());
    }
}
