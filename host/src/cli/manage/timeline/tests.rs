use super::*;
use crate::cli::manage::args::Format;

fn timeline(history: serde_json::Value) -> String {
    let events: Vec<Event> = serde_json::from_str(&history.to_string()).unwrap();
    let now = "2026-01-01T00:00:20Z".parse().unwrap();
    Timeline::new(&events).render(now, &Output::new(Format::Text))
}

fn at(second: u32) -> String {
    format!("2026-01-01T00:00:{second:02}.0000000Z")
}

/// The columns of the line with this text, without the bar.
fn line(text: &str, part: &str) -> String {
    let line = text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part} in {text}"));
    line.split_whitespace().filter(|word| !word.starts_with('#')).collect::<Vec<_>>().join(" ")
}

#[test]
fn steps_are_in_the_order_in_which_they_began_with_how_long_they_took() {
    let text = timeline(serde_json::json!([
        { "EventType": "ExecutionStarted", "Timestamp": at(0), "FunctionName": "Order" },
        { "EventType": "TimerCreated", "Timestamp": at(1), "FireAt": at(4) },
        { "EventType": "TimerCreated", "Timestamp": at(1), "FireAt": at(9) },
        { "EventType": "TaskScheduled", "Timestamp": at(2), "Name": "Slow" },
        { "EventType": "TaskFailed", "Timestamp": at(3), "ScheduledTime": at(1), "FunctionName": "Bad", "Reason": "no\u{1b}[2J" },
        { "EventType": "TimerFired", "Timestamp": at(4), "FireAt": at(4) },
        { "EventType": "EventRaised", "Timestamp": at(5), "Name": "Go" },
        { "EventType": "TaskCompleted", "Timestamp": at(6), "ScheduledTime": at(0), "FunctionName": "BuiltIn::HttpActivity",
          "Input": { "method": "GET", "uri": "http://x/y" } },
        { "EventType": "SubOrchestrationInstanceCompleted", "Timestamp": at(8), "ScheduledTime": at(7),
          "FunctionName": "Child", "InstanceId": "c-1" },
    ]));
    assert_eq!(line(&text, "started"), "+0.0 ms started Order");
    assert_eq!(line(&text, "00:00:04"), "+1.00 s 3.00 s timer due 2026-01-01 00:00:04 fired");
    assert_eq!(line(&text, "00:00:09"), "+1.00 s 19.00 s… timer due 2026-01-01 00:00:09 waiting");
    assert_eq!(line(&text, "Slow"), "+2.00 s 18.00 s… activity Slow running");
    assert_eq!(line(&text, "Bad"), "+1.00 s 2.00 s activity Bad failed no\\u001b[2J");
    assert_eq!(line(&text, "Go"), "+5.00 s event Go received");
    assert_eq!(line(&text, "http"), "+0.0 ms 6.00 s http call GET http://x/y completed");
    assert_eq!(line(&text, "Child"), "+7.00 s 1.00 s child Child c-1 completed");
    let order: Vec<_> = ["started", "http", "00:00:04", "Slow", "Go", "Child"].map(|part| text.find(part)).into();
    assert!(order.is_sorted(), "{text}");
    assert_eq!(line(&text, "AT"), "AT TOOK STEP WHAT RESULT");
}

#[test]
fn calls_of_entities_are_matched_where_only_one_is_open() {
    let call = |second: u32, key: &str, input: serde_json::Value| {
        let id = format!("@counter@{key}");
        serde_json::json!({ "EventType": "EventSent", "Timestamp": at(second), "InstanceId": id, "Name": "op", "Input": input })
    };
    let answer = |second: u32, input: serde_json::Value| serde_json::json!({ "EventType": "EventRaised", "Timestamp": at(second), "Name": "op", "Input": input });
    let text = timeline(serde_json::json!([
        { "EventType": "ExecutionStarted", "Timestamp": at(0), "FunctionName": "F" },
        answer(0, serde_json::json!("the user's own")),
        call(1, "a", serde_json::json!({ "op": "add", "signal": false })),
        answer(3, serde_json::json!({ "result": 1 })),
        call(3, "s", serde_json::json!({ "op": "add", "signal": true })),
        call(4, "bad", serde_json::json!({ "op": "add", "signal": false })),
        answer(5, serde_json::json!({ "result": "broke", "exceptionType": "Oops" })),
        call(6, "l", serde_json::json!({ "lockset": ["@counter@l", "@counter@m"] })),
        answer(8, serde_json::Value::Null),
        { "EventType": "EventSent", "Timestamp": at(9), "Name": "release" },
        { "EventType": "EventSent", "Timestamp": at(9), "Name": "Go", "InstanceId": "other" },
        call(10, "x", serde_json::json!({ "op": "get", "signal": false })),
        call(10, "y", serde_json::json!({ "op": "get", "signal": false })),
        answer(11, serde_json::json!({ "result": 1 })),
        answer(12, serde_json::json!({ "result": 2 })),
    ]));
    assert_eq!(line(&text, "event  "), "+0.0 ms event op received");
    assert_eq!(line(&text, "@counter@a"), "+1.00 s 2.00 s entity call @counter@a add answered");
    assert_eq!(line(&text, "@counter@s"), "+3.00 s signal @counter@s add");
    assert_eq!(line(&text, "@counter@bad"), "+4.00 s 1.00 s entity call @counter@bad add failed Oops: broke");
    assert_eq!(line(&text, "@counter@l"), "+6.00 s 2.00 s lock @counter@l, @counter@m granted");
    assert_eq!(line(&text, "unlock"), "+9.00 s unlock");
    assert_eq!(line(&text, "other"), "+9.00 s event sent Go to other");
    assert_eq!(line(&text, "1 of 2"), "+11.00 s entity answer 1 of 2 open answered");
    assert!(!text.contains("waiting"), "{text}");
}

#[test]
fn a_raw_history_tells_of_retries_and_whose_an_answer_is() {
    let text = timeline(serde_json::json!([
        { "EventType": "ExecutionStarted", "EventId": -1, "Timestamp": at(0), "Name": "F" },
        { "EventType": "OrchestratorStarted", "EventId": -1, "Timestamp": at(1) },
        { "EventType": "TaskScheduled", "EventId": 0, "Timestamp": at(1), "Name": "Flaky" },
        { "EventType": "TimerCreated", "EventId": 1, "Timestamp": at(1), "FireAt": at(9) },
        { "EventType": "TimerCreated", "EventId": 2, "Timestamp": at(1), "FireAt": at(9) },
        { "EventType": "EventSent", "EventId": 3, "Timestamp": at(1), "InstanceId": "@c@x", "Name": "op", "Input": { "op": "get" } },
        { "EventType": "EventSent", "EventId": 4, "Timestamp": at(1), "InstanceId": "@c@y", "Name": "op", "Input": { "op": "get" } },
        { "EventType": "OrchestratorCompleted", "EventId": -1, "Timestamp": at(1) },
        { "EventType": "EventRaised", "EventId": -1, "Timestamp": at(2), "Name": "op", "Input": 1 },
        { "EventType": "TaskRetryScheduled", "EventId": -1, "TaskScheduledId": 0, "Attempt": 2, "Timestamp": at(3), "Reason": "no", "FireAt": at(5) },
        { "EventType": "EventRaised", "EventId": -1, "TaskScheduledId": 4, "Timestamp": at(4), "Name": "op", "Input": { "result": 1 } },
        { "EventType": "TaskRetryStarted", "EventId": -1, "TaskScheduledId": 0, "Attempt": 2, "Timestamp": at(5) },
        { "EventType": "TaskCompleted", "EventId": -1, "TaskScheduledId": 0, "Timestamp": at(7), "Result": 1 },
        { "EventType": "ActionCanceled", "EventId": -1, "TaskScheduledId": 1, "Timestamp": at(8) },
        { "EventType": "TimerFired", "EventId": -1, "TimerId": 2, "Timestamp": at(9) },
    ]));
    assert_eq!(line(&text, "started"), "+0.0 ms started F");
    assert_eq!(line(&text, "activity"), "+1.00 s 6.00 s activity Flaky completed");
    assert_eq!(line(&text, "retry"), "+3.00 s 2.00 s retry Flaky attempt 2 started no");
    assert_eq!(line(&text, "canceled"), "+1.00 s 7.00 s timer due 2026-01-01 00:00:09 canceled");
    assert_eq!(line(&text, "fired"), "+1.00 s 8.00 s timer due 2026-01-01 00:00:09 fired");
    assert_eq!(line(&text, "@c@y"), "+1.00 s 3.00 s entity call @c@y get answered");
    assert_eq!(line(&text, "@c@x"), "+1.00 s 19.00 s… entity call @c@x get waiting");
    assert_eq!(line(&text, "received"), "+2.00 s event op received");
    assert_eq!(text.lines().count(), 9, "{text}");
}

#[test]
fn an_end_closes_what_is_open_and_a_suspension_ends_with_its_resume() {
    let text = timeline(serde_json::json!([
        { "EventType": "ExecutionStarted", "Timestamp": at(0), "FunctionName": "F" },
        { "EventType": "TaskScheduled", "Timestamp": at(0), "Name": "Slow" },
        { "EventType": "ExecutionSuspended", "Timestamp": at(1), "Reason": "hold" },
        { "EventType": "ExecutionResumed", "Timestamp": at(5), "Reason": "on" },
        { "EventType": "ExecutionRewound", "Timestamp": at(5), "Reason": "mended" },
        { "EventType": "Novelty", "Timestamp": "not a time" },
        { "EventType": "ExecutionTerminated", "Timestamp": at(6), "Input": "enough" },
    ]));
    assert_eq!(line(&text, "Slow"), "+0.0 ms activity Slow not ended");
    assert_eq!(line(&text, "hold"), "+1.00 s 4.00 s suspended hold");
    assert_eq!(line(&text, "resumed"), "+5.00 s resumed on");
    assert_eq!(line(&text, "mended"), "+5.00 s rewound mended");
    assert_eq!(line(&text, "Novelty"), "+5.00 s event Novelty");
    assert_eq!(line(&text, "enough"), "+6.00 s ended Terminated enough");
    assert_eq!(timeline(serde_json::json!([])), "");
}

#[test]
fn bars_show_where_a_step_lies() {
    let time = |second: u32| at(second).parse::<Moment>().unwrap();
    let shown = |from, to| bar(time(0), time(24), time(from), time(to));
    assert_eq!(shown(0, 24), "#".repeat(24));
    assert_eq!(shown(12, 18), format!("{}######{}", " ".repeat(12), " ".repeat(6)));
    assert_eq!(shown(24, 24), format!("{}#", " ".repeat(23)));
    assert_eq!(bar(time(0), time(0), time(0), time(0)).len(), 24);
}
