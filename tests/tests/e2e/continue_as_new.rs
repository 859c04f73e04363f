//! Continue-as-new: no event is lost, doubled or moved, whatever happens in between.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use soloist_tests::{Client, Host, instances};

/// Instances that gather at a time; instance `n` continues as new after every `n` events.
const INSTANCES: u32 = 4;
/// How often the host is killed.
const KILLS: usize = 6;

/// What one instance was sent: the next number, and the numbers whose 202 has been read.
#[derive(Clone, Debug, Default)]
struct Sent {
    next: u32,
    acknowledged: Vec<u32>,
}

type Streams = Arc<Mutex<BTreeMap<u32, Sent>>>;

fn id(can: u32) -> String {
    format!("can-{can}")
}

/// Sends an instance ascending numbers until the host is gone. A number whose answer was lost is not sent again.
async fn send(client: Client, streams: Streams, can: u32) {
    loop {
        let number = {
            let mut streams = streams.lock().unwrap();
            let sent = streams.entry(can).or_default();
            sent.next += 1;
            sent.next - 1
        };
        let target = format!("{}/raiseEvent/Evt", instances::path(&id(can)));
        let Ok(reply) = client.try_post(&target, number.to_string()).await else { return };
        assert_eq!(reply.status, 202, "{reply:?}");
        streams.lock().unwrap().get_mut(&can).unwrap().acknowledged.push(number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_continue_as_new_and_kill_9_once_and_in_order() {
    gathers(Host::start_default().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_resident_guests_events_survive_continue_as_new_too() {
    gathers(Host::builder().without_residents().start().await).await;
}

async fn gathers(mut host: Host) {
    for can in 1..=INSTANCES {
        host.start("Collect", &id(can), &json!({"token": can, "can": can}).to_string()).await;
    }
    let streams = Streams::default();
    for kill in 0..=KILLS {
        let sends = (1..=INSTANCES).map(|can| tokio::spawn(send(host.client(), streams.clone(), can)));
        let sends: Vec<_> = sends.collect();
        tokio::time::sleep(Duration::from_millis(30 + RandomState::new().hash_one(kill) % 300)).await;
        host.kill9();
        for send in sends {
            send.await.unwrap();
        }
        host.restart().await;
    }
    let streams = std::mem::take(&mut *streams.lock().unwrap());
    for (can, sent) in &streams {
        let id = id(*can);
        assert!(sent.acknowledged.len() > KILLS, "{id}: {sent:?}");
        assert_eq!(host.raise(&id, "Evt", "\"END\"").await.status, 202);
        let output = host.output(&id).await;
        assert_eq!(output["token"], *can);
        let events: Vec<u32> = serde_json::from_value(output["events"].clone()).unwrap();
        assert!(events.is_sorted_by(|a, b| a < b), "{id}: in order, none twice: {events:?}");
        let lost: Vec<_> = sent.acknowledged.iter().filter(|number| !events.contains(number)).collect();
        assert!(lost.is_empty(), "{id}: lost {lost:?}");
        assert!(events.iter().all(|number| *number < sent.next), "{id}: {events:?}");
    }
}

#[tokio::test]
async fn an_instance_that_continued_as_new_is_the_same_with_a_fresh_history() {
    let host = Host::start_default().await;
    host.start("Collect", "c", r#"{"token":"t","can":2}"#).await;
    let created = host.status("c").await["createdTime"].clone();
    for number in 0..5 {
        assert_eq!(host.raise("c", "Evt", &number.to_string()).await.status, 202);
    }
    let wanted = json!({"token": "t", "can": 2, "events": [0, 1, 2, 3]});
    let status = soloist_tests::eventually("two executions have passed", || async {
        let status = host.status("c").await;
        assert_ne!(status["runtimeStatus"], "ContinuedAsNew");
        (status["input"] == wanted).then_some(status)
    })
    .await;
    assert_eq!(status["createdTime"], created);
    assert_eq!(host.list("").await.len(), 1);
    // A start of the id is refused as ever.
    assert_eq!(host.post("/api/orchestrators/Collect/c", "{}").await.status, 409);
    host.raise("c", "Evt", "\"END\"").await;
    assert_eq!(host.output("c").await, json!({"token": "t", "events": [0, 1, 2, 3, 4]}));
    let history = host.history("c").await;
    let kinds: Vec<&Value> = history.iter().map(|event| &event["EventType"]).collect();
    assert_eq!(kinds, ["ExecutionStarted", "EventRaised", "EventRaised", "ExecutionCompleted"]);
}
