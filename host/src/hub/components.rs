//! Deletes stored components that no instance needs any more.
//!
//! Only what is deployed can come into use: starts, children, restarts, executions that continue as new and replaced
//! components take it. So of every other stored component its users only become fewer. What was deployed at any time of a
//! process is left to the next one. Each search therefore goes on at the instance that needed the component last time: all searches
//! together look at every instance once per such component, and at none where everything stored is deployed.
//!
//! Needed is what a live instance runs on, and what a Failed one ran on: it could be rewound.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tracing::{error, info};

use super::worker::Inner;
use crate::{
    durable::{Digest, InstanceKey},
    storage::{ComponentUse, Fence, StorageError},
};

/// How many instances are looked at in one read.
const SLICE: usize = 1_000;

/// The pause after a slice: reads of others come first.
const PAUSE: Duration = Duration::from_millis(2);

/// The pause between searches, however many instances end meanwhile.
const ROUND: Duration = Duration::from_secs(1);

/// A wait after a storage error.
const RETRY: Duration = Duration::from_secs(5);

/// Searches whenever an instance may have given up its component, until nothing is stored but what is deployed.
pub(super) async fn collect(inner: Arc<Inner>) {
    let deployed: BTreeSet<Digest> = inner.deployment.kept.lock().await.clone();
    let stored = loop {
        match inner.storage.components().await {
            Ok(stored) => break stored,
            Err(error) => failed(&inner, &error, "cannot read which components are stored, trying again").await,
        }
        if inner.is_stopping() {
            return;
        }
    };
    let first = InstanceKey(i64::MIN);
    let mut old: BTreeMap<Digest, InstanceKey> =
        stored.into_iter().filter(|digest| !deployed.contains(digest)).map(|digest| (digest, first)).collect();
    while !inner.is_stopping() {
        for digest in old.keys().copied().collect::<Vec<_>>() {
            match look(&inner, digest, old[&digest]).await {
                Ok(Some(user)) => {
                    old.insert(digest, user);
                }
                Ok(None) => {
                    old.remove(&digest);
                }
                Err(error) => failed(&inner, &error, "cannot delete a component, trying again").await,
            }
        }
        if old.is_empty() {
            return;
        }
        inner.released.notified().await;
        inner.ambient.sleep(ROUND).await;
    }
}

/// The first instance from this one on that needs the component; if there is none the component is deleted, in a commit of
/// its own, unless it has been deployed meanwhile.
async fn look(inner: &Inner, digest: Digest, mut from: InstanceKey) -> Result<Option<InstanceKey>, StorageError> {
    loop {
        match inner.storage.component_use(digest, from, SLICE).await? {
            ComponentUse::By(user) => return Ok(Some(user)),
            ComponentUse::SearchFrom(next) => from = next,
            ComponentUse::Nobody => {
                // Held until it is gone: a deployment of the same component waits, and stores it again.
                let kept = inner.deployment.kept.lock().await;
                if !kept.contains(&digest) {
                    inner.storage.drop_component(Fence::default(), digest).await?;
                    info!(component = %digest, "component deleted: it is not deployed and no instance needs it");
                }
                return Ok(None);
            }
        }
        if inner.is_stopping() {
            return Ok(Some(from));
        }
        inner.ambient.sleep(PAUSE).await;
    }
}

async fn failed(inner: &Inner, error: &StorageError, what: &'static str) {
    inner.note(error);
    error!(%error, "{what}");
    // Looked at once more although nothing ended meanwhile.
    inner.released.notify_one();
    inner.ambient.sleep(RETRY).await;
}
