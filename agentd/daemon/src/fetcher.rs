//! Brings a task's files into its sandbox: copies of local files, and downloads over HTTP and HTTPS.
//!
//! Called by the containerizer before the task starts, with a plan from `agentd_core::fetch`. Not yet: the cache (a URI
//! that asks for it is fetched anew). Invariant: bounded in size, in time without progress and
//! in redirects; nothing is written outside the sandbox.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentd_core::fetch::{Fetch, Source};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri, body::Incoming};
use hyper_util::rt::TokioIo;
use nesos_shell::tls::web;
use nesos_sys::fs::{Access, give_to, open_beneath};
use nesos_sys::user::Credentials;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) mod authorities;
#[cfg(test)]
mod secure;
mod unpack;

/// A connection, plain or not.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Largest file fetched: more than any board has to spare for one task.
const MAX_SIZE: u64 = 2 * 1024 * 1024 * 1024;
/// Redirects followed, as curl does by default for tools.
const MAX_REDIRECTS: usize = 5;

/// Why a file could not be fetched. Names the URI.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch '{uri}': {reason}")]
pub(crate) struct FetchFailure {
    uri: String,
    reason: String,
}

/// Where to and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) sandbox: PathBuf,
    pub(crate) user: Option<Credentials>,
    pub(crate) stall_timeout: Duration,
    /// Where the CAs of HTTPS servers are.
    pub(crate) authorities: Option<PathBuf>,
    /// The time at which their certificates are judged, seconds since 1970.
    pub(crate) unix: f64,
}

/// Fetches everything in order.
pub(crate) async fn fetch_all(plan: &[Fetch], target: &Target) -> Result<(), FetchFailure> {
    for fetch in plan {
        let uri = match &fetch.source {
            Source::Path(path) | Source::Http(path) => path.clone(),
        };
        fetch_one(fetch, target)
            .await
            .map_err(|reason| FetchFailure { uri, reason })?;
    }
    // After all fetching: what is unpacked may hold links, and nothing is fetched through those.
    for fetch in plan {
        if let Some(archive) = fetch.extract {
            let uri = fetch.target.clone();
            unpack::unpack(archive, &fetch.target, target)
                .await
                .map_err(|reason| FetchFailure { uri, reason })?;
        }
    }
    Ok(())
}

async fn fetch_one(fetch: &Fetch, target: &Target) -> Result<(), String> {
    match &fetch.source {
        Source::Path(path) => {
            let (path, target, fetch) = (path.clone(), target.clone(), fetch.clone());
            // Copying may take long on a memory card; the loop must go on.
            let copied = tokio::task::spawn_blocking(move || copy(&path, &fetch, &target)).await;
            copied.map_err(|e| e.to_string())?
        }
        Source::Http(url) => download(url, fetch, target).await,
    }
}

fn copy(path: &str, fetch: &Fetch, target: &Target) -> Result<(), String> {
    let source = File::open(path).map_err(|e| e.to_string())?;
    let metadata = source.metadata().map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".into());
    }
    if metadata.len() > MAX_SIZE {
        return Err(too_large());
    }
    let mut file = create(fetch, target)?;
    let copied = io::copy(&mut source.take(MAX_SIZE + 1), &mut file).map_err(|e| e.to_string())?;
    if copied > MAX_SIZE {
        Err(too_large())
    } else {
        Ok(())
    }
}

async fn download(url: &str, fetch: &Fetch, target: &Target) -> Result<(), String> {
    let mut url = url.to_string();
    for _ in 0..=MAX_REDIRECTS {
        let response = stalling(target, get(&url, target)).await??;
        match response.status() {
            StatusCode::OK => return save(response, fetch, target).await,
            status if status.is_redirection() => url = redirect(&url, &response)?,
            status => return Err(format!("the server answers {status}")),
        }
    }
    Err(format!("more than {MAX_REDIRECTS} redirects"))
}

async fn get(url: &str, target: &Target) -> Result<Response<Incoming>, String> {
    let uri: Uri = url.parse().map_err(|e| format!("{e}"))?;
    let is_secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(format!("only http and https are supported, not {url}")),
    };
    let authority = uri.authority().ok_or("the URL has no host")?.clone();
    let port = authority
        .port_u16()
        .unwrap_or(if is_secure { 443 } else { 80 });
    let host = authority.host().trim_matches(['[', ']']);
    let roots = is_secure
        .then(|| authorities::load(target.authorities.as_deref()))
        .transpose()?;
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|e| e.to_string())?;
    let stream: Box<dyn Stream> = match roots {
        Some(roots) => {
            let secure = web::connect(roots, target.unix as u64, host, stream).await;
            Box::new(secure.map_err(|e| e.to_string())?)
        }
        None => Box::new(stream),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    // Ends with the body or with the sender.
    tokio::task::spawn_local(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(
            USER_AGENT,
            concat!("nesos-agentd/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    sender
        .send_request(request)
        .await
        .map_err(|e| e.to_string())
}

async fn save(response: Response<Incoming>, fetch: &Fetch, target: &Target) -> Result<(), String> {
    let mut file = create(fetch, target)?;
    let mut body = response.into_body();
    let mut size = 0u64;
    while let Some(frame) = stalling(target, body.frame()).await? {
        let Ok(data) = frame.map_err(|e| e.to_string())?.into_data() else {
            continue;
        };
        size += data.len() as u64;
        if size > MAX_SIZE {
            return Err(too_large());
        }
        file.write_all(&data).map_err(|e| e.to_string())?;
    }
    Ok(())
}

async fn stalling<T>(target: &Target, future: impl Future<Output = T>) -> Result<T, String> {
    let limit = target.stall_timeout;
    timeout(limit, future)
        .await
        .map_err(|_| format!("nothing came for {} s", limit.as_secs()))
}

fn redirect(url: &str, response: &Response<Incoming>) -> Result<String, String> {
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    let location = location.ok_or("the server redirects to nowhere")?;
    let uri: Uri = url.parse().map_err(|e| format!("{e}"))?;
    let scheme = uri.scheme_str().unwrap_or("http");
    if location.contains("://") {
        return if scheme == "https" && !location.starts_with("https://") {
            Err("the server redirects from https to something less safe".into())
        } else {
            Ok(location.to_string())
        };
    }
    let authority = uri.authority().ok_or("the URL has no host")?;
    match location.starts_with('/') {
        true => Ok(format!("{scheme}://{authority}{location}")),
        false => {
            let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            Ok(format!("{scheme}://{authority}{folder}/{location}"))
        }
    }
}

fn create(fetch: &Fetch, target: &Target) -> Result<File, String> {
    let relative = Path::new(&fetch.target);
    // The task does not run yet and nothing is unpacked yet, so nobody can have planted a link here.
    if let Some(folder) = relative
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(target.sandbox.join(folder)).map_err(|e| e.to_string())?;
    }
    let mode = if fetch.executable { 0o755 } else { 0o644 };
    let file = open_beneath(&target.sandbox, relative, Access::Replace(mode))
        .map_err(|e| e.to_string())?;
    if let Some(user) = &target.user {
        give_to(&file, user.uid, user.gid).map_err(|e| e.to_string())?;
    }
    Ok(file)
}

fn too_large() -> String {
    format!("it is larger than {} MB", MAX_SIZE / 1024 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentd_core::fetch::plan;
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        tokio::task::LocalSet::new().block_on(&runtime, future)
    }

    fn target(sandbox: &Path) -> Target {
        Target {
            sandbox: sandbox.into(),
            user: None,
            stall_timeout: Duration::from_secs(5),
            authorities: None,
            unix: nesos_shell::clock::Clock::wall(),
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

    async fn serve(answers: Vec<&'static str>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::task::spawn_local(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("accept");
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                stream.write_all(answer.as_bytes()).await.expect("answer");
            }
        });
        port
    }

    #[test]
    fn a_local_file_is_copied_and_made_executable() {
        let folder = tempfile::tempdir().expect("scratch folder");
        let sandbox = folder.path().join("s");
        fs::create_dir(&sandbox).expect("mkdir");
        let source = folder.path().join("tool");
        fs::write(&source, "#!/bin/sh\n").expect("write");
        let plan = fetch(source.to_str().expect("text"), true, Some("bin/tool"));
        run(fetch_all(&plan, &target(&sandbox))).expect("fetched");
        let mode = fs::metadata(sandbox.join("bin/tool"))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
        let missing = fetch("/nowhere/x", false, None);
        let error = run(fetch_all(&missing, &target(&sandbox)))
            .expect_err("missing")
            .to_string();
        assert!(
            error.starts_with("cannot fetch '/nowhere/x': No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_download_follows_redirects_and_stops_at_errors() {
        let folder = tempfile::tempdir().expect("scratch folder");
        run(async {
            let answers = vec![
                "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
            ];
            let port = serve(answers).await;
            let url = format!("http://127.0.0.1:{port}/file");
            fetch_all(&fetch(&url, false, None), &target(folder.path()))
                .await
                .expect("fetched");
            assert_eq!(
                fs::read_to_string(folder.path().join("file")).expect("there"),
                "hello"
            );
            let error = fetch_all(&fetch(&url, false, None), &target(folder.path()))
                .await
                .expect_err("404");
            assert!(error.to_string().contains("404"), "{error}");
            assert!(
                fetch_all(&fetch(&url, false, None), &target(folder.path()))
                    .await
                    .is_err(),
                "cut off"
            );
        });
    }
}
