//! What an orchestrator learns of itself: the same in every replay, and shown when a turn is committed.

use std::time::Duration;

use serde_json::{Value, json};
use soloist_tests::{Host, eventually, instances::path};

/// Waits until a `Diary` shows so many entries; returns them.
async fn entries(host: &Host, id: &str, wanted: usize) -> Value {
    eventually("the entries are shown", || async {
        let shown = host.status(id).await["customStatus"].clone();
        if shown.as_array().map_or(0, Vec::len) == wanted { Ok(shown) } else { Err(shown) }
    })
    .await
}

/// How often the host's runs logged an entry.
fn logged(host: &Host, id: &str, entry: usize) -> usize {
    let line = format!("entry {entry} of {id}");
    host.logs().iter().map(|log| log.matches(&line).count()).sum()
}

#[tokio::test]
async fn guids_and_times_stay_over_replay_and_the_log_is_silent_meanwhile() {
    let mut host = Host::start_default().await;
    host.start("Diary", "d", "").await;
    let mut shown = json!([]);
    for round in 1..=3 {
        let now = entries(&host, "d", round).await;
        assert_eq!(now.as_array().unwrap()[..round - 1], shown.as_array().unwrap()[..], "earlier entries stay");
        shown = now;
        if round < 3 {
            // So that a replay that showed the present time would be found out.
            tokio::time::sleep(Duration::from_millis(30)).await;
            host.kill9();
            host.restart().await;
        }
        host.raise("d", "Next", "1").await;
    }
    let diary = host.output("d").await;
    assert_eq!(diary["entries"], shown);
    let guids: Vec<&Value> =
        shown.as_array().unwrap().iter().flat_map(|entry| entry["guids"].as_array().unwrap()).collect();
    for (index, guid) in guids.iter().enumerate() {
        let text = guid.as_str().unwrap();
        assert!(text.len() == 36 && text.as_bytes()[14] == b'5', "a GUID of version 5: {text}");
        assert!(!guids[..index].contains(guid), "{guids:?}");
    }
    let times: Vec<&str> = shown.as_array().unwrap().iter().map(|entry| entry["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    // The last guest replayed the first two entries; the third one as well, if guests do not stay between turns.
    assert!(diary["replayed"] == 2 || diary["replayed"] == 3, "{diary}");
    assert_eq!(diary["isReplaying"], false);
    for entry in 0..3 {
        assert_eq!(logged(&host, "d", entry), 1, "entry {entry}");
    }
    let known = ["instanceId", "name", "version", "parent"].map(|key| diary[key].clone());
    assert_eq!(known, [json!("d"), json!("Diary"), Value::Null, Value::Null]);
}

#[tokio::test]
async fn each_execution_has_guids_of_its_own() {
    let host = Host::start_default().await;
    let mut seen: Vec<Value> = Vec::new();
    for id in ["a", "b", "a"] {
        host.start("Diary", id, "").await;
        let guids = entries(&host, id, 1).await[0]["guids"].clone();
        assert!(!seen.contains(&guids), "{guids}");
        seen.push(guids);
        host.post(&format!("{}/terminate", path(id)), "").await;
    }
}

#[tokio::test]
async fn a_version_and_a_parent_are_known_to_the_code() {
    let host = Host::start_default().await;
    let start = "/runtime/webhooks/durabletask/orchestrators/Diary/v?version=2.1";
    assert_eq!(host.post(start, "").await.status, 202);
    let input = json!({"child": "Diary", "inputs": [null], "id": "child"});
    host.start("Parent", "p", &input.to_string()).await;
    for id in ["v", "child"] {
        eventually("it exists", || async { (host.get(&path(id)).await.status == 202).then_some(()) }).await;
        for _ in 0..3 {
            host.raise(id, "next", "null").await;
        }
    }
    assert_eq!(host.output("v").await["version"], "2.1");
    assert_eq!(host.output("p").await[0]["parent"], "p");
}

#[tokio::test]
async fn a_custom_status_holds_16_kb_of_utf_16_and_no_more() {
    let host = Host::start_default().await;
    // Each with its quotes is 8,192 units of UTF-16: the limit. In bytes of UTF-8 they differ.
    for (name, text, times) in [("ascii", "x", 8_190), ("umlaut", "\u{e4}", 8_190), ("emoji", "\u{1f600}", 4_095)] {
        let input = |times: usize| json!({"text": text, "times": times}).to_string();
        host.start("SetsStatus", name, &input(times)).await;
        host.output(name).await;
        assert_eq!(host.status(name).await["customStatus"], text.repeat(times), "{name}");
        let over = format!("{name}-over");
        host.start("SetsStatus", &over, &input(times + 1)).await;
        let failed = host.wait_for_status(&over, "Failed").await;
        let text =
            "The UTF-16 size of the JSON-serialized payload must not exceed 16 KB. The current payload size is 17 KB.";
        assert_eq!(failed["output"], format!("Orchestrator function 'SetsStatus' failed: {text}"));
        assert_eq!(failed["customStatus"], Value::Null);
    }
}

#[tokio::test]
async fn an_event_is_waited_for_as_long_as_the_code_says() {
    let mut host = Host::start_default().await;
    host.start("Patience", "late", "300").await;
    host.start("Patience", "early", "100000").await;
    host.start("Patience", "down", "1500").await;
    host.wait_for_status("down", "Running").await;
    host.raise("early", "a", "1").await;
    host.kill9();
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    host.restart().await;
    for id in ["late", "early", "down"] {
        eventually("the timer fired, or is gone", || async {
            let history = host.history(id).await;
            let kinds: Vec<_> = history.iter().map(|event| event["EventType"].as_str().unwrap().to_owned()).collect();
            kinds.iter().any(|kind| kind == "TimerFired" || kind == "EventRaised").then_some(())
        })
        .await;
        // Too late for the first wait; nobody receives it.
        host.raise(id, "A", "2").await;
        host.raise(id, "B", "3").await;
    }
    assert_eq!(host.output("late").await, json!([null, 3]));
    assert_eq!(host.output("early").await, json!([1, 3]));
    assert_eq!(host.output("down").await, json!([null, 3]));
}
