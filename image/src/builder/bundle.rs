//! Makes the update bundle of an image: what is in slot A, cut by content and signed.
//!
//! The format is `nesos_base::bundle`'s. Called by `output`. Invariant: the same files and key give the same bytes (Ed25519 draws no
//! random numbers).

use ed25519_compact::{KeyPair, Seed};
use fastcdc::v2020::FastCDC;
use nesos_base::bundle::key::{PublicKey, SigningKey};
use nesos_base::bundle::{BundleError, CHUNK_MAX, Chunk, File, Header, Place, Prelude};
use sha2::{Digest, Sha256};
use std::io::{self, Write};

/// Shortest chunk and what they are on average: an image of 8 MB has some 250, whose digests are 0.1 % of it.
const CHUNK_MIN: u32 = 8 * 1024;
const CHUNK_AVERAGE: u32 = 32 * 1024;

/// What a bundle says beside its files.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// The board it fits.
    pub board: &'a str,
    /// Version of Nesos.
    pub version: &'a str,
    /// Commit.
    pub build_id: &'a str,
    /// Seconds since 1970.
    pub build_time: u64,
    /// Without what depends on the slot.
    pub command_line: &'a str,
    /// File name in the slot.
    pub kernel: &'a str,
    /// File name in the slot.
    pub device_tree: Option<&'a str>,
}

/// A bundle's parts.
#[derive(Debug)]
pub struct Bundle<'a> {
    /// Header and signature.
    pub prelude: Prelude,
    files: &'a [(Place, Vec<u8>)],
}

impl<'a> Bundle<'a> {
    /// Of `files`, signed with `key`.
    ///
    /// # Errors
    /// The files are no slot's: a name, a length, their number.
    pub fn new(
        about: &About<'_>,
        files: &'a [(Place, Vec<u8>)],
        key: &SigningKey,
    ) -> Result<Self, BundleError> {
        let header = Header {
            board: about.board.to_owned(),
            version: about.version.to_owned(),
            build_id: about.build_id.to_owned(),
            build_time: about.build_time,
            command_line: about.command_line.to_owned(),
            kernel: about.kernel.to_owned(),
            device_tree: about.device_tree.map(str::to_owned),
            files: files.iter().map(file).collect(),
            chunks: files.iter().flat_map(|(_, bytes)| chunks(bytes)).collect(),
        };
        let pair = pair(key);
        let prelude = Prelude::sign(header, |bytes| *pair.sk.sign(bytes, None))?;
        Ok(Self { prelude, files })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// `to` fails.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(self.prelude.bytes())?;
        self.files
            .iter()
            .try_for_each(|(_, bytes)| to.write_all(bytes))
    }
}

/// The half of `key` that images carry.
pub fn public_half(key: &SigningKey) -> PublicKey {
    PublicKey(*pair(key).pk)
}

fn pair(key: &SigningKey) -> KeyPair {
    KeyPair::from_seed(Seed::new(key.0))
}

fn file((place, bytes): &(Place, Vec<u8>)) -> File {
    File {
        place: place.clone(),
        length: bytes.len() as u64,
        digest: Sha256::digest(bytes).into(),
    }
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk> {
    let cut = FastCDC::new(bytes, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX);
    cut.map(|piece| {
        let content = &bytes[piece.offset..piece.offset + piece.length];
        Chunk {
            digest: Sha256::digest(content).into(),
            // At most CHUNK_MAX, by the call above.
            length: u32::try_from(piece.length).unwrap_or(CHUNK_MAX),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    const ABOUT: About<'_> = About {
        board: "rpi3",
        version: "1",
        build_id: "x",
        build_time: 1,
        command_line: "ro",
        kernel: "Image",
        device_tree: None,
    };

    fn noise(mut state: u32, length: usize) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn files(root: Vec<u8>) -> Vec<(Place, Vec<u8>)> {
        vec![
            (Place::Boot("Image".into()), noise(1, 700_000)),
            (Place::Root, root),
        ]
    }

    #[test]
    fn a_bundle_reads_back_and_its_signature_is_right() {
        let key = SigningKey([3; 32]);
        let files = files(noise(2, 900_000));
        let made = Bundle::new(&ABOUT, &files, &key).unwrap();
        let mut bytes = Vec::new();
        made.write(&mut bytes).unwrap();
        let read = Prelude::parse(&bytes).unwrap();
        assert_eq!(read, made.prelude);
        assert_eq!(read.total(), bytes.len() as u64);
        let (message, signature) = read.signed();
        let signature = ed25519_compact::Signature::from_slice(signature).unwrap();
        let public = ed25519_compact::PublicKey::new(public_half(&key).0);
        public.verify(message, &signature).unwrap();
        for piece in read.header.pieces() {
            let at = (read.content_at() + piece.content_at) as usize;
            let content = &bytes[at..at + piece.chunk.length as usize];
            let digest: [u8; 32] = Sha256::digest(content).into();
            assert_eq!(digest, piece.chunk.digest);
        }
    }

    #[test]
    fn bytes_that_are_put_in_move_few_chunks() {
        let root = noise(2, 2_000_000);
        let mut longer = root.clone();
        longer.splice(1_000_000..1_000_000, [7; 1000]);
        let digests = |root: Vec<u8>| {
            let files = files(root);
            let made = Bundle::new(&ABOUT, &files, &SigningKey([3; 32])).unwrap();
            let chunks = made.prelude.header.chunks.iter();
            chunks.map(|chunk| chunk.digest).collect::<BTreeSet<_>>()
        };
        let (before, after) = (digests(root), digests(longer));
        let new = after.difference(&before).count();
        assert!((1..=4).contains(&new), "{new} of {}", after.len());
    }
}
