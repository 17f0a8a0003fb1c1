//! pymesos 0.3.15 keeps data on a persistent volume, over the end of its task and a crash of the agent.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use nesos_client_tests::Script;
use nesos_cluster_tests::DevCluster;

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
    let mut keeper = Script::start("volume.py", &cluster);
    keeper.expect(&cluster, "written");
    let made = volumes(&cluster);
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].ends_with("volumes/roles/db/kept"), "{made:?}");
    let kept = std::fs::read_to_string(made[0].join("file")).unwrap();
    assert_eq!(kept, "precious\n");
    cluster.kill_and_wait_restart("agent-1");
    cluster.kill_and_wait_restart("master");
    keeper.go_on();
    keeper.expect(&cluster, "read");
    keeper.expect(&cluster, "gone");
    assert!(keeper.succeeds());
    assert_eq!(volumes(&cluster), Vec::<PathBuf>::new());
    cluster.stop();
}
