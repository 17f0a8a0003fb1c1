//! Images of Nesos: a board's configuration becomes kernel, root file system, partitions and one flashable file, without root
//! rights and with the same bytes from the same inputs.
//!
//! Not here: compiling our own programs (`cargo xtask build`) and what happens on the board (`init`). `cargo xtask image` calls
//! the `builder` half; the `nesos` command and the QEMU tests call the other half: find, personalise and enlarge an image,
//! and with the feature `cards` write one to a card.
//! Invariant: no clock, no randomness, no host path and no directory order reaches a byte of an image.

mod artifacts;
mod boot_partition;
mod disk;
mod personal;

#[cfg(feature = "cards")]
pub mod flash;
#[cfg(feature = "cards")]
pub mod inspect;

#[cfg(feature = "builder")]
pub mod builder;
#[cfg(feature = "builder")]
pub mod imager;

pub use artifacts::{
    Artifacts, ArtifactsError, FileFacts, KernelFacts, Manifest, QemuFacts, SlotFacts, artifacts,
    artifacts_in, images_folder,
};
pub use boot_partition::BootPartition;
pub use disk::{DiskError, Layout, PARTITIONS, Partition, Slice, read_table};
pub use personal::{CLUSTER_FILE, PersonaliseError, grow, personalise};
