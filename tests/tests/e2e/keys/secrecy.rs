//! No key and no signature is ever logged, kept or shown to the machine's other users.

use std::{collections::BTreeSet, fs, path::Path};

use soloist_tests::instances::MANAGEMENT;

use super::*;

/// Every key and signature in a text: what follows `code=`, and `value` members.
fn secrets(reply: &Reply, found: &mut BTreeSet<String>) {
    let text = String::from_utf8_lossy(&reply.body);
    let headers = reply.header("location").to_owned();
    for text in [&*text, headers.as_str()] {
        for code in text.split("code=").skip(1) {
            found.insert(code.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect());
        }
    }
    if let Some((_, rest)) = text.split_once("/runtime/rpc/") {
        found.insert(rest.chars().take_while(char::is_ascii_alphanumeric).collect());
    }
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(&reply.body)
        && let Some(value) = object.get("value").and_then(|value| value.as_str())
    {
        found.insert(value.to_owned());
    }
}

/// What stands in the log for a secret that a function prints.
const CONCEALED: &str = "(concealed)";

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

/// Manages instances with keys by the commands, which show none of them, in any way, to anybody.
async fn every_command(host: &Host, secrets: &BTreeSet<String>) {
    let url = format!("http://{}", host.address());
    for secret in secrets.iter().take(8) {
        for arguments in [
            &["instances", "list"][..],
            &["instances", "show", "nobody", "--format", "json"],
            &["instances", "start", "WaitForApproval", "--id", "by-command"],
            &["instances", "terminate", "by-command"],
            &["entities", "list"],
            &["durable", "get-instances"],
            &["instances", "list", "--help"],
            &["instances", "list", "--url", "http://user:pass@x"],
        ] {
            let said = crate::cli::soloist(arguments, None, &[("SOLOIST_URL", &url), ("SOLOIST_KEY", secret)]);
            assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
        }
    }
    // While one runs others see its arguments: the key is not among them, nor does the program put it there.
    let (id, key) = ("seen", host.key(SYSTEM));
    with_key(host, "POST", &format!("{MANAGEMENT}/orchestrators/WaitForApproval/{id}"), &key, "").await;
    let mut command = std::process::Command::new(soloist_tests::artifacts::soloist());
    command.args(["instances", "wait", id]).env("SOLOIST_URL", &url).env("SOLOIST_KEY", &key);
    let mut waiting = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let arguments = format!("/proc/{}/cmdline", waiting.id());
    let shown = soloist_tests::eventually("it runs", || async {
        fs::read_to_string(&arguments).ok().filter(|shown| shown.contains("wait"))
    })
    .await;
    assert!(!shown.contains(&key), "{shown}");
    with_key(host, "POST", &format!("{MANAGEMENT}/instances/{id}/raiseEvent/Approval"), &key, "1").await;
    assert!(waiting.wait().unwrap().success());
}

/// Sends a request of every kind with every secret, in the header and in the query; returns what was learned.
async fn every_request(host: &Host, secrets_before: &BTreeSet<String>, id: &str) -> BTreeSet<String> {
    let mut found = secrets_before.clone();
    let requests = [
        ("POST", format!("/api/start/WaitForApproval/{id}"), "1"),
        ("POST", format!("/api/start/WaitForApproval/{id}"), "1"),
        ("POST", format!("/api/client/urls/{id}"), ""),
        ("GET", "/api/anonymous/x".to_owned(), ""),
        ("GET", "/api/function/x".to_owned(), ""),
        ("GET", "/api/HttpPanic".to_owned(), ""),
        ("POST", format!("{MANAGEMENT}/orchestrators/Noop/{id}n"), "1"),
        ("POST", format!("{MANAGEMENT}/orchestrators/Nowhere"), "1"),
        ("POST", format!("{MANAGEMENT}/orchestrators/Noop/@bad"), "1"),
        ("POST", format!("{MANAGEMENT}/orchestrators/Noop"), "no json"),
        ("GET", format!("{MANAGEMENT}/instances/{id}?showHistory=true"), ""),
        ("GET", format!("{MANAGEMENT}/instances"), ""),
        ("GET", format!("{MANAGEMENT}/nonsense"), ""),
        ("POST", format!("{MANAGEMENT}/instances/{id}/suspend?reason=x"), ""),
        ("POST", format!("{MANAGEMENT}/instances/{id}/resume?reason=x"), ""),
        ("POST", format!("{MANAGEMENT}/instances/{id}/raiseEvent/Other"), "1"),
        ("POST", format!("{MANAGEMENT}/instances/{id}/rewind"), ""),
        ("POST", format!("{MANAGEMENT}/instances/{id}/restart"), ""),
        ("POST", format!("{MANAGEMENT}/instances/{id}/terminate?reason=x"), ""),
        ("GET", format!("{MANAGEMENT}/entities"), ""),
        ("DELETE", format!("{MANAGEMENT}/instances/{id}"), ""),
        ("DELETE", format!("{MANAGEMENT}/instances?createdTimeFrom=nonsense"), ""),
        ("POST", "/admin/functions/EchoToken".to_owned(), r#"{"input":"1"}"#),
        ("GET", "/admin/host/durableClient".to_owned(), ""),
        ("GET", "/admin/functions".to_owned(), ""),
        ("GET", "/admin/host/keys".to_owned(), ""),
        ("POST", format!("/admin/host/keys/{id}"), ""),
        ("PUT", format!("/admin/host/keys/{id}"), r#"{"value":"a-value-that-someone-chose"}"#),
        ("PUT", format!("/admin/host/keys/{id}"), r#"{"value":"a-value-that-someone-chose"#),
        ("DELETE", format!("/admin/host/keys/{id}"), ""),
        ("GET", "/runtime/health/ready".to_owned(), ""),
        ("GET", "/nothing".to_owned(), ""),
        // Refused: before a handler, by it, and because of what is sent.
        ("POST", format!("{MANAGEMENT}/instances/{id}/raiseEvent/Other"), "no json"),
        ("POST", format!("{MANAGEMENT}/instances/%ff/terminate"), ""),
        ("PATCH", format!("{MANAGEMENT}/instances/{id}"), ""),
        ("GET", format!("/runtime//webhooks/durabletask/instances/{id}"), ""),
        ("GET", format!("/Admin/Extensions/DurableTaskExtension/instances/{id}"), ""),
        ("POST", format!("{MANAGEMENT}/orchestrators/AlwaysFails/{id}f?timeout=20&pollingInterval=1"), ""),
    ];
    for secret in secrets_before {
        for headers in [
            [("host", "evil.example"), ("x-functions-key", secret)],
            [("origin", "http://evil.example"), ("x-functions-key", secret)],
            [("x-functions-key", secret), ("x-functions-key", secret)],
            [("x-functions-key", "wrong"), ("content-length", "x")],
        ] {
            // Some cannot be sent at all.
            let _ = host.try_send("POST", &format!("/api/function/x?code={secret}"), &headers, "").await;
        }
        // As the secret of the other path, and as what only looks like it.
        for base in ["/runtime/rpc", "/Runtime/RPC", "//runtime/rpc", "/runtime/rpc/x"] {
            for method in ["GET", "POST"] {
                let target = format!("{base}/{secret}/durabletask/instances?top=1");
                secrets(&host.send(method, &target, &[], "").await, &mut found);
            }
        }
        for (method, target, body) in &requests {
            let in_query = format!("{target}{}code={secret}", if target.contains('?') { '&' } else { '?' });
            secrets(&host.send(method, &in_query, &[("content-type", "application/json")], *body).await, &mut found);
            secrets(&with_key(host, method, target, secret, body).await, &mut found);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_kept_or_shown() {
    let app = app(&["Noop", "WaitForApproval", "AlwaysFails", "EchoToken", "HttpPanic", "Counter"]);
    for (level, format) in [
        ("trace", "text"),
        ("info,soloist=trace,hyper=trace,tokio=trace,wasmtime_wasi=trace,wasmtime_wasi_http=trace", "json"),
    ] {
        let builder = Host::builder().app(app.path()).with_keys();
        let arguments = ["--log-level", level, "--log-format", format];
        let mut host = arguments.iter().fold(builder, |builder, argument| builder.argument(argument)).start().await;
        let titles = [MASTER, DEFAULT, SYSTEM, STARTER, "function echo_function default", "function client default"];
        let issued: BTreeSet<String> = titles.iter().map(|title| host.key(title)).collect();
        assert_eq!(issued.len(), titles.len());
        let found = every_request(&host, &issued, "first").await;
        assert!(found.len() > issued.len() + 15, "links were given out: {}", found.len());
        // Once more, with what was learned: links, and keys that are gone.
        let some: BTreeSet<String> = found.iter().filter(|secret| !issued.contains(*secret)).take(6).cloned().collect();
        let all: BTreeSet<String> = every_request(&host, &some, "second").await.union(&found).cloned().collect();
        every_command(&host, &all).await;
        for part in ["panicked", "/runtime/rpc/", "status=401", "status=403", "status=421", "status=409"] {
            let part = if format == "json" { part.replace("status=", "\"status\":") } else { part.to_owned() };
            assert!(host.log().contains(&part), "the requests were of every kind: {part}");
        }
        assert!(all.iter().filter(|secret| secret.starts_with("s1-")).count() > 20, "links were among them");
        let pid = host.pid();
        let shown = ["cmdline", "environ"].map(|file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
        let log = host.stop().await.log;
        assert!(log.len() > 10_000 && log.contains("request answered"), "the log is a full one");
        assert!(!log.contains(CONCEALED), "the host does not write what would have to be concealed");
        let mut kept = Vec::new();
        files(&host.data(), &mut kept);
        assert!(kept.iter().any(|(name, _)| name.ends_with("keys.json")));
        let places = kept.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let places = places.chain([("log", log.as_bytes()), ("cmdline", &shown[0]), ("environ", &shown[1])]);
        for (place, bytes) in places {
            let text = String::from_utf8_lossy(bytes);
            for secret in &all {
                // A signature's prefix is no secret, and neither is what is too short to be one.
                assert!(secret.len() >= 16, "{secret}");
                assert!(!text.contains(secret.as_str()), "{place} has a secret of {} characters", secret.len());
                // Nor a good part of one.
                let middle = &secret[secret.len() / 2..];
                assert!(!text.contains(middle), "{place} has half a secret");
            }
        }
    }
}

#[tokio::test]
async fn what_a_function_is_handed_is_concealed_even_if_it_prints_it() {
    let app = app(&["Noop", "WaitForApproval"]);
    for format in ["text", "json"] {
        let arguments = ["--log-level", "trace", "--log-format", format];
        let builder = Host::builder().app(app.path()).with_keys();
        let mut host = arguments.iter().fold(builder, |builder, argument| builder.argument(argument)).start().await;
        let client = host.key("function client default");
        let ask =
            async |operation: &str| with_key(&host, "POST", &format!("/api/client/{operation}/a"), &client, "").await;
        start(&host, "WaitForApproval", "a", "").await;
        let (starter, urls) = (ask("starter").await, ask("urls").await);
        let mut found = BTreeSet::new();
        secrets(&starter, &mut found);
        secrets(&urls, &mut found);
        assert_eq!(found.len(), 3, "the key of templates, the secret path, a signature: {found:?}");
        assert_eq!(ask("tells").await.status, 500, "it panics");
        // With the key changed, what it is handed is another one, and is concealed, too.
        let system =
            with_key(&host, "POST", "/admin/host/systemkeys/durabletask_extension", &host.key(MASTER), "").await;
        assert_eq!(system.status, 200, "{system:?}");
        let before = found.len();
        let later = ask("starter").await;
        secrets(&later, &mut found);
        assert_eq!(found.len(), before + 1);
        let url = later.json()["managementUrls"]["statusQueryGetUri"].as_str().unwrap().replace("INSTANCEID", "a");
        assert_eq!(host.get(&url).await.status, 202, "it opens what it is for");
        ask("tells").await;
        let log = host.stop().await.log;
        for way in ["stdout", "stderr", "log", "panic"] {
            assert!(log.contains(&format!("{way} {{")) || log.contains(&format!("{way} {{\\\"")), "{way}: {log}");
        }
        assert!(log.matches(CONCEALED).count() > 20);
        for secret in &found {
            assert!(!log.contains(secret.as_str()), "{format}: a secret of {} characters", secret.len());
        }
    }
}

#[tokio::test]
async fn only_a_function_with_a_durable_client_is_handed_the_starter_and_its_key_opens_no_function() {
    let app = app(&["Noop", "Environment", "EnvironmentOfAnActivity"]);
    let host = host(&app).await;
    let starter = with_key(&host, "POST", "/api/client/starter/a", &host.key("function client default"), "").await;
    let url = starter.json()["managementUrls"]["statusQueryGetUri"].as_str().unwrap().to_owned();
    let code = url.split("code=").nth(1).unwrap();
    assert_eq!(host.get(&format!("{MANAGEMENT}/instances?code={code}")).await.status, 200);
    for target in ["/api/system/x", "/api/function/x", "/api/as-admin/x", "/admin/functions", "/admin/host/keys"] {
        assert_eq!(host.get(&format!("{target}?code={code}")).await.status, 401, "{target}");
    }
    let environment = format!("{MANAGEMENT}/orchestrators/EnvironmentOfAnActivity/e?timeout=60&pollingInterval=1");
    let environment = with_key(&host, "POST", &environment, &host.key(SYSTEM), "").await;
    assert_eq!(environment.status, 200, "{environment:?}");
    assert!(!environment.text().contains(code) && !environment.text().contains("/runtime/rpc/"), "{environment:?}");
}
