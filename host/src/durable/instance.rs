//! The state of one live generation, as a fold over its records.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ChildScheduled, EntityCalled, ExecutionId, ExecutionStarted, GenerationKey, HistoryEvent, HistorySize,
    HttpScheduled, InstanceId, InstanceKey, Json, LocksRequested, MessageNumber, RetryPolicy, RewoundTask,
    RuntimeStatus, Section, Sequence, Summary, TaskScheduled, Timestamp, TurnNumber, TurnRecord,
};

/// A live generation of an instance. Changed by [`Instance::apply`] and by nothing else.
///
/// Invariants: `tasks` and `timers` hold exactly what was asked for and has neither ended nor been canceled; `timers` and
/// `timers_by_due` hold the same timers; after a terminal record nothing is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    instance: InstanceKey,
    id: InstanceId,
    generation: GenerationKey,
    started: Arc<ExecutionStarted>,
    status: RuntimeStatus,
    last_turn: TurnNumber,
    /// The code has run.
    begun: bool,
    last_time: Timestamp,
    next_sequence: Sequence,
    tasks: BTreeMap<Sequence, OpenTask>,
    /// How many of `tasks` run: the others wait for their next attempt, in `retries_by_due`.
    running: u32,
    retries_by_due: BTreeSet<(Timestamp, Sequence)>,
    timers: BTreeMap<Sequence, Timestamp>,
    timers_by_due: BTreeSet<(Timestamp, Sequence)>,
    section: Option<Section>,
    events_raised: u32,
    unconsumed: BTreeMap<u32, (MessageNumber, String, Json)>,
    taken_to: Option<MessageNumber>,
    custom_status: Option<(TurnNumber, Json)>,
    size: HistorySize,
    /// It was rewound, and its code has not run since: the turns from this one on are handed to it once more.
    rerun: Option<TurnNumber>,
    /// What turns that were undone by rewinds have sent, and no turn that was kept.
    sent_before: Vec<HistoryEvent>,
}

/// What an [`OpenTask`] does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// It runs an activity.
    Activity(TaskScheduled),
    /// It waits for a child, or for the decision on a detached start.
    Child(Box<ChildScheduled>),
    /// It calls HTTP.
    Http(Box<HttpScheduled>),
    /// It waits for an entity's answer.
    Entity(Box<EntityCalled>),
    /// It waits for locks.
    Locks(LocksRequested),
}

impl Work {
    /// The action's number.
    pub fn sequence(&self) -> Sequence {
        match self {
            Self::Activity(task) => task.sequence,
            Self::Child(child) => child.sequence,
            Self::Http(call) => call.sequence,
            Self::Entity(call) => call.sequence,
            Self::Locks(locks) => locks.sequence,
        }
    }

    /// How it is repeated.
    pub fn retry(&self) -> Option<&RetryPolicy> {
        match self {
            Self::Activity(task) => task.retry.as_ref(),
            Self::Child(child) => child.retry.as_ref(),
            Self::Http(call) => call.retry.as_ref().map(|retry| &retry.policy),
            Self::Entity(_) | Self::Locks(_) => None,
        }
    }
}

/// An activity, child or HTTP call that was asked for and has neither ended nor been canceled.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenTask {
    /// What was asked for.
    pub work: Work,
    /// When.
    pub at: Timestamp,
    /// The attempt that runs or comes next, from 1.
    pub attempt: u32,
    /// When the next attempt or poll begins, while it waits for that.
    pub retry_at: Option<Timestamp>,
    /// Where an HTTP call's work is asked after, once its request was answered 202.
    pub poll: Option<String>,
    /// Attempts before it was rewound, which its retry policy does not count.
    pub attempts_before: u32,
}

/// A child that was started and has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenChild<'a> {
    /// What was asked for.
    pub child: &'a ChildScheduled,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The id of that attempt's instance.
    pub instance_id: String,
}

/// Records that cannot be the history of a live generation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history of instance {id} is not one: {reason}")]
pub struct NotAHistory {
    id: InstanceId,
    reason: &'static str,
}

impl Work {
    /// How much it adds to the summary's `outstanding`: what ends by a message needs no recovery.
    pub(super) fn counts(&self) -> u32 {
        match self {
            Self::Activity(_) | Self::Http(_) => 1,
            Self::Child(_) | Self::Entity(_) | Self::Locks(_) => 0,
        }
    }
}

impl OpenTask {
    /// True for an activity or HTTP request that runs, or must run again after a crash.
    pub fn is_running_call(&self) -> bool {
        self.retry_at.is_none() && matches!(self.work, Work::Activity(_) | Work::Http(_))
    }
}

impl ChildScheduled {
    /// The id of an attempt's instance: the code's own serves all, a derived one is new with each.
    pub fn attempt_id(&self, execution: &ExecutionId, attempt: u32) -> String {
        if attempt > 1 && self.instance_id == Self::derived_id(execution, self.sequence) {
            return format!("{}:{attempt}", self.instance_id);
        }
        self.instance_id.clone()
    }

    /// The id that a child gets if the code chooses none.
    pub fn derived_id(execution: &ExecutionId, sequence: Sequence) -> String {
        format!("{execution}:{sequence:08x}")
    }
}

impl Instance {
    /// A generation that has just been started: the state after its first record.
    pub fn started(
        instance: InstanceKey,
        id: InstanceId,
        generation: GenerationKey,
        started: Arc<ExecutionStarted>,
        time: Timestamp,
    ) -> Self {
        Self {
            instance,
            id,
            generation,
            started,
            status: RuntimeStatus::Pending,
            last_turn: TurnNumber::START,
            begun: false,
            last_time: time,
            next_sequence: 0,
            tasks: BTreeMap::new(),
            running: 0,
            retries_by_due: BTreeSet::new(),
            timers: BTreeMap::new(),
            timers_by_due: BTreeSet::new(),
            section: None,
            events_raised: 0,
            unconsumed: BTreeMap::new(),
            taken_to: None,
            custom_status: None,
            size: HistorySize::default(),
            rerun: None,
            sent_before: Vec::new(),
        }
    }

    /// How large the history has become, its start not counted.
    pub fn history_size(&self) -> HistorySize {
        self.size
    }

    /// The state after all records of a generation.
    ///
    /// # Errors
    /// [`NotAHistory`] if the first record is not exactly an `ExecutionStarted`.
    pub fn fold(
        instance: InstanceKey,
        id: InstanceId,
        generation: GenerationKey,
        records: &[Arc<TurnRecord>],
    ) -> Result<Self, NotAHistory> {
        let Some((first, rest)) = records.split_first() else {
            return Err(NotAHistory { id, reason: "it is empty" });
        };
        let Some((HistoryEvent::ExecutionStarted(started), with_it)) = first.events.split_first() else {
            return Err(NotAHistory { id, reason: "it does not begin with ExecutionStarted" });
        };
        let mut state = Self::started(instance, id, generation, Arc::new((**started).clone()), first.time);
        // What an execution brought along from the one before it: its custom status.
        with_it.iter().for_each(|event| state.apply_event(event));
        for record in rest {
            state.apply(record);
        }
        if planted!(BackOffForgottenByFold) {
            state.retries_by_due = state.retries_by_due.iter().map(|(_, sequence)| (first.time, *sequence)).collect();
        }
        if planted!(AcceptanceForgottenByFold) {
            state.tasks.values_mut().for_each(|task| task.poll = None);
        }
        if planted!(SuspensionForgottenByFold) && state.status == RuntimeStatus::Suspended {
            state.status = RuntimeStatus::Running;
        }
        Ok(state)
    }

    /// Takes a record that is durable into the state.
    pub fn apply(&mut self, record: &TurnRecord) {
        self.take(record);
        debug_assert_eq!(record.summary, self.summary(), "a record's summary is what its fold says");
    }

    fn take(&mut self, record: &TurnRecord) {
        self.last_turn = self.last_turn.next();
        self.last_time = record.time;
        self.status = record.summary.status;
        self.size = self.size + HistorySize::of(record);
        if !record.is_hold() {
            self.begun = true;
            self.rerun = None;
        }
        for event in &record.events {
            self.apply_event(event);
        }
        if self.status.is_terminal() {
            self.tasks.clear();
            self.running = 0;
            self.retries_by_due.clear();
            self.timers.clear();
            self.timers_by_due.clear();
            self.section = None;
            self.rerun = None;
            self.sent_before.clear();
        }
    }

    /// Takes events into the state and returns their record, with the summary that is its fold's.
    pub(super) fn fold_anew(
        &mut self,
        time: Timestamp,
        events: Vec<HistoryEvent>,
        status: RuntimeStatus,
    ) -> TurnRecord {
        let mut record = TurnRecord { time, events, summary: Summary { status, ..self.summary() } };
        let mut folded = self.clone();
        folded.take(&record);
        record.summary = folded.summary();
        *self = folded;
        record
    }

    fn apply_event(&mut self, event: &HistoryEvent) {
        if !self.sent_before.is_empty() {
            HistoryEvent::take_sent(&mut self.sent_before, event);
        }
        match event {
            HistoryEvent::TaskScheduled(task) => {
                self.next_sequence = task.sequence + 1;
                self.add_task(Work::Activity(task.clone()));
            }
            HistoryEvent::ChildScheduled(child) => {
                self.next_sequence = child.sequence + 1;
                self.add_task(Work::Child(child.clone()));
            }
            HistoryEvent::HttpScheduled(call) => {
                self.next_sequence = call.sequence + 1;
                self.add_task(Work::Http(call.clone()));
            }
            HistoryEvent::TimerCreated { sequence, fire_at } => {
                self.next_sequence = sequence + 1;
                self.timers.insert(*sequence, *fire_at);
                self.timers_by_due.insert((*fire_at, *sequence));
            }
            HistoryEvent::TaskCompleted { sequence, .. }
            | HistoryEvent::TaskFailed { sequence, .. }
            | HistoryEvent::ChildCompleted { sequence, .. }
            | HistoryEvent::ChildFailed { sequence, .. }
            | HistoryEvent::HttpCompleted { sequence, .. }
            | HistoryEvent::HttpFailed { sequence, .. }
            | HistoryEvent::EntityCompleted { sequence, .. }
            | HistoryEvent::EntityFailed { sequence, .. } => {
                self.remove_task(*sequence);
            }
            HistoryEvent::EntityCalled(call) => {
                self.next_sequence = call.sequence + 1;
                self.add_task(Work::Entity(Box::new(call.clone())));
            }
            HistoryEvent::EntitySignaled(signal) => self.next_sequence = signal.sequence + 1,
            HistoryEvent::EventSent(sent) => self.next_sequence = sent.sequence + 1,
            HistoryEvent::LocksRequested(locks) => {
                self.next_sequence = locks.sequence + 1;
                self.add_task(Work::Locks(locks.clone()));
                Section::request(&mut self.section, locks);
            }
            HistoryEvent::LocksGranted { sequence } => {
                self.remove_task(*sequence);
                Section::grant(&mut self.section, *sequence);
            }
            HistoryEvent::LocksFailed { sequence, .. } => {
                self.remove_task(*sequence);
                Section::end(&mut self.section, *sequence);
            }
            HistoryEvent::LocksReleased { sequence, lock } => {
                self.next_sequence = sequence + 1;
                Section::end(&mut self.section, *lock);
            }
            HistoryEvent::TaskRetryScheduled { sequence, attempt, due, .. } => {
                if let Some(task) = self.tasks.get_mut(sequence) {
                    task.attempt = if planted!(RetryAttemptNotCounted) { 1 } else { attempt + 1 };
                    task.retry_at = Some(*due);
                    self.retries_by_due.insert((*due, *sequence));
                    self.running -= task.work.counts();
                }
            }
            HistoryEvent::TaskRetryStarted { sequence, attempt } => {
                if let Some(task) = self.tasks.get_mut(sequence)
                    && let Some(due) = task.retry_at.take()
                {
                    task.attempt = if planted!(RetryAttemptNotCounted) { 1 } else { *attempt };
                    self.retries_by_due.remove(&(due, *sequence));
                    self.running += task.work.counts();
                }
            }
            HistoryEvent::HttpPollScheduled { sequence, location, due } => {
                if let Some(task) = self.tasks.get_mut(sequence) {
                    task.poll = Some(location.clone());
                    task.retry_at = Some(*due);
                    self.retries_by_due.insert((*due, *sequence));
                    self.running -= task.work.counts();
                }
            }
            HistoryEvent::HttpPollStarted { sequence } => {
                if let Some(task) = self.tasks.get_mut(sequence)
                    && let Some(due) = task.retry_at.take()
                {
                    self.retries_by_due.remove(&(due, *sequence));
                    self.running += task.work.counts();
                }
            }
            HistoryEvent::TimerFired { sequence } => self.remove_timer(*sequence),
            HistoryEvent::ActionCanceled { sequence } => {
                self.remove_task(*sequence);
                self.remove_timer(*sequence);
                Section::end(&mut self.section, *sequence);
            }
            HistoryEvent::EventRaised { message, name, input } => {
                self.unconsumed.insert(self.events_raised, (*message, name.clone(), input.clone()));
                self.events_raised += 1;
                self.taken_to = self.taken_to.max(Some(*message));
            }
            HistoryEvent::EventConsumed { index } => {
                self.unconsumed.remove(index);
            }
            HistoryEvent::ComponentReplaced(replaced) => {
                let started = Arc::make_mut(&mut self.started);
                started.component = replaced.component;
                started.handler.clone_from(&replaced.handler);
                started.contract.clone_from(&replaced.contract);
            }
            HistoryEvent::CustomStatusSet { status } => self.custom_status = Some((self.last_turn, status.clone())),
            HistoryEvent::ExecutionRewound(rewound) => {
                self.rerun = Some(rewound.from);
                rewound.tasks.iter().for_each(|task| self.attempt_anew(task));
                self.sent_before.extend(rewound.sent.iter().cloned());
            }
            HistoryEvent::ExecutionStarted(_)
            | HistoryEvent::ExecutionCompleted { .. }
            | HistoryEvent::ExecutionFailed { .. }
            | HistoryEvent::ExecutionSuspended { .. }
            | HistoryEvent::ExecutionResumed { .. }
            | HistoryEvent::ExecutionTerminated { .. } => {}
        }
    }

    fn attempt_anew(&mut self, rewound: &RewoundTask) {
        if let Some(task) = self.tasks.get_mut(&rewound.sequence) {
            (task.attempt, task.attempts_before) = (rewound.attempt, rewound.attempt - 1);
            (task.at, task.poll) = (self.last_time, None);
        }
    }

    fn add_task(&mut self, work: Work) {
        self.running += work.counts();
        let open = OpenTask { work, at: self.last_time, attempt: 1, retry_at: None, poll: None, attempts_before: 0 };
        self.tasks.insert(open.work.sequence(), open);
    }

    fn remove_task(&mut self, sequence: Sequence) {
        if let Some(task) = self.tasks.remove(&sequence) {
            match task.retry_at {
                Some(due) => {
                    self.retries_by_due.remove(&(due, sequence));
                }
                None => self.running -= task.work.counts(),
            }
        }
    }

    fn remove_timer(&mut self, sequence: Sequence) {
        if let Some(fire_at) = self.timers.remove(&sequence) {
            self.timers_by_due.remove(&(fire_at, sequence));
        }
    }

    /// How it stands: what its last record's summary says.
    pub fn summary(&self) -> Summary {
        Summary {
            status: self.status,
            custom_status: self.custom_status.as_ref().map(|(turn, _)| *turn),
            next_due: self.next_due(),
            outstanding: self.running + u32::from(self.rerun.is_some()),
        }
    }

    /// Storage's number of the instance.
    pub fn key(&self) -> InstanceKey {
        self.instance
    }

    /// The instance's id.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// The generation.
    pub fn generation(&self) -> GenerationKey {
        self.generation
    }

    /// How it was started; component, handler and contract are those that run it now.
    pub fn execution(&self) -> &Arc<ExecutionStarted> {
        &self.started
    }

    /// Its status.
    pub fn status(&self) -> RuntimeStatus {
        self.status
    }

    /// The last turn that is recorded.
    pub fn last_turn(&self) -> TurnNumber {
        self.last_turn
    }

    /// The time of the last turn.
    pub fn last_time(&self) -> Timestamp {
        self.last_time
    }

    /// True until its first turn has run.
    pub fn is_new(&self) -> bool {
        !self.begun
    }

    /// When the earliest open timer, or the next attempt or poll of something, is due; never while it is suspended.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.status == RuntimeStatus::Suspended { None } else { self.first_due() }
    }

    /// The time for which its start was scheduled, if the code has not run and that time has not come.
    pub fn starts_later(&self, now: Timestamp) -> Option<Timestamp> {
        self.started.scheduled_start.filter(|at| !self.begun && *at > now)
    }

    /// The same, suspended or not.
    pub(super) fn first_due(&self) -> Option<Timestamp> {
        if !self.begun {
            return self.started.scheduled_start;
        }
        let firsts = self.timers_by_due.first().into_iter().chain(self.retries_by_due.first());
        firsts.map(|(at, _)| *at).min()
    }

    /// Activities and HTTP requests that run: what recovery runs again.
    pub fn outstanding(&self) -> impl Iterator<Item = &OpenTask> {
        self.tasks.values().filter(|task| task.is_running_call())
    }

    /// Children that were started and have not ended: their ids.
    pub fn open_children(&self) -> impl Iterator<Item = String> {
        self.children().map(|child| child.instance_id)
    }

    /// Children that were started and have not ended.
    pub(super) fn children(&self) -> impl Iterator<Item = OpenChild<'_>> {
        let execution_id = &self.started.execution_id;
        self.tasks.values().filter(|task| task.retry_at.is_none()).filter_map(move |task| match &task.work {
            Work::Child(child) if !child.detached => Some(OpenChild {
                child,
                attempt: task.attempt,
                instance_id: child.attempt_id(execution_id, task.attempt),
            }),
            Work::Child(_) | Work::Activity(_) | Work::Http(_) | Work::Entity(_) | Work::Locks(_) => None,
        })
    }

    /// The turn from which on a rewound execution's code is handed its turns once more; `None` once it was.
    pub fn rerun(&self) -> Option<TurnNumber> {
        self.rerun
    }

    /// What turns that rewinds undid have sent, and no turn since asked for: it must not be sent again.
    pub(super) fn sent_before(&self) -> &[HistoryEvent] {
        if planted!(RewindSendsAgain) { &[] } else { &self.sent_before }
    }

    /// An activity, child or HTTP call that was asked for and has neither ended nor been canceled.
    pub fn task(&self, sequence: Sequence) -> Option<&OpenTask> {
        self.tasks.get(&sequence)
    }

    /// The critical section that it is in, or has asked for.
    pub fn section(&self) -> Option<&Section> {
        self.section.as_ref()
    }

    /// What waits for its next attempt or poll, earliest first.
    pub(super) fn retries_by_due(&self) -> impl Iterator<Item = &(Timestamp, Sequence)> {
        self.retries_by_due.iter()
    }

    /// Open timers, earliest first.
    pub(super) fn timers_by_due(&self) -> impl Iterator<Item = &(Timestamp, Sequence)> {
        self.timers_by_due.iter()
    }

    /// True if the action is a timer that is open.
    pub(super) fn has_timer(&self, sequence: Sequence) -> bool {
        self.timers.contains_key(&sequence)
    }

    /// The number that the code's next numbered action must have.
    pub(super) fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    /// How many external events the execution was handed.
    pub fn events_raised(&self) -> u32 {
        self.events_raised
    }

    /// External events that were handed over and not received by the code, oldest first.
    pub fn unconsumed(&self) -> impl Iterator<Item = (u32, &(MessageNumber, String, Json))> {
        self.unconsumed.iter().map(|(index, event)| (*index, event))
    }

    /// The custom status.
    pub fn custom_status(&self) -> Option<&Json> {
        self.custom_status.as_ref().map(|(_, status)| status)
    }

    /// True if the event was handed over and has not been received.
    pub(super) fn is_unconsumed(&self, index: u32) -> bool {
        self.unconsumed.contains_key(&index)
    }

    /// The last inbox message that a turn took: one that is not newer is a duplicate.
    pub(super) fn taken_to(&self) -> Option<MessageNumber> {
        self.taken_to
    }
}
