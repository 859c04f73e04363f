//! `showRawHistory`: every event that is recorded, in order, none merged and none left out, with the numbers that tie an end to
//! its beginning.
//!
//! Each turn is framed by `OrchestratorStarted` and `OrchestratorCompleted`, as in the original's histories. Events that the
//! original does not have (repeated attempts, cancelled actions and the like) are shown under this host's names for them.

use std::sync::Arc;

use super::super::json_text::{JsonObject, array};
use super::super::time::seven_digits;
use super::http_call;
use crate::durable::{EntityId, ExecutionStarted, Failure, HistoryEvent, Json, RuntimeStatus, Sequence, TurnRecord};

/// The number of what is no action.
const NO_ACTION: &str = "-1";

/// The array, as JSON text.
pub(super) fn raw_history(records: &[Arc<TurnRecord>]) -> String {
    array(records.iter().flat_map(|record| {
        let at = seven_digits(record.time);
        // The start is a record of its own, which no turn made.
        let is_turn = !matches!(record.events.first(), Some(HistoryEvent::ExecutionStarted(_))) && !record.is_hold();
        let frame = |name: &str| is_turn.then(|| of(name, NO_ACTION).string("Timestamp", &at).finish());
        let events: Vec<_> = record.events.iter().map(|event| raw(event).string("Timestamp", &at).finish()).collect();
        frame("OrchestratorStarted").into_iter().chain(events).chain(frame("OrchestratorCompleted")).collect::<Vec<_>>()
    }))
}

fn of(name: &str, id: &str) -> JsonObject {
    JsonObject::new().string("EventType", name).raw("EventId", id)
}

/// What the code asked for.
fn action(name: &str, sequence: Sequence) -> JsonObject {
    of(name, &sequence.to_string())
}

/// What became of it.
fn end(name: &str, sequence: Sequence) -> JsonObject {
    of(name, NO_ACTION).raw("TaskScheduledId", &sequence.to_string())
}

/// What happened without having been asked for.
fn incident(name: &str) -> JsonObject {
    of(name, NO_ACTION)
}

/// One event, but for its time.
fn raw(event: &HistoryEvent) -> JsonObject {
    match event {
        HistoryEvent::ExecutionStarted(started) => execution_started(started),
        HistoryEvent::TaskScheduled(_)
        | HistoryEvent::TaskCompleted { .. }
        | HistoryEvent::TaskFailed { .. }
        | HistoryEvent::TaskRetryScheduled { .. }
        | HistoryEvent::TaskRetryStarted { .. }
        | HistoryEvent::ChildScheduled(_)
        | HistoryEvent::ChildCompleted { .. }
        | HistoryEvent::ChildFailed { .. } => task(event),
        HistoryEvent::HttpScheduled(_)
        | HistoryEvent::HttpCompleted { .. }
        | HistoryEvent::HttpFailed { .. }
        | HistoryEvent::HttpPollScheduled { .. }
        | HistoryEvent::HttpPollStarted { .. } => http(event),
        HistoryEvent::EntityCalled(_)
        | HistoryEvent::EntityCompleted { .. }
        | HistoryEvent::EntityFailed { .. }
        | HistoryEvent::EntitySignaled(_)
        | HistoryEvent::LocksRequested(_)
        | HistoryEvent::LocksGranted { .. }
        | HistoryEvent::LocksFailed { .. }
        | HistoryEvent::LocksReleased { .. } => entity(event),
        HistoryEvent::TimerCreated { sequence, fire_at } => {
            action("TimerCreated", *sequence).string("FireAt", &seven_digits(*fire_at))
        }
        HistoryEvent::TimerFired { sequence } => incident("TimerFired").raw("TimerId", &sequence.to_string()),
        HistoryEvent::ActionCanceled { sequence } => end("ActionCanceled", *sequence),
        HistoryEvent::EventRaised { message, name, input } => incident("EventRaised")
            .raw("MessageId", &message.to_string())
            .string("Name", name)
            .json("Input", Some(input)),
        HistoryEvent::EventConsumed { index } => incident("EventConsumed").raw("Index", &index.to_string()),
        HistoryEvent::EventSent(sent) => action("EventSent", sent.sequence)
            .string("InstanceId", &sent.instance_id)
            .string("Name", &sent.name)
            .json("Input", Some(&sent.input)),
        HistoryEvent::CustomStatusSet { status } => incident("CustomStatusSet").json("CustomStatus", Some(status)),
        HistoryEvent::ExecutionCompleted { output } => {
            ended_as(RuntimeStatus::Completed).json("Result", Some(output)).raw("FailureDetails", "null")
        }
        HistoryEvent::ExecutionFailed { failure } => ended_as(RuntimeStatus::Failed)
            .string("Result", &failure.message)
            .raw("FailureDetails", &failure_details(failure)),
        HistoryEvent::ExecutionTerminated { reason } => incident("ExecutionTerminated").string("Input", reason),
        HistoryEvent::ExecutionSuspended { reason } => incident("ExecutionSuspended").string("Reason", reason),
        HistoryEvent::ExecutionResumed { reason } => incident("ExecutionResumed").string("Reason", reason),
        HistoryEvent::ExecutionRewound(rewound) => incident("ExecutionRewound")
            .string("Reason", &rewound.reason)
            .raw("Tasks", &array(rewound.tasks.iter().map(|task| task.sequence.to_string())))
            .raw("FailureDetails", &failure_details(&rewound.failure)),
        HistoryEvent::ComponentReplaced(replaced) => incident("ComponentReplaced")
            .string("Component", &replaced.component.to_string())
            .string("Handler", &replaced.handler)
            .string("Contract", &replaced.contract),
    }
}

fn execution_started(started: &ExecutionStarted) -> JsonObject {
    let parent = started.parent.as_ref().map(|parent| {
        JsonObject::new()
            .raw("TaskScheduleId", &parent.sequence.to_string())
            .string("Name", &parent.name)
            .string("InstanceId", &parent.instance_id)
            .string("ExecutionId", &parent.execution_id)
            .finish()
    });
    let tags = started.tags.iter().fold(JsonObject::new(), |tags, tag| tags.string(&tag.key, &tag.value)).finish();
    incident("ExecutionStarted")
        .string("Name", &started.name)
        .string_or_null("Version", started.version.as_deref())
        .json("Input", Some(&started.input))
        .string("ExecutionId", &started.execution_id.0)
        .raw("ParentInstance", parent.as_deref().unwrap_or("null"))
        .raw("Tags", &tags)
        .raw("Correlation", "null")
        .string_or_null("ScheduledStartTime", started.scheduled_start.map(seven_digits).as_deref())
        .string("Component", &started.component.to_string())
}

/// Activities and children.
fn task(event: &HistoryEvent) -> JsonObject {
    match event {
        HistoryEvent::TaskScheduled(task) => {
            action("TaskScheduled", task.sequence).string("Name", &task.name).json("Input", Some(&task.input))
        }
        HistoryEvent::TaskCompleted { sequence, result } => {
            end("TaskCompleted", *sequence).json("Result", Some(result))
        }
        HistoryEvent::TaskFailed { sequence, failure } => failed(end("TaskFailed", *sequence), failure),
        HistoryEvent::TaskRetryScheduled { sequence, attempt, failure, due } => {
            let retry = end("TaskRetryScheduled", *sequence).raw("Attempt", &attempt.to_string());
            failed(retry.string("FireAt", &seven_digits(*due)), failure)
        }
        HistoryEvent::TaskRetryStarted { sequence, attempt } => {
            end("TaskRetryStarted", *sequence).raw("Attempt", &attempt.to_string())
        }
        HistoryEvent::ChildScheduled(child) => action("SubOrchestrationInstanceCreated", child.sequence)
            .string("Name", &child.name)
            .string_or_null("Version", child.version.as_deref())
            .string("InstanceId", &child.instance_id)
            .json("Input", Some(&child.input)),
        HistoryEvent::ChildCompleted { sequence, result } => {
            end("SubOrchestrationInstanceCompleted", *sequence).json("Result", Some(result))
        }
        HistoryEvent::ChildFailed { sequence, failure } => {
            failed(end("SubOrchestrationInstanceFailed", *sequence), failure)
        }
        _ => unreachable!("raw() hands over activities and children"),
    }
}

/// Durable HTTP calls.
fn http(event: &HistoryEvent) -> JsonObject {
    match event {
        HistoryEvent::HttpScheduled(call) => action("TaskScheduled", call.sequence)
            .string("Name", http_call::NAME)
            .json("Input", Some(&http_call::input(call))),
        HistoryEvent::HttpCompleted { sequence, answer } => {
            end("TaskCompleted", *sequence).json("Result", Some(&http_call::result(answer)))
        }
        HistoryEvent::HttpFailed { sequence, failure } => failed(end("TaskFailed", *sequence), failure),
        HistoryEvent::HttpPollScheduled { sequence, location, due } => {
            end("HttpPollScheduled", *sequence).string("Location", location).string("FireAt", &seven_digits(*due))
        }
        HistoryEvent::HttpPollStarted { sequence } => end("HttpPollStarted", *sequence),
        _ => unreachable!("raw() hands over durable HTTP calls"),
    }
}

/// Entities and locks: messages, as in the original.
fn entity(event: &HistoryEvent) -> JsonObject {
    match event {
        HistoryEvent::EntityCalled(call) => operation(call.sequence, &call.entity, &call.operation, &call.input, false),
        HistoryEvent::EntitySignaled(signal) => {
            operation(signal.sequence, &signal.entity, &signal.operation, &signal.input, true)
        }
        HistoryEvent::EntityCompleted { sequence, result } => {
            let answer = JsonObject::new().json("result", Some(result));
            end("EventRaised", *sequence).string("Name", "op").raw("Input", &answer.finish())
        }
        HistoryEvent::EntityFailed { sequence, failure } | HistoryEvent::LocksFailed { sequence, failure } => {
            let answer = JsonObject::new().string("result", &failure.message).string("exceptionType", &failure.kind);
            end("EventRaised", *sequence).string("Name", "op").raw("Input", &answer.finish())
        }
        HistoryEvent::LocksRequested(locks) => {
            let set = array(locks.entities.iter().map(|entity| Json::string(&entity.to_string()).as_str().to_owned()));
            action("EventSent", locks.sequence)
                .string_or_null("InstanceId", locks.entities.first().map(ToString::to_string).as_deref())
                .string("Name", "op")
                .raw("Input", &JsonObject::new().raw("lockset", &set).finish())
        }
        HistoryEvent::LocksGranted { sequence } => end("EventRaised", *sequence).string("Name", "op"),
        HistoryEvent::LocksReleased { sequence, lock } => {
            action("EventSent", *sequence).string("Name", "release").raw("TaskScheduledId", &lock.to_string())
        }
        _ => unreachable!("raw() hands over entities and locks"),
    }
}

fn operation(sequence: Sequence, entity: &EntityId, operation: &str, input: &Json, is_signal: bool) -> JsonObject {
    let message = JsonObject::new()
        .string("op", operation)
        .raw("signal", if is_signal { "true" } else { "false" })
        .json("input", Some(input));
    action("EventSent", sequence)
        .string("InstanceId", &entity.to_string())
        .string("Name", "op")
        .raw("Input", &message.finish())
}

fn failed(object: JsonObject, failure: &Failure) -> JsonObject {
    object
        .string("Reason", &failure.message)
        .string_or_null("Details", failure.details.as_deref())
        .raw("FailureDetails", &failure_details(failure))
}

fn failure_details(failure: &Failure) -> String {
    let inner = failure.causes.iter().rev().fold("null".to_owned(), |inner, cause| {
        let cause = JsonObject::new().string("ErrorType", &cause.kind).string("ErrorMessage", &cause.message);
        cause.raw("InnerFailure", &inner).finish()
    });
    JsonObject::new()
        .string("ErrorType", &failure.kind)
        .string("ErrorMessage", &failure.message)
        .string_or_null("StackTrace", failure.details.as_deref())
        .raw("InnerFailure", &inner)
        .raw("IsNonRetriable", if failure.non_retriable { "true" } else { "false" })
        .finish()
}

fn ended_as(status: RuntimeStatus) -> JsonObject {
    incident("ExecutionCompleted").string("OrchestrationStatus", status.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{
        ChildScheduled, Digest, ExecutionId, FailureCause, MessageNumber, Summary, Tag, TaskScheduled, Timestamp,
    };

    fn record(second: i64, events: Vec<HistoryEvent>) -> Arc<TurnRecord> {
        let summary = Summary { status: RuntimeStatus::Running, custom_status: None, next_due: None, outstanding: 0 };
        Arc::new(TurnRecord { time: Timestamp((1_767_225_600 + second) * 1_000_000), events, summary })
    }

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn started() -> HistoryEvent {
        HistoryEvent::ExecutionStarted(Box::new(ExecutionStarted {
            name: "E1".into(),
            handler: "e1".into(),
            version: Some("2".into()),
            execution_id: ExecutionId("x".into()),
            component: Digest([0; 32]),
            contract: "1.0.0".into(),
            input: json(r#"{"in": 1.0}"#),
            parent: None,
            tags: vec![Tag { key: "k".into(), value: "v".into() }],
            trace_context: None,
            scheduled_start: None,
        }))
    }

    fn scheduled(sequence: Sequence) -> HistoryEvent {
        HistoryEvent::TaskScheduled(TaskScheduled {
            sequence,
            name: "A".into(),
            input: json("1"),
            retry: None,
            timeout_ms: None,
            tags: vec![],
        })
    }

    fn events(records: &[Arc<TurnRecord>]) -> Vec<serde_json::Value> {
        serde_json::from_str(&raw_history(records)).unwrap()
    }

    #[test]
    fn nothing_is_merged_and_ends_name_their_beginnings() {
        let mut failure = Failure::new("Boom", "it went");
        failure.causes = vec![FailureCause { kind: "Spark".into(), message: "hot".into() }];
        let timer = HistoryEvent::TimerCreated { sequence: 1, fire_at: Timestamp(1_767_225_660_000_000) };
        let shown = events(&[
            record(0, vec![started()]),
            record(1, vec![scheduled(0), timer]),
            record(
                2,
                vec![
                    HistoryEvent::TaskCompleted { sequence: 0, result: json("[ 1.0 ]") },
                    HistoryEvent::TimerFired { sequence: 1 },
                    HistoryEvent::EventRaised { message: MessageNumber(7), name: "Go".into(), input: json("2") },
                    HistoryEvent::ExecutionFailed { failure },
                ],
            ),
        ]);
        let kinds: Vec<_> = shown
            .iter()
            .map(|event| {
                let (id, task, timer) = (&event["EventId"], &event["TaskScheduledId"], &event["TimerId"]);
                format!("{} {id} {task} {timer}", event["EventType"].as_str().unwrap())
            })
            .collect();
        assert_eq!(
            kinds,
            [
                "ExecutionStarted -1 null null",
                "OrchestratorStarted -1 null null",
                "TaskScheduled 0 null null",
                "TimerCreated 1 null null",
                "OrchestratorCompleted -1 null null",
                "OrchestratorStarted -1 null null",
                "TaskCompleted -1 0 null",
                "TimerFired -1 null 1",
                "EventRaised -1 null null",
                "ExecutionCompleted -1 null null",
                "OrchestratorCompleted -1 null null",
            ]
        );
        let wanted = serde_json::json!({
            "EventType": "ExecutionStarted", "EventId": -1, "Name": "E1", "Version": "2", "Input": {"in": 1.0},
            "ExecutionId": "x", "ParentInstance": null, "Tags": {"k": "v"}, "Correlation": null,
            "ScheduledStartTime": null, "Component": Digest([0; 32]).to_string(),
            "Timestamp": "2026-01-01T00:00:00.0000000Z",
        });
        assert_eq!(shown[0], wanted);
        assert_eq!((&shown[6]["Result"], &shown[8]["Input"]), (&serde_json::json!([1.0]), &serde_json::json!(2)));
        assert_eq!(shown[9]["FailureDetails"]["InnerFailure"]["ErrorMessage"], "hot");
    }

    #[test]
    fn what_the_projection_hides_is_there() {
        let child = ChildScheduled {
            sequence: 3,
            name: "C".into(),
            instance_id: "c".into(),
            input: json("1"),
            version: None,
            detached: false,
            retry: None,
            policy: None,
            scheduled_start: None,
            tags: vec![],
        };
        let retry = HistoryEvent::TaskRetryScheduled {
            sequence: 0,
            attempt: 1,
            failure: Failure::new("Boom", "it went"),
            due: Timestamp(1_767_225_660_000_000),
        };
        let all = vec![
            retry,
            HistoryEvent::TaskRetryStarted { sequence: 0, attempt: 2 },
            HistoryEvent::ActionCanceled { sequence: 1 },
            HistoryEvent::EventConsumed { index: 0 },
            HistoryEvent::CustomStatusSet { status: json("\"half\"") },
            HistoryEvent::ChildScheduled(Box::new(child)),
            HistoryEvent::ChildFailed { sequence: 3, failure: Failure::new("Boom", "it went") },
            HistoryEvent::LocksReleased { sequence: 5, lock: 4 },
        ];
        let count = all.len();
        let shown = events(&[record(1, all)]);
        assert_eq!(shown.len(), count + 2, "each is shown, between the turn's frame");
        assert_eq!((&shown[1]["TaskScheduledId"], &shown[1]["Attempt"]), (&0.into(), &1.into()));
        assert_eq!(shown[5]["CustomStatus"], "half");
        assert_eq!((&shown[7]["TaskScheduledId"], &shown[7]["Reason"]), (&3.into(), &"it went".into()));
        // An operator's hold is no turn.
        let held = events(&[record(1, vec![HistoryEvent::ExecutionSuspended { reason: "slow".into() }])]);
        assert_eq!((held.len(), &held[0]["Reason"]), (1, &"slow".into()));
    }
}
