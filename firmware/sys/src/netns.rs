//! Sockets in the network namespace of another process, without entering it.
//!
//! Called by `agentd`, which looks at its tasks' ports. Invariant: the calling thread stays where it is: only a thread made
//! for it enters the other namespace, and ends; the socket stays there.

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Stack of the thread that makes a socket.
const STACK: usize = 64 * 1024;

/// A non-blocking TCP socket that is not connected yet, where the process `of` has its network.
pub fn stream_socket(of: Option<u32>, is_ipv6: bool) -> io::Result<TcpStream> {
    let Some(pid) = of else {
        return open(is_ipv6);
    };
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
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
