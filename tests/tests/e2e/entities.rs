//! Entities: signaled, called, locked, read, deleted; by clients, orchestrations and each other; killed at any moment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use soloist::ambient::{Ambient as _, System};
use soloist_tests::{
    Client, Host, Reply, eventually,
    instances::{MANAGEMENT, path},
};

fn entity(name: &str, key: &str) -> String {
    format!("{MANAGEMENT}/entities/{name}/{key}")
}

async fn signal(client: &Client, name: &str, key: &str, operation: &str, input: &str) -> Reply {
    client.post(&format!("{}?op={operation}", entity(name, key)), input.to_owned()).await
}

/// An entity's state; none if it does not exist.
async fn state(client: &Client, name: &str, key: &str) -> Option<Value> {
    let reply = client.get(&entity(name, key)).await;
    match reply.status {
        200 => Some(reply.json()),
        404 => None,
        status => panic!("{status}: {reply:?}"),
    }
}

async fn wait_for_state(client: &Client, name: &str, key: &str, wanted: Option<Value>) {
    eventually(&format!("@{name}@{key} becomes {wanted:?}"), || async {
        let state = state(client, name, key).await;
        if state == wanted { Ok(()) } else { Err(state) }
    })
    .await;
}

fn operation(name: &str, key: &str, operation: &str, input: Value, times: u32) -> String {
    json!({ "entity": { "name": name, "key": key }, "operation": operation, "input": input, "times": times })
        .to_string()
}

#[tokio::test]
async fn clients_signal_read_list_and_delete_entities() {
    let host = Host::start_default().await;
    assert_eq!(state(&host, "Counter", "a").await, None);
    for (key, input) in [("a", "5"), ("a", "\"-2\""), ("b", "1"), ("$", "7")] {
        assert_eq!(signal(&host, "Counter", key, "add", input).await.status, 202);
    }
    wait_for_state(&host, "counter", "a", Some(json!(3))).await;
    wait_for_state(&host, "counter", "$", Some(json!(7))).await;
    wait_for_state(&host, "counter", "b", Some(json!(1))).await;
    signal(&host, "Probe", "a", "set", "{\"x\": 1.0}").await;
    let raw = eventually("the probe has a state", || async {
        let reply = host.get(&entity("probe", "a")).await;
        (reply.status == 200).then(|| reply.text().to_owned())
    })
    .await;
    assert_eq!(raw, "{\"x\": 1.0}", "byte for byte");
    let reply = host.get(&format!("{MANAGEMENT}/entities/Counter?fetchState=true&top=2")).await;
    let ids: Vec<_> = reply.json().as_array().unwrap().iter().map(|entity| entity["entityId"].clone()).collect();
    assert_eq!(ids, [json!({"name": "counter", "key": ""}), json!({"name": "counter", "key": "a"})]);
    assert_eq!(reply.json()[1]["state"], 3);
    let token = reply.header("x-ms-continuation-token").to_owned();
    let next = format!("{MANAGEMENT}/entities/Counter");
    let reply = host.send("GET", &next, &[("x-ms-continuation-token", &token)], "").await;
    assert_eq!(reply.json()[0]["entityId"]["key"], "b");
    assert_eq!((reply.json().as_array().unwrap().len(), reply.header("x-ms-continuation-token")), (1, ""));
    assert_eq!(host.delete(&entity("counter", "a")).await.status, 202);
    wait_for_state(&host, "counter", "a", None).await;
    for target in [entity("nobody", "x"), entity("counter", "a%23")] {
        let reply = host.post(&format!("{target}?op=add"), "1").await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.json()["Message"].is_string(), "{reply:?}");
    }
    assert!(host.list("").await.is_empty(), "entities are no instances");
    assert_eq!(host.get(&path("%40counter%40b")).await.status, 404);
    // The same through a function's durable client.
    assert_eq!(host.post("/api/entity/signal/Counter/c?op=add", "4").await.status, 202);
    eventually("the client's signal has run", || async {
        let reply = host.post("/api/entity/read/Counter/c", "").await;
        (reply.status == 200).then(|| assert_eq!(reply.json(), 4))
    })
    .await;
    assert_eq!(host.post("/api/entity/read/Counter/none", "").await.status, 404);
}

#[tokio::test]
async fn orchestrations_call_and_signal_entities() {
    let host = Host::start_default().await;
    host.start("CallEntity", "calls", &operation("Counter", "a", "add", json!(2), 20)).await;
    assert_eq!(host.output("calls").await, 40);
    host.start("SignalEntity", "signals", &operation("Counter", "a", "add", json!(1), 100)).await;
    host.output("signals").await;
    wait_for_state(&host, "counter", "a", Some(json!(140))).await;
    host.start("CallEntity", "unknown", &operation("Nobody", "a", "add", json!(2), 1)).await;
    let told = host.output("unknown").await;
    assert_eq!(told["kind"], "UnknownFunction");
    assert!(told["message"].as_str().unwrap().contains("is not an entity function"), "{told}");
    let sent: Vec<_> = host.history("calls").await;
    let count = |kind: &str| sent.iter().filter(|event| event["EventType"] == kind).count();
    assert_eq!((count("EventSent"), count("EventRaised")), (20, 20));
    host.start("CallEntity", "tells", &operation("Probe", "a", "tell", Value::Null, 1)).await;
    let told = host.output("tells").await;
    assert_eq!((&told["caller"], &told["isSignal"]), (&json!("tells"), &json!(false)), "{told}");
}

#[tokio::test]
async fn what_a_failed_operation_did_is_undone_and_others_are_not_harmed() {
    let host = Host::builder().set("extensions.soloist.guestCpuMilliseconds", "1000").start().await;
    signal(&host, "Probe", "p", "set", "1").await;
    wait_for_state(&host, "probe", "p", Some(json!(1))).await;
    for (failing, kind) in
        [("fail", "Boom"), ("panic", "Panic"), ("spin", "CpuLimitExceeded"), ("other", "UnknownOperation")]
    {
        // In one batch with others, most likely.
        for n in 0..5 {
            signal(&host, "Probe", "p", "set", &n.to_string()).await;
        }
        let id = format!("calls-{failing}");
        host.start("CallEntity", &id, &operation("Probe", "p", failing, Value::Null, 1)).await;
        assert_eq!(host.output(&id).await["kind"], kind);
        wait_for_state(&host, "probe", "p", Some(json!(4))).await;
    }
    assert_eq!(state(&host, "counter", "p").await, None, "signals are undone, too");
}

#[tokio::test]
async fn entities_signal_others_and_start_orchestrations() {
    let host = Host::start_default().await;
    let forward = json!({ "to": { "name": "Counter", "key": "c" }, "operation": "add", "input": 3, "ms": 50 });
    signal(&host, "Probe", "p", "forward", &forward.to_string()).await;
    wait_for_state(&host, "counter", "c", Some(json!(3))).await;
    let start = json!({ "name": "Echo", "id": "started", "input": { "token": 1 } });
    signal(&host, "Probe", "p", "start", &start.to_string()).await;
    eventually("the orchestration is started", || async {
        (host.get(&path("started")).await.status != 404).then_some(())
    })
    .await;
    assert_eq!(host.output("started").await, json!({ "token": 1 }));
    host.start("CallEntity", "calls", &operation("Probe", "p", "start", json!({ "name": "Noop", "input": 1 }), 1))
        .await;
    let id = host.output("calls").await.as_str().unwrap().to_owned();
    eventually("its id is the one that the entity was told", || async {
        (host.get(&path(&id)).await.status != 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_scheduled_signal_comes_in_time_and_survives_a_kill() {
    let mut host = Host::start_default().await;
    let now = System.now();
    for (later, n) in [(2_500, "100"), (3_000, "10")] {
        let at = now.plus(Duration::from_millis(later)).as_millis_f64();
        let reply = host.post(&format!("/api/entity/signal/Counter/c?op=add&at={at}"), n).await;
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    signal(&host, "Counter", "c", "add", "1").await;
    // The others may have come as well, in time.
    eventually("the signal that was not scheduled has come", || async {
        let sum = state(&host, "counter", "c").await.map_or(0, |sum| sum.as_u64().unwrap());
        let earliest = if sum >= 100 { 2_500 } else { 0 };
        assert!(System.now() >= now.plus(Duration::from_millis(earliest)), "{sum} is early");
        (sum % 10 == 1).then_some(())
    })
    .await;
    host.kill9();
    host.restart().await;
    wait_for_state(&host, "counter", "c", Some(json!(111))).await;
    assert!(System.now() >= now.plus(Duration::from_millis(3_000)), "never early");
}

#[tokio::test]
async fn money_is_neither_made_nor_lost_by_concurrent_transfers() {
    let mut host = Host::start_default().await;
    for key in ["a", "b", "c"] {
        signal(&host, "Account", key, "deposit", "100").await;
    }
    for n in 0..24 {
        let (from, to) = [("a", "b"), ("b", "c"), ("c", "a")][n % 3];
        let input = json!({ "from": from, "to": to, "amount": n * 3 });
        host.start("Transfer", &format!("transfer-{n}"), &input.to_string()).await;
        if n % 6 == 0 {
            host.start("Audit", &format!("audit-{n}"), &json!(["a", "b", "c"]).to_string()).await;
        }
        if n == 12 {
            host.kill9();
            host.restart().await;
        }
    }
    for n in 0..24 {
        assert!(host.output(&format!("transfer-{n}")).await.is_boolean());
        if n % 6 == 0 {
            assert_eq!(host.output(&format!("audit-{n}")).await, 300, "nobody sees a half of a transfer");
        }
    }
}

/// Starts an orchestration that locks counters `a` and `b`, and waits until it has.
async fn hold(host: &Host, id: &str) {
    host.start("HoldLocks", id, "[\"b\",\"a\"]").await;
    eventually("the locks are held", || async { (host.status(id).await["customStatus"] == "locked").then_some(()) })
        .await;
}

#[tokio::test]
async fn a_lock_ends_with_its_holder_however_that_ends() {
    let policy = "extensions.durableTask.overridableExistingInstanceStates";
    let mut host = Host::builder().set(policy, "AnyState").start().await;
    for (n, how) in ["terminated", "replaced", "restarted host", "released"].into_iter().enumerate() {
        let id = format!("holder-{n}");
        hold(&host, &id).await;
        signal(&host, "Counter", "a", "add", "1").await;
        let waits = format!("waits-{n}");
        host.start("TryLocks", &waits, "[[\"a\",\"b\"],1000000]").await;
        let refused = format!("refused-{n}");
        host.start("TryLocks", &refused, "[[\"b\"],50]").await;
        assert_eq!(host.output(&refused).await, false, "it is locked");
        match how {
            "terminated" => {
                assert_eq!(host.post(&format!("{}/terminate", path(&id)), "").await.status, 202);
            }
            "replaced" => {
                host.start("Noop", &id, "null").await;
            }
            "restarted host" => {
                host.kill9();
                host.restart().await;
                host.raise(&id, "Release", "1").await;
            }
            _ => {
                host.raise(&id, "Release", "1").await;
            }
        }
        assert_eq!(host.output(&waits).await, true, "{how}");
        if how == "terminated" {
            assert_eq!(host.delete(&path(&id)).await.status, 200);
        }
    }
    // Four signals, and what the two holders added that were let end.
    wait_for_state(&host, "counter", "a", Some(json!(6))).await;
    wait_for_state(&host, "counter", "b", Some(json!(2))).await;
}

#[tokio::test]
async fn a_lock_ends_with_the_generation_that_holds_it_when_that_continues_as_new() {
    let host = Host::start_default().await;
    let status = async |wanted: i64| {
        let is_so = || async { (host.status("h").await["customStatus"] == wanted).then_some(()) };
        eventually("the holder has come so far", is_so).await;
    };
    host.start("LeavesLocked", "h", "[\"a\",\"b\"]").await;
    status(2).await;
    signal(&host, "Counter", "a", "add", "1").await;
    host.start("TryLocks", "refused", "[[\"b\",\"c\"],50]").await;
    assert_eq!(host.output("refused").await, false, "it is locked");
    assert_eq!(state(&host, "counter", "a").await, None, "what others send waits");
    host.start("TryLocks", "waits", "[[\"a\",\"b\"],60000]").await;
    host.raise("h", "Release", "1").await;
    assert_eq!(host.output("waits").await, true);
    wait_for_state(&host, "counter", "a", Some(json!(1))).await;
    status(0).await;
    assert_eq!(host.status("h").await["runtimeStatus"], "Running", "it goes on, and holds nothing");
    host.start("TryLocks", "free", "[[\"a\",\"b\",\"c\"],60000]").await;
    assert_eq!(host.output("free").await, true);
    host.raise("h", "Release", "1").await;
    host.wait_for_status("h", "Completed").await;
}

#[tokio::test]
async fn the_rules_of_critical_sections_are_told() {
    let host = Host::start_default().await;
    host.start("BreaksRules", "i", "").await;
    let told = host.output("i").await;
    let told: Vec<_> = told.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[0].contains("Cannot acquire more locks when already holding some locks."), "{told:?}");
}

#[tokio::test]
async fn no_signal_is_lost_or_doubled_by_kills() {
    const CLIENTS: usize = 100;
    let signals: usize = std::env::var("SOLOIST_TEST_SIGNALS").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000);
    let mut host = Host::start_default().await;
    let (acknowledged, unknown) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let kills = 4;
    for round in 0..kills {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (client, acknowledged, unknown) = (host.client(), acknowledged.clone(), unknown.clone());
                tokio::spawn(async move {
                    for _ in 0..signals / CLIENTS / kills {
                        let target = format!("{}?op=add", entity("Counter", "hot"));
                        match client.try_post(&target, "1").await {
                            Ok(reply) => {
                                assert_eq!(reply.status, 202, "{reply:?}");
                                acknowledged.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(_) => {
                                unknown.fetch_add(1, Ordering::Relaxed);
                                return;
                            }
                        }
                    }
                })
            })
            .collect();
        host.start("CallEntity", &format!("calls-{round}"), &operation("Counter", "called", "add", json!(1), 50)).await;
        eventually("something is acknowledged", || async { (acknowledged.load(Ordering::Relaxed) > 0).then_some(()) })
            .await;
        tokio::time::sleep(Duration::from_millis(60 + 90 * round as u64)).await;
        host.kill9();
        for client in clients {
            client.await.unwrap();
        }
        host.restart().await;
    }
    for round in 0..kills {
        host.output(&format!("calls-{round}")).await;
    }
    assert_eq!(state(&host, "counter", "called").await, Some(json!(50 * kills)), "each call ran once");
    // Whatever was in its inbox has run once this has.
    host.start("CallEntity", "last", &operation("Counter", "hot", "get", Value::Null, 1)).await;
    let sum = host.output("last").await.as_i64().unwrap();
    let (acknowledged, unknown) = (acknowledged.load(Ordering::Relaxed), unknown.load(Ordering::Relaxed));
    println!("{acknowledged} acknowledged, {unknown} unknown, the sum is {sum}");
    assert!(acknowledged > 0 && (acknowledged..=acknowledged + unknown).contains(&sum), "{sum}");
}

#[tokio::test]
async fn a_thousand_keys_all_get_their_turn() {
    let host = Host::start_default().await;
    let clients: Vec<_> = (0..20)
        .map(|n| {
            let client = host.client();
            tokio::spawn(async move {
                for key in (n..1_000).step_by(20) {
                    signal(&client, "Counter", &format!("k{key}"), "add", "1").await;
                    signal(&client, "Counter", "hot", "add", "1").await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    wait_for_state(&host, "counter", "hot", Some(json!(1_000))).await;
    for key in [0, 17, 500, 999] {
        wait_for_state(&host, "counter", &format!("k{key}"), Some(json!(1))).await;
    }
}

#[tokio::test]
async fn an_orchestration_raises_events_at_another() {
    let host = Host::start_default().await;
    host.start("Collect", "receiver", "{\"token\":1}").await;
    for (n, payload) in [json!(7), json!("END")].into_iter().enumerate() {
        let input = json!({ "instance": "receiver", "name": "Evt", "payload": payload });
        host.start("SendEvent", &format!("sender-{n}"), &input.to_string()).await;
        host.output(&format!("sender-{n}")).await;
    }
    assert_eq!(host.output("receiver").await["events"], json!([7]));
}
