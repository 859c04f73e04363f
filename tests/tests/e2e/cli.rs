//! What the tests of the commands share: running one against a host, and reading what it says.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use soloist_tests::{Host, artifacts};

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error as JSON.
    pub(crate) fn error(&self) -> Value {
        serde_json::from_str::<Value>(&self.err).unwrap_or_else(|error| panic!("{error}: {self:?}"))["error"].clone()
    }

    /// This, if the command ended so.
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// The words of the line that holds a text.
    pub(crate) fn line(&self, part: &str) -> String {
        let line = self.out.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {self:?}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Runs a command with these arguments, an input and variables, and nothing of the caller's environment that it would read.
pub(crate) fn soloist(arguments: &[&str], input: Option<&str>, variables: &[(&str, &str)]) -> Said {
    let mut command = Command::new(artifacts::soloist());
    for own in ["SOLOIST_URL", "SOLOIST_KEY", "SOLOIST_KEY_FILE"] {
        command.env_remove(own);
    }
    command.args(arguments).envs(variables.iter().copied());
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    if let Some(input) = input {
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// Runs a command against a host.
pub(crate) fn on(host: &Host, arguments: &[&str]) -> Said {
    soloist(arguments, None, &[("SOLOIST_URL", &format!("http://{}", host.address()))])
}
