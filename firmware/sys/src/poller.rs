//! epoll with one-shot registrations: the sleeping place of `init`'s executor.
//!
//! Called by `init::runtime`. Invariant: a descriptor reports at most once per [`Poller::arm`].

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::BorrowedFd;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Input, end of file, or an error.
    Readable,
    /// Room for output, or an error.
    Writable,
}

/// How many events one wait collects; more are collected by the next wait.
const EVENTS_PER_WAIT: usize = 16;

/// An epoll instance.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
}

impl Poller {
    /// Makes an empty one.
    pub fn new() -> Result<Poller, Errno> {
        Ok(Poller {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        })
    }

    /// Adds `fd`, not armed.
    pub fn add(&self, fd: BorrowedFd<'_>, key: u64) -> Result<(), Errno> {
        self.epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLONESHOT, key))
    }

    /// Lets `fd` report `interest` once, at once if it is ready already.
    pub fn arm(&self, fd: BorrowedFd<'_>, key: u64, interest: Interest) -> Result<(), Errno> {
        let flags = match interest {
            Interest::Readable => EpollFlags::EPOLLIN,
            Interest::Writable => EpollFlags::EPOLLOUT,
        };
        self.epoll.modify(
            fd,
            &mut EpollEvent::new(flags | EpollFlags::EPOLLONESHOT, key),
        )
    }

    /// Removes `fd`.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.epoll.delete(fd)
    }

    /// Sleeps until a descriptor reports or `timeout` microseconds (rounded up to milliseconds) are over; `None`
    /// sleeps without limit. Calls `ready` with the key of each that reported. A signal ends the sleep early.
    pub fn wait(&self, timeout: Option<u64>, mut ready: impl FnMut(u64)) {
        let timeout = match timeout {
            Some(micros) => {
                let millis = micros.div_ceil(1000).min(i32::MAX as u64) as i32;
                EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::ZERO)
            }
            None => EpollTimeout::NONE,
        };
        let mut events = [EpollEvent::empty(); EVENTS_PER_WAIT];
        let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        events
            .iter()
            .take(count)
            .for_each(|event| ready(event.data()));
    }
}
