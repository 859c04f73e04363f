//! Schedules, against what a clock that is looked at every second says.

use jiff::{SignedDuration, civil::datetime};
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata"];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn schedule(text: &str, zone_name: &str) -> Schedule {
    Schedule::parse(text, &zone(zone_name)).unwrap_or_else(|| panic!("{text}"))
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn shown(at: Option<Timestamp>) -> String {
    at.map_or("never".to_owned(), |at| jiff::Timestamp::from_microsecond(at.0).unwrap().to_string())
}

/// The next occurrences after a moment, as texts.
fn occurrences(text: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text, zone_name);
    let mut moment = at(after);
    let next = || {
        moment = schedule.next(moment, moment)?;
        Some(shown(Some(moment)))
    };
    std::iter::from_fn(next).take(count).collect()
}

#[test]
fn cron_expressions_and_periods_are_told_from_other_text() {
    for good in [
        "0 */5 * * * *",
        "*/5 * * * *",
        "0 0 9-17 * * MON-FRI",
        "0 30 9 1,15 Jan,July *",
        "0 0 0 1-10/2 * 0",
        "00:05:00",
        "1.00:00:00",
        " 0  0 0 * * * ",
    ] {
        assert!(Schedule::parse(good, &TimeZone::UTC).is_some(), "{good}");
    }
    for bad in [
        "",
        "x",
        "* * * *",
        "60 * * * * *",
        "0 0 24 * * *",
        "0 */0 * * * *",
        "0 0 0 0 * *",
        "00:00:00",
        "0 0 0 1 Foo *",
        "* * * * * * *",
        "0 0 0 L * *",
        "0 0 0 * * 7",
        "0 0 0 ? * *",
        "@daily",
        "-00:00:01",
    ] {
        assert!(Schedule::parse(bad, &TimeZone::UTC).is_none(), "{bad}");
    }
}

#[test]
fn fields_are_read_as_ncrontab_reads_them() {
    let sets = |text: &str| Expression::parse(text).unwrap().sets();
    let bits = |numbers: &[u32]| numbers.iter().fold(0_u64, |set, number| set | 1 << number);
    assert_eq!(sets("10-5 * * * * *")[0], bits(&[5, 6, 7, 8, 9, 10]), "a range that is written backwards");
    assert_eq!(sets("50/3 * * * * *")[0], bits(&[50, 53, 56, 59]), "from a number to the end");
    assert_eq!(sets("5/1 * * * * *")[0], bits(&[5]));
    assert_eq!(sets("0 0 0 * jan-mar,December fri,Sunday")[4..], [bits(&[1, 2, 3, 12]), bits(&[0, 5])]);
    assert_eq!(sets("5 4 * * *"), sets("0 5 4 * * *"), "five fields");
}

#[test]
fn day_and_weekday_must_both_match() {
    assert_eq!(
        occurrences("0 0 0 13 * FRI", "UTC", "2026-01-01T00:00:00Z", 3),
        ["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z", "2026-11-13T00:00:00Z"]
    );
    assert_eq!(
        occurrences("0 0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
        ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]
    );
    assert_eq!(occurrences("0 0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", 1), [""; 0], "there is no such day");
}

#[test]
fn periods_keep_their_pace_and_skip_what_has_passed() {
    let every = schedule("00:00:10", "UTC");
    let second = |second: i64| Timestamp(second * 1_000_000);
    assert_eq!(every.next(second(100), second(100)), Some(second(110)));
    assert_eq!(every.next(second(100), second(109)), Some(second(110)));
    assert_eq!(every.next(second(100), second(110)), Some(second(120)), "strictly after");
    assert_eq!(every.next(second(100), second(137)), Some(second(140)));
    assert_eq!(every.next(second(100), second(50)), Some(second(110)), "a clock that was set back");
    assert!(!every.adjusts_for_dst() && schedule("0 0 0 * * *", "UTC").adjusts_for_dst());
}

#[test]
fn what_occurs_more_than_once_a_minute_is_not_monitored() {
    let can = |text: &str| schedule(text, "UTC").can_be_monitored(at("2026-01-01T00:00:00Z"));
    assert!(can("0 * * * * *") && can("00:01:00") && can("0 0 0 30 2 *"));
    assert!(!can("*/30 * * * * *") && !can("00:00:59") && !can("0,30 * * * * *"));
}

#[test]
fn a_time_that_is_skipped_occurs_an_hour_later_and_one_that_comes_twice_occurs_once() {
    // Berlin: 2026-03-29 02:00 becomes 03:00; 2026-10-25 03:00 becomes 02:00 again.
    assert_eq!(
        occurrences("0 30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
    );
    assert_eq!(
        occurrences("0 30 2 * * *", "Europe/Berlin", "2026-03-29T01:10:00Z", 1),
        ["2026-03-29T01:30:00Z"],
        "though the wall says 03:10 already"
    );
    assert_eq!(
        occurrences("0 30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"],
        "at 03:30 it occurs once"
    );
    assert_eq!(
        occurrences("0 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    assert_eq!(
        occurrences("0 30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["2026-10-26T01:30:00Z"],
        "not in the second pass"
    );
}

#[test]
fn an_interval_goes_on_while_clocks_are_shifted() {
    for (after, count) in [("2026-03-29T00:30:00Z", 6), ("2026-10-24T23:30:00Z", 9)] {
        let times = occurrences("0 */20 * * * *", "Europe/Berlin", after, count);
        let times: Vec<_> = times.iter().map(|time| at(time)).collect();
        assert!(times.windows(2).all(|pair| pair[0].until(pair[1]) == Duration::from_secs(1_200)), "{times:?}");
    }
}

/// Whether a second is an occurrence, told from the clock on the wall alone.
fn occurs(schedule: &Schedule, second: jiff::Timestamp) -> bool {
    let Form::Cron(cron, zone) = &schedule.form else { panic!("a cron expression") };
    let names = |clock: DateTime| {
        let sets = cron.sets();
        let number = |value: i8| u64::from(value.unsigned_abs());
        let weekday = number(clock.weekday().to_sunday_zero_offset());
        let fields = [clock.second(), clock.minute(), clock.hour(), clock.day(), clock.month()].map(number);
        sets.iter().zip(fields.into_iter().chain([weekday])).all(|(set, number)| set & (1 << number) != 0)
    };
    let clock = zone.to_datetime(second);
    if cron.is_interval() {
        return names(clock);
    }
    let is_first = zone.to_ambiguous_timestamp(clock).earlier().unwrap() == second;
    // What the clock would say, had it not been set forward.
    let skipped = [30, 60].map(|minutes| clock - SignedDuration::from_mins(minutes)).into_iter().any(|unshifted| {
        let ambiguous = zone.to_ambiguous_timestamp(unshifted);
        ambiguous.offset().is_gap_of(unshifted) && ambiguous.compatible().unwrap() == second && names(unshifted)
    });
    is_first && names(clock) || skipped
}

trait Gap {
    fn is_gap_of(&self, clock: DateTime) -> bool;
}

impl Gap for jiff::tz::AmbiguousOffset {
    fn is_gap_of(&self, _: DateTime) -> bool {
        matches!(self, jiff::tz::AmbiguousOffset::Gap { .. })
    }
}

/// A field: all, a list, a range or steps, so that expressions are neither too rare nor always the same.
fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let number = move || min..=max;
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => number().prop_map(|number| number.to_string()),
        1 => (number(), number()).prop_map(|(from, to)| format!("{from}-{to}")),
        1 => (1_u32..=20).prop_map(|step| format!("*/{step}")),
        1 => prop::collection::vec(number(), 1..4)
            .prop_map(|numbers| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        1 => (number(), 2_u32..=20).prop_map(|(from, step)| format!("{from}/{step}")),
    ]
}

/// Moments of 2026, many of them near a shift of some zone's clock.
fn moment() -> impl Strategy<Value = jiff::Timestamp> {
    let shifts = [
        datetime(2026, 3, 29, 1, 0, 0, 0),
        datetime(2026, 10, 25, 1, 0, 0, 0),
        datetime(2026, 3, 8, 7, 0, 0, 0),
        datetime(2026, 11, 1, 6, 0, 0, 0),
        datetime(2026, 4, 4, 15, 0, 0, 0),
        datetime(2026, 10, 3, 15, 30, 0, 0),
    ];
    let near = (prop::sample::select(shifts.to_vec()), -7_200_i64..7_200)
        .prop_map(|(shift, seconds)| TimeZone::UTC.to_timestamp(shift).unwrap() + SignedDuration::from_secs(seconds));
    let any = (1_767_225_600_i64..1_798_761_600).prop_map(|second| jiff::Timestamp::from_second(second).unwrap());
    prop_oneof![near, any]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_next_occurrence_is_the_one_that_a_watched_clock_sees(
        fields in (field(0, 59), field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
        zone_name in prop::sample::select(ZONES.to_vec()),
        after in moment(),
        fraction in 0_i64..1_000_000,
    ) {
        const WATCHED_SECONDS: i64 = 5 * 3_600;
        let (a, b, c, d, e, f) = fields;
        let text = format!("{a} {b} {c} {d} {e} {f}");
        let schedule = schedule(&text, zone_name);
        let moment = Timestamp(after.as_microsecond() + fraction);
        let next = schedule.next(moment, moment);
        prop_assert!(next.is_none_or(|next| next > moment), "{} {} {}", text, after, shown(next));
        let seconds = (1..=WATCHED_SECONDS).map(|second| after + SignedDuration::from_secs(second));
        let watched = { seconds }.find(|second| occurs(&schedule, *second)).map(|second| Timestamp(second.as_microsecond()));
        let end = Timestamp(after.as_microsecond() + WATCHED_SECONDS * 1_000_000);
        match watched {
            Some(watched) => prop_assert_eq!(next, Some(watched), "{} {} {}", text, after, zone_name),
            None => prop_assert!(next.is_none_or(|next| next > end), "{} {} {} {}", text, after, zone_name, shown(next)),
        }
        if let Some(next) = next {
            let second = jiff::Timestamp::from_microsecond(next.0).unwrap();
            prop_assert!(occurs(&schedule, second), "{} {} {}: {}", text, after, zone_name, second);
        }
    }
}
