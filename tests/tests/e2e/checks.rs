//! Looking at an app from the command line: what is said, and with which exit code.

use std::process::Output;

use soloist_tests::{
    Host, artifacts,
    folder::{AppCopy, COMPONENT},
};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = std::process::Command::new(artifacts::soloist())
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_good_app_passes_and_a_bad_one_is_told_alike_by_check_and_by_start() {
    let app = AppCopy::of(&["HttpStart", "Echo", "E1_HelloSequence"]);
    let folder = app.path().to_str().unwrap();
    let (code, text, error) = run(&["check", folder]);
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains("nothing to report\n3 functions would be served"), "{text}");

    app.write(
        "Misspelt/function.json",
        r#"{ "bindings": [ { "type": "httpTriger", "name": "req" } ], "scriptFile": "../soloist_test_app.wasm" }"#,
    );
    app.write(
        "Script/function.json",
        r#"{ "scriptFile": "index.js", "bindings": [ { "type": "activityTrigger", "name": "i" } ] }"#,
    );
    app.write("Script/index.js", "");
    app.write("host.json", r#"{ "version": "2.0", "extensionBundle": {}, "functionTimeuot": 1 }"#);
    let (code, text, _) = run(&["check", folder, "--format", "json"]);
    assert_eq!(code, Some(7), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let codes: Vec<&str> =
        json["diagnostics"].as_array().unwrap().iter().map(|found| found["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["S0104", "S0105", "S0210", "S0404"], "{text}");
    assert_eq!(json["diagnostics"][2]["didYouMean"], "httpTrigger");
    assert_eq!((&json["diagnostics"][2]["line"], &json["diagnostics"][2]["column"]), (&1.into(), &27.into()));
    assert_eq!(json["functions"].as_array().unwrap().len(), 3);

    let host = Host::builder().app(app.path()).start().await;
    let printed = host.printed();
    let (_, told) = printed.split_once("excluded:\n").unwrap();
    for code in codes {
        assert!(told.lines().any(|line| line.trim_start().starts_with(code)), "{code} in {printed}");
    }
}

#[test]
fn what_keeps_a_host_from_starting_is_told_with_everything_else() {
    let app = AppCopy::of(&["Echo"]);
    app.write("host.json", "{ \"version\": \"2.0\",\n  \"functionTimeout\": [] }");
    app.write("Empty/function.json", "{}");
    let folder = app.path().to_str().unwrap();
    let (code, _, error) = run(&["start", folder, "--no-build", "--ephemeral", "--dev", "--port", "0"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.lines().any(|line| line.starts_with("error: host.json: functionTimeout must be")), "{error}");
    assert!(error.lines().any(|line| line.starts_with("also error: S0203 ")), "{error}");
    let (code, text, _) = run(&["check", folder]);
    assert_eq!(code, Some(7));
    assert!(
        text.contains("error[S0103]") && text.contains(" --> host.json:2:22\n") && text.contains("S0203"),
        "{text}"
    );
}

#[test]
fn a_component_is_shown_and_anything_else_refused() {
    let file = artifacts::test_app().join(COMPONENT);
    let (code, text, error) = run(&["inspect", file.to_str().unwrap(), "--format", "json"]);
    assert_eq!(code, Some(0), "{error}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["contract"], "1.0.0");
    assert_eq!(json["contractIsSupported"], true);
    assert_eq!(json["bytes"], std::fs::metadata(&file).unwrap().len());
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
    assert!(json["triggers"].as_array().unwrap().contains(&"activityTrigger".into()), "{text}");
    assert!(!json["functions"].as_array().unwrap().is_empty() && !json["imports"].as_array().unwrap().is_empty());
    let (code, text, _) = run(&["inspect", file.to_str().unwrap()]);
    assert!(code == Some(0) && text.contains("serves     httpTrigger, "), "{text}");
    for (path, reason) in [("Cargo.toml", "no WebAssembly file"), ("src", "a folder"), ("nothing", "no such file")] {
        let path = artifacts::repository().join("host").join(path);
        let (code, _, error) = run(&["inspect", path.to_str().unwrap()]);
        assert!(code == Some(1) && error.contains(reason), "{error}");
    }
}

#[test]
fn configuration_is_shown_with_its_origin_and_without_secrets() {
    let app = AppCopy::of(&["Echo"]);
    app.write("local.settings.json", r#"{ "Values": { "Password": "hunter2" } }"#);
    app.write("host.json", "{ \"version\": \"2.0\",\n \"extensions\": { \"soloist\": { \"jsonDepth\": 10 } } }");
    let folder = app.path().to_str().unwrap();
    for format in ["text", "json"] {
        let (code, text, error) = run(&["config", "show", folder, "--format", format]);
        assert_eq!(code, Some(0), "{error}");
        assert!(text.contains("Password") && !text.contains("hunter2"), "{text}");
        assert!(text.contains("host.json:2:44"), "{text}");
    }
    let (code, text, _) = run(&["config", "show", folder, "--explain", "jsondepth"]);
    assert!(code == Some(0) && text.contains("in effect   10\n") && text.contains("jsonDepth"), "{text}");
    let (code, _, error) = run(&["config", "show", folder, "--explain", "jsonDepht"]);
    assert!(code == Some(2) && error.contains("did you mean 'extensions.soloist.jsonDepth'?"), "{error}");
    for file in ["host", "function"] {
        let (code, text, _) = run(&["config", "schema", file]);
        assert!(code == Some(0) && serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
    let (code, text, _) = run(&["explain", "s0210"]);
    assert!(code == Some(0) && text.starts_with("S0210: "), "{text}");
    assert_eq!(run(&["explain"]).1.lines().next().map(|line| &line[..5]), Some("S0001"));
    assert_eq!(run(&["explain", "S9999"]).0, Some(2));
}
