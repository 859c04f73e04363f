//! Cron expressions as NCrontab reads them: which texts are some, and which times they name.
//!
//! The form is NCrontab's own (names may be longer than three letters, ranges may be written backwards, `n/step` goes to the
//! field's end), so that each field is read here and handed on as plain numbers. When the next time comes that all fields
//! name, day and weekday both, is the crate's to find.

use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use jiff::civil::DateTime;

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A field's bounds and names.
struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 6] = [
    Field { min: 0, max: 59, names: &[] },
    Field { min: 0, max: 59, names: &[] },
    Field { min: 0, max: 23, names: &[] },
    Field { min: 1, max: 31, names: &[] },
    Field { min: 1, max: 12, names: MONTHS },
    Field { min: 0, max: 6, names: DAYS },
];

/// Where hours are in [`FIELDS`].
const HOURS: usize = 2;

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    cron: Cron,
    /// The numbers that each field names, as bits.
    sets: [u64; 6],
}

impl Expression {
    /// Reads an expression of six fields, or of five; the second is 0 then. None if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        if fields.len() != FIELDS.len() {
            return None;
        }
        let mut sets = [0; 6];
        for ((set, field), text) in sets.iter_mut().zip(&FIELDS).zip(fields) {
            *set = field.read(text)?;
        }
        let plain: Vec<String> = FIELDS.iter().zip(sets).map(|(field, set)| field.plain(set)).collect();
        let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
        let cron = parser.parse(&plain.join(" ")).ok()?;
        Some(Self { cron, sets })
    }

    /// The first time that it names, at or after another; none if it names none.
    pub(super) fn next(&self, clock: DateTime, inclusive: bool) -> Option<DateTime> {
        if !self.has_days() {
            return None;
        }
        self.cron.find_next_occurrence(&clock, inclusive).ok()
    }

    /// True if it names every hour: it means an interval rather than times of day.
    pub(super) fn is_interval(&self) -> bool {
        self.sets[HOURS] == FIELDS[HOURS].all()
    }

    /// False if none of its months has one of its days: looking for one would take long.
    fn has_days(&self) -> bool {
        const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let first_day = self.sets[3].trailing_zeros();
        (1..=12).any(|month| self.sets[4] & (1 << month) != 0 && first_day <= LENGTHS[month as usize - 1])
    }

    /// The numbers that each field names.
    #[cfg(test)]
    pub(super) fn sets(&self) -> [u64; 6] {
        self.sets
    }
}

impl Field {
    fn all(&self) -> u64 {
        (self.min..=self.max).fold(0, |set, number| set | 1 << number)
    }

    /// The numbers of a comma-separated list.
    fn read(&self, text: &str) -> Option<u64> {
        text.split(',').try_fold(0, |set, item| Some(set | self.item(item)?))
    }

    /// `*`, a number or name, a range of them; each with an optional `/step`.
    fn item(&self, item: &str) -> Option<u64> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self::step(step)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.min, self.max),
            Some((from, to)) => {
                let (from, to) = (self.number(from)?, self.number(to)?);
                (from.min(to), from.max(to))
            }
            None => {
                let first = self.number(range)?;
                // With a step above 1 a single number is where it begins.
                (first, if step.is_some_and(|step| step > 1) { self.max } else { first })
            }
        };
        Some((first..=last).step_by(step.unwrap_or(1)).fold(0, |set, number| set | 1 << number))
    }

    /// A number within the bounds, or what the first three letters of a name stand for.
    fn number(&self, text: &str) -> Option<u32> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().filter(|number| (self.min..=self.max).contains(number));
        }
        let short = text.get(..3).filter(|_| text.chars().all(char::is_alphabetic))?.to_ascii_lowercase();
        let place = self.names.iter().position(|name| *name == short)?;
        Some(u32::try_from(place).ok()? + self.min)
    }

    /// The set as a list of numbers.
    fn plain(&self, set: u64) -> String {
        if set == self.all() {
            return "*".to_owned();
        }
        let numbers = (self.min..=self.max).filter(|number| set & (1 << number) != 0);
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
    }
}

fn step(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten().filter(|step| *step > 0)
}
