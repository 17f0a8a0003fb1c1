//! `--self_test`: once, when a master has welcomed this agent, a container with all isolators runs a shell, and a file says how it went.
//!
//! `init` asks for it on a board whose image is on trial and reads the file: an agent that cannot join or cannot run anything is no
//! reason to keep an image. Called by the loop. Invariant: the file appears whole, with `ok` or one line that says why not.

use std::path::Path;

use agentd_core::LinkView;
use nesos_wire::executor::Outcome;
use nesos_wire::task::{Command, TaskSpec};
use nesos_wire::{ContainerId, FrameworkId, resource_text};

use super::Daemon;
use crate::container::own::{Own, State, Wanted};
use crate::{http, sandbox};

/// Names the container and its files.
const NAME: &str = "nesos-self-test";
/// What it may use: what a shell needs.
const SHARE: &str = "cpus:0.1;mem:32";

impl Daemon {
    /// Begins it, if it was asked for and it is time.
    pub(super) fn self_test(&mut self) {
        if self.self_test.is_none() || self.agent.borrow().link() != LinkView::Live {
            return;
        }
        let Some(id) = self.agent.borrow().id().cloned() else {
            return;
        };
        let Some(file) = self.self_test.take() else {
            return;
        };
        let folder = sandbox::standalone(&self.settings.work_dir);
        let whole_id = nesos_api::tasks::container_id(NAME);
        let container = ContainerId::new(NAME);
        let wanted = Wanted::new(container, None, &whole_id, spec(), folder.join(NAME));
        let containers = self.containers.clone();
        let begun = containers
            .borrow_mut()
            .launch_own(wanted, id, self.endpoint.clone());
        tokio::task::spawn_local(async move {
            let said = match begun {
                Ok(own) => {
                    let said = verdict(&own).await;
                    containers.borrow().remove_own(&own);
                    said
                }
                Err(error) => error.to_string(),
            };
            tracing::info!("self-test: {said}");
            if let Err(error) = write(&file, &said) {
                tracing::warn!("--self_test: write {}: {error}", file.display());
            }
        });
    }
}

fn spec() -> TaskSpec {
    TaskSpec {
        name: NAME.into(),
        // A constant that the tests below read.
        resources: resource_text::parse(SHARE).unwrap_or_default(),
        command: Command {
            shell: true,
            value: "exit 0".into(),
            ..Command::default()
        },
        ..http::nobodys(FrameworkId::default())
    }
}

/// `ok`, or what went wrong.
async fn verdict(own: &Own) -> String {
    match own.after(&[State::Launching, State::Running]).await {
        State::Ended(finish) if finish.record.outcome == Outcome::Exit(0) => "ok".into(),
        State::Ended(finish) => format!("its shell ended with {:?}", finish.record.outcome),
        State::Failed(why) => why,
        _ => "nothing is known of its end".into(),
    }
}

fn write(file: &Path, said: &str) -> std::io::Result<()> {
    let line = said.replace('\n', " ");
    let beside = file.with_extension("new");
    std::fs::write(&beside, format!("{line}\n"))?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn its_share_is_one() {
        assert_eq!(spec().resources, resource_text::parse(SHARE).unwrap());
        assert!(!spec().resources.is_empty());
    }

    #[test]
    fn the_file_has_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("self-test");
        write(&file, "no\nroom").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "no room\n");
    }
}
