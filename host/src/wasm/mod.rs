//! Guests: the only place that names wasmtime.
//!
//! It makes guests of components, hands them calls and takes their answers, and keeps them within their limits: CPU time,
//! memory, imports, output. It knows nothing of HTTP connections, of history or of storage, and decides nothing about
//! orchestrations: the hub calls it through [`Executor`], the server through [`Wasm::call_http`].
//!
//! A guest is fresh for each HTTP request and each activity; an orchestrator's lives as long as the hub keeps it. Whatever
//! goes wrong in a guest, it is dropped: nobody calls into it again. Dropping a call's future stops its guest.
//!
//! Orchestrators are made in a slot that the hub has got for them, and keep it; a turn itself waits for nothing.
//! Activities wait for a slot as long as they must: the hub bounds how many there are, and a full pool is no failure of an
//! activity's that history could record.
//!
//! Start reading at [`Wasm`], then `orchestrator`, `component`, `cpu`.

mod activity;
mod check;
mod component;
mod console;
mod contract;
mod cpu;
mod deployment;
mod durable_client;
mod engine;
mod entity;
mod fault;
mod guest;
mod http_function;
mod http_stream;
mod inspect;
mod orchestrator;
mod outbound;
#[cfg(test)]
mod tests;
mod timer;
mod wasi;

pub use check::{CONTRACTS, Inspection, check, inspect_file};
pub use deployment::{AppSettings, Prepared};
pub use http_function::{HttpCall, HttpCallError, HttpReply, HttpRequest};
pub use http_stream::{GuestBody, HttpStreamCall};
pub use inspect::{ComponentInfo, LoadError};
pub use outbound::{AppSettingTokens, TokenFuture, TokenProvider, TokenProviders};

use std::{
    collections::BTreeSet,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    app::OutboundRule,
    durable::{Digest, EntityRan, Failure, FunctionName, HttpAnswer, Json, OverridableStates, TurnRecord},
    flight::Recorder,
    hub::{
        ActivityCall, Creation, EntityCall, Executor, ExecutorFuture, GuestError, GuestSlot, HistoryDetail,
        HttpRequestCall, Hub, OrchestratorCall, OrchestratorGuest, TimerCall,
    },
};
use component::{Compiled, Components};
use cpu::{Lanes, Meter, Overrun};
use deployment::{Callable, Deployment};
use engine::Slots;
use fault::Fault;
use guest::GuestLimits;
use outbound::{DurableHttp, Outbound};

/// Finds the bytes of a component that is not deployed any more, in storage.
pub type ComponentBytes = Arc<dyn Fn(Digest) -> Pin<Box<dyn Future<Output = Option<Arc<[u8]>>> + Send>> + Send + Sync>;

/// Writes the starter JSON as it is now.
pub type StarterJson = Arc<dyn Fn() -> String + Send + Sync>;

/// Writes a history as the JSON array that durable clients are given.
pub type HistoryJson = fn(&[Arc<TurnRecord>], HistoryDetail) -> String;

/// The URLs under which an instance is managed, for the origin of a running request.
/// The start that they are for is that of the instance; none if it does not exist.
pub type ManagementUrlsFor = Arc<dyn Fn(&str, Option<Creation>) -> ManagementUrls + Send + Sync>;

/// The URLs under which an instance is managed, keys included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagementUrls {
    /// The instance id.
    pub id: String,
    /// GET: the status.
    pub status_query_get_uri: String,
    /// POST: raise the event `{eventName}`.
    pub send_event_post_uri: String,
    /// POST: terminate with the reason `{text}`.
    pub terminate_post_uri: String,
    /// POST: rewind.
    pub rewind_post_uri: String,
    /// DELETE: purge.
    pub purge_history_delete_uri: String,
    /// POST: restart.
    pub restart_post_uri: String,
    /// POST: suspend.
    pub suspend_post_uri: String,
    /// POST: resume.
    pub resume_post_uri: String,
}

/// How guests are run.
pub struct WasmConfig {
    /// Folder for compiled components; none keeps them in memory only.
    pub cache: Option<PathBuf>,
    /// CPU time of one call. Waiting in the host does not count.
    pub cpu_limit: Duration,
    /// Linear memory of one guest, in bytes.
    pub memory_bytes_max: usize,
    /// Body of a response, in bytes.
    pub response_bytes_max: usize,
    /// One payload, in bytes.
    pub payload_bytes_max: usize,
    /// Nesting of a payload.
    pub json_depth_max: usize,
    /// A component's file, in bytes.
    pub component_bytes_max: u64,
    /// HTTP requests that run at a time.
    pub requests_max: usize,
    /// HTTP requests that run or wait for a guest; none is without limit.
    pub outstanding_max: Option<usize>,
    /// How long a request waits for a guest.
    pub request_wait: Duration,
    /// Activities that run at a time.
    pub activities_max: usize,
    /// Batches of entities that run at a time.
    pub entities_max: usize,
    /// Orchestrators that run a turn at a time, beside the resident ones.
    pub turns_max: usize,
    /// Orchestrators that are kept between turns, at most.
    pub residents_max: usize,
    /// How long one run of an HTTP or timer function may take, waiting included; none is without limit. Activities are bounded by the
    /// hub.
    pub function_timeout: Option<Duration>,
    /// Where functions with effects may send requests, beside public addresses.
    pub outbound_allow: Vec<OutboundRule>,
    /// Where bearer tokens of durable HTTP calls come from.
    pub tokens: TokenProviders,
    /// The app's settings: the environment of functions with effects.
    pub settings: AppSettings,
    /// What functions with a `durableClient` binding find in [`DURABLE_CLIENT_VARIABLE`]: the starter JSON, which clients of other
    /// processes and languages need. Asked for each guest: keys change.
    pub durable_client: Option<StarterJson>,
    /// Finds the bytes of components that are not deployed any more.
    pub component_bytes: ComponentBytes,
    /// Writes histories for durable clients; without, they are told that this is not supported.
    pub history_json: Option<HistoryJson>,
    /// Notes which HTTP functions run.
    pub recorder: Arc<Recorder>,
}

impl Default for WasmConfig {
    fn default() -> Self {
        Self {
            cache: None,
            cpu_limit: Duration::from_secs(5),
            memory_bytes_max: 256 << 20,
            response_bytes_max: 100 << 20,
            payload_bytes_max: 100 << 20,
            json_depth_max: crate::durable::DEPTH_MAX,
            component_bytes_max: 64 << 20,
            requests_max: 256,
            outstanding_max: None,
            request_wait: Duration::from_secs(10),
            activities_max: 256,
            entities_max: 64,
            turns_max: 64,
            residents_max: 1024,
            function_timeout: None,
            outbound_allow: Vec::new(),
            tokens: TokenProviders::default(),
            settings: AppSettings::default(),
            durable_client: None,
            component_bytes: Arc::new(|_| Box::pin(async { None })),
            history_json: None,
            recorder: Arc::new(Recorder::off()),
        }
    }
}

/// The variable, in the environment of functions with a `durableClient` binding, that holds the starter JSON.
pub const DURABLE_CLIENT_VARIABLE: &str = "SOLOIST_DURABLE_CLIENT";

/// What triggers a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionKind {
    /// An HTTP request.
    Http,
    /// An orchestration's turn.
    Orchestrator,
    /// An orchestration's step.
    Activity,
    /// Operations on an entity.
    Entity,
    /// A schedule.
    Timer,
}

impl FunctionKind {
    const ALL: [Self; 5] = [Self::Http, Self::Orchestrator, Self::Activity, Self::Entity, Self::Timer];

    /// The word in a component's list of functions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Orchestrator => "orchestrator",
            Self::Activity => "activity",
            Self::Entity => "entity",
            Self::Timer => "timer",
        }
    }

    /// The trigger's type in function.json.
    fn trigger(self) -> &'static str {
        match self {
            Self::Http => "httpTrigger",
            Self::Orchestrator => "orchestrationTrigger",
            Self::Activity => "activityTrigger",
            Self::Entity => "entityTrigger",
            Self::Timer => "timerTrigger",
        }
    }

    /// The interface that the component exports.
    fn export(self) -> &'static str {
        match self {
            Self::Http => "http-function",
            Self::Orchestrator => "orchestrator",
            Self::Activity => "activity",
            Self::Entity => "entity",
            Self::Timer => "timer-function",
        }
    }

    /// True for functions that touch the outside world: only they may have a durable client.
    fn has_effects(self) -> bool {
        match self {
            Self::Http | Self::Activity | Self::Timer => true,
            Self::Orchestrator | Self::Entity => false,
        }
    }
}

/// A `durableClient` binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientGrant {
    /// The gate's policy for starts that name none.
    pub overridable_states: Option<OverridableStates>,
}

/// A function to deploy.
#[derive(Clone, Debug)]
pub struct DeployedFunction {
    /// Its name.
    pub name: FunctionName,
    /// What its component calls it: `entryPoint`, or the name.
    pub handler: String,
    /// What triggers it.
    pub kind: FunctionKind,
    /// Its component's file.
    pub component: PathBuf,
    /// Its `durableClient` binding, where it has one.
    pub client: Option<ClientGrant>,
}

/// A component that functions were deployed from.
#[derive(Clone, Debug)]
pub struct DeployedComponent {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// The version of the contract that it was made for.
    pub contract: String,
    /// It speaks HTTP itself: its HTTP functions are called by [`Wasm::stream_http`].
    pub speaks_http: bool,
    /// Its bytes: storage keeps them while instances need them.
    pub bytes: Arc<[u8]>,
}

/// What guests' host calls reach.
struct Shared {
    engine: wasmtime::Engine,
    hub: OnceLock<Arc<Hub>>,
    history_json: Option<HistoryJson>,
    durable_client: Option<StarterJson>,
    outbound: Arc<Outbound>,
    durable_http: DurableHttp,
}

/// Runs guests. One per process.
pub struct Wasm {
    shared: Arc<Shared>,
    components: Arc<Components>,
    lanes: Arc<Lanes>,
    cpu_limit: Duration,
    call_limits: GuestLimits,
    response_limits: GuestLimits,
    request_wait: Duration,
    function_timeout: Option<Duration>,
    settings: AppSettings,
    requests: Arc<Semaphore>,
    requests_max: usize,
    /// How many requests run or wait, at most.
    outstanding: Option<(usize, Arc<Semaphore>)>,
    activities: Arc<Semaphore>,
    entities: Arc<Semaphore>,
    orchestrators: Arc<Semaphore>,
    turns_max: usize,
    residents_max: usize,
    recorder: Arc<Recorder>,
    guests_max: usize,
    deployment: RwLock<Arc<Deployment>>,
}

impl std::fmt::Debug for Wasm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasm").field("residents_max", &self.residents_max).finish_non_exhaustive()
    }
}

impl Wasm {
    /// Makes the engine, its pool of guests and its threads.
    ///
    /// # Errors
    /// When the system grants not even a small pool, or no thread.
    pub fn new(config: WasmConfig) -> anyhow::Result<Arc<Self>> {
        let wanted = Slots {
            requests: config.requests_max.max(1),
            activities: config.activities_max.max(1),
            entities: config.entities_max.max(1),
            turns: config.turns_max.max(1),
            residents: config.residents_max,
        };
        let (engine, slots) = engine::new(wanted, config.memory_bytes_max)?;
        let lanes = Arc::new(Lanes::start(&engine)?);
        let components = Components::new(&engine, config.cache, config.component_bytes_max, config.component_bytes)?;
        let limits = |transfer_bytes_max, transfer_limit| GuestLimits {
            memory_bytes_max: config.memory_bytes_max,
            transfer_bytes_max,
            transfer_limit,
            json_depth_max: config.json_depth_max,
        };
        Ok(Arc::new(Self {
            shared: Arc::new(Shared {
                engine,
                hub: OnceLock::new(),
                history_json: config.history_json,
                durable_client: config.durable_client,
                outbound: Arc::new(Outbound::new(config.outbound_allow)),
                durable_http: DurableHttp { tokens: config.tokens, content_bytes_max: config.payload_bytes_max },
            }),
            components: Arc::new(components),
            lanes,
            cpu_limit: config.cpu_limit,
            call_limits: limits(config.payload_bytes_max, "maxPayloadBytes"),
            response_limits: limits(config.response_bytes_max, "maxResponseBytes"),
            request_wait: config.request_wait,
            function_timeout: config.function_timeout,
            settings: config.settings,
            requests: Arc::new(Semaphore::new(slots.requests)),
            requests_max: slots.requests,
            outstanding: config
                .outstanding_max
                .map(|most| (most, Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))),
            activities: Arc::new(Semaphore::new(slots.activities)),
            entities: Arc::new(Semaphore::new(slots.entities)),
            orchestrators: Arc::new(Semaphore::new(slots.turns + slots.residents)),
            turns_max: slots.turns,
            residents_max: slots.residents,
            recorder: config.recorder,
            guests_max: slots.total(),
            deployment: RwLock::default(),
        }))
    }

    /// Gives guests' durable clients their hub. Until then they are told that it is not running.
    pub fn set_hub(&self, hub: Arc<Hub>) {
        // A second hub would be a mistake of the composition root's; the first one stays.
        let _ = self.shared.hub.set(hub);
    }

    /// How many turns can run at once: the configured number, or what the system allows.
    pub fn turns_max(&self) -> usize {
        self.turns_max
    }

    /// How many orchestrators can be kept between turns: the configured number, or what the system allows.
    pub fn residents_max(&self) -> usize {
        self.residents_max
    }

    /// How many guests of all kinds can live at once.
    pub fn guests_max(&self) -> usize {
        self.guests_max
    }

    /// How many memory mappings the system allows this process, and so how many guests: each takes six.
    pub fn mappings_max(&self) -> usize {
        engine::mappings_max()
    }

    async fn load(
        &self,
        path: &Path,
        functions: &[DeployedFunction],
    ) -> Result<(Arc<Compiled>, DeployedComponent), LoadError> {
        let file = self.components.read(path).await?;
        // Before compiling: the reason for a refusal is in the bytes, and a link error would say less.
        let info = inspect::inspect(path, &file.bytes)?;
        inspect::check_imports(path, &info, &functions.iter().collect::<Vec<_>>())?;
        let compiled = self.components.load(&file).await?;
        let deployed = DeployedComponent {
            digest: compiled.digest,
            contract: compiled.info.contract.clone(),
            speaks_http: compiled.http_function.is_none() && compiled.incoming_handler.is_some(),
            bytes: Arc::clone(&file.bytes),
        };
        Ok((compiled, deployed))
    }

    /// Deletes what the folder for compiled components has of components other than these, and of other engines (an older
    /// version of this program). Best effort: what cannot be deleted costs space and nothing else.
    pub async fn tidy_cache(&self, keep: BTreeSet<Digest>) {
        self.components.tidy_cache(keep).await;
    }

    fn deployment(&self) -> Arc<Deployment> {
        Arc::clone(&self.deployment.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a call's future, metered.
    async fn run<T: Send + 'static>(
        &self,
        meter: Arc<Meter>,
        call: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        self.lanes.metered(meter, call).await
    }
}

impl Lanes {
    /// Runs a call's future; one that is over its budget and does not stop is a fault.
    async fn metered<T: Send + 'static>(
        &self,
        meter: Arc<Meter>,
        call: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let budget = meter.budget();
        match self.run(meter, Box::pin(call)).await {
            Ok(outcome) => outcome,
            Err(Overrun) => Err(Fault::Cpu(budget, String::new())),
        }
    }
}

/// Waits for a slot, at most so long.
async fn slot(slots: &Arc<Semaphore>, wait: Duration) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
        return Some(permit);
    }
    tokio::time::timeout(wait, Arc::clone(slots).acquire_owned()).await.ok()?.ok()
}

impl Executor for Wasm {
    fn slot(&self) -> ExecutorFuture<'_, GuestSlot> {
        let slots = Arc::clone(&self.orchestrators);
        Box::pin(async move { GuestSlot::new(slots.acquire_owned().await.expect("the semaphore is never closed")) })
    }

    fn orchestrator(
        &self,
        call: OrchestratorCall,
        slot: GuestSlot,
    ) -> ExecutorFuture<'_, Result<Box<dyn OrchestratorGuest>, GuestError>> {
        Box::pin(self.orchestrator_guest(call, slot))
    }

    fn activity(&self, call: ActivityCall) -> ExecutorFuture<'_, Result<Json, Failure>> {
        Box::pin(self.run_activity(call))
    }

    fn http(&self, call: HttpRequestCall) -> ExecutorFuture<'_, Result<HttpAnswer, Failure>> {
        Box::pin(async move { self.shared.durable_http.request(&self.shared.outbound, &call).await })
    }

    fn timer(&self, call: TimerCall) -> ExecutorFuture<'_, Result<(), Failure>> {
        Box::pin(self.run_timer(call))
    }

    fn entity(&self, call: EntityCall) -> ExecutorFuture<'_, Result<EntityRan, GuestError>> {
        Box::pin(self.run_entity(call))
    }
}
