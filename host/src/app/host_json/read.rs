//! Reads `host.json`, puts settings over it and checks every value.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::logging::read_log_levels;
use super::section::Section;
use super::web::{read_cors, read_hsts, read_tls};
use super::{
    AllowedHost, DurableTaskOptions, HostJson, HttpOptions, KEYS, Kind, OutboundRule, RetentionOptions, SoloistOptions,
    keys,
};
use crate::app::diagnostic::{Code, Problem, Report};
use crate::app::error::{Origin, upper_first};
use crate::app::json::{Document, Node, Value};
use crate::app::settings::Settings;
use crate::app::time_span;

/// What settings that override a value of `host.json` begin with.
const OVERRIDE_PREFIX: &str = "AzureFunctionsJobHost__";

/// The longest duration of the original, as it prints it.
const LONGEST_TIMEOUT: &str = "10675199.02:48:05.4775807";

impl HostJson {
    /// Reads `host.json` in the app folder `root` and the settings that override it. A file that is missing, or holds
    /// nothing or `{}`, means the defaults; nothing is ever written. What is wrong is reported, and the default stands for it.
    pub(in crate::app) fn load(root: &Path, settings: &Settings, report: &mut Report) -> Self {
        let path = root.join("host.json");
        let bytes = match crate::app::load::read_file(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                report.note(Problem::new(Code::Unreadable, message, Origin::whole(path)));
                return Self::default();
            }
        };
        let document = Document::parse(&path, bytes, Code::HostJsonSyntax).map_err(|problem| {
            let detail = upper_first(&problem.message);
            let message = format!("Unable to parse host configuration file '{}'. {detail}", path.display());
            let has_help = problem.help.is_some();
            let problem = problem.says(message);
            let help = "comments and trailing commas are allowed; names and texts stand in double quotes";
            if has_help { problem } else { problem.help(help) }
        });
        let Some(document) = report.keep(document) else { return Self::default() };
        let mut node = document.into_root().unwrap_or_else(|| Node::empty_object(&path));
        if report.keep(node.expect_object("host.json", Code::HostJsonValue)).is_none() {
            return Self::default();
        }
        node.note_duplicates(report);
        Self::read(&mut node, settings, report)
    }

    /// Reads the `host.json` of an app for what it says before anybody judges it: the default stands for what is wrong.
    /// `environment` is that of [`App::load`](crate::app::App::load).
    pub fn as_it_is(root: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut unread = Report::default();
        let settings = Settings::load(root, environment.into_iter().collect(), &mut unread);
        Self::load(root, &settings, &mut unread)
    }

    fn read(node: &mut Node, settings: &Settings, report: &mut Report) -> Self {
        let is_default = node.properties().is_empty();
        for (setting, path, value) in settings.below(OVERRIDE_PREFIX) {
            node.overlay(setting, &path.split("__").collect::<Vec<_>>(), value);
        }
        note_keys(node, report);
        let top = Section { path: String::new(), node: Some(node) };
        if !is_default {
            report.keep(check_version(&top));
        }
        let extensions = top.section("extensions", report);
        let http = read_http(&extensions.section("http", report), report);
        let durable_task = read_durable_task(&extensions.section("durableTask", report), settings, report);
        let soloist = read_soloist(&extensions.section("soloist", report), report);
        let functions = report.keep_or(None, top.strings("functions"));
        let function_timeout = report.keep_or(HostJson::default().function_timeout, function_timeout(&top));
        let log_levels = read_log_levels(&top, report);
        HostJson { functions, function_timeout, http, durable_task, soloist, log_levels, origins: origins(node) }
    }
}

fn check_version(top: &Section<'_>) -> Result<(), Problem> {
    let Some(version) = top.value("version") else {
        let origin = top.node.expect("the top of host.json is always there").origin();
        let message = "The host.json file is missing the required 'version' property. See \
                       https://aka.ms/functions-hostjson for steps to migrate the configuration file.";
        return Err(Problem::new(Code::HostJsonVersion, message, origin).help("add \"version\": \"2.0\""));
    };
    match version.scalar_text() {
        Some(text) if text == "2.0" => Ok(()),
        text => Err(Problem::new(
            Code::HostJsonVersion,
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
            Code::HostJsonValue,
            format!("FunctionTimeout must be greater than 00:00:01 and less than {LONGEST_TIMEOUT}."),
            node.origin(),
        ));
    }
    Ok(Some(timeout))
}

fn read_http(section: &Section<'_>, report: &mut Report) -> HttpOptions {
    let default = HttpOptions::default();
    let route_prefix = report.keep(route_prefix(section)).flatten().unwrap_or(default.route_prefix);
    let custom_headers = custom_headers(section, report);
    HttpOptions {
        route_prefix,
        max_outstanding_requests: report.keep_or(None, section.limit("maxOutstandingRequests")),
        max_concurrent_requests: report.keep_or(None, section.limit("maxConcurrentRequests")),
        custom_headers,
        dynamic_throttles: report.keep_or(false, section.bool("dynamicThrottlesEnabled", default.dynamic_throttles)),
        hsts: read_hsts(section, report),
    }
}

/// Headers that say how an answer is carried: the server's own.
const FRAMING_HEADERS: [&str; 8] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

fn custom_headers(http: &Section<'_>, report: &mut Report) -> BTreeMap<String, String> {
    let section = http.section("customHeaders", report);
    let mut headers = BTreeMap::new();
    for property in section.node.map(Node::properties).unwrap_or_default() {
        let (name, node) = (property.name.as_str(), &property.node);
        let value = node.scalar_text().unwrap_or_default();
        let is_header = http::HeaderName::try_from(name).is_ok()
            && http::HeaderValue::try_from(value.as_str()).is_ok()
            && !matches!(node.value(), Value::Array(_) | Value::Object(_));
        if !is_header {
            report.note(section.invalid(name, "a header name with a text as its value", node));
        } else if FRAMING_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            let message =
                format!("host.json: {} says how an answer is carried: that is the host's own", section.path_of(name));
            report.note(Problem::new(Code::HostJsonValue, message, property.origin()).help("delete it"));
        } else {
            // Of two with one name the last one counts.
            headers.retain(|other: &String, _| !other.eq_ignore_ascii_case(name));
            headers.insert(name.to_owned(), value);
        }
    }
    headers
}

fn route_prefix(section: &Section<'_>) -> Result<Option<String>, Problem> {
    let Some((text, node)) = section.string("routePrefix")? else { return Ok(None) };
    let prefix = text.trim_matches('/');
    if prefix.contains(['{', '}', '?', '#', '%']) || prefix.split('/').any(str::is_empty) && !prefix.is_empty() {
        return Err(section.invalid("routePrefix", "plain path segments, or empty for none", node));
    }
    let first = prefix.split('/').next().unwrap_or_default();
    if ["admin", "runtime"].iter().any(|reserved| first.eq_ignore_ascii_case(reserved)) {
        return Err(section.invalid("routePrefix", "a path that does not begin with 'admin' or 'runtime'", node));
    }
    Ok(Some(prefix.to_owned()))
}

fn hub_name(section: &Section<'_>, settings: &Settings) -> Result<Option<String>, Problem> {
    let Some((text, node)) = section.string("hubName")? else { return Ok(None) };
    let name = settings.resolve(text).map_err(|setting| {
        let message = format!("'%{setting}%' does not resolve to a value");
        let help = format!("set {setting} in Values of local.settings.json or in the environment");
        Problem::new(Code::MissingSetting, message, node.origin()).help(help)
    })?;
    let valid = (3..=45).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric());
    if valid {
        return Ok(Some(name));
    }
    let message = format!(
        "Task hub name '{name}' should contain only alphanumeric characters, start with a letter, and have length between \
         3 and 45."
    );
    Err(Problem::new(Code::HostJsonValue, message, node.origin()))
}

fn read_durable_task(section: &Section<'_>, settings: &Settings, report: &mut Report) -> DurableTaskOptions {
    let default = DurableTaskOptions::default();
    let hub_name = report.keep(hub_name(section, settings)).flatten().unwrap_or(default.hub_name);
    let states = section.string("overridableExistingInstanceStates").and_then(|found| {
        let Some((text, node)) = found else { return Ok(default.overridable_existing_instance_states) };
        text.parse().map_err(|_: String| {
            section.invalid("overridableExistingInstanceStates", "NonRunningStates, AnyState or None", node)
        })
    });
    let states = report.keep_or(default.overridable_existing_instance_states, states);
    let mut positive = |key, default| report.keep_or(default, section.positive(key, default));
    let activities = positive("maxConcurrentActivityFunctions", default.max_concurrent_activity_functions);
    let orchestrators = positive("maxConcurrentOrchestratorFunctions", default.max_concurrent_orchestrator_functions);
    let entities = positive("maxConcurrentEntityFunctions", default.max_concurrent_entity_functions);
    let batch = positive("maxEntityOperationBatchSize", default.max_entity_operation_batch_size);
    let actions = positive("maxOrchestrationActions", default.max_orchestration_actions);
    let http = section.section("httpSettings", report);
    let sleep_ms = default.default_async_request_sleep_time.as_millis() as u64;
    let sleep = http.number("defaultAsyncRequestSleepTimeMilliseconds", sleep_ms, (1, u64::from(u32::MAX)));
    DurableTaskOptions {
        hub_name,
        max_concurrent_activity_functions: activities,
        max_concurrent_orchestrator_functions: orchestrators,
        max_concurrent_entity_functions: entities,
        max_entity_operation_batch_size: batch,
        max_orchestration_actions: actions,
        overridable_existing_instance_states: states,
        default_async_request_sleep_time: Duration::from_millis(report.keep_or(sleep_ms, sleep)),
        use_forwarded_host: report
            .keep_or(default.use_forwarded_host, http.bool("useForwardedHost", default.use_forwarded_host)),
    }
}

fn read_soloist(section: &Section<'_>, report: &mut Report) -> SoloistOptions {
    let default = SoloistOptions::default();
    let outbound_allow = read_outbound_allow(section, report);
    let allowed_hosts = read_allowed_hosts(section, report);
    let retention = read_retention(&section.section("retention", report), report);
    let cors = read_cors(section, report);
    let tls = read_tls(section, report);
    let azure_status_codes = report.keep_or(false, section.bool("azureStatusCodes", default.azure_status_codes));
    // The bounds are those of the table.
    let mut number = |key: &str, default: u64| {
        let Some(Kind::Number(min, max)) = keys::find(&section.path_of(key)).map(|key| key.kind) else {
            unreachable!("{key} is a number in the table of keys")
        };
        report.keep_or(default, section.number(key, default, (min, max)))
    };
    let guest_cpu_ms = number("guestCpuMilliseconds", default.guest_cpu.as_millis() as u64);
    SoloistOptions {
        guest_cpu: Duration::from_millis(guest_cpu_ms),
        guest_memory_bytes: number("guestMemoryBytes", default.guest_memory_bytes),
        max_request_bytes: number("maxRequestBytes", default.max_request_bytes),
        max_response_bytes: number("maxResponseBytes", default.max_response_bytes),
        max_component_bytes: number("maxComponentBytes", default.max_component_bytes),
        max_payload_bytes: number("maxPayloadBytes", default.max_payload_bytes),
        json_depth: number("jsonDepth", default.json_depth as u64) as usize,
        resident_bytes: number("residentBytes", default.resident_bytes),
        max_concurrent_guests: number("maxConcurrentGuests", default.max_concurrent_guests as u64) as usize,
        request_queue: Duration::from_secs(number("requestQueueSeconds", default.request_queue.as_secs())),
        azure_status_codes,
        outbound_allow,
        allowed_hosts,
        retention,
        cors,
        tls,
    }
}

fn read_retention(section: &Section<'_>, report: &mut Report) -> RetentionOptions {
    let mut kept = |key| {
        let node = section.value(key)?;
        let text = node.scalar_text().unwrap_or_default();
        if text.trim() == "-1" {
            return None;
        }
        let kept = time_span::parse(&text).filter(|kept| *kept >= Duration::from_secs(1));
        let wanted = "a time span of at least a second as [d.]hh:mm:ss (7.00:00:00 is seven days), or -1 for ever";
        report.keep(kept.ok_or_else(|| section.invalid(key, wanted, node)))
    };
    RetentionOptions { completed: kept("completed"), failed: kept("failed"), terminated: kept("terminated") }
}

fn read_allowed_hosts(section: &Section<'_>, report: &mut Report) -> Vec<AllowedHost> {
    let help = "give example.org, *.example.org, an IP address or *, without a port";
    read_rules(section, "allowedHosts", help, report)
}

fn read_outbound_allow(section: &Section<'_>, report: &mut Report) -> Vec<OutboundRule> {
    let help = "give a host name, an IP address, a range such as 10.0.0.0/8, or *, each with a port (example.com:443, \
                [::1]:443) or without";
    read_rules(section, "outboundAllow", help, report)
}

/// The texts of a list, each read as a rule.
fn read_rules<T: std::str::FromStr<Err = String>>(
    section: &Section<'_>,
    key: &str,
    help: &str,
    report: &mut Report,
) -> Vec<T> {
    let Some(node) = section.value(key) else { return Vec::new() };
    let texts = report.keep_or(None, section.strings(key)).unwrap_or_default();
    let rules = texts.iter().map(|text| {
        text.trim().parse().map_err(|reason: String| {
            let message = format!("host.json: {} holds '{text}': {reason}", section.path_of(key));
            Problem::new(Code::HostJsonValue, message, node.origin()).help(help)
        })
    });
    rules.filter_map(|rule| report.keep(rule)).collect()
}

/// Reports the keys that nothing here knows, each, and those that have no effect here, at once.
fn note_keys(top: &Node, report: &mut Report) {
    let mut without_effect = Vec::new();
    note_section_keys("", top, &mut without_effect, report);
    let Some((_, origin)) = without_effect.first() else { return };
    let names: Vec<&str> = without_effect.iter().map(|(path, _)| path.as_str()).collect();
    let message = format!("host.json has keys that have no effect here: {}", names.join(", "));
    let problem = Problem::new(Code::NotApplicable, message, origin.clone());
    report.note(problem.help("they are for Azure Functions; docs/configuration.md says what stands for each"));
}

fn note_section_keys(section: &str, node: &Node, without_effect: &mut Vec<(String, Origin)>, report: &mut Report) {
    for property in node.properties() {
        let path = if section.is_empty() { property.name.clone() } else { format!("{section}.{}", property.name) };
        match keys::find(&path) {
            Some(key) if key.kind == Kind::NotApplicable => without_effect.push((path, property.origin())),
            Some(key) if key.kind == Kind::Section => {
                note_section_keys(key.path, &property.node, without_effect, report);
            }
            Some(_) => {}
            None => {
                let known = KEYS.iter().filter(|key| key.is_in(section)).map(keys::Key::name);
                let problem = Problem::new(
                    Code::HostJsonKey,
                    format!("host.json has no key '{path}': it has no effect"),
                    property.origin(),
                )
                .similar(&property.name, known)
                .or_similar(|| misplaced(&property.name));
                // What Azure's other extensions read is no mistake.
                match section == "extensions" && problem.did_you_mean.is_none() {
                    true => without_effect.push((path, property.origin())),
                    false => report.note(problem),
                }
            }
        }
    }
}

/// The path of the key that has this name at another place.
fn misplaced(name: &str) -> Option<&'static str> {
    let mut named = KEYS.iter().filter(|key| key.name().eq_ignore_ascii_case(name) && key.kind != Kind::NotApplicable);
    named.next().map(|key| key.path).filter(|_| named.next().is_none())
}

/// Where the value of each key comes from that is there.
fn origins(top: &Node) -> BTreeMap<&'static str, Origin> {
    let node_at = |path: &str| path.split('.').try_fold(top, Node::get).filter(|node| !node.is_null());
    let origin = |node: &Node| node.setting_within().unwrap_or_else(|| node.origin());
    KEYS.iter().filter(|key| key.has_effect()).filter_map(|key| Some((key.path, origin(node_at(key.path)?)))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::durable::OverridableStates;

    fn load_with(text: &str, environment: &[(&str, &str)]) -> (HostJson, Report) {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::write(folder.path().join("host.json"), text).expect("write host.json");
        let environment: BTreeMap<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut report = Report::default();
        let settings = Settings::load(folder.path(), environment, &mut report);
        let host_json = HostJson::load(folder.path(), &settings, &mut report);
        (host_json, report)
    }

    fn load(text: &str) -> HostJson {
        let (host_json, report) = load_with(text, &[]);
        assert_eq!(report.first_error(), None, "{text}");
        host_json
    }

    fn message(text: &str) -> String {
        let (_, report) = load_with(text, &[]);
        let error = report.first_error().expect(text);
        format!("{error}{}", error.help.as_deref().unwrap_or_default())
    }

    #[test]
    fn headers_that_would_break_an_answer_are_refused_and_the_last_of_one_name_counts() {
        let with = |headers: &str| {
            let text = format!(
                r#"{{ "version": "2.0", "extensions": {{ "http": {{ "customHeaders": {{ {headers} }} }} }} }}"#
            );
            load_with(&text, &[])
        };
        for name in ["Content-Length", "transfer-encoding", "Connection", "Upgrade"] {
            let (_, report) = with(&format!(r#""{name}": "5""#));
            let error = report.first_error().expect(name).to_string();
            assert!(error.contains(&format!("customHeaders.{name} says how an answer is carried")), "{error}");
        }
        let (host_json, report) = with(r#""x-a": "1", "X-A": "2""#);
        assert_eq!(report.first_error(), None);
        assert_eq!(host_json.http.custom_headers.into_iter().collect::<Vec<_>>(), [("X-A".into(), "2".into())]);
    }

    #[test]
    fn a_missing_or_empty_file_means_the_defaults_and_nothing_is_written() {
        let folder = tempfile::tempdir().expect("temp folder");
        let mut report = Report::default();
        let host_json = HostJson::load(folder.path(), &Settings::default(), &mut report);
        assert_eq!((host_json, report), (HostJson::default(), Report::default()));
        assert!(!folder.path().join("host.json").exists());
        for text in ["", " \n", "{}", "// nothing\n"] {
            assert_eq!(load(text), HostJson::default(), "{text:?}");
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
        );
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
        assert_eq!(host_json.origins.len(), 21);
        assert_eq!(host_json.origins["functionTimeout"].position().map(|at| (at.line, at.column)), Some((5, 34)));
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
        assert!(message("{\n \"version\": \"3.0\" }").contains("host.json:2:13)"));
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
        let (host_json, report) = load_with(
            text,
            &[
                ("AzureFunctionsJobHost__extensions__http__routePrefix", ""),
                ("azurefunctionsjobhost__Extensions__Soloist__ResidentBytes", "0"),
                ("AzureFunctionsJobHost__functionTimeout", "-1"),
                ("AzureFunctionsJobHost__functions__0", "Only"),
            ],
        );
        assert_eq!(report, Report::default());
        assert_eq!(host_json.http.route_prefix, "");
        assert_eq!(host_json.soloist.resident_bytes, 0);
        assert_eq!(host_json.function_timeout, None);
        assert_eq!(host_json.functions, Some(vec!["Only".to_owned()]));
        let (_, report) = load_with(text, &[("AzureFunctionsJobHost__extensions__soloist__jsonDepth", "x")]);
        let error = report.first_error().expect("not a number").to_string();
        assert!(error.ends_with("(setting AzureFunctionsJobHost__extensions__soloist__jsonDepth)"), "{error}");
    }

    #[test]
    fn what_a_network_needs_is_read_and_checked() {
        let (host_json, report) = load_with(
            r#"{"version":"2.0","extensions":{"http":{"dynamicThrottlesEnabled":true,
                "hsts":{"isEnabled":true,"maxAge":"10","includeSubDomains":true}},
                "soloist":{"cors":{"allowedOrigins":["https://a.test"],"supportCredentials":true},
                "tls":{"certificateFile":"host.crt"}}}}"#,
            &[("AzureFunctionsJobHost__extensions__soloist__tls__keyFile", "host.key")],
        );
        assert_eq!(report, Report::default());
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
    fn log_levels_are_read_by_category_and_a_wrong_one_names_its_place() {
        let (host_json, report) = load_with(
            r#"{"version":"2.0","logging":{"LogLevel":{"default":"warning","Function.Charge.User":"Trace","Host":null}}}"#,
            &[("AzureFunctionsJobHost__logging__logLevel__Host.Triggers.DurableTask", "None")],
        );
        assert_eq!(report, Report::default());
        let levels: Vec<_> = host_json.log_levels.iter().map(|(name, level)| (name.as_str(), level.as_str())).collect();
        let wanted = [("Function.Charge.User", "Trace"), ("Host.Triggers.DurableTask", "None"), ("default", "Warning")];
        assert_eq!(levels, wanted);
        let (host_json, report) = load_with(
            "{\"version\":\"2.0\",\"logging\":{\"logLevel\":{\n\"default\":\"Waning\",\"Host\":{},\"Function\":\"Error\"}}}",
            &[],
        );
        let found: Vec<_> =
            report.diagnostics().iter().map(|found| (found.to_string(), found.did_you_mean.clone())).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        let wanted = "logging.logLevel.default must be one of Trace, Debug, Information, Warning, Error, Critical, None, not 'Waning'";
        assert!(found[0].0.contains(wanted) && found[0].0.ends_with("host.json:2:11)"), "{found:?}");
        assert_eq!(found[0].1.as_deref(), Some("Warning"));
        assert!(found[1].0.contains("logging.logLevel.Host must be one of"), "{found:?}");
        assert_eq!(host_json.log_levels.len(), 1, "the right one holds");
    }

    #[test]
    fn every_wrong_value_is_reported_and_the_right_ones_hold() {
        let (host_json, report) = load_with(
            r#"{ "version": "1.0", "functionTimeout": true, "functions": 7, "extensions": {
                "http": [], "durableTask": { "hubName": "x", "maxOrchestrationActions": -1 },
                "soloist": { "jsonDepth": 0, "residentBytes": 1, "allowedHosts": ["a b", "c"] } } }"#,
            &[],
        );
        let codes: Vec<&str> = report.diagnostics().iter().map(|found| found.code.as_str()).collect();
        assert_eq!(codes, ["S0102", "S0103", "S0103", "S0103", "S0103", "S0103", "S0103", "S0103"]);
        assert_eq!((host_json.soloist.resident_bytes, host_json.soloist.allowed_hosts.len()), (1, 1));
        assert_eq!(host_json.soloist.json_depth, 128);
    }

    #[test]
    fn keys_without_effect_are_named_in_one_warning_and_unknown_ones_each() {
        let (_, report) = load_with(
            r#"{"version":"2.0","logging":{"logLevel":{"default":"Error"},"fileLoggingMode":"always"},"foo":1,"extensionBundle":{},"functionTimeuot":"1",
                "residentBytes":1,"extensions":{"soloist":{"residentByte":1},"queues":{},"durabletask":{"storageProvider":{"type":"mssql"}}}}"#,
            &[("AzureFunctionsJobHost__extensions__soloist__nothing", "1")],
        );
        let found: Vec<_> = report
            .diagnostics()
            .iter()
            .map(|found| (found.code.as_str(), found.message.as_str(), found.did_you_mean.as_deref()))
            .collect();
        assert_eq!(
            found,
            [
                ("S0104", "host.json has no key 'foo': it has no effect", None),
                ("S0104", "host.json has no key 'functionTimeuot': it has no effect", Some("functionTimeout")),
                (
                    "S0104",
                    "host.json has no key 'residentBytes': it has no effect",
                    Some("extensions.soloist.residentBytes")
                ),
                (
                    "S0104",
                    "host.json has no key 'extensions.soloist.residentByte': it has no effect",
                    Some("residentBytes")
                ),
                ("S0104", "host.json has no key 'extensions.soloist.nothing': it has no effect", None),
                (
                    "S0105",
                    "host.json has keys that have no effect here: logging.fileLoggingMode, extensionBundle, extensions.queues, \
                     extensions.durableTask.storageProvider",
                    None
                ),
            ]
        );
    }
}
