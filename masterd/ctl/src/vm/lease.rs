//! Which board gets which address: asks the switch's DHCP server once for each board, in order, before any board boots.
//!
//! slirp hands out addresses in the order of first requests and keeps them by Ethernet address; asking in the boards' names
//! makes the forwarded port lead to board-1 whichever board boots first. Called by `up`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::time::Instant;

use super::VmError;
use super::state::{Board, Cluster};

/// How long the switch may take to answer; it is a local process.
const LIMIT: Duration = Duration::from_secs(5);
/// How long one question waits before it is asked again.
const ATTEMPT: Duration = Duration::from_millis(300);
/// Largest Ethernet frame that can come: QEMU's own bound.
const MAX_FRAME: usize = 69 * 1024;
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
/// Offsets within the BOOTP message.
const TRANSACTION: usize = 4;
const YOUR_ADDRESS: usize = 16;
const CLIENT_MAC: usize = 28;
const BOOTP: usize = 236;

/// Reserves the address of `board`.
pub(super) fn reserve(cluster: &Cluster, board: &Board) -> Result<(), VmError> {
    let failed = |reason: String| VmError::Lease {
        node: board.name.clone(),
        reason,
    };
    let ask = || -> io::Result<[u8; 4]> {
        let mut port = UnixStream::connect(cluster.switch_socket())?;
        port.set_read_timeout(Some(ATTEMPT))?;
        let request = discover(board.mac());
        // A socket's frame is its length in four bytes, then itself.
        let length = u32::try_from(request.len()).map_err(io::Error::other)?;
        port.write_all(&[&length.to_be_bytes()[..], &request].concat())?;
        let begin = Instant::now();
        while begin.elapsed() < ATTEMPT {
            if let Some(address) = offered(&read_frame(&mut port)?, board.mac()) {
                return Ok(address);
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    };
    // The switch forwards what it is given; a question asked before slirp has plugged itself in goes nowhere.
    let begin = Instant::now();
    let answer = loop {
        match ask() {
            Err(error) if begin.elapsed() < LIMIT && is_silence(&error) => {}
            other => break other,
        }
    };
    let [a, b, c, d] = answer.map_err(|error| failed(error.to_string()))?;
    let got = format!("{a}.{b}.{c}.{d}");
    if got == board.address() {
        Ok(())
    } else {
        Err(failed(format!("expected {}, got {got}", board.address())))
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn read_frame(port: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    port.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; length];
    port.read_exact(&mut frame)?;
    Ok(frame)
}

/// A DHCPDISCOVER as an Ethernet frame.
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let mut bootp = vec![0; BOOTP];
    bootp[..4].copy_from_slice(&[1, 1, 6, 0]);
    bootp[TRANSACTION..TRANSACTION + 4].copy_from_slice(&mac[2..]);
    bootp[CLIENT_MAC..CLIENT_MAC + 6].copy_from_slice(&mac);
    bootp.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255]);
    let udp_length = (UDP + bootp.len()) as u16;
    let mut ip = vec![0x45, 0];
    ip.extend((IPV4 as u16 + udp_length).to_be_bytes());
    // No fragments, TTL 64, UDP, checksum to come, 0.0.0.0 to 255.255.255.255.
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    let checksum = checksum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x00]);
    frame.extend(ip);
    frame.extend([0, 68, 0, 67]);
    frame.extend(udp_length.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(bootp);
    frame
}

/// The address that a DHCP server's frame offers to `mac`.
fn offered(frame: &[u8], mac: [u8; 6]) -> Option<[u8; 4]> {
    let is_udp_over_ipv4 =
        frame.get(12..15)? == [0x08, 0x00, 0x45] && *frame.get(ETHERNET + 9)? == 17;
    let bootp = frame
        .get(ETHERNET + IPV4 + UDP..)
        .filter(|_| is_udp_over_ipv4)?;
    let is_reply_to = *bootp.first()? == 2 && bootp.get(CLIENT_MAC..CLIENT_MAC + 6)? == mac;
    bootp
        .get(YOUR_ADDRESS..YOUR_ADDRESS + 4)?
        .try_into()
        .ok()
        .filter(|_| is_reply_to)
}

/// The internet checksum of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    !(((sum >> 16) + (sum & 0xffff)) as u16)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_request_is_well_formed_and_no_offer() {
        let mac = [2, 0, 0, 0, 0, 1];
        let request = discover(mac);
        assert_eq!(checksum(&request[ETHERNET..ETHERNET + IPV4]), 0);
        assert_eq!(offered(&request, mac), None);
        let mut reply = request;
        let bootp = ETHERNET + IPV4 + UDP;
        reply[bootp] = 2;
        reply[bootp + YOUR_ADDRESS..bootp + YOUR_ADDRESS + 4].copy_from_slice(&[10, 0, 2, 15]);
        assert_eq!(offered(&reply, mac), Some([10, 0, 2, 15]));
        assert_eq!(offered(&reply, [2, 0, 0, 0, 0, 2]), None);
        assert_eq!(offered(&reply[..40], mac), None);
    }
}
