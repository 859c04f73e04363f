//! Whatever is wrong with what a host is given is said in one message that names the thing and the remedy.

use std::{fs, path::Path, process::Output};

use soloist_tests::{
    Host, artifacts, eventually,
    folder::{AppCopy, COMPONENT, component},
};

/// What a host said that refused to start: exit code 1 and one line.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "one clear message: {text}");
    assert!(!text.contains("panicked") && !text.contains("stack backtrace"), "{text}");
    lines[0].to_owned()
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(artifacts::soloist())
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn without_keys_a_host_starts_on_loopback_only() {
    let app = artifacts::test_app_source();
    let app = app.to_str().unwrap();
    for address in ["0.0.0.0", "192.0.2.1", "::"] {
        let (code, text) =
            run(&["start", app, "--no-build", "--ephemeral", "--dev", "--port", "0", "--address", address]);
        assert_eq!(code, Some(1));
        assert!(text.contains("loopback") && text.contains(address) && text.contains("127.0.0.1"), "{text}");
    }
    for arguments in [&["start", app, "--port", "70000"][..], &["start", "--nonsense"], &["play"], &[]] {
        let (code, text) = run(arguments);
        assert_eq!(code, Some(2), "{text}");
    }
}

#[tokio::test]
async fn a_missing_app_folder_is_named() {
    let text = refusal(&Host::builder().app(Path::new("/nowhere/my-app")).refused().await);
    assert!(text.contains("/nowhere/my-app") && text.contains("does not exist"), "{text}");
    for command in ["build", "reset"] {
        let (_, text) = run(&[command, "/nowhere/my-app"]);
        assert!(text.contains("/nowhere/my-app"), "{text}");
    }
}

#[tokio::test]
async fn a_port_in_use_names_the_port_its_holder_and_the_remedy() {
    let holder = Host::start_default().await;
    let port: u16 = holder.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let text = refusal(&Host::builder().port(port).refused().await);
    assert!(text.contains(&format!("port {port} is in use by")) && text.contains("--port"), "{text}");
    assert!(text.contains(&format!("process {}", holder.pid())), "{text}");
}

#[tokio::test]
async fn a_second_host_on_a_data_folder_is_refused() {
    let first = Host::start_default().await;
    let data = first.data();
    let text = refusal(&Host::builder().data(&data).refused().await);
    assert!(text.contains(data.to_str().unwrap()) && text.contains(&format!("pid {}", first.pid())), "{text}");
    assert!(text.contains("--data"), "{text}");
    let (code, text) = run(&["reset", "--yes", "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("pid {}", first.pid())), "{text}");
    assert_eq!(first.get("/api/echo/x").await.status, 200);
}

#[tokio::test]
async fn a_database_that_is_not_ours_or_damaged_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut host = Host::builder().data(&data).start().await;
    for index in 0..50 {
        host.start("Chain", &format!("c{index}"), r#"{"token":1,"steps":20}"#).await;
    }
    host.output("c49").await;
    host.stop().await;
    let database = data.join("hub.db");
    let healthy = fs::read(&database).unwrap();
    assert!(!data.join("hub.db-wal").exists(), "a clean stop leaves one file");
    let patched = |offset: usize, bytes: &[u8]| {
        let mut database = healthy.clone();
        database[offset..offset + bytes.len()].copy_from_slice(bytes);
        database
    };
    let middle = healthy.len() / 2;
    for (what, content, says) in [
        ("text", b"not a database, but somebody's notes".to_vec(), "is not a database of Soloist"),
        ("another application's", patched(68, &[1, 2, 3, 4]), "is not a database of Soloist"),
        ("of a newer version", patched(60, &[0, 0, 99, 0]), "formats up to"),
        ("overwritten", patched(4096, &vec![0xaa; middle]), "is corrupt"),
        ("cut off", healthy[..50].to_vec(), "is corrupt"),
        ("cut in half", healthy[..middle].to_vec(), "is corrupt"),
    ] {
        fs::write(&database, &content).unwrap();
        let text = refusal(&Host::builder().data(&data).refused().await);
        assert!(text.contains(says) && text.contains(database.to_str().unwrap()), "{what}: {text}");
        assert_eq!(fs::read(&database).unwrap(), content, "{what}: nothing is written");
    }
    fs::write(&database, &healthy).unwrap();
    host.restart().await;
    assert_eq!(host.list("").await.len(), 50);
}

#[tokio::test]
async fn a_host_json_that_cannot_be_used_stops_the_host() {
    let app = AppCopy::of(&["Noop"]);
    for (text, says) in [
        ("{ \"version\": ", "Unable to parse host configuration file"),
        (r#"{"functions":["Noop"]}"#, "The host.json file is missing the required 'version' property."),
        (r#"{"version":"3.0"}"#, "'3.0' is an invalid value for host.json 'version' property."),
        (
            r#"{"version":"2.0","extensions":{"durableTask":{"maxConcurrentActivityFunctions":0}}}"#,
            "MaxConcurrentActivityFunctions must be a positive integer value.",
        ),
        (
            r#"{"version":"2.0","extensions":{"soloist":{"guestMemoryBytes":"much"}}}"#,
            "soloist.guestMemoryBytes must be a whole number",
        ),
    ] {
        app.write("host.json", text);
        let text = refusal(&Host::builder().app(app.path()).refused().await);
        assert!(text.contains(says) && text.contains("host.json"), "{text}");
    }
    app.write("host.json", "// comments are welcome\n{ \"VERSION\": \"2.0\", /* here too */ }");
    Host::builder().app(app.path()).start().await;
}

const ORCHESTRATOR: &str =
    r#"{"bindings":[{"name":"context","type":"orchestrationTrigger","direction":"in"}],"entryPoint":"Noop"}"#;

#[tokio::test]
async fn bad_functions_are_listed_with_their_reasons_while_the_others_serve() {
    let app = AppCopy::of(&["Noop", "HttpStartSingle", "HttpEcho"]);
    for (function, json) in [
        ("Malformed", ORCHESTRATOR),
        ("Core", ORCHESTRATOR),
        ("Missing", ORCHESTRATOR),
        // A component of its own that can reach the durable client, which its binding does not grant.
        ("Reaches", ORCHESTRATOR),
        ("Syntax", "{ \"bindings\": [,] }"),
        ("NoTrigger", r#"{"scriptFile":"../soloist_test_app.wasm","bindings":[]}"#),
        (
            "Direction",
            r#"{"scriptFile":"../soloist_test_app.wasm","bindings":[{"name":"req","type":"httpTrigger","direction":"in"},{"name":"c","type":"durableClient","direction":"out"}]}"#,
        ),
    ] {
        app.write(&format!("{function}/function.json"), json);
    }
    app.write("Malformed/function.wasm", "this is no module");
    app.write("Core/function.wasm", b"\0asm\x01\0\0\0");
    app.write("Reaches/function.wasm", component());
    let host = Host::builder().app(app.path()).start().await;
    let printed = host.printed();
    let (served, excluded) = printed.split_once("excluded:\n").unwrap();
    for (function, says) in [
        ("Malformed", "Malformed/function.wasm"),
        ("Core", "Core/function.wasm"),
        ("Missing", "Unable to determine the primary function script."),
        ("Reaches", "durable-client"),
        ("Syntax", "Syntax/function.json:1:"),
        ("NoTrigger", "NoTrigger/function.json"),
        ("Direction", "Direction/function.json"),
    ] {
        let line = excluded.lines().find(|line| line.contains(&format!("The '{function}' function is in error: ")));
        let line = line.unwrap_or_else(|| panic!("{function} in {excluded}"));
        assert!(line.contains(says), "{line}");
        assert!(!served.contains(function), "{served}");
    }
    assert_eq!(excluded.lines().filter(|line| line.contains(" is in error: ")).count(), 7, "{excluded}");
    host.start("Noop", "a", "").await;
    host.output("a").await;
    assert_eq!(host.post("/api/orchestrators/Core/b", "").await.status, 404, "as if it did not exist");
}

#[tokio::test]
async fn a_folder_that_is_dropped_in_is_served_after_a_restart() {
    let app = AppCopy::of(&["HttpStartSingle"]);
    let mut host = Host::builder().app(app.path()).start().await;
    assert_eq!(host.post("/api/orchestrators/Dropped/a", "").await.status, 404);
    app.write(
        "Dropped/function.json",
        r#"{"bindings":[{"name":"context","type":"orchestrationTrigger","direction":"in"}],"scriptFile":"../soloist_test_app.wasm","entryPoint":"WaitForApproval"}"#,
    );
    app.write(
        "HttpStart/function.json",
        r#"{"bindings":[{"name":"req","type":"httpTrigger","direction":"in","authLevel":"anonymous","route":"go/{functionName}"},{"name":"client","type":"durableClient","direction":"in"},{"name":"$return","type":"http","direction":"out"}]}"#,
    );
    app.write("HttpStart/function.wasm", component());
    app.write("Broken/function.json", ORCHESTRATOR);
    app.write("Broken/function.wasm", "");
    host.stop().await;
    host.restart().await;
    assert!(host.printed().contains("The 'Broken' function is in error: "), "{}", host.printed());
    assert_eq!(host.post("/api/go/Dropped", "").await.status, 202);
    host.start("Dropped", "a", "").await;
    host.raise("a", "Approval", "5").await;
    assert_eq!(host.output("a").await, 5);
}

#[tokio::test]
async fn an_instance_finishes_on_the_component_it_started_with() {
    let app = AppCopy::of(&["HttpStartSingle", "WaitForApproval"]);
    let mut host = Host::builder().app(app.path()).start().await;
    host.start("WaitForApproval", "old", "").await;
    host.wait_for_status("old", "Running").await;
    host.stop().await;
    // Even if the function is gone.
    fs::remove_dir_all(app.path().join("WaitForApproval")).unwrap();
    app.write(COMPONENT, "no component any more");
    host.restart().await;
    assert_eq!(host.raise("old", "Approval", "1").await.status, 202);
    assert_eq!(host.output("old").await, 1);
}

#[tokio::test]
async fn a_damaged_cache_entry_is_compiled_again() {
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle"]);
    let mut host = Host::builder().app(app.path()).start().await;
    host.stop().await;
    let cache = host.data().join("cache");
    let entries: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    let whole = fs::read(&entries[0]).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bad in [flipped, whole[..whole.len() / 2].to_vec(), vec![]] {
        fs::write(&entries[0], bad).unwrap();
        host.restart().await;
        assert_eq!(host.get("/api/echo/x").await.status, 200);
        assert!(host.log().contains("a cached component is"), "{}", host.log());
        eventually("the entry is whole again", || async {
            fs::read(&entries[0]).is_ok_and(|entry| entry.len() == whole.len()).then_some(())
        })
        .await;
        host.stop().await;
    }
    host.restart().await;
    assert!(!host.log().contains("component compiled"), "{}", host.log());
}
