//! Keeps built components out of an app's git repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Adds what was built to the app's `.gitignore`, where git would track it: a component is made from what is tracked already.
/// Does nothing outside of a git work tree, or without git. An error is told, no more: the components are built.
pub(super) fn ignore(app_root: &Path, built: &[PathBuf], out: &mut dyn FnMut(&str)) {
    let tracked: Vec<String> = built
        .iter()
        .filter(|component| would_be_tracked(app_root, component))
        .filter_map(|component| component.strip_prefix(app_root).ok())
        .map(|path| format!("/{}\n", path.display()))
        .collect();
    if tracked.is_empty() {
        return;
    }
    let file = app_root.join(".gitignore");
    let mut text = fs::read_to_string(&file).unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.extend(tracked);
    match fs::write(&file, text) {
        Ok(()) => out(&format!("added what was built to {}", file.display())),
        Err(error) => {
            out(&format!("could not write {}: {error}; keep built components out of git yourself", file.display()))
        }
    }
}

fn would_be_tracked(app_root: &Path, component: &Path) -> bool {
    let mut git = Command::new("git");
    git.current_dir(app_root).args(["check-ignore", "-q", "--"]).arg(component);
    git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // 0: ignored; 1: not; anything else: no repository.
    git.status().is_ok_and(|status| status.code() == Some(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_is_ignored_where_git_would_track_it() {
        let app = tempfile::tempdir().expect("temp folder");
        let root = app.path().canonicalize().expect("it exists");
        let built = [root.join("F/f.wasm")];
        let mut told = Vec::new();
        ignore(&root, &built, &mut |line| told.push(line.to_owned()));
        assert!(told.is_empty() && !root.join(".gitignore").exists(), "no repository, nothing to do");
        let init = Command::new("git").current_dir(&root).args(["init", "-q"]).status();
        if !init.is_ok_and(|status| status.success()) {
            return;
        }
        fs::write(root.join(".gitignore"), "target/").expect("write");
        for _ in 0..2 {
            ignore(&root, &built, &mut |line| told.push(line.to_owned()));
            assert_eq!(fs::read_to_string(root.join(".gitignore")).expect("read"), "target/\n/F/f.wasm\n");
        }
        assert_eq!(told.len(), 1);
    }
}
