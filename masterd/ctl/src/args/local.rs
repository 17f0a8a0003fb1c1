//! The commands that run a cluster on this machine: `nesos dev` and `nesos vm`.
//!
//! Declarations only, as in the module above.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values;

/// `nesos dev`.
#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Start a cluster and keep it up until Ctrl-C
    Up(DevUpArgs),
}

/// `nesos dev up`.
#[derive(Debug, Args)]
pub(crate) struct DevUpArgs {
    /// Number of masters
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) masters: u16,
    /// Number of agents
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=200))]
    pub(crate) agents: u16,
    /// Port of the master; 0: any free one
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Folder for state and logs, kept afterwards; default: a temporary one
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// What each agent offers, as in `agentd --resources`
    #[arg(
        long,
        default_value = "cpus:2;mem:1024;disk:4096;ports:[31000-32000]",
        value_name = "RESOURCES"
    )]
    pub(crate) resources: String,
    /// Start daemons again that die
    #[arg(long)]
    pub(crate) restart: bool,
    /// Give tasks files of their own, container images and volumes, as boards do; needs root
    #[arg(long)]
    pub(crate) images: bool,
    /// One more flag for masterd; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) master_flag: Vec<String>,
    /// One more flag for every agentd; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) agent_flag: Vec<String>,
}

/// `nesos vm`.
#[derive(Debug, Subcommand)]
pub(crate) enum VmCommand {
    /// Boot a cluster of emulated boards: the first are masters, the others agents (all are both if no agent is left)
    Up(VmUpArgs),
    /// Add new boards to a running cluster: agents, or masters that ask to be let in
    Add(VmAddArgs),
    /// Shut the boards down and remove the cluster
    Down(VmDirArgs),
    /// List the boards
    List(VmDirArgs),
    /// Show a board's serial console; Ctrl-] leaves
    Console(VmNodeArgs),
    /// Cut a board's power
    Kill(VmNodeArgs),
    /// Give a board its power back
    Start(VmNodeArgs),
    /// Lose a share of the packets between boards from now on, or say what was lost
    Loss(VmLossArgs),
    /// The boards' switch, a process that `up` starts
    #[command(hide = true)]
    Switch(VmSwitchArgs),
}

/// `nesos vm up`.
#[derive(Debug, Args)]
pub(crate) struct VmUpArgs {
    /// Number of boards
    #[arg(value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) boards: u8,
    /// Memory of each board in MiB
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(32..=16384))]
    pub(crate) memory: u32,
    /// CPUs of each board
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) cpus: u8,
    /// Folder of a built image; default: that of `cargo xtask image --board qemu-virt`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) image: Option<PathBuf>,
    /// Size of each board's disk in MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(128..=65536))]
    pub(crate) disk: u32,
    /// Port of the API on this machine; 0: any free one
    #[arg(long, default_value_t = 5050)]
    pub(crate) port: u16,
    /// How many boards are masters: 1, 3, 5 or 7
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = values::voting)]
    pub(crate) masters: u8,
    /// Milliseconds of the leading master's silence until others ask to be elected. Emulated boards share this machine's
    /// processors and stand still while others boot: with masterd's default, 250, each of these moments had another one lead
    #[arg(long, default_value_t = 1500, value_name = "MS", value_parser = clap::value_parser!(u16).range(50..=60000))]
    pub(crate) election_timeout: u16,
    /// Start the boards through U-Boot, as real ones, which `nesos update` needs; about 3 s slower
    #[arg(long)]
    pub(crate) u_boot: bool,
    /// Let masters run tasks too
    #[arg(long)]
    pub(crate) master_runs_tasks: bool,
    /// Seconds to wait for the boards to join
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) timeout: u64,
    /// One more word for the kernel's command line, e.g. nesos.shell; may be repeated
    #[arg(long, value_name = "WORD")]
    pub(crate) append: Vec<String>,
    /// Stay until Ctrl-C, then take the cluster down
    #[arg(long)]
    pub(crate) attach: bool,
    /// Where the cluster lives
    #[command(flatten)]
    pub(crate) dir: VmDirArgs,
}

/// `nesos vm add`.
#[derive(Debug, Args)]
pub(crate) struct VmAddArgs {
    /// Number of boards
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=15))]
    pub(crate) boards: u8,
    /// How many of them are masters: they ask, and the leader lets them in while it lacks some; else `nesos master add` does
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=7))]
    pub(crate) masters: u8,
    /// Seconds to wait for the boards to join
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) timeout: u64,
    /// Where the cluster lives
    #[command(flatten)]
    pub(crate) dir: VmDirArgs,
}

/// `nesos vm loss`.
#[derive(Debug, Args)]
pub(crate) struct VmLossArgs {
    /// Percent of the packets, 0 to 100, e.g. 5 or 0.5; without: only say what is lost and was
    #[arg(value_name = "PERCENT", value_parser = values::percent)]
    pub(crate) share: Option<u16>,
    /// Which ones: the same packets lose the same ones
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
    /// Where the cluster lives
    #[command(flatten)]
    pub(crate) dir: VmDirArgs,
}

/// `nesos vm switch`.
#[derive(Debug, Args)]
pub(crate) struct VmSwitchArgs {
    /// Where to listen for boards
    pub(crate) socket: PathBuf,
    /// Where to listen for what it is to do differently
    #[arg(long, value_name = "SOCKET")]
    pub(crate) control: PathBuf,
    /// Port of 127.0.0.1 from which connections are led to the leading master
    #[arg(long)]
    pub(crate) door: Option<u16>,
    /// A master: the port of 127.0.0.1 that leads to it, and its own address
    #[arg(long = "way", value_name = "PORT=HOST:PORT", value_parser = values::way)]
    pub(crate) ways: Vec<(u16, String)>,
}

/// Which cluster of boards.
#[derive(Debug, Clone, Args)]
pub(crate) struct VmDirArgs {
    /// Folder of the cluster; default: $XDG_STATE_HOME/nesos/vm
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// One board of a cluster.
#[derive(Debug, Args)]
pub(crate) struct VmNodeArgs {
    /// Name of the board, e.g. board-2
    pub(crate) node: String,
    /// Where the cluster lives
    #[command(flatten)]
    pub(crate) dir: VmDirArgs,
}
