//! How long runs took, and the last ones of a job. Remembered since this master leads.
//!
//! Called by `chronos`. Invariant: a percentile is a duration that was there.

use masterd_core::builtin::jobs::{Job, Jobs, OutcomeKind, timestamp};
use serde_json::{Value, json};

use super::Reply;

const PERCENTILES: [(&str, u64); 5] = [
    ("75thPercentile", 75),
    ("95thPercentile", 95),
    ("98thPercentile", 98),
    ("99thPercentile", 99),
    ("median", 50),
];

/// `job/stat/NAME`
pub(super) fn of_job(jobs: &Jobs, name: &str, wall_ms: u64) -> Reply {
    let Some(job) = jobs.get(name) else {
        return Reply::invalid(format!("job {name:?} not found"));
    };
    let durations = sorted(job);
    let mut histogram = json!({"mean": mean(&durations), "count": durations.len()});
    for (key, percent) in PERCENTILES {
        histogram[key] = percentile(&durations, percent).into();
    }
    let running = job.running().map(|(task, since, elements)| {
        let duration = span(wall_ms.saturating_sub(since));
        let mut shown = json!({
            "taskId": task.as_str(),
            "jobName": name,
            "slaveId": "",
            "startTime": time(since),
            "endTime": "N/A",
            "duration": duration,
            "status": "Running",
        });
        add_elements(&mut shown, elements);
        shown
    });
    let ended = job.ends().rev().map(|end| {
        let status = match end.outcome.kind {
            OutcomeKind::Finished => "Success",
            _ => "Fail",
        };
        let agent = end.outcome.agent.as_ref();
        let mut shown = json!({
            "taskId": end.task.as_str(),
            "jobName": name,
            "slaveId": agent.map_or("", |agent| agent.as_str()),
            "startTime": time(end.started),
            "endTime": time(end.ended),
            "duration": span(end.ended.saturating_sub(end.started)),
            "status": status,
            "attempt": end.attempt,
            "message": end.outcome.message,
        });
        add_elements(&mut shown, end.elements);
        shown
    });
    let history: Vec<Value> = running.chain(ended).collect();
    Reply::Json(json!({"histogram": histogram, "taskStatHistory": history}))
}

/// `stats/WHICH`: seconds of each job, longest first; none if there is no such figure.
pub(super) fn of_all(jobs: &Jobs, which: &str) -> Reply {
    let percent = PERCENTILES.iter().find(|(key, _)| *key == which);
    let figure = |job: &Job| match (which, percent) {
        ("mean", _) => Some(mean(&sorted(job))),
        (_, Some((_, percent))) => Some(percentile(&sorted(job), *percent) as f64),
        _ => None,
    };
    let times = jobs
        .iter()
        .filter_map(|(name, job)| Some((name, figure(job)?)));
    let mut times: Vec<(&str, f64)> = times.collect();
    times.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shown = |(name, ms): (&str, f64)| json!({"jobNameLabel": name, "time": ms / 1000.0});
    Reply::Json(times.into_iter().map(shown).collect())
}

fn add_elements(shown: &mut Value, elements: Option<u64>) {
    if let Some(elements) = elements {
        shown["numElementsProcessed"] = elements.into();
    }
}

fn sorted(job: &Job) -> Vec<u64> {
    let mut durations: Vec<u64> = job.durations().collect();
    durations.sort_unstable();
    durations
}

/// The duration that so many of a hundred did not exceed, milliseconds.
fn percentile(sorted: &[u64], percent: u64) -> u64 {
    let rank = (sorted.len() as u64 * percent).div_ceil(100).max(1);
    let at = usize::try_from(rank - 1).unwrap_or(usize::MAX);
    sorted.get(at).copied().unwrap_or(0)
}

fn mean(durations: &[u64]) -> f64 {
    let sum: u64 = durations.iter().sum();
    sum as f64 / durations.len().max(1) as f64
}

/// `01/31/26 12:00:00`, Chronos's form of a time.
fn time(wall_ms: u64) -> String {
    let text = timestamp(wall_ms);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!(
        "{}/{}/{} {}",
        part(5, 7),
        part(8, 10),
        part(2, 4),
        part(11, 19)
    )
}

/// `1h2m5s`: what is nothing is left out, seconds are not.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let text: String = parts
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    format!("{text}{}s", seconds % 60)
}
