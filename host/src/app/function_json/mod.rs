//! Reads one `function.json` and checks it. The texts are the original's where it has one.

mod bindings;
mod keys;
mod trigger;
mod value;

use std::path::Path;

pub use keys::{BINDING_KEYS, BINDING_TYPES, BindingType, FUNCTION_KEYS, FunctionKey, RETRY_KEYS};

use super::diagnostic::{Code, Problem, Report};
use super::error::Origin;
use super::function::{Function, Retry, Trigger};
use super::host_json::{HostJson, Kind};
use super::json::{Document, Node};
use super::script::{self, Search};
use super::settings::Settings;
use super::time_span;
use value::{invalid, one_of, string, value};

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

/// Reads the function in `folder`, whose `function.json` holds `bytes`. None if the report has got an error.
pub(super) fn read(
    surroundings: &Surroundings<'_>,
    name: &str,
    folder: &Path,
    bytes: Vec<u8>,
    report: &mut Report,
) -> Option<Parsed> {
    let root = root(&folder.join("function.json"), bytes, surroundings.settings, report)?;
    note_keys(&root, &[FUNCTION_KEYS], report);
    report.keep(check_configuration_source(&root, name));
    let bindings = bindings::read(&root, surroundings.host_json, report);
    let trigger_binding = bindings.trigger();
    let trigger = trigger_binding.and_then(|binding| trigger::read(binding, name, surroundings.settings, report));
    let retry_node = value(&root, "retry");
    if let Some(node) = retry_node {
        note_keys(node, &[RETRY_KEYS], report);
    }
    let retry = report.keep_or(None, retry(retry_node));
    note_retry(&root, retry.is_some(), trigger.as_ref(), report);
    let script_file = report.keep_or(None, string(&root, "scriptFile"));
    let handler = report.keep_or(None, string(&root, "entryPoint")).unwrap_or(name).to_owned();
    let origin = root.get("scriptFile").unwrap_or(&root).origin();
    let search = Search { root: surroundings.root, folder, script_file, origin: &origin };
    let script = report.keep(script::find(&search));
    let disabled = disabled(&root, name, surroundings.settings, report);
    let (trigger, trigger_binding, script) = (trigger?, trigger_binding?, script?);
    if report.first_error().is_some() {
        return None;
    }
    let function = Function {
        name: name.to_owned(),
        folder: folder.to_owned(),
        script,
        handler,
        trigger_binding: trigger_binding.name.clone(),
        client: bindings.client(report),
        http_output: bindings.http_output(),
        disabled,
        retry,
        trigger,
    };
    Some(Parsed { function, trigger_origin: trigger::origin(trigger_binding) })
}

/// The file's object, with settings in place of their names.
fn root(file: &Path, bytes: Vec<u8>, settings: &Settings, report: &mut Report) -> Option<Node> {
    let document = Document::parse(file, bytes, Code::FunctionJsonSyntax).map_err(|problem| {
        let message = format!("Error parsing function.json: {}", problem.message);
        problem.says(message)
    });
    let no_bindings = || Problem::new(Code::NoBindings, "At least one binding must be declared.", Origin::whole(file));
    let root = report.keep(document)?.into_root().ok_or_else(no_bindings);
    let mut root = report.keep(root)?;
    report.keep(root.expect_object("function.json", Code::FunctionJsonValue))?;
    root.note_duplicates(report);
    root.map_strings(&mut |text, origin| match settings.resolve(text) {
        Ok(resolved) => Some(resolved),
        Err(setting) => {
            let message = format!("'%{setting}%' does not resolve to a value");
            let help = format!("set {setting} in Values of local.settings.json or in the environment");
            report.note(Problem::new(Code::MissingSetting, message, origin).help(help));
            None
        }
    });
    Some(root)
}

/// Reports the keys of an object that are in none of the tables, and those that have no effect.
fn note_keys(node: &Node, tables: &[&[FunctionKey]], report: &mut Report) {
    for property in node.properties() {
        let known = || tables.iter().copied().flatten();
        match known().find(|key| key.name.eq_ignore_ascii_case(&property.name)) {
            Some(key) if key.kind == Kind::NotApplicable => {
                let message = format!("the key '{}' has no effect here", key.name);
                report.note(Problem::new(Code::FunctionJsonKey, message, property.origin()).help(key.meaning));
            }
            Some(_) => {}
            None => {
                let message = format!("there is no key '{}' here: it has no effect", property.name);
                let names = known().map(|key| key.name);
                let problem = Problem::new(Code::FunctionJsonKey, message, property.origin());
                report.note(problem.similar(&property.name, names));
            }
        }
    }
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
    Err(Problem::new(Code::FunctionJsonValue, message, node.origin()))
}

/// `disabled` is a boolean or, as in version 1, the name of a setting.
fn disabled(root: &Node, function: &str, settings: &Settings, report: &mut Report) -> bool {
    let by_settings = settings.disables(function);
    let by_file = match value(root, "disabled") {
        None => None,
        Some(node) => match (node.as_bool(), node.as_str()) {
            (Some(disabled), _) => disabled.then_some(node),
            (None, Some(text)) => (text == "1" || settings.is_on(text)).then_some(node),
            (None, None) => {
                report.note(invalid(node, "disabled", "type Boolean"));
                None
            }
        },
    };
    let origin = match (by_file, &by_settings) {
        (Some(node), _) => node.origin(),
        (None, Some(setting)) => Origin::Setting(setting.clone()),
        (None, None) => return false,
    };
    let message = format!("the function '{function}' is disabled");
    report.note(Problem::new(Code::Disabled, message, origin).help("it is not served until it is enabled"));
    true
}

/// Only timer functions are repeated by the host.
fn note_retry(root: &Node, has_retry: bool, trigger: Option<&Trigger>, report: &mut Report) {
    let (true, Some(trigger), Some(node)) = (has_retry, trigger, value(root, "retry")) else { return };
    let help = match trigger {
        Trigger::Timer(_) => return,
        Trigger::Activity { .. } => "give the call of the activity a retry policy, in the orchestrator",
        Trigger::Http(_) | Trigger::Orchestration { .. } | Trigger::Entity { .. } => "delete it",
    };
    let message = format!("'retry' has no effect on a function with the trigger {}", trigger.binding_type());
    report.note(Problem::new(Code::RetryWithoutEffect, message, node.origin()).help(help));
}

fn retry(node: Option<&Node>) -> Result<Option<Retry>, Problem> {
    let Some(node) = node else {
        return Ok(None);
    };
    node.expect_object("retry", Code::Retry)?;
    let wrong = |key: &str, wanted: &str| {
        let origin = node.get(key).unwrap_or(node).origin();
        Problem::new(Code::Retry, format!("retry: '{key}' must be {wanted}"), origin)
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
