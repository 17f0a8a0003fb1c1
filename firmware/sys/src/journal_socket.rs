//! The receiving end of a journald-compatible datagram socket: payload, sender, and records passed as a memfd.
//!
//! Called by `init::journal`, which parses the payload. Invariant: a record is cut to the caller's buffer, every
//! passed descriptor is closed, and nothing here blocks.

use nix::errno::Errno;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, setsockopt};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// The bound socket.
#[derive(Debug)]
pub struct JournalSocket {
    socket: UnixDatagram,
}

/// One received record; its bytes are in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes in the buffer.
    pub length: usize,
    /// True if the record was longer than the buffer.
    pub cut: bool,
    /// Process id of the sender, as the kernel attests; 0 if unknown.
    pub pid: u32,
}

impl JournalSocket {
    /// Binds to `path`, replacing a stale socket file.
    pub fn bind(path: &Path) -> io::Result<JournalSocket> {
        if let Err(e) = std::fs::remove_file(path)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, PassCred, &true)?;
        Ok(JournalSocket { socket })
    }

    /// Receives one record into `buffer`; `None` when there is none now.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, Errno> {
        // Room for the credentials and as many descriptors as one journald client sends.
        let mut control = nix::cmsg_space!([RawFd; 4], libc::ucred);
        let (mut received, mut passed) = (
            Received {
                length: 0,
                cut: false,
                pid: 0,
            },
            None,
        );
        {
            let mut parts = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let message = match recvmsg::<UnixAddr>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                flags,
            ) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(errno) => return Err(errno),
            };
            received.length = message.bytes;
            received.cut = message.flags.contains(MsgFlags::MSG_TRUNC);
            for control in message.cmsgs()? {
                match control {
                    ControlMessageOwned::ScmRights(fds) => passed = own(&fds).into_iter().next(),
                    ControlMessageOwned::ScmCredentials(sender) => {
                        received.pid = u32::try_from(sender.pid()).unwrap_or(0)
                    }
                    _ => {}
                }
            }
        }
        if let (0, Some(record)) = (received.length, passed) {
            (received.length, received.cut) = read_record(record, buffer);
        }
        Ok(Some(received))
    }
}

impl AsFd for JournalSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn own(fds: &[RawFd]) -> Vec<OwnedFd> {
    // SAFETY: the kernel has just made these descriptors for us; they have no other owner.
    fds.iter()
        .map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) })
        .collect()
}

/// Reads the head of a memfd. Any other kind of file is refused: reading a pipe or a device could block PID 1.
fn read_record(record: OwnedFd, buffer: &mut [u8]) -> (usize, bool) {
    let file = File::from(record);
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => {
            let count = file.read_at(buffer, 0).unwrap_or(0);
            (count, metadata.len() > count as u64)
        }
        _ => (0, false),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::socket::{ControlMessage, sendmsg};
    use std::io::{IoSlice, Write};

    #[test]
    fn plain_empty_and_memfd_records_arrive_with_their_sender() {
        let folder = std::env::temp_dir().join(format!("nesos-journal-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let socket = JournalSocket::bind(&path).unwrap();
        let mut buffer = [0u8; 32];
        assert_eq!(socket.receive(&mut buffer), Ok(None));

        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"MESSAGE=one\n", &path).unwrap();
        let one = socket.receive(&mut buffer).unwrap().unwrap();
        assert_eq!(
            (&buffer[..one.length], one.cut, one.pid),
            (&b"MESSAGE=one\n"[..], false, std::process::id())
        );

        sender.send_to(b"", &path).unwrap();
        assert_eq!(socket.receive(&mut buffer).unwrap().unwrap().length, 0);

        let mut record = File::from(memfd_create(c"record", MFdFlags::MFD_CLOEXEC).unwrap());
        record.write_all(&[b'x'; 100]).unwrap();
        sender.connect(&path).unwrap();
        let rights = [ControlMessage::ScmRights(&[record.as_raw_fd()])];
        sendmsg::<()>(
            sender.as_raw_fd(),
            &[IoSlice::new(b"")],
            &rights,
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        let large = socket.receive(&mut buffer).unwrap().unwrap();
        assert_eq!((large.length, large.cut), (32, true));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
