//! `soloist durable`: the nine verbs of Azure's Core Tools.

use std::fs;

use serde_json::{Value, json};
use soloist_tests::{HostBuilder, eventually};

use crate::cli::{on, with_and_without_keys};

with_and_without_keys!(
    an_instance_is_managed_with_the_core_tools_verbs,
    instances_are_listed_page_by_page_and_purged,
    a_task_hub_is_emptied_after_asking,
);

async fn an_instance_is_managed_with_the_core_tools_verbs(host: HostBuilder) {
    let host = host.start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.json");
    fs::write(&file, "{\"ok\": [1.0]}").unwrap();
    let at_file = format!("@{}", file.display());
    let durable = |arguments: &[&str]| on(&host, &[&["durable"], arguments].concat());

    let started = durable(&["start-new", "--function-name", "WaitForApproval", "--id", "a", "--input", "+81"]).with(0);
    assert!(started.out.starts_with("Started 'WaitForApproval' at 2"), "{started:?}");
    assert!(started.out.ends_with("Z. Instance ID: 'a'.\n"), "{started:?}");
    let ignored = ["--connection-string-setting", "X", "--task-hub-name", "Y"];
    let status =
        durable(&[&["get-runtime-status", "--id", "a", "--show-input", "true"], &ignored[..]].concat()).with(0);
    assert_eq!(status.json()["input"], "+81", "{status:?}");
    assert!(status.out.starts_with("{\n  \"name\": \"WaitForApproval\",\n"), "{status:?}");
    assert_eq!(durable(&["get-runtime-status", "--id", "a"]).with(0).json()["input"], Value::Null);

    let raised = durable(&["raise-event", "--id", "a", "--event-name", "Approval", "--event-data", &at_file]).with(0);
    assert_eq!(raised.out, "Raised event 'Approval' to instance 'a'.\n");
    host.output("a").await;
    let status = durable(&["get-runtime-status", "--id", "a", "--show-output"]).with(0);
    assert_eq!(status.json()["output"], json!({ "ok": [1.0] }));
    let history = durable(&["get-history", "--id", "a"]).with(0);
    assert_eq!(history.json()[0]["EventType"], "ExecutionStarted");

    durable(&["start-new", "--function-name", "WaitForApproval", "--id", "b"]).with(0);
    durable(&["raise-event", "--id", "b"]).with(0);
    assert_eq!(durable(&["terminate", "--id", "b"]).with(0).out, "Successfully terminated 'b'\n");
    let output = durable(&["get-runtime-status", "--id", "b", "--show-output"]).with(0).json()["output"].clone();
    assert_eq!(output, "Instance termination.");
    durable(&["start-new", "--function-name", "AlwaysFails", "--id", "f"]).with(0);
    on(&host, &["instances", "wait", "f"]).with(1);
    let rewound = durable(&["rewind", "--id", "f"]).with(0);
    assert!(rewound.out.contains("Status before rewind: Failed\nStatus after rewind: "), "{rewound:?}");

    let missing = durable(&["get-runtime-status", "--id", "x"]).with(3);
    assert_eq!(missing.err, "error: Could not find an orchestration instance with id 'x'\n");
    let missing = durable(&["terminate", "--id", "x", "--format", "json"]).with(3);
    assert_eq!(missing.error()["message"], "Failed to find instance 'x'. No instance was terminated.");
    durable(&["start-new"]).with(2);
    durable(&["raise-event", "--id", "a", "--event-data", "@/no/such/file"]).with(2);
}

async fn instances_are_listed_page_by_page_and_purged(host: HostBuilder) {
    let host = host.start().await;
    for number in 0..25 {
        host.start("Noop", &format!("n{number:02}"), "").await;
        host.output(&format!("n{number:02}")).await;
    }
    host.start("WaitForApproval", "live", "").await;
    let durable = |arguments: &[&str]| on(&host, &[&["durable"], arguments].concat());
    let page = durable(&["get-instances", "--format", "json"]).with(0).json();
    assert_eq!(page["instances"].as_array().unwrap().len(), 10);
    let token = page["continuationToken"].as_str().unwrap();
    let rest = durable(&["get-instances", "--format", "json", "--top", "100", "--continuation-token", token]).json();
    assert_eq!((rest["instances"].as_array().unwrap().len(), &rest["continuationToken"]), (16, &json!("")));
    let text = durable(&["get-instances", "--top", "2"]).with(0);
    assert!(text.out.contains("\nContinuation token for next set of results: '"), "{text:?}");
    let running =
        durable(&["get-instances", "--runtime-status", "running", "pending", "--created-after", "01/31/2020"]);
    assert_eq!(running.with(0).out.matches("\"instanceId\"").count(), 1);
    let none = durable(&["get-instances", "--created-before", "1/31/2020", "7:35", "PM"]).with(0);
    assert!(none.out.starts_with("[]\n"), "{none:?}");

    let refused = durable(&["purge-history", "--runtime-status", "completed failed"]).with(2);
    assert!(refused.err.contains("Delete 25 ended instances") && refused.err.contains("--yes"), "{refused:?}");
    let none = durable(&["purge-history", "--runtime-status", "running", "--yes"]).with(0);
    assert!(none.out.ends_with("Instances deleted: 0\n"), "{none:?}");
    let purged = durable(&["purge-history", "--runtime-status", "completed", "--created-after", "2020-01-31", "--yes"]);
    let purged = purged.with(0);
    assert!(purged.out.contains("between '2020-01-31T00:00:00Z' and"), "{purged:?}");
    assert!(purged.out.contains("one of the following: [Completed]\nInstances deleted: 25\n"), "{purged:?}");
    assert_eq!(host.list("").await.len(), 1);
    durable(&["purge-history", "--runtime-status", "bogus", "--yes"]).with(2);
}

async fn a_task_hub_is_emptied_after_asking(host: HostBuilder) {
    let host = host.start().await;
    for id in ["a", "b", "🎉 %"] {
        on(&host, &["instances", "start", "WaitForApproval", "--id", id]).with(0);
    }
    on(&host, &["instances", "start", "Noop", "--wait"]).with(0);
    on(&host, &["entities", "signal", "Counter", "k", "add", "--input", "1"]).with(0);
    eventually("the counter is there", || async {
        (on(&host, &["entities", "show", "Counter", "k"]).code == 0).then_some(())
    })
    .await;
    let refused = on(&host, &["durable", "delete-task-hub", "--task-hub-name", "X"]).with(2);
    assert!(refused.err.contains("Terminate 3 live instances and delete 4 instances and 1 entities"), "{refused:?}");
    assert_eq!(host.list("").await.len(), 4);
    let deleted = on(&host, &["durable", "delete-task-hub", "--task-hub-name", "X", "--yes"]).with(0);
    assert_eq!(deleted.out, "Task hub 'X' successfully deleted.\n");
    assert!(host.list("").await.is_empty());
    on(&host, &["entities", "show", "Counter", "k"]).with(3);
    let again = on(&host, &["durable", "delete-task-hub", "--yes", "--format", "json"]).with(0);
    assert_eq!(again.json(), json!({ "instancesDeleted": 0, "entitiesDeleted": 0 }));
}
