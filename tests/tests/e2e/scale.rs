//! Many at once, and long ones. No test here asserts a speed: the benchmarks tell them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;
use soloist_tests::{Host, eventually};

/// Timers that are due while the host is dead.
const TIMERS: usize = 2000;

/// Clients that start them.
const STARTERS: usize = 16;

fn ended(log: &str) -> Vec<&str> {
    let ends = log.lines().filter(|line| line.contains("orchestration ended"));
    // A line may be written while it is read.
    ends.filter_map(|line| line.split_once("instance_id=")?.1.split_once(' ')).map(|(id, _)| id).collect()
}

/// A host that was killed while all timers waited, and when they are due, which is later. How soon that can be depends on how fast
/// the machine is: where it is too slow, a new host tries with more time.
async fn dead_before_they_are_due() -> (Host, Instant) {
    for lead in [3, 9, 27, 81] {
        let mut host = Host::start_default().await;
        let due = Instant::now() + Duration::from_secs(lead);
        let starters = (0..STARTERS).map(|starter| {
            let client = host.client();
            tokio::spawn(async move {
                for number in (starter..TIMERS).step_by(STARTERS) {
                    let Some(left) = due.checked_duration_since(Instant::now()) else { return };
                    let input = json!({"token": number, "ms": left.as_millis() as u64}).to_string();
                    client.start("Timer", &format!("timer-{number}"), &input).await;
                }
            })
        });
        for starter in starters.collect::<Vec<_>>() {
            starter.await.unwrap();
        }
        if Instant::now() < due {
            for number in TIMERS - STARTERS..TIMERS {
                host.wait_for_begin(&format!("timer-{number}")).await;
            }
        }
        let log = host.log();
        let was_early = Instant::now() < due;
        host.kill9();
        if was_early {
            assert!(ended(&log).is_empty(), "a timer fired early");
            if Instant::now() < due {
                return (host, due);
            }
        }
    }
    panic!("no host has all timers before they are due");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_overdue_timers_fire_once_after_a_restart_and_none_early() {
    let (mut host, due) = dead_before_they_are_due().await;
    tokio::time::sleep_until((due + Duration::from_millis(100)).into()).await;
    host.restart().await;
    eventually("all have fired", || async {
        let log = host.log();
        let count = ended(&log).len();
        if count >= TIMERS { Ok(()) } else { Err(count) }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    let log = host.log();
    ended(&log).into_iter().for_each(|id| *ends.entry(id).or_default() += 1);
    assert_eq!(ends.len(), TIMERS);
    assert!(ends.values().all(|count| *count == 1), "some ended twice");
    for number in (0..TIMERS).step_by(97) {
        let id = format!("timer-{number}");
        assert_eq!(host.output(&id).await["token"], number);
        let history = host.history(&id).await;
        let fired: Vec<_> = history.iter().filter(|event| event["EventType"] == "TimerFired").collect();
        let [fired] = fired[..] else { panic!("{history:?}") };
        let time = |name: &str| fired[name].as_str().expect("a time").to_owned();
        assert!(time("Timestamp") >= time("FireAt"), "{fired}");
    }
}

#[tokio::test]
async fn a_fan_out_of_a_thousand_gathers_every_result() {
    let host = Host::start_default().await;
    host.start("FanOut", "fan", r#"{"n":1000}"#).await;
    assert_eq!(host.output("fan").await, 1000);
    let history = host.history("fan").await;
    assert_eq!(history.iter().filter(|event| event["EventType"] == "TaskCompleted").count(), 1000);
}

#[tokio::test]
async fn a_history_of_a_thousand_steps_survives_kill_9_and_goes_on() {
    let mut host = Host::start_default().await;
    host.start("Chain", "long", r#"{"token":1,"steps":1000}"#).await;
    for steps in [100, 400] {
        eventually("so many steps are made", || async {
            let status = host.status("long").await;
            let history = if status["runtimeStatus"] == "Pending" { vec![] } else { host.history("long").await };
            (history.iter().filter(|event| event["EventType"] == "TaskCompleted").count() >= steps).then_some(())
        })
        .await;
        host.kill9();
        host.restart().await;
    }
    let trace: Vec<u32> = (0..1000).collect();
    assert_eq!(host.output("long").await, json!({"token": 1, "trace": trace}));
}

/// All at once need guests; there are some 20 for 120.
#[tokio::test(flavor = "multi_thread")]
async fn many_more_orchestrations_than_guests_run_at_once() {
    let host = Host::builder()
        .set("extensions.durableTask.maxConcurrentOrchestratorFunctions", "4")
        .set("extensions.soloist.residentBytes", "1048576")
        .start()
        .await;
    let clients = (0..120).map(|number| {
        let client = host.client();
        tokio::spawn(async move {
            let id = format!("chain-{number}");
            client.start("Chain", &id, r#"{"token":1,"steps":5}"#).await;
            assert_eq!(client.output(&id).await["trace"], json!([0, 1, 2, 3, 4]));
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert!(!host.log().contains("a turn could not be made"), "{}", host.log());
}
