//! Responses that wait for a peer who lets nothing more come, on a connection that still moves.
//!
//! Over HTTP/1 a response that nobody reads stops the connection, and its stream sees that. Over HTTP/2 each response has a
//! window of its own: a peer that never widens it keeps the response, and all that is held for it, for as long as it likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The responses of one connection that wait for the peer.
#[derive(Debug, Default)]
pub(super) struct Stalls(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

impl Stalls {
    /// For how long the response has waited that has waited longest.
    pub(super) fn longest(&self) -> Duration {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.since.values().map(Instant::elapsed).max().unwrap_or_default()
    }
}

/// One response.
#[derive(Debug)]
pub(super) struct Stall {
    stalls: Arc<Stalls>,
    number: u64,
}

impl Stall {
    pub(super) fn new(stalls: &Arc<Stalls>) -> Self {
        let mut waiting = stalls.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.next += 1;
        Self { stalls: Arc::clone(stalls), number: waiting.next }
    }

    /// The peer has what it was given before; whether it was given more just now.
    pub(super) fn set(&self, is_given: bool) {
        let mut waiting = self.stalls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_given {
            waiting.since.insert(self.number, Instant::now());
        } else {
            waiting.since.remove(&self.number);
        }
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.set(false);
    }
}
