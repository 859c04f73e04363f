//! Limits: what runs at once, and what is refused or fails by the limit's name.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use soloist_tests::{Host, eventually, instances::MANAGEMENT};

#[tokio::test(flavor = "multi_thread")]
async fn so_many_activities_run_at_once_in_turn_between_instances() {
    let host = Host::builder().set("extensions.durableTask.maxConcurrentActivityFunctions", "1").start().await;
    let began = Instant::now();
    host.start("Sleepers", "many", r#"{"n":20,"ms":200}"#).await;
    host.start("Sleepers", "one", r#"{"n":1,"ms":10}"#).await;
    assert_eq!(host.output("one").await, 1);
    assert_eq!(host.output("many").await, 20);
    assert!(began.elapsed() >= Duration::from_secs(4), "one at a time: {:?}", began.elapsed());
    let last = async |id: &str| {
        let history = host.history(id).await;
        let last = history.iter().rfind(|event| event["EventType"] == "TaskCompleted").expect("it had activities");
        last["Timestamp"].as_str().expect("a time").to_owned()
    };
    assert!(last("one").await < last("many").await, "one need not wait for all of many");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_turns_run_at_once() {
    let builder = Host::builder().set("extensions.durableTask.maxConcurrentOrchestratorFunctions", "1");
    let host = builder.set("extensions.soloist.guestCpuMilliseconds", "1000").start().await;
    let began = Instant::now();
    for id in ["a", "b", "c"] {
        host.start("Spin", id, "").await;
    }
    host.start("E1_HelloSequence", "d", "").await;
    for id in ["a", "b", "c"] {
        host.wait_for_status(id, "Failed").await;
    }
    assert!(began.elapsed() >= Duration::from_secs(3), "one at a time: {:?}", began.elapsed());
    host.output("d").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_requests_run_at_once_and_the_others_wait() {
    let host = Host::builder().set("extensions.http.maxConcurrentRequests", "1").start().await;
    let began = Instant::now();
    let calls = (0..3).map(|_| {
        let client = host.client();
        tokio::spawn(async move { client.get("/api/sleep?ms=400").await.status })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert!(began.elapsed() >= Duration::from_millis(1_200), "one at a time: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_more_than_may_be_outstanding_is_told_to_come_back() {
    let host = Host::builder().set("extensions.http.maxOutstandingRequests", "2").start().await;
    let seen = Arc::new(AtomicBool::new(false));
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let (client, seen) = (host.client(), seen.clone());
            tokio::spawn(async move {
                // Again, until it was seen what becomes of a third one. Any of the three may be refused beside the two others.
                let mut served = 0;
                while served == 0 || !seen.load(Ordering::Relaxed) {
                    match client.get("/api/sleep?ms=1000").await.status {
                        200 => served += 1,
                        429 => tokio::time::sleep(Duration::from_millis(10)).await,
                        status => panic!("{status}"),
                    }
                }
            })
        })
        .collect();
    let refused = eventually("two are in work", || async {
        let reply = host.get("/api/sleep?ms=0").await;
        (reply.status == 429).then_some(reply)
    });
    assert_eq!(refused.await.header("retry-after"), "1");
    assert_eq!(host.get(&format!("{MANAGEMENT}/instances")).await.status, 200, "operators are not kept out");
    seen.store(true, Ordering::Relaxed);
    for call in calls {
        call.await.unwrap();
    }
    let is_served = || async { (host.get("/api/sleep?ms=0").await.status == 200).then_some(()) };
    eventually("who comes back is served", is_served).await;
}

#[tokio::test]
async fn a_limit_that_is_no_positive_number_keeps_the_host_from_starting() {
    for kind in ["Activity", "Orchestrator"] {
        let key = format!("extensions.durableTask.maxConcurrent{kind}Functions");
        for value in ["0", "-1"] {
            let output = Host::builder().set(&key, value).refused().await;
            assert!(!output.status.success());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                said.contains(&format!("MaxConcurrent{kind}Functions must be a positive integer value.")),
                "{said}"
            );
        }
    }
}

#[tokio::test]
async fn json_may_be_nested_as_deeply_as_the_setting_says() {
    let host = Host::builder().set("extensions.soloist.jsonDepth", "3").start().await;
    host.start("Echo", "flat", r#"{"token":[[1]]}"#).await;
    assert_eq!(host.output("flat").await, json!({"token": [[1]]}));
    let deep = r#"{"token":[[[1]]]}"#;
    for target in ["/api/orchestrators/Echo/deep".to_owned(), format!("{MANAGEMENT}/orchestrators/Echo/deep")] {
        let reply = host.post(&target, deep).await;
        assert_eq!(reply.status, 400, "{reply:?}");
    }
    let reply = host.post(&format!("{MANAGEMENT}/orchestrators/Echo/deep"), deep).await;
    assert!(reply.text().contains("nested deeper than 3 levels"), "{}", reply.text());
    host.start("Collect", "collects", r#"{"token":0}"#).await;
    assert_eq!(host.raise("collects", "Evt", "[[[[0]]]]").await.status, 400);
    assert_eq!(host.list("deep").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_hits_a_limit_fails_with_its_name() {
    let builder = Host::builder().set("extensions.durableTask.maxOrchestrationActions", "5");
    let builder = builder.set("extensions.soloist.maxPayloadBytes", "1000");
    let host = builder.start().await;
    host.start("FanOut", "actions", r#"{"n":10}"#).await;
    let failed = host.wait_for_status("actions", "Failed").await;
    let output = failed["output"].as_str().unwrap();
    assert!(output.contains("Maximum amount of orchestration actions (5) has been reached."), "{output}");
    assert!(output.contains("MaxOrchestrationActions"), "{output}");

    let token = "x".repeat(1_000);
    host.start("Echo", "payload", &json!({ "token": token }).to_string()).await;
    let failed = host.wait_for_status("payload", "Failed").await;
    let output = failed["output"].as_str().unwrap();
    assert!(
        output.contains("more than 1000 bytes") && output.contains("extensions.soloist.maxPayloadBytes"),
        "{output}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_hoards_memory_fails_with_the_limits_name() {
    let host = Host::builder().set("extensions.soloist.guestMemoryBytes", "4194304").start().await;
    host.start("FanOut", "memory", r#"{"n":90000}"#).await;
    let failed = host.wait_for_status("memory", "Failed").await;
    let output = failed["output"].as_str().unwrap();
    assert!(
        output.contains("more than 4 MiB of memory") && output.contains("extensions.soloist.guestMemoryBytes"),
        "{output}"
    );
    host.start("E1_HelloSequence", "neighbour", "").await;
    host.output("neighbour").await;
}

#[tokio::test]
async fn an_execution_asks_for_as_many_actions_as_it_may_and_not_for_one_more() {
    let host = Host::builder().set("extensions.durableTask.maxOrchestrationActions", "50").start().await;
    for (id, function, times, status) in [
        ("within", "SignalEntity", 50, "Completed"),
        ("beyond", "SignalEntity", 51, "Failed"),
        ("turns", "CallEntity", 51, "Failed"),
    ] {
        let entity = json!({ "name": "Counter", "key": id });
        let input = json!({ "entity": entity, "operation": "add", "input": 1, "times": times });
        host.start(function, id, &input.to_string()).await;
        host.wait_for_status(id, status).await;
        eventually("what was asked for is done", || async {
            let reply = host.get(&format!("{MANAGEMENT}/entities/Counter/{id}")).await;
            (reply.status == 200 && reply.text() == "50").then_some(())
        })
        .await;
    }
    // A signal more would have come by now: operations of one entity are in order, and so are signals of one sender.
    let reply = host.get(&format!("{MANAGEMENT}/entities/Counter/beyond")).await;
    assert_eq!(reply.text(), "50");
}

#[tokio::test]
async fn a_history_that_becomes_very_large_is_logged_once() {
    const WARNING: &str = "history is very large";
    let host = Host::start_default().await;
    host.start("WaitForApproval", "large", "").await;
    host.start("WaitForApproval", "small", "").await;
    let payload = format!("\"{}\"", "x".repeat(9 << 20));
    // 50 MiB are worth a warning, and twice as many another.
    for _ in 0..8 {
        assert_eq!(host.raise("large", "Other", &payload).await.status, 202);
    }
    let warned = || async { host.log().contains(WARNING).then_some(()) };
    eventually("there is a warning", warned).await;
    for id in ["small", "large"] {
        host.raise(id, "Approval", "true").await;
        host.wait_for_status(id, "Completed").await;
    }
    let log = host.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(WARNING)).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("WARN") && lines[0].contains("large") && lines[0].contains("WaitForApproval"),
        "{lines:?}"
    );
    assert!(lines[0].contains("events") && lines[0].contains("bytes"), "{lines:?}");
}
