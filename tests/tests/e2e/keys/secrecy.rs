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
    ];
    for secret in secrets_before {
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
    let app = app(&["Noop", "WaitForApproval", "EchoToken", "HttpPanic", "Counter"]);
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
        let pid = host.pid();
        let shown = ["cmdline", "environ"].map(|file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
        let log = host.stop().await.log;
        assert!(log.len() > 10_000 && log.contains("request answered"), "the log is a full one");
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
