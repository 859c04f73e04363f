//! `host.json`: the settings of an app, typed, with their defaults.

mod allowed_hosts;
mod keys;
mod logging;
mod outbound;
mod read;
mod section;
mod web;

pub use allowed_hosts::AllowedHost;
pub use keys::{KEYS, Key, Kind, closest_key, default_text};
pub use logging::LogThreshold;
pub use outbound::OutboundRule;
pub use web::{Cors, Hsts, TlsOptions};

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Origin;
use crate::durable::OverridableStates;

/// The app's settings: `host.json`, each value of which may be overridden by an environment variable
/// `AzureFunctionsJobHost__section__key`. Keys compare without regard to case.
#[derive(Debug, Clone, PartialEq)]
pub struct HostJson {
    /// `functions`: the only functions to load. `None` loads all. Names compare without regard to case.
    pub functions: Option<Vec<String>>,
    /// `functionTimeout` (`hh:mm:ss`): how long one run of an http, activity or timer function may take, waiting
    /// included. Default 30 minutes; `None` (`-1`) is without limit.
    pub function_timeout: Option<Duration>,
    /// `extensions.http`.
    pub http: HttpOptions,
    /// `extensions.durableTask`.
    pub durable_task: DurableTaskOptions,
    /// `extensions.soloist`.
    pub soloist: SoloistOptions,
    /// `logging.logLevel`: from which level on each category is logged, by the category's name. Default none: what a start
    /// logs that is told nothing.
    pub log_levels: BTreeMap<String, LogThreshold>,
    /// Where the value of each key comes from that is not the default, by the key's path.
    pub origins: BTreeMap<&'static str, Origin>,
}

impl Default for HostJson {
    fn default() -> Self {
        HostJson {
            functions: None,
            function_timeout: Some(Duration::from_secs(30 * 60)),
            http: HttpOptions::default(),
            durable_task: DurableTaskOptions::default(),
            soloist: SoloistOptions::default(),
            log_levels: BTreeMap::new(),
            origins: BTreeMap::new(),
        }
    }
}

/// `extensions.http`: how http functions are reached.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpOptions {
    /// `routePrefix`: the path before every function's route, without slashes at its ends. Default `api`; empty for none.
    pub route_prefix: String,
    /// `maxOutstandingRequests`: requests in work and in waiting; one more is answered 429. Default `None` (`-1`): no limit.
    pub max_outstanding_requests: Option<usize>,
    /// `maxConcurrentRequests`: http functions running at a time; more wait. Default `None` (`-1`): no limit of its own.
    pub max_concurrent_requests: Option<usize>,
    /// `customHeaders`: added to every response of an http function. Default none.
    pub custom_headers: BTreeMap<String, String>,
    /// `dynamicThrottlesEnabled`: while this process uses most of the processor, the memory or the open files that it may,
    /// requests of functions are answered 429. Default false.
    pub dynamic_throttles: bool,
    /// `hsts`. Default none.
    pub hsts: Option<Hsts>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            route_prefix: "api".to_owned(),
            max_outstanding_requests: None,
            max_concurrent_requests: None,
            custom_headers: BTreeMap::new(),
            dynamic_throttles: false,
            hsts: None,
        }
    }
}

/// `extensions.durableTask`: the task hub.
#[derive(Debug, Clone, PartialEq)]
pub struct DurableTaskOptions {
    /// `hubName`: letters and digits, a letter first, 3 to 45 characters. Default `TestHubName`.
    pub hub_name: String,
    /// `maxConcurrentActivityFunctions`: activities running at a time. Default 10 for each core.
    pub max_concurrent_activity_functions: usize,
    /// `maxConcurrentOrchestratorFunctions`: turns of orchestrators running at a time. Default 10 for each core.
    pub max_concurrent_orchestrator_functions: usize,
    /// `maxConcurrentEntityFunctions`: batches of entities running at a time. Default 10 for each core.
    pub max_concurrent_entity_functions: usize,
    /// `maxEntityOperationBatchSize`: operations handed to an entity in one call. Default 5,000.
    pub max_entity_operation_batch_size: usize,
    /// `maxOrchestrationActions`: numbered actions that one execution may ask for. Default 100,000.
    pub max_orchestration_actions: usize,
    /// `overridableExistingInstanceStates`. Default [`OverridableStates::NonRunningStates`].
    pub overridable_existing_instance_states: OverridableStates,
    /// `httpSettings.defaultAsyncRequestSleepTimeMilliseconds`: pause between polls of a durable http call whose answer
    /// names none. Default 30 s.
    pub default_async_request_sleep_time: Duration,
    /// `httpSettings.useForwardedHost`: management URLs name the host that `X-Forwarded-Host` gives. Default false.
    pub use_forwarded_host: bool,
}

impl Default for DurableTaskOptions {
    fn default() -> Self {
        let concurrent = 10 * std::thread::available_parallelism().map_or(1, usize::from);
        DurableTaskOptions {
            hub_name: "TestHubName".to_owned(),
            max_concurrent_activity_functions: concurrent,
            max_concurrent_orchestrator_functions: concurrent,
            max_concurrent_entity_functions: concurrent,
            max_entity_operation_batch_size: 5_000,
            max_orchestration_actions: 100_000,
            overridable_existing_instance_states: OverridableStates::default(),
            default_async_request_sleep_time: Duration::from_secs(30),
            use_forwarded_host: false,
        }
    }
}

/// `extensions.soloist`: limits that Azure has no key for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoloistOptions {
    /// `guestCpuMilliseconds`: processor time of one call into a guest; waiting in the host does not count. Default 5,000; at least 1.
    pub guest_cpu: Duration,
    /// `guestMemoryBytes`: linear memory of one guest. Default 256 MiB; 64 KiB to 4 GiB.
    pub guest_memory_bytes: u64,
    /// `maxRequestBytes`: body of a request. Default 100 MiB.
    pub max_request_bytes: u64,
    /// `maxResponseBytes`: body of a function's response. Default 100 MiB.
    pub max_response_bytes: u64,
    /// `maxComponentBytes`: size of a component file. Default 64 MiB.
    pub max_component_bytes: u64,
    /// `maxPayloadBytes`: one JSON payload (an input, a result, an event). Default 100 MiB.
    pub max_payload_bytes: u64,
    /// `jsonDepth`: nesting of a JSON payload. Default 128; 1 to 128, what the contract with guests promises.
    pub json_depth: usize,
    /// `residentBytes`: memory of orchestrator guests that are kept between turns. Default 64 MiB; 0 keeps none, then
    /// every turn replays.
    pub resident_bytes: u64,
    /// `maxConcurrentGuests`: guests of http requests running at a time; more wait. Default 256; at least 1.
    pub max_concurrent_guests: usize,
    /// `requestQueueSeconds`: how long a request waits for a guest before it is answered 429. Default 10; 0 does not wait.
    pub request_queue: Duration,
    /// `azureStatusCodes`: the management API answers a conflict with an instance's state 500, as the original does, not 409.
    /// Default false.
    pub azure_status_codes: bool,
    /// `outboundAllow`: destinations that functions may send requests to although they are not public. Default none.
    pub outbound_allow: Vec<OutboundRule>,
    /// `allowedHosts`: names and addresses under which this host may be reached, beside loopback and the address that a
    /// request came in by; web pages of these hosts may send it requests. Default none.
    pub allowed_hosts: Vec<AllowedHost>,
    /// `retention`: how long instances are kept after their end. Default: for ever.
    pub retention: RetentionOptions,
    /// `cors`: which pages of other sites may call functions. Default none; `local.settings.json` goes first.
    pub cors: Option<Cors>,
    /// `tls`: with a certificate, the host speaks TLS and nothing else. Default none.
    pub tls: Option<TlsOptions>,
}

/// `extensions.soloist.retention`: how long instances are kept after their end, as `[d.]hh:mm:ss`, at least a second; `None`
/// (`-1`, and the default) is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionOptions {
    /// `completed`.
    pub completed: Option<Duration>,
    /// `failed`: those could be rewound.
    pub failed: Option<Duration>,
    /// `terminated`.
    pub terminated: Option<Duration>,
}

impl Default for SoloistOptions {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        SoloistOptions {
            guest_cpu: Duration::from_millis(5_000),
            guest_memory_bytes: 256 * MIB,
            max_request_bytes: 100 * MIB,
            max_response_bytes: 100 * MIB,
            max_component_bytes: 64 * MIB,
            max_payload_bytes: 100 * MIB,
            json_depth: 128,
            resident_bytes: 64 * MIB,
            max_concurrent_guests: 256,
            request_queue: Duration::from_secs(10),
            azure_status_codes: false,
            outbound_allow: Vec::new(),
            allowed_hosts: Vec::new(),
            retention: RetentionOptions::default(),
            cors: None,
            tls: None,
        }
    }
}
