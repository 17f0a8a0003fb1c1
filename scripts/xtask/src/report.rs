//! Progress for people: a line that lives on a terminal, plain lines elsewhere.
//!
//! Called by every subcommand. Invariant: without a terminal nothing is overwritten or repeated, so logs stay readable.

use indicatif::{ProgressBar, ProgressStyle};
use nesos_image::builder::Progress;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two frames of the spinner.
const FRAME: Duration = Duration::from_millis(120);

/// Prints steps to standard error.
#[derive(Debug, Default)]
pub(crate) struct Report {
    running: RefCell<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    step: String,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Report {
    /// Runs `work` as the step `step`.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn step<T>(
        &self,
        step: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.begin(step);
        let result = work();
        self.end(if result.is_ok() { "" } else { "FAILED" });
        result
    }
}

impl Progress for Report {
    fn begin(&self, step: &str) {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(step.to_owned());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(FRAME);
            bar
        });
        if bar.is_none() {
            eprintln!("... {step}");
        }
        *self.running.borrow_mut() = Some(Running {
            step: step.to_owned(),
            since: Instant::now(),
            bar,
        });
    }

    fn warn(&self, what: &str) {
        eprintln!("!!! {what}");
    }

    fn end(&self, result: &str) {
        let Some(Running { step, since, bar }) = self.running.borrow_mut().take() else {
            return;
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let gap = if result.is_empty() { "" } else { ": " };
        eprintln!(
            "    {step}{gap}{result} ({:.1} s)",
            since.elapsed().as_secs_f64()
        );
    }
}
