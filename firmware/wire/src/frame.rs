//! Framing: a 4-byte little-endian length, then one postcard message.
//!
//! Pure: bytes in, messages out; sockets are the shells' business. Called for every message and checkpoint record.
//! Invariant: no input panics or makes the reader hold more than [`MAX_FRAME`] bytes.

use alloc::vec::Vec;

use serde::{Serialize, de::DeserializeOwned};

/// Largest message in bytes: a `Hello` with a thousand tasks of 4 KB each. Larger ones are refused before they are read.
pub const MAX_FRAME: usize = 4 * 1024 * 1024;
/// Bytes before the message.
pub const HEADER: usize = 4;

/// Why bytes are not a message, or a message cannot be bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field announces more than [`MAX_FRAME`].
    #[error("a frame of {len} bytes was announced, at most {MAX_FRAME} are allowed")]
    TooLarge {
        /// The announced length.
        len: usize,
    },
    /// The bytes are not a message of the expected type.
    #[error("the frame's {len} bytes are not a valid message: {reason}")]
    Malformed {
        /// Length of the frame's body.
        len: usize,
        /// postcard's word.
        reason: postcard::Error,
    },
    /// Bytes are left over behind the message: another version or a damaged frame.
    #[error("{extra} bytes follow the message inside its frame")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

/// Header and message in one vector.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&[0; HEADER]);
    let mut bytes = postcard::to_extend(message, bytes)
        .map_err(|reason| FrameError::Malformed { len: 0, reason })?;
    let len = bytes.len() - HEADER;
    if len > MAX_FRAME {
        return Err(FrameError::TooLarge { len });
    }
    bytes[..HEADER].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(bytes)
}

/// Length of the body that a header announces. Check it before reserving memory.
pub fn body_len(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let len = u32::from_le_bytes(header) as usize;
    if len > MAX_FRAME {
        Err(FrameError::TooLarge { len })
    } else {
        Ok(len)
    }
}

/// One body to a message; every byte must belong to it.
pub fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    let (message, rest) =
        postcard::take_from_bytes(body).map_err(|reason| FrameError::Malformed {
            len: body.len(),
            reason,
        })?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(FrameError::Trailing { extra: rest.len() })
    }
}

/// The first message in `buffer` and how many bytes it took; `None` if more bytes are needed.
#[allow(clippy::type_complexity)] // "Nothing yet", "broken" and "a message" are three different answers.
pub fn decode<T: DeserializeOwned>(buffer: &[u8]) -> Option<Result<(T, usize), FrameError>> {
    let header: [u8; HEADER] = buffer.get(..HEADER)?.try_into().ok()?;
    let len = match body_len(header) {
        Ok(len) => len,
        Err(error) => return Some(Err(error)),
    };
    let body = buffer.get(HEADER..HEADER + len)?;
    Some(decode_body(body).map(|message| (message, HEADER + len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{AgentToMaster, MasterToAgent};
    use proptest::prelude::*;

    #[test]
    fn half_a_frame_waits_and_a_huge_one_is_refused() {
        let bytes = encode(&MasterToAgent::Ping { sequence: 1 }).expect("small");
        assert!(decode::<MasterToAgent>(&bytes[..bytes.len() - 1]).is_none());
        let huge = [0xff; 8];
        assert!(matches!(
            decode::<MasterToAgent>(&huge),
            Some(Err(FrameError::TooLarge { .. }))
        ));
    }

    #[test]
    fn bytes_behind_the_message_are_an_error() {
        let mut bytes = encode(&MasterToAgent::Ping { sequence: 1 }).expect("small");
        bytes.push(0);
        bytes[0] += 1;
        assert_eq!(
            decode::<MasterToAgent>(&bytes),
            Some(Err(FrameError::Trailing { extra: 1 }))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<AgentToMaster>(&bytes);
            let _ = decode_body::<MasterToAgent>(&bytes);
        }
    }
}
