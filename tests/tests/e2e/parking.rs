//! An activity during which the host ends again and again is parked; the others go on.

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use serde_json::json;
use soloist_tests::{Answer, Host, Server, eventually, folder::AppCopy};

/// How long a life of a host lasts until it is ended: its activities run by then, but for the slowest machines.
const LIFE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_ten_times_during_one_activity_parks_nothing() {
    let mut host = Host::start_default().await;
    host.start("Sleepers", "long", r#"{"n":1,"ms":2500}"#).await;
    for _ in 0..10 {
        tokio::time::sleep(LIFE).await;
        host.kill9();
        host.restart().await;
    }
    assert_eq!(host.output("long").await, 1);
    let book = std::fs::read_to_string(host.data().join("parking.json")).unwrap_or_default();
    assert!(!book.contains("Sleep"), "nothing is counted: {book}");
    for log in host.logs() {
        assert!(!log.contains("parked") && !log.contains("ended by a signal"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_that_ends_the_host_again_and_again_is_parked_until_it_is_resumed() {
    // It runs while the server is silent: for as long as it takes to end the host.
    let server = Server::start(Answer::Silence).await;
    let app = AppCopy::of(&["HttpStartSingle", "HttpSleep", "Fetch", "FetchUrl", "Chain", "ChainStep"]);
    let allow = json!({"version": "2.0", "extensions": {"soloist": {"outboundAllow": [server.address()]}}});
    app.write("host.json", allow.to_string());
    let mut host = Host::builder().app(app.path()).start().await;
    host.start("Fetch", "poison", &json!({"url": server.url(), "timeout_ms": 10_000_000}).to_string()).await;
    let (mut ends, mut is_request_told) = (0, false);
    let diagnostics = loop {
        let neighbour = format!("neighbour-{ends}");
        host.start("Chain", &neighbour, r#"{"token":0,"steps":20}"#).await;
        host.output(&neighbour).await;
        let client = host.client();
        let request =
            tokio::spawn(async move { client.try_send("GET", "/api/sleep?ms=10000", &[], "").await.is_err() });
        let decided = eventually("the poison runs, or is parked", || async {
            let status = host.status("poison").await;
            assert_eq!(status["runtimeStatus"], "Running");
            match status["diagnostics"].as_str() {
                Some(diagnostics) => Ok(Some(diagnostics.to_owned())),
                None if server.requests().len() > ends => Ok(None),
                None => Err(status),
            }
        });
        if let Some(diagnostics) = decided.await {
            break diagnostics;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(ends < 15, "it is never parked: {}", host.log());
        let signal = [libc::SIGABRT, libc::SIGSEGV][ends % 2];
        host.signal(signal);
        assert_eq!(host.ended().await.status.signal(), Some(signal), "it ends as it would without a handler");
        assert!(request.await.unwrap());
        ends += 1;
        host.restart().await;
        is_request_told |= host.log().contains("running_http=HttpSleep");
    };
    assert!(ends >= 5, "{ends}");
    assert!(is_request_told, "no log tells of the request that ran: {:#?}", host.logs());
    let times = format!("parked: the host was ended {ends} times while activity function 'FetchUrl' (action 0) ran");
    assert!(diagnostics.starts_with(&times), "{diagnostics}");
    assert!(diagnostics.ends_with("deploy a corrected component and resume the instance, or terminate it"));
    assert_eq!(host.log().matches("the instance stalls").count(), 1, "{}", host.log());

    host.kill9();
    host.restart().await;
    let parked = async || host.status("poison").await["diagnostics"].as_str().map(str::to_owned);
    assert_eq!(eventually("it is parked after a restart", parked).await, diagnostics);
    server.say(Answer::ok("at last"));
    let resume = format!("{}/resume?reason=fixed", soloist_tests::instances::path("poison"));
    assert_eq!(host.post(&resume, "").await.status, 202);
    assert_eq!(host.output("poison").await["body"], "at last");
    host.stop().await;
    let counts = std::fs::read_to_string(host.data().join("parking.json")).unwrap();
    assert!(!counts.contains("FetchUrl"), "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_recorder_that_are_damaged_do_not_keep_a_host_from_starting() {
    let mut host = Host::start_default().await;
    host.start("E1_HelloSequence", "before", "").await;
    host.output("before").await;
    host.stop().await;
    std::fs::write(host.data().join("flight"), b"no recording").unwrap();
    std::fs::write(host.data().join("parking.json"), b"{").unwrap();
    host.restart().await;
    assert!(host.log().contains("the recording of the last host is no use and is ignored"), "{}", host.log());
    assert!(host.log().contains("cannot be read, they begin anew"), "{}", host.log());
    host.start("E1_HelloSequence", "after", "").await;
    host.output("after").await;
}

/// Code that traps, runs out of its stack or its memory raises signals, too: the engine's, not the process's.
#[tokio::test(flavor = "multi_thread")]
async fn traps_of_guests_are_no_end_of_the_host() {
    let mut host = Host::start_default().await;
    for target in ["/api/HttpPanic", "/api/HttpRecurse", "/api/HttpOom"] {
        assert_eq!(host.get(target).await.status, 500, "{target}");
    }
    host.stop().await;
    assert_eq!(std::fs::metadata(host.data().join("flight")).unwrap().len(), 0);
}
