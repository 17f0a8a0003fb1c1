//! Output that is bounded: what is kept, what is dropped, and what a task can do about it.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::{Helper, Place, allowed, become_nobody, isolate};
use nesos_wire::executor::{ExecutorSpec, Outcome, OutputLimits};

fn bounded(text: &str, bytes: u64, files: u32, change: impl FnOnce(&mut ExecutorSpec)) -> Helper {
    let place = Place::new();
    let mut spec = place.shell(text);
    spec.output = Some(OutputLimits {
        stdout_bytes: bytes,
        stderr_bytes: 2 * bytes,
        files,
    });
    change(&mut spec);
    let helper = place.start(&spec);
    let outcome = helper.record().outcome;
    assert_eq!(outcome, Outcome::Exit(0), "{}", helper.output("stderr"));
    helper
}

/// What is in the sandbox, by name.
fn files(helper: &Helper) -> Vec<String> {
    let entries = fs::read_dir(helper.place.sandbox()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn full_files_are_turned_over_and_the_oldest_goes() {
    let lines = "i=1000; while [ $i -lt 1900 ]; do echo $i; i=$((i+1)); done";
    let helper = bounded(&format!("{lines}; ({lines}) >&2"), 1000, 3, |_| ());
    let names = [
        "stderr", "stderr.1", "stderr.2", "stdout", "stdout.1", "stdout.2",
    ];
    assert_eq!(files(&helper), names);
    let all: String = (1000..1900).map(|i| format!("{i}\n")).collect();
    for (name, size) in [("stdout", 1000), ("stderr", 2000)] {
        let [old, middle, new] =
            [".2", ".1", ""].map(|number| helper.output(&format!("{name}{number}")));
        assert_eq!((old.len(), middle.len()), (size, size));
        assert!(!new.is_empty() && new.len() <= size);
        assert!(
            all.ends_with(&[old, middle, new].concat()),
            "the last of it, without a gap"
        );
    }
}

#[test]
fn what_fits_is_in_one_file() {
    let helper = bounded("printf 0123456789; echo told >&2", 10, 2, |_| ());
    assert_eq!(files(&helper), ["stderr", "stdout"]);
    assert_eq!(
        (
            helper.output("stdout").as_str(),
            helper.output("stderr").as_str()
        ),
        ("0123456789", "told\n")
    );
}

#[test]
fn a_single_file_begins_anew() {
    let helper = bounded("printf 0123456789; printf abc", 10, 1, |_| ());
    assert_eq!(files(&helper), ["stderr", "stdout"]);
    assert_eq!(helper.output("stdout"), "abc");
}

#[test]
fn much_output_from_many_processes_is_bounded_and_ends() {
    let text = "for n in 1 2 3; do head -c 20000000 /dev/zero & done; wait; echo; echo end";
    let helper = bounded(text, 100_000, 2, |_| ());
    let sizes = ["stdout", "stdout.1"].map(|name| helper.output(name).len());
    assert!(sizes[0] <= 100_000 && sizes[1] == 100_000, "{sizes:?}");
    let end = [helper.output("stdout.1"), helper.output("stdout")].concat();
    assert!(end.ends_with("\0\nend\n"));
}

#[test]
fn no_link_leads_the_output_out() {
    let text = "rm stdout stderr; ln -s ../run/outside stdout; mkdir stderr; mkdir stdout.1; touch stdout.1/x; \
        echo 0123456789abcdef; echo more; echo lost >&2";
    let helper = bounded(text, 8, 2, |_| ());
    assert!(!helper.place.run().join("outside").exists());
    assert_eq!(files(&helper), ["stderr", "stdout", "stdout.1"]);
}

#[test]
fn a_task_with_files_and_a_user_of_its_own_writes_as_ever() {
    if !allowed() {
        return;
    }
    let text = "echo one > /dev/stdout; echo two >> /proc/self/fd/1; echo 0123456789; echo err > /dev/stderr";
    let helper = bounded(text, 12, 2, |spec| {
        isolate(spec, true);
        become_nobody(spec);
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(&spec.sandbox, open).unwrap();
    });
    assert_eq!(helper.output("stderr"), "err\n");
    let kept = [helper.output("stdout.1"), helper.output("stdout")].concat();
    assert_eq!(kept, "one\ntwo\n0123456789\n");
    let owner = |name: &str| {
        let file = fs::metadata(helper.place.sandbox().join(name)).unwrap();
        std::os::unix::fs::MetadataExt::uid(&file)
    };
    let nobody = nesos_sys::user::lookup("nobody").unwrap().uid;
    assert_eq!(["stdout", "stdout.1", "stderr"].map(owner), [nobody; 3]);
}
