//! What a route parameter's value must look like (`{id:int:min(1)}`).

use regex::{Regex, RegexBuilder};

/// One constraint on the value of a route parameter. A value that fails it makes the route not match.
#[derive(Debug, Clone)]
pub enum Constraint {
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// `true` or `false`, any case.
    Bool,
    /// A date (`2026-11-21`, `11/21/2026`), with or without a time.
    DateTime,
    /// A number without exponent.
    Decimal,
    /// A number, `NaN` or `Infinity`.
    Float,
    /// A GUID, with or without dashes, braces or parentheses.
    Guid,
    /// ASCII letters only.
    Alpha,
    /// Not empty.
    Required,
    /// A number of characters, bounds included.
    Length {
        /// The fewest.
        min: usize,
        /// The most.
        max: usize,
    },
    /// A whole number, bounds included.
    Range {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Contains a match of an expression, without regard to case.
    Regex(Regex),
}

impl Constraint {
    /// Reads a constraint's name and its arguments (what stands between the parentheses), as a template has them.
    ///
    /// # Errors
    /// A text that names the constraint and what is wrong with it.
    pub fn parse(name: &str, arguments: Option<&str>) -> Result<Self, String> {
        let name = name.to_ascii_lowercase();
        let constraint = match (name.as_str(), arguments) {
            ("int", None) => Constraint::Int,
            ("long", None) => Constraint::Long,
            ("bool", None) => Constraint::Bool,
            ("datetime", None) => Constraint::DateTime,
            ("decimal", None) => Constraint::Decimal,
            ("double" | "float", None) => Constraint::Float,
            ("guid", None) => Constraint::Guid,
            ("alpha", None) => Constraint::Alpha,
            ("required", None) => Constraint::Required,
            ("minlength", Some(min)) => Constraint::Length { min: number(&name, min)?, max: usize::MAX },
            ("maxlength", Some(max)) => Constraint::Length { min: 0, max: number(&name, max)? },
            ("length", Some(bounds)) => match bounds.split_once(',') {
                Some((min, max)) => Constraint::Length { min: number(&name, min)?, max: number(&name, max)? },
                None => Constraint::Length { min: number(&name, bounds)?, max: number(&name, bounds)? },
            },
            ("min", Some(min)) => Constraint::Range { min: number(&name, min)?, max: i64::MAX },
            ("max", Some(max)) => Constraint::Range { min: i64::MIN, max: number(&name, max)? },
            ("range", Some(bounds)) => match bounds.split_once(',') {
                Some((min, max)) => Constraint::Range { min: number(&name, min)?, max: number(&name, max)? },
                None => {
                    return Err("the route constraint 'range' takes two numbers, as in range(1,10)".to_owned());
                }
            },
            ("regex", Some(expression)) => Constraint::Regex(regex(expression)?),
            ("minlength" | "maxlength" | "length" | "min" | "max" | "range" | "regex", None) => {
                return Err(format!("the route constraint '{name}' needs an argument in parentheses"));
            }
            (
                "int" | "long" | "bool" | "datetime" | "decimal" | "double" | "float" | "guid" | "alpha" | "required",
                Some(_),
            ) => return Err(format!("the route constraint '{name}' takes no argument")),
            _ => {
                return Err(format!(
                    "the route constraint '{name}' is not known: use int, long, bool, datetime, decimal, double, float, \
                     guid, alpha, required, minlength, maxlength, length, min, max, range or regex"
                ));
            }
        };
        Ok(constraint)
    }

    /// Whether a decoded value satisfies the constraint.
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            Constraint::Int => integer(value).is_some_and(|number| i32::try_from(number).is_ok()),
            Constraint::Long => integer(value).is_some(),
            Constraint::Bool => {
                let value = value.trim();
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
            }
            Constraint::DateTime => is_date_time(value.trim()),
            Constraint::Decimal => is_decimal(value.trim()),
            Constraint::Float => is_float(value.trim()),
            Constraint::Guid => is_guid(value.trim()),
            Constraint::Alpha => value.bytes().all(|byte| byte.is_ascii_alphabetic()),
            Constraint::Required => !value.is_empty(),
            Constraint::Length { min, max } => (*min..=*max).contains(&value.chars().count()),
            Constraint::Range { min, max } => integer(value).is_some_and(|number| (*min..=*max).contains(&number)),
            Constraint::Regex(expression) => expression.is_match(value),
        }
    }
}

fn number<T: std::str::FromStr>(constraint: &str, text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("'{}' is not a valid argument of the route constraint '{constraint}'", text.trim()))
}

fn regex(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .case_insensitive(true)
        .build()
        .map_err(|error| format!("the route constraint 'regex({expression})' is not a valid expression: {error}"))
}

/// White space around and a leading plus are accepted, as the original's parser does.
fn integer(value: &str) -> Option<i64> {
    value.trim().parse().ok()
}

/// Digits with a sign before or after them, commas in the whole part, and no more of them than 96 bits hold.
fn is_decimal(value: &str) -> bool {
    let plain = value.strip_prefix(['-', '+']).unwrap_or_else(|| value.strip_suffix(['-', '+']).unwrap_or(value));
    let whole = plain.split_once('.').map_or(plain, |(whole, _)| whole).replace(',', "");
    let fits = whole.is_empty() || whole.parse::<u128>().is_ok_and(|whole| whole < 1 << 96);
    fits && is_plain_number(plain)
}

/// A number with or without an exponent; what is no number, and what is none any more.
fn is_float(value: &str) -> bool {
    let unsigned = value.strip_prefix(['-', '+']).unwrap_or(value);
    if ["nan", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return true;
    }
    match unsigned.split_once(['e', 'E']) {
        None => is_plain_number(unsigned),
        Some((number, exponent)) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            is_plain_number(number) && !exponent.is_empty() && exponent.bytes().all(|byte| byte.is_ascii_digit())
        }
    }
}

/// Digits, with a point and, before it, commas.
fn is_plain_number(value: &str) -> bool {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    has_digits
        && !whole.starts_with(',')
        && whole.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_guid(value: &str) -> bool {
    let inner = match (value.as_bytes().first(), value.as_bytes().last()) {
        (Some(b'{'), Some(b'}')) | (Some(b'('), Some(b')')) if value.len() > 2 => &value[1..value.len() - 1],
        _ => return matches!(value.len(), 32 | 36) && uuid::Uuid::try_parse(value).is_ok(),
    };
    inner.len() == 36 && uuid::Uuid::try_parse(inner).is_ok()
}

fn is_date_time(value: &str) -> bool {
    let (date, time) = match value.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time.trim())),
        None => (value, None),
    };
    is_date(date) && time.is_none_or(is_time)
}

/// `year-month-day`, or `month/day/year` as the invariant culture writes it; `-` and `/` mean the same.
fn is_date(date: &str) -> bool {
    let mut separator = '-';
    if date.contains('/') {
        separator = '/';
    }
    let Ok(parts) = date.split(separator).map(digits).collect::<Result<Vec<_>, ()>>() else {
        return false;
    };
    let (year, month, day) = match parts[..] {
        [a, b, c] if a.1 == 4 => (a.0, b.0, c.0),
        [a, b, c] if c.1 == 4 => (c.0, a.0, b.0),
        _ => return false,
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    year >= 1 && (1..=days).contains(&day)
}

/// `hour:minute[:second[.fraction]]`, then `AM`, `PM` or nothing, then nothing, `Z` or an offset.
fn is_time(time: &str) -> bool {
    let (clock, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let offset_fits = match offset.as_bytes().first() {
        None => true,
        Some(b'Z' | b'z') => offset.len() == 1,
        Some(_) => is_clock(&offset[1..], 14),
    };
    let clock = clock.trim_end();
    let half = clock.len().saturating_sub(2);
    let is_half = |half: &str| half.eq_ignore_ascii_case("am") || half.eq_ignore_ascii_case("pm");
    let fits = match clock.split_at_checked(half) {
        Some((clock, half)) if is_half(half) => is_clock(clock.trim_end(), 12),
        _ => is_clock(clock, 23),
    };
    offset_fits && fits
}

fn is_clock(clock: &str, hours_max: u32) -> bool {
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let Ok(parts) = clock.split(':').map(digits).collect::<Result<Vec<_>, ()>>() else {
        return false;
    };
    let fits = match parts[..] {
        [hour, minute] => hour.0 <= hours_max && minute.0 < 60,
        [hour, minute, second] => hour.0 <= hours_max && minute.0 < 60 && second.0 < 60,
        _ => false,
    };
    fits && !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number that one to four digits write, and how many digits there are.
fn digits(text: &str) -> Result<(u32, usize), ()> {
    if !(1..=4).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    Ok((text.parse().map_err(|_| ())?, text.len()))
}

/// As a template has it: `range(1,10)`.
impl std::fmt::Display for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Constraint::Int => f.write_str("int"),
            Constraint::Long => f.write_str("long"),
            Constraint::Bool => f.write_str("bool"),
            Constraint::DateTime => f.write_str("datetime"),
            Constraint::Decimal => f.write_str("decimal"),
            Constraint::Float => f.write_str("float"),
            Constraint::Guid => f.write_str("guid"),
            Constraint::Alpha => f.write_str("alpha"),
            Constraint::Required => f.write_str("required"),
            Constraint::Length { min, max } => write!(f, "length({min},{max})"),
            Constraint::Range { min, max } => write!(f, "range({min},{max})"),
            Constraint::Regex(regex) => write!(f, "regex({regex})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(constraint: &str, value: &str) -> bool {
        let (name, arguments) = match constraint.split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')')),
            None => (constraint, None),
        };
        Constraint::parse(name, arguments).expect("constraint is valid").accepts(value)
    }

    #[test]
    fn each_constraint_accepts_what_it_names_and_nothing_else() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("int", &["0", "-5", "+7", "2147483647"], &["", "x", "1.5", "2147483648"]),
            ("long", &["9223372036854775807"], &["9223372036854775808", "1e3"]),
            ("bool", &["true", "FALSE"], &["1", "yes", ""]),
            (
                "datetime",
                &[
                    "2026-11-21",
                    "2026-11-21T10:20",
                    "2024-02-29 10:20:30.123Z",
                    "11/21/2026",
                    "2026-11-21T10:20:30+01:00",
                    "2026-11-21 7:32pm",
                    "11-21-2026 07:32:10 AM",
                ],
                &[
                    "2026-02-29",
                    "2026-13-01",
                    "tomorrow",
                    "10:20",
                    "2026-11-21T25:00",
                    "",
                    "2026-11-21T10:20Zx",
                    "2026-11-21 13:32pm",
                    "2026-11-21 pm",
                ],
            ),
            (
                "decimal",
                &["1", "-1.5", "1,000.25", ".5", "5.", "5-", "79228162514264337593543950335"],
                &["1e3", "", "x", "1.2.3", "-", "--5", "-5-", "79228162514264337593543950336"],
            ),
            (
                "double",
                &["1e3", "-1.5", "2", "-1,001.01e8", "1E-3", "NaN", "-infinity"],
                &["x", "", "inf", "1e", "e3", "1e+", "0x10", "--1"],
            ),
            (
                "guid",
                &[
                    "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
                    "6f9619ff8b86d011b42d00cf4fc964ff",
                    "{6f9619ff-8b86-d011-b42d-00cf4fc964ff}",
                ],
                &[
                    "6f9619ff",
                    "",
                    "urn:uuid:6f9619ff-8b86-d011-b42d-00cf4fc964ff",
                    "(6f9619ff-8b86-d011-b42d-00cf4fc964ff",
                    "é}",
                ],
            ),
            ("alpha", &["abc", "ABC"], &["a1", "ä"]),
            ("required", &["x"], &[""]),
            ("minlength(2)", &["ab", "abc"], &["a"]),
            ("maxlength(2)", &["ab", "ä"], &["abc"]),
            ("length(2)", &["ab"], &["a", "abc"]),
            ("length(1,2)", &["a", "ab"], &["abc"]),
            ("min(3)", &["3", "4"], &["2", "x"]),
            ("max(3)", &["3", "-4"], &["4"]),
            ("range(3,5)", &["3", "5"], &["2", "6"]),
            ("regex(^[a-z]+$)", &["abc", "ABC"], &["a1"]),
            ("INT", &["1"], &["x"]),
        ];
        for (constraint, good, bad) in cases {
            for value in *good {
                assert!(accepts(constraint, value), "{constraint} accepts {value:?}");
            }
            for value in *bad {
                assert!(!accepts(constraint, value), "{constraint} refuses {value:?}");
            }
        }
    }

    #[test]
    fn a_constraint_that_cannot_be_read_says_why() {
        let message = |name, arguments| Constraint::parse(name, arguments).expect_err("constraint is invalid");
        assert!(message("integer", None).starts_with("the route constraint 'integer' is not known"));
        assert_eq!(message("min", None), "the route constraint 'min' needs an argument in parentheses");
        assert_eq!(message("int", Some("3")), "the route constraint 'int' takes no argument");
        assert_eq!(message("max", Some("x")), "'x' is not a valid argument of the route constraint 'max'");
        assert!(message("regex", Some("(")).contains("is not a valid expression"));
    }
}
