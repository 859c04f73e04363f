//! What activities see, and how long they may take.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use soloist_tests::{Answer, Host, Server, eventually, folder::AppCopy, instances::MANAGEMENT};

/// The CPU time that a process has used, in clock ticks (of 10 ms).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The program's name, in parentheses, may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn an_activity_knows_who_asks_and_how_often() {
    let host = Host::start_default().await;
    host.start("Callers", "c", "0").await;
    let callers = host.output("c").await;
    let (first, second) = (&callers[0], &callers[1]);
    for caller in [first, second] {
        assert_eq!((&caller["name"], &caller["instanceId"]), (&json!("WhoAsks"), &json!("c")));
        assert_eq!(caller["executionId"], first["executionId"]);
    }
    assert_eq!(
        (&first["sequence"], &first["attempt"], &first["tags"]),
        (&json!(0), &json!(1), &json!([["colour", "blue"]]))
    );
    assert_eq!((&second["sequence"], &second["attempt"], &second["tags"]), (&json!(1), &json!(2), &json!([])));
    assert_ne!(first["idempotencyKey"], second["idempotencyKey"]);
    // Each attempt has a key of its own, and so has each instance and each execution.
    wait_for_keys(&host, 3).await;
    host.start("Callers", "d", "0").await;
    host.output("d").await;
    host.start("Callers", "c", "0").await;
    host.output("c").await;
    let mut asked = wait_for_keys(&host, 9).await;
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 9, "{asked:?}");
}

/// Waits until the log has so many idempotency keys, and no more.
async fn wait_for_keys(host: &Host, wanted: usize) -> Vec<String> {
    eventually(&format!("{wanted} runs"), || async {
        let asked = keys_asked(host);
        assert!(asked.len() <= wanted, "{asked:?}");
        if asked.len() == wanted { Ok(asked) } else { Err(asked) }
    })
    .await
}

/// The idempotency keys of every run of `WhoAsks`, over every run of the host.
fn keys_asked(host: &Host) -> Vec<String> {
    let logs = host.logs();
    let lines = logs.iter().flat_map(|log| log.lines());
    lines.filter_map(|line| Some(line.split_once("asked ")?.1.split(['"', ' ']).next()?.to_owned())).collect()
}

#[tokio::test]
async fn a_repetition_after_kill_9_has_the_same_key_and_attempt() {
    let mut host = Host::start_default().await;
    host.start("Callers", "c", "6000").await;
    for runs in 1..=3 {
        wait_for_keys(&host, runs).await;
        if runs < 3 {
            host.kill9();
            host.restart().await;
        }
    }
    let callers = host.output("c").await;
    let asked = keys_asked(&host);
    assert!(asked[..3].iter().all(|key| callers[0]["idempotencyKey"] == **key), "{asked:?} {callers}");
    assert_eq!(callers[0]["attempt"], 1);
}

#[tokio::test]
async fn settings_of_the_app_are_the_environment_and_the_hosts_are_not() {
    let app = AppCopy::of(&["HttpStartSingle", "EnvironmentOfAnActivity", "Environment"]);
    app.write(
        "local.settings.json",
        r#"{"IsEncrypted": false, "Values": {"GREETING": "hello", "Empty": "", "With=sign": "x", "Umlaut": "\u00e4"}}"#,
    );
    let host = Host::builder().app(app.path()).variable("HOST_SECRET", "sesame").start().await;
    host.start("EnvironmentOfAnActivity", "e", "").await;
    let seen = host.output("e").await;
    assert_eq!((&seen["GREETING"], &seen["Empty"], &seen["Umlaut"]), (&json!("hello"), &json!(""), &json!("\u{e4}")));
    let seen: Vec<&String> = seen.as_object().unwrap().keys().collect();
    for hidden in ["HOST_SECRET", "PATH", "HOME"] {
        assert!(!seen.iter().any(|name| *name == hidden), "{seen:?}");
    }
}

/// Runs `Timeouts` and returns the kind and the message of what its activity ended with.
async fn timed(host: &Host, id: &str, input: Value) -> (String, String) {
    // Not by a function, whose own time may be bounded here.
    let start = format!("{MANAGEMENT}/orchestrators/Timeouts/{id}");
    assert_eq!(host.post(&start, input.to_string()).await.status, 202);
    let output = host.output(id).await;
    (output["kind"].as_str().unwrap().to_owned(), output["message"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_activity_that_takes_too_long_is_stopped_and_fails() {
    let server = Server::start(Answer::ok("late")).await;
    let app = AppCopy::of(&["HttpStartSingle", "Timeouts", "Sleep", "SleepThenFetch", "SpinStep"]);
    let allow = json!({"version": "2.0", "extensions": {"soloist": {"outboundAllow": [server.address()]}}});
    app.write("host.json", allow.to_string());
    let host = Host::builder().app(app.path()).set("extensions.soloist.guestCpuMilliseconds", "600000").start().await;
    let exceeded = |activity: &str| {
        ("Timeout".to_owned(), format!("Timeout value of 00:00:00.4000000 exceeded by function '{activity}'"))
    };
    assert_eq!(timed(&host, "in-time", json!({"ms": 1, "timeout_ms": 60_000})).await.0, "None");
    assert_eq!(timed(&host, "sleeps", json!({"ms": 30_000, "timeout_ms": 400})).await, exceeded("Sleep"));
    let fetches = json!({"ms": 4_000, "timeout_ms": 400, "url": server.url()});
    assert_eq!(timed(&host, "fetches", fetches).await, exceeded("SleepThenFetch"));
    let fetched = Instant::now() + Duration::from_secs(4);
    let spins = json!({"ms": 0, "timeout_ms": 400, "activity": "SpinStep"});
    assert_eq!(timed(&host, "spins", spins).await, exceeded("SpinStep"));
    // Each attempt is bounded by itself, and a timeout is a failure like any other for a retry policy.
    let retried = json!({"ms": 30_000, "timeout_ms": 400, "attempts": 2});
    assert_eq!(timed(&host, "retried", retried).await, exceeded("Sleep"));
    eventually("five are stopped", || async {
        let log = host.log();
        if log.matches("activity stopped").count() == 5 { Ok(()) } else { Err(log) }
    })
    .await;
    // Whatever they were at is over: no CPU is used, no request is sent.
    tokio::time::sleep(Duration::from_millis(500).max(fetched.saturating_duration_since(Instant::now()))).await;
    let before = cpu_ticks(host.pid());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = cpu_ticks(host.pid()) - before;
    assert!(used < 50, "{used} ticks in 2 s");
    assert_eq!(server.requests(), [] as [&str; 0]);
    let history = host.history("spins").await;
    let failed: Vec<_> = history.iter().filter(|event| event["EventType"] == "TaskFailed").collect();
    assert_eq!(failed.len(), 1, "{history:?}");
}

#[tokio::test]
async fn the_timeout_of_functions_bounds_every_activity() {
    let host = Host::builder().set("functionTimeout", "00:00:01").start().await;
    let start = format!("{MANAGEMENT}/orchestrators/Sleepers/s");
    assert_eq!(host.post(&start, r#"{"n":3,"ms":60000}"#).await.status, 202);
    let failed = host.wait_for_status("s", "Failed").await;
    let text = "Orchestrator function 'Sleepers' failed: Timeout value of 00:00:01 exceeded by function 'Sleep'";
    assert_eq!(failed["output"], text);
    // A call's own timeout may be shorter, not longer.
    let (kind, message) = timed(&host, "longer", json!({"ms": 60_000, "timeout_ms": 50_000})).await;
    assert_eq!((kind.as_str(), message.contains("00:00:01 ")), ("Timeout", true), "{message}");
    let (_, message) = timed(&host, "shorter", json!({"ms": 60_000, "timeout_ms": 250})).await;
    assert!(message.contains("00:00:00.2500000 "), "{message}");
    // Its slot is free again, its orchestrator is bounded by nothing of the kind.
    let start = format!("{MANAGEMENT}/orchestrators/Timer/t");
    assert_eq!(host.post(&start, r#"{"token":1,"ms":1500}"#).await.status, 202);
    host.output("t").await;
}

#[tokio::test]
async fn a_timed_out_attempt_begins_anew_after_kill_9() {
    let mut host = Host::start_default().await;
    host.start("Timeouts", "t", r#"{"ms":60000,"timeout_ms":3000}"#).await;
    host.wait_for_status("t", "Running").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    host.kill9();
    host.restart().await;
    assert_eq!(host.output("t").await["kind"], "Timeout");
}
