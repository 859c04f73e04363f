//! Times as the API writes and reads them.

use jiff::{SignedDuration, Timestamp as Moment, civil, tz::TimeZone};

use crate::durable::Timestamp;

/// `yyyy-MM-ddTHH:mm:ssZ`: whole seconds, cut off.
pub(super) fn whole_seconds(time: Timestamp) -> String {
    utc(time).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `yyyy-MM-ddTHH:mm:ss.fffffffZ`: always seven digits, as histories have them.
pub(super) fn seven_digits(time: Timestamp) -> String {
    // We count microseconds: the seventh digit, a tenth of one, is always zero.
    utc(time).strftime("%Y-%m-%dT%H:%M:%S.%6f0Z").to_string()
}

/// Reads an ISO 8601 time: with `Z`, with an offset, or without either, which means UTC; a date alone is its midnight.
/// Digits below a microsecond are cut off. None if it is no such time.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let moment = parse_zoned(text).or_else(|| {
        let local: civil::DateTime = text.parse().ok()?;
        local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    Some(Timestamp(moment.as_microsecond()))
}

/// A time that names its offset. In a query an unescaped `+` arrives as a space: `…T00:00:00 01:00` is taken for what was
/// meant.
fn parse_zoned(text: &str) -> Option<Moment> {
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let (time, offset) = text.rsplit_once(' ')?;
    if !time.contains(['T', 't']) {
        return None;
    }
    format!("{time}+{offset}").parse().ok()
}

/// UTC on the wall. (jiff's own moments end a day before the year 9999 does; ours do not.)
fn utc(time: Timestamp) -> civil::DateTime {
    const EPOCH: civil::DateTime = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    // Out of range only beyond the year 9999, which `Timestamp` does not reach: the epoch stands for the impossible.
    EPOCH.checked_add(SignedDuration::from_micros(time.0)).unwrap_or(EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timestamp = Timestamp(1_767_225_600_123_456);

    #[test]
    fn times_are_written_as_the_api_writes_them() {
        assert_eq!(whole_seconds(TIME), "2026-01-01T00:00:00Z");
        assert_eq!(seven_digits(TIME), "2026-01-01T00:00:00.1234560Z");
        assert_eq!(seven_digits(Timestamp(0)), "1970-01-01T00:00:00.0000000Z");
        assert_eq!(whole_seconds(Timestamp(253_402_300_799_000_000)), "9999-12-31T23:59:59Z");
        assert_eq!(whole_seconds(Timestamp(-1)), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn times_are_read_with_zone_offset_or_neither() {
        for text in [
            "2026-01-01T00:00:00.123456Z",
            "2026-01-01T00:00:00.1234567Z",
            "2026-01-01T01:00:00.123456+01:00",
            "2026-01-01T01:00:00.123456 01:00",
            "2025-12-31T16:00:00.123456-08:00",
            "2026-01-01T00:00:00.123456",
            "2026-01-01 00:00:00.123456",
            " 2026-01-01t00:00:00.123456z ",
        ] {
            assert_eq!(parse(text), Some(TIME), "{text}");
        }
        assert_eq!(parse("2026-01-01"), Some(Timestamp(1_767_225_600_000_000)));
        for text in ["", "yesterday", "2026-13-01", "2026-01-01T25:00:00Z", "1767225600", "99999-01-01T00:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
