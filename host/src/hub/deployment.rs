//! What is deployed, which may change while the hub runs.
//!
//! A change is for what begins from there on: starts, children, restarts, executions that continue as new. An execution that
//! has begun stays on its component, by digest, wherever that comes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::Mutex;

use super::{Functions, Hub, Orchestrator, worker::Inner};
use crate::durable::{Digest, FunctionName};

/// The functions that are deployed, and the components that have been since the process began.
pub(super) struct Deployment {
    current: RwLock<Arc<Functions>>,
    /// Whoever read what was deployed a moment ago may start an instance on it a moment later: none of these is deleted from
    /// storage as long as the process lives. Held while a component is deleted.
    pub kept: Mutex<BTreeSet<Digest>>,
}

impl Deployment {
    pub fn new(functions: Functions) -> Self {
        let kept = functions.orchestrators.values().map(|known| known.component).collect();
        Self { current: RwLock::new(Arc::new(functions)), kept: Mutex::new(kept) }
    }
}

impl Inner {
    /// What is deployed now.
    pub fn functions(&self) -> Arc<Functions> {
        Arc::clone(&self.deployment.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The orchestrator function that is deployed now under a name.
    pub fn deployed_orchestrator(&self, name: &FunctionName) -> Option<Arc<Orchestrator>> {
        self.functions().orchestrators.get(name).cloned()
    }
}

impl Hub {
    /// From here on these components stay in storage as long as the process lives. To be called before they are put there
    /// for [`Hub::deploy`].
    pub async fn keep_components(&self, components: impl IntoIterator<Item = Digest>) {
        self.inner.deployment.kept.lock().await.extend(components);
    }

    /// Deploys functions in place of those before. `unresumable` has the components of entity and timer functions, by name:
    /// where one is another, what was parked because of it is tried again.
    pub fn deploy(&self, functions: Functions, unresumable: BTreeMap<String, String>) {
        *self.inner.deployment.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(functions);
        self.inner.parking.deployed(unresumable);
    }
}
