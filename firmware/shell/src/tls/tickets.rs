//! Session tickets of the master: an agent that has been here comes back without signatures and certificates.
//!
//! Masters only (feature `authority`); the agent's end is `session`. What a ticket says (the agent's certificate, a secret)
//! is rustls's business, here it is only sealed. Invariants: whoever has the cluster's key, and nobody else, makes and
//! opens tickets, so that they outlive a master's restart and are good at every master; no key seals two tickets.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use rustls::server::ProducesTickets;

/// What the key is derived for, and its version.
const LABEL: &[u8] = b"session tickets 1";
/// Random bytes in front of a ticket, which make its key.
const SALT: usize = 16;
/// Told to clients: the most that TLS allows. Nobody here has a clock to go by; why that is well stands in the README.
const LIFETIME_SECONDS: u32 = 7 * 24 * 3600;

/// Seals and opens tickets.
#[derive(Debug)]
pub(super) struct Tickets(hmac::Key);

impl Tickets {
    /// Those of the cluster with this key.
    pub(super) fn new(cluster_key: &[u8]) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, cluster_key), LABEL);
        Self(hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref()))
    }

    /// The key of one ticket.
    fn key(&self, salt: &[u8]) -> Option<LessSafeKey> {
        let key = hmac::sign(&self.0, salt);
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        super::random(&mut salt).ok()?;
        let mut ticket = Vec::with_capacity(SALT + plain.len() + CHACHA20_POLY1305.tag_len());
        ticket.extend_from_slice(&salt);
        ticket.extend_from_slice(plain);
        let sealed = ticket.get_mut(SALT..)?;
        let tag = self
            .key(&salt)?
            .seal_in_place_separate_tag(nonce(), Aad::empty(), sealed)
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = ticket.split_at_checked(SALT)?;
        let mut plain = sealed.to_vec();
        let len = self
            .key(salt)?
            .open_in_place(nonce(), Aad::empty(), &mut plain)
            .ok()?
            .len();
        plain.truncate(len);
        Some(plain)
    }
}

/// Always the same one: each key seals one ticket.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tickets_open_with_the_same_cluster_key_only() {
        let ticket = Tickets::new(&[1; 32]).encrypt(b"who it was").unwrap();
        let opened = Tickets::new(&[1; 32]).decrypt(&ticket);
        assert_eq!(opened.as_deref(), Some(&b"who it was"[..]));
        assert_eq!(Tickets::new(&[2; 32]).decrypt(&ticket), None);
    }

    #[test]
    fn no_two_tickets_are_alike() {
        let tickets = Tickets::new(&[1; 32]);
        assert_ne!(tickets.encrypt(b"same"), tickets.encrypt(b"same"));
    }

    #[test]
    fn damaged_tickets_are_not_opened() {
        let tickets = Tickets::new(&[1; 32]);
        let ticket = tickets.encrypt(b"plain").unwrap();
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert_eq!(tickets.decrypt(&damaged), None, "byte {at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut to {at}");
        }
    }
}
