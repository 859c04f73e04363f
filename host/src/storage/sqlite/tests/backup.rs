//! Copies of live databases.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::Connection;

use super::{
    super::{CopyError, Existing, OpenError, Sqlite, backup, restore},
    filled,
    scenario::assert_sound,
    temporary,
};
use crate::{
    durable::OverridableStates,
    storage::{
        INBOX_PAGE, Query, Started, Storage,
        conformance::{Live, begin, event, ids, inbox, ok, see, start_of},
    },
};

fn all(path: &Path) -> Vec<String> {
    ids(&Sqlite::open(path).unwrap(), &Query { limit: 1000, ..Query::default() })
}

#[test]
fn a_backup_under_concurrent_commits_has_all_that_was_acknowledged_before_it_began() {
    let (folder, path) = temporary();
    let storage = Arc::new(Sqlite::open(&path).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (storage, stop) = (Arc::clone(&storage), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut live = begin(&*storage, &format!("writer {writer}"), 1);
                for number in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        return number - 1;
                    }
                    // The message and then the turn: a copy with the turn has the message, too.
                    ok(storage.put_message(event(&format!("writer {writer}"), &number.to_string())));
                    live.run(&*storage, number);
                }
                unreachable!()
            })
        })
        .collect();
    for round in 0..8 {
        let before: Vec<String> = (0..20).map(|number| format!("round {round} number {number}")).collect();
        for text in &before {
            begin(&*storage, text, 1);
        }
        let copy = folder.path().join(format!("copy {round}"));
        let copied = backup(&path, &copy, Existing::Keep).unwrap();
        assert_eq!(copied.bytes, fs::metadata(&copy).unwrap().len());
        let copy_conn = Connection::open(&copy).unwrap();
        assert_sound(&copy_conn);
        drop(copy_conn);
        let opened = Sqlite::open(&copy).unwrap();
        let copied_ids = ids(&opened, &Query { limit: 1000, ..Query::default() });
        assert_eq!(copied.instances as usize, copied_ids.len());
        assert!(before.iter().all(|text| copied_ids.contains(text)), "{copied_ids:?}");
        for seen in (0..3).filter_map(|writer| see(&opened, &format!("writer {writer}"))) {
            let turns = seen.history.unwrap().len() as i64 - 1;
            let live = Live {
                instance: seen.instance,
                generation: seen.generation,
                number: crate::durable::TurnNumber::START,
                due: None,
            };
            let messages = inbox(&opened, &live).len() as i64;
            // No more are read at once, and on a slow machine the writers come farther than that.
            let page = INBOX_PAGE as i64;
            let is_one_moment = messages == turns.min(page) || messages == (turns + 1).min(page);
            assert!(is_one_moment, "{messages} messages, {turns} turns: one moment");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for (number, writer) in writers.into_iter().enumerate() {
        let turns = writer.join().unwrap();
        let seen = see(&*storage, &format!("writer {number}")).unwrap();
        assert_eq!(seen.history.unwrap().len() as i64, turns + 1, "the live one lost nothing");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().filter(|entry| is_partial(entry.as_ref().unwrap())).count(), 0);
}

fn is_partial(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().contains("partial")
}

#[test]
fn a_restored_backup_goes_on_where_it_was_made() {
    let (folder, path) = temporary();
    let copy = folder.path().join("copy");
    let storage = Sqlite::open(&path).unwrap();
    let mut live = begin(&storage, "a", 1);
    live.run(&storage, 2);
    backup(&path, &copy, Existing::Keep).unwrap();
    let mut later = live.clone();
    later.run(&storage, 3);
    begin(&storage, "b", 3);
    // As a killed host leaves it: with a log that is not copied.
    let left = folder.path().join("left");
    fs::create_dir(&left).unwrap();
    let target = left.join("hub.db");
    fs::copy(&path, &target).unwrap();
    fs::copy(folder.path().join("hub.db-wal"), left.join("hub.db-wal")).unwrap();
    drop(storage);
    assert!(matches!(restore(&copy, &target, Existing::Keep), Err(CopyError::Exists { .. })));
    let copied = restore(&copy, &target, Existing::Replace).unwrap();
    assert_eq!(copied.instances, 1);
    assert_eq!(all(&target), ["a"], "nothing of the log that was there");
    let storage = Sqlite::open(&target).unwrap();
    live.run(&storage, 4);
    let next = ok(storage.start(start_of("c", OverridableStates::NonRunningStates, 5)));
    assert!(matches!(next, Started::Started { .. }));
    let fresh = folder.path().join("fresh.db");
    restore(&copy, &fresh, Existing::Keep).unwrap();
    assert_eq!(all(&fresh), ["a"]);
}

#[test]
fn an_existing_file_is_kept_unless_it_may_be_replaced() {
    let (folder, path) = temporary();
    filled(&path);
    let copy = folder.path().join("copy");
    fs::write(&copy, "precious").unwrap();
    let refused = backup(&path, &copy, Existing::Keep).unwrap_err();
    assert!(matches!(refused, CopyError::Exists { .. }), "{refused}");
    assert!(refused.to_string().contains("--force"));
    assert_eq!(fs::read(&copy).unwrap(), b"precious");
    assert_eq!(backup(&path, &copy, Existing::Replace).unwrap().instances, 50);
    assert_eq!(all(&copy).len(), 50);
    let nowhere = backup(&path, &folder.path().join("no/copy"), Existing::Keep);
    assert!(matches!(nowhere, Err(CopyError::Write { .. })), "{nowhere:?}");
}

#[test]
fn what_is_no_whole_backup_is_refused_and_the_data_stays() {
    let (folder, path) = temporary();
    filled(&path);
    let copy = folder.path().join("copy");
    backup(&path, &copy, Existing::Keep).unwrap();
    let whole = fs::read(&copy).unwrap();
    let before = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| -> OpenError {
        fs::write(&copy, bytes).unwrap();
        let error = restore(&copy, &path, Existing::Replace).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), before, "{error}");
        assert_eq!(fs::read(&copy).unwrap(), bytes, "{error}");
        match error {
            CopyError::Open(error) => error,
            other => panic!("{other}"),
        }
    };
    assert!(matches!(refused(b"hello"), OpenError::Foreign { .. }));
    assert!(matches!(refused(&[b'x'; 9000]), OpenError::Foreign { .. }));
    assert!(matches!(refused(b""), OpenError::Foreign { .. }));
    for length in [50, 4096, whole.len() - 4096, whole.len() - 100] {
        let error = refused(&whole[..length]);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{length}: {error}");
    }
    let mut hurt = whole.clone();
    hurt[4096..].fill(0xa5);
    assert!(matches!(refused(&hurt), OpenError::Corrupt { .. }));
    let mut newer = whole.clone();
    newer[60..64].copy_from_slice(&2u32.to_be_bytes());
    assert!(matches!(refused(&newer), OpenError::Newer { format: 2, .. }));
    fs::remove_file(&copy).unwrap();
    Connection::open(&copy).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
    let theirs = fs::read(&copy).unwrap();
    assert!(matches!(refused(&theirs), OpenError::Foreign { .. }));
    assert!(matches!(backup(&copy, &folder.path().join("other"), Existing::Keep), Err(CopyError::Open(_))));
    assert!(!folder.path().join("other").exists());
    fs::write(&copy, &whole).unwrap();
    assert_eq!(restore(&copy, &path, Existing::Replace).unwrap().instances, 50);
}

/// What tells the child that it is one, and where: `database:copy`.
const CHILD: &str = "SOLOIST_TEST_BACKUP";

/// Not a test by itself: a backup from a process of its own.
#[test]
fn child() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let (database, copy) = orders.split_once(':').unwrap();
    backup(Path::new(database), Path::new(copy), Existing::Keep).unwrap();
}

#[test]
fn a_backup_by_another_process_takes_nothing_from_the_one_that_runs() {
    let (folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    let mut live = begin(&storage, "a", 1);
    // Another handle in this process must not cost the first one its locks.
    let other = Sqlite::open(&path).unwrap();
    let log = || fs::metadata(folder.path().join("hub.db-wal")).map(|log| log.ino()).ok();
    let first_log = log();
    for round in 0..3 {
        live.run(&storage, 2);
        let copy = folder.path().join(format!("copy {round}"));
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::sqlite::tests::backup::child"])
            .env(CHILD, format!("{}:{}", path.display(), copy.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(log(), first_log, "the log is not taken away from those who write it");
        assert_eq!(see(&Sqlite::open(&copy).unwrap(), "a").unwrap().history.unwrap().len(), round + 2);
    }
    live.run(&other, 3);
    drop((storage, other));
    assert_eq!(see(&Sqlite::open(&path).unwrap(), "a").unwrap().history.unwrap().len(), 5);
}
