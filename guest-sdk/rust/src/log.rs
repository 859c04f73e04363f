//! Lines for the host's log.
//!
//! The host adds function, instance and invocation. Orchestrators log through
//! [`crate::OrchestrationContext::log`], which is silent while they replay.

use std::fmt::Display;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For whoever hunts a fault.
    Debug,
    /// What happens, in normal operation.
    Info,
    /// Odd, but handled.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a line. Outside of the host (in unit tests) it goes to standard error.
pub fn write(level: Level, message: impl Display) {
    #[cfg(target_arch = "wasm32")]
    {
        use crate::bindings::soloist::functions::log as wit;
        let level = match level {
            Level::Trace => wit::Level::Trace,
            Level::Debug => wit::Level::Debug,
            Level::Info => wit::Level::Info,
            Level::Warn => wit::Level::Warn,
            Level::Error => wit::Level::Error,
        };
        wit::write(level, &message.to_string());
    }
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?}: {message}");
}

/// Writes a line of [`Level::Debug`].
pub fn debug(message: impl Display) {
    write(Level::Debug, message);
}

/// Writes a line of [`Level::Info`].
pub fn info(message: impl Display) {
    write(Level::Info, message);
}

/// Writes a line of [`Level::Warn`].
pub fn warn(message: impl Display) {
    write(Level::Warn, message);
}

/// Writes a line of [`Level::Error`].
pub fn error(message: impl Display) {
    write(Level::Error, message);
}
