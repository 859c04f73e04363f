//! The app: what is deployed. `host.json`, a folder per function with its `function.json`, routes and settings.
//!
//! This module reads files and judges them. It never loads a component, opens a connection, starts a task or writes; of
//! ours it knows `durable` only.
//! Start with [`App::load`]; what it finds is in [`App`], [`Function`] and [`HostJson`].

mod error;
mod function;
mod function_json;
mod host_json;
mod in_error;
mod json;
mod load;
pub mod route;
mod schedule;
mod script;
mod settings;
mod time_span;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use error::{AppError, Excluded, Origin, Position};
pub use function::{AuthLevel, ClientBinding, Function, HttpTrigger, Retry, TimerTrigger, Trigger};
pub use host_json::{
    AllowedHost, Cors, DurableTaskOptions, HostJson, Hsts, HttpOptions, OutboundRule, RetentionOptions, SoloistOptions,
    TlsOptions,
};
pub use load::is_function_name;
pub use route::{ApiParameter, ApiPath, RouteMatch, RouteTable, RouteTemplate};
pub use schedule::Schedule;
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
