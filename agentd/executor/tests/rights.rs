//! What a task is left with: capabilities, new privileges, system calls, limits. Needs root (CAP_SYS_ADMIN); elsewhere these
//! tests say so and pass, and tests/qemu has the same in a guest.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Place, allowed, become_nobody, isolate};
use nesos_wire::executor::{ExecutorSpec, Outcome};
use nesos_wire::rights::{ResourceLimit, Rights};

/// CAP_CHOWN, CAP_KILL.
const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;

fn told(text: &str, rights: Rights, change: impl FnOnce(&mut ExecutorSpec)) -> String {
    let place = Place::new();
    let mut spec = ExecutorSpec {
        rights,
        ..place.shell(text)
    };
    isolate(&mut spec, true);
    change(&mut spec);
    let helper = place.start(&spec);
    let outcome = helper.record().outcome;
    assert_eq!(outcome, Outcome::Exit(0), "{}", helper.output("stderr"));
    helper.output("stdout")
}

/// The sets of a process, of those that begin like this.
const SETS: &str =
    "grep -E '^Cap(Prm|Eff|Bnd|Amb)|^NoNewPrivs|^Seccomp:' /proc/self/status | tr -d '\\t'";

#[test]
fn root_is_bounded() {
    if !allowed() {
        return;
    }
    let rights = Rights {
        bounding: Some(CHOWN | KILL),
        no_new_privileges: true,
        is_filtered: true,
        ..Rights::default()
    };
    let sets = told(SETS, rights, |_| ());
    assert_eq!(
        sets,
        "CapPrm:0000000000000021\nCapEff:0000000000000021\nCapBnd:0000000000000021\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n"
    );
}

#[test]
fn a_user_keeps_what_it_is_given() {
    if !allowed() {
        return;
    }
    let rights = Rights {
        bounding: Some(CHOWN | KILL),
        effective: Some(KILL),
        ..Rights::default()
    };
    let sets = told(SETS, rights, become_nobody);
    assert_eq!(
        sets,
        "CapPrm:0000000000000020\nCapEff:0000000000000020\nCapBnd:0000000000000021\nCapAmb:0000000000000020\nNoNewPrivs:0\nSeccomp:0\n"
    );
}

#[test]
fn the_filter_refuses_and_lets_live() {
    if !allowed() {
        return;
    }
    let rights = Rights {
        is_filtered: true,
        ..Rights::default()
    };
    // With all capabilities, so that nothing else refuses.
    let text = "mkdir m; mount -t tmpfs none m || echo refused; unshare -u true || echo refused; unshare -U true || echo refused; \
         mount --bind / m || echo refused; sh -c 'echo alive & wait'";
    let lines = told(text, rights, |_| ());
    assert_eq!(lines, "refused\nrefused\nrefused\nrefused\nalive\n");
}

#[test]
fn nothing_of_the_helper_is_reached_through_proc() {
    if !allowed() {
        return;
    }
    let rights = Rights {
        bounding: Some(CHOWN | KILL),
        ..Rights::default()
    };
    let text = "for f in cwd/spec root/etc/passwd environ fd/0 mem; do cat /proc/1/$f 2>/dev/null && echo reached $f; done; exit 0";
    assert_eq!(told(text, rights, |_| ()), "");
}

#[test]
fn limits_are_set() {
    if !allowed() {
        return;
    }
    let limits = vec![
        ResourceLimit {
            resource: 7,
            soft: 40,
            hard: 50,
        },
        ResourceLimit {
            resource: 4,
            soft: 0,
            hard: 0,
        },
    ];
    let rights = Rights {
        limits,
        ..Rights::default()
    };
    assert_eq!(
        told("ulimit -Sn; ulimit -Hn; ulimit -c", rights, |_| ()),
        "40\n50\n0\n"
    );
}
