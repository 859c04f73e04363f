//! Benchmarks: `cargo run --release -p soloist-bench -- [commit|guest|turn|http …]`, all of them by default. Compare figures
//! within one run only.
//!
//! Each figure is a row of a table on standard error and a line of JSON on standard output.

mod client;
mod commit_path;
mod crowd;
mod end_to_end;
mod entities;
mod fresh_guest;
mod guests;
mod process;
mod report;
mod scale;
mod turns;

use std::path::Path;

use anyhow::{Result, bail};

/// A suite's name, and what runs it.
type Suite = (&'static str, fn() -> Result<()>);

/// The benchmarks, in the order in which they are run; those over HTTP can also be chosen one by one.
const SUITES: [Suite; 12] = [
    ("commit", commit_path::run),
    ("guest", fresh_guest::run),
    ("turn", turns::run),
    ("W1", end_to_end::chains),
    ("W2", end_to_end::fan_outs),
    ("W3", end_to_end::starts),
    ("W4", end_to_end::races),
    ("W5", scale::overdue_timers),
    ("W6", scale::waiting_instances),
    ("W8", entities::operations),
    ("steps", scale::long_histories),
    ("hello", end_to_end::functions),
];

/// What `http` stands for.
const HTTP: [&str; 9] = ["W1", "W2", "W3", "W4", "W5", "W6", "W8", "steps", "hello"];

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| *name != "http" && !SUITES.iter().any(|(suite, _)| suite == name))
    {
        bail!("unknown benchmark {unknown:?}; there are commit, guest, turn, http, and of http {}", HTTP.join(", "));
    }
    let is_wanted = |suite: &str| {
        let named = |name: &String| name == suite || (name == "http" && HTTP.contains(&suite));
        wanted.is_empty() || wanted.iter().any(named)
    };
    report::print_head();
    SUITES.iter().filter(|(suite, _)| is_wanted(suite)).try_for_each(|(_, run)| run())
}

/// A folder for one measurement, below `target` if that exists: the system's folder for temporary files may be in memory,
/// where nothing is durable and everything is quick.
fn scratch() -> Result<tempfile::TempDir> {
    let target = Path::new("target");
    Ok(if target.is_dir() { tempfile::tempdir_in(target)? } else { tempfile::tempdir()? })
}
