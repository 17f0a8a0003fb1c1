//! Control groups as far as they can be seen without being root, and the reading of their files.
use super::*;

fn scratch() -> (tempfile::TempDir, Cgroup) {
    let folder = tempfile::tempdir().expect("scratch folder");
    let group = Cgroup::at(folder.path()).child("nesos").child("task");
    group.create().expect("create");
    (folder, group)
}

#[test]
fn limits_become_file_contents() {
    let (_folder, group) = scratch();
    let limits = Limits {
        cpu_weight: Some(0),
        cpu_quota_us: Some(5),
        memory_max: Some(1 << 25),
        pids_max: Some(64),
        oom_group: true,
        ..Limits::default()
    };
    group.limit(&limits).expect("limit");
    let read = |file| group.read(file).expect("read back");
    assert_eq!(read("cpu.weight"), "1");
    assert_eq!(read("cpu.max"), "1000 100000");
    assert_eq!(read("memory.max"), "33554432");
    assert_eq!(read("pids.max"), "64");
    assert_eq!(read("memory.oom.group"), "1");
    assert!(!group.path().join("memory.low").exists());
}

#[test]
fn usage_reads_what_is_there() {
    let (_folder, group) = scratch();
    assert_eq!(group.usage(), Usage::default());
    group
        .write(
            "memory.events",
            "low 0\noom 3\noom_kill 2\noom_group_kill 1\n".to_owned(),
        )
        .expect("write");
    group
        .write(
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nthrottled_usec 7\n".to_owned(),
        )
        .expect("write");
    group
        .write("memory.current", "4096\n".to_owned())
        .expect("write");
    let usage = group.usage();
    assert_eq!(
        (
            usage.oom_kills,
            usage.cpu_us,
            usage.cpu_throttled_us,
            usage.memory
        ),
        (2, 30, 7, 4096)
    );
}

#[test]
fn only_controllers_that_exist_are_delegated() {
    let (_folder, group) = scratch();
    group
        .write(
            "cgroup.controllers",
            "cpuset cpu io memory pids\n".to_owned(),
        )
        .expect("write");
    group.delegate(&["memory", "hugetlb"]).expect("delegate");
    assert_eq!(
        group.read("cgroup.subtree_control").expect("read back"),
        "+memory"
    );
}

#[test]
fn traffic_is_limited_by_disk_and_what_is_not_said_is_not() {
    let (_folder, group) = scratch();
    let most = IoMax {
        write_bytes: Some(1000),
        reads: Some(5),
        ..IoMax::default()
    };
    let limits = Limits {
        io_max: Some(((254, 0), most)),
        ..Limits::default()
    };
    group.limit(&limits).expect("limit");
    let line = "254:0 rbps=max wbps=1000 riops=5 wiops=max";
    assert_eq!(group.read("io.max").expect("read back"), line);
}

#[test]
fn removing_takes_the_groups_below_and_is_repeatable() {
    let (_folder, group) = scratch();
    group.child("below").create().expect("create");
    assert_eq!(group.children(), ["below"]);
    group.remove().expect("remove");
    group.remove().expect("again");
    assert!(!group.exists());
}

#[test]
fn an_error_names_file_and_value() {
    let group = Cgroup::at("/proc/nowhere");
    let error = group
        .limit(&Limits {
            pids_max: Some(3),
            ..Limits::default()
        })
        .expect_err("no such place");
    assert!(
        error
            .to_string()
            .starts_with("write /proc/nowhere/pids.max <- 3: "),
        "{error}"
    );
}

#[test]
fn the_mount_table_is_searched_by_type() {
    let table = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\nnone /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    assert_eq!(mount_of_cgroup2(table), Some("/sys/fs/cgroup/unified"));
    assert_eq!(mount_of_cgroup2("tmpfs / tmpfs rw 0 0\n"), None);
}
