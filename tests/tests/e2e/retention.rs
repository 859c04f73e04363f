//! Instances go once their retention has ended, and no others.

use serde_json::json;
use soloist_tests::{Host, eventually, instances::path};

async fn until_gone(host: &Host, id: &str) {
    eventually(&format!("instance {id} is purged"), || async {
        (host.get(&path(id)).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_instances_are_purged_by_age_and_a_live_one_never() {
    let host = Host::builder()
        .set("extensions.soloist.retention.completed", "00:00:02")
        .set("extensions.soloist.retention.terminated", "00:00:01")
        .start()
        .await;
    host.start("WaitForApproval", "lives", "").await;
    host.start("AlwaysFails", "failed", "").await;
    host.wait_for_status("failed", "Failed").await;
    for number in 0..150 {
        host.start("Echo", &format!("echo-{number}"), r#"{"token":1}"#).await;
    }
    host.start("WaitForApproval", "terminated", "").await;
    assert_eq!(host.post(&format!("{}/terminate?reason=enough", path("terminated")), "").await.status, 202);
    until_gone(&host, "terminated").await;
    for number in 0..150 {
        until_gone(&host, &format!("echo-{number}")).await;
    }
    assert_eq!(host.status("failed").await["runtimeStatus"], "Failed", "nothing was said about failed ones");
    // Older than all that went.
    assert_eq!(host.status("lives").await["runtimeStatus"], "Running");
    host.post(&format!("{}/raiseEvent/Approval", path("lives")), "true").await;
    until_gone(&host, "lives").await;
    host.start("Echo", "echo-0", r#"{"token":2}"#).await;
    assert_eq!(host.output("echo-0").await, json!({ "token": 2 }), "the id is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expired_while_the_host_was_dead_goes_when_it_is_back() {
    let mut host = Host::builder().set("extensions.soloist.retention.completed", "00:00:01").start().await;
    host.start("WaitForApproval", "lives", "").await;
    host.start("Noop", "noop", "").await;
    host.kill9();
    host.restart().await;
    until_gone(&host, "noop").await;
    host.wait_for_status("lives", "Running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_that_is_no_time_span_keeps_the_host_from_starting() {
    let refused = Host::builder().set("extensions.soloist.retention.failed", "soon").refused().await;
    let said = String::from_utf8_lossy(&refused.stderr);
    let wanted = "retention.failed must be a time span of at least a second as [d.]hh:mm:ss (7.00:00:00 is seven days), \
                  or -1 for ever, not 'soon'";
    assert!(!refused.status.success() && said.contains(wanted), "{said}");
    assert!(said.contains("AzureFunctionsJobHost__extensions__soloist__retention__failed"), "{said}");
}
