//! Why an archive is not unpacked. Every message is the end of a sentence that names the URI.

use std::io;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bytes end too early or cannot be decoded.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// A path that leads out, or no path at all.
    #[error("the archive holds {0}, which is not a path inside the directory")]
    Path(String),
    /// A link that leads out.
    #[error("the archive holds {path}, a link to {target}, which is not inside the directory")]
    Link {
        /// The link.
        path: String,
        /// Where it leads to.
        target: String,
    },
    /// Device, pipe, socket.
    #[error("the archive holds {0}, which is a device or a pipe")]
    Special(String),
    /// A file with holes.
    #[error("the archive holds {0}, a file with holes, which is not supported")]
    Sparse(String),
    /// Compression or encryption that nothing here knows.
    #[error("the archive holds {path} in a form that is not supported: {what}")]
    Unsupported {
        /// The entry.
        path: String,
        /// The form.
        what: String,
    },
    /// More bytes than allowed.
    #[error("the archive holds more than the {0} bytes that there is room for")]
    TooLarge(u64),
    /// More entries than allowed.
    #[error("the archive holds more than {0} entries")]
    TooMany(u64),
    /// A compressed file whose name is not known.
    #[error("the compressed file has no name to be unpacked under")]
    NoName,
    /// The kernel refused to make an entry.
    #[error("cannot make {path}: {source}")]
    Make {
        /// The entry.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The layer's bytes are not those that the image speaks of.
    #[error("the layer's digest is {found}, the image says {expected}")]
    Digest {
        /// What was computed.
        found: String,
        /// What was expected.
        expected: String,
    },
}

impl UnpackError {
    /// Of reading.
    pub(crate) fn reading(error: &io::Error) -> UnpackError {
        UnpackError::Damaged(error.to_string())
    }
}
