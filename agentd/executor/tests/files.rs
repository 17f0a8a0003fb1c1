//! The task's own files: what it sees, what it may change, and that no link leads out. Needs root (CAP_SYS_ADMIN); elsewhere
//! these tests say so and pass, and tests/qemu has the same in a guest.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::{Helper, Place, allowed, isolate};
use nesos_wire::executor::Outcome;
use nesos_wire::file_system::{FileSystem, Mount, MountSource, Root, SharedMemory};

/// Runs a shell text with files of its own, changed a bit.
fn run(text: &str, change: impl FnOnce(&Place, &mut FileSystem)) -> Helper {
    let place = Place::new();
    let mut spec = place.shell(text);
    isolate(&mut spec, true);
    change(&place, spec.file_system.as_mut().unwrap());
    place.start(&spec)
}

/// What the text prints, if it ends well.
fn output(text: &str, change: impl FnOnce(&Place, &mut FileSystem)) -> String {
    let helper = run(text, change);
    let outcome = helper.record().outcome;
    assert_eq!(outcome, Outcome::Exit(0), "{}", helper.output("stderr"));
    helper.output("stdout")
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn host(source: &Path, target: &str, is_read_only: bool) -> Mount {
    Mount {
        source: MountSource::Host(text(source)),
        target: target.into(),
        is_read_only,
    }
}

fn inside(directory: &Path, path: &str, target: &str) -> Mount {
    Mount {
        source: MountSource::Inside {
            directory: text(directory),
            path: path.into(),
        },
        target: target.into(),
        is_read_only: false,
    }
}

#[test]
fn the_host_is_read_only_and_the_sandbox_is_not() {
    if !allowed() {
        return;
    }
    let told = output(
        "touch mine && touch /usr/x /etc/x /dev/x /sys/kernel/x /proc/sys/kernel/x 2>/dev/null; ls /proc/sys/kernel/ostype; \
         (: > /proc/sys/kernel/hostname); echo $?; cat /proc/kcore /proc/timer_list | wc -c; ls /sys/firmware | wc -l; ls -A /dev/shm | wc -l; \
         echo x > /dev/null && head -c 1 /dev/urandom | wc -c; ls /dev/sda /dev/vda /dev/mem /dev/kmsg 2>/dev/null | wc -l; exit 0",
        |_, _| (),
    );
    assert_eq!(told, "/proc/sys/kernel/ostype\n2\n0\n0\n0\n1\n0\n");
}

#[test]
fn nothing_of_the_agent_is_seen_but_the_sandbox() {
    if !allowed() {
        return;
    }
    let helper = run(
        "cd ..; ls -A; cat ../run/spec /etc/shadow /proc/1/root/etc/shadow; exit 3",
        |place, files| {
            let hidden = vec![
                text(place.folder.path()),
                "/etc/shadow".into(),
                "/nothing/there".into(),
            ];
            let system = Vec::new();
            files.root = Root::Host { hidden, system };
        },
    );
    assert_eq!(helper.record().outcome, Outcome::Exit(3));
    let told = helper.output("stdout");
    assert_eq!(told, "sandbox\n", "{}", helper.output("stderr"));
}

#[test]
fn volumes_of_the_host_are_writable_or_not() {
    if !allowed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old"), "old").unwrap();
    let shown = folder.path().to_owned();
    let told = output(
        "cat rw/old ro/old; echo new > rw/new; echo no > ro/no 2>/dev/null || echo refused; cat file",
        move |_, files| {
            files.mounts = vec![
                host(&shown, "rw", false),
                host(&shown, "ro", true),
                host(&shown.join("old"), "file", true),
            ];
        },
    );
    assert_eq!(told, "oldoldrefused\nold");
    assert_eq!(
        fs::read_to_string(folder.path().join("new")).unwrap(),
        "new\n"
    );
    assert!(!folder.path().join("no").exists());
}

#[test]
fn links_in_the_sandbox_lead_no_volume_out() {
    if !allowed() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    for (path, target) in [
        ("link/x", "x"),
        ("up", "x"),
        ("own", "link/x"),
        ("own", "up"),
    ] {
        let (outside, path, target) = (outside.path().to_owned(), path, target);
        let helper = run("true", move |place, files| {
            symlink(&outside, place.sandbox().join("link")).unwrap();
            symlink("..", place.sandbox().join("up")).unwrap();
            files.mounts = vec![inside(&place.sandbox(), path, target)];
        });
        let reason = helper.reason();
        assert!(reason.contains("ELOOP"), "{path} {target}: {reason}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn folders_of_sandboxes_are_shared() {
    if !allowed() {
        return;
    }
    let pod = tempfile::tempdir().unwrap();
    let shared = pod.path().to_owned();
    let told = output(
        "echo for all > common/deep/x; ls -d own",
        move |place, files| {
            files.mounts = vec![
                inside(&shared, "a/b", "common/deep"),
                inside(&place.sandbox(), "here", "own"),
            ];
        },
    );
    assert_eq!(told, "own\n");
    assert_eq!(
        fs::read_to_string(pod.path().join("a/b/x")).unwrap(),
        "for all\n"
    );
}

#[test]
fn a_secret_is_a_file_in_memory_of_its_owner() {
    if !allowed() {
        return;
    }
    let helper = run(
        "cat deep/s; stat -c %a deep/s; echo x > deep/s || grep -c ' /.*deep/s tmpfs ro' /proc/self/mounts",
        |_, files| {
            files.mounts = vec![Mount {
                source: MountSource::Secret(b"hush\n".to_vec()),
                target: "deep/s".into(),
                is_read_only: true,
            }];
        },
    );
    assert_eq!(helper.record().outcome, Outcome::Exit(0));
    assert_eq!(helper.output("stdout"), "hush\n400\n1\n");
    let left = fs::read(helper.place.sandbox().join("deep/s")).unwrap();
    assert_eq!(left, b"", "only the place for it is on disk");
    for folder in ["root", "secrets"] {
        assert!(!helper.place.run().join(folder).exists(), "{folder}");
    }
}

#[test]
fn another_root_is_entered_and_layers_stay_as_they_are() {
    if !allowed() {
        return;
    }
    let image = tempfile::tempdir().unwrap();
    let base = image.path().to_owned();
    for folder in ["lower/bin", "lower/etc", "top/etc", "upper", "work"] {
        fs::create_dir_all(base.join(folder)).unwrap();
    }
    // A root needs a program without libraries.
    let busybox = "/bin/busybox";
    if !Path::new(busybox).exists() {
        eprintln!("no {busybox} here: nothing tested");
        return;
    }
    fs::copy(busybox, base.join("lower/bin/sh")).unwrap();
    fs::set_permissions(base.join("lower/bin/sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(base.join("lower/etc/who"), "lower\n").unwrap();
    fs::write(base.join("top/etc/who"), "top\n").unwrap();
    let text_of = |name: &str| text(&base.join(name));
    let root = Root::Overlay {
        layers: vec![text_of("top"), text_of("lower")],
        upper: text_of("upper"),
        work: text_of("work"),
    };
    let told = output(
        "read -r who < /etc/who; echo $who; echo changed > /etc/who; pwd; test -d /usr || echo no host",
        move |_, files| {
            files.root = root;
            files.sandbox = "/mnt/mesos/sandbox".into();
            files.shared_memory = SharedMemory::Own { megabytes: Some(1) };
        },
    );
    assert_eq!(told, "top\n/mnt/mesos/sandbox\nno host\n");
    assert_eq!(
        fs::read_to_string(base.join("top/etc/who")).unwrap(),
        "top\n"
    );
    assert_eq!(
        fs::read_to_string(base.join("upper/etc/who")).unwrap(),
        "changed\n"
    );
}

#[test]
fn what_cannot_be_shown_is_said() {
    if !allowed() {
        return;
    }
    let reason = |mount: Mount| run("true", |_, files| files.mounts = vec![mount]).reason();
    let missing = reason(host(Path::new("/nothing/here"), "x", false));
    assert!(
        missing.contains("volume at \"x\"") && missing.contains("/nothing/here: ENOENT"),
        "{missing}"
    );
    let fixed = reason(host(Path::new("/etc"), "/usr/nothing", false));
    assert!(fixed.contains("EROFS"), "{fixed}");
}
