//! Log events of a daemon: to standard error, and to the journal's socket when there is one; only to the socket if
//! standard error ends in the journal anyway.
//!
//! Not a log store: on a board init keeps the journal; only the newest lines stay in memory ([`recent`]). Called once by
//! `main`. The journal socket may appear later than the daemon, so it is looked for again now and then; while nothing listens there, events only go to standard error.

pub mod recent;
mod toggle;

use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

pub use toggle::Toggle;

/// How long to go without the journal before looking for its socket again.
const RETRY: Duration = Duration::from_secs(2);

/// How much is logged (Mesos's `--logging_level` takes INFO, WARNING, ERROR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(LevelFilter);

impl Level {
    /// The names that [`parse`](Self::parse) takes, for help texts.
    pub const NAMES: &str = "DEBUG, INFO, WARNING or ERROR";

    /// Reads a level's name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(match text.to_ascii_lowercase().as_str() {
            "trace" => LevelFilter::TRACE,
            "debug" => LevelFilter::DEBUG,
            "info" => LevelFilter::INFO,
            "warning" | "warn" => LevelFilter::WARN,
            "error" => LevelFilter::ERROR,
            _ => return None,
        }))
    }
}

/// What the flags say, and how far beyond that logging goes for the moment.
static BASE: AtomicU8 = AtomicU8::new(1);
static VERBOSITY: AtomicU32 = AtomicU32::new(0);

/// From quiet to loud; the index is what [`BASE`] holds.
const LEVELS: [LevelFilter; 5] = [
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// How many levels more than the flags say are logged.
pub fn verbosity() -> u32 {
    VERBOSITY.load(Ordering::Relaxed)
}

/// Logs so many levels more than the flags say, from now on.
pub fn set_verbosity(more: u32) {
    VERBOSITY.store(more, Ordering::Relaxed);
    // Every place that logs remembers whether it is on.
    tracing::callsite::rebuild_interest_cache();
}

fn current() -> LevelFilter {
    let base = u32::from(BASE.load(Ordering::Relaxed));
    let index = base.saturating_add(verbosity()) as usize;
    LEVELS[index.min(LEVELS.len() - 1)]
}

/// Makes log events of this process visible from now on. A second call changes nothing.
pub fn init(program: &'static str, level: Level) {
    let base = LEVELS.iter().position(|known| *known == level.0);
    BASE.store(base.unwrap_or_default() as u8, Ordering::Relaxed);
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false);
    let stderr = (!stderr_is_journal()).then_some(stderr);
    let journal = Journal {
        program,
        state: Mutex::new(State::Missing { looked: None }),
    };
    let recent = tracing_subscriber::fmt::layer()
        .with_writer(recent::Writer)
        .with_ansi(false)
        .with_target(false);
    // Fails only if a subscriber is set already, in tests.
    let _ = tracing_subscriber::registry()
        .with(Switch)
        .with(stderr)
        .with(recent)
        .with(journal)
        .try_init();
}

/// True if standard error is what JOURNAL_STREAM (`device:inode`, as systemd and init set it) says the journal reads.
/// A task inherits the variable but not the stream, hence the comparison.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// Lets events of the current level through. Spans are switched off: tracing-journald panics on an event inside a span
/// that it did not see begin.
struct Switch;

impl<S: Subscriber> Layer<S> for Switch {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && *metadata.level() <= current() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= current()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(current())
    }
}

struct Journal {
    program: &'static str,
    state: Mutex<State>,
}

enum State {
    Missing {
        looked: Option<tokio::time::Instant>,
    },
    Open(Box<tracing_journald::Layer>),
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // A poisoned lock means that a log call panicked: logging must not panic again.
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if let State::Missing { looked } = &*state {
            if looked.is_some_and(|at| at.elapsed() < RETRY) {
                return;
            }
            match tracing_journald::layer() {
                Ok(layer) => {
                    let layer = layer.with_syslog_identifier(self.program.into());
                    *state = State::Open(Box::new(layer));
                }
                Err(_) => {
                    *state = State::Missing {
                        looked: Some(tokio::time::Instant::now()),
                    }
                }
            }
        }
        if let State::Open(layer) = &*state {
            layer.on_event(event, context);
        }
    }
}
