//! The cluster's CA: issues node certificates and makes the master's TLS server configuration.
//!
//! Masters only (feature `authority`). Not here: who may have a certificate (the join handler asks first). Invariant: the
//! CA certificate is a function of the cluster key alone, so a master that lost its disk but has the key is the same CA.

use std::sync::Arc;

use nesos_base::token::ClusterKey;
use nesos_wire::id::NodeId;
use nesos_wire::join::SERVER_NAME;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SignatureAlgorithm,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::provider::provider;
use super::tickets::Tickets;
use super::{FixedTime, NodeKey, TlsError, roots};

/// What masters' common names begin with. Node ids have no slash.
const MASTER_PREFIX: &str = "master/";

/// The number of the master whose certificate has this common name; `None`: it is not a master's.
pub fn master_number(common_name: &str) -> Option<u64> {
    let number = common_name.strip_prefix(MASTER_PREFIX)?;
    u64::from_str_radix(number, 16).ok()
}

/// The CA of one cluster.
#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    tickets: Arc<Tickets>,
}

impl Authority {
    /// The CA that belongs to this key.
    pub fn new(key: &ClusterKey) -> Result<Self, TlsError> {
        let pair = key_pair(&NodeKey::from_bytes(key.0))?;
        let mut params = params("nesos cluster CA", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params
            .self_signed(&pair)
            .map_err(|e| failed("the CA's certificate", &e))?
            .der()
            .clone();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, pair),
            tickets: Arc::new(Tickets::new(&key.0)),
        })
    }

    /// The CA's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate for a node's public key, DER; its common name is the node id.
    pub fn issue_node(&self, node: &NodeId, public_key: [u8; 32]) -> Result<Vec<u8>, TlsError> {
        self.issue(node.as_str(), public_key)
    }

    /// A certificate for a master's public key, DER. Its common name is none that a node can have: see [`master_number`].
    pub fn issue_master(&self, number: u64, public_key: [u8; 32]) -> Result<Vec<u8>, TlsError> {
        self.issue(&format!("{MASTER_PREFIX}{number:016x}"), public_key)
    }

    fn issue(&self, common_name: &str, public_key: [u8; 32]) -> Result<Vec<u8>, TlsError> {
        let mut params = params(common_name, &[])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params.signed_by(&RawKey(public_key), &self.issuer);
        Ok(signed
            .map_err(|e| failed("the node's certificate", &e))?
            .der()
            .to_vec())
    }

    /// The server side of every TLS link: offers these ALPN names, asks for a client certificate but does not insist.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let key = NodeKey::generate()?;
        let mut params = params(SERVER_NAME, &[SERVER_NAME.to_string()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let signed = params.signed_by(&key_pair(&key)?, &self.issuer);
        let leaf = signed
            .map_err(|e| failed("the master's certificate", &e))?
            .der()
            .clone();
        let clients = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots(&self.certificate)?),
            provider(),
        )
        .allow_unauthenticated()
        .build()
        .map_err(|e| TlsError::Certificate {
            what: "the CA's certificate",
            reason: e.to_string(),
        })?;
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(FixedTime))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                let chain = vec![leaf, self.certificate.clone()];
                builder
                    .with_client_cert_verifier(clients)
                    .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.to_pkcs8()))
            })
            .map_err(|e| TlsError::Certificate {
                what: "the master's certificate",
                reason: e.to_string(),
            })?;
        // For `records`, which takes agents' links over.
        config.enable_secret_extraction = true;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        // One is enough: each link brings the next.
        config.send_tls13_tickets = 1;
        config.ticketer = self.tickets.clone();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }
}

/// A public key without its private half.
struct RawKey([u8; 32]);

impl PublicKeyData for RawKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// rcgen's default validity is 1975 to 4096, which is what we want: boards without a clock exist.
fn params(common_name: &str, names: &[String]) -> Result<CertificateParams, TlsError> {
    let mut params =
        CertificateParams::new(names).map_err(|e| failed("the subject's names", &e))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

fn key_pair(key: &NodeKey) -> Result<KeyPair, TlsError> {
    KeyPair::from_pkcs8_der_and_sign_algo(&key.to_pkcs8(), &PKCS_ED25519)
        .map_err(|_| TlsError::Key("the seed"))
}

fn failed(what: &'static str, error: &rcgen::Error) -> TlsError {
    TlsError::Certificate {
        what,
        reason: error.to_string(),
    }
}
