//! Tests of the DHCP client: lease, renewal, loss, refusal, and packets nobody should send.
#![allow(clippy::unwrap_used)]

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: [u8; 4] = [10, 0, 2, 2];

fn at(seconds: u64) -> Instant {
    Instant::from_secs(seconds)
}

fn sent(action: Option<Action>) -> (To, Vec<u8>) {
    match action {
        Some(Action::Send(to, bytes)) => (to, bytes),
        other => panic!("no message: {other:?}"),
    }
}

/// A server's answer of type `kind` to the client's last `request`.
fn answer(request: &[u8], kind: u8) -> Vec<u8> {
    let mut reply = request[..240].to_vec();
    reply[0] = 2;
    reply[16..20].copy_from_slice(&[10, 0, 2, 15]);
    reply.extend([
        53, 1, kind, 54, 4, 10, 0, 2, 2, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2,
    ]);
    reply.extend([
        6, 8, 10, 0, 2, 3, 8, 8, 8, 8, 0, 51, 4, 0, 1, 0x51, 0x80, 255,
    ]);
    reply
}

fn bound(client: &mut Client, now: Instant) -> Lease {
    let (to, discover) = sent(client.poll(now));
    assert_eq!(to, To::Link);
    let (to, request) = sent(client.receive(&answer(&discover, 2), now));
    assert_eq!(to, To::Link);
    assert!(request.windows(6).any(|w| w == [50, 4, 10, 0, 2, 15]));
    match client.receive(&answer(&request, 5), now) {
        Some(Action::Bound(lease)) => lease,
        other => panic!("no lease: {other:?}"),
    }
}

#[test]
fn a_lease_is_found_renewed_in_place_and_lost_in_the_end() {
    let mut client = Client::new(MAC, "home-node", 1, at(0));
    let lease = bound(&mut client, at(0));
    assert_eq!(
        (lease.address, lease.prefix),
        (Ipv4Addr::new(10, 0, 2, 15), 24)
    );
    assert_eq!(lease.gateway, Some(Ipv4Addr::from(SERVER)));
    assert_eq!(
        lease.dns,
        [Ipv4Addr::new(10, 0, 2, 3), Ipv4Addr::new(8, 8, 8, 8)]
    );
    assert!(!client.needs_link());

    assert_eq!(client.deadline(), at(43_200));
    assert_eq!(client.poll(at(43_199)), None);
    let (to, request) = sent(client.poll(at(43_200)));
    assert_eq!(to, To::Address(Ipv4Addr::from(SERVER)));
    assert_eq!(request[12..16], [10, 0, 2, 15]);
    assert_eq!(client.receive(&answer(&request, 5), at(43_201)), None);
    assert_eq!(client.deadline(), at(43_201 + 43_200));

    let mut now = client.deadline();
    let mut broadcasts = 0;
    loop {
        match client.poll(now) {
            Some(Action::Send(To::Address(to), _)) => broadcasts += u32::from(to.is_broadcast()),
            Some(Action::Lost(lost)) => break assert_eq!(lost.address, lease.address),
            other => panic!("{other:?}"),
        }
        now = client.deadline();
    }
    assert_eq!(now, at(43_201 + 86_400));
    assert!(broadcasts > 2);
    assert!(client.needs_link());
}

#[test]
fn searching_repeats_more_and_more_slowly() {
    let mut client = Client::new(MAC, "", 1, at(0));
    let mut waits = Vec::new();
    let mut now = at(0);
    for _ in 0..8 {
        sent(client.poll(now));
        assert_eq!(client.poll(now), None);
        waits.push((client.deadline() - now).as_millis());
        now = client.deadline();
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
}

#[test]
fn a_refused_or_unanswered_request_starts_a_new_search() {
    let mut client = Client::new(MAC, "n", 1, at(0));
    let (_, discover) = sent(client.poll(at(0)));
    let (_, request) = sent(client.receive(&answer(&discover, 2), at(0)));
    assert_eq!(client.receive(&answer(&request, 6), at(1)), None);
    assert_eq!(client.poll(at(1)), None);
    let (_, again) = sent(client.poll(at(2)));
    assert_ne!(again[4..8], discover[4..8]);
    let mut request = sent(client.receive(&answer(&again, 2), at(2))).1;
    while request.windows(3).any(|w| w == [53, 1, 3]) {
        request = match client.poll(client.deadline()) {
            Some(Action::Send(_, bytes)) => bytes,
            _ => Vec::new(),
        };
    }
    assert!(client.needs_link());
}

#[test]
fn foreign_and_broken_answers_are_ignored() {
    let mut client = Client::new(MAC, "n", 1, at(0));
    let (_, discover) = sent(client.poll(at(0)));
    let good = answer(&discover, 2);
    for (offset, value) in [(0, 1), (4, !good[4]), (28, 0xff), (236, 0)] {
        let mut bad = good.clone();
        bad[offset] = value;
        assert_eq!(client.receive(&bad, at(0)), None, "byte {offset}");
    }
    for length in 0..240 + 3 {
        assert_eq!(
            client.receive(&good[..length], at(0)),
            None,
            "length {length}"
        );
    }
    assert!(client.receive(&good, at(0)).is_some());
}

#[test]
fn link_packets_carry_the_payload_and_valid_checksums() {
    let mut packet = link_packet(b"hello");
    let words = |bytes: &[u8]| {
        let sum: u32 = bytes
            .chunks(2)
            .map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0)))
            .sum();
        (sum & 0xffff) + (sum >> 16)
    };
    assert_eq!(words(&packet[..20]), 0xffff);
    assert_eq!(link_payload(&packet), None);
    packet[22..24].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    assert_eq!(link_payload(&packet), Some(&b"hello"[..]));
    for length in 0..packet.len() {
        assert_eq!(link_payload(&packet[..length]), None, "length {length}");
    }
}
