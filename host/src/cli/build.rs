//! `soloist build`: turns the Rust functions of an app into components.
//!
//! Cargo is asked every time, because only cargo knows whether a path dependency has changed; an app without Rust crates
//! needs no cargo at all. Crates of one workspace are built by one call of cargo. A crate that fails keeps neither the
//! others from being built nor the host from starting: its functions are excluded, or run the component of the last build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use serde::Deserialize;

use super::ignored::ignore;
use super::toolchain::{TARGET, add_target, cannot_run, command};

/// What became of the Rust crates of an app.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BuildReport {
    /// The components that are up to date now, in the order in which they were built.
    pub built: Vec<BuiltComponent>,
    /// The crates that could not be built.
    pub failed: Vec<BuildFailure>,
}

/// A component that is up to date.
#[derive(Debug, PartialEq, Eq)]
pub struct BuiltComponent {
    /// The crate's package name.
    pub package: String,
    /// The component, beside the crate's `Cargo.toml`.
    pub component: PathBuf,
    /// Whether its bytes differ from those that were there before.
    pub changed: bool,
}

/// A crate that could not be built.
#[derive(Debug, PartialEq, Eq)]
pub struct BuildFailure {
    /// The crate's `Cargo.toml`.
    pub manifest: PathBuf,
    /// Why, in one line; what cargo printed has been passed on before.
    pub reason: String,
}

/// Builds the Rust crates of the app in `app_root`: the one in the app folder and those in its folders, as far as they
/// have a `cdylib` target. Each component is copied beside its crate's `Cargo.toml`, in one step, if its bytes differ.
///
/// The caller's compiler flags, wrappers, profiles and target folder do not reach cargo; its home, registries and
/// network settings do. If the toolchain lacks the WebAssembly target, rustup is asked to add it. `out` is given what
/// is done and what cargo prints, line by line.
///
/// # Errors
/// The app folder cannot be read, or the SDK's source not be written to it. Failing crates are in the report.
pub fn build(app_root: &Path, out: &mut dyn FnMut(&str)) -> anyhow::Result<BuildReport> {
    let app_root = app_root.canonicalize().with_context(|| format!("opening app folder {}", app_root.display()))?;
    super::sdk::provide(&app_root, out)?;
    let mut report = BuildReport::default();
    let own = app_root.join("Cargo.toml");
    if let Some(reason) = missing_member(&own) {
        // One reason, not one for every crate of the workspace.
        fail(own, reason, &mut report, out);
        return Ok(report);
    }
    let mut known = BTreeSet::new();
    for manifest in manifests(&app_root)? {
        if known.contains(&manifest) {
            continue;
        }
        match workspace(&app_root, &manifest) {
            Ok(workspace) => {
                known.extend(workspace.members);
                for (manifest, reason) in workspace.unfit {
                    fail(manifest, reason, &mut report, out);
                }
                build_workspace(&manifest, workspace.crates, &mut report, out);
            }
            Err(reason) => fail(manifest, reason, &mut report, out),
        }
    }
    let built: Vec<PathBuf> = report.built.iter().map(|built| built.component.clone()).collect();
    ignore(&app_root, &built, out);
    Ok(report)
}

fn fail(manifest: PathBuf, reason: String, report: &mut BuildReport, out: &mut dyn FnMut(&str)) {
    out(&format!("{}: {reason}", manifest.display()));
    report.failed.push(BuildFailure { manifest, reason });
}

/// The `Cargo.toml` of the app folder and of the folders in it, ordered by path, the app's own first.
pub(super) fn manifests(app_root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(app_root).with_context(|| format!("reading app folder {}", app_root.display()))? {
        let entry = entry.with_context(|| format!("reading app folder {}", app_root.display()))?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with('.') && name != "target" && entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    folders.insert(0, app_root.to_owned());
    let manifests = folders.iter().filter_map(|folder| folder.join("Cargo.toml").canonicalize().ok());
    Ok(manifests.filter(|manifest| manifest.starts_with(app_root)).collect())
}

/// What to do if a workspace lists a member that is not there: a function that was deleted. Cargo reads none of it then.
fn missing_member(manifest: &Path) -> Option<String> {
    let document: toml_edit::DocumentMut = fs::read_to_string(manifest).ok()?.parse().ok()?;
    let members = document.get("workspace")?.get("members")?.as_array()?;
    let missing = members.iter().filter_map(toml_edit::Value::as_str).find(|member| {
        let is_pattern = member.contains(['*', '?', '[']);
        !is_pattern && !folder_of(manifest).join(member).join("Cargo.toml").exists()
    })?;
    Some(format!("the workspace's member {missing:?} is not there: remove it from members, or put it back"))
}

/// What cargo says about the workspace that a manifest belongs to.
struct Workspace {
    /// The manifests of all members, also of those outside of the app.
    members: Vec<PathBuf>,
    /// The members inside the app that become components.
    crates: Vec<Crate>,
    /// The members that a function needs as its component but that are none, with what to do.
    unfit: Vec<(PathBuf, String)>,
}

/// A crate that becomes a component.
struct Crate {
    /// Cargo's name for exactly this package.
    id: String,
    name: String,
    manifest: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Target {
    fn is_component(&self) -> bool {
        self.kind.iter().any(|kind| kind == "cdylib")
    }
}

fn workspace(app_root: &Path, manifest: &Path) -> Result<Workspace, String> {
    let output = command("cargo", folder_of(manifest))
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .map_err(|error| cannot_run("cargo", &error))?;
    if !output.status.success() {
        return Err(format!("cargo cannot read the crate: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo's answer is not understood: {error}"))?;
    let mut workspace = Workspace { members: Vec::new(), crates: Vec::new(), unfit: Vec::new() };
    for Package { id, name, manifest_path, targets } in metadata.packages {
        let manifest = manifest_path.canonicalize().unwrap_or(manifest_path);
        workspace.members.push(manifest.clone());
        if !manifest.starts_with(app_root) {
            continue;
        }
        if targets.iter().any(Target::is_component) {
            workspace.crates.push(Crate { id, name, manifest });
        } else if folder_of(&manifest).join("function.json").exists() {
            let reason = format!(
                "the crate '{name}' is not a component: add [lib] with crate-type = [\"cdylib\"] to its Cargo.toml"
            );
            workspace.unfit.push((manifest, reason));
        }
    }
    Ok(workspace)
}

/// Builds the crates of one workspace and writes down what became of each.
fn build_workspace(manifest: &Path, crates: Vec<Crate>, report: &mut BuildReport, out: &mut dyn FnMut(&str)) {
    if crates.is_empty() {
        return;
    }
    let folder = folder_of(manifest);
    let names: Vec<&str> = crates.iter().map(|one| one.name.as_str()).collect();
    out(&format!("building {} in {}", names.join(", "), folder.display()));
    let artifacts = add_target(folder, out).and_then(|()| run_cargo(folder, &crates, out));
    for Crate { id, name, manifest } in crates {
        let installed = match &artifacts {
            Ok(artifacts) => match artifacts.get(&id) {
                Some(artifact) => install(artifact, folder_of(&manifest)),
                None => Err(format!("the crate '{name}' could not be compiled: cargo's messages say why")),
            },
            Err(reason) => Err(reason.clone()),
        };
        match installed {
            Ok((component, changed)) => {
                let state = if changed { "built" } else { "up to date:" };
                out(&format!("{state} {}", component.display()));
                report.built.push(BuiltComponent { package: name, component, changed });
            }
            Err(reason) => fail(manifest, reason, report, out),
        }
    }
}

/// One line of cargo's JSON output; only those about artifacts matter.
#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

impl Message {
    /// The package and its component, if the line announces one.
    fn component(line: &str) -> Option<(String, PathBuf)> {
        let message: Message = serde_json::from_str(line).ok()?;
        let is_component = message.reason == "compiler-artifact" && message.target?.is_component();
        let is_wasm = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
        let file = message.filenames.into_iter().find(is_wasm).filter(|_| is_component)?;
        Some((message.package_id?, file))
    }
}

/// Runs cargo and gives the component of each crate that was built. Goes on after a crate that fails.
fn run_cargo(folder: &Path, crates: &[Crate], out: &mut dyn FnMut(&str)) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut cargo = command("cargo", folder);
    cargo.args(["build", "--release", "--target", TARGET, "--lib", "--keep-going"]);
    cargo.arg("--message-format=json-render-diagnostics");
    for one in crates {
        cargo.args(["--package", &one.id]);
    }
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        cargo.args(["--color", "always"]);
    }
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = cargo.spawn().map_err(|error| cannot_run("cargo", &error))?;
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    // Both pipes are read at once: cargo blocks when either is full.
    let artifacts = std::thread::scope(|scope| {
        let artifacts =
            scope.spawn(|| stdout.lines().map_while(Result::ok).filter_map(|line| Message::component(&line)).collect());
        for line in stderr.split(b'\n').map_while(Result::ok) {
            out(String::from_utf8_lossy(&line).trim_end());
        }
        artifacts.join().expect("reading lines does not panic")
    });
    child.wait().map_err(|error| format!("cannot wait for cargo: {error}"))?;
    Ok(artifacts)
}

/// Copies a component into a folder, aside first and then in one step, so that nobody reads half of it. True if its
/// bytes are new.
fn install(artifact: &Path, folder: &Path) -> Result<(PathBuf, bool), String> {
    let name = artifact.file_name().expect("an artifact is a file").to_string_lossy();
    let component = folder.join(&*name);
    let describe = |error: std::io::Error| format!("cannot write {}: {error}", component.display());
    let bytes = fs::read(artifact).map_err(|error| format!("cannot read {}: {error}", artifact.display()))?;
    if fs::read(&component).is_ok_and(|present| present == bytes) {
        return Ok((component, false));
    }
    let aside = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = fs::File::create(&aside)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&aside, &component));
    if let Err(error) = written {
        // The copy is of no use to anyone; the error that matters is the first one.
        let _ = fs::remove_file(&aside);
        return Err(describe(error));
    }
    Ok((component, true))
}

fn folder_of(file: &Path) -> &Path {
    file.parent().expect("a canonical path of a file has a folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("has a folder")).expect("create folder");
        fs::write(path, text).expect("write file");
    }

    fn manifest(name: &str) -> String {
        format!(
            "[package]\nname = \"{name}\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\npath = \"lib.rs\"\n"
        )
    }

    fn run(root: &Path) -> (BuildReport, String) {
        let mut lines = Vec::new();
        let report = build(root, &mut |line| lines.push(line.to_owned())).expect("the folder can be read");
        (report, lines.join("\n"))
    }

    #[test]
    fn an_app_without_crates_needs_no_cargo_and_says_nothing() {
        let app = tempfile::tempdir().expect("temp folder");
        write(app.path(), "F/function.json", "{}");
        assert_eq!(run(app.path()), (BuildReport::default(), String::new()));
        assert!(build(&app.path().join("missing"), &mut |_| {}).is_err());
    }

    #[test]
    fn a_bad_crate_does_not_keep_the_others_from_being_built() {
        let app = tempfile::tempdir().expect("temp folder");
        write(app.path(), "Good/Cargo.toml", &manifest("good-one"));
        write(app.path(), "Good/lib.rs", "");
        write(app.path(), "Bad/Cargo.toml", &manifest("bad"));
        write(app.path(), "Bad/lib.rs", "fn f() -> u8 { \"no\" }");
        write(app.path(), "Odd/Cargo.toml", "nonsense");
        write(app.path(), "Plain/Cargo.toml", "[package]\nname = \"plain\"\n");
        write(app.path(), "Plain/src/lib.rs", "");
        write(app.path(), "Plain/function.json", "{}");
        write(app.path(), "Library/Cargo.toml", "[package]\nname = \"library\"\n");
        write(app.path(), "Library/src/lib.rs", "");

        let (report, text) = run(app.path());
        let built: Vec<_> = report.built.iter().map(|built| (built.package.as_str(), built.changed)).collect();
        assert_eq!(built, [("good-one", true)], "{text}");
        assert!(report.built[0].component.ends_with("Good/good_one.wasm"));
        assert!(fs::read(&report.built[0].component).expect("exists").starts_with(b"\0asm"));
        let failed: Vec<_> = report.failed.iter().map(|failed| folder_of(&failed.manifest).file_name()).collect();
        assert_eq!(failed, ["Bad", "Odd", "Plain"].map(|name| Some(std::ffi::OsStr::new(name))), "{text}");
        assert!(text.contains("mismatched types"), "cargo's own message is passed on: {text}");
        assert!(report.failed[2].reason.contains("crate-type = [\"cdylib\"]"));

        let (report, text) = run(app.path());
        assert!(!report.built[0].changed, "{text}");
    }

    #[test]
    fn the_members_of_one_workspace_are_built_together() {
        let app = tempfile::tempdir().expect("temp folder");
        write(app.path(), "Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"A\", \"B\", \"C\"]\n");
        for name in ["A", "B", "C"] {
            write(app.path(), &format!("{name}/Cargo.toml"), &manifest(&name.to_lowercase()));
            write(app.path(), &format!("{name}/lib.rs"), "");
        }
        write(app.path(), "B/lib.rs", "compile_error!(\"b is broken\");");
        let (report, text) = run(app.path());
        let built: Vec<_> = report.built.iter().map(|built| built.package.as_str()).collect();
        assert_eq!(built, ["a", "c"], "{text}");
        assert_eq!(report.failed.len(), 1);
        assert!(report.failed[0].reason.contains("'b' could not be compiled"), "{:?}", report.failed);
        assert_eq!(text.matches("building ").count(), 1, "{text}");
        assert!(app.path().join("A/a.wasm").is_file() && app.path().join("C/c.wasm").is_file());
        assert!(app.path().join("target").is_dir(), "the caller's target folder is not used");
    }

    #[test]
    fn a_member_that_was_deleted_is_named() {
        let app = tempfile::tempdir().expect("temp folder");
        write(app.path(), "Cargo.toml", "[workspace]\nmembers = [\"A\", \"B\"]\n");
        write(app.path(), "A/Cargo.toml", &manifest("a"));
        write(app.path(), "A/lib.rs", "");
        let (report, text) = run(app.path());
        assert!(report.built.is_empty() && report.failed.len() == 1, "{text}");
        assert!(report.failed[0].reason.contains("\"B\" is not there: remove it from members"), "{text}");
    }

    #[test]
    fn only_a_component_among_cargos_messages_counts() {
        let line = |kind: &str, file: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"p","target":{{"kind":["{kind}"]}},"filenames":["{file}"]}}"#
            )
        };
        assert_eq!(Message::component(&line("cdylib", "/t/a.wasm")), Some(("p".to_owned(), "/t/a.wasm".into())));
        assert_eq!(Message::component(&line("lib", "/t/a.rlib")), None);
        assert_eq!(Message::component(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(Message::component("not json"), None);
    }
}
