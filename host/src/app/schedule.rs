//! The form of a timer's schedule.

use super::time_span;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Whether a text is a cron expression of five or six fields (second, minute, hour, day, month, weekday; without the
/// second, it is 0) or a period longer than zero.
pub(super) fn is_valid(schedule: &str) -> bool {
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let with_second: Vec<&str> = match fields.len() {
        1 => return time_span::parse(schedule).is_some_and(|period| !period.is_zero()),
        5 => std::iter::once("0").chain(fields).collect(),
        6 => fields,
        _ => return false,
    };
    let limits: [(u32, u32, &[&str]); 6] =
        [(0, 59, &[]), (0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 6, DAYS)];
    with_second.iter().zip(limits).all(|(field, (min, max, names))| {
        field
            .split(',')
            .all(|item| is_item(item, |text| number(text, min, names).filter(|found| (min..=max).contains(found))))
    })
}

/// `*`, a number or name, a range of them, each with an optional `/step`.
fn is_item(item: &str, number: impl Fn(&str) -> Option<u32>) -> bool {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, step.parse::<u32>().ok()),
        None => (item, Some(1)),
    };
    let range_fits = match range.split_once('-') {
        Some((from, to)) => number(from).is_some() && number(to).is_some(),
        None => range == "*" || number(range).is_some(),
    };
    range_fits && step.is_some_and(|step| step > 0)
}

fn number(text: &str, first: u32, names: &[&str]) -> Option<u32> {
    let named = || {
        let short = text.get(..3).filter(|_| text.chars().all(char::is_alphabetic))?.to_ascii_lowercase();
        names.iter().position(|name| *name == short).map(|place| place as u32 + first)
    };
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten().or_else(named)
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn cron_expressions_and_periods_are_told_from_other_text() {
        for good in [
            "0 */5 * * * *",
            "*/5 * * * *",
            "0 0 9-17 * * MON-FRI",
            "0 30 9 1,15 Jan,July *",
            "0 0 0 1-10/2 * 0",
            "00:05:00",
        ] {
            assert!(is_valid(good), "{good}");
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
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
