//! Where something is wrong with an app, and what that means: for the host, or for one function.

use std::fmt;
use std::path::PathBuf;

use super::App;
use super::diagnostic::{Code, Diagnostic, Report};

/// A place in a text file, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, the first one is 1.
    pub line: usize,
    /// Column in characters, the first one is 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A stretch of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first character.
    pub start: Position,
    /// The character after its last one.
    pub end: Position,
}

/// Where a problem was found: a place in a file, a whole file or folder, or an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file or folder, with the place in it where one is to blame.
    File {
        /// The file or folder.
        file: PathBuf,
        /// The place in it, if the whole is not meant.
        span: Option<Span>,
    },
    /// A value that an environment variable or app setting put in place of the file's.
    Setting(String),
}

impl Origin {
    /// A whole file or folder.
    pub fn whole(file: impl Into<PathBuf>) -> Self {
        Origin::File { file: file.into(), span: None }
    }

    /// Where it begins, if it is a place in a file.
    pub fn position(&self) -> Option<Position> {
        match self {
            Origin::File { span, .. } => span.map(|span| span.start),
            Origin::Setting(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, span: Some(span) } => write!(f, "{}:{}", file.display(), span.start),
            Origin::File { file, span: None } => write!(f, "{}", file.display()),
            Origin::Setting(name) => write!(f, "setting {name}"),
        }
    }
}

/// Why the host cannot start with an app: everything that was found in it, at least one error among it that is no
/// function's own.
///
/// Its text is that error, in the words of Azure Functions where it has some; the place follows in brackets.
#[derive(Debug, Clone)]
pub struct AppError {
    /// Everything that was found.
    pub report: Report,
    /// What can be made out of the app all the same, with defaults for what is wrong: to look at, not to serve.
    pub app: Option<Box<App>>,
}

impl AppError {
    /// The error that keeps the host from starting.
    fn cause(&self) -> Option<&Diagnostic> {
        let errors = self.report.diagnostics().iter().filter(|found| found.severity() == super::Severity::Error);
        errors.clone().find(|found| found.function.is_none()).or(errors.clone().next())
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause() {
            // Its message names the folder already.
            Some(cause) if cause.code == Code::AppFolder => f.write_str(&cause.message),
            Some(cause) => cause.fmt(f),
            None => f.write_str("the app cannot be loaded"),
        }
    }
}

impl std::error::Error for AppError {}

/// A function that is not served, and why. The other functions of the app are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// The function's name: its folder's.
    pub function: String,
    /// What kind of mistake it is.
    pub code: Code,
    /// What is wrong; Azure's text where it has one.
    pub reason: String,
    /// What helps.
    pub help: Option<String>,
    /// The file or folder to look at, mostly the function's `function.json`.
    pub file: PathBuf,
    /// The place in the file, if not the whole is to blame.
    pub position: Option<Position>,
}

impl Excluded {
    /// A function that is not served because of a finding. A setting has no file: then `file` is named.
    pub fn because(diagnostic: &Diagnostic, function: &str, file: PathBuf) -> Self {
        let mut reason = diagnostic.message.clone();
        let (file, position) = match &diagnostic.origin {
            Origin::File { file, .. } => (file.clone(), diagnostic.origin.position()),
            Origin::Setting(name) => {
                reason.push_str(&format!(" (setting {name})"));
                (file, None)
            }
        };
        let help = diagnostic.help.clone();
        Excluded { function: function.to_owned(), code: diagnostic.code, reason, help, file, position }
    }

    /// What is wrong and what helps.
    pub fn text(&self) -> String {
        match &self.help {
            None => self.reason.clone(),
            Some(help) if self.reason.ends_with('.') => format!("{} {}.", self.reason, upper_first(help)),
            Some(help) => format!("{}: {help}", self.reason),
        }
    }
}

pub(super) fn upper_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The '{}' function is in error: {} ({}", self.function, self.text(), self.file.display())?;
        if let Some(position) = self.position {
            write!(f, ":{position}")?;
        }
        f.write_str(")")
    }
}
