//! Against rustls's client, which is what agents have.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::sync::Arc;

use nesos_base::token::ClusterKey;
use rustls::crypto::ring::cipher_suite;
use rustls::{ClientConfig, SupportedCipherSuite};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;
use crate::tls::{Authority, FixedTime, connect, join_token, pin::PinnedCa, provider::provider};

const KEY: ClusterKey = ClusterKey([7; 32]);
const SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
];

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// A client that knows this cipher only.
fn client(suite: SupportedCipherSuite) -> Arc<ClientConfig> {
    let mut known = (*provider()).clone();
    known.cipher_suites = vec![suite];
    let pin = join_token(&KEY).unwrap().pin;
    let config = ClientConfig::builder_with_details(Arc::new(known), Arc::new(FixedTime))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedCa::new(pin, provider())))
        .with_no_client_auth();
    Arc::new(config)
}

/// A link that was taken over when the client's first words were on their way already.
async fn link(
    first: &[u8],
    suite: SupportedCipherSuite,
) -> (ClientStream<DuplexStream>, Records<DuplexStream>) {
    let server = Authority::new(&KEY).unwrap().server_config(&[]).unwrap();
    let (a, b) = tokio::io::duplex(64 * 1024);
    let dial = async {
        let mut stream = connect(client(suite), a).await.unwrap();
        stream.write_all(first).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let accept = TlsAcceptor::from(server).accept(Whole::new(b));
    let (client, server) = tokio::join!(dial, accept);
    (client, take_over(server.unwrap()).await.unwrap())
}

#[test]
fn both_sides_read_what_the_other_wrote_with_every_cipher() {
    for suite in SUITES {
        run(async {
            let (mut client, mut server) = link(b"hello", suite).await;
            let mut hello = [0; 5];
            server.read_exact(&mut hello).await.unwrap();
            assert_eq!(&hello, b"hello");
            // More than a record takes, and than the stream between them.
            let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
            for len in [1, 5, MAX_PLAIN, MAX_PLAIN + 1, sent.len()] {
                let mut back = vec![0; len];
                let echo = async {
                    let mut heard = vec![0; len];
                    server.read_exact(&mut heard).await.unwrap();
                    server.write_all(&heard).await.unwrap();
                    server.flush().await.unwrap();
                };
                let (mut read, mut write) = tokio::io::split(&mut client);
                let say = async {
                    write.write_all(&sent[..len]).await.unwrap();
                    write.flush().await.unwrap();
                };
                let hear = async { read.read_exact(&mut back).await.unwrap() };
                tokio::join!(echo, say, hear);
                assert_eq!(back, sent[..len]);
            }
            assert_eq!(
                (server.record.capacity(), server.outgoing.capacity()),
                (0, 0)
            );
        });
    }
}

#[test]
fn farewells_are_said_and_heard() {
    run(async {
        let (mut client, mut server) = link(b"last words", SUITES[0]).await;
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"last words");
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);

        let (mut client, mut server) = link(b"", SUITES[0]).await;
        server.write_all(b"mine").await.unwrap();
        server.shutdown().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"mine");
    });
}

#[test]
fn a_peer_that_vanishes_and_one_that_lies_are_errors() {
    run(async {
        let (client, mut server) = link(b"", SUITES[0]).await;
        drop(client);
        let error = server.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

        for forged in [
            [DATA, 3, 3, 0, 40].as_slice(),
            &[DATA, 3, 3, 0, 16],
            &[DATA, 3, 3, 0xff, 0xff],
            &[20, 3, 3, 0, 1],
        ] {
            let (client, mut server) = link(b"", SUITES[0]).await;
            let (mut wire, _) = client.into_inner();
            let mut record = forged.to_vec();
            record.resize(HEADER + 40, 7);
            wire.write_all(&record).await.unwrap();
            let error = server.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{forged:?}");
        }
    });
}

#[test]
fn a_damaged_record_is_not_opened() {
    run(async {
        let (_client, mut server) = link(b"", SUITES[0]).await;
        let mut record = Vec::new();
        server.sealer.seal(DATA, b"content", &mut record).unwrap();
        // What one side seals the other side opens with the same number; here it is the same side.
        let (header, sealed) = record.split_at(HEADER);
        for at in 0..sealed.len() {
            let mut damaged = sealed.to_vec();
            damaged[at] ^= 1;
            server.sealer.sequence -= 1;
            let opened = server.sealer.open(header.try_into().unwrap(), &mut damaged);
            assert!(opened.is_err(), "byte {at}");
        }
        server.sealer.sequence -= 1;
        let mut sealed = sealed.to_vec();
        let opened = server.sealer.open(header.try_into().unwrap(), &mut sealed);
        assert_eq!(opened.unwrap(), (DATA, b"content".len()));
        assert_eq!(&sealed[..7], b"content");
    });
}

#[test]
fn a_link_ends_with_its_keys() {
    run(async {
        let (_client, mut server) = link(b"", SUITES[1]).await;
        server.sealer.sequence = MAX_RECORDS - 1;
        server.write_all(b"the last").await.unwrap();
        server.write_all(b"one more").await.unwrap_err();
    });
}
