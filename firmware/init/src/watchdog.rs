//! Arms the hardware watchdog and feeds it from a task: if any task of PID 1 hangs, feeding stops and the board restarts.
//!
//! Called by `boot`, before anything that could hang. Invariant: feeding depends on the executor's loop, nothing else.

use crate::board::Board;
use crate::phase::Outcome;
use crate::runtime;
use embassy_time::{Duration, Ticker};
use nesos_sys::watchdog::Watchdog;

/// The longest that the Raspberry Pi's watchdog can do is just under 16 seconds.
const TIMEOUT_SECONDS: u32 = 15;

/// Arms the watchdog, if the board has one and the command line does not forbid it.
pub(crate) fn start(board: &Board) -> Outcome {
    if board.command_line.borrow().no_watchdog {
        return Outcome::Done("off by the command line".to_owned());
    }
    match Watchdog::open("/dev/watchdog", TIMEOUT_SECONDS) {
        Ok(Some(watchdog)) => {
            let seconds = watchdog.timeout_seconds();
            runtime::spawn(feed(watchdog));
            Outcome::Done(format!("{seconds} s"))
        }
        Ok(None) => Outcome::Done("none on this board".to_owned()),
        Err(error) => Outcome::Degraded(error.to_string()),
    }
}

async fn feed(watchdog: Watchdog) {
    // Three times per timeout: one late round does not restart the board.
    let period = Duration::from_millis(u64::from(watchdog.timeout_seconds().max(1)) * 1000 / 3);
    let mut ticker = Ticker::every(period);
    loop {
        // A feed that fails is tried again; if it fails for long the board restarts, as it should.
        let _ = watchdog.feed();
        ticker.next().await;
    }
}
