//! The management API, as clients of Durable Functions know it.

use serde_json::{Value, json};
use soloist_tests::{
    Host, eventually,
    instances::{MANAGEMENT, path},
};

/// `yyyy-MM-ddTHH:mm:ssZ`, with digits where letters stand.
fn is_time(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(is, wanted)| if wanted == b'0' { is.is_ascii_digit() } else { is == wanted })
}

#[tokio::test]
async fn a_status_has_its_eight_members_and_the_code_of_its_state() {
    let host = Host::start_default().await;
    host.start("WaitForApproval", "a", "{\"x\":1.0}").await;
    host.wait_for_status("a", "Running").await;
    let target = format!("{}?showInput=true&code=ignored", path("a"));
    let running = host.get(&target).await;
    assert_eq!((running.status, running.header("retry-after")), (202, "5"));
    assert_eq!(running.header("location"), format!("http://{}{target}", host.address()));
    assert_eq!(running.header("content-type"), "application/json; charset=utf-8");
    let status = running.json();
    let keys: Vec<_> = status.as_object().unwrap().keys().map(String::as_str).collect();
    let mut wanted =
        ["name", "instanceId", "runtimeStatus", "input", "customStatus", "output", "createdTime", "lastUpdatedTime"];
    wanted.sort_unstable();
    assert_eq!(keys, wanted);
    for time in ["createdTime", "lastUpdatedTime"] {
        assert!(is_time(status[time].as_str().unwrap(), "0000-00-00T00:00:00Z"), "{status}");
    }
    assert_eq!(host.get(&format!("{}?showInput=False", path("a"))).await.json()["input"], Value::Null);

    host.raise("a", "Approval", "1").await;
    host.wait_for_status("a", "Completed").await;
    let completed = host.get(&path("a")).await;
    assert_eq!((completed.status, completed.header("location"), completed.header("retry-after")), (200, "", ""));

    host.start("AlwaysFails", "f", "").await;
    host.wait_for_status("f", "Failed").await;
    assert_eq!(host.get(&path("f")).await.status, 200);
    assert_eq!(host.get(&format!("{}?returnInternalServerErrorOnFailure=true", path("f"))).await.status, 500);
    for unknown in ["b", "A", "a%2Fb", "%40x"] {
        let unknown = host.get(&path(unknown)).await;
        assert_eq!((unknown.status, unknown.text()), (404, ""));
    }
}

#[tokio::test]
async fn a_history_is_shown_when_asked_for() {
    let host = Host::start_default().await;
    host.start("E1_HelloSequence", "h", "\"in\"").await;
    host.wait_for_status("h", "Completed").await;
    let events = |query: &str| {
        let target = format!("{}?showHistory=true{query}", path("h"));
        let host = host.client();
        async move { host.get(&target).await.json()["historyEvents"].as_array().unwrap().clone() }
    };
    let plain = events("&showInput=false").await;
    let kinds: Vec<_> = plain.iter().map(|event| event["EventType"].as_str().unwrap()).collect();
    let wanted = ["ExecutionStarted", "TaskCompleted", "TaskCompleted", "TaskCompleted", "ExecutionCompleted"];
    assert_eq!(kinds, wanted);
    for event in &plain {
        assert!(is_time(event["Timestamp"].as_str().unwrap(), "0000-00-00T00:00:00.0000000Z"), "{event}");
        assert!(event.get("Input").is_none() && event.get("Result").is_none(), "{event}");
    }
    assert_eq!(
        (&plain[0]["FunctionName"], &plain[1]["FunctionName"]),
        (&json!("E1_HelloSequence"), &json!("E1_SayHello"))
    );
    let full = events("&showHistoryOutput=true").await;
    assert_eq!((&full[0]["Input"], &full[1]["Input"]), (&json!("in"), &json!("Tokyo")));
    assert_eq!(full[1]["Result"], "Hello Tokyo!");
    assert_eq!(full[4]["Result"], json!(["Hello Tokyo!", "Hello Seattle!", "Hello London!"]));
    assert!(host.get(&path("h")).await.json().get("historyEvents").is_none());
}

#[tokio::test]
async fn an_orchestration_can_be_started_and_waited_for() {
    let host = Host::start_default().await;
    let start = |tail: &str| format!("{MANAGEMENT}/orchestrators/{tail}");
    let reply = host.post(&start("WaitForApproval/a"), "7").await;
    assert_eq!((reply.status, reply.header("retry-after")), (202, "10"));
    assert_eq!(reply.json()["id"], "a");
    assert_eq!(reply.json()["statusQueryGetUri"], reply.header("location"));
    assert_eq!(host.status("a").await["input"], 7);

    let exists = host.post(&start("WaitForApproval/a"), "8").await;
    host.wait_for_status("a", "Running").await;
    assert_eq!(exists.status, 409);
    assert_eq!(exists.json()["Message"], "Something went wrong while processing your request");
    let text = exists.json()["ExceptionMessage"].as_str().unwrap().to_owned();
    let of_status = |status: &str| format!("An Orchestration instance with the status {status} already exists.");
    assert!(text == of_status("Pending") || text == of_status("Running"), "{text}");

    for (tail, body, message, exception) in [
        (
            "Nowhere/b",
            "",
            "One or more of the arguments submitted is incorrect",
            "The function 'Nowhere' doesn't exist",
        ),
        (
            "Noop/%40b",
            "",
            "One or more of the arguments submitted is incorrect",
            "Orchestration instance ids must not start with @.",
        ),
        ("Noop/b", "{", "Invalid JSON content", ""),
    ] {
        let reply = host.post(&start(tail), body).await;
        assert_eq!((reply.status, &reply.json()["Message"]), (400, &json!(message)), "{tail}");
        assert!(reply.json()["ExceptionMessage"].as_str().unwrap().starts_with(exception), "{reply:?}");
    }
    let waited = host.post(&start("E1_HelloSequence?timeout=200&pollingInterval=0.05"), "").await;
    assert_eq!((waited.status, waited.text()), (200, r#"["Hello Tokyo!","Hello Seattle!","Hello London!"]"#));
    let late = host.post(&start("Eternal?timeout=0.3&pollingInterval=0.1"), "").await;
    assert_eq!(late.status, 202);
    assert_eq!(host.post(&start("Noop?timeout=1&pollingInterval=2"), "").await.status, 400);
    assert_eq!(host.list("").await.len(), 3);
}

#[tokio::test]
async fn instances_are_listed_by_prefix_status_and_page() {
    let host = Host::start_default().await;
    for index in 0..5 {
        host.start("Eternal", &format!("live-{index}"), &index.to_string()).await;
        host.start("Noop", &format!("done-{index}"), "").await;
    }
    for index in 0..5 {
        host.wait_for_status(&format!("live-{index}"), "Running").await;
        host.wait_for_status(&format!("done-{index}"), "Completed").await;
    }
    let ids = |reply: &soloist_tests::Reply| -> Vec<String> {
        assert_eq!(reply.status, 200);
        let list = reply.json();
        list.as_array().unwrap().iter().map(|status| status["instanceId"].as_str().unwrap().to_owned()).collect()
    };
    let list = |query: &str| format!("{MANAGEMENT}/instances?{query}");
    let all = host.get(&list("")).await;
    assert_eq!((ids(&all).len(), all.header("x-ms-continuation-token")), (10, ""));
    assert!(all.headers.contains_key("x-ms-continuation-token"), "always there");
    let live: Vec<String> = (0..5).map(|index| format!("live-{index}")).collect();
    assert_eq!(ids(&host.get(&list("instanceIdPrefix=live-")).await), live);
    assert_eq!(ids(&host.get(&list("runtimeStatus=running,Pending")).await), live);
    assert_eq!(ids(&host.get(&list("runtimeStatus=Running&runtimeStatus=Completed")).await).len(), 10);
    assert_eq!(ids(&host.get(&list("runtimeStatus=Failed")).await), [] as [&str; 0]);
    assert_eq!(host.get(&list("instanceIdPrefix=nobody")).await.text(), "[]");
    let inputs = host.get(&list("instanceIdPrefix=live-4&showInput=true")).await.json();
    assert_eq!(inputs[0]["input"], 4);
    assert_eq!(host.get(&list("instanceIdPrefix=live-4&showInput=false")).await.json()[0]["input"], Value::Null);

    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let headers = [("x-ms-continuation-token", token.as_str())];
        let page = host.send("GET", &list("top=2&instanceIdPrefix=live"), &headers, "").await;
        assert!(ids(&page).len() <= 2);
        found.extend(ids(&page));
        pages += 1;
        token = page.header("x-ms-continuation-token").to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((found, pages >= 3), (live, true));
    let forged = host.send("GET", &list(""), &[("x-ms-continuation-token", "nonsense")], "").await;
    assert_eq!(forged.status, 400, "{forged:?}");
}

#[tokio::test]
async fn events_are_refused_where_they_cannot_be_taken() {
    let host = Host::start_default().await;
    host.start("WaitForApproval", "a", "").await;
    let target = format!("{}/raiseEvent/Approval", path("a"));
    let not_json = host.send("POST", &target, &[("content-type", "text/plain")], "1").await;
    assert_eq!(not_json.status, 400);
    assert_eq!(not_json.json(), json!({"Message": "Only application/json request content is supported"}));
    let malformed = host.post(&target, "{").await;
    assert_eq!((malformed.status, &malformed.json()["Message"]), (400, &json!("Invalid JSON content")));
    let unknown = host.raise("b", "Approval", "1").await;
    assert_eq!((unknown.status, unknown.text()), (404, ""));
    assert_eq!(host.raise("a", "approval", "{\"ok\":true}").await.status, 202);
    assert_eq!(host.output("a").await, json!({"ok": true}));
    let gone = host.raise("a", "Approval", "{").await;
    assert_eq!((gone.status, gone.text()), (410, ""));
}

#[tokio::test]
async fn a_terminated_instance_is_ended_at_the_next_look() {
    let host = Host::start_default().await;
    for (function, input) in [("Eternal", ""), ("Sleepers", r#"{"n":3,"ms":3000}"#), ("Collect", r#"{"token":1}"#)] {
        host.start(function, function, input).await;
        let terminate = format!("{}/terminate?reason=no%20more", path(function));
        let reply = host.post(&terminate, "").await;
        assert_eq!((reply.status, reply.text()), (202, ""));
        let status = host.get(&path(function)).await;
        assert_eq!(status.status, 200);
        assert_eq!(
            (&status.json()["runtimeStatus"], &status.json()["output"]),
            (&json!("Terminated"), &json!("no more"))
        );
        let again = host.post(&terminate, "").await;
        assert_eq!((again.status, again.text()), (410, ""));
        assert_eq!(host.raise(function, "Evt", "1").await.status, 410);
    }
    assert_eq!(host.post(&format!("{}/terminate", path("nobody")), "").await.status, 404);
    assert_eq!(host.get(&format!("{}/terminate", path("Eternal"))).await.status, 404, "a wrong method");
}

#[tokio::test]
async fn only_ended_instances_are_purged() {
    let mut host = Host::start_default().await;
    host.start("WaitForApproval", "a", "").await;
    host.wait_for_status("a", "Running").await;
    let live = host.delete(&path("a")).await;
    assert_eq!(live.status, 409);
    let text = "Cannot purge the orchestration instance a because instance is in the Running state.";
    assert_eq!(live.json()["ExceptionMessage"], text);
    host.raise("a", "Approval", "1").await;
    host.wait_for_status("a", "Completed").await;
    let purged = host.delete(&path("a")).await;
    assert_eq!((purged.status, purged.json()), (200, json!({"instancesDeleted": 1})));
    for _ in 0..2 {
        let again = host.delete(&path("a")).await;
        assert_eq!((again.status, again.text()), (404, ""));
        assert_eq!(host.get(&path("a")).await.status, 404);
        assert_eq!(host.list("").await.len(), 0);
        host.kill9();
        host.restart().await;
    }
    // Once means once for ever, unless it was purged.
    assert_eq!(host.post("/api/once/Noop/a", "").await.status, 202);
    host.wait_for_status("a", "Completed").await;
}

#[tokio::test]
async fn who_waits_for_an_end_is_told_at_once_whatever_the_interval() {
    let host = Host::start_default().await;
    let wait = "timeout=500&pollingInterval=500";
    let start = format!("{MANAGEMENT}/orchestrators/WaitForApproval/a?{wait}");
    let restart = format!("{}/restart?{wait}&restartWithNewInstanceId=false", path("a"));
    // Were there polls, the second one would come after this client's patience.
    let (waited, ()) = tokio::join!(host.post(&start, ""), async {
        eventually("it is there", || async { (host.get(&path("a")).await.status == 202).then_some(()) }).await;
        assert_eq!(host.raise("a", "Approval", "[1.0]").await.status, 202);
    });
    assert_eq!((waited.status, waited.text()), (200, "[1.0]"));
    let (waited, ()) = tokio::join!(host.post(&restart, ""), async {
        eventually("it runs again", || async { (host.get(&path("a")).await.status == 202).then_some(()) }).await;
        assert_eq!(host.post(&format!("{}/terminate?reason=enough", path("a")), "").await.status, 202);
    });
    assert_eq!((waited.status, &waited.json()["runtimeStatus"]), (200, &json!("Terminated")));
    let target = format!("{MANAGEMENT}/orchestrators/AlwaysFails?{wait}&returnInternalServerErrorOnFailure=true");
    let failed = host.post(&target, "").await;
    assert_eq!((failed.status, &failed.json()["runtimeStatus"]), (500, &json!("Failed")));
    let counts =
        host.post(&format!("{MANAGEMENT}/orchestrators/WaitForApproval/b?timeout=0.2&pollingInterval=0.1"), "").await;
    assert_eq!((counts.status, &counts.json()["id"]), (202, &json!("b")));
}

#[tokio::test]
async fn a_raw_history_leaves_nothing_out() {
    let host = Host::start_default().await;
    host.start("E1_HelloSequence", "h", "\"in\"").await;
    host.wait_for_status("h", "Completed").await;
    let status = host.get(&format!("{}?showRawHistory=true", path("h"))).await.json();
    let events = status["historyEvents"].as_array().unwrap();
    assert_eq!(status["history"], status["historyEvents"]);
    let kinds: Vec<_> = events.iter().map(|event| event["EventType"].as_str().unwrap()).collect();
    let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count();
    for (kind, times) in [
        ("ExecutionStarted", 1),
        ("OrchestratorStarted", 4),
        ("TaskScheduled", 3),
        ("TaskCompleted", 3),
        ("ExecutionCompleted", 1),
        ("OrchestratorCompleted", 4),
    ] {
        assert_eq!(count(kind), times, "{kind}: {kinds:?}");
    }
    let scheduled: Vec<_> = events.iter().filter(|event| event["EventType"] == "TaskScheduled").collect();
    for (number, event) in scheduled.iter().enumerate() {
        assert_eq!(event["EventId"], number, "actions are numbered without a gap");
        let end = events.iter().find(|event| event["TaskScheduledId"] == number).unwrap();
        assert!(end["EventType"] == "TaskCompleted" && end["EventId"] == -1, "{end}");
    }
}

#[tokio::test]
async fn conflicts_have_azures_code_where_the_app_says_so() {
    let host = Host::builder().set("extensions.soloist.azureStatusCodes", "true").start().await;
    let start = format!("{MANAGEMENT}/orchestrators/WaitForApproval/a");
    assert_eq!(host.post(&start, "").await.status, 202);
    host.wait_for_status("a", "Running").await;
    let again = host.post(&start, "").await;
    assert_eq!(again.status, 500);
    assert_eq!(again.json()["ExceptionMessage"], "An Orchestration instance with the status Running already exists.");
    assert_eq!(host.post(&format!("{}/resume", path("a")), "").await.status, 500);
    assert_eq!(host.get(&path("b")).await.status, 404);
}
