//! Reads and writes [`nesos_wire::frame`]s over any byte stream.
//!
//! Not a connection manager: no reconnects, no queues. Called by the links of masterd, agentd and the executor helper's
//! socket. Invariants: a length is checked before memory is reserved, memory grows only as bytes arrive, none is held while
//! nothing comes, and dropping a `read` future loses nothing (so it may stand in `select!`).

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nesos_wire::frame::{self, FrameError, HEADER, MAX_FRAME};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most bytes reserved ahead of what has arrived: a peer that announces 4 MB must send them to make us hold them.
const RESERVE: usize = 16 * 1024;

/// Why no message could be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The stream failed.
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
    /// The peer sent something that is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame is legal but larger than this link takes.
    #[error("a frame of {len} bytes was announced, this link takes at most {limit}")]
    OverLimit {
        /// The announced length.
        len: usize,
        /// What [`FrameReader::with_limit`] was given.
        limit: usize,
    },
    /// The peer closed in the middle of a frame.
    #[error("the peer closed the link inside a frame, {have} bytes had arrived")]
    Truncated {
        /// Bytes of the unfinished frame.
        have: usize,
    },
    /// Nothing came for too long.
    #[error("the peer sent no whole message for {0:?}")]
    Silent(Duration),
}

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    buffer: Vec<u8>,
    limit: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Takes frames up to [`MAX_FRAME`].
    pub fn new(stream: R) -> Self {
        Self::with_limit(stream, MAX_FRAME)
    }

    /// Takes frames of at most `limit` bytes: for peers that are not yet trusted.
    pub fn with_limit(stream: R, limit: usize) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            limit: limit.min(MAX_FRAME),
        }
    }

    /// From now on takes frames of at most `limit` bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(MAX_FRAME);
    }

    /// The next message; `None` when the peer closed between two frames.
    pub async fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, LinkError> {
        std::future::poll_fn(|cx| self.poll_read(cx)).await
    }

    /// As [`read`](Self::read), for who is polled himself.
    pub fn poll_read<T: DeserializeOwned>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<T>, LinkError>> {
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                return Poll::Ready(self.take().map(Some));
            }
            // Most messages come whole with one read, and one that leaves room says that nothing more is there.
            let wanted = match self.buffer.is_empty() {
                true => RESERVE.min(HEADER + self.limit),
                false => missing.min(RESERVE),
            };
            self.buffer.reserve_exact(wanted);
            let reading = pin!(self.stream.read_buf(&mut self.buffer));
            let Poll::Ready(read) = reading.poll(cx) else {
                if self.buffer.is_empty() {
                    // It may be long until the next message.
                    self.buffer = Vec::new();
                }
                return Poll::Pending;
            };
            let read = match read {
                // TLS without a farewell: a killed peer. Frames carry their length, so nothing can be cut off unseen.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                read => read?,
            };
            if read == 0 {
                return Poll::Ready(match self.buffer.len() {
                    0 => Ok(None),
                    have => Err(LinkError::Truncated { have }),
                });
            }
        }
    }

    /// The stream, when whatever follows is no frame. Bytes that were read ahead are lost: there are none while the peer waits.
    pub fn into_inner(self) -> R {
        self.stream
    }

    /// The stream, to write to it.
    pub fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// As [`read`](Self::read), but a whole message must come within `limit`.
    pub async fn read_within<T: DeserializeOwned>(
        &mut self,
        limit: Duration,
    ) -> Result<Option<T>, LinkError> {
        match tokio::time::timeout(limit, self.read()).await {
            Ok(result) => result,
            Err(_) => Err(LinkError::Silent(limit)),
        }
    }

    /// How many bytes the first frame in the buffer still needs.
    fn missing(&self) -> Result<usize, LinkError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(HEADER - self.buffer.len());
        };
        let len = frame::body_len(*header)?;
        if len > self.limit {
            return Err(LinkError::OverLimit {
                len,
                limit: self.limit,
            });
        }
        Ok((HEADER + len).saturating_sub(self.buffer.len()))
    }

    fn take<T: DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        // `missing` said that a whole frame is here; anything else would be a bug and reads as a truncated frame.
        let decoded = frame::decode(&self.buffer);
        let (message, used) = decoded.ok_or(LinkError::Truncated {
            have: self.buffer.len(),
        })??;
        self.buffer.drain(..used);
        if self.buffer.is_empty() {
            // Now, not when the next message is waited for: hundreds of greetings may be under way.
            self.buffer = Vec::new();
        }
        Ok(message)
    }
}

/// Writes one message and flushes. Not cancel-safe: a dropped future may leave half a frame; close the link then.
pub async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), LinkError> {
    let bytes = frame::encode(message)?;
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use nesos_wire::message::MasterToAgent;

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future);
    }

    #[test]
    fn messages_pass_through_in_small_pieces() {
        run(async {
            let (mut a, b) = tokio::io::duplex(3);
            let sender = async move {
                for sequence in 0..20 {
                    write(&mut a, &MasterToAgent::Ping { sequence })
                        .await
                        .unwrap();
                }
            };
            let receiver = async move {
                let mut reader = FrameReader::new(b);
                for sequence in 0..20 {
                    let message: Option<MasterToAgent> = reader.read().await.unwrap();
                    assert_eq!(message, Some(MasterToAgent::Ping { sequence }));
                }
                assert_eq!(reader.read::<MasterToAgent>().await.unwrap(), None);
            };
            tokio::join!(sender, receiver);
        });
    }

    #[test]
    fn a_huge_announcement_is_refused_before_memory_is_reserved() {
        run(async {
            let (mut a, b) = tokio::io::duplex(64);
            a.write_all(&[0xff, 0xff, 0xff, 0x7f]).await.unwrap();
            let mut reader = FrameReader::new(b);
            let error = reader.read::<MasterToAgent>().await.unwrap_err();
            assert!(
                matches!(error, LinkError::Frame(FrameError::TooLarge { .. })),
                "{error}"
            );
            assert!(reader.buffer.capacity() <= RESERVE);
        });
    }

    #[test]
    fn the_links_own_limit_holds() {
        run(async {
            let (mut a, b) = tokio::io::duplex(64);
            a.write_all(&5000u32.to_le_bytes()).await.unwrap();
            let mut reader = FrameReader::with_limit(b, 4096);
            assert!(matches!(
                reader.read::<MasterToAgent>().await,
                Err(LinkError::OverLimit {
                    len: 5000,
                    limit: 4096
                })
            ));
        });
    }

    #[test]
    fn half_a_frame_is_an_error_and_silence_too() {
        run(async {
            let (mut a, b) = tokio::io::duplex(64);
            a.write_all(&[9, 0]).await.unwrap();
            let mut reader = FrameReader::new(b);
            let silent = reader
                .read_within::<MasterToAgent>(Duration::from_millis(5))
                .await;
            assert!(matches!(silent, Err(LinkError::Silent(_))));
            drop(a);
            assert!(matches!(
                reader.read::<MasterToAgent>().await,
                Err(LinkError::Truncated { have: 2 })
            ));
        });
    }
}
