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
    ends.map(|line| line.split_once("instance_id=").unwrap().1.split(' ').next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_overdue_timers_fire_once_after_a_restart_and_none_early() {
    let mut host = Host::start_default().await;
    // All are due at the same moment, when the host is dead: how soon that can be depends on how fast the machine is now.
    let began = Instant::now();
    for number in 0..50 {
        host.start("Noop", &format!("warm-{number}"), "").await;
    }
    let starting = began.elapsed() * (TIMERS / 50) as u32;
    let due = Instant::now() + Duration::from_secs(3) + starting;
    let starters = (0..STARTERS).map(|starter| {
        let client = host.client();
        tokio::spawn(async move {
            for number in (starter..TIMERS).step_by(STARTERS) {
                let left = due.checked_duration_since(Instant::now()).expect("sixteen clients are faster than one");
                let input = json!({"token": number, "ms": left.as_millis() as u64}).to_string();
                client.start("Timer", &format!("timer-{number}"), &input).await;
            }
        })
    });
    for starter in starters.collect::<Vec<_>>() {
        starter.await.unwrap();
    }
    for number in TIMERS - STARTERS..TIMERS {
        host.wait_for_status(&format!("timer-{number}"), "Running").await;
    }
    let early = |log: &str| ended(log).iter().any(|id| id.starts_with("timer-"));
    assert!(!early(&host.log()), "a timer fired early");
    host.kill9();
    let left = due.checked_duration_since(Instant::now()).expect("the host is dead before they are due");
    tokio::time::sleep(left + Duration::from_millis(100)).await;
    host.restart().await;
    eventually("all have fired", || async { (ended(&host.log()).len() >= TIMERS).then_some(()) }).await;
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
