//! Connections whose other end is gone without a word: a board without power closes nothing.
//!
//! Not a protocol of its own: the kernel knows what was never acknowledged, and asks. Called by the links between masters.
//! Invariant: an idle connection stays, however long it is idle, while its other end is there.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{
    KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout,
};

/// Has the kernel end the connection when something that was sent is not acknowledged for `limit`. Without this it tries for a
/// quarter of an hour, in the end every two minutes, and who is back meanwhile waits for the next time.
///
/// # Errors
/// It is no TCP connection.
pub fn end_unanswered(connection: &impl AsFd, limit: Duration) -> io::Result<()> {
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    Ok(setsockopt(connection, TcpUserTimeout, &millis)?)
}

/// Has the kernel ask the other end of an idle connection whether it is still there, and end the connection when it has not
/// answered for `limit`: where nothing is ever sent, nothing is unanswered. The process is not woken up for that.
///
/// # Errors
/// It is no TCP connection.
pub fn end_silent(connection: &impl AsFd, limit: Duration) -> io::Result<()> {
    let step = u32::try_from(limit.as_secs() / 3)
        .unwrap_or(u32::MAX)
        .max(1);
    setsockopt(connection, KeepAlive, &true)?;
    setsockopt(connection, TcpKeepIdle, &step)?;
    setsockopt(connection, TcpKeepInterval, &step)?;
    Ok(setsockopt(connection, TcpKeepCount, &2)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nix::sys::socket::getsockopt;

    #[test]
    fn the_kernel_is_told_and_other_sockets_are_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        end_unanswered(&stream, Duration::from_secs(5)).unwrap();
        assert_eq!(getsockopt(&stream, TcpUserTimeout).unwrap(), 5000);
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(end_unanswered(&one, Duration::from_secs(5)).is_err());
        end_silent(&stream, Duration::from_secs(30)).unwrap();
        assert!(getsockopt(&stream, KeepAlive).unwrap());
        let tells = (
            getsockopt(&stream, TcpKeepIdle).unwrap(),
            getsockopt(&stream, TcpKeepInterval).unwrap(),
            getsockopt(&stream, TcpKeepCount).unwrap(),
        );
        assert_eq!(
            tells,
            (10, 10, 2),
            "asked after 10 s and 20 s, ended after 30 s"
        );
    }
}
