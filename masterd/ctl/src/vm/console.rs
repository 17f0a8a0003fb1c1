//! A board's serial console on this terminal.
//!
//! Called by `nesos vm console`. Invariant: the terminal is as before when it returns, whatever happened.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::VmError;
use super::state::{Board, Cluster};
use crate::raw::Raw;

/// Ctrl-].
const LEAVE: u8 = 0x1d;
/// How much of what was printed before is shown first, bytes.
const HISTORY: u64 = 8 << 10;
const BUFFER: usize = 4096;

/// Joins this terminal and the console of `board` until Ctrl-], the end of input, or the board's end.
pub(super) async fn attach(cluster: &Cluster, board: &Board) -> Result<(), VmError> {
    let failed = |operation| move |source| VmError::Terminal { operation, source };
    if cluster.pid_of(board).is_none() {
        return Err(VmError::State {
            node: board.name.clone(),
            state: "off",
        });
    }
    let mut socket = UnixStream::connect(cluster.console(board))
        .await
        .map_err(failed("connect to the console"))?;
    eprintln!("nesos: console of {}; Ctrl-] leaves", board.name);
    print_history(cluster, board).map_err(failed("read the console's log"))?;
    let stdin = io::stdin();
    let _raw = Raw::new(&stdin).map_err(failed("prepare the terminal"))?;
    let mut keys = tokio::io::stdin();
    let (mut typed, mut printed) = ([0; BUFFER], [0; BUFFER]);
    loop {
        tokio::select! {
            count = keys.read(&mut typed) => {
                let bytes = &typed[..count.map_err(failed("read the terminal"))?];
                let leave = bytes.iter().position(|byte| *byte == LEAVE);
                socket.write_all(&bytes[..leave.unwrap_or(bytes.len())]).await.map_err(failed("write to the console"))?;
                if leave.is_some() || bytes.is_empty() {
                    return Ok(());
                }
            }
            count = socket.read(&mut printed) => {
                let count = count.map_err(failed("read the console"))?;
                if count == 0 {
                    return Ok(());
                }
                show(&printed[..count]).map_err(failed("write to the terminal"))?;
            }
        }
    }
}

fn print_history(cluster: &Cluster, board: &Board) -> io::Result<()> {
    let mut log = File::open(cluster.console_log(board))?;
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(HISTORY)))?;
    let mut bytes = Vec::new();
    log.take(HISTORY).read_to_end(&mut bytes)?;
    show(&bytes)
}

fn show(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
