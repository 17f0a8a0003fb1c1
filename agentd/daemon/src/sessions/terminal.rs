//! People at the terminals of tasks, which are there before they come and after they have gone.
//!
//! Called by the operator API with what `container::terminal` has brought. Invariants: one at a time types at a terminal; who
//! leaves leaves nothing behind.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use bytes::Bytes;
use nesos_sys::terminal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::output::MAX_PIECE;
use super::{Input, MAX_PIECES, Piece};
use crate::container::terminal::{Attached, Held};

/// The terminals at which somebody types, by their containers' ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keyboards(Rc<RefCell<BTreeSet<String>>>);

/// A place at one of them, until dropped.
#[derive(Debug)]
pub(crate) struct Keyboard {
    all: Keyboards,
    container: String,
}

impl Keyboards {
    /// `None`: it is taken.
    pub(crate) fn take(&self, container: String) -> Option<Keyboard> {
        let is_free = self.0.borrow_mut().insert(container.clone());
        let all = self.clone();
        is_free.then_some(Keyboard { all, container })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(&self.container);
    }
}

/// Somebody who types.
#[derive(Debug)]
pub(crate) struct Typist {
    near: OwnedFd,
    held: Held,
    _keyboard: Keyboard,
}

impl Typist {
    /// And where the keys go.
    pub(crate) fn new(attached: Attached, keyboard: Keyboard) -> io::Result<(Self, Input)> {
        let Attached { near, held, .. } = attached;
        // Not a pipe, but a descriptor that can be waited for like one.
        let keys = pipe::Sender::from_file_unchecked(near.try_clone()?.into())?;
        let typist = Self {
            near,
            held,
            _keyboard: keyboard,
        };
        Ok((typist, Input::new(keys, true)))
    }

    /// The window has another size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        // Fails only when the task is gone.
        let _ = terminal::resize(&self.near, rows, columns);
    }

    /// Waits for the end of the task.
    pub(crate) async fn ended(&self) {
        self.held.ended().await;
    }
}

/// What comes out of this pipe, until its end or until nobody listens.
pub(crate) fn show(source: OwnedFd) -> io::Result<mpsc::Receiver<Piece>> {
    let mut source = pipe::Receiver::from_owned_fd(source)?;
    let (listener, pieces) = mpsc::channel(MAX_PIECES);
    tokio::task::spawn_local(async move {
        let mut buffer = vec![0; MAX_PIECE];
        loop {
            let length = tokio::select! {
                length = source.read(&mut buffer) => length.unwrap_or(0),
                () = listener.closed() => 0,
            };
            let piece = Piece {
                is_error: false,
                bytes: Bytes::copy_from_slice(&buffer[..length]),
            };
            if length == 0 || listener.send(piece).await.is_err() {
                return;
            }
        }
    });
    Ok(pieces)
}
