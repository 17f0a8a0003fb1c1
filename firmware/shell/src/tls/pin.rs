//! Trust by a pinned CA key: the server's chain must hold a CA certificate with that key, and it must have signed the leaf.
//!
//! Not a general verifier: one level, Ed25519 only. Called by rustls during handshakes of boards that hold only a token.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// DER in front of the 32 key bytes inside an Ed25519 SubjectPublicKeyInfo (without its outer SEQUENCE).
const ED25519_SPKI: [u8; 10] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// Most certificates looked at in a chain: masters send leaf and CA.
const MAX_CHAIN: usize = 4;

/// The first half of SHA-256 of a public key.
pub(super) fn pin_of(public_key: &[u8]) -> [u8; 16] {
    let digest = ring::digest::digest(&ring::digest::SHA256, public_key);
    let mut pin = [0; 16];
    pin.copy_from_slice(&digest.as_ref()[..16]);
    pin
}

#[derive(Debug)]
pub(super) struct PinnedCa {
    pin: [u8; 16],
    provider: Arc<CryptoProvider>,
}

impl PinnedCa {
    pub(super) fn new(pin: [u8; 16], provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider }
    }

    fn pinned_root(&self, chain: &[CertificateDer<'_>]) -> Option<rustls::RootCertStore> {
        chain.iter().take(MAX_CHAIN).find_map(|certificate| {
            let roots = super::roots(certificate).ok()?;
            let spki = roots.roots.first()?.subject_public_key_info.as_ref();
            let public_key = spki.strip_prefix(&ED25519_SPKI)?;
            (pin_of(public_key) == self.pin).then_some(roots)
        })
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let other_cluster = "the master belongs to another cluster: its CA is not the one that the join token names";
        let roots = self
            .pinned_root(chain)
            .ok_or_else(|| Error::General(other_cluster.into()))?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?
            .verify_server_cert(leaf, &[], name, ocsp, super::fixed_time())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
