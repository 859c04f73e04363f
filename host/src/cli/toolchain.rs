//! The Rust toolchain that builds an app: how its programs are called, and its WebAssembly target.

use std::path::Path;
use std::process::{Command, Stdio};

/// What functions are compiled for.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Makes sure that the toolchain in effect in `folder` can compile for WebAssembly.
pub(super) fn add_target(folder: &Path, out: &mut dyn FnMut(&str)) -> Result<(), String> {
    if has_target(folder)? {
        return Ok(());
    }
    let by_hand = format!("run `rustup target add {TARGET}` in {}", folder.display());
    out(&format!("the Rust toolchain lacks the target {TARGET}: adding it (rustup target add {TARGET})"));
    let status = command("rustup", folder).args(["target", "add", TARGET]).stdin(Stdio::null()).output();
    match status {
        Ok(output) => {
            String::from_utf8_lossy(&output.stderr).lines().for_each(&mut *out);
            if output.status.success() && has_target(folder)? {
                return Ok(());
            }
            Err(format!("the target {TARGET} could not be added: {by_hand}"))
        }
        Err(_) => Err(format!(
            "the Rust toolchain lacks the target {TARGET} and rustup was not found to add it: install rustup \
             (https://rustup.rs) and {by_hand}, or install the target with the package manager that installed Rust"
        )),
    }
}

fn has_target(folder: &Path) -> Result<bool, String> {
    let output = command("rustc", folder)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| cannot_run("rustc", &error))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // An unknown toolchain or a compiler without that target: its own words help more than a guess.
        return Err(format!("rustc does not work here: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(Path::new(answer.trim()).is_dir())
}

/// A command that runs in `folder` without what the caller's cargo, or the caller's own builds, put into the environment.
pub(super) fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    let own_toolchain = has_toolchain_file(folder);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // Rustup's proxies pin their children to their own toolchain. A toolchain file of the app must win over that;
        // without one, the toolchain that built this host is a better guess than a default that may not exist.
        if leaks(&text) || (own_toolchain && text == "RUSTUP_TOOLCHAIN") {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether a variable would change how the app is compiled, or belongs to another run of cargo.
fn leaks(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "CARGO",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CARGO_MAKEFLAGS",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_LINKS",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_LINKER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTFLAGS",
        "RUST_RECURSION_COUNT",
    ];
    const PREFIXES: &[&str] = &[
        "CARGO_BIN_EXE_",
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn has_toolchain_file(folder: &Path) -> bool {
    let names = ["rust-toolchain.toml", "rust-toolchain"];
    folder.ancestors().any(|ancestor| names.iter().any(|name| ancestor.join(name).is_file()))
}

pub(super) fn cannot_run(program: &str, error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        return format!(
            "{program} was not found: install Rust (https://rustup.rs), or use `--no-build` with components that are built already"
        );
    }
    format!("cannot run {program}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_flags_stay_out_and_its_network_settings_go_in() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_JOBS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "CARGO_TARGET_WASM32_WASIP2_RUNNER",
            "RUSTC_WRAPPER",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
        ] {
            assert!(leaks(name), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "RUSTUP_HOME",
            "CARGO_HTTP_PROXY",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_X_TOKEN",
            "HTTPS_PROXY",
            "PATH",
        ] {
            assert!(!leaks(name), "{name}");
        }
    }

    #[test]
    fn a_toolchain_file_is_found_in_the_folders_above() {
        let app = tempfile::tempdir().expect("temp folder");
        let folder = app.path().join("F");
        assert!(!has_toolchain_file(&folder));
        std::fs::write(app.path().join("rust-toolchain"), "stable").expect("write file");
        assert!(has_toolchain_file(&folder));
    }
}
