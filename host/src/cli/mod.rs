//! The commands of the `soloist` binary. They are front doors: what they do lives elsewhere, but for building an app,
//! which is about cargo and nothing else.
//!
//! Results go to standard output, the log and errors to standard error. Exit codes: 0 ok, 1 failed, 2 usage.

mod backup;
pub mod build;
mod ignored;
mod reset;
mod start;
mod toolchain;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Durable functions as sandboxed WebAssembly components, in one binary.
#[derive(Debug, Parser)]
#[command(name = "soloist", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an app: build its functions, then serve them
    Start(start::Start),
    /// Build the Rust functions of an app, without running it
    Build {
        /// The app's folder
        #[arg(default_value = ".")]
        app: PathBuf,
    },
    /// Delete an app's data: every instance and its history
    Reset(reset::Reset),
    /// Copy an app's data into one file; the host may be running
    Backup(backup::Backup),
    /// Put a backup where an app's data is; the host must not be running
    Restore(backup::Restore),
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Start(start) => start.run(),
        Command::Build { app } => run_build(&app),
        Command::Reset(reset) => reset.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// The folder that holds an app's data unless `--data` names another.
fn data_folder(app: &Path, data: Option<PathBuf>) -> PathBuf {
    data.unwrap_or_else(|| app.join(".soloist"))
}

fn run_build(app: &Path) -> anyhow::Result<ExitCode> {
    check_app_folder(app)?;
    let report = build::build(app, &mut |line| eprintln!("{line}"))?;
    for component in &report.built {
        let news = if component.changed { "built" } else { "unchanged" };
        println!("{news} {}", component.component.display());
    }
    if report.built.is_empty() && report.failed.is_empty() {
        println!("nothing to build: {} holds no Rust functions", app.display());
    }
    report_failures(&report);
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_app_folder(app: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        app.is_dir() || !app.exists(),
        "{} is not a folder; name the folder that holds host.json and a folder per function",
        app.display()
    );
    anyhow::ensure!(
        app.exists(),
        "the app folder {} does not exist; name the folder that holds host.json and a folder per function",
        app.display()
    );
    Ok(())
}

fn report_failures(report: &build::BuildReport) {
    for failure in &report.failed {
        eprintln!("error: {} was not built: {}", failure.manifest.display(), failure.reason);
    }
}
