//! Durable HTTP: a call that the host makes for an orchestrator, its answer, and when a 202 is asked after.

use super::{Failure, Json, RetryPolicy, Sequence, Timestamp};
use std::{sync::Arc, time::Duration};

/// No poll comes sooner after an answer: each is recorded, and a service that always says "at once" must not fill the disk.
const POLL_MIN: Duration = Duration::from_millis(100);

/// How a durable HTTP call is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRetry {
    /// Attempts, waits and bounds.
    pub policy: RetryPolicy,
    /// The status codes that are retried; empty means every one outside 200 to 299.
    pub status_codes: Vec<u16>,
}

/// Where a request's bearer token comes from. The token itself is fetched for each request and never recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSource {
    /// The provider, for example `AzureManagedIdentity`.
    pub kind: String,
    /// What the token is for.
    pub resource: String,
    /// Options of the provider.
    pub options: Option<Json>,
}

/// A durable HTTP call that the code asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpScheduled {
    /// The action's number.
    pub sequence: Sequence,
    /// The method.
    pub method: String,
    /// An absolute URL.
    pub uri: String,
    /// The headers, as the code gave them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub content: Option<String>,
    /// A 202 with a Location is asked after until it is another answer.
    pub asynchronous_pattern: bool,
    /// Bound on one request, in milliseconds.
    pub timeout_ms: Option<f64>,
    /// How it is repeated; polls never are.
    pub retry: Option<HttpRetry>,
    /// Where its bearer token comes from.
    pub token_source: Option<TokenSource>,
}

/// The answer to a durable HTTP call. Any status is an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The headers, in order, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body: UTF-8, or else each byte as the character of its number (Latin-1), so that none is lost.
    pub content: Arc<str>,
}

/// What one request of a call led to.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpOutcome {
    /// The call's answer.
    Answered(Box<HttpAnswer>),
    /// The work goes on elsewhere: it is asked after at `location`, not before `due`.
    Accepted {
        /// An absolute URL.
        location: String,
        /// When.
        due: Timestamp,
    },
}

impl HttpAnswer {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl HttpScheduled {
    /// True for a header that, by its name, may tell who sends: it is neither shown nor sent to another origin.
    pub fn is_credential(header: &str) -> bool {
        const PARTS: [&str; 9] =
            ["auth", "cookie", "key", "token", "secret", "password", "credential", "signature", "session"];
        let header = header.to_ascii_lowercase();
        PARTS.iter().any(|part| header.contains(part))
    }

    /// What an answer leads to. `polled` is the URL that was asked, if it was a poll; `default_wait` is how long a poll waits
    /// where the answer names no time.
    ///
    /// # Errors
    /// An answer that the retry policy wants another attempt for, or a Location that is no URL.
    pub fn outcome(
        &self,
        polled: Option<&str>,
        answer: HttpAnswer,
        now: Timestamp,
        default_wait: Duration,
    ) -> Result<HttpOutcome, Failure> {
        if polled.is_none()
            && let Some(retry) = &self.retry
            && retry.wants(answer.status)
        {
            let text = format!("Status code {} received, retry requested.", answer.status);
            return Err(Failure::new("HttpRequestException", text));
        }
        let location = answer.header("location").filter(|_| answer.status == 202 && self.asynchronous_pattern);
        let Some(location) = location else { return Ok(HttpOutcome::Answered(Box::new(answer))) };
        let location = resolve(polled.unwrap_or(&self.uri), location).ok_or_else(|| {
            let text = "the response 202 has a Location that is no URL of http or https, nor a path";
            Failure { non_retriable: true, ..Failure::new("HttpRequestException", text) }
        })?;
        let due = answer.header("retry-after").and_then(|after| retry_after(after, now));
        let due = due.unwrap_or_else(|| now.plus(default_wait)).max(now.plus(POLL_MIN));
        Ok(HttpOutcome::Accepted { location, due })
    }
}

impl HttpRetry {
    /// True if the status is one for which the code wants another attempt.
    fn wants(&self, status: u16) -> bool {
        if self.status_codes.is_empty() { !(200..300).contains(&status) } else { self.status_codes.contains(&status) }
    }
}

/// A Location as an absolute URL: as it is, or relative to the URL that was asked (RFC 3986, 5.2). None if it is neither.
fn resolve(base: &str, location: &str) -> Option<String> {
    let location = location.trim();
    let location = location.split('#').next().unwrap_or_default();
    let scheme_end = location.find(':').filter(|end| {
        let scheme = &location[..*end];
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    if let Some(end) = scheme_end {
        let is_web = ["http", "https"].iter().any(|scheme| location[..end].eq_ignore_ascii_case(scheme));
        return (is_web && location[end..].starts_with("://")).then(|| location.to_owned());
    }
    let (scheme, rest) = base.split_once("://")?;
    if location.starts_with("//") {
        return Some(format!("{scheme}:{location}"));
    }
    let rest = rest.split('#').next().unwrap_or_default();
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(authority_end);
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    let target = match location.chars().next() {
        None => format!("{}{query}", rooted(path)),
        Some('?') => format!("{}{location}", rooted(path)),
        Some('/') => without_dots(location),
        Some(_) => {
            without_dots(&format!("{}/{location}", rooted(path).rsplit_once('/').map_or("", |(folder, _)| folder)))
        }
    };
    Some(format!("{scheme}://{authority}{target}"))
}

fn rooted(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// A path without its `.` and `..` segments; a query is left alone.
fn without_dots(target: &str) -> String {
    let (path, query) = target.find('?').map_or((target, ""), |at| target.split_at(at));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
        if is_last && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// When `Retry-After` says, be it seconds or an HTTP date; a date that has passed is now.
fn retry_after(value: &str, now: Timestamp) -> Option<Timestamp> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(now.plus(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX)))));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value).ok()?;
    Some(Timestamp(at.as_microsecond()).max(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_217_333_000_000);
    const WAIT: Duration = Duration::from_secs(30);

    fn call() -> HttpScheduled {
        HttpScheduled {
            sequence: 0,
            method: "POST".into(),
            uri: "http://a.test/work/start?x=1".into(),
            headers: vec![],
            content: None,
            asynchronous_pattern: true,
            timeout_ms: None,
            retry: None,
            token_source: None,
        }
    }

    fn answer(status: u16, headers: &[(&str, &str)]) -> HttpAnswer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        HttpAnswer { status, headers, content: "".into() }
    }

    fn poll(call: &HttpScheduled, headers: &[(&str, &str)]) -> Option<(String, i64)> {
        match call.outcome(None, answer(202, headers), NOW, WAIT).unwrap() {
            HttpOutcome::Answered(_) => None,
            HttpOutcome::Accepted { location, due } => Some((location, (due.0 - NOW.0) / 1_000_000)),
        }
    }

    #[test]
    fn a_location_is_absolute_or_relative_to_what_was_asked() {
        for (base, location, wanted) in [
            ("http://a.test/x/y?q=1", "https://b.test/z", Some("https://b.test/z")),
            ("http://a.test/x/y?q=1", "HTTP://b.test/z#part", Some("HTTP://b.test/z")),
            ("http://a.test/x/y?q=1", "//b.test:8/z", Some("http://b.test:8/z")),
            ("http://a.test/x/y?q=1", "/z?w=2", Some("http://a.test/z?w=2")),
            ("http://a.test/x/y?q=1", "z", Some("http://a.test/x/z")),
            ("http://a.test/x/y?q=1", "../../z/./w", Some("http://a.test/z/w")),
            ("http://a.test/x/y?q=1", "..", Some("http://a.test/")),
            ("http://a.test/x/y?q=1", "?r=2", Some("http://a.test/x/y?r=2")),
            ("http://a.test/x/y?q=1", "", Some("http://a.test/x/y?q=1")),
            ("http://a.test", "z", Some("http://a.test/z")),
            ("http://a.test?q=1", "z", Some("http://a.test/z")),
            ("http://a.test/x/y", "z?u=http://c.test/../d", Some("http://a.test/x/z?u=http://c.test/../d")),
            ("http://a.test/x", "ftp://b.test/z", None),
            ("http://a.test/x", "javascript:alert(1)", None),
            ("http://a.test/x", "https:b.test", None),
        ] {
            assert_eq!(resolve(base, location).as_deref(), wanted, "{base} {location}");
        }
    }

    #[test]
    fn a_202_with_a_location_is_asked_after_and_no_other_answer_is() {
        let url = "http://a.test/s".to_owned();
        assert_eq!(poll(&call(), &[("location", "/s")]), Some((url.clone(), 30)), "the host's wait");
        assert_eq!(poll(&call(), &[("location", "/s"), ("retry-after", "7")]), Some((url.clone(), 7)));
        let date = [("location", "/s"), ("retry-after", "Fri, 20 Nov 2026 21:28:59 GMT")];
        let due = Timestamp("2026-11-20T21:28:59Z".parse::<jiff::Timestamp>().unwrap().as_microsecond());
        assert_eq!(poll(&call(), &date), Some((url.clone(), (due.0 - NOW.0).max(0) / 1_000_000)));
        let past = [("location", "/s"), ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(poll(&call(), &past), Some((url.clone(), 0)), "at once, or nearly so");
        assert_eq!(poll(&call(), &[("location", "/s"), ("retry-after", "soon")]), Some((url, 30)));
        assert_eq!(poll(&call(), &[]), None, "without a Location the 202 is the answer");
        let off = HttpScheduled { asynchronous_pattern: false, ..call() };
        assert_eq!(poll(&off, &[("location", "/s")]), None);
        let other = call().outcome(None, answer(201, &[("location", "/s")]), NOW, WAIT).unwrap();
        assert!(matches!(other, HttpOutcome::Answered(_)));
        let bad = call().outcome(None, answer(202, &[("location", "ftp://x/")]), NOW, WAIT).unwrap_err();
        assert!(bad.non_retriable && bad.message.contains("Location"), "{bad:?}");
        let second = call().outcome(Some("http://b.test/p/q"), answer(202, &[("location", "r")]), NOW, WAIT).unwrap();
        assert!(matches!(second, HttpOutcome::Accepted { location, .. } if location == "http://b.test/p/r"));
    }

    #[test]
    fn statuses_are_retried_as_the_policy_lists_them_and_polls_never() {
        let policy = RetryPolicy {
            max_attempts: 3,
            first_interval_ms: 1.0,
            backoff_coefficient: 1.0,
            max_interval_ms: None,
            retry_timeout_ms: None,
            retry_kinds: vec![],
            never_retry_kinds: vec![],
        };
        let with = |codes: &[u16]| {
            let retry = HttpRetry { policy: policy.clone(), status_codes: codes.to_vec() };
            HttpScheduled { retry: Some(retry), ..call() }
        };
        let failed = |call: &HttpScheduled, status| call.outcome(None, answer(status, &[]), NOW, WAIT).is_err();
        assert!(!failed(&call(), 500), "without a policy any status is an answer");
        assert!(failed(&with(&[]), 500) && failed(&with(&[]), 301) && !failed(&with(&[]), 202));
        assert!(failed(&with(&[503]), 503) && !failed(&with(&[503]), 500));
        let failure = with(&[503]).outcome(None, answer(503, &[]), NOW, WAIT).unwrap_err();
        assert_eq!(failure.message, "Status code 503 received, retry requested.");
        assert!(!failure.non_retriable);
        assert!(with(&[]).outcome(Some("http://a.test/s"), answer(500, &[]), NOW, WAIT).is_ok(), "a poll");
    }
}
