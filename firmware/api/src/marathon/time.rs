//! Marathon's times: `2026-01-31T12:00:00.000Z`, in milliseconds since 1970.
//!
//! Pure; no time zones but UTC. Used for versions of apps, which are times, and for what clients are shown. Invariant: what
//! is written reads back as itself.

const DAY_MS: u64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01.
const SHIFT: u64 = 719_468;
/// Days of 400 years.
const ERA: u64 = 146_097;
/// Year 10000, where the text would have a digit more.
const END_MS: u64 = 253_402_300_800_000;

/// The text of a time.
pub fn write(ms: u64) -> String {
    let ms = ms.min(END_MS - 1);
    let (year, month, day) = date(ms / DAY_MS);
    let (seconds, ms) = (ms % DAY_MS / 1000, ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The time of a text; digits of a second behind the third are cut off. `None`: it is no such text.
pub fn read(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':')?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || fraction.is_empty() {
        return None;
    }
    let ms: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let is_time = hour < 24 && minute < 60 && second < 60;
    let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month) && day >= 1;
    if !is_time || !is_date || day > 31 {
        return None;
    }
    let days = days(year, month, day);
    // A day that its month does not have is another one.
    let seconds = (hour * 60 + minute) * 60 + second;
    (self::date(days) == (year, month, day)).then_some(days * DAY_MS + seconds * 1000 + ms)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let number = |part: &&str| {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit()) && part.len() <= 4;
        part.parse().ok().filter(|_| is_number)
    };
    let numbers: Option<Vec<u64>> = parts.iter().map(number).collect();
    numbers?.try_into().ok()
}

/// Years begin in March here, so that the leap day is the last one.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + year * 365 + year / 4 - year / 100 + of_year - SHIFT
}

fn date(days: u64) -> (u64, u64, u64) {
    let days = days + SHIFT;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_769_860_800_000, "2026-01-31T12:00:00.000Z"),
            (1_798_761_599_999, "2026-12-31T23:59:59.999Z"),
            (END_MS - 1, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(write(ms), text);
            assert_eq!(read(text), Some(ms), "{text}");
        }
        assert_eq!(write(u64::MAX), write(END_MS - 1));
        assert_eq!(read("2026-01-31T12:00:00Z"), Some(1_769_860_800_000));
        assert_eq!(read("2026-01-31T12:00:00.1239Z"), Some(1_769_860_800_123));
        assert_eq!(read("2026-01-31T12:00:00.5Z"), Some(1_769_860_800_500));
    }

    #[test]
    fn every_day_reads_back() {
        for day in (0..END_MS / DAY_MS).step_by(97).chain(0..2000) {
            let text = write(day * DAY_MS);
            assert_eq!(read(&text), Some(day * DAY_MS), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "x",
            "2026-01-31",
            "2026-02-30T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "1969-12-31T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.000",
            "2026-01-01T00:00:+1.000Z",
            "2026-01-01T00:00:00.ä23Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
