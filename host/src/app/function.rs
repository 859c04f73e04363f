//! What a function is, as its `function.json` describes it.

use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Code;
use super::json::Document;
use super::route::RouteTemplate;
use super::schedule::Schedule;
use crate::durable::OverridableStates;

/// One deployed function: a folder with a valid `function.json` and an existing component file.
#[derive(Debug, Clone)]
pub struct Function {
    /// The folder's name, in the case that it has on disk. Function names compare without regard to case.
    pub name: String,
    /// The function's folder, below [`App::root`](super::App::root).
    pub folder: PathBuf,
    /// The component: an absolute path without symbolic links, inside the app folder. Several functions may share one.
    pub script: PathBuf,
    /// What the component is asked for: `entryPoint`, by default the function's name.
    pub handler: String,
    /// What makes the function run.
    pub trigger: Trigger,
    /// The trigger binding's `name`, for example `req` or `context`.
    pub trigger_binding: String,
    /// The durable client that the function may use, if it is bound.
    pub client: Option<ClientBinding>,
    /// The name of the http output binding (`res` or `$return`), if there is one.
    pub http_output: Option<String>,
    /// Switched off by `disabled` or by the app setting `AzureWebJobs.<function>.Disabled`. A disabled http function
    /// answers 404, any other one counts as not registered.
    pub disabled: bool,
    /// How the host repeats a failed run, if the function asks for it.
    pub retry: Option<Retry>,
}

impl Function {
    /// The http trigger, if that is what the function has.
    pub fn http(&self) -> Option<&HttpTrigger> {
        match &self.trigger {
            Trigger::Http(http) => Some(http),
            Trigger::Orchestration { .. } | Trigger::Activity { .. } | Trigger::Entity { .. } | Trigger::Timer(_) => {
                None
            }
        }
    }

    /// The function's `function.json` as it is written, without comments and with settings unresolved; none if it cannot be
    /// read any more.
    pub fn config_json(&self) -> Option<String> {
        let file = self.folder.join("function.json");
        let document = Document::parse(&file, std::fs::read(&file).ok()?, Code::FunctionJsonSyntax).ok()?;
        Some(document.root()?.to_json())
    }

    /// The names of all bindings with their types, trigger first, for people (`req: httpTrigger`).
    pub fn bindings(&self) -> Vec<String> {
        let mut bindings = vec![format!("{}: {}", self.trigger_binding, self.trigger.binding_type())];
        if let Some(client) = &self.client {
            bindings.push(format!("{}: durableClient", client.name));
        }
        if let Some(output) = &self.http_output {
            bindings.push(format!("{output}: http"));
        }
        bindings
    }
}

/// What makes a function run.
#[derive(Debug, Clone)]
pub enum Trigger {
    /// A request to the function's route.
    Http(HttpTrigger),
    /// The function is an orchestrator.
    Orchestration {
        /// What callers name: the binding's `orchestration`, by default the function's name. Compares without case.
        name: String,
    },
    /// The function is an activity.
    Activity {
        /// What orchestrators name: the binding's `activity`, by default the function's name. Compares without case.
        name: String,
    },
    /// The function is an entity.
    Entity {
        /// The first half of an entity id: the binding's `entityName`, by default the function's name. Compares
        /// without case.
        name: String,
    },
    /// A schedule.
    Timer(TimerTrigger),
}

impl Trigger {
    /// The type of the trigger's binding, as `function.json` spells it.
    pub fn binding_type(&self) -> &'static str {
        match self {
            Trigger::Http(_) => "httpTrigger",
            Trigger::Orchestration { .. } => "orchestrationTrigger",
            Trigger::Activity { .. } => "activityTrigger",
            Trigger::Entity { .. } => "entityTrigger",
            Trigger::Timer(_) => "timerTrigger",
        }
    }
}

/// The `httpTrigger` binding.
#[derive(Debug, Clone)]
pub struct HttpTrigger {
    /// Who may call. Default [`AuthLevel::Function`].
    pub auth_level: AuthLevel,
    /// The methods that are answered, upper case, without repetition; empty means all.
    pub methods: Vec<String>,
    /// The route below the app's prefix. Default: the function's name.
    pub route: RouteTemplate,
}

/// Which key a caller of an http function needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthLevel {
    /// None.
    Anonymous,
    /// A signed-in user. Accepted for compatibility; keys cannot give it.
    User,
    /// A key of the function or of the host.
    #[default]
    Function,
    /// A system key.
    System,
    /// The master key.
    Admin,
}

/// The `timerTrigger` binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerTrigger {
    /// A cron expression of five or six fields, or a period as `hh:mm:ss`.
    pub schedule: Schedule,
    /// Run once when the host starts, too. Default false.
    pub run_on_startup: bool,
    /// Remember where the schedule stands, so that a run that was missed is made up for. Default true; without effect for a
    /// schedule that occurs more than once a minute.
    pub use_monitor: bool,
}

/// The `durableClient` binding (`orchestrationClient` in version 1: the same thing): the function may start and
/// manage orchestrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientBinding {
    /// The binding's name.
    pub name: String,
    /// Which existing instances a start by this function may replace. `None`: as `host.json` says.
    pub overridable_existing_instance_states: Option<OverridableStates>,
}

/// The `retry` section: how the host repeats a failed run of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same wait before each attempt.
    FixedDelay {
        /// How many further attempts; `None` means without end (`-1`).
        max_retry_count: Option<u32>,
        /// The wait before each.
        delay: Duration,
    },
    /// A growing wait.
    ExponentialBackoff {
        /// How many further attempts; `None` means without end (`-1`).
        max_retry_count: Option<u32>,
        /// The first wait.
        minimum_interval: Duration,
        /// No wait is longer.
        maximum_interval: Duration,
    },
}
