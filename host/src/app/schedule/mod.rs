//! When a timer function runs: a cron expression in the app's time zone, or a period.

mod cron;
mod zone;

use std::{fmt, time::Duration};

use jiff::{civil::DateTime, tz::TimeZone};

use super::{settings::Settings, time_span};
use crate::durable::Timestamp;
use cron::Expression;

/// The app setting that names the time zone of cron expressions.
pub(super) const TIME_ZONE_SETTING: &str = "WEBSITE_TIME_ZONE";

/// A schedule that occurs more often than this is not monitored.
const MONITORED_MIN: Duration = Duration::from_secs(60);

/// A timer function's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    text: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Cron(Box<Expression>, TimeZone),
    Every(Duration),
}

impl Schedule {
    /// Reads a cron expression of six fields (second, minute, hour, day, month, weekday), of five (the second is 0), or a
    /// period. None if it is neither.
    pub(super) fn parse(text: &str, zone: &TimeZone) -> Option<Self> {
        let form = match time_span::parse(text).filter(|period| !period.is_zero()) {
            Some(period) => Form::Every(period),
            None => Form::Cron(Box::new(Expression::parse(text)?), zone.clone()),
        };
        Some(Self { text: text.trim().to_owned(), form })
    }

    /// The first occurrence after `now`, of the series in which `last` is one. Strictly after both. `None` if there is none
    /// before the year 9999.
    ///
    /// Where clocks are set forward, a time of day that is skipped occurs as much later; where they are set back, a time of
    /// day that comes twice occurs the first time only, unless the expression names every hour: then it is an interval, and
    /// goes on.
    pub fn next(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match &self.form {
            Form::Cron(cron, zone) => next_of_cron(cron, zone, now.max(last)),
            Form::Every(period) => {
                let period_micros = i64::try_from(period.as_micros()).ok()?;
                let periods = (now.0.saturating_sub(last.0)).max(0) / period_micros + 1;
                last.0.checked_add(periods.checked_mul(period_micros)?).map(Timestamp)
            }
        }
    }

    /// The first occurrences after `now`, at most so many, as text: in the schedule's own time zone.
    pub fn next_texts(&self, now: Timestamp, most: usize) -> Vec<String> {
        let mut at = now;
        let next = std::iter::from_fn(|| {
            at = self.next(at, at)?;
            let time = jiff::Timestamp::from_microsecond(at.0).ok()?;
            let zone = match &self.form {
                Form::Cron(_, zone) => zone.clone(),
                Form::Every(_) => TimeZone::UTC,
            };
            Some(time.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
        });
        next.take(most).collect()
    }

    /// Whether it follows the wall's clock, and so daylight saving time; a period does not.
    pub fn adjusts_for_dst(&self) -> bool {
        matches!(self.form, Form::Cron(..))
    }

    /// Whether it can be monitored: not if it occurs, of its next five times, twice within a minute.
    pub fn can_be_monitored(&self, now: Timestamp) -> bool {
        let mut at = now;
        let next: Vec<Timestamp> = std::iter::from_fn(|| {
            at = self.next(at, at)?;
            Some(at)
        })
        .take(6)
        .collect();
        next.windows(2).all(|pair| pair[0].until(pair[1]) >= MONITORED_MIN)
    }

    /// A number that differs from another schedule's: what was remembered of that one does not hold for this one.
    pub fn fingerprint(&self) -> u32 {
        let zone = match &self.form {
            Form::Cron(_, zone) => zone.iana_name().unwrap_or_default(),
            Form::Every(_) => "",
        };
        crc32fast::hash(format!("{}|{zone}", self.text).as_bytes())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The time zone of the app's cron expressions.
///
/// # Errors
/// The text that tells which names there are, if the setting's is none.
pub(super) fn time_zone(settings: &Settings) -> Result<TimeZone, String> {
    match settings.get(TIME_ZONE_SETTING).map(str::trim) {
        None | Some("") => Ok(TimeZone::UTC),
        Some(name) => zone::find(name),
    }
}

/// The first occurrence after an instant: offset by offset, as each is a plain clock.
fn next_of_cron(cron: &Expression, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let after = jiff::Timestamp::from_second(after.0.div_euclid(1_000_000)).ok()?;
    let mut from = after;
    // The shift whose gap may still have times that occur after `after`.
    let mut shift = zone.preceding(after).next().map(|transition| transition.timestamp());
    loop {
        let end = zone.following(from).next().map(|transition| transition.timestamp());
        let regular = next_in_offset(cron, zone, from, end, from == after);
        let late = shift.and_then(|shift| late_for_gap(cron, zone, shift, after));
        let found = [regular, late].into_iter().flatten().min();
        if let Some(found) = found.filter(|found| end.is_none_or(|end| *found < end)) {
            return Some(Timestamp(found.as_microsecond()));
        }
        // Years without an occurrence end the search: the expression names a day that there is not.
        cron.next(zone.to_datetime(from), false)?;
        (from, shift) = (end?, end);
    }
}

/// The first occurrence from `from` on (or after it) and before the clock is shifted at `end`.
fn next_in_offset(
    cron: &Expression,
    zone: &TimeZone,
    from: jiff::Timestamp,
    end: Option<jiff::Timestamp>,
    exclusive: bool,
) -> Option<jiff::Timestamp> {
    let offset = zone.to_offset(from);
    let mut inclusive = !exclusive;
    let mut clock = offset.to_datetime(from);
    loop {
        clock = cron.next(clock, inclusive)?;
        inclusive = false;
        let at = offset.to_timestamp(clock).ok()?;
        if end.is_some_and(|end| at >= end) {
            return None;
        }
        if cron.is_interval() || first_instant(zone, clock) == Some(at) {
            return Some(at);
        }
    }
}

/// The first occurrence after `after` of those that a shift at `shift` skipped: as much later as the clock was set forward.
fn late_for_gap(
    cron: &Expression,
    zone: &TimeZone,
    shift: jiff::Timestamp,
    after: jiff::Timestamp,
) -> Option<jiff::Timestamp> {
    let before = zone.to_offset(shift.checked_sub(jiff::SignedDuration::from_secs(1)).ok()?);
    let (gap, end) = (before.to_datetime(shift), zone.to_datetime(shift));
    if cron.is_interval() || gap >= end {
        return None;
    }
    let mut clock = cron.next(gap, true)?;
    while clock < end {
        let at = before.to_timestamp(clock).ok()?;
        if at > after {
            return Some(at);
        }
        clock = cron.next(clock, false)?;
    }
    None
}

fn first_instant(zone: &TimeZone, clock: DateTime) -> Option<jiff::Timestamp> {
    zone.to_ambiguous_timestamp(clock).earlier().ok()
}

#[cfg(test)]
mod tests;
