//! What only SQLite can do wrong.

use std::{path::PathBuf, sync::Arc};

use tempfile::TempDir;

use super::{OpenError, Sqlite};
use crate::storage::{Storage, conformance::Backend};

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
