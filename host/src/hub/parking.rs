//! Calls during which the host was ended by a signal: suspects run one at a time, and one that ends the host again and
//! again is parked, so that the others go on.
//!
//! A call is told by its execution and, for an activity, the action's number; what is counted of it is in the [`Book`]. All
//! but one check of a number is skipped while nothing is counted, which is nearly always.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use crate::{
    ambient::Ambient,
    durable::{ExecutionId, HistoryEvent, Instance, InstanceKey, TurnRecord},
    flight::{Book, Call, CallKey, CallKind, Flight, Recorder},
};

/// A suspect that has run alone for so long is none.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// The right to run as the only suspect.
pub(super) type Alone = OwnedSemaphorePermit;

/// Who is a suspect, and who is parked.
pub(super) struct Parking {
    recorder: Arc<Recorder>,
    /// How many calls are counted.
    counted: AtomicUsize,
    state: Mutex<State>,
    alone: Arc<Semaphore>,
    /// One at a time, in order: the later state must be the one that stays.
    saving: tokio::sync::Mutex<()>,
}

struct State {
    book: Book,
    /// The counted executions of instances that this process has met.
    executions: HashMap<InstanceKey, ExecutionId>,
}

impl Parking {
    pub fn new(recorder: Arc<Recorder>, book: Book) -> Self {
        Self {
            recorder,
            counted: AtomicUsize::new(book.len()),
            state: Mutex::new(State { book, executions: HashMap::new() }),
            alone: Arc::new(Semaphore::new(1)),
            saving: tokio::sync::Mutex::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the parking's lock")
    }

    fn is_empty(&self) -> bool {
        self.counted.load(Ordering::Relaxed) == 0
    }

    /// Notes a guest call until the answer is dropped.
    pub fn begin(&self, call: &Call<'_>) -> Flight<'_> {
        self.recorder.begin(call)
    }

    /// Takes note of an instance that has been loaded. Tells why it is parked, if it is.
    pub fn met(&self, instance: &Instance) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let execution_id = &instance.execution().execution_id;
        let mut state = self.lock();
        state.book.of_execution(execution_id.as_str()).next()?;
        state.executions.insert(instance.key(), execution_id.clone());
        let mut counts = state.book.of_execution(execution_id.as_str());
        counts.find(|(_, count)| count.parked).map(|(key, count)| count.diagnostics(key))
    }

    fn counts_as(
        &self,
        execution_id: &ExecutionId,
        activity: Option<u32>,
        verdict: impl Fn(&crate::flight::Count) -> bool,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let key = CallKey { execution: execution_id.as_str().to_owned(), activity };
        self.lock().book.get(&key).is_some_and(verdict)
    }

    /// True if a call must not be dispatched.
    pub fn is_parked(&self, execution_id: &ExecutionId, activity: Option<u32>) -> bool {
        self.counts_as(execution_id, activity, |count| count.parked)
    }

    /// Why an entity or a timer function is parked, if it is.
    pub fn why_parked(&self, text: &ExecutionId) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let key = CallKey { execution: text.as_str().to_owned(), activity: None };
        self.lock().book.get(&key).filter(|count| count.parked).map(|count| count.diagnostics(&key))
    }

    /// For a suspect: waits until no other one runs.
    pub async fn alone_if_suspect(&self, text: &ExecutionId) -> Option<Alone> {
        if self.is_suspect(text, None) { Some(self.alone().await) } else { None }
    }

    /// Runs a batch of an entity, or a timer function, and notes it meanwhile. Once it has ended it is counted no longer.
    pub async fn watch<T>(
        self: &Arc<Self>,
        ambient: &dyn Ambient,
        (kind, text, function): (CallKind, &ExecutionId, &str),
        alone: Option<Alone>,
        call: impl Future<Output = T>,
    ) -> T {
        let flight = self.begin(&Call { kind, execution: text.as_str(), number: 0, attempt: 1, function });
        let result = match alone {
            Some(alone) => self.run_alone(ambient, (text.clone(), None), alone, &flight, call).await,
            None => call.await,
        };
        drop(flight);
        if !self.is_empty() {
            self.forget(|key| key.execution == text.as_str());
        }
        result
    }

    /// True if a call must run alone.
    pub fn is_suspect(&self, execution_id: &ExecutionId, activity: Option<u32>) -> bool {
        self.counts_as(execution_id, activity, crate::flight::Count::is_suspect)
    }

    /// Waits until no other suspect runs.
    pub async fn alone(&self) -> Alone {
        Arc::clone(&self.alone).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Runs a suspect's call. Once it has run for a minute it is a suspect no longer, and the next one may run.
    pub async fn run_alone<T>(
        self: &Arc<Self>,
        ambient: &dyn Ambient,
        (execution_id, activity): (ExecutionId, Option<u32>),
        alone: Alone,
        flight: &Flight<'_>,
        call: impl Future<Output = T>,
    ) -> T {
        flight.set_alone(true);
        info!(%execution_id, activity, "a call during which the host has ended before runs, as the only such one");
        let mut call = std::pin::pin!(call);
        tokio::select! {
            biased;
            result = &mut call => return result,
            () = ambient.sleep(ALONE_FOR) => {}
        }
        flight.set_alone(false);
        self.forget(|key| key.execution == execution_id.as_str() && key.activity == activity);
        drop(alone);
        call.await
    }

    /// A turn of an instance has been committed: what it tells of is no longer counted.
    pub fn progressed(self: &Arc<Self>, instance: &Instance, record: &TurnRecord) {
        if self.is_empty() {
            return;
        }
        let execution = instance.execution().execution_id.as_str();
        let has_ended = record.summary.status.is_terminal();
        let is_over = |key: &CallKey| match key.activity {
            None => !record.is_hold(),
            Some(sequence) => record.events.iter().any(|event| is_end_of(event, sequence)),
        };
        self.forget(|key| key.execution == execution && (has_ended || is_over(key)));
    }

    /// An instance has been ended, or begun as another execution.
    pub fn ended(self: &Arc<Self>, instance: InstanceKey) {
        if self.is_empty() {
            return;
        }
        let execution_id = self.lock().executions.remove(&instance);
        if let Some(execution_id) = execution_id {
            self.forget(|key| key.execution == execution_id.as_str());
        }
    }

    /// Takes note of the components that entity and timer functions run on from here, by function name.
    pub fn deployed(self: &Arc<Self>, components: BTreeMap<String, String>) {
        let changed = {
            let mut state = self.lock();
            let changed = state.book.deploy(components);
            self.counted.store(state.book.len(), Ordering::Relaxed);
            changed
        };
        if changed {
            let parking = Arc::clone(self);
            tokio::spawn(async move { parking.save().await });
        }
    }

    /// Counts begin anew for an execution. Once it returns that is durable. True if a call of it was parked.
    pub async fn unpark(&self, execution_id: &ExecutionId) -> bool {
        if self.is_empty() {
            return false;
        }
        let was_parked = {
            let state = self.lock();
            let mut counts = state.book.of_execution(execution_id.as_str());
            counts.any(|(_, count)| count.parked)
        };
        if self.remove(|key| key.execution == execution_id.as_str()) {
            self.save().await;
        }
        was_parked
    }

    /// Forgets calls. Durable soon; a count that a crash keeps makes a call run alone, no more.
    fn forget(self: &Arc<Self>, is_gone: impl Fn(&CallKey) -> bool) {
        if self.remove(is_gone) {
            let parking = Arc::clone(self);
            tokio::spawn(async move { parking.save().await });
        }
    }

    fn remove(&self, is_gone: impl Fn(&CallKey) -> bool) -> bool {
        let mut state = self.lock();
        let changed = state.book.retain(|key| !is_gone(key));
        self.counted.store(state.book.len(), Ordering::Relaxed);
        changed
    }

    async fn save(&self) {
        let _order = self.saving.lock().await;
        let book = self.lock().book.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || book.save()).await {
            warn!(%error, "the counts of calls that ended the host cannot be saved");
        }
    }
}

/// True for an event that says how an attempt of this activity ended, or that nobody waits for it any more.
fn is_end_of(event: &HistoryEvent, of: u32) -> bool {
    match event {
        HistoryEvent::TaskCompleted { sequence, .. }
        | HistoryEvent::TaskFailed { sequence, .. }
        | HistoryEvent::TaskRetryScheduled { sequence, .. }
        | HistoryEvent::ActionCanceled { sequence } => *sequence == of,
        // The others tell of no activity's end.
        _ => false,
    }
}
