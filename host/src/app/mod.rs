//! The app: what is deployed. `host.json`, a folder per function with its `function.json`, routes and settings.
//!
//! This module reads files and judges them. It never loads a component, opens a connection, starts a task or writes.
//! Start with [`App::load`]; what it finds is in [`App`], [`Function`] and [`HostJson`].

mod error;
mod function;
mod host_json;
mod json;
pub mod route;
mod settings;

use std::path::PathBuf;

pub use error::{AppError, Excluded, Origin, Position};
pub use function::{AuthLevel, ClientBinding, Function, HttpTrigger, Retry, TimerTrigger, Trigger};
pub use host_json::{DurableTaskOptions, HostJson, HttpOptions, OverridableStates, SoloistOptions};
pub use route::{RouteMatch, RouteTable, RouteTemplate};
pub use settings::Settings;

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
