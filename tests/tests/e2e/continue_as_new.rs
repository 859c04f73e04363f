//! Continue-as-new: no event is lost, doubled or moved, whatever happens in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use soloist_tests::{Client, Host, instances};

/// Instances that gather at a time; instance `n` continues as new after every `n` events.
const INSTANCES: u32 = 4;
/// Senders of each instance. Every second one sends by a function, the others by the management API.
const SENDERS: u32 = 4;
/// How often the host is killed.
const KILLS: usize = 8;

/// What one sender sent: the next number, and the numbers whose answer has been read.
#[derive(Clone, Debug, Default)]
struct Sent {
    next: u32,
    acknowledged: Vec<u32>,
}

/// By instance and sender.
type Streams = Arc<Mutex<BTreeMap<(u32, u32), Sent>>>;

fn id(can: u32) -> String {
    format!("can-{can}")
}

/// Sends an instance ascending numbers until the host is gone. A number whose answer was lost is not sent again.
async fn send(client: Client, streams: Streams, can: u32, sender: u32) {
    let (target, code) = if sender.is_multiple_of(2) {
        (format!("/api/client/raise/{}?event=Evt", id(can)), 200)
    } else {
        (format!("{}/raiseEvent/Evt", instances::path(&id(can))), 202)
    };
    loop {
        let number = {
            let mut streams = streams.lock().unwrap();
            let sent = streams.entry((can, sender)).or_default();
            sent.next += 1;
            sent.next - 1
        };
        let Ok(reply) = client.try_post(&target, json!([sender, number]).to_string()).await else { return };
        assert_eq!(reply.status, code, "{reply:?}");
        streams.lock().unwrap().get_mut(&(can, sender)).unwrap().acknowledged.push(number);
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
        let senders = (1..=INSTANCES).flat_map(|can| (0..SENDERS).map(move |sender| (can, sender)));
        let sends = senders.map(|(can, sender)| tokio::spawn(send(host.client(), streams.clone(), can, sender)));
        let sends: Vec<_> = sends.collect();
        // Before the first kill, which on a slow machine might else meet nothing at all.
        soloist_tests::eventually("everybody is answered once", || async {
            let streams = streams.lock().unwrap();
            let all = streams.len() == (INSTANCES * SENDERS) as usize;
            (all && streams.values().all(|sent| !sent.acknowledged.is_empty())).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(30 + RandomState::new().hash_one(kill) % 300)).await;
        host.kill9();
        for send in sends {
            send.await.unwrap();
        }
        host.restart().await;
    }
    let streams = std::mem::take(&mut *streams.lock().unwrap());
    for can in 1..=INSTANCES {
        let id = id(can);
        assert_eq!(host.raise(&id, "Evt", "\"END\"").await.status, 202);
        let output = host.output(&id).await;
        assert_eq!(output["token"], can);
        let events: Vec<(u32, u32)> = serde_json::from_value(output["events"].clone()).unwrap();
        println!("{id}: {} events", events.len());
        for sender in 0..SENDERS {
            let sent = &streams[&(can, sender)];
            let got: Vec<u32> = events.iter().filter(|event| event.0 == sender).map(|event| event.1).collect();
            assert!(got.is_sorted_by(|a, b| a < b), "{id}: sender {sender} in order, none twice: {got:?}");
            let got: BTreeSet<u32> = got.into_iter().collect();
            let lost: Vec<_> = sent.acknowledged.iter().filter(|number| !got.contains(number)).collect();
            assert!(lost.is_empty(), "{id}: sender {sender} lost {lost:?}");
            assert!(got.iter().all(|number| *number < sent.next), "{id}: sender {sender}: {got:?}");
        }
        assert!(events.iter().all(|event| event.0 < SENDERS));
    }
}

#[tokio::test]
async fn events_of_other_names_and_the_custom_status_are_handed_over() {
    let mut host = Host::start_default().await;
    host.start("HandsOver", "h", "").await;
    for number in 0..3 {
        host.raise("h", "A", &number.to_string()).await;
    }
    host.kill9();
    host.restart().await;
    host.raise("h", "B", "5").await;
    soloist_tests::eventually("it has continued", || async { (host.status("h").await["input"] == 5).then_some(()) })
        .await;
    assert_eq!(host.status("h").await["customStatus"], "set by the first");
    host.kill9();
    host.restart().await;
    for number in 3..5 {
        host.raise("h", "a", &number.to_string()).await;
    }
    assert_eq!(host.output("h").await, json!([0, 1, 2, 3, 4]));
    assert_eq!(host.status("h").await["customStatus"], "set by the first");
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
