//! Tests of the store, of where images come from, and of a registry that wants tokens. A real registry is in tests/images.rs.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use agentd_core::image::Descriptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

fn digest(letter: char) -> Digest {
    let digits = letter.to_string().repeat(64);
    Digest::parse(&format!("sha256:{digits}")).unwrap()
}

/// Puts an image of these layers into the store, and the layers too.
fn put(store: &Store, name: char, layers: &[char]) {
    let ids: Vec<String> = layers
        .iter()
        .map(|one| format!("\"{}\"", digest(*one)))
        .collect();
    let raw = format!(r#"{{"rootfs":{{"diff_ids":[{}]}}}}"#, ids.join(","));
    for layer in layers {
        fs::create_dir_all(store.layer(&digest(*layer))).unwrap();
    }
    let config = Config::parse(raw.as_bytes()).unwrap();
    let kept = store.keep(digest(name), &name.to_string(), raw.as_bytes(), &config);
    kept.unwrap();
}

fn there(store: &Store) -> String {
    let all = "abcdef".chars();
    all.filter(|one| store.has(&digest(*one))).collect()
}

#[test]
fn the_longest_unused_goes_and_what_is_shared_or_held_stays() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::open(folder.path()).unwrap();
        put(&store, '1', &['a', 'b']);
        put(&store, '2', &['a', 'c']);
        put(&store, '3', &['d']);
        store.hold("container", vec![digest('a'), digest('c')]);
        assert!(store.find(&digest('1')).is_some(), "used again");
        store.evict().unwrap();
        assert_eq!(
            there(&store),
            "abc",
            "3 was the longest unused that nobody holds"
        );
        store.evict().unwrap();
        assert_eq!(there(&store), "ac");
        assert_eq!(store.evict(), None);
        assert!(store.find(&digest('1')).is_none() && store.find(&digest('2')).is_some());
        assert!(store.release("container"));
        assert!(!store.release("container"));
        let pinned = store.pin(vec![digest('c')]);
        store.evict().unwrap();
        assert_eq!(there(&store), "c", "a pull needs it");
        drop(pinned);
        store.prune(&BTreeSet::new());
        assert_eq!(there(&store), "");
    });
}

#[test]
fn a_prune_leaves_what_is_excluded() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::open(folder.path()).unwrap();
        put(&store, '1', &['a']);
        put(&store, '2', &['b']);
        store.prune(&BTreeSet::from(["2".to_string()]));
        assert_eq!(there(&store), "b");
    });
}

#[test]
fn a_store_is_found_again_without_what_was_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let store = Store::open(folder.path()).unwrap();
        put(&store, '1', &['a', 'b']);
        put(&store, '2', &['c']);
        put(&store, '3', &['d']);
        std::mem::forget(store.stage().unwrap());
    });
    fs::remove_dir(folder.path().join("layers").join(digest('b').digits())).unwrap();
    let damaged = folder.path().join("images").join(digest('2').digits());
    fs::write(&damaged, "2\n{").unwrap();
    fs::write(folder.path().join("images/odd"), "").unwrap();
    run(async {
        let store = Store::open(folder.path()).unwrap();
        assert!(store.find(&digest('1')).is_none(), "a layer is missing");
        assert!(store.find(&digest('2')).is_none() && !damaged.exists());
        assert!(store.find(&digest('3')).is_some());
        assert_eq!(
            fs::read_dir(folder.path().join("images")).unwrap().count(),
            2
        );
        // New folders do not meet old ones, which go meanwhile.
        let stages = [store.stage().unwrap(), store.stage().unwrap()];
        assert!(stages[0].path() != stages[1].path());
    });
}

fn images(folder: &Path, registry: Registry) -> Images {
    let options = Options {
        store: folder.join("store"),
        containers: folder.join("containers"),
        registry,
        logins: Logins::default(),
        sandbox: "/mnt/mesos/sandbox".into(),
    };
    Images::new(&options, "/not/needed".into()).unwrap()
}

#[test]
fn names_say_where_images_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let server = Registry::Server {
        scheme: "http",
        host: "10.0.0.1:5000".into(),
    };
    let of = |images: &Images, name: &str| match images.place(name) {
        Ok((Place::Archive(path), _)) => path,
        Ok((Place::Server((scheme, host), reference), _)) => {
            format!("{scheme}://{host}/{}", reference.repository)
        }
        Err(error) => error,
    };
    run(async {
        let one = images(folder.path(), server);
        for (name, expected) in [
            ("a/b:1", "http://10.0.0.1:5000/a/b"),
            ("10.0.0.1:5000/a", "http://10.0.0.1:5000/a"),
            ("127.0.0.1:5000/a", "http://127.0.0.1:5000/a"),
            ("localhost/a", "http://localhost/a"),
            ("ghcr.io/a/b", "https://ghcr.io/a/b"),
            ("file:///x.tar", "file:///x.tar"),
            ("/x.tar", "/x.tar"),
        ] {
            assert_eq!(of(&one, name), expected);
        }
        assert!(of(&one, "A b").contains("no image"));
        let two = images(folder.path(), Registry::Folder("/srv".into()));
        assert_eq!(of(&two, "busybox"), "/srv/busybox:latest.tar");
        assert_eq!(of(&two, "a/b:1"), "/srv/a/b:1.tar");
        assert_eq!(of(&two, "h.example/b:1"), "https://h.example/b");
        assert!(of(&two, "../b").contains("no image"));
    });
}

#[test]
fn layers_of_living_containers_are_held_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let container = ContainerId::new("c1");
    let server = || Registry::Folder("/srv".into());
    run(async {
        let one = images(folder.path(), server());
        put(&one.store, '1', &['a', 'b']);
        put(&one.store, '2', &['c']);
        let config = one.store.find(&digest('1')).unwrap();
        let made = one.prepare(&container, vec![config]).unwrap();
        let expected = ['b', 'a'].map(|one_of| one.store.layer(&digest(one_of)));
        assert_eq!(made[0].layers, expected, "the topmost first");
    });
    run(async {
        let two = images(folder.path(), server());
        two.keep_only(std::slice::from_ref(&container));
        two.relieve(0.0).await;
        assert_eq!(there(&two.store), "abc", "the disk has room");
        two.relieve(1.1).await;
        assert_eq!(there(&two.store), "ab", "no disk has so much");
        two.release(&container);
        two.prune(&BTreeSet::new());
        assert_eq!(there(&two.store), "");
    });
}

/// A registry whose tokens are to be had for `YTpi`. Answers what it was asked for, in order.
async fn serve_tokens(listener: TcpListener) {
    let own = listener.local_addr().unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let path = head.split(' ').nth(1).unwrap();
        let has = |what: &str| head.contains(&format!("authorization: {what}"));
        let answer = match path {
            "/token?service=s&scope=repository%3aa%2fb%3apull" if has("basic ytpi") => {
                "200 OK\r\nContent-Length: 13\r\n\r\n{\"token\":\"T\"}".to_string()
            }
            path if path.starts_with("/token") => "401 No\r\nContent-Length: 0\r\n\r\n".into(),
            _ if !has("bearer t") => format!(
                "401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                 WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"s\"\r\nContent-Length: 0\r\n\r\n"
            ),
            "/v2/a/b/manifests/1" | "/v2/a/b/manifests/latest" => {
                "200 OK\r\nContent-Length: 2\r\n\r\n{}".into()
            }
            path if path.starts_with("/v2/a/b/blobs/sha256:") => {
                "200 OK\r\nContent-Length: 5\r\n\r\nhello".into()
            }
            _ => "404 No\r\nContent-Length: 0\r\n\r\n".into(),
        };
        let answer = format!("HTTP/1.1 {answer}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

#[test]
fn a_registry_is_asked_with_a_token_and_its_blobs_are_checked() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::task::spawn_local(serve_tokens(listener));
        let client = Client {
            stall_timeout: Duration::from_secs(5),
            authorities: None,
            proxy: None,
            unix: 0.0,
        };
        let reference = Reference::parse("a/b:1").unwrap();
        let open =
            |login| registry::Registry::new(&client, ("http", host.clone()), &reference, login);
        let mut known = open(Some("YTpi"));
        assert_eq!(known.named().await.unwrap(), b"{}");
        let blob = |bytes: &[u8], size| Descriptor {
            digest: pull::digest_of(bytes),
            size,
        };
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join("blob")).unwrap();
        known.blob(&blob(b"hello", 5), &mut file).await.unwrap();
        assert_eq!(fs::read(folder.path().join("blob")).unwrap(), b"hello");
        for (wrong, sentence) in [
            (blob(b"others", 5), "other bytes"),
            (blob(b"hello", 6), "other bytes"),
            (blob(b"hello", 4), "larger"),
        ] {
            let mut file = File::create(folder.path().join("blob")).unwrap();
            let error = known.blob(&wrong, &mut file).await.unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
        let error = known.small(&blob(b"others", 5)).await.unwrap_err();
        assert!(error.contains("digest"), "{error}");
        let error = known.manifest(&digest('a')).await.unwrap_err();
        assert!(error.contains("has no a/b"), "{error}");
        let error = open(None).named().await.unwrap_err();
        assert!(error.contains("server of tokens"), "{error}");
    });
}
