//! `nesos dev up --images`: tasks in container images on this machine. Needs root and overlayfs; for others there is a sentence.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use nesos_cluster_tests::{DevCluster, Nesos};
use serde_json::json;

#[test]
fn a_development_cluster_runs_images_for_root() {
    if !nix::unistd::geteuid().is_root() {
        let home = tempfile::tempdir().unwrap();
        let refused = Nesos::new(home.path()).run(&["dev", "up", "--images"]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("needs root"), "{refused:?}");
        return;
    }
    let cluster = DevCluster::start(1, &["--images"]);
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("tool.tar");
    save(folder.path(), &archive);
    let name = archive.display().to_string();
    let ended = cluster.nesos.run(&["run", "--image", &name]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "kept\n"),
        "{ended:?}"
    );
    let picked = format!("{name}#tool:1");
    let ended = cluster.nesos.run(&[
        "run",
        "--image",
        &picked,
        "--",
        "[ -e /etc/hostname ] || echo alone; exit 3",
    ]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (3, "alone\n"),
        "{ended:?}"
    );
    let ended = cluster
        .nesos
        .run(&["run", "--image", &format!("{name}#other"), "--", "true"]);
    assert!(
        ended.code != 0 && ended.stderr.contains("no image 'other', only tool:1"),
        "{ended:?}"
    );
    cluster.stop();

    let cluster = DevCluster::start(1, &[]);
    let ended = cluster.nesos.run(&["run", "--image", &name]);
    assert!(
        ended.code != 0 && ended.stderr.contains("docker/runtime"),
        "{ended:?}"
    );
    cluster.stop();
}

/// An archive as `docker save` writes it, with this machine's shell and a file.
fn save(folder: &Path, archive: &Path) {
    let (tree, out) = (folder.join("tree"), folder.join("out"));
    for path in [&tree.join("etc"), &out] {
        fs::create_dir_all(path).unwrap();
    }
    fs::write(tree.join("etc/kept"), "kept\n").unwrap();
    let libraries = said(Command::new("ldd").arg("/bin/sh"));
    let libraries = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for path in libraries.chain(["/bin/sh"]) {
        let inside = tree.join(path.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(path, inside).unwrap();
    }
    let pack = |from: &Path, to: &Path| {
        said(
            Command::new("tar")
                .arg("-C")
                .arg(from)
                .arg("-cf")
                .arg(to)
                .arg("."),
        );
    };
    let layer = out.join("layer.tar");
    pack(&tree, &layer);
    let digest = said(Command::new("sha256sum").arg(&layer));
    let digest = format!("sha256:{}", digest.split_whitespace().next().unwrap());
    let text = "read x < /etc/kept; echo $x";
    let config = json!({"os": "linux", "config": {"Entrypoint": ["/bin/sh", "-c", text]},
        "rootfs": {"type": "layers", "diff_ids": [digest]}});
    fs::write(out.join("c.json"), config.to_string()).unwrap();
    let manifest = json!([{"Config": "c.json", "RepoTags": ["tool:1"], "Layers": ["layer.tar"]}]);
    fs::write(out.join("manifest.json"), manifest.to_string()).unwrap();
    pack(&out, archive);
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
