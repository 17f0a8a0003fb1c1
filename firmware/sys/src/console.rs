//! The serial console and the kernel's log. Called by `init`, whose only log they are.
//!
//! Invariant: writing never fails towards the caller: a board without a console must boot all the same.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Where `init` speaks: /dev/console, or standard error while there is no /dev.
#[derive(Debug)]
pub struct Console {
    device: Option<File>,
}

impl Console {
    /// Opens /dev/console without making it the controlling terminal; falls back to standard error.
    pub fn open() -> Console {
        let device = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC)
            .open("/dev/console")
            .ok();
        Console { device }
    }

    /// Writes one line. Terminals want CR LF; the console's line discipline adds the CR.
    pub fn line(&mut self, text: &str) {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        // A console that cannot be written to has nobody to tell.
        let _ = match &mut self.device {
            Some(device) => device.write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// Writes one record of `priority` (0 to 7) to the kernel's log, where `dmesg` and a crash dump find it.
pub fn kernel_log(priority: u8, text: &str) {
    if let Ok(mut kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // /dev/kmsg takes one record per write and may refuse when flooded: nothing to do about it.
        let _ = kmsg.write_all(format!("<{priority}>init: {text}\n").as_bytes());
    }
}
