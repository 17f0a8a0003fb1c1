//! Tasks in a user namespace: who they are inside, what is theirs, and that the host's is not. Needs root (CAP_SYS_ADMIN);
//! elsewhere these tests say so and pass, and tests/qemu has the same in a guest.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use common::{Helper, Place, allowed, become_nobody, isolate};
use nesos_sys::process;
use nesos_sys::user_namespace::{IdMap, check};
use nesos_wire::executor::{ExecutorSpec, Outcome, OutputLimits, TaskUser};
use nesos_wire::file_system::{Mount, MountSource, Root};
use nesos_wire::rights::IdRange;

/// Ids that nobody has.
const FIRST: u32 = 1_879_048_192;
const COUNT: u32 = 65_536;
const LIMITS: OutputLimits = OutputLimits {
    stdout_bytes: 100_000,
    stderr_bytes: 100_000,
    files: 2,
};

/// Whether this machine has user namespaces, and a file system that can be shown with their ids.
fn possible() -> bool {
    let ids = IdMap {
        first: FIRST,
        count: COUNT,
    };
    let folder = tempfile::tempdir().unwrap();
    let checked = allowed().then(|| check(ids, folder.path()));
    match checked {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            eprintln!("{error}: nothing tested");
            false
        }
        None => false,
    }
}

fn run(text: &str, change: impl FnOnce(&Place, &mut ExecutorSpec)) -> Helper {
    let place = Place::new();
    let mut spec = place.shell(text);
    isolate(&mut spec, true);
    spec.rights.ids = Some(IdRange {
        first: FIRST,
        count: COUNT,
    });
    change(&place, &mut spec);
    place.start(&spec)
}

/// What the text prints, if it ends well.
fn output(text: &str, change: impl FnOnce(&Place, &mut ExecutorSpec)) -> (Helper, String) {
    let helper = run(text, change);
    let outcome = helper.record().outcome;
    let told = helper.output("stdout");
    let told = (told, helper.output("stderr"));
    assert_eq!(outcome, Outcome::Exit(0), "{told:?}");
    (helper, told.0)
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

fn volume(source: MountSource, target: &str) -> Mount {
    Mount {
        source,
        target: target.into(),
        is_read_only: false,
    }
}

#[test]
fn its_root_is_root_inside_and_of_its_own_files_only() {
    if !possible() {
        return;
    }
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("secret"), "hush").unwrap();
    fs::set_permissions(host.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(host.path().join("secret"), Permissions::from_mode(0o600)).unwrap();
    fs::write(host.path().join("open"), "seen\n").unwrap();
    let shown = host.path().to_str().unwrap().to_owned();
    let text = "tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map; id -u; id -g; id -G; \
        touch own; mkdir -m 700 folder; stat -c %u:%g . own /tmp /dev /dev/null stdout; \
        (cat host/secret; echo x >> host/open; touch host/new; cat /etc/shadow; kill -9 1) 2>/dev/null; cat host/open; \
        chown 1000:1001 folder; echo again >> /dev/stdout; grep ^CapEff /proc/self/status";
    let (helper, told) = output(text, |_, spec| {
        let mount = volume(MountSource::Host(shown), "host");
        spec.file_system.as_mut().unwrap().mounts = vec![mount];
    });
    let map = format!(" 0 {FIRST} {COUNT}\n");
    let mine = "0:0\n".repeat(6);
    let all = "CapEff:\t000001ffffffffff\n";
    assert_eq!(told, format!("{map}{map}0\n0\n0\n{mine}seen\nagain\n{all}"));
    // On disk they are whose they would be without a namespace.
    let sandbox = helper.place.sandbox();
    assert_eq!(owner(sandbox.join("own")), (0, 0));
    assert_eq!(owner(sandbox.join("folder")), (1000, 1001));
    assert!(!host.path().join("new").exists());
    assert_eq!(
        fs::read_to_string(host.path().join("open")).unwrap(),
        "seen\n"
    );
}

#[test]
fn on_the_host_it_is_nobody() {
    if !possible() {
        return;
    }
    let helper = run("echo up; exec sleep 1000", |_, _| ());
    helper.first_line();
    let (task, _) = process::descendants(helper.spawned.pid)[0];
    let ids = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let lines = status.lines();
        let lines = lines.filter(|line| line.starts_with("Uid:") || line.starts_with("Gid:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = |id: u32| format!("\t{id}\t{id}\t{id}\t{id}");
    let of = |id: u32| ["Uid:", "Gid:"].map(|name| format!("{name}{}", all(id)));
    assert_eq!(ids(task), of(FIRST));
    // The helper is the host's.
    assert_eq!(ids(helper.spawned.pid), of(0));
    // Its cgroup namespace, if it has one, and all that it makes itself belong to its namespace; its mounts are the host's.
    let link = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    assert_ne!(link(task), link(helper.spawned.pid));
}

#[test]
fn its_users_are_the_users_inside() {
    if !possible() {
        return;
    }
    let text = "id -u; touch own; cat key; stat -c %U key; echo more > /dev/stderr; echo no > /proc/self/oom_score_adj || true; \
        (cat host/secret) 2>/dev/null; exit 0";
    let (helper, told) = output(text, |place, spec| {
        become_nobody(spec);
        spec.output = Some(LIMITS);
        let user = spec.user.as_ref().unwrap();
        let (uid, gid) = (Some(user.uid), Some(user.gid));
        std::os::unix::fs::chown(place.sandbox(), uid, gid).unwrap();
        let secret = volume(MountSource::Secret(b"hush\n".to_vec()), "key");
        spec.file_system.as_mut().unwrap().mounts = vec![secret];
    });
    let nobody = nesos_sys::user::lookup("nobody").unwrap();
    assert_eq!(told, format!("{}\nhush\nnobody\n", nobody.uid));
    assert!(helper.output("stderr").starts_with("more\n"));
    for file in ["own", "stdout", "stderr"] {
        let sandbox = helper.place.sandbox();
        assert_eq!(
            owner(sandbox.join(file)),
            (nobody.uid, nobody.gid),
            "{file}"
        );
    }
    let stranger = run("true", |_, spec| {
        spec.user = Some(TaskUser {
            uid: COUNT,
            gid: 0,
            groups: vec![0],
        });
    });
    let reason = stranger.reason();
    assert!(
        reason.contains("65536 is none of the 65536 of its user namespace"),
        "{reason}"
    );
}

#[test]
fn volumes_and_folders_are_its_own() {
    if !possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().to_str().unwrap().to_owned();
    let text = "stat -c %u kept pod/a; echo x > kept/x; mkdir kept/in; echo y > pod/a/y; chown 7 kept/x; stat -c %u kept/x";
    let (helper, told) = output(text, |place, spec| {
        let inside = MountSource::Inside {
            directory: place.sandbox().to_str().unwrap().into(),
            path: "deep/er".into(),
        };
        spec.file_system.as_mut().unwrap().mounts = vec![
            volume(MountSource::Volume(shown), "kept"),
            volume(inside, "pod/a"),
        ];
    });
    assert_eq!(told, "0\n0\n7\n");
    assert_eq!(owner(folder.path().join("x")), (7, 0));
    assert_eq!(owner(folder.path().join("in")), (0, 0));
    assert_eq!(owner(helper.place.sandbox().join("deep/er/y")), (0, 0));
    for place in ["kept", "pod", "pod/a", "deep", "deep/er"] {
        assert_eq!(owner(helper.place.sandbox().join(place)), (0, 0), "{place}");
    }
}

#[test]
fn layers_are_shown_and_not_changed() {
    if !possible() {
        return;
    }
    let image = tempfile::tempdir().unwrap();
    let base = image.path().to_owned();
    for folder in ["lower/bin", "lower/etc", "top/etc", "upper", "work"] {
        fs::create_dir_all(base.join(folder)).unwrap();
    }
    let busybox = "/bin/busybox";
    if !Path::new(busybox).exists() {
        eprintln!("no {busybox} here: nothing tested");
        return;
    }
    for name in ["sh", "stat", "chown", "cat", "id"] {
        fs::copy(busybox, base.join("lower/bin").join(name)).unwrap();
    }
    fs::write(base.join("lower/etc/who"), "lower\n").unwrap();
    fs::set_permissions(base.join("lower/etc/who"), Permissions::from_mode(0o600)).unwrap();
    fs::write(base.join("top/etc/whose"), "top\n").unwrap();
    std::os::unix::fs::chown(base.join("top/etc/whose"), Some(1000), Some(1000)).unwrap();
    let path = |name: &str| base.join(name).to_str().unwrap().to_owned();
    // The same image as its root and as a volume: each layer is mapped once.
    let layers = vec![path("top"), path("lower")];
    let root = Root::Overlay {
        layers: layers.clone(),
        upper: path("upper"),
        work: path("work"),
    };
    for folder in ["upper2", "work2"] {
        fs::create_dir(base.join(folder)).unwrap();
    }
    let second = MountSource::Overlay {
        layers,
        upper: path("upper2"),
        work: path("work2"),
    };
    let text = "cat /etc/who; echo changed > /etc/who; chown 5 /etc/whose; stat -c %u:%g / /etc /etc/who /etc/whose /etc/resolv.conf /mnt; \
        cat tool/etc/who; echo x > tool/x; stat -c %u:%g tool tool/x tool/etc/whose";
    let (helper, told) = output(text, move |_, spec| {
        let files = spec.file_system.as_mut().unwrap();
        files.root = root;
        files.sandbox = "/mnt/mesos/sandbox".into();
        files.mounts = vec![volume(second, "tool")];
        spec.environment = vec![("PATH".into(), "/bin".into())];
    });
    assert_eq!(
        told,
        "lower\n0:0\n0:0\n0:0\n5:1000\n0:0\n0:0\nlower\n0:0\n0:0\n1000:1000\n"
    );
    assert_eq!(owner(base.join("lower/etc/who")), (0, 0));
    assert_eq!(owner(base.join("top/etc/whose")), (1000, 1000));
    let kept = fs::read_to_string(base.join("lower/etc/who")).unwrap();
    assert_eq!(kept, "lower\n");
    // What it writes to an image goes with it, and is its own until then.
    assert_eq!(owner(base.join("upper/etc/who")), (FIRST, FIRST));
    drop(helper);
}

#[test]
fn a_terminal_is_its_own() {
    if !possible() {
        return;
    }
    let text = "echo again > $(tty); echo more > /dev/tty; stat -c %u $(tty)";
    let (_, told) = output(text, |_, spec| spec.terminal = Some((24, 80)));
    assert_eq!(told, "again\r\nmore\r\n0\r\n");
}

#[test]
fn without_files_of_its_own_there_is_none() {
    let place = Place::new();
    let mut spec = place.shell("true");
    spec.rights.ids = Some(IdRange {
        first: FIRST,
        count: COUNT,
    });
    assert_eq!(
        place.start(&spec).reason(),
        "a user namespace was asked for without files of its own"
    );
}
