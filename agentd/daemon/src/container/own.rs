//! Containers that operators start: inside a running one, or alone. No master knows of them, and no framework.
//!
//! They are launched and held like tasks, outlive agentd like them, and are told apart by a file of their own beside the
//! helper's. Called by the operator API through [`Containerizer`], and by `life` when something becomes of one. Invariants:
//! one that is inside another ends before that one's end is told; at most [`MAX_OWN`] are known, and of ended ones the
//! oldest is forgotten first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use agentd_core::{ContainerEvent, Finish};
use nesos_api::v1;
use nesos_sys::machine;
use nesos_wire::executor::Outcome;
use nesos_wire::task::TaskSpec;
use nesos_wire::{AgentId, ContainerId, frame};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::launch::{Home, Request};
use super::{Containerizer, Context, Order};
use crate::sandbox;

/// Most of them, running and ended: each has a helper, and an operator types.
const MAX_OWN: usize = 32;
/// Beside the helper's files: what is to be known of one by the next agentd.
const ABOUT: &str = "own";
/// Largest such file: a command with its environment.
const MAX_ABOUT: u64 = 1024 * 1024;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    #[error("{MAX_OWN} containers of operators run on this agent, which is the limit")]
    TooMany,
    #[error("a container of this agent has this id")]
    Taken,
}

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Names its files and its cgroup: `PARENT.NAME` inside another.
    pub(crate) container: ContainerId,
    /// The container around it.
    pub(crate) parent: Option<ContainerId>,
    /// The whole id with all that are around it, as protobuf.
    id: Vec<u8>,
    /// In the form in which containers are launched. Inside a framework's container it has that one's key.
    pub(crate) spec: TaskSpec,
    pub(crate) sandbox: PathBuf,
    /// The sandbox of the container around it.
    pub(crate) around: Option<PathBuf>,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// Its program does not run yet.
    Launching,
    Running,
    /// It never ran, and why.
    Failed(String),
    Ended(Box<Finish>),
    /// Nothing was left of it, not even how it ended.
    Vanished,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) wanted: Wanted,
    orders: mpsc::Sender<Order>,
    state: watch::Sender<State>,
    number: u64,
}

impl Own {
    /// The whole id with all that are around it.
    pub(crate) fn id(&self) -> v1::ContainerID {
        let id = v1::ContainerID::from_protobuf(&self.wanted.id);
        // Written by this program; the name says nearly the same.
        id.unwrap_or_else(|_| nesos_api::tasks::container_id(self.wanted.container.as_str()))
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(&*self.state.borrow(), State::Launching | State::Running)
    }

    /// What it is when it is not that any more.
    pub(crate) async fn after(&self, before: &[State]) -> State {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| !before.contains(state)).await {
            Ok(state) => state.clone(),
            // The sender is this one's own.
            Err(_) => State::Vanished,
        }
    }

    /// To its first process and that one's group. SIGKILL ends all of it, whatever it is doing.
    pub(crate) fn signal(&self, number: u8) {
        // Full: it has been told often enough. Closed: it has ended.
        let _ = self.orders.try_send(Order::Signal(number));
        if number == KILL {
            let _ = self.orders.try_send(Order::Destroy);
        }
    }

    async fn end(&self) {
        self.signal(KILL);
        self.after(&[State::Launching, State::Running]).await;
    }
}

/// What ends all of a container.
const KILL: u8 = 9;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Register {
    known: RefCell<BTreeMap<ContainerId, Rc<Own>>>,
    last: Cell<u64>,
}

impl Register {
    pub(super) fn get(&self, container: &ContainerId) -> Option<Rc<Own>> {
        self.known.borrow().get(container).cloned()
    }

    pub(super) fn all(&self) -> Vec<Rc<Own>> {
        self.known.borrow().values().cloned().collect()
    }

    fn add(&self, wanted: Wanted, orders: mpsc::Sender<Order>) -> Rc<Own> {
        let number = self.last.get();
        self.last.set(number + 1);
        let own = Rc::new(Own {
            wanted,
            orders,
            state: watch::Sender::new(State::Launching),
            number,
        });
        let container = own.wanted.container.clone();
        self.known.borrow_mut().insert(container, own.clone());
        own
    }

    fn inside(&self, parent: &ContainerId) -> Vec<Rc<Own>> {
        let mut all = self.all();
        all.retain(|own| own.wanted.parent.as_ref() == Some(parent));
        all
    }
}

impl Context {
    /// Something became of one of these.
    pub(super) fn hear(&self, own: &Own, event: ContainerEvent) {
        let next = match event {
            ContainerEvent::Started => {
                // From now on the next agentd finds it, and not a stranger.
                if let Err(error) =
                    write_about(&self.run_directory(&own.wanted.container), &own.wanted)
                {
                    tracing::warn!("container {}: {error}", own.wanted.container);
                }
                return;
            }
            // Displays ask for it.
            ContainerEvent::Networked { .. } => return,
            ContainerEvent::Running => State::Running,
            ContainerEvent::LaunchFailed { message } => State::Failed(message),
            ContainerEvent::Finished(finish) => match &finish.record.outcome {
                Outcome::NotStarted(why) => State::Failed(why.clone()),
                _ => State::Ended(Box::new(finish)),
            },
            ContainerEvent::Vanished => State::Vanished,
        };
        if let State::Failed(_) = next {
            // Nobody has been told that it is there.
            self.forget(own);
            bury_sandbox(own);
        }
        own.state.send_replace(next);
    }

    /// Ends all that are inside this one, which has ended, and forgets them.
    pub(super) async fn end_inside(&self, parent: &ContainerId) {
        for own in self.own.inside(parent) {
            own.end().await;
            self.forget(&own);
        }
    }

    fn forget(&self, own: &Own) {
        let container = &own.wanted.container;
        self.own.known.borrow_mut().remove(container);
        let directory = self.run_directory(container);
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {error}", directory.display());
        }
    }
}

impl Containerizer {
    /// One of them.
    pub(crate) fn own(&self, container: &ContainerId) -> Option<Rc<Own>> {
        self.context.own.get(container)
    }

    /// All of them, ended ones too.
    pub(crate) fn all_own(&self) -> Vec<Rc<Own>> {
        self.context.own.all()
    }

    /// Begins one; [`Own::after`] tells what becomes of it.
    pub(crate) fn launch_own(
        &mut self,
        wanted: Wanted,
        agent: AgentId,
        endpoint: String,
    ) -> Result<Rc<Own>, OwnError> {
        let container = wanted.container.clone();
        if self.context.run_directory(&container).exists() {
            return Err(OwnError::Taken);
        }
        self.make_room()?;
        let request = Request {
            spec: wanted.spec.clone(),
            agent,
            home: Home::Own {
                sandbox: wanted.sandbox.clone(),
                around: wanted.around.clone(),
                is_inside: wanted.parent.is_some(),
            },
            endpoint,
        };
        let (life, orders) = self.begin(container);
        let own = self.context.own.add(wanted, orders);
        tokio::task::spawn_local(life.launch(request));
        Ok(own)
    }

    /// Removes what is left of one that has ended: its record, its files. `false`: it has not.
    pub(crate) fn remove_own(&self, own: &Own) -> bool {
        if !own.is_over() {
            return false;
        }
        self.context.forget(own);
        bury_sandbox(own);
        true
    }

    /// Finds those that an earlier agentd has left, as far as what they are in is one of `known` or found too.
    pub(crate) fn adopt_own(&mut self, known: &[ContainerId]) {
        let runs = &self.context.settings.runtime_dir;
        let mut found: BTreeMap<ContainerId, About> = BTreeMap::new();
        for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
            if let Some(about) = read_about(&entry.path()) {
                found.insert(about.wanted.container.clone(), about);
            }
        }
        let boot = machine::boot_id().unwrap_or_default();
        // Names grow from the outside in, so what is around one has been decided on before.
        for (container, about) in found {
            let is_held = match &about.wanted.parent {
                None => true,
                Some(parent) => known.contains(parent) || self.own(parent).is_some(),
            };
            if !is_held {
                continue;
            }
            let (life, orders) = self.begin(container);
            self.context.own.add(about.wanted, orders);
            tokio::task::spawn_local(life.adopt(about.boot != boot));
        }
    }

    /// Ends all that are in no framework's container, and what is inside them.
    pub(crate) fn end_own(&self) -> impl Future<Output = ()> + use<> {
        let mut all = self.all_own();
        all.retain(|own| own.wanted.parent.is_none());
        async move {
            for own in all {
                own.end().await;
            }
        }
    }

    fn make_room(&self) -> Result<(), OwnError> {
        let all = self.all_own();
        if all.len() < MAX_OWN {
            return Ok(());
        }
        let ended = all.iter().filter(|own| own.is_over());
        let oldest = ended.min_by_key(|own| own.number);
        self.context.forget(oldest.ok_or(OwnError::TooMany)?);
        Ok(())
    }
}

impl Wanted {
    /// It is in no framework's container.
    pub(crate) fn is_standalone(&self) -> bool {
        self.spec.key.framework.as_str().is_empty()
    }

    /// `parent`: the container around it and that one's sandbox.
    pub(crate) fn new(
        container: ContainerId,
        parent: Option<(ContainerId, PathBuf)>,
        id: &v1::ContainerID,
        spec: TaskSpec,
        sandbox: PathBuf,
    ) -> Self {
        let (parent, around) = parent.unzip();
        Self {
            container,
            parent,
            id: id.to_protobuf(),
            spec,
            sandbox,
            around,
        }
    }
}

/// What the file beside the helper says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct About {
    wanted: Wanted,
    /// Kernel boot id: a run directory on a disk outlives what ran.
    boot: String,
}

/// Its files go on another thread, as there may be many; its name is free at once.
fn bury_sandbox(own: &Own) {
    let sandbox = &own.wanted.sandbox;
    let grave = sandbox::grave(sandbox, own.number);
    let grave = match fs::rename(sandbox, &grave) {
        Ok(()) => grave,
        Err(_) => sandbox.clone(),
    };
    tokio::task::spawn_blocking(move || {
        if let Err(error) = sandbox::remove_own(&grave) {
            tracing::warn!("{error}");
        }
    });
}

fn write_about(directory: &Path, wanted: &Wanted) -> Result<(), String> {
    let about = About {
        wanted: wanted.clone(),
        boot: machine::boot_id().unwrap_or_default(),
    };
    let mut bytes = frame::encode(&about).map_err(|error| error.to_string())?;
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    let path = directory.join(ABOUT);
    fs::write(&path, bytes).map_err(|error| format!("write {}: {error}", path.display()))
}

/// A torn one belongs to an agentd that died while nobody had been told of the container.
fn read_about(directory: &Path) -> Option<About> {
    let path = directory.join(ABOUT);
    if fs::metadata(&path).ok()?.len() > MAX_ABOUT {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    let (frame, checksum) = bytes.split_at(bytes.len().checked_sub(4)?);
    if crc32fast::hash(frame).to_le_bytes() != checksum {
        return None;
    }
    let (about, used): (About, usize) = frame::decode(frame)?.ok()?;
    let is_its = directory.file_name()?.to_str()? == about.wanted.container.as_str();
    (used == frame.len() && is_its).then_some(about)
}
