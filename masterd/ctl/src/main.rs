//! `nesos`: the one command a person uses, on a laptop or on a board.
//!
//! Parses the command line, finds the master, hands over to the module of the command, turns failures into sentences
//! and exit codes. Invariant: results on standard output, everything else on standard error.

mod args;
mod cluster;
mod dev;
mod exec;
mod failure;
mod files;
mod flash;
mod http;
mod image;
mod inspect;
mod jobs;
mod locate;
mod logs;
mod masters;
mod nodes;
mod output;
mod raw;
mod run;
mod services;
mod shares;
mod signals;
mod token;
mod update;
mod upkeep;
mod vm;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser;
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.is_broken_pipe() {
                eprintln!("nesos: {}", output::printable_lines(&failure.to_string()));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn start(cli: &Cli) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(dispatch(cli));
    // A blocked read of the terminal must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    let global = &cli.global;
    let output = global.output;
    match &cli.command {
        Command::Run(args) => {
            return Ok(run::run(&locate::client(global).await?, args, output).await?);
        }
        Command::Exec(args) => {
            return exec::exec(&locate::client(global).await?, args).await;
        }
        Command::Attach(args) => {
            return exec::attach::attach(&locate::client(global).await?, args).await;
        }
        Command::Ps(args) => inspect::ps(&locate::client(global).await?, args, output).await?,
        Command::Nodes => nodes::nodes(&locate::client(global).await?, output).await?,
        Command::Logs(args) => logs::logs(&locate::client(global).await?, args).await?,
        Command::Kill(args) => inspect::kill(&locate::client(global).await?, args, output).await?,
        Command::Service(command) => {
            services::run(&locate::client(global).await?, command, output).await?;
        }
        Command::Job(command) => {
            jobs::run(&locate::client(global).await?, command, output).await?;
        }
        Command::Quota(args) => {
            shares::quota(&locate::client(global).await?, args, output).await?;
        }
        Command::Weights(args) => {
            shares::weights(&locate::client(global).await?, args, output).await?;
        }
        Command::Master(args::MasterCommand::Recover {
            work_dir,
            force_new_cluster,
            from_backup,
        }) => {
            let number = force_new_cluster.as_deref();
            return Ok(masters::recover(work_dir, number, from_backup.as_deref())?);
        }
        Command::Master(command) => {
            masters::run(&locate::client(global).await?, command, output).await?;
        }
        Command::Drain(args) => upkeep::drain(&locate::client(global).await?, args, output).await?,
        Command::Deactivate(args) => {
            upkeep::deactivate(&locate::client(global).await?, args, output).await?;
        }
        Command::Activate(args) => {
            upkeep::activate(&locate::client(global).await?, args, output).await?;
        }
        Command::Update(args) => update::update(global, args, output).await?,
        Command::Token(args) => token::token(args, output)?,
        Command::Flash(args) => flash::flash(args, output)?,
        Command::Image(command) => return image::image(command, output),
        Command::Dev(args::DevCommand::Up(args)) => dev::up(args, output).await?,
        Command::Vm(command) => vm::vm(command, output).await?,
    }
    Ok(0)
}
