//! Failed instances that run on: only what failed runs again.

use serde_json::{Value, json};
use soloist_tests::{
    Answer, Host, Reply, Server, eventually,
    folder::AppCopy,
    instances::{is_final, path},
};

const FUNCTIONS: [&str; 9] =
    ["HttpStartSingle", "HttpClient", "Asks", "Ask", "Branches", "Counter", "Parent", "Noop", "WaitForApproval"];

/// A host, and two servers that its functions ask: one is fine, the other answers 503 until it is mended.
struct Stage {
    host: Host,
    fine: Server,
    fragile: Server,
    app: AppCopy,
}

impl Stage {
    async fn new() -> Self {
        Self::with(&FUNCTIONS).await
    }

    async fn with(functions: &[&str]) -> Self {
        let (fine, fragile) = (Server::start(Answer::ok("fine")).await, Server::start(Answer::unavailable()).await);
        let app = AppCopy::of(functions);
        let rules = [fine.address(), fragile.address()];
        let settings = json!({"version": "2.0", "extensions": {"soloist": {"outboundAllow": rules}}});
        app.write("host.json", settings.to_string());
        let host = Host::builder().app(app.path()).start().await;
        Self { host, fine, fragile, app }
    }

    fn mend(&self) {
        self.fragile.say(Answer::ok("mended"));
    }

    /// The input of an `Asks` that asks the first server `fine` times and the other `fragile` times.
    fn asks(&self, fine: usize, fragile: usize) -> Value {
        let urls = [vec![self.fine.url(); fine], vec![self.fragile.url(); fragile]].concat();
        json!({ "urls": urls })
    }

    /// How often each server was asked.
    fn asked(&self) -> (usize, usize) {
        (self.fine.requests().len(), self.fragile.requests().len())
    }

    async fn fail(&self, function: &str, id: &str, input: &Value) {
        self.host.start(function, id, &input.to_string()).await;
        self.host.wait_for_status(id, "Failed").await;
    }

    async fn rewind(&self, id: &str) -> Reply {
        self.host.post(&format!("{}/rewind?reason=mended", path(id)), "").await
    }

    async fn rewound(&self, id: &str) {
        let reply = self.rewind(id).await;
        assert_eq!((reply.status, reply.text()), (202, ""), "{id}");
    }
}

fn kinds(history: &[Value]) -> Vec<&str> {
    history.iter().map(|event| event["EventType"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn only_the_failed_steps_run_again() {
    let stage = Stage::new().await;
    stage.fail("Asks", "a", &stage.asks(3, 2)).await;
    assert_eq!(stage.asked(), (3, 2));
    let failed = stage.host.status("a").await;
    stage.mend();
    stage.rewound("a").await;
    assert_eq!(stage.host.output("a").await, json!(["fine", "fine", "fine", "mended", "mended"]));
    assert_eq!(stage.asked(), (3, 4));
    assert_eq!(stage.host.status("a").await["createdTime"], failed["createdTime"]);
    let history = stage.host.history("a").await;
    let kinds = kinds(&history);
    let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!((count("TaskCompleted"), count("TaskFailed"), count("ExecutionCompleted")), (5, 0, 1), "{kinds:?}");
    let rewound = history.iter().find(|event| event["EventType"] == "ExecutionRewound").unwrap();
    assert_eq!(rewound["Reason"], "mended");
    assert_eq!(stage.rewind("a").await.status, 410, "it has completed");
}

#[tokio::test]
async fn a_rewind_after_all_attempts_gives_all_attempts_again() {
    let stage = Stage::new().await;
    let mut input = stage.asks(1, 1);
    input["attempts"] = json!(3);
    stage.fail("Asks", "a", &input).await;
    assert_eq!(stage.asked(), (1, 3));
    stage.rewound("a").await;
    stage.host.wait_for_status("a", "Failed").await;
    assert_eq!(stage.asked(), (1, 6), "as it is not mended");
    stage.mend();
    stage.rewound("a").await;
    assert_eq!(stage.host.output("a").await, json!(["fine", "mended"]));
    assert_eq!(stage.asked(), (1, 7));
}

#[tokio::test]
async fn failed_children_and_grandchildren_are_rewound_with_their_parent() {
    let stage = Stage::new().await;
    let family = |child: &str, inputs: Value| json!({ "child": child, "inputs": inputs });
    let (good, bad) = (stage.asks(1, 0), stage.asks(1, 1));
    let input = family("Parent", json!([family("Asks", json!([good, bad]))]));
    stage.fail("Parent", "p", &input).await;
    eventually("the other grandchild is done", || async { (stage.asked().0 == 2).then_some(()) }).await;
    let before = stage.host.list("").await.len();
    stage.mend();
    stage.rewound("p").await;
    assert_eq!(stage.host.output("p").await, json!([[["fine"], ["fine", "mended"]]]));
    assert_eq!(stage.asked(), (2, 2), "what had completed did not run again, in no generation");
    let instances = stage.host.list("").await;
    assert_eq!(instances.len(), before, "the same instances went on");
    assert!(instances.iter().all(|instance| instance["runtimeStatus"] == "Completed"), "{instances:?}");
}

#[tokio::test]
async fn a_child_that_is_gone_is_started_again_and_one_that_was_rewound_before_is_believed() {
    let stage = Stage::new().await;
    for (id, child) in [("purged", "child-1"), ("by-itself", "child-2"), ("runs", "child-3")] {
        let input = json!({ "child": "Asks", "inputs": [stage.asks(1, 1)], "id": child });
        stage.fail("Parent", id, &input).await;
    }
    assert_eq!(stage.host.delete(&path("child-1")).await.status, 200);
    stage.mend();
    stage.rewound("child-2").await;
    assert_eq!(stage.host.output("child-2").await, json!(["fine", "mended"]));
    assert_eq!(stage.host.status("by-itself").await["runtimeStatus"], "Failed", "a late end disturbs nobody");
    let before = stage.asked();
    stage.rewound("by-itself").await;
    assert_eq!(stage.host.output("by-itself").await, json!([["fine", "mended"]]));
    assert_eq!(stage.asked(), before, "nothing had to run");
    stage.rewound("purged").await;
    assert_eq!(stage.host.output("purged").await, json!([["fine", "mended"]]));
    assert_eq!(stage.asked(), (before.0 + 1, before.1 + 1), "all of the new child");
    stage.fragile.say(Answer::Silence);
    stage.rewound("child-3").await;
    stage.rewound("runs").await;
    assert_eq!(stage.host.status("runs").await["runtimeStatus"], "Running", "it waits for the child that runs");
    assert_eq!(stage.rewind("child-3").await.status, 409);
}

#[tokio::test]
async fn a_child_that_could_not_be_started_is_started_once_it_can_be() {
    let mut stage = Stage::with(&["HttpStartSingle", "Parent", "Noop"]).await;
    let parent = json!({ "child": "Asks", "inputs": [stage.asks(1, 0)] });
    stage.fail("Parent", "p", &parent).await;
    for function in ["Asks", "Ask"] {
        let text = std::fs::read_to_string(soloist_tests::artifacts::test_app().join(function).join("function.json"));
        stage.app.write(&format!("{function}/function.json"), text.unwrap());
    }
    stage.host.kill9();
    stage.host.restart().await;
    stage.rewound("p").await;
    assert_eq!(stage.host.output("p").await, json!([["fine"]]));
}

#[tokio::test]
async fn kill_9_right_after_the_202_loses_nothing_of_a_rewind() {
    let mut stage = Stage::new().await;
    let input = json!({ "child": "Asks", "inputs": [stage.asks(1, 1), stage.asks(1, 1)] });
    let ids: Vec<String> = (0..5).map(|number| format!("p-{number}")).collect();
    for id in &ids {
        stage.fail("Parent", id, &input).await;
    }
    stage.mend();
    for id in &ids {
        stage.rewound(id).await;
        stage.host.kill9();
        stage.host.restart().await;
    }
    for id in &ids {
        assert_eq!(stage.host.output(id).await, json!([["fine", "mended"], ["fine", "mended"]]), "{id}");
    }
}

#[tokio::test]
async fn of_concurrent_rewinds_one_is_made_and_a_suspended_one_goes_on_when_it_is_resumed() {
    let stage = Stage::new().await;
    stage.fail("Asks", "a", &stage.asks(0, 1)).await;
    stage.fragile.say(Answer::Silence);
    let replies = futures::future::join_all((0..16).map(|_| stage.rewind("a"))).await;
    let mut codes: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    codes.sort_unstable();
    assert_eq!(codes[0], 202);
    assert!(codes[1..].iter().all(|code| *code == 409), "{codes:?}");
    let text = "The rewind operation is only supported on failed orchestration instances.";
    assert!(replies.iter().filter(|reply| reply.status == 409).all(|reply| reply.text().contains(text)));
    let operate = async |operation: &str| stage.host.post(&format!("{}/{operation}", path("a")), "").await.status;
    assert_eq!(operate("suspend").await, 202);
    assert_eq!(stage.rewind("a").await.status, 409);
    assert_eq!(operate("resume").await, 202);
    assert_eq!(operate("terminate").await, 202);
    assert_eq!(stage.rewind("a").await.status, 410);
}

#[tokio::test]
async fn functions_can_rewind_and_a_rewind_fights_with_restart_and_purge() {
    let stage = Stage::new().await;
    stage.fail("Asks", "f", &stage.asks(0, 1)).await;
    for round in 0..10 {
        let id = format!("r-{round}");
        stage.fail("Asks", &id, &stage.asks(0, 1)).await;
        let other = match round % 2 {
            0 => format!("{}/restart", path(&id)),
            _ => String::new(),
        };
        let against = async {
            if other.is_empty() { stage.host.delete(&path(&id)).await } else { stage.host.post(&other, "").await }
        };
        let (rewound, against) = tokio::join!(stage.rewind(&id), against);
        let codes = (rewound.status, against.status);
        assert!(matches!(codes.0, 202 | 404 | 409), "{codes:?}");
        assert!(matches!(codes.1, 200 | 202 | 404 | 409), "{codes:?}");
        if codes.1 == 200 && codes.0 != 202 {
            assert_eq!(stage.host.get(&path(&id)).await.status, 404, "it was purged, all of it");
        } else if codes.1 != 200 {
            let ended = || async { Some(stage.host.status(&id).await).filter(is_final) };
            eventually("it ends again", ended).await;
        }
    }
    stage.mend();
    let ask = async |id: &str| stage.host.post(&format!("/api/client/rewind/{id}"), "").await;
    assert_eq!(ask("f").await.status, 200);
    assert_eq!(stage.host.output("f").await, json!(["mended"]));
    assert_eq!((ask("f").await.status, ask("nobody").await.status), (410, 404));
}

#[tokio::test]
async fn a_branch_that_failed_early_runs_again_though_the_others_went_on_and_nothing_is_sent_twice() {
    let stage = Stage::new().await;
    let (fine, fragile) = (stage.fine.url(), stage.fragile.url());
    // The first branch has failed long before the others are done.
    let branches = json!([[fragile, fine], vec![&fine; 4], [&fine, &fragile, &fine]]);
    stage.fail("Branches", "b", &json!({ "branches": branches, "counter": "done" })).await;
    assert_eq!(stage.asked(), (5, 2));
    let signals = "/runtime/webhooks/durabletask/entities/counter/done";
    let signaled = || async { (stage.host.get(signals).await.text() == "1").then_some(()) };
    eventually("it has signaled", signaled).await;
    stage.rewound("b").await;
    stage.host.wait_for_status("b", "Failed").await;
    assert_eq!(stage.asked(), (5, 4), "what failed runs again, and nothing else");
    stage.mend();
    stage.rewound("b").await;
    let done = json!([["mended", "fine"], ["fine", "fine", "fine", "fine"], ["fine", "mended", "fine"]]);
    assert_eq!(stage.host.output("b").await, done);
    assert_eq!(stage.asked(), (7, 6));
    let history = stage.host.history("b").await;
    assert!(!kinds(&history).contains(&"TaskFailed"), "{:?}", kinds(&history));
    // An operation that is sent now comes behind whatever was sent before.
    let reply = stage.host.post(&format!("{signals}?op=add"), "10").await;
    assert_eq!(reply.status, 202);
    let all = || async { Some(stage.host.get(signals).await.text().to_owned()).filter(|text| text != "1") };
    assert_eq!(eventually("it has run", all).await, "11", "three runs to the end, one signal");
}
