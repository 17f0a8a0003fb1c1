//! Ends the board in order: daemons, tasks, file systems, power. The stages and their limits are `ending`'s.
//!
//! Called by `main` as a task that sleeps until somebody asks. Invariant: the watchdog is not disarmed, so a board that
//! hangs while ending restarts.

use crate::board::{BOOT, Board, DATA};
use crate::ending::{Alive, Order, Shutdown};
use crate::runtime::either;
use crate::sntp;
use crate::trial;
use embassy_time::{Duration, Instant, Timer};
use nesos_sys::mount::{is_mounted, remount_read_only, unmount};
use nesos_sys::reboot::{self, Ending};
use nesos_sys::signal::{self, Signal};
use std::rc::Rc;

/// How often children are looked for although no SIGCHLD came.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Waits for a request to end, then ends.
pub(crate) async fn run(board: Rc<Board>) {
    let how = loop {
        board.ending_asked.heard().await;
        if let Some(how) = board.ending() {
            break how;
        }
    };
    board.services.stop();
    let mut stages = Shutdown::default();
    loop {
        board.services.reap(&board);
        let pids = board.services.pids();
        let alive = Alive {
            daemons: !pids.is_empty(),
            children: board.services.has_children(),
        };
        match stages.step(alive, Instant::now()) {
            Some(Order::Finish) => break,
            Some(order) => obey(&board, order, &pids),
            None => {
                let until = stages
                    .deadline()
                    .unwrap_or(Instant::now())
                    .min(Instant::now() + LOOK_EVERY);
                either(board.services.reaped.heard(), Timer::at(until)).await;
            }
        }
    }
    finish(&board, how);
}

fn obey(board: &Board, order: Order, daemons: &[u32]) {
    // A process that ended in the meantime is not an error here, and neither is nobody being left.
    match order {
        Order::AskDaemons => board.services.ask_to_end(),
        Order::KillDaemons => {
            board.say("shutdown", "a daemon does not end: killed");
            daemons
                .iter()
                .for_each(|pid| _ = signal::send(*pid, Signal::SIGKILL));
        }
        Order::AskAll => _ = signal::send_all(Signal::SIGTERM),
        Order::KillAll => {
            board.say("shutdown", "tasks do not end: killed");
            _ = signal::send_all(Signal::SIGKILL);
        }
        Order::Finish => {}
    }
}

fn finish(board: &Board, how: Ending) {
    trial::ending(board);
    sntp::save();
    reboot::sync();
    for path in [DATA, BOOT] {
        let mounted = ["ext4", "vfat", "tmpfs"]
            .iter()
            .any(|fstype| is_mounted(path, fstype));
        if mounted && let Err(error) = unmount(path) {
            let outcome = match remount_read_only(path) {
                Ok(()) => "made read-only instead".to_owned(),
                Err(second) => second.to_string(),
            };
            board.say("shutdown", &format!("{error}; {outcome}"));
        }
    }
    let word = match how {
        Ending::PowerOff => "power off",
        Ending::Restart => "restart",
        Ending::Halt => "halt",
    };
    board.say("shutdown", &format!("done: {word}"));
    let errno = reboot::end(how);
    board.say("shutdown", &format!("the kernel refused: {errno}"));
}
