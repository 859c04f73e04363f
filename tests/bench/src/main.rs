//! Benchmarks of a host, as its clients see it: `cargo run --release -p soloist-bench -- [W1 … W9]`.
//!
//! Each figure is the median of several rounds, each on a fresh host process with a fresh data folder, beside the raw limits
//! of the machine, measured in the same run: a figure alone says little about another machine, or another hour.

mod bench;
mod client;
mod commit_path;
mod crowd;
mod entities;
mod events;
mod fan_out;
mod fresh_guest;
mod growth;
mod guests;
mod load;
mod machine;
mod overdue;
mod prepare;
mod process;
mod raw;
mod report;
mod turns;
mod waiting;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Parser, builder::PossibleValuesParser};

use crate::{
    bench::{Bench, Plan},
    report::{Form, Report},
};

/// Something that can be measured.
struct Suite {
    name: &'static str,
    about: &'static str,
    run: fn(&Bench) -> Result<()>,
    /// Whether it is among those that are run if none is named.
    by_default: bool,
}

const fn suite(name: &'static str, about: &'static str, run: fn(&Bench) -> Result<()>, by_default: bool) -> Suite {
    Suite { name, about, run, by_default }
}

/// In the order in which they are run.
const SUITES: [Suite; 14] = [
    suite(
        "raw",
        "the machine's limits: fdatasync, an append log with group commit, hyper without a host",
        raw::show,
        true,
    ),
    suite(
        "W1",
        "orchestrations of 5 activities in sequence, from start to end seen, 1, 32 and 256 at once",
        load::chains,
        true,
    ),
    suite("W2", "fan-outs of 1,000 and 10,000 activities", fan_out::fan_outs, true),
    suite("W3", "starts that got their 202, 1, 32 and 256 at once", load::starts, true),
    suite("W4", "1,000 racing starts of one id: one 202, the others 409", fan_out::races, true),
    suite(
        "W5",
        "10,000 timers overdue at a restart; a restart with 1,000,000 waiting instances",
        overdue::restarts,
        true,
    ),
    suite("W6", "memory: idle, and with 50,000 waiting instances", waiting::memory, true),
    suite("W7", "requests for an HTTP function, a fresh guest for each", load::functions, true),
    suite("W8", "entities: operations on one key and over 1,000, reads", entities::operations, true),
    suite("W9", "external events into one instance and into 1,000", events::events, true),
    suite("commit", "turns committed to storage, without a host, beside the append log", commit_path::run, true),
    suite("guest", "a fresh guest for each call, without a host", fresh_guest::run, false),
    suite("turn", "a turn of an orchestrator, resident and replayed, without a host", turns::run, false),
    suite(
        "growth",
        "how cost grows: with instances stored, fan-out, history, functions, open instances",
        growth::run,
        false,
    ),
];

/// Measures a host that is built and started for it: one figure, one row on standard error and one line of JSON on standard
/// output.
#[derive(Debug, Parser)]
#[command(name = "soloist-bench", after_help = after_help(), max_term_width = 120)]
struct Args {
    /// What to measure, by name (below) [default: all but those that say so]
    #[arg(value_name = "NAME", value_parser = names(), ignore_case = true, hide_possible_values = true)]
    names: Vec<String>,
    /// Short rounds and small numbers: to see that everything runs. The figures mean little
    #[arg(long)]
    quick: bool,
    /// Rounds of each figure, of which the median is shown [default: 3, and 1 with --quick]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Lines of JSON alone
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// A table in Markdown at the end, as docs/benchmarks.md has it, in place of lines of JSON
    #[arg(long)]
    markdown: bool,
    /// Measures this program in place of the one that is built: to compare two
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
    /// growth: numbers of ended instances that are stored, parted by commas (a million takes about 0.5 GB of disk)
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [0, 1_000_000])]
    stored: Vec<usize>,
    /// Serves the raw limit's hello, and writes the address to this file.
    #[arg(long, hide = true)]
    serve_hello: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SUITES.iter().map(|suite| suite.name))
}

fn after_help() -> String {
    let mut text = "Names:\n".to_owned();
    for Suite { name, about, by_default, .. } in &SUITES {
        let only = if *by_default { "" } else { " (only if named)" };
        text.push_str(&format!("  {name:<7} {about}{only}\n"));
    }
    text.push_str("\nColumns: things done per second and, over the rounds, the least and the most; the time of each; the host's\n");
    text.push_str(
        "CPU time for each; commits by the host's count and cache flushes of the whole disk by the kernel's, for\n",
    );
    text.push_str(
        "each; the host's memory in RAM; cores that the load generator used (of two threads); the part of a raw\n",
    );
    text.push_str("limit of the same run that it reaches.\n");
    text
}

impl Args {
    fn form(&self) -> Form {
        match (self.json, self.markdown) {
            (true, _) => Form::Json,
            (false, true) => Form::Markdown,
            (false, false) => Form::Both,
        }
    }

    fn is_wanted(&self, suite: &Suite) -> bool {
        match self.names.is_empty() {
            true => suite.by_default,
            false => self.names.iter().any(|name| name.eq_ignore_ascii_case(suite.name)),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some(file) = &args.serve_hello {
        return raw::serve(file);
    }
    let plan = Plan::new(args.quick, args.rounds, args.stored.clone());
    let bench = Bench::new(plan, args.host.clone(), Report::new(args.form()))?;
    for suite in SUITES.iter().filter(|suite| args.is_wanted(suite)) {
        (suite.run)(&bench)?;
    }
    bench.report.finish(&machine::describe());
    Ok(())
}

/// A folder for one measurement, below `target` if that exists: the system's folder for temporary files may be in memory,
/// where nothing is durable and everything is quick.
fn scratch() -> Result<tempfile::TempDir> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    Ok(if target.is_dir() { tempfile::tempdir_in(target)? } else { tempfile::tempdir()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_with_the_list() {
        let error = Args::try_parse_from(["soloist-bench", "W10"]).expect_err("there is no W10").to_string();
        assert!(error.contains("'W10'"), "{error}");
        assert!(SUITES.iter().all(|suite| error.contains(suite.name)), "{error}");
    }

    #[test]
    fn names_choose_suites_whatever_their_case() {
        let chosen = |args: &[&str]| {
            let args = Args::try_parse_from([&["soloist-bench"], args].concat()).expect("valid arguments");
            SUITES.iter().filter(|suite| args.is_wanted(suite)).map(|suite| suite.name).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&["w3", "growth"]), ["W3", "growth"]);
        assert_eq!(chosen(&[])[..2], ["raw", "W1"]);
        assert!(!chosen(&[]).contains(&"growth"));
    }

    #[test]
    fn help_names_every_suite() {
        let help = Args::try_parse_from(["soloist-bench", "--help"]).expect_err("help is shown").to_string();
        assert!(SUITES.iter().all(|suite| help.contains(suite.about)), "{help}");
    }
}
