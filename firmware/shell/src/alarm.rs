//! An alarm clock that is the kernel's.
//!
//! Not for what hardly ever rings: tokio's timers do for that, and cost nothing until then. But one that is more than 64 ms away
//! wakes the process up twice, on the way and at the time, and a leading master's heartbeats are the alarms of an idle group.
//! Called by masterd's loop. Invariant: it rings at the time it was last set to, and not before.

use std::io;
use std::os::fd::AsFd;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

/// The kernel says in 8 bytes how often it rang. A read that leaves room needs no second one to find out that there is no more.
const ROOM: usize = 16;

/// See the module.
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    /// The same timer. tokio has no name for it, but reads it as it reads a pipe.
    bell: pipe::Receiver,
    set_to: Option<Instant>,
}

impl Alarm {
    /// One that is not set.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let bell = timer.as_fd().try_clone_to_owned()?;
        Ok(Self {
            timer,
            bell: pipe::Receiver::from_owned_fd_unchecked(bell)?,
            set_to: None,
        })
    }

    /// Waits until then. May be dropped and called again.
    pub async fn ring(&mut self, at: Instant) {
        if self.set_to != Some(at) && self.set(at).is_err() {
            return sleep_until(at).await;
        }
        if self.bell.read(&mut [0; ROOM]).await.is_err() {
            sleep_until(at).await;
        }
        self.set_to = None;
    }

    fn set(&mut self, at: Instant) -> nix::Result<()> {
        self.set_to = None;
        let left = at.saturating_duration_since(Instant::now());
        // Zero would stop it.
        let left = left.max(std::time::Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        self.timer.set(once, TimerSetTimeFlags::empty())?;
        self.set_to = Some(at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_rings_again_and_again_and_not_before_its_time() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let mut alarm = Alarm::new().unwrap();
            let far = Instant::now() + Duration::from_secs(3600);
            for _ in 0..3 {
                // What rings meanwhile is not waited for.
                tokio::select! {
                    biased;
                    () = alarm.ring(far) => panic!("it rings too early"),
                    () = std::future::ready(()) => {}
                }
                let soon = Instant::now() + Duration::from_millis(2);
                alarm.ring(soon).await;
                assert!(Instant::now() >= soon);
            }
            // One that is in the past rings at once.
            alarm.ring(Instant::now()).await;
        });
    }
}
