//! Durations as the original writes them: `[d.]hh:mm[:ss[.fffffff]]`, or a number of days.

use std::time::Duration;

/// Reads a duration. `None` if the text is not one or is negative.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(days) = digits(text) {
        return days.checked_mul(86_400).map(Duration::from_secs);
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (clock, minutes, seconds) = match parts[..] {
        [clock, minutes] => (clock, minutes, "0"),
        [clock, minutes, seconds] => (clock, minutes, seconds),
        _ => return None,
    };
    let (days, hours) = clock.split_once('.').unwrap_or(("0", clock));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let (days, hours, minutes, seconds) = (digits(days)?, digits(hours)?, digits(minutes)?, digits(seconds)?);
    if hours > 23 || minutes > 59 || seconds > 59 || fraction.len() > 7 {
        return None;
    }
    let nanoseconds = digits(fraction)? * 10_u64.pow(9 - fraction.len() as u32);
    let whole = days.checked_mul(86_400)?.checked_add(hours * 3_600 + minutes * 60 + seconds)?;
    Some(Duration::from_secs(whole) + Duration::from_nanos(nanoseconds))
}

/// Writes a duration as the original does: `[d.]hh:mm:ss[.fffffff]`.
pub(super) fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let days = match seconds / 86_400 {
        0 => String::new(),
        days => format!("{days}."),
    };
    let fraction = match duration.subsec_nanos() / 100 {
        0 => String::new(),
        ticks => format!(".{ticks:07}"),
    };
    format!("{days}{:02}:{:02}:{:02}{fraction}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

/// At most nine digits: more days than the original can count.
fn digits(text: &str) -> Option<u64> {
    let valid = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_original_writes_them() {
        for (text, milliseconds) in [
            ("00:00:10", 10_000),
            ("01:02", 3_720_000),
            ("1.00:00:00", 86_400_000),
            ("00:00:01.5", 1_500),
            ("2", 172_800_000),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Some(duration), "{text}");
            assert_eq!(parse(&format(duration)), Some(duration), "{text}");
        }
        for text in ["", "x", "24:00:00", "00:60:00", "-00:00:01", "1:2:3:4", "00:00:01.12345678", "1..2:03"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
