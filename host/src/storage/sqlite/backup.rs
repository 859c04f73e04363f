//! Copies of a database: of a live one (backup), and back into a data folder (restore).
//!
//! A copy is one consistent moment, made by `VACUUM INTO` on a connection of its own: whoever has the database open goes
//! on. For as long as the copy takes, the write-ahead log cannot begin anew and grows. The copy is written aside, checked,
//! made durable and only then given its name, so a file of that name is always whole.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::{OpenError, schema};

/// What to do about a file that is where the copy is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Keep,
    /// Put the copy into its place.
    Replace,
}

/// A copy that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many instances it holds, ended ones included.
    pub instances: u64,
    /// Its size.
    pub bytes: u64,
}

/// Why there is no copy. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What is to be copied cannot be read, or the copy of it is not whole.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a file already.
    #[error("{} exists; say --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The copy cannot be written.
    #[error("cannot write {} ({what}); check that its folder exists, may be written and has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        what: String,
    },
}

/// Copies the database file `from`, which may be in use, to `to`. Everything acknowledged before the call is in the copy;
/// of what is committed meanwhile, each commit is in it as a whole or not at all.
///
/// # Errors
/// [`CopyError`], which names the file and the remedy.
pub fn backup(from: &Path, to: &Path, existing: Existing) -> Result<Copied, CopyError> {
    // May write: where a killed process left a log, reading begins with its recovery.
    copy(from, OpenFlags::SQLITE_OPEN_READ_WRITE, to, existing)
}

/// Copies the backup `from` to where a host keeps its database. Nobody may have `to` open: the caller holds the data
/// folder's lock. If the process ends in the middle of a replacement, restore again before a host is started.
///
/// # Errors
/// [`CopyError`], which names the file and the remedy.
pub fn restore(from: &Path, to: &Path, existing: Existing) -> Result<Copied, CopyError> {
    copy(from, OpenFlags::SQLITE_OPEN_READ_ONLY, to, existing)
}

fn copy(from: &Path, access: OpenFlags, to: &Path, existing: Existing) -> Result<Copied, CopyError> {
    check_free(to, existing)?;
    let aside = Aside::make(to)?;
    let source = schema::open_source(from, access)?;
    // Of a statement with two files an error does not say which it is about; that the disk is full can only be the copy's.
    source.execute("VACUUM INTO ?1", [aside.text()?]).map_err(|error| match schema::wrap(from, &error) {
        OpenError::Full { .. } => write_error(to, &std::io::Error::other("the disk is full")),
        other => other.into(),
    })?;
    drop(source);
    let copied = check(&aside.path)?;
    // SQLite syncs no file that VACUUM makes.
    File::open(&aside.path).and_then(|file| file.sync_all()).map_err(|error| write_error(to, &error))?;
    check_free(to, existing)?;
    for beside in ["-wal", "-shm", "-journal"] {
        // They belong to the file that is replaced: a log would be taken for the copy's.
        remove_if_there(&with_suffix(to, beside)).map_err(|error| write_error(to, &error))?;
    }
    schema::sync_folder(to)?;
    fs::rename(&aside.path, to).map_err(|error| write_error(to, &error))?;
    schema::sync_folder(to)?;
    Ok(copied)
}

fn check_free(to: &Path, existing: Existing) -> Result<(), CopyError> {
    // A link that leads nowhere is something, too.
    let is_taken = fs::symlink_metadata(to).is_ok();
    if is_taken && existing == Existing::Keep { Err(CopyError::Exists { path: to.to_owned() }) } else { Ok(()) }
}

/// Examines the whole copy.
fn check(path: &Path) -> Result<Copied, CopyError> {
    let wrap = |error| schema::wrap(path, &error);
    let conn: Connection = schema::open_source(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    schema::check_whole(path, &conn)?;
    let instances: i64 = conn.query_row("SELECT count(*) FROM instance", (), |row| row.get(0)).map_err(wrap)?;
    let bytes = fs::metadata(path).map_err(|error| write_error(path, &error))?.len();
    Ok(Copied { instances: instances.unsigned_abs(), bytes })
}

/// A file beside the one that is to be; it goes when it was not given its name.
struct Aside {
    path: PathBuf,
}

impl Aside {
    /// Makes it, empty, for its owner's eyes only.
    fn make(to: &Path) -> Result<Self, CopyError> {
        let path = with_suffix(to, &format!(".{}.partial", std::process::id()));
        // One that another process of this number left behind.
        remove_if_there(&path).map_err(|error| write_error(to, &error))?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| write_error(to, &error))?;
        Ok(Self { path })
    }

    /// The path as SQLite's statements take it.
    fn text(&self) -> Result<&str, CopyError> {
        let what = || "its path is not UTF-8".to_owned();
        self.path.to_str().ok_or_else(|| CopyError::Write { path: self.path.clone(), what: what() })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After the renaming there is none.
        let _ = remove_if_there(&self.path);
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn write_error(path: &Path, error: &std::io::Error) -> CopyError {
    CopyError::Write { path: path.to_owned(), what: error.to_string() }
}
