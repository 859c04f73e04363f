//! Changes what a running host serves to what its app's folder holds now.
//!
//! Everything new is loaded and stored before anything changes. Then what calls run is swapped first, what starts take after
//! it, routes last: a request that a new route leads to finds its function. One that an old route led to while its function
//! was taken away is answered 404.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::Mutex;

use super::{Deployed, HostOptions, admin::AppPages, deploy, routes, timer_functions, wanted_keys};
use crate::{
    app::{self, App, Cors, Diagnostic, Excluded, HostJson, Severity},
    hub::Hub,
    server::{
        FunctionErrors, FunctionRoutes,
        keys::{Keys, Made},
    },
    storage::Storage,
    wasm::{AppSettings, Wasm},
};

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The functions that were not served before.
    pub added: Vec<String>,
    /// Those that run other code, or in another way.
    pub changed: Vec<String>,
    /// Those that are served no longer.
    pub removed: Vec<String>,
    /// Those that are in error now and go on as they were.
    pub kept: Vec<Excluded>,
    /// Those that are in error and are not served.
    pub excluded: Vec<Excluded>,
    /// What is worth saying of the app and was not said before.
    pub warnings: Vec<Diagnostic>,
    /// The values of `host.json` that are other ones than those that the host started with, and that only a start reads.
    pub needs_restart: Vec<String>,
    /// The functions' environment, or the prefix of their routes, is another one.
    pub settings_changed: bool,
}

impl Reloaded {
    /// True if nothing is served otherwise than before, and nothing is new to be told.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Which function serves a request; may be replaced while requests are served.
#[derive(Clone)]
pub(super) struct Routes(Arc<RwLock<Found>>);

#[derive(Clone)]
struct Found {
    routes: FunctionRoutes,
    errors: FunctionErrors,
}

impl Routes {
    pub(super) fn new(routes: FunctionRoutes, errors: FunctionErrors) -> Self {
        Self(Arc::new(RwLock::new(Found { routes, errors })))
    }

    /// The server's port to these routes, and to those that replace them.
    pub(super) fn find(&self) -> FunctionRoutes {
        let current = self.0.clone();
        Arc::new(move |method, path| {
            let routes = current.read().unwrap_or_else(PoisonError::into_inner).routes.clone();
            routes(method, path)
        })
    }

    /// The server's port to what would serve a request, were it not in error.
    pub(super) fn find_error(&self) -> FunctionErrors {
        let current = self.0.clone();
        Arc::new(move |method, path| {
            let errors = current.read().unwrap_or_else(PoisonError::into_inner).errors.clone();
            errors(method, path)
        })
    }

    fn replace(&self, routes: FunctionRoutes, errors: FunctionErrors) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Found { routes, errors };
    }
}

/// What is worth saying of an app that is served all the same.
pub(super) fn warnings_of(app: &App) -> Vec<Diagnostic> {
    let is_warning = |finding: &&Diagnostic| finding.severity() == Severity::Warning;
    app.report.diagnostics().iter().filter(is_warning).cloned().collect()
}

/// The parts of a host that a reload changes.
pub(super) struct Parts {
    pub(super) wasm: Arc<Wasm>,
    pub(super) hub: Arc<Hub>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) routes: Routes,
    pub(super) pages: Arc<AppPages>,
    pub(super) settings: AppSettings,
}

/// What a host began to serve, and what is wrong with the rest.
pub(super) struct Served {
    pub(super) functions: Vec<deploy::Live>,
    pub(super) errors: Vec<Excluded>,
}

/// What a host serves.
pub(super) struct Live {
    parts: Parts,
    folder: PathBuf,
    show_keys: fn(&[Made]),
    /// What the host started with.
    started: HostJson,
    started_values: BTreeMap<String, String>,
    started_cors: Option<Cors>,
    /// One reload at a time.
    current: Mutex<Current>,
}

/// What is served now, and was told.
struct Current {
    served: Vec<deploy::Live>,
    route_prefix: String,
    errors: Vec<Excluded>,
    warnings: Vec<Diagnostic>,
    needs_restart: Vec<String>,
}

impl Live {
    pub(super) fn new(parts: Parts, options: &HostOptions, app: App, deployed: Served) -> Self {
        let Served { functions: served, errors } = deployed;
        Self {
            parts,
            folder: options.app.clone(),
            show_keys: options.show_keys,
            started_values: app::host_json_values(&app.root),
            current: Mutex::new(Current {
                served,
                route_prefix: app.host_json.http.route_prefix.clone(),
                errors,
                warnings: warnings_of(&app),
                needs_restart: Vec::new(),
            }),
            started_cors: app.settings.cors().cloned(),
            started: app.host_json,
        }
    }

    /// See [`super::Host::reload`].
    pub(super) async fn reload(&self) -> anyhow::Result<Reloaded> {
        let mut current = self.current.lock().await;
        let folder = self.folder.clone();
        // Files are read on a thread that may wait for the disk.
        let load = tokio::task::spawn_blocking(move || App::load(&folder, app::process_environment()));
        let app = load.await??;
        let parts = &self.parts;
        let mut deployed = Deployed::prepare(&app, &parts.wasm, &current.served).await;
        parts.hub.keep_components(deployed.components()).await;
        deployed.store(&parts.storage).await?;
        let functions = deployed.functions();
        if let Some(keys) = &parts.keys {
            (self.show_keys)(&keys.ensure(&wanted_keys(&functions))?);
        }
        let reloaded = self.difference(&app, &deployed, &current);
        parts.settings.set(app.settings.values());
        parts.wasm.activate(deployed.take_prepared());
        parts.wasm.forget_components_but(&deployed.components());
        parts.hub.deploy(deployed.registered(), deployed.unresumable());
        let errors: Vec<Excluded> = app.excluded.iter().chain(&deployed.excluded).cloned().collect();
        parts.routes.replace(routes::find_route(&app, &deployed.served), routes::find_error(&app, &errors));
        parts.pages.replace(&app, &functions, &errors);
        parts.hub.run_timers(timer_functions(&functions));
        *current = Current {
            served: deployed.served,
            route_prefix: app.host_json.http.route_prefix.clone(),
            errors,
            warnings: warnings_of(&app),
            needs_restart: self.needs_restart(&app),
        };
        Ok(reloaded)
    }

    fn difference(&self, app: &App, deployed: &Deployed, current: &Current) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let find = |all: &[deploy::Live], name: &str| all.iter().find(|live| live.function.name == name).cloned();
        for live in &deployed.served {
            let name = live.function.name.clone();
            match find(&current.served, &name) {
                None => reloaded.added.push(name),
                Some(before) if !before.is_same(live) => reloaded.changed.push(name),
                Some(_) => {}
            }
        }
        let gone = current.served.iter().filter(|live| find(&deployed.served, &live.function.name).is_none());
        reloaded.removed = gone.map(|live| live.function.name.clone()).collect();
        // What was told before is not told again.
        let errors = app.excluded.iter().chain(&deployed.excluded).filter(|error| !current.errors.contains(error));
        (reloaded.kept, reloaded.excluded) = errors
            .cloned()
            .partition(|error| deployed.kept.iter().any(|kept| kept.eq_ignore_ascii_case(&error.function)));
        // Where something stands changes with each line before it.
        let is_told =
            |new: &Diagnostic| current.warnings.iter().any(|old| (old.code, &old.message) == (new.code, &new.message));
        reloaded.warnings = warnings_of(app).into_iter().filter(|warning| !is_told(warning)).collect();
        let needs_restart = self.needs_restart(app);
        if needs_restart != current.needs_restart {
            reloaded.needs_restart = needs_restart;
        }
        let environment: Vec<(String, String)> = app.settings.values().into_iter().collect();
        reloaded.settings_changed =
            *environment != *self.parts.settings.get() || app.host_json.http.route_prefix != current.route_prefix;
        reloaded
    }

    /// The values of `host.json` that only a start reads and that are not those of this start.
    fn needs_restart(&self, app: &App) -> Vec<String> {
        let mut alike = app.host_json.clone();
        // These two are read again; unknown keys have no effect.
        alike.http.route_prefix.clone_from(&self.started.http.route_prefix);
        alike.functions.clone_from(&self.started.functions);
        alike.origins.clone_from(&self.started.origins);
        let cors = (app.settings.cors() != self.started_cors.as_ref()).then(|| "Host.CORS".to_owned());
        if alike == self.started {
            return Vec::from_iter(cors);
        }
        let now = app::host_json_values(&app.root);
        let names: BTreeSet<&String> = self.started_values.keys().chain(now.keys()).collect();
        let is_read_again = |name: &str| {
            name.eq_ignore_ascii_case("extensions.http.routePrefix")
                || name.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case("functions"))
        };
        let differ = |name: &&String| self.started_values.get(*name) != now.get(*name) && !is_read_again(name);
        names.into_iter().filter(differ).cloned().chain(cors).collect()
    }
}
