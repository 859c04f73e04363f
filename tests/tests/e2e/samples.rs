//! The sample app does what its documentation says.

use serde_json::json;
use soloist_tests::{Host, artifacts, eventually};

async fn sample_host() -> Host {
    let app = tokio::task::spawn_blocking(artifacts::sample_app).await.unwrap();
    Host::builder().app(app).start().await
}

#[tokio::test]
async fn the_singleton_sample_runs_once_at_a_time() {
    let mut host = sample_host().await;
    assert!(!host.printed().contains("excluded:"), "{}", host.printed());
    for _ in 0..2 {
        host.start("E1_HelloSequence", "hello", "").await;
        assert_eq!(host.output("hello").await, json!(["Hello Tokyo!", "Hello Seattle!", "Hello London!"]));
    }
    let job = r#"{"pages":4,"pauseSeconds":1}"#;
    host.start("SyncCatalog", "catalog", job).await;
    let taken = host.post("/api/orchestrators/SyncCatalog/catalog", job).await;
    assert_eq!((taken.status, taken.text()), (409, "An instance with ID 'catalog' already exists."));
    eventually("the job shows how far it is", || async {
        (host.status("catalog").await["customStatus"]["page"] == 2).then_some(())
    })
    .await;
    host.kill9();
    host.restart().await;
    assert_eq!(host.post("/api/orchestrators/SyncCatalog/catalog", job).await.status, 409);
    let items = host.output("catalog").await;
    let status = host.status("catalog").await;
    assert_eq!(status["customStatus"], json!({ "page": 4, "of": 4, "items": items }));
    // A finished one may be started again; under `once` never.
    host.start("E1_HelloSequence", "catalog", "").await;
    host.output("catalog").await;
    assert_eq!(host.post("/api/once/E1_HelloSequence/catalog", "").await.status, 409);
}

#[tokio::test]
async fn the_other_samples_run() {
    let host = sample_host().await;
    let started = host.post("/api/orchestrators/E2_BackupSiteContent", r#"{"site":"example.net"}"#).await;
    assert_eq!(started.status, 202, "{started:?}");
    let id = started.json()["id"].as_str().unwrap().to_owned();
    assert!(host.output(&id).await.as_u64().unwrap() > 0);
    host.start("E4_Approval", "approval", "").await;
    host.wait_for_status("approval", "Running").await;
    assert_eq!(host.raise("approval", "ApprovalEvent", "true").await.status, 202);
    assert_eq!(host.output("approval").await, "approved");
}
