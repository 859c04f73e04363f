//! kill -9 at any moment: what was acknowledged is there, and everything completes, once.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use soloist_tests::{Client, Host, eventually};
use tokio::task::JoinHandle;

/// How often the host is killed; `SOLOIST_TEST_KILLS` says otherwise.
const KILLS: usize = 10;
/// Starts that are in flight at a time.
const STARTERS: usize = 4;
/// Events that each `Collect` is sent before its end.
const EVENTS: u32 = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Chain,
    FanOut,
    Timer,
    Collect,
}

/// An orchestration that was asked for.
#[derive(Debug)]
struct Order {
    kind: Kind,
    /// The start's 202 has been read.
    is_started: bool,
    /// The next event to send, and those whose 202 has been read.
    next_event: u32,
    acknowledged: Vec<u32>,
}

/// Everything that was asked for so far, by instance id.
type Orders = Arc<Mutex<BTreeMap<String, Order>>>;

impl Kind {
    fn of(number: usize) -> Self {
        [Self::Chain, Self::FanOut, Self::Timer, Self::Collect][number % 4]
    }

    fn input(self, id: &str) -> Value {
        match self {
            Self::Chain => json!({"token": id, "steps": 12}),
            Self::FanOut => json!({"n": 12}),
            Self::Timer => json!({"token": id, "ms": 250}),
            Self::Collect => json!({ "token": id }),
        }
    }

    fn check_output(self, id: &str, output: &Value, order: &Order) {
        match self {
            Self::Chain => assert_eq!(*output, json!({"token": id, "trace": (0..12).collect::<Vec<_>>()})),
            Self::FanOut => assert_eq!(*output, 12, "{id}"),
            Self::Timer => assert_eq!(*output, json!({"token": id, "ms": 250})),
            Self::Collect => {
                assert_eq!(output["token"], id);
                let events: Vec<u32> = serde_json::from_value(output["events"].clone()).unwrap();
                assert!(events.is_sorted_by(|a, b| a < b), "{id}: in order, none twice: {events:?}");
                let acknowledged = &order.acknowledged;
                assert!(
                    acknowledged.iter().all(|event| events.contains(event)),
                    "{id}: {acknowledged:?} in {events:?}"
                );
                assert!(events.iter().all(|event| *event < order.next_event), "{id}: {events:?}");
            }
        }
    }
}

/// Starts one orchestration after the other until the host is gone; returns those who send events meanwhile.
async fn keep_starting(client: Client, orders: Orders, round: usize, starter: usize) -> Vec<JoinHandle<()>> {
    let mut senders = Vec::new();
    for number in 0.. {
        let kind = Kind::of(number + starter);
        let id = format!("{kind:?}-{round}-{starter}-{number}");
        let order = Order { kind, is_started: false, next_event: 0, acknowledged: vec![] };
        orders.lock().unwrap().insert(id.clone(), order);
        let target = format!("/api/orchestrators/{kind:?}/{id}");
        let Ok(reply) = client.try_post(&target, kind.input(&id).to_string()).await else { break };
        assert_eq!(reply.status, 202, "{reply:?}");
        orders.lock().unwrap().get_mut(&id).unwrap().is_started = true;
        if kind == Kind::Collect {
            senders.push(tokio::spawn(send_events(client.clone(), orders.clone(), id)));
        }
        // So that the host keeps up, and its kill meets orchestrations in every state.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    senders
}

/// Sends a `Collect` its events, one after the other, until the host is gone.
async fn send_events(client: Client, orders: Orders, id: String) {
    loop {
        let event = {
            let mut orders = orders.lock().unwrap();
            let order = orders.get_mut(&id).unwrap();
            order.next_event += 1;
            order.next_event - 1
        };
        let payload = if event < EVENTS { event.to_string() } else { "\"END\"".to_owned() };
        let target = format!("{}/raiseEvent/Evt", soloist_tests::instances::path(&id));
        let Ok(reply) = client.try_post(&target, payload).await else { return };
        if event >= EVENTS {
            return;
        }
        assert_eq!(reply.status, 202, "{id}: {reply:?}");
        orders.lock().unwrap().get_mut(&id).unwrap().acknowledged.push(event);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A number below `bound` that nobody can foresee.
fn random(bound: u64) -> u64 {
    RandomState::new().hash_one(bound) % bound
}

/// The instances whose end the log of one run tells.
fn ended_in(log: &str) -> Vec<&str> {
    let ends = log.lines().filter(|line| line.contains("orchestration ended"));
    // A kill may cut the last line.
    ends.filter_map(|line| line.split_once("instance_id=")?.1.split_once(' ')).map(|(id, _)| id).collect()
}

/// The round in which an instance was asked for.
fn round_of(id: &str) -> usize {
    id.split('-').nth(1).unwrap().parse().unwrap()
}

/// How many of the kills met orchestrations that were acknowledged before and ended after them.
fn kills_that_met_work(logs: &[String]) -> usize {
    let meets = |kill: &usize| logs[kill + 1..].iter().flat_map(|log| ended_in(log)).any(|id| round_of(id) <= *kill);
    (0..logs.len() - 1).filter(meets).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_kill_9_and_completes_once() {
    survive(Host::start_default().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_resident_guests_everything_survives_kill_9_too() {
    survive(Host::builder().without_residents().start().await).await;
}

async fn survive(mut host: Host) {
    let kills = std::env::var("SOLOIST_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let orders = Orders::default();
    for round in 0..kills {
        let client = host.client();
        // Those whose events were cut off by the last kill go on with the next.
        let cut: Vec<String> = {
            let orders = orders.lock().unwrap();
            let cut = orders
                .iter()
                .filter(|(_, order)| order.kind == Kind::Collect && order.is_started && order.next_event < EVENTS);
            cut.map(|(id, _)| id.clone()).collect()
        };
        let starters = (0..STARTERS).map(|starter| keep_starting(client.clone(), orders.clone(), round, starter));
        let starters: Vec<_> = starters.map(tokio::spawn).collect();
        let cut = cut.into_iter().map(|id| tokio::spawn(send_events(client.clone(), orders.clone(), id)));
        let mut senders: Vec<_> = cut.collect();
        // So that the kill meets something on a slow machine, too.
        eventually("something is started", || async {
            let of_round = |(id, order): (&String, &Order)| order.is_started && round_of(id) == round;
            orders.lock().unwrap().iter().any(of_round).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(20 + random(600))).await;
        host.kill9();
        for starter in starters {
            senders.extend(starter.await.unwrap());
        }
        for sender in senders {
            sender.await.unwrap();
        }
        host.restart().await;
    }
    check(&host, &orders).await;
    let logs = host.logs();
    let met = kills_that_met_work(&logs);
    println!("{kills} kills, {met} of which met unfinished instances");
    assert!(met * 10 >= kills * 8, "only {met} of {kills} kills met unfinished instances");
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    logs.iter().flat_map(|log| ended_in(log)).for_each(|id| *ends.entry(id).or_default() += 1);
    let twice: Vec<_> = ends.iter().filter(|(_, ends)| **ends > 1).collect();
    assert!(twice.is_empty(), "ended twice: {twice:?}");
}

/// Checks every orchestration that was asked for.
async fn check(host: &Host, orders: &Orders) {
    let orders = std::mem::take(&mut *orders.lock().unwrap());
    let there: Vec<String> =
        host.list("").await.iter().map(|status| status["instanceId"].as_str().unwrap().to_owned()).collect();
    for (id, order) in &orders {
        let is_there = there.contains(id);
        assert!(is_there || !order.is_started, "{id} was acknowledged and is gone");
        if is_there && order.kind == Kind::Collect {
            let reply = host.raise(id, "Evt", "\"END\"").await;
            assert!(matches!(reply.status, 202 | 410), "{id}: {reply:?}");
        }
    }
    let acknowledged = orders.values().filter(|order| order.is_started).count();
    println!("{acknowledged} acknowledged starts of {}, {} instances", orders.len(), there.len());
    assert!(acknowledged > 0);
    assert!(there.iter().all(|id| orders.contains_key(id)), "nothing runs that nobody asked for");
    for id in &there {
        let order = &orders[id];
        let status = host.wait_for_status(id, "Completed").await;
        assert_eq!(status["input"], order.kind.input(id), "{id}");
        order.kind.check_output(id, &status["output"], order);
        let history = host.history(id).await;
        let count = |kind: &str| history.iter().filter(|event| event["EventType"] == kind).count();
        assert_eq!((count("ExecutionStarted"), count("ExecutionCompleted")), (1, 1), "{history:?}");
        match order.kind {
            Kind::Chain | Kind::FanOut => assert_eq!(count("TaskCompleted"), 12, "{history:?}"),
            Kind::Timer => assert_eq!((count("TimerCreated"), count("TimerFired")), (1, 1), "{history:?}"),
            Kind::Collect => {}
        }
    }
}
