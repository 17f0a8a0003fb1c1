//! The power button as the kernel's input layer reports it. Called by `init`.
//!
//! Invariant: reading is non-blocking and ignores every event but a press of KEY_POWER.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// linux/input-event-codes.h
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
/// Size of `struct input_event` on 64-bit kernels: two 8-byte times, type, code, value.
const EVENT_SIZE: usize = 24;

/// One input device.
#[derive(Debug)]
pub struct InputDevice {
    file: File,
}

impl InputDevice {
    /// Opens a device such as /dev/input/event0.
    pub fn open(path: &Path) -> io::Result<InputDevice> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)?;
        Ok(InputDevice { file })
    }

    /// Reads what is pending; true if the power key was pressed. An error other than "nothing there" means that
    /// the device is gone.
    pub fn power_pressed(&mut self) -> io::Result<bool> {
        let mut buffer = [0u8; EVENT_SIZE * 16];
        let mut pressed = false;
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => pressed |= buffer[..n].chunks_exact(EVENT_SIZE).any(is_power_press),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(pressed),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for InputDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn is_power_press(event: &[u8]) -> bool {
    let half = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
    half(16) == EV_KEY && half(18) == KEY_POWER && value == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_press_of_the_power_key_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = vec![0u8; 16];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
            bytes
        };
        assert!(is_power_press(&event(1, 116, 1)));
        assert!(!is_power_press(&event(1, 116, 0)));
        assert!(!is_power_press(&event(1, 30, 1)));
        assert!(!is_power_press(&event(0, 0, 0)));
    }
}
