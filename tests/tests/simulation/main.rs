//! Deterministic simulation: the core and the hub over memory storage, with scripted functions. The process ends between any
//! two storage calls, commits fail and answers are lost, calls are delayed, the wall clock jumps, guests come and go. One seed
//! is one trace.
//!
//! `SOLOIST_SEEDS=100000 cargo test --release -p soloist-tests --test simulation no_seed` runs more seeds, `1000..2000`
//! others; `SOLOIST_SEED=17` runs one and prints its trace.
//!
//! To add a production of programs begin at `program.rs` (with entities at `entities.rs`), of timer functions at `timers.rs`, of clients at `clients.rs`, a fault at `faults.rs`, a planted
//! mistake at `bugs.rs`. What must hold in the end is in `check.rs`, what must not be left over in `operator.rs`.

mod branches;
mod bugs;
mod check;
mod clients;
mod dice;
mod entities;
mod entity_world;
mod faults;
mod guest;
mod operator;
mod plan;
mod planted;
mod program;
mod threads;
mod timer_oracle;
mod timers;
mod world;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dice::{Of, Tally};
use world::{Setup, World};

/// Runs seeds on all cores; panics with the first seed that breaks an invariant.
fn run_seeds(seeds: Range<u64>) -> Tally {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let next = Arc::new(AtomicU64::new(seeds.start));
    let workers = (0..threads).map(|_| {
        let (next, end) = (next.clone(), seeds.end);
        std::thread::spawn(move || {
            let tally = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return tally;
                }
                tally.merge(&World::run(Setup::of_seed(seed)));
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    let tally = Tally::default();
    for worker in workers {
        tally.merge(&worker.join().expect("a seed failed; the panic above names it"));
    }
    tally
}

/// `SOLOIST_SEEDS` is a count, or `from..to`.
fn seeds() -> Range<u64> {
    let number = |text: &str| text.trim().parse().expect("SOLOIST_SEEDS is a count or from..to");
    if let Ok(seed) = std::env::var("SOLOIST_SEED") {
        let seed = seed.parse().expect("SOLOIST_SEED is a number");
        return seed..seed + 1;
    }
    match std::env::var("SOLOIST_SEEDS") {
        Ok(text) => match text.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => 0..number(&text),
        },
        Err(_) => 0..1_000,
    }
}

#[test]
fn no_seed_breaks_an_invariant() {
    let tally = run_seeds(seeds());
    tally.print();
    let seeds = tally.get(Of::Work, "seeds");
    let (commits, faults) = (tally.get(Of::Work, "commits"), tally.sum(Of::Fault));
    println!("per seed: {} commits, {} faults", commits / seeds, faults / seeds);
    if seeds >= 1_000 {
        assert!(commits / seeds >= 20, "seeds must do something");
        assert!(faults / seeds >= 2, "and meet faults");
        for what in faults::FAULTS {
            assert!(tally.get(Of::Fault, what) > seeds / 200, "hardly any: {what}");
        }
        for what in program::STEPS.iter().chain(entities::STEPS).chain(plan::CLIENTS).chain(timers::TIMERS) {
            assert!(tally.get(Of::Production, what) > seeds / 200, "hardly any: {what}");
        }
    }
}

/// Seeds that found something which few others find.
const RARE: &[(u64, &str)] = &[
    (79_970, "a life ends while all is being deleted, and what is deleted comes to be again in the next one"),
    (369_616, "an instance is terminated while the page of what is due, on which its timer stands, is on its way"),
    (720_764, "the same, found a second time"),
    (667_060, "a message comes for what takes a suspended instance's place, before the hub knows of that start"),
    (1_095_440, "a message comes for a scheduled start before the hub knows of it"),
    (178_696, "a resume that was sent to one instance reaches the one that took its place"),
];

#[test]
fn no_rare_seed_breaks_an_invariant() {
    for (seed, what) in RARE {
        println!("{seed}: {what}");
        drop(World::run(Setup::of_seed(*seed)));
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
