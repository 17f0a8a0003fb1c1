//! The command line of `nesos`, as clap reads it.
//!
//! Declarations only; what a command does is in its own module. Called by `main`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod builtin;
mod card;
mod local;
mod values;

pub(crate) use builtin::{ChangeArgs, JobAddArgs, JobCommand, ServiceCommand, ServiceRunArgs};
pub(crate) use card::{CardRole, FlashArgs, ImageCommand};
pub(crate) use local::{
    DevCommand, DevUpArgs, VmAddArgs, VmCommand, VmDirArgs, VmLossArgs, VmSwitchArgs, VmUpArgs,
};
pub(crate) use values::Amounts;
use values::{amounts, positive, seconds, variable, weight};

/// Run tasks on a Nesos cluster and look after it.
#[derive(Debug, Parser)]
#[command(
    name = "nesos",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 refused, 2 usage, 3 master unreachable; `nesos run` ends with the task's own code."
)]
pub(crate) struct Cli {
    /// What everything that talks to a master takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Master to talk to; default: the one cluster that `nesos vm` or `nesos dev` runs here, else mDNS
    #[arg(long, global = true, env = "NESOS_MASTER", value_name = "HOST:PORT")]
    pub(crate) master: Option<String>,
    /// Look for the master by mDNS even if a cluster runs on this machine
    #[arg(long, global = true)]
    pub(crate) discover: bool,
    /// Principal to log in with
    #[arg(long, global = true, env = "NESOS_PRINCIPAL", requires = "secret")]
    pub(crate) principal: Option<String>,
    /// Secret of the principal
    #[arg(
        long,
        global = true,
        env = "NESOS_SECRET",
        hide_env_values = true,
        requires = "principal"
    )]
    pub(crate) secret: Option<String>,
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs: one JSON value per line, keys are stable.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command on the cluster, print its output, end with its exit code
    Run(RunArgs),
    /// List tasks
    Ps(PsArgs),
    /// List nodes: what they have, and which of them are masters
    Nodes,
    /// Print what a task wrote
    Logs(LogsArgs),
    /// Run a command beside a task, with its files, environment and processes; end with its exit code
    Exec(ExecArgs),
    /// Sit down before the terminal of a task that was run with --tty; Ctrl-] leaves
    Attach(TaskArgs),
    /// Kill a task
    Kill(TaskArgs),
    /// Keep commands running: list, start, change and stop services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Run commands at times or after others: list, add, start and remove jobs
    #[command(subcommand)]
    Job(JobCommand),
    /// Show or set what roles are guaranteed and limited to
    Quota(QuotaArgs),
    /// Show or set how much roles count next to each other
    Weights(WeightsArgs),
    /// Kill all tasks of a node and offer nothing from it, e.g. before it is switched off
    Drain(DrainArgs),
    /// Offer nothing from a node any more; its tasks run on
    Deactivate(NodeArgs),
    /// Offer from a node again that was deactivated or has been drained
    Activate(NodeArgs),
    /// Put an update bundle onto the boards, one after the other
    Update(UpdateArgs),
    /// See who the masters are, add and remove some
    #[command(subcommand)]
    Master(MasterCommand),
    /// Derive the join token from a cluster key, or make a new key
    Token(TokenArgs),
    /// Write an image to a card, or to a shelf of cards one after another, with what makes them nodes
    Flash(Box<FlashArgs>),
    /// Look into images and cards
    #[command(subcommand)]
    Image(ImageCommand),
    /// Cluster of plain processes on this machine, for framework authors and tests
    #[command(subcommand)]
    Dev(DevCommand),
    /// Cluster of emulated boards on this machine
    #[command(subcommand)]
    Vm(VmCommand),
}

/// `nesos master`.
#[derive(Debug, Subcommand)]
pub(crate) enum MasterCommand {
    /// List the masters, and those that ask to be let in
    List,
    /// Let a master take part that was started with --join; it votes once it has caught up
    Add {
        /// Its name, number or address
        who: String,
        /// It only follows, without a vote
        #[arg(long)]
        learner: bool,
    },
    /// Let a learner vote once it has caught up
    Promote {
        /// Its name, number or address
        who: String,
    },
    /// Send a master away; refused if the others could not agree on anything any more
    Remove {
        /// Its name, number or address
        who: String,
    },
    /// Save the registry to a file; the cluster key is not in it
    Backup {
        /// Where to
        file: PathBuf,
    },
    /// Begin anew on this machine when most masters are lost for ever; masterd must not run
    #[command(group = clap::ArgGroup::new("source").required(true))]
    Recover {
        /// masterd's work folder
        #[arg(long, value_name = "FOLDER")]
        work_dir: PathBuf,
        /// With what the disk of this master has: its number, as `nesos master list` shows it
        #[arg(long, value_name = "NUMBER", group = "source")]
        force_new_cluster: Option<String>,
        /// With a backup, in a folder that is new
        #[arg(long, value_name = "FILE", group = "source")]
        from_backup: Option<PathBuf>,
    },
    /// Have another master lead
    HandOver {
        /// Its name, number or address; default: the one that is nearest to having everything
        who: Option<String>,
    },
}

/// `nesos run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// CPUs the task may count on
    #[arg(long, default_value = "0.1", value_parser = positive)]
    pub(crate) cpus: f64,
    /// Memory of the task in MiB
    #[arg(long, default_value = "32", value_parser = positive)]
    pub(crate) mem: f64,
    /// Name of the task; default: the program's
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Environment variable; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// File to fetch into the sandbox; may be repeated
    #[arg(long, value_name = "URI")]
    pub(crate) uri: Vec<String>,
    /// Shell command that fails when the task is ill; three failures in a row, ten seconds apart, kill it
    #[arg(long, value_name = "TEXT")]
    pub(crate) health: Option<String>,
    /// Run on this node only (its name, host name or agent id)
    #[arg(long, value_name = "NODE")]
    pub(crate) on: Option<String>,
    /// Container image to run it in: a name as for `docker pull`, or the path or URI of an archive
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Give it a terminal, for `nesos attach`
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// One argument: text for /bin/sh. Several: a program and its arguments. None: what the image says
    #[arg(required_unless_present = "image", last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// `nesos exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Pass this standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// User to run as; default: the task's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Task, by id, name, or the beginning of one
    pub(crate) task: String,
    /// One argument: text for /bin/sh. Several: a program and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// `nesos ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Tasks that have ended too
    #[arg(long, short)]
    pub(crate) all: bool,
}

/// `nesos logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on until the task ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Standard error instead of standard output
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Id or name of the task, or the beginning of either
    pub(crate) task: String,
}

/// One task.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Id or name of the task, or the beginning of either
    pub(crate) task: String,
}

/// `nesos quota`.
#[derive(Debug, Args)]
pub(crate) struct QuotaArgs {
    /// Without: list the roles with quota
    #[command(subcommand)]
    pub(crate) command: Option<QuotaCommand>,
}

/// What to do about quota.
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// Set the quota of a top-level role in place of the one it has
    Set(QuotaSetArgs),
    /// Take the quota of a role away
    Remove(RoleArgs),
}

/// `nesos quota set`.
#[derive(Debug, Args)]
pub(crate) struct QuotaSetArgs {
    /// Name of the role
    pub(crate) role: String,
    /// Amounts that the role never exceeds; what is not named is not limited
    #[arg(long, value_name = "cpus:4;mem:512", value_parser = amounts, required_unless_present = "guarantee")]
    pub(crate) limit: Option<Amounts>,
    /// Amounts held back for the role until it has them
    #[arg(long, value_name = "cpus:1;mem:64", value_parser = amounts)]
    pub(crate) guarantee: Option<Amounts>,
    /// Even if the cluster has not that much, or the role has more already
    #[arg(long)]
    pub(crate) force: bool,
}

/// One role.
#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// Name of the role
    pub(crate) role: String,
}

/// `nesos weights`.
#[derive(Debug, Args)]
pub(crate) struct WeightsArgs {
    /// Without: list the roles that were given a weight; all others have 1
    #[command(subcommand)]
    pub(crate) command: Option<WeightsCommand>,
}

/// What to do about weights.
#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// Set weights, all at once: a role of weight 2 gets twice the share of one of weight 1
    Set(WeightsSetArgs),
}

/// `nesos weights set`.
#[derive(Debug, Args)]
pub(crate) struct WeightsSetArgs {
    /// Roles and their weights
    #[arg(required = true, value_name = "ROLE=WEIGHT", value_parser = weight)]
    pub(crate) weights: Vec<(String, f64)>,
}

/// `nesos drain`.
#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Its name, host name, address or agent id
    pub(crate) node: String,
    /// Give no task more time than this to end; default: each task's own grace period
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) grace: Option<f64>,
    /// Once it is empty, give the node up for ever
    #[arg(long)]
    pub(crate) gone: bool,
}

/// `nesos update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The bundle (out/BOARD/nesos-BOARD.nub); boards check its signature
    pub(crate) bundle: PathBuf,
    /// Only these nodes (repeatable); default: all whose board it is for
    #[arg(long = "node", value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Give no task more time than this to end when its board is drained
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) grace: f64,
    /// Restart boards under their tasks
    #[arg(long)]
    pub(crate) no_drain: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// One node of the cluster.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Its name, host name, address or agent id
    pub(crate) node: String,
}

/// `nesos token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// File that holds the cluster key; `-`: standard input
    #[arg(value_name = "FILE", required_unless_present = "new")]
    pub(crate) key: Option<PathBuf>,
    /// Make a new key and print it with its token
    #[arg(long, conflicts_with = "key")]
    pub(crate) new: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_declarations_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_needs_its_dashes_and_keeps_its_own_flags() {
        let cli = Cli::try_parse_from([
            "nesos", "run", "--cpus", "1", "--env", "A=b=c", "--", "ls", "--all",
        ]);
        let Ok(Cli {
            command: Command::Run(run),
            ..
        }) = cli
        else {
            panic!("{cli:?}")
        };
        assert_eq!(run.command, ["ls", "--all"]);
        assert_eq!(run.env, [("A".to_owned(), "b=c".to_owned())]);
        for bad in [
            &["nesos", "run", "--cpus", "0", "--", "x"][..],
            &["nesos", "run"],
            &["nesos", "vm", "up", "0"],
            &["nesos", "vm", "add", "0"],
            &["nesos", "vm", "loss", "101"],
            &["nesos", "quota", "set", "web"],
            &["nesos", "quota", "set", "web", "--limit", "cpus"],
            &["nesos", "quota", "set", "web", "--limit", "cpus:-1"],
            &["nesos", "quota", "set", "web", "--limit", ";"],
            &["nesos", "quota", "set", "web", "--limit", "cpus:1;cpus:2"],
            &["nesos", "weights", "set"],
            &["nesos", "weights", "set", "web=0"],
            &["nesos", "weights", "set", "=1"],
            &["nesos", "drain", "board-2", "--grace", "-1"],
            &["nesos", "service", "run", "/web"],
            &["nesos", "service", "scale", "/web", "-1"],
            &["nesos", "job", "add", "a", "--", "true"],
            &["nesos", "job", "add", "a", "--schedule", "R//PT1S"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_command_can_be_read() {
        // Values of options with the same name are read by their types.
        for text in [
            "vm add --masters 1 2",
            "vm loss 5 --seed 3",
            "vm up 3 --masters 3 --election-timeout 250",
            "flash nesos.img.zst --cluster home --count 8 --wifi garden",
            "flash --list",
            "image diff a.img b.img",
        ] {
            let words = ["nesos"].into_iter().chain(text.split(' '));
            let cli = Cli::try_parse_from(words);
            assert!(cli.is_ok(), "{text}: {cli:?}");
        }
    }

    #[test]
    fn shares_of_a_whole_are_read_to_a_tenth() {
        assert_eq!(values::percent("5"), Ok(50));
        assert_eq!(values::percent("0.5"), Ok(5));
        for bad in ["-1", "100.1", "5%", "NaN", ""] {
            assert!(values::percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_read_as_in_resources() {
        let read = amounts("cpus:0.5; mem : 64;").unwrap_or_default();
        let expected = [("cpus".to_owned(), 0.5), ("mem".to_owned(), 64.0)];
        assert_eq!(read, Amounts(expected.into()));
    }
}
