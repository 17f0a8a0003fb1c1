//! `--ready_file`: made once, when this master has found its place in a group.
//!
//! `init` asks for it on a board whose image is on trial. Started by `main`. Invariant: the file is there only after this master led, or
//! knew who does.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::engine::Engine;
use crate::options::Options;
use crate::replica::Standing;

/// Waits in the background, if there is a file to make.
pub(crate) fn begin(options: &Options, engine: &Engine) {
    if let Some(file) = options.ready_file.clone() {
        tokio::spawn(tell(file, engine.follow_standing()));
    }
}

/// Waits for the place, and makes the file.
async fn tell(file: PathBuf, mut standing: watch::Receiver<Standing>) {
    let has_place = |standing: &Standing| *standing != Standing::Follows { leader: None };
    if standing.wait_for(has_place).await.is_err() {
        // masterd is stopping.
        return;
    }
    if let Err(error) = std::fs::write(&file, "ok\n") {
        tracing::warn!("--ready_file: write {}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_file_comes_with_a_leader() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ready");
        let (standing, seen) = watch::channel(Standing::Follows { leader: None });
        let mut told = tokio::spawn(tell(file.clone(), seen));
        tokio::select! {
            biased;
            _ = &mut told => panic!("it waits"),
            () = tokio::task::yield_now() => {}
        }
        assert!(!file.exists());
        standing.send_replace(Standing::Leads);
        told.await.unwrap();
        assert!(file.exists());
    }
}
