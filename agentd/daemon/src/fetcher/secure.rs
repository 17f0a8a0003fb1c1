//! Tests of downloads over HTTPS: from a server with a certificate of the test's own CA.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentd_core::fetch::plan;
use nesos_shell::clock::Clock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::cache::Cache;
use super::client::Client;
use super::helper::Helper;
use super::{Target, fetch_all};

struct Server {
    port: u16,
    /// Its CA, as PEM.
    ca: String,
}

fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("key");
    CertifiedIssuer::self_signed(params, key).expect("CA")
}

/// Answers each connection with the next answer.
async fn serve(answers: Vec<&'static str>) -> Server {
    let issuer = issuer("own");
    let key = KeyPair::generate().expect("key");
    let params = CertificateParams::new(["localhost".to_string()]).expect("names");
    let leaf = params.signed_by(&key, &issuer).expect("signed");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("key"),
        )
        .expect("certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::task::spawn_local(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.expect("accept");
            // A client that does not believe the certificate goes away.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let ca = issuer.pem();
    Server { port, ca }
}

async fn fetch(url: &str, sandbox: &Path, ca: Option<PathBuf>, unix: f64) -> Result<(), String> {
    let uri = nesos_wire::task::Uri {
        value: url.into(),
        executable: false,
        extract: false,
        cache: false,
        output_file: Some("file".into()),
    };
    let target = Target {
        sandbox: sandbox.into(),
        helper: Helper {
            program: "/not/needed".into(),
            user: None,
        },
        client: Client {
            stall_timeout: Duration::from_secs(5),
            authorities: ca,
            proxy: None,
            unix,
        },
        disk: None,
    };
    let folder = tempfile::tempdir().expect("scratch folder");
    let cache = Cache::new(folder.path().join("cache"), 0).expect("made");
    let fetched = fetch_all(&plan(&[uri]).expect("valid"), &target, &cache).await;
    fetched.map_err(|error| error.to_string())
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn refused(fetched: Result<(), String>, sentence: &str) {
    let error = fetched.expect_err(sentence);
    assert!(error.contains(sentence), "{error}");
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn a_server_is_believed_if_its_ca_is_known() {
    run(async {
        let folder = tempfile::tempdir().expect("scratch folder");
        let server = serve(vec![HELLO, HELLO, HELLO]).await;
        let url = format!("https://localhost:{}/x", server.port);
        let (ca, stranger) = (
            folder.path().join("ca.pem"),
            folder.path().join("other.pem"),
        );
        fs::write(&ca, &server.ca).expect("write");
        fs::write(&stranger, issuer("stranger").pem()).expect("write");
        let now = Clock::wall();
        let error = fetch(&url, folder.path(), Some(stranger), now).await;
        refused(error, "UnknownIssuer");
        // Not valid any more: the year 6000.
        let error = fetch(&url, folder.path(), Some(ca.clone()), 127_000_000_000.0).await;
        refused(error, "xpired");
        let fetched = fetch(&url, folder.path(), Some(ca), now).await;
        fetched.expect("fetched");
        let text = fs::read_to_string(folder.path().join("file")).expect("there");
        assert_eq!(text, "hello");
    });
}

#[test]
fn without_cas_or_from_safe_to_unsafe_nothing_is_fetched() {
    run(async {
        let folder = tempfile::tempdir().expect("scratch folder");
        let down =
            "HTTP/1.1 302 Found\r\nLocation: http://localhost/x\r\nContent-Length: 0\r\n\r\n";
        let server = serve(vec![down]).await;
        let url = format!("https://localhost:{}/x", server.port);
        let now = Clock::wall();
        let error = fetch(&url, folder.path(), None, now).await;
        refused(error, "there are no CAs");
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, "no certificate").expect("write");
        let error = fetch(&url, folder.path(), Some(ca.clone()), now).await;
        refused(error, "holds no certificate");
        fs::write(&ca, &server.ca).expect("write");
        let error = fetch(&url, folder.path(), Some(ca), now).await;
        refused(error, "less safe");
    });
}
