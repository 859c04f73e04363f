//! Storage in one SQLite file: the embedded default.
//!
//! One thread commits (`writer`), a few read (`readers`); what a commit decides is `commits` (and `rewinds`), what a read returns is
//! `reads`. The file's layout and the refusal of files that are not ours are `schema`; copies of it, `backup`.
//!
//! An operation is put into its thread's queue when its method is called, not when its future is first polled, and is
//! carried out whether or not the future is kept. Nothing that the file says is kept in memory between transactions, so
//! several handles of one file, in any number of processes, see and fence each other.
//!
//! It does not lock the folder: the host does.

mod backup;
mod commits;
mod entities;
mod error;
mod readers;
mod reads;
mod rewinds;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod timers;
mod writer;

use std::{path::Path, sync::Arc};

pub use self::{
    backup::{Copied, CopyError, Existing, backup, restore},
    schema::OpenError,
};
use self::{
    readers::{Length, Readers},
    writer::{Shared, Writer},
};
use super::{
    Committed, ComponentUse, Due, End, Ended, EntityCommit, EntityCommitted, EntityPage, EntityQuery, EntitySnapshot,
    Expired, Expiry, Fence, Loaded, OpenInstance, Page, Purged, Put, PutMessage, Query, Rewind, Rewound,
    RewoundInstance, Snapshot, Start, Started, Storage, StorageFuture, TimerStatus, TurnCommit, Want, record, rules,
};
use crate::durable::{Digest, EntityId, FunctionName, GenerationKey, InstanceId, InstanceKey};

/// A handle of a database file, with its threads.
///
/// [`Storage::close`] ends it; merely dropped, it waits until everything accepted is durable.
pub struct Sqlite {
    // In this order: connections that read are closed before the one whose close tidies the log away.
    readers: Readers,
    writer: Writer,
    shared: Arc<Shared>,
}

/// What tests set otherwise.
#[derive(Clone, Debug)]
struct Setup {
    /// The name of SQLite's layer beneath files; none is its default.
    vfs: Option<String>,
    /// The write-ahead log is copied into the database when it has this many pages.
    checkpoint_pages: i64,
}

impl Default for Setup {
    fn default() -> Self {
        // 16 MB.
        Self { vfs: None, checkpoint_pages: 4000 }
    }
}

impl Sqlite {
    /// Opens the database file at `path`, making it if there is none (its folder must exist). Blocks for the time of some
    /// disk accesses.
    ///
    /// # Errors
    /// [`OpenError`], which names the file and the remedy.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, &Setup::default())
    }

    fn open_with(path: &Path, setup: &Setup) -> Result<Self, OpenError> {
        let vfs = setup.vfs.as_deref();
        let conn = schema::open_writer(path, vfs)?;
        let shared = Arc::new(Shared::default());
        let readers = Readers::spawn(path, vfs, Arc::clone(&shared))?;
        let writer = Writer::spawn(conn, Arc::clone(&shared), setup.checkpoint_pages)
            .map_err(|error| OpenError::Io { path: path.to_owned(), what: error.to_string() })?;
        Ok(Self { readers, writer, shared })
    }
}

impl Storage for Sqlite {
    fn start(&self, start: Start) -> StorageFuture<'_, Started> {
        // Encoded here: the commit thread's time is what all commits share.
        let record = record::encode(&rules::start_record(&start));
        self.writer.submit(move |batch| commits::start(batch, &start, &record))
    }

    fn commit_turn(&self, commit: TurnCommit) -> StorageFuture<'_, Committed> {
        let record = record::encode(&commit.record);
        self.writer.submit(move |batch| commits::commit_turn(batch, &commit, &record))
    }

    fn commit_entity(&self, commit: EntityCommit) -> StorageFuture<'_, EntityCommitted> {
        let record = record::encode_entity(&commit.record);
        self.writer.submit(move |batch| entities::commit(batch, &commit, &record))
    }

    fn entity(&self, id: EntityId) -> StorageFuture<'_, Option<EntitySnapshot>> {
        self.readers.submit(Length::Short, move |conn| entities::read(conn, &id))
    }

    fn entities(&self, query: EntityQuery) -> StorageFuture<'_, EntityPage> {
        self.readers.submit(Length::Long, move |conn| entities::list(conn, &query))
    }

    fn put_message(&self, message: PutMessage) -> StorageFuture<'_, Put> {
        let body = record::encode_message(&message.body);
        self.writer.submit(move |batch| commits::put_message(batch, &message, &body))
    }

    fn end(&self, end: End) -> StorageFuture<'_, Ended> {
        self.writer.submit(move |batch| commits::end(batch, &end))
    }

    fn rewind(&self, rewind: Rewind) -> StorageFuture<'_, Rewound> {
        let encode = |rewound: &RewoundInstance| rewound.records.iter().map(|record| record::encode(record)).collect();
        let records: Vec<Vec<record::Encoded>> = rewind.instances.iter().map(encode).collect();
        self.writer.submit(move |batch| rewinds::rewind(batch, &rewind, &records))
    }

    fn purge(&self, fence: Fence, id: InstanceId) -> StorageFuture<'_, Purged> {
        self.writer.submit(move |batch| commits::purge(batch, fence, &id))
    }

    fn expired(&self, expiry: Expiry, after: Option<InstanceKey>, limit: usize) -> StorageFuture<'_, Expired> {
        self.readers.submit(Length::Long, move |conn| reads::expired(conn, expiry, after, limit))
    }

    fn purge_generations(&self, _fence: Fence, instances: Vec<(InstanceKey, GenerationKey)>) -> StorageFuture<'_, u64> {
        self.writer.submit(move |batch| commits::purge_generations(batch, &instances))
    }

    fn put_component(&self, digest: Digest, bytes: Arc<[u8]>) -> StorageFuture<'_, ()> {
        self.writer.submit(move |batch| commits::put_component(batch, digest, &bytes))
    }

    fn component(&self, digest: Digest) -> StorageFuture<'_, Option<Arc<[u8]>>> {
        self.readers.submit(Length::Long, move |conn| reads::component(conn, digest))
    }

    fn components(&self) -> StorageFuture<'_, Vec<Digest>> {
        self.readers.submit(Length::Long, reads::components)
    }

    fn component_use(&self, digest: Digest, from: InstanceKey, limit: usize) -> StorageFuture<'_, ComponentUse> {
        self.readers.submit(Length::Long, move |conn| reads::component_use(conn, digest, from, limit))
    }

    fn drop_component(&self, _fence: Fence, digest: Digest) -> StorageFuture<'_, ()> {
        self.writer.submit(move |batch| commits::drop_component(batch, digest))
    }

    fn collect(&self, limit: usize) -> StorageFuture<'_, bool> {
        self.writer.submit(move |batch| commits::collect(batch, limit))
    }

    fn snapshot(&self, id: InstanceId, want: Want) -> StorageFuture<'_, Option<Snapshot>> {
        self.readers.submit(if want.history { Length::Long } else { Length::Short }, move |conn| {
            reads::snapshot(conn, &id, want)
        })
    }

    fn list(&self, query: Query) -> StorageFuture<'_, Page> {
        self.readers.submit(Length::Long, move |conn| reads::list(conn, &query))
    }

    fn load(&self, instance: InstanceKey) -> StorageFuture<'_, Option<Loaded>> {
        self.readers.submit(Length::Short, move |conn| reads::load(conn, instance))
    }

    fn open_instances(&self, after: Option<InstanceKey>, limit: usize) -> StorageFuture<'_, Vec<OpenInstance>> {
        self.readers.submit(Length::Long, move |conn| reads::open_instances(conn, after, limit))
    }

    fn due(&self, after: Option<Due>, limit: usize) -> StorageFuture<'_, Vec<Due>> {
        self.readers.submit(Length::Long, move |conn| reads::due(conn, after, limit))
    }

    fn timer_status(&self, function: FunctionName) -> StorageFuture<'_, Option<TimerStatus>> {
        self.readers.submit(Length::Short, move |conn| timers::status(conn, &function))
    }

    fn put_timer_status(&self, function: FunctionName, status: TimerStatus) -> StorageFuture<'_, ()> {
        self.writer.submit(move |batch| timers::put_status(batch, &function, status))
    }

    fn commits(&self) -> u64 {
        self.shared.commits()
    }

    fn close(&self) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            self.readers.close();
            self.writer.close().await;
            match self.shared.poisoned() {
                Some(poisoned) => Err(poisoned),
                None => Ok(()),
            }
        })
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("shared", &self.shared).finish_non_exhaustive()
    }
}
