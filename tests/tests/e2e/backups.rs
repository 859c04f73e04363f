//! A backup of a host that goes on meanwhile, and what is restored from it.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use soloist_tests::{Client, Host, artifacts, eventually};

async fn soloist(command: &str, file: &Path, data: &Path) -> Output {
    let mut command = {
        let mut run = Command::new(artifacts::soloist());
        run.arg(command).arg(file).arg("--data").arg(data).stdin(Stdio::null());
        run
    };
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Starts one orchestration after the other until told to stop; returns how many.
async fn keep_starting(client: Client, stop: Arc<AtomicBool>, starter: usize) -> usize {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return number;
        }
        let (function, input) = match number % 3 {
            0 => ("Chain", json!({"token": number, "steps": 5})),
            1 => ("Collect", json!({"token": number, "can": 1})),
            _ => ("Timer", json!({"token": number, "ms": 300})),
        };
        let id = format!("load-{starter}-{number}");
        client.start(function, &id, &input.to_string()).await;
        // So that all of it can be looked at in the end, in every copy.
        tokio::time::sleep(Duration::from_millis(5)).await;
        if function == "Collect" {
            assert_eq!(client.raise(&id, "Evt", "1").await.status, 202);
        }
    }
    unreachable!("the numbers do not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole_and_its_instances_go_on_elsewhere() {
    let mut host = Host::start_default().await;
    let folder = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let starters: Vec<_> =
        (0..4).map(|starter| tokio::spawn(keep_starting(host.client(), stop.clone(), starter))).collect();
    for number in 0..20 {
        host.start("Collect", &format!("gathers-{number}"), r#"{"token":1,"can":2}"#).await;
        for event in 0..5 {
            host.raise(&format!("gathers-{number}"), "Evt", &event.to_string()).await;
        }
    }
    host.start("Timer", "sleeps", r#"{"token":"s","ms":4000}"#).await;
    host.start("Parent", "parent", r#"{"child":"WaitForApproval","inputs":[null],"id":"child"}"#).await;
    eventually("the child exists", || async { (!host.list("child").await.is_empty()).then_some(()) }).await;
    // What is acknowledged before the backup begins is in it.
    let before: Vec<_> = host.list("").await.iter().map(|status| status["instanceId"].clone()).collect();
    let files: Vec<_> = (0..3).map(|number| folder.path().join(format!("backup-{number}"))).collect();
    for file in &files {
        let made = soloist("backup", file, &host.data()).await;
        assert!(made.status.success(), "{made:?}");
    }
    let refused = soloist("backup", &files[0], &host.data()).await;
    assert!(!refused.status.success(), "a file that exists is not replaced unasked");
    stop.store(true, Ordering::Relaxed);
    for starter in starters {
        assert!(starter.await.unwrap() > 0);
    }
    // The host itself has noticed nothing.
    host.raise("child", "Approval", "\"here\"").await;
    assert_eq!(host.output("parent").await, json!(["here"]));
    host.stop().await;
    for (number, file) in files.iter().enumerate() {
        let data = folder.path().join(format!("data-{number}"));
        let restored = soloist("restore", file, &data).await;
        assert!(restored.status.success(), "{restored:?}");
        let host = Host::builder().data(&data).start().await;
        let there: Vec<_> = host.list("").await.iter().map(|status| status["instanceId"].clone()).collect();
        assert!(before.iter().all(|id| there.contains(id)), "{number}: {} of {}", there.len(), before.len());
        for gathers in 0..20 {
            let id = format!("gathers-{gathers}");
            host.raise(&id, "Evt", "\"END\"").await;
            assert_eq!(host.output(&id).await["events"], json!([0, 1, 2, 3, 4]), "{id}");
        }
        host.raise("child", "Approval", "\"there\"").await;
        assert_eq!(host.output("parent").await, json!(["there"]));
        assert_eq!(host.output("sleeps").await["token"], "s");
        for id in there.iter().filter_map(|id| id.as_str()).filter(|id| id.starts_with("load-")) {
            if host.status(id).await["name"] == "Collect" {
                assert_eq!(host.raise(id, "Evt", "\"END\"").await.status, 202);
            }
            host.output(id).await;
        }
        // While it is in use nothing is restored over it.
        let busy = soloist("restore", file, &data).await;
        assert!(!busy.status.success(), "{busy:?}");
    }
}
