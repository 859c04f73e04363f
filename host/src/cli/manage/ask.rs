//! Asking before something is deleted.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::failure::Failure;

/// Returns if the caller said `--yes`, or says yes now.
///
/// # Errors
/// If the answer is no, or if nobody can be asked. Nothing has been done then.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} Nobody can be asked here: say --yes. Nothing was done")));
    }
    // Standard output is for results.
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::failed("nothing was done"))
}
