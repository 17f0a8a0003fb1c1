//! The program as a list of instructions, and as the kernel runs it.
use std::io::Read;

use super::*;
use crate::cgroup::scratch::Group;
use crate::container::{SpawnPlan, spawn};

/// Runs a program as the kernel would.
fn allows(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: Access) -> bool {
    let all = program(rules);
    let kind = match kind {
        Kind::Block => BPF_DEVCG_DEV_BLOCK,
        Kind::Character => BPF_DEVCG_DEV_CHAR,
    };
    let context = [u32::from(access.0) << 16 | kind as u32, major, minor];
    let mut registers = [0u32; 6];
    let mut at = 0;
    loop {
        let Instruction {
            code,
            registers: names,
            offset,
            immediate,
        } = all[at];
        let (to, from) = (usize::from(names & 15), usize::from(names >> 4));
        at += 1;
        match code {
            0x61 => registers[to] = context[offset as usize / 4],
            0xbc => registers[to] = registers[from],
            0x54 => registers[to] &= immediate as u32,
            0x74 => registers[to] >>= immediate,
            0xb7 => registers[to] = immediate as u32,
            0x55 if registers[to] != immediate as u32 => at += offset as usize,
            0x55 => {}
            0x95 => return registers[0] == 1,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

#[test]
fn only_what_a_rule_allows_is_allowed() {
    let default = |kind, major, minor, access| allows(&DEFAULT, kind, major, minor, access);
    for minor in [3, 5, 7, 8, 9] {
        assert!(default(Kind::Character, 1, minor, Access::USE), "{minor}");
    }
    assert!(default(Kind::Character, 136, 77, Access::USE));
    assert!(default(Kind::Block, 254, 0, Access::MAKE));
    // mem, kmsg, the disk, a rule's number with another kind
    assert!(!default(Kind::Character, 1, 1, Access::USE));
    assert!(!default(Kind::Character, 1, 11, Access::USE));
    assert!(!default(Kind::Block, 254, 0, Access::USE));
    assert!(!default(Kind::Block, 1, 3, Access::USE));
    assert!(!default(Kind::Character, 1, 3, Access(Access::ALL)));
    assert!(!allows(&[], Kind::Character, 1, 3, Access::USE));
}

#[test]
fn a_device_is_known_by_its_file() {
    let null = Rule::of_file(Path::new("/dev/null")).expect("a device");
    assert_eq!(null, character(1, Some(3)));
    for path in ["/", "/nothing"] {
        let error = Rule::of_file(Path::new(path)).expect_err(path).to_string();
        assert!(error.contains(&format!("device file {path}")), "{error}");
    }
}

#[test]
fn the_kernel_takes_the_longest_program() {
    match Filter::new(&[DEFAULT[5]; MAX_RULES]) {
        Err(FilterError::Kernel {
            errno: Errno::EPERM | Errno::ENOSYS | Errno::EINVAL,
            ..
        }) if Filter::new(&[]).is_err() => {
            eprintln!("no BPF for cgroups here: nothing tested");
        }
        other => drop(other.expect("loaded")),
    }
    let error = Filter::new(&[DEFAULT[5]; MAX_RULES + 1]).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "257 rules for devices, at most 256 are possible"
    );
}

#[test]
fn processes_of_the_group_open_what_is_allowed_and_no_more() {
    let filter = Filter::new(&DEFAULT);
    let (Ok(filter), Some(group)) = (filter, Group::new("devices")) else {
        eprintln!("no BPF or no cgroup v2 here: nothing tested");
        return;
    };
    let open = || {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let text =
            "for d in null zero urandom kmsg; do (true < /dev/$d) 2>/dev/null && echo $d; done";
        let arguments = ["sh", "-c", text].map(String::from).to_vec();
        let plan = SpawnPlan {
            cgroup: Some(group.0.directory().expect("a directory")),
            stdout: Some(writer.into()),
            ..SpawnPlan::new("/bin/sh", arguments)
        };
        let spawned = spawn(&plan).expect("started");
        drop(plan);
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("text");
        spawned.pidfd.wait().expect("reaped");
        told
    };
    let before = open();
    filter
        .attach(group.0.directory().expect("a directory"))
        .expect("attached");
    assert_eq!(open(), "null\nzero\nurandom\n", "before: {before}");
    let own = [
        DEFAULT[2],
        Rule::of_file(Path::new("/dev/kmsg")).expect("a device"),
    ];
    let filter = Filter::new(&own).expect("loaded");
    filter
        .attach(group.0.directory().expect("a directory"))
        .expect("attached");
    let expected = if before.contains("kmsg") {
        "null\nkmsg\n"
    } else {
        "null\n"
    };
    assert_eq!(open(), expected, "what is attached later holds alone");
}
