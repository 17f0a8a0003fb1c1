//! pymesos 0.3.15 keeps data on a persistent volume, over the end of its task and a crash of the agent.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nesos_client_tests::pymesos;
use nesos_cluster_tests::DevCluster;

/// The scheduler, which says where it is line by line.
struct Keeper {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Keeper {
    fn start(master: &str) -> Self {
        let python = pymesos().unwrap_or_else(|error| panic!("{error}"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pymesos/volume.py");
        let mut process = Command::new(python)
            .args([script, master])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    fn expect(&mut self, line: &str) {
        // The script has a deadline of its own, after which it says so and ends.
        let said = self.lines.next().map(Result::unwrap);
        assert_eq!(said.as_deref(), Some(line));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every directory below `folder` that is called `name`.
fn find(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() == name {
                found.push(entry.path());
            }
            find(&entry.path(), name, found);
        }
    }
}

fn volumes(cluster: &DevCluster) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find(&cluster.work_dir(), "kept", &mut found);
    found
}

#[test]
fn pymesos_keeps_data_on_a_volume_over_a_crash_of_the_agent() {
    let cluster = DevCluster::start(1, &[]);
    let mut keeper = Keeper::start(&cluster.master);
    keeper.expect("written");
    let made = volumes(&cluster);
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].ends_with("volumes/roles/db/kept"), "{made:?}");
    let kept = std::fs::read_to_string(made[0].join("file")).unwrap();
    assert_eq!(kept, "precious\n");
    cluster.kill_and_wait_restart("agent-1");
    cluster.kill_and_wait_restart("master");
    keeper
        .process
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"\n")
        .unwrap();
    keeper.expect("read");
    keeper.expect("gone");
    assert!(keeper.process.wait().unwrap().success());
    assert_eq!(volumes(&cluster), Vec::<PathBuf>::new());
    cluster.stop();
}
