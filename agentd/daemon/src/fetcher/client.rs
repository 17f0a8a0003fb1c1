//! HTTP as a client: requests over plain TCP or TLS, redirects, and downloads that go on where they broke off.
//!
//! Called by the fetcher and by `images`. Invariant: bounded in redirects, attempts, size, and time without progress; what
//! authorises a request is not shown to another server that the first one points to; never from https to http.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{
    AUTHORIZATION, CONTENT_RANGE, ETAG, HOST, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE, USER_AGENT,
};
use hyper::{Request, Response, StatusCode, Uri, body::Body, body::Incoming};
use hyper_util::rt::TokioIo;
use nesos_shell::tls::web;
use ring::digest::{Context, SHA256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::authorities;
use super::proxy::Proxy;

/// A connection, plain or not.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Redirects followed, as curl does by default for tools.
const MAX_REDIRECTS: usize = 5;
/// How often a download that breaks off is begun or continued.
const MAX_ATTEMPTS: u32 = 4;
/// Pause before the second attempt; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What all requests have in common.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) stall_timeout: Duration,
    /// Where the CAs of HTTPS servers are.
    pub(crate) authorities: Option<PathBuf>,
    /// The time at which their certificates are judged, seconds since 1970.
    pub(crate) unix: f64,
    /// Through which other networks are reached, if through one.
    pub(crate) proxy: Option<Proxy>,
}

/// Decides how large a download may be, once the server has said how large it is.
pub(crate) type Room<'a> = &'a mut dyn FnMut(Option<u64>) -> Result<u64, String>;

/// What a download has come to.
struct Progress<'a> {
    file: &'a mut File,
    done: u64,
    /// What says that the rest belongs to the part that is there.
    validator: Option<HeaderValue>,
    /// Bytes allowed; asked once.
    most: Option<u64>,
    /// Of the bytes that are there, if it is wanted.
    hash: Option<Context>,
}

enum Trouble {
    /// Another attempt may do better.
    Broken(String),
    Final(String),
}

impl Client {
    /// Downloads into `file`, which is empty; answers with its size.
    pub(super) async fn download(
        &self,
        url: &str,
        headers: &HeaderMap,
        file: &mut File,
        room: Room<'_>,
    ) -> Result<u64, String> {
        let mut progress = Progress::new(file, None);
        self.complete(url, headers, &mut progress, room).await?;
        Ok(progress.done)
    }

    /// The same; answers with its size and its SHA-256.
    pub(crate) async fn download_hashed(
        &self,
        url: &str,
        headers: &HeaderMap,
        file: &mut File,
        room: Room<'_>,
    ) -> Result<(u64, [u8; 32]), String> {
        let mut progress = Progress::new(file, Some(Context::new(&SHA256)));
        self.complete(url, headers, &mut progress, room).await?;
        let mut sha256 = [0; 32];
        if let Some(hash) = progress.hash {
            sha256.copy_from_slice(hash.finish().as_ref());
        }
        Ok((progress.done, sha256))
    }

    async fn complete(
        &self,
        url: &str,
        headers: &HeaderMap,
        progress: &mut Progress<'_>,
        room: Room<'_>,
    ) -> Result<(), String> {
        let mut attempt = 1;
        loop {
            match self.attempt(url, headers, progress, room).await {
                Ok(()) => return Ok(()),
                // A server that has never answered is not tried again: its name may be wrong.
                Err(Trouble::Broken(reason))
                    if attempt < MAX_ATTEMPTS && progress.most.is_some() =>
                {
                    tracing::debug!("{url}: after {} bytes: {reason}", progress.done);
                    tokio::time::sleep(FIRST_PAUSE * 2u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                Err(Trouble::Broken(reason) | Trouble::Final(reason)) => return Err(reason),
            }
        }
    }

    async fn attempt(
        &self,
        url: &str,
        headers: &HeaderMap,
        progress: &mut Progress<'_>,
        room: Room<'_>,
    ) -> Result<(), Trouble> {
        let mut headers = headers.clone();
        if let Some(validator) = progress.validator.clone().filter(|_| progress.done > 0) {
            let range = HeaderValue::try_from(format!("bytes={}-", progress.done));
            headers.insert(RANGE, range.map_err(|e| Trouble::Final(e.to_string()))?);
            headers.insert(IF_RANGE, validator);
        }
        let response = self.get(url, &headers).await.map_err(Trouble::Broken)?;
        match response.status() {
            StatusCode::OK => progress.restart().map_err(Trouble::Final)?,
            StatusCode::PARTIAL_CONTENT if continues(&response, progress.done) => {}
            StatusCode::RANGE_NOT_SATISFIABLE if headers.contains_key(RANGE) => {
                progress.validator = None;
                return Err(Trouble::Broken("the server has not got the rest".into()));
            }
            status if status.is_server_error() => {
                return Err(Trouble::Broken(format!("the server answers {status}")));
            }
            status => return Err(Trouble::Final(format!("the server answers {status}"))),
        }
        progress.validator = validator(response.headers());
        let coming = response.body().size_hint().exact();
        let most = match progress.most {
            Some(most) => most,
            None => room(coming).map_err(Trouble::Final)?,
        };
        progress.most = Some(most);
        if coming.is_some_and(|coming| coming.saturating_add(progress.done) > most) {
            return Err(Trouble::Final(too_large(most)));
        }
        self.save(response.into_body(), progress, most).await
    }

    async fn save(
        &self,
        mut body: Incoming,
        progress: &mut Progress<'_>,
        most: u64,
    ) -> Result<(), Trouble> {
        loop {
            let next = self.stalling(body.frame()).await.map_err(Trouble::Final)?;
            let Some(frame) = next else { return Ok(()) };
            let Ok(data) = frame
                .map_err(|e| Trouble::Broken(e.to_string()))?
                .into_data()
            else {
                continue;
            };
            if progress.done + data.len() as u64 > most {
                return Err(Trouble::Final(too_large(most)));
            }
            let written = progress.file.write_all(&data);
            written.map_err(|e| Trouble::Final(e.to_string()))?;
            if let Some(hash) = &mut progress.hash {
                hash.update(&data);
            }
            progress.done += data.len() as u64;
        }
    }

    /// A body that must be small.
    pub(crate) async fn read(&self, mut body: Incoming, most: usize) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        while let Some(frame) = self.stalling(body.frame()).await? {
            let Ok(data) = frame.map_err(|e| e.to_string())?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > most {
                return Err(format!("it sends more than {most} bytes"));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    /// Asks, and follows redirects.
    pub(crate) async fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, String> {
        let (mut url, mut headers) = (url.to_string(), headers.clone());
        for _ in 0..=MAX_REDIRECTS {
            let response = self.stalling(self.ask(&url, &headers)).await??;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let next = redirect(&url, &response)?;
            if authority_of(&next) != authority_of(&url) {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(format!("more than {MAX_REDIRECTS} redirects"))
    }

    async fn ask(&self, url: &str, headers: &HeaderMap) -> Result<Response<Incoming>, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{e}"))?;
        let authority = uri.authority().ok_or("the URL has no host")?.clone();
        let stream = self.connect(&uri, url).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        // Ends with the body or with the sender.
        tokio::task::spawn_local(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // A proxy is told the server by the whole URL; behind TLS nobody but the server reads it.
        let is_told =
            uri.scheme_str() == Some("http") && self.proxy_for(authority.host()).is_some();
        let whole = format!("http://{authority}{path}");
        let mut request = Request::get(if is_told { &whole } else { path })
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|e| e.to_string())?;
        let agent = concat!("nesos-agentd/", env!("CARGO_PKG_VERSION"));
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(HOST, host);
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(agent));
        sender
            .send_request(request)
            .await
            .map_err(|e| e.to_string())
    }

    async fn connect(&self, uri: &Uri, url: &str) -> Result<Box<dyn Stream>, String> {
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("only http and https are supported, not {url}")),
        };
        let authority = uri.authority().ok_or("the URL has no host")?;
        let port = authority
            .port_u16()
            .unwrap_or(if is_secure { 443 } else { 80 });
        let host = authority.host().trim_matches(['[', ']']);
        let roots = is_secure
            .then(|| authorities::load(self.authorities.as_deref()))
            .transpose()?;
        let stream = match self.proxy_for(host) {
            None => TcpStream::connect((host, port))
                .await
                .map_err(|e| e.to_string())?,
            Some(proxy) if is_secure => proxy.tunnel(authority.host(), port).await?,
            Some(proxy) => proxy.connect().await?,
        };
        Ok(match roots {
            Some(roots) => {
                let secure = web::connect(roots, self.unix as u64, host, stream).await;
                Box::new(secure.map_err(|e| e.to_string())?)
            }
            None => Box::new(stream),
        })
    }

    fn proxy_for(&self, host: &str) -> Option<&Proxy> {
        let host = host.trim_matches(['[', ']']);
        self.proxy.as_ref().filter(|proxy| proxy.serves(host))
    }

    pub(super) async fn stalling<T>(&self, future: impl Future<Output = T>) -> Result<T, String> {
        let limit = self.stall_timeout;
        timeout(limit, future)
            .await
            .map_err(|_| format!("nothing came for {} s", limit.as_secs()))
    }
}

impl<'a> Progress<'a> {
    fn new(file: &'a mut File, hash: Option<Context>) -> Self {
        Self {
            file,
            done: 0,
            validator: None,
            most: None,
            hash,
        }
    }

    /// The server sends all of it.
    fn restart(&mut self) -> Result<(), String> {
        if self.done == 0 {
            return Ok(());
        }
        self.done = 0;
        self.hash = self.hash.take().map(|_| Context::new(&SHA256));
        let emptied = self.file.set_len(0);
        let emptied = emptied.and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map(drop).map_err(|e| e.to_string())
    }
}

/// Whether the answer begins where the file ends: `Content-Range: bytes DONE-…`.
fn continues(response: &Response<Incoming>, done: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE);
    let range = range.and_then(|range| range.to_str().ok()?.strip_prefix("bytes "));
    let first = range.and_then(|range| range.split('-').next()?.trim().parse().ok());
    done > 0 && first == Some(done)
}

/// A strong entity tag, else the date of the last change: what `If-Range` takes.
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers
        .get(ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    tag.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

fn authority_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
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

pub(super) fn too_large(most: u64) -> String {
    format!("it is larger than the {most} bytes there is room for")
}
