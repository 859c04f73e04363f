//! Keys: who may call what.
//!
//! A key is 256 random bits. Its SHA-256 digest is kept, in a file of the data folder that only its owner can read; the key
//! itself is shown once, to whoever made it. The same file holds a secret, with which the links that the host gives out are
//! signed. Nothing here is ever logged, and no type that holds a key or a secret shows it.
//!
//! The file is the truth: `soloist keys` changes it beside a running host, which takes note before it checks the next key.
//!
//! Start reading at [`Keys`]; `name` knows which key opens what, `link` the signatures.

mod file;
mod link;
mod name;
mod secret;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use file::KEYS;
pub(super) use link::Verb;
pub use link::{LinkSigner, PREFIX as LINK_PREFIX};
pub(super) use name::Demand;
pub use name::{DURABLE_TASK, KeyId, MASTER, Scope};
pub use secret::{KeyValue, NoEntropy};

use file::{KeyFile, Stamp, Table};
use secret::{KeyDigest, Secret, equal, hex};

/// A key that someone chose has at least so many characters: fewer could be guessed.
pub const CHOSEN_CHARACTERS_MIN: usize = 16;
/// No key is longer.
const KEY_BYTES_MAX: usize = 1024;

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is there and is not what a host writes. Nothing was changed in it.
    #[error("the file of keys {} is damaged: {what}; move it away to have new keys made at the next start", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The file cannot be read or written.
    #[error("{doing} the file of keys {} failed; check that its folder exists and may be written", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No random bytes.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The host needs this key.
    #[error("Cannot delete System Key.")]
    BuiltIn,
    /// There is no key of that name.
    #[error("there is no such key")]
    NotFound,
    /// There is one already, and the caller wanted a new one.
    #[error("there is such a key already; rotate it to give it another value")]
    Exists,
    /// A value that someone chose is too short or too long.
    #[error("Invalid key value: a key has {CHOSEN_CHARACTERS_MIN} to {KEY_BYTES_MAX} characters")]
    Value,
}

/// A key that was made now.
#[derive(Clone, Debug)]
pub struct Made {
    /// Which.
    pub id: KeyId,
    /// Its value: shown once.
    pub value: KeyValue,
    /// There was none of that name before.
    pub is_new: bool,
}

/// What to give a key.
#[derive(Clone, Copy, Debug)]
pub enum NewValue<'a> {
    /// Random bits.
    Random,
    /// What an operator chose.
    Chosen(&'a str),
}

/// The keys of a host.
#[derive(Debug)]
pub struct Keys {
    /// None keeps them in memory.
    file: Option<KeyFile>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    table: Arc<Table>,
    stamp: Option<Stamp>,
}

impl Keys {
    /// Keys that are gone when the process ends.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn in_memory() -> Result<Self, NoEntropy> {
        Ok(Self { file: None, current: Mutex::new(Current { table: Arc::new(Table::new()?), stamp: None }) })
    }

    /// The keys of a data folder, which must exist; one without keys has none yet.
    ///
    /// # Errors
    /// If there is a file of keys that cannot be read.
    pub fn open(data: &Path) -> Result<Self, KeyError> {
        let file = KeyFile::in_folder(data);
        let stamp = file.stamp();
        let table = match file.read()? {
            Some(table) => table,
            None => Table::new()?,
        };
        Ok(Self { file: Some(file), current: Mutex::new(Current { table: Arc::new(table), stamp }) })
    }

    /// Makes the keys among these that do not exist. What is returned is shown to the operator, once.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn ensure(&self, wanted: &[KeyId]) -> Result<Vec<Made>, KeyError> {
        let table = self.table();
        if wanted.iter().all(|id| table.keys.contains_key(id)) {
            return Ok(vec![]);
        }
        self.change(|table| {
            let missing: Vec<&KeyId> = wanted.iter().filter(|id| !table.keys.contains_key(id)).collect();
            missing.into_iter().map(|id| put(table, id, NewValue::Random)).collect()
        })
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyError::Exists`]; if the file cannot be written.
    pub fn create(&self, id: &KeyId) -> Result<Made, KeyError> {
        self.change(|table| {
            if table.keys.contains_key(id) {
                return Err(KeyError::Exists);
            }
            put(table, id, NewValue::Random)
        })
    }

    /// Gives a key another value: the old one opens nothing any more.
    ///
    /// # Errors
    /// [`KeyError::NotFound`]; if the file cannot be written.
    pub fn rotate(&self, id: &KeyId) -> Result<Made, KeyError> {
        self.change(|table| {
            if !table.keys.contains_key(id) {
                return Err(KeyError::NotFound);
            }
            put(table, id, NewValue::Random)
        })
    }

    /// Makes a key or gives it another value.
    ///
    /// # Errors
    /// [`KeyError::Value`]; if the file cannot be written.
    pub fn put(&self, id: &KeyId, value: NewValue<'_>) -> Result<Made, KeyError> {
        self.change(|table| put(table, id, value))
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// [`KeyError::BuiltIn`], [`KeyError::NotFound`]; if the file cannot be written.
    pub fn revoke(&self, id: &KeyId) -> Result<(), KeyError> {
        if id.is_built_in() {
            return Err(KeyError::BuiltIn);
        }
        self.change(|table| table.keys.remove(id).map(drop).ok_or(KeyError::NotFound))
    }

    /// Gives the secret of links another value: every link that was given out opens nothing any more.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn rotate_links(&self) -> Result<(), KeyError> {
        self.change(|table| {
            table.secret = Secret::random()?;
            Ok(())
        })
    }

    /// Every key, in order.
    pub fn list(&self) -> Vec<KeyId> {
        self.table().keys.keys().cloned().collect()
    }

    /// The key that the host itself writes into links for any instance (`INSTANCEID`), as the keys that it keeps cannot be read
    /// back: made of the secret and the [`DURABLE_TASK`] key's digest, it goes with that one. It opens the management API, and of
    /// what else that one opens nothing: others are handed it.
    pub fn template_key(&self) -> KeyValue {
        let table = self.table();
        KeyValue::chosen(&template_key(&table))
    }

    /// Whether a key opens what is asked for.
    pub(super) fn open_for(&self, key: &str, demand: Demand<'_>) -> bool {
        self.matching(key).iter().any(|id| demand.is_met_by(id))
            || (demand == Demand::DurableTask && self.is_template_key(key))
    }

    /// Whether it is a key at all.
    pub(super) fn knows(&self, key: &str) -> bool {
        !self.matching(key).is_empty() || self.is_template_key(key)
    }

    fn is_template_key(&self, key: &str) -> bool {
        equal(template_key(&self.table()).as_bytes(), key.as_bytes())
    }

    /// The keys that have this value. The time does not tell how near a wrong one is: digests are compared, all of them.
    fn matching(&self, key: &str) -> Vec<KeyId> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return vec![];
        }
        let table = self.table();
        let digest = KeyDigest::of(key.as_bytes());
        table.keys.iter().filter(|(_, own)| own.is(&digest)).map(|(id, _)| id.clone()).collect()
    }

    /// The keys as they are now: in the file, if that changed.
    fn table(&self) -> Arc<Table> {
        let Some(file) = &self.file else { return self.lock().table.clone() };
        let stamp = file.stamp();
        let mut current = self.lock();
        if current.stamp != stamp && stamp.is_some() {
            match file.read() {
                Ok(Some(table)) => current.table = Arc::new(table),
                Ok(None) => {}
                // The keys that were valid stay so: a damaged file must neither open nor close a host.
                Err(error) => tracing::error!(%error, "changed keys cannot be read; those before stay valid"),
            }
            current.stamp = stamp;
        }
        current.table.clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> Result<T, KeyError>) -> Result<T, KeyError> {
        let Some(file) = &self.file else {
            let mut current = self.lock();
            let mut table = Table::clone(&current.table);
            let changed = change(&mut table)?;
            current.table = Arc::new(table);
            return Ok(changed);
        };
        let (table, changed) = file.change(change)?;
        let mut current = self.lock();
        current.table = Arc::new(table);
        // Not that of the file: another process may have changed it since.
        current.stamp = None;
        Ok(changed)
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(table: &mut Table, id: &KeyId, value: NewValue<'_>) -> Result<Made, KeyError> {
    let value = match value {
        NewValue::Random => KeyValue::random()?,
        NewValue::Chosen(text) => {
            let is_fit = text.chars().count() >= CHOSEN_CHARACTERS_MIN && text.len() <= KEY_BYTES_MAX;
            if !is_fit || text.chars().any(char::is_control) {
                return Err(KeyError::Value);
            }
            KeyValue::chosen(text)
        }
    };
    let is_new = table.keys.insert(id.clone(), value.digest()).is_none();
    Ok(Made { id: id.clone(), value, is_new })
}

fn template_key(table: &Table) -> String {
    let digest = table.keys.get(&KeyId::durable_task()).map_or(&[][..], |digest| digest.bytes());
    hex(&table.secret.sign("key of link templates", &[digest]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AuthLevel;

    fn host_key(name: &str) -> KeyId {
        KeyId::parse(Scope::Host, name).unwrap()
    }

    const CALL: Demand<'static> = Demand::Function { name: "F", level: AuthLevel::Function };

    #[test]
    fn keys_are_made_once_and_open_until_they_are_rotated_or_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        let wanted = [KeyId::master(), host_key("default")];
        let made = keys.ensure(&wanted).unwrap();
        assert_eq!(made.iter().map(|made| made.id.clone()).collect::<Vec<_>>(), wanted);
        assert!(keys.ensure(&wanted).unwrap().is_empty(), "shown once");
        let (master, host) = (made[0].value.reveal(), made[1].value.reveal());
        assert!(keys.open_for(master, Demand::Admin) && keys.open_for(master, CALL));
        assert!(keys.open_for(host, CALL) && !keys.open_for(host, Demand::Admin));
        let rotated = keys.rotate(&host_key("default")).unwrap();
        assert!(!keys.open_for(host, CALL) && keys.open_for(rotated.value.reveal(), CALL));
        keys.revoke(&host_key("default")).unwrap();
        assert!(!keys.knows(rotated.value.reveal()));
        assert!(matches!(keys.revoke(&host_key("default")), Err(KeyError::NotFound)));
        assert!(matches!(keys.rotate(&host_key("default")), Err(KeyError::NotFound)));
        assert!(matches!(keys.revoke(&KeyId::master()), Err(KeyError::BuiltIn)));
    }

    #[test]
    fn what_another_process_changes_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (host, tool) = (Keys::open(folder.path()).unwrap(), Keys::open(folder.path()).unwrap());
        let first = tool.create(&host_key("a")).unwrap();
        assert!(host.open_for(first.value.reveal(), CALL));
        let second = host.create(&host_key("b")).unwrap();
        assert!(tool.open_for(second.value.reveal(), CALL) && tool.open_for(first.value.reveal(), CALL));
        assert!(matches!(host.create(&host_key("A")), Err(KeyError::Exists)));
        tool.revoke(&host_key("a")).unwrap();
        assert!(!host.knows(first.value.reveal()));
        std::fs::write(folder.path().join(KEYS), "damaged").unwrap();
        assert!(host.knows(second.value.reveal()), "what was valid stays valid");
        assert!(matches!(Keys::open(folder.path()), Err(KeyError::Corrupt { .. })));
    }

    #[test]
    fn what_is_no_key_opens_nothing() {
        let keys = Keys::in_memory().unwrap();
        let made = keys.create(&host_key("a")).unwrap();
        let upper = made.value.reveal().to_uppercase();
        let digest = made.value.digest().to_hex();
        let padded = format!(" {}", made.value.reveal());
        for wrong in ["", "a", "default", &upper, &digest, &padded, &"x".repeat(1 << 20), "\u{fffd}", "\0"] {
            assert!(!keys.knows(wrong), "{wrong:.80}");
        }
    }

    #[test]
    fn chosen_values_are_long_enough() {
        let keys = Keys::in_memory().unwrap();
        let chosen = "correct horse battery";
        assert!(keys.put(&host_key("a"), NewValue::Chosen(chosen)).unwrap().is_new);
        assert!(keys.open_for(chosen, CALL));
        for wrong in ["", "short", &"x".repeat(1025), "line one\nline two line three"] {
            assert!(matches!(keys.put(&host_key("a"), NewValue::Chosen(wrong)), Err(KeyError::Value)), "{wrong:.40}");
        }
        assert!(keys.knows(chosen));
    }

    #[test]
    fn the_key_of_templates_goes_with_the_system_key() {
        let keys = Keys::in_memory().unwrap();
        keys.ensure(&[KeyId::durable_task()]).unwrap();
        let template = keys.template_key();
        assert!(keys.open_for(template.reveal(), Demand::DurableTask) && keys.knows(template.reveal()));
        let system = Demand::Function { name: "F", level: AuthLevel::System };
        for other in [CALL, system, Demand::Admin] {
            assert!(!keys.open_for(template.reveal(), other), "{other:?}");
        }
        keys.rotate(&KeyId::durable_task()).unwrap();
        assert!(!keys.knows(template.reveal()));
        let template = keys.template_key();
        keys.rotate_links().unwrap();
        assert!(!keys.knows(template.reveal()));
    }
}
