//! What only SQLite can do wrong.

mod backup;
mod crash;
mod faults;
mod faulty_vfs;
mod golden;
mod scenario;

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{OpenError, Sqlite, schema};
use crate::{
    durable::{Json, OverridableStates, RuntimeStatus, Timestamp, TurnNumber},
    storage::{
        Put, Query, Storage, StorageError, Want,
        conformance::{Backend, begin, event, id, ids, ok, see, start_of, wait, with_summary},
    },
};

fn fresh() -> Backend {
    let (folder, path) = temporary();
    Backend {
        open: Box::new(move || Arc::new(Sqlite::open(&path).unwrap()) as Arc<dyn Storage>),
        _keep: Box::new(folder),
    }
}

fn temporary() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    (folder, path)
}

crate::storage::conformance::storage_conformance!(conformance, super::fresh);

/// A file with some instances in it, closed.
fn filled(path: &Path) {
    let storage = Sqlite::open(path).unwrap();
    for number in 0..50 {
        let mut live = begin(&storage, &format!("a{number}"), 1);
        live.run(&storage, 2);
    }
    ok(storage.close());
}

fn refusal(path: &Path) -> OpenError {
    let before = fs::read(path).unwrap();
    let error = Sqlite::open(path).unwrap_err();
    assert_eq!(fs::read(path).unwrap(), before, "a file that is refused stays as it is");
    assert!(error.to_string().contains("hub.db"), "{error}");
    error
}

#[test]
fn settings_are_what_durability_needs() {
    let (_folder, path) = temporary();
    let conn = schema::open_writer(&path, None).unwrap();
    let text = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, String>(0)).unwrap();
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(text("journal_mode"), "wal");
    assert_eq!(number("synchronous"), 2);
    assert_eq!(number("page_size"), 4096);
    assert_eq!(number("cell_size_check"), 1);
    assert_eq!(number("wal_autocheckpoint"), 0);
    assert_eq!(number("busy_timeout"), 5000);
    assert_eq!(number("application_id"), i64::from(schema::APPLICATION_ID));
    assert_eq!(number("user_version"), i64::from(schema::FORMAT));
}

#[test]
fn a_foreign_file_is_refused() {
    let (_folder, path) = temporary();
    for bytes in [&b"hello"[..], &[b'x'; 5000]] {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(refusal(&path), OpenError::Foreign { .. }));
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
    assert!(matches!(refusal(&path), OpenError::Foreign { .. }));
    let (folder, _) = temporary();
    assert!(matches!(Sqlite::open(folder.path()), Err(OpenError::Foreign { .. })), "a folder");
    assert!(matches!(Sqlite::open(&folder.path().join("no/hub.db")), Err(OpenError::Io { .. })));
}

#[test]
fn a_newer_format_is_refused() {
    let (_folder, path) = temporary();
    filled(&path);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", schema::FORMAT + 1).unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::Newer { format: 2, .. }), "{error}");
}

#[test]
fn a_corrupt_or_truncated_file_is_refused() {
    let (_folder, path) = temporary();
    filled(&path);
    let whole = fs::read(&path).unwrap();
    for length in [50, 100, 4096, whole.len() - 4096, whole.len() - 100] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refusal(&path);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{length}: {error}");
    }
    let mut hurt = whole.clone();
    hurt[4096..].fill(0xa5);
    fs::write(&path, &hurt).unwrap();
    assert!(matches!(refusal(&path), OpenError::Corrupt { .. }));
    fs::write(&path, &whole).unwrap();
    let storage = Sqlite::open(&path).unwrap();
    assert_eq!(ids(&storage, &Query { limit: 100, ..Query::default() }).len(), 50);
}

#[test]
fn a_record_that_is_not_what_was_written_is_refused_and_the_others_are_served() {
    let (_folder, path) = temporary();
    filled(&path);
    let hurt = Connection::open(&path).unwrap();
    hurt.execute("UPDATE history SET record = zeroblob(30) WHERE generation = 1 AND turn = 1", ()).unwrap();
    hurt.execute("DELETE FROM history WHERE generation = 2 AND turn = 0", ()).unwrap();
    hurt.execute("UPDATE instance SET status = 1 WHERE key = 3", ()).unwrap();
    drop(hurt);
    let storage = Sqlite::open(&path).unwrap();
    for text in ["a0", "a1", "a2"] {
        let read = wait(storage.snapshot(id(text), Want { input: true, history: true }));
        assert!(matches!(&read, Err(StorageError::Corrupt(_))), "{text}: {read:?}");
    }
    // In one batch with good commits, a commit that meets corruption fails alone.
    let batch: Vec<_> = ["a0", "n1", "n2", "a0", "n3"]
        .map(|text| storage.start(start_of(text, OverridableStates::NonRunningStates, 5)))
        .into_iter()
        .map(wait)
        .collect();
    assert_eq!(batch.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, true, false, true]);
    assert!(matches!(batch[0], Err(StorageError::Corrupt(_))));
    assert!(see(&storage, "n3").is_some() && see(&storage, "a9").is_some());
}

/// Allows the file no more pages than it has, or any number.
fn limit_pages(storage: &Sqlite, pages: Option<i64>) {
    ok(storage.writer.submit(move |batch| {
        let conn = batch.conn();
        let now: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let max = pages.map_or(1 << 30, |more| now + more);
        conn.pragma_update_and_check(None, "max_page_count", max, |_| Ok(()))?;
        Ok(())
    }));
}

#[test]
fn a_full_disk_refuses_commits_keeps_what_was_acknowledged_and_recovers() {
    let (_folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    limit_pages(&storage, Some(20));
    let start = |number: i32| {
        let mut start = start_of(&format!("a{number}"), OverridableStates::NonRunningStates, 1);
        Arc::get_mut(&mut start.started).unwrap().input = Json::string(&"x".repeat(3000));
        start
    };
    let answers: Vec<_> = (0..100).map(|number| wait(storage.start(start(number)))).collect();
    let accepted = answers.iter().take_while(|answer| answer.is_ok()).count();
    assert!((5..40).contains(&accepted), "{accepted}");
    assert!(answers[accepted..].iter().all(|answer| matches!(answer, Err(StorageError::Full(_)))), "{answers:?}");
    // Many at once: a batch is refused as a whole.
    let together: Vec<_> = (200..250).map(|number| storage.start(start(number))).collect();
    assert!(together.into_iter().map(wait).all(|answer| matches!(answer, Err(StorageError::Full(_)))));
    assert_eq!(ids(&storage, &Query { limit: 1000, ..Query::default() }).len(), accepted);
    limit_pages(&storage, None);
    for number in 0..100 {
        let answer = wait(storage.start(start(number))).unwrap();
        assert_eq!(matches!(answer, crate::storage::Started::Exists { .. }), (number as usize) < accepted);
    }
    ok(storage.close());
    assert_eq!(ids(&Sqlite::open(&path).unwrap(), &Query { limit: 1000, ..Query::default() }).len(), 100);
}

#[test]
fn a_panic_in_a_commit_ends_storage_and_hangs_nobody() {
    let (_folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    begin(&storage, "a", 1);
    let panicked = wait(storage.writer.submit::<()>(|_| panic!("on purpose")));
    assert!(matches!(panicked, Err(StorageError::Poisoned(_))), "{panicked:?}");
    let after = wait(storage.start(start_of("b", OverridableStates::AnyState, 1)));
    assert!(matches!(after, Err(StorageError::Poisoned(_))), "{after:?}");
    assert!(matches!(wait(storage.snapshot(id("a"), Want::default())), Err(StorageError::Poisoned(_))));
    assert!(matches!(wait(storage.close()), Err(StorageError::Poisoned(_))));
    drop(storage);
    let storage = Sqlite::open(&path).unwrap();
    assert!(see(&storage, "a").is_some() && see(&storage, "b").is_none());
}

#[test]
fn a_panic_in_a_read_hurts_only_that_read() {
    let (_folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    for _ in 0..10 {
        let panicked = wait(storage.readers.submit::<()>(super::Length::Short, |_| panic!("on purpose")));
        assert!(matches!(panicked, Err(StorageError::Busy(_))), "{panicked:?}");
    }
    begin(&storage, "a", 1);
    assert!(see(&storage, "a").is_some());
}

#[test]
fn a_lock_that_another_holds_too_long_is_busy_and_nothing_is_stored() {
    let (_folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = wait(storage.start(start_of("a", OverridableStates::AnyState, 1)));
    assert!(matches!(busy, Err(StorageError::Busy(_))), "{busy:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(see(&storage, "a").is_none());
    begin(&storage, "a", 2);
}

#[test]
fn commits_that_nobody_waits_for_are_kept_when_the_handle_is_dropped() {
    let (_folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    for number in 0..500 {
        drop(storage.start(start_of(&format!("a{number}"), OverridableStates::AnyState, 1)));
    }
    drop(storage);
    let storage = Sqlite::open(&path).unwrap();
    assert_eq!(ids(&storage, &Query { limit: 1000, ..Query::default() }).len(), 500);
    ok(storage.close());
    ok(storage.close());
    let closed = wait(storage.put_message(event("a1", "x")));
    assert!(matches!(closed, Err(StorageError::Poisoned(_))));
}

#[test]
fn handles_that_make_a_new_file_at_once_agree() {
    for _ in 0..5 {
        let (_folder, path) = temporary();
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let path = path.clone();
                std::thread::spawn(move || begin(&Sqlite::open(&path).unwrap(), &format!("a{number}"), 1).instance)
            })
            .collect();
        let mut keys: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap().0).collect();
        keys.sort_unstable();
        assert_eq!(keys, [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn a_log_that_was_not_copied_is_read_and_a_torn_commit_in_it_is_not() {
    let (folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    let mut live = begin(&storage, "a", 1);
    live.run(&storage, 2);
    // What a killed process leaves behind.
    let copy = folder.path().join("copy.db");
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    fs::copy(&path, &copy).unwrap();
    fs::copy(log(&path), log(&copy)).unwrap();
    let mut torn = fs::OpenOptions::new().write(true).open(log(&copy)).unwrap();
    let length = torn.seek(SeekFrom::End(0)).unwrap();
    torn.seek(SeekFrom::Start(length - 2000)).unwrap();
    torn.write_all(&[0; 2000]).unwrap();
    drop(torn);
    let recovered = Sqlite::open(&copy).unwrap();
    let records = see(&recovered, "a").unwrap().history.unwrap().len();
    assert_eq!(records, 1, "the last commit is torn, the one before it is whole");
}

#[test]
fn the_log_stays_short_and_the_history_whole() {
    let (_folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    let mut live = begin(&storage, "a", 1);
    for time in 2..400 {
        let turn = live.turn(
            time,
            RuntimeStatus::Running,
            vec![crate::durable::HistoryEvent::CustomStatusSet { status: Json::string(&"s".repeat(300_000)) }],
        );
        let turn = with_summary(turn, |summary| summary.custom_status = Some(TurnNumber(1)));
        live.commit(&storage, turn);
    }
    let log = fs::metadata(format!("{}-wal", path.display())).unwrap().len();
    assert!(log < 40 << 20, "120 MB were written, and the log has {log} bytes");
    assert_eq!(see(&storage, "a").unwrap().updated, Timestamp(399));
    assert!(matches!(ok(storage.put_message(event("a", "x"))), Put::Accepted { .. }));
}
