//! A netlink socket and the wait for the kernel's acknowledgements. Called by `netlink` and `nftables`.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

use super::NetlinkError;
use super::message::{Message, acknowledgement};

/// Bytes of one netlink answer; an acknowledgement is 36 bytes plus the request.
pub(super) const ANSWER_BYTES: usize = 4096;

/// A socket for requests.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(crate) fn open(protocol: SockProtocol) -> Result<Socket, NetlinkError> {
        Ok(Socket {
            fd: open(protocol, 0, SockFlag::SOCK_CLOEXEC)?,
            sequence: 0,
        })
    }

    /// One request and its acknowledgement.
    pub(crate) fn request(
        &mut self,
        message: Message,
        operation: impl Fn() -> String,
    ) -> Result<(), NetlinkError> {
        self.batch(vec![message], 1, operation)
    }

    /// Requests that the kernel reads together. The acknowledgement of the one with the number `awaited`, counted from one,
    /// stands for all: it must be the last to be told, and one that fails is always told.
    pub(crate) fn batch(
        &mut self,
        messages: Vec<Message>,
        awaited: usize,
        operation: impl Fn() -> String,
    ) -> Result<(), NetlinkError> {
        let first = self.sequence + 1;
        let mut bytes = Vec::new();
        for message in messages {
            self.sequence += 1;
            bytes.extend(message.finish(self.sequence));
        }
        let awaited = self.sequence.min(first + awaited as u32 - 1);
        self.send_and_wait(&bytes, first, awaited)
            .map_err(|errno| NetlinkError {
                operation: operation(),
                errno,
            })
    }

    fn send_and_wait(&self, bytes: &[u8], first: u32, awaited: u32) -> Result<(), Errno> {
        send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())?;
        let mut answer = [0u8; ANSWER_BYTES];
        loop {
            let count = match recv(self.fd.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            match acknowledgement(&answer[..count]) {
                // What is left of earlier requests that failed.
                Some((sequence, _)) if !(first..=awaited).contains(&sequence) => {}
                Some((sequence, 0)) if sequence == awaited => return Ok(()),
                Some((_, 0)) | None => {}
                Some((_, errno)) => return Err(Errno::from_raw(errno)),
            }
        }
    }
}

pub(super) fn open(
    protocol: SockProtocol,
    groups: u32,
    flags: SockFlag,
) -> Result<OwnedFd, NetlinkError> {
    let fail = |errno| NetlinkError {
        operation: "open netlink socket".to_owned(),
        errno,
    };
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, Some(protocol)).map_err(fail)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(fail)?;
    Ok(fd)
}
