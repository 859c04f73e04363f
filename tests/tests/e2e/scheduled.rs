//! Starts that lie ahead: not early, not lost, and in the meantime an instance like any other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use soloist_tests::{Host, Reply, instances::path};

#[expect(clippy::disallowed_methods, reason = "the hosts that are tested go by the system's clock")]
fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

async fn schedule(host: &Host, function: &str, id: &str, at: &str) -> Reply {
    host.post(&format!("/api/schedule/{function}/{id}?at={at}"), r#"{"token":"t"}"#).await
}

async fn schedule_in(host: &Host, function: &str, id: &str, ms: u128) {
    let reply = schedule(host, function, id, &(now_ms() + ms).to_string()).await;
    assert_eq!(reply.status, 202, "{reply:?}");
}

async fn status(host: &Host, id: &str) -> String {
    host.status(id).await["runtimeStatus"].as_str().unwrap().to_owned()
}

/// Checks that an instance has not begun if it is too early for that.
async fn never_early(host: &Host, id: &str, at: u128) {
    let status = status(host, id).await;
    assert!(status == "Pending" || now_ms() >= at, "{id} is {status} already");
}

#[tokio::test]
async fn a_scheduled_start_is_kept_over_kill_9_and_never_early() {
    let mut host = Host::start_default().await;
    let (soon, down) = (now_ms() + 6_000, now_ms() + 2_500);
    for (id, at) in [("soon", soon), ("down", down)] {
        assert_eq!(schedule(&host, "Collect", id, &at.to_string()).await.status, 202);
        never_early(&host, id, at).await;
        // What is sent before the start is kept for it.
        assert_eq!(host.raise(id, "Evt", "1").await.status, 202);
        assert_eq!(schedule(&host, "Collect", id, "0").await.status, 409, "the id is taken");
    }
    host.kill9();
    host.restart().await;
    for id in ["soon", "down"] {
        host.raise(id, "Evt", "2").await;
        never_early(&host, id, if id == "soon" { soon } else { down }).await;
    }
    // One of them is due while there is no host.
    host.kill9();
    let left = (down + 500).saturating_sub(now_ms());
    tokio::time::sleep(Duration::from_millis(left as u64)).await;
    host.restart().await;
    for (id, at) in [("down", down), ("soon", soon)] {
        host.wait_for_status(id, "Running").await;
        assert!(now_ms() >= at, "{id} started early");
        host.raise(id, "Evt", "\"END\"").await;
        assert_eq!(host.output(id).await["events"], json!([1, 2]));
        let history = host.history(id).await;
        let count = |kind: &str| history.iter().filter(|event| event["EventType"] == kind).count();
        assert_eq!((count("ExecutionStarted"), count("EventRaised")), (1, 3), "{history:?}");
    }
}

#[tokio::test]
async fn an_instance_that_has_not_begun_can_be_managed() {
    let mut host = Host::start_default().await;
    for id in ["terminated", "suspended", "far"] {
        schedule_in(&host, "WaitForApproval", id, 100_000_000).await;
    }
    assert_eq!(host.delete(&path("far")).await.status, 409, "it is live");
    let operate = async |host: &Host, id: &str, what: &str| host.post(&format!("{}/{what}", path(id)), "").await.status;
    assert_eq!(operate(&host, "terminated", "terminate?reason=no").await, 202);
    assert_eq!(status(&host, "terminated").await, "Terminated");
    schedule_in(&host, "WaitForApproval", "held", 1_500).await;
    assert_eq!(operate(&host, "held", "suspend").await, 202);
    host.kill9();
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    host.restart().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(status(&host, "held").await, "Suspended", "though it is due");
    host.raise("held", "Approval", "1").await;
    assert_eq!(operate(&host, "held", "resume").await, 202);
    assert_eq!(host.output("held").await, 1);
    assert_eq!(operate(&host, "suspended", "suspend").await, 202);
    assert_eq!(operate(&host, "suspended", "resume").await, 202);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for id in ["far", "suspended"] {
        assert_eq!((status(&host, id).await.as_str(), host.history_len(id).await), ("Pending", 0), "{id} has not run");
    }
    assert_eq!(host.delete(&path("terminated")).await.status, 200);
}

#[tokio::test]
async fn a_time_of_any_size_is_taken_or_refused_by_name() {
    let mut host = Host::start_default().await;
    for at in ["0", "-1", "-1e308", "-inf"] {
        assert_eq!(schedule(&host, "Noop", "past", at).await.status, 202, "{at}");
        host.output("past").await;
    }
    for (id, at) in [("year-9999", "253402300799000"), ("beyond", "1e18"), ("huge", "1e308"), ("infinite", "inf")] {
        assert_eq!(schedule(&host, "Noop", id, at).await.status, 202, "{at}");
    }
    let none = schedule(&host, "Noop", "none", "NaN").await;
    assert_eq!((none.status, none.text()), (400, "the time of the start is not a number"));
    let none = host.post("/api/entity/signal/Counter/none?op=add&at=NaN", "1").await;
    assert_eq!((none.status, none.text()), (400, "the time of the signal is not a number"));
    // Timers take the same times.
    for (id, at) in [("t-9999", "253402300799000"), ("t-huge", "1e308"), ("t-inf", "inf")] {
        host.start("TimerAt", id, &json!(at).to_string()).await;
        host.wait_for_status(id, "Running").await;
    }
    for (id, at) in [("t-zero", "0"), ("t-negative", "-1e308"), ("t-minus-inf", "-inf")] {
        host.start("TimerAt", id, &json!(at).to_string()).await;
        assert_eq!(host.output(id).await, at);
    }
    host.start("TimerAt", "t-nan", "\"NaN\"").await;
    let failed = host.wait_for_status("t-nan", "Failed").await;
    assert!(failed["output"].as_str().unwrap().contains("is not a number"), "{failed}");
    host.kill9();
    host.restart().await;
    for id in ["year-9999", "beyond", "huge", "infinite"] {
        assert_eq!(status(&host, id).await, "Pending");
        assert_eq!(host.post(&format!("{}/terminate", path(id)), "").await.status, 202);
    }
    for id in ["t-9999", "t-huge", "t-inf"] {
        let history = host.history(id).await;
        assert!(history[1]["FireAt"].as_str().unwrap().starts_with("9999-12-31T"), "{history:?}");
    }
}
