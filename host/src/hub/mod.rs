//! The task hub: who runs when.
//!
//! It brings messages to instances, runs their turns and activities through the [`Executor`], and makes every step durable
//! before it has an effect. It never names wasm, opens or accepts no connection, never reads a clock but through `Ambient`,
//! and never polls: what waits is woken by a message or a timer.
//!
//! Start reading at [`Hub`] (what callers may ask), then `worker` (the loop that runs an instance) and `cell` (what is kept
//! in memory of one).

mod activity;
mod cell;
mod children;
mod client;
mod components;
mod deployment;
mod endings;
mod entity;
mod entity_client;
mod executor;
mod http;
mod load;
mod parking;
mod recovery;
mod replacement;
mod residency;
mod retention;
mod rewind;
mod timer_functions;
mod timers;
mod trees;
mod turns;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use tracing::info;

pub use crate::durable::Creation;
pub use client::{
    ClientError, HistoryDetail, OrchestrationStatus, PurgeFilter, Restarted, StartNew, StartOutcome, StatusPage,
    StatusQuery, StatusWant, Target,
};
pub use entity_client::{EntityStatus, EntityStatusPage, EntityStatusQuery, SignalEntity};
pub use executor::{
    ActivityCall, EntityCall, Executor, ExecutorFuture, Functions, GuestError, GuestSlot, HttpRequestCall,
    Orchestrator, OrchestratorCall, OrchestratorGuest, ScheduleStatus, TimerCall,
};
pub use load::HubLoad;
pub use retention::Retention;

pub use timer_functions::{NextOccurrence, TimerFunction, TimerRetry};

use crate::{
    ambient::Ambient,
    durable::{
        BatchLimits, ExecutionId, ExecutionStarted, GenerationKey, Hold, InboxMessage, Instance, InstanceId,
        InstanceKey, Json, MessageNumber, OverridableStates, RuntimeStatus, TurnLimits,
    },
    flight::{Book, Recorder},
    storage::{Fence, Purged, Put, PutMessage, Query, Snapshot, Start, Started, Storage, StorageError, Want},
};
use cell::HoldError;
use worker::{Counters, Inner};

/// What a hub is made of.
pub struct HubParts {
    /// Where everything durable is.
    pub storage: Arc<dyn Storage>,
    /// What runs functions.
    pub executor: Arc<dyn Executor>,
    /// Clock and entropy.
    pub ambient: Arc<dyn Ambient>,
    /// The functions that are deployed.
    pub functions: Functions,
    /// The bounds.
    pub config: HubConfig,
    /// Notes which guest calls run.
    pub recorder: Arc<Recorder>,
    /// The calls that ran when the host was ended by a signal.
    pub book: Book,
}

/// A hub's bounds.
#[derive(Clone, Copy, Debug)]
pub struct HubConfig {
    /// The gate's policy where neither call nor binding names one.
    pub policy: OverridableStates,
    /// Activities that run at once.
    pub concurrent_activities: usize,
    /// Turns of orchestrators that run at once.
    pub concurrent_turns: usize,
    /// Batches of entities that run at once.
    pub concurrent_entities: usize,
    /// Operations of one batch.
    pub entity_batch_max: usize,
    /// Numbered actions per execution.
    pub actions_max: u32,
    /// Bytes that resident guests may hold between turns; 0 keeps none, so that every turn replays.
    pub resident_bytes: usize,
    /// Guests that may be resident at once.
    pub residents_max: usize,
    /// Due entries that are read at once; the others are left in storage until their turn comes. 10,000 is a good number.
    pub due_page: usize,
    /// How long one attempt of an activity may take, waiting in it included; none is without limit. The call's own timeout
    /// applies as well. It bounds a durable HTTP request, too.
    pub function_timeout: Option<Duration>,
    /// How long a durable HTTP call waits before it asks after accepted work, where the answer names no time.
    pub http_poll_wait: Duration,
    /// How long ended instances are kept.
    pub retention: Retention,
}

/// Figures of a running hub, since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubFigures {
    /// Turns that ran code.
    pub turns: u64,
    /// Turns that a resident guest ran.
    pub resident_turns: u64,
    /// Guests that were rebuilt by replay.
    pub replays: u64,
    /// Turns that these replays ran again.
    pub replayed_turns: u64,
    /// Transactions made durable.
    pub commits: u64,
}

/// A running task hub.
pub struct Hub {
    inner: Arc<Inner>,
    timer_functions: timer_functions::Running,
}

impl Hub {
    /// Starts a hub: recovery and timers begin in the background, and requests are served at once. Needs a tokio runtime.
    pub fn start(parts: HubParts) -> Arc<Self> {
        let HubParts { storage, executor, ambient, functions, config, recorder, book } = parts;
        let inner = Arc::new(Inner {
            storage,
            executor,
            ambient,
            deployment: deployment::Deployment::new(functions),
            policy: config.policy,
            limits: TurnLimits { actions_max: config.actions_max },
            cells: std::sync::Mutex::default(),
            activities: activity::ActivityQueue::new(config.concurrent_activities),
            turns: tokio::sync::Semaphore::new(config.concurrent_turns.clamp(1, tokio::sync::Semaphore::MAX_PERMITS)),
            fresh: tokio::sync::Semaphore::new(config.concurrent_turns.clamp(1, tokio::sync::Semaphore::MAX_PERMITS)),
            loads: tokio::sync::Semaphore::new(worker::LOADS_MAX),
            held_back: trees::HeldBack::default(),
            parking: Arc::new(parking::Parking::new(recorder, book)),
            timers: timers::Timers::new(config.due_page),
            residency: residency::Residency::new(residency::Budget {
                bytes: config.resident_bytes,
                guests: config.residents_max,
            }),
            entities: residency::Residency::new(residency::Budget {
                // Beside the guests' memory, of which it is a part that does not matter.
                bytes: config.resident_bytes / 4,
                guests: usize::MAX,
            }),
            entity_slots: tokio::sync::Semaphore::new(config.concurrent_entities.max(1)),
            batch_limits: BatchLimits {
                operations_max: config.entity_batch_max.max(1),
                bytes_max: entity::BATCH_BYTES_MAX,
            },
            counters: Counters::default(),
            endings: endings::Endings::default(),
            function_timeout: config.function_timeout,
            http_poll_wait: config.http_poll_wait,
            garbage: tokio::sync::Notify::new(),
            released: tokio::sync::Notify::new(),
            failed: watch::Sender::new(None),
            stopping: AtomicBool::new(false),
        });
        tokio::spawn(timers::run(inner.clone()));
        let recovering = inner.clone();
        tokio::spawn(async move {
            recovery::run(recovering.clone()).await;
            components::collect(recovering).await;
        });
        tokio::spawn(recovery::collect_garbage(inner.clone()));
        tokio::spawn(retention::run(inner.clone(), config.retention));
        Arc::new(Self { inner, timer_functions: timer_functions::Running::default() })
    }

    /// Starts an orchestration through the singleton gate. Returns once the decision is durable: of any number of callers
    /// with one id exactly one is told `Started`, and its start survives kill -9.
    ///
    /// # Errors
    /// [`ClientError::InvalidArgument`] for an illegal id, [`ClientError::UnknownFunction`], storage's errors.
    pub async fn start_new(&self, start: StartNew) -> Result<StartOutcome, ClientError> {
        let outcome = self.start_in_place(start, None).await?;
        Ok(outcome.expect("a start that is to take no certain instance's place always passes the gate"))
    }

    /// [`Hub::start_new`], in place of that instance only: none if it is not there any more.
    async fn start_in_place(&self, start: StartNew, of: Option<Creation>) -> Result<Option<StartOutcome>, ClientError> {
        self.check_running()?;
        let inner = &self.inner;
        let id = match start.instance_id.as_deref() {
            None | Some("") => InstanceId::from_stored(&inner.ambient.fresh_id()),
            Some(id) => InstanceId::parse(id).map_err(|error| ClientError::InvalidArgument(error.to_string()))?,
        };
        let function = inner
            .deployed_orchestrator(&start.name)
            .ok_or_else(|| ClientError::UnknownFunction(unknown_orchestrator(&start.name, &inner.functions())))?;
        let execution_id = ExecutionId(inner.ambient.fresh_id().into());
        let started = Arc::new(ExecutionStarted {
            name: function.name.as_str().to_owned(),
            handler: function.handler.clone(),
            version: start.version,
            execution_id: execution_id.clone(),
            component: function.component,
            contract: function.contract.clone(),
            input: start.input,
            parent: None,
            tags: start.tags,
            trace_context: start.trace_context,
            scheduled_start: start.scheduled_start,
        });
        let time = inner.ambient.now();
        let policy = start.policy.unwrap_or(inner.policy);
        let fence = Fence { creation: of, ..Fence::default() };
        let request = Start { fence, id: id.clone(), policy, time, started: started.clone() };
        // Not on the caller's task: a start that is durable must run although its caller has gone.
        let inner = self.inner.clone();
        let task = tokio::spawn(async move {
            let decided = inner.storage.start(request).await;
            let decided = decided.inspect_err(|error| inner.note(error))?;
            Ok(match decided {
                Started::Started { instance, generation, replaced, messages_to, delivered } => {
                    delivered.into_iter().for_each(|delivered| inner.put_delivered(delivered));
                    info!(instance_id = %id, name = %started.name, "orchestration started");
                    let state = Instance::started(instance, id.clone(), generation, started, time);
                    inner.begin(instance, replaced, state, messages_to);
                    let creation = Creation { instance, time };
                    Some(StartOutcome::Started { instance_id: id, execution_id, creation })
                }
                Started::Exists { status, .. } => Some(StartOutcome::AlreadyExists { instance_id: id, status }),
                Started::Changed => None,
            })
        });
        joined(task).await
    }

    /// Reads an instance, or `None` if there is none of that id. What was acknowledged before is in it.
    ///
    /// # Errors
    /// Storage's.
    pub async fn status(&self, id: &str, want: StatusWant) -> Result<Option<OrchestrationStatus>, ClientError> {
        let want = Want { input: want.input, history: want.history };
        let snapshot = self.inner.storage.snapshot(InstanceId::from_stored(id), want).await;
        let snapshot = snapshot.inspect_err(|error| self.inner.note(error))?;
        Ok(snapshot.map(|snapshot| self.seen(snapshot, want)))
    }

    /// Lists instances in the order in which their ids were first used.
    ///
    /// # Errors
    /// [`ClientError::InvalidArgument`] for a continuation that this host did not make; storage's.
    pub async fn list(&self, query: StatusQuery) -> Result<StatusPage, ClientError> {
        let after = match query.continuation.as_deref() {
            None | Some("") => None,
            Some(token) => Some(InstanceKey(token.parse().map_err(|_| {
                ClientError::InvalidArgument(format!("{token:?} is not a continuation token of this host"))
            })?)),
        };
        let request = Query {
            created_from: query.created_from,
            created_to: query.created_to,
            statuses: query.statuses,
            prefix: query.prefix,
            after,
            limit: query.top.unwrap_or(100).clamp(1, 1000),
            input: query.input,
        };
        let want = Want { input: request.input, history: false };
        let page = self.inner.storage.list(request).await.inspect_err(|error| self.inner.note(error))?;
        Ok(StatusPage {
            instances: page.instances.into_iter().map(|snapshot| self.seen(snapshot, want)).collect(),
            continuation: page.next.map(|key| key.to_string()),
        })
    }

    /// Delivers an external event. Returns once the event is durable; the orchestration may consume it later. Events sent
    /// before anyone waits are buffered in arrival order (as in Durable Functions).
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::Gone`] if it has ended, storage's.
    pub async fn raise_event<'a>(
        &self,
        target: impl Into<Target<'a>>,
        name: &str,
        input: Json,
    ) -> Result<(), ClientError> {
        self.check_running()?;
        let target = target.into();
        if name.is_empty() {
            return Err(ClientError::InvalidArgument("the name of an external event must not be empty".into()));
        }
        if target.id.starts_with('@') {
            return Err(ClientError::NotFound(target.id.to_owned()));
        }
        let (id, fence) = target.fenced();
        let body = InboxMessage::EventRaised { name: name.to_owned(), input };
        let put = PutMessage { fence, id, body: body.clone() };
        let (inner, id) = (self.inner.clone(), target.id.to_owned());
        // Not on the caller's task: see `start_new`.
        let task = tokio::spawn(async move {
            match inner.storage.put_message(put).await.inspect_err(|error| inner.note(error))? {
                Put::Accepted { instance, number, .. } => {
                    if inner.deliver(instance, |state| state.put_inbox(number, body)) {
                        inner.spawn_worker(instance);
                    }
                    Ok(())
                }
                Put::Ended(status) => Err(ClientError::Gone(status)),
                Put::NotFound => Err(ClientError::NotFound(id)),
            }
        });
        joined(task).await
    }

    /// Ends an instance. Returns once that is durable: the next status read shows it. A running turn is given up, running
    /// activities are stopped.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::Gone`] if it has ended before, storage's.
    pub async fn terminate<'a>(&self, target: impl Into<Target<'a>>, reason: &str) -> Result<(), ClientError> {
        self.check_running()?;
        let (id, fence) = target.into().fenced();
        let (inner, reason) = (self.inner.clone(), reason.to_owned());
        joined(tokio::spawn(async move { inner.terminate(id, fence, &reason).await })).await
    }

    /// Holds an instance: its code does not run, messages, results and timers wait. Returns once that is durable; a turn that
    /// runs is let end first.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::Gone`] if it has ended, [`ClientError::Conflict`] if it is suspended; storage's.
    pub async fn suspend<'a>(&self, target: impl Into<Target<'a>>, reason: &str) -> Result<(), ClientError> {
        self.hold(Hold::Suspend, target.into(), reason).await
    }

    /// Lets a suspended instance go on: what waited is taken in the order of its arrival. One that stalls or is parked is tried
    /// again.
    ///
    /// # Errors
    /// As [`Hub::suspend`]; [`ClientError::Conflict`] if it is neither suspended nor parked, nor stalls.
    pub async fn resume<'a>(&self, target: impl Into<Target<'a>>, reason: &str) -> Result<(), ClientError> {
        self.hold(Hold::Resume, target.into(), reason).await
    }

    async fn hold(&self, hold: Hold, target: Target<'_>, reason: &str) -> Result<(), ClientError> {
        self.check_running()?;
        let id = target.id;
        let snapshot = self.inner.storage.snapshot(InstanceId::from_stored(id), Want::default()).await;
        let snapshot = snapshot.inspect_err(|error| self.inner.note(error))?.filter(|found| target.is(found));
        let Some(snapshot) = snapshot else {
            return Err(ClientError::NotFound(id.to_owned()));
        };
        if snapshot.summary.status.is_terminal() {
            return Err(ClientError::Gone(snapshot.summary.status));
        }
        let (answer, answered) = oneshot::channel();
        let control = cell::Control { hold, creation: target.creation, reason: reason.to_owned(), answer };
        if self.inner.deliver(snapshot.instance, |state| state.controls.push_back(control)) {
            self.inner.spawn_worker(snapshot.instance);
        }
        if self.inner.is_stopping() {
            // Since it was checked above: no worker begins any more.
            self.inner.drop_controls();
        }
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(HoldError::Status(status))) => {
                let verb = if hold == Hold::Suspend { "suspend" } else { "resume" };
                Err(ClientError::Conflict(format!(
                    "Cannot {verb} the orchestration instance {id} because instance is in the {status} state."
                )))
            }
            Ok(Err(HoldError::Ended)) => {
                let now = self.inner.storage.snapshot(InstanceId::from_stored(id), Want::default()).await?;
                let now = now.filter(|now| target.is(now));
                Err(now.map_or(ClientError::NotFound(id.to_owned()), |now| ClientError::Gone(now.summary.status)))
            }
            Ok(Err(HoldError::Storage(error))) => Err(error.into()),
            Err(_) => Err(ClientError::Unavailable("the host is going down".into())),
        }
    }

    /// Starts an instance's orchestrator again with the same input: under a new id, or under the same one if it has ended.
    /// Once it returns the new start is durable.
    ///
    /// # Errors
    /// [`ClientError::NotFound`]; [`ClientError::Conflict`] if the same id is live; as [`Hub::start_new`].
    pub async fn restart<'a>(
        &self,
        target: impl Into<Target<'a>>,
        with_new_id: bool,
    ) -> Result<Restarted, ClientError> {
        let target = target.into();
        let want = StatusWant { input: true, history: false };
        loop {
            let before = self.status(target.id, want).await?.filter(|before| target.admits(before.creation()));
            let Some(before) = before else { return Err(ClientError::NotFound(target.id.to_owned())) };
            // Under its own id it takes the place of what was read here, or of nothing.
            let in_place = (!with_new_id).then(|| before.creation());
            let start = StartNew {
                name: crate::durable::FunctionName::new(&before.name),
                instance_id: (!with_new_id).then(|| target.id.to_owned()),
                input: before.input.unwrap_or_else(Json::null),
                policy: Some(OverridableStates::NonRunningStates),
                version: None,
                scheduled_start: None,
                tags: before.tags,
                trace_context: None,
            };
            match self.start_in_place(start, in_place).await? {
                Some(StartOutcome::Started { instance_id, creation, .. }) => {
                    return Ok(Restarted { instance_id, creation });
                }
                Some(StartOutcome::AlreadyExists { status, .. }) => {
                    return Err(ClientError::Conflict(format!(
                        "An Orchestration instance with the status {status} already exists."
                    )));
                }
                // Purged or started anew since it was read: looked at once more.
                None => {}
            }
        }
    }

    /// Deletes every ended instance that the filter matches; a live one never. Returns how many.
    ///
    /// # Errors
    /// Storage's; what was deleted before stays deleted.
    pub async fn purge_by(&self, filter: PurgeFilter) -> Result<u64, ClientError> {
        self.check_running()?;
        let asked = |status: &RuntimeStatus| filter.statuses.is_empty() || filter.statuses.contains(status);
        let statuses: Vec<_> =
            RuntimeStatus::ALL.into_iter().filter(|status| status.is_terminal() && asked(status)).collect();
        if statuses.is_empty() {
            // To storage no status at all would mean any.
            return Ok(0);
        }
        let mut query = Query {
            created_from: filter.created_from,
            created_to: filter.created_to,
            statuses,
            limit: 500,
            ..Query::default()
        };
        let mut purged = 0;
        loop {
            let page = self.inner.storage.list(query.clone()).await.inspect_err(|error| self.inner.note(error))?;
            let ids = page.instances.into_iter().map(|found| async move {
                let outcome = self.inner.storage.purge(Fence::default(), found.id.clone()).await;
                self.inner.endings.tell(&found.id);
                outcome
            });
            for outcome in futures::future::join_all(ids).await {
                purged += u64::from(outcome.inspect_err(|error| self.inner.note(error))? == Purged::Done);
            }
            self.inner.garbage.notify_one();
            self.inner.released.notify_one();
            query.after = page.next;
            if query.after.is_none() {
                return Ok(purged);
            }
        }
    }

    /// Deletes an ended instance, all or nothing.
    ///
    /// # Errors
    /// [`ClientError::NotFound`]; [`ClientError::Conflict`] while it is live; storage's.
    pub async fn purge<'a>(&self, target: impl Into<Target<'a>>) -> Result<(), ClientError> {
        self.check_running()?;
        let target = target.into();
        let (instance_id, fence) = target.fenced();
        let (inner, id) = (self.inner.clone(), target.id.to_owned());
        let task = tokio::spawn(async move {
            let purged = inner.storage.purge(fence, instance_id).await;
            match purged.inspect_err(|error| inner.note(error))? {
                Purged::Done => {
                    inner.endings.tell(&InstanceId::from_stored(&id));
                    inner.garbage.notify_one();
                    inner.released.notify_one();
                    Ok(())
                }
                Purged::Live(status) => Err(ClientError::Conflict(format!(
                    "Cannot purge the orchestration instance {id} because instance is in the {status} state."
                ))),
                Purged::NotFound => Err(ClientError::NotFound(id)),
            }
        });
        joined(task).await
    }

    /// Waits until storage has failed for good; the process must end then and recover on its next start.
    pub async fn failed(&self) -> StorageError {
        let mut failed = self.inner.failed.subscribe();
        loop {
            if let Some(error) = failed.borrow_and_update().clone() {
                return error;
            }
            if failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops: nothing is accepted and no turn or activity begins from here on, and a suspend or resume that waits for a turn
    /// to end is answered with [`ClientError::Unavailable`]. What runs is dropped with the runtime;
    /// everything acknowledged is durable, and goes on at the next start.
    pub fn stop(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
        self.inner.drop_controls();
        self.inner.timers.poke();
        self.inner.garbage.notify_one();
        self.inner.released.notify_one();
        let figures = self.figures();
        info!(
            turns = figures.turns,
            resident_turns = figures.resident_turns,
            replays = figures.replays,
            replayed_turns = figures.replayed_turns,
            commits = figures.commits,
            "task hub stops"
        );
    }

    /// What it has done so far.
    pub fn figures(&self) -> HubFigures {
        let counters = &self.inner.counters;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        HubFigures {
            turns: read(&counters.turns),
            resident_turns: read(&counters.resident_turns),
            replays: read(&counters.replays),
            replayed_turns: read(&counters.replayed_turns),
            commits: self.inner.storage.commits(),
        }
    }

    fn check_running(&self) -> Result<(), ClientError> {
        if self.inner.is_stopping() {
            return Err(ClientError::Unavailable("the host is going down".into()));
        }
        Ok(())
    }

    fn seen(&self, snapshot: Snapshot, want: Want) -> OrchestrationStatus {
        let live = (!snapshot.summary.status.is_terminal()).then_some(snapshot.instance);
        let diagnostics = live.and_then(|instance| self.inner.find_cell(instance)).and_then(|cell| {
            let state = cell.lock();
            state.stalled.clone().or_else(|| state.trouble.clone())
        });
        let started = &snapshot.started;
        OrchestrationStatus {
            name: started.name.clone(),
            instance_id: snapshot.id,
            execution_id: started.execution_id.clone(),
            runtime_status: snapshot.summary.status,
            input: want.input.then(|| started.input.clone()),
            output: snapshot.output,
            custom_status: snapshot.custom_status,
            instance: snapshot.instance,
            created: snapshot.created,
            updated: snapshot.updated,
            history: snapshot.history,
            diagnostics: diagnostics.map(|text| text.to_string()),
            tags: started.tags.clone(),
        }
    }
}

impl Inner {
    /// Takes up a generation that has just been started, maybe in the place of another.
    fn begin(
        self: &Arc<Self>,
        instance: InstanceKey,
        replaced: Option<GenerationKey>,
        fresh: Instance,
        messages_to: MessageNumber,
    ) {
        let generation = fresh.generation();
        let is_scheduled = fresh.execution().scheduled_start.is_some();
        if replaced.is_some() {
            self.garbage.notify_one();
            self.released.notify_one();
        }
        self.parking.ended(instance);
        let begin = self.deliver(instance, |state| {
            // Whatever came before this may have brought a message that only storage has by now: then storage is asked.
            let asked = std::mem::replace(&mut state.wake, true);
            state.changes += 1;
            state.stalled = None;
            state.suspended = false;
            state.set_live_from(generation);
            state.stop_activities_before(Some(generation));
            let newer = state.held.instance.as_ref().is_some_and(|held| held.generation() >= generation);
            // One that starts later may have had messages, and gone to sleep on them, before this; and what came for one that
            // replaces another may have been left to storage while that was suspended: nothing here tells so.
            if state.running || newer || asked || is_scheduled || replaced.is_some() {
                // Its worker finds out from storage.
                return;
            }
            state.held = cell::Held { instance: Some(Box::new(fresh)), ..cell::Held::default() };
            state.anchor_inbox(messages_to);
        });
        if let Some(replaced) = replaced {
            // Only now: a worker that sets it finds out after that.
            self.timers.set(instance, replaced, None);
        }
        if begin {
            self.spawn_worker(instance);
        } else if let Some(cell) = self.find_cell(instance) {
            // A turn of the generation that was replaced may be running: it is given up.
            cell.ended.notify_one();
        }
    }

    /// Takes up a generation that storage has, of an instance that had ended.
    fn begin_again(self: &Arc<Self>, instance: InstanceKey, generation: GenerationKey) {
        self.parking.ended(instance);
        let begin = self.deliver(instance, |state| {
            state.wake = true;
            state.changes += 1;
            state.stalled = None;
            state.suspended = false;
            state.set_live_from(generation);
            state.stop_activities_before(Some(generation));
            if !state.running {
                state.held = cell::Held::default();
                state.forget_inbox();
            }
        });
        if begin {
            self.spawn_worker(instance);
        } else if let Some(cell) = self.find_cell(instance) {
            cell.ended.notify_one();
        }
        self.garbage.notify_one();
        self.released.notify_one();
    }

    /// Forgets a generation that was ended by an operator.
    fn end_from_outside(self: &Arc<Self>, instance: InstanceKey, generation: GenerationKey) {
        self.parking.ended(instance);
        self.released.notify_one();
        // What waited while it stalled is nobody's now: a worker finds that out and clears it away.
        let begin = self.deliver(instance, |state| {
            let gone: Vec<_> = state.activities.keys().filter(|(of, _)| *of == generation).copied().collect();
            for key in gone {
                state.stop_activity(key);
            }
            if state.held.instance.as_ref().is_some_and(|held| held.generation() == generation) {
                state.held = cell::Held::default();
                if !planted!(ResidencyLeaked) {
                    self.residency.leave(instance);
                }
            }
            state.changes += 1;
            state.stalled = None;
            state.suspended = false;
            state.set_live_from(GenerationKey(generation.0 + 1));
        });
        if !planted!(TimerLeaked) {
            // Only now: a worker that sets it finds out after that.
            self.timers.set(instance, generation, None);
        }
        if begin {
            self.spawn_worker(instance);
        } else if let Some(cell) = self.find_cell(instance) {
            cell.ended.notify_one();
        }
    }

    /// Takes note of a storage error that a caller was told.
    pub(super) fn note(&self, error: &StorageError) {
        if matches!(error, StorageError::Poisoned(_)) {
            self.fail(error.clone());
        }
    }
}

/// The result of a task that outlives its caller.
async fn joined<T>(task: tokio::task::JoinHandle<Result<T, ClientError>>) -> Result<T, ClientError> {
    task.await.unwrap_or_else(|_| Err(ClientError::Unavailable("the host is going down".into())))
}

/// Durable Functions' text for an orchestrator that does not exist.
fn unknown_orchestrator(name: &crate::durable::FunctionName, functions: &Functions) -> String {
    let known: Vec<String> = functions.orchestrators.keys().map(|name| format!("'{name}'")).collect();
    let known = if known.is_empty() {
        "No orchestrator functions are currently registered!".to_owned()
    } else {
        format!("The following are the known orchestrator functions: {}.", known.join(", "))
    };
    format!(
        "The function '{name}' doesn't exist, is disabled, or is not an orchestrator function. Additional info: {known}"
    )
}

#[cfg(test)]
mod tests;
