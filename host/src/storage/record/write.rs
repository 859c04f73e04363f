//! The writer.

use std::sync::Arc;

use super::{CROWDED, CROWDED_INLINE_MAX, Encoded, INLINE_MAX, VERSION, entity_summary, number, status_number};
use crate::durable::{
    ChildScheduled, ComponentReplaced, EntityId, EntityOperation, EntityRecord, ExecutionId, ExecutionRewound,
    ExecutionStarted, Failure, HistoryEvent, HttpAnswer, HttpScheduled, InboxMessage, Json, LockHolder,
    OverridableStates, RetryPolicy, RewoundTask, Sender, Summary, Tag, TaskScheduled, Timestamp, TurnRecord,
};

pub(super) struct Writer {
    bytes: Vec<u8>,
    payloads: Vec<Arc<str>>,
    /// Whether large texts become payloads.
    outline: bool,
}

impl Writer {
    pub(super) fn new(outline: bool) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(VERSION);
        Self { bytes, payloads: Vec::new(), outline }
    }

    pub(super) fn finish(mut self) -> Encoded {
        let checksum = crc32fast::hash(&self.bytes);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        Encoded { bytes: self.bytes, payloads: self.payloads }
    }

    pub(super) fn record(&mut self, record: &TurnRecord) {
        let TurnRecord { time, events, summary } = record;
        self.time(*time);
        self.summary(summary);
        self.unsigned(events.len() as u64);
        for event in events {
            self.event(event);
        }
    }

    pub(super) fn message(&mut self, message: &InboxMessage) {
        match message {
            InboxMessage::EventRaised { name, input } => {
                self.byte(number::message::EVENT_RAISED);
                self.text(name);
                self.json(input);
            }
            InboxMessage::ChildEnded { execution_id, sequence, outcome } => {
                let kind =
                    if outcome.is_ok() { number::message::CHILD_COMPLETED } else { number::message::CHILD_FAILED };
                self.byte(kind);
                self.text(execution_id.as_str());
                self.unsigned(u64::from(*sequence));
                match outcome {
                    Ok(output) => self.json(output),
                    Err(failure) => self.failure(failure),
                }
            }
            InboxMessage::EntityOperation(operation) => {
                self.byte(number::message::ENTITY_OPERATION);
                self.operation(operation);
            }
            InboxMessage::EntityAnswered { execution_id, sequence, outcome } => {
                let kind =
                    if outcome.is_ok() { number::message::ENTITY_COMPLETED } else { number::message::ENTITY_FAILED };
                self.answered(kind, execution_id, *sequence);
                match outcome {
                    Ok(output) => self.json(output),
                    Err(failure) => self.failure(failure),
                }
            }
            InboxMessage::LockRequest(request) => {
                self.byte(number::message::LOCK_REQUEST);
                self.holder(&request.holder);
                self.unsigned(request.entities.len() as u64);
                request.entities.iter().for_each(|entity| self.text(entity.as_str()));
                self.unsigned(u64::from(request.position));
            }
            InboxMessage::LockAnswered { execution_id, sequence, outcome } => {
                let kind = if outcome.is_ok() { number::message::LOCK_GRANTED } else { number::message::LOCK_FAILED };
                self.answered(kind, execution_id, *sequence);
                if let Err(failure) = outcome {
                    self.failure(failure);
                }
            }
            InboxMessage::Unlock { generation, sequence } => {
                self.byte(number::message::UNLOCK);
                self.signed(generation.0);
                self.unsigned(u64::from(*sequence));
            }
        }
    }

    fn answered(&mut self, kind: u8, execution_id: &ExecutionId, sequence: u32) {
        self.byte(kind);
        self.text(execution_id.as_str());
        self.unsigned(u64::from(sequence));
    }

    fn operation(&mut self, operation: &EntityOperation) {
        use number::operation as tag;
        let EntityOperation { id, name, input, sender, reply, scheduled, trace_context } = operation;
        self.text(id);
        self.text(name);
        self.json(input);
        if let Some(Sender { instance_id, execution_id }) = sender {
            self.optional(tag::SENDER, Some(instance_id.as_str()));
            self.optional(tag::SENDER_EXECUTION, execution_id.as_ref().map(ExecutionId::as_str));
        }
        if let Some(sequence) = reply {
            self.numbered(tag::REPLY, *sequence);
        }
        if let Some(time) = scheduled {
            self.byte(tag::SCHEDULED);
            self.time(*time);
        }
        if let Some(trace) = trace_context {
            self.optional(tag::TRACE_PARENT, Some(&trace.traceparent));
            self.optional(tag::TRACE_STATE, trace.tracestate.as_deref());
        }
        self.byte(number::END);
    }

    fn holder(&mut self, holder: &LockHolder) {
        let LockHolder { instance_id, execution_id, generation, sequence } = holder;
        self.text(instance_id.as_str());
        self.text(execution_id.as_str());
        self.signed(generation.0);
        self.unsigned(u64::from(*sequence));
    }

    fn entity(&mut self, entity: &EntityId) {
        self.text(entity.name());
        self.text(entity.key());
    }

    /// An entity's record: the head is as a turn's, so that whoever reads only that need not know which it is.
    pub(super) fn entity_record(&mut self, record: &EntityRecord) {
        use number::entity as tag;
        let EntityRecord { time, state, last_operation, lock, next_due } = record;
        self.time(*time);
        self.summary(&entity_summary(*next_due));
        self.unsigned(1);
        self.byte(number::event::ENTITY_STATE);
        self.time(*last_operation);
        if let Some(state) = state {
            self.byte(tag::STATE);
            self.json(state);
        }
        if let Some(lock) = lock {
            self.byte(tag::LOCK);
            self.holder(lock);
        }
        self.byte(number::END);
    }

    fn summary(&mut self, summary: &Summary) {
        use number::summary as tag;
        let Summary { status, custom_status, next_due, outstanding } = summary;
        self.byte(status_number(*status));
        if let Some(turn) = custom_status {
            self.byte(tag::CUSTOM_STATUS);
            self.unsigned(u64::from(turn.0));
        }
        if let Some(time) = next_due {
            self.byte(tag::NEXT_DUE);
            self.time(*time);
        }
        if *outstanding != 0 {
            self.byte(tag::OUTSTANDING);
            self.unsigned(u64::from(*outstanding));
        }
        self.byte(number::END);
    }

    fn event(&mut self, event: &HistoryEvent) {
        use number::event as kind;
        match event {
            HistoryEvent::ExecutionStarted(started) => {
                self.byte(kind::EXECUTION_STARTED);
                self.started(started);
            }
            HistoryEvent::TaskScheduled(task) => {
                self.byte(kind::TASK_SCHEDULED);
                self.task(task);
            }
            HistoryEvent::TaskCompleted { sequence, result } => {
                self.numbered(kind::TASK_COMPLETED, *sequence);
                self.json(result);
            }
            HistoryEvent::TaskFailed { sequence, failure } => {
                self.numbered(kind::TASK_FAILED, *sequence);
                self.failure(failure);
            }
            HistoryEvent::ChildScheduled(child) => {
                self.byte(kind::CHILD_SCHEDULED);
                self.child(child);
            }
            HistoryEvent::ChildCompleted { sequence, result } => {
                self.numbered(kind::CHILD_COMPLETED, *sequence);
                self.json(result);
            }
            HistoryEvent::ChildFailed { sequence, failure } => {
                self.numbered(kind::CHILD_FAILED, *sequence);
                self.failure(failure);
            }
            HistoryEvent::TaskRetryScheduled { sequence, attempt, failure, due } => {
                self.numbered(kind::TASK_RETRY_SCHEDULED, *sequence);
                self.unsigned(u64::from(*attempt));
                self.failure(failure);
                self.time(*due);
            }
            HistoryEvent::TaskRetryStarted { sequence, attempt } => {
                self.numbered(kind::TASK_RETRY_STARTED, *sequence);
                self.unsigned(u64::from(*attempt));
            }
            HistoryEvent::HttpScheduled(call) => {
                self.byte(kind::HTTP_SCHEDULED);
                self.http(call);
            }
            HistoryEvent::HttpCompleted { sequence, answer } => {
                self.numbered(kind::HTTP_COMPLETED, *sequence);
                self.answer(answer);
            }
            HistoryEvent::HttpFailed { sequence, failure } => {
                self.numbered(kind::HTTP_FAILED, *sequence);
                self.failure(failure);
            }
            HistoryEvent::HttpPollScheduled { sequence, location, due } => {
                self.numbered(kind::HTTP_POLL_SCHEDULED, *sequence);
                self.text(location);
                self.time(*due);
            }
            HistoryEvent::HttpPollStarted { sequence } => self.numbered(kind::HTTP_POLL_STARTED, *sequence),
            HistoryEvent::ExecutionSuspended { reason } => {
                self.byte(kind::EXECUTION_SUSPENDED);
                self.text(reason);
            }
            HistoryEvent::ExecutionResumed { reason } => {
                self.byte(kind::EXECUTION_RESUMED);
                self.text(reason);
            }
            HistoryEvent::TimerCreated { sequence, fire_at } => {
                self.numbered(kind::TIMER_CREATED, *sequence);
                self.time(*fire_at);
            }
            HistoryEvent::TimerFired { sequence } => self.numbered(kind::TIMER_FIRED, *sequence),
            HistoryEvent::ActionCanceled { sequence } => self.numbered(kind::ACTION_CANCELED, *sequence),
            HistoryEvent::EventRaised { message, name, input } => {
                self.byte(kind::EVENT_RAISED);
                self.signed(message.0);
                self.text(name);
                self.json(input);
            }
            HistoryEvent::EventConsumed { index } => self.numbered(kind::EVENT_CONSUMED, *index),
            HistoryEvent::EntityCalled(call) => {
                self.numbered(kind::ENTITY_CALLED, call.sequence);
                self.entity(&call.entity);
                self.text(&call.operation);
                self.json(&call.input);
                self.byte(number::END);
            }
            HistoryEvent::EntityCompleted { sequence, result } => {
                self.numbered(kind::ENTITY_COMPLETED, *sequence);
                self.json(result);
            }
            HistoryEvent::EntityFailed { sequence, failure } => {
                self.numbered(kind::ENTITY_FAILED, *sequence);
                self.failure(failure);
            }
            HistoryEvent::EntitySignaled(signal) => {
                self.numbered(kind::ENTITY_SIGNALED, signal.sequence);
                self.entity(&signal.entity);
                self.text(&signal.operation);
                self.json(&signal.input);
                if let Some(time) = signal.scheduled {
                    self.byte(number::signaled::SCHEDULED);
                    self.time(time);
                }
                self.byte(number::END);
            }
            HistoryEvent::LocksRequested(locks) => {
                self.numbered(kind::LOCKS_REQUESTED, locks.sequence);
                self.unsigned(locks.entities.len() as u64);
                locks.entities.iter().for_each(|entity| self.entity(entity));
            }
            HistoryEvent::LocksGranted { sequence } => self.numbered(kind::LOCKS_GRANTED, *sequence),
            HistoryEvent::LocksFailed { sequence, failure } => {
                self.numbered(kind::LOCKS_FAILED, *sequence);
                self.failure(failure);
            }
            HistoryEvent::LocksReleased { sequence, lock } => {
                self.numbered(kind::LOCKS_RELEASED, *sequence);
                self.unsigned(u64::from(*lock));
            }
            HistoryEvent::EventSent(sent) => {
                self.numbered(kind::EVENT_SENT, sent.sequence);
                self.text(&sent.instance_id);
                self.text(&sent.name);
                self.json(&sent.input);
                self.byte(number::END);
            }
            HistoryEvent::CustomStatusSet { status } => {
                self.byte(kind::CUSTOM_STATUS_SET);
                self.json(status);
            }
            HistoryEvent::ExecutionCompleted { output } => {
                self.byte(kind::EXECUTION_COMPLETED);
                self.json(output);
            }
            HistoryEvent::ExecutionFailed { failure } => {
                self.byte(kind::EXECUTION_FAILED);
                self.failure(failure);
            }
            HistoryEvent::ExecutionTerminated { reason } => {
                self.byte(kind::EXECUTION_TERMINATED);
                self.text(reason);
            }
            HistoryEvent::ComponentReplaced(replaced) => {
                let ComponentReplaced { component, handler, contract } = replaced;
                self.byte(kind::COMPONENT_REPLACED);
                self.bytes.extend_from_slice(&component.0);
                self.text(handler);
                self.text(contract);
            }
            HistoryEvent::ExecutionRewound(rewound) => {
                self.byte(kind::EXECUTION_REWOUND);
                self.rewound(rewound);
            }
        }
    }

    fn started(&mut self, started: &ExecutionStarted) {
        use number::started as tag;
        let ExecutionStarted {
            name,
            handler,
            version,
            execution_id,
            component,
            contract,
            input,
            parent,
            tags,
            trace_context,
            scheduled_start,
        } = started;
        self.text(name);
        self.text(handler);
        self.text(execution_id.as_str());
        self.bytes.extend_from_slice(&component.0);
        self.text(contract);
        self.json(input);
        self.optional(tag::VERSION, version.as_deref());
        if let Some(parent) = parent {
            self.byte(tag::PARENT);
            self.text(&parent.name);
            self.text(&parent.instance_id);
            self.text(&parent.execution_id);
            self.unsigned(u64::from(parent.sequence));
        }
        self.tags(tag::TAG, tags);
        if let Some(trace) = trace_context {
            self.optional(tag::TRACE_PARENT, Some(&trace.traceparent));
            self.optional(tag::TRACE_STATE, trace.tracestate.as_deref());
        }
        if let Some(time) = scheduled_start {
            self.byte(tag::SCHEDULED_START);
            self.time(*time);
        }
        self.byte(number::END);
    }

    fn rewound(&mut self, rewound: &ExecutionRewound) {
        let ExecutionRewound { reason, from, failure, tasks, sent } = rewound;
        self.text(reason);
        self.unsigned(u64::from(from.0));
        self.failure(failure);
        for RewoundTask { sequence, attempt, failure } in tasks {
            self.byte(number::rewound::TASK);
            self.unsigned(u64::from(*sequence));
            self.unsigned(u64::from(*attempt));
            if let Some(failure) = failure {
                self.byte(number::rewound_task::FAILURE);
                self.failure(failure);
            }
            self.byte(number::END);
        }
        for action in sent {
            self.byte(number::rewound::SENT);
            self.event(action);
        }
        self.byte(number::END);
    }

    fn task(&mut self, task: &TaskScheduled) {
        use number::task as tag;
        let TaskScheduled { sequence, name, input, retry, timeout_ms, tags } = task;
        self.unsigned(u64::from(*sequence));
        self.text(name);
        self.json(input);
        if let Some(retry) = retry {
            self.byte(tag::RETRY);
            self.retry(retry);
        }
        self.optional_float(tag::TIMEOUT, *timeout_ms);
        self.tags(tag::TAG, tags);
        self.byte(number::END);
    }

    fn child(&mut self, child: &ChildScheduled) {
        use number::child as tag;
        let ChildScheduled {
            sequence,
            name,
            instance_id,
            input,
            version,
            detached,
            retry,
            policy,
            scheduled_start,
            tags,
        } = child;
        self.unsigned(u64::from(*sequence));
        self.text(name);
        self.text(instance_id);
        self.json(input);
        self.optional(tag::VERSION, version.as_deref());
        if *detached {
            self.byte(tag::DETACHED);
        }
        if let Some(retry) = retry {
            self.byte(tag::RETRY);
            self.retry(retry);
        }
        if let Some(policy) = policy {
            self.byte(tag::POLICY);
            self.byte(match policy {
                OverridableStates::NonRunningStates => number::policy::NON_RUNNING_STATES,
                OverridableStates::AnyState => number::policy::ANY_STATE,
                OverridableStates::None => number::policy::NONE,
            });
        }
        if let Some(time) = scheduled_start {
            self.byte(tag::SCHEDULED_START);
            self.time(*time);
        }
        self.tags(tag::TAG, tags);
        self.byte(number::END);
    }

    fn http(&mut self, call: &HttpScheduled) {
        use number::http as tag;
        let HttpScheduled {
            sequence,
            method,
            uri,
            headers,
            content,
            asynchronous_pattern,
            timeout_ms,
            retry,
            token_source,
        } = call;
        self.unsigned(u64::from(*sequence));
        self.text(method);
        self.text(uri);
        self.headers(headers);
        self.optional(tag::CONTENT, content.as_deref());
        if *asynchronous_pattern {
            self.byte(tag::ASYNCHRONOUS_PATTERN);
        }
        self.optional_float(tag::TIMEOUT, *timeout_ms);
        if let Some(retry) = retry {
            self.byte(tag::RETRY);
            self.retry(&retry.policy);
            for status in &retry.status_codes {
                self.byte(tag::RETRY_STATUS);
                self.unsigned(u64::from(*status));
            }
        }
        if let Some(source) = token_source {
            self.byte(tag::TOKEN_SOURCE);
            self.text(&source.kind);
            self.text(&source.resource);
            if let Some(options) = &source.options {
                self.byte(tag::TOKEN_OPTIONS);
                self.json(options);
            }
        }
        self.byte(number::END);
    }

    fn answer(&mut self, answer: &HttpAnswer) {
        let HttpAnswer { status, headers, content } = answer;
        self.unsigned(u64::from(*status));
        if self.is_inline(content) {
            self.inline(content)
        } else {
            self.payload(Arc::clone(content))
        }
        self.headers(headers);
        self.byte(number::END);
    }

    fn headers(&mut self, headers: &[(String, String)]) {
        for (name, value) in headers {
            self.byte(number::http::HEADER);
            self.text(name);
            self.text(value);
        }
    }

    fn retry(&mut self, retry: &RetryPolicy) {
        use number::retry as tag;
        let RetryPolicy {
            max_attempts,
            first_interval_ms,
            backoff_coefficient,
            max_interval_ms,
            retry_timeout_ms,
            retry_kinds,
            never_retry_kinds,
        } = retry;
        self.unsigned(u64::from(*max_attempts));
        self.float(*first_interval_ms);
        self.float(*backoff_coefficient);
        self.optional_float(tag::MAX_INTERVAL, *max_interval_ms);
        self.optional_float(tag::RETRY_TIMEOUT, *retry_timeout_ms);
        for kind in retry_kinds {
            self.optional(tag::RETRY_KIND, Some(kind));
        }
        for kind in never_retry_kinds {
            self.optional(tag::NEVER_RETRY_KIND, Some(kind));
        }
        self.byte(number::END);
    }

    fn failure(&mut self, failure: &Failure) {
        use number::failure as tag;
        let Failure { kind, message, details, causes, properties, non_retriable } = failure;
        self.text(kind);
        self.text(message);
        self.optional(tag::DETAILS, details.as_deref());
        for cause in causes {
            self.byte(tag::CAUSE);
            self.text(&cause.kind);
            self.text(&cause.message);
        }
        self.optional(tag::PROPERTIES, properties.as_deref());
        if *non_retriable {
            self.byte(tag::NON_RETRIABLE);
        }
        self.byte(number::END);
    }

    fn tags(&mut self, tag: u8, tags: &[Tag]) {
        for Tag { key, value } in tags {
            self.byte(tag);
            self.text(key);
            self.text(value);
        }
    }

    fn optional(&mut self, tag: u8, text: Option<&str>) {
        if let Some(text) = text {
            self.byte(tag);
            self.text(text);
        }
    }

    fn optional_float(&mut self, tag: u8, value: Option<f64>) {
        if let Some(value) = value {
            self.byte(tag);
            self.float(value);
        }
    }

    fn text(&mut self, text: &str) {
        if self.is_inline(text) { self.inline(text) } else { self.payload(text.into()) }
    }

    fn json(&mut self, json: &Json) {
        if self.is_inline(json.as_str()) { self.inline(json.as_str()) } else { self.payload(json.shared()) }
    }

    fn is_inline(&self, text: &str) -> bool {
        let max = if self.bytes.len() < CROWDED { INLINE_MAX } else { CROWDED_INLINE_MAX };
        !self.outline || text.len() <= max
    }

    /// A text within: twice its length, then its bytes.
    fn inline(&mut self, text: &str) {
        self.unsigned((text.len() as u64) << 1);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A text without: twice its number and one, then its length and checksum.
    fn payload(&mut self, text: Arc<str>) {
        self.unsigned(((self.payloads.len() as u64) << 1) | 1);
        self.unsigned(text.len() as u64);
        self.bytes.extend_from_slice(&crc32fast::hash(text.as_bytes()).to_le_bytes());
        self.payloads.push(text);
    }

    fn numbered(&mut self, kind: u8, sequence: u32) {
        self.byte(kind);
        self.unsigned(u64::from(sequence));
    }

    fn time(&mut self, time: Timestamp) {
        self.signed(time.0);
    }

    fn float(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Zigzag, so that small negative numbers are short, too.
    fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }
}
