//! The app: what is deployed. `host.json`, a folder per function with its `function.json`, routes and settings.
//!
//! This module reads files and judges them. It never loads a component, opens a connection, starts a task or writes; of
//! ours it knows `durable` only.
//! Start with [`App::load`]; what it finds is in [`App`], [`Function`] and [`HostJson`].

mod diagnostic;
mod error;
mod function;
mod function_json;
mod host_json;
mod in_error;
mod json;
mod load;
pub mod route;
mod schedule;
mod schema;
mod script;
mod settings;
mod time_span;
mod values;

#[cfg(test)]
mod configuration_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use diagnostic::{Code, Diagnostic, Example, Report, Severity, explanation};
pub use error::{AppError, Excluded, Origin, Position, Span};
pub use function::{AuthLevel, ClientBinding, Function, HttpTrigger, Retry, TimerTrigger, Trigger};
pub use function_json::{BINDING_KEYS, BINDING_TYPES, BindingType, FUNCTION_KEYS, FunctionKey, RETRY_KEYS};
pub use host_json::{
    AllowedHost, Cors, DurableTaskOptions, HostJson, Hsts, HttpOptions, KEYS, Key, Kind, LogThreshold, OutboundRule,
    RetentionOptions, SoloistOptions, TlsOptions, closest_key, default_text,
};
pub use load::is_function_name;
pub use route::{ApiParameter, ApiPath, RouteMatch, RouteTable, RouteTemplate};
pub use schedule::Schedule;
pub use schema::{function_json_schema, host_json_schema};
pub use settings::Settings;
pub use values::host_json_values;

/// A loaded app: what is served, and what is not and why.
#[derive(Debug, Clone)]
pub struct App {
    /// The app folder: an absolute path without symbolic links.
    pub root: PathBuf,
    /// `host.json` with its defaults.
    pub host_json: HostJson,
    /// The functions in the order of their names (ordinal, without regard to case).
    pub functions: Vec<Function>,
    /// The functions that are not served, in the order of their names.
    pub excluded: Vec<Excluded>,
    /// Which function answers which request; indices are those of [`App::functions`].
    pub routes: RouteTable,
    /// The app's settings.
    pub settings: Settings,
    /// Everything that was found: what keeps functions from being served, and what is only worth saying.
    pub report: Report,
}

impl App {
    /// Which pages of other sites may call functions: as `local.settings.json` says, else as `host.json` does.
    pub fn cors(&self) -> Option<&Cors> {
        self.settings.cors().or(self.host_json.soloist.cors.as_ref())
    }
}

/// The process's environment as settings. Variables that are not Unicode cannot be settings and are left out.
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
