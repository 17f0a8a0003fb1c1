//! How long the engine's work takes: the newest times of each kind, for metrics.
//!
//! Written by the loop, read by the handlers of metrics. Invariant: at most [`MAX_TIMES`] of a kind are kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use masterd_core::{Master, Ready};
use nesos_shell::http::metrics::Values;

/// Times of a kind that are kept, as many as in Mesos; 4 kB.
const MAX_TIMES: usize = 1000;

/// What is shown of a kind, beside the newest.
const PARTS: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
];

/// The times of each kind.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Reading the registry at the start.
    pub(crate) fetch: Window,
    /// Writing a batch of changes to the registry.
    pub(crate) store: Window,
    /// Dividing what is free.
    pub(crate) run: Window,
    /// From the oldest event of a batch to the run that takes account of it.
    pub(crate) latency: Window,
    /// Changes of the registry that the disk has refused so far.
    queued: AtomicU64,
    /// Bytes of the registry's keys and values.
    size: AtomicU64,
    /// How often something of the log was made durable.
    flushes: AtomicU64,
}

/// The newest times of one kind, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Window(Mutex<VecDeque<f32>>);

impl Times {
    /// What the master wants, with a note of how long its allocator took if it ran. The oldest event it has not answered
    /// came at `since`.
    pub(crate) fn ready(&self, master: &mut Master, since: Option<Instant>) -> Ready {
        let runs = master.metrics().allocation_runs;
        let start = Instant::now();
        let ready = master.ready();
        if master.metrics().allocation_runs > runs {
            self.run.note(start.elapsed());
            let waited = since.map(|since| start.duration_since(since));
            self.latency.note(waited.unwrap_or_default());
        }
        ready
    }

    /// How much of the registry waits, and how large it is.
    pub(crate) fn registry(&self, queued: usize, size: u64) {
        self.queued.store(queued as u64, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
    }

    /// How often something of the log was made durable.
    pub(crate) fn flushes(&self, count: u64) {
        self.flushes.store(count, Ordering::Relaxed);
    }

    /// Adds all of it by Mesos's names, where Mesos has it.
    pub(crate) fn fill(&self, values: &mut Values) {
        self.fetch.fill("registrar/state_fetch_ms", values);
        self.store.fill("registrar/state_store_ms", values);
        self.run.fill("allocator/mesos/allocation_run_ms", values);
        let latency = "allocator/mesos/allocation_run_latency_ms";
        self.latency.fill(latency, values);
        for (name, value) in [
            ("queued_operations", &self.queued),
            ("registry_size_bytes", &self.size),
        ] {
            let value = value.load(Ordering::Relaxed) as f64;
            values.insert(format!("registrar/{name}"), value);
        }
        let flushes = self.flushes.load(Ordering::Relaxed) as f64;
        values.insert("nesos/log_flushes".into(), flushes);
    }
}

impl Window {
    /// One more.
    pub(crate) fn note(&self, time: Duration) {
        let mut times = self.lock();
        if times.len() == MAX_TIMES {
            times.pop_front();
        }
        times.push_back(time.as_secs_f32() * 1e3);
    }

    /// The newest; with two or more also how they are spread, as in Mesos.
    fn fill(&self, name: &str, values: &mut Values) {
        let mut times: Vec<f32> = self.lock().iter().copied().collect();
        let Some(newest) = times.last().copied() else {
            return;
        };
        values.insert(name.to_owned(), f64::from(newest));
        if times.len() < 2 {
            return;
        }
        times.sort_unstable_by(f32::total_cmp);
        let mut put = |part: &str, value: f64| values.insert(format!("{name}/{part}"), value);
        put("count", times.len() as f64);
        put("min", between(&times, 0.0));
        put("max", between(&times, 1.0));
        for (part, share) in PARTS {
            put(part, between(&times, share));
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<f32>> {
        // Numbers are whole at any moment, so a panic elsewhere does not spoil them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value below which this share of sorted times lies, on the line between its neighbours.
fn between(times: &[f32], share: f64) -> f64 {
    let at = share * times.len().saturating_sub(1) as f64;
    let value = |at: f64| times.get(at as usize).map_or(0.0, |time| f64::from(*time));
    let (low, high) = (value(at.floor()), value(at.ceil()));
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(times: impl IntoIterator<Item = u64>) -> Values {
        let window = Window::default();
        for time in times {
            window.note(Duration::from_millis(time));
        }
        let mut values = Values::new();
        window.fill("t", &mut values);
        values
    }

    #[test]
    fn the_newest_is_shown_and_the_spread_from_two_on() {
        assert_eq!(filled([]), Values::new());
        assert_eq!(filled([7]), Values::from([("t".to_owned(), 7.0)]));
        let values = filled([30, 10, 20]);
        for (name, value) in [
            ("t", 20.0),
            ("t/count", 3.0),
            ("t/min", 10.0),
            ("t/max", 30.0),
            ("t/p50", 20.0),
            ("t/p90", 28.0),
        ] {
            assert_eq!(values.get(name), Some(&value), "{name}");
        }
    }

    #[test]
    fn old_times_make_room() {
        let values = filled(0..5000);
        let shown = |name| values.get(name).copied();
        assert_eq!(shown("t/count"), Some(MAX_TIMES as f64));
        assert_eq!(shown("t/min"), Some(4000.0));
        assert_eq!(shown("t/p9999").map(f64::round), Some(4999.0));
    }
}
