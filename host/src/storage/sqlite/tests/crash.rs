//! A process that ends at any commit: before it, and right after it.

use std::{
    ffi::{c_char, c_int, c_void},
    fs,
    io::Write as _,
    path::Path,
    process::Command,
};

use rusqlite::{Connection, ffi};

use super::{
    super::{Setup, Sqlite},
    scenario::{Model, Op, Picture, Random, assert_sound},
    temporary,
};
use crate::storage::conformance::wait;

/// Where in a commit the child ends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

/// What tells the child that it is one: `moment:k:progress file:database`.
const CHILD: &str = "SOLOIST_TEST_CRASH";

const BATCHES: usize = 60;

/// A mixed scenario in batches whose operations wait together.
fn script() -> Vec<Vec<Op>> {
    let (mut random, mut model) = (Random(26), Model::new());
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let limit = 1 + random.below(3) as usize;
        let batch = model.invent(&mut random, limit);
        for op in &batch {
            model.apply(op);
        }
        batches.push(batch);
    }
    let of_kind = |kind| batches.iter().flatten().any(|op: &Op| op.kind() == kind);
    for kind in [
        "start",
        "turn",
        "turn with a message",
        "message",
        "end",
        "purge",
        "continue-as-new",
        "rewind",
        "component",
        "component dropped",
        "collect",
        "operation",
        "batch",
    ] {
        assert!(of_kind(kind), "the scenario has no {kind}");
    }
    batches
}

/// Counts down to the commit at which the process ends.
struct Countdown {
    left: u64,
    moment: Moment,
}

/// SQLite calls this when a commit begins.
unsafe extern "C" fn before(countdown: *mut c_void) -> c_int {
    // SAFETY: `arm` gave it a countdown that is never freed, and only the commit thread uses it.
    let countdown = unsafe { &mut *countdown.cast::<Countdown>() };
    countdown.left -= 1;
    if countdown.left == 0 && countdown.moment == Moment::Before {
        std::process::abort();
    }
    0
}

/// SQLite calls this when a commit is durable, before COMMIT returns.
unsafe extern "C" fn after(countdown: *mut c_void, _: *mut ffi::sqlite3, _: *const c_char, _: c_int) -> c_int {
    // SAFETY: as above.
    let countdown = unsafe { &*countdown.cast::<Countdown>() };
    if countdown.left == 0 {
        std::process::abort();
    }
    0
}

/// Makes the connection end the process at its `k`-th commit from now on.
fn arm(conn: &Connection, k: u64, moment: Moment) {
    let countdown: *mut Countdown = Box::leak(Box::new(Countdown { left: k, moment }));
    // SAFETY: the handle is of a live connection, the hooks are of the types asked for, the countdown is never freed.
    unsafe {
        ffi::sqlite3_commit_hook(conn.handle(), Some(before), countdown.cast());
        ffi::sqlite3_wal_hook(conn.handle(), Some(after), countdown.cast());
    }
}

/// Not a test by itself: what the sweep runs in a process of its own.
#[test]
fn child() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let mut orders = orders.splitn(4, ':');
    let mut order = || orders.next().unwrap().to_owned();
    let moment = if order() == "Before" { Moment::Before } else { Moment::After };
    let k: u64 = order().parse().unwrap();
    let mut progress = fs::File::create(order()).unwrap();
    // The log is copied now and then, so that some commits are the first of a new log.
    let setup = Setup { checkpoint_pages: 30, ..Setup::default() };
    let storage = Sqlite::open_with(Path::new(&order()), &setup).unwrap();
    wait(storage.writer.submit(move |batch| {
        // The transaction that this runs in is one more.
        arm(batch.conn(), k + 1, moment);
        Ok(())
    }))
    .unwrap();
    for batch in script() {
        let futures: Vec<_> = batch.iter().map(|op| op.submit(&storage)).collect();
        for future in futures {
            wait(future).unwrap();
            progress.write_all(b"x").unwrap();
        }
    }
}

/// Runs the scenario up to the crash; how many operations were acknowledged, and whether it ran to its end.
fn run(k: u64, moment: Moment, path: &Path) -> (usize, bool) {
    let progress = path.with_extension("progress");
    let orders = format!("{moment:?}:{k}:{}:{}", progress.display(), path.display());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage::sqlite::tests::crash::child", "--test-threads=1"])
        .env(CHILD, orders)
        .output()
        .unwrap();
    let acknowledged = fs::metadata(progress).unwrap().len() as usize;
    (acknowledged, output.status.success())
}

#[test]
fn whatever_commit_a_process_ends_at_all_that_was_acknowledged_is_there_and_nothing_is_half() {
    let script = script();
    let ops: Vec<Op> = script.iter().flatten().cloned().collect();
    let pictures: Vec<Picture> = (0..=ops.len()).map(|count| Model::new().after(&ops[..count]).picture()).collect();
    for moment in [Moment::Before, Moment::After] {
        let mut stored_more = 0;
        let ended_at = (1..).find(|&k| {
            let (_folder, path) = temporary();
            let (acknowledged, ran_to_its_end) = run(k, moment, &path);
            let stored = stored_operations(&path, &pictures, acknowledged);
            stored_more += usize::from(stored > acknowledged);
            ran_to_its_end
        });
        let commits = ended_at.unwrap() - 1;
        assert!(commits >= BATCHES as u64 / 2, "{commits} commits");
        if moment == Moment::After {
            assert!(stored_more > 10, "a commit that is durable is there though nobody heard of it");
        }
    }
}

/// How many operations took effect, in order: at least those that were acknowledged, each as a whole.
fn stored_operations(path: &Path, pictures: &[Picture], acknowledged: usize) -> usize {
    let storage = Sqlite::open(path).unwrap();
    let seen = Picture::of(&storage).unwrap();
    drop(storage);
    assert_sound(&Connection::open(path).unwrap());
    let same = |count: &usize| pictures[*count] == seen;
    (acknowledged..pictures.len()).find(same).unwrap_or_else(|| {
        panic!("{acknowledged} operations were acknowledged, and what is stored is the outcome of no later number")
    })
}
