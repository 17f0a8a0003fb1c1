//! Writing an image to a card: which disks there are and which may be written, and the writing, reading back and personalising.
//!
//! Not here: questions, progress bars and what stands in `cluster.toml` (`nesos flash` does). Invariant: after [`write`] and
//! [`verify`] every byte of the image is on the target, zeros too, so nothing of what the card held before is left inside of it.

mod disks;
mod source;
mod write;

pub use disks::{
    Bus, Choice, ChooseError, Disk, DisksError, LARGEST_CARD, Refusal, Use, choose, disks,
};
pub use source::{Source, SourceError};
pub(crate) use write::hex;
pub use write::{CHUNK, FlashError, Target, Written, read_file, verify, write};
