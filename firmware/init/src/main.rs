//! `init`, PID 1 of the appliance: boots by a list of phases, then supervises masterd and agentd, reaps orphans,
//! feeds the watchdog, keeps the log ring, and ends the board in order.
//!
//! Called `nesos-update` it is the updater instead (`update`): the two share how slots are kept, and a second program would be another
//! 250 KB. Not a service manager: what runs is decided by the role in cluster.toml. The kernel starts it as /init.
//! Invariant: it never waits for what it supervises, and nothing that a daemon, a file or the network does ends it.

mod board;
mod boot;
mod cmdline;
mod data;
mod dhcp;
mod disk;
mod ending;
mod identity;
mod journal;
mod network;
mod phase;
mod power_button;
mod preset;
mod root_disk;
mod runtime;
mod services;
mod shutdown;
mod slots;
mod sntp;
mod supervise;
mod trial;
mod update;
mod watchdog;

use board::Board;
use nesos_sys::reboot::{self, Ending};
use nesos_sys::signal::{Signal, Signals};
use runtime::Watched;
use std::rc::Rc;

/// Small, fast, and does not depend on the C library used.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const SIGNALS: [Signal; 5] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some((name, rest)) = arguments.split_first()
        && std::process::id() != 1
        && update::is_called(name)
    {
        std::process::exit(update::run(rest));
    }
    if std::process::id() != 1 {
        eprintln!("init: this is PID 1 of a Nesos board and does nothing as another process");
        std::process::exit(2);
    }
    std::panic::set_hook(Box::new(|panic| {
        nesos_sys::console::Console::open().line(&format!("init: {panic}"));
        nesos_sys::console::kernel_log(0, &panic.to_string());
    }));
    let error = match Signals::take(&SIGNALS) {
        Ok(signals) => match runtime::run(live(signals)) {
            Err(error) => error.to_string(),
        },
        Err(errno) => errno.to_string(),
    };
    // Without signals or epoll there is no PID 1 worth keeping; the kernel's `panic=` restarts the board.
    panic!("cannot begin: {error}");
}

/// The whole life of the board.
async fn live(signals: Signals) {
    // Ctrl-Alt-Del in good order; refused only inside a container.
    let _ = reboot::ctrl_alt_del_as_signal();
    let board = Rc::new(Board::new());
    match Watched::new(signals) {
        Ok(signals) => runtime::spawn(hear_signals(board.clone(), signals)),
        Err(error) => board.say("signals", &format!("not heard: {error}")),
    }
    runtime::spawn(shutdown::run(board.clone()));
    boot::run(board).await;
}

async fn hear_signals(board: Rc<Board>, signals: Watched<Signals>) {
    loop {
        signals.readable().await;
        while let Some(signal) = signals.get().next() {
            match signal {
                Signal::SIGCHLD => board.services.child_ended(&board),
                Signal::SIGINT => board.end(Ending::Restart, "restart (Ctrl-Alt-Del or SIGINT)"),
                Signal::SIGUSR1 => board.end(Ending::Halt, "halt (SIGUSR1)"),
                other => board.end(Ending::PowerOff, &format!("power off ({})", other.as_str())),
            }
        }
    }
}
