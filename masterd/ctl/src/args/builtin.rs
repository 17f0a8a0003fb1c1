//! The command line of `nesos service` and `nesos job`.
//!
//! Declarations only, as all of `args`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{positive, variable};

/// `nesos service`.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List the services
    List,
    /// Keep a command running: a new service, or another definition of one
    Run(ServiceRunArgs),
    /// Put a definition in Marathon's JSON: a new service, or another definition of one
    Put {
        /// File; `-`: standard input
        file: PathBuf,
        /// What to do about it
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Show one service with its instances
    Show(ServiceArgs),
    /// Have so many instances
    Scale {
        /// Path of the service, such as /shop/web
        service: String,
        /// How many
        instances: u32,
        /// What to do about it
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Replace all instances, as its upgrade strategy says
    Restart {
        /// Path of the service
        service: String,
        /// What to do about it
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// List the definitions that it had, to go back to
    Versions(ServiceArgs),
    /// Go back to an earlier definition
    Rollback {
        /// Path of the service
        service: String,
        /// As `nesos service versions` shows it
        version: String,
        /// What to do about it
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Keep it no more; its instances are killed
    Remove {
        /// Path of the service
        service: String,
        /// What to do about it
        #[command(flatten)]
        change: ChangeArgs,
    },
}

/// `nesos service run`.
#[derive(Debug, Args)]
pub(crate) struct ServiceRunArgs {
    /// Path of the service, such as /shop/web
    pub(crate) service: String,
    /// How many instances
    #[arg(short = 'n', long, default_value = "1")]
    pub(crate) instances: u32,
    /// CPUs of an instance
    #[arg(long, default_value = "0.1", value_parser = positive)]
    pub(crate) cpus: f64,
    /// Memory of an instance in MiB
    #[arg(long, default_value = "32", value_parser = positive)]
    pub(crate) mem: f64,
    /// Environment variable; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Name of a port that an instance gets, told in $PORT0 and $PORT_<NAME>; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) port: Vec<String>,
    /// Shell command that fails when an instance is ill; three failures in a row, ten seconds apart, end it
    #[arg(long, value_name = "TEXT")]
    pub(crate) health: Option<String>,
    /// At most one instance on a node
    #[arg(long)]
    pub(crate) spread: bool,
    /// Container image to run it in: a name as for `docker pull`, or the path or URI of an archive
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// What to do about it
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
    /// One argument: text for /bin/sh. Several: a program and its arguments. None: what the image says
    #[arg(required_unless_present = "image", last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// How a change of a service is made.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ChangeArgs {
    /// Even while another change is under way, which is given up
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not wait until all is as it is to be
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// One service.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Path of the service, such as /shop/web
    pub(crate) service: String,
}

/// `nesos job`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// List the jobs
    List,
    /// Run a command at times or after other jobs: a new job, or another definition of one
    Add(JobAddArgs),
    /// Put a definition in Chronos's JSON: a new job, or another definition of one
    Put {
        /// File; `-`: standard input
        file: PathBuf,
    },
    /// Show one job
    Show(JobArgs),
    /// Start it now
    Run(JobArgs),
    /// Kill what of it is running
    Kill(JobArgs),
    /// Keep it no more; what of it is running is killed
    Remove(JobArgs),
}

/// `nesos job add`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("trigger").required(true))]
pub(crate) struct JobAddArgs {
    /// Name of the job
    pub(crate) name: String,
    /// How often, from when, at what interval (ISO 8601): R/2026-12-01T03:00:00Z/P1D; R5//PT1M: five times, from now
    #[arg(long, value_name = "R/START/PERIOD", group = "trigger")]
    pub(crate) schedule: Option<String>,
    /// After each success of this job; may be repeated
    #[arg(long, value_name = "JOB", group = "trigger")]
    pub(crate) after: Vec<String>,
    /// CPUs of a run
    #[arg(long, default_value = "0.1", value_parser = positive)]
    pub(crate) cpus: f64,
    /// Memory of a run in MiB
    #[arg(long, default_value = "32", value_parser = positive)]
    pub(crate) mem: f64,
    /// Disk of a run in MiB
    #[arg(long, default_value = "16", value_parser = positive)]
    pub(crate) disk: f64,
    /// Environment variable; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// How often a failed run is tried again
    #[arg(long, default_value = "2")]
    pub(crate) retries: u32,
    /// Text for /bin/sh
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub(crate) command: String,
}

/// One job.
#[derive(Debug, Args)]
pub(crate) struct JobArgs {
    /// Name of the job
    pub(crate) job: String,
}
