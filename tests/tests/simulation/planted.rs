//! Every planted mistake is found.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    bugs::{BUGS, Bug},
    world::{Setup, World},
};

/// Within so many seeds each must be found.
const SEEDS_MAX: u64 = 10_000;

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Threads that look for mistakes find them by panics: nobody needs to read those.
fn be_silent() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                before(info);
            }
        }));
    });
    SILENT.set(true);
}

/// The first seed at which a mistake is found, and how.
fn find(bug: &'static Bug) -> Option<(u64, String)> {
    #[cfg(feature = "planted-bugs")]
    soloist::planted::plant(bug.inside);
    let found = (0..SEEDS_MAX).find_map(|seed| {
        let setup = Setup { bug: Some(bug), ..Setup::of_seed(seed) };
        let panic = catch_unwind(AssertUnwindSafe(|| World::run(setup))).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some((seed, text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()))
    });
    #[cfg(feature = "planted-bugs")]
    soloist::planted::plant(None);
    found
}

/// `SOLOIST_BUG=leak,fence` looks for the mistakes whose names hold one of these.
#[test]
fn every_planted_bug_is_found() {
    let words = std::env::var("SOLOIST_BUG").unwrap_or_default();
    let words: Vec<_> = words.split(',').collect();
    let bugs: Vec<_> = BUGS.iter().filter(|bug| words.iter().any(|words| bug.name.contains(words))).collect();
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                be_silent();
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match find(bug) {
                        Some((seed, text)) => {
                            let how: String = text.chars().take(100).collect();
                            println!("{:<56} found at seed {seed}: {}", bug.name, how.replace('\n', " "));
                        }
                        None => {
                            missed.fetch_add(1, Ordering::Relaxed);
                            println!("{:<56} NOT FOUND in {SEEDS_MAX} seeds", bug.name);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(missed.into_inner(), 0, "planted mistakes were not found");
}
