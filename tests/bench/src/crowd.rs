//! Many clients at once, each doing one thing after the other.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use tokio::task::JoinHandle;

use crate::report::Samples;

/// What one client took down.
#[derive(Debug, Default)]
pub struct Tally {
    /// How long each thing took.
    pub taken: Vec<Duration>,
    /// How many things are to be told apart from these: each client says what it means.
    pub uncounted: usize,
}

impl Tally {
    /// Takes down something that began at `began` and has ended now.
    pub fn add(&mut self, began: Instant) {
        self.taken.push(began.elapsed());
    }

    /// Takes down something that began at `began` and has ended now, if now is between the two moments; else it only counts.
    /// Whether the second moment has come.
    pub fn add_between(&mut self, began: Instant, from: Instant, until: Instant) -> bool {
        let now = Instant::now();
        if (from..until).contains(&now) {
            self.taken.push(now - began);
        } else {
            self.uncounted += 1;
        }
        now >= until
    }
}

/// Clients, and the threads that they share.
#[derive(Debug)]
pub struct Crowd {
    runtime: tokio::runtime::Runtime,
}

impl Crowd {
    /// Threads for clients: two, so that the host has the others.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { runtime })
    }

    /// Runs one future to its end.
    pub fn run<T>(&self, one: impl Future<Output = T>) -> T {
        self.runtime.block_on(one)
    }

    /// Sends one client off.
    pub fn spawn<T: Send + 'static>(&self, one: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.runtime.spawn(one)
    }

    /// Runs so many clients to their ends and gathers what they took down, and how much they set apart.
    ///
    /// # Errors
    /// The first client's that failed, or if nothing was taken down.
    pub fn measure<C>(&self, clients: usize, client: impl Fn(usize) -> C) -> Result<(Samples, usize)>
    where
        C: Future<Output = Result<Tally>> + Send + 'static,
    {
        let began = Instant::now();
        let clients: Vec<_> = (0..clients).map(|number| self.runtime.spawn(client(number))).collect();
        let mut all = Tally::default();
        for client in clients {
            let tally = self.runtime.block_on(client)??;
            all.taken.extend(tally.taken);
            all.uncounted += tally.uncounted;
        }
        ensure!(!all.taken.is_empty(), "nothing was measured");
        Ok((Samples::new(all.taken, began.elapsed()), all.uncounted))
    }
}
