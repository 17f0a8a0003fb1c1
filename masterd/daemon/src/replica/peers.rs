//! Links between masters: each dials each other one and says on that connection what it has to say.
//!
//! Not what is said (raft's) and not who the members are (`replica`). A message that finds no link, or a full queue, is
//! dropped: raft repeats itself. Called by `replica` and by the server for those who dial. Invariants: nobody is heard
//! without a certificate of a master; of each master one connection at a time is heard, the newest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nesos_base::backoff::Backoff;
use nesos_base::time::Duration as Span;
use nesos_shell::address::is_own;
use nesos_shell::framed::{self, FrameReader, LinkError};
use nesos_shell::stale::{end_silent, end_unanswered};
use nesos_shell::tls::{self, TlsError};
use nesos_wire::masters::{MasterRecord, MasterToMaster, PART};
use nesos_wire::version::{self, Version};
use raft_proto::eraftpb::Message;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Messages to one master that wait to be written: all appends that raft sends ahead, and its other words.
const MAX_QUEUE: usize = 256;
/// Messages of all masters that wait to be heard.
const MAX_HEARD: usize = 1024;
/// First and last pause between dials: an election must not wait for them.
const DIAL_FIRST: Span = Span::from_millis(20);
const DIAL_LAST: Span = Span::from_millis(1000);
/// A master on the same network answers at once; this is for lost packets.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Handshake and introduction on a slow board.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long one piece of a message may take to leave.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// What is not acknowledged for so long ends the link, and the other master is dialled anew: longer than a lost packet or two, much shorter
/// than the pauses of the kernel's own attempts, for which a board that has its power again would wait.
const UNANSWERED_LIMIT: Duration = Duration::from_secs(5);
/// Largest message: a snapshot of the largest registry (70 MB), and room.
const MAX_MESSAGE: usize = 128 << 20;
/// Bytes of a frame beside a piece of a message.
const FRAME_ROOM: usize = 64;

/// What was heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A master said who it is.
    Introduced(Introduced),
    /// Another master's message.
    Message(Message),
    /// A master that had introduced itself has closed its connection.
    Lost(u64),
    /// A connection to this master has been made; what waited for it is lost.
    Connected(u64),
    /// The connection to a master has broken.
    Cut(u64),
    /// Masters that one knows who was dialled.
    Known(Vec<MasterRecord>),
    /// This host has another address than before: this one, `host:port`.
    Moved(String),
}

/// What a master said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Introduced {
    /// Who it is, and where.
    pub(crate) master: MasterRecord,
    /// The newest wire version that it speaks.
    pub(crate) version: Version,
}

/// Why a link does not come to be or ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// Nobody answers.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The stream.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The other end refuses.
    #[error("it refuses: {0}")]
    Refused(String),
    /// It says something that does not belong there.
    #[error("{0}")]
    Nonsense(&'static str),
    /// A message that raft cannot read.
    #[error("a message cannot be read: {0}")]
    Message(#[from] postcard::Error),
}

/// What the server needs to hear masters.
#[derive(Debug, Clone)]
pub(crate) struct Ear {
    cluster: String,
    heard: mpsc::Sender<Heard>,
    /// What is told to who dials.
    known: Arc<Mutex<Vec<MasterRecord>>>,
    /// Which connection of each master is heard.
    newest: Arc<Mutex<BTreeMap<u64, u64>>>,
}

/// All links.
#[derive(Debug)]
pub(crate) struct Peers {
    me: MasterRecord,
    /// Its address is not given, but what its host has.
    may_move: bool,
    config: Arc<ClientConfig>,
    ear: Ear,
    heard: mpsc::Receiver<Heard>,
    links: BTreeMap<String, Link>,
    addresses: BTreeMap<u64, String>,
}

#[derive(Debug)]
struct Link {
    queue: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peers {
    /// Links of this master, none yet.
    pub(crate) fn new(
        me: MasterRecord,
        may_move: bool,
        cluster: String,
        config: Arc<ClientConfig>,
    ) -> Self {
        let (sender, heard) = mpsc::channel(MAX_HEARD);
        let ear = Ear {
            cluster,
            heard: sender,
            known: Arc::default(),
            newest: Arc::default(),
        };
        Self {
            me,
            may_move,
            config,
            ear,
            heard,
            links: BTreeMap::new(),
            addresses: BTreeMap::new(),
        }
    }

    /// For the server.
    pub(crate) fn ear(&self) -> Ear {
        self.ear.clone()
    }

    /// From now on links are kept with these masters, and with those at `seeds`, whose numbers are not known.
    pub(crate) fn keep(&mut self, masters: &[MasterRecord], seeds: &[String]) {
        let others = masters
            .iter()
            .filter(|master| master.number != self.me.number);
        self.addresses = others
            .clone()
            .map(|master| (master.number, master.address.clone()))
            .collect();
        *lock(&self.ear.known) = masters.to_vec();
        let wanted = self.addresses.iter();
        let mut wanted: BTreeMap<&str, u64> = wanted
            .map(|(number, address)| (address.as_str(), *number))
            .collect();
        for seed in seeds.iter().filter(|seed| **seed != self.me.address) {
            wanted.entry(seed).or_default();
        }
        self.links
            .retain(|address, _| wanted.contains_key(address.as_str()));
        for (address, number) in wanted {
            if self.links.contains_key(address) {
                continue;
            }
            let (queue, messages) = mpsc::channel(MAX_QUEUE);
            let dialler = Dialler {
                address: address.to_owned(),
                number,
                introduction: self.introduction(),
                place: self.place(),
                config: Arc::clone(&self.config),
                heard: self.ear.heard.clone(),
            };
            let task = tokio::spawn(dialler.run(messages));
            self.links.insert(address.to_owned(), Link { queue, task });
        }
    }

    /// Sends what can be sent; raft repeats itself. Says whom a snapshot could not be sent: those raft repeats only when told.
    pub(crate) fn send(&self, messages: Vec<Message>) -> Vec<u64> {
        let mut missed = Vec::new();
        for message in messages {
            let (to, is_snapshot) = (message.to, !message.get_snapshot().is_empty());
            let address = self.addresses.get(&to);
            let link = address.and_then(|address| self.links.get(address));
            let is_queued = link.is_some_and(|link| link.queue.try_send(message).is_ok());
            if is_snapshot && !is_queued {
                missed.push(to);
            }
        }
        missed
    }

    /// The next thing heard. Loses nothing when dropped.
    pub(crate) async fn heard(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // Never: this holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// What was heard meanwhile.
    pub(crate) fn heard_already(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// From now on this master is at `address`: those that know it elsewhere are dialled anew.
    pub(crate) fn moved(&mut self, address: String) {
        self.me.address = address;
        self.links.clear();
    }

    /// Where it is, if that may change.
    fn place(&self) -> Option<SocketAddr> {
        let place = self.me.address.parse().ok();
        place.filter(|_| self.may_move)
    }

    fn introduction(&self) -> MasterToMaster {
        MasterToMaster::Introduce {
            version: version::CURRENT,
            cluster: self.ear.cluster.clone(),
            master: self.me.clone(),
        }
    }
}

/// One link that this master dials.
struct Dialler {
    address: String,
    /// Whose it is; 0: not known.
    number: u64,
    introduction: MasterToMaster,
    /// Where this master is, if that may change.
    place: Option<SocketAddr>,
    config: Arc<ClientConfig>,
    heard: mpsc::Sender<Heard>,
}

impl Dialler {
    async fn run(self, mut messages: mpsc::Receiver<Message>) {
        let mut pauses = Backoff::new(DIAL_FIRST, DIAL_LAST);
        let mut is_told = false;
        loop {
            match self.dial().await {
                Ok(mut reader) => {
                    pauses.reset();
                    is_told = false;
                    // What waited is old.
                    while messages.try_recv().is_ok() {}
                    let _ = self.heard.send(Heard::Connected(self.number)).await;
                    let error = carry(&mut reader, &mut messages).await;
                    tracing::info!("the link to the master at {} ended: {error}", self.address);
                    let _ = self.heard.send(Heard::Cut(self.number)).await;
                }
                Err(error) => {
                    // Said once: it may be away for long.
                    if !is_told {
                        tracing::info!("no link to the master at {}: {error}", self.address);
                    }
                    is_told = true;
                }
            }
            while messages.try_recv().is_ok() {}
            let mut random = [0; 4];
            // Without chance the pauses are equal, no more.
            let _ = tls::random(&mut random);
            let pause = pauses.next(u32::from_le_bytes(random));
            tokio::time::sleep(Duration::from_micros(pause.as_micros())).await;
        }
    }

    async fn dial(
        &self,
    ) -> Result<FrameReader<impl AsyncRead + AsyncWrite + Unpin + use<>>, PeerError> {
        let stream = timeout(CONNECT_LIMIT, TcpStream::connect(&self.address)).await;
        let stream = stream
            .map_err(|_| PeerError::Silent(CONNECT_LIMIT))?
            .map_err(PeerError::Connect)?;
        stream.set_nodelay(true).map_err(PeerError::Connect)?;
        end_unanswered(&stream, UNANSWERED_LIMIT).map_err(PeerError::Connect)?;
        // Followers have nothing to say to each other while all is well.
        end_silent(&stream, UNANSWERED_LIMIT * 3).map_err(PeerError::Connect)?;
        if let Some(address) = self.moved_to(&stream) {
            let _ = self.heard.send(Heard::Moved(address)).await;
        }
        let config = Arc::clone(&self.config);
        let greeting = async {
            let mut stream = tls::connect(config, stream).await?;
            framed::write(&mut stream, &self.introduction).await?;
            let mut reader = FrameReader::with_limit(stream, PART);
            match reader.read().await? {
                Some(MasterToMaster::Known { masters }) => {
                    let _ = self.heard.send(Heard::Known(masters)).await;
                    Ok(reader)
                }
                Some(MasterToMaster::Refused { reason }) => Err(PeerError::Refused(reason)),
                _ => Err(PeerError::Nonsense("it does not answer the introduction")),
            }
        };
        timeout(HANDSHAKE_LIMIT, greeting)
            .await
            .map_err(|_| PeerError::Silent(HANDSHAKE_LIMIT))?
    }

    /// Where others reach this master from now on, if its host does not have the address any more that they were told, or it
    /// was none that they reach.
    fn moved_to(&self, stream: &TcpStream) -> Option<String> {
        let told = self.place?;
        let here = stream.local_addr().ok()?.ip();
        let has_left = told.ip().is_loopback() || !is_own(told.ip());
        let has_moved = has_left && here != told.ip() && !here.is_loopback();
        has_moved.then(|| SocketAddr::new(here, told.port()).to_string())
    }
}

/// Writes messages until the link ends.
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    reader: &mut FrameReader<S>,
    messages: &mut mpsc::Receiver<Message>,
) -> PeerError {
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            // Nothing is said on it: this ends when the link does.
            said = reader.read::<MasterToMaster>() => return match said {
                Err(error) => error.into(),
                Ok(None) => PeerError::Nonsense("it closed the link"),
                Ok(Some(_)) => PeerError::Nonsense("it speaks out of turn"),
            },
        };
        let Some(message) = message else {
            return PeerError::Nonsense("it is not needed any more");
        };
        match timeout(WRITE_LIMIT, write(reader.stream(), &message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return PeerError::Silent(WRITE_LIMIT),
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, message: &Message) -> Result<(), PeerError> {
    let bytes = postcard::to_allocvec(message)?;
    let mut left = &*bytes;
    loop {
        let (part, rest) = left.split_at(left.len().min(PART - FRAME_ROOM));
        left = rest;
        let frame = MasterToMaster::Raft {
            is_last: left.is_empty(),
            bytes: part.to_vec(),
        };
        framed::write(stream, &frame).await?;
        if left.is_empty() {
            return Ok(());
        }
    }
}

impl Ear {
    /// Hears a master that has dialled and shown the certificate of master `certified`, until its link ends.
    pub(crate) async fn serve<S>(&self, stream: S, certified: u64, connection: u64)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut reader = FrameReader::with_limit(stream, PART);
        let judged = match reader.read_within(HANDSHAKE_LIMIT).await {
            Ok(Some(introduction)) => self.judge(introduction, certified),
            Ok(None) => return,
            Err(error) => Err(error.to_string()),
        };
        let (answer, master) = match judged {
            Ok(master) => {
                let masters = lock(&self.known).clone();
                (MasterToMaster::Known { masters }, Some(master))
            }
            Err(reason) => {
                tracing::warn!("refused master {certified:016x}: {reason}");
                (MasterToMaster::Refused { reason }, None)
            }
        };
        let answered = timeout(WRITE_LIMIT, framed::write(reader.stream(), &answer)).await;
        let (Some(master), Ok(Ok(()))) = (master, answered) else {
            return;
        };
        let number = master.master.number;
        lock(&self.newest).insert(number, connection);
        if self.heard.send(Heard::Introduced(master)).await.is_err() {
            return;
        }
        let ended = self.hear(&mut reader, number, connection).await;
        if lock(&self.newest).get(&number) == Some(&connection) {
            tracing::info!("master {number:016x} is not heard any more: {ended}");
            let _ = self.heard.send(Heard::Lost(number)).await;
        }
    }

    fn judge(&self, introduction: MasterToMaster, certified: u64) -> Result<Introduced, String> {
        let MasterToMaster::Introduce {
            version,
            cluster,
            master,
        } = introduction
        else {
            return Err("its first message was not an introduction".into());
        };
        version::negotiate(version).map_err(|error| error.to_string())?;
        if cluster != self.cluster {
            return Err(format!(
                "it is of cluster '{cluster}', this one is '{}'",
                self.cluster
            ));
        }
        if master.number != certified {
            return Err(format!(
                "it says to be master {:016x}, its certificate is for {certified:016x}",
                master.number
            ));
        }
        Ok(Introduced { master, version })
    }

    async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        reader: &mut FrameReader<S>,
        number: u64,
        connection: u64,
    ) -> PeerError {
        let mut parts: Vec<u8> = Vec::new();
        loop {
            let (is_last, bytes) = match reader.read().await {
                Ok(Some(MasterToMaster::Raft { is_last, bytes })) => (is_last, bytes),
                Ok(Some(_)) => return PeerError::Nonsense("it speaks out of turn"),
                Ok(None) => return PeerError::Nonsense("it closed the link"),
                Err(error) => return error.into(),
            };
            if lock(&self.newest).get(&number) != Some(&connection) {
                return PeerError::Nonsense("it has dialled anew");
            }
            if parts.len() + bytes.len() > MAX_MESSAGE {
                return PeerError::Nonsense("it sends a message that is too large");
            }
            parts.extend(bytes);
            if !is_last {
                continue;
            }
            let message: Message = match postcard::from_bytes(&std::mem::take(&mut parts)) {
                Ok(message) => message,
                Err(error) => return error.into(),
            };
            if message.from != number {
                return PeerError::Nonsense("it speaks for another master");
            }
            if self.heard.send(Heard::Message(message)).await.is_err() {
                return PeerError::Nonsense("masterd is stopping");
            }
        }
    }
}

/// The values behind these locks are valid at any moment, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_master_of_the_next_version_is_heard_and_one_that_is_too_old_is_not() {
        let (heard, _waiting) = mpsc::channel(1);
        let ear = Ear {
            cluster: "home".into(),
            heard,
            known: Arc::default(),
            newest: Arc::default(),
        };
        let master = MasterRecord {
            number: 7,
            name: "shelf-2".into(),
            address: "10.0.0.2:5050".into(),
            is_to_vote: true,
        };
        let judge = |version| {
            let introduction = MasterToMaster::Introduce {
                version: Version(version),
                cluster: "home".into(),
                master: master.clone(),
            };
            ear.judge(introduction, 7)
        };
        for version in [version::CURRENT.0, version::CURRENT.0 + 1] {
            let introduced = judge(version).unwrap();
            assert_eq!(introduced.master, master);
            assert_eq!(
                introduced.version,
                Version(version),
                "what it speaks is kept"
            );
        }
        let words = judge(version::MIN.0 - 1).unwrap_err();
        assert!(words.contains("the peer speaks wire version"), "{words}");
    }
}
