//! Durable HTTP calls: the host makes them, asks after accepted work, and repeats them, across crashes.

use std::time::Duration;

use tokio::time::Instant;

use serde_json::{Value, json};
use soloist_tests::{
    Host, HostBuilder, Peer, eventually,
    folder::AppCopy,
    host::DeadPort,
    peer::{Answer, Seen},
};

/// The functions that call, in an app whose functions may call this machine.
fn app(host_json: &Value) -> AppCopy {
    let app = AppCopy::of(&["CallHttp", "HttpStartSingle"]);
    app.write("host.json", host_json.to_string());
    app
}

fn allowing() -> Value {
    json!({
        "version": "2.0",
        "extensions": {
            "durableTask": { "httpSettings": { "defaultAsyncRequestSleepTimeMilliseconds": 400 } },
            "soloist": { "outboundAllow": ["127.0.0.1"], "maxPayloadBytes": 100_000 }
        }
    })
}

fn builder(app: &AppCopy) -> HostBuilder {
    Host::builder().app(app.path())
}

/// Calls, and returns what the orchestrator got: the answer, or the failure.
async fn call(host: &Host, id: &str, request: &Value) -> Value {
    host.start("CallHttp", id, &request.to_string()).await;
    host.output(id).await
}

#[tokio::test]
async fn a_call_is_made_with_what_it_was_given_and_any_status_is_its_answer() {
    let peer = Peer::start(|seen, _| match seen.target.as_str() {
        "/latin" => Answer::new(200, [b'M', 0xfc, b'n']),
        "/moved" => Answer::new(302, "").header("Location", "/elsewhere"),
        _ => Answer::new(404, "n\u{f6}").header("X-Kind", "a").header("Content-Type", "text/x"),
    })
    .await;
    let app = app(&allowing());
    let host = builder(&app).start().await;
    let headers = json!({ "X-A": "1", "Host": "spoofed.example", "Connection": "close, x-a", "Content-Length": "1",
        "Transfer-Encoding": "chunked", "Authorization": "Bearer s3cret" });
    let request = json!({ "method": "put", "uri": peer.url("/x?y=1"), "headers": headers, "content": "\u{fc}!" });
    let answer = call(&host, "put", &request).await;
    assert_eq!((&answer["statusCode"], &answer["content"]), (&json!(404), &json!("n\u{f6}")));
    assert_eq!(answer["headers"]["x-kind"], "a", "names in lower case: {answer}");
    let [seen] = &peer.seen("/x?y=1")[..] else { panic!("one request") };
    assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("PUT", "\u{fc}!".as_bytes()));
    assert_eq!(seen.header("x-a"), ["1"]);
    assert_eq!(seen.header("host"), [peer.url("").strip_prefix("http://").unwrap()]);
    assert_eq!(seen.header("content-length"), ["3"]);
    assert_eq!(seen.header("content-type"), ["text/plain; charset=utf-8"]);
    assert_eq!(seen.header("authorization"), ["Bearer s3cret"]);
    assert!(seen.header("transfer-encoding").is_empty());

    let answer = call(&host, "latin", &json!({ "uri": peer.url("/latin") })).await;
    assert_eq!(answer["content"], "M\u{fc}n", "bytes that are no UTF-8 are characters of their numbers");
    assert!(peer.seen("/latin")[0].header("content-type").is_empty(), "no content, no type");
    let answer = call(&host, "moved", &json!({ "uri": peer.url("/moved") })).await;
    assert_eq!(answer["statusCode"], 302, "a redirect is an answer");
    assert!(peer.seen("/elsewhere").is_empty());

    let history = host.history("put").await;
    let ended = history.iter().find(|event| event["EventType"] == "TaskCompleted").expect("shown as a task");
    assert_eq!(
        (&ended["FunctionName"], &ended["Result"]["statusCode"]),
        (&json!("BuiltIn::HttpActivity"), &json!(404))
    );
    let full = host.get(&format!("{}?showHistory=true&showInput=true", soloist_tests::instances::path("put"))).await;
    let history = full.json()["historyEvents"].clone();
    let ended = history.as_array().unwrap().iter().find(|event| event["EventType"] == "TaskCompleted").unwrap();
    assert_eq!(ended["Input"]["headers"]["Authorization"], "***", "the activity's input has no secrets: {ended}");
    assert_eq!(ended["Input"]["method"], "put");
}

#[tokio::test]
async fn accepted_work_is_asked_after_until_it_is_done() {
    accepted(&builder(&app(&allowing())).start().await).await;
}

#[tokio::test]
async fn without_resident_guests_accepted_work_is_asked_after_too() {
    accepted(&builder(&app(&allowing())).without_residents().start().await).await;
}

async fn accepted(host: &Host) {
    let peer = Peer::start(|seen, number| {
        let pending = Answer::new(202, "wait").header("Location", "done/../status?z=1");
        match (seen.target.as_str(), number) {
            ("/jobs/start", _) => Answer::new(202, "").header("Location", "/jobs/status"),
            ("/jobs/status", 0) => pending.header("Retry-After", "1"),
            ("/jobs/status?z=1", 0) => {
                let at = http_date(2);
                Answer::new(202, "").header("Location", "/jobs/last").header("Retry-After", &at)
            }
            ("/jobs/last", _) => Answer::new(200, "done"),
            ("/nowhere", _) => Answer::new(202, "taken"),
            _ => Answer::new(500, ""),
        }
    })
    .await;
    let headers = json!({ "X-Functions-Key": "k", "Authorization": "Bearer t", "X-A": "1", "Content-Type": "text/x" });
    let request = json!({ "method": "POST", "uri": peer.url("/jobs/start"), "headers": headers, "content": "go" });
    let answer = call(host, "accepted", &request).await;
    assert_eq!((&answer["statusCode"], &answer["content"]), (&json!(200), &json!("done")));
    let one = |target: &str| -> Seen {
        let seen = peer.seen(target);
        assert_eq!(seen.len(), 1, "{target}");
        seen[0].clone()
    };
    let polls = ["/jobs/status", "/jobs/status?z=1", "/jobs/last"].map(one);
    let start = one("/jobs/start");
    assert_eq!((start.method.as_str(), start.header("x-functions-key")), ("POST", vec!["k"]));
    for poll in &polls {
        assert_eq!((poll.method.as_str(), poll.body.len()), ("GET", 0));
        assert_eq!((poll.header("x-a"), poll.header("authorization")), (vec!["1"], vec!["Bearer t"]));
        assert!(poll.header("x-functions-key").is_empty() && poll.header("content-type").is_empty(), "{poll:?}");
    }
    let waited = |a: &Seen, b: &Seen| b.at.duration_since(a.at);
    assert!(waited(&start, &polls[0]) >= Duration::from_millis(400), "host.json's wait");
    assert!(waited(&polls[0], &polls[1]) >= Duration::from_secs(1), "Retry-After in seconds");
    assert!(waited(&polls[1], &polls[2]) >= Duration::from_secs(1), "Retry-After as a date, cut to seconds");

    let answer = call(host, "nowhere", &json!({ "uri": peer.url("/nowhere") })).await;
    assert_eq!((&answer["statusCode"], &answer["content"]), (&json!(202), &json!("taken")), "no Location");
    let off = json!({ "method": "POST", "uri": peer.url("/jobs/start"), "asynchronousPattern": false });
    assert_eq!(call(host, "off", &off).await["statusCode"], 202);
}

/// An HTTP date so many seconds from now.
fn http_date(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn credentials_do_not_follow_a_location_to_another_origin() {
    let other = Peer::start(|_, _| Answer::new(200, "elsewhere")).await;
    let location = other.url("/status");
    let peer =
        Peer::start(move |_, _| Answer::new(202, "").header("Location", &location).header("Retry-After", "0")).await;
    let app = app(&allowing());
    let host = builder(&app).start().await;
    let headers =
        json!({ "Authorization": "Bearer t", "Cookie": "c=1", "X-Functions-Key": "k", "X-Api-Key": "a", "X-A": "1" });
    let answer = call(&host, "other", &json!({ "uri": peer.url("/start"), "headers": headers })).await;
    assert_eq!(answer["content"], "elsewhere");
    let [seen] = &other.seen("/status")[..] else { panic!("one poll") };
    assert_eq!(seen.header("x-a"), ["1"]);
    for secret in ["authorization", "cookie", "x-functions-key", "x-api-key"] {
        assert!(seen.header(secret).is_empty(), "{secret}: {seen:?}");
    }
}

/// When the first look after the accepted work of `job` is due.
async fn poll_due(host: &Host) -> Option<String> {
    let history = host.raw_history("job").await;
    let scheduled = history.iter().find(|event| event["EventType"] == "HttpPollScheduled")?;
    Some(scheduled["FireAt"].as_str().expect("a time").to_owned())
}

#[tokio::test]
async fn kill_9_neither_restarts_accepted_work_nor_shortens_a_wait() {
    const WAIT: Duration = Duration::from_secs(4);
    let peer = Peer::start(|seen, number| match (seen.target.as_str(), number) {
        ("/start", _) => Answer::new(202, "").header("Location", "/status").header("Retry-After", "4"),
        ("/status", 0) => Answer::new(202, "").header("Location", "/status").header("Retry-After", "1"),
        _ => Answer::new(200, "done"),
    })
    .await;
    let app = app(&allowing());
    let mut host = builder(&app).start().await;
    host.start("CallHttp", "job", &json!({ "method": "POST", "uri": peer.url("/start") }).to_string()).await;
    let start = peer.wait_for("/start", 1).await[0].clone();
    // That it was accepted is recorded a moment after it was answered.
    let due = eventually("it is accepted", || async { poll_due(&host).await }).await;
    host.kill9();
    host.restart().await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    host.kill9();
    let back = Instant::now();
    host.restart().await;
    let began_in = back.elapsed();
    assert_eq!(host.output("job").await["content"], "done");
    assert_eq!(peer.seen("/start").len(), 1, "the work was begun once");
    assert_eq!(poll_due(&host).await, Some(due), "the wait is the same");
    let polls = peer.seen("/status");
    // One that a kill cut short is repeated.
    assert!((2..=4).contains(&polls.len()), "{polls:?}");
    let waited = polls[0].at.duration_since(start.at);
    assert!(waited >= WAIT - Duration::from_millis(50), "{waited:?}");
    // A wait that began anew would end later; a machine on which hosts need that long cannot tell.
    assert!(polls[0].at < back + WAIT || began_in > WAIT / 2, "{waited:?}");
}

#[tokio::test]
async fn a_request_that_kill_9_cut_short_is_sent_again() {
    let peer = Peer::start(|_, number| {
        let delay = if number == 0 { Duration::from_secs(600) } else { Duration::ZERO };
        Answer::new(200, "again").after(delay)
    })
    .await;
    let app = app(&allowing());
    let mut host = builder(&app).start().await;
    host.start("CallHttp", "cut", &json!({ "uri": peer.url("/x") }).to_string()).await;
    peer.wait_for("/x", 1).await;
    host.kill9();
    host.restart().await;
    assert_eq!(host.output("cut").await["content"], "again");
    assert_eq!(peer.seen("/x").len(), 2);
}

#[tokio::test]
async fn requests_are_repeated_as_their_policy_says() {
    let peer = Peer::start(|seen, number| match (seen.target.as_str(), number) {
        ("/busy", 0 | 1) => Answer::new(503, ""),
        ("/gone", 0) => Answer::hang_up(),
        ("/never", _) => Answer::new(500, ""),
        ("/other", _) => Answer::new(404, "no"),
        ("/slow", 0) => Answer::new(200, "late").after(Duration::from_secs(600)),
        _ => Answer::new(200, "ok"),
    })
    .await;
    let app = app(&allowing());
    let host = builder(&app).start().await;
    let retried = |target: &str, codes: &[u16]| {
        let (uri, timeout) = (peer.url(target), if target == "/slow" { 2_000 } else { 100_000 });
        json!({ "uri": uri, "attempts": 3, "statusCodes": codes, "timeoutMs": timeout })
    };
    assert_eq!(call(&host, "busy", &retried("/busy", &[503])).await["content"], "ok");
    let times: Vec<_> = peer.seen("/busy").iter().map(|seen| seen.at).collect();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[1].duration_since(pair[0]) >= Duration::from_millis(100)), "{times:?}");
    assert_eq!(call(&host, "gone", &retried("/gone", &[503])).await["content"], "ok", "connection errors too");
    assert_eq!(call(&host, "slow", &retried("/slow", &[])).await["content"], "ok", "and timeouts");
    assert_eq!(call(&host, "other", &retried("/other", &[503])).await["statusCode"], 404, "a code that is not listed");
    let failed = call(&host, "never", &retried("/never", &[])).await;
    assert_eq!(failed["message"], "Status code 500 received, retry requested.");
    assert_eq!(peer.seen("/never").len(), 3);
}

#[tokio::test]
async fn what_gets_no_answer_fails_with_its_reason() {
    let peer = Peer::start(|seen, _| match seen.target.as_str() {
        "/slow" => Answer::new(200, "").after(Duration::from_secs(600)),
        "/large" => Answer::new(200, "x".repeat(100_001)),
        "/parts" => Answer::new(200, "").header("Content-Type", "multipart/mixed; boundary=b"),
        _ => Answer::hang_up(),
    })
    .await;
    let closed = DeadPort::take();
    let app = app(&allowing());
    let host = builder(&app).start().await;
    let uri = |target: &str| json!({ "uri": peer.url(target) });
    let with = |mut request: Value, key: &str, value: Value| {
        request[key] = value;
        request
    };
    for (id, request, kind, text) in [
        (
            "slow",
            with(uri("/slow"), "timeoutMs", json!(250)),
            "TimeoutException",
            "Reached user specified timeout: 00:00:00.2500000.",
        ),
        ("large", uri("/large"), "HttpResponseTooLarge", "maxPayloadBytes"),
        ("parts", uri("/parts"), "InvalidHttpRequest", "Multipart content is not supported with CallHttpAsync."),
        ("hangs-up", uri("/x?secret=1"), "HttpRequestException", "got no answer"),
        ("closed", json!({ "uri": closed.url() }), "HttpRequestException", "got no answer"),
        ("relative", json!({ "uri": "/x" }), "InvalidHttpRequest", "no absolute URL"),
        ("scheme", json!({ "uri": "file:///etc/passwd" }), "InvalidHttpRequest", "no absolute URL"),
        ("user", json!({ "uri": "http://me:pw@127.0.0.1/" }), "InvalidHttpRequest", "user name"),
        ("method", with(uri("/x"), "method", json!("G T")), "InvalidHttpRequest", "no HTTP method"),
        ("header", with(uri("/x"), "headers", json!({ "X-A": "1\r\nX-B: 2" })), "InvalidHttpRequest", "header x-a"),
        ("name", with(uri("/x"), "headers", json!({ "X A": "1" })), "InvalidHttpRequest", "no header's name"),
        (
            "token",
            with(uri("/x"), "resource", json!("https://a.example")),
            "TokenSourceNotConfigured",
            "'AzureManagedIdentity'",
        ),
        (
            "gate",
            json!({ "uri": "http://10.0.0.1/x", "timeoutMs": 100_000 }),
            "HttpDestinationRefused",
            "outboundAllow",
        ),
    ] {
        let failed = call(&host, id, &request).await;
        let message = failed["message"].as_str().unwrap_or_else(|| panic!("{id}: {failed}"));
        assert!(failed["kind"] == kind && message.contains(text), "{id}: {failed}");
        assert!(!message.contains("secret"), "{failed}");
    }
    assert!(peer.seen("/x").is_empty(), "nothing of what was refused was sent");
}

#[tokio::test]
async fn a_location_is_judged_like_any_destination() {
    let peer = Peer::start(|_, _| {
        Answer::new(202, "").header("Location", "http://169.254.169.254/latest").header("Retry-After", "0")
    })
    .await;
    let app = app(&allowing());
    let host = builder(&app).start().await;
    let failed = call(&host, "inner", &json!({ "uri": peer.url("/start") })).await;
    assert_eq!(failed["kind"], "HttpDestinationRefused", "{failed}");
    let closed = self::app(&json!({ "version": "2.0" }));
    let host = builder(&closed).start().await;
    let failed = call(&host, "closed", &json!({ "uri": peer.url("/start") })).await;
    assert_eq!(failed["kind"], "HttpDestinationRefused", "{failed}");
}

#[tokio::test]
async fn a_terminated_instance_asks_no_more() {
    let peer = Peer::start(|_, _| Answer::new(202, "").header("Location", "/status").header("Retry-After", "1")).await;
    let app = app(&allowing());
    let host = builder(&app).start().await;
    host.start("CallHttp", "t", &json!({ "uri": peer.url("/start") }).to_string()).await;
    peer.wait_for("/status", 1).await;
    assert_eq!(host.post(&format!("{}/terminate", soloist_tests::instances::path("t")), "").await.status, 202);
    let asked = peer.seen("/status").len();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // One may have been on its way.
    assert!(peer.seen("/status").len() <= asked + 1, "{asked}");
}
