//! Why a command of `nesos` ends without success, and the exit code that says so to scripts.
//!
//! Every module has its own error enum; this is where they meet. Called by `main`. Invariant: 1 = refused, 2 = usage,
//! 3 = unreachable, whatever the command.

use std::path::PathBuf;

use crate::dev::DevError;
use crate::exec::ExecError;
use crate::flash::FlashCommandError;
use crate::http::HttpError;
use crate::locate::LocateError;
use crate::masters::MasterError;
use crate::run::RunError;
use crate::token::TokenCommandError;
use crate::update::UpdateError;
use crate::vm::VmError;
use nesos_image::inspect::InspectError;

/// The cluster or this machine said no.
pub(crate) const REFUSED: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Nobody answered.
pub(crate) const UNREACHABLE: u8 = 3;

/// Any failure of any command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Asking the master.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Finding the master.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// `nesos run`.
    #[error(transparent)]
    Run(#[from] RunError),
    /// `nesos dev`.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// `nesos vm`.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// `nesos master`.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// `nesos update`.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// `nesos token`.
    #[error(transparent)]
    Token(#[from] TokenCommandError),
    /// `nesos flash`.
    #[error(transparent)]
    Flash(#[from] FlashCommandError),
    /// `nesos image`.
    #[error(transparent)]
    Image(#[from] InspectError),
    /// No task, or more than one, answers to a name.
    #[error("{0}")]
    NoSuchTask(String),
    /// No node, or more than one, answers to a name.
    #[error("{0}")]
    NoSuchNode(String),
    /// A file with a definition that cannot be read.
    #[error("{}: {reason}", file.display())]
    Definition {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No job has this name.
    #[error("there is no job {0:?}; `nesos job list` shows all")]
    NoJob(String),
    /// A change of a service was given up for another one.
    #[error(
        "the change of {0} was given up for another one; `nesos service show` tells how it stands"
    )]
    Superseded(String),
    /// `nesos exec`.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Writing to standard output.
    #[error("write to standard output: {0}")]
    Output(#[source] std::io::Error),
    /// The runtime of the tool itself.
    #[error("start the event loop: {0}")]
    Runtime(#[source] std::io::Error),
}

impl Failure {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Http(error) => error.exit_code(),
            Self::Locate(error) => error.exit_code(),
            Self::Run(error) => error.exit_code(),
            Self::Dev(error) => error.exit_code(),
            Self::Vm(error) => error.exit_code(),
            Self::Token(_) | Self::Definition { .. } => USAGE,
            Self::Exec(_)
            | Self::Master(_)
            | Self::Update(_)
            | Self::Flash(_)
            | Self::Image(_)
            | Self::NoSuchTask(_)
            | Self::NoSuchNode(_)
            | Self::NoJob(_)
            | Self::Superseded(_)
            | Self::Output(_)
            | Self::Runtime(_) => REFUSED,
        }
    }

    /// Whether the reader of our output went away (`nesos ps | head`), which is not worth a message.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let source = match self {
            Self::Output(source) | Self::Run(RunError::Output { source }) => source,
            _ => return false,
        };
        source.kind() == std::io::ErrorKind::BrokenPipe
    }
}
