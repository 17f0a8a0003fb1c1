//! Samples of what a task sees as its files, and of what it is left with.
//!
//! Used by the spec's sample. Invariant: every variant stands in it once.

use nesos_wire::file_system::{FileSystem, Mount, MountSource, Names, Root, SharedMemory};
use nesos_wire::rights::{IdRange, ResourceLimit, Rights};

pub(crate) fn file_system() -> FileSystem {
    let mount = |source, target: &str| Mount {
        source,
        target: target.into(),
        is_read_only: true,
    };
    let inside = MountSource::Inside {
        directory: "/s".into(),
        path: "p".into(),
    };
    let image = MountSource::Overlay {
        layers: vec!["/l".into()],
        upper: "/u".into(),
        work: "/k".into(),
    };
    FileSystem {
        root: Root::Host {
            hidden: vec!["/w".into()],
            system: vec!["/usr".into()],
        },
        sandbox: "/s".into(),
        directory: Some("/d".into()),
        mounts: vec![
            mount(MountSource::Host("/h".into()), "a"),
            mount(inside, "/b"),
            mount(MountSource::Secret(vec![1, 2]), "c"),
            mount(image, "d"),
            mount(MountSource::Volume("/v".into()), "e"),
        ],
        devices: vec!["/dev/dri".into()],
        shared_memory: SharedMemory::Own { megabytes: Some(4) },
        network: Some(Names {
            hostname: "n".into(),
            hosts: "h".into(),
            resolv_conf: "r".into(),
        }),
    }
}

/// Another spec's, with layers.
pub(crate) fn layered() -> FileSystem {
    FileSystem {
        root: Root::Overlay {
            layers: vec!["/l".into()],
            upper: "/u".into(),
            work: "/k".into(),
        },
        shared_memory: SharedMemory::Host,
        ..FileSystem::host("/mnt/mesos/sandbox", Vec::new(), Vec::new())
    }
}

/// Another spec's, with a directory.
pub(crate) fn directory() -> FileSystem {
    FileSystem {
        root: Root::Directory("/d".into()),
        ..FileSystem::host("/s", Vec::new(), Vec::new())
    }
}

pub(crate) fn rights() -> Rights {
    Rights {
        bounding: Some(1 << 40),
        effective: Some(5),
        no_new_privileges: true,
        is_filtered: true,
        limits: vec![ResourceLimit {
            resource: 7,
            soft: 64,
            hard: u64::MAX,
        }],
        ids: Some(IdRange {
            first: 1_879_048_192,
            count: 65_536,
        }),
    }
}
