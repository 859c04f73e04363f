//! The commands: how a host stops, `reset`, `build`.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use soloist_tests::{Client, Host, Reply, artifacts, eventually, folder::AppCopy, host::free_port};

fn soloist(arguments: &[&str]) -> Output {
    Command::new(artifacts::soloist()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A host that serves one request at a time, and lets it run for very long.
async fn host_that_never_cuts_a_guest() -> Host {
    let one = Host::builder().set("extensions.soloist.maxConcurrentGuests", "1");
    let at_once = one.set("extensions.soloist.requestQueueSeconds", "0");
    at_once.set("extensions.soloist.guestCpuMilliseconds", "600000").start().await
}

/// Begins a request that keeps the host's only guest busy.
async fn begin_spin(host: &Host) -> tokio::task::JoinHandle<std::io::Result<Reply>> {
    let client = host.client();
    let spin = tokio::spawn(async move {
        loop {
            let reply = client.try_send("GET", "/api/HttpSpin", &[], "").await;
            // Refused while the request that looks below has the guest.
            if !reply.as_ref().is_ok_and(|reply| reply.status == 429) {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // Once might be because of a look before, whose guest has just answered.
    for _ in 0..3 {
        let is_busy = || async { (host.get("/api/echo/x").await.status == 429).then_some(()) };
        eventually("the guest is busy", is_busy).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    spin
}

#[tokio::test]
async fn a_signal_lets_requests_end_and_orchestrations_go_on_later() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut host = Host::start_default().await;
        host.start("WaitForApproval", "waits", "").await;
        host.start("Timer", "sleeps", r#"{"token":1,"ms":100000}"#).await;
        // A request of which the host has only the head: it says so by asking for the rest.
        let mut upload = TcpStream::connect(host.address()).await.unwrap();
        let head = b"POST /api/echo/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
        upload.write_all(head).await.unwrap();
        let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        upload.read_exact(&mut go_on).await.unwrap();
        assert!(go_on.starts_with(b"HTTP/1.1 100 "));
        host.signal(signal);
        host.wait_for_log("stopping").await;
        upload.write_all(b"body").await.unwrap();
        let mut answer = String::new();
        upload.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"body\":\"body\""), "{answer}");
        let ended = host.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
        assert!(!ended.log.contains("connections were cut"), "{}", ended.log);
        host.restart().await;
        host.raise("waits", "Approval", "true").await;
        assert_eq!(host.output("waits").await, true);
        host.wait_for_status("sleeps", "Running").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_end_are_cut_after_ten_seconds() {
    let mut host = host_that_never_cuts_a_guest().await;
    let spin = begin_spin(&host).await;
    let began = Instant::now();
    let ended = host.stop().await;
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(spin.await.unwrap().is_err());
    assert!(ended.log.contains("connections were cut"), "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_host_at_once() {
    let mut host = host_that_never_cuts_a_guest().await;
    let spin = begin_spin(&host).await;
    host.signal(libc::SIGTERM);
    host.wait_for_log("stopping").await;
    host.signal(libc::SIGTERM);
    let ended = host.ended().await;
    assert_eq!(ended.status.code(), Some(0));
    let log = &ended.log;
    assert!(log.contains("on a second signal") && !log.contains("connections were cut"), "it did not drain: {log}");
    assert!(spin.await.unwrap().is_err());
}

#[tokio::test]
async fn a_host_that_was_killed_starts_again_on_its_port_at_once() {
    let mut host = Host::builder().port(free_port()).start().await;
    let address = host.address();
    host.start("WaitForApproval", "a", "").await;
    for _ in 0..3 {
        // The client keeps its connection open: the kill meets it.
        assert_eq!(host.get("/api/echo/x").await.status, 200);
        host.kill9();
        host.restart().await;
        assert_eq!(host.address(), address);
    }
    host.wait_for_status("a", "Running").await;
}

#[tokio::test]
async fn an_app_of_components_needs_no_rust() {
    let app = AppCopy::of(&["HttpStartSingle", "E1_HelloSequence", "E1_SayHello"]);
    let builder = Host::builder().app(app.path()).variable("PATH", "/nowhere");
    for builder in [builder.clone(), builder.argument("--build")] {
        let host = builder.start().await;
        host.start("E1_HelloSequence", "a", "").await;
        host.output("a").await;
    }
}

#[tokio::test]
async fn the_list_of_functions_and_the_time_are_printed() {
    let host = Host::start_default().await;
    let printed = eventually("ready", || async { Some(host.printed()).filter(|text| text.contains("ready in")) }).await;
    for wanted in [
        format!("POST http://{}/api/orchestrators/{{functionName}}/{{instanceId}}", host.address()),
        "(req: httpTrigger, client: durableClient, $return: http)".to_owned(),
        format!(" s on http://{}", host.address()),
    ] {
        assert!(printed.contains(&wanted), "{wanted} in {printed}");
    }
    assert!(!printed.contains("excluded:"), "{printed}");
}

#[tokio::test]
async fn the_log_can_be_json() {
    let mut host = Host::builder().argument("--log-format").argument("json").start().await;
    host.start("Noop", "a", "").await;
    host.output("a").await;
    for line in host.stop().await.log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["fields"]["message"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn an_ephemeral_host_keeps_nothing() {
    let app = AppCopy::of(&["Noop", "HttpStartSingle"]);
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let mut command = tokio::process::Command::new(artifacts::soloist());
    command.arg("start").arg(app.path()).args(["--no-build", "--dev", "--port", "0", "--ephemeral", "--ready-file"]);
    let child = command.arg(&ready).kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let url = eventually("ready", || async { fs::read_to_string(&ready).ok() }).await;
    let client = Client::new(url.trim());
    client.start("Noop", "a", "").await;
    client.output("a").await;
    drop(child);
    assert!(!app.path().join(".soloist").exists());
}

#[tokio::test]
async fn reset_deletes_every_instance_but_asks_first() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut host = Host::builder().data(&data).start().await;
    host.start("Noop", "a", "").await;
    host.output("a").await;
    host.stop().await;
    let data = data.to_str().unwrap();
    let asked = soloist(&["reset", "--data", data]);
    assert_eq!(asked.status.code(), Some(1), "nobody is there to be asked");
    assert!(String::from_utf8_lossy(&asked.stderr).contains("--yes"), "{asked:?}");
    host.restart().await;
    assert_eq!(host.list("").await.len(), 1);
    host.stop().await;
    let done = soloist(&["reset", "--yes", "--data", data]);
    assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains(data), "{done:?}");
    host.restart().await;
    assert_eq!(host.list("").await.len(), 0);
    let nothing = soloist(&["reset", "--yes", "--data", "/nowhere/at/all"]);
    assert!(nothing.status.success(), "{nothing:?}");
}

/// A crate that is a function, anywhere on disk. It depends on what the test app depends on, so that it is compiled already.
fn write_crate(app: &AppCopy, text: &str) {
    let sdk = artifacts::repository().join("guest-sdk/rust");
    let test_app = artifacts::test_app();
    let manifest = fs::read_to_string(test_app.join("Cargo.toml")).unwrap();
    let manifest = manifest
        .replace("\"soloist-test-app\"", "\"hi\"")
        .replace("../../guest-sdk/rust", sdk.to_str().unwrap())
        // The other crates of that workspace are no part of this one.
        .lines()
        .filter(|line| !line.starts_with("members"))
        .collect::<Vec<_>>()
        .join("\n");
    app.write("Hi/Cargo.toml", manifest);
    app.write("Hi/Cargo.lock", fs::read(test_app.join("Cargo.lock")).unwrap());
    app.write("Hi/.cargo/config.toml", format!("[build]\ntarget-dir = {:?}\n", test_app.join("target")));
    app.write(
        "Hi/src/lib.rs",
        format!("use soloist_sdk::prelude::*;\n#[http_trigger]\npub fn hi() -> HttpResponse {{ HttpResponse::ok().text({text}) }}\n"),
    );
    app.write(
        "Hi/function.json",
        r#"{"bindings":[{"name":"req","type":"httpTrigger","direction":"in","authLevel":"anonymous"},{"name":"$return","type":"http","direction":"out"}]}"#,
    );
}

#[tokio::test]
async fn a_rust_function_is_built_anywhere_on_disk_and_served() {
    let app = AppCopy::of(&[]);
    write_crate(&app, "\"hi\"");
    let component = app.path().join("Hi/hi.wasm");
    let build = |app: &Path| {
        let mut command = Command::new(artifacts::soloist());
        // What the caller set for its own builds stays out.
        command
            .arg("build")
            .arg(app)
            .env("RUSTFLAGS", "--cfg nonsense --nonsense")
            .env("CARGO_BUILD_TARGET", "nonsense");
        command.stdin(Stdio::null()).output().unwrap()
    };
    let first = build(app.path());
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(component.exists());
    let again = build(app.path());
    assert!(String::from_utf8_lossy(&again.stdout).contains("unchanged"), "{again:?}");
    let mut host = Host::builder().app(app.path()).start().await;
    assert_eq!(host.get("/api/Hi").await.text(), "hi");
    host.stop().await;
    // A crate that does not compile leaves the component of the last build in service.
    write_crate(&app, "not_rust(");
    let failed = build(app.path());
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("Hi/Cargo.toml"), "{failed:?}");
    host.restart().await;
    assert_eq!(host.get("/api/Hi").await.text(), "hi");
}
