//! Benchmarks: `cargo run --release -p soloist-bench -- [commit|guest|turn|http …]`, all of them by default. Compare figures
//! within one run only.
//!
//! Each figure is a row of a table on standard error and a line of JSON on standard output.

mod client;
mod commit_path;
mod crowd;
mod end_to_end;
mod fresh_guest;
mod guests;
mod process;
mod report;
mod turns;

use std::path::Path;

use anyhow::{Result, bail};

/// The benchmarks, in the order in which they are run.
const SUITES: [(&str, fn() -> Result<()>); 4] =
    [("commit", commit_path::run), ("guest", fresh_guest::run), ("turn", turns::run), ("http", end_to_end::run)];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| !SUITES.iter().any(|(suite, _)| suite == name)) {
        bail!("unknown benchmark {unknown:?}; there are commit, guest, turn and http");
    }
    report::print_head();
    for (suite, run) in SUITES {
        if wanted.is_empty() || wanted.iter().any(|name| name == suite) {
            run()?;
        }
    }
    Ok(())
}

/// A folder for one measurement, below `target` if that exists: the system's folder for temporary files may be in memory,
/// where nothing is durable and everything is quick.
fn scratch() -> Result<tempfile::TempDir> {
    let target = Path::new("target");
    Ok(if target.is_dir() { tempfile::tempdir_in(target)? } else { tempfile::tempdir()? })
}
