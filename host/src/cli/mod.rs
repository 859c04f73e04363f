//! The commands of the `soloist` binary. They are front doors: what they do lives elsewhere, but for building an app,
//! which is about cargo and nothing else.
//!
//! Results go to standard output, the log and errors to standard error. Exit codes: 0 ok, 1 failed, 2 usage, 7 an app
//! with errors; those that talk to a running host have more (`manage`).

mod backup;
pub mod build;
mod check;
mod completions;
mod config;
mod explain;
mod ignored;
mod init;
mod inspect;
mod keys;
mod manage;
mod path_crates;
mod report;
mod reset;
mod sdk;
mod start;
mod template;
mod toolchain;
mod watch;

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
    /// Make a new app, with its first functions
    Init(init::Init),
    /// Add a function to an app
    New(init::New),
    /// Run an app: build its functions, then serve them
    Start(start::Start),
    /// Build the Rust functions of an app, without running it
    Build {
        /// The app's folder
        #[arg(default_value = ".")]
        app: PathBuf,
    },
    /// Look for everything that is wrong with an app, without running it; exit code 7 if there is an error
    Check(check::Check),
    /// Say what the code of a finding means
    Explain(explain::Explain),
    /// Show what a component's file is
    Inspect(inspect::Inspect),
    /// Show an app's configuration, or the schemas of its files
    Config(config::ConfigCommand),
    /// Make, list and revoke the keys that callers need
    Keys(keys::KeysCommand),
    /// Delete an app's data: every instance and its history
    Reset(reset::Reset),
    /// Copy an app's data into one file; the host may be running
    Backup(backup::Backup),
    /// Put a backup where an app's data is; the host must not be running
    Restore(backup::Restore),
    /// Look at the instances of a running host, start and control them
    Instances(manage::Instances),
    /// Look at the entities of a running host, signal and delete them
    Entities(manage::Entities),
    /// The verbs and flags of Azure's `func durable`
    Durable(manage::Durable),
    /// Print what a shell needs to complete this program's command line
    Completions(completions::Completions),
}

/// Runs the command that the process was called with.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outcome = match cli.command {
        Command::Init(init) => init.run(),
        Command::New(new) => new.run(),
        Command::Start(start) => start.run(),
        Command::Build { app } => run_build(&app),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Config(config) => config.run(),
        Command::Keys(keys) => keys.run(),
        Command::Reset(reset) => reset.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Instances(instances) => Ok(instances.run()),
        Command::Entities(entities) => Ok(entities.run()),
        Command::Durable(durable) => Ok(durable.run()),
        Command::Completions(completions) => completions.run(),
    };
    outcome.unwrap_or_else(|error| {
        // It may quote a file.
        eprintln!("error: {}", manage::printable_lines(&format!("{error:#}")));
        ExitCode::FAILURE
    })
}

/// Tells of wrong usage, or shows the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    let is_json = words.iter().any(|word| word == "--format=json")
        || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json");
    if is_json && error.use_stderr() {
        let text = error.to_string();
        return manage::Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim()).report_json();
    }
    // Where nobody reads there is nobody to tell.
    let _ = error.print();
    if error.use_stderr() { manage::Exit::Usage.into() } else { ExitCode::SUCCESS }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_arguments_of_a_command_share_a_name() {
        use clap::CommandFactory as _;
        fn check(command: &clap::Command) {
            let mut ids: Vec<_> = command.get_arguments().map(|argument| argument.get_id().clone()).collect();
            let all = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), all, "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        // Building it hands global arguments down, where a verb's own may have their name.
        let mut command = Cli::command();
        command.build();
        check(&command);
        command.debug_assert();
    }
}
