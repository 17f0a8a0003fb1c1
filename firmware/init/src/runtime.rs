//! The executor of PID 1: embassy's raw executor on one thread, its clock, and readiness of file descriptors, all
//! asleep in one epoll. Not a general runtime: one thread, one instance, tasks that live for ever.
//!
//! Called by every task of `init`. Invariant: nothing here blocks but [`run`] between two rounds of tasks, so the
//! watchdog task is starved exactly when a task hangs. The only `unsafe` outside `nesos-sys` is here: embassy's two
//! link-time symbols (clock, pender) and the executor's `poll`.
#![allow(unsafe_code)]

use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Poll, Waker};
use critical_section::Mutex;
use embassy_executor::{Spawner, raw};
use embassy_time_queue_utils::Queue;
use nesos_sys::poller::{Interest, Poller};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Embassy's clock: the kernel's boot clock in microseconds, so that console times and timers agree.
struct BootClock {
    queue: Mutex<RefCell<Queue>>,
}

impl embassy_time_driver::Driver for BootClock {
    fn now(&self) -> u64 {
        nesos_sys::clock::since_boot_micros()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        // `run` asks for the next expiration before every sleep, so no alarm has to be set here.
        critical_section::with(|cs| self.queue.borrow_ref_mut(cs).schedule_wake(at, waker));
    }
}

embassy_time_driver::time_driver_impl!(static CLOCK: BootClock = BootClock { queue: Mutex::new(RefCell::new(Queue::new())) });

/// True if a task was woken since the executor last ran.
static PENDING: AtomicBool = AtomicBool::new(false);

/// Embassy calls this when a task becomes ready.
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    PENDING.store(true, Ordering::Relaxed);
}

thread_local! {
    static SPAWNER: Cell<Option<Spawner>> = const { Cell::new(None) };
    static REACTOR: RefCell<Option<Reactor>> = const { RefCell::new(None) };
}

/// Wakers of the tasks that wait for descriptors, by registration key.
struct Reactor {
    poller: Poller,
    next_key: u64,
    slots: BTreeMap<u64, Slot>,
}

#[derive(Default)]
struct Slot {
    waker: Option<Waker>,
    ready: bool,
}

/// Runs `first` and every task it spawns, for ever.
pub(crate) fn run(
    first: impl Future<Output = ()> + 'static,
) -> io::Result<core::convert::Infallible> {
    let reactor = Reactor {
        poller: Poller::new()?,
        next_key: 0,
        slots: BTreeMap::new(),
    };
    REACTOR.set(Some(reactor));
    let executor: &'static raw::Executor =
        Box::leak(Box::new(raw::Executor::new(core::ptr::null_mut())));
    SPAWNER.set(Some(executor.spawner()));
    spawn(first);
    loop {
        PENDING.store(false, Ordering::Relaxed);
        // SAFETY: only this loop polls, on the thread that made the executor, and never from inside a task.
        unsafe { executor.poll() };
        sleep_until_ready();
    }
}

/// Starts a task. Its memory is never given back: only for tasks that live as long as the board.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    let storage = Box::leak(Box::new(raw::TaskStorage::new()));
    // A storage that was just made is free, and `run` has set the spawner before the first task.
    if let (Ok(token), Some(spawner)) = (storage.spawn(|| task), SPAWNER.get()) {
        spawner.spawn(token);
    }
}

fn sleep_until_ready() {
    let now = nesos_sys::clock::since_boot_micros();
    let next = critical_section::with(|cs| CLOCK.queue.borrow_ref_mut(cs).next_expiration(now));
    let timeout = match next {
        _ if PENDING.load(Ordering::Relaxed) => Some(0),
        u64::MAX => None,
        at => Some(at.saturating_sub(now)),
    };
    REACTOR.with_borrow_mut(|reactor| {
        let Some(reactor) = reactor else { return };
        let slots = &mut reactor.slots;
        reactor.poller.wait(timeout, |key| {
            if let Some(slot) = slots.get_mut(&key) {
                slot.ready = true;
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            }
        });
    });
}

/// A descriptor that tasks can wait for.
#[derive(Debug)]
pub(crate) struct Watched<T: AsFd> {
    inner: T,
    key: u64,
}

impl<T: AsFd> Watched<T> {
    /// Takes over `inner`, which should be non-blocking.
    pub(crate) fn new(inner: T) -> io::Result<Watched<T>> {
        let key = with_reactor(|reactor| {
            let key = reactor.next_key;
            reactor.poller.add(inner.as_fd(), key)?;
            reactor.next_key += 1;
            reactor.slots.insert(key, Slot::default());
            Ok(key)
        })?;
        Ok(Watched { inner, key })
    }

    /// Waits until a read would not block.
    pub(crate) async fn readable(&self) {
        self.wait(Interest::Readable).await;
    }

    /// Waits until a write would not block.
    pub(crate) async fn writable(&self) {
        self.wait(Interest::Writable).await;
    }

    /// The descriptor's owner.
    pub(crate) fn get(&self) -> &T {
        &self.inner
    }

    /// The descriptor's owner.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    async fn wait(&self, interest: Interest) {
        let mut armed = false;
        poll_fn(|context| {
            let done = with_reactor(|reactor| {
                let fd: BorrowedFd<'_> = self.inner.as_fd();
                let Some(slot) = reactor.slots.get_mut(&self.key) else {
                    return Ok(true);
                };
                if !armed {
                    slot.ready = false;
                    reactor.poller.arm(fd, self.key, interest)?;
                    armed = true;
                }
                slot.waker = Some(context.waker().clone());
                Ok(slot.ready)
            });
            // A descriptor that cannot be armed counts as ready: the read or write then names the error.
            if done.unwrap_or(true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        // Fails only if the descriptor is gone already, which removes it as well.
        let _ = with_reactor(|reactor| {
            reactor.slots.remove(&self.key);
            Ok(reactor.poller.remove(self.inner.as_fd())?)
        });
    }
}

fn with_reactor<R>(action: impl FnOnce(&mut Reactor) -> io::Result<R>) -> io::Result<R> {
    REACTOR.with_borrow_mut(|reactor| match reactor {
        Some(reactor) => action(reactor),
        None => Err(io::Error::other("the executor does not run yet")),
    })
}

/// A wake-up call from one task to another; rings that nobody has heard yet count as one.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    /// Wakes the task that waits, or the next one that will.
    pub(crate) fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for a ring. One task at a time may wait.
    pub(crate) async fn heard(&self) {
        poll_fn(|context| {
            if self.rung.take() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Waits for whichever of two is first and drops the other.
pub(crate) async fn either<A, B>(
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
) -> Either<A, B> {
    let (mut a, mut b) = (core::pin::pin!(a), core::pin::pin!(b));
    poll_fn(|context| {
        if let Poll::Ready(a) = a.as_mut().poll(context) {
            return Poll::Ready(Either::First(a));
        }
        b.as_mut().poll(context).map(Either::Second)
    })
    .await
}

/// What [`either`] saw first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Either<A, B> {
    /// The first future ended.
    First(A),
    /// The second future ended.
    Second(B),
}
