//! Schedules, moments and durations as text.
//!
//! ISO 8601 as Chronos takes it: extended dates with or without time and zone, whole or broken seconds. Called by the shell
//! through [`Schedule::parse`]. Invariant: what is refused is refused with a sentence that names the field.

use super::civil::{DAY_MS, Date, LAST_MS};
use super::{Period, Schedule};

/// Most of anything in a duration: ten thousand years of days, and sums of them fit.
const MAX_NUMBER: u64 = 3_660_000;
/// Most milliseconds in a duration, a thousand years: later than that no board is.
const MAX_DURATION_MS: u64 = 366_000 * DAY_MS as u64;
/// Most months in a duration, as many.
const MAX_MONTHS: u64 = 12_000;
/// Shortest step of what is repeated, milliseconds: a start writes to the registry, which is on an SD card.
const MIN_PERIOD_MS: u64 = 1000;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // The sentences say it.
pub enum ScheduleError {
    #[error(
        "schedule: expected R[n]/[start]/period such as R5/2026-01-31T12:00:00Z/PT1H, not {0:?}"
    )]
    Shape(String),
    #[error("schedule: expected a number of repetitions after R, or none for ever, not {0:?}")]
    Repetitions(String),
    #[error("schedule: expected a start such as 2026-01-31T12:00:00Z, or none for now, not {0:?}")]
    Start(String),
    #[error("schedule: the start {0} is before 1970 or after 9999")]
    Time(String),
    #[error(
        "schedule: expected a period such as P1M, P1DT12H or PT5S, of at most a thousand years, not {0:?}"
    )]
    Period(String),
    #[error("schedule: the period {0} is shorter than a second, and it is to be repeated")]
    Short(String),
    #[error(
        "scheduleTimeZone: expected UTC, Z or an offset such as +02:00, not {0:?}: boards know no other time zones"
    )]
    Zone(String),
}

impl Schedule {
    /// Reads `R[n]/[start]/period`. No start means `now_ms`, milliseconds since 1970; `zone` is where the start's clock is,
    /// whatever the start itself says, unless it is empty.
    ///
    /// # Errors
    /// The text is no schedule, or names a time zone that is not UTC or an offset.
    pub fn parse(text: &str, zone: &str, now_ms: u64) -> Result<Self, ScheduleError> {
        let shape = || ScheduleError::Shape(text.to_owned());
        let mut parts = text.trim().splitn(3, '/');
        let (Some(count), Some(start), Some(period)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        let count = count.strip_prefix('R').ok_or_else(shape)?;
        let repetitions = match count {
            "" => None,
            count => {
                Some(digits(count).ok_or_else(|| ScheduleError::Repetitions(count.to_owned()))?)
            }
        };
        let zone = match zone.trim() {
            "" => None,
            zone => Some(offset(zone).ok_or_else(|| ScheduleError::Zone(zone.to_owned()))?),
        };
        let (start, offset_s) = match start {
            "" => (now_ms, zone.unwrap_or(0)),
            start => moment(start, zone)?,
        };
        let period = period_of(period).ok_or_else(|| ScheduleError::Period(period.to_owned()))?;
        let is_repeated = repetitions.is_none_or(|count| count > 1);
        if is_repeated && period.months == 0 && period.ms < MIN_PERIOD_MS {
            return Err(ScheduleError::Short(period.text));
        }
        Ok(Self {
            repetitions,
            start,
            offset_s,
            period,
        })
    }
}

/// A duration such as `PT15M` in milliseconds, a month being 30 days and a year 365: for how late something may be.
pub fn duration_ms(text: &str) -> Option<u64> {
    let period = period_of(text.trim())?;
    let months = u64::from(period.months);
    let days = months / 12 * 365 + months % 12 * 30;
    Some(period.ms + days * DAY_MS as u64)
}

/// A moment such as `2026-01-31T12:00:00.000Z`, milliseconds since 1970.
pub fn moment_ms(text: &str) -> Option<u64> {
    moment(text, None).ok().map(|(at, _)| at)
}

/// A moment, and how far its clock is ahead of UTC.
fn moment(text: &str, zone: Option<i32>) -> Result<(u64, i32), ScheduleError> {
    let (local, own) = local(text).ok_or_else(|| ScheduleError::Start(text.to_owned()))?;
    let offset_s = zone.or(own).unwrap_or(0);
    let utc = local - i64::from(offset_s) * 1000;
    match u64::try_from(utc) {
        Ok(utc) if local <= LAST_MS => Ok((utc, offset_s)),
        _ => Err(ScheduleError::Time(text.to_owned())),
    }
}

/// What a clock shows, as milliseconds since it showed 1970, and its zone if that is said.
fn local(text: &str) -> Option<(i64, Option<i32>)> {
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    let mut parts = date.split('-');
    let mut part = |length| number(parts.next()?, length);
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if parts.next().is_some() {
        return None;
    }
    let days = Date::new(year, month, day)?.days();
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let zone = match zone {
        "" => None,
        zone => Some(offset(zone)?),
    };
    let ms = if time.is_empty() { 0 } else { clock_ms(clock)? };
    Some((days * DAY_MS + ms, zone))
}

/// `12`, `12:30`, `12:30:15`, `12:30:15.25`; 24:00 is not a time.
fn clock_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let mut parts = whole.split(':');
    let hour = number(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let mut sixtieth = || match parts.next() {
        None => Some(None),
        Some(part) => number(part, 2).filter(|part| *part < 60).map(Some),
    };
    let (minute, second) = (sixtieth()?, sixtieth()?);
    if parts.next().is_some() || (fraction.is_some() && second.is_none()) {
        return None;
    }
    let ms = match fraction {
        Some(fraction) => i64::try_from(thousandths(fraction)?).ok()?,
        None => 0,
    };
    Some(((hour * 60 + minute.unwrap_or(0)) * 60 + second.unwrap_or(0)) * 1000 + ms)
}

/// `UTC`, `Z`, `+02:00`, `-0530`, `GMT+2`: how many seconds ahead of UTC.
fn offset(text: &str) -> Option<i32> {
    let names = ["UTC", "GMT", "Etc/UTC", "Etc/GMT", "Z", "z"];
    if names.contains(&text) {
        return Some(0);
    }
    let text = text.strip_prefix("UTC").unwrap_or(text);
    let text = text.strip_prefix("GMT").unwrap_or(text);
    let (sign, text) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match text.split_once(':') {
        Some(pair) => pair,
        None if text.len() == 4 => text.split_at_checked(2)?,
        None => (text, "00"),
    };
    let hours = number(hours, 2).or_else(|| number(hours, 1))?;
    let minutes = number(minutes, 2).filter(|minutes| *minutes < 60)?;
    let seconds = i32::try_from((hours * 60 + minutes) * 60).ok()?;
    // No place on earth is further from Greenwich.
    (seconds <= 18 * 3600).then_some(sign * seconds)
}

/// `P1Y2M3W4DT5H6M7.5S`: each part at most once and in this order, at least one.
fn period_of(text: &str) -> Option<Period> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if rest.is_empty() {
        return None;
    }
    let day = DAY_MS as u64;
    let [years, months, weeks, days] = amounts(date, ["Y", "M", "W", "D"])?;
    let [hours, minutes, seconds] = amounts(time, ["H", "M", "S"])?;
    let whole = |ms: u64| ms.is_multiple_of(1000).then_some(ms / 1000);
    let months = whole(years)? * 12 + whole(months)?;
    let ms = (whole(weeks)? * 7 + whole(days)?) * day
        + whole(hours)? * 3_600_000
        + whole(minutes)? * 60_000
        + seconds;
    let fits = months <= MAX_MONTHS && ms <= MAX_DURATION_MS;
    fits.then_some(Period {
        months: u32::try_from(months).ok()?,
        ms,
        text: text.to_owned(),
    })
}

/// The thousandths of what stands before each unit; nothing means 0.
fn amounts<const N: usize>(mut text: &str, units: [&str; N]) -> Option<[u64; N]> {
    let mut amounts = [0; N];
    for (amount, unit) in amounts.iter_mut().zip(units) {
        let Some((before, after)) = text.split_once(unit) else {
            continue;
        };
        let (whole, fraction) = match before.split_once(['.', ',']) {
            Some((whole, fraction)) => (whole, thousandths(fraction)?),
            None => (before, 0),
        };
        let whole = digits(whole).filter(|whole| *whole <= MAX_NUMBER)?;
        *amount = whole * 1000 + fraction;
        text = after;
    }
    text.is_empty().then_some(amounts)
}

/// The first three digits behind the point.
fn thousandths(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let three: String = text.chars().chain("00".chars()).take(3).collect();
    is_number.then(|| digits(&three)).flatten()
}

fn number(text: &str, length: usize) -> Option<i64> {
    let number = digits(text).filter(|_| text.len() == length)?;
    i64::try_from(number).ok()
}

fn digits(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}
