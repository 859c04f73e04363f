//! Every orchestrator of the test app keeps its contract, with resident guests and without.

use std::time::Duration;

use serde_json::{Value, json};
use soloist_tests::{Host, instances};

fn count(history: &[Value], kind: &str) -> usize {
    history.iter().filter(|event| event["EventType"] == kind).count()
}

#[tokio::test]
async fn orchestrators_keep_their_contracts() {
    contracts(&Host::start_default().await).await;
}

/// The same with every turn replayed, and the log proves it.
#[tokio::test]
async fn orchestrators_keep_their_contracts_without_resident_guests() {
    let mut host = Host::builder().without_residents().start().await;
    contracts(&host).await;
    events(&host).await;
    let log = host.stop().await.log;
    let figures = log.lines().find(|line| line.contains("task hub stops")).unwrap_or_else(|| panic!("{log}"));
    assert!(figures.contains(" resident_turns=0 "), "{figures}");
    let replays = figures.split_once(" replays=").unwrap().1.split(' ').next().unwrap();
    assert!(replays.parse::<u64>().unwrap() > 10, "{figures}");
}

async fn contracts(host: &Host) {
    for (function, input, output) in [
        ("E1_HelloSequence", "", r#"["Hello Tokyo!","Hello Seattle!","Hello London!"]"#),
        ("Echo", r#"{"token":{"b":[1.0],"a":null}}"#, r#"{"token":{"b":[1.0],"a":null}}"#),
        ("Chain", r#"{"token":"t","steps":5}"#, r#"{"token":"t","trace":[0,1,2,3,4]}"#),
        ("FanOut", r#"{"n":50}"#, "50"),
        ("Timer", r#"{"token":"t","ms":300}"#, r#"{"token":"t","ms":300}"#),
        ("Noop", "[1]", "null"),
    ] {
        host.start(function, function, input).await;
        let wanted: Value = serde_json::from_str(output).unwrap();
        assert_eq!(host.output(function).await, wanted, "{function}");
        let text = host.get(&instances::path(function)).await.text().to_owned();
        assert!(text.contains(&format!("\"output\":{output},")), "the text is kept: {text}");
        let history = host.history(function).await;
        assert_eq!(count(&history, "ExecutionStarted"), 1, "{history:?}");
        assert_eq!(count(&history, "ExecutionCompleted"), 1, "{history:?}");
        assert_eq!(history.last().unwrap()["Result"], wanted);
        let activities = match function {
            "E1_HelloSequence" => 3,
            "Echo" => 1,
            "Chain" => 5,
            "FanOut" => 50,
            _ => 0,
        };
        assert_eq!(count(&history, "TaskCompleted"), activities, "{function}: {history:?}");
        assert_eq!(count(&history, "TimerFired"), usize::from(function == "Timer"));
    }
    host.start("AlwaysFails", "fails", "5").await;
    let failed = host.wait_for_status("fails", "Failed").await;
    assert_eq!(failed["output"], "Orchestrator function 'AlwaysFails' failed: this orchestration always fails");
    host.start("Eternal", "eternal", "").await;
    host.wait_for_status("eternal", "Running").await;
}

#[tokio::test]
async fn events_are_buffered_and_gathered_in_order() {
    events(&Host::start_default().await).await;
}

async fn events(host: &Host) {
    host.start("Collect", "collect", r#"{"token":"c"}"#).await;
    // The first ones arrive before the orchestrator has run; names compare without regard to case.
    for (index, name) in ["Evt", "evt", "EVT", "eVt"].iter().cycle().take(20).enumerate() {
        let reply = host.raise("collect", name, &format!("{{\"n\": {index}}}")).await;
        assert_eq!((reply.status, reply.text()), (202, ""));
    }
    assert_eq!(host.raise("collect", "Other", "1").await.status, 202);
    assert_eq!(host.raise("collect", "Evt", "\"END\"").await.status, 202);
    let wanted: Vec<Value> = (0..20).map(|n| json!({ "n": n })).collect();
    assert_eq!(host.output("collect").await, json!({"token": "c", "events": wanted}));

    let approval = "{\"by\" : \"me\",\"n\":1e2}";
    host.start("WaitForApproval", "waits", "").await;
    host.wait_for_status("waits", "Running").await;
    host.raise("waits", "aPPROVAL", approval).await;
    host.wait_for_status("waits", "Completed").await;
    let text = host.get(&instances::path("waits")).await.text().to_owned();
    assert!(text.contains(&format!("\"output\":{approval},")), "as it was written: {text}");
    host.start("WaitForApproval", "sent-before", "{}").await;
    host.raise("sent-before", "Approval", "null").await;
    assert_eq!(host.output("sent-before").await, Value::Null);
}

#[tokio::test]
async fn a_panic_fails_the_orchestration_with_its_message() {
    let host = Host::start_default().await;
    host.start("Panics", "panics", "").await;
    let failed = host.wait_for_status("panics", "Failed").await;
    assert_eq!(failed["output"], "Orchestrator function 'Panics' failed: boom orchestrator");
    let log = host.wait_for_log("boom orchestrator").await;
    let line = log.lines().find(|line| line.contains("boom orchestrator")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("Panics") && line.contains("panics"), "{line}");
}

#[tokio::test]
async fn a_wrong_input_fails_the_orchestration_and_says_why() {
    let host = Host::start_default().await;
    host.start("Chain", "wrong", r#"{"token":1,"steps":"many"}"#).await;
    let failed = host.wait_for_status("wrong", "Failed").await;
    let output = failed["output"].as_str().unwrap();
    assert!(
        output.starts_with("Orchestrator function 'Chain' failed: ") && output.contains("invalid type"),
        "{output}"
    );
}

#[tokio::test]
async fn activities_wait_side_by_side_up_to_the_limit() {
    let host = Host::builder().set("extensions.durableTask.maxConcurrentActivityFunctions", "100").start().await;
    let began = std::time::Instant::now();
    host.start("Sleepers", "hundred", r#"{"n":100,"ms":1000}"#).await;
    assert_eq!(host.output("hundred").await, 100);
    let took = began.elapsed();
    // One after the other they would take 100 s.
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(60), "{took:?}");
}

#[tokio::test]
async fn no_more_activities_run_than_the_limit_allows() {
    let host = Host::builder().set("extensions.durableTask.maxConcurrentActivityFunctions", "5").start().await;
    let began = std::time::Instant::now();
    host.start("Sleepers", "few", r#"{"n":20,"ms":500}"#).await;
    assert_eq!(host.output("few").await, 20);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_timer_that_came_due_while_the_host_was_down_fires_at_its_start() {
    let mut host = Host::start_default().await;
    host.start("Timer", "timer", r#"{"token":1,"ms":1500}"#).await;
    host.start("Timer", "later", r#"{"token":1,"ms":4000}"#).await;
    host.wait_for_begin("later").await;
    let began = std::time::Instant::now();
    host.stop().await;
    tokio::time::sleep(Duration::from_secs(2).saturating_sub(began.elapsed())).await;
    host.restart().await;
    assert_eq!(host.output("timer").await, json!({"token": 1, "ms": 1500}));
    assert_eq!(host.output("later").await, json!({"token": 1, "ms": 4000}));
    let history = host.history("later").await;
    let at = |kind: &str, field: &str| {
        let event = history.iter().find(|event| event["EventType"] == kind).unwrap_or_else(|| panic!("{history:?}"));
        event[field].as_str().unwrap().to_owned()
    };
    assert!(at("TimerFired", "Timestamp") >= at("TimerCreated", "FireAt"), "never early: {history:?}");
}
