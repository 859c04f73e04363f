//! Installs the clients, once for each set of pinned versions.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

use crate::source;

/// A test that finds no clients fails if this is `required`.
const REQUIRED: &str = "SOLOIST_TEST_CLIENTS";

/// How long one step of an installation may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A language's clients.
#[derive(Clone, Copy)]
pub enum Toolbox {
    /// A virtual environment.
    Python,
    /// A folder with `node_modules`.
    JavaScript,
    /// A virtual environment, with what checks an API by its description.
    OpenApi,
}

/// The folder that the clients are installed in, after they are; none if they cannot be and need not be.
pub async fn install(toolbox: Toolbox) -> Option<PathBuf> {
    match installed(toolbox).await {
        Ok(folder) => Some(folder),
        Err(why) => {
            let required = std::env::var(REQUIRED).is_ok_and(|value| value == "required");
            assert!(!required, "{why}");
            let bar = "!".repeat(80);
            // Past what captures a passing test's output.
            let _ = write!(
                std::io::stderr(),
                "\n{bar}\nSKIPPED: clients that others wrote were not tested: {why}\n{REQUIRED}=required makes this fail\n{bar}\n"
            );
            None
        }
    }
}

async fn installed(toolbox: Toolbox) -> Result<PathBuf, String> {
    let (name, pinned) = match toolbox {
        Toolbox::Python => ("python", "python/requirements.txt"),
        Toolbox::JavaScript => ("javascript", "javascript/package-lock.json"),
        Toolbox::OpenApi => ("openapi", "openapi/requirements.txt"),
    };
    let folder = soloist_tests::artifacts::repository().join("target/clients").join(name);
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let lock = fs::File::create(folder.with_extension("lock")).expect("the target folder is writable");
    // Tests of one process, and of several, may come at once: the first one installs, the others wait.
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.expect("no panic");
    let _lock = lock.expect("a file can be locked");
    let pinned = source(pinned);
    let wanted = fs::read(&pinned).expect("the versions are pinned");
    let stamp = folder.join("installed");
    if fs::read(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(folder);
    }
    match toolbox {
        Toolbox::Python | Toolbox::OpenApi => python(&folder, &pinned).await?,
        Toolbox::JavaScript => javascript(&folder).await?,
    }
    fs::write(&stamp, wanted).expect("the target folder is writable");
    Ok(folder)
}

async fn python(folder: &Path, requirements: &Path) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder)).await?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    run(&mut pip).await
}

async fn javascript(folder: &Path) -> Result<(), String> {
    run(Command::new("node").arg("--version")).await?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source("javascript").join(file), folder.join(file)).expect("the target folder is writable");
    }
    // Nothing of a package is run while it is installed.
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    run(Command::new("npm").args(npm).current_dir(folder)).await
}

async fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{:?}", command.as_std());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{shown} cannot be run: {error}")),
        Err(_) => return Err(format!("{shown} takes longer than {} s", PATIENCE.as_secs())),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Err(format!("{shown} failed: {}", said.concat().trim()))
}
