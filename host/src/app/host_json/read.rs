//! Reads `host.json`, puts settings over it and checks every value.

use std::path::Path;
use std::time::Duration;

use super::section::Section;
use super::web::{read_cors, read_hsts, read_tls};
use super::{AllowedHost, DurableTaskOptions, HostJson, HttpOptions, OutboundRule, RetentionOptions, SoloistOptions};
use crate::app::error::{AppError, Problem};
use crate::app::json::{Document, Node, Value};
use crate::app::settings::Settings;
use crate::app::time_span;

/// What settings that override a value of `host.json` begin with.
const OVERRIDE_PREFIX: &str = "AzureFunctionsJobHost__";

/// Keys of the original at the top level that are accepted; those without a typed field have no effect.
const KNOWN_KEYS: &[&str] = &[
    "$schema",
    "version",
    "functionTimeout",
    "retry",
    "functions",
    "http",
    "watchDirectories",
    "watchFiles",
    "queues",
    "serviceBus",
    "eventHub",
    "singleton",
    "logging",
    "aggregator",
    "healthMonitor",
    "extensionBundle",
    "managedDependencies",
    "customHandler",
    "httpWorker",
    "extensions",
    "concurrency",
];

const KNOWN_HTTP_KEYS: &[&str] = &[
    "routePrefix",
    "maxOutstandingRequests",
    "maxConcurrentRequests",
    "customHeaders",
    "dynamicThrottlesEnabled",
    "hsts",
];

const KNOWN_DURABLE_TASK_KEYS: &[&str] = &[
    "hubName",
    "maxConcurrentActivityFunctions",
    "maxConcurrentOrchestratorFunctions",
    "maxConcurrentEntityFunctions",
    "maxEntityOperationBatchSize",
    "maxOrchestrationActions",
    "overridableExistingInstanceStates",
    "httpSettings",
    "defaultVersion",
    "versionMatchStrategy",
    "versionFailureStrategy",
    "storageProvider",
    "notifications",
    "tracing",
    "entityMessageReorderWindowInMinutes",
    "extendedSessionsEnabled",
    "extendedSessionIdleTimeoutInSeconds",
    "localRpcEndpointEnabled",
    "useGracefulShutdown",
    "useAppLease",
    "appLeaseOptions",
    "rollbackEntityOperationsOnExceptions",
    "throwStatusExceptionsOnRaiseEvent",
    "storeInputsInOrchestrationHistory",
    "maxGrpcMessageSizeInBytes",
    "grpcHttpClientTimeout",
];

const KNOWN_SOLOIST_KEYS: &[&str] = &[
    "guestCpuMilliseconds",
    "guestMemoryBytes",
    "maxRequestBytes",
    "maxResponseBytes",
    "maxComponentBytes",
    "maxPayloadBytes",
    "jsonDepth",
    "residentBytes",
    "maxConcurrentGuests",
    "requestQueueSeconds",
    "azureStatusCodes",
    "outboundAllow",
    "allowedHosts",
    "retention",
    "cors",
    "tls",
];

const KNOWN_RETENTION_KEYS: &[&str] = &["completed", "failed", "terminated"];

/// The longest duration of the original, as it prints it.
const LONGEST_TIMEOUT: &str = "10675199.02:48:05.4775807";

impl HostJson {
    /// Reads `host.json` in the app folder `root` and the settings that override it. A file that is missing, or holds
    /// nothing or `{}`, means the defaults; nothing is ever written.
    ///
    /// # Errors
    /// [`AppError::Unreadable`], [`AppError::HostJsonSyntax`] or [`AppError::HostJsonValue`].
    pub(in crate::app) fn load(root: &Path, settings: &Settings) -> Result<Self, AppError> {
        let path = root.join("host.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(AppError::Unreadable { path, source }),
        };
        let document = Document::parse(&path, bytes).map_err(|problem| AppError::HostJsonSyntax {
            path: path.clone(),
            origin: problem.origin,
            detail: problem.message,
        })?;
        let mut node = document.into_root().unwrap_or_else(|| Node::empty_object(&path));
        Self::read(&mut node, settings)
            .map_err(|problem| AppError::HostJsonValue { message: problem.message, origin: problem.origin })
    }

    fn read(node: &mut Node, settings: &Settings) -> Result<Self, Problem> {
        let is_default = node.expect_object("host.json")?.is_empty();
        let unknown_keys = unknown_keys(node);
        for (setting, path, value) in settings.below(OVERRIDE_PREFIX) {
            node.overlay(setting, &path.split("__").collect::<Vec<_>>(), value);
        }
        let top = Section { name: "", node: Some(node) };
        if !is_default {
            check_version(&top)?;
        }
        let extensions = top.section("extensions")?;
        let http = read_http(&extensions.section("http")?)?;
        let durable_task = read_durable_task(&extensions.section("durableTask")?)?;
        let soloist = read_soloist(&extensions.section("soloist")?)?;
        let functions = top.strings("functions")?;
        let function_timeout = function_timeout(&top)?;
        Ok(HostJson { functions, function_timeout, http, durable_task, soloist, unknown_keys })
    }
}

fn check_version(top: &Section<'_>) -> Result<(), Problem> {
    let Some(version) = top.value("version") else {
        let origin = top.node.expect("the top of host.json is always there").origin();
        return Err(Problem::new(
            "The host.json file is missing the required 'version' property. See \
             https://aka.ms/functions-hostjson for steps to migrate the configuration file.",
            origin,
        ));
    };
    match version.scalar_text() {
        Some(text) if text == "2.0" => Ok(()),
        text => Err(Problem::new(
            format!(
                "'{}' is an invalid value for host.json 'version' property. We recommend you set the 'version' property \
                 to '2.0'. See https://aka.ms/functions-hostjson for more information on this configuration file.",
                text.unwrap_or_default()
            ),
            version.origin(),
        )),
    }
}

fn function_timeout(top: &Section<'_>) -> Result<Option<Duration>, Problem> {
    let Some(node) = top.value("functionTimeout") else {
        return Ok(HostJson::default().function_timeout);
    };
    let text = node.scalar_text().unwrap_or_default();
    if text.trim() == "-1" {
        return Ok(None);
    }
    let timeout = time_span::parse(&text)
        .ok_or_else(|| top.invalid("functionTimeout", "a duration as hh:mm:ss, or -1 for no limit", node))?;
    if timeout < Duration::from_secs(1) {
        return Err(Problem::new(
            format!("FunctionTimeout must be greater than 00:00:01 and less than {LONGEST_TIMEOUT}."),
            node.origin(),
        ));
    }
    Ok(Some(timeout))
}

fn read_http(section: &Section<'_>) -> Result<HttpOptions, Problem> {
    let default = HttpOptions::default();
    let route_prefix = match section.string("routePrefix")? {
        Some((text, node)) => {
            let prefix = text.trim_matches('/');
            if prefix.contains(['{', '}', '?', '#', '%']) || prefix.split('/').any(str::is_empty) && !prefix.is_empty()
            {
                return Err(section.invalid("routePrefix", "plain path segments, or empty for none", node));
            }
            let first = prefix.split('/').next().unwrap_or_default();
            if ["admin", "runtime"].iter().any(|reserved| first.eq_ignore_ascii_case(reserved)) {
                return Err(section.invalid(
                    "routePrefix",
                    "a path that does not begin with 'admin' or 'runtime'",
                    node,
                ));
            }
            prefix.to_owned()
        }
        None => default.route_prefix,
    };
    let mut custom_headers = default.custom_headers;
    let headers = section.section("customHeaders")?;
    for property in headers.node.map(Node::properties).unwrap_or_default() {
        let value = property.node.scalar_text().unwrap_or_default();
        let valid = http::HeaderName::try_from(property.name.as_str()).is_ok()
            && http::HeaderValue::try_from(value.as_str()).is_ok()
            && !matches!(property.node.value(), Value::Array(_) | Value::Object(_));
        if !valid {
            return Err(headers.invalid(&property.name, "a header name with a text as its value", &property.node));
        }
        custom_headers.insert(property.name.clone(), value);
    }
    Ok(HttpOptions {
        route_prefix,
        max_outstanding_requests: section.limit("maxOutstandingRequests")?,
        max_concurrent_requests: section.limit("maxConcurrentRequests")?,
        custom_headers,
        dynamic_throttles: section.bool("dynamicThrottlesEnabled", default.dynamic_throttles)?,
        hsts: read_hsts(section)?,
    })
}

fn read_durable_task(section: &Section<'_>) -> Result<DurableTaskOptions, Problem> {
    let default = DurableTaskOptions::default();
    let hub_name = match section.string("hubName")? {
        Some((name, node)) => {
            let valid = (3..=45).contains(&name.len())
                && name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.chars().all(|character| character.is_ascii_alphanumeric());
            if !valid {
                return Err(Problem::new(
                    format!(
                        "Task hub name '{name}' should contain only alphanumeric characters, start with a letter, and \
                         have length between 3 and 45."
                    ),
                    node.origin(),
                ));
            }
            name.to_owned()
        }
        None => default.hub_name,
    };
    let states = match section.string("overridableExistingInstanceStates")? {
        Some((text, node)) => text.parse().map_err(|_: String| {
            section.invalid("overridableExistingInstanceStates", "NonRunningStates, AnyState or None", node)
        })?,
        None => default.overridable_existing_instance_states,
    };
    let http = section.section("httpSettings")?;
    let sleep_ms = default.default_async_request_sleep_time.as_millis() as u64;
    Ok(DurableTaskOptions {
        hub_name,
        max_concurrent_activity_functions: section
            .positive("maxConcurrentActivityFunctions", default.max_concurrent_activity_functions)?,
        max_concurrent_orchestrator_functions: section
            .positive("maxConcurrentOrchestratorFunctions", default.max_concurrent_orchestrator_functions)?,
        max_concurrent_entity_functions: section
            .positive("maxConcurrentEntityFunctions", default.max_concurrent_entity_functions)?,
        max_entity_operation_batch_size: section
            .positive("maxEntityOperationBatchSize", default.max_entity_operation_batch_size)?,
        max_orchestration_actions: section.positive("maxOrchestrationActions", default.max_orchestration_actions)?,
        overridable_existing_instance_states: states,
        default_async_request_sleep_time: Duration::from_millis(http.number(
            "defaultAsyncRequestSleepTimeMilliseconds",
            sleep_ms,
            (1, u64::from(u32::MAX)),
        )?),
        use_forwarded_host: http.bool("useForwardedHost", default.use_forwarded_host)?,
    })
}

fn read_soloist(section: &Section<'_>) -> Result<SoloistOptions, Problem> {
    /// No body or payload may be larger: lengths cross the contract with guests in 32 bits.
    const BODY_BYTES_MAX: u64 = u32::MAX as u64;
    const HOUR_MS: u64 = 3_600_000;
    let default = SoloistOptions::default();
    let body = |key, default| section.number(key, default, (1, BODY_BYTES_MAX));
    Ok(SoloistOptions {
        guest_cpu: Duration::from_millis(section.number(
            "guestCpuMilliseconds",
            default.guest_cpu.as_millis() as u64,
            (1, HOUR_MS),
        )?),
        guest_memory_bytes: section.number("guestMemoryBytes", default.guest_memory_bytes, (1 << 16, 1 << 32))?,
        max_request_bytes: body("maxRequestBytes", default.max_request_bytes)?,
        max_response_bytes: body("maxResponseBytes", default.max_response_bytes)?,
        max_component_bytes: body("maxComponentBytes", default.max_component_bytes)?,
        max_payload_bytes: body("maxPayloadBytes", default.max_payload_bytes)?,
        json_depth: section.number("jsonDepth", default.json_depth as u64, (1, 128))? as usize,
        resident_bytes: section.number("residentBytes", default.resident_bytes, (0, 1 << 50))?,
        max_concurrent_guests: section.number(
            "maxConcurrentGuests",
            default.max_concurrent_guests as u64,
            (1, 1_000_000),
        )? as usize,
        request_queue: Duration::from_secs(section.number(
            "requestQueueSeconds",
            default.request_queue.as_secs(),
            (0, 3_600),
        )?),
        azure_status_codes: section.bool("azureStatusCodes", default.azure_status_codes)?,
        outbound_allow: read_outbound_allow(section)?,
        allowed_hosts: read_allowed_hosts(section)?,
        retention: read_retention(&section.section("retention")?)?,
        cors: read_cors(section)?,
        tls: read_tls(section)?,
    })
}

fn read_retention(section: &Section<'_>) -> Result<RetentionOptions, Problem> {
    let kept = |key| {
        let Some(node) = section.value(key) else { return Ok(None) };
        let text = node.scalar_text().unwrap_or_default();
        if text.trim() == "-1" {
            return Ok(None);
        }
        let kept = time_span::parse(&text).filter(|kept| *kept >= Duration::from_secs(1));
        let wanted = "a time span of at least a second as [d.]hh:mm:ss (7.00:00:00 is seven days), or -1 for ever";
        kept.map(Some).ok_or_else(|| section.invalid(key, wanted, node))
    };
    Ok(RetentionOptions { completed: kept("completed")?, failed: kept("failed")?, terminated: kept("terminated")? })
}

fn read_allowed_hosts(section: &Section<'_>) -> Result<Vec<AllowedHost>, Problem> {
    const KEY: &str = "allowedHosts";
    let Some(node) = section.value(KEY) else { return Ok(Vec::new()) };
    let texts = section.strings(KEY)?.unwrap_or_default();
    let hosts = texts.iter().map(|text| {
        text.trim().parse().map_err(|reason: String| {
            Problem::new(
                format!(
                    "host.json: {}.{KEY} holds '{text}': {reason}; give example.org, *.example.org, an IP address or *, \
                     without a port",
                    section.name
                ),
                node.origin(),
            )
        })
    });
    hosts.collect()
}

fn read_outbound_allow(section: &Section<'_>) -> Result<Vec<OutboundRule>, Problem> {
    const KEY: &str = "outboundAllow";
    let Some(node) = section.value(KEY) else { return Ok(Vec::new()) };
    let texts = section.strings(KEY)?.unwrap_or_default();
    let rules = texts.iter().map(|text| {
        text.trim().parse().map_err(|reason: String| {
            Problem::new(
                format!(
                    "host.json: {}.{KEY} holds '{text}': {reason}; give a host name, an IP address, a range such as \
                     10.0.0.0/8, or *, each with a port (example.com:443, [::1]:443) or without",
                    section.name
                ),
                node.origin(),
            )
        })
    });
    rules.collect()
}

/// The keys of the file that nothing here knows, as dotted paths.
fn unknown_keys(top: &Node) -> Vec<String> {
    let extensions = top.get("extensions");
    let extension = |name: &str| extensions.and_then(|extensions| extensions.get(name));
    let sections = [
        ("", Some(top), KNOWN_KEYS),
        ("extensions.http.", extension("http"), KNOWN_HTTP_KEYS),
        ("extensions.durableTask.", extension("durableTask"), KNOWN_DURABLE_TASK_KEYS),
        ("extensions.soloist.", extension("soloist"), KNOWN_SOLOIST_KEYS),
        (
            "extensions.soloist.retention.",
            extension("soloist").and_then(|soloist| soloist.get("retention")),
            KNOWN_RETENTION_KEYS,
        ),
    ];
    let unknown_in = |(path, node, known): (&str, Option<&Node>, &[&str])| -> Vec<String> {
        let properties = node.map(Node::properties).unwrap_or_default();
        let unknown =
            properties.iter().filter(|property| !known.iter().any(|key| key.eq_ignore_ascii_case(&property.name)));
        unknown.map(|property| format!("{path}{}", property.name)).collect()
    };
    sections.into_iter().flat_map(unknown_in).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::durable::OverridableStates;

    fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<HostJson, AppError> {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::write(folder.path().join("host.json"), text).expect("write host.json");
        let environment: BTreeMap<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = Settings::load(folder.path(), environment).expect("no settings file");
        HostJson::load(folder.path(), &settings)
    }

    fn load(text: &str) -> Result<HostJson, AppError> {
        load_with(text, &[])
    }

    fn message(text: &str) -> String {
        load(text).expect_err(text).to_string()
    }

    #[test]
    fn a_missing_or_empty_file_means_the_defaults_and_nothing_is_written() {
        let folder = tempfile::tempdir().expect("temp folder");
        let host_json = HostJson::load(folder.path(), &Settings::default()).expect("defaults");
        assert_eq!(host_json, HostJson::default());
        assert!(!folder.path().join("host.json").exists());
        for text in ["", " \n", "{}", "// nothing\n"] {
            assert_eq!(load(text).expect("defaults"), HostJson::default(), "{text:?}");
        }
    }

    #[test]
    fn every_value_is_read_without_regard_to_case() {
        let host_json = load(
            r#"{
              // a comment
              "Version": "2.0",
              "FUNCTIONS": ["A", "B"],
              "functionTimeout": "00:05:00",
              "extensions": {
                "HTTP": { "RoutePrefix": "/v1/x/", "maxOutstandingRequests": 20, "maxConcurrentRequests": -1,
                          "customHeaders": { "X-A": "b" } },
                "DurableTask": { "HubName": "MyHub", "maxConcurrentActivityFunctions": 3,
                          "overridableExistingInstanceStates": "anystate",
                          "httpSettings": { "useForwardedHost": true, "defaultAsyncRequestSleepTimeMilliseconds": 5 } },
                "soloist": { "residentBytes": 0, "guestCpuMilliseconds": 100, "requestQueueSeconds": 0, "jsonDepth": 10,
                             "azureStatusCodes": true,
                             "retention": { "Completed": "7.00:00:00", "failed": -1, "terminated": 1 },
                             "outboundAllow": ["127.0.0.1:8080", "10.0.0.0/8"] },
              },
            }"#,
        )
        .expect("host.json is valid");
        assert_eq!(host_json.functions, Some(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(host_json.function_timeout, Some(Duration::from_secs(300)));
        assert_eq!(host_json.http.route_prefix, "v1/x");
        assert_eq!(host_json.http.max_outstanding_requests, Some(20));
        assert_eq!(host_json.http.max_concurrent_requests, None);
        assert_eq!(host_json.http.custom_headers.get("X-A").map(String::as_str), Some("b"));
        assert_eq!(host_json.durable_task.hub_name, "MyHub");
        assert_eq!(host_json.durable_task.max_concurrent_activity_functions, 3);
        assert_eq!(host_json.durable_task.overridable_existing_instance_states, OverridableStates::AnyState);
        assert!(host_json.durable_task.use_forwarded_host);
        assert_eq!(host_json.durable_task.default_async_request_sleep_time, Duration::from_millis(5));
        assert_eq!(host_json.soloist.resident_bytes, 0);
        assert_eq!(host_json.soloist.guest_cpu, Duration::from_millis(100));
        assert_eq!(host_json.soloist.request_queue, Duration::ZERO);
        assert_eq!(host_json.soloist.json_depth, 10);
        let allowed: Vec<String> = host_json.soloist.outbound_allow.iter().map(ToString::to_string).collect();
        assert_eq!(allowed, ["127.0.0.1:8080", "10.0.0.0/8"]);
        let days = |days: u64| Some(Duration::from_secs(86_400 * days));
        let retention = RetentionOptions { completed: days(7), failed: None, terminated: days(1) };
        assert_eq!(host_json.soloist.retention, retention);
        assert!(host_json.unknown_keys.is_empty());
    }

    #[test]
    fn the_version_is_required_and_must_be_2_0() {
        assert!(message(r#"{"functions":[]}"#).starts_with(
            "The host.json file is missing the required 'version' property. See https://aka.ms/functions-hostjson for \
             steps to migrate the configuration file."
        ));
        assert!(message("{\n \"version\": \"3.0\" }").starts_with(
            "'3.0' is an invalid value for host.json 'version' property. We recommend you set the 'version' property to \
             '2.0'. "
        ));
        assert!(message("{\n \"version\": \"3.0\" }").ends_with("host.json:2:13)"));
    }

    #[test]
    fn text_that_is_not_json_names_file_line_and_column() {
        let text = message("{\n  \"version\" \"2.0\" }");
        assert!(text.starts_with("Unable to parse host configuration file '"), "{text}");
        assert!(text.contains("host.json:2:"), "{text}");
        assert!(message("[]").starts_with("host.json must be a JSON object"));
    }

    #[test]
    fn values_out_of_range_name_the_key_and_what_is_allowed() {
        let durable =
            |text: &str| message(&format!(r#"{{"version":"2.0","extensions":{{"durableTask":{{{text}}}}}}}"#));
        for name in ["Activity", "Orchestrator", "Entity"] {
            let text = durable(&format!(r#""maxConcurrent{name}Functions":0"#));
            assert!(
                text.starts_with(&format!("MaxConcurrent{name}Functions must be a positive integer value.")),
                "{text}"
            );
        }
        assert!(durable(r#""hubName":"1x""#).starts_with(
            "Task hub name '1x' should contain only alphanumeric characters, start with a letter, and have length between \
             3 and 45."
        ));
        assert!(
            durable(r#""overridableExistingInstanceStates":"x""#)
                .contains("must be NonRunningStates, AnyState or None")
        );
        let soloist = |text: &str| message(&format!(r#"{{"version":"2.0","extensions":{{"soloist":{{{text}}}}}}}"#));
        assert!(
            soloist(r#""jsonDepth":129"#).contains("soloist.jsonDepth must be a whole number from 1 to 128, not '129'")
        );
        assert!(soloist(r#""guestCpuMilliseconds":0"#).contains("soloist.guestCpuMilliseconds"));
        assert!(soloist(r#""residentBytes":-1"#).contains("soloist.residentBytes"));
        let outbound = soloist(r#""outboundAllow":["localhost", "10.0.0.1/8"]"#);
        assert!(outbound.contains("soloist.outboundAllow holds '10.0.0.1/8': ") && outbound.contains("10.0.0.0/8"));
        let hosts = soloist(r#""allowedHosts":["example.org", "http://a"]"#);
        assert!(hosts.contains("soloist.allowedHosts holds 'http://a': "), "{hosts}");
        for wrong in ["soon", "00:00:00", "00:00:00.9", "-00:01:00", "24:00:00"] {
            let text = soloist(&format!(r#""retention":{{"failed":"{wrong}"}}"#));
            assert!(text.contains("retention.failed must be a time span of at least a second"), "{text}");
            assert!(text.contains(&format!("not '{wrong}'")), "{text}");
        }
        assert!(soloist(r#""retention":"7""#).contains("retention must be a JSON object"));
        assert!(soloist(r#""outboundAllow":7"#).contains("soloist.outboundAllow must be an array of strings"));
        assert!(
            message(r#"{"version":"2.0","functionTimeout":"00:00:00"}"#)
                .starts_with("FunctionTimeout must be greater than 00:00:01 and less than 10675199.02:48:05.4775807.")
        );
        assert!(
            message(r#"{"version":"2.0","extensions":{"http":{"routePrefix":"admin"}}}"#).contains("http.routePrefix")
        );
        assert!(
            message(r#"{"version":"2.0","extensions":{"http":{"customHeaders":{"a b":"c"}}}}"#)
                .contains("customHeaders.a b")
        );
        assert!(message(r#"{"version":"2.0","extensions":7}"#).contains("extensions must be a JSON object"));
    }

    #[test]
    fn the_environment_overrides_every_value_and_is_named_when_wrong() {
        let text = r#"{"version":"2.0","extensions":{"http":{"routePrefix":"a"}}}"#;
        let host_json = load_with(
            text,
            &[
                ("AzureFunctionsJobHost__extensions__http__routePrefix", ""),
                ("azurefunctionsjobhost__Extensions__Soloist__ResidentBytes", "0"),
                ("AzureFunctionsJobHost__functionTimeout", "-1"),
                ("AzureFunctionsJobHost__functions__0", "Only"),
            ],
        )
        .expect("overrides are valid");
        assert_eq!(host_json.http.route_prefix, "");
        assert_eq!(host_json.soloist.resident_bytes, 0);
        assert_eq!(host_json.function_timeout, None);
        assert_eq!(host_json.functions, Some(vec!["Only".to_owned()]));
        let error = load_with(text, &[("AzureFunctionsJobHost__extensions__soloist__jsonDepth", "x")])
            .expect_err("not a number");
        assert!(
            error.to_string().ends_with("(setting AzureFunctionsJobHost__extensions__soloist__jsonDepth)"),
            "{error}"
        );
    }

    #[test]
    fn what_a_network_needs_is_read_and_checked() {
        let host_json = load_with(
            r#"{"version":"2.0","extensions":{"http":{"dynamicThrottlesEnabled":true,
                "hsts":{"isEnabled":true,"maxAge":"10","includeSubDomains":true}},
                "soloist":{"cors":{"allowedOrigins":["https://a.test"],"supportCredentials":true},
                "tls":{"certificateFile":"host.crt"}}}}"#,
            &[("AzureFunctionsJobHost__extensions__soloist__tls__keyFile", "host.key")],
        )
        .expect("everything is valid");
        assert!(host_json.http.dynamic_throttles);
        let hsts = host_json.http.hsts.expect("hsts is enabled");
        assert!(hsts.include_sub_domains && !hsts.preload && hsts.max_age == Duration::from_secs(864_000), "{hsts:?}");
        assert!(host_json.soloist.cors.expect("there are origins").credentials);
        let tls = host_json.soloist.tls.expect("there is a pair");
        assert_eq!((tls.certificate_file.to_str(), tls.key_file.to_str()), (Some("host.crt"), Some("host.key")));
        let refused = |text: &str| message(&format!(r#"{{"version":"2.0","extensions":{text}}}"#));
        assert!(refused(r#"{"http":{"hsts":{"isEnabled":true,"maxAge":"x"}}}"#).contains("hsts.maxAge"));
        assert!(refused(r#"{"soloist":{"tls":{"keyFile":"a"}}}"#).contains("tls.certificateFile is missing"));
        let text = r#"{"soloist":{"cors":{"allowedOrigins":"*","supportCredentials":true}}}"#;
        assert!(refused(text).contains("do not go together"));
        assert!(refused(r#"{"http":{"dynamicThrottlesEnabled":"perhaps"}}"#).contains("dynamicThrottlesEnabled"));
    }

    #[test]
    fn keys_that_nothing_knows_are_collected() {
        let host_json =
            load(r#"{"version":"2.0","logging":{},"foo":1,"extensions":{"soloist":{"residentByte":1,"retention":{"done":"1"}},"x":{}}}"#)
                .expect("unknown keys do not stop the host");
        assert_eq!(
            host_json.unknown_keys,
            ["foo", "extensions.soloist.residentByte", "extensions.soloist.retention.done"]
        );
    }
}
