//! Every key of `host.json` that means something, here or to Azure Functions only: one table for the reader, for `soloist
//! config`, for the schema and for the documentation.

use super::{DurableTaskOptions, HostJson, Hsts, HttpOptions, LogThreshold, SoloistOptions, TlsOptions};
use crate::durable::OverridableStates;

/// A key of `host.json`.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The names of the objects that it is in and its own, parted by dots.
    pub path: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it does, with its unit; of a key that has no effect, what to use instead.
    pub meaning: &'static str,
    /// Where the default depends on the machine: what it is.
    pub default: Option<&'static str>,
}

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object whose keys are in the table.
    Section,
    /// It has no effect here, whatever it holds.
    NotApplicable,
    /// A text.
    Text,
    /// A text of a pattern (a regular expression).
    Pattern(&'static str),
    /// One of these texts, in any case.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number, from and to.
    Number(u64, u64),
    /// A whole number above 0.
    Positive,
    /// A whole number above 0, or -1 for no limit.
    Limit,
    /// `[d.]hh:mm:ss`, or -1 for no limit.
    Duration,
    /// `[d.]hh:mm:ss`.
    Span,
    /// An array of texts.
    Texts,
    /// An object of texts.
    TextMap,
    /// An object of log levels, each under its category.
    LogLevels,
}

const fn key(path: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key { path, kind, meaning, default: None }
}

const fn per_core(path: &'static str, meaning: &'static str) -> Key {
    Key { path, kind: Kind::Positive, meaning, default: Some("10 per core") }
}

const BODY: Kind = Kind::Number(1, u32::MAX as u64);
const NO_EFFECT: Kind = Kind::NotApplicable;

/// All keys, those of one object together.
pub const KEYS: &[Key] = &[
    key("$schema", Kind::Text, "for editors: `soloist config schema host`"),
    key("version", Kind::OneOf(&["2.0"]), "must be there, unless the file is empty"),
    key("functions", Kind::Texts, "the only functions to load; absent: all"),
    key(
        "functionTimeout",
        Kind::Duration,
        "the longest run of an HTTP or timer function, of one attempt of an activity, or of one durable HTTP request",
    ),
    key("logging", Kind::Section, ""),
    key(
        "logging.logLevel",
        Kind::LogLevels,
        "the lowest level that is logged, by category; `start --log-level` goes first",
    ),
    key("extensions", Kind::Section, ""),
    key("extensions.http", Kind::Section, ""),
    key("extensions.http.routePrefix", Kind::Text, "the path before every function's route; empty: none"),
    key("extensions.http.maxConcurrentRequests", Kind::Limit, "HTTP functions running at once; more wait"),
    key(
        "extensions.http.maxOutstandingRequests",
        Kind::Limit,
        "HTTP functions running or waiting; one more is answered 429",
    ),
    key("extensions.http.customHeaders", Kind::TextMap, "headers of every answer, but not to `/admin`"),
    key(
        "extensions.http.dynamicThrottlesEnabled",
        Kind::Bool,
        "while the processor, the memory or the open files are used up nearly, requests of functions are answered 429",
    ),
    key("extensions.http.hsts", Kind::Section, ""),
    key("extensions.http.hsts.isEnabled", Kind::Bool, "with TLS, browsers are told to come back by TLS only"),
    key("extensions.http.hsts.maxAge", Kind::Span, "for how long"),
    key("extensions.http.hsts.includeSubDomains", Kind::Bool, "also to names below this host's"),
    key("extensions.http.hsts.preload", Kind::Bool, "browsers may have it built in"),
    key("extensions.http.hsts.excludedHosts", Kind::Texts, "names that are not told"),
    key("extensions.durableTask", Kind::Section, ""),
    key(
        "extensions.durableTask.hubName",
        Kind::Pattern("^[A-Za-z][A-Za-z0-9]{2,44}$"),
        "the task hub's name, which links carry",
    ),
    key(
        "extensions.durableTask.overridableExistingInstanceStates",
        Kind::OneOf(&["NonRunningStates", "AnyState", "None"]),
        "which existing instances a start may replace",
    ),
    per_core(
        "extensions.durableTask.maxConcurrentActivityFunctions",
        "activities and durable HTTP requests running at once",
    ),
    per_core("extensions.durableTask.maxConcurrentOrchestratorFunctions", "turns of orchestrators running at once"),
    per_core("extensions.durableTask.maxConcurrentEntityFunctions", "batches of entities running at once"),
    key(
        "extensions.durableTask.maxEntityOperationBatchSize",
        Kind::Positive,
        "operations handed to an entity in one call",
    ),
    key(
        "extensions.durableTask.maxOrchestrationActions",
        Kind::Positive,
        "tasks and timers of one run of an orchestrator",
    ),
    key("extensions.durableTask.httpSettings", Kind::Section, ""),
    key(
        "extensions.durableTask.httpSettings.defaultAsyncRequestSleepTimeMilliseconds",
        Kind::Number(1, u32::MAX as u64),
        "milliseconds before accepted work of a durable HTTP request is asked after, if the answer names none",
    ),
    key(
        "extensions.durableTask.httpSettings.useForwardedHost",
        Kind::Bool,
        "links name the host that the proxy was asked for",
    ),
    key("extensions.durableTask.defaultVersion", NO_EFFECT, "give a start its version: `codeVersion`"),
    key(
        "extensions.durableTask.versionMatchStrategy",
        NO_EFFECT,
        "instances go on with the component that they started with",
    ),
    key(
        "extensions.durableTask.versionFailureStrategy",
        NO_EFFECT,
        "instances go on with the component that they started with",
    ),
    key(
        "extensions.durableTask.storageProvider",
        NO_EFFECT,
        "instances are kept in the folder that `start --data` names",
    ),
    key("extensions.durableTask.notifications", NO_EFFECT, "nothing is sent to an event grid: ask the management API"),
    key("extensions.durableTask.tracing", NO_EFFECT, "use `start --log-level` and `--log-format`"),
    key("extensions.durableTask.entityMessageReorderWindowInMinutes", NO_EFFECT, "messages arrive in order"),
    key("extensions.durableTask.extendedSessionsEnabled", NO_EFFECT, "set `residentBytes` of `soloist`"),
    key("extensions.durableTask.extendedSessionIdleTimeoutInSeconds", NO_EFFECT, "set `residentBytes` of `soloist`"),
    key(
        "extensions.durableTask.localRpcEndpointEnabled",
        NO_EFFECT,
        "the endpoint for other languages is always there",
    ),
    key("extensions.durableTask.useGracefulShutdown", NO_EFFECT, "a stop lets requests end, always"),
    key("extensions.durableTask.useAppLease", NO_EFFECT, "one host per data folder, always"),
    key("extensions.durableTask.appLeaseOptions", NO_EFFECT, "one host per data folder, always"),
    key(
        "extensions.durableTask.rollbackEntityOperationsOnExceptions",
        NO_EFFECT,
        "an operation that fails is rolled back, always",
    ),
    key(
        "extensions.durableTask.throwStatusExceptionsOnRaiseEvent",
        NO_EFFECT,
        "an event for an instance that has ended is refused, always",
    ),
    key("extensions.durableTask.storeInputsInOrchestrationHistory", NO_EFFECT, "inputs are in the history, always"),
    key("extensions.durableTask.maxGrpcMessageSizeInBytes", NO_EFFECT, "set `maxPayloadBytes` of `soloist`"),
    key("extensions.durableTask.grpcHttpClientTimeout", NO_EFFECT, "there is no gRPC between host and functions"),
    key("extensions.soloist", Kind::Section, ""),
    key(
        "extensions.soloist.guestCpuMilliseconds",
        Kind::Number(1, 3_600_000),
        "CPU time of one call into a function, in milliseconds",
    ),
    key("extensions.soloist.guestMemoryBytes", Kind::Number(1 << 16, 1 << 32), "memory of one guest, in bytes"),
    key("extensions.soloist.maxRequestBytes", BODY, "body of a request, in bytes"),
    key("extensions.soloist.maxResponseBytes", BODY, "body of a function's response, in bytes"),
    key("extensions.soloist.maxPayloadBytes", BODY, "one input, result or event from a guest, in bytes"),
    key("extensions.soloist.maxComponentBytes", BODY, "a component's file, in bytes"),
    key(
        "extensions.soloist.residentBytes",
        Kind::Number(0, 1 << 50),
        "orchestrators kept in memory between turns, in bytes; 0: none",
    ),
    key("extensions.soloist.jsonDepth", Kind::Number(1, 128), "nesting of a JSON payload"),
    key(
        "extensions.soloist.maxConcurrentGuests",
        Kind::Number(1, 1_000_000),
        "HTTP functions running at once; see `maxConcurrentRequests`",
    ),
    key(
        "extensions.soloist.requestQueueSeconds",
        Kind::Number(0, 3_600),
        "seconds that a request waits for a guest before it is answered 429",
    ),
    key(
        "extensions.soloist.azureStatusCodes",
        Kind::Bool,
        "the management API's conflicts are 500, as Azure's, not 409",
    ),
    key(
        "extensions.soloist.allowedHosts",
        Kind::Texts,
        "names under which the host may be reached, beside loopback and its own address, and whose web pages may use it",
    ),
    key("extensions.soloist.outboundAllow", Kind::Texts, "where functions may send requests, beside public addresses"),
    key("extensions.soloist.retention", Kind::Section, ""),
    key("extensions.soloist.retention.completed", Kind::Duration, "how long an instance that has completed is kept"),
    key("extensions.soloist.retention.failed", Kind::Duration, "how long an instance that has failed is kept"),
    key("extensions.soloist.retention.terminated", Kind::Duration, "how long an instance that was terminated is kept"),
    key("extensions.soloist.cors", Kind::Section, ""),
    key(
        "extensions.soloist.cors.allowedOrigins",
        Kind::Texts,
        "whose web pages may call functions: scheme and host, or `*`; `Host.CORS` of local.settings.json goes first",
    ),
    key("extensions.soloist.cors.supportCredentials", Kind::Bool, "they may send cookies and the like"),
    key("extensions.soloist.tls", Kind::Section, ""),
    key(
        "extensions.soloist.tls.certificateFile",
        Kind::Text,
        "PEM: with it the host speaks TLS and nothing else; relative to the app's folder",
    ),
    key("extensions.soloist.tls.keyFile", Kind::Text, "PEM: the certificate's private key"),
    key("logging.fileLoggingMode", NO_EFFECT, "the log goes to standard error"),
    key("logging.console", NO_EFFECT, "the log goes to standard error"),
    key(
        "logging.applicationInsights",
        NO_EFFECT,
        "nothing is sent: collect standard error, with `start --log-format json`",
    ),
    key("extensionBundle", NO_EFFECT, "what this host can do is built in"),
    key("retry", NO_EFFECT, "`retry` of a timer's function.json, or the retry policy of an activity call"),
    key("http", NO_EFFECT, "of version 1: use `extensions.http`"),
    key("watchDirectories", NO_EFFECT, "the app folder is what counts"),
    key("watchFiles", NO_EFFECT, "the app folder is what counts"),
    key("singleton", NO_EFFECT, "a data folder has one host, and a timer one run at a time"),
    key("aggregator", NO_EFFECT, "there is no aggregation of metrics"),
    key("healthMonitor", NO_EFFECT, "`maxOutstandingRequests` bounds the load"),
    key("managedDependencies", NO_EFFECT, "a component holds what it needs"),
    key("customHandler", NO_EFFECT, "functions are WebAssembly components"),
    key("httpWorker", NO_EFFECT, "functions are WebAssembly components"),
    key("concurrency", NO_EFFECT, "set the `maxConcurrent…` keys"),
    key("queues", NO_EFFECT, "there are no queue triggers"),
    key("serviceBus", NO_EFFECT, "there are no service bus triggers"),
    key("eventHub", NO_EFFECT, "there are no event hub triggers"),
];

/// The key of a path, in any case.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path.eq_ignore_ascii_case(path))
}

/// The key that was probably meant by a path or a name that is none.
pub fn closest_key(path: &str) -> Option<&'static str> {
    let name = path.rsplit('.').next().unwrap_or(path);
    let name = crate::app::diagnostic::closest(name, KEYS.iter().map(Key::name))?;
    KEYS.iter().find(|key| key.name() == name).map(|key| key.path)
}

/// The default of a key, for people: as JSON, or in words where it depends on the machine.
pub fn default_text(key: &Key) -> String {
    let value = || HostJson::default().value(key.path);
    match (key.path, key.default) {
        // It must be given.
        ("version", _) => "none".to_owned(),
        (_, Some(words)) => words.to_owned(),
        (_, None) => value().filter(|value| value != "null").unwrap_or_else(|| "none".to_owned()),
    }
}

impl Kind {
    /// What it may hold, for people.
    pub fn text(self) -> String {
        match self {
            Kind::Section => "an object".to_owned(),
            Kind::NotApplicable => "anything".to_owned(),
            Kind::Text => "a text".to_owned(),
            Kind::Pattern(pattern) => format!("a text that matches {pattern}"),
            Kind::OneOf(texts) => texts.join(", "),
            Kind::Bool => "true or false".to_owned(),
            Kind::Number(min, max) => format!("{min} to {max}"),
            Kind::Positive => "1 or more".to_owned(),
            Kind::Limit => "1 or more; -1: no limit".to_owned(),
            Kind::Duration => "[d.]hh:mm:ss, from one second; -1: no limit".to_owned(),
            Kind::Span => "[d.]hh:mm:ss".to_owned(),
            Kind::Texts => "a list of texts".to_owned(),
            Kind::TextMap => "an object of texts".to_owned(),
            Kind::LogLevels => format!("an object of levels: {}", LogThreshold::NAMES.join(", ")),
        }
    }
}

impl Key {
    /// The name within its object.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Whether it is directly in the object of that path; the top's is empty.
    pub(in crate::app) fn is_in(&self, section: &str) -> bool {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent).eq_ignore_ascii_case(section)
    }

    /// Whether it has a value that changes something.
    pub fn has_effect(&self) -> bool {
        !matches!(self.kind, Kind::Section | Kind::NotApplicable) && self.path != "$schema"
    }
}

impl HostJson {
    /// The value of each key that has one, as JSON, in the table's order.
    pub fn values(&self) -> Vec<(&'static Key, String)> {
        let value = |key: &'static Key| Some((key, self.value(key.path)?));
        KEYS.iter().filter_map(value).collect()
    }

    /// The value of a key, as JSON. None if it has none.
    fn value(&self, path: &str) -> Option<String> {
        let Self { functions, function_timeout, http, durable_task, soloist, log_levels, origins: _ } = self;
        let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
        let value: serde_json::Value = match (section, name) {
            ("", "version") => "2.0".into(),
            ("", "functions") => functions.clone().into(),
            ("", "functionTimeout") => duration(*function_timeout),
            ("logging", "logLevel") => {
                log_levels.iter().map(|(category, level)| (category.clone(), level.as_str())).collect()
            }
            ("extensions.http", name) => http_value(http, name)?,
            ("extensions.durableTask" | "extensions.durableTask.httpSettings", name) => {
                durable_task_value(durable_task, name)?
            }
            ("extensions.http.hsts", name) => hsts_value(http.hsts.as_ref(), name)?,
            ("extensions.soloist", name) => soloist_value(soloist, name)?,
            ("extensions.soloist.cors" | "extensions.soloist.tls", name) => network_value(soloist, name)?,
            ("extensions.soloist.retention", "completed") => duration(soloist.retention.completed),
            ("extensions.soloist.retention", "failed") => duration(soloist.retention.failed),
            ("extensions.soloist.retention", "terminated") => duration(soloist.retention.terminated),
            _ => return None,
        };
        Some(value.to_string())
    }
}

fn duration(duration: Option<std::time::Duration>) -> serde_json::Value {
    duration.map_or_else(|| "-1".into(), |duration| crate::app::time_span::format(duration).into())
}

fn limit(limit: Option<usize>) -> serde_json::Value {
    limit.map_or_else(|| (-1).into(), Into::into)
}

fn http_value(options: &HttpOptions, name: &str) -> Option<serde_json::Value> {
    let HttpOptions {
        route_prefix,
        max_outstanding_requests,
        max_concurrent_requests,
        custom_headers,
        dynamic_throttles,
        hsts: _,
    } = options;
    Some(match name {
        "routePrefix" => route_prefix.as_str().into(),
        "maxOutstandingRequests" => limit(*max_outstanding_requests),
        "maxConcurrentRequests" => limit(*max_concurrent_requests),
        "dynamicThrottlesEnabled" => (*dynamic_throttles).into(),
        "customHeaders" => custom_headers.clone().into_iter().collect(),
        _ => return None,
    })
}

/// What is in effect of `hsts`: where it is off, the rest is what it would be without a file.
fn hsts_value(hsts: Option<&Hsts>, name: &str) -> Option<serde_json::Value> {
    let or_default = hsts.cloned().unwrap_or_default();
    Some(match name {
        "isEnabled" => hsts.is_some().into(),
        "maxAge" => duration(Some(or_default.max_age)),
        "includeSubDomains" => or_default.include_sub_domains.into(),
        "preload" => or_default.preload.into(),
        "excludedHosts" => or_default.excluded_hosts.into(),
        _ => return None,
    })
}

fn network_value(options: &SoloistOptions, name: &str) -> Option<serde_json::Value> {
    let origins = || match &options.cors {
        None => Vec::new(),
        Some(cors) => cors.origins.clone().unwrap_or_else(|| vec!["*".to_owned()]),
    };
    let file = |file: fn(&TlsOptions) -> &std::path::PathBuf| {
        options.tls.as_ref().map(|tls| file(tls).to_string_lossy().into_owned())
    };
    Some(match name {
        "allowedOrigins" => origins().into(),
        "supportCredentials" => options.cors.as_ref().is_some_and(|cors| cors.credentials).into(),
        "certificateFile" => file(|tls| &tls.certificate_file).into(),
        "keyFile" => file(|tls| &tls.key_file).into(),
        _ => return None,
    })
}

fn durable_task_value(options: &DurableTaskOptions, name: &str) -> Option<serde_json::Value> {
    let states = match options.overridable_existing_instance_states {
        OverridableStates::NonRunningStates => "NonRunningStates",
        OverridableStates::AnyState => "AnyState",
        OverridableStates::None => "None",
    };
    Some(match name {
        "hubName" => options.hub_name.as_str().into(),
        "overridableExistingInstanceStates" => states.into(),
        "maxConcurrentActivityFunctions" => options.max_concurrent_activity_functions.into(),
        "maxConcurrentOrchestratorFunctions" => options.max_concurrent_orchestrator_functions.into(),
        "maxConcurrentEntityFunctions" => options.max_concurrent_entity_functions.into(),
        "maxEntityOperationBatchSize" => options.max_entity_operation_batch_size.into(),
        "maxOrchestrationActions" => options.max_orchestration_actions.into(),
        "defaultAsyncRequestSleepTimeMilliseconds" => {
            u64::try_from(options.default_async_request_sleep_time.as_millis()).unwrap_or(u64::MAX).into()
        }
        "useForwardedHost" => options.use_forwarded_host.into(),
        _ => return None,
    })
}

fn soloist_value(options: &SoloistOptions, name: &str) -> Option<serde_json::Value> {
    let texts = |texts: Vec<String>| serde_json::Value::from(texts);
    Some(match name {
        "guestCpuMilliseconds" => u64::try_from(options.guest_cpu.as_millis()).unwrap_or(u64::MAX).into(),
        "guestMemoryBytes" => options.guest_memory_bytes.into(),
        "maxRequestBytes" => options.max_request_bytes.into(),
        "maxResponseBytes" => options.max_response_bytes.into(),
        "maxPayloadBytes" => options.max_payload_bytes.into(),
        "maxComponentBytes" => options.max_component_bytes.into(),
        "residentBytes" => options.resident_bytes.into(),
        "jsonDepth" => options.json_depth.into(),
        "maxConcurrentGuests" => options.max_concurrent_guests.into(),
        "requestQueueSeconds" => options.request_queue.as_secs().into(),
        "azureStatusCodes" => options.azure_status_codes.into(),
        "allowedHosts" => texts(options.allowed_hosts.iter().map(ToString::to_string).collect()),
        "outboundAllow" => texts(options.outbound_allow.iter().map(ToString::to_string).collect()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_has_an_effect_has_a_value() {
        let values: Vec<&str> = HostJson::default().values().iter().map(|(key, _)| key.path).collect();
        let keys: Vec<&str> = KEYS.iter().filter(|key| key.has_effect()).map(|key| key.path).collect();
        assert_eq!(values, keys);
    }

    #[test]
    fn every_key_stands_in_a_section_of_the_table_and_once() {
        for key in KEYS {
            let parent =
                key.path.rsplit_once('.').map(|(parent, _)| find(parent).expect("the section is in the table"));
            assert!(parent.is_none_or(|parent| parent.kind == Kind::Section), "{}", key.path);
            assert_eq!(
                KEYS.iter().filter(|other| other.path.eq_ignore_ascii_case(key.path)).count(),
                1,
                "{}",
                key.path
            );
            assert_eq!(key.meaning.is_empty(), key.kind == Kind::Section, "{}", key.path);
        }
    }

    #[test]
    fn values_are_json_as_the_file_would_have_them() {
        let values = HostJson::default().values();
        let value = |path: &str| values.iter().find(|(key, _)| key.path == path).map(|(_, value)| value.as_str());
        assert_eq!(value("functionTimeout"), Some("\"00:30:00\""));
        assert_eq!(value("functions"), Some("null"));
        assert_eq!(value("extensions.http.maxOutstandingRequests"), Some("-1"));
        assert_eq!(value("extensions.soloist.jsonDepth"), Some("128"));
    }
}
