//! Deterministic simulation: the core and the hub over memory storage, with scripted functions. The process "crashes" between
//! any two storage calls, commits fail and answers are lost, calls are delayed, the wall clock jumps. One seed is one trace.
//!
//! `SOLOIST_SEEDS=100000 cargo test --release -p soloist-tests --test simulation` runs more seeds;
//! `SOLOIST_SEED=17` runs one and prints its trace.

mod check;
mod entities;
mod faults;
mod program;
mod world;

use faults::Faults;
use world::World;

/// Runs seeds on all cores; panics with the first seed that breaks an invariant.
fn run_seeds(first: u64, count: u64) -> Totals {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
    let workers: Vec<_> = (0..threads)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut totals = Totals::default();
                for seed in (first + thread..first + count).step_by(threads as usize) {
                    totals.add(&World::run(seed, Faults::of_seed(seed)));
                }
                totals
            })
        })
        .collect();
    let mut totals = Totals::default();
    for worker in workers {
        totals.merge(&worker.join().expect("a seed failed; the panic above names it"));
    }
    totals
}

/// What the seeds did, so that a run that tested nothing is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Worlds.
    pub seeds: u64,
    /// Transactions.
    pub commits: u64,
    /// Ends of a process in the midst of its work.
    pub crashes: u64,
    /// Storage calls that failed.
    pub storage_errors: u64,
    /// Jumps of the wall clock.
    pub clock_jumps: u64,
    /// Guests that were rebuilt.
    pub replays: u64,
    /// Instances that completed.
    pub completed: u64,
    /// Instances that were terminated.
    pub terminated: u64,
    /// External events that code received.
    pub events_consumed: u64,
    /// Starts that the gate refused.
    pub refused_starts: u64,
    /// Instances that a start replaced.
    pub replaced: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.merge(other);
        self.seeds += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.commits += other.commits;
        self.crashes += other.crashes;
        self.storage_errors += other.storage_errors;
        self.clock_jumps += other.clock_jumps;
        self.replays += other.replays;
        self.completed += other.completed;
        self.terminated += other.terminated;
        self.events_consumed += other.events_consumed;
        self.refused_starts += other.refused_starts;
        self.replaced += other.replaced;
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_seed_breaks_an_invariant() {
    let totals = match variable("SOLOIST_SEED") {
        Some(seed) => run_seeds(seed, 1),
        None => run_seeds(0, variable("SOLOIST_SEEDS").unwrap_or(1_000)),
    };
    println!("{totals:#?}");
    if totals.seeds >= 1_000 {
        assert!(totals.commits / totals.seeds >= 20, "seeds must do something");
        assert!((totals.crashes + totals.storage_errors + totals.clock_jumps) / totals.seeds >= 2, "and meet faults");
        for (what, count) in [
            ("replays", totals.replays),
            ("completed instances", totals.completed),
            ("terminated instances", totals.terminated),
            ("consumed events", totals.events_consumed),
            ("refused starts", totals.refused_starts),
            ("replaced instances", totals.replaced),
        ] {
            assert!(count > totals.seeds / 20, "hardly any {what}: {count}");
        }
    }
}

#[test]
fn one_seed_is_one_trace() {
    for seed in 0..20 {
        let first = World::trace(seed);
        assert!(first.len() > 20, "a trace tells what happened");
        assert_eq!(first, World::trace(seed), "seed {seed}");
    }
}
