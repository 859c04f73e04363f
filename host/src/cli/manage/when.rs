//! Times and spans on the command line and on the screen.

use std::time::Duration;

use jiff::{Timestamp as Moment, civil, tz::TimeZone};

use crate::ambient::{Ambient as _, System};

/// Now.
pub(super) fn now() -> Moment {
    Moment::from_microsecond(System.now().0).unwrap_or(Moment::MAX)
}

/// Reads a point in time: ISO 8601 (without an offset: UTC), or a span before now such as `2h` or `7d`.
///
/// # Errors
/// A text for the caller.
pub(super) fn moment(text: &str) -> Result<Moment, String> {
    // Without a unit it could be a year.
    if text.ends_with(|c: char| c.is_ascii_lowercase())
        && let Ok(ago) = span(text)
    {
        let ago = jiff::SignedDuration::try_from(ago).map_err(|_| too_long(text))?;
        return now().checked_sub(ago).map_err(|_| too_long(text));
    }
    iso(text)
        .ok_or_else(|| format!("{text:?} is no time: write 2026-01-31T12:00:00Z, 2026-01-31, or 2h for two hours ago"))
}

/// As [`moment`], and also `mm/dd/yyyy [HH:mm[:ss]] [AM|PM]`, UTC: what Azure's Core Tools take.
///
/// # Errors
/// A text for the caller.
pub(super) fn core_tools_moment(text: &str) -> Result<Moment, String> {
    iso(text)
        .or_else(|| american(text))
        .ok_or_else(|| format!("{text:?} is no time: write 2026-01-31T12:00:00Z, or 01/31/2026 12:00 (UTC)"))
}

fn iso(text: &str) -> Option<Moment> {
    let text = text.trim();
    text.parse().ok().or_else(|| utc(text.parse().ok()?))
}

fn american(text: &str) -> Option<Moment> {
    let formats = ["%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M"];
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let with_time = formats.iter().find_map(|format| civil::DateTime::strptime(format, &words).ok());
    let found = with_time.or_else(|| Some(civil::Date::strptime("%m/%d/%Y", &words).ok()?.at(0, 0, 0, 0)));
    utc(found?)
}

fn utc(local: civil::DateTime) -> Option<Moment> {
    local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn too_long(text: &str) -> String {
    format!("{text:?} is longer ago than there are dates")
}

/// Reads a span: a number and `ms`, `s`, `m`, `h` or `d`; without a unit: seconds.
///
/// # Errors
/// A text for the caller.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => f64::NAN,
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * seconds).ok())
        .ok_or_else(|| format!("{text:?} is no span of time: write 500ms, 30s, 5m, 2h or 7d"))
}

/// Reads a time that the host wrote.
pub(super) fn host_time(text: &str) -> Option<Moment> {
    text.parse().ok()
}

/// A time for people: UTC, whole seconds. What is none is shown as it is.
pub(super) fn for_people(text: &str) -> String {
    match host_time(text) {
        Some(moment) => moment.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => text.to_owned(),
    }
}

/// The span from one time to another for people; backwards is none.
pub(super) fn between(from: Moment, to: Moment) -> String {
    for_people_span(Duration::try_from(to.duration_since(from)).unwrap_or_default())
}

/// A span for people, such as `0.4 ms`, `12 ms`, `1.25 s`, `2 m 03 s`, `3 h 05 m`, `2 d 04 h`.
pub(super) fn for_people_span(span: Duration) -> String {
    let (ms, seconds) = (span.as_millis(), span.as_secs());
    match seconds {
        0 if ms < 10 => format!("{:.1} ms", span.as_micros() as f64 / 1_000.0),
        0 => format!("{ms} ms"),
        1..60 => format!("{:.2} s", (span.as_millis() / 10) as f64 / 100.0),
        60..3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_ago_or_as_the_core_tools_have_them() {
        let wanted: Moment = "2026-01-31T12:00:00Z".parse().unwrap();
        for text in ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00", "2026-01-31 12:00"] {
            assert_eq!(moment(text), Ok(wanted), "{text}");
            assert_eq!(core_tools_moment(text), Ok(wanted), "{text}");
        }
        for text in ["01/31/2026 12:00", "1/31/2026 12:00:00", "01/31/2026  12:00 PM", "01/31/2026 12:00:00 pm"] {
            assert_eq!(core_tools_moment(text), Ok(wanted), "{text}");
        }
        let midnight: Moment = "2026-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(moment("2026-01-31"), Ok(midnight));
        assert_eq!(core_tools_moment("01/31/2026"), Ok(midnight));
        let ago = now().duration_since(moment("2h").unwrap());
        assert!((7_190..7_260).contains(&ago.as_secs()), "{ago:?}");
        for text in ["", "2026", "yesterday", "31/01/2026", "2026-13-01", "2x", "99999999999d"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_read_and_shown() {
        for (text, ms) in [("500ms", 500), ("30", 30_000), ("1.5s", 1_500), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(span(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1 s", "1y", "1e400", "inf", "1.2.3s"] {
            assert!(span(text).is_err(), "{text}");
        }
        for (ms, shown) in [
            (0, "0.0 ms"),
            (10, "10 ms"),
            (999, "999 ms"),
            (1_999, "1.99 s"),
            (59_999, "59.99 s"),
            (63_000, "1 m 03 s"),
            (11_100_000, "3 h 05 m"),
            (187_200_000, "2 d 04 h"),
        ] {
            assert_eq!(for_people_span(Duration::from_millis(ms)), shown);
        }
        assert_eq!(for_people_span(Duration::from_micros(1_250)), "1.2 ms");
        assert_eq!(for_people("2026-01-01T00:00:03Z"), "2026-01-01 00:00:03");
        assert_eq!(for_people("soon"), "soon");
    }
}
