//! What the tests of the commands share: running one against a host, and reading what it says.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{FromRawFd as _, OwnedFd},
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

/// Runs a command on a terminal of its own, where somebody types this; returns its exit code and all that the terminal shows.
pub(crate) fn on_terminal(host: &Host, arguments: &[&str], typed: &str, variables: &[(&str, &str)]) -> (i32, String) {
    let (mut master, slave) = terminal();
    let other = || Stdio::from(slave.try_clone().unwrap());
    let url = format!("http://{}", host.address());
    let mut command = Command::new(artifacts::soloist());
    command.args(arguments).arg("--url").arg(url).env("TERM", "xterm").env_remove("NO_COLOR");
    command.envs(variables.iter().copied()).stdin(other()).stdout(other()).stderr(other());
    let mut child = command.spawn().unwrap();
    // The child has the only ends left: once it ends, so does what is read.
    drop(command);
    drop(slave);
    master.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = master.read(&mut piece) {
        shown.extend_from_slice(&piece[..length]);
    }
    (child.wait().unwrap().code().unwrap(), String::from_utf8(shown).unwrap())
}

/// A terminal: the end of who types and reads, and the program's.
fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let (name, settings, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: two valid places for the descriptors; the rest may be null.
    let opened = unsafe { libc::openpty(&raw mut master, &raw mut slave, name, settings, size) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: both were opened just now and belong to nobody else.
    unsafe { (File::from(OwnedFd::from_raw_fd(master)), OwnedFd::from_raw_fd(slave)) }
}

/// Runs a command against a host.
pub(crate) fn on(host: &Host, arguments: &[&str]) -> Said {
    soloist(arguments, None, &[("SOLOIST_URL", &format!("http://{}", host.address()))])
}
