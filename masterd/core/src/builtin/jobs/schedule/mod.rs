//! When a job is to start by itself: so often, from then on, in such steps (ISO 8601, `R5/2026-01-31T12:00:00Z/PT1H`).
//!
//! Arithmetic only; how far a job is stands in its progress. Called by the jobs and by the shell, which reads and shows the
//! text. Invariants: each occurrence is counted from the first one, so that the end of January plus one month each stays the
//! end of months; finding one takes as long whether none or a million were missed.

mod civil;
#[cfg(test)]
mod tests;
mod text;

use civil::{DAY_MS, Date, LAST_MS};

pub use civil::timestamp;
pub use text::{ScheduleError, duration_ms, moment_ms};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// How often; none: for ever.
    repetitions: Option<u64>,
    /// The first occurrence, milliseconds since 1970.
    start: u64,
    /// How far its clock is ahead of UTC, seconds: months begin there.
    offset_s: i32,
    period: Period,
}

/// The step from one occurrence to the next: months first, then the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Period {
    months: u32,
    ms: u64,
    /// As it was written: `PT60M` is not made `PT1H`.
    text: String,
}

/// No month is shorter, milliseconds.
const SHORTEST_MONTH_MS: u64 = 28 * DAY_MS as u64;

impl Schedule {
    /// How often it is to start; none: for ever.
    pub fn repetitions(&self) -> Option<u64> {
        self.repetitions
    }

    /// When it is to start first, milliseconds since 1970.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The first occurrence after `wall_ms`, milliseconds since 1970; none before the year 10000: none.
    pub fn after(&self, wall_ms: u64) -> Option<u64> {
        if self.start > wall_ms {
            return Some(self.start);
        }
        let shortest = u64::from(self.period.months) * SHORTEST_MONTH_MS + self.period.ms;
        if shortest == 0 {
            return None;
        }
        // Between these two is the number of the first one that is later.
        let (mut early, mut late) = (0, (wall_ms - self.start) / shortest + 1);
        while late - early > 1 {
            let middle = early + (late - early) / 2;
            match self.occurrence(middle) {
                Some(at) if at <= wall_ms => early = middle,
                _ => late = middle,
            }
        }
        self.occurrence(late)
    }

    /// The text that says the same from `next` on: what is shown of a job under way.
    pub fn text(&self, remaining: Option<u64>, next: u64) -> String {
        let count = remaining.map_or(String::new(), |count| count.to_string());
        let next = civil::timestamp_at(next, self.offset_s);
        format!("R{count}/{next}/{}", self.period.text)
    }

    /// The occurrence with this number, from 0.
    fn occurrence(&self, number: u64) -> Option<u64> {
        let number = i64::try_from(number).ok()?;
        let offset = i64::from(self.offset_s) * 1000;
        let local = i64::try_from(self.start).ok()?.checked_add(offset)?;
        let months = i64::from(self.period.months).checked_mul(number)?;
        if months > 12 * 9999 {
            return None;
        }
        let date = Date::from_days(local.div_euclid(DAY_MS)).plus_months(months);
        let ms = i64::try_from(self.period.ms).ok()?.checked_mul(number)?;
        let time = local.rem_euclid(DAY_MS);
        let local = (date.days() * DAY_MS + time).checked_add(ms)?;
        let at = local - offset;
        (at <= LAST_MS).then(|| u64::try_from(at).ok()).flatten()
    }
}
