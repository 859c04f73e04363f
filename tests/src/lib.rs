//! The harness of the end-to-end tests: builds what they run, starts hosts and ends them, and talks HTTP to them.
//!
//! It knows a host only from outside: its command line, its ready file, its log and its HTTP interface. Every host owns a
//! temp folder and a port of its own, so tests run beside each other. Start reading at [`Host`].

pub mod artifacts;
pub mod client;
pub mod folder;
pub mod host;
pub mod instances;
pub mod peer;
pub mod server;

pub use client::{Client, Reply};
pub use host::{Host, HostBuilder};
pub use peer::Peer;
pub use server::{Answer, Server};

use std::{fmt::Debug, future::Future, time::Duration};

use tokio::time::Instant;

/// How long a test waits for what must happen. Far more than it takes: tests run beside each other on slow machines.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Spans in milliseconds, each longer than the one before, for tests that must do something before a span is over: where the
/// machine was too slow for one they begin anew with the next.
pub const SPANS_MS: [u64; 4] = [400, 1_600, 6_400, 25_600];

/// What a look told: what was looked for, or what was there instead.
pub trait Look {
    /// What was looked for.
    type Found;

    /// The one, or a text about the other.
    ///
    /// # Errors
    /// What was there instead.
    fn found(self) -> Result<Self::Found, String>;
}

impl<T> Look for Option<T> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing of the kind".to_owned())
    }
}

impl<T, E: Debug> Look for Result<T, E> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:?}"))
    }
}

/// Looks again and again until it finds something.
///
/// # Panics
/// If there is nothing within [`PATIENCE`]; the message has what was there instead, if the look tells.
pub async fn eventually<L: Look, F: Future<Output = L>>(what: &str, mut look: impl FnMut() -> F) -> L::Found {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await.found() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < deadline, "waited in vain: {what}; there was {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
