//! Activities that fail are attempted again, by the host and on its clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use soloist_tests::{Host, SPANS_MS, eventually};

/// How often an attempt of an instance's activity began, over every run of the host.
fn attempts(host: &Host, id: &str, attempt: u32) -> usize {
    let line = format!("attempt {attempt} of {id}");
    host.logs().iter().flat_map(|log| log.lines()).filter(|entry| entry.contains(&line)).count()
}

async fn wait_for_attempt(host: &Host, id: &str, attempt: u32) {
    eventually("the attempt begins", || async { (attempts(host, id, attempt) > 0).then_some(()) }).await;
}

/// Milliseconds of a history's time since midnight; the tests' spans are short.
fn millis(time: &Value) -> u64 {
    let text = time.as_str().unwrap();
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap();
    ((number(11..13) * 60 + number(14..16)) * 60 + number(17..19)) * 1000 + number(20..23)
}

/// How long the one activity of an instance took, waits between attempts included, by the host's clock.
async fn took(host: &Host, id: &str) -> Duration {
    let history = host.history(id).await;
    let ends = ["TaskCompleted", "TaskFailed"].map(json_of);
    let ended: Vec<&Value> = history.iter().filter(|event| ends.contains(&event["EventType"])).collect();
    let [ended] = ended.as_slice() else { panic!("one end: {history:?}") };
    let day = 24 * 60 * 60 * 1000;
    let millis = (day + millis(&ended["Timestamp"]) - millis(&ended["ScheduledTime"])) % day;
    // Both times are cut to milliseconds.
    Duration::from_millis(millis + 1)
}

fn json_of(text: &str) -> Value {
    json!(text)
}

#[tokio::test]
async fn an_activity_is_attempted_until_it_succeeds_and_waits_longer_each_time() {
    retried(&Host::start_default().await).await;
}

#[tokio::test]
async fn without_resident_guests_retries_are_the_same() {
    retried(&Host::builder().without_residents().start().await).await;
}

async fn retried(host: &Host) {
    let token = r#"{"b":[1.0],"a":12345678901234567890123}"#;
    let input = format!(r#"{{"token":{token},"fails":3,"max":5,"firstMs":200,"coefficient":2}}"#);
    host.start("Flaky", "flaky", &input).await;
    host.wait_for_status("flaky", "Completed").await;
    let text = host.get(&soloist_tests::instances::path("flaky")).await.text().to_owned();
    assert!(text.contains(&format!(r#""output":{{"token":{token},"attempts":4}},"#)), "{text}");
    wait_for_attempt(host, "flaky", 4).await;
    for attempt in 1..=5 {
        assert_eq!(attempts(host, "flaky", attempt), usize::from(attempt < 5), "attempt {attempt}");
    }
    // 200, 400 and 800 ms.
    let took = took(host, "flaky").await;
    assert!(took >= Duration::from_millis(1400), "{took:?}");
}

#[tokio::test]
async fn the_last_attempts_failure_is_the_activitys() {
    let host = Host::start_default().await;
    host.start("Flaky", "f", r#"{"token":1,"fails":9,"max":3,"firstMs":10,"coefficient":1}"#).await;
    let failed = host.wait_for_status("f", "Failed").await;
    let output = failed["output"].as_str().unwrap();
    assert!(
        output.starts_with("Orchestrator function 'Flaky' failed: ") && output.contains("attempt 3 fails"),
        "{output}"
    );
    wait_for_attempt(&host, "f", 3).await;
    assert_eq!([1, 2, 3, 4].map(|attempt| attempts(&host, "f", attempt)), [1, 1, 1, 0]);
    let history = host.history("f").await;
    let failures: Vec<_> = history.iter().filter(|event| event["EventType"] == "TaskFailed").collect();
    assert_eq!(failures.len(), 1, "{history:?}");
    assert_eq!(failures[0]["Reason"], "attempt 3 fails");

    host.start("Flaky", "once", r#"{"token":1,"fails":1,"max":1,"firstMs":10,"coefficient":1}"#).await;
    host.wait_for_status("once", "Failed").await;
    wait_for_attempt(&host, "once", 1).await;
    assert_eq!([1, 2].map(|attempt| attempts(&host, "once", attempt)), [1, 0]);
}

/// The time of an instance's only event of a kind in its raw history, once there is one.
async fn time_of(host: &Host, id: &str, kind: &str, field: &str) -> Timestamp {
    eventually(&format!("{kind} of {id}"), || async {
        let history = host.raw_history(id).await;
        let found: Vec<&Value> = history.iter().filter(|event| event["EventType"] == kind).collect();
        assert!(found.len() <= 1, "{history:?}");
        found.first().map(|event| event[field].as_str().expect("a time").parse().expect("a time"))
    })
    .await
}

#[tokio::test]
async fn kill_9_during_a_back_off_neither_restarts_nor_shortens_it() {
    const BACK_OFFS: [(&str, Duration); 2] = [("due", Duration::from_secs(6)), ("later", Duration::from_secs(9))];
    let mut host = Host::start_default().await;
    let mut due = Vec::new();
    for (id, span) in BACK_OFFS {
        let input = format!(r#"{{"token":"t","fails":1,"max":3,"firstMs":{},"coefficient":1}}"#, span.as_millis());
        host.start("Flaky", id, &input).await;
        due.push(time_of(&host, id, "TaskRetryScheduled", "FireAt").await);
    }
    host.kill9();
    host.restart().await;
    let repeated = attempts(&host, "due", 2);
    let was_due = Timestamp::now() >= due[0];
    assert!(repeated == 0 || was_due, "it is early");
    host.kill9();
    // The back-off of the first one ends while there is no host.
    let left = due[0].duration_since(Timestamp::now()).max(SignedDuration::ZERO);
    tokio::time::sleep(left.unsigned_abs() + Duration::from_millis(500)).await;
    let down = Timestamp::now();
    host.restart().await;
    let starting = Timestamp::now().duration_since(down).unsigned_abs();
    for ((id, span), due) in BACK_OFFS.into_iter().zip(due) {
        assert_eq!(host.output(id).await, json!({"token": "t", "attempts": 2}));
        assert_eq!(time_of(&host, id, "TaskRetryScheduled", "FireAt").await, due, "it is the same: {id}");
        let began = time_of(&host, id, "TaskRetryStarted", "Timestamp").await;
        assert!(began >= due, "{id} was early: {began} {due}");
        // One that began anew would begin so late; a machine on which hosts need long to start cannot tell.
        assert!(
            began.duration_since(down).unsigned_abs() < span || starting > span / 2,
            "{id} was late: {began} {due}"
        );
        let took = took(&host, id).await;
        assert!(took >= span, "{id}: {took:?}");
        // One that was due when a host was killed may have run in its midst.
        if !was_due {
            assert_eq!([1, 2, 3].map(|attempt| attempts(&host, id, attempt)), [1, 1, 0], "{id}");
        }
    }
}

#[tokio::test]
async fn a_terminated_instance_attempts_nothing_more() {
    let host = Host::start_default().await;
    for ms in SPANS_MS {
        let id = format!("t-{ms}");
        let input = format!(r#"{{"token":1,"fails":1,"max":3,"firstMs":{ms},"coefficient":1}}"#);
        host.start("Flaky", &id, &input).await;
        wait_for_attempt(&host, &id, 1).await;
        let terminated =
            host.post(&format!("{}/terminate", soloist_tests::instances::path(&id)), "").await.status == 202;
        let begun = attempts(&host, &id, 2);
        if terminated && begun == 0 {
            tokio::time::sleep(Duration::from_millis(ms + 500)).await;
            assert_eq!(attempts(&host, &id, 2), 0);
            assert_eq!(host.status(&id).await["runtimeStatus"], "Terminated");
            return;
        }
        // This machine needs a longer back-off.
    }
    panic!("no instance could be terminated in time");
}

/// When the attempts of an instance's `Trial` began, in Unix milliseconds.
fn trials(host: &Host, id: &str) -> Vec<u64> {
    let logs = host.logs();
    let of_instance = format!(" of {id} at ");
    let lines = logs.iter().flat_map(|log| log.lines());
    let times = lines.filter_map(|line| line.split_once("trial ")?.1.split_once(&of_instance));
    let times = times.map(|(attempt, rest)| {
        let time = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        (attempt.parse::<u32>().unwrap(), time.parse::<u64>().unwrap())
    });
    let (attempts, times): (Vec<_>, Vec<_>) = times.unzip();
    assert!(attempts.iter().copied().eq(1..=u32::try_from(times.len()).unwrap()), "{attempts:?}");
    times
}

/// Runs `Trials` that fail with kind `Busy`, to the end; returns its status and the times of its attempts.
async fn tried(host: &Host, id: &str, fails: u32, policy: Value) -> (Value, Vec<u64>) {
    let mut input = json!({"trial": {"fails": fails, "kind": "Busy"}});
    input.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
    host.start("Trials", id, &input.to_string()).await;
    let status =
        eventually("it ends", || async { Some(host.status(id).await).filter(soloist_tests::instances::is_final) })
            .await;
    (status, trials(host, id))
}

#[tokio::test]
async fn waits_grow_by_the_coefficient_up_to_the_greatest_interval() {
    let host = Host::start_default().await;
    for (id, policy, waits) in [
        ("constant", json!({"max": 4, "firstMs": 150}), [150, 150, 150]),
        ("doubled", json!({"max": 4, "firstMs": 100, "coefficient": "2"}), [100, 200, 400]),
        ("broken", json!({"max": 4, "firstMs": 400, "coefficient": "0.5"}), [400, 200, 100]),
        ("capped", json!({"max": 4, "firstMs": 100, "coefficient": "100", "maxIntervalMs": 300}), [100, 300, 300]),
        ("huge", json!({"max": 4, "firstMs": 100, "coefficient": "1e308", "maxIntervalMs": 200}), [100, 200, 200]),
        ("none", json!({"max": 4, "firstMs": 200, "coefficient": "0"}), [200, 0, 0]),
    ] {
        let (status, times) = tried(&host, id, 3, policy).await;
        assert_eq!((&status["runtimeStatus"], &status["output"]), (&json!("Completed"), &json!(4)), "{id}");
        assert_eq!(times.len(), 4, "{id}");
        for (wait, pair) in waits.iter().zip(times.windows(2)) {
            let waited = pair[1] - pair[0];
            // Within a minute: what counts is that no wait is shorter, and that one without bounds would be seen.
            assert!((*wait..wait + 60_000).contains(&waited), "{id}: {waited} ms instead of {wait}: {times:?}");
        }
    }
}

#[tokio::test]
async fn a_policy_says_which_failures_are_attempted_again_and_until_when() {
    let host = Host::start_default().await;
    for (id, policy, attempts) in [
        ("only", json!({"max": 3, "firstMs": 10, "only": ["Busy", "Other"]}), 3),
        ("others", json!({"max": 3, "firstMs": 10, "only": ["Other"]}), 1),
        ("cases", json!({"max": 3, "firstMs": 10, "only": ["busy"]}), 1),
        ("except", json!({"max": 3, "firstMs": 10, "except": ["Busy"]}), 1),
        ("both", json!({"max": 3, "firstMs": 10, "only": ["Busy"], "except": ["Busy"]}), 1),
        ("unrelated", json!({"max": 3, "firstMs": 10, "except": ["Other"]}), 3),
        ("fatal", json!({"max": 3, "firstMs": 10, "trial": {"fails": 9, "kind": "Busy", "nonRetriable": true}}), 1),
        // 0, 200, 400 ms after the first one; at 600 the time is up.
        ("timed", json!({"max": 100, "firstMs": 200, "timeoutMs": 500}), 4),
        // Each call has attempts and a back-off of its own.
        ("again", json!({"max": 1, "firstMs": 10, "only": ["Busy"]}), 1),
    ] {
        let (status, times) = tried(&host, id, 9, policy).await;
        assert_eq!(status["runtimeStatus"], "Failed", "{id}");
        // Fewer where the machine is so slow that the time is up before.
        let is_right = if id == "timed" { (1..=4).contains(&times.len()) } else { times.len() == attempts };
        assert!(is_right, "{id}: {times:?}");
        let text = format!("Orchestrator function 'Trials' failed: trial {} fails", times.len());
        assert_eq!(status["output"], text);
    }
}

#[tokio::test]
async fn a_policy_that_is_none_fails_the_orchestration_and_says_why() {
    let host = Host::start_default().await;
    for (id, policy, rule) in [
        ("attempts", json!({"max": 0, "firstMs": 10}), "the number of attempts must be at least 1"),
        ("interval", json!({"max": 2, "firstMs": 0}), "the first interval must be above 0 and finite"),
        ("infinite", json!({"max": 2, "firstMs": 1, "coefficient": "inf"}), "the back-off coefficient must be"),
        ("negative", json!({"max": 2, "firstMs": 1, "coefficient": "-1"}), "the back-off coefficient must be"),
        ("nan", json!({"max": 2, "firstMs": 1, "coefficient": "NaN"}), "the back-off coefficient must be"),
    ] {
        let (status, times) = tried(&host, id, 9, policy).await;
        let output = status["output"].as_str().unwrap();
        assert!(
            output.contains("the retry policy of activity \"Trial\" is none: ") && output.contains(rule),
            "{output}"
        );
        assert_eq!(times.len(), 0);
    }
    // Longer than any host lives; it waits, and can be ended.
    let input = r#"{"trial":{"fails":9,"kind":"Busy"},"max":9,"firstMs":18446744073709551615,"coefficient":"1e308"}"#;
    host.start("Trials", "for-ever", input).await;
    eventually("the first attempt failed", || async { (trials(&host, "for-ever").len() == 1).then_some(()) }).await;
    assert_eq!(host.post(&format!("{}/terminate", soloist_tests::instances::path("for-ever")), "").await.status, 202);
}
