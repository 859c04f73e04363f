//! Random operations on a disk that fails at random: what was acknowledged is there, and nothing is half.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{
    super::{OpenError, Setup, Sqlite},
    faulty_vfs::{Disk, Fault},
    scenario::{Answer, Model, Op, Picture, Random, assert_sound},
    temporary,
};
use crate::storage::{
    Storage, StorageError,
    conformance::{begin, see, wait},
};

/// What a run did, for the sum of all.
type Tally = BTreeMap<String, u64>;

fn count(tally: &mut Tally, what: impl Into<String>) {
    *tally.entry(what.into()).or_default() += 1;
}

/// A task hub that lives through many processes, each on a disk that may fail.
struct Run {
    random: Random,
    _folder: TempDir,
    path: PathBuf,
    model: Model,
    /// Operations that were answered "unknown", in order.
    unknown: Vec<Op>,
    tally: Tally,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndOfProcess {
    Closed,
    ClosedAndPowerCut,
    Killed,
    PowerCut,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (folder, path) = temporary();
        Self {
            random: Random(seed),
            _folder: folder,
            path,
            model: Model::new(),
            unknown: Vec::new(),
            tally: Tally::new(),
        }
    }

    fn process(&mut self) {
        let disk = Disk::new(self.random.number());
        let fault = self.random.pick(&Fault::ALL);
        let (early, before) = (self.random.percent(15), self.random.below(60));
        if early {
            disk.arm(fault, before % 12);
        }
        let checkpoint_pages = self.random.pick(&[5, 20, 4000]);
        match Sqlite::open_with(&self.path, &Setup { vfs: Some(disk.name.clone()), checkpoint_pages }) {
            Ok(storage) => {
                if !early && self.random.percent(90) {
                    disk.arm(fault, before);
                }
                self.operate(&storage);
                self.end(&disk, storage);
                let changes = disk.changes_after_failed_sync();
                assert_eq!(changes, 0, "after a sync failed nothing is written, not even on close");
            }
            Err(error) => {
                assert!(disk.fired().is_some(), "a disk that works is opened: {error}");
                let is_honest = match error {
                    OpenError::Io { .. } | OpenError::Full { .. } | OpenError::Setting { .. } => true,
                    OpenError::Foreign { .. }
                    | OpenError::Corrupt { .. }
                    | OpenError::Newer { .. }
                    | OpenError::Busy { .. } => false,
                };
                assert!(is_honest, "{:?}: {error}", disk.fired());
                count(&mut self.tally, "open refused");
                disk.kill();
                if self.random.percent(50) {
                    self.cut_power(&disk);
                }
            }
        }
        if let Some(fault) = disk.fired() {
            count(&mut self.tally, format!("fault {fault:?}"));
        }
    }

    /// Operations until something is unknown, or long enough.
    fn operate(&mut self, storage: &Sqlite) {
        for _ in 0..5 + self.random.below(25) {
            let limit = 1 + self.random.below(4) as usize;
            let ops = self.model.invent(&mut self.random, limit);
            let futures: Vec<_> = ops.iter().map(|op| op.submit(storage)).collect();
            let answers: Vec<Result<Answer, StorageError>> = futures.into_iter().map(wait).collect();
            for (op, answer) in ops.iter().zip(answers) {
                count(&mut self.tally, op.kind());
                match answer {
                    Ok(answer) => {
                        assert!(self.unknown.is_empty(), "nothing is accepted after something is unknown");
                        assert_eq!(self.model.apply(op), answer, "{op:?}");
                    }
                    // Not stored, and the storage goes on.
                    Err(StorageError::Full(_)) => count(&mut self.tally, "answer Full"),
                    Err(StorageError::Poisoned(_)) => {
                        count(&mut self.tally, "answer Poisoned");
                        self.unknown.push(op.clone());
                    }
                    Err(error @ (StorageError::Busy(_) | StorageError::Corrupt(_))) => panic!("{error}: {op:?}"),
                }
            }
            if !self.unknown.is_empty() {
                return;
            }
        }
        match Picture::of(storage) {
            Ok(seen) => assert_eq!(seen, self.model.picture()),
            Err(StorageError::Poisoned(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn end(&mut self, disk: &Disk, storage: Sqlite) {
        let how = self.random.pick(&[
            EndOfProcess::Closed,
            EndOfProcess::ClosedAndPowerCut,
            EndOfProcess::Killed,
            EndOfProcess::PowerCut,
        ]);
        match how {
            EndOfProcess::Closed | EndOfProcess::ClosedAndPowerCut => {
                let closed = wait(storage.close());
                assert!(closed.is_ok() || disk.fired().is_some(), "{closed:?}");
            }
            EndOfProcess::Killed | EndOfProcess::PowerCut => disk.kill(),
        }
        drop(storage);
        match how {
            EndOfProcess::PowerCut | EndOfProcess::ClosedAndPowerCut => self.cut_power(disk),
            // The power fails in the midst of it, whatever was planned.
            _ if disk.fired() == Some(Fault::PowerCut) => self.cut_power(disk),
            EndOfProcess::Closed | EndOfProcess::Killed => {}
        }
        count(&mut self.tally, format!("end {how:?}"));
    }

    fn cut_power(&self, disk: &Disk) {
        disk.cut_power();
        let _ = fs::remove_file(beside(&self.path, "-shm"));
    }

    /// Looks at a copy of what the process left behind, so that the next one finds it as it was left.
    fn check(&mut self) {
        let (_folder, copy) = temporary();
        for suffix in ["", "-wal", "-journal"] {
            if beside(&self.path, suffix).exists() {
                fs::copy(beside(&self.path, suffix), beside(&copy, suffix)).unwrap();
            }
        }
        let disk = Disk::new(0);
        let storage = Sqlite::open_with(&copy, &Setup { vfs: Some(disk.name.clone()), ..Setup::default() }).unwrap();
        let seen = Picture::of(&storage).unwrap();
        drop(storage);
        assert_sound(&Connection::open(&copy).unwrap());
        let unknown = std::mem::take(&mut self.unknown);
        // What is unknown was written in order or not at all.
        let stored = (0..=unknown.len()).map(|count| self.model.after(&unknown[..count]));
        self.model = stored.into_iter().find(|model| model.picture() == seen).unwrap_or_else(|| {
            panic!("acknowledged: {:#?}\nunknown: {unknown:#?}\nstored: {seen:#?}", self.model.picture())
        });
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

fn run(seed: u64) -> Tally {
    let mut run = Run::new(seed);
    for _ in 0..5 {
        run.process();
        run.check();
    }
    run.tally
}

/// `SOLOIST_SEEDS` runs others, and more: it is a count, or `from..to`.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("SOLOIST_SEEDS") else { return 0..300 };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str| text.trim().parse().expect("SOLOIST_SEEDS is a count or from..to");
    number(from)..number(to)
}

#[test]
fn whatever_the_disk_does_all_that_was_acknowledged_is_there_and_nothing_is_half() {
    let (seeds, next) = (seeds(), std::sync::atomic::AtomicU64::new(seeds().start));
    let tallies = std::thread::scope(|scope| {
        let work = || {
            let mut sum = Tally::new();
            loop {
                let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if seed >= seeds.end {
                    return sum;
                }
                let ran = std::panic::catch_unwind(|| run(seed));
                let tally = ran.unwrap_or_else(|_| panic!("seed {seed}: SOLOIST_SEEDS={seed}..{} runs it", seed + 1));
                for (what, times) in tally {
                    *sum.entry(what).or_default() += times;
                }
            }
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let mut sum = Tally::new();
    for (what, times) in tallies.into_iter().flatten() {
        *sum.entry(what).or_default() += times;
    }
    println!("{sum:#?}");
    if seeds.end - seeds.start >= 100 {
        for fault in Fault::ALL {
            assert!(sum.get(&format!("fault {fault:?}")).is_some_and(|&times| times >= 20), "{fault:?} is too rare");
        }
    }
}

#[test]
fn a_failed_sync_ends_storage_which_never_tries_again() {
    let (_folder, path) = temporary();
    let disk = Disk::new(1);
    let storage = Sqlite::open_with(&path, &Setup { vfs: Some(disk.name.clone()), ..Setup::default() }).unwrap();
    begin(&storage, "a", 1);
    disk.arm(Fault::Sync, 0);
    let start = |text| crate::storage::conformance::start_of(text, crate::durable::OverridableStates::None, 2);
    assert!(matches!(wait(storage.start(start("b"))), Err(StorageError::Poisoned(_))));
    assert!(matches!(wait(storage.start(start("c"))), Err(StorageError::Poisoned(_))));
    assert!(matches!(wait(storage.close()), Err(StorageError::Poisoned(_))));
    drop(storage);
    assert_eq!(disk.changes_after_failed_sync(), 0);
    disk.cut_power();
    fs::remove_file(beside(&path, "-shm")).unwrap();
    let storage = Sqlite::open(&path).unwrap();
    assert!(see(&storage, "a").is_some() && see(&storage, "c").is_none());
}
