//! The list of bindings: each read, then all checked together.

use std::collections::BTreeSet;

use super::keys::{BINDING_KEYS, BINDING_TYPES, binding_type};
use super::value::{one_of, string, value};
use crate::app::diagnostic::{Code, Problem, Report, closest};
use crate::app::function::ClientBinding;
use crate::app::host_json::HostJson;
use crate::app::json::{Node, Value};
use crate::durable::OverridableStates;

/// One entry of `bindings`.
pub(super) struct Binding<'a> {
    pub node: &'a Node,
    /// Its type in lower case; empty if it has none.
    pub kind: String,
    pub name: String,
    direction: Option<Direction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
    InOut,
}

/// The bindings of a function.
pub(super) struct Bindings<'a> {
    bindings: Vec<Binding<'a>>,
}

impl<'a> Bindings<'a> {
    /// The first trigger, if its type is served.
    pub fn trigger(&self) -> Option<&Binding<'a>> {
        self.bindings.iter().find(|binding| binding.is_trigger() && binding_type(&binding.kind).is_some())
    }

    /// The durable client that the function may use, if it is bound. Its problems were reported already.
    pub fn client(&self, report: &mut Report) -> Option<ClientBinding> {
        let binding = self.bindings.iter().find(|binding| binding.is_client())?;
        let overridable_existing_instance_states = report.keep_or(None, overridable_states(binding));
        Some(ClientBinding { name: binding.name.clone(), overridable_existing_instance_states })
    }

    /// The name of the http output binding, if there is one.
    pub fn http_output(&self) -> Option<String> {
        self.bindings.iter().find(|binding| binding.kind == "http").map(|binding| binding.name.clone())
    }
}

impl Binding<'_> {
    fn is_trigger(&self) -> bool {
        self.kind.ends_with("trigger")
    }

    fn is_client(&self) -> bool {
        matches!(self.kind.as_str(), "durableclient" | "orchestrationclient")
    }

    fn problem(&self, code: Code, message: impl Into<String>, key: &str) -> Problem {
        Problem::new(code, message, self.node.get(key).unwrap_or(self.node).origin())
    }
}

/// Reads and checks the bindings.
pub(super) fn read<'n>(root: &'n Node, host_json: &HostJson, report: &mut Report) -> Bindings<'n> {
    let list = value(root, "bindings");
    let origin = list.unwrap_or(root).origin();
    let elements: &[Node] = match list.map(Node::value) {
        None => &[],
        Some(Value::Array(elements)) => elements,
        Some(_) => {
            let message = "Error parsing function.json: 'bindings' must be an array.";
            report.note(Problem::new(Code::FunctionJsonValue, message, origin));
            return Bindings { bindings: Vec::new() };
        }
    };
    if elements.is_empty() {
        let message = "At least one binding must be declared.";
        let is_close = |name: &str| !name.eq_ignore_ascii_case("bindings") && closest(name, ["bindings"]).is_some();
        report.note(match root.properties().iter().find(|property| is_close(&property.name)) {
            Some(misspelt) => {
                Problem::new(Code::NoBindings, message, misspelt.origin()).similar(&misspelt.name, ["bindings"])
            }
            None => Problem::new(Code::NoBindings, message, origin),
        });
        return Bindings { bindings: Vec::new() };
    }
    let bindings: Vec<Binding<'n>> = elements.iter().filter_map(|node| binding(node, report)).collect();
    check_triggers(root, &bindings, report);
    check_names(&bindings, report);
    for binding in &bindings {
        report.keep(check_kind(binding));
        let own = binding_type(&binding.kind).map_or(&[][..], |kind| kind.keys);
        if !binding.kind.is_empty() && binding_type(&binding.kind).is_some() {
            super::note_keys(binding.node, &[BINDING_KEYS, own], report);
        }
    }
    check_client(&bindings, host_json, report);
    Bindings { bindings }
}

/// One binding; none if it is no object.
fn binding<'n>(node: &'n Node, report: &mut Report) -> Option<Binding<'n>> {
    report.keep(node.expect_object("a binding", Code::FunctionJsonValue))?;
    let name = report.keep_or(None, string(node, "name")).unwrap_or_default().to_owned();
    let direction = match value(node, "direction") {
        None => Some(Direction::In),
        Some(direction) => match direction.scalar_text().unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "in" => Some(Direction::In),
            "out" => Some(Direction::Out),
            "inout" => Some(Direction::InOut),
            _ => {
                let text = direction.scalar_text().unwrap_or_default();
                let message = format!("'{text}' is not a valid binding direction.");
                report.note(Problem::new(Code::Direction, message, direction.origin()));
                None
            }
        },
    };
    report.keep(one_of(node, "dataType", "DataType", &["string", "binary", "stream", "undefined"]));
    report.keep(one_of(node, "cardinality", "Cardinality", &["one", "many"]));
    let kind = match string(node, "type") {
        Ok(kind) => kind.unwrap_or_default(),
        Err(problem) => {
            report.note(problem);
            return Some(Binding { node, kind: String::new(), name, direction });
        }
    };
    if kind.is_empty() {
        let message = format!("Binding '{name}' is invalid. Bindings must specify a Type.");
        let keys = node.properties().iter().map(|property| property.name.as_str());
        report.note(Problem::new(Code::NoBindingType, message, node.origin()).similar("type", keys));
    }
    Some(Binding { node, kind: kind.to_ascii_lowercase(), name, direction })
}

/// A function has one trigger.
fn check_triggers(root: &Node, bindings: &[Binding<'_>], report: &mut Report) {
    let mut triggers = bindings.iter().filter(|binding| binding.is_trigger());
    if let (Some(_), Some(second)) = (triggers.next(), triggers.next()) {
        let message = "Multiple trigger bindings defined. A function can only have a single trigger binding.";
        report.note(Problem::new(Code::ManyTriggers, message, second.node.origin()).help("make two functions of it"));
    }
    // One without a type, or of a misspelt one, may be the trigger: that is reported, and enough.
    let is_known = |binding: &Binding<'_>| !binding.kind.is_empty() && binding_type(&binding.kind).is_some();
    if !bindings.iter().any(Binding::is_trigger) && bindings.iter().all(is_known) {
        let message = "No trigger binding specified. A function must have a trigger input binding.";
        let origin = value(root, "bindings").unwrap_or(root).origin();
        let names = BINDING_TYPES.iter().map(|kind| kind.names[0]).filter(|name| name.ends_with("Trigger"));
        let help = format!("add a binding of the type {}", names.collect::<Vec<_>>().join(", "));
        report.note(Problem::new(Code::NoTrigger, message, origin).help(help));
    }
}

fn check_names(bindings: &[Binding<'_>], report: &mut Report) {
    let mut names = BTreeSet::new();
    for binding in bindings {
        if !is_binding_name(&binding.name) {
            let message =
                format!("The binding name {} is invalid. Please assign a valid name to the binding.", binding.name);
            let problem = binding.problem(Code::BindingName, message, "name");
            report.note(problem.help("a letter, then letters and digits; or $return"));
        }
        if binding.name == "$return" && binding.direction.is_some_and(|direction| direction != Direction::Out) {
            let message = "$return bindings must specify a direction of 'out'.";
            report.note(binding.problem(Code::Direction, message, "name"));
        }
        if !binding.name.is_empty() && !names.insert(binding.name.to_ascii_lowercase()) {
            let message =
                format!("Multiple bindings with name '{}' discovered. Binding names must be unique.", binding.name);
            report.note(binding.problem(Code::DuplicateBinding, message, "name"));
        }
    }
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
    // Reported already.
    if kind.is_empty() {
        return Ok(());
    }
    let kind_text = string(binding.node, "type")?.unwrap_or_default();
    let Some(known) = binding_type(kind) else {
        return Err(unknown_kind(binding, kind_text));
    };
    let wanted = if known.direction == "in" { Direction::In } else { Direction::Out };
    if direction.is_none_or(|direction| direction == wanted) || name == "$return" && wanted == Direction::In {
        return Ok(());
    }
    Err(match kind.as_str() {
        "durableclient" | "orchestrationclient" => binding.problem(
            Code::Direction,
            format!(
                "the binding '{name}' of type '{kind_text}' must have the direction 'in': starting orchestrations through \
                 an output binding is not supported yet, call start_new of the bound client instead"
            ),
            "direction",
        ),
        "http" => {
            let message = format!("the binding '{name}' of type 'http' must have the direction 'out'");
            binding.problem(Code::Direction, message, "direction")
        }
        _ => {
            let message = format!("the trigger binding '{name}' must have the direction 'in'");
            binding.problem(Code::Direction, message, "direction")
        }
    })
}

fn unknown_kind(binding: &Binding<'_>, kind: &str) -> Problem {
    let supported: Vec<&str> = BINDING_TYPES.iter().flat_map(|kind| kind.names).copied().collect();
    let message = format!(
        "the binding type '{kind}' of binding '{}' is not supported: supported are {}",
        binding.name,
        supported.join(", ")
    );
    binding.problem(Code::BindingType, message, "type").similar(kind, supported)
}

/// A durable client is for functions with effects, one for each, and of this app's task hub.
fn check_client(bindings: &[Binding<'_>], host_json: &HostJson, report: &mut Report) {
    let mut clients = bindings.iter().filter(|binding| binding.is_client());
    let Some(binding) = clients.next() else { return };
    if let Some(second) = clients.next() {
        let message = format!("the binding '{}' is a second durable client: one is enough for a function", second.name);
        report.note(Problem::new(Code::ClientNotAllowed, message, second.node.origin()));
    }
    if bindings.iter().any(|binding| matches!(binding.kind.as_str(), "orchestrationtrigger" | "entitytrigger")) {
        let message = format!(
            "the binding '{}' is not allowed here: orchestrators and entities cannot use a durable client, call it in an \
             activity",
            binding.name
        );
        report.note(Problem::new(Code::ClientNotAllowed, message, binding.node.origin()));
    }
    let hub = &host_json.durable_task.hub_name;
    let task_hub = report.keep_or(None, string(binding.node, "taskHub")).unwrap_or_default();
    if !task_hub.is_empty() && !task_hub.eq_ignore_ascii_case(hub) {
        let message = format!(
            "the task hub '{task_hub}' is not served here: leave 'taskHub' out, or name the app's own, '{hub}'"
        );
        report.note(binding.problem(Code::OtherTaskHub, message, "taskHub"));
    }
    report.keep(overridable_states(binding));
}

fn overridable_states(binding: &Binding<'_>) -> Result<Option<OverridableStates>, Problem> {
    let states = ["nonrunningstates", "anystate", "none"];
    let text = one_of(binding.node, "overridableExistingInstanceStates", "OverridableStates", &states)?;
    Ok(text.and_then(|text| text.parse::<OverridableStates>().ok()))
}
