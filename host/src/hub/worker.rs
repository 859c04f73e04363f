//! The worker of an instance: decide, run, commit, act, until nothing is left to do.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tracing::{Instrument, debug, debug_span, error, info, warn};

use super::{
    Executor, Functions, GuestError, OrchestratorCall,
    activity::ActivityQueue,
    cell::{Cell, Held, State},
    residency::Residency,
    timers::Timers,
};
use crate::{
    ambient::Ambient,
    durable::{
        EndedTurn, Failure, GuestTurn, HistoryEvent, Instance, InstanceKey, Message, OverridableStates, Replay, Stall,
        Turn, TurnLimits, TurnRecord,
    },
    storage::{Committed, Fence, Loaded, Storage, StorageError, TurnCommit},
};

/// A guest whose instance only waits for a timer that is farther away than this is not kept.
const KEEP_FOR_TIMER_WITHIN: Duration = Duration::from_secs(60);

/// Waits between attempts that failed through no fault of the instance: doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Everything that a running hub shares.
pub(super) struct Inner {
    pub storage: Arc<dyn Storage>,
    pub executor: Arc<dyn Executor>,
    pub ambient: Arc<dyn Ambient>,
    pub functions: Functions,
    pub policy: OverridableStates,
    pub limits: TurnLimits,
    pub cells: Mutex<HashMap<InstanceKey, Arc<Cell>>>,
    pub activities: ActivityQueue,
    pub timers: Timers,
    pub residency: Residency,
    pub counters: Counters,
    pub garbage: tokio::sync::Notify,
    /// What made the hub stop accepting, if something did.
    pub failed: watch::Sender<Option<StorageError>>,
    pub stopping: AtomicBool,
}

/// What the hub has done since it started.
#[derive(Default)]
pub(super) struct Counters {
    pub turns: AtomicU64,
    pub replays: AtomicU64,
    pub replayed_turns: AtomicU64,
    pub resident_turns: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// Why a guest ran no turn, through no fault of its code.
enum Interrupted {
    /// It may run later.
    Later(String),
    /// It cannot.
    Stall(String),
}

/// How a round of a worker ended.
pub(super) enum Round {
    /// It may be that there is more to do.
    Again,
    /// It failed through no fault of the instance: once more, after a wait.
    Later {
        /// What it had taken.
        messages: Vec<Message>,
        /// For the operator.
        why: String,
    },
    /// It cannot go on; the text is for the operator.
    Stall(String),
}

impl Inner {
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn lock_cells(&self) -> MutexGuard<'_, HashMap<InstanceKey, Arc<Cell>>> {
        self.cells.lock().expect("no code panics while it holds the cells' lock")
    }

    pub fn find_cell(&self, instance: InstanceKey) -> Option<Arc<Cell>> {
        self.lock_cells().get(&instance).cloned()
    }

    fn cell(&self, instance: InstanceKey) -> Arc<Cell> {
        self.lock_cells().entry(instance).or_insert_with(|| Arc::new(Cell::new(instance))).clone()
    }

    /// Changes an instance's cell. True if there is work now and no worker: then the caller must see to
    /// [`Inner::work_on`], for the cell counts as worked on from here.
    pub fn deliver(&self, instance: InstanceKey, change: impl FnOnce(&mut State)) -> bool {
        loop {
            let cell = self.cell(instance);
            let mut state = cell.lock();
            if state.removed {
                continue;
            }
            change(&mut state);
            let begin = !state.running && state.has_work() && !self.is_stopping();
            state.running |= begin;
            return begin;
        }
    }

    /// Makes an instance look whether it has something to do.
    pub fn wake(self: &Arc<Self>, instance: InstanceKey) {
        if self.deliver(instance, |state| state.wake = true) {
            self.spawn_worker(instance);
        }
    }

    pub fn spawn_worker(self: &Arc<Self>, instance: InstanceKey) {
        let inner = self.clone();
        tokio::spawn(async move { inner.work_on(instance).await });
    }

    /// Works on an instance until nothing is left to do. The caller was told to by [`Inner::deliver`].
    pub async fn work_on(self: &Arc<Self>, instance: InstanceKey) {
        let Some(cell) = self.find_cell(instance) else { return };
        self.residency.leave(instance);
        let mut held = {
            let mut state = cell.lock();
            state.trouble = None;
            std::mem::take(&mut state.held)
        };
        let mut retry = RETRY_FIRST;
        while let Some(messages) = self.next_messages(&cell, &mut held) {
            match self.round(&cell, &mut held, messages).await {
                Round::Again => retry = RETRY_FIRST,
                Round::Later { messages, why } => {
                    warn!(instance = %instance, %why, "a turn could not be made, trying again");
                    self.start_over(&cell, &mut held, messages);
                    cell.lock().trouble = Some(why.into());
                    tokio::select! {
                        biased;
                        () = cell.ended.notified() => {}
                        () = self.ambient.sleep(retry) => {}
                    }
                    retry = (retry * 2).min(RETRY_MAX);
                }
                Round::Stall(text) => {
                    error!(instance = %instance, diagnostics = %text, "the instance stalls");
                    held = Held::default();
                    cell.lock().stalled = Some(text.into());
                }
            }
        }
    }

    /// What to do next; `None` once there is nothing, and the cell counts as worked on no longer.
    fn next_messages(&self, cell: &Arc<Cell>, held: &mut Held) -> Option<Vec<Message>> {
        let mut state = cell.lock();
        if state.has_work() && !self.is_stopping() {
            state.wake = false;
            return Some(state.take_messages());
        }
        state.running = false;
        let bytes = held.guest.as_ref().map_or(0, |guest| guest.resident_bytes());
        let keep = held.guest.is_some() && self.residency.admits(bytes) && self.wakes_soon(held);
        state.held = if keep { std::mem::take(held) } else { Held::default() };
        // Entered under the cell's lock: the next worker's `leave` must not come before it.
        let victims = if keep { self.residency.enter(cell.instance, bytes) } else { Vec::new() };
        drop(state);
        victims.into_iter().for_each(|victim| self.evict(victim));
        self.remove_if_idle(cell);
        None
    }

    /// False if all that an instance waits for is a timer that is far away.
    fn wakes_soon(&self, held: &Held) -> bool {
        let Some(instance) = &held.instance else { return false };
        let far = |at| self.ambient.now().until(at) > KEEP_FOR_TIMER_WITHIN;
        instance.outstanding().next().is_some() || !instance.next_due().is_some_and(far)
    }

    fn evict(&self, instance: InstanceKey) {
        let Some(cell) = self.find_cell(instance) else { return };
        let held = {
            let mut state = cell.lock();
            if state.running { Held::default() } else { std::mem::take(&mut state.held) }
        };
        drop(held);
        self.remove_if_idle(&cell);
    }

    pub fn remove_if_idle(&self, cell: &Arc<Cell>) {
        let mut cells = self.lock_cells();
        let mut state = cell.lock();
        if state.is_idle() && !state.removed {
            state.removed = true;
            cells.remove(&cell.instance);
        }
    }

    /// Drops the state and the guest, which may be ahead of storage, and keeps what would be lost: outcomes of activities.
    /// Inbox messages are storage's, and will be read again.
    fn start_over(&self, cell: &Cell, held: &mut Held, messages: Vec<Message>) {
        *held = Held::default();
        let mut state = cell.lock();
        let outcomes = messages.into_iter().filter(|message| matches!(message, Message::TaskEnded { .. }));
        let later = std::mem::take(&mut state.mailbox);
        state.mailbox = outcomes.chain(later).collect();
        state.forget_inbox();
        state.wake = true;
    }

    /// Takes messages through one turn.
    async fn round(self: &Arc<Self>, cell: &Arc<Cell>, held: &mut Held, mut messages: Vec<Message>) -> Round {
        let mut records = None;
        let is_new = held.instance.as_ref().is_some_and(|instance| instance.is_new());
        if !is_new && (held.instance.is_none() || held.guest.is_none()) {
            let loaded = match self.storage.load(cell.instance).await {
                Ok(Some(loaded)) => loaded,
                Ok(None) => {
                    self.forget_generation(cell);
                    return Round::Again;
                }
                Err(error) => return self.storage_failed(error, messages),
            };
            match self.take_loaded(cell, held, loaded, &mut messages) {
                Ok(loaded) => records = Some(loaded),
                Err(text) => return Round::Stall(text),
            }
        }
        let instance = held.instance.as_deref().expect("it was held or has been loaded");
        let again = messages.clone();
        let Some(turn) = instance.begin_turn(messages, self.ambient.now()) else {
            self.timers.set(cell.instance, instance.generation(), instance.next_due());
            return Round::Again;
        };
        let span = debug_span!("orchestration.turn", instance_id = %instance.id(), name = %instance.execution().name);
        let guest = tokio::select! {
            biased;
            () = cell.ended.notified() => {
                // Whether the generation has ended storage knows; the turn is given up and its guest is dropped.
                self.start_over(cell, held, again);
                return Round::Again;
            }
            guest = self.run_guest(held, records.as_deref(), &turn).instrument(span) => guest,
        };
        match guest {
            Ok(guest) => self.commit(cell, held, turn, guest, again).await,
            Err(Interrupted::Later(why)) => Round::Later { messages: again, why },
            Err(Interrupted::Stall(text)) => Round::Stall(text),
        }
    }

    /// Takes what was loaded into hands: state, messages, activities that must run again. Returns the records.
    fn take_loaded(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        held: &mut Held,
        loaded: Loaded,
        messages: &mut Vec<Message>,
    ) -> Result<Vec<Arc<TurnRecord>>, String> {
        let Loaded { instance, id, generation, records, inbox, messages_to } = loaded;
        let state = Instance::fold(instance, id, generation, &records).map_err(|error| error.to_string())?;
        // The inbox as read holds every message that was not taken: what came by hand is in it, or was taken long ago.
        messages.retain(|message| matches!(message, Message::TaskEnded { .. }));
        messages.extend(inbox.into_iter().map(|(number, body)| Message::Inbox { number, body }));
        {
            let mut cell_state = cell.lock();
            cell_state.anchor_inbox(messages_to);
            cell_state.stop_activities_before(Some(generation));
        }
        self.dispatch_except(cell, &state, messages);
        held.guest = None;
        held.instance = Some(Box::new(state));
        Ok(records)
    }

    /// Dispatches what is outstanding, but for what has ended and waits for its turn.
    fn dispatch_except(self: &Arc<Self>, cell: &Arc<Cell>, instance: &Instance, messages: &[Message]) {
        let ended: BTreeSet<_> = {
            let state = cell.lock();
            let ended = |message: &Message| match message {
                Message::TaskEnded { generation, sequence, .. } => Some((*generation, *sequence)),
                Message::Inbox { .. } => None,
            };
            messages.iter().chain(&state.mailbox).filter_map(ended).collect()
        };
        let generation = instance.generation();
        self.dispatch(
            cell,
            instance,
            instance.outstanding().filter(|task| !ended.contains(&(generation, task.sequence))),
        );
    }

    async fn run_guest(
        &self,
        held: &mut Held,
        records: Option<&[Arc<TurnRecord>]>,
        turn: &Turn,
    ) -> Result<Result<GuestTurn, Failure>, Interrupted> {
        let instance = held.instance.as_deref().expect("a turn has begun");
        if held.guest.is_none() {
            let execution = instance.execution();
            let call = OrchestratorCall {
                component: execution.component,
                handler: execution.handler.clone(),
                name: execution.name.clone(),
                instance_id: instance.id().clone(),
                execution_id: execution.execution_id.clone(),
            };
            match self.executor.orchestrator(call).await {
                Ok(guest) => held.guest = Some(guest),
                Err(GuestError::Code(failure)) => return Ok(Err(failure)),
                Err(GuestError::Unavailable(text)) => return Err(Interrupted::Later(text)),
            }
            if let Some(replay) = records.and_then(Replay::of) {
                let guest = held.guest.as_mut().expect("it has just been made");
                self.replay(guest.as_mut(), &replay).await?;
            }
        } else {
            Counters::add(&self.counters.resident_turns, 1);
        }
        Counters::add(&self.counters.turns, 1);
        let guest = held.guest.as_mut().expect("held, or made above");
        let events = turn.guest_events(instance);
        match guest.turn(false, 1, &events).await {
            Ok(result) => Ok(Ok(result)),
            Err(error) => {
                held.guest = None;
                match error {
                    GuestError::Code(failure) => Ok(Err(failure)),
                    GuestError::Unavailable(text) => Err(Interrupted::Later(text)),
                }
            }
        }
    }

    async fn replay(&self, guest: &mut dyn super::OrchestratorGuest, replay: &Replay) -> Result<(), Interrupted> {
        Counters::add(&self.counters.replays, 1);
        Counters::add(&self.counters.replayed_turns, u64::from(replay.turns));
        match guest.turn(true, replay.turns, &replay.events).await {
            Ok(result) => replay.check(&result).map_err(|divergence| Interrupted::Stall(divergence.to_string())),
            // The code has done this before: what stops it now is not its own doing, so the instance does not fail.
            Err(GuestError::Code(failure)) => {
                Err(Interrupted::Stall(format!("replay was stopped: {}: {}", failure.kind, failure.message)))
            }
            Err(GuestError::Unavailable(text)) => Err(Interrupted::Later(text)),
        }
    }

    /// Makes a turn durable, then lets it take effect.
    async fn commit(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        held: &mut Held,
        turn: Turn,
        guest: Result<GuestTurn, Failure>,
        again: Vec<Message>,
    ) -> Round {
        let instance = held.instance.as_deref().expect("a turn has begun");
        let EndedTurn { number, record, took } = match instance.end_turn(turn, guest, self.limits) {
            Ok(ended) => ended,
            Err(Stall(text)) => return Round::Stall(text),
        };
        let commit = TurnCommit {
            fence: Fence::default(),
            instance: instance.key(),
            generation: instance.generation(),
            number,
            record: record.clone(),
            took,
            previous_due: instance.next_due(),
        };
        match self.storage.commit_turn(commit).await {
            Ok(Committed::Committed) => {
                self.perform(cell, held, &record);
                Round::Again
            }
            // Ended, replaced or purged meanwhile: the guest is ahead of storage and goes.
            Ok(Committed::Fenced) => {
                self.start_over(cell, held, again);
                Round::Again
            }
            Err(error) => self.storage_failed(error, again),
        }
    }

    /// Applies a durable record and acts on it. Memory only; cannot fail.
    fn perform(self: &Arc<Self>, cell: &Arc<Cell>, held: &mut Held, record: &TurnRecord) {
        let instance = held.instance.as_deref_mut().expect("a turn has been committed");
        instance.apply(record);
        let summary = record.summary;
        debug!(
            instance_id = %instance.id(), turn = %instance.last_turn(), status = %summary.status,
            outstanding = summary.outstanding, "turn committed"
        );
        self.timers.set(cell.instance, instance.generation(), summary.next_due);
        if summary.status.is_terminal() {
            info!(
                instance_id = %instance.id(), name = %instance.execution().name, status = %summary.status,
                "orchestration ended"
            );
            cell.lock().stop_activities_before(None);
            *held = Held::default();
            return;
        }
        let scheduled = record.events.iter().filter_map(|event| match event {
            HistoryEvent::TaskScheduled(task) => instance.task(task.sequence),
            _ => None,
        });
        self.dispatch(cell, instance, scheduled);
    }

    /// The instance has no open generation (any more).
    fn forget_generation(&self, cell: &Cell) {
        let mut state = cell.lock();
        state.stop_activities_before(None);
        state.mailbox.clear();
        state.forget_inbox();
    }

    fn storage_failed(&self, error: StorageError, messages: Vec<Message>) -> Round {
        match error {
            StorageError::Full(_) | StorageError::Busy(_) => Round::Later { messages, why: error.to_string() },
            StorageError::Corrupt(_) => Round::Stall(error.to_string()),
            StorageError::Poisoned(_) => {
                self.fail(error.clone());
                Round::Later { messages, why: error.to_string() }
            }
        }
    }

    /// Storage is poisoned: nothing is accepted from here on, and the process must end.
    pub fn fail(&self, error: StorageError) {
        self.stopping.store(true, Ordering::Relaxed);
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(error);
            first
        });
        self.timers.poke();
    }
}
