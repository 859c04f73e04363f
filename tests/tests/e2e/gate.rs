//! The singleton gate: of any number of starts of one id exactly one is accepted.

use serde_json::json;
use soloist_tests::{Client, Host, Reply};

fn single(id: &str) -> String {
    format!("/api/orchestrators/WaitForApproval/{id}")
}

fn already_exists(id: &str) -> String {
    format!("An instance with ID '{id}' already exists.")
}

/// Posts at once; each body says who it is. Replies that did not come are left out.
async fn race(client: &Client, target: &str, racers: usize) -> Vec<(usize, Reply)> {
    let racers: Vec<_> = (0..racers)
        .map(|racer| {
            let (client, target) = (client.clone(), target.to_owned());
            tokio::spawn(async move { (racer, client.try_post(&target, format!("{{\"racer\": {racer}}}")).await) })
        })
        .collect();
    let mut replies = Vec::new();
    for racer in racers {
        let (racer, reply) = racer.await.unwrap();
        replies.extend(reply.ok().map(|reply| (racer, reply)));
    }
    replies
}

/// Checks that at most one was accepted and everyone else was told; returns who won.
fn winner(id: &str, replies: &[(usize, Reply)]) -> Option<usize> {
    let mut winner = None;
    for (racer, reply) in replies {
        match reply.status {
            202 => assert_eq!(winner.replace(*racer), None, "two were accepted for {id}"),
            409 => {
                assert_eq!(reply.text(), already_exists(id));
                assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
            }
            _ => panic!("{id}: {reply:?}"),
        }
    }
    winner
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_concurrent_starts_of_one_id_exactly_one_is_accepted() {
    let host = Host::start_default().await;
    let replies = race(&host, &single("one"), 1_000).await;
    assert_eq!(replies.len(), 1_000);
    let winner = winner("one", &replies).expect("one was accepted");
    assert_eq!(host.status("one").await["input"], json!({ "racer": winner }));
    // While it runs nobody else gets in.
    let replies = race(&host, &single("one"), 1_000).await;
    assert_eq!(self::winner("one", &replies), None);
    assert_eq!(replies.len(), 1_000);
    assert_eq!(host.status("one").await["input"], json!({ "racer": winner }));
    assert_eq!(host.list("").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_holds_across_kill_9() {
    let mut host = Host::start_default().await;
    let mut winners: Vec<(String, Option<usize>)> = Vec::new();
    for round in 0..5_u64 {
        // Races of several ids, in the midst of which the host is killed.
        let client = host.client();
        let races: Vec<_> = (0..8)
            .map(|index| {
                let (id, client) = (format!("r{round}-{index}"), client.clone());
                tokio::spawn(async move {
                    let replies = race(&client, &single(&id), 100).await;
                    (winner(&id, &replies), id)
                })
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(20 + 60 * round)).await;
        host.kill9();
        for race in races {
            let (winner, id) = race.await.unwrap();
            winners.push((id, winner));
        }
        host.restart().await;
        for (id, winner) in &mut winners {
            let late = self::winner(id, &race(&host, &single(id), 20).await);
            match (*winner, late) {
                (Some(_), Some(_)) => panic!("{id} was accepted twice"),
                (Some(first), None) => assert_eq!(host.status(id).await["input"], json!({ "racer": first })),
                (None, Some(late)) => *winner = Some(late),
                // Started, but its winner was not told before the kill.
                (None, None) => assert_eq!(host.status(id).await["name"], "WaitForApproval"),
            }
        }
    }
    assert_eq!(host.list("").await.len(), 40);
    for (id, winner) in &winners {
        assert_eq!(host.raise(id, "Approval", "1").await.status, 202);
        let status = host.wait_for_status(id, "Completed").await;
        assert!(winner.is_none_or(|winner| status["input"] == json!({ "racer": winner })), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_instance_may_be_started_again_by_one() {
    let host = Host::start_default().await;
    for (function, status) in [("Noop", "Completed"), ("AlwaysFails", "Failed")] {
        host.start(function, function, "1").await;
        host.wait_for_status(function, status).await;
        host.start(function, function, "2").await;
        assert_eq!(host.wait_for_status(function, status).await["input"], 2);
    }
    host.start("Eternal", "ended", "").await;
    host.post(&format!("{}/terminate?reason=x", soloist_tests::instances::path("ended")), "").await;
    host.wait_for_status("ended", "Terminated").await;
    let replies = race(&host, &single("ended"), 100).await;
    let winner = winner("ended", &replies).expect("one was accepted");
    let status = host.wait_for_status("ended", "Running").await;
    assert_eq!((&status["name"], &status["input"]), (&json!("WaitForApproval"), &json!({ "racer": winner })));
    // Of the first life nothing is left: an event of the second ends it.
    host.raise("ended", "Approval", "2").await;
    assert_eq!(host.output("ended").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_means_once_for_ever() {
    let mut host = Host::start_default().await;
    let replies = race(&host, "/api/once/Noop/only", 100).await;
    let winner = winner("only", &replies).expect("one was accepted");
    assert_eq!(host.wait_for_status("only", "Completed").await["input"], json!({ "racer": winner }));
    let again = host.post("/api/once/Noop/only", "").await;
    assert_eq!((again.status, again.text()), (409, already_exists("only").as_str()));
    host.kill9();
    host.restart().await;
    assert_eq!(host.post("/api/once/Noop/only", "").await.status, 409);
    assert_eq!(host.status("only").await["input"], json!({ "racer": winner }));
}

#[tokio::test]
async fn any_state_replaces_what_runs() {
    let setting = "extensions.durableTask.overridableExistingInstanceStates";
    let host = Host::builder().set(setting, "AnyState").start().await;
    host.start("WaitForApproval", "id", "1").await;
    host.wait_for_status("id", "Running").await;
    host.raise("id", "Other", "\"of the first\"").await;
    host.start("Collect", "id", r#"{"token":2}"#).await;
    host.start("Collect", "id", r#"{"token":3}"#).await;
    host.raise("id", "Evt", "\"END\"").await;
    assert_eq!(host.output("id").await, json!({"token": 3, "events": []}));
    assert_eq!(host.list("").await.len(), 1);
    // The binding's own policy goes first.
    assert_eq!(host.post("/api/once/Noop/id", "").await.status, 409);
}
