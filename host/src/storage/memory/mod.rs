//! Storage in memory: for `--ephemeral` and for simulation. Nothing outlives the process.
//!
//! Every call takes effect before it returns, so the future that it returns is ready at once and a run that is driven in
//! the same order gives the same answers. It never reads a clock and starts no thread.

mod entities;
mod map;

use std::sync::{Arc, Mutex, PoisonError};

use self::map::Map;
use super::{
    Committed, ComponentUse, Due, End, Ended, EntityCommit, EntityCommitted, EntityPage, EntityQuery, EntitySnapshot,
    Expired, Expiry, Fence, Loaded, OpenInstance, Page, Purged, Put, PutMessage, Query, Rewind, Rewound, Snapshot,
    Start, Started, Storage, StorageError, StorageFuture, TimerStatus, TurnCommit, Want,
};
use crate::durable::{Digest, EntityId, FunctionName, GenerationKey, InstanceId, InstanceKey};

/// One handle of a map in memory.
#[derive(Debug, Default)]
pub struct Memory {
    map: Arc<Mutex<Map>>,
}

impl Memory {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// A second handle of the same map, as if another host had opened it.
    pub fn handle(&self) -> Self {
        Self { map: Arc::clone(&self.map) }
    }

    fn with<T: Send + 'static>(&self, f: impl FnOnce(&mut Map) -> Result<T, StorageError>) -> StorageFuture<'_, T> {
        // A panic inside leaves a map that may be half changed: that is what poisoned means everywhere else, too.
        let result = match self.map.lock() {
            Ok(mut map) => f(&mut map),
            Err(PoisonError { .. }) => Err(StorageError::Poisoned("a thread panicked inside a commit".to_owned())),
        };
        Box::pin(std::future::ready(result))
    }
}

impl Storage for Memory {
    fn start(&self, start: Start) -> StorageFuture<'_, Started> {
        self.with(|map| map.start(&start))
    }

    fn commit_turn(&self, commit: TurnCommit) -> StorageFuture<'_, Committed> {
        self.with(|map| map.commit_turn(commit))
    }

    fn commit_entity(&self, commit: EntityCommit) -> StorageFuture<'_, EntityCommitted> {
        self.with(|map| map.commit_entity(commit))
    }

    fn entity(&self, id: EntityId) -> StorageFuture<'_, Option<EntitySnapshot>> {
        self.with(|map| Ok(map.entity(&id)))
    }

    fn entities(&self, query: EntityQuery) -> StorageFuture<'_, EntityPage> {
        self.with(|map| Ok(map.entities(&query)))
    }

    fn put_message(&self, message: PutMessage) -> StorageFuture<'_, Put> {
        self.with(|map| Ok(map.put_message(message)))
    }

    fn end(&self, end: End) -> StorageFuture<'_, Ended> {
        self.with(|map| map.end(&end))
    }

    fn rewind(&self, rewind: Rewind) -> StorageFuture<'_, Rewound> {
        self.with(|map| map.rewind(rewind))
    }

    fn purge(&self, fence: Fence, id: InstanceId) -> StorageFuture<'_, Purged> {
        self.with(|map| Ok(map.purge(fence, &id)))
    }

    fn expired(&self, expiry: Expiry, after: Option<InstanceKey>, limit: usize) -> StorageFuture<'_, Expired> {
        self.with(|map| Ok(map.expired(expiry, after, limit)))
    }

    fn purge_generations(&self, _fence: Fence, instances: Vec<(InstanceKey, GenerationKey)>) -> StorageFuture<'_, u64> {
        self.with(|map| Ok(map.purge_generations(&instances)))
    }

    fn put_component(&self, digest: Digest, bytes: Arc<[u8]>) -> StorageFuture<'_, ()> {
        self.with(|map| {
            map.put_component(digest, bytes);
            Ok(())
        })
    }

    fn component(&self, digest: Digest) -> StorageFuture<'_, Option<Arc<[u8]>>> {
        self.with(|map| Ok(map.component(digest)))
    }

    fn components(&self) -> StorageFuture<'_, Vec<Digest>> {
        self.with(|map| Ok(map.components()))
    }

    fn component_use(&self, digest: Digest, from: InstanceKey, limit: usize) -> StorageFuture<'_, ComponentUse> {
        self.with(|map| Ok(map.component_use(digest, from, limit)))
    }

    fn drop_component(&self, _fence: Fence, digest: Digest) -> StorageFuture<'_, ()> {
        self.with(|map| {
            map.drop_component(digest);
            Ok(())
        })
    }

    fn collect(&self, limit: usize) -> StorageFuture<'_, bool> {
        self.with(|map| Ok(map.collect(limit)))
    }

    fn snapshot(&self, id: InstanceId, want: Want) -> StorageFuture<'_, Option<Snapshot>> {
        self.with(|map| map.snapshot(&id, want))
    }

    fn list(&self, query: Query) -> StorageFuture<'_, Page> {
        self.with(|map| map.list(&query))
    }

    fn load(&self, instance: InstanceKey) -> StorageFuture<'_, Option<Loaded>> {
        self.with(|map| Ok(map.load(instance)))
    }

    fn open_instances(&self, after: Option<InstanceKey>, limit: usize) -> StorageFuture<'_, Vec<OpenInstance>> {
        self.with(|map| Ok(map.open_instances(after, limit)))
    }

    fn due(&self, after: Option<Due>, limit: usize) -> StorageFuture<'_, Vec<Due>> {
        self.with(|map| Ok(map.due(after, limit)))
    }

    fn timer_status(&self, function: FunctionName) -> StorageFuture<'_, Option<TimerStatus>> {
        self.with(|map| Ok(map.timer_status(&function)))
    }

    fn put_timer_status(&self, function: FunctionName, status: TimerStatus) -> StorageFuture<'_, ()> {
        self.with(|map| {
            map.put_timer_status(function, status);
            Ok(())
        })
    }

    fn commits(&self) -> u64 {
        self.map.lock().map_or_else(|poisoned| poisoned.into_inner().commits(), |map| map.commits())
    }

    fn close(&self) -> StorageFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Memory;
    use crate::storage::{Storage, conformance::Backend};

    fn fresh() -> Backend {
        let memory = Memory::new();
        Backend { open: Box::new(move || Arc::new(memory.handle()) as Arc<dyn Storage>), _keep: Box::new(()) }
    }

    crate::storage::conformance::storage_conformance!(conformance, super::fresh);
}
