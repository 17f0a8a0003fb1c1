//! The commands about cards and images: `nesos flash` and `nesos image`.
//!
//! Declarations only, as in the module above.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::values;

/// `nesos flash`.
#[derive(Debug, Args)]
pub(crate) struct FlashArgs {
    /// Image (.img, .img.zst), or the name of a board whose image was built here
    #[arg(required_unless_present = "list")]
    pub(crate) image: Option<PathBuf>,
    /// Disk to write, or a plain file; default: the only card or stick there is. In a file's name {} stands for the card's number
    pub(crate) disk: Option<PathBuf>,
    /// Only list the disks of this machine, and what speaks against writing them
    #[arg(long, conflicts_with_all = ["image", "disk"])]
    pub(crate) list: bool,
    /// Write to DISK though it is mounted, larger than a card, built in, or this system's own
    #[arg(long, requires = "disk")]
    pub(crate) force: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Leave the card in the reader's care, for the next command
    #[arg(long)]
    pub(crate) no_eject: bool,
    /// How the node is called; with --count: what comes before its number
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Cluster it belongs to
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// How many cards to write, one after another; without a token the first found a new cluster and the others join it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) count: u16,
    /// Number of the first card
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9999))]
    pub(crate) first: u16,
    /// With --count: how many of the new cluster's cards are masters
    #[arg(long, default_value_t = 1, value_parser = values::voting)]
    pub(crate) masters: u8,
    /// Join token of a cluster that is there (`nesos token`)
    #[arg(long, env = "NESOS_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// What the board is to be
    #[arg(long, value_enum)]
    pub(crate) role: Option<CardRole>,
    /// Wireless network; its password is asked for, or taken from NESOS_WIFI_PASSWORD, and hashed
    #[arg(long, value_name = "SSID")]
    pub(crate) wifi: Option<String>,
    /// File with public keys that may log in by SSH; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_key: Vec<PathBuf>,
    /// cluster.toml to begin with; what other options say takes precedence
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `role` of cluster.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CardRole {
    /// Agent if it is told how to join a cluster, else both.
    Auto,
    /// Runs masterd only.
    Master,
    /// Runs agentd only.
    Agent,
    /// Runs both.
    Both,
}

impl CardRole {
    /// As it stands in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Master => "master",
            Self::Agent => "agent",
            Self::Both => "both",
        }
    }
}

/// `nesos image`.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// What an image or card is: board, version, kernel, slots, sizes, configuration
    Info {
        /// Image (.img, .img.zst) or card
        file: PathBuf,
    },
    /// What differs between two images or cards
    Diff {
        /// One
        old: PathBuf,
        /// The other
        new: PathBuf,
    },
    /// Check partition table, file systems and digests
    Verify {
        /// Image (.img, .img.zst) or card
        file: PathBuf,
    },
}
