//! A registry, version 2 of its API: documents and layers of one repository, with the logins that it asks for.
//!
//! Called by `pull`. Invariants: a login goes to its own registry and to the server of tokens that this names, never from
//! https to http; every document that is asked for by digest has it.

use std::fs::File;
use std::time::{Duration, Instant};

use agentd_core::image::{Challenge, Descriptor, Digest, MAX_DOCUMENT, Reference, Version, token};
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode, body::Incoming};

use super::pull::digest_of;
use crate::fetcher::client::Client;

/// Documents that are understood.
const KINDS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// A token lives a minute at least; it is not relied on to its end.
const TOKEN_LIFE: Duration = Duration::from_secs(30);

/// One repository of a registry.
#[derive(Debug)]
pub(super) struct Registry<'a> {
    client: &'a Client,
    scheme: &'static str,
    reference: &'a Reference,
    host: String,
    /// What comes after `Basic`.
    login: Option<&'a str>,
    /// How the registry wants to be spoken to, once it has said so.
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    challenge: Challenge,
    authorization: HeaderValue,
    since: Instant,
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        client: &'a Client,
        (scheme, host): (&'static str, String),
        reference: &'a Reference,
        login: Option<&'a str>,
    ) -> Self {
        Self {
            client,
            scheme,
            reference,
            host,
            login,
            session: None,
        }
    }

    /// The document that the image's name stands for.
    pub(super) async fn named(&mut self) -> Result<Vec<u8>, String> {
        let version = &self.reference.version;
        let bytes = self.document(&format!("manifests/{version}")).await?;
        match version {
            Version::Digest(digest) => checked(bytes, digest),
            Version::Tag(_) => Ok(bytes),
        }
    }

    /// A manifest that an index names.
    pub(super) async fn manifest(&mut self, digest: &Digest) -> Result<Vec<u8>, String> {
        let bytes = self.document(&format!("manifests/{digest}")).await?;
        checked(bytes, digest)
    }

    /// A small blob: a configuration.
    pub(super) async fn small(&mut self, blob: &Descriptor) -> Result<Vec<u8>, String> {
        let bytes = self.document(&format!("blobs/{}", blob.digest)).await?;
        checked(bytes, &blob.digest)
    }

    /// A large blob, into an empty file.
    pub(super) async fn blob(&mut self, blob: &Descriptor, file: &mut File) -> Result<(), String> {
        let is_old = |session: &Session| session.since.elapsed() > TOKEN_LIFE;
        if let Some(session) = self.session.take_if(|session| is_old(session)) {
            self.open(session.challenge).await?;
        }
        let url = self.url(&format!("blobs/{}", blob.digest));
        let mut room = |_| Ok(blob.size);
        let (client, headers) = (self.client, self.headers());
        let done = client.download_hashed(&url, &headers, file, &mut room);
        let (size, digest) = done.await.map_err(|e| self.said(&e))?;
        match (size, digest) == (blob.size, blob.digest.0) {
            true => Ok(()),
            false => Err(self.said(&format!(
                "it sent other bytes than those of {}",
                blob.digest
            ))),
        }
    }

    async fn document(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let url = self.url(path);
        let mut response = self.get(&url).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.session.is_none() {
            let challenge = self.challenge(response.headers())?;
            self.open(challenge).await?;
            response = self.get(&url).await?;
        }
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let whose = match self.login {
                    Some(_) => "the login that is configured for it does not let read",
                    None => "it does not let read, or has not got, without a login",
                };
                return Err(self.said(&format!("{whose} {} ({status})", self.reference.repository)));
            }
            StatusCode::NOT_FOUND => {
                let reference = self.reference;
                return Err(self.said(&format!(
                    "it has no {} {}",
                    reference.repository, reference.version
                )));
            }
            status => return Err(self.said(&format!("it answers {status}"))),
        }
        let read = self.client.read(response.into_body(), MAX_DOCUMENT);
        read.await.map_err(|e| self.said(&e))
    }

    async fn get(&self, url: &str) -> Result<Response<Incoming>, String> {
        let response = self.client.get(url, &self.headers()).await;
        response.map_err(|e| self.said(&e))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(KINDS));
        if let Some(session) = &self.session {
            headers.insert(AUTHORIZATION, session.authorization.clone());
        }
        headers
    }

    /// The way in that needs least.
    fn challenge(&self, headers: &HeaderMap) -> Result<Challenge, String> {
        let asked = headers.get_all(WWW_AUTHENTICATE).iter();
        let asked = asked.filter_map(|value| Challenge::parse(value.to_str().ok()?));
        let asked: Vec<Challenge> = asked.collect();
        let bearer = asked
            .iter()
            .find(|challenge| **challenge != Challenge::Basic);
        let challenge = bearer.or(asked.first()).cloned();
        challenge.ok_or_else(|| self.said("it asks for a login of a kind that is not supported"))
    }

    /// Gets what the registry wants to see.
    async fn open(&mut self, challenge: Challenge) -> Result<(), String> {
        let text = match challenge.token_url(&self.reference.repository) {
            Some(url) => format!("Bearer {}", self.token(&url).await?),
            None => {
                let login = self.login;
                let login = login.ok_or_else(|| {
                    self.said("it asks for a login, and none is configured for it")
                })?;
                format!("Basic {login}")
            }
        };
        let mut authorization = HeaderValue::try_from(text).map_err(|e| e.to_string())?;
        authorization.set_sensitive(true);
        self.session = Some(Session {
            challenge,
            authorization,
            since: Instant::now(),
        });
        Ok(())
    }

    async fn token(&self, url: &str) -> Result<String, String> {
        if self.scheme == "https" && !url.starts_with("https://") {
            return Err(self.said("it names a server of tokens that is less safe than itself"));
        }
        let fail = |reason: String| self.said(&format!("its server of tokens: {reason}"));
        let mut headers = HeaderMap::new();
        if let Some(login) = self.login {
            let mut basic =
                HeaderValue::try_from(format!("Basic {login}")).map_err(|e| fail(e.to_string()))?;
            basic.set_sensitive(true);
            headers.insert(AUTHORIZATION, basic);
        }
        let response = self.client.get(url, &headers).await.map_err(fail)?;
        if response.status() != StatusCode::OK {
            return Err(fail(format!("it answers {}", response.status())));
        }
        let bytes = self.client.read(response.into_body(), MAX_DOCUMENT);
        let bytes = bytes.await.map_err(fail)?;
        token(&bytes).map_err(|e| fail(e.to_string()))
    }

    fn url(&self, path: &str) -> String {
        let (scheme, host, name) = (self.scheme, &self.host, &self.reference.repository);
        format!("{scheme}://{host}/v2/{name}/{path}")
    }

    fn said(&self, what: &str) -> String {
        format!("the registry {}: {what}", self.host)
    }
}

fn checked(bytes: Vec<u8>, expected: &Digest) -> Result<Vec<u8>, String> {
    let found = digest_of(&bytes);
    match found == *expected {
        true => Ok(bytes),
        false => Err(format!(
            "a document has the digest {found} instead of {expected}"
        )),
    }
}
