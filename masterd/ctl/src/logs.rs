//! `nesos logs`: what a task wrote, to the end or as it comes.
//!
//! Called by `main`.

use std::io;

use crate::args::LogsArgs;
use crate::cluster;
use crate::failure::Failure;
use crate::files::{FileReadError, Follower, GAP, POLL};
use crate::http::Client;

/// Looks at the file per look at the task's state: the state costs the master more.
const LOOKS_PER_STATE: u32 = 5;

/// `nesos logs`.
pub(crate) async fn logs(client: &Client, args: &LogsArgs) -> Result<(), Failure> {
    let mut task = cluster::find_task(client, &args.task).await?;
    let file = if args.stderr { "stderr" } else { "stdout" };
    let mut follower = Follower::new(&task.framework, &task.id, file);
    let mut out = io::stdout();
    loop {
        // The state is older than the bytes: an ended task's file is complete.
        let over = task.is_over();
        for _ in 0..LOOKS_PER_STATE {
            let read = follower.read_to_end(client, &mut out).await;
            if follower.take_gap() {
                eprintln!("nesos: {GAP}");
            }
            read.map_err(|error| match error {
                FileReadError::Http(error) => Failure::Http(error),
                FileReadError::Output(error) => Failure::Output(error),
            })?;
            if over || !args.follow {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        let all = cluster::tasks(client).await?;
        let same = all
            .into_iter()
            .find(|other| other.id == task.id && other.framework == task.framework);
        match same {
            Some(same) => task = same,
            // Forgotten by the master: it had ended.
            None => task.state = "TASK_GONE".to_owned(),
        }
    }
}
