//! `nesos attach`: this terminal becomes that of a task, until the task ends or the person leaves.
//!
//! Called by `main`. Invariant: what happens here ends nothing there, unless it is typed.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::{ExecError, listen, path, running, show, speak};
use crate::args::TaskArgs;
use crate::failure::{Failure, REFUSED};
use crate::http::Client;
use crate::raw::Raw;

/// Ctrl-], as for consoles of boards.
const LEAVE: u8 = 0x1d;
/// How often, and how often a second, it is asked whether the task has ended, when its terminal has.
const LOOKS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);

/// `nesos attach`.
pub(crate) async fn attach(client: &Client, args: &TaskArgs) -> Result<u8, Failure> {
    let task = running(client, &args.task).await?;
    let (path, id) = (path(&task), &task.container);
    let call =
        json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}});
    let answer = listen(client, &path, &call).await?;
    eprintln!("nesos: terminal of {}; Ctrl-] leaves", task.id);
    let stdin = io::stdin();
    let raw = Raw::new(&stdin).map_err(ExecError::Terminal)?;
    let manner = speak::Manner {
        is_interactive: true,
        has_tty: true,
        leave: Some(LEAVE),
    };
    let agent = speak::Agent::of(client, &path);
    let input = speak::attach(agent, id.clone(), manner);
    let spoken = async {
        match input.await {
            speak::End::Left => {}
            // What it writes can still be read.
            speak::End::OfInput => std::future::pending().await,
            speak::End::Refused(why) => {
                eprint!("nesos: what you type goes nowhere: {why}\r\n");
                std::future::pending().await
            }
        }
    };
    let over = tokio::select! {
        shown = show(answer) => Some(shown),
        () = spoken => None,
    };
    drop(raw);
    match over {
        Some(shown) => shown?,
        None => {
            eprintln!("nesos: left {}, which runs on", task.id);
            return Ok(0);
        }
    }
    // The master hears of the end a moment later than this terminal.
    for _ in 0..LOOKS {
        if running(client, &task.id).await.is_err() {
            eprintln!("nesos: {} has ended", task.id);
            return Ok(0);
        }
        tokio::time::sleep(PAUSE).await;
    }
    eprintln!("nesos: the connection has ended; {} runs on", task.id);
    Ok(REFUSED)
}
