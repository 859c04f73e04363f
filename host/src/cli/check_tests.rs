//! Every code is emitted by the example in its explanation, and the documents show what is printed.

use std::path::Path;

use super::*;
use crate::app::{Code, Report};

/// An app folder made of files.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("temp folder") }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().canonicalize().expect("it exists")
    }

    /// A file; one that ends in `.wasm` is given as the text of a component.
    fn file(self, path: &str, text: &str) -> Self {
        let full = self.folder.path().join(path);
        std::fs::create_dir_all(full.parent().expect("has a folder")).expect("create folder");
        let component =
            (path.ends_with(".wasm") && !text.is_empty()).then(|| wat::parse_str(text).expect("is a component"));
        std::fs::write(full, component.unwrap_or_else(|| text.as_bytes().to_vec())).expect("write");
        self
    }

    /// An activity that nothing is wrong with: an app without any function is warned of.
    fn with_an_activity(self) -> Self {
        let text = r#"{ "bindings": [ { "type": "activityTrigger", "name": "input" } ] }"#;
        self.file("HttpStart/function.json", text).file("HttpStart/function.wasm", GOOD_ACTIVITY)
    }

    async fn check(&self) -> Checked {
        host::check(self.folder.path(), []).await
    }
}

/// The text of a component that holds an activity.
const GOOD_ACTIVITY: &str = include_str!("../wasm/tests/golden/contract-1.0.0/activity.wat");

/// The app in a code's explanation. Functions get a component where the code is not about it.
fn example(code: Code) -> Fixture {
    let mut fixture = Fixture::new();
    let files = code.example();
    for file in &files {
        fixture = fixture.file(file.path, file.text);
    }
    let is_about_component = code.as_str() >= "S0400";
    for folder in files.iter().filter_map(|file| file.path.strip_suffix("/function.json")) {
        if !is_about_component {
            fixture = fixture.file(&format!("{folder}/function.wasm"), "");
        }
    }
    if !files.iter().any(|file| file.path.ends_with("function.json")) && code != Code::NoFunctions {
        fixture = fixture.with_an_activity();
    }
    fixture
}

fn codes(report: &Report) -> Vec<Code> {
    report.diagnostics().iter().map(|diagnostic| diagnostic.code).collect()
}

#[tokio::test]
async fn every_code_is_emitted_by_the_example_that_explains_it_and_by_nothing_else_in_it() {
    for code in Code::ALL.iter().copied() {
        let fixture = match code {
            Code::AppFolder => {
                let checked = host::check(Path::new("/nowhere/at/all"), []).await;
                assert_eq!(codes(&checked.report), [code]);
                continue;
            }
            Code::Unreadable => Fixture::new().file("Hello/function.json/inner", "").file("Hello/function.wasm", ""),
            _ => example(code),
        };
        let checked = fixture.check().await;
        let mut found = codes(&checked.report);
        // Components of these examples are empty files; where they are looked at, that is found as well.
        if code.as_str() < "S0400" {
            found.retain(|found| *found != Code::NotAComponent);
        }
        assert_eq!(found, [code], "{:#?}", checked.report);
        let text = text(&checked, &fixture.root(), false);
        assert!(text.contains(&format!("[{code}]")), "{text}");
        let json = json(&checked, &fixture.root());
        assert!(json["diagnostics"].as_array().unwrap().iter().any(|found| found["code"] == code.as_str()), "{json}");
    }
}

#[tokio::test]
async fn a_good_app_has_nothing_to_report_and_says_when_timers_fire() {
    let timer =
        r#"{ "disabled": false, "bindings": [ { "type": "timerTrigger", "name": "t", "schedule": "0 30 2 * * *" } ] }"#;
    let fixture = Fixture::new()
        .with_an_activity()
        .file("Nightly/function.json", timer)
        .file("Nightly/function.wasm", "")
        .file("local.settings.json", r#"{ "Values": { "WEBSITE_TIME_ZONE": "Asia/Tokyo" } }"#);
    let checked = fixture.check().await;
    assert_eq!(codes(&checked.report), [Code::NotAComponent]);
    assert_eq!(checked.served.iter().map(String::as_str).collect::<Vec<_>>(), ["HttpStart"]);
    let json = json(&checked, &fixture.root());
    let next = json["schedules"][0]["next"].as_array().unwrap();
    assert_eq!(next.len(), 3);
    assert!(next.iter().all(|time| time.as_str().unwrap().ends_with("T02:30:00+09:00")), "{json}");
    let text = text(&checked, &fixture.root(), false);
    assert!(text.contains("Nightly  0 30 2 * * *  next: 20") && text.contains("1 function would be served"), "{text}");
}

#[tokio::test]
async fn errors_of_host_json_do_not_hide_those_of_functions() {
    let fixture = Fixture::new()
        .file("host.json", "{ \"version\": \"1.0\",\n  \"functionTimeout\": [], \"extension\": {} }")
        .file("A/function.json", r#"{ "bindings": [ { "type": "httpTriger", "name": "a b", "direction": "up" } ] }"#)
        .file("B/function.json", "{")
        .file(
            "C/function.json",
            r#"{ "scriptFile": "c.js", "bindings": [ { "type": "entityTrigger", "name": "c" } ] }"#,
        )
        .file("C/c.js", "");
    let checked = fixture.check().await;
    let found: Vec<&str> = codes(&checked.report).iter().map(|code| code.as_str()).collect();
    assert_eq!(found, ["S0104", "S0102", "S0103", "S0211", "S0208", "S0210", "S0403", "S0201", "S0404"]);
    assert!(!checked.is_good() && checked.served.is_empty());
}

#[tokio::test]
async fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}\u{9b}31m";
    let escaped = "\\u001b[2J\\u202e";
    let fixture = Fixture::new()
        .file("host.json", &format!("{{ /*{hostile}*/ \"version\": \"{escaped}\", \"{escaped}\": 1 }}"))
        .file(
            "Hello/function.json",
            &format!("{{ \"bindings\": [ {{ \"type\": \"{escaped}\", \"name\": \"{escaped}\" /* {hostile} */ }} ] }}"),
        )
        .file(&format!("Bad{hostile}/function.json"), "{}")
        .file(
            "local.settings.json",
            &format!("{{ \"Values\": {{ \"{escaped}\": [], \"AzureWebJobs.{escaped}.Disabled\": \"1\" }} }}"),
        );
    let checked = fixture.check().await;
    let whole = Fixture::new().file("host.json", &format!("{{ \"{hostile}\" }}"));
    let found = whole.check().await;
    assert_eq!(
        text(&found, &whole.root(), false).chars().find(|c| super::super::manage::is_unsafe(*c) && *c != '\n'),
        None
    );
    assert!(checked.report.diagnostics().len() > 5, "{:#?}", checked.report);
    let plain = text(&checked, &fixture.root(), false);
    let unsafe_in = |text: &str| text.chars().find(|c| super::super::manage::is_unsafe(*c) && *c != '\n');
    assert_eq!(unsafe_in(&plain), None, "{plain:?}");
    for diagnostic in checked.report.diagnostics() {
        assert_eq!(unsafe_in(&report::short(diagnostic, &fixture.root())), None);
    }
    let coloured = text(&checked, &fixture.root(), true);
    let colours: Vec<&str> = coloured.split('\u{1b}').skip(1).collect();
    let is_colour = |rest: &&str| {
        rest.strip_prefix('[')
            .is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    };
    assert!(!colours.is_empty() && colours.iter().all(is_colour), "{coloured:?}");
}

/// A section of the page with typical mistakes.
struct Mistake {
    title: String,
    /// Paths and texts of its app's files.
    files: Vec<(String, String)>,
    /// What is printed, as the page shows it.
    printed: String,
}

fn mistakes() -> Vec<Mistake> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md"))
        .expect("the page is there");
    let section = |section: &str| {
        let (mut files, mut printed) = (Vec::new(), String::new());
        let mut rest = section;
        while let Some((_, block)) = rest.split_once("\n```") {
            let (info, body) = block.split_once('\n').expect("a block has a body");
            let (text, after) = body.split_once("\n```").expect("a block ends");
            match info.split_once(' ') {
                Some((_, path)) => files.push((path.to_owned(), text.to_owned())),
                None if info == "text" => printed = text.to_owned(),
                None => {}
            }
            rest = after;
        }
        Mistake { title: section.lines().next().unwrap_or_default().to_owned(), files, printed }
    };
    page.split("\n## ").skip(1).filter(|section| section.contains("```text")).map(section).collect()
}

impl Mistake {
    /// The app of the section. An empty file stands for a component where that is not the mistake.
    fn fixture(&self) -> Fixture {
        let mut fixture = Fixture::new();
        for (path, text) in &self.files {
            fixture = fixture.file(path, text);
        }
        let functions: Vec<&str> =
            self.files.iter().filter_map(|(path, _)| path.strip_suffix("/function.json")).collect();
        if functions.is_empty() {
            return fixture.with_an_activity();
        }
        let is_about_component =
            self.files.iter().any(|(path, text)| path.ends_with("Cargo.toml") || text.contains("scriptFile"));
        for function in functions.into_iter().filter(|_| !is_about_component) {
            fixture = fixture.file(&format!("{function}/function.wasm"), "");
        }
        fixture
    }
}

#[tokio::test]
async fn typical_mistakes_are_told_as_the_documentation_shows() {
    let mistakes = mistakes();
    assert!(mistakes.len() >= 10, "{}", mistakes.len());
    let mut wrong = Vec::new();
    for mistake in mistakes {
        let fixture = mistake.fixture();
        let checked = fixture.check().await;
        let mut report = Report::default();
        let is_shown =
            |found: &&crate::app::Diagnostic| found.code != Code::NotAComponent || mistake.printed.contains("[S0404]");
        checked.report.diagnostics().iter().filter(is_shown).for_each(|found| report.add(found.clone()));
        let text = report::text(&report, &fixture.root(), false);
        let text = text.replace(&fixture.root().display().to_string(), "/home/me/app");
        if text.trim_end() != mistake.printed.trim_end() || text.is_empty() {
            wrong.push(format!("## {}\n\n```text\n{}\n```\n", mistake.title, text.trim_end()));
        }
    }
    assert!(wrong.is_empty(), "docs/troubleshooting.md shows something else than this:\n\n{}", wrong.join("\n"));
}
