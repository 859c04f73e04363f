//! The hub's port to guests: implemented by `wasm` and, with scripted functions, by the simulation.

use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc};

use crate::durable::{
    Digest, EntityId, EntityOperation, EntityRan, ExecutionId, Failure, FunctionName, GuestEvent, GuestTurn,
    HttpAnswer, HttpScheduled, InstanceId, Json, Sequence, Tag, Timestamp, TraceContext,
};

/// A future of the executor's.
pub type ExecutorFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which code runs an execution, and as whom.
#[derive(Clone, Debug)]
pub struct OrchestratorCall {
    /// The component that the execution started with.
    pub component: Digest,
    /// What the component calls the function.
    pub handler: String,
    /// The function's name, for the log.
    pub name: String,
    /// The instance.
    pub instance_id: InstanceId,
    /// The execution: seeds the guest's entropy.
    pub execution_id: ExecutionId,
}

/// An activity to run.
#[derive(Clone, Debug)]
pub struct ActivityCall {
    /// The activity function.
    pub name: FunctionName,
    /// Its input.
    pub input: Json,
    /// The instance that scheduled it.
    pub instance_id: InstanceId,
    /// The execution that scheduled it.
    pub execution_id: ExecutionId,
    /// The action's number.
    pub sequence: Sequence,
    /// Counts attempts from 1.
    pub attempt: u32,
    /// When it is given up: told to the guest. The hub keeps the time and stops the guest.
    pub deadline: Option<Timestamp>,
    /// Labels.
    pub tags: Vec<Tag>,
    /// The trace that it belongs to.
    pub trace_context: Option<TraceContext>,
}

/// One request of a durable HTTP call.
#[derive(Clone, Debug)]
pub struct HttpRequestCall {
    /// The call.
    pub call: Box<HttpScheduled>,
    /// The URL at which its work is asked after: then the request is a GET without content, and headers that are meant for
    /// the call alone are left out. None is the call itself.
    pub poll: Option<String>,
    /// The orchestrator function, for the log.
    pub name: String,
    /// The instance, for the log.
    pub instance_id: InstanceId,
}

/// A run of a timer function.
#[derive(Clone, Debug)]
pub struct TimerCall {
    /// The function.
    pub name: FunctionName,
    /// Names this invocation in the log.
    pub invocation_id: String,
    /// When it was due.
    pub scheduled: Timestamp,
    /// It runs later than it was due.
    pub is_past_due: bool,
    /// The schedule follows daylight saving time.
    pub adjust_for_dst: bool,
    /// Where the schedule stands, if it is monitored.
    pub status: Option<ScheduleStatus>,
}

/// Where a timer function's schedule stands; the contract's `schedule-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// The firing before this one.
    pub last: Option<Timestamp>,
    /// When the status was last written.
    pub last_updated: Option<Timestamp>,
    /// The next firing.
    pub next: Option<Timestamp>,
}

/// A batch of an entity's operations to run.
#[derive(Clone, Debug)]
pub struct EntityCall {
    /// The entity function.
    pub name: FunctionName,
    /// The entity.
    pub entity: EntityId,
    /// Seeds the guest's entropy; the same when the batch is repeated.
    pub execution_id: String,
    /// The entity's clock.
    pub time: Timestamp,
    /// The state before the batch; none if the entity does not exist.
    pub state: Option<Json>,
    /// The operations, in order; at least one.
    pub operations: Vec<EntityOperation>,
}

/// Why a call into an orchestrator's guest returned no turn, or one into an entity's no results. The guest is unusable afterwards.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GuestError {
    /// The code's own fault: it panicked, trapped or exceeded a limit. The failure's kind names it (`Panic`, `Trap`,
    /// `CpuLimitExceeded`, `MemoryLimitExceeded`, `StackOverflow`, `InvalidOutput`).
    #[error("{}: {}", .0.kind, .0.message)]
    Code(Failure),
    /// No guest can be had, through no fault of the code: the component is missing or of another contract, or quotas stayed
    /// exhausted. Nothing ran.
    #[error("{0}")]
    Unavailable(String),
}

/// A live guest of an orchestrator: holds one execution's state between turns.
pub trait OrchestratorGuest: Send {
    /// Hands it events. With `replaying` every event was handed to an earlier guest before: output and logs are silent, and
    /// the CPU budget is `turns` times that of a turn.
    fn turn<'a>(
        &'a mut self,
        replaying: bool,
        turns: u32,
        events: &'a [GuestEvent],
    ) -> ExecutorFuture<'a, Result<GuestTurn, GuestError>>;

    /// The memory that it holds, in bytes: counted against the residency budget.
    fn resident_bytes(&self) -> usize;
}

/// Room for one guest of an orchestrator, until it and its clones are dropped.
#[derive(Clone)]
pub struct GuestSlot {
    _room: Arc<dyn Any + Send + Sync>,
}

impl GuestSlot {
    /// A slot that is free again once `room` is dropped.
    pub fn new(room: impl Any + Send + Sync) -> Self {
        Self { _room: Arc::new(room) }
    }
}

impl fmt::Debug for GuestSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestSlot").finish_non_exhaustive()
    }
}

/// Runs functions.
pub trait Executor: Send + Sync + 'static {
    /// Waits for room for a guest, first come, first served. Guests that wait for their turn occupy theirs: nobody asks who
    /// keeps others from running turns. An executor without bounds has always room.
    fn slot(&self) -> ExecutorFuture<'_, GuestSlot> {
        Box::pin(std::future::ready(GuestSlot::new(())))
    }

    /// Makes a guest for an execution. It keeps the slot; of a slot's guests only one lives at a time.
    fn orchestrator(
        &self,
        call: OrchestratorCall,
        slot: GuestSlot,
    ) -> ExecutorFuture<'_, Result<Box<dyn OrchestratorGuest>, GuestError>>;

    /// Runs an activity to its end. A panic, a trap, an exceeded limit or an unknown function is a [`Failure`] too. Dropping
    /// the future stops the guest.
    fn activity(&self, call: ActivityCall) -> ExecutorFuture<'_, Result<Json, Failure>>;

    /// Sends one request of a durable HTTP call and reads its answer; any status is one. Dropping the future drops the
    /// request. An executor that reaches no network refuses.
    fn http(&self, call: HttpRequestCall) -> ExecutorFuture<'_, Result<HttpAnswer, Failure>> {
        let text = format!("this executor sends no HTTP requests, such as {} {}", call.call.method, call.call.uri);
        Box::pin(std::future::ready(Err(Failure { non_retriable: true, ..Failure::new("NotSupported", text) })))
    }

    /// Runs a timer function to its end. Dropping the future stops the guest. An executor without timer functions refuses.
    fn timer(&self, call: TimerCall) -> ExecutorFuture<'_, Result<(), Failure>> {
        let text = format!("this executor has no timer functions, such as {}", call.name);
        Box::pin(std::future::ready(Err(Failure { non_retriable: true, ..Failure::new("NotSupported", text) })))
    }

    /// Runs operations on an entity's state: what the guest returns is a function of the call and nothing else. With an error
    /// none of them has run. Dropping the future stops the guest. An executor without entity functions refuses.
    fn entity(&self, call: EntityCall) -> ExecutorFuture<'_, Result<EntityRan, GuestError>> {
        let text = format!("this executor has no entity functions, such as {}", call.name);
        Box::pin(std::future::ready(Err(GuestError::Unavailable(text))))
    }
}

/// An orchestrator function that can be started.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    /// Its name.
    pub name: FunctionName,
    /// What its component calls it.
    pub handler: String,
    /// The component that new instances start on.
    pub component: Digest,
    /// The component's contract version.
    pub contract: String,
}

/// The functions that are deployed, by name.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// Orchestrators.
    pub orchestrators: std::collections::BTreeMap<FunctionName, Arc<Orchestrator>>,
    /// Activities that exist and are enabled.
    pub activities: std::collections::BTreeSet<FunctionName>,
    /// Entity functions.
    pub entities: std::collections::BTreeSet<FunctionName>,
}
