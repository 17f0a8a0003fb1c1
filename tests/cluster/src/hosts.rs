//! Hosts that are nothing but a network of their own, on a switch that only this test has; cables can be cut, one way too.
//!
//! Called by tests that are run again by [`alone`] in namespaces where nothing else is. Needs `ip`, `unshare` and `nsenter`.
//! Invariants: nothing reaches the host's own network; all processes end with the test, however it ends.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::eventually;

/// Set where the test runs in namespaces already.
const INSIDE: &str = "NESOS_TEST_ALONE";
const SOON: Duration = Duration::from_secs(10);
/// The switch, which is this test's own place in the network too.
const SWITCH: &str = "switch";

/// Runs the test of this name, which calls this first, in namespaces of its own. `true`: that is here; otherwise it has passed.
///
/// # Panics
/// It fails there, or cannot be run.
#[must_use]
pub fn alone(test: &str) -> bool {
    inside(&["--exact", test, "--nocapture"])
}

/// Runs this very program again with these arguments, in namespaces of its own. `true`: that is here; otherwise it has ended well.
///
/// # Panics
/// As [`alone`].
#[must_use]
pub fn inside(arguments: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        let own = format!("{}/24", address(0));
        ip(&["link", "set", "lo", "up"]);
        ip(&["link", "add", SWITCH, "type", "bridge"]);
        ip(&["addr", "add", &own, "dev", SWITCH]);
        ip(&["link", "set", SWITCH, "up"]);
        return true;
    }
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let status = unshare
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("this test's own path"))
        .args(arguments)
        .env(INSIDE, "1")
        .status()
        .expect("unshare");
    assert!(status.success(), "{arguments:?} failed where it was alone");
    false
}

/// One of them; it lives as long as this.
#[derive(Debug)]
pub struct Host {
    /// From 1.
    number: u8,
    holder: Child,
}

impl Host {
    /// Plugs a host in. `number`: from 1 to 250, given once.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new(number: u8) -> Self {
        let mut sleeper = Command::new("unshare");
        let holder = sleeper.args(["--net", "sleep", "infinity"]);
        let holder = holder.process_group(0).spawn().expect("unshare");
        let host = Self { number, holder };
        let namespace = |pid: &str| std::fs::read_link(Path::new("/proc").join(pid).join("ns/net"));
        let own = namespace("self").expect("a namespace");
        let pid = host.pid();
        eventually("a network namespace", SOON, || {
            namespace(&pid)
                .is_ok_and(|other| other != own)
                .then_some(())
        });
        let cable = host.cable();
        let peer = ["type", "veth", "peer", "name", "eth0", "netns", &pid];
        ip(&[&["link", "add", &cable][..], &peer].concat());
        ip(&["link", "set", &cable, "master", SWITCH, "up"]);
        let own = format!("{}/24", host.address());
        host.ip(&["addr", "add", &own, "dev", "eth0"]);
        host.ip(&["link", "set", "eth0", "up"]);
        host.ip(&["link", "set", "lo", "up"]);
        host
    }

    /// Its only one.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        address(self.number)
    }

    /// Runs `program` there.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--target", &self.pid()])
            .arg(program);
        command
    }

    /// Pulls the cable, or plugs it in.
    pub fn plug(&self, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        ip(&["link", "set", &self.cable(), state]);
    }

    /// Takes an address from it and gives it another, as a router does: each with the length of its network's prefix.
    pub fn readdress(&self, old: &str, new: &str) {
        self.ip(&["addr", "del", old, "dev", "eth0"]);
        self.ip(&["addr", "add", new, "dev", "eth0"]);
    }

    /// Whether nothing that it sends reaches the other host any more.
    pub fn mute_to(&self, other: &Host, is_mute: bool) {
        let verb = if is_mute { "add" } else { "del" };
        self.ip(&["route", verb, "blackhole", &other.address().to_string()]);
    }

    fn cable(&self) -> String {
        format!("cable{}", self.number)
    }

    fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    fn ip(&self, arguments: &[&str]) {
        run(self.command(Path::new("ip")).args(arguments));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Where the test itself is reached by its hosts.
#[must_use]
pub fn own_address() -> Ipv4Addr {
    address(0)
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, number + 1)
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

fn run(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
