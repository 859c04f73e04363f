//! The same worlds on several threads, in real time that goes fast: what a simulation on one thread cannot meet.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use soloist::storage::{Storage, memory::Memory, sqlite::Sqlite};

use crate::{
    dice::{Of, Tally},
    faults::Faults,
    world::{Open, Setup, World},
};

/// How much faster than real time goes a world's.
const PACE: u32 = 100;

/// For so long each backend is tried; `SOLOIST_STRESS_SECONDS` is another.
const SECONDS: u64 = 4;

/// So many commits are made at least, however long it takes: fewer would hardly meet anything.
const COMMITS: u64 = 1_000;

/// Runs worlds, several at once, for a while.
fn stress(first: u64, open: impl Fn(u64) -> Open + Sync) {
    let seconds = std::env::var("SOLOIST_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let sum = Tally::default();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (sum, open) = (&sum, &open);
            scope.spawn(move || {
                for seed in (first + thread..).step_by(16) {
                    if Instant::now() >= end && sum.get(Of::Work, "commits") >= COMMITS {
                        return;
                    }
                    let faults = Faults::of_seed(seed);
                    let setup = Setup { seed, faults, bug: None, pace: Some(PACE), open: open(seed) };
                    sum.merge(&World::run(setup));
                }
            });
        }
    });
    let (worlds, commits) = (sum.get(Of::Work, "seeds"), sum.get(Of::Work, "commits"));
    println!("{worlds} worlds, {commits} commits, {} faults", sum.sum(Of::Fault));
}

#[test]
fn threads_break_no_invariant_over_memory() {
    stress(0, |_| {
        let memory = Memory::new();
        Arc::new(move || Arc::new(memory.handle()) as Arc<dyn Storage>)
    });
}

#[test]
fn threads_break_no_invariant_over_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    stress(1_000_000, |seed| {
        let path = folder.path().join(format!("{seed}.db"));
        Arc::new(move || Arc::new(Sqlite::open(&path).expect("the file is opened")) as Arc<dyn Storage>)
    });
}
