//! Every key of `function.json` and every type of binding: one table for the reader and for the schema.

use crate::app::host_json::Kind;

/// A key of `function.json`, or of a binding in it.
#[derive(Debug, Clone, Copy)]
pub struct FunctionKey {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it does.
    pub meaning: &'static str,
}

/// A type of binding that is served.
#[derive(Debug, Clone, Copy)]
pub struct BindingType {
    /// Its name, which is also that of the older version of it, if there is one.
    pub names: &'static [&'static str],
    /// The direction that it must have; the first one if it has none.
    pub direction: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// Its own keys, beside [`BINDING_KEYS`].
    pub keys: &'static [FunctionKey],
}

const fn key(name: &'static str, kind: Kind, meaning: &'static str) -> FunctionKey {
    FunctionKey { name, kind, meaning }
}

/// The keys at the top of `function.json`.
pub const FUNCTION_KEYS: &[FunctionKey] = &[
    key("$schema", Kind::Text, "for editors: `soloist config schema function`"),
    key("bindings", Kind::Section, "what triggers the function, and what else it is bound to"),
    key("scriptFile", Kind::Text, "the component's file, relative to the function's folder"),
    key("entryPoint", Kind::Text, "what the component calls the function; default: the folder's name"),
    key("disabled", Kind::Bool, "true, or the name of a setting that is true: the function is not served"),
    key("retry", Kind::Section, "how a timer function that failed is repeated"),
    key("configurationSource", Kind::OneOf(&["config", "attributes"]), "accepted for compatibility"),
    key("generatedBy", Kind::Text, "accepted for compatibility"),
    key("language", Kind::Text, "accepted for compatibility"),
    key("functionDirectory", Kind::Text, "accepted for compatibility"),
    key("name", Kind::Text, "accepted for compatibility: the folder's name counts"),
    key("description", Kind::Text, "for people"),
];

/// The keys of `retry`.
pub const RETRY_KEYS: &[FunctionKey] = &[
    key("strategy", Kind::OneOf(&["fixedDelay", "exponentialBackoff"]), "how the waits grow"),
    key("maxRetryCount", Kind::Limit, "further attempts; -1: without end"),
    key("delayInterval", Kind::Span, "of fixedDelay: the wait before each"),
    key("minimumInterval", Kind::Span, "of exponentialBackoff: the first wait"),
    key("maximumInterval", Kind::Span, "of exponentialBackoff: no wait is longer"),
];

/// The keys that every binding may have.
pub const BINDING_KEYS: &[FunctionKey] = &[
    key("type", Kind::Text, "the kind of binding"),
    key("name", Kind::Pattern(r"^([a-zA-Z][a-zA-Z0-9]{0,127}|\$return)$"), "what the binding is called"),
    key("direction", Kind::OneOf(&["in", "out"]), "default: in"),
    key("dataType", Kind::OneOf(&["string", "binary", "stream", "undefined"]), "accepted for compatibility"),
    key("cardinality", Kind::OneOf(&["one", "many"]), "accepted for compatibility"),
];

/// The types of bindings that are served.
pub const BINDING_TYPES: &[BindingType] = &[
    BindingType {
        names: &["httpTrigger"],
        direction: "in",
        meaning: "a request to the function's route",
        keys: &[
            key(
                "authLevel",
                Kind::OneOf(&["anonymous", "function", "admin", "user", "system"]),
                "which key a caller needs; default: function",
            ),
            key("methods", Kind::Texts, "the methods that are answered; absent or empty: all"),
            key("route", Kind::Text, "the path below the prefix; default: the function's name"),
        ],
    },
    BindingType {
        names: &["orchestrationTrigger"],
        direction: "in",
        meaning: "the function is an orchestrator",
        keys: &[key("orchestration", Kind::Text, "what callers name; default: the function's name")],
    },
    BindingType {
        names: &["activityTrigger"],
        direction: "in",
        meaning: "the function is an activity",
        keys: &[key("activity", Kind::Text, "what orchestrators name; default: the function's name")],
    },
    BindingType {
        names: &["entityTrigger"],
        direction: "in",
        meaning: "the function is an entity",
        keys: &[key("entityName", Kind::Text, "the first half of its ids; default: the function's name")],
    },
    BindingType {
        names: &["timerTrigger"],
        direction: "in",
        meaning: "a schedule",
        keys: &[
            key("schedule", Kind::Text, "a cron expression of five or six fields, or a period as hh:mm:ss"),
            key("runOnStartup", Kind::Bool, "run when the host starts, too; default: false"),
            key("useMonitor", Kind::Bool, "make up for what was missed while the host was down; default: true"),
        ],
    },
    BindingType {
        names: &["durableClient", "orchestrationClient"],
        direction: "in",
        meaning: "the function may start and manage orchestrations",
        keys: &[
            key("taskHub", Kind::Text, "the app's own task hub, or absent"),
            key(
                "overridableExistingInstanceStates",
                Kind::OneOf(&["NonRunningStates", "AnyState", "None"]),
                "which existing instances a start by this function may replace; default: as host.json says",
            ),
            key("connectionName", Kind::NotApplicable, "there is no storage account"),
            key("externalClient", Kind::NotApplicable, "the client is this host's"),
        ],
    },
    BindingType { names: &["http"], direction: "out", meaning: "the response to a request", keys: &[] },
];

/// The type of binding of that name, in any case.
pub(in crate::app) fn binding_type(name: &str) -> Option<&'static BindingType> {
    BINDING_TYPES.iter().find(|kind| kind.names.iter().any(|own| own.eq_ignore_ascii_case(name)))
}
