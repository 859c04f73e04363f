//! What every backend decides alike: records that storage itself writes, and what is read out of records.

use std::{collections::BTreeSet, sync::Arc};

use super::{ChildStart, End, EntityQuery, Fence, Output, PutMessage, Start, Started, StorageError};
use crate::durable::{
    Digest, EntityRecord, ExecutionId, ExecutionStarted, Failure, HistoryEvent, InboxMessage, InstanceId, Json,
    NextExecution, RuntimeStatus, Sequence, Summary, Timestamp, TurnNumber, TurnRecord,
};

/// The record of a start, [`TurnNumber::START`].
pub(super) fn start_record(start: &Start) -> TurnRecord {
    TurnRecord {
        time: start.time,
        events: vec![HistoryEvent::ExecutionStarted(Box::new(ExecutionStarted::clone(&start.started)))],
        summary: Summary {
            status: RuntimeStatus::Pending,
            custom_status: None,
            next_due: start.started.scheduled_start,
            outstanding: 0,
        },
    }
}

/// What the parent of an execution that was ended from outside is told; `None` if it has no parent.
pub(super) fn ended_child(started: &ExecutionStarted, kind: &str, reason: &str) -> Option<PutMessage> {
    let failure = Failure::new(kind, format!("the sub-orchestration was ended: {reason}"));
    child_ended(started, Err(failure))
}

/// What the parent of an execution that ended is told; `None` if it has no parent.
pub fn child_ended(started: &ExecutionStarted, outcome: Result<Json, Failure>) -> Option<PutMessage> {
    let parent = started.parent.as_ref()?;
    let body = InboxMessage::ChildEnded {
        execution_id: ExecutionId(parent.execution_id.as_str().into()),
        sequence: parent.sequence,
        outcome,
    };
    Some(PutMessage { fence: Fence::default(), id: InstanceId::from_stored(&parent.instance_id), body })
}

/// What the parent is told at once about a child's start: that it was not admitted, or, of a detached one, that it was.
pub(super) fn start_decided(
    parent: &ExecutionId,
    child: &ChildStart,
    started: Option<&Started>,
) -> Option<InboxMessage> {
    let outcome = match (&child.start, started) {
        (Err(failure), _) => Err(failure.clone()),
        (Ok(start), Some(Started::Started { .. })) if child.detached => Ok(Json::string(start.id.as_str())),
        (Ok(_), Some(Started::Started { .. }) | None) => return None,
        (Ok(_), Some(Started::Exists { status, .. })) => Err(Failure::new(
            "OrchestrationAlreadyExists",
            format!("An Orchestration instance with the status {status} already exists."),
        )),
        (Ok(_), Some(Started::Changed)) => {
            Err(Failure::new("OrchestrationAlreadyExists", "The instance whose place it was to take is gone."))
        }
    };
    Some(InboxMessage::ChildEnded { execution_id: parent.clone(), sequence: child.sequence, outcome })
}

/// The first record of an execution that takes another's place. Pending, so that recovery picks it up.
pub(super) fn next_record(next: &NextExecution, time: Timestamp) -> TurnRecord {
    let mut events = vec![HistoryEvent::ExecutionStarted(Box::new(ExecutionStarted::clone(&next.started)))];
    events.extend(next.custom_status.clone().map(|status| HistoryEvent::CustomStatusSet { status }));
    let custom_status = next.custom_status.as_ref().map(|_| TurnNumber::START);
    let summary = Summary { status: RuntimeStatus::Pending, custom_status, next_due: None, outstanding: 0 };
    TurnRecord { time, events, summary }
}

/// The record by which an operator ends a generation whose last record is of time and summary as given.
pub(super) fn end_record(end: &End, last_time: Timestamp, last: Summary) -> TurnRecord {
    TurnRecord {
        time: end.time.max(last_time),
        events: vec![HistoryEvent::ExecutionTerminated { reason: end.reason.clone() }],
        summary: Summary {
            status: RuntimeStatus::Terminated,
            custom_status: last.custom_status,
            next_due: None,
            outstanding: 0,
        },
    }
}

/// Whether an instance that ended so keeps its inbox: a failed one may be rewound, and what it was sent is not lost then.
pub(super) fn keeps_inbox(status: RuntimeStatus) -> bool {
    status == RuntimeStatus::Failed
}

/// Whether a message is one that a rewind makes outdated.
pub(super) fn is_settled(body: &InboxMessage, settled: &BTreeSet<Sequence>) -> bool {
    match body {
        InboxMessage::ChildEnded { sequence, .. } => settled.contains(sequence),
        InboxMessage::EventRaised { .. }
        | InboxMessage::EntityOperation(_)
        | InboxMessage::EntityAnswered { .. }
        | InboxMessage::LockRequest(_)
        | InboxMessage::LockAnswered { .. }
        | InboxMessage::Unlock { .. } => false,
    }
}

/// Whether a message is kept for an instance that ended so: an operation runs once, so a rewound execution needs its answer.
pub(super) fn keeps_message(status: RuntimeStatus, body: &InboxMessage) -> bool {
    keeps_inbox(status) && matches!(body, InboxMessage::EntityAnswered { .. })
}

/// The due entry's time that a generation has after this summary: none once it has ended.
pub(super) fn due_after(summary: &Summary) -> Option<Timestamp> {
    summary.next_due.filter(|_| !summary.status.is_terminal())
}

/// Whether a query over entities finds this one.
pub(super) fn matches_entity(query: &EntityQuery, record: &EntityRecord) -> bool {
    record.state.is_some()
        && query.last_operation_from.is_none_or(|from| record.last_operation >= from)
        && query.last_operation_to.is_none_or(|to| record.last_operation <= to)
}

/// What the first record says about how the execution was started; without its input unless that is wanted.
pub(super) fn started(first: &TurnRecord, input: bool) -> Result<Arc<ExecutionStarted>, StorageError> {
    let Some(HistoryEvent::ExecutionStarted(started)) = first.events.first() else {
        return Err(StorageError::Corrupt("a history does not begin with ExecutionStarted".to_owned()));
    };
    if input {
        return Ok(Arc::new(ExecutionStarted::clone(started)));
    }
    let ExecutionStarted {
        name,
        handler,
        version,
        execution_id,
        component,
        contract,
        input: _,
        parent,
        tags,
        trace_context,
        scheduled_start,
    } = &**started;
    // Field by field, so that a large input is not copied only to be thrown away.
    Ok(Arc::new(ExecutionStarted {
        name: name.clone(),
        handler: handler.clone(),
        version: version.clone(),
        execution_id: execution_id.clone(),
        component: *component,
        contract: contract.clone(),
        input: Json::null(),
        parent: parent.clone(),
        tags: tags.clone(),
        trace_context: trace_context.clone(),
        scheduled_start: *scheduled_start,
    }))
}

/// Whether an instance of this status needs its component: a live one does, and a Failed one, which could be rewound.
pub(super) fn needs_component(status: RuntimeStatus) -> bool {
    !status.is_terminal() || status == RuntimeStatus::Failed
}

/// The component that took another one's place in `record`, if one did.
pub(super) fn replaced_component(record: &TurnRecord) -> Option<Digest> {
    record.events.iter().rev().find_map(|event| match event {
        HistoryEvent::ComponentReplaced(replaced) => Some(replaced.component),
        _ => None,
    })
}

/// The custom status that `record` set last.
///
/// # Errors
/// [`StorageError::Corrupt`] if it set none: a summary names this record's `turn` wrongly.
pub(super) fn custom_status(record: &TurnRecord, turn: TurnNumber) -> Result<Json, StorageError> {
    record
        .events
        .iter()
        .rev()
        .find_map(
            |event| if let HistoryEvent::CustomStatusSet { status } = event { Some(status.clone()) } else { None },
        )
        .ok_or_else(|| StorageError::Corrupt(format!("turn {turn} sets no custom status, though a summary says so")))
}

/// How the instance ended, if its last record ends it.
pub(super) fn output(last: &TurnRecord) -> Option<Output> {
    if !last.summary.status.is_terminal() {
        return None;
    }
    last.events.iter().rev().find_map(|event| match event {
        HistoryEvent::ExecutionCompleted { output } => Some(Output::Completed(output.clone())),
        HistoryEvent::ExecutionFailed { failure } => Some(Output::Failed(failure.clone())),
        HistoryEvent::ExecutionTerminated { reason } => Some(Output::Terminated(reason.clone())),
        HistoryEvent::ExecutionStarted(_)
        | HistoryEvent::TaskScheduled(_)
        | HistoryEvent::TaskCompleted { .. }
        | HistoryEvent::TaskFailed { .. }
        | HistoryEvent::ChildScheduled(_)
        | HistoryEvent::ChildCompleted { .. }
        | HistoryEvent::ChildFailed { .. }
        | HistoryEvent::TaskRetryScheduled { .. }
        | HistoryEvent::TaskRetryStarted { .. }
        | HistoryEvent::HttpScheduled(_)
        | HistoryEvent::HttpCompleted { .. }
        | HistoryEvent::HttpFailed { .. }
        | HistoryEvent::HttpPollScheduled { .. }
        | HistoryEvent::HttpPollStarted { .. }
        | HistoryEvent::ExecutionSuspended { .. }
        | HistoryEvent::ExecutionResumed { .. }
        | HistoryEvent::ExecutionRewound(_)
        | HistoryEvent::TimerCreated { .. }
        | HistoryEvent::EntityCalled(_)
        | HistoryEvent::EntityCompleted { .. }
        | HistoryEvent::EntityFailed { .. }
        | HistoryEvent::EntitySignaled(_)
        | HistoryEvent::LocksRequested(_)
        | HistoryEvent::LocksGranted { .. }
        | HistoryEvent::LocksFailed { .. }
        | HistoryEvent::LocksReleased { .. }
        | HistoryEvent::EventSent(_)
        | HistoryEvent::TimerFired { .. }
        | HistoryEvent::ActionCanceled { .. }
        | HistoryEvent::EventRaised { .. }
        | HistoryEvent::EventConsumed { .. }
        | HistoryEvent::CustomStatusSet { .. }
        | HistoryEvent::ComponentReplaced(_) => None,
    })
}
