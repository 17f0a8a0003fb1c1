//! From a board's configuration to its files in `out/<board>`.
//!
//! Called by `cargo xtask image`. Invariant: the result depends on the configuration, the binaries and the Debian packages named in
//! the manifest, and on nothing else of this machine.

mod bundle;
mod config;
mod debian;
mod flash;
mod kernel;
mod keys;
mod loaders;
mod output;
mod rootfs;
mod sbom;
mod sources;
mod template;
mod tools;
mod volume;

pub use bundle::{About, Bundle, public_half};
pub use config::{Board, ConfigError, RootConfig, boards, load};
pub use debian::{Debian, DebianError};
pub use kernel::{Kernel, KernelError, build_kernel};
pub use keys::{SigningKeyError, default_path, signing_key};
pub use loaders::Tree;
pub use output::{BuildError, Inputs, build_image, digest};
pub use rootfs::{RootError, write_root};
pub use sbom::Library;
pub use sources::{Package, Source, SourceError};
pub use template::{TEMPLATE_MAGIC, TemplateError, data_template};
pub use tools::{Progress, Silent, ToolError, cache_folder, run};
