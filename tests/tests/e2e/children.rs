//! Orchestrations that start others: as children whose results they wait for, or on their own.

use std::time::Duration;

use serde_json::{Value, json};
use soloist::{
    ambient::{Ambient as _, System},
    durable::Timestamp,
};
use soloist_tests::{Host, eventually, instances::path};

fn parent(child: &str, inputs: Value) -> String {
    json!({ "child": child, "inputs": inputs }).to_string()
}

/// The ids of the instances that are not `parent`.
async fn children_of(host: &Host, parent: &str) -> Vec<String> {
    let list = host.list("").await;
    let ids = list.iter().map(|instance| instance["instanceId"].as_str().unwrap().to_owned());
    ids.filter(|id| id != parent).collect()
}

#[tokio::test]
async fn a_parent_gets_the_outputs_of_its_children_in_its_own_order() {
    let host = Host::start_default().await;
    let inputs = json!([{ "token": 1 }, { "token": "two" }, { "token": [3] }]);
    host.start("Parent", "p", &parent("Echo", inputs.clone())).await;
    assert_eq!(host.output("p").await, inputs);
    let events = host.history("p").await;
    let completed = |event: &&Value| event["EventType"] == "SubOrchestrationInstanceCompleted";
    assert_eq!(events.iter().filter(completed).count(), 3);
    assert_eq!(children_of(&host, "p").await.len(), 3);
}

#[tokio::test]
async fn a_child_that_fails_fails_its_parent_once_its_attempts_are_used_up() {
    let host = Host::start_default().await;
    let input = json!({ "child": "AlwaysFails", "inputs": [null], "attempts": 3 });
    host.start("Parent", "p", &input.to_string()).await;
    host.wait_for_status("p", "Failed").await;
    let output = host.status("p").await["output"].as_str().unwrap().to_owned();
    assert!(output.contains("this orchestration always fails"), "{output}");
    let children = children_of(&host, "p").await;
    assert_eq!(children.len(), 3, "each attempt is an instance of its own: {children:?}");
}

#[tokio::test]
async fn children_pass_the_gate() {
    let host = Host::start_default().await;
    host.start("Eternal", "taken", "").await;
    host.wait_for_status("taken", "Running").await;
    let input = json!({ "child": "Noop", "inputs": [null], "id": "taken" });
    host.start("Parent", "p", &input.to_string()).await;
    host.wait_for_status("p", "Failed").await;
    let output = host.status("p").await["output"].as_str().unwrap().to_owned();
    assert!(output.contains("An Orchestration instance with the status Running already exists."), "{output}");
    assert_eq!(host.status("taken").await["runtimeStatus"], "Running");
    host.start("Parent", "q", &parent("Nowhere", json!([null]))).await;
    host.wait_for_status("q", "Failed").await;
    host.start("Parent", "self", &json!({ "child": "Noop", "inputs": [null], "id": "self" }).to_string()).await;
    host.wait_for_status("self", "Failed").await;
}

#[tokio::test]
async fn a_child_that_is_terminated_is_a_failure_of_its_parent() {
    let host = Host::start_default().await;
    let input = json!({ "child": "WaitForApproval", "inputs": [null], "id": "child" });
    host.start("Parent", "p", &input.to_string()).await;
    eventually("the child exists", || async { (host.get(&path("child")).await.status == 202).then_some(()) }).await;
    assert_eq!(host.post(&format!("{}/terminate?reason=enough", path("child")), "").await.status, 202);
    host.wait_for_status("p", "Failed").await;
    let output = host.status("p").await["output"].as_str().unwrap().to_owned();
    assert!(output.contains("enough"), "{output}");
}

#[tokio::test]
async fn a_parent_can_be_terminated_with_its_children() {
    let host = Host::start_default().await;
    let waits = json!({ "child": "WaitForApproval", "inputs": [null], "id": "grandchild" });
    host.start("Parent", "p", &json!({ "child": "Parent", "inputs": [waits], "id": "child" }).to_string()).await;
    let exists = || async { (host.get(&path("grandchild")).await.status == 202).then_some(()) };
    eventually("the grandchild exists", exists).await;
    assert_eq!(host.post("/api/client/terminateWithChildren/p", "").await.status, 200);
    for id in ["p", "child", "grandchild"] {
        assert_eq!(host.status(id).await["runtimeStatus"], "Terminated", "{id}");
    }
}

#[tokio::test]
async fn a_detached_start_is_answered_with_its_decision() {
    let host = Host::start_default().await;
    host.start("Detaches", "a", "\"free\"").await;
    assert_eq!(host.output("a").await, "free");
    host.wait_for_status("free", "Completed").await;
    host.start("Eternal", "taken", "").await;
    host.start("Detaches", "b", "\"taken\"").await;
    host.wait_for_status("b", "Failed").await;
}

#[tokio::test]
async fn children_and_parents_find_each_other_after_a_crash() {
    let mut host = Host::start_default().await;
    for n in 0..10 {
        let input = json!({ "child": "WaitForApproval", "inputs": [null], "id": format!("child-{n}") });
        host.start("Parent", &format!("parent-{n}"), &input.to_string()).await;
    }
    host.kill9();
    host.restart().await;
    for n in 0..10 {
        let child = format!("child-{n}");
        // The parent's start was acknowledged, its child's first turn was not.
        eventually("the child exists", || async { (host.get(&path(&child)).await.status == 202).then_some(()) }).await;
        host.raise(&child, "Approval", &n.to_string()).await;
        if n == 5 {
            host.kill9();
            host.restart().await;
        }
    }
    for n in 0..10 {
        assert_eq!(host.output(&format!("parent-{n}")).await, json!([n]));
    }
}

#[tokio::test]
async fn a_child_with_an_id_of_its_own_is_attempted_again_under_it() {
    let mut host = Host::start_default().await;
    let input = json!({ "child": "Decides", "inputs": [null], "id": "child", "attempts": 3 });
    host.start("Parent", "p", &input.to_string()).await;
    let mut executions = Vec::new();
    for decision in ["false", "false", "true"] {
        let execution = eventually("the next attempt runs", || async {
            let reply = host.get(&format!("{}?showHistory=true", path("child"))).await;
            let is_running = reply.status == 202 && reply.json()["runtimeStatus"] == "Running";
            let started = is_running.then(|| reply.json()["historyEvents"][0]["Timestamp"].clone())?;
            (!executions.contains(&started)).then_some(started)
        })
        .await;
        executions.push(execution);
        if decision == "true" {
            host.kill9();
            host.restart().await;
        }
        assert_eq!(host.raise("child", "Decision", decision).await.status, 202);
    }
    host.output("p").await;
    assert_eq!(children_of(&host, "p").await, ["child"]);
    let history = host.history("p").await;
    let ends: Vec<_> = history.iter().filter(|event| event["InstanceId"] == "child").collect();
    assert_eq!(ends.len(), 1, "{history:?}");
    assert_eq!(ends[0]["EventType"], "SubOrchestrationInstanceCompleted");
}

/// Checks that `later` has not begun if it is too early for that.
async fn never_early(host: &Host, earliest: Timestamp) {
    let status = host.status("later").await;
    assert!(status["runtimeStatus"] == "Pending" || System.now() >= earliest, "{status}");
}

#[tokio::test]
async fn a_detached_start_may_lie_ahead() {
    let mut host = Host::start_default().await;
    let earliest = System.now().plus(Duration::from_millis(2_500));
    host.start("Schedules", "s", r#"{"id":"later","inMs":2500}"#).await;
    assert_eq!(host.output("s").await, "later");
    never_early(&host, earliest).await;
    host.kill9();
    host.restart().await;
    never_early(&host, earliest).await;
    // Its starter's end means nothing to it.
    host.raise("later", "Approval", "1").await;
    assert_eq!(host.output("later").await, 1);
    assert!(System.now() >= earliest, "it has ended early");
    let history = host.history("later").await;
    assert!(history[0]["ScheduledStartTime"].is_string(), "{history:?}");
    host.start("Schedules", "never", &json!({"id": "far", "inMs": u64::MAX}).to_string()).await;
    host.output("never").await;
    assert_eq!(host.status("far").await["runtimeStatus"], "Pending");
}

#[tokio::test]
async fn a_deep_nest_of_children_is_terminated_as_a_whole_or_completes() {
    const DEPTH: usize = 200;
    let host = Host::start_default().await;
    for (id, ends) in [("terminated", true), ("completes", false)] {
        host.start("Nest", id, &DEPTH.to_string()).await;
        let innermost = || async {
            let list = host.list("").await;
            let waits = list.iter().filter(|instance| instance["runtimeStatus"] == "Running");
            let found = list.iter().find(|instance| instance["runtimeStatus"] == "Running" && instance["input"] == 0);
            let id = found?["instanceId"].as_str().unwrap().to_owned();
            (waits.count() == DEPTH + 1).then_some(id)
        };
        let innermost = eventually("all are there", innermost).await;
        if ends {
            let reply = host.post(&format!("/api/client/terminateWithChildren/{id}"), "").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let list = host.list("").await;
            assert!(list.iter().all(|instance| instance["runtimeStatus"] == "Terminated"), "once it has answered");
            assert_eq!(list.len(), DEPTH + 1);
        } else {
            host.raise(&innermost, "Go", "1").await;
            assert_eq!(host.output(id).await, DEPTH);
        }
    }
}

#[tokio::test]
async fn a_nest_that_grows_without_end_is_terminated_as_a_whole() {
    let host = Host::start_default().await;
    let count = async |statuses: &[&str]| {
        let list = host.list("").await;
        list.iter().filter(|instance| statuses.contains(&instance["runtimeStatus"].as_str().unwrap())).count()
    };
    let live = async || count(&["Pending", "Running"]).await;
    for (id, depth) in [("first", 100), ("second", 1)] {
        host.start("Matryoshka", id, "0").await;
        eventually("it grows", || async { (live().await > depth).then_some(()) }).await;
        let reply = host.post(&format!("/api/client/terminateWithChildren/{id}"), "").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(live().await, 0, "it does not outrun who ends it");
    }
    assert!(count(&["Terminated"]).await > 100);
}

#[tokio::test]
async fn an_instance_that_took_a_childs_id_is_not_ended_with_the_parent() {
    let host = Host::start_default().await;
    let input = json!({"child": "WaitForApproval", "inputs": [null], "id": "mine"});
    host.start("Parent", "parent", &input.to_string()).await;
    eventually("its child is there", || async { (!host.list("mine").await.is_empty()).then_some(()) }).await;
    assert_eq!(host.post(&format!("{}/suspend", path("parent")), "").await.status, 202);
    host.raise("mine", "Approval", "1").await;
    host.output("mine").await;
    // Its parent has not taken the answer, and waits for it.
    host.start("Eternal", "mine", "").await;
    assert_eq!(host.post("/api/client/terminateWithChildren/parent", "").await.status, 200);
    assert_eq!(host.status("parent").await["runtimeStatus"], "Terminated");
    host.wait_for_status("mine", "Running").await;
}
