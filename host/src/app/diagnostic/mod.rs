//! What is wrong with an app, or worth saying of it: one finding at a time, each with a code, a place and a remedy.
//!
//! Reading an app never stops at the first finding: whoever reads a part adds what it finds to a [`Report`] and goes on
//! with the next part. What a code means at length is `docs/diagnostics.md`, which `soloist explain` prints.

mod code;
mod explain;
mod similar;

use std::fmt;

pub use code::{Code, Severity};
pub use explain::{Example, explanation};
pub(in crate::app) use similar::closest;

use super::error::Origin;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of finding it is. It decides the severity.
    pub code: Code,
    /// The function that it is about, if it is about one.
    pub function: Option<String>,
    /// What was found, naming the thing; Azure's text where it has one. May hold names from files: not fit for a terminal
    /// as it is.
    pub message: String,
    /// Where.
    pub origin: Origin,
    /// What was probably meant, where a name is close to a known one.
    pub did_you_mean: Option<String>,
    /// What helps.
    pub help: Option<String>,
}

impl Diagnostic {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

impl fmt::Display for Diagnostic {
    /// The message and its place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.origin)
    }
}

/// Everything that was found in an app, in the order in which it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// What was found.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many findings have a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity() == severity).count()
    }

    /// The first error, if there is one.
    pub fn first_error(&self) -> Option<&Diagnostic> {
        self.diagnostics.iter().find(|diagnostic| diagnostic.severity() == Severity::Error)
    }

    /// Adds a finding.
    pub fn add(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Adds everything that another report holds.
    pub fn append(&mut self, other: Report) {
        self.diagnostics.extend(other.diagnostics);
    }

    /// Says of every finding which function it is about.
    pub(in crate::app) fn about(mut self, function: &str) -> Self {
        for diagnostic in &mut self.diagnostics {
            diagnostic.function = Some(function.to_owned());
        }
        self
    }

    /// Drops what was said of a place beside that a setting is missing there: it follows from that.
    pub(in crate::app) fn drop_followers(&mut self) {
        let is_missing = |found: &&Diagnostic| found.code == Code::MissingSetting;
        let missing: Vec<Origin> =
            self.diagnostics.iter().filter(is_missing).map(|found| found.origin.clone()).collect();
        self.diagnostics.retain(|found| is_missing(&found) || !missing.contains(&found.origin));
    }

    pub(in crate::app) fn note(&mut self, problem: Problem) {
        self.diagnostics.push(problem.into());
    }

    /// The value, or its problem added.
    pub(in crate::app) fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.note(problem)).ok()
    }

    /// The value, or its problem added and the default.
    pub(in crate::app) fn keep_or<T>(&mut self, default: T, result: Result<T, Problem>) -> T {
        self.keep(result).unwrap_or(default)
    }
}

/// A finding on its way to a report; boxed, because results carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Problem(Box<Diagnostic>);

impl Problem {
    pub fn new(code: Code, message: impl Into<String>, origin: Origin) -> Self {
        let message = message.into();
        Problem(Box::new(Diagnostic { code, function: None, message, origin, did_you_mean: None, help: None }))
    }

    /// Says the same in other words.
    pub fn says(mut self, message: String) -> Self {
        self.0.message = message;
        self
    }

    /// Says what helps.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.0.help = Some(text.into());
        self
    }

    /// Says which of the known names was probably meant by `found`, if one is close.
    pub fn similar<'k>(mut self, found: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        self.0.did_you_mean = closest(found, known).map(str::to_owned);
        self
    }
}

impl Problem {
    /// Says what was probably meant, if nothing was said of that yet.
    pub fn or_similar(mut self, meant: impl FnOnce() -> Option<&'static str>) -> Self {
        self.0.did_you_mean = self.0.did_you_mean.or_else(|| meant().map(str::to_owned));
        self
    }
}

impl From<Problem> for Diagnostic {
    fn from(problem: Problem) -> Self {
        *problem.0
    }
}

impl std::ops::Deref for Problem {
    type Target = Diagnostic;

    fn deref(&self) -> &Diagnostic {
        &self.0
    }
}
