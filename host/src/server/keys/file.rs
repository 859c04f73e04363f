//! The keys as they are kept: one file in the data folder, which only its owner can read.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    KeyError,
    name::{KeyId, Scope},
    secret::{KeyDigest, NoEntropy, Secret},
};

/// The file, in the data folder.
pub const KEYS: &str = "keys.json";
/// Locked while the file is changed.
const LOCK: &str = "keys.lock";
/// The form of the file that this program reads and writes.
const VERSION: u32 = 1;

/// Every key's digest, and the secret that links are signed with.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) secret: Secret,
    pub(super) keys: BTreeMap<KeyId, KeyDigest>,
}

impl Table {
    /// One without keys.
    pub(super) fn new() -> Result<Self, NoEntropy> {
        Ok(Self { secret: Secret::random()?, keys: BTreeMap::new() })
    }
}

/// Tells one content of the file from another: it is always replaced, never written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// Where the keys are.
#[derive(Clone, Debug)]
pub(super) struct KeyFile {
    folder: PathBuf,
    path: PathBuf,
}

impl KeyFile {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), path: folder.join(KEYS) }
    }

    /// Which content the file has; none if there is no file.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let file = fs::metadata(&self.path).ok()?;
        Some(Stamp { inode: file.ino(), modified: (file.mtime(), file.mtime_nsec()), bytes: file.len() })
    }

    /// Reads the file; none if there is none. One that others may read is made private: an editor may have left it so.
    pub(super) fn read(&self) -> Result<Option<Table>, KeyError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("reading", error)),
        };
        let mode = fs::metadata(&self.path).map_err(|error| self.failed("reading", error))?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %self.path.display(), "others could read the file of keys' digests: it is private again");
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600))
                .map_err(|error| self.failed("making private", error))?;
        }
        parse(&text).map(Some).map_err(|what| KeyError::Corrupt { path: self.path.clone(), what })
    }

    /// Changes the keys. No two processes do at a time; after `Ok` the change survives a power cut, after `Err` all is as it was.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Table) -> Result<T, KeyError>,
    ) -> Result<(Table, T), KeyError> {
        let lock = private().truncate(false).open(self.folder.join(LOCK));
        let lock = lock.map_err(|error| self.failed("locking", error))?;
        lock.lock().map_err(|error| self.failed("locking", error))?;
        let mut table = match self.read()? {
            Some(table) => table,
            None => Table::new()?,
        };
        let changed = change(&mut table)?;
        self.write(&table).map_err(|error| self.failed("writing", error))?;
        Ok((table, changed))
    }

    fn write(&self, table: &Table) -> io::Result<()> {
        // Beside it and renamed: a reader sees the one or the other.
        let aside = self.path.with_extension("tmp");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = private().create_new(true).open(&aside)?;
        file.write_all(render(table).as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> KeyError {
        KeyError::Io { doing, path: self.path.clone(), source }
    }
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    options
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    secret: String,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    scope: String,
    name: String,
    sha256: String,
}

fn render(table: &Table) -> String {
    let keys = table.keys.iter().map(|(id, digest)| StoredKey {
        scope: id.scope.to_string(),
        name: id.name.clone(),
        sha256: digest.to_hex(),
    });
    let stored = Stored { version: VERSION, secret: table.secret.to_hex(), keys: keys.collect() };
    serde_json::to_string_pretty(&stored).expect("texts and numbers are JSON") + "\n"
}

/// What is wrong is said without what was found: it may be a secret.
fn parse(text: &str) -> Result<Table, String> {
    let stored: Stored = serde_json::from_str(text)
        .map_err(|error| format!("it is not the expected JSON at line {}, column {}", error.line(), error.column()))?;
    if stored.version != VERSION {
        return Err(format!("its version is {}, and this program knows version {VERSION}", stored.version));
    }
    let secret = Secret::from_hex(&stored.secret).ok_or("its secret is not 64 hexadecimal digits")?;
    let key = |key: StoredKey| {
        let scope = Scope::parse(&key.scope);
        let id = match scope {
            Some(Scope::Master) => Some(KeyId::master()),
            Some(scope) => KeyId::parse(scope, &key.name),
            None => None,
        };
        id.zip(KeyDigest::from_hex(&key.sha256)).ok_or("one of its keys has no valid scope, name or digest")
    };
    let keys = stored.keys.into_iter().map(key).collect::<Result<_, _>>()?;
    Ok(Table { secret, keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(folder.path());
        assert!(file.read().unwrap().is_none() && file.stamp().is_none());
        let id = KeyId::default_of(Scope::function("HttpStart"));
        file.change(|table| Ok(table.keys.insert(id.clone(), KeyDigest::of(b"a key")))).unwrap();
        let first = file.stamp().unwrap();
        let read = file.read().unwrap().unwrap();
        assert!(read.keys[&id].is(&KeyDigest::of(b"a key")));
        for name in [KEYS, LOCK] {
            assert_eq!(fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert!(!fs::read_to_string(folder.path().join(KEYS)).unwrap().contains("a key"));
        let (changed, _) = file.change(|table| Ok(table.keys.remove(&id))).unwrap();
        assert_eq!(changed.secret.to_hex(), read.secret.to_hex(), "links stay valid");
        assert_ne!(file.stamp().unwrap(), first);
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(folder.path());
        file.change(|_| Ok(())).unwrap();
        let before = fs::read(folder.path().join(KEYS)).unwrap();
        assert!(file.change(|_| Err::<(), _>(KeyError::BuiltIn)).is_err());
        assert_eq!(fs::read(folder.path().join(KEYS)).unwrap(), before);
    }

    #[test]
    fn a_file_that_others_can_read_is_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::in_folder(folder.path());
        file.change(|_| Ok(())).unwrap();
        let path = folder.path().join(KEYS);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        file.read().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_refused_by_name_and_its_content_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let secret = "s3cret".repeat(8);
        let whole = format!(r#"{{"version":1,"secret":"{}","keys":["#, "0".repeat(64));
        for text in [
            "",
            "{}",
            &secret,
            &format!(r#"{{"version":1,"secret":"{secret}","keys":[]}}"#),
            &format!(r#"{{"version":2,"secret":"{}","keys":[]}}"#, "0".repeat(64)),
            &format!(r#"{whole}{{"scope":"host","name":"a b","sha256":"{}"}}]}}"#, "0".repeat(64)),
            &format!(r#"{whole}{{"scope":"host","name":"a","sha256":"{secret}"}}]}}"#),
            &format!(r#"{whole}{{"scope":"{secret}","name":"a","sha256":"{}"}}]}}"#, "0".repeat(64)),
        ] {
            fs::write(folder.path().join(KEYS), text).unwrap();
            let error = KeyFile::in_folder(folder.path()).read().unwrap_err().to_string();
            assert!(error.contains(KEYS) && !error.contains("s3cret"), "{error}");
        }
    }
}
