//! Turns a press of the power button into an orderly power off. Called by `boot` when the list is done.
//!
//! Invariant: a device that goes away ends its task's work, never the board.

use crate::board::Board;
use crate::runtime::{self, Watched};
use nesos_sys::input::InputDevice;
use nesos_sys::reboot::Ending;
use std::fs;
use std::rc::Rc;

/// Input devices listened to; a board has one or two, the rest would be a keyboard farm.
const DEVICES_MAX: usize = 8;

/// Listens to the input devices that exist now.
pub(crate) fn start(board: &Rc<Board>) {
    let Ok(entries) = fs::read_dir("/dev/input") else {
        return;
    };
    let events = entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("event"));
    for device in events
        .filter_map(|e| InputDevice::open(&e.path()).ok())
        .take(DEVICES_MAX)
    {
        if let Ok(device) = Watched::new(device) {
            runtime::spawn(listen(board.clone(), device));
        }
    }
}

async fn listen(board: Rc<Board>, mut device: Watched<InputDevice>) {
    loop {
        device.readable().await;
        match device.get_mut().power_pressed() {
            Ok(true) => board.end(Ending::PowerOff, "power off (power button)"),
            Ok(false) => {}
            Err(_) => return,
        }
    }
}
