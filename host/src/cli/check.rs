//! `soloist check`: everything that is wrong with an app, without running it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::manage::{Format, Output, printable};
use super::report;
use crate::ambient::{Ambient as _, System};
use crate::app::{Function, Severity, TimerTrigger, Trigger};
use crate::host::{self, Checked};

/// What the process ends with if something is not served.
const ERRORS: u8 = 7;

/// How many occurrences of a schedule are told.
const NEXT: usize = 3;

/// `soloist check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The app's folder
    #[arg(default_value = ".")]
    app: PathBuf,
    /// For people (text) or for programs (json)
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let output = Output::new(self.format);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let checked = runtime.block_on(host::check(&self.app, crate::app::process_environment()));
        let root = checked.app.as_ref().map_or(self.app.clone(), |app| app.root.clone());
        if output.is_json() {
            output.json(&json(&checked, &root).to_string())?;
        } else {
            output.write(&text(&checked, &root, output.is_coloured()))?;
        }
        // Compiling may be under way for what is not waited for.
        runtime.shutdown_background();
        Ok(if checked.is_good() { ExitCode::SUCCESS } else { ExitCode::from(ERRORS) })
    }
}

/// The functions with a schedule.
fn timers(checked: &Checked) -> impl Iterator<Item = (&Function, &TimerTrigger)> {
    let functions = checked.app.iter().flat_map(|app| &app.functions);
    functions.filter_map(|function| match &function.trigger {
        Trigger::Timer(timer) => Some((function, timer)),
        Trigger::Http(_) | Trigger::Orchestration { .. } | Trigger::Activity { .. } | Trigger::Entity { .. } => None,
    })
}

fn text(checked: &Checked, root: &Path, is_coloured: bool) -> String {
    use std::fmt::Write as _;
    let mut text = report::text(&checked.report, root, is_coloured);
    let width = timers(checked).map(|(function, _)| function.name.len()).max().unwrap_or(0);
    for (index, (function, timer)) in timers(checked).enumerate() {
        if index == 0 {
            let _ = writeln!(text, "schedules:");
        }
        let next = timer.schedule.next_texts(System.now(), NEXT);
        let next = if next.is_empty() { "never".to_owned() } else { next.join(", ") };
        let schedule = printable(&timer.schedule.to_string());
        let _ = writeln!(text, "  {:width$}  {schedule}  next: {next}", function.name);
    }
    let in_error = checked.report.count(Severity::Error) > 0;
    let _ = writeln!(text, "{}: {}", printable(&root.display().to_string()), report::counts(&checked.report));
    match checked.served.len() {
        0 => text.push_str("no function would be served"),
        1 => text.push_str("1 function would be served"),
        many => text.push_str(&format!("{many} functions would be served")),
    }
    if !checked.report.diagnostics().is_empty() {
        let first = checked.report.first_error().or(checked.report.diagnostics().first());
        let code = first.map_or("CODE", |found| found.code.as_str());
        let more = if in_error { "; `soloist explain" } else { " (`soloist explain" };
        let end = if in_error { "` says more" } else { "` says more)" };
        let _ = write!(text, "{more} {code}{end}");
    }
    text.push('\n');
    text
}

fn json(checked: &Checked, root: &Path) -> serde_json::Value {
    let diagnostics: Vec<_> =
        checked.report.diagnostics().iter().map(|diagnostic| report::json(diagnostic, root)).collect();
    let schedules: Vec<_> = timers(checked)
        .map(|(function, timer)| {
            serde_json::json!({
                "function": function.name,
                "schedule": timer.schedule.to_string(),
                "next": timer.schedule.next_texts(System.now(), NEXT),
            })
        })
        .collect();
    serde_json::json!({
        "app": root.to_string_lossy(),
        "errors": checked.report.count(Severity::Error),
        "warnings": checked.report.count(Severity::Warning),
        "notes": checked.report.count(Severity::Note),
        "diagnostics": diagnostics,
        "functions": checked.served,
        "schedules": schedules,
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
