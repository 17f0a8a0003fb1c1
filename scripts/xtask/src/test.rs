//! `cargo xtask test`: every check and every test, counted.
//!
//! Decides order, not content: images before the tests that boot them. Called by `scripts/test`. Invariant: all steps run even after
//! one failed, the last line is `N passed, N failed`, and the exit code is 0 only when nothing failed.

use crate::cross::cargo;
use crate::report::Report;
use crate::tidy;
use anyhow::{Result, ensure};
use nesos_image::builder::Progress;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Flags of the subcommand.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave out what needs images: only checks and host tests
    #[arg(long)]
    fast: bool,
}

/// Sum over all steps; a check counts as one test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    fn one(success: bool) -> Self {
        Self {
            passed: u64::from(success),
            failed: u64::from(!success),
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Test packages that boot an image or need a built board.
const NEED_IMAGES: &str = "nesos-qemu-tests";

/// Runs the subcommand.
///
/// # Errors
/// Something failed; the count was printed.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut total = Count::default();
    total.add(check(root, "format", &["fmt", "--all", "--check"]));
    total.add(check(
        root,
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ],
    ));
    total.add(step("tidy", || tidy::run(root)));
    // Tests of whole clusters start the programs that lie in target/debug.
    total.add(step("programs of the next wire version", || next(root)));
    total.add(check(root, "programs", &["build", "--workspace"]));
    if !arguments.fast {
        total.add(check(
            root,
            "images",
            &["xtask", "image", "--board", "qemu-virt", "--board", "rpi3"],
        ));
    }
    total.add(tests(root, arguments.fast));
    // nextest leaves the examples in the documentation out.
    total.add(check(
        root,
        "examples",
        &["test", "--quiet", "--workspace", "--doc"],
    ));
    println!("{} passed, {} failed", total.passed, total.failed);
    ensure!(total.failed == 0, "{} failed", total.failed);
    Ok(())
}

/// What tests of upgrades start beside the usual programs: the same, but that they speak one wire version more, in
/// target/debug/next. The usual ones, whose places these take while they are made, are built anew by whoever wants them next.
///
/// # Errors
/// They cannot be compiled or copied.
pub(crate) fn next(root: &Path) -> Result<()> {
    let mut arguments = vec!["build", "--features", "nesos-wire/next-version"];
    let programs = ["masterd", "agentd", "nesos-executor", "nesos-fetcher"];
    for program in programs {
        arguments.extend(["--package", program]);
    }
    ensure!(
        cargo(root, &arguments).status()?.success(),
        "the programs of the next wire version cannot be compiled"
    );
    let built = root.join("target/debug");
    let folder = built.join("next");
    std::fs::create_dir_all(&folder)?;
    for program in programs {
        std::fs::copy(built.join(program), folder.join(program))?;
    }
    Ok(())
}

/// The simulation over `seeds` seeds, the first being `from`, in release mode.
///
/// # Errors
/// A seed broke a rule; the simulation printed which.
pub(crate) fn simulate(root: &Path, seeds: u64, from: u64) -> Result<()> {
    let status = cargo(
        root,
        &[
            "test",
            "--release",
            "--package",
            "nesos-sim",
            "--",
            "--nocapture",
        ],
    )
    .env("NESOS_SIM_SEEDS", seeds.to_string())
    .env("NESOS_SIM_FROM", from.to_string())
    .status()?;
    ensure!(status.success(), "the simulation found a broken rule");
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Count {
    let report = Report::default();
    report.begin(name);
    let result = work();
    if let Err(error) = &result {
        eprintln!("{name}: {error:#}");
    }
    report.end(if result.is_ok() { "ok" } else { "FAILED" });
    Count::one(result.is_ok())
}

fn check(root: &Path, name: &str, arguments: &[&str]) -> Count {
    step(name, || {
        let status = cargo(root, arguments).status()?;
        ensure!(status.success(), "`cargo {}` failed", arguments.join(" "));
        Ok(())
    })
}

/// All tests through nextest where it is installed, else through cargo.
fn tests(root: &Path, fast: bool) -> Count {
    let nextest = cargo(root, &["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let filter = format!("not package({NEED_IMAGES})");
    let mut arguments = if nextest.is_ok_and(|status| status.success()) {
        vec![
            "nextest",
            "run",
            "--config-file",
            ".cargo/nextest.toml",
            "--workspace",
            "--no-fail-fast",
        ]
    } else {
        vec!["test", "--workspace", "--no-fail-fast"]
    };
    match (fast, arguments[0]) {
        (true, "nextest") => arguments.extend(["-E", &filter]),
        (true, _) => arguments.extend(["--exclude", NEED_IMAGES]),
        _ => {}
    }
    match run_counted(root, &arguments) {
        Ok(count) => count,
        Err(error) => {
            eprintln!("tests: {error:#}");
            Count::one(false)
        }
    }
}

fn run_counted(root: &Path, arguments: &[&str]) -> Result<Count> {
    // nextest speaks on standard error, libtest on standard output; both are passed on as they come.
    let speaks_on_error = arguments[0] == "nextest";
    let mut command = cargo(root, arguments);
    let mut child = if speaks_on_error {
        command.stderr(Stdio::piped())
    } else {
        command.stdout(Stdio::piped())
    }
    .spawn()?;
    let stream: Box<dyn std::io::Read> = match (child.stderr.take(), child.stdout.take()) {
        (Some(stream), _) => Box::new(stream),
        (_, Some(stream)) => Box::new(stream),
        _ => anyhow::bail!("no output from cargo"),
    };
    let mut total = Count::default();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        eprintln!("{line}");
        // nextest shows what a failed test's own libtest summed up: that is counted already.
        let is_summary = !speaks_on_error || line.trim().starts_with("Summary [");
        if is_summary {
            total.add(summary(&line).unwrap_or_default());
        }
    }
    let status = child.wait()?;
    if !status.success() && total.failed == 0 {
        total.failed = 1;
    }
    ensure!(total.passed + total.failed > 0, "no test ran");
    Ok(total)
}

/// The counts in a summary line of nextest or libtest.
fn summary(line: &str) -> Option<Count> {
    let line = line.trim();
    let ours = line.starts_with("Summary [") || line.starts_with("test result:");
    let number = |word: &str| {
        let words: Vec<_> = line
            .split([' ', ',', ';'])
            .filter(|part| !part.is_empty())
            .collect();
        let at = words.iter().position(|part| *part == word)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    let failed = ["failed", "timed"]
        .iter()
        .filter_map(|word| number(word))
        .sum();
    ours.then(|| {
        Some(Count {
            passed: number("passed")?,
            failed,
        })
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::{Count, summary};

    #[test]
    fn summaries_are_read() {
        let cases = [
            (
                "     Summary [   0.014s] 12 tests run: 12 passed, 0 skipped",
                Some((12, 0)),
            ),
            (
                "     Summary [  10.014s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped",
                Some((9, 3)),
            ),
            (
                "test result: FAILED. 4 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
                Some((4, 1)),
            ),
            ("running 3 tests that passed", None),
        ];
        for (line, expected) in cases {
            assert_eq!(
                summary(line),
                expected.map(|(passed, failed)| Count { passed, failed }),
                "{line}"
            );
        }
    }
}
