//! The calendar: days since 1970 and years, months and days, and times as text.
//!
//! Proleptic Gregorian, no leap seconds, no time zone database: boards have none, and schedules say UTC or an offset. Called by
//! `schedule` and by those who show times. Invariant: whatever fits the types neither overflows nor panics.

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 86_400_000;
/// The last millisecond of the year 9999: what has no four digits cannot be written.
pub(super) const LAST_MS: i64 = 253_402_300_799_999;

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    /// From 1.
    pub(super) day: i64,
}

impl Date {
    /// A date that is there in the calendar, of the years 1 to 9999.
    pub(super) fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let is_there = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day);
        is_there.then_some(Self { year, month, day })
    }

    /// The date so many days after 1970-01-01. Counts in eras of 400 years that begin in March, so that the odd day is the last.
    pub(super) fn from_days(days: i64) -> Self {
        let days = days + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        Self {
            year: year + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    /// Days since 1970-01-01.
    pub(super) fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (self.month + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + self.day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// The same day so many months later; the month's last one if it is not there.
    pub(super) fn plus_months(self, months: i64) -> Self {
        let total = self.year * 12 + self.month - 1 + months;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
        Self {
            year,
            month,
            day: self.day.min(days_of(year, month)),
        }
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Milliseconds since 1970 as Chronos and Marathon write them: `2026-01-31T12:00:00.000Z`. What is beyond the year 9999 is its
/// end.
pub fn timestamp(wall_ms: u64) -> String {
    timestamp_at(wall_ms, 0)
}

/// The same as a clock shows it that is so many seconds ahead of UTC.
pub(super) fn timestamp_at(wall_ms: u64, offset_s: i32) -> String {
    let utc = i64::try_from(wall_ms).unwrap_or(LAST_MS).min(LAST_MS);
    let local = utc.saturating_add(i64::from(offset_s) * 1000).min(LAST_MS);
    let Date { year, month, day } = Date::from_days(local.div_euclid(DAY_MS));
    let ms = local.rem_euclid(DAY_MS);
    let (s, ms) = (ms / 1000, ms % 1000);
    let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
    let zone = match offset_s {
        0 => "Z".to_owned(),
        ahead => {
            let sign = if ahead < 0 { '-' } else { '+' };
            let minutes = ahead.unsigned_abs() / 60;
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_that_are_known() {
        for (days, (year, month, day)) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_484, (2026, 1, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            let date = Date { year, month, day };
            assert_eq!((Date::from_days(days), date.days()), (date, days));
        }
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_769_860_800_123), "2026-01-31T12:00:00.123Z");
        assert_eq!(
            timestamp_at(1_769_860_800_000, -19_800),
            "2026-01-31T06:30:00.000-05:30"
        );
        assert_eq!(timestamp(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn months_have_a_last_day() {
        let date = |year, month, day| Date::new(year, month, day);
        let start = Date {
            year: 2026,
            month: 1,
            day: 31,
        };
        assert_eq!(Some(start.plus_months(1)), date(2026, 2, 28));
        assert_eq!(Some(start.plus_months(2)), date(2026, 3, 31));
        assert_eq!(Some(start.plus_months(25)), date(2028, 2, 29));
        assert_eq!(date(2026, 2, 29), None);
        assert_eq!(date(2026, 13, 1), None);
        assert_eq!(date(1900, 2, 29), None);
    }

    proptest! {
        #[test]
        fn each_day_is_one_date_and_the_next_day_the_next(days in -719_162_i64..2_932_896) {
            let date = Date::from_days(days);
            prop_assert_eq!(date.days(), days);
            prop_assert_eq!(Date::new(date.year, date.month, date.day), Some(date));
            let next = Date::from_days(days + 1);
            let follows = (next.day == date.day + 1 && next.month == date.month)
                || (next.day == 1 && date.plus_months(1).month == next.month);
            prop_assert!(follows, "{:?} {:?}", date, next);
        }
    }
}
