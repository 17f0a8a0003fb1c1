//! Pairs of terminals: one end for a program, one for whoever shows it.
//!
//! Called by `agentd` for people's sessions. Invariant: neither end becomes the caller's controlling terminal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};

/// A new pair: the near end, non-blocking, and the program's.
pub fn pair(rows: u16, columns: u16) -> io::Result<(OwnedFd, OwnedFd)> {
    let pair = openpty(Some(&size(rows, columns)), None)?;
    for end in [&pair.master, &pair.slave] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((pair.master, pair.slave))
}

/// Tells the program of a pair how large its window is now.
pub fn resize(near: impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = size(rows, columns);
    // SAFETY: the descriptor is open and `size` is a valid winsize for the length of the call.
    let result = unsafe {
        libc::ioctl(
            near.as_fd().as_raw_fd(),
            libc::TIOCSWINSZ as _,
            &raw const size,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How large the window of this terminal is, rows and columns; none: it is no terminal.
pub fn window(terminal: impl AsFd) -> Option<(u16, u16)> {
    let mut size = size(0, 0);
    // SAFETY: the descriptor is open and `size` is a writable winsize for the length of the call.
    let result = unsafe {
        libc::ioctl(
            terminal.as_fd().as_raw_fd(),
            libc::TIOCGWINSZ as _,
            &raw mut size,
        )
    };
    (result == 0).then_some((size.ws_row, size.ws_col))
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_window_has_the_size_it_was_given() {
        let (near, far) = pair(24, 80).unwrap();
        assert_eq!(window(&far), Some((24, 80)));
        resize(&near, 50, 132).unwrap();
        assert_eq!(window(&far), Some((50, 132)));
        assert_eq!(window(std::fs::File::open("/dev/null").unwrap()), None);
    }
}
