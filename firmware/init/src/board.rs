//! What the tasks of PID 1 share: the console, what the boot found out, and the bells by which tasks call each other.
//!
//! One value, made by `main`, behind an `Rc`: there is one thread. Invariant: no borrow of a cell is held over an
//! `await`.

use crate::cmdline::CommandLine;
use crate::journal::Journal;
use crate::phase::console_line;
use crate::runtime::Bell;
use crate::services::Services;
use crate::trial::Trial;
use embassy_time::Instant;
use nesos_base::cluster_config::ClusterConfig;
use nesos_base::preset::Preset;
use nesos_sys::console::Console;
use nesos_sys::reboot::Ending;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;

/// Where the FAT partition is mounted.
pub(crate) const BOOT: &str = "/boot";
/// What a person wrote for this board.
pub(crate) const CLUSTER_TOML: &str = "/boot/cluster.toml";
/// Where the data partition is mounted.
pub(crate) const DATA: &str = "/data";

/// What is known about the cluster's configuration file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Configuration {
    /// There is no file: defaults.
    Absent,
    /// The file is right.
    Read(Box<ClusterConfig>),
    /// The file is there but cannot be used: the board stays up without joining.
    Refused,
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Board {
    console: RefCell<Console>,
    /// Options from the kernel's command line.
    pub(crate) command_line: RefCell<CommandLine>,
    /// The disk, such as /dev/vda.
    pub(crate) disk: RefCell<Option<PathBuf>>,
    /// From cluster.toml.
    pub(crate) configuration: RefCell<Configuration>,
    /// Host name, SSH keys and wireless network, of cluster.toml or else of Imager.
    pub(crate) preset: RefCell<Preset>,
    /// The board's identity.
    pub(crate) node_id: RefCell<String>,
    /// `<cluster>-<node>`.
    pub(crate) host_name: RefCell<String>,
    /// How the network is configured now, in words; `None` while it is not.
    pub(crate) network: RefCell<Option<String>>,
    /// Rings when `network` changes.
    pub(crate) network_changed: Bell,
    /// True once the boot list is done: later changes are announced by the task that sees them.
    pub(crate) booted: Cell<bool>,
    /// The log ring.
    pub(crate) journal: Journal,
    /// The daemons.
    pub(crate) services: Services,
    /// The trial of the slot that runs, if it is on one.
    pub(crate) trial: RefCell<Option<Trial>>,
    /// The first phase of the boot that failed.
    pub(crate) failed_phase: Cell<Option<&'static str>>,
    ending: Cell<Option<Ending>>,
    /// Rings when the board is asked to end.
    pub(crate) ending_asked: Bell,
}

impl Board {
    /// A board about which nothing is known yet.
    pub(crate) fn new() -> Board {
        Board {
            console: RefCell::new(Console::open()),
            command_line: RefCell::default(),
            disk: RefCell::default(),
            configuration: RefCell::new(Configuration::Absent),
            preset: RefCell::default(),
            node_id: RefCell::default(),
            host_name: RefCell::default(),
            network: RefCell::default(),
            network_changed: Bell::default(),
            booted: Cell::new(false),
            journal: Journal::new(Instant::now()),
            services: Services::default(),
            trial: RefCell::default(),
            failed_phase: Cell::new(None),
            ending: Cell::new(None),
            ending_asked: Bell::default(),
        }
    }

    /// Opens the console anew, now that there is a /dev.
    pub(crate) fn reopen_console(&self) {
        *self.console.borrow_mut() = Console::open();
    }

    /// Says one line on the serial console.
    pub(crate) fn say(&self, who: &str, text: &str) {
        self.say_line(&console_line(Instant::now(), who, text));
    }

    /// Puts a finished line on the serial console.
    pub(crate) fn say_line(&self, line: &str) {
        self.console.borrow_mut().line(line);
    }

    /// Asks the board to end; the first request counts.
    pub(crate) fn end(&self, how: Ending, why: &str) {
        if self.ending.get().is_none() {
            self.ending.set(Some(how));
            self.say("shutdown", why);
            self.ending_asked.ring();
        }
    }

    /// How the board is asked to end.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }
}
