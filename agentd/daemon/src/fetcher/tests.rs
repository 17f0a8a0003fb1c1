//! Tests of the fetcher: local files, downloads, archives and the cache together.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Once;
use std::time::Duration;

use agentd_core::fetch::plan;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// The helper, built if nobody has yet.
fn program() -> PathBuf {
    static BUILD: Once = Once::new();
    let own = std::env::current_exe().expect("own path");
    let folder = own.parent().and_then(Path::parent).expect("target folder");
    let path = folder.join("nesos-fetcher");
    BUILD.call_once(|| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        let built = cargo
            .args(["build", "--quiet", "-p", "nesos-fetcher"])
            .status();
        assert!(
            built.expect("cargo").success() && path.exists(),
            "{}",
            path.display()
        );
    });
    path
}

fn target(sandbox: &Path) -> Target {
    Target {
        sandbox: sandbox.into(),
        helper: Helper {
            program: program(),
            user: None,
        },
        client: Client {
            stall_timeout: Duration::from_secs(5),
            authorities: None,
            proxy: None,
            unix: nesos_shell::clock::Clock::wall(),
        },
        disk: None,
    }
}

/// A sandbox, and a cache of 1000 bytes.
struct Place {
    folder: tempfile::TempDir,
    cache: Cache,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("scratch folder");
        fs::create_dir(folder.path().join("s")).expect("mkdir");
        let cache = Cache::new(folder.path().join("cache"), 1000).expect("made");
        Self { folder, cache }
    }

    fn sandbox(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    async fn fetch(&self, plan: &[Fetch]) -> Result<(), String> {
        self.fetch_with(plan, target(&self.sandbox())).await
    }

    async fn fetch_with(&self, plan: &[Fetch], target: Target) -> Result<(), String> {
        let fetched = fetch_all(plan, &target, &self.cache).await;
        fetched.map_err(|error| error.to_string())
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox().join(name)).expect(name)
    }
}

fn fetch(value: &str, executable: bool, output_file: Option<&str>) -> Vec<Fetch> {
    let uri = nesos_wire::task::Uri {
        value: value.into(),
        executable,
        extract: true,
        cache: false,
        output_file: output_file.map(Into::into),
    };
    plan(&[uri]).expect("valid")
}

fn cached(value: &str) -> Vec<Fetch> {
    let mut planned = fetch(value, false, None);
    planned[0].cache = true;
    planned
}

/// Answers each connection with the next answer and hands out what was asked.
async fn serve(answers: Vec<String>) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let (asked, questions) = mpsc::unbounded_channel();
    tokio::task::spawn_local(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap_or(0);
            let _ = asked.send(String::from_utf8_lossy(&request[..count]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, questions)
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\n\r\n{body}")
}

fn whole(body: &str) -> String {
    answer(&format!("200 OK\r\nContent-Length: {}", body.len()), body)
}

#[test]
fn a_local_file_is_copied_and_made_executable() {
    let place = Place::new();
    fs::write(place.path("tool"), "#!/bin/sh\n").expect("write");
    let plan = fetch(&place.path("tool"), true, Some("bin/tool"));
    run(place.fetch(&plan)).expect("fetched");
    let file = fs::metadata(place.sandbox().join("bin/tool")).expect("there");
    assert_eq!(file.permissions().mode() & 0o777, 0o755);
    for (source, sentence) in [
        ("/nowhere/x", "No such file"),
        ("/dev", "not a regular file"),
    ] {
        let error = run(place.fetch(&fetch(source, false, None))).expect_err(source);
        let start = format!("cannot fetch '{source}': ");
        assert!(
            error.starts_with(&start) && error.contains(sentence),
            "{error}"
        );
    }
}

#[test]
fn a_download_follows_redirects_and_stops_at_errors() {
    let place = Place::new();
    run(async {
        let (port, _asked) = serve(vec![
            answer("302 Found\r\nLocation: /other\r\nContent-Length: 0", ""),
            whole("hello"),
            answer("404 Not Found\r\nContent-Length: 0", ""),
        ])
        .await;
        let plan = fetch(&format!("http://127.0.0.1:{port}/file"), false, None);
        place.fetch(&plan).await.expect("fetched");
        assert_eq!(place.text("file"), "hello");
        let error = place.fetch(&plan).await.expect_err("404");
        assert!(error.contains("404"), "{error}");
        let error = place.fetch(&plan).await.expect_err("nobody listens");
        assert!(error.contains("refused"), "{error}");
    });
}

#[test]
fn a_broken_download_goes_on_where_it_broke_off() {
    let place = Place::new();
    run(async {
        let (port, mut asked) = serve(vec![
            answer("200 OK\r\nETag: \"1\"\r\nContent-Length: 8", "abc"),
            answer("206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes 3-7/8\r\nContent-Length: 5", "de"),
            // It has changed meanwhile.
            answer("200 OK\r\nETag: \"2\"\r\nContent-Length: 8", "ABCDEF"),
            answer("206 Partial Content\r\nETag: \"2\"\r\nContent-Range: bytes 6-7/8\r\nContent-Length: 2", "GH"),
        ])
        .await;
        let plan = fetch(&format!("http://127.0.0.1:{port}/file"), false, None);
        place.fetch(&plan).await.expect("fetched");
        assert_eq!(place.text("file"), "ABCDEFGH");
        let mut ranges = Vec::new();
        while let Ok(question) = asked.try_recv() {
            let question = question.to_lowercase();
            let range = question.lines().find(|line| line.starts_with("range:"));
            ranges.push(range.unwrap_or_default().to_string());
        }
        assert_eq!(
            ranges,
            ["", "range: bytes=3-", "range: bytes=5-", "range: bytes=6-"]
        );
    });
}

#[test]
fn attempts_are_bounded_and_an_answer_out_of_place_is_an_error() {
    let place = Place::new();
    run(async {
        let half = answer("200 OK\r\nETag: \"1\"\r\nContent-Length: 8", "abc");
        let (port, mut asked) = serve(vec![half.clone(); 10]).await;
        let url = format!("http://127.0.0.1:{port}/file");
        place
            .fetch(&fetch(&url, false, None))
            .await
            .expect_err("never whole");
        let mut count = 0;
        while asked.try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, 4);
        let elsewhere = "206 Partial Content\r\nContent-Range: bytes 0-7/8\r\nContent-Length: 8";
        let (port, _asked) = serve(vec![half, answer(elsewhere, "abcdefgh")]).await;
        let url = format!("http://127.0.0.1:{port}/file");
        let error = place
            .fetch(&fetch(&url, false, None))
            .await
            .expect_err("elsewhere");
        assert!(error.contains("206"), "{error}");
    });
}

#[test]
fn what_is_larger_than_the_tasks_disk_is_refused() {
    let place = Place::new();
    run(async {
        let (port, _asked) = serve(vec![whole("0123456789"), whole("01234567")]).await;
        let url = format!("http://127.0.0.1:{port}/file");
        fs::write(place.path("local"), "0123456789").expect("write");
        let small = || Target {
            disk: Some(8),
            ..target(&place.sandbox())
        };
        for plan in [
            fetch(&url, false, None),
            fetch(&place.path("local"), false, None),
        ] {
            let error = place
                .fetch_with(&plan, small())
                .await
                .expect_err("too large");
            assert!(error.contains("larger than the 8 bytes"), "{error}");
        }
        place
            .fetch_with(&fetch(&url, false, None), small())
            .await
            .expect("fits");
    });
}

#[test]
fn a_checksum_must_be_right() {
    let place = Place::new();
    fs::write(place.path("f"), "abc").expect("write");
    let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let with = |sum: &str| format!("{}#sha256={sum}", place.path("f"));
    run(place.fetch(&fetch(&with(right), false, None))).expect("right");
    run(place.fetch(&cached(&with(right)))).expect("right");
    for plan in [fetch, |uri: &str, _: bool, _: Option<&str>| cached(uri)] {
        let wrong = plan(&with(&"0".repeat(64)), false, None);
        let error = run(place.fetch(&wrong)).expect_err("wrong");
        assert!(error.contains(&format!("SHA-256 is {right}")), "{error}");
    }
}

#[test]
fn kept_files_are_downloaded_once() {
    let place = Place::new();
    run(async {
        let (port, mut asked) = serve(vec![whole("kept"), whole("again")]).await;
        let plan = cached(&format!("http://127.0.0.1:{port}/file"));
        let both = tokio::join!(place.fetch(&plan), place.fetch(&plan));
        both.0.and(both.1).expect("fetched");
        fs::remove_file(place.sandbox().join("file")).expect("there");
        place.fetch(&plan).await.expect("from the cache");
        assert_eq!(place.text("file"), "kept");
        assert_eq!(place.cache.sizes(), (1000, 4));
        assert_eq!(place.cache.tasks(), (3, 0));
        asked.try_recv().expect("one question");
        asked.try_recv().expect_err("and no more");
    });
}

#[test]
fn what_does_not_fit_into_the_cache_is_fetched_past_it() {
    let place = Place::new();
    run(async {
        let large = "x".repeat(1001);
        let (port, _asked) = serve(vec![
            whole(&large),
            whole(&large),
            answer("200 OK", "unknown size"),
            answer("200 OK", "unknown size"),
        ])
        .await;
        for expected in [large.as_str(), "unknown size"] {
            let plan = cached(&format!("http://127.0.0.1:{port}/file"));
            place.fetch(&plan).await.expect("fetched");
            assert_eq!(place.text("file"), expected);
        }
        assert_eq!(place.cache.sizes(), (1000, 0));
    });
}

#[test]
fn archives_are_unpacked_from_the_sandbox_and_from_the_cache() {
    let place = Place::new();
    let archive = place.path("a.tar.gz");
    fs::create_dir(place.path("in")).expect("mkdir");
    fs::write(place.path("in/file"), "content").expect("write");
    let packed = std::process::Command::new("tar")
        .args(["-czf", &archive, "-C", &place.path(""), "in"])
        .status();
    assert!(packed.expect("tar").success());
    run(async {
        place.fetch(&cached(&archive)).await.expect("unpacked");
        assert_eq!(place.text("in/file"), "content");
        assert!(!place.sandbox().join("a.tar.gz").exists(), "as in Mesos");
        fs::remove_dir_all(place.sandbox().join("in")).expect("there");
        place
            .fetch(&fetch(&archive, false, Some("-b.tgz")))
            .await
            .expect("unpacked");
        assert_eq!(place.text("in/file"), "content");
        fs::write(place.path("broken.tar"), "not a tar").expect("write");
        let broken = fetch(&place.path("broken.tar"), false, None);
        let error = place.fetch(&broken).await.expect_err("broken");
        assert!(
            error.contains("broken.tar': the archive is damaged"),
            "{error}"
        );
    });
}

#[test]
fn the_user_reads_and_owns_what_is_fetched() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let nobody = nesos_sys::user::lookup("nobody").expect("every system has it");
    for path in [place.folder.path().to_owned(), place.sandbox()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let sandbox = place.sandbox();
    std::os::unix::fs::chown(&sandbox, Some(nobody.uid), Some(nobody.gid)).expect("chown");
    for (name, mode) in [("open", 0o644), ("secret", 0o600)] {
        fs::write(place.path(name), name).expect("write");
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.path(name), permissions).expect("chmod");
    }
    let mut target = target(&sandbox);
    target.helper.user = Some(nobody.clone());
    run(async {
        let open = fetch(&place.path("open"), false, Some("d/open"));
        place
            .fetch_with(&open, target.clone())
            .await
            .expect("fetched");
        for name in ["d", "d/open"] {
            let file = fs::metadata(sandbox.join(name)).expect("there");
            assert_eq!((file.uid(), file.gid()), (nobody.uid, nobody.gid), "{name}");
        }
        for secret in [
            fetch(&place.path("secret"), false, None),
            cached(&place.path("secret")),
        ] {
            let error = place.fetch_with(&secret, target.clone()).await;
            let error = error.expect_err("root's");
            assert!(error.contains("Permission denied"), "{error}");
        }
    });
}
