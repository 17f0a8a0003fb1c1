//! Tests of keys, tokens and handshakes.
#![allow(clippy::unwrap_used)]

use super::*;
use nesos_wire::id::NodeId;
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

const KEY: ClusterKey = ClusterKey([7; 32]);

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Handshake in memory: the client's result, and the server's view of ALPN and client certificate.
#[allow(clippy::type_complexity)]
fn shake(
    authority: &Authority,
    client: Arc<ClientConfig>,
) -> (
    Result<(), TlsError>,
    Option<(Option<Vec<u8>>, Option<String>)>,
) {
    let (client, server, _) = shake_again(authority, client);
    (client, server)
}

/// The same, and whether the client resumed.
#[allow(clippy::type_complexity)]
fn shake_again(
    authority: &Authority,
    client: Arc<ClientConfig>,
) -> (
    Result<(), TlsError>,
    Option<(Option<Vec<u8>>, Option<String>)>,
    bool,
) {
    let server = authority
        .server_config(&[ALPN_AGENT, ALPN_JOIN, b"http/1.1"])
        .unwrap();
    run(async {
        let (a, b) = tokio::io::duplex(16 * 1024);
        let serve = async {
            let mut stream = TlsAcceptor::from(server).accept(b).await.ok()?;
            let state = stream.get_ref().1;
            let alpn = state.alpn_protocol().map(<[u8]>::to_vec);
            let name = state
                .peer_certificates()
                .and_then(|chain| common_name(&chain[0]));
            let mut byte = [0];
            stream.read_exact(&mut byte).await.ok()?;
            stream.write_all(&byte).await.ok()?;
            stream.flush().await.ok()?;
            Some((alpn, name))
        };
        let dial = async {
            let mut stream = connect(client, a).await?;
            stream.write_all(b"x").await?;
            stream.flush().await?;
            let kind = stream.get_ref().1.handshake_kind();
            // The ticket comes before the answer.
            let _ = stream.read(&mut [0]).await;
            Ok(kind == Some(HandshakeKind::Resumed))
        };
        let (dialled, served) = tokio::join!(dial, serve);
        let resumed = dialled.as_ref().is_ok_and(|resumed| *resumed);
        (dialled.map(drop), served, resumed)
    })
}

#[test]
fn token_is_a_function_of_the_key() {
    assert_eq!(join_token(&KEY).unwrap(), join_token(&KEY).unwrap());
    assert_ne!(
        join_token(&KEY).unwrap(),
        join_token(&ClusterKey([8; 32])).unwrap()
    );
    assert_eq!(
        Authority::new(&KEY).unwrap().certificate(),
        Authority::new(&KEY).unwrap().certificate()
    );
}

#[test]
fn secrets_are_compared() {
    assert!(secrets_match(b"same", b"same").unwrap());
    assert!(!secrets_match(b"same", b"sane").unwrap());
    assert!(!secrets_match(b"same", b"same longer").unwrap());
}

#[test]
fn a_board_joins_with_the_token_and_links_with_its_certificate() {
    let authority = Authority::new(&KEY).unwrap();
    let (client, server) = shake(&authority, join_client(&join_token(&KEY).unwrap()).unwrap());
    client.unwrap();
    assert_eq!(server, Some((Some(ALPN_JOIN.to_vec()), None)));

    let key = NodeKey::generate().unwrap();
    let node = NodeId::new("rpi3-00000000deadbeef");
    let certificate = authority
        .issue_node(&node, key.public_key().unwrap())
        .unwrap();
    assert_eq!(common_name(&certificate).as_deref(), Some(node.as_str()));
    let (client, server) = shake(
        &authority,
        link_client(authority.certificate(), &certificate, &key).unwrap(),
    );
    client.unwrap();
    assert_eq!(
        server,
        Some((Some(ALPN_AGENT.to_vec()), Some(node.to_string())))
    );
}

#[test]
fn another_clusters_master_is_not_trusted() {
    let authority = Authority::new(&ClusterKey([9; 32])).unwrap();
    let (client, _) = shake(&authority, join_client(&join_token(&KEY).unwrap()).unwrap());
    assert!(client.unwrap_err().to_string().contains("another cluster"));
}

#[test]
fn another_clusters_node_is_not_trusted() {
    let (ours, theirs) = (
        Authority::new(&KEY).unwrap(),
        Authority::new(&ClusterKey([9; 32])).unwrap(),
    );
    let key = NodeKey::generate().unwrap();
    let certificate = theirs
        .issue_node(&NodeId::new("spy"), key.public_key().unwrap())
        .unwrap();
    let (_, server) = shake(
        &ours,
        link_client(ours.certificate(), &certificate, &key).unwrap(),
    );
    assert_eq!(server, None);
}

#[test]
fn a_certificate_without_its_key_is_useless() {
    let authority = Authority::new(&KEY).unwrap();
    let key = NodeKey::generate().unwrap();
    let certificate = authority
        .issue_node(&NodeId::new("n"), key.public_key().unwrap())
        .unwrap();
    let other = NodeKey::generate().unwrap();
    let refused_early = link_client(authority.certificate(), &certificate, &other);
    if let Ok(config) = refused_early {
        assert_eq!(shake(&authority, config).1, None);
    }
}

/// What a node shows: its configuration and its name.
fn node(authority: &Authority, name: &str) -> Arc<ClientConfig> {
    let key = NodeKey::generate().unwrap();
    let certificate = authority
        .issue_node(&NodeId::new(name), key.public_key().unwrap())
        .unwrap();
    link_client(authority.certificate(), &certificate, &key).unwrap()
}

#[test]
fn a_resumed_link_proves_the_same_node_to_every_master_of_the_cluster() {
    let client = node(&Authority::new(&KEY).unwrap(), "board");
    let seen = Some((Some(ALPN_AGENT.to_vec()), Some("board".to_owned())));
    for resumed in [false, true, true] {
        // Another process each time: all it shares with the last one is the cluster's key.
        let master = Authority::new(&KEY).unwrap();
        let (dialled, served, is_resumed) = shake_again(&master, Arc::clone(&client));
        dialled.unwrap();
        assert_eq!((served, is_resumed), (seen.clone(), resumed));
    }
}

#[test]
fn another_clusters_master_resumes_nothing_and_is_not_trusted() {
    let client = node(&Authority::new(&KEY).unwrap(), "board");
    shake(&Authority::new(&KEY).unwrap(), Arc::clone(&client))
        .0
        .unwrap();
    let stranger = Authority::new(&ClusterKey([9; 32])).unwrap();
    let (dialled, served, _) = shake_again(&stranger, Arc::clone(&client));
    assert!(dialled.is_err());
    assert_eq!(served, None);
}

#[test]
fn a_link_that_broke_in_its_handshake_costs_no_more_than_the_ticket() {
    let authority = Authority::new(&KEY).unwrap();
    let client = node(&authority, "board");
    shake(&authority, Arc::clone(&client)).0.unwrap();
    run(async {
        let (a, b) = tokio::io::duplex(16 * 1024);
        drop(b);
        connect(Arc::clone(&client), a).await.map(drop)
    })
    .unwrap_err();
    for resumed in [false, true] {
        let (dialled, _, is_resumed) = shake_again(&authority, Arc::clone(&client));
        dialled.unwrap();
        assert_eq!(is_resumed, resumed);
    }
}
