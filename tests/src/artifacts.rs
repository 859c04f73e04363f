//! What the tests run: the `soloist` binary and the test app's component, each built once per test process.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the repository")
}

/// The test app, its component not yet built.
pub fn test_app_source() -> PathBuf {
    repository().join("tests/app")
}

/// The `soloist` binary, built with the profile and into the folder that this test was built with and into. The variable
/// `SOLOIST_TEST_BINARY` names another one.
///
/// # Panics
/// If it cannot be built: the message has what cargo said.
pub fn soloist() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("SOLOIST_TEST_BINARY") {
        Some(binary) => binary.into(),
        None => build_soloist(),
    })
}

/// The test app with its component built.
///
/// # Panics
/// If it cannot be built.
pub fn test_app() -> &'static Path {
    static APP: OnceLock<PathBuf> = OnceLock::new();
    APP.get_or_init(|| built(test_app_source()))
}

/// The sample app with its components built.
///
/// # Panics
/// If it cannot be built.
pub fn sample_app() -> &'static Path {
    static APP: OnceLock<PathBuf> = OnceLock::new();
    APP.get_or_init(|| built(repository().join("functions")))
}

fn built(app: PathBuf) -> PathBuf {
    // Test processes may run at once; each waits for the first to build.
    let lock = fs::File::create(target_folder().join("soloist-tests.lock")).expect("the target folder is writable");
    lock.lock().expect("the target folder can be locked");
    let output = Command::new(soloist()).arg("build").arg(&app).stdin(Stdio::null()).output();
    let output = output.expect("the binary that was just built can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "soloist build {} failed:\n{said}", app.display());
    app
}

/// `target/<profile>`, from `target/<profile>/deps/<this test>`.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    let folder = test.parent().expect("a program lies in a folder");
    let is_deps = folder.file_name().is_some_and(|name| name == "deps");
    if is_deps { folder.parent().expect("cargo's layout").to_owned() } else { folder.to_owned() }
}

fn target_folder() -> PathBuf {
    profile_folder().parent().expect("cargo's layout").to_owned()
}

fn build_soloist() -> PathBuf {
    let profile = profile_folder().file_name().map(OsString::from).expect("cargo's layout");
    let profile = if profile == "debug" { "dev".into() } else { profile };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(repository())
        // Both packages, so that the features of what they share are those of this test's own build.
        .args(["build", "-p", "soloist", "-p", "soloist-tests", "--bin", "soloist", "--message-format", "json"])
        .arg("--profile")
        .arg(profile)
        .arg("--target-dir")
        .arg(target_folder())
        .stdin(Stdio::null())
        .output()
        .expect("cargo, which runs this test, can be run");
    assert!(output.status.success(), "building soloist failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout);
    let executable = lines.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        // The library has the same name, but no executable.
        (message["target"]["name"] == "soloist").then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.expect("cargo names the executable that it built")
}
