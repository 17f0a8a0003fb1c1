//! `nesos-executor --fork-server`: its copies are like helpers that were started by themselves.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use common::{Place, lives, program, until};
use nesos_sys::container::fork_server::{ForkError, ForkServer, Order};
use nesos_sys::container::{Namespaces, SpawnPlan, Spawned, spawn};
use nesos_sys::process;
use nesos_sys::reap::Exit;
use nesos_sys::signal::Signal;
use nesos_wire::frame;

fn server() -> ForkServer {
    ForkServer::start(&program(), "nesos-executor").unwrap()
}

fn fork(server: &ForkServer, place: &Place, text: &str) -> Result<Spawned, ForkError> {
    fs::write(
        place.run().join("spec"),
        frame::encode(&place.shell(text)).unwrap(),
    )
    .unwrap();
    let spec = fs::File::open(place.run().join("spec")).unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    server.fork(&Order {
        word: &place.run(),
        namespaces: Namespaces::NONE,
        cgroup: None,
        network: None,
        stdio: [spec.as_fd(), null.as_fd(), null.as_fd()],
    })
}

/// This process's children whose program is a server.
fn servers() -> Vec<u32> {
    let children = process::descendants(std::process::id());
    let children = children.into_iter().map(|(pid, _)| pid);
    let serves = |pid: &u32| line_of(*pid).starts_with("nesos-executor\0--fork-server\0");
    children.filter(serves).collect()
}

fn line_of(pid: u32) -> String {
    String::from_utf8(fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).unwrap()
}

fn descriptors_of(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = entries.flatten().map(|entry| fs::read_link(entry.path()));
    targets.flatten().collect()
}

#[test]
fn a_copy_is_a_helper_of_its_own() {
    let (server, place) = (server(), Place::new());
    let copy = fork(&server, &place, "exec sleep 1000").unwrap();
    until("the copy's socket", || place.run().join("socket").exists());
    let stat = process::stat(copy.pid).unwrap();
    assert_eq!((stat.parent, stat.session), (std::process::id(), copy.pid));
    let line = line_of(copy.pid);
    let line = line.trim_end_matches('\0');
    assert_eq!(line, format!("nesos-executor\0{}", place.run().display()));
    assert_eq!(
        fs::read_link(format!("/proc/{}/cwd", copy.pid)).unwrap(),
        place.run()
    );
    until("the spec is read", || {
        let null = descriptors_of(copy.pid);
        null.iter()
            .filter(|target| *target == Path::new("/dev/null"))
            .count()
            >= 2
    });
    let server_pid = servers()[0];
    let sockets = |pid| {
        let all = descriptors_of(pid);
        let sockets = all.into_iter().map(|target| target.display().to_string());
        sockets
            .filter(|target| target.starts_with("socket:"))
            .collect::<Vec<_>>()
    };
    let own = sockets(copy.pid);
    for shared in sockets(server_pid) {
        assert!(!own.contains(&shared), "{own:?}");
    }
    copy.pidfd.send(Signal::SIGTERM).unwrap();
    assert_eq!(copy.pidfd.wait().unwrap(), Exit::Code(0));
    assert!(place.run().join("exit").exists());
}

#[test]
fn copies_outlive_the_server_and_the_server_does_not_outlive_who_asks() {
    let (server, place) = (server(), Place::new());
    let copy = fork(&server, &place, "exec sleep 1000").unwrap();
    let pid = servers()[0];
    drop(server);
    assert!(!lives(pid));
    assert!(lives(copy.pid));
    // Before its task is there the signal may find it without its own way to end.
    until("the task", || !process::descendants(copy.pid).is_empty());
    copy.pidfd.send(Signal::SIGTERM).unwrap();
    assert_eq!(copy.pidfd.wait().unwrap(), Exit::Code(0));
}

#[test]
fn the_end_of_standard_input_is_the_servers_end() {
    let plan = SpawnPlan::new(
        program(),
        vec!["nesos-executor".into(), "--fork-server".into()],
    );
    // Its standard input is no socket at all.
    assert_eq!(spawn(&plan).unwrap().pidfd.wait().unwrap(), Exit::Code(1));
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    let plan = SpawnPlan {
        stdin: Some(there.into()),
        ..plan
    };
    let server = spawn(&plan).unwrap();
    drop((plan, here));
    assert_eq!(server.pidfd.wait().unwrap(), Exit::Code(0));
}

#[test]
fn a_server_that_was_killed_is_gone() {
    let (server, place) = (server(), Place::new());
    let pid = servers()[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    until("the server's end", || !lives(pid));
    let refused = fork(&server, &place, "true");
    assert!(matches!(refused, Err(ForkError::Gone(_))), "{refused:?}");
}

#[test]
fn what_the_kernel_refuses_is_told() {
    let (server, place) = (server(), Place::new());
    let (null, no_cgroup) = (
        fs::File::open("/dev/null").unwrap(),
        fs::File::open("/").unwrap(),
    );
    let refused = server.fork(&Order {
        word: &place.run(),
        namespaces: Namespaces::NONE,
        cgroup: Some(no_cgroup.as_fd()),
        network: None,
        stdio: [null.as_fd(), null.as_fd(), null.as_fd()],
    });
    assert!(matches!(refused, Err(ForkError::Clone(_))), "{refused:?}");
    // It serves on.
    let copy = fork(&server, &place, "true").unwrap();
    assert_eq!(copy.pidfd.wait().unwrap(), Exit::Code(0));
}
