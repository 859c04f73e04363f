//! A turn: what it takes ([`Instance::begin_turn`]) and what it leaves ([`Instance::end_turn`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Action, ChildScheduled, ComponentReplaced, Digest, ExecutionId, ExecutionStarted, Failure, GenerationKey,
    GuestEvent, GuestOutcome, GuestTurn, HistoryEvent, HttpOutcome, InboxMessage, Instance, Json, Message,
    MessageNumber, NextExecution, OpenTask, RuntimeStatus, Section, Sequence, Summary, Timestamp, TurnNumber,
    TurnRecord, Work,
    entity::{refused_call, refused_child, refused_lock, refused_signal},
};

/// The greatest custom status, in bytes of UTF-16 (Durable Functions' rule).
const CUSTOM_STATUS_UTF16_BYTES_MAX: usize = 16 * 1024;

/// Bounds that a turn is held to.
#[derive(Clone, Copy, Debug)]
pub struct TurnLimits {
    /// Numbered actions per execution (host.json's `maxOrchestrationActions`).
    pub actions_max: u32,
}

/// What a turn takes: decided, not yet durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    number: TurnNumber,
    time: Timestamp,
    is_first: bool,
    /// The code of a rewound execution runs again.
    is_rerun: bool,
    taken: Vec<HistoryEvent>,
    took: Vec<MessageNumber>,
}

/// What a turn leaves, to be committed.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedTurn {
    /// The turn's number.
    pub number: TurnNumber,
    /// The record.
    pub record: Arc<TurnRecord>,
    /// The inbox messages that the record holds.
    pub took: Vec<MessageNumber>,
    /// The execution that takes the place of this one: then the record is not kept, but for what it took.
    pub next: Option<Arc<NextExecution>>,
    /// Actions of the record that the rules of critical sections forbid, and why: each is answered with that.
    pub refused: BTreeMap<Sequence, Failure>,
    /// Actions of the record that a turn which a rewind undid has sent already.
    pub sent_before: BTreeSet<Sequence>,
    /// `lock-entities` actions whose locks are given up or released by the record.
    pub released: Vec<Section>,
}

/// What an execution that continues as new runs on: its component is the one that is deployed now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// The next execution's id.
    pub execution_id: ExecutionId,
    /// Its component.
    pub component: Digest,
    /// What the component calls the function.
    pub handler: String,
    /// The component's contract version.
    pub contract: String,
}

/// An operator's hold of an execution, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Hold it.
    Suspend,
    /// Let it go on.
    Resume,
}

/// The guest broke the contract, or cannot go on: nothing is recorded, the instance stalls with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stall(pub String);

impl Turn {
    /// The guest's view of what the turn takes.
    pub fn guest_events(&self, instance: &Instance) -> Vec<GuestEvent> {
        let mut events = vec![GuestEvent::TurnStarted(self.time)];
        if self.is_rerun && !self.takes_for_guest() {
            // A replay finds nothing for the guest in this turn's record, and begins no turn for it.
            return vec![];
        }
        if self.is_first {
            events.push(GuestEvent::ExecutionStarted(instance.execution().clone()));
        }
        let mut next_index = instance.events_raised();
        let is_detached = |sequence| match instance.task(sequence).map(|task| &task.work) {
            Some(Work::Child(child)) => child.detached,
            Some(Work::Activity(_) | Work::Http(_) | Work::Entity(_) | Work::Locks(_)) | None => false,
        };
        events.extend(self.taken.iter().filter_map(|event| guest_event(event, &mut next_index, is_detached)));
        events
    }

    /// True if there is something for the guest in it: a turn may be the host's alone, when an attempt of an activity failed
    /// or the next one begins.
    pub fn needs_guest(&self) -> bool {
        self.is_first || self.is_rerun || self.takes_for_guest()
    }

    fn takes_for_guest(&self) -> bool {
        self.taken.iter().any(|event| guest_event(event, &mut 0, |_| false).is_some())
    }

    /// When it began: the orchestrator's clock.
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

/// What the guest sees of an event; `next_index` counts external events, `is_detached` knows the starts nobody waits for.
pub(super) fn guest_event(
    event: &HistoryEvent,
    next_index: &mut u32,
    is_detached: impl Fn(Sequence) -> bool,
) -> Option<GuestEvent> {
    match event {
        HistoryEvent::TaskCompleted { sequence, result } => Some(GuestEvent::TaskCompleted(*sequence, result.clone())),
        HistoryEvent::TaskFailed { sequence, failure } => Some(GuestEvent::TaskFailed(*sequence, failure.clone())),
        HistoryEvent::ChildCompleted { sequence, result } => Some(GuestEvent::ChildCompleted {
            sequence: *sequence,
            detached: is_detached(*sequence),
            result: result.clone(),
        }),
        HistoryEvent::ChildFailed { sequence, failure } => Some(GuestEvent::ChildFailed {
            sequence: *sequence,
            detached: is_detached(*sequence),
            failure: failure.clone(),
        }),
        HistoryEvent::HttpCompleted { sequence, answer } => Some(GuestEvent::HttpCompleted(*sequence, answer.clone())),
        HistoryEvent::HttpFailed { sequence, failure } => Some(GuestEvent::HttpFailed(*sequence, failure.clone())),
        HistoryEvent::TimerFired { sequence } => Some(GuestEvent::TimerFired(*sequence)),
        HistoryEvent::EntityCompleted { sequence, result } => {
            Some(GuestEvent::EntityCompleted(*sequence, result.clone()))
        }
        HistoryEvent::EntityFailed { sequence, failure } => Some(GuestEvent::EntityFailed(*sequence, failure.clone())),
        HistoryEvent::LocksGranted { sequence } => Some(GuestEvent::LockGranted(*sequence)),
        HistoryEvent::LocksFailed { sequence, failure } => Some(GuestEvent::LockFailed(*sequence, failure.clone())),
        HistoryEvent::EventRaised { name, input, .. } => {
            let index = *next_index;
            *next_index += 1;
            Some(GuestEvent::EventRaised { index, name: name.clone(), input: input.clone() })
        }
        HistoryEvent::ExecutionStarted(_)
        | HistoryEvent::TaskScheduled(_)
        | HistoryEvent::ChildScheduled(_)
        | HistoryEvent::EntityCalled(_)
        | HistoryEvent::EntitySignaled(_)
        | HistoryEvent::LocksRequested(_)
        | HistoryEvent::LocksReleased { .. }
        | HistoryEvent::EventSent(_)
        | HistoryEvent::TaskRetryScheduled { .. }
        | HistoryEvent::TaskRetryStarted { .. }
        | HistoryEvent::HttpScheduled(_)
        | HistoryEvent::HttpPollScheduled { .. }
        | HistoryEvent::HttpPollStarted { .. }
        | HistoryEvent::ExecutionSuspended { .. }
        | HistoryEvent::ExecutionResumed { .. }
        | HistoryEvent::ExecutionRewound(_)
        | HistoryEvent::TimerCreated { .. }
        | HistoryEvent::ActionCanceled { .. }
        | HistoryEvent::EventConsumed { .. }
        | HistoryEvent::CustomStatusSet { .. }
        | HistoryEvent::ExecutionCompleted { .. }
        | HistoryEvent::ExecutionFailed { .. }
        | HistoryEvent::ExecutionTerminated { .. }
        | HistoryEvent::ComponentReplaced(_) => None,
    }
}

impl Instance {
    /// Decides what a turn takes at the time `now`: of the messages those that concern this generation and were not taken
    /// before, in order, then every timer that is due. `None` if that is nothing (and the first turn has run).
    ///
    /// Pure: the state does not change before the turn's record is applied.
    pub fn begin_turn(&self, messages: impl IntoIterator<Item = Message>, now: Timestamp) -> Option<Turn> {
        if self.status().is_terminal() || self.status() == RuntimeStatus::Suspended {
            return None;
        }
        let time = now.max(self.last_time());
        let mut taking = Taking::default();
        for message in messages {
            taking.message(self, message, time);
        }
        for (_, sequence) in self.retries_by_due().take_while(|(at, _)| *at <= now) {
            let task = self.task(*sequence).expect("a retry belongs to an open task");
            taking.events.push(match task.poll {
                Some(_) => HistoryEvent::HttpPollStarted { sequence: *sequence },
                None => HistoryEvent::TaskRetryStarted { sequence: *sequence, attempt: task.attempt },
            });
        }
        // Against the host's clock, not the orchestrator's: that one does not go back when the host's is set back, and a
        // timer must not fire early by the clock that people see.
        let clock = if planted!(TimerByOrchestratorsClock) { time } else { now };
        for (_, sequence) in self.timers_by_due().take_while(|(at, _)| *at <= clock) {
            taking.events.push(HistoryEvent::TimerFired { sequence: *sequence });
        }
        // A message that concerns nobody any more is taken all the same: it must leave the inbox.
        let is_rerun = self.rerun().is_some();
        if taking.events.is_empty() && taking.took.is_empty() && !self.is_new() && !is_rerun {
            return None;
        }
        Some(Turn {
            number: self.last_turn().next(),
            time,
            is_first: self.is_new(),
            is_rerun,
            taken: taking.events,
            took: taking.took,
        })
    }

    /// Holds the execution or lets it go on: a turn of the host's alone.
    ///
    /// # Errors
    /// The status, if it does not allow that.
    pub fn hold(&self, hold: Hold, reason: &str, now: Timestamp) -> Result<EndedTurn, RuntimeStatus> {
        let is_suspended = self.status() == RuntimeStatus::Suspended;
        let reason = reason.to_owned();
        let (event, status, next_due) = match hold {
            _ if self.status().is_terminal() => return Err(self.status()),
            Hold::Suspend if is_suspended => return Err(self.status()),
            Hold::Resume if !is_suspended => return Err(self.status()),
            Hold::Suspend => (HistoryEvent::ExecutionSuspended { reason }, RuntimeStatus::Suspended, None),
            // Pending where the code has not run: that is what recovery picks up, whatever else there is or is not to do.
            Hold::Resume => {
                let status = if self.is_new() { RuntimeStatus::Pending } else { RuntimeStatus::Running };
                (HistoryEvent::ExecutionResumed { reason }, status, self.first_due())
            }
        };
        let summary = Summary { status, next_due, ..self.summary() };
        let record = TurnRecord { time: now.max(self.last_time()), events: vec![event], summary };
        Ok(EndedTurn {
            number: self.last_turn().next(),
            record: Arc::new(record),
            took: vec![],
            next: None,
            refused: BTreeMap::new(),
            sent_before: BTreeSet::new(),
            released: vec![],
        })
    }

    /// Records that another component runs the execution from here on: a turn of the host's alone. The caller has seen the
    /// component's replay agree with the whole history.
    pub fn replace_component(&self, replaced: ComponentReplaced, now: Timestamp) -> EndedTurn {
        let events = vec![HistoryEvent::ComponentReplaced(replaced)];
        let record = TurnRecord { time: now.max(self.last_time()), events, summary: self.summary() };
        EndedTurn {
            number: self.last_turn().next(),
            record: Arc::new(record),
            took: vec![],
            next: None,
            refused: BTreeMap::new(),
            sent_before: BTreeSet::new(),
            released: vec![],
        }
    }

    /// Turns what the code asked for into the turn's record. An `Err` of the guest (its code panicked or exceeded a limit)
    /// fails the execution.
    ///
    /// # Errors
    /// [`Stall`] if the guest declared the history impossible or numbered its actions against the contract.
    pub fn end_turn(
        &self,
        turn: Turn,
        guest: Result<GuestTurn, Failure>,
        limits: TurnLimits,
        successor: impl FnOnce() -> Successor,
    ) -> Result<EndedTurn, Stall> {
        let mut ending = Ending::new(self, &turn);
        let next_input = match guest {
            Ok(guest) => ending.guest_turn(guest, limits)?,
            Err(failure) => {
                ending.fail(failure);
                None
            }
        };
        let next = next_input.map(|input| Arc::new(ending.next_execution(&turn, input, successor())));
        let Ending { events, summary, refused, sent_before, released, .. } = ending;
        let events = turn.taken.into_iter().chain(events).collect();
        let record = Arc::new(TurnRecord { time: turn.time, events, summary });
        Ok(EndedTurn { number: turn.number, record, took: turn.took, next, refused, sent_before, released })
    }
}

/// A turn's messages, while they are sorted out.
#[derive(Default)]
struct Taking {
    events: Vec<HistoryEvent>,
    took: Vec<MessageNumber>,
    ended: BTreeSet<Sequence>,
}

impl Taking {
    /// The open activity or HTTP call whose first outcome this is.
    fn ended_call<'a>(
        &mut self,
        instance: &'a Instance,
        generation: GenerationKey,
        sequence: Sequence,
    ) -> Option<&'a OpenTask> {
        let is_of_now = |task: &&OpenTask| generation == instance.generation() && task.is_running_call();
        instance.task(sequence).filter(is_of_now).filter(|_| self.ended.insert(sequence))
    }

    fn message(&mut self, instance: &Instance, message: Message, time: Timestamp) {
        match message {
            Message::TaskEnded { generation, sequence, outcome } => {
                if let Some(task) = self.ended_call(instance, generation, sequence) {
                    self.events.push(match outcome {
                        Ok(result) => HistoryEvent::TaskCompleted { sequence, result },
                        Err(failure) => attempt_failed(task, failure, time),
                    });
                } else if planted!(CanceledResultDelivered)
                    && let Ok(result) = outcome
                {
                    self.events.push(HistoryEvent::TaskCompleted { sequence, result });
                }
            }
            Message::HttpEnded { generation, sequence, outcome } => {
                if let Some(task) = self.ended_call(instance, generation, sequence)
                    && !(planted!(PollAnswerLost) && task.poll.is_some())
                {
                    self.events.push(match outcome {
                        Ok(HttpOutcome::Answered(answer)) => HistoryEvent::HttpCompleted { sequence, answer },
                        Ok(HttpOutcome::Accepted { location, due }) => {
                            HistoryEvent::HttpPollScheduled { sequence, location, due }
                        }
                        Err(failure) => attempt_failed(task, failure, time),
                    });
                }
            }
            Message::Inbox { number, body } => {
                let newest = self.took.last().copied().max(instance.taken_to());
                if newest.is_none_or(|newest| number > newest) || planted!(MessageDedupeOff) {
                    self.took.push(number);
                    match body {
                        InboxMessage::EventRaised { name, input } => {
                            self.events.push(HistoryEvent::EventRaised { message: number, name, input });
                        }
                        InboxMessage::ChildEnded { execution_id, sequence, outcome } => {
                            let is_it = |work: &Work| matches!(work, Work::Child(_));
                            if let Some(task) = self.answered(instance, &execution_id, sequence, is_it) {
                                self.events.push(match outcome {
                                    Ok(result) => HistoryEvent::ChildCompleted { sequence, result },
                                    Err(failure) => attempt_failed(task, failure, time),
                                });
                            }
                        }
                        InboxMessage::EntityAnswered { execution_id, sequence, outcome } => {
                            let is_it = |work: &Work| matches!(work, Work::Entity(_));
                            if self.answered(instance, &execution_id, sequence, is_it).is_some() {
                                self.events.push(match outcome {
                                    Ok(result) => HistoryEvent::EntityCompleted { sequence, result },
                                    Err(failure) => HistoryEvent::EntityFailed { sequence, failure },
                                });
                            }
                        }
                        InboxMessage::LockAnswered { execution_id, sequence, outcome } => {
                            let is_it = |work: &Work| matches!(work, Work::Locks(_));
                            if self.answered(instance, &execution_id, sequence, is_it).is_some() {
                                self.events.push(match outcome {
                                    Ok(()) => HistoryEvent::LocksGranted { sequence },
                                    Err(failure) => HistoryEvent::LocksFailed { sequence, failure },
                                });
                            }
                        }
                        // Never sent to an orchestration.
                        InboxMessage::EntityOperation(_)
                        | InboxMessage::LockRequest(_)
                        | InboxMessage::Unlock { .. } => {}
                    }
                }
            }
        }
    }
}

impl Taking {
    /// The open action of this execution that a message answers, if it is the first one that does.
    fn answered<'i>(
        &mut self,
        instance: &'i Instance,
        execution_id: &ExecutionId,
        sequence: Sequence,
        is_it: impl Fn(&Work) -> bool,
    ) -> Option<&'i OpenTask> {
        instance
            .task(sequence)
            .filter(|_| *execution_id == instance.execution().execution_id)
            .filter(|task| is_it(&task.work) && task.retry_at.is_none())
            .filter(|_| self.ended.insert(sequence))
    }
}

/// An attempt failed: is there another?
fn attempt_failed(task: &OpenTask, failure: Failure, time: Timestamp) -> HistoryEvent {
    let (sequence, attempt) = (task.work.sequence(), task.attempt);
    let elapsed_ms = time.as_millis_f64() - task.at.as_millis_f64();
    // What is asked after was accepted: repeating the call would begin the work a second time.
    let policy = task.work.retry().filter(|_| task.poll.is_none());
    let counted = attempt - task.attempts_before;
    let interval = policy.and_then(|retry| retry.next_interval_ms(counted, &failure, elapsed_ms));
    match interval {
        Some(interval_ms) => {
            let interval = Duration::try_from_secs_f64(interval_ms / 1000.0).unwrap_or(Duration::MAX);
            HistoryEvent::TaskRetryScheduled { sequence, attempt, failure, due: time.plus(interval) }
        }
        None => match task.work {
            Work::Activity(_) => HistoryEvent::TaskFailed { sequence, failure },
            Work::Child(_) => HistoryEvent::ChildFailed { sequence, failure },
            Work::Http(_) => HistoryEvent::HttpFailed { sequence, failure },
            Work::Entity(_) => HistoryEvent::EntityFailed { sequence, failure },
            Work::Locks(_) => HistoryEvent::LocksFailed { sequence, failure },
        },
    }
}

/// What a numbered action or a cancel is recorded as; `None` for what is recorded otherwise or not at all.
pub(super) fn compared_event(action: &Action, execution: &ExecutionId) -> Option<HistoryEvent> {
    match action {
        Action::StartChild { child, instance_id } => {
            let mut child = child.clone();
            child.instance_id =
                instance_id.clone().unwrap_or_else(|| ChildScheduled::derived_id(execution, child.sequence));
            Some(HistoryEvent::ChildScheduled(child))
        }
        Action::ScheduleTask(task) => Some(HistoryEvent::TaskScheduled(task.clone())),
        Action::CallHttp(call) => Some(HistoryEvent::HttpScheduled(call.clone())),
        Action::CreateTimer { sequence, fire_at } => {
            Some(HistoryEvent::TimerCreated { sequence: *sequence, fire_at: *fire_at })
        }
        Action::CallEntity(call) => Some(HistoryEvent::EntityCalled(call.clone())),
        Action::SignalEntity(signal) => Some(HistoryEvent::EntitySignaled(signal.clone())),
        Action::LockEntities(locks) => Some(HistoryEvent::LocksRequested(locks.clone())),
        Action::UnlockEntities { sequence, lock } => {
            Some(HistoryEvent::LocksReleased { sequence: *sequence, lock: *lock })
        }
        Action::SendEvent(sent) => Some(HistoryEvent::EventSent(sent.clone())),
        Action::Cancel { sequence } => Some(HistoryEvent::ActionCanceled { sequence: *sequence }),
        Action::WaitForEvent { .. }
        | Action::Consumed { .. }
        | Action::SetCustomStatus(_)
        | Action::Unsupported { .. } => None,
    }
}

/// A turn's record, while it is made.
struct Ending<'a> {
    instance: &'a Instance,
    number: TurnNumber,
    events: Vec<HistoryEvent>,
    summary: Summary,
    next_sequence: Sequence,
    /// Open before the turn, and closed by it or waiting for another time than before.
    closed: BTreeSet<Sequence>,
    /// Activities, HTTP calls and children made by this turn, still open, and how much each counts as outstanding.
    new_tasks: BTreeMap<Sequence, u32>,
    /// Timers made, and attempts scheduled, by this turn; by time and by number.
    new_due: BTreeSet<(Timestamp, Sequence)>,
    new_due_at: BTreeMap<Sequence, Timestamp>,
    section: Option<Section>,
    refused: BTreeMap<Sequence, Failure>,
    sent_before: BTreeSet<Sequence>,
    /// What undone turns have sent, and this one has not asked for so far.
    sent_left: Vec<HistoryEvent>,
    released: Vec<Section>,
    events_raised: u32,
    consumed: BTreeSet<u32>,
}

impl<'a> Ending<'a> {
    fn new(instance: &'a Instance, turn: &Turn) -> Self {
        let mut ending = Self {
            instance,
            number: turn.number,
            events: Vec::new(),
            summary: Summary { status: RuntimeStatus::Running, ..instance.summary() },
            next_sequence: instance.next_sequence(),
            closed: BTreeSet::new(),
            new_tasks: BTreeMap::new(),
            new_due: BTreeSet::new(),
            new_due_at: BTreeMap::new(),
            section: instance.section().cloned(),
            refused: BTreeMap::new(),
            sent_before: BTreeSet::new(),
            sent_left: instance.sent_before().to_vec(),
            released: Vec::new(),
            events_raised: instance.events_raised(),
            consumed: BTreeSet::new(),
        };
        ending.summary.outstanding -= u32::from(turn.is_rerun);
        turn.taken.iter().for_each(|event| ending.taken(event));
        ending
    }

    /// What the turn took, as far as it changes what is open.
    fn taken(&mut self, event: &HistoryEvent) {
        match event {
            HistoryEvent::TaskCompleted { sequence, .. }
            | HistoryEvent::TaskFailed { sequence, .. }
            | HistoryEvent::ChildCompleted { sequence, .. }
            | HistoryEvent::ChildFailed { sequence, .. }
            | HistoryEvent::HttpCompleted { sequence, .. }
            | HistoryEvent::HttpFailed { sequence, .. }
            | HistoryEvent::EntityCompleted { sequence, .. }
            | HistoryEvent::EntityFailed { sequence, .. } => {
                self.close(*sequence);
            }
            HistoryEvent::LocksGranted { sequence } => {
                self.close(*sequence);
                Section::grant(&mut self.section, *sequence);
            }
            HistoryEvent::LocksFailed { sequence, .. } => {
                self.close(*sequence);
                Section::end(&mut self.section, *sequence);
            }
            HistoryEvent::TimerFired { sequence } => {
                self.closed.insert(*sequence);
            }
            HistoryEvent::TaskRetryScheduled { sequence, due, .. }
            | HistoryEvent::HttpPollScheduled { sequence, due, .. } => {
                self.close(*sequence);
                self.add_due(*due, *sequence);
            }
            HistoryEvent::TaskRetryStarted { sequence, .. } | HistoryEvent::HttpPollStarted { sequence } => {
                self.closed.insert(*sequence);
                let counts = self.instance.task(*sequence).map_or(0, |task| task.work.counts());
                self.new_tasks.insert(*sequence, counts);
                self.summary.outstanding += counts;
            }
            HistoryEvent::EventRaised { .. } => self.events_raised += 1,
            HistoryEvent::ExecutionStarted(_)
            | HistoryEvent::TaskScheduled(_)
            | HistoryEvent::ChildScheduled(_)
            | HistoryEvent::HttpScheduled(_)
            | HistoryEvent::EntityCalled(_)
            | HistoryEvent::EntitySignaled(_)
            | HistoryEvent::LocksRequested(_)
            | HistoryEvent::LocksReleased { .. }
            | HistoryEvent::EventSent(_)
            | HistoryEvent::TimerCreated { .. }
            | HistoryEvent::ActionCanceled { .. }
            | HistoryEvent::EventConsumed { .. }
            | HistoryEvent::CustomStatusSet { .. }
            | HistoryEvent::ExecutionCompleted { .. }
            | HistoryEvent::ExecutionFailed { .. }
            | HistoryEvent::ExecutionSuspended { .. }
            | HistoryEvent::ExecutionResumed { .. }
            | HistoryEvent::ComponentReplaced(_)
            | HistoryEvent::ExecutionRewound(_)
            | HistoryEvent::ExecutionTerminated { .. } => {}
        }
    }

    fn add_due(&mut self, at: Timestamp, sequence: Sequence) {
        self.new_due.insert((at, sequence));
        self.new_due_at.insert(sequence, at);
    }

    /// Closes what was open before the turn.
    fn close(&mut self, sequence: Sequence) {
        let was_running = self.instance.task(sequence).is_some_and(OpenTask::is_running_call);
        if self.closed.insert(sequence) && was_running {
            self.summary.outstanding -= 1;
        }
    }

    /// Takes what the code asked for. `Some` is the input of the execution that takes the place of this one.
    fn guest_turn(&mut self, guest: GuestTurn, limits: TurnLimits) -> Result<Option<Json>, Stall> {
        for action in guest.actions {
            if let Err(failure) = self.action(action, limits)? {
                self.fail(failure);
                return Ok(None);
            }
        }
        match guest.outcome {
            GuestOutcome::Waiting => self.wait(),
            GuestOutcome::Completed(output) => {
                self.end(RuntimeStatus::Completed, HistoryEvent::ExecutionCompleted { output });
            }
            GuestOutcome::Failed(failure) => self.fail(failure),
            GuestOutcome::ContinueAsNew { input } => return Ok(Some(input)),
            GuestOutcome::Faulted(failure) => return Err(Stall(format!("{}: {}", failure.kind, failure.message))),
        }
        Ok(None)
    }

    /// The execution that follows, with what this one leaves to it.
    fn next_execution(&self, turn: &Turn, input: Json, successor: Successor) -> NextExecution {
        let before: &ExecutionStarted = self.instance.execution();
        let Successor { execution_id, component, handler, contract } = successor;
        let started = ExecutionStarted {
            execution_id,
            component,
            handler,
            contract,
            input,
            scheduled_start: None,
            ..before.clone()
        };
        let set_now = self.events.iter().rev().find_map(|event| match event {
            HistoryEvent::CustomStatusSet { status } => Some(status),
            _ => None,
        });
        let custom_status = set_now.or(self.instance.custom_status()).cloned();
        let old = self.instance.unconsumed().map(|(index, (number, name, input))| (index, (*number, name, input)));
        let raised = turn.taken.iter().filter_map(|event| match event {
            HistoryEvent::EventRaised { message, name, input } => Some((*message, name, input)),
            _ => None,
        });
        let new = (self.instance.events_raised()..).zip(raised);
        let carried =
            old.chain(new).filter(|(index, _)| !self.consumed.contains(index)).map(|(_, (number, name, input))| {
                (number, InboxMessage::EventRaised { name: name.clone(), input: input.clone() })
            });
        let mut carried: Vec<_> = carried.collect();
        if planted!(LastEventNotCarried) {
            carried.pop();
        }
        NextExecution { started: Arc::new(started), custom_status, carried }
    }

    /// Takes one action. The inner error is a limit that fails the execution.
    fn action(&mut self, action: Action, limits: TurnLimits) -> Result<Result<(), Failure>, Stall> {
        if self.next_sequence >= limits.actions_max && action.is_numbered() {
            return Ok(Err(Failure::new(
                "TooManyActions",
                format!(
                    "Maximum amount of orchestration actions ({}) has been reached. This value can be configured in \
                     host.json file as MaxOrchestrationActions.",
                    limits.actions_max
                ),
            )));
        }
        if let Some(event) = compared_event(&action, &self.instance.execution().execution_id) {
            if HistoryEvent::take_sent(&mut self.sent_left, &event) {
                self.sent_before.extend(event.sent());
            }
            self.events.push(event);
        }
        match action {
            Action::ScheduleTask(task) => {
                self.number_action(task.sequence)?;
                self.new_tasks.insert(task.sequence, 1);
                self.summary.outstanding += 1;
            }
            Action::CallHttp(call) => {
                self.number_action(call.sequence)?;
                self.new_tasks.insert(call.sequence, 1);
                self.summary.outstanding += 1;
            }
            Action::StartChild { child, .. } => {
                self.number_action(child.sequence)?;
                self.new_tasks.insert(child.sequence, 0);
                let refused = refused_child(self.section.as_ref()).filter(|_| !child.detached);
                self.refused.extend(refused.map(|failure| (child.sequence, failure)));
            }
            Action::CallEntity(call) => {
                self.number_action(call.sequence)?;
                self.new_tasks.insert(call.sequence, 0);
                let refused = refused_call(self.section.as_ref(), &call.entity);
                self.refused.extend(refused.map(|failure| (call.sequence, failure)));
            }
            Action::SignalEntity(signal) => {
                self.number_action(signal.sequence)?;
                if let Some(failure) = refused_signal(self.section.as_ref(), &signal.entity) {
                    // Nobody waits for its answer: the code must learn it all the same.
                    self.refused.insert(signal.sequence, failure.clone());
                    return Ok(Err(failure));
                }
            }
            Action::LockEntities(locks) => {
                self.number_action(locks.sequence)?;
                self.new_tasks.insert(locks.sequence, 0);
                let refused = refused_lock(self.section.as_ref());
                self.refused.extend(refused.map(|failure| (locks.sequence, failure)));
                Section::request(&mut self.section, &locks);
            }
            Action::UnlockEntities { sequence, lock } => {
                self.number_action(sequence)?;
                if lock >= sequence {
                    return Err(Stall(format!("the guest unlocked what the action {lock} locks, which it never made")));
                }
                self.released.extend(Section::end(&mut self.section, lock));
            }
            Action::SendEvent(sent) => self.number_action(sent.sequence)?,
            Action::CreateTimer { sequence, fire_at } => {
                self.number_action(sequence)?;
                self.add_due(fire_at, sequence);
            }
            Action::Cancel { sequence } => self.cancel(sequence)?,
            Action::WaitForEvent { .. } => {}
            Action::Consumed { index } => self.consume(index)?,
            Action::SetCustomStatus(status) => {
                let bytes = status.utf16_bytes();
                if bytes > CUSTOM_STATUS_UTF16_BYTES_MAX {
                    return Ok(Err(Failure::new(
                        "CustomStatusTooLarge",
                        format!(
                            "The UTF-16 size of the JSON-serialized payload must not exceed 16 KB. The current payload \
                             size is {} KB.",
                            bytes.div_ceil(1024)
                        ),
                    )));
                }
                self.events.push(HistoryEvent::CustomStatusSet { status });
                self.summary.custom_status = Some(self.number);
            }
            Action::Unsupported { what, .. } => {
                let text = format!("this host does not support the action {what} yet");
                return Ok(Err(Failure::new("NotSupported", text)));
            }
        }
        Ok(Ok(()))
    }

    fn number_action(&mut self, sequence: Sequence) -> Result<(), Stall> {
        if sequence != self.next_sequence {
            return Err(Stall(format!(
                "the guest numbered an action {sequence} where {} comes next",
                self.next_sequence
            )));
        }
        self.next_sequence += 1;
        Ok(())
    }

    fn cancel(&mut self, sequence: Sequence) -> Result<(), Stall> {
        if sequence >= self.next_sequence {
            return Err(Stall(format!("the guest canceled the action {sequence}, which it never made")));
        }
        self.released.extend(Section::end(&mut self.section, sequence));
        if let Some(counts) = self.new_tasks.remove(&sequence) {
            self.summary.outstanding -= counts;
        }
        if let Some(at) = self.new_due_at.remove(&sequence) {
            self.new_due.remove(&(at, sequence));
        }
        if self.instance.task(sequence).is_some() || self.instance.has_timer(sequence) {
            self.close(sequence);
        }
        Ok(())
    }

    fn consume(&mut self, index: u32) -> Result<(), Stall> {
        let new = (self.instance.events_raised()..self.events_raised).contains(&index);
        if !(new || self.instance.is_unconsumed(index)) || !self.consumed.insert(index) {
            return Err(Stall(format!(
                "the guest reports that it received the external event {index}, which it has not"
            )));
        }
        self.events.push(HistoryEvent::EventConsumed { index });
        Ok(())
    }

    /// The execution goes on: when is it due?
    fn wait(&mut self) {
        let open = |(_, sequence): &&(Timestamp, Sequence)| !self.closed.contains(sequence);
        let timer = self.instance.timers_by_due().find(open);
        let retry = self.instance.retries_by_due().find(open);
        self.summary.next_due = [timer, retry, self.new_due.first()].into_iter().flatten().map(|(at, _)| *at).min();
    }

    fn fail(&mut self, failure: Failure) {
        self.end(RuntimeStatus::Failed, HistoryEvent::ExecutionFailed { failure });
    }

    fn end(&mut self, status: RuntimeStatus, event: HistoryEvent) {
        self.events.push(event);
        self.summary.status = status;
        self.summary.next_due = None;
        self.summary.outstanding = 0;
    }
}
