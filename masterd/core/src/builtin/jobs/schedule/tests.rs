//! Tests of schedules: texts, and the property that stepping one by one finds the same as the search.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// 2026-01-31T12:00:00Z
const NOON: u64 = 1_769_860_800_000;
const DAY: u64 = DAY_MS as u64;

fn parse(text: &str) -> Schedule {
    Schedule::parse(text, "", NOON).unwrap()
}

fn error(text: &str, zone: &str) -> String {
    Schedule::parse(text, zone, NOON).unwrap_err().to_string()
}

#[test]
fn what_chronos_takes_is_taken() {
    for (text, repetitions, start) in [
        ("R/2026-01-31T12:00:00Z/PT5S", None, NOON),
        (
            "R5/2026-01-31T12:00:00.000Z/P1Y2M3W4DT5H6M7S",
            Some(5),
            NOON,
        ),
        ("R1//PT24H", Some(1), NOON),
        ("R0/2026-01-31T12:00:00Z/PT0S", Some(0), NOON),
        ("R/2026-01-31T13:30:00+01:30/P1M", None, NOON),
        ("R/2026-01-31T07:00-05:00/P1M", None, NOON),
        ("R/2026-01-31T12/P1W", None, NOON),
        ("R/2026-01-31/P1D", None, NOON - DAY / 2),
        ("R/2026-01-31T12:00:00.25Z/PT1.5S", None, NOON + 250),
    ] {
        let schedule = parse(text);
        assert_eq!(schedule.repetitions(), repetitions, "{text}");
        assert_eq!(schedule.start(), start, "{text}");
        let shown = schedule.text(repetitions, start);
        assert_eq!(parse(&shown), schedule, "{shown}");
    }
}

#[test]
fn what_is_refused_names_the_field() {
    for text in [
        "",
        "R5",
        "R5/x",
        "5//PT1S",
        "every day",
        "R5/2026-01-31T12:00:00Z",
    ] {
        assert!(
            error(text, "").starts_with("schedule: expected R[n]"),
            "{text}"
        );
    }
    for (text, expected) in [
        ("Rx//PT1S", "a number of repetitions"),
        ("R-1//PT1S", "a number of repetitions"),
        ("R99999999999999999999//PT1S", "a number of repetitions"),
        ("R/tomorrow/PT1S", "expected a start"),
        ("R/2026-02-29T12:00:00Z/PT1S", "expected a start"),
        ("R/2026-01-31T24:00:00Z/PT1S", "expected a start"),
        ("R/2026-01-31T12:00:00+99:00/PT1S", "expected a start"),
        ("R/2026-01-31T12:00:00 /PT1S", "expected a start"),
        ("R/1969-12-31T12:00:00Z/PT1S", "before 1970"),
        ("R//P", "expected a period"),
        ("R//PT", "expected a period"),
        ("R//P1DT", "expected a period"),
        ("R//P1H", "expected a period"),
        ("R//P1.5D", "expected a period"),
        ("R//P1D2Y", "expected a period"),
        ("R//P-1D", "expected a period"),
        ("R//P1001Y", "expected a period"),
        ("R//PT99999999999999999999S", "expected a period"),
        ("R//PT0S", "shorter than a second"),
        ("R2//PT0.999S", "shorter than a second"),
    ] {
        let error = error(text, "");
        assert!(
            error.starts_with("schedule: ") && error.contains(expected),
            "{text}: {error}"
        );
    }
    let error = error("R//PT1S", "Europe/Berlin");
    assert!(
        error.starts_with("scheduleTimeZone: expected UTC"),
        "{error}"
    );
}

#[test]
fn the_zone_says_where_the_clock_is() {
    let at = |zone| Schedule::parse("R/2026-01-31T12:00:00Z/P1D", zone, 0).unwrap();
    for (zone, hours) in [
        ("", 0),
        ("UTC", 0),
        ("Z", 0),
        ("+02:00", 2),
        ("GMT+2", 2),
        ("+0200", 2),
    ] {
        assert_eq!(at(zone).start(), NOON - hours * 3_600_000, "{zone}");
    }
    assert_eq!(at("-05:00").start(), NOON + 5 * 3_600_000);
    assert_eq!(
        at("+02:00").text(None, at("+02:00").start()),
        "R/2026-01-31T12:00:00.000+02:00/P1D"
    );
}

#[test]
fn months_are_those_of_the_calendar_where_the_clock_is() {
    let schedule = parse("R/2026-01-31T23:30:00-05:00/P1M");
    let mut at = schedule.start();
    let mut shown = Vec::new();
    for _ in 0..4 {
        at = schedule.after(at).unwrap();
        shown.push(civil::timestamp_at(at, -5 * 3600)[..16].to_owned());
    }
    let expected = [
        "2026-02-28T23:30",
        "2026-03-31T23:30",
        "2026-04-30T23:30",
        "2026-05-31T23:30",
    ];
    assert_eq!(shown, expected);
    let yearly = parse("R/2024-02-29T00:00:00Z/P1Y");
    let next = yearly.after(NOON).unwrap();
    assert_eq!(timestamp(next), "2026-02-28T00:00:00.000Z");
    let next = yearly.after(NOON + 730 * DAY).unwrap();
    assert_eq!(timestamp(next), "2028-02-29T00:00:00.000Z");
}

#[test]
fn there_is_an_end() {
    let schedule = parse("R/9999-12-01T00:00:00Z/P1M");
    assert_eq!(schedule.after(0), Some(schedule.start()));
    assert_eq!(schedule.after(schedule.start()), None);
    assert_eq!(parse("R/1970-01-01T00:00:00Z/PT1S").after(u64::MAX), None);
    assert_eq!(parse("R1//PT0S").after(NOON), None);
}

#[test]
fn durations_are_milliseconds() {
    assert_eq!(duration_ms("PT60S"), Some(60_000));
    assert_eq!(duration_ms("PT15M"), Some(900_000));
    assert_eq!(duration_ms("P1Y1M1D"), Some(396 * DAY));
    assert_eq!(duration_ms("15M"), None);
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC*", zone in "\\PC*", now in any::<u64>()) {
        let _ = Schedule::parse(&text, &zone, now);
        let _ = duration_ms(&text);
    }

    #[test]
    fn texts_that_are_nearly_right(
        text in "R[0-9]{0,22}/[0-9T:.Z+-]{0,30}/P[0-9YMWDTHS.]{0,24}",
        now in any::<u64>(),
    ) {
        if let Ok(schedule) = Schedule::parse(&text, "", now) {
            let after = schedule.after(now);
            prop_assert!(after.is_none_or(|after| after > now));
        }
    }

    /// The search finds what stepping from the first one finds.
    #[test]
    fn the_next_one_is_the_first_that_is_later(
        start in 0_u64..4_000_000_000_000,
        months in 0_u32..30,
        ms in 1000_u64..5_000_000_000,
        offset_s in -50_000_i32..50_000,
        steps in 0_u64..300,
        shift in -2_i64..3,
    ) {
        let period = Period { months, ms, text: String::new() };
        let schedule = Schedule { repetitions: None, start, offset_s, period };
        let at = schedule.occurrence(steps).unwrap();
        let wall = at.saturating_add_signed(shift);
        let next = (0..).map(|number| schedule.occurrence(number).unwrap()).find(|at| *at > wall);
        prop_assert_eq!(schedule.after(wall), next);
    }

    /// Decades in one step: a clock that was set.
    #[test]
    fn it_does_not_count_what_was_missed(start in 0_u64..2_000_000, wall in 0_u64..253_402_300_000_000) {
        let schedule = Schedule::parse("R//PT1S", "", start).unwrap();
        let next = schedule.after(wall).unwrap();
        prop_assert!(next > wall && (next <= wall + 1000 || next == start));
        prop_assert_eq!((next - start) % 1000, 0);
    }
}
