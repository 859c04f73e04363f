//! The file: its layout, how it is opened, and which files are refused.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use std::os::unix::fs::OpenOptionsExt as _;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig, ffi};

/// Marks the file as Soloist's ("Solo").
pub(super) const APPLICATION_ID: i32 = 0x536f_6c6f;

/// The layout that this program reads and writes.
pub(super) const FORMAT: i32 = 1;

const PAGE_BYTES: i64 = 4096;

/// How long a commit or a read waits for another handle of the same file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Files up to this many pages are examined as a whole when they are opened; it takes a few milliseconds.
const EXAMINED_PAGES_MAX: i64 = 4096;

/// Keys ascend and lead every table but two: `instance`'s index of ids, which the gate and listing by prefix need, and
/// `due`. An instance's `status` is NULL while it is open; what an open one does is in its last record's summary, so that
/// no turn updates a row. `last_message` outlives generations.
const LAYOUT: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta(name, value) VALUES ('last_key', 0);
CREATE TABLE instance(
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  generation INTEGER NOT NULL,
  created INTEGER NOT NULL,
  status INTEGER,
  last_message INTEGER NOT NULL
) STRICT;
CREATE INDEX instance_open ON instance(key) WHERE status IS NULL;
CREATE TABLE history(
  generation INTEGER NOT NULL, turn INTEGER NOT NULL, record BLOB NOT NULL,
  PRIMARY KEY(generation, turn)
) STRICT, WITHOUT ROWID;
CREATE TABLE payload(
  generation INTEGER NOT NULL, turn INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL,
  PRIMARY KEY(generation, turn, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE inbox(
  instance INTEGER NOT NULL, message INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(instance, message)
) STRICT, WITHOUT ROWID;
CREATE TABLE due(
  at INTEGER NOT NULL, generation INTEGER NOT NULL, instance INTEGER NOT NULL,
  PRIMARY KEY(at, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE component(digest BLOB PRIMARY KEY NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE TABLE garbage(generation INTEGER PRIMARY KEY) STRICT;
";

const TABLES: i64 = 8;

/// Tables that format 1 did not begin with: made when a file is opened that lacks them.
const ADDED: &[&str] = &[
    // Which entities a generation's `lock-entities` actions have locked, or have asked to lock.
    "CREATE TABLE IF NOT EXISTS lock(
       generation INTEGER NOT NULL, sequence INTEGER NOT NULL, entity TEXT NOT NULL,
       PRIMARY KEY(generation, sequence, entity)
     ) STRICT, WITHOUT ROWID",
];

/// Why a database file cannot be opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file belongs to something else.
    #[error("{} is not a database of Soloist ({what}); choose another data folder, or move the file away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is, as far as can be told.
        what: String,
    },
    /// The file contradicts itself.
    #[error(
        "the database {} is corrupt ({what}); restore the data folder from a backup, or start anew with `soloist reset`",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A later version of Soloist wrote the file.
    #[error(
        "the database {} has format {format}, and this version of Soloist knows formats up to {FORMAT}; use the version that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: i32,
    },
    /// SQLite did not take a setting on which durability or safety rests.
    #[error(
        "the database {} does not take the setting {pragma} (asked for {asked}, got {got}); the folder's file system may lack what SQLite needs (shared memory, locks): choose a local disk",
        path.display()
    )]
    Setting {
        /// The file.
        path: PathBuf,
        /// The setting's name.
        pragma: &'static str,
        /// What was asked for.
        asked: String,
        /// What it is.
        got: String,
    },
    /// Another handle of the file holds it for longer than is waited.
    #[error("the database {} is in use by another process; end that process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk that holds the database {} is full; make room and start again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened, read or written.
    #[error("cannot open the database {} ({what}); check that the folder exists and may be read and written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        what: String,
    },
}

/// Opens the connection that writes, making the layout if the file is new.
pub(super) fn open_writer(path: &Path, vfs: Option<&str>) -> Result<Connection, OpenError> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        tracing::warn!(path = %path.display(), "the database is an empty file: it is taken for a new one");
    }
    if vfs.is_none() {
        make_private(path).map_err(|error| OpenError::Io { path: path.to_owned(), what: error.to_string() })?;
    }
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match try_open_writer(path, vfs) {
            // SQLite does not wait where waiting could be a deadlock: two handles that make one new file.
            Err(OpenError::Busy { .. }) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

/// Makes a new file its owner's alone, before anything is in it. SQLite gives the files beside it the same rights.
fn make_private(path: &Path) -> std::io::Result<()> {
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn try_open_writer(path: &Path, vfs: Option<&str>) -> Result<Connection, OpenError> {
    check_header(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = connect(path, flags, vfs)?;
    tidy_on_close(&conn, false).map_err(|e| wrap(path, &e))?;
    // Look before anything is set: a file that is refused stays as it is.
    check_owner(path, &conn)?;
    set(path, &conn, "page_size", PAGE_BYTES)?;
    set(path, &conn, "journal_mode", "wal")?;
    set(path, &conn, "synchronous", 2)?;
    // Checkpoints are the commit thread's: SQLite's own would swallow a failed sync.
    set(path, &conn, "wal_autocheckpoint", 0)?;
    set(path, &conn, "journal_size_limit", -1)?;
    // In KiB: enough for the index of ids of half a million instances; beyond that the system keeps the pages, at a copy each.
    set(path, &conn, "cache_size", -32 * 1024)?;
    set_common(path, &conn)?;
    create(path, &conn)?;
    add(path, &conn)?;
    examine(path, &conn)?;
    Ok(conn)
}

/// Whether SQLite, when the last connection is closed, copies the log into the database and deletes it. It may only where
/// everything went well: after a failed sync its copying would be another try, which may wrongly succeed.
pub(super) fn tidy_on_close(conn: &Connection, may: bool) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !may).map(drop)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path, vfs: Option<&str>) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = connect(path, flags, vfs)?;
    set(path, &conn, "query_only", 1)?;
    set(path, &conn, "cache_size", -4 * 1024)?;
    set_common(path, &conn)?;
    Ok(conn)
}

/// Opens a connection that copies: it makes no file and changes nothing in one.
pub(super) fn open_source(path: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    check_header(path)?;
    let conn = connect(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX, None)?;
    set(path, &conn, "cell_size_check", 1)?;
    set(path, &conn, "trusted_schema", 0)?;
    match check_owner(path, &conn)? {
        Owner::Ours => Ok(conn),
        Owner::Nobody => Err(OpenError::Foreign { path: path.to_owned(), what: "it is empty".to_owned() }),
    }
}

fn connect(path: &Path, flags: OpenFlags, vfs: Option<&str>) -> Result<Connection, OpenError> {
    let connect = || {
        let conn = match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
            None => Connection::open_with_flags(path, flags)?,
        };
        conn.busy_timeout(BUSY_TIMEOUT)?;
        Ok(conn)
    };
    connect().map_err(|e| wrap(path, &e))
}

fn set_common(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    set(path, conn, "cell_size_check", 1)?;
    set(path, conn, "trusted_schema", 0)?;
    set(path, conn, "temp_store", 2)?;
    set(path, conn, "mmap_size", 0)?;
    // Else SQLite parses a prepared statement anew whenever a bound value could change its plan (a third of a turn's time).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(|e| wrap(path, &e))?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Sets a pragma and reads it back: SQLite ignores what it does not know or cannot do.
fn set(path: &Path, conn: &Connection, pragma: &'static str, value: impl std::fmt::Display) -> Result<(), OpenError> {
    let asked = value.to_string();
    // To its last row: a change that is committed only then (of the journal's kind) may still fail.
    conn.pragma(None, pragma, &asked, |_| Ok(())).map_err(|e| wrap(path, &e))?;
    let got = conn.pragma_query_value(None, pragma, |row| row.get(0)).map_err(|e| wrap(path, &e))?;
    let got = shown(&got);
    if got == asked { Ok(()) } else { Err(OpenError::Setting { path: path.to_owned(), pragma, asked, got }) }
}

fn shown(value: &rusqlite::types::Value) -> String {
    match value {
        rusqlite::types::Value::Integer(value) => value.to_string(),
        rusqlite::types::Value::Text(text) => text.clone(),
        other @ (rusqlite::types::Value::Null | rusqlite::types::Value::Real(_) | rusqlite::types::Value::Blob(_)) => {
            format!("{other:?}")
        }
    }
}

/// Refuses what is no SQLite file before SQLite sees it: it would take a file of a few bytes for an empty database.
fn check_header(path: &Path) -> Result<(), OpenError> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let io = |error: std::io::Error| OpenError::Io { path: path.to_owned(), what: error.to_string() };
    let foreign = |what: &str| OpenError::Foreign { path: path.to_owned(), what: what.to_owned() };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if !file.metadata().map_err(io)?.is_file() {
        return Err(foreign("it is not a file"));
    }
    let mut header = Vec::new();
    file.take(100).read_to_end(&mut header).map_err(io)?;
    match header.len() {
        0 => Ok(()),
        100 if header.starts_with(MAGIC) => Ok(()),
        _ if header.starts_with(MAGIC) => {
            Err(OpenError::Corrupt { path: path.to_owned(), what: "it ends within its header".to_owned() })
        }
        _ => Err(foreign("it is not an SQLite database")),
    }
}

/// What the file says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Ours,
}

fn check_owner(path: &Path, conn: &Connection) -> Result<Owner, OpenError> {
    let read = || {
        // One moment: another handle may be making the layout right now.
        let moment = conn.unchecked_transaction()?;
        let number = |pragma| moment.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
        let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
        let tables = moment.query_row(count, (), |row| row.get::<_, i64>(0))?;
        Ok((number("application_id")?, number("user_version")?, tables))
    };
    let (application, format, tables) = read().map_err(|e| wrap(path, &e))?;
    match (application, format) {
        (APPLICATION_ID, FORMAT) if tables >= TABLES => Ok(Owner::Ours),
        (APPLICATION_ID, FORMAT) => {
            Err(OpenError::Corrupt { path: path.to_owned(), what: format!("it lacks tables: it has {tables}") })
        }
        (APPLICATION_ID, _) if format > FORMAT => Err(OpenError::Newer { path: path.to_owned(), format }),
        (APPLICATION_ID, _) => {
            Err(OpenError::Corrupt { path: path.to_owned(), what: format!("its format is {format}") })
        }
        // New, or left behind by a process that ended while it made the file.
        (0, 0) if tables == 0 => Ok(Owner::Nobody),
        _ => Err(OpenError::Foreign {
            path: path.to_owned(),
            what: format!("it is the SQLite database of another application, id {application:#x}"),
        }),
    }
}

/// Makes the layout, unless it is there. Of several handles that open a new file at once, one makes it.
fn create(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    if check_owner(path, conn)? == Owner::Ours {
        return Ok(());
    }
    let make = || {
        let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
        if tables == 0 {
            transaction.execute_batch(LAYOUT)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        transaction.commit()
    };
    make().map_err(|e| wrap(path, &e))?;
    sync_folder(path)?;
    // Another handle may have made it, and may have been another version.
    check_owner(path, conn).map(drop)
}

/// Makes the tables that the file lacks.
fn add(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let make = || {
        let transaction = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        ADDED.iter().try_for_each(|table| transaction.execute_batch(table))?;
        transaction.commit()
    };
    make().map_err(|e| wrap(path, &e))
}

/// Makes the file's name durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), OpenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| OpenError::Io { path: path.to_owned(), what: error.to_string() })
}

/// Looks for damage as far as that is quick. What it misses is found by checksums when it is read.
fn examine(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(|e| wrap(path, &e))?;
    if pages > EXAMINED_PAGES_MAX {
        return Ok(());
    }
    check_whole(path, conn)
}

/// Looks for damage in the whole file: in its structure, not in what the rows hold.
pub(super) fn check_whole(path: &Path, conn: &Connection) -> Result<(), OpenError> {
    let found: String = conn.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(|e| wrap(path, &e))?;
    let (path, what) = (path.to_owned(), first_finding(&found).to_owned());
    match found.as_str() {
        "ok" => Ok(()),
        // The file may be whole: nobody should be told to delete it because its disk cannot be read.
        _ if names_unreadable_page(&found) => Err(OpenError::Io { path, what }),
        _ => Err(OpenError::Corrupt { path, what }),
    }
}

/// Whether a check ended at a page that the disk did not return. That a page lies beyond the file's end is damage.
fn names_unreadable_page(found: &str) -> bool {
    let mut codes = found.split("error code=").skip(1).map(|rest| {
        let digits = rest.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default();
        digits.parse::<i32>().unwrap_or_default()
    });
    let is_io = |code: i32| code & 0xff == ffi::SQLITE_IOERR && code != ffi::SQLITE_IOERR_SHORT_READ;
    // SQLite says this of a page whose number is in order.
    codes.any(is_io) || found.contains("failed to get page")
}

/// The first of what may be a hundred lines, the next of which add little: an error is one line.
fn first_finding(report: &str) -> &str {
    report.lines().find(|line| !line.starts_with("***")).unwrap_or(report)
}

pub(super) fn wrap(path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path, what) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupt { path, what },
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path, what },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Busy { path },
        Some(ErrorCode::DiskFull) => OpenError::Full { path },
        Some(_) => OpenError::Io { path, what },
        None => OpenError::Corrupt { path, what },
    }
}

#[cfg(test)]
mod tests {
    use super::first_finding;

    #[test]
    fn damage_is_told_in_one_line() {
        let report =
            "*** in database main ***\nTree 2 page 5: btreeInitPage() returns error code 11\nPage 88: never used";
        assert_eq!(first_finding(report), "Tree 2 page 5: btreeInitPage() returns error code 11");
        assert_eq!(first_finding("row 1 missing from index i"), "row 1 missing from index i");
    }
}
