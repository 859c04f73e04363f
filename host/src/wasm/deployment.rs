//! What is deployed: which component a function's calls run. It changes as a whole, while guests run; each stays on what its
//! call began with.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    ClientGrant, DeployedComponent, DeployedFunction, FunctionKind, LoadError, Wasm, component::Compiled, inspect,
};
use crate::durable::{Digest, FunctionName};

/// Names and values.
pub(super) type Settings = Arc<[(String, String)]>;

/// The app's settings, which are the environment of functions with effects. Its copies are one and the same.
#[derive(Clone, Debug, Default)]
pub struct AppSettings(Arc<RwLock<Settings>>);

impl AppSettings {
    /// The settings now.
    pub fn get(&self) -> Settings {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them, for calls that begin from here on.
    pub fn set(&self, settings: impl IntoIterator<Item = (String, String)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = settings.into_iter().collect();
    }
}

impl FromIterator<(String, String)> for AppSettings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(settings: I) -> Self {
        let own = Self::default();
        own.set(settings);
        own
    }
}

/// A function that can be called by name.
pub(super) struct Callable {
    pub(super) name: Arc<str>,
    pub(super) handler: String,
    pub(super) component: Arc<Compiled>,
    pub(super) client: Option<ClientGrant>,
}

/// The functions that can be called. Orchestrators are called by digest.
#[derive(Clone, Default)]
pub(super) struct Deployment {
    pub(super) http: BTreeMap<FunctionName, Arc<Callable>>,
    pub(super) activities: BTreeMap<FunctionName, Arc<Callable>>,
    pub(super) timers: BTreeMap<FunctionName, Arc<Callable>>,
    pub(super) entities: BTreeMap<FunctionName, Arc<Callable>>,
}

impl Deployment {
    fn of_kind(&self, kind: FunctionKind) -> Option<&BTreeMap<FunctionName, Arc<Callable>>> {
        match kind {
            FunctionKind::Http => Some(&self.http),
            FunctionKind::Activity => Some(&self.activities),
            FunctionKind::Timer => Some(&self.timers),
            FunctionKind::Entity => Some(&self.entities),
            FunctionKind::Orchestrator => None,
        }
    }

    fn of_kind_mut(&mut self, kind: FunctionKind) -> Option<&mut BTreeMap<FunctionName, Arc<Callable>>> {
        match kind {
            FunctionKind::Http => Some(&mut self.http),
            FunctionKind::Activity => Some(&mut self.activities),
            FunctionKind::Timer => Some(&mut self.timers),
            FunctionKind::Entity => Some(&mut self.entities),
            FunctionKind::Orchestrator => None,
        }
    }
}

/// Functions that are loaded and not deployed yet.
pub struct Prepared(Deployment);

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

impl Wasm {
    /// Loads functions, without deploying them. Components are compiled in parallel, each once. A function that cannot be
    /// loaded does not stop the others. One result per function, in the same order.
    pub async fn prepare(
        &self,
        functions: Vec<DeployedFunction>,
    ) -> (Prepared, Vec<Result<DeployedComponent, LoadError>>) {
        let mut by_path: BTreeMap<PathBuf, Vec<DeployedFunction>> = BTreeMap::new();
        for function in &functions {
            by_path.entry(function.component.clone()).or_default().push(function.clone());
        }
        let loads = by_path.into_iter().map(|(path, functions)| async move {
            let loaded = self.load(&path, &functions).await;
            (path, loaded)
        });
        let loaded: BTreeMap<_, _> = futures::future::join_all(loads).await.into_iter().collect();
        let mut deployment = Deployment::default();
        let results = functions.iter().map(|function| {
            let (compiled, deployed) = loaded[&function.component].as_ref().map_err(Clone::clone)?;
            inspect::check_function(&function.component, &compiled.info, function)?;
            if let Some(functions) = deployment.of_kind_mut(function.kind) {
                functions.insert(function.name.clone(), Arc::new(callable(function, Arc::clone(compiled))));
            }
            Ok(deployed.clone())
        });
        let results = results.collect();
        (Prepared(deployment), results)
    }

    /// Takes over a function that is deployed now, as it is, unless one of its name has been loaded.
    pub fn keep(&self, prepared: &mut Prepared, kind: FunctionKind, name: &FunctionName) {
        let now = self.deployment();
        let (Some(from), Some(to)) = (now.of_kind(kind), prepared.0.of_kind_mut(kind)) else { return };
        if let Some(function) = from.get(name) {
            to.entry(name.clone()).or_insert_with(|| Arc::clone(function));
        }
    }

    /// Deploys what was prepared in place of what was deployed before: calls that begin from here on run it.
    pub fn activate(&self, prepared: Prepared) {
        *self.deployment.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(prepared.0);
    }

    /// Keeps of the compiled components only these in memory, and what runs.
    pub fn forget_components_but(&self, keep: &BTreeSet<Digest>) {
        self.components.forget_others(keep);
    }

    /// Deploys functions in place of those before: [`Wasm::prepare`] and [`Wasm::activate`].
    pub async fn deploy(&self, functions: Vec<DeployedFunction>) -> Vec<Result<DeployedComponent, LoadError>> {
        let (prepared, results) = self.prepare(functions).await;
        self.activate(prepared);
        results
    }
}

fn callable(function: &DeployedFunction, component: Arc<Compiled>) -> Callable {
    Callable {
        name: function.name.as_str().into(),
        handler: function.handler.clone(),
        component,
        client: function.client,
    }
}
