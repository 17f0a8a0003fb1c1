//! The hardware watchdog. Called by `init`, which opens it first and feeds it from a timer task.
//!
//! Invariant: dropping a [`Watchdog`] does not disarm it (no magic close): a board whose `init` hangs restarts.

use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

mod ioctl {
    // linux/watchdog.h; the musl target of libc lacks these.
    nix::ioctl_read!(keepalive, b'W', 5, libc::c_int);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, libc::c_int);
    nix::ioctl_read!(get_timeout, b'W', 7, libc::c_int);
}

/// Why the watchdog could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// The device is there but cannot be opened.
    #[error("open {path}: {source}")]
    Open {
        /// The device.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The device answered neither to setting nor to reading its timeout.
    #[error("watchdog timeout of {path}: {errno}")]
    Timeout {
        /// The device.
        path: String,
        /// What the kernel said.
        errno: Errno,
    },
}

/// An armed watchdog.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    timeout_seconds: u32,
}

impl Watchdog {
    /// Opens and thereby arms `path`, asking for `seconds`; the device may choose another timeout.
    /// `Ok(None)`: there is no such device.
    pub fn open(path: &str, seconds: u32) -> Result<Option<Watchdog>, WatchdogError> {
        let device = match OpenOptions::new().write(true).open(path) {
            Ok(device) => device,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => return Ok(None),
            Err(source) => {
                return Err(WatchdogError::Open {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let mut timeout = seconds.min(i32::MAX as u32) as libc::c_int;
        // SAFETY: the descriptor is open and `timeout` is a valid int for the length of the call.
        if unsafe { ioctl::set_timeout(device.as_raw_fd(), &mut timeout) }.is_err() {
            // SAFETY: as above.
            unsafe { ioctl::get_timeout(device.as_raw_fd(), &mut timeout) }.map_err(|errno| {
                WatchdogError::Timeout {
                    path: path.to_owned(),
                    errno,
                }
            })?;
        }
        Ok(Some(Watchdog {
            device,
            timeout_seconds: u32::try_from(timeout).unwrap_or(seconds),
        }))
    }

    /// The timeout that the device really uses, in seconds.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds
    }

    /// Restarts the countdown.
    pub fn feed(&self) -> Result<(), Errno> {
        let mut unused: libc::c_int = 0;
        // SAFETY: the descriptor is open and `unused` is a valid int for the length of the call.
        unsafe { ioctl::keepalive(self.device.as_raw_fd(), &mut unused) }.map(drop)
    }
}
