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

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// How long a test waits for what must happen. Far more than it takes: tests run beside each other on slow machines.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none within [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
