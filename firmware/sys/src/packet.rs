//! A raw IPv4 socket on one ethernet interface, for the time before the interface has an address (DHCP).
//!
//! Called by `init::network`. Invariant: only UDP packets to the wanted port are queued (a filter in the kernel
//! drops the rest), so that a busy network does not wake PID 1.

use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A non-blocking packet socket; reads and writes begin with the IPv4 header.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    interface: i32,
}

impl PacketSocket {
    /// Opens a socket on interface number `interface` that hears UDP to `port`.
    pub fn open(interface: u32, port: u16) -> Result<PacketSocket, Errno> {
        let interface = i32::try_from(interface).map_err(|_| Errno::ENODEV)?;
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0 hears nothing until bind, so nothing slips in before the filter is set.
        // SAFETY: plain system call.
        let raw = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: `raw` was just opened and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        set_filter(&fd, port)?;
        let address = link_address(interface, None);
        // SAFETY: `address` is a valid sockaddr_ll and the length is its size.
        Errno::result(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })?;
        Ok(PacketSocket { fd, interface })
    }

    /// Sends one IPv4 packet to every station of the link.
    pub fn broadcast(&self, packet: &[u8]) -> Result<(), Errno> {
        let address = link_address(self.interface, Some([0xff; 6]));
        // SAFETY: buffer and address are valid for the length of the call and their lengths are right.
        Errno::result(unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })
        .map(drop)
    }

    /// Receives one packet, cut to `buffer`; `None` when there is none now.
    pub fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        // SAFETY: the buffer is valid for writes of its length.
        let count = unsafe {
            libc::recv(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        match Errno::result(count) {
            Ok(count) => Ok(Some(count as usize)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn link_address(interface: i32, station: Option<[u8; 6]>) -> libc::sockaddr_ll {
    let mut address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_IP as u16).to_be(),
        sll_ifindex: interface,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    if let Some(station) = station {
        address.sll_addr[..6].copy_from_slice(&station);
    }
    address
}

/// Accepts unfragmented UDP to `port`; offsets count from the IPv4 header.
fn set_filter(fd: &OwnedFd, port: u16) -> Result<(), Errno> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = [
        op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 9), // protocol
        op(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            6,
            libc::IPPROTO_UDP as u32,
        ),
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 6), // fragment offset
        op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 4, 0, 0x1fff),
        op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0), // header length
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, 2),  // destination port
        op(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            u32::from(port),
        ),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` points to `program`, which lives until the call is over; the kernel copies it.
    Errno::result(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    })
    .map(drop)
}
