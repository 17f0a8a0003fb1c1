//! From compressed bytes to plain ones. Every decoder is pure Rust and has a bound on its memory.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::UnpackError;

/// Memory for a dictionary: what `xz -9` and `zstd --ultra` need, and room to spare.
const MAX_WINDOW: u64 = 128 * 1024 * 1024;

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// By the first bytes of a file.
    pub fn detect(start: &[u8]) -> Self {
        const KNOWN: [(&[u8], Compression); 4] = [
            (&[0x1f, 0x8b], Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (b"\xfd7zXZ\0", Compression::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
        ];
        let found = KNOWN.iter().find(|(magic, _)| start.starts_with(magic));
        found.map_or(Compression::None, |(_, compression)| *compression)
    }
}

/// The plain bytes of `bytes`.
///
/// # Errors
/// The first bytes are not of this compression; only some decoders look at once.
pub fn expand<'a>(
    bytes: impl BufRead + 'a,
    compression: Compression,
) -> Result<Box<dyn Read + 'a>, UnpackError> {
    Ok(match compression {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(bytes)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            bytes,
            true,
            (MAX_WINDOW / 1024) as u32,
        )),
        Compression::Zstd => {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(MAX_WINDOW);
            Box::new(Frames {
                source: bytes,
                decoder,
                is_inside: false,
            })
        }
    })
}

/// All frames of a Zstandard file, one after another: the decoder reads one.
struct Frames<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    is_inside: bool,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.is_inside && !self.begin()? {
                return Ok(0);
            }
            if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                // A block at a time, so that no more than a block and the window are kept.
                let blocks = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.source, blocks);
                decoded.map_err(invalid)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.is_inside = !self.decoder.is_finished();
            if !self.is_inside && !self.is_intact() {
                return Err(invalid("a frame's checksum is wrong"));
            }
        }
        Ok(0)
    }
}

impl<R: BufRead> Frames<R> {
    /// Begins the next frame, or skips one that is not for decoders; false at the end.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            let skipped = match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.is_inside = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => u64::from(length),
                Err(error) => return Err(invalid(error)),
            };
            let mut rest = self.source.by_ref().take(skipped);
            if io::copy(&mut rest, &mut io::sink())? < skipped {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(false)
    }

    fn is_intact(&self) -> bool {
        let given = self.decoder.get_checksum_from_data();
        given.is_none() || given == self.decoder.get_calculated_checksum()
    }
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
