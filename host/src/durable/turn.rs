//! A turn: what it takes ([`Instance::begin_turn`]) and what it leaves ([`Instance::end_turn`]).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Action, Failure, GuestEvent, GuestOutcome, GuestTurn, HistoryEvent, InboxMessage, Instance, Message, MessageNumber,
    RuntimeStatus, Sequence, Summary, Timestamp, TurnNumber, TurnRecord,
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
}

/// The guest broke the contract, or cannot go on: nothing is recorded, the instance stalls with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stall(pub String);

impl Turn {
    /// The guest's view of what the turn takes.
    pub fn guest_events(&self, instance: &Instance) -> Vec<GuestEvent> {
        let mut events = vec![GuestEvent::TurnStarted(self.time)];
        if self.is_first {
            events.push(GuestEvent::ExecutionStarted(instance.execution().clone()));
        }
        let mut next_index = instance.events_raised();
        events.extend(self.taken.iter().filter_map(|event| guest_event(event, &mut next_index)));
        events
    }

    /// When it began: the orchestrator's clock.
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

/// What the guest sees of an event; `next_index` counts external events.
pub(super) fn guest_event(event: &HistoryEvent, next_index: &mut u32) -> Option<GuestEvent> {
    match event {
        HistoryEvent::TaskCompleted { sequence, result } => Some(GuestEvent::TaskCompleted(*sequence, result.clone())),
        HistoryEvent::TaskFailed { sequence, failure } => Some(GuestEvent::TaskFailed(*sequence, failure.clone())),
        HistoryEvent::TimerFired { sequence } => Some(GuestEvent::TimerFired(*sequence)),
        HistoryEvent::EventRaised { name, input, .. } => {
            let index = *next_index;
            *next_index += 1;
            Some(GuestEvent::EventRaised { index, name: name.clone(), input: input.clone() })
        }
        HistoryEvent::ExecutionStarted(_)
        | HistoryEvent::TaskScheduled(_)
        | HistoryEvent::TimerCreated { .. }
        | HistoryEvent::ActionCanceled { .. }
        | HistoryEvent::EventConsumed { .. }
        | HistoryEvent::CustomStatusSet { .. }
        | HistoryEvent::ExecutionCompleted { .. }
        | HistoryEvent::ExecutionFailed { .. }
        | HistoryEvent::ExecutionTerminated { .. } => None,
    }
}

impl Instance {
    /// Decides what a turn takes at the time `now`: of the messages those that concern this generation and were not taken
    /// before, in order, then every timer that is due. `None` if that is nothing (and the first turn has run).
    ///
    /// Pure: the state does not change before the turn's record is applied.
    pub fn begin_turn(&self, messages: impl IntoIterator<Item = Message>, now: Timestamp) -> Option<Turn> {
        if self.status().is_terminal() {
            return None;
        }
        let mut taking = Taking::default();
        for message in messages {
            taking.message(self, message);
        }
        // Against the host's clock, not the orchestrator's: that one does not go back when the host's is set back, and a
        // timer must not fire early by the clock that people see.
        for (_, sequence) in self.timers_by_due().take_while(|(at, _)| *at <= now) {
            taking.events.push(HistoryEvent::TimerFired { sequence: *sequence });
        }
        if taking.events.is_empty() && !self.is_new() {
            return None;
        }
        Some(Turn {
            number: self.last_turn().next(),
            time: now.max(self.last_time()),
            is_first: self.is_new(),
            taken: taking.events,
            took: taking.took,
        })
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
    ) -> Result<EndedTurn, Stall> {
        let mut ending = Ending::new(self, &turn);
        match guest {
            Ok(guest) => ending.guest_turn(guest, limits)?,
            Err(failure) => ending.fail(failure),
        }
        let Ending { events, summary, .. } = ending;
        let events = turn.taken.into_iter().chain(events).collect();
        let record = Arc::new(TurnRecord { time: turn.time, events, summary });
        Ok(EndedTurn { number: turn.number, record, took: turn.took })
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
    fn message(&mut self, instance: &Instance, message: Message) {
        match message {
            Message::TaskEnded { generation, sequence, outcome } => {
                let open = generation == instance.generation() && instance.task(sequence).is_some();
                if open && self.ended.insert(sequence) {
                    self.events.push(match outcome {
                        Ok(result) => HistoryEvent::TaskCompleted { sequence, result },
                        Err(failure) => HistoryEvent::TaskFailed { sequence, failure },
                    });
                }
            }
            Message::Inbox { number, body } => {
                let newest = self.took.last().copied().max(instance.taken_to());
                if newest.is_none_or(|newest| number > newest) {
                    self.took.push(number);
                    match body {
                        InboxMessage::EventRaised { name, input } => {
                            self.events.push(HistoryEvent::EventRaised { message: number, name, input });
                        }
                    }
                }
            }
        }
    }
}

/// What a numbered action or a cancel is recorded as; `None` for what is recorded otherwise or not at all.
pub(super) fn compared_event(action: &Action) -> Option<HistoryEvent> {
    match action {
        Action::ScheduleTask(task) => Some(HistoryEvent::TaskScheduled(task.clone())),
        Action::CreateTimer { sequence, fire_at } => {
            Some(HistoryEvent::TimerCreated { sequence: *sequence, fire_at: *fire_at })
        }
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
    /// Open at the start of the turn and closed by it.
    closed: BTreeSet<Sequence>,
    /// Made by this turn and still open.
    new_tasks: BTreeSet<Sequence>,
    new_timers: BTreeSet<(Timestamp, Sequence)>,
    events_raised: u32,
    consumed: BTreeSet<u32>,
}

impl<'a> Ending<'a> {
    fn new(instance: &'a Instance, turn: &Turn) -> Self {
        let closed = turn
            .taken
            .iter()
            .filter_map(|event| match event {
                HistoryEvent::TaskCompleted { sequence, .. }
                | HistoryEvent::TaskFailed { sequence, .. }
                | HistoryEvent::TimerFired { sequence } => Some(*sequence),
                _ => None,
            })
            .collect();
        let raised = turn.taken.iter().filter(|event| matches!(event, HistoryEvent::EventRaised { .. })).count();
        Self {
            instance,
            number: turn.number,
            events: Vec::new(),
            summary: Summary { status: RuntimeStatus::Running, ..instance.summary() },
            next_sequence: instance.next_sequence(),
            closed,
            new_tasks: BTreeSet::new(),
            new_timers: BTreeSet::new(),
            events_raised: instance.events_raised() + u32::try_from(raised).unwrap_or(u32::MAX),
            consumed: BTreeSet::new(),
        }
    }

    fn guest_turn(&mut self, guest: GuestTurn, limits: TurnLimits) -> Result<(), Stall> {
        for action in guest.actions {
            if let Err(failure) = self.action(action, limits)? {
                self.fail(failure);
                return Ok(());
            }
        }
        match guest.outcome {
            GuestOutcome::Waiting => self.wait(),
            GuestOutcome::Completed(output) => {
                self.end(RuntimeStatus::Completed, HistoryEvent::ExecutionCompleted { output });
            }
            GuestOutcome::Failed(failure) => self.fail(failure),
            GuestOutcome::ContinueAsNew { .. } => {
                self.fail(Failure::new("NotSupported", "this host does not support continue-as-new yet"));
            }
            GuestOutcome::Faulted(failure) => return Err(Stall(format!("{}: {}", failure.kind, failure.message))),
        }
        Ok(())
    }

    /// Takes one action. The inner error is a limit that fails the execution.
    fn action(&mut self, action: Action, limits: TurnLimits) -> Result<Result<(), Failure>, Stall> {
        if let Some(event) = compared_event(&action) {
            self.events.push(event);
        }
        match action {
            Action::ScheduleTask(task) => {
                self.number_action(task.sequence)?;
                self.new_tasks.insert(task.sequence);
            }
            Action::CreateTimer { sequence, fire_at } => {
                self.number_action(sequence)?;
                self.new_timers.insert((fire_at, sequence));
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
        if self.next_sequence > limits.actions_max {
            return Ok(Err(Failure::new(
                "TooManyActions",
                format!(
                    "Maximum amount of orchestration actions ({}) has been reached. This value can be configured in \
                     host.json file as MaxOrchestrationActions.",
                    limits.actions_max
                ),
            )));
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
        self.new_tasks.remove(&sequence);
        self.new_timers.retain(|(_, timer)| *timer != sequence);
        if self.instance.task(sequence).is_some() || self.instance.has_timer(sequence) {
            self.closed.insert(sequence);
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

    /// The execution goes on: what is open now?
    fn wait(&mut self) {
        let open_tasks = self.instance.outstanding().filter(|task| !self.closed.contains(&task.sequence)).count();
        self.summary.outstanding = u32::try_from(open_tasks + self.new_tasks.len()).unwrap_or(u32::MAX);
        let still_open = self.instance.timers_by_due().find(|(_, sequence)| !self.closed.contains(sequence));
        self.summary.next_due = still_open.into_iter().chain(self.new_timers.first()).map(|(at, _)| *at).min();
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
