//! The worker of an instance: decide, run, commit, act, until nothing is left to do.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;

use tokio::sync::watch;
use tracing::{Instrument, debug, debug_span, error, info, warn};

use super::{
    Executor,
    activity::ActivityQueue,
    cell::{Cell, Control, Held, HoldError, State},
    children::outcome_of,
    endings::Endings,
    parking::Parking,
    replacement::Tried,
    residency::{Residency, Stay},
    timers::Timers,
    turns::Interrupted,
};
use crate::{
    ambient::Ambient,
    durable::{
        BatchLimits, Creation, EndedTurn, ExecutionId, Failure, FunctionName, GenerationKey, GuestTurn, HistoryEvent,
        HistorySize, Hold, Instance, InstanceKey, Message, OverridableStates, RuntimeStatus, Stall, Successor,
        TaskScheduled, Timestamp, Turn, TurnLimits, TurnRecord,
    },
    storage::{Committed, Fence, Loaded, Storage, StorageError, TurnCommit, Want, child_ended},
};

/// A guest whose instance only waits for a timer that is farther away than this is not kept.
const KEEP_FOR_TIMER_WITHIN: Duration = Duration::from_secs(60);

/// How many instances may be loaded and wait for their turns at once: each holds its history meanwhile. After a start all
/// overdue timers wake theirs.
pub(super) const LOADS_MAX: usize = 512;

/// Waits between attempts that failed through no fault of the instance: doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Everything that a running hub shares.
pub(super) struct Inner {
    pub storage: Arc<dyn Storage>,
    pub executor: Arc<dyn Executor>,
    pub ambient: Arc<dyn Ambient>,
    pub deployment: super::deployment::Deployment,
    pub policy: OverridableStates,
    pub limits: TurnLimits,
    pub cells: Mutex<HashMap<InstanceKey, Arc<Cell>>>,
    pub activities: ActivityQueue,
    /// Turns that may run at once; the others wait, first come, first served.
    pub turns: tokio::sync::Semaphore,
    /// As many guests as there are places may be about to be made, without one: they wait for slots.
    pub fresh: tokio::sync::Semaphore,
    /// Instances that may be loaded, and not have run their turn, at once.
    pub loads: tokio::sync::Semaphore,
    /// Whose sub-orchestrations do not begin for now.
    pub held_back: super::trees::HeldBack,
    /// Who may not run, or only alone.
    pub parking: Arc<Parking>,
    /// The bound on every attempt of an activity.
    pub function_timeout: Option<Duration>,
    /// How long a durable HTTP call waits between polls where its answer names no time.
    pub http_poll_wait: Duration,
    pub timers: Timers,
    pub residency: Residency,
    /// Entities that stay in memory between batches.
    pub entities: Residency,
    /// As many batches of entities run at once.
    pub entity_slots: tokio::sync::Semaphore,
    pub batch_limits: BatchLimits,
    pub counters: Counters,
    /// Who waits for an instance's end.
    pub endings: Endings,
    pub garbage: tokio::sync::Notify,
    /// An instance may need its component no longer.
    pub released: tokio::sync::Notify,
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
    pub fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// Whether what is held of an instance stems from a certain start.
enum Stems {
    Yes,
    /// What storage has does, but that is another generation.
    Outdated,
    No,
}

/// What a worker does next.
enum Work {
    /// What an operator wants.
    Control(Control),
    /// A turn, with these messages.
    Turn(Vec<Message>),
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
            let is_idle = state.is_idle();
            drop(state);
            if is_idle {
                // An outcome that comes when nobody waits for it any more finds no cell, or may have been the last reason for it.
                self.remove_if_idle(&cell);
            }
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
        self.entities.leave(instance);
        let mut held = {
            let mut state = cell.lock();
            state.trouble = None;
            std::mem::take(&mut state.held)
        };
        let mut retry = RETRY_FIRST;
        while let Some((work, changes)) = self.next_work(&cell, &mut held) {
            let round = async {
                match work {
                    Work::Control(control) => self.control(&cell, &mut held, control).await,
                    Work::Turn(messages) => self.round(&cell, &mut held, messages).await,
                }
            };
            // A panic is a fault of this host's: the instance must not rest for ever, nor silently.
            let round = AssertUnwindSafe(round).catch_unwind().await;
            match round.unwrap_or_else(|_| Round::Stall("the host panicked while it worked on the instance".into())) {
                Round::Again => {
                    retry = RETRY_FIRST;
                    cell.lock().trouble = None;
                }
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
                    let mut state = cell.lock();
                    state.forget_inbox();
                    // Storage tells what is there: a start that takes its place must not go by what came with it.
                    state.wake = true;
                    if state.changes == changes {
                        state.stalled = Some(text.into());
                    }
                }
            }
        }
    }

    /// What to do next, and what the cell's changes count then; `None` once there is nothing, and the cell counts as worked on
    /// no longer.
    fn next_work(&self, cell: &Arc<Cell>, held: &mut Held) -> Option<(Work, u64)> {
        let mut state = cell.lock();
        // It ended while it was worked on: the next turn, or the next generation, begins with what storage has.
        if held.instance.as_ref().is_some_and(|held| state.is_gone(held.generation())) {
            *held = Held::default();
            // What its last turn asked for may have begun after the end.
            state.stop_gone_activities();
        }
        if state.has_work() && !self.is_stopping() {
            if let Some(control) = state.controls.pop_front() {
                return Some((Work::Control(control), state.changes));
            }
            state.wake = false;
            if state.has_unread() {
                // The next page comes with the instance as storage has it.
                *held = Held::default();
                state.forget_inbox();
            }
            if planted!(SecondOutcomeDropped) {
                state.mailbox.truncate(1);
            }
            if self.residency.keeps_none() || (held.guest.is_some() && self.residency.gives_way()) {
                held.guest = None;
            }
            if self.entities.keeps_none() {
                held.entity = None;
            }
            return Some((Work::Turn(state.take_messages()), state.changes));
        }
        state.running = false;
        if self.is_stopping() {
            state.controls.clear();
        }
        let stay = self.stay(held);
        state.held = if stay.is_some() { std::mem::take(held) } else { Held::default() };
        // Entered under the cell's lock: the next worker's `leave` must not come before it.
        let victims = stay.map_or_else(Vec::new, |(residency, stay)| residency.enter(cell.instance, stay));
        drop(state);
        victims.into_iter().for_each(|victim| self.evict(victim));
        self.remove_if_idle(cell);
        None
    }

    /// Whether a guest, or an entity, is kept, by whom, and what speaks for it; none if all that its instance waits for is a
    /// timer that is far away.
    fn stay(&self, held: &Held) -> Option<(&Residency, Stay)> {
        if let Some(entity) = &held.entity {
            let stay = Stay { bytes: entity.bytes(), turns: 1, soon: true };
            return self.entities.admits(stay.bytes).then_some((&self.entities, stay));
        }
        let (instance, guest) = (held.instance.as_ref()?, held.guest.as_ref()?);
        let bytes = guest.resident_bytes();
        let is_near = |at| self.ambient.now().until(at) <= KEEP_FOR_TIMER_WITHIN;
        let timer = instance.next_due().map(is_near);
        let runs = instance.outstanding().next().is_some();
        let stays = self.residency.admits(bytes) && (runs || timer != Some(false));
        let stay = Stay { bytes, turns: instance.last_turn().0, soon: runs || timer == Some(true) };
        stays.then_some((&self.residency, stay))
    }

    pub(super) fn evict(&self, instance: InstanceKey) {
        let Some(cell) = self.find_cell(instance) else { return };
        let held = {
            let mut state = cell.lock();
            if state.running {
                self.residency.has_not_gone();
                Held::default()
            } else {
                // It may have been used, and counted again, since it was chosen.
                self.residency.leave(instance);
                self.entities.leave(instance);
                std::mem::take(&mut state.held)
            }
        };
        drop(held);
        self.remove_if_idle(&cell);
    }

    pub fn remove_if_idle(&self, cell: &Arc<Cell>) {
        let mut cells = self.lock_cells();
        let mut state = cell.lock();
        if state.is_idle() && !state.removed && !planted!(CellLeaked) {
            state.removed = true;
            cells.remove(&cell.instance);
        }
    }

    /// Drops the state and the guest, which may be ahead of storage, and keeps what would be lost: outcomes of activities.
    /// Inbox messages are storage's, and will be read again.
    pub(super) fn start_over(&self, cell: &Cell, held: &mut Held, messages: Vec<Message>) {
        let kept = held.guest.take().filter(|_| planted!(GuestKeptAfterFencedCommit));
        *held = Held { guest: kept, ..Held::default() };
        let mut state = cell.lock();
        let outcomes = messages.into_iter().filter(|message| message.ended_task().is_some());
        let later = std::mem::take(&mut state.mailbox);
        state.mailbox = outcomes.chain(later).collect();
        state.forget_inbox();
        state.wake = true;
    }

    /// Takes messages through one turn.
    async fn round(self: &Arc<Self>, cell: &Arc<Cell>, held: &mut Held, mut messages: Vec<Message>) -> Round {
        if held.entity.is_some() {
            return self.entity_round(cell, held, messages).await;
        }
        let (mut records, mut place) = (None, None);
        let is_new = held.instance.as_ref().is_some_and(|instance| instance.is_new());
        if !is_new && (held.instance.is_none() || held.guest.is_none()) {
            place = Some(self.loads.acquire().await.expect("the semaphore is never closed"));
            let loaded = match self.storage.load(cell.instance).await {
                Ok(Some(loaded)) => loaded,
                Ok(None) => {
                    self.forget_generation(cell);
                    return Round::Again;
                }
                Err(error) => return self.storage_failed(error, messages),
            };
            if loaded.entity.is_some() {
                // What came by hand is in the inbox as read, or was taken long ago.
                return match self.take_entity(cell, held, loaded) {
                    Ok(()) => self.entity_round(cell, held, vec![]).await,
                    Err(text) => Round::Stall(text),
                };
            }
            match self.take_loaded(cell, held, loaded, &mut messages) {
                Ok(loaded) => records = Some(loaded),
                Err(text) => return Round::Stall(text),
            }
        }
        let instance = held.instance.as_deref().expect("it was held or has been loaded");
        if instance.status() == RuntimeStatus::Suspended {
            self.start_over(cell, held, messages);
            return Round::Again;
        }
        if records.is_some()
            && let Some(text) = self.parking.met(instance)
        {
            return Round::Stall(text);
        }
        if let Some(at) = instance.starts_later(self.ambient.now()) {
            // What has come for it waits in the inbox.
            let generation = instance.generation();
            self.start_over(cell, held, messages);
            cell.lock().sleep_till_timer(generation);
            // From here on its timer may wake it.
            self.set_timer(cell, generation, Some(at));
            return Round::Again;
        }
        let mut disagrees = None;
        if let Some(records) = records.as_deref()
            && std::mem::take(&mut cell.lock().try_deployed)
        {
            match self.try_deployed(cell, held, records, &messages).await {
                Tried::Same => {}
                Tried::Disagrees(text) => disagrees = Some(text),
                Tried::Round(round) => return round,
            }
        }
        let instance = held.instance.as_deref().expect("it was held or has been loaded");
        if self.held_back.holds(instance) {
            drop(place.take());
            tokio::select! {
                biased;
                () = cell.ended.notified() => {}
                () = self.held_back.may_begin(instance) => {}
            }
            // Its turn has the time at which it begins.
            self.start_over(cell, held, messages);
            return Round::Again;
        }
        let again = messages.clone();
        let Some(turn) = instance.begin_turn(messages, self.ambient.now()) else {
            self.set_timer(cell, instance.generation(), instance.next_due());
            // Without a turn the instance's own component is not tried: it goes on stalling.
            return disagrees.map_or(Round::Again, Round::Stall);
        };
        let span = debug_span!("orchestration.turn", instance_id = %instance.id(), name = %instance.execution().name);
        let records = records.as_deref();
        // A suspect may wait for long until it may run.
        let place = place.filter(|_| !self.parking.is_suspect(&instance.execution().execution_id, None));
        let guest = tokio::select! {
            biased;
            () = cell.ended.notified() => {
                // Whether the generation has ended storage knows; the turn is given up and its guest is dropped.
                self.start_over(cell, held, again);
                return Round::Again;
            }
            guest = self.run_guest(held, records, &turn).instrument(span) => guest,
        };
        drop(place);
        match guest {
            Ok(guest) => self.commit(cell, held, turn, guest, again).await,
            Err(Interrupted::Later(why)) => Round::Later { messages: again, why },
            Err(Interrupted::Stall(text)) => Round::Stall(match disagrees {
                Some(deployed) => format!("{deployed}; on the instance's own component: {text}"),
                None => text,
            }),
        }
    }

    /// Holds an instance or lets it go on, and answers once that is durable.
    async fn control(self: &Arc<Self>, cell: &Arc<Cell>, held: &mut Held, control: Control) -> Round {
        if held.instance.is_none() {
            match self.storage.load(cell.instance).await {
                Ok(Some(loaded)) => {
                    if let Err(text) = self.take_loaded(cell, held, loaded, &mut vec![]) {
                        let _ = control.answer.send(Err(HoldError::Storage(StorageError::Corrupt(text.clone()))));
                        return Round::Stall(text);
                    }
                    // The messages that came with it are read again when a turn takes them: whatever comes of this, the
                    // worker starts over.
                }
                Ok(None) => {
                    self.forget_generation(cell);
                    let _ = control.answer.send(Err(HoldError::Ended));
                    return Round::Again;
                }
                Err(error) => {
                    let _ = control.answer.send(Err(HoldError::Storage(error.clone())));
                    return self.storage_failed(error, vec![]);
                }
            }
        }
        match self.stems_from(held.instance.as_deref(), control.creation).await {
            Ok(Stems::Yes) => {}
            // Storage has a later generation of it than what is held.
            Ok(Stems::Outdated) => {
                self.start_over(cell, held, vec![]);
                cell.lock().controls.push_front(control);
                return Round::Again;
            }
            Ok(Stems::No) => {
                self.start_over(cell, held, vec![]);
                let _ = control.answer.send(Err(HoldError::Ended));
                return Round::Again;
            }
            Err(error) => {
                let _ = control.answer.send(Err(HoldError::Storage(error.clone())));
                return self.storage_failed(error, vec![]);
            }
        }
        let instance = held.instance.as_deref().expect("it was held or has been loaded");
        let resumes = control.hold == Hold::Resume;
        let was_parked = resumes && self.parking.unpark(&instance.execution().execution_id).await;
        let ended = match instance.hold(control.hold, &control.reason, self.ambient.now()) {
            Ok(ended) => ended,
            Err(status) => {
                // An instance that stalls is let go on by trying again.
                let was_stalled = resumes && {
                    let mut state = cell.lock();
                    let is_gone = state.is_gone(instance.generation());
                    let was_stalled = !is_gone && state.stalled.take().is_some();
                    state.try_deployed |= was_stalled;
                    was_stalled
                };
                self.start_over(cell, held, vec![]);
                let _ = control.answer.send(if was_stalled || was_parked {
                    Ok(())
                } else {
                    Err(HoldError::Status(status))
                });
                return Round::Again;
            }
        };
        let (number, generation) = (ended.number, instance.generation());
        let round = self.store(cell, held, ended, vec![]).await;
        if held.instance.as_ref().is_some_and(|instance| instance.last_turn() == number) {
            self.start_over(cell, held, vec![]);
            let mut state = cell.lock();
            state.set_suspended(generation, control.hold == Hold::Suspend);
            state.stalled = None;
            let _ = control.answer.send(Ok(()));
        } else {
            cell.lock().controls.push_front(control);
        }
        round
    }

    /// Whether what is held stems from this start. If so it does for as long as its generation is open, which is what the
    /// commit of whatever is decided upon it depends on.
    async fn stems_from(&self, held: Option<&Instance>, creation: Option<Creation>) -> Result<Stems, StorageError> {
        let (Some(creation), Some(instance)) = (creation, held) else { return Ok(Stems::Yes) };
        let now = self.storage.snapshot(instance.id().clone(), Want::default()).await?;
        let now = now.filter(|now| now.instance == creation.instance && now.created == creation.time);
        Ok(match now {
            Some(now) if now.generation == instance.generation() => Stems::Yes,
            Some(_) => Stems::Outdated,
            None => Stems::No,
        })
    }

    /// Takes what was loaded into hands: state, messages, activities that must run again. Returns the records.
    pub(super) fn take_loaded(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        held: &mut Held,
        loaded: Loaded,
        messages: &mut Vec<Message>,
    ) -> Result<Vec<Arc<TurnRecord>>, String> {
        let Loaded { instance, id, generation, records, entity: _, inbox, messages_to, has_more } = loaded;
        let state = Instance::fold(instance, id, generation, &records).map_err(|error| error.to_string())?;
        // The inbox as read holds every message that was not taken: what came by hand is in it, or was taken long ago.
        messages.retain(|message| message.ended_task().is_some());
        messages.extend(inbox.into_iter().map(|(number, body)| Message::Inbox { number, body }));
        {
            let mut cell_state = cell.lock();
            if has_more {
                cell_state.anchor_page(messages_to);
            } else {
                cell_state.anchor_inbox(messages_to);
            }
            cell_state.set_suspended(generation, state.status() == RuntimeStatus::Suspended);
            cell_state.stop_activities_before(Some(generation));
        }
        let taken = messages.iter().filter_map(Message::ended_task).collect();
        if !planted!(OutstandingNotDispatched) {
            self.dispatch(cell, &state, state.outstanding(), &taken);
        }
        held.guest = held.guest.take().filter(|_| planted!(GuestKeptAfterFencedCommit));
        held.instance = Some(Box::new(state));
        Ok(records)
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
        let successor = || self.successor(instance);
        match instance.end_turn(turn, guest, self.limits, successor) {
            Ok(ended) => self.store(cell, held, ended, again).await,
            Err(Stall(text)) => Round::Stall(text),
        }
    }

    /// What an execution that continues as new runs on: what is deployed now, or if that is gone what it ran on.
    fn successor(&self, instance: &Instance) -> Successor {
        let execution = instance.execution();
        let execution_id = ExecutionId(self.ambient.fresh_id().into());
        match self.deployed_orchestrator(&FunctionName::new(&execution.name)) {
            Some(deployed) => Successor {
                execution_id,
                component: deployed.component,
                handler: deployed.handler.clone(),
                contract: deployed.contract.clone(),
            },
            None => Successor {
                execution_id,
                component: execution.component,
                handler: execution.handler.clone(),
                contract: execution.contract.clone(),
            },
        }
    }

    /// Commits an ended turn.
    pub(super) async fn store(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        held: &mut Held,
        ended: EndedTurn,
        again: Vec<Message>,
    ) -> Round {
        let instance = held.instance.as_deref().expect("a turn has begun");
        let is_last = ended.record.summary.status.is_terminal() || ended.next.is_some();
        let messages = self.turn_messages(instance, &ended, is_last);
        let children = self.child_starts(instance, &ended, is_last);
        let EndedTurn { number, record, took, next, .. } = ended;
        let commit = TurnCommit {
            children,
            messages,
            notify: outcome_of(&record).and_then(|outcome| child_ended(instance.execution(), outcome)),
            fence: Fence::default(),
            instance: instance.key(),
            generation: instance.generation(),
            number,
            record: record.clone(),
            took,
            next,
            previous_due: instance.next_due(),
        };
        match self.storage.commit_turn(commit).await {
            Ok(Committed::Committed(effects)) => {
                if record.summary.status.is_terminal() {
                    self.endings.tell(instance.id());
                }
                if cell.lock().is_gone(instance.generation()) {
                    // It ended, was replaced or, if this was its end, rewound right after: what it asked for is nobody's any more.
                    self.timers.set(cell.instance, instance.generation(), None);
                    self.start_over(cell, held, vec![]);
                } else {
                    self.perform(cell, held, &record);
                }
                self.act(effects);
                Round::Again
            }
            Ok(Committed::Continued(_, effects)) => {
                debug!(instance_id = %instance.id(), "continued as new");
                self.timers.set(cell.instance, instance.generation(), None);
                cell.lock().stop_activities_before(None);
                self.garbage.notify_one();
                self.released.notify_one();
                // What it carried over is in storage's inbox, under numbers that this cell has seen before.
                self.start_over(cell, held, vec![]);
                self.act(effects);
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
        let size = instance.history_size();
        instance.apply(record);
        warn_of_size(size, instance);
        self.parking.progressed(instance, record);
        let summary = record.summary;
        debug!(
            instance_id = %instance.id(), turn = %instance.last_turn(), status = %summary.status,
            outstanding = summary.outstanding, "turn committed"
        );
        self.set_timer(cell, instance.generation(), summary.next_due);
        if summary.status.is_terminal() {
            info!(
                instance_id = %instance.id(), name = %instance.execution().name, status = %summary.status,
                "orchestration ended"
            );
            self.released.notify_one();
            cell.lock().stop_activities_before(None);
            *held = Held::default();
            return;
        }
        let generation = instance.generation();
        for event in &record.events {
            if let HistoryEvent::ActionCanceled { sequence } = event {
                cell.lock().stop_activity((generation, *sequence));
            }
        }
        let scheduled = record.events.iter().filter_map(|event| match event {
            HistoryEvent::TaskScheduled(TaskScheduled { sequence, .. })
            | HistoryEvent::TaskRetryStarted { sequence, .. }
            | HistoryEvent::HttpPollStarted { sequence } => instance.task(*sequence),
            HistoryEvent::HttpScheduled(call) => instance.task(call.sequence),
            _ => None,
        });
        let scheduled = scheduled.filter(|task| task.is_running_call());
        self.dispatch(cell, instance, scheduled, &BTreeSet::new());
    }

    /// Sets when a worker's generation is due, as storage has it; never, once it has ended from outside.
    pub(super) fn set_timer(&self, cell: &Cell, generation: GenerationKey, at: Option<Timestamp>) {
        // Under the cell's lock: whoever ends the generation marks it there first, and takes its timer out after that.
        let state = cell.lock();
        self.timers.set(cell.instance, generation, at.filter(|_| !state.is_gone(generation)));
    }

    /// The instance has no open generation (any more).
    fn forget_generation(&self, cell: &Cell) {
        let mut state = cell.lock();
        state.stop_activities_before(None);
        state.mailbox.clear();
        // What is here came for a generation that began after that read.
        state.wake |= state.has_inbox();
        state.forget_inbox();
    }

    pub(super) fn storage_failed(&self, error: StorageError, messages: Vec<Message>) -> Round {
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
        self.drop_controls();
    }

    /// What operators still wait for is answered: the host is going down. To be called once it is.
    pub fn drop_controls(&self) {
        let cells: Vec<_> = self.lock_cells().values().cloned().collect();
        for cell in cells {
            cell.lock().controls.clear();
        }
    }
}

/// Warns of a history that has become very large: each replay reads all of it.
fn warn_of_size(before: HistorySize, instance: &Instance) {
    let size = instance.history_size();
    if before.is_warned_at(size) {
        warn!(
            instance_id = %instance.id(), name = %instance.execution().name, events = size.events, bytes = size.bytes,
            "an orchestration's history is very large: replays take long; let the orchestrator continue as new"
        );
    }
}
