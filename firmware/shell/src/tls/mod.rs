//! TLS 1.3 for every link, with the cluster's own CA: keys, join tokens, and the client side's configurations.
//!
//! Not here: issuing certificates (`authority`, masters only) and sockets' life. Called by masterd, agentd, the CLI.
//! Invariants: no clock is read (certificates are judged at [`VERIFICATION_TIME`], session tickets do not age), so a board
//! that boots in 1970 joins like any other; a resumed link has its own key exchange and the certificate of the first one.

use std::sync::Arc;
use std::time::Duration;

use nesos_base::token::{ClusterKey, JoinToken};
use nesos_wire::join::{ALPN_AGENT, ALPN_JOIN, SERVER_NAME};
use nesos_wire::masters::ALPN_MASTER;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

#[cfg(feature = "authority")]
mod authority;
mod certificate;
mod pin;
mod provider;
#[cfg(feature = "authority")]
pub mod records;
mod session;
#[cfg(feature = "authority")]
mod tickets;
pub mod web;

#[cfg(feature = "authority")]
pub use authority::{Authority, master_number};
pub use certificate::common_name;
use provider::provider;

/// When certificates are judged, seconds since 1970: 2030-01-01, inside the validity (1975 to 4096) of every one we issue.
pub const VERIFICATION_TIME: u64 = 1_893_456_000;
const JOIN_TOKEN_LABEL: &[u8] = b"join token 1";

/// Why TLS cannot be set up or a link not made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random,
    /// A key is not one.
    #[error("{0} is not a valid Ed25519 key")]
    Key(&'static str),
    /// A certificate is not one, or does not fit its key.
    #[error("{what}: {reason}")]
    Certificate {
        /// Whose.
        what: &'static str,
        /// The library's word.
        reason: String,
    },
    /// The handshake failed; says why in rustls's words.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[from] std::io::Error),
}

/// A new random cluster key.
pub fn generate_cluster_key() -> Result<ClusterKey, TlsError> {
    let mut seed = [0; 32];
    random(&mut seed)?;
    Ok(ClusterKey(seed))
}

/// Fills `bytes` with random ones.
pub fn random(bytes: &mut [u8]) -> Result<(), TlsError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| TlsError::Random)
}

/// The token that lets boards into the cluster of this key. The same for ever for the same key.
pub fn join_token(key: &ClusterKey) -> Result<JoinToken, TlsError> {
    let public_key = NodeKey::from_bytes(key.0).public_key()?;
    let tag = ring::hmac::sign(
        &ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key.0),
        JOIN_TOKEN_LABEL,
    );
    let mut secret = [0; 16];
    secret.copy_from_slice(&tag.as_ref()[..16]);
    Ok(JoinToken {
        pin: pin::pin_of(&public_key),
        secret,
    })
}

/// Compares two secrets without telling by its duration where they differ.
pub fn secrets_match(a: &[u8], b: &[u8]) -> Result<bool, TlsError> {
    let mut key = [0; 32];
    random(&mut key)?;
    // Comparing MACs under a fresh key: ring's own constant-time comparison is only public for tags.
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let tag = ring::hmac::sign(&key, a);
    Ok(ring::hmac::verify(&key, b, tag.as_ref()).is_ok())
}

/// A node's private key.
#[derive(Clone)]
pub struct NodeKey([u8; 32]);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(secret)")
    }
}

impl NodeKey {
    /// A new random one.
    pub fn generate() -> Result<Self, TlsError> {
        let mut seed = [0; 32];
        random(&mut seed)?;
        Ok(Self(seed))
    }

    /// From the bytes that [`to_bytes`](Self::to_bytes) gave, as kept in a file of mode 0600.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// The secret's bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// What is certified.
    pub fn public_key(&self) -> Result<[u8; 32], TlsError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(&self.0).map_err(|_| TlsError::Key("the seed"))?;
        pair.public_key()
            .as_ref()
            .try_into()
            .map_err(|_| TlsError::Key("the public key"))
    }

    /// PKCS#8 version 1: what rustls and rcgen read.
    fn to_pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        const HEAD: [u8; 16] = [
            0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
        ];
        let mut der = HEAD.to_vec();
        der.extend_from_slice(&self.0);
        PrivatePkcs8KeyDer::from(der)
    }
}

/// Client side of first contact (ALPN `nesos-join/1`): trusts only the CA that the token pins, has no certificate.
pub fn join_client(token: &JoinToken) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(pin::PinnedCa::new(token.pin, provider()));
    let mut config = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    finish_client(&mut config, ALPN_JOIN);
    Ok(Arc::new(config))
}

/// Client side of the agent link (ALPN `nesos-agent/1`): trusts the cluster's CA, shows its own certificate. Whoever keeps
/// it resumes: the first link is the dearest.
pub fn link_client(
    ca: &[u8],
    certificate: &[u8],
    key: &NodeKey,
) -> Result<Arc<ClientConfig>, TlsError> {
    certified_client(ca, certificate, key, ALPN_AGENT)
}

/// Client side of links between masters (ALPN `nesos-master/1`): as [`link_client`].
pub fn master_client(
    ca: &[u8],
    certificate: &[u8],
    key: &NodeKey,
) -> Result<Arc<ClientConfig>, TlsError> {
    certified_client(ca, certificate, key, ALPN_MASTER)
}

fn certified_client(
    ca: &[u8],
    certificate: &[u8],
    key: &NodeKey,
    alpn: &[u8],
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(ca)?), provider())
        .build()
        .map_err(|e| TlsError::Certificate {
            what: "the CA's certificate",
            reason: e.to_string(),
        })?;
    let mut config = client_builder()?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(
            vec![CertificateDer::from(certificate.to_vec())],
            PrivateKeyDer::Pkcs8(key.to_pkcs8()),
        )
        .map_err(|e| TlsError::Certificate {
            what: "the node's certificate",
            reason: e.to_string(),
        })?;
    finish_client(&mut config, alpn);
    config.resumption = Resumption::store(Arc::new(session::LastSession::default()));
    Ok(Arc::new(config))
}

/// Client side for people's tools (ALPN `http/1.1`): trusts the CA that the token pins, has no certificate.
pub fn http_client(token: &JoinToken) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(pin::PinnedCa::new(token.pin, provider()));
    let mut config = client_builder()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    finish_client(&mut config, b"http/1.1");
    Ok(Arc::new(config))
}

/// Does the handshake as client with a master.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    stream: S,
) -> Result<tokio_rustls::client::TlsStream<S>, TlsError> {
    let name = ServerName::try_from(SERVER_NAME).map_err(|e| TlsError::Certificate {
        what: "the server's name",
        reason: e.to_string(),
    })?;
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}

fn client_builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError>
{
    ClientConfig::builder_with_details(provider(), Arc::new(FixedTime))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| TlsError::Certificate {
            what: "TLS 1.3",
            reason: e.to_string(),
        })
}

fn finish_client(config: &mut ClientConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
}

fn roots(ca: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(ca))
        .map_err(|e| TlsError::Certificate {
            what: "the CA's certificate",
            reason: e.to_string(),
        })?;
    Ok(roots)
}

fn fixed_time() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(VERIFICATION_TIME))
}

#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(fixed_time())
    }
}

#[cfg(all(test, feature = "authority"))]
mod tests;
