//! `soloist inspect`: what a component's file is.

use std::path::PathBuf;
use std::process::ExitCode;

use super::manage::{Exit, Failure, Format, Output, printable};
use crate::wasm::{self, CONTRACTS, Inspection};

/// `soloist inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The component's file
    file: PathBuf,
    /// For people (text) or for programs (json)
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Inspect {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let output = Output::new(self.format);
        let found = match wasm::inspect_file(&self.file) {
            Ok(found) => found,
            Err(error) => return Ok(Failure::new(Exit::Failed, error.to_string()).report(self.format)),
        };
        if output.is_json() {
            output.json(&json(&self.file.to_string_lossy(), &found).to_string())?;
        } else {
            output.write(&text(&self.file.to_string_lossy(), &found))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The functions that it says it holds, as `activity say_hello`.
fn functions(found: &Inspection) -> Option<Vec<(&'static str, &str)>> {
    let handlers = found.info.handlers.as_ref()?;
    Some(handlers.iter().map(|(kind, name)| (kind.word(), name.as_str())).collect())
}

fn text(file: &str, found: &Inspection) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let contract = match (found.info.contract.as_str(), found.is_supported) {
        ("", _) => "none".to_owned(),
        (version, true) => version.to_owned(),
        (version, false) => format!("{version}, which this host does not load: it loads {CONTRACTS}"),
    };
    let triggers = if found.triggers.is_empty() { "none".to_owned() } else { found.triggers.join(", ") };
    let _ = writeln!(text, "file       {}", printable(file));
    let _ = writeln!(text, "size       {} bytes", found.bytes);
    let _ = writeln!(text, "digest     {}", found.digest);
    let _ = writeln!(text, "contract   {}", printable(&contract));
    let _ = writeln!(text, "serves     {triggers}");
    match functions(found) {
        None => text.push_str("functions  it does not say: the entry point is handed to it\n"),
        Some(functions) => {
            text.push_str("functions\n");
            for (kind, name) in functions {
                let _ = writeln!(text, "  {kind} {}", printable(name));
            }
        }
    }
    for (title, names) in [("imports", &found.info.imports), ("exports", &found.info.exports)] {
        let _ = writeln!(text, "{title}");
        for name in names {
            let _ = writeln!(text, "  {}", printable(name));
        }
    }
    text
}

fn json(file: &str, found: &Inspection) -> serde_json::Value {
    let functions = functions(found).map(|functions| {
        let function = |(kind, name): (&str, &str)| serde_json::json!({ "kind": kind, "name": name });
        functions.into_iter().map(function).collect::<Vec<_>>()
    });
    serde_json::json!({
        "file": file,
        "bytes": found.bytes,
        "digest": found.digest.to_string(),
        "contract": found.info.contract,
        "contractIsSupported": found.is_supported,
        "triggers": found.triggers,
        "functions": functions,
        "imports": found.info.imports,
        "exports": found.info.exports,
    })
}
