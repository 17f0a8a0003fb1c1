//! One look at a task from inside, as its check wants it; when to look is the core's business.
//!
//! Called by the containerizer. A command runs beside the task; pages and ports are asked from a socket in the task's network,
//! so that nothing is forked for them. Invariant: a look ends within its time, and leaves nothing behind.

mod page;

use std::fs::File;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use agentd_core::timed_out;
use nesos_sys::netns;
use nesos_wire::check::{CheckStatus, Probe};
use nesos_wire::executor::Outcome;
use nesos_wire::task::Command;
use tokio::net::{TcpSocket, TcpStream};

use crate::container::beside;

/// What a shell says of a command that a signal has ended: this, and the signal's number.
const SIGNALLED: i32 = 128;

/// Where a task is.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its helper's run directory.
    pub(crate) run_directory: PathBuf,
    /// A process in its network.
    pub(crate) process: Option<u32>,
}

/// Looks once. `Err`: why nothing was found.
pub(crate) async fn look(
    place: &Place,
    probe: &Probe,
    timeout_ms: u64,
) -> Result<CheckStatus, String> {
    let look = async {
        match probe {
            Probe::Command(command) => run(place, command).await,
            Probe::Http(http) => {
                let stream = connect(place, http.port, http.is_ipv6).await;
                let stream = stream.map_err(|error| format!("connect: {error}"))?;
                let code = page::status(stream, http).await?;
                Ok(CheckStatus::Http(Some(code)))
            }
            Probe::Tcp { port, is_ipv6 } => {
                let stream = connect(place, *port, *is_ipv6).await;
                Ok(CheckStatus::Tcp(Some(stream.is_ok())))
            }
        }
    };
    let limit = limited(timeout_ms, look).await;
    limit.unwrap_or_else(|| Err(timed_out(probe, timeout_ms)))
}

/// Zero: as long as it takes.
async fn limited<T>(timeout_ms: u64, look: impl Future<Output = T>) -> Option<T> {
    match timeout_ms {
        0 => Some(look.await),
        limit => tokio::time::timeout(Duration::from_millis(limit), look)
            .await
            .ok(),
    }
}

async fn run(place: &Place, command: &Command) -> Result<CheckStatus, String> {
    let null = || -> std::io::Result<OwnedFd> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        Ok(null.into())
    };
    let files = || Ok([null()?, null()?, null()?]);
    let files = files().map_err(|error: std::io::Error| format!("open /dev/null: {error}"))?;
    let spec = beside::describe(command).map_err(|error| error.to_string())?;
    let beside = beside::start(&place.run_directory, &spec, false, files).await;
    let ended = beside.map_err(|error| error.to_string())?.ended().await;
    match ended {
        Some(Outcome::Exit(code)) => Ok(CheckStatus::Command(Some(code.into()))),
        Some(Outcome::Signal(number)) => {
            Ok(CheckStatus::Command(Some(SIGNALLED + i32::from(number))))
        }
        Some(Outcome::NotStarted(why)) => Err(why),
        None => Err("the task has ended".into()),
    }
}

async fn connect(place: &Place, port: u16, is_ipv6: bool) -> std::io::Result<TcpStream> {
    let address: IpAddr = if is_ipv6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    };
    let socket = netns::stream_socket(place.process, is_ipv6)?;
    TcpSocket::from_std_stream(socket)
        .connect(SocketAddr::new(address, port))
        .await
}
