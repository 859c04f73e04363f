//! Loads the components of an app's functions. What does not load is excluded with its reason, or, if it was served before,
//! goes on as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context as _;

use crate::{
    app::{App, Excluded, Function, Trigger},
    durable::{Digest, FunctionName, OverridableStates},
    hub::{Functions, Orchestrator},
    storage::Storage,
    wasm::{ClientGrant, DeployedFunction, FunctionKind, Prepared, Wasm},
};

/// A function that is in order.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) function: Function,
    /// Its component.
    pub(super) component: Digest,
    /// The version of the contract that the component was made for.
    pub(super) contract: String,
    /// The component speaks HTTP itself.
    pub(super) speaks_http: bool,
}

impl Live {
    /// True if calls of both run the same code in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        // Their text has every property.
        self.component == other.component && format!("{:?}", self.function) == format!("{:?}", other.function)
    }
}

/// What of an app is in order.
pub(super) struct Deployed {
    pub(super) served: Vec<Live>,
    /// Those whose component cannot be used.
    pub(super) excluded: Vec<Excluded>,
    /// The names of those that are served as they were before, because they are in error now.
    pub(super) kept: BTreeSet<String>,
    /// The components that instances run on.
    orchestrators: BTreeMap<Digest, Arc<[u8]>>,
    prepared: Option<Prepared>,
}

impl Deployed {
    /// Loads every function's component. Of `before`, what is in error now is kept.
    pub(super) async fn prepare(app: &App, wasm: &Wasm, before: &[Live]) -> Self {
        let enabled: Vec<&Function> = app.functions.iter().filter(|function| !function.disabled).collect();
        let requests = enabled.iter().map(|function| deployed_function(function)).collect();
        let (mut prepared, results) = wasm.prepare(requests).await;
        let (mut served, mut excluded, mut orchestrators) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (function, result) in enabled.into_iter().zip(results) {
            match result {
                Ok(component) => {
                    if matches!(function.trigger, Trigger::Orchestration { .. }) {
                        orchestrators.insert(component.digest, component.bytes);
                    }
                    served.push(Live {
                        function: function.clone(),
                        component: component.digest,
                        contract: component.contract,
                        speaks_http: component.speaks_http,
                    });
                }
                Err(error) => excluded.push(Excluded {
                    function: function.name.clone(),
                    code: error.code(),
                    reason: error.to_string(),
                    help: None,
                    file: function.script.clone(),
                    position: None,
                }),
            }
        }
        let is_in_error = |live: &&Live| {
            let mut errors = app.excluded.iter().chain(&excluded);
            errors.any(|error| error.function.eq_ignore_ascii_case(&live.function.name))
        };
        let kept: Vec<Live> = before.iter().filter(is_in_error).cloned().collect();
        for live in &kept {
            let function = deployed_function(&live.function);
            wasm.keep(&mut prepared, function.kind, &function.name);
        }
        let names = kept.iter().map(|live| live.function.name.clone()).collect();
        // After what is in order: that wins where two want one route or one name.
        served.extend(kept);
        Self { served, excluded, kept: names, orchestrators, prepared: Some(prepared) }
    }

    /// Puts the components that instances run on into storage, before any can start on them.
    ///
    /// # Errors
    /// If one cannot be written.
    pub(super) async fn store(&mut self, storage: &Arc<dyn Storage>) -> anyhow::Result<()> {
        for (digest, bytes) in std::mem::take(&mut self.orchestrators) {
            storage.put_component(digest, bytes).await.context("keeping a component")?;
        }
        Ok(())
    }

    /// What is to be activated.
    pub(super) fn take_prepared(&mut self) -> Prepared {
        self.prepared.take().expect("it is activated once")
    }

    /// The functions.
    pub(super) fn functions(&self) -> Vec<Function> {
        self.served.iter().map(|live| live.function.clone()).collect()
    }

    /// The functions' components.
    pub(super) fn components(&self) -> BTreeSet<Digest> {
        self.served.iter().map(|live| live.component).collect()
    }

    /// The functions as the hub knows them.
    pub(super) fn registered(&self) -> Functions {
        let mut functions = Functions::default();
        for Live { function, component, contract, .. } in &self.served {
            match &function.trigger {
                Trigger::Orchestration { name } => {
                    let name = FunctionName::new(name);
                    let orchestrator = || {
                        Arc::new(Orchestrator {
                            name: name.clone(),
                            handler: function.handler.clone(),
                            component: *component,
                            contract: contract.clone(),
                        })
                    };
                    functions.orchestrators.entry(name.clone()).or_insert_with(orchestrator);
                }
                Trigger::Activity { name } => drop(functions.activities.insert(FunctionName::new(name))),
                Trigger::Entity { name } => drop(functions.entities.insert(FunctionName::new(name))),
                Trigger::Http(_) | Trigger::Timer(_) => {}
            }
        }
        functions
    }

    /// The components of entity and timer functions, by name: whom nobody can resume once they are parked.
    pub(super) fn unresumable(&self) -> BTreeMap<String, String> {
        let named = self.served.iter().filter_map(|live| match &live.function.trigger {
            Trigger::Timer(_) => Some((live.function.name.clone(), live.component.to_string())),
            Trigger::Entity { name } => Some((name.clone(), live.component.to_string())),
            Trigger::Http(_) | Trigger::Activity { .. } | Trigger::Orchestration { .. } => None,
        });
        named.collect()
    }
}

pub(super) fn deployed_function(function: &Function) -> DeployedFunction {
    let (kind, name) = match &function.trigger {
        Trigger::Http(_) => (FunctionKind::Http, &function.name),
        Trigger::Timer(_) => (FunctionKind::Timer, &function.name),
        Trigger::Orchestration { name } => (FunctionKind::Orchestrator, name),
        Trigger::Activity { name } => (FunctionKind::Activity, name),
        Trigger::Entity { name } => (FunctionKind::Entity, name),
    };
    DeployedFunction {
        name: FunctionName::new(name),
        handler: function.handler.clone(),
        kind,
        component: function.script.clone(),
        client: function.client.as_ref().map(|client| {
            let overridable_states: Option<OverridableStates> = client.overridable_existing_instance_states;
            ClientGrant { overridable_states }
        }),
    }
}
