//! Copies of apps, for tests that change one.

use std::{fs, path::Path};

use crate::artifacts;

/// A copy of the test app, with its component; it is gone when the value is dropped.
#[derive(Debug)]
pub struct AppCopy {
    folder: tempfile::TempDir,
}

/// The name of the test app's component.
pub const COMPONENT: &str = "soloist_test_app.wasm";

impl AppCopy {
    /// Copies the host.json, the component and these functions of the test app.
    ///
    /// # Panics
    /// If a file cannot be written, or there is no such function.
    pub fn of(functions: &[&str]) -> Self {
        let copy = Self { folder: tempfile::tempdir().expect("a temp folder") };
        let app = artifacts::test_app();
        for file in ["host.json", COMPONENT] {
            fs::copy(app.join(file), copy.path().join(file)).expect("the app's file is copied");
        }
        for function in functions {
            let text = fs::read_to_string(app.join(function).join("function.json")).expect("the function exists");
            copy.write(&format!("{function}/function.json"), text);
        }
        copy
    }

    /// The copy's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, its folders included.
    ///
    /// # Panics
    /// If it cannot.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let file = self.path().join(name);
        fs::create_dir_all(file.parent().expect("a file lies in a folder")).expect("the folder is made");
        fs::write(file, content).expect("the file is written");
    }
}

/// The bytes of the test app's component.
///
/// # Panics
/// If it cannot be read.
pub fn component() -> Vec<u8> {
    fs::read(artifacts::test_app().join(COMPONENT)).expect("the component was built")
}
