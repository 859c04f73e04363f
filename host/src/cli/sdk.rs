//! The SDK's source, which this program brings along: an app that `soloist init` made builds wherever the program is.
//!
//! It lies in `APP/.soloist/sdk`, as the repository has it. An app's `Cargo.toml` that names this folder asks for it: each
//! build then puts the version there that belongs to this program. Nobody edits it, and no repository takes it in.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::{durable::Digest, host::DataFolder};

/// Where it lies, below the app's folder.
const FOLDER: &str = ".soloist/sdk";

/// The SDK's crate, below a folder that is laid out like the repository.
pub(super) const CRATE: &str = "guest-sdk/rust";

/// The file that says which source lies there.
const STAMP: &str = "digest";

/// Every file: its path in the repository, and its text.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// The repository's workspace, for what the SDK's crates inherit from it.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// The versions of the packages that the SDK needs with which it is tested.
const LOCK: &str = include_str!("../../../functions/Cargo.lock");

/// The path of the SDK's crate as an app's `Cargo.toml` names it.
pub(super) fn dependency_path() -> String {
    format!("{FOLDER}/{CRATE}")
}

/// A `Cargo.lock` for a new app: of every package that comes from a registry the version with which the SDK is tested.
/// Cargo drops what the app does not use, and adds the app's own.
pub(super) fn lock_file() -> String {
    let mut blocks = LOCK.split("\n\n").map(str::trim_end);
    let head = blocks.next().unwrap_or_default();
    let packages = blocks.filter(|block| block.contains("\nsource = "));
    [head].into_iter().chain(packages).collect::<Vec<_>>().join("\n\n") + "\n"
}

/// Puts the SDK's source into an app's folder, if its `Cargo.toml` asks for it and it is not there.
///
/// # Errors
/// If it cannot be written. What was there before is still there then, or is gone as a whole.
pub(super) fn provide(app: &Path, out: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let manifest = fs::read_to_string(app.join("Cargo.toml")).unwrap_or_default();
    if !manifest.contains(&dependency_path()) {
        return Ok(());
    }
    let folder = app.join(FOLDER);
    let files = files();
    let digest = digest(&files);
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|present| present == digest) {
        return Ok(());
    }
    let keeper = folder.parent().expect("it lies in a folder");
    DataFolder::make(keeper)?;
    let process = std::process::id();
    let (aside, old) = (keeper.join(format!(".sdk-{process}.new")), keeper.join(format!(".sdk-{process}.old")));
    let written = (|| {
        for (path, text) in files.iter().map(|(path, text)| (path.as_str(), text.as_str())).chain([(STAMP, &*digest)]) {
            let file = aside.join(path);
            fs::create_dir_all(file.parent().expect("a file lies in a folder"))?;
            fs::write(file, text)?;
        }
        // A folder is not replaced in one step: whoever ends between these two has none, and the next build makes it.
        if folder.exists() {
            fs::rename(&folder, &old)?;
        }
        fs::rename(&aside, &folder)
    })();
    for remnant in [&aside, &old] {
        // Best effort: what cannot be deleted takes space and nothing else.
        let _ = fs::remove_dir_all(remnant);
    }
    written.with_context(|| format!("writing the SDK's source to {}", folder.display()))?;
    out(&format!("wrote the SDK's source to {}", folder.display()));
    Ok(())
}

/// Every file of the folder: the SDK's, and a workspace around it.
fn files() -> Vec<(String, String)> {
    let own = FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    own.chain([("Cargo.toml".to_owned(), workspace())]).collect()
}

/// A workspace of the SDK's crates alone, with what they inherit.
fn workspace() -> String {
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = [\"{CRATE}\", \"{CRATE}/macros\"]\n");
    let mut is_inherited = false;
    for line in WORKSPACE.lines() {
        if line.starts_with('[') {
            is_inherited = line.starts_with("[workspace.");
        }
        if is_inherited && !line.starts_with('#') {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn digest(files: &[(String, String)]) -> String {
    let mut hash = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    Digest(hash.finalize().into()).to_string()
}

/// The SDK's crate at a path that a user gave: the crate itself, or a folder laid out like the repository.
///
/// # Errors
/// If it is neither.
pub(super) fn find(path: &Path) -> anyhow::Result<PathBuf> {
    let is_sdk = |folder: &PathBuf| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "name = \"soloist-sdk\"")
    };
    let found = [path.to_owned(), path.join(CRATE)].into_iter().find(is_sdk).with_context(|| {
        format!("{} is not the SDK: name the crate soloist-sdk, or a clone of Soloist", path.display())
    })?;
    found.canonicalize().with_context(|| format!("opening {}", found.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_written_once_where_it_is_asked_for() {
        let app = tempfile::tempdir().expect("temp folder");
        let mut said = Vec::new();
        let mut provide = |app: &Path| provide(app, &mut |line| said.push(line.to_owned())).expect("it can be written");
        provide(app.path());
        assert!(!app.path().join(".soloist").exists(), "nobody asked");
        fs::write(app.path().join("Cargo.toml"), format!("soloist-sdk = {{ path = \"{}\" }}", dependency_path()))
            .expect("write");
        provide(app.path());
        let sdk = app.path().join(FOLDER);
        let library = sdk.join(CRATE).join("src/lib.rs");
        assert!(library.is_file() && sdk.join("wit/worlds.wit").is_file());
        assert_eq!(find(&sdk).expect("it is the SDK"), sdk.join(CRATE).canonicalize().expect("exists"));
        assert!(find(app.path()).is_err());
        fs::write(&library, "changed").expect("write");
        provide(app.path());
        assert_eq!(fs::read_to_string(&library).expect("read"), "changed", "the stamp says that it is there");
        fs::write(sdk.join(STAMP), "of another version").expect("write");
        provide(app.path());
        assert_ne!(fs::read_to_string(&library).expect("read"), "changed");
        let left: Vec<_> = fs::read_dir(app.path().join(".soloist")).expect("read").flatten().collect();
        assert_eq!(left.len(), 2, "the source and .gitignore: {left:?}");
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn the_lock_file_has_what_comes_from_a_registry_and_nothing_else() {
        let lock = lock_file();
        assert!(lock.contains("version = 4\n") && lock.contains("name = \"wit-bindgen\"\n"), "{lock}");
        assert!(!lock.contains("name = \"soloist-sdk\""), "{lock}");
    }

    #[test]
    fn the_workspace_has_what_the_crates_inherit() {
        let workspace = workspace();
        for wanted in ["[workspace.package]\n", "\nwit-bindgen = ", "[workspace.lints.clippy]\n"] {
            assert!(workspace.contains(wanted), "{workspace}");
        }
        assert!(!workspace.contains("[profile"), "{workspace}");
    }
}
