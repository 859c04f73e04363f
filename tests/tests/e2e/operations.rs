//! What operators do to instances: suspend, resume, restart, purge by a filter.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use soloist_tests::{
    Host, Reply, SPANS_MS, eventually,
    instances::{MANAGEMENT, path},
};

async fn operate(host: &Host, id: &str, operation: &str) -> Reply {
    host.post(&format!("{}/{operation}", path(id)), "").await
}

async fn accepted(host: &Host, id: &str, operation: &str) {
    let reply = operate(host, id, operation).await;
    assert_eq!((reply.status, reply.text()), (202, ""), "{operation} {id}");
}

/// Checks that an operation is refused with 409 and this text.
async fn conflicts(host: &Host, id: &str, operation: &str, text: &str) {
    let reply = operate(host, id, operation).await;
    assert_eq!(reply.status, 409, "{reply:?}");
    assert_eq!(reply.json()["Message"], "Something went wrong while processing your request");
    assert_eq!(reply.json()["ExceptionMessage"], text);
}

async fn status(host: &Host, id: &str) -> String {
    host.status(id).await["runtimeStatus"].as_str().unwrap().to_owned()
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_suspended_instance_is_seen_so_at_once_and_goes_on_where_it_was() {
    let mut host = Host::start_default().await;
    host.start("WaitForApproval", "a", "").await;
    host.wait_for_status("a", "Running").await;
    conflicts(
        &host,
        "a",
        "resume",
        "Cannot resume the orchestration instance a because instance is in the Running state.",
    )
    .await;
    accepted(&host, "a", "suspend?reason=look%20first").await;
    let seen = host.get(&path("a")).await;
    assert_eq!((seen.status, &seen.json()["runtimeStatus"]), (202, &json!("Suspended")));
    let twice = "Cannot suspend the orchestration instance a because instance is in the Suspended state.";
    conflicts(&host, "a", "suspend", twice).await;
    assert_eq!(host.raise("a", "Approval", r#"{"n": 1.0}"#).await.status, 202);
    a_while().await;
    assert_eq!(status(&host, "a").await, "Suspended");
    host.kill9();
    host.restart().await;
    a_while().await;
    assert_eq!(status(&host, "a").await, "Suspended", "after a crash, too");
    conflicts(&host, "a", "suspend", twice).await;
    accepted(&host, "a", "resume").await;
    assert_eq!(host.output("a").await, json!({"n": 1.0}));
    let history = host.history("a").await;
    let held = history.iter().find(|event| event["EventType"] == "ExecutionSuspended");
    assert_eq!(held.unwrap_or_else(|| panic!("{history:?}"))["Reason"], "look first");
    for operation in ["suspend", "resume"] {
        assert_eq!(operate(&host, "a", operation).await.status, 410);
        assert_eq!(operate(&host, "nobody", operation).await.status, 404);
    }
}

#[tokio::test]
async fn what_arrives_during_a_suspension_is_taken_after_it_in_order() {
    arrivals(&Host::start_default().await).await;
}

#[tokio::test]
async fn without_resident_guests_what_arrives_during_a_suspension_is_taken_too() {
    arrivals(&Host::builder().without_residents().start().await).await;
}

/// Starts an instance that waits for a while, and suspends it meanwhile; returns when the wait is over, and how many milliseconds it
/// takes.
async fn held_while_it_waits(host: &Host, function: &str, id: &str, input: impl Fn(u64) -> String) -> (Instant, u64) {
    for ms in SPANS_MS {
        host.start(function, id, &input(ms)).await;
        host.wait_for_begin(id).await;
        // Once its first turn is over: an activity has been asked for.
        eventually("it waits", || async { (host.history_len(id).await > 0).then_some(()) }).await;
        if operate(host, id, "suspend").await.status == 202 {
            return (Instant::now() + Duration::from_millis(ms), ms);
        }
        // This machine needs a longer wait.
        host.output(id).await;
    }
    panic!("{id} is always over before it is suspended");
}

async fn arrivals(host: &Host) {
    host.start("Collect", "c", r#"{"token":"c","can":4}"#).await;
    let (timer_over, timer_ms) =
        held_while_it_waits(host, "Timer", "t", |ms| json!({"token": "t", "ms": ms}).to_string()).await;
    let (sleeps_over, _) = held_while_it_waits(host, "Sleepers", "s", |ms| json!({"n": 2, "ms": ms}).to_string()).await;
    for number in 0..15 {
        match number {
            5 => accepted(host, "c", "suspend").await,
            10 => accepted(host, "c", "resume").await,
            _ => {}
        }
        assert_eq!(host.raise("c", "Evt", &number.to_string()).await.status, 202);
    }
    host.raise("c", "Evt", "\"END\"").await;
    assert_eq!(host.output("c").await["events"], json!((0..15).collect::<Vec<_>>()));
    tokio::time::sleep_until((timer_over.max(sleeps_over) + Duration::from_millis(200)).into()).await;
    for id in ["t", "s"] {
        assert_eq!(status(host, id).await, "Suspended", "{id}");
        accepted(host, id, "resume").await;
    }
    assert_eq!(host.output("t").await, json!({"token": "t", "ms": timer_ms}));
    assert_eq!(host.output("s").await, 2);
}

#[tokio::test]
async fn an_activity_that_ends_during_a_suspension_survives_kill_9() {
    let mut host = Host::start_default().await;
    let (over, _) = held_while_it_waits(&host, "Sleepers", "s", |ms| json!({"n": 1, "ms": ms}).to_string()).await;
    tokio::time::sleep_until((over + Duration::from_millis(200)).into()).await;
    host.kill9();
    host.restart().await;
    assert_eq!(status(&host, "s").await, "Suspended");
    accepted(&host, "s", "resume").await;
    assert_eq!(host.output("s").await, 1);
    let history = host.history("s").await;
    assert_eq!(history.iter().filter(|event| event["EventType"] == "TaskCompleted").count(), 1, "{history:?}");
}

#[tokio::test]
async fn a_suspended_instance_can_be_terminated() {
    let host = Host::start_default().await;
    host.start("Collect", "c", r#"{"token":1}"#).await;
    accepted(&host, "c", "suspend").await;
    host.raise("c", "Evt", "\"END\"").await;
    accepted(&host, "c", "terminate?reason=enough").await;
    let ended = host.status("c").await;
    assert_eq!((&ended["runtimeStatus"], &ended["output"]), (&json!("Terminated"), &json!("enough")));
    assert_eq!(operate(&host, "c", "resume").await.status, 410);
    a_while().await;
    assert_eq!(status(&host, "c").await, "Terminated");
}

#[tokio::test]
async fn a_start_is_held_if_it_is_suspended_at_once() {
    let host = Host::start_default().await;
    for number in 0..10 {
        let id = format!("s-{number}");
        host.start("Progress", &id, r#"{"steps":2}"#).await;
        accepted(&host, &id, "suspend").await;
        host.raise(&id, "Next", "1").await;
        host.raise(&id, "next", "2").await;
        assert_eq!(status(&host, &id).await, "Suspended");
        accepted(&host, &id, "resume").await;
        assert_eq!(host.output(&id).await, 2);
        assert_eq!(host.status(&id).await["customStatus"], json!({"done": 2, "of": 2}));
    }
}

#[tokio::test]
async fn progress_is_seen_as_it_is_made() {
    let host = Host::start_default().await;
    host.start("Progress", "p", r#"{"steps":3}"#).await;
    for done in 0..3 {
        let wanted = json!({"done": done, "of": 3});
        soloist_tests::eventually("the status is set", || async {
            (host.status("p").await["customStatus"] == wanted).then_some(())
        })
        .await;
        host.raise("p", "Next", "null").await;
    }
    assert_eq!(host.output("p").await, 3);
}

#[tokio::test]
async fn a_restart_runs_the_same_input_again_under_a_new_id() {
    let mut host = Host::start_default().await;
    let input = r#"{"b" : 1.0}"#;
    host.start("WaitForApproval", "a", input).await;
    host.raise("a", "Approval", "1").await;
    host.wait_for_status("a", "Completed").await;
    let reply = operate(&host, "a", "restart").await;
    assert_eq!((reply.status, reply.header("retry-after")), (202, "10"));
    let links = reply.json();
    let id = links["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(links["statusQueryGetUri"], reply.header("location"));
    host.kill9();
    host.restart().await;
    host.wait_for_status(&id, "Running").await;
    assert!(host.get(&path(&id)).await.text().contains(&format!(r#""input":{input},"#)), "as it was written");
    host.raise(&id, "Approval", "2").await;
    assert_eq!((host.output(&id).await, host.output("a").await), (json!(2), json!(1)));
    // A live one may be copied, too; and the caller may wait.
    host.start("Eternal", "live", "").await;
    assert_eq!(operate(&host, "live", "restart?restartWithNewInstanceId=True").await.status, 202);
    host.start("E1_HelloSequence", "hello", "").await;
    let waited = operate(&host, "hello", "restart?timeout=200&pollingInterval=0.05").await;
    assert_eq!((waited.status, waited.json()[0].as_str()), (200, Some("Hello Tokyo!")));
    let unknown = operate(&host, "nobody", "restart").await;
    assert_eq!(unknown.status, 400);
    let text = "An orchestrastion with the instanceId nobody was not found.";
    assert_eq!(unknown.json()["ExceptionMessage"], text);
}

#[tokio::test]
async fn a_restart_under_the_same_id_begins_afresh() {
    const SAME: &str = "restart?restartWithNewInstanceId=false";
    let mut host = Host::start_default().await;
    host.start("Collect", "c", r#"{"token":"t","can":2}"#).await;
    host.wait_for_status("c", "Running").await;
    conflicts(&host, "c", SAME, "An Orchestration instance with the status Running already exists.").await;
    accepted(&host, "c", "suspend").await;
    conflicts(&host, "c", SAME, "An Orchestration instance with the status Suspended already exists.").await;
    // What the ended execution was sent and did not take is not the next one's.
    host.raise("c", "Evt", "\"old\"").await;
    accepted(&host, "c", "terminate").await;
    let reply = operate(&host, "c", SAME).await;
    assert_eq!((reply.status, &reply.json()["id"]), (202, &json!("c")));
    host.kill9();
    host.restart().await;
    host.wait_for_status("c", "Running").await;
    assert_eq!(host.status("c").await["output"], Value::Null);
    host.raise("c", "Evt", "\"new\"").await;
    host.raise("c", "Evt", "\"END\"").await;
    assert_eq!(host.output("c").await, json!({"token": "t", "events": ["new"]}));
    assert_eq!(host.list("").await.len(), 1);
    for id in ["f", "n"] {
        host.start(if id == "f" { "AlwaysFails" } else { "Noop" }, id, "").await;
        let end = if id == "f" { "Failed" } else { "Completed" };
        host.wait_for_status(id, end).await;
        assert_eq!(operate(&host, id, SAME).await.status, 202);
        host.wait_for_status(id, end).await;
    }
}

/// One instance in every state that there is at rest, each named for it.
async fn one_in_each_state(host: &Host) {
    for (function, id) in [
        ("Noop", "Completed"),
        ("AlwaysFails", "Failed"),
        ("Eternal", "Terminated"),
        ("Eternal", "Running"),
        ("Eternal", "Suspended"),
    ] {
        host.start(function, id, "").await;
        match id {
            "Terminated" => accepted(host, id, "terminate").await,
            "Suspended" => accepted(host, id, "suspend").await,
            _ => drop(host.wait_for_status(id, id).await),
        }
    }
}

async fn ids(host: &Host) -> Vec<String> {
    host.list("").await.iter().map(|status| status["instanceId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_purge_by_filter_deletes_ended_instances_and_never_a_live_one() {
    let mut host = Host::start_default().await;
    one_in_each_state(&host).await;
    let purge = async |host: &Host, query: &str| {
        let reply = host.delete(&format!("{MANAGEMENT}/instances?{query}")).await;
        match reply.status {
            200 => reply.json()["instancesDeleted"].as_u64().unwrap(),
            404 => {
                assert_eq!(reply.text(), "");
                0
            }
            _ => panic!("{reply:?}"),
        }
    };
    let from = "createdTimeFrom=2020-01-01T00:00:00Z";
    let missing = host.delete(&format!("{MANAGEMENT}/instances?runtimeStatus=Completed")).await;
    assert_eq!(missing.status, 400);
    assert_eq!(missing.text(), r#""Please provide value for 'createdTimeFrom' parameter.""#);
    assert_eq!(purge(&host, &format!("{from}&createdTimeTo=2021-01-01")).await, 0);
    assert_eq!(purge(&host, "createdTimeFrom=2999-01-01").await, 0);
    assert_eq!(purge(&host, &format!("{from}&runtimeStatus=Running,Suspended,Pending")).await, 0);
    assert_eq!(purge(&host, &format!("{from}&runtimeStatus=Nonsense")).await, 0);
    assert_eq!(ids(&host).await, ["Completed", "Failed", "Terminated", "Running", "Suspended"]);
    assert_eq!(purge(&host, &format!("{from}&runtimeStatus=failed,Running")).await, 1);
    assert_eq!(ids(&host).await, ["Completed", "Terminated", "Running", "Suspended"]);
    assert_eq!(purge(&host, from).await, 2);
    assert_eq!(ids(&host).await, ["Running", "Suspended"]);
    assert_eq!(purge(&host, from).await, 0);
    assert_eq!(host.get(&path("Completed")).await.status, 404);
    host.kill9();
    host.restart().await;
    assert_eq!(ids(&host).await, ["Running", "Suspended"]);
    accepted(&host, "Suspended", "resume").await;
    host.wait_for_status("Suspended", "Running").await;
}

#[tokio::test]
async fn many_instances_are_purged_over_all_pages() {
    let host = Host::start_default().await;
    for number in 0..1200 {
        let name = if number % 100 == 0 { "Eternal" } else { "Noop" };
        host.start(name, &format!("i-{number}"), "").await;
    }
    for number in 0..1200 {
        let end = if number % 100 == 0 { "Running" } else { "Completed" };
        host.wait_for_status(&format!("i-{number}"), end).await;
    }
    let reply = host.delete(&format!("{MANAGEMENT}/instances/?createdTimeFrom=2020-01-01")).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"instancesDeleted": 1188})));
    assert_eq!(ids(&host).await.len(), 12);
}

#[tokio::test]
async fn a_rewind_is_refused_by_the_instances_state() {
    let host = Host::start_default().await;
    one_in_each_state(&host).await;
    for (id, code) in [
        ("Completed", 410),
        ("Terminated", 410),
        ("Running", 409),
        ("Suspended", 409),
        ("Failed", 202),
        ("nobody", 404),
    ] {
        assert_eq!(operate(&host, id, "rewind").await.status, code, "{id}");
    }
}

#[tokio::test]
async fn functions_can_do_the_same() {
    let host = Host::start_default().await;
    let ask = async |operation: &str, id: &str| host.post(&format!("/api/client/{operation}/{id}"), "").await;
    host.start("WaitForApproval", "a", "7").await;
    assert_eq!(ask("suspend", "a").await.status, 200);
    assert_eq!(status(&host, "a").await, "Suspended");
    let again = ask("suspend", "a").await;
    assert_eq!(again.status, 409);
    let text = "Cannot suspend the orchestration instance a because instance is in the Suspended state.";
    assert!(again.text().contains(text), "{again:?}");
    assert_eq!(ask("resume", "a").await.status, 200);
    assert_eq!(ask("restart", "a").await.status, 409);
    host.raise("a", "Approval", "1").await;
    host.wait_for_status("a", "Completed").await;
    assert_eq!((ask("suspend", "a").await.status, ask("suspend", "nobody").await.status), (410, 404));
    let history = ask("history", "a").await.json();
    let kinds: Vec<&Value> = history.as_array().unwrap().iter().map(|event| &event["EventType"]).collect();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), (&json!("ExecutionStarted"), &json!("ExecutionCompleted")));
    assert_eq!((history[0].get("Input"), &history[kinds.len() - 1]["Result"]), (None, &json!(1)));
    assert_eq!(ask("history", "nobody").await.json(), Value::Null);

    let new = ask("restartWithNewId", "a").await.json().as_str().unwrap().to_owned();
    assert_eq!(host.status(&new).await["input"], 7);
    assert_eq!((ask("restart", "a").await.status, ask("restart", "nobody").await.status), (200, 404));
    host.raise("a", "Approval", "2").await;
    assert_eq!(host.output("a").await, 2);
    assert_eq!(ask("purgeSince", "a").await.json(), 1);
    assert_eq!(ids(&host).await, [new]);
}
