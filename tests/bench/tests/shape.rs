//! The benchmark runs and says what it promises to say. No test here looks at a speed.

use std::process::{Command, Output};

use serde_json::Value;
use soloist_tests::artifacts;

fn bench(arguments: &[&str]) -> Output {
    artifacts::test_app();
    Command::new(env!("CARGO_BIN_EXE_soloist-bench"))
        .args(["--quick", "--host"])
        .arg(artifacts::soloist())
        .args(arguments)
        .output()
        .expect("the benchmark can be run")
}

#[test]
fn each_figure_is_a_row_and_a_line_of_json_beside_a_limit_of_the_same_run() {
    let output = bench(&["W4", "W9"]);
    let table = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}");
    let lines = String::from_utf8(output.stdout).expect("JSON is text");
    let figures: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let suites: Vec<_> = figures.iter().map(|figure| figure["suite"].as_str().expect("a suite")).collect();
    assert_eq!(suites, ["W4", "W9", "W9", "W9"]);
    for figure in &figures {
        let name = figure["name"].as_str().expect("a name");
        assert!(table.contains(name), "no row for {name} in:\n{table}");
        for key in ["per_second", "per_second_min", "per_second_max", "p50_us", "p99_us", "commits_each", "ratio", "n"]
        {
            assert!(figure[key].as_f64().is_some_and(|value| value > 0.0), "{name}: {key} in {figure}");
        }
        assert!(figure["ratio_of"].is_string() && figure["note"].is_string(), "{figure}");
    }
}

#[test]
fn markdown_is_a_table_that_names_the_machine() {
    let output = bench(&["--markdown", "raw"]);
    let text = String::from_utf8(output.stdout).expect("Markdown is text");
    assert!(output.status.success() && text.starts_with("Taken on "), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("| raw |")).count(), 7, "{text}");
}
