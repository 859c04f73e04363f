//! How the commands end: each exit code, errors as JSON, and where the key goes.

use std::fs;

use soloist_tests::{Answer, HostBuilder, Server, host::DeadPort};

use crate::cli::{Said, on, soloist, with_and_without_keys};

with_and_without_keys!(each_way_to_fail_has_its_exit_code, a_reader_that_goes_away_is_no_error,);

/// Runs a command against a URL on a thread of its own: the server that it talks to is this process.
async fn at(url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let mut variables: Vec<(String, String)> =
        variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.push(("SOLOIST_URL".into(), url.into()));
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        soloist(&arguments, None, &variables)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn answer(status: &str, body: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

async fn each_way_to_fail_has_its_exit_code(host: HostBuilder) {
    let host = host.start().await;
    host.start("WaitForApproval", "live", "").await;
    host.start("AlwaysFails", "failed", "").await;
    on(&host, &["instances", "wait", "failed"]).with(1);
    for (code, kind, arguments) in [
        (2, "usage", &["instances", "raise", "live", "E", "--data", "{"][..]),
        (2, "usage", &["instances", "raise", "live", "E", "--bogus"]),
        (2, "usage", &["instances", "start", "Noop", "--id", "a?b"]),
        (2, "usage", &["instances", "list", "--created-after", "yesterday"]),
        (2, "usage", &["instances", "list", "--url", "localhost"]),
        (2, "usage", &["instances", "list", "--key-file", "/no/such/file"]),
        (2, "usage", &["instances", "start", "Noop", "--timeout", "3s"]),
        (3, "notFound", &["instances", "show", "nobody"]),
        (3, "notFound", &["instances", "history", "nobody"]),
        (3, "notFound", &["instances", "wait", "nobody"]),
        (3, "notFound", &["instances", "restart", "nobody"]),
        (3, "notFound", &["instances", "rewind", "nobody"]),
        (3, "notFound", &["instances", "start", "Nobody"]),
        (4, "conflict", &["instances", "start", "WaitForApproval", "--id", "live"]),
        (4, "conflict", &["instances", "resume", "live"]),
        (4, "conflict", &["instances", "rewind", "live"]),
        (4, "conflict", &["instances", "purge", "live"]),
        (4, "conflict", &["instances", "terminate", "failed"]),
        (4, "conflict", &["instances", "raise", "failed", "E"]),
        (8, "timedOut", &["instances", "wait", "live", "--timeout", "300ms"]),
    ] {
        let said = on(&host, &[arguments, &["--format", "json"]].concat()).with(code);
        let error = said.error();
        assert_eq!((error["code"].as_i64(), error["kind"].as_str()), (Some(i64::from(code)), Some(kind)), "{said:?}");
        assert_eq!(said.out, "", "{arguments:?}");
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
        let text = on(&host, arguments).with(code);
        assert!(text.err.starts_with("error: "), "{text:?}");
    }
    let known = on(&host, &["instances", "start", "Nobody"]);
    assert!(known.err.contains("'WaitForApproval'"), "the known functions are named: {known:?}");
}

#[tokio::test]
async fn a_host_that_is_not_there_silent_or_another_is_told_apart() {
    let dead = DeadPort::take();
    let nobody = dead.url();
    let said = at(&nobody, &["instances", "list", "--format", "json"], &[]).await.with(5);
    assert!(said.error()["message"].as_str().unwrap().contains(&nobody), "{said:?}");
    // However long it takes to learn that there is none.
    let patient = ["entities", "list", "--request-timeout", "1000s"];
    at("http://no-such-host.invalid", &patient, &[]).await.with(5);
    let silent = Server::start(Answer::Silence).await;
    let said = at(&silent.url(), &["instances", "list", "--request-timeout", "300ms"], &[]).await.with(8);
    assert!(said.err.contains("did not answer within 0.3 s"), "{said:?}");
    for (code, reply, part) in [
        (1, answer("200 OK", "<html>\u{1b}[2J"), "no Soloist host"),
        (1, answer("200 OK", "{}"), "no Soloist host"),
        (1, answer("500 Oops", "\u{1b}]0;title\u{7}"), "500"),
        (1, answer("302 Found", ""), "302"),
        (1, Answer::Bytes("SSH-2.0-x\r\n".into()), "no HTTP/1.1"),
        (5, Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[".into()), "broke"),
        (6, answer("401 Unauthorized", ""), "SOLOIST_KEY"),
        (6, answer("403 Forbidden", ""), "SOLOIST_KEY"),
    ] {
        let server = Server::start(reply).await;
        let said = at(&server.url(), &["instances", "list"], &[]).await.with(code);
        assert!(said.err.contains(part), "{part}: {said:?}");
        assert!(!said.err.contains('\u{1b}'), "{said:?}");
    }
}

#[tokio::test]
async fn the_key_is_a_header_and_is_told_to_nobody_else() {
    let server = Server::start(answer("401 Unauthorized", "")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "s3cret-file\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, variable, sent) in [
        (&[][..], None, None),
        (&["--key", "s3cret-flag"], None, Some("s3cret-flag")),
        (&[], Some("s3cret-variable"), Some("s3cret-variable")),
        (&["--key-file", file], Some("s3cret-variable"), Some("s3cret-file")),
    ] {
        let variables: Vec<(&str, &str)> = variable.iter().map(|&key| ("SOLOIST_KEY", key)).collect();
        let said = at(&server.url(), &[&["instances", "show", "a"], arguments].concat(), &variables).await.with(6);
        assert!(!said.err.contains("s3cret"), "{said:?}");
        let requests = server.requests();
        let head = requests.last().unwrap().to_ascii_lowercase();
        let found = head.lines().find_map(|line| line.strip_prefix("x-functions-key: "));
        assert_eq!(found, sent, "{head}");
        assert!(!head.lines().next().unwrap().contains("s3cret"), "{head}");
    }
    let help = at(&server.url(), &["instances", "--help"], &[("SOLOIST_KEY", "s3cret")]).await.with(0);
    assert!(!help.out.contains("s3cret"), "{help:?}");
    let moved = Server::start(Answer::redirect(&server.url())).await;
    let before = server.requests().len();
    at(&moved.url(), &["instances", "list", "--key", "s3cret"], &[]).await.with(1);
    assert_eq!(server.requests().len(), before, "no redirect is followed");
}

async fn a_reader_that_goes_away_is_no_error(host: HostBuilder) {
    let host = host.start().await;
    for number in 0..50 {
        host.start("Noop", &format!("{number}-{}", "x".repeat(200)), "").await;
    }
    let mut child = std::process::Command::new(soloist_tests::artifacts::soloist())
        .args(["instances", "list"])
        .envs(host.variables())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
