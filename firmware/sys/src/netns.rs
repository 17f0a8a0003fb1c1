//! Network namespaces: new ones for containers, and sockets in those of other processes, without entering either.
//!
//! Called by `agentd`. Invariant: the calling thread stays where it is: only a thread made for it enters the other namespace,
//! and ends; the socket, or the descriptor of the namespace, stays.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::netlink::{Netlink, NetlinkError, Pair};
use crate::user_namespace::{IdMap, make_network};

/// Stack of a thread that enters another namespace.
const STACK: usize = 64 * 1024;
/// What is set in a new namespace, below /proc/sys/net, before it has a device. Whatever of it this kernel lacks need not be
/// set: ports and pings are nobody's but the container's, and its network speaks IPv4 only.
const SETTINGS: [(&str, &str); 3] = [
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv4/ip_unprivileged_port_start", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
];

/// A new namespace at the inner end of `pair`, whose outer end is made with `host`, a socket of the namespace of the bridge.
/// It lives as long as a process in it, or the descriptor. `ids`: it belongs to a new user namespace with these.
pub fn connected(
    host: &mut Netlink,
    pair: &Pair,
    ids: Option<IdMap>,
) -> Result<OwnedFd, NetlinkError> {
    let failed = |operation: &str| {
        let operation = operation.to_owned();
        move |errno| NetlinkError { operation, errno }
    };
    let make = || {
        let opened = match ids {
            Some(ids) => {
                let made = make_network(ids);
                let made = made.map_err(|e| failed(e.operation)(errno_of(&e.source)))?;
                setns(&made, CloneFlags::CLONE_NEWNET)
                    .map_err(failed("enter a network namespace"))?;
                made
            }
            None => {
                unshare(CloneFlags::CLONE_NEWNET).map_err(failed("make a network namespace"))?;
                let opened = File::open("/proc/thread-self/ns/net");
                let fail = failed("open the network namespace");
                opened.map_err(|e| fail(errno_of(&e)))?.into()
            }
        };
        for (path, value) in SETTINGS {
            let _ = fs::write(format!("/proc/sys/net/{path}"), value);
        }
        host.pair(pair, opened.as_fd())?;
        Netlink::open()?.settle(pair)?;
        Ok(opened)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, make);
        let thread = thread.map_err(|e| failed("start a thread")(errno_of(&e)))?;
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(failed("end a thread")(Errno::EIO)))
    })
}

/// What `work` says on a thread in a new namespace that has one end of a bare pair and nothing else: the least that any network
/// of a container costs, for benchmarks.
pub fn within_bare<T: Send>(
    host: &mut Netlink,
    pair: &Pair,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let opened = File::open("/proc/thread-self/ns/net")?;
        host.pair(pair, opened.as_fd()).map_err(io::Error::other)?;
        Ok(work())
    };
    std::thread::scope(|scope| {
        let ended = scope.spawn(make).join();
        ended.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    })
}

/// The namespace of a process.
pub fn of_process(pid: u32) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/net"))?.into())
}

/// A non-blocking TCP socket that is not connected yet, where the process `of` has its network.
pub fn stream_socket(of: Option<u32>, is_ipv6: bool) -> io::Result<TcpStream> {
    let Some(pid) = of else {
        return open(is_ipv6);
    };
    let namespace = File::from(of_process(pid)?);
    let (own, other) = (fs::metadata("/proc/self/ns/net")?, namespace.metadata()?);
    if (own.dev(), own.ino()) == (other.dev(), other.ino()) {
        return open(is_ipv6);
    }
    let enter_and_open = move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        open(is_ipv6)
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    let opened = thread.spawn(enter_and_open)?.join();
    opened.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

fn open(is_ipv6: bool) -> io::Result<TcpStream> {
    let family = if is_ipv6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, SockType::Stream, flags, None)?.into())
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
