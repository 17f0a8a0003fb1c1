//! Descriptors that travel over a unix socket, and files that live in memory only.
//!
//! Called by `agentd` (sends) and `nesos-executor` (receives). Invariant: a descriptor that has arrived has an owner at
//! once, and is closed on exec.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Most descriptors in one message.
pub const MAX_PASSED: usize = 5;

/// Sends bytes with descriptors at the first of them. Returns how many bytes went.
pub fn send(stream: &UnixStream, bytes: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<_> = passed.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let (parts, flags) = ([IoSlice::new(bytes)], MsgFlags::MSG_NOSIGNAL);
    Ok(sendmsg::<()>(
        stream.as_raw_fd(),
        &parts,
        &control,
        flags,
        None,
    )?)
}

/// Receives bytes, and the descriptors that came with them.
pub fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; MAX_PASSED]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut passed = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for this process; nobody else owns them.
            passed.extend(
                raw.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    Ok((message.bytes, passed))
}

/// A file in memory with this content, to be read from its beginning.
pub fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"nesos", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_bytes() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = file_of(b"content").unwrap();
        assert_eq!(
            send(&here, b"word", &[file.as_fd(), here.as_fd()]).unwrap(),
            4
        );
        let mut buffer = [0; 16];
        let (length, mut passed) = receive(&there, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], passed.len()), (&b"word"[..], 2));
        let mut text = String::new();
        File::from(passed.remove(0))
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "content");
        (&here).write_all(b"x").unwrap();
        let (length, passed) = receive(&there, &mut buffer).unwrap();
        assert_eq!((length, passed.len()), (1, 0));
    }
}
