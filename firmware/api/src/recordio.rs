//! RecordIO: how event streams are framed: the record's length in decimal, a newline, the record.
//!
//! Knows nothing of what a record holds. Used by the daemons for the streams they send, and by the command line and
//! tests for those they read. Invariants: a record is not empty, memory is bounded by the record bound given; after an
//! error the decoder stays failed, because a lost boundary cannot be found again.

use std::fmt::Write as _;

/// Bound of a record that a decoder accepts unless told otherwise, in bytes.
pub const MAX_RECORD_BYTES: usize = crate::MAX_ENCODED_BYTES;

/// The longest length that fits 64 bits, in digits.
const MAX_LENGTH_DIGITS: usize = 20;

/// Why a stream could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Where a length should stand is something else.
    #[error("malformed RecordIO length: {0:?}")]
    Length(String),
    /// The record is longer than the bound.
    #[error("RecordIO record of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Length announced, in bytes.
        length: u64,
        /// The bound, in bytes.
        limit: usize,
    },
    /// The stream ended within a record.
    #[error("RecordIO stream ended within a record: {missing} of {length} bytes missing")]
    Truncated {
        /// Length announced, in bytes; 0 if the length itself is cut.
        length: usize,
        /// Bytes that did not come.
        missing: usize,
    },
}

/// Frames one record. Send the result as one HTTP chunk: some clients take chunks for records.
#[must_use]
pub fn encode(record: &[u8]) -> Vec<u8> {
    let mut head = String::with_capacity(MAX_LENGTH_DIGITS + 1);
    // Writing to a String does not fail.
    let _ = writeln!(head, "{}", record.len());
    let mut out = head.into_bytes();
    out.extend_from_slice(record);
    out
}

/// Takes a stream in pieces of any size and gives back its records.
///
/// ```
/// let mut decoder = nesos_api::recordio::Decoder::default();
/// decoder.push(b"5\nhel");
/// assert_eq!(decoder.next_record()?, None);
/// decoder.push(b"lo3\nyou");
/// assert_eq!(decoder.next_record()?.as_deref(), Some(&b"hello"[..]));
/// assert_eq!(decoder.next_record()?.as_deref(), Some(&b"you"[..]));
/// decoder.finish()?;
/// # Ok::<(), nesos_api::recordio::Error>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already given out.
    read: usize,
    limit: usize,
    failed: Option<Error>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_RECORD_BYTES)
    }
}

impl Decoder {
    /// A decoder that refuses records of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            read: 0,
            limit,
            failed: None,
        }
    }

    /// Takes the next piece of the stream. Take the records out between pieces: the buffer holds what is not yet taken.
    pub fn push(&mut self, piece: &[u8]) {
        if self.failed.is_none() {
            self.buffer.drain(..self.read);
            self.read = 0;
            self.buffer.extend_from_slice(piece);
        }
    }

    /// The next whole record, `None` if more of the stream is needed.
    ///
    /// # Errors
    /// A malformed length or too long a record; the same error from then on.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.decode();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.buffer = Vec::new();
            self.read = 0;
        }
        result
    }

    /// To be called at the end of the stream, after the last record was taken.
    ///
    /// # Errors
    /// The stream ended within a record, or had failed before.
    pub fn finish(mut self) -> Result<(), Error> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.head()? {
            _ if self.rest().is_empty() => Ok(()),
            Some((length, start)) => Err(Error::Truncated {
                length,
                missing: length.saturating_sub(self.rest().len() - start),
            }),
            None => Err(Error::Truncated {
                length: 0,
                missing: 0,
            }),
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.read..).unwrap_or_default()
    }

    fn decode(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some((length, start)) = self.head()? else {
            return Ok(None);
        };
        let Some(record) = self.rest().get(start..start + length) else {
            return Ok(None);
        };
        let record = record.to_vec();
        self.read += start + length;
        Ok(Some(record))
    }

    /// The record's length and where it starts, `None` if the length is not whole yet.
    fn head(&self) -> Result<Option<(usize, usize)>, Error> {
        let rest = self.rest();
        let visible = rest.get(..=MAX_LENGTH_DIGITS).unwrap_or(rest);
        let end = visible.iter().position(|&byte| byte == b'\n');
        let digits = visible
            .get(..end.unwrap_or(visible.len()))
            .unwrap_or_default();
        let malformed = || Error::Length(String::from_utf8_lossy(digits).into_owned());
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(malformed());
        }
        let Some(end) = end else {
            return if digits.len() > MAX_LENGTH_DIGITS {
                Err(malformed())
            } else {
                Ok(None)
            };
        };
        let length: u64 = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(malformed)?;
        match usize::try_from(length) {
            Ok(0) => Err(malformed()),
            Ok(length) if length <= self.limit => Ok(Some((length, end + 1))),
            _ => Err(Error::TooLong {
                length,
                limit: self.limit,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodes_a_heartbeat_as_mesos_does() {
        assert_eq!(
            encode(br#"{"type":"HEARTBEAT"}"#),
            b"20\n{\"type\":\"HEARTBEAT\"}"
        );
    }

    #[test]
    fn refuses_what_is_no_length() {
        for bad in [
            "x",
            "1x\n",
            "-1\n",
            " 1\n",
            "\n",
            "0\n",
            "18446744073709551616\n",
            "111111111111111111111",
        ] {
            let mut decoder = Decoder::new(100);
            decoder.push(bad.as_bytes());
            let error = decoder.next_record().unwrap_err();
            assert!(matches!(error, Error::Length(_)), "{bad:?}: {error}");
            decoder.push(b"1\na");
            assert_eq!(decoder.next_record(), Err(error), "stays failed");
        }
    }

    #[test]
    fn refuses_a_long_record_before_it_comes() {
        let mut decoder = Decoder::new(10);
        decoder.push(b"11\n");
        assert_eq!(
            decoder.next_record(),
            Err(Error::TooLong {
                length: 11,
                limit: 10
            })
        );
    }

    #[test]
    fn tells_a_half_record_at_the_end() {
        for (half, error) in [
            (
                "5\nabc",
                Error::Truncated {
                    length: 5,
                    missing: 2,
                },
            ),
            (
                "5\n",
                Error::Truncated {
                    length: 5,
                    missing: 5,
                },
            ),
            (
                "12",
                Error::Truncated {
                    length: 0,
                    missing: 0,
                },
            ),
        ] {
            let mut decoder = Decoder::default();
            decoder.push(half.as_bytes());
            assert_eq!(decoder.next_record(), Ok(None));
            assert_eq!(decoder.finish(), Err(error));
        }
    }

    proptest! {
        #[test]
        fn gives_back_what_was_framed(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            piece in 1_usize..17,
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|record| encode(record)).collect();
            let mut decoder = Decoder::new(40);
            let mut found = Vec::new();
            for piece in stream.chunks(piece) {
                decoder.push(piece);
                while let Some(record) = decoder.next_record().unwrap() {
                    found.push(record);
                }
            }
            prop_assert_eq!(found, records);
            decoder.finish().unwrap();
        }
    }
}
