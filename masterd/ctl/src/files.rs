//! Files of a task's sandbox, read through the master a piece at a time, also while its helper turns them over.
//!
//! Called by `run` and `logs`. Invariant: bytes come in order, none twice, none left out unless the caller is told so.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName};

use crate::http::{Client, HttpError, segment};

/// Bytes asked for at once: what one frame of the agent link carries.
const PIECE: usize = 64 << 10;
/// How often a growing file is looked at: fast enough for a person, and a board answers in a few ms.
pub(crate) const POLL: Duration = Duration::from_millis(150);
/// Most files of one stream: what agents can be told to keep.
const MAX_FILES: u32 = 1000;
/// Said when output was dropped before it could be read.
pub(crate) const GAP: &str = "some output is missing: it was dropped before it could be read";
/// What the master says of a file beside its bytes.
const FILE_SIZE: HeaderName = HeaderName::from_static("nesos-file-size");
const FILE_IDENTITY: HeaderName = HeaderName::from_static("nesos-file-identity");

/// Where in what a task has written a reader is.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Of the newest file; older ones are `PATH.1` and so on.
    path: String,
    /// The file that is read; none: no file has been there yet.
    identity: Option<String>,
    offset: u64,
    has_gap: bool,
}

/// A piece of a file.
struct Piece {
    identity: String,
    size: u64,
    bytes: Bytes,
}

impl Follower {
    /// At the beginning of what is kept of `file` in the sandbox of a task.
    pub(crate) fn new(framework: &str, task: &str, file: &str) -> Self {
        Self {
            path: format!(
                "/nesos/v1/tasks/{}/{}/files/{file}",
                segment(framework),
                segment(task)
            ),
            identity: None,
            offset: 0,
            has_gap: false,
        }
    }

    /// Whether something was dropped before it could be read, since this was asked last.
    pub(crate) fn take_gap(&mut self) -> bool {
        std::mem::take(&mut self.has_gap)
    }

    /// Reads to the present end of the newest file. A sandbox or file that is not there yet is an empty one; one that is there
    /// no more is an error (a master that has just started does not know the task until its agent is back).
    pub(crate) async fn read_to_end(
        &mut self,
        client: &Client,
        out: &mut dyn Write,
    ) -> Result<(), FileReadError> {
        let mut number = 0;
        if self.identity.is_none() {
            match self.find(client).await? {
                Some(found) => number = found,
                None => return Ok(()),
            }
        }
        loop {
            let piece = self.piece(client, number, self.offset).await?;
            let same = piece.filter(|piece| Some(&piece.identity) == self.identity.as_ref());
            let Some(piece) = same else {
                // Turned over just now.
                match self.find(client).await? {
                    Some(found) => number = found,
                    None => return Ok(()),
                }
                continue;
            };
            if piece.size < self.offset {
                // Emptied: the task itself did, or something was in its way when it was full.
                (self.offset, self.has_gap) = (0, true);
            } else if !piece.bytes.is_empty() {
                out.write_all(&piece.bytes)
                    .and_then(|()| out.flush())
                    .map_err(FileReadError::Output)?;
                self.offset += piece.bytes.len() as u64;
            } else if number == 0 {
                return Ok(());
            } else if self.go_on(client, number).await? {
                number -= 1;
            }
        }
    }

    /// The number of the file that is being read. If it is gone, or none was read yet: of the oldest, which is read from now on.
    async fn find(&mut self, client: &Client) -> Result<Option<u32>, FileReadError> {
        let mut oldest = None;
        for number in 0..MAX_FILES {
            match self.piece(client, number, self.offset).await {
                Ok(Some(piece)) if Some(&piece.identity) == self.identity.as_ref() => {
                    return Ok(Some(number));
                }
                Ok(Some(piece)) => oldest = Some((number, piece.identity)),
                // Between two names there is none for a moment.
                Ok(None) if number == 0 && self.identity.is_some() => {}
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
        match oldest {
            Some((number, identity)) => {
                self.has_gap |= self.identity.is_some();
                (self.identity, self.offset) = (Some(identity), 0);
                Ok(Some(number))
            }
            None if self.identity.is_none() => Ok(None),
            None => self.missing(client).await,
        }
    }

    /// Goes from the end of an older file to the next; false: it must be looked for again.
    async fn go_on(&mut self, client: &Client, number: u32) -> Result<bool, FileReadError> {
        let next = self.piece(client, number - 1, 0).await?;
        // Looked at once more after the next: then they were neighbours.
        let own = self.piece(client, number, self.offset).await?;
        let is_same = own.is_some_and(|own| Some(&own.identity) == self.identity.as_ref());
        match next.filter(|_| is_same) {
            Some(next) => {
                (self.identity, self.offset) = (Some(next.identity), 0);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// What the master says of the newest file, which is not there any more.
    async fn missing<T>(&self, client: &Client) -> Result<Option<T>, FileReadError> {
        match client.bytes(&self.request(0, self.offset)).await {
            // It has come back: the next look finds it.
            Ok(_) => Ok(None),
            Err(error) => Err(FileReadError::Http(error)),
        }
    }

    fn request(&self, number: u32, offset: u64) -> String {
        let path = &self.path;
        match number {
            0 => format!("{path}?offset={offset}&length={PIECE}"),
            number => format!("{path}.{number}?offset={offset}&length={PIECE}"),
        }
    }

    /// None: there is no such file.
    async fn piece(
        &self,
        client: &Client,
        number: u32,
        offset: u64,
    ) -> Result<Option<Piece>, FileReadError> {
        match client.bytes(&self.request(number, offset)).await {
            Ok((headers, bytes)) => Ok(Some(Piece {
                identity: text(&headers, &FILE_IDENTITY).to_owned(),
                size: text(&headers, &FILE_SIZE).parse().unwrap_or(u64::MAX),
                bytes,
            })),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(FileReadError::Http(error)),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Why a file's bytes did not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileReadError {
    /// On the way here.
    #[error(transparent)]
    Http(HttpError),
    /// On the way out.
    #[error("write the task's output: {0}")]
    Output(io::Error),
}
