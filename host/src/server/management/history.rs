//! `historyEvents`: the records of an instance, in the projection that Durable Functions shows.
//!
//! What was scheduled is left out once it has ended; its end then tells when it was scheduled, and what. Turn boundaries and
//! what only this host records are never shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::json_text::{JsonObject, array};
use super::super::time::seven_digits;
use super::http_call;
use crate::durable::{
    ChildScheduled, EntityId, Failure, HistoryEvent, HttpScheduled, Json, RuntimeStatus, Sequence, TaskScheduled,
    Timestamp, TurnRecord,
};
use crate::hub::HistoryDetail;

/// The array, as JSON text: what Durable Functions shows of these records.
pub fn history_events(records: &[Arc<TurnRecord>], detail: HistoryDetail) -> String {
    let projection = Projection::new(records, detail);
    let events = records.iter().flat_map(|record| record.events.iter().map(|event| (record.time, event)));
    array(events.filter_map(|(time, event)| projection.event(time, event)))
}

/// What one event's text needs to know of the others.
struct Projection<'a> {
    detail: HistoryDetail,
    orchestrator: &'a str,
    scheduled: BTreeMap<Sequence, (Timestamp, &'a TaskScheduled)>,
    children: BTreeMap<Sequence, (Timestamp, &'a ChildScheduled)>,
    calls: BTreeMap<Sequence, (Timestamp, &'a HttpScheduled)>,
    timers: BTreeMap<Sequence, Timestamp>,
    ended: BTreeSet<Sequence>,
}

impl<'a> Projection<'a> {
    fn new(records: &'a [Arc<TurnRecord>], detail: HistoryDetail) -> Self {
        let mut projection = Self {
            detail,
            orchestrator: "",
            scheduled: BTreeMap::new(),
            children: BTreeMap::new(),
            calls: BTreeMap::new(),
            timers: BTreeMap::new(),
            ended: BTreeSet::new(),
        };
        for record in records {
            for event in &record.events {
                projection.note(record.time, event);
            }
        }
        projection
    }

    fn note(&mut self, time: Timestamp, event: &'a HistoryEvent) {
        match event {
            HistoryEvent::ExecutionStarted(started) => self.orchestrator = &started.name,
            HistoryEvent::TaskScheduled(task) => {
                self.scheduled.insert(task.sequence, (time, task));
            }
            HistoryEvent::TaskCompleted { sequence, .. } | HistoryEvent::TaskFailed { sequence, .. } => {
                self.ended.insert(*sequence);
            }
            HistoryEvent::TimerCreated { sequence, fire_at } => {
                self.timers.insert(*sequence, *fire_at);
            }
            HistoryEvent::ChildScheduled(child) => {
                self.children.insert(child.sequence, (time, child));
            }
            HistoryEvent::ChildCompleted { sequence, .. } | HistoryEvent::ChildFailed { sequence, .. } => {
                self.ended.insert(*sequence);
            }
            HistoryEvent::HttpScheduled(call) => {
                self.calls.insert(call.sequence, (time, call));
            }
            HistoryEvent::HttpCompleted { sequence, .. } | HistoryEvent::HttpFailed { sequence, .. } => {
                self.ended.insert(*sequence);
            }
            HistoryEvent::TimerFired { .. }
            | HistoryEvent::HttpPollScheduled { .. }
            | HistoryEvent::HttpPollStarted { .. }
            | HistoryEvent::EntityCalled(_)
            | HistoryEvent::EntityCompleted { .. }
            | HistoryEvent::EntityFailed { .. }
            | HistoryEvent::EntitySignaled(_)
            | HistoryEvent::LocksRequested(_)
            | HistoryEvent::LocksGranted { .. }
            | HistoryEvent::LocksFailed { .. }
            | HistoryEvent::LocksReleased { .. }
            | HistoryEvent::EventSent(_)
            | HistoryEvent::TaskRetryScheduled { .. }
            | HistoryEvent::TaskRetryStarted { .. }
            | HistoryEvent::ActionCanceled { .. }
            | HistoryEvent::EventRaised { .. }
            | HistoryEvent::EventConsumed { .. }
            | HistoryEvent::CustomStatusSet { .. }
            | HistoryEvent::ExecutionSuspended { .. }
            | HistoryEvent::ExecutionResumed { .. }
            | HistoryEvent::ExecutionRewound(_)
            | HistoryEvent::ExecutionCompleted { .. }
            | HistoryEvent::ExecutionFailed { .. }
            | HistoryEvent::ExecutionTerminated { .. }
            | HistoryEvent::ComponentReplaced(_) => {}
        }
    }

    /// One event's text; none if it is not shown.
    fn event(&self, time: Timestamp, event: &HistoryEvent) -> Option<String> {
        let HistoryDetail { input: with_input, output: with_output } = self.detail;
        let at = seven_digits(time);
        let named = |name: &str| JsonObject::new().string("EventType", name);
        let object = match event {
            HistoryEvent::ExecutionStarted(started) => named("ExecutionStarted")
                .when(with_input, |o| o.json("Input", Some(&started.input)))
                .raw("Correlation", "null")
                .string_or_null("ScheduledStartTime", started.scheduled_start.map(seven_digits).as_deref())
                .string("Timestamp", &at)
                .string("FunctionName", &started.name),
            HistoryEvent::TaskScheduled(task) if self.ended.contains(&task.sequence) => return None,
            HistoryEvent::TaskScheduled(task) => named("TaskScheduled")
                .string("Name", &task.name)
                .when(with_input, |o| o.json("Input", Some(&task.input)))
                .string("Timestamp", &at),
            HistoryEvent::ChildScheduled(child) if self.ended.contains(&child.sequence) => return None,
            HistoryEvent::ChildScheduled(child) => named("SubOrchestrationInstanceCreated")
                .string("Name", &child.name)
                .string("InstanceId", &child.instance_id)
                .when(with_input, |o| o.json("Input", Some(&child.input)))
                .string("Timestamp", &at),
            HistoryEvent::ChildCompleted { sequence, result } => {
                let object =
                    named("SubOrchestrationInstanceCompleted").when(with_output, |o| o.json("Result", Some(result)));
                self.with_child(object.string("Timestamp", &at), *sequence)
            }
            HistoryEvent::ChildFailed { sequence, failure } => {
                let object = named("SubOrchestrationInstanceFailed")
                    .string("Reason", &failure.message)
                    .string_or_null("Details", failure.details.as_deref());
                self.with_child(object.string("Timestamp", &at), *sequence)
            }
            HistoryEvent::TaskCompleted { sequence, result } => {
                let object = named("TaskCompleted").when(with_output, |o| o.json("Result", Some(result)));
                self.with_schedule(object.string("Timestamp", &at), *sequence)
            }
            HistoryEvent::TaskFailed { sequence, failure } => {
                let object = named("TaskFailed")
                    .string("Reason", &failure.message)
                    .string_or_null("Details", failure.details.as_deref());
                self.with_schedule(object.string("Timestamp", &at), *sequence)
            }
            HistoryEvent::HttpScheduled(call) if self.ended.contains(&call.sequence) => return None,
            HistoryEvent::HttpScheduled(call) => named("TaskScheduled")
                .string("Name", http_call::NAME)
                .when(with_input, |o| o.json("Input", Some(&http_call::input(call))))
                .string("Timestamp", &at),
            HistoryEvent::HttpCompleted { sequence, answer } => {
                let object =
                    named("TaskCompleted").when(with_output, |o| o.json("Result", Some(&http_call::result(answer))));
                self.with_call(object.string("Timestamp", &at), *sequence)
            }
            HistoryEvent::HttpFailed { sequence, failure } => {
                let object = named("TaskFailed")
                    .string("Reason", &failure.message)
                    .string_or_null("Details", failure.details.as_deref());
                self.with_call(object.string("Timestamp", &at), *sequence)
            }
            HistoryEvent::TimerCreated { fire_at, .. } => {
                named("TimerCreated").string("FireAt", &seven_digits(*fire_at)).string("Timestamp", &at)
            }
            HistoryEvent::TimerFired { sequence } => named("TimerFired")
                .string_or_null("FireAt", self.timers.get(sequence).copied().map(seven_digits).as_deref())
                .string("Timestamp", &at),
            HistoryEvent::EventRaised { name, input, .. } => named("EventRaised")
                .string("Name", name)
                .when(with_input, |o| o.json("Input", Some(input)))
                .string("Timestamp", &at),
            HistoryEvent::EntityCalled(call) => {
                self.operation(&call.entity, &call.operation, &call.input, false).string("Timestamp", &at)
            }
            HistoryEvent::EntitySignaled(signal) => {
                self.operation(&signal.entity, &signal.operation, &signal.input, true).string("Timestamp", &at)
            }
            HistoryEvent::EntityCompleted { result, .. } => named("EventRaised")
                .string("Name", "op")
                .when(with_output, |o| o.raw("Input", &JsonObject::new().json("result", Some(result)).finish()))
                .string("Timestamp", &at),
            HistoryEvent::EntityFailed { failure, .. } | HistoryEvent::LocksFailed { failure, .. } => {
                let answer =
                    JsonObject::new().string("result", &failure.message).string("exceptionType", &failure.kind);
                named("EventRaised").string("Name", "op").raw("Input", &answer.finish()).string("Timestamp", &at)
            }
            HistoryEvent::LocksRequested(locks) => {
                let set =
                    array(locks.entities.iter().map(|entity| Json::string(&entity.to_string()).as_str().to_owned()));
                named("EventSent")
                    .string_or_null("InstanceId", locks.entities.first().map(ToString::to_string).as_deref())
                    .string("Name", "op")
                    .raw("Input", &JsonObject::new().raw("lockset", &set).finish())
                    .string("Timestamp", &at)
            }
            HistoryEvent::LocksGranted { .. } => named("EventRaised").string("Name", "op").string("Timestamp", &at),
            HistoryEvent::LocksReleased { .. } => named("EventSent").string("Name", "release").string("Timestamp", &at),
            HistoryEvent::EventSent(sent) => named("EventSent")
                .string("InstanceId", &sent.instance_id)
                .string("Name", &sent.name)
                .when(with_input, |o| o.json("Input", Some(&sent.input)))
                .string("Timestamp", &at),
            HistoryEvent::ExecutionCompleted { output } => {
                self.ended_as(RuntimeStatus::Completed, || output.clone(), &at)
            }
            HistoryEvent::ExecutionFailed { failure } => {
                self.ended_as(RuntimeStatus::Failed, || self.failure_text(failure), &at)
            }
            HistoryEvent::ExecutionTerminated { reason } => {
                named("ExecutionTerminated").when(with_input, |o| o.string("Input", reason)).string("Timestamp", &at)
            }
            HistoryEvent::ExecutionSuspended { reason } => {
                named("ExecutionSuspended").string("Reason", reason).string("Timestamp", &at)
            }
            HistoryEvent::ExecutionResumed { reason } => {
                named("ExecutionResumed").string("Reason", reason).string("Timestamp", &at)
            }
            HistoryEvent::ExecutionRewound(rewound) => {
                named("ExecutionRewound").string("Reason", &rewound.reason).string("Timestamp", &at)
            }
            // The host's own doing, where the original's code makes timers and tasks of it.
            HistoryEvent::TaskRetryScheduled { .. }
            | HistoryEvent::TaskRetryStarted { .. }
            | HistoryEvent::HttpPollScheduled { .. }
            | HistoryEvent::HttpPollStarted { .. }
            | HistoryEvent::ActionCanceled { .. }
            | HistoryEvent::EventConsumed { .. }
            | HistoryEvent::CustomStatusSet { .. }
            | HistoryEvent::ComponentReplaced(_) => return None,
        };
        Some(object.finish())
    }

    /// An operation sent to an entity, as the message that the original sends.
    fn operation(&self, entity: &EntityId, operation: &str, input: &Json, signal: bool) -> JsonObject {
        let message = JsonObject::new()
            .string("op", operation)
            .raw("signal", if signal { "true" } else { "false" })
            .when(self.detail.input, |o| o.json("input", Some(input)));
        JsonObject::new()
            .string("EventType", "EventSent")
            .string("InstanceId", &entity.to_string())
            .string("Name", "op")
            .raw("Input", &message.finish())
    }

    /// Adds to an activity's end what its start would have told.
    fn with_schedule(&self, object: JsonObject, sequence: Sequence) -> JsonObject {
        let Some((time, task)) = self.scheduled.get(&sequence) else { return object };
        object
            .string("ScheduledTime", &seven_digits(*time))
            .string("FunctionName", &task.name)
            .when(self.detail.input, |o| o.json("Input", Some(&task.input)))
    }

    /// Adds to an HTTP call's end what its start would have told.
    fn with_call(&self, object: JsonObject, sequence: Sequence) -> JsonObject {
        let Some((time, call)) = self.calls.get(&sequence) else { return object };
        object
            .string("ScheduledTime", &seven_digits(*time))
            .string("FunctionName", http_call::NAME)
            .when(self.detail.input, |o| o.json("Input", Some(&http_call::input(call))))
    }

    /// Adds to a child's end what its start would have told.
    fn with_child(&self, object: JsonObject, sequence: Sequence) -> JsonObject {
        let Some((time, child)) = self.children.get(&sequence) else { return object };
        object
            .string("ScheduledTime", &seven_digits(*time))
            .string("FunctionName", &child.name)
            .string("InstanceId", &child.instance_id)
            .when(self.detail.input, |o| o.json("Input", Some(&child.input)))
    }

    fn ended_as(&self, status: RuntimeStatus, result: impl FnOnce() -> Json, at: &str) -> JsonObject {
        JsonObject::new()
            .string("EventType", "ExecutionCompleted")
            .string("OrchestrationStatus", status.as_str())
            .when(self.detail.output, |o| o.json("Result", Some(&result())))
            .string("Timestamp", at)
    }

    /// The same text as the status object's `output`.
    fn failure_text(&self, failure: &Failure) -> Json {
        Json::string(&format!("Orchestrator function '{}' failed: {}", self.orchestrator, failure.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{Digest, ExecutionId, ExecutionStarted, MessageNumber, Summary};

    const START: i64 = 1_767_225_600_000_000;
    const BOTH: HistoryDetail = HistoryDetail { input: true, output: true };

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn record(second: i64, events: Vec<HistoryEvent>) -> Arc<TurnRecord> {
        let summary = Summary { status: RuntimeStatus::Running, custom_status: None, next_due: None, outstanding: 0 };
        Arc::new(TurnRecord { time: Timestamp(START + second * 1_000_000), events, summary })
    }

    fn started() -> HistoryEvent {
        HistoryEvent::ExecutionStarted(Box::new(ExecutionStarted {
            name: "E1".into(),
            handler: "e1".into(),
            version: None,
            execution_id: ExecutionId("x".into()),
            component: Digest([0; 32]),
            contract: "1.0.0".into(),
            input: json(r#"{"in": 1.0}"#),
            parent: None,
            tags: vec![],
            trace_context: None,
            scheduled_start: None,
        }))
    }

    fn scheduled(sequence: Sequence, name: &str) -> HistoryEvent {
        HistoryEvent::TaskScheduled(TaskScheduled {
            sequence,
            name: name.into(),
            input: json(r#""Tokyo""#),
            retry: None,
            timeout_ms: None,
            tags: vec![],
        })
    }

    #[test]
    fn a_completion_takes_over_what_its_schedule_told() {
        let records = [
            record(0, vec![started()]),
            record(
                1,
                vec![scheduled(0, "Done"), scheduled(1, "Open"), HistoryEvent::CustomStatusSet { status: json("1") }],
            ),
            record(2, vec![HistoryEvent::TaskCompleted { sequence: 0, result: json(r#""Hello Tokyo!""#) }]),
            record(3, vec![HistoryEvent::ExecutionCompleted { output: json(r#"[ 1 ]"#) }]),
        ];
        assert_eq!(
            history_events(&records, HistoryDetail::default()),
            concat!(
                r#"[{"EventType":"ExecutionStarted","Correlation":null,"ScheduledStartTime":null,"Timestamp":"2026-01-01T00:00:00.0000000Z","FunctionName":"E1"},"#,
                r#"{"EventType":"TaskScheduled","Name":"Open","Timestamp":"2026-01-01T00:00:01.0000000Z"},"#,
                r#"{"EventType":"TaskCompleted","Timestamp":"2026-01-01T00:00:02.0000000Z","ScheduledTime":"2026-01-01T00:00:01.0000000Z","FunctionName":"Done"},"#,
                r#"{"EventType":"ExecutionCompleted","OrchestrationStatus":"Completed","Timestamp":"2026-01-01T00:00:03.0000000Z"}]"#
            )
        );
        assert_eq!(
            history_events(&records, BOTH),
            concat!(
                r#"[{"EventType":"ExecutionStarted","Input":{"in": 1.0},"Correlation":null,"ScheduledStartTime":null,"Timestamp":"2026-01-01T00:00:00.0000000Z","FunctionName":"E1"},"#,
                r#"{"EventType":"TaskScheduled","Name":"Open","Input":"Tokyo","Timestamp":"2026-01-01T00:00:01.0000000Z"},"#,
                r#"{"EventType":"TaskCompleted","Result":"Hello Tokyo!","Timestamp":"2026-01-01T00:00:02.0000000Z","ScheduledTime":"2026-01-01T00:00:01.0000000Z","FunctionName":"Done","Input":"Tokyo"},"#,
                r#"{"EventType":"ExecutionCompleted","OrchestrationStatus":"Completed","Result":[ 1 ],"Timestamp":"2026-01-01T00:00:03.0000000Z"}]"#
            )
        );
    }

    #[test]
    fn failures_timers_events_and_termination_are_shown() {
        let failure = Failure { details: Some("at x".into()), ..Failure::new("Oops", "broke") };
        let records = [
            record(0, vec![started()]),
            record(
                1,
                vec![
                    scheduled(0, "Boom"),
                    HistoryEvent::TimerCreated { sequence: 1, fire_at: Timestamp(START + 9_500_000) },
                    HistoryEvent::ActionCanceled { sequence: 1 },
                ],
            ),
            record(
                2,
                vec![
                    HistoryEvent::TaskFailed { sequence: 0, failure: failure.clone() },
                    HistoryEvent::EventRaised { message: MessageNumber(4), name: "Go".into(), input: json("[1,  2]") },
                    HistoryEvent::EventConsumed { index: 0 },
                    HistoryEvent::TimerFired { sequence: 1 },
                ],
            ),
            record(3, vec![HistoryEvent::ExecutionFailed { failure }]),
        ];
        let text = history_events(&records, BOTH);
        for part in [
            r#"{"EventType":"TaskFailed","Reason":"broke","Details":"at x","Timestamp":"2026-01-01T00:00:02.0000000Z","ScheduledTime":"2026-01-01T00:00:01.0000000Z","FunctionName":"Boom","Input":"Tokyo"}"#,
            r#"{"EventType":"TimerCreated","FireAt":"2026-01-01T00:00:09.5000000Z","Timestamp":"2026-01-01T00:00:01.0000000Z"}"#,
            r#"{"EventType":"TimerFired","FireAt":"2026-01-01T00:00:09.5000000Z","Timestamp":"2026-01-01T00:00:02.0000000Z"}"#,
            r#"{"EventType":"EventRaised","Name":"Go","Input":[1,  2],"Timestamp":"2026-01-01T00:00:02.0000000Z"}"#,
            r#"{"EventType":"ExecutionCompleted","OrchestrationStatus":"Failed","Result":"Orchestrator function 'E1' failed: broke","Timestamp":"2026-01-01T00:00:03.0000000Z"}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("EventType").count(), 6);
        let terminated = [record(0, vec![HistoryEvent::ExecutionTerminated { reason: "stop \"it\"".into() }])];
        let with = |detail| history_events(&terminated, detail);
        assert_eq!(
            with(BOTH),
            r#"[{"EventType":"ExecutionTerminated","Input":"stop \"it\"","Timestamp":"2026-01-01T00:00:00.0000000Z"}]"#
        );
        assert!(!with(HistoryDetail::default()).contains("Input"));
    }
}
