//! Every operation against every other, from many clients at once: nothing is refused without a reason, nothing is half.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use soloist_tests::{
    Client, Host, Reply,
    instances::{MANAGEMENT, is_final, path},
};

/// Ids that all clients fight over.
const IDS: u64 = 4;
const CLIENTS: u64 = 16;
const OPERATIONS: u64 = 60;

fn random(bound: u64) -> u64 {
    RandomState::new().hash_one(bound) % bound
}

const STARTS: [(&str, &str); 4] = [
    ("Collect", r#"{"token":"t","can":2}"#),
    ("Noop", ""),
    ("Sleepers", r#"{"n":2,"ms":20}"#),
    ("Flaky", r#"{"token":1,"fails":2,"max":3,"firstMs":10,"coefficient":1}"#),
];

/// Does something to an id, and checks that the answer is one of those that it may have.
async fn operate(client: &Client, id: &str) -> (&'static str, Reply) {
    let (what, allowed): (_, &[u16]) = match random(10) {
        0..3 => ("start", &[202, 409]),
        3 => ("raiseEvent/Evt", &[202, 404, 410]),
        4 => ("suspend", &[202, 404, 409, 410]),
        5 => ("resume", &[202, 404, 409, 410]),
        6 => ("terminate", &[202, 404, 410]),
        7 => ("restart?restartWithNewInstanceId=false", &[202, 400, 409]),
        8 => ("purge", &[200, 404, 409]),
        _ => ("status", &[200, 202, 404]),
    };
    let reply = match what {
        "start" => {
            let (function, input) = STARTS[usize::try_from(random(4)).unwrap()];
            client.post(&format!("/api/orchestrators/{function}/{id}"), input).await
        }
        "purge" => client.delete(&path(id)).await,
        "status" => client.get(&format!("{}?showHistory=true", path(id))).await,
        _ => client.post(&format!("{}/{what}", path(id)), "1").await,
    };
    assert!(allowed.contains(&reply.status), "{what} {id}: {reply:?}");
    if what == "status" && reply.status != 404 {
        check_history(&reply.json());
    }
    (what, reply)
}

/// A history begins with its one start, and ends with its end exactly if the status says so.
fn check_history(status: &Value) {
    let Some(events) = status["historyEvents"].as_array() else {
        return;
    };
    let kinds: Vec<&str> = events.iter().map(|event| event["EventType"].as_str().unwrap()).collect();
    let count = |kind: &str| kinds.iter().filter(|other| **other == kind).count();
    assert_eq!((kinds[0], count("ExecutionStarted")), ("ExecutionStarted", 1), "{status}");
    let ends = count("ExecutionCompleted") + count("ExecutionTerminated");
    assert_eq!(ends, usize::from(is_final(status)), "{status}");
    if ends == 1 {
        let last = *kinds.last().unwrap();
        assert!(last == "ExecutionCompleted" || last == "ExecutionTerminated", "{status}");
    }
    let times: Vec<&str> = events.iter().map(|event| event["Timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{status}");
}

async fn fight(mut host: Host, kills: u32) {
    let mut counts: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for round in 0..=kills {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = host.client();
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    for _ in 0..OPERATIONS {
                        let (what, reply) = operate(&client, &format!("id-{}", random(IDS))).await;
                        answers.push((what, reply.status));
                    }
                    answers
                })
            })
            .collect();
        for client in clients {
            for answer in client.await.unwrap() {
                *counts.entry(answer).or_default() += 1;
            }
        }
        if round < kills {
            let before: Vec<(Value, Value)> = states(&host).await;
            host.kill9();
            host.restart().await;
            // An end is an end, and what is held stays so.
            let after: BTreeMap<String, Value> =
                states(&host).await.into_iter().map(|(id, status)| (id.to_string(), status)).collect();
            for (id, status) in before {
                let now = &after[&id.to_string()];
                let settled = is_final(&json!({"runtimeStatus": status})) || status == "Suspended";
                assert!(!settled || *now == status, "{id} was {status} and is {now}");
            }
        }
    }
    println!("{counts:?}");
    assert!(
        ["start", "suspend", "resume", "terminate", "purge"]
            .iter()
            .all(|what| { counts.iter().any(|((other, status), _)| other == what && *status < 300) })
    );
    // Everything can be brought to an end, and purged; then there is nothing, and ids are free.
    for number in 0..IDS {
        let id = format!("id-{number}");
        let ended = host.post(&format!("{}/terminate", path(&id)), "").await;
        assert!(matches!(ended.status, 202 | 404 | 410), "{ended:?}");
        let purged = host.delete(&path(&id)).await;
        assert!(matches!(purged.status, 200 | 404), "{purged:?}");
        host.start("E1_HelloSequence", &id, "").await;
        host.output(&id).await;
        check_history(&host.get(&format!("{}?showHistory=true", path(&id))).await.json());
    }
    let log = host.logs().concat();
    assert!(!log.contains(" ERROR ") && !log.contains("panicked"), "{log}");
}

async fn states(host: &Host) -> Vec<(Value, Value)> {
    let list = host.list("").await;
    list.iter().map(|status| (status["instanceId"].clone(), status["runtimeStatus"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_at_once_every_answer_is_one_that_it_may_have() {
    fight(Host::start_default().await, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_resident_guests_races_end_as_well() {
    fight(Host::builder().without_residents().start().await, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_any_state_may_be_replaced_races_end_as_well() {
    let setting = "extensions.durableTask.overridableExistingInstanceStates";
    fight(Host::builder().set(setting, "AnyState").start().await, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_operations_each_state_admits_one() {
    let host = Host::start_default().await;
    let all = async |what: &str| -> BTreeMap<u16, usize> {
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (client, target) = (host.client(), format!("{}/{what}", path("one")));
                tokio::spawn(async move {
                    if target.ends_with("/purge") {
                        return client.delete(&path("one")).await.status;
                    }
                    client.post(&target, "").await.status
                })
            })
            .collect();
        let mut counts = BTreeMap::new();
        for call in calls {
            *counts.entry(call.await.unwrap()).or_default() += 1;
        }
        counts
    };
    host.start("Eternal", "one", "").await;
    let once = |other: u16| BTreeMap::from([(202, 1), (other, 49)]);
    assert_eq!(all("suspend").await, once(409));
    assert_eq!(all("resume").await, once(409));
    assert_eq!(all("terminate").await, once(410));
    assert_eq!(all("restart?restartWithNewInstanceId=false").await, once(409));
    assert_eq!(all("terminate").await, once(410));
    assert_eq!(all("purge").await, BTreeMap::from([(200, 1), (404, 49)]));
}

/// The ids on every page of a query.
async fn pages(client: &Client, query: &str) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let target = format!("{MANAGEMENT}/instances?{query}");
        let page = client.send("GET", &target, &[("x-ms-continuation-token", &token)], "").await;
        assert_eq!(page.status, 200, "{page:?}");
        let list = page.json();
        ids.extend(list.as_array().unwrap().iter().map(|status| status["instanceId"].as_str().unwrap().to_owned()));
        token = page.header("x-ms-continuation-token").to_owned();
        if token.is_empty() {
            return ids;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_what_stays_exactly_once_while_others_come_and_go() {
    let host = Host::start_default().await;
    let stop = Arc::new(AtomicBool::new(false));
    let churn: Vec<_> = (0..4)
        .map(|worker| {
            let (client, stop) = (host.client(), stop.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let id = format!("churn-{worker}-{number}");
                    client.start("Noop", &id, "").await;
                    if number % 2 == 0 {
                        client.output(&id).await;
                        client.delete(&path(&id)).await;
                    }
                }
            })
        })
        .collect();
    let mut stays = Vec::new();
    for number in 0..60 {
        let id = format!("stays-{number}");
        let function = ["Eternal", "Noop", "AlwaysFails"][number % 3];
        host.start(function, &id, "").await;
        stays.push((id, ["Running", "Completed", "Failed"][number % 3]));
    }
    for (id, status) in &stays {
        host.wait_for_status(id, status).await;
    }
    let created = |id: &str| {
        let (id, host) = (id.to_owned(), host.client());
        async move { host.status(&id).await["createdTime"].as_str().unwrap().to_owned() }
    };
    let (first, last) = (created("stays-0").await, created("stays-59").await);
    let with = |status: &str| -> Vec<String> {
        stays.iter().filter(|(_, other)| *other == status).map(|(id, _)| id.clone()).collect()
    };
    let all: Vec<String> = stays.iter().map(|(id, _)| id.clone()).collect();
    for _ in 0..5 {
        for (query, wanted) in [
            ("top=7".to_owned(), all.clone()),
            ("top=1000".to_owned(), all.clone()),
            ("top=3&instanceIdPrefix=stays-".to_owned(), all.clone()),
            ("top=4&runtimeStatus=Failed".to_owned(), with("Failed")),
            ("top=5&runtimeStatus=Running&instanceIdPrefix=stays".to_owned(), with("Running")),
            (format!("top=6&createdTimeFrom={first}"), all.clone()),
            ("top=6&createdTimeTo=2020-01-01T00:00:00Z".to_owned(), vec![]),
            // Times are shown in whole seconds: the last one's has begun when it was created.
            (
                format!(
                    "createdTimeFrom={first}&createdTimeTo={}.999999Z&instanceIdPrefix=st",
                    last.trim_end_matches('Z')
                ),
                all.clone(),
            ),
            ("createdTimeFrom=2999-01-01&runtimeStatus=Running,Completed".to_owned(), vec![]),
        ] {
            let seen = pages(&host.client(), &query).await;
            let distinct: BTreeSet<&String> = seen.iter().collect();
            assert_eq!(distinct.len(), seen.len(), "{query}: nothing twice");
            let seen: Vec<String> = seen.into_iter().filter(|id| id.starts_with("stays-")).collect();
            assert_eq!(seen, wanted, "{query}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for worker in churn {
        worker.await.unwrap();
    }
    // A function sees the same pages.
    let listed = host.post("/api/client/list/stays-", "").await.json();
    assert_eq!(listed, json!(all));
}
