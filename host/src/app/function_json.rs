//! Reads one `function.json` and checks it. The texts are the original's where it has one.

use std::path::Path;

use super::error::{Origin, Problem};
use super::function::{AuthLevel, ClientBinding, Function, HttpTrigger, Retry, TimerTrigger, Trigger};
use super::host_json::HostJson;
use super::json::{Document, Node, Value};
use super::route::RouteTemplate;
use super::schedule::{self, Schedule};
use super::settings::Settings;
use super::{script, time_span};
use crate::durable::OverridableStates;

/// The binding types that work here.
const SUPPORTED: &str = "httpTrigger, http (out), orchestrationTrigger, activityTrigger, entityTrigger, timerTrigger, \
                         durableClient and orchestrationClient";

/// What reading a function needs to know about its app.
pub(super) struct Surroundings<'a> {
    /// The app folder, without symbolic links.
    pub root: &'a Path,
    pub host_json: &'a HostJson,
    pub settings: &'a Settings,
}

/// A function, and where to point if it conflicts with another one.
pub(super) struct Parsed {
    pub function: Function,
    /// Where its route or its durable name is written.
    pub trigger_origin: Origin,
}

/// One entry of `bindings`.
struct Binding<'a> {
    node: &'a Node,
    kind: String,
    name: String,
    direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
    InOut,
}

/// Reads the function in `folder`, whose `function.json` holds `bytes`.
pub(super) fn read(
    surroundings: &Surroundings<'_>,
    name: &str,
    folder: &Path,
    bytes: Vec<u8>,
) -> Result<Parsed, Problem> {
    let file = folder.join("function.json");
    let whole = Origin::File { file: file.clone(), position: None };
    let document = Document::parse(&file, bytes)
        .map_err(|problem| Problem::new(format!("Error parsing function.json: {}", problem.message), problem.origin))?;
    let mut root = document.into_root().ok_or_else(|| Problem::new("At least one binding must be declared.", whole))?;
    root.expect_object("function.json")?;
    root.map_strings(&|text| {
        surroundings.settings.resolve(text).map_err(|setting| {
            format!(
                "'%{setting}%' does not resolve to a value: set {setting} in Values of local.settings.json or in the \
                 environment"
            )
        })
    })?;
    check_configuration_source(&root, name)?;
    let bindings = bindings(&root)?;
    let trigger_binding = check_bindings(&root, &bindings)?;
    let trigger = trigger(trigger_binding, name, surroundings.settings)?;
    let client = client(&bindings, &trigger, surroundings.host_json)?;
    let http_output = bindings.iter().find(|binding| binding.kind == "http").map(|binding| binding.name.clone());
    let script_file = string(&root, "scriptFile")?;
    let handler = string(&root, "entryPoint")?.unwrap_or(name).to_owned();
    let script = script::find(surroundings.root, folder, script_file).map_err(|message| {
        let origin = root.get("scriptFile").unwrap_or(&root).origin();
        Problem::new(message, origin)
    })?;
    let function = Function {
        name: name.to_owned(),
        folder: folder.to_owned(),
        script,
        handler,
        trigger_binding: trigger_binding.name.clone(),
        client,
        http_output,
        disabled: disabled(&root, name, surroundings.settings)?,
        retry: retry(&root)?,
        trigger,
    };
    Ok(Parsed { function, trigger_origin: trigger_origin(trigger_binding) })
}

fn check_configuration_source(root: &Node, function: &str) -> Result<(), Problem> {
    let Some(node) = value(root, "configurationSource") else {
        return Ok(());
    };
    let text = node.scalar_text().unwrap_or_default();
    if ["attributes", "config"].iter().any(|known| known.eq_ignore_ascii_case(&text)) {
        return Ok(());
    }
    let message = format!("Illegal value '{text}' for 'configurationSource' property in {function}'.");
    Err(Problem::new(message, node.origin()))
}

fn bindings(root: &Node) -> Result<Vec<Binding<'_>>, Problem> {
    match value(root, "bindings").map(|node| (node, node.value())) {
        None => Ok(Vec::new()),
        Some((_, Value::Array(elements))) => elements.iter().map(binding).collect(),
        Some((node, _)) => {
            Err(Problem::new("Error parsing function.json: 'bindings' must be an array.", node.origin()))
        }
    }
}

fn binding(node: &Node) -> Result<Binding<'_>, Problem> {
    node.expect_object("a binding")?;
    let name = string(node, "name")?.unwrap_or_default().to_owned();
    let direction = match value(node, "direction") {
        None => Direction::In,
        Some(direction) => match direction.scalar_text().unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "in" => Direction::In,
            "out" => Direction::Out,
            "inout" => Direction::InOut,
            _ => {
                let text = direction.scalar_text().unwrap_or_default();
                return Err(Problem::new(format!("'{text}' is not a valid binding direction."), direction.origin()));
            }
        },
    };
    one_of(node, "dataType", "DataType", &["string", "binary", "stream", "undefined"])?;
    one_of(node, "cardinality", "Cardinality", &["one", "many"])?;
    let kind = string(node, "type")?.unwrap_or_default();
    if kind.is_empty() {
        let message = format!("Binding '{name}' is invalid. Bindings must specify a Type.");
        return Err(Problem::new(message, node.origin()));
    }
    Ok(Binding { node, kind: kind.to_ascii_lowercase(), name, direction })
}

/// Checks the bindings together and gives the trigger.
fn check_bindings<'b, 'n>(root: &Node, bindings: &'b [Binding<'n>]) -> Result<&'b Binding<'n>, Problem> {
    let list_origin = || value(root, "bindings").unwrap_or(root).origin();
    if bindings.is_empty() {
        return Err(Problem::new("At least one binding must be declared.", list_origin()));
    }
    let mut triggers = bindings.iter().filter(|binding| binding.kind.ends_with("trigger"));
    let trigger = triggers.next().ok_or_else(|| {
        Problem::new("No trigger binding specified. A function must have a trigger input binding.", list_origin())
    })?;
    if let Some(second) = triggers.next() {
        return Err(Problem::new(
            "Multiple trigger bindings defined. A function can only have a single trigger binding.",
            second.node.origin(),
        ));
    }
    let mut names = std::collections::BTreeSet::new();
    for binding in bindings {
        let origin = || binding.node.get("name").unwrap_or(binding.node).origin();
        if !is_binding_name(&binding.name) {
            let message =
                format!("The binding name {} is invalid. Please assign a valid name to the binding.", binding.name);
            return Err(Problem::new(message, origin()));
        }
        if binding.name == "$return" && binding.direction != Direction::Out {
            return Err(Problem::new("$return bindings must specify a direction of 'out'.", origin()));
        }
        if !names.insert(binding.name.to_ascii_lowercase()) {
            let message =
                format!("Multiple bindings with name '{}' discovered. Binding names must be unique.", binding.name);
            return Err(Problem::new(message, origin()));
        }
    }
    for binding in bindings {
        check_kind(binding)?;
    }
    Ok(trigger)
}

fn is_binding_name(name: &str) -> bool {
    name == "$return"
        || (name.len() <= 128
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Refuses binding types that are not served, and directions that they cannot have.
fn check_kind(binding: &Binding<'_>) -> Result<(), Problem> {
    let Binding { kind, name, direction, .. } = binding;
    let kind_text = string(binding.node, "type")?.unwrap_or_default();
    let origin_of = |key: &str| binding.node.get(key).unwrap_or(binding.node).origin();
    match (kind.as_str(), direction) {
        (
            "httptrigger" | "orchestrationtrigger" | "activitytrigger" | "entitytrigger" | "timertrigger",
            Direction::In,
        )
        | ("durableclient" | "orchestrationclient", Direction::In)
        | ("http", Direction::Out) => Ok(()),
        ("httptrigger" | "orchestrationtrigger" | "activitytrigger" | "entitytrigger" | "timertrigger", _) => {
            let message = format!("the trigger binding '{name}' must have the direction 'in'");
            Err(Problem::new(message, origin_of("direction")))
        }
        ("durableclient" | "orchestrationclient", _) => Err(Problem::new(
            format!(
                "the binding '{name}' of type '{kind_text}' must have the direction 'in': starting orchestrations through \
                 an output binding is not supported yet, call start_new of the bound client instead"
            ),
            origin_of("direction"),
        )),
        ("http", _) => {
            let message = format!("the binding '{name}' of type 'http' must have the direction 'out'");
            Err(Problem::new(message, origin_of("direction")))
        }
        _ => Err(Problem::new(
            format!("the binding type '{kind_text}' of binding '{name}' is not supported: supported are {SUPPORTED}"),
            origin_of("type"),
        )),
    }
}

fn trigger(binding: &Binding<'_>, function: &str, settings: &Settings) -> Result<Trigger, Problem> {
    let node = binding.node;
    let name = |key: &str| -> Result<String, Problem> {
        Ok(string(node, key)?.filter(|name| !name.is_empty()).unwrap_or(function).to_owned())
    };
    match binding.kind.as_str() {
        "httptrigger" => http_trigger(node, function).map(Trigger::Http),
        "orchestrationtrigger" => {
            let name = name("orchestration")?;
            if name.starts_with('@') {
                return Err(Problem::new("Orchestration names must not start with @.", trigger_origin(binding)));
            }
            Ok(Trigger::Orchestration { name })
        }
        "activitytrigger" => Ok(Trigger::Activity { name: name("activity")? }),
        "entitytrigger" => {
            let name = name("entityName")?;
            if name.contains('@') {
                let message = format!("the entity name '{name}' must not contain '@': entity ids are '@name@key'");
                return Err(Problem::new(message, trigger_origin(binding)));
            }
            Ok(Trigger::Entity { name })
        }
        "timertrigger" => timer_trigger(node, settings).map(Trigger::Timer),
        _ => unreachable!("check_kind refuses every other trigger type"),
    }
}

fn trigger_origin(binding: &Binding<'_>) -> Origin {
    ["route", "orchestration", "activity", "entityName"]
        .iter()
        .find_map(|key| value(binding.node, key))
        .unwrap_or(binding.node)
        .origin()
}

fn http_trigger(node: &Node, function: &str) -> Result<HttpTrigger, Problem> {
    let levels = ["anonymous", "user", "function", "system", "admin"];
    let auth_level = match one_of(node, "authLevel", "AuthorizationLevel", &levels)? {
        None => AuthLevel::default(),
        Some("anonymous") => AuthLevel::Anonymous,
        Some("user") => AuthLevel::User,
        Some("system") => AuthLevel::System,
        Some("admin") => AuthLevel::Admin,
        Some(_) => AuthLevel::Function,
    };
    let route_text = string(node, "route")?.filter(|route| !route.is_empty()).unwrap_or(function);
    let route = RouteTemplate::parse(route_text)
        .map_err(|error| Problem::new(error.to_string(), node.get("route").unwrap_or(node).origin()))?;
    Ok(HttpTrigger { auth_level, methods: methods(node)?, route })
}

fn methods(node: &Node) -> Result<Vec<String>, Problem> {
    let Some(list) = value(node, "methods") else {
        return Ok(Vec::new());
    };
    let invalid = |node: &Node| invalid(node, "methods", "type String[]");
    let Value::Array(elements) = list.value() else {
        return Err(invalid(list));
    };
    let mut methods = Vec::new();
    for element in elements {
        let method = element.as_str().ok_or_else(|| invalid(element))?.to_ascii_uppercase();
        if http::Method::from_bytes(method.as_bytes()).is_err() {
            return Err(invalid(element));
        }
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    Ok(methods)
}

fn timer_trigger(node: &Node, settings: &Settings) -> Result<TimerTrigger, Problem> {
    let text = string(node, "schedule")?.unwrap_or_default();
    let zone = schedule::time_zone(settings)
        .map_err(|message| Problem::new(message, Origin::Setting(schedule::TIME_ZONE_SETTING.to_owned())))?;
    let schedule = Schedule::parse(text, &zone).ok_or_else(|| {
        let message = format!(
            "The schedule expression '{text}' was not recognized as a valid cron expression or timespan string."
        );
        Problem::new(message, node.get("schedule").unwrap_or(node).origin())
    })?;
    Ok(TimerTrigger {
        schedule,
        run_on_startup: boolean(node, "runOnStartup")?.unwrap_or(false),
        use_monitor: boolean(node, "useMonitor")?.unwrap_or(true),
    })
}

fn client(bindings: &[Binding<'_>], trigger: &Trigger, host_json: &HostJson) -> Result<Option<ClientBinding>, Problem> {
    let mut clients = bindings.iter().filter(|binding| binding.kind.ends_with("client"));
    let Some(binding) = clients.next() else {
        return Ok(None);
    };
    if let Some(second) = clients.next() {
        return Err(Problem::new(
            format!("the binding '{}' is a second durable client: one is enough for a function", second.name),
            second.node.origin(),
        ));
    }
    if matches!(trigger, Trigger::Orchestration { .. } | Trigger::Entity { .. }) {
        return Err(Problem::new(
            format!(
                "the binding '{}' is not allowed here: orchestrators and entities cannot use a durable client, call it \
                 in an activity",
                binding.name
            ),
            binding.node.origin(),
        ));
    }
    let hub = &host_json.durable_task.hub_name;
    if let Some(task_hub) = string(binding.node, "taskHub")?
        && !task_hub.is_empty()
        && !task_hub.eq_ignore_ascii_case(hub)
    {
        return Err(Problem::new(
            format!(
                "the task hub '{task_hub}' is not served here: leave 'taskHub' out, or name the app's own, '{hub}'"
            ),
            binding.node.get("taskHub").unwrap_or(binding.node).origin(),
        ));
    }
    let key = "overridableExistingInstanceStates";
    let states = ["nonrunningstates", "anystate", "none"];
    let overridable_existing_instance_states = one_of(binding.node, key, "OverridableStates", &states)?
        .and_then(|text| text.parse::<OverridableStates>().ok());
    Ok(Some(ClientBinding { name: binding.name.clone(), overridable_existing_instance_states }))
}

/// `disabled` is a boolean or, as in version 1, the name of a setting.
fn disabled(root: &Node, function: &str, settings: &Settings) -> Result<bool, Problem> {
    let by_settings = settings.is_on(&format!("AzureWebJobs.{function}.Disabled"))
        || settings.is_on(&format!("AzureWebJobs__{function}__Disabled"));
    let by_file = match value(root, "disabled") {
        None => false,
        Some(node) => match (node.as_bool(), node.as_str()) {
            (Some(disabled), _) => disabled,
            (None, Some(text)) => text == "1" || settings.is_on(text),
            (None, None) => return Err(invalid(node, "disabled", "type Boolean")),
        },
    };
    Ok(by_settings || by_file)
}

fn retry(root: &Node) -> Result<Option<Retry>, Problem> {
    let Some(node) = value(root, "retry") else {
        return Ok(None);
    };
    node.expect_object("retry")?;
    let wrong = |key: &str, wanted: &str| {
        Problem::new(format!("retry: '{key}' must be {wanted}"), node.get(key).unwrap_or(node).origin())
    };
    let count = value(node, "maxRetryCount").and_then(Node::as_integer);
    let max_retry_count = match count {
        Some(-1) => None,
        Some(count) => Some(u32::try_from(count).map_err(|_| wrong("maxRetryCount", "a number, or -1 for no limit"))?),
        None => return Err(wrong("maxRetryCount", "a number, or -1 for no limit")),
    };
    let interval = |key: &str| {
        let text = value(node, key).and_then(Node::as_str);
        text.and_then(time_span::parse).ok_or_else(|| wrong(key, "a duration as hh:mm:ss"))
    };
    match one_of(node, "strategy", "RetryStrategy", &["fixeddelay", "exponentialbackoff"])? {
        Some("fixeddelay") => Ok(Some(Retry::FixedDelay { max_retry_count, delay: interval("delayInterval")? })),
        Some(_) => {
            let (minimum_interval, maximum_interval) = (interval("minimumInterval")?, interval("maximumInterval")?);
            if minimum_interval > maximum_interval {
                return Err(wrong("minimumInterval", "at most 'maximumInterval'"));
            }
            Ok(Some(Retry::ExponentialBackoff { max_retry_count, minimum_interval, maximum_interval }))
        }
        None => Err(wrong("strategy", "fixedDelay or exponentialBackoff")),
    }
}

fn invalid(node: &Node, key: &str, kind: &str) -> Problem {
    let message =
        format!("Error parsing function.json: Invalid value specified for binding property '{key}' of {kind}.");
    Problem::new(message, node.origin())
}

/// The property's value; null counts as absence.
fn value<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    node.get(key).filter(|node| !node.is_null())
}

fn string<'n>(node: &'n Node, key: &str) -> Result<Option<&'n str>, Problem> {
    let Some(node) = value(node, key) else {
        return Ok(None);
    };
    node.as_str().map(Some).ok_or_else(|| invalid(node, key, "type String"))
}

fn boolean(node: &Node, key: &str) -> Result<Option<bool>, Problem> {
    let Some(node) = value(node, key) else {
        return Ok(None);
    };
    node.as_bool().map(Some).ok_or_else(|| invalid(node, key, "type Boolean"))
}

/// The one of `values` (lower case) that a string property holds, without regard to case; none if absent or empty.
fn one_of<'v>(node: &Node, key: &str, kind: &str, values: &[&'v str]) -> Result<Option<&'v str>, Problem> {
    let Some(node) = value(node, key) else {
        return Ok(None);
    };
    let text = node.as_str().ok_or_else(|| invalid(node, key, &format!("enum type {kind}")))?;
    if text.is_empty() {
        return Ok(None);
    }
    let found = values.iter().find(|value| value.eq_ignore_ascii_case(text));
    found.copied().map(Some).ok_or_else(|| invalid(node, key, &format!("enum type {kind}")))
}
