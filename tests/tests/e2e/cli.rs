//! What the tests of the commands share: running one against a host, and reading what it says.

use std::{
    ffi::{CStr, OsStr},
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::fs::OpenOptionsExt as _,
    },
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
pub(crate) fn soloist(arguments: &[&str], input: Option<&str>, variables: &[(&str, impl AsRef<OsStr>)]) -> Said {
    let mut command = Command::new(artifacts::soloist());
    for own in ["SOLOIST_URL", "SOLOIST_KEY", "SOLOIST_KEY_FILE", "SOLOIST_CA_FILE"] {
        command.env_remove(own);
    }
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
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
    let mut command = Command::new(artifacts::soloist());
    command.args(arguments).envs(host.variables()).env("TERM", "xterm").env_remove("NO_COLOR");
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

/// A terminal: the end of who types and reads, and the program's. No host that a test beside this one starts inherits either:
/// with the latter, reading would end only with that host.
fn terminal() -> (File, File) {
    // SAFETY: a plain system call.
    let master = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    assert!(master >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it was opened just now and belongs to nobody else.
    let master = unsafe { File::from_raw_fd(master) };
    let mut name = [0; 64];
    // SAFETY: the descriptor is a terminal's; the name has a place of the length that is told.
    let made = unsafe {
        libc::grantpt(master.as_raw_fd()) == 0
            && libc::unlockpt(master.as_raw_fd()) == 0
            && libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr(), name.len()) == 0
    };
    assert!(made, "{}", std::io::Error::last_os_error());
    // SAFETY: the call succeeded: it has put a text with its end there.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_str().unwrap();
    let slave = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).unwrap();
    (master, slave)
}

/// Runs a command against a host.
pub(crate) fn on(host: &Host, arguments: &[&str]) -> Said {
    soloist(arguments, None, &host.variables())
}

/// Makes each of these a test twice: of a host that asks nobody for a key, and of one that asks for keys.
macro_rules! with_and_without_keys {
    ($($test:ident),* $(,)?) => {
        mod without_keys {
            $(#[tokio::test]
            async fn $test() {
                super::$test(soloist_tests::Host::builder()).await;
            })*
        }
        mod with_keys {
            $(#[tokio::test]
            async fn $test() {
                super::$test(soloist_tests::Host::builder().with_keys_of_its_caller()).await;
            })*
        }
    };
}
pub(crate) use with_and_without_keys;
