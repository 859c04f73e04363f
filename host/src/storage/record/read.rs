//! The reader.

use std::{borrow::Cow, sync::Arc};

use super::{Texts, VERSION, number, status_of};
use crate::{
    durable::{
        ChildScheduled, ComponentReplaced, Digest, EntityCalled, EntityId, EntityOperation, EntityRecord,
        EntitySignaled, EventSent, ExecutionId, ExecutionRewound, ExecutionStarted, Failure, FailureCause,
        GenerationKey, HistoryEvent, HttpAnswer, HttpRetry, HttpScheduled, InboxMessage, InstanceId, Json, LockHolder,
        LockRequest, LocksRequested, MessageNumber, OverridableStates, ParentInstance, RetryPolicy, RewoundTask,
        Sender, Summary, Tag, TaskScheduled, Timestamp, TokenSource, TraceContext, TurnNumber,
    },
    storage::StorageError,
};

type Read<T> = Result<T, StorageError>;

pub(super) struct Reader<'a, 't> {
    rest: &'a [u8],
    texts: Texts<'t>,
}

impl<'a, 't> Reader<'a, 't> {
    /// Checks version and checksum.
    pub(super) fn open(bytes: &'a [u8], texts: Texts<'t>) -> Read<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt("a record is too short"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(corrupt("a record's checksum is wrong"));
        }
        match body.split_first() {
            Some((&VERSION, rest)) => Ok(Self { rest, texts }),
            Some((version, _)) => Err(corrupt(&format!("a record has the unknown version {version}"))),
            None => Err(corrupt("a record is empty")),
        }
    }

    /// Checks that nothing is left.
    pub(super) fn close(self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(corrupt("a record has bytes behind its end")) }
    }

    pub(super) fn head(&mut self) -> Read<(Timestamp, Summary)> {
        Ok((self.time()?, self.summary()?))
    }

    pub(super) fn events(&mut self) -> Read<Vec<HistoryEvent>> {
        let count = self.unsigned()?;
        // The count is only a claim: what it makes us allocate is bounded by the bytes at hand.
        let mut events = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(self.rest.len() / 16 + 1));
        for _ in 0..count {
            events.push(self.event()?);
        }
        Ok(events)
    }

    pub(super) fn message(&mut self) -> Read<InboxMessage> {
        match self.byte()? {
            number::message::EVENT_RAISED => Ok(InboxMessage::EventRaised { name: self.text()?, input: self.json()? }),
            number::message::CHILD_COMPLETED => Ok(InboxMessage::ChildEnded {
                execution_id: ExecutionId(self.shared_text()?),
                sequence: self.small()?,
                outcome: Ok(self.json()?),
            }),
            number::message::CHILD_FAILED => Ok(InboxMessage::ChildEnded {
                execution_id: ExecutionId(self.shared_text()?),
                sequence: self.small()?,
                outcome: Err(self.failure()?),
            }),
            number::message::ENTITY_OPERATION => Ok(InboxMessage::EntityOperation(Box::new(self.operation()?))),
            number::message::ENTITY_COMPLETED => Ok(InboxMessage::EntityAnswered {
                execution_id: ExecutionId(self.shared_text()?),
                sequence: self.small()?,
                outcome: Ok(self.json()?),
            }),
            number::message::ENTITY_FAILED => Ok(InboxMessage::EntityAnswered {
                execution_id: ExecutionId(self.shared_text()?),
                sequence: self.small()?,
                outcome: Err(self.failure()?),
            }),
            number::message::LOCK_REQUEST => Ok(InboxMessage::LockRequest(Box::new(LockRequest {
                holder: self.holder()?,
                entities: self.list(|reader| Ok(InstanceId::from_stored(&reader.text()?)))?,
                position: self.small()?,
            }))),
            number::message::LOCK_GRANTED => Ok(InboxMessage::LockAnswered {
                execution_id: ExecutionId(self.shared_text()?),
                sequence: self.small()?,
                outcome: Ok(()),
            }),
            number::message::LOCK_FAILED => Ok(InboxMessage::LockAnswered {
                execution_id: ExecutionId(self.shared_text()?),
                sequence: self.small()?,
                outcome: Err(self.failure()?),
            }),
            number::message::UNLOCK => {
                Ok(InboxMessage::Unlock { generation: GenerationKey(self.signed()?), sequence: self.small()? })
            }
            kind => Err(corrupt(&format!("an inbox message has the unknown number {kind}"))),
        }
    }

    fn operation(&mut self) -> Read<EntityOperation> {
        use number::operation as tag;
        let mut operation = EntityOperation {
            id: self.text()?,
            name: self.text()?,
            input: self.json()?,
            sender: None,
            reply: None,
            scheduled: None,
            trace_context: None,
        };
        loop {
            match self.byte()? {
                number::END => return Ok(operation),
                tag::SENDER => {
                    let instance_id = InstanceId::from_stored(&self.text()?);
                    operation.sender = Some(Sender { instance_id, execution_id: None });
                }
                tag::SENDER_EXECUTION => match &mut operation.sender {
                    Some(sender) => sender.execution_id = Some(ExecutionId(self.shared_text()?)),
                    None => return Err(corrupt("a sender's execution comes without its sender")),
                },
                tag::REPLY => operation.reply = Some(self.small()?),
                tag::SCHEDULED => operation.scheduled = Some(self.time()?),
                tag::TRACE_PARENT => {
                    operation.trace_context = Some(TraceContext { traceparent: self.text()?, tracestate: None });
                }
                tag::TRACE_STATE => match &mut operation.trace_context {
                    Some(trace) => trace.tracestate = Some(self.text()?),
                    None => return Err(corrupt("a trace state comes without its parent")),
                },
                tag => return Err(unknown_tag("entity operation", tag)),
            }
        }
    }

    fn holder(&mut self) -> Read<LockHolder> {
        Ok(LockHolder {
            instance_id: InstanceId::from_stored(&self.text()?),
            execution_id: ExecutionId(self.shared_text()?),
            generation: GenerationKey(self.signed()?),
            sequence: self.small()?,
        })
    }

    fn entity(&mut self) -> Read<EntityId> {
        let (name, key) = (self.text()?, self.text()?);
        EntityId::parse(&name, &key).map_err(|error| corrupt(&format!("an entity id is none: {error}")))
    }

    /// A list: its length, then as many.
    fn list<T>(&mut self, each: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.unsigned()?;
        let mut list = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(self.rest.len()));
        for _ in 0..count {
            list.push(each(self)?);
        }
        Ok(list)
    }

    fn end(&mut self, of: &str) -> Read<()> {
        match self.byte()? {
            number::END => Ok(()),
            tag => Err(unknown_tag(of, tag)),
        }
    }

    pub(super) fn entity_record(&mut self) -> Read<EntityRecord> {
        use number::entity as tag;
        let (time, summary) = self.head()?;
        if self.unsigned()? != 1 || self.byte()? != number::event::ENTITY_STATE {
            return Err(corrupt("an entity's record holds something else"));
        }
        let mut record = EntityRecord { time, last_operation: self.time()?, ..EntityRecord::new() };
        record.next_due = summary.next_due;
        loop {
            match self.byte()? {
                number::END => return Ok(record),
                tag::STATE => record.state = Some(self.json()?),
                tag::LOCK => record.lock = Some(self.holder()?),
                tag => return Err(unknown_tag("entity's record", tag)),
            }
        }
    }

    fn summary(&mut self) -> Read<Summary> {
        use number::summary as tag;
        let status = status_of(self.byte()?)?;
        let mut summary = Summary { status, custom_status: None, next_due: None, outstanding: 0 };
        loop {
            match self.byte()? {
                number::END => return Ok(summary),
                tag::CUSTOM_STATUS => summary.custom_status = Some(TurnNumber(self.small()?)),
                tag::NEXT_DUE => summary.next_due = Some(self.time()?),
                tag::OUTSTANDING => summary.outstanding = self.small()?,
                tag => return Err(unknown_tag("summary", tag)),
            }
        }
    }

    fn event(&mut self) -> Read<HistoryEvent> {
        use number::event as kind;
        Ok(match self.byte()? {
            kind::EXECUTION_STARTED => HistoryEvent::ExecutionStarted(Box::new(self.started()?)),
            kind::TASK_SCHEDULED => HistoryEvent::TaskScheduled(self.task()?),
            kind::TASK_COMPLETED => HistoryEvent::TaskCompleted { sequence: self.small()?, result: self.json()? },
            kind::TASK_FAILED => HistoryEvent::TaskFailed { sequence: self.small()?, failure: self.failure()? },
            kind::TIMER_CREATED => HistoryEvent::TimerCreated { sequence: self.small()?, fire_at: self.time()? },
            kind::TIMER_FIRED => HistoryEvent::TimerFired { sequence: self.small()? },
            kind::ACTION_CANCELED => HistoryEvent::ActionCanceled { sequence: self.small()? },
            kind::EVENT_RAISED => HistoryEvent::EventRaised {
                message: MessageNumber(self.signed()?),
                name: self.text()?,
                input: self.json()?,
            },
            kind::EVENT_CONSUMED => HistoryEvent::EventConsumed { index: self.small()? },
            kind::CUSTOM_STATUS_SET => HistoryEvent::CustomStatusSet { status: self.json()? },
            kind::EXECUTION_COMPLETED => HistoryEvent::ExecutionCompleted { output: self.json()? },
            kind::EXECUTION_FAILED => HistoryEvent::ExecutionFailed { failure: self.failure()? },
            kind::CHILD_SCHEDULED => HistoryEvent::ChildScheduled(Box::new(self.child()?)),
            kind::CHILD_COMPLETED => HistoryEvent::ChildCompleted { sequence: self.small()?, result: self.json()? },
            kind::CHILD_FAILED => HistoryEvent::ChildFailed { sequence: self.small()?, failure: self.failure()? },
            kind::TASK_RETRY_SCHEDULED => HistoryEvent::TaskRetryScheduled {
                sequence: self.small()?,
                attempt: self.small()?,
                failure: self.failure()?,
                due: self.time()?,
            },
            kind::TASK_RETRY_STARTED => {
                HistoryEvent::TaskRetryStarted { sequence: self.small()?, attempt: self.small()? }
            }
            kind::HTTP_SCHEDULED => HistoryEvent::HttpScheduled(Box::new(self.http()?)),
            kind::HTTP_COMPLETED => {
                HistoryEvent::HttpCompleted { sequence: self.small()?, answer: Box::new(self.answer()?) }
            }
            kind::HTTP_FAILED => HistoryEvent::HttpFailed { sequence: self.small()?, failure: self.failure()? },
            kind::HTTP_POLL_SCHEDULED => {
                HistoryEvent::HttpPollScheduled { sequence: self.small()?, location: self.text()?, due: self.time()? }
            }
            kind::HTTP_POLL_STARTED => HistoryEvent::HttpPollStarted { sequence: self.small()? },
            kind::EXECUTION_SUSPENDED => HistoryEvent::ExecutionSuspended { reason: self.text()? },
            kind::EXECUTION_RESUMED => HistoryEvent::ExecutionResumed { reason: self.text()? },
            kind::EXECUTION_TERMINATED => HistoryEvent::ExecutionTerminated { reason: self.text()? },
            kind::COMPONENT_REPLACED => HistoryEvent::ComponentReplaced(ComponentReplaced {
                component: Digest(*self.chunk()?),
                handler: self.text()?,
                contract: self.text()?,
            }),
            kind::ENTITY_CALLED => {
                let call = EntityCalled {
                    sequence: self.small()?,
                    entity: self.entity()?,
                    operation: self.text()?,
                    input: self.json()?,
                };
                self.end("EntityCalled")?;
                HistoryEvent::EntityCalled(call)
            }
            kind::ENTITY_COMPLETED => HistoryEvent::EntityCompleted { sequence: self.small()?, result: self.json()? },
            kind::ENTITY_FAILED => HistoryEvent::EntityFailed { sequence: self.small()?, failure: self.failure()? },
            kind::ENTITY_SIGNALED => HistoryEvent::EntitySignaled(self.signaled()?),
            kind::LOCKS_REQUESTED => HistoryEvent::LocksRequested(LocksRequested {
                sequence: self.small()?,
                entities: self.list(Self::entity)?,
            }),
            kind::LOCKS_GRANTED => HistoryEvent::LocksGranted { sequence: self.small()? },
            kind::LOCKS_FAILED => HistoryEvent::LocksFailed { sequence: self.small()?, failure: self.failure()? },
            kind::LOCKS_RELEASED => HistoryEvent::LocksReleased { sequence: self.small()?, lock: self.small()? },
            kind::EVENT_SENT => {
                let sent = EventSent {
                    sequence: self.small()?,
                    instance_id: self.text()?,
                    name: self.text()?,
                    input: self.json()?,
                };
                self.end("EventSent")?;
                HistoryEvent::EventSent(sent)
            }
            kind::EXECUTION_REWOUND => HistoryEvent::ExecutionRewound(Box::new(self.rewound()?)),
            kind => return Err(corrupt(&format!("a history event has the unknown number {kind}"))),
        })
    }

    fn signaled(&mut self) -> Read<EntitySignaled> {
        let mut signal = EntitySignaled {
            sequence: self.small()?,
            entity: self.entity()?,
            operation: self.text()?,
            input: self.json()?,
            scheduled: None,
        };
        loop {
            match self.byte()? {
                number::END => return Ok(signal),
                number::signaled::SCHEDULED => signal.scheduled = Some(self.time()?),
                tag => return Err(unknown_tag("EntitySignaled", tag)),
            }
        }
    }

    fn started(&mut self) -> Read<ExecutionStarted> {
        use number::started as tag;
        let mut started = ExecutionStarted {
            name: self.text()?,
            handler: self.text()?,
            execution_id: ExecutionId(self.shared_text()?),
            component: Digest(*self.chunk()?),
            contract: self.text()?,
            input: self.json()?,
            version: None,
            parent: None,
            tags: Vec::new(),
            trace_context: None,
            scheduled_start: None,
        };
        loop {
            match self.byte()? {
                number::END => return Ok(started),
                tag::VERSION => started.version = Some(self.text()?),
                tag::PARENT => {
                    started.parent = Some(ParentInstance {
                        name: self.text()?,
                        instance_id: self.text()?,
                        execution_id: self.text()?,
                        sequence: self.small()?,
                    });
                }
                tag::TAG => started.tags.push(self.tag()?),
                tag::TRACE_PARENT => {
                    started.trace_context = Some(TraceContext { traceparent: self.text()?, tracestate: None });
                }
                tag::TRACE_STATE => match &mut started.trace_context {
                    Some(trace) => trace.tracestate = Some(self.text()?),
                    None => return Err(corrupt("a trace state comes without its parent")),
                },
                tag::SCHEDULED_START => started.scheduled_start = Some(self.time()?),
                tag => return Err(unknown_tag("ExecutionStarted", tag)),
            }
        }
    }

    fn rewound(&mut self) -> Read<ExecutionRewound> {
        let mut rewound = ExecutionRewound {
            reason: self.text()?,
            from: TurnNumber(self.small()?),
            failure: self.failure()?,
            tasks: Vec::new(),
            sent: Vec::new(),
        };
        loop {
            match self.byte()? {
                number::END => return Ok(rewound),
                number::rewound::SENT => rewound.sent.push(self.sent_action()?),
                number::rewound::TASK => rewound.tasks.push(self.rewound_task()?),
                tag => return Err(unknown_tag("ExecutionRewound", tag)),
            }
        }
    }

    /// One of the few events that are actions which are sent; looked at before it is read, so that none nests.
    fn sent_action(&mut self) -> Read<HistoryEvent> {
        use number::event as kind;
        match self.rest.first() {
            Some(&(kind::ENTITY_SIGNALED | kind::EVENT_SENT | kind::CHILD_SCHEDULED)) => self.event(),
            _ => Err(corrupt("a rewind names as sent what cannot be sent")),
        }
    }

    fn rewound_task(&mut self) -> Read<RewoundTask> {
        let mut task = RewoundTask { sequence: self.small()?, attempt: self.small()?, failure: None };
        if task.attempt == 0 {
            return Err(corrupt("attempts count from 1"));
        }
        loop {
            match self.byte()? {
                number::END => return Ok(task),
                number::rewound_task::FAILURE => task.failure = Some(self.failure()?),
                tag => return Err(unknown_tag("rewound task", tag)),
            }
        }
    }

    fn task(&mut self) -> Read<TaskScheduled> {
        use number::task as tag;
        let mut task = TaskScheduled {
            sequence: self.small()?,
            name: self.text()?,
            input: self.json()?,
            retry: None,
            timeout_ms: None,
            tags: Vec::new(),
        };
        loop {
            match self.byte()? {
                number::END => return Ok(task),
                tag::RETRY => task.retry = Some(self.retry()?),
                tag::TIMEOUT => task.timeout_ms = Some(self.float()?),
                tag::TAG => task.tags.push(self.tag()?),
                tag => return Err(unknown_tag("TaskScheduled", tag)),
            }
        }
    }

    fn child(&mut self) -> Read<ChildScheduled> {
        use number::child as tag;
        let mut child = ChildScheduled {
            sequence: self.small()?,
            name: self.text()?,
            instance_id: self.text()?,
            input: self.json()?,
            version: None,
            detached: false,
            retry: None,
            policy: None,
            scheduled_start: None,
            tags: Vec::new(),
        };
        loop {
            match self.byte()? {
                number::END => return Ok(child),
                tag::VERSION => child.version = Some(self.text()?),
                tag::DETACHED => child.detached = true,
                tag::RETRY => child.retry = Some(self.retry()?),
                tag::POLICY => child.policy = Some(self.policy()?),
                tag::SCHEDULED_START => child.scheduled_start = Some(self.time()?),
                tag::TAG => child.tags.push(self.tag()?),
                tag => return Err(unknown_tag("ChildScheduled", tag)),
            }
        }
    }

    fn http(&mut self) -> Read<HttpScheduled> {
        use number::http as tag;
        let mut call = HttpScheduled {
            sequence: self.small()?,
            method: self.text()?,
            uri: self.text()?,
            headers: Vec::new(),
            content: None,
            asynchronous_pattern: false,
            timeout_ms: None,
            retry: None,
            token_source: None,
        };
        loop {
            match (self.byte()?, &mut call.retry, &mut call.token_source) {
                (number::END, ..) => return Ok(call),
                (tag::HEADER, ..) => call.headers.push((self.text()?, self.text()?)),
                (tag::CONTENT, ..) => call.content = Some(self.text()?),
                (tag::ASYNCHRONOUS_PATTERN, ..) => call.asynchronous_pattern = true,
                (tag::TIMEOUT, ..) => call.timeout_ms = Some(self.float()?),
                (tag::RETRY, ..) => {
                    call.retry = Some(HttpRetry { policy: self.retry()?, status_codes: Vec::new() });
                }
                (tag::RETRY_STATUS, Some(retry), _) => retry.status_codes.push(self.status_code()?),
                (tag::TOKEN_SOURCE, ..) => {
                    call.token_source = Some(TokenSource { kind: self.text()?, resource: self.text()?, options: None });
                }
                (tag::TOKEN_OPTIONS, _, Some(source)) => source.options = Some(self.json()?),
                (tag, ..) => return Err(unknown_tag("HttpScheduled", tag)),
            }
        }
    }

    fn answer(&mut self) -> Read<HttpAnswer> {
        let mut answer = HttpAnswer { status: self.status_code()?, content: self.shared_text()?, headers: Vec::new() };
        loop {
            match self.byte()? {
                number::END => return Ok(answer),
                number::http::HEADER => answer.headers.push((self.text()?, self.text()?)),
                tag => return Err(unknown_tag("HttpCompleted", tag)),
            }
        }
    }

    fn status_code(&mut self) -> Read<u16> {
        u16::try_from(self.small()?).map_err(|_| corrupt("a status code is too large"))
    }

    fn policy(&mut self) -> Read<OverridableStates> {
        match self.byte()? {
            number::policy::NON_RUNNING_STATES => Ok(OverridableStates::NonRunningStates),
            number::policy::ANY_STATE => Ok(OverridableStates::AnyState),
            number::policy::NONE => Ok(OverridableStates::None),
            policy => Err(corrupt(&format!("a policy has the unknown number {policy}"))),
        }
    }

    fn retry(&mut self) -> Read<RetryPolicy> {
        use number::retry as tag;
        let mut retry = RetryPolicy {
            max_attempts: self.small()?,
            first_interval_ms: self.float()?,
            backoff_coefficient: self.float()?,
            max_interval_ms: None,
            retry_timeout_ms: None,
            retry_kinds: Vec::new(),
            never_retry_kinds: Vec::new(),
        };
        loop {
            match self.byte()? {
                number::END => return Ok(retry),
                tag::MAX_INTERVAL => retry.max_interval_ms = Some(self.float()?),
                tag::RETRY_TIMEOUT => retry.retry_timeout_ms = Some(self.float()?),
                tag::RETRY_KIND => retry.retry_kinds.push(self.text()?),
                tag::NEVER_RETRY_KIND => retry.never_retry_kinds.push(self.text()?),
                tag => return Err(unknown_tag("retry policy", tag)),
            }
        }
    }

    fn failure(&mut self) -> Read<Failure> {
        use number::failure as tag;
        let mut failure = Failure { kind: self.text()?, message: self.text()?, ..Failure::default() };
        loop {
            match self.byte()? {
                number::END => return Ok(failure),
                tag::DETAILS => failure.details = Some(self.text()?),
                tag::CAUSE => failure.causes.push(FailureCause { kind: self.text()?, message: self.text()? }),
                tag::PROPERTIES => failure.properties = Some(self.text()?),
                tag::NON_RETRIABLE => failure.non_retriable = true,
                tag => return Err(unknown_tag("failure", tag)),
            }
        }
    }

    fn tag(&mut self) -> Read<Tag> {
        Ok(Tag { key: self.text()?, value: self.text()? })
    }

    fn json(&mut self) -> Read<Json> {
        Ok(match self.any_text()? {
            Some(text) => Json::from_stored(text),
            None => Json::null(),
        })
    }

    fn text(&mut self) -> Read<String> {
        self.any_text()?.map(Cow::into_owned).ok_or_else(|| corrupt("a text is not beside its record"))
    }

    fn shared_text(&mut self) -> Read<Arc<str>> {
        self.any_text()?.map(Arc::from).ok_or_else(|| corrupt("a text is not beside its record"))
    }

    /// The next text; `None` if it is a payload and payloads are skipped.
    fn any_text(&mut self) -> Read<Option<Cow<'a, str>>> {
        let lead = self.unsigned()?;
        let utf8 = |_| corrupt("a text is not UTF-8");
        if lead & 1 == 0 {
            let bytes = self.take(lead >> 1)?;
            return Ok(Some(Cow::Borrowed(std::str::from_utf8(bytes).map_err(utf8)?)));
        }
        let number = u32::try_from(lead >> 1).map_err(|_| corrupt("a payload's number is too large"))?;
        let (length, checksum) = (self.unsigned()?, u32::from_le_bytes(*self.chunk()?));
        let Texts::Fetch(payloads) = &mut self.texts else { return Ok(None) };
        let bytes =
            payloads.payload(number)?.ok_or_else(|| corrupt(&format!("payload {number} of a record is missing")))?;
        if bytes.len() as u64 != length || crc32fast::hash(&bytes) != checksum {
            return Err(corrupt(&format!("payload {number} of a record is not the one that was stored")));
        }
        Ok(Some(Cow::Owned(String::from_utf8(bytes).map_err(|_| corrupt("a text is not UTF-8"))?)))
    }

    fn time(&mut self) -> Read<Timestamp> {
        Ok(Timestamp(self.signed()?))
    }

    fn float(&mut self) -> Read<f64> {
        Ok(f64::from_le_bytes(*self.chunk()?))
    }

    fn signed(&mut self) -> Read<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    fn small(&mut self) -> Read<u32> {
        u32::try_from(self.unsigned()?).map_err(|_| corrupt("a number is too large"))
    }

    fn unsigned(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(corrupt("a number is too large"))
    }

    fn byte(&mut self) -> Read<u8> {
        let (&byte, rest) = self.rest.split_first().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    fn chunk<const N: usize>(&mut self) -> Read<&'a [u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(chunk)
    }

    fn take(&mut self, length: u64) -> Read<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| truncated())?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn corrupt(what: &str) -> StorageError {
    StorageError::Corrupt(what.to_owned())
}

fn truncated() -> StorageError {
    corrupt("a record ends too early")
}

fn unknown_tag(of: &str, tag: u8) -> StorageError {
    corrupt(&format!("a {of} has a field with the unknown tag {tag}"))
}
