//! How a command ends that did not do what it was asked for.

use std::process::ExitCode;

use super::{args::Format, text};

/// Exit codes other than 0, which is ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The host could not do it, or the instance that was waited for did not complete.
    Failed = 1,
    /// The command line, or an argument that the host refuses.
    Usage = 2,
    /// No such instance, entity or function.
    NotFound = 3,
    /// The instance's state forbids it: the id is taken, it has ended, it is live.
    Conflict = 4,
    /// No host answers at the URL.
    Unreachable = 5,
    /// No key, or one that may not do this.
    NotAuthorised = 6,
    /// No answer, or no end of the instance, in time.
    TimedOut = 8,
}

impl Exit {
    /// The word that stands for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "notFound",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::NotAuthorised => "notAuthorised",
            Self::TimedOut => "timedOut",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The discriminants are the codes.
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// For people: names the thing and the remedy.
    pub message: String,
    /// The host's status code, if it answered.
    pub http_status: Option<u16>,
}

impl Failure {
    /// With a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), http_status: None }
    }

    /// Something went wrong on this side or the other.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The caller's mistake.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// `{"error":{"code":3,"kind":"notFound","message":"…","httpStatus":404}}`; the last member only if the host answered.
    pub fn json(&self) -> String {
        let mut error = serde_json::json!({
            "code": self.exit as u8,
            "kind": self.exit.word(),
            "message": self.message,
        });
        if let Some(status) = self.http_status {
            error["httpStatus"] = status.into();
        }
        text::inert_json(&serde_json::json!({ "error": error }).to_string())
    }

    /// Tells it on standard error, and gives the exit code.
    pub fn report(&self, format: Format) -> ExitCode {
        match format {
            Format::Json => return self.report_json(),
            Format::Text => eprintln!("error: {}", text::printable_lines(&self.message)),
        }
        self.exit.into()
    }

    /// As [`Failure::report`], for programs.
    pub fn report_json(&self) -> ExitCode {
        eprintln!("{}", self.json());
        self.exit.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_of_json_with_its_code() {
        let failure = Failure { http_status: Some(404), ..Failure::new(Exit::NotFound, "no \"x\"\n\u{9b}2J") };
        let json: serde_json::Value = serde_json::from_str(&failure.json()).unwrap();
        assert_eq!(json["error"]["code"], 3);
        assert_eq!(json["error"]["kind"], "notFound");
        assert_eq!(json["error"]["httpStatus"], 404);
        assert_eq!(json["error"]["message"], "no \"x\"\n\u{9b}2J");
        assert!(!failure.json().chars().any(char::is_control), "{}", failure.json());
        assert!(!Failure::usage("x").json().contains("httpStatus"));
    }
}
