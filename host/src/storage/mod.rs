//! Storage: what makes a task hub durable.
//!
//! The trait takes typed commits (values, not closures), applies each atomically and answers once it is durable: after an
//! `Ok`, neither kill -9 nor a power cut undoes it. It promises no layout. It decides two things that must be decided where
//! the data is: whether a start is admitted (the singleton gate), and whether a turn's generation is still open (the fence).
//!
//! It never knows guests, clocks or tasks. Every backend passes the same conformance suite.

#[cfg(test)]
mod conformance;
pub mod memory;
mod record;
mod rules;
pub mod sqlite;

pub use rules::child_ended;

use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc};

use crate::durable::{
    Creation, Digest, EntityId, EntityRecord, ExecutionId, ExecutionStarted, Failure, FunctionName, GenerationKey,
    InboxMessage, InstanceId, InstanceKey, Json, MessageNumber, NextExecution, OverridableStates, RuntimeStatus,
    Sequence, Summary, Timestamp, TurnNumber, TurnRecord,
};

/// A future that storage returns. Dropping it does not undo what it asked for.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// Why storage could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk is full (or a quota is reached). Nothing of the commit is stored; it may succeed later.
    #[error("the disk that holds the data folder is full: {0}")]
    Full(String),
    /// The commit could not be made and is not stored; another attempt may succeed.
    #[error("storage is busy: {0}")]
    Busy(String),
    /// What is stored contradicts itself. It is refused, never guessed over.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// Whether the commit is stored is unknown (a failed sync). Nothing is accepted any more: the process must end and
    /// recover from what is on disk.
    #[error("storage failed and accepts nothing more: {0}")]
    Poisoned(String),
}

/// Which slice of a task hub a commit belongs to, and the right to write it. One host owns everything under partition 0 and
/// epoch 0; backends that several hosts share refuse a commit whose epoch has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    /// The partition.
    pub partition: u32,
    /// The owner's epoch.
    pub epoch: i64,
    /// Only to the instance that this start made: a message, an end or a purge finds no other one, and a start takes no other
    /// one's place.
    pub creation: Option<Creation>,
}

impl Fence {
    /// Whether an instance of this number and creation time may be written to.
    pub(crate) fn admits(&self, instance: InstanceKey, created: Timestamp) -> bool {
        self.creation.is_none_or(|only| only == Creation { instance, time: created })
    }
}

/// A start, to be decided by the gate.
#[derive(Clone, Debug)]
pub struct Start {
    /// The right to write.
    pub fence: Fence,
    /// The id.
    pub id: InstanceId,
    /// Which existing states it may override.
    pub policy: OverridableStates,
    /// When it was asked for: the new generation's creation time.
    pub time: Timestamp,
    /// The execution to start.
    pub started: Arc<ExecutionStarted>,
}

/// What the gate decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Started {
    /// This start made the instance's present generation. Status: Pending.
    Started {
        /// The instance; the same number as before if it took another generation's place.
        instance: InstanceKey,
        /// The new generation.
        generation: GenerationKey,
        /// The generation whose place it took; a live one has ended in the same commit.
        replaced: Option<GenerationKey>,
        /// The last message number of the instance so far (0 if there was none): nothing up to it is in the inbox.
        messages_to: MessageNumber,
        /// What others are told of the end of a live generation that was replaced: its parent, entities that it locked.
        delivered: Vec<Delivered>,
    },
    /// The id is taken, and the policy does not allow to override its state.
    Exists {
        /// The generation that holds the id.
        generation: GenerationKey,
        /// Its status.
        status: RuntimeStatus,
        /// Its execution id.
        execution_id: ExecutionId,
    },
    /// The instance whose place it was to take ([`Fence::creation`]) is not there any more: nothing was stored.
    Changed,
}

/// A child that a turn starts, through the gate and in the turn's commit.
#[derive(Clone, Debug)]
pub struct ChildStart {
    /// The parent's action.
    pub sequence: Sequence,
    /// The admission itself is the answer: nobody waits for the child's end.
    pub detached: bool,
    /// The start; or why there is none, which the parent is told.
    pub start: Result<Start, Failure>,
}

/// A child that was admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    /// Its number.
    pub instance: InstanceKey,
    /// Its generation.
    pub generation: GenerationKey,
    /// As [`Started::Started`]'s.
    pub replaced: Option<GenerationKey>,
    /// As [`Started::Started`]'s.
    pub messages_to: MessageNumber,
    /// Its id.
    pub id: InstanceId,
    /// How it was started.
    pub started: Arc<ExecutionStarted>,
    /// When.
    pub time: Timestamp,
}

/// A message that a commit put into an instance's inbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivered {
    /// Whose.
    pub instance: InstanceKey,
    /// Its number.
    pub number: MessageNumber,
    /// The message.
    pub body: InboxMessage,
}

/// What a turn's commit did to other instances, and to its own inbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Children that were admitted.
    pub begun: Vec<Begun>,
    /// Messages that are in inboxes now.
    pub delivered: Vec<Delivered>,
    /// External events that found no live instance of this id, and are dropped.
    pub dropped: Vec<InstanceId>,
}

/// A turn's commit: one record, and what it takes from the inbox.
#[derive(Clone, Debug)]
pub struct TurnCommit {
    /// The right to write.
    pub fence: Fence,
    /// The instance.
    pub instance: InstanceKey,
    /// The generation that must still be open.
    pub generation: GenerationKey,
    /// The turn's number: exactly one more than the last recorded.
    pub number: TurnNumber,
    /// What happened.
    pub record: Arc<TurnRecord>,
    /// The inbox messages that the record now holds; they leave the inbox.
    pub took: Vec<MessageNumber>,
    /// Children to start: what the gate decides against is a message in this instance's inbox, as is every decision on a
    /// detached start (unless this turn ends the execution).
    pub children: Vec<ChildStart>,
    /// Messages to others, in order: what is for an orchestration that is not live is dropped, an entity is made if there is
    /// none. See [`PutMessage`] on locks.
    pub messages: Vec<PutMessage>,
    /// What this turn's end tells the parent, if that is live.
    pub notify: Option<PutMessage>,
    /// The execution that takes this one's place (continue-as-new). Then nothing of `record` is kept: the generation goes, what
    /// `next` carries is in the inbox again, and a new generation of the same instance and creation time begins.
    pub next: Option<Arc<NextExecution>>,
    /// `next_due` of the summary before this turn: storage keeps a due entry per generation, written only when it changes.
    pub previous_due: Option<Timestamp>,
}

/// What became of a turn's commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Committed {
    /// It is durable.
    Committed(Effects),
    /// It is durable, and this generation has begun. Status: Pending.
    Continued(GenerationKey, Effects),
    /// The generation has ended, was replaced or purged, or has that turn already: nothing was stored.
    Fenced,
}

/// A message for an instance's inbox.
///
/// Storage keeps which locks a generation holds or has asked for, so that none outlives it, however it ends: a
/// [`InboxMessage::LockRequest`] at its first entity notes them all, at a later one it is delivered only if that note is still
/// there; an [`InboxMessage::Unlock`] removes the receiver's; and every commit that ends a generation sends the unlocks of
/// those that are left.
#[derive(Clone, Debug)]
pub struct PutMessage {
    /// The right to write.
    pub fence: Fence,
    /// To whom.
    pub id: InstanceId,
    /// What.
    pub body: InboxMessage,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is in the inbox of a live instance.
    Accepted {
        /// The instance.
        instance: InstanceKey,
        /// Its present generation.
        generation: GenerationKey,
        /// The message's number.
        number: MessageNumber,
    },
    /// The instance has ended.
    Ended(RuntimeStatus),
    /// There is no such instance.
    NotFound,
}

/// A batch's commit: the entity's one record, and what it takes from the inbox.
#[derive(Clone, Debug)]
pub struct EntityCommit {
    /// The right to write.
    pub fence: Fence,
    /// The entity.
    pub instance: InstanceKey,
    /// Its generation.
    pub generation: GenerationKey,
    /// The record's number: exactly one more than the last one's, whose place it takes.
    pub number: TurnNumber,
    /// How the entity is now.
    pub record: Arc<EntityRecord>,
    /// The inbox messages that it took; they leave the inbox.
    pub took: Vec<MessageNumber>,
    /// Messages to others, in order, as [`TurnCommit::messages`].
    pub messages: Vec<PutMessage>,
    /// Orchestrations to start through the gate; what that decides against is nothing.
    pub starts: Vec<Start>,
    /// `next_due` of the record before this one.
    pub previous_due: Option<Timestamp>,
}

/// What became of a batch's commit.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityCommitted {
    /// It is durable.
    Committed(Effects),
    /// It is durable, and nothing is left of the entity: it has no state, no lock and an empty inbox.
    Gone(Effects),
    /// The entity is gone, or has that record already: nothing was stored.
    Fenced,
}

/// An entity as it is stored: one consistent moment.
#[derive(Clone, Debug, PartialEq)]
pub struct EntitySnapshot {
    /// Its id.
    pub id: EntityId,
    /// Its record; a state that was not asked for is `null`.
    pub record: EntityRecord,
}

/// A query over entities that have a state, in order of their ids.
#[derive(Clone, Debug, Default)]
pub struct EntityQuery {
    /// Of this name only, in lower case.
    pub name: Option<String>,
    /// Their last operations ran at this time or later.
    pub last_operation_from: Option<Timestamp>,
    /// Their last operations ran at this time or earlier.
    pub last_operation_to: Option<Timestamp>,
    /// After this entity.
    pub after: Option<EntityId>,
    /// At most this many; a page may be shorter and still have a successor.
    pub limit: usize,
    /// With states.
    pub state: bool,
}

/// A page of entities.
#[derive(Clone, Debug)]
pub struct EntityPage {
    /// The entities.
    pub entities: Vec<EntitySnapshot>,
    /// Where the next page begins (`EntityQuery::after`); `None` on the last.
    pub next: Option<EntityId>,
}

/// An operator's end of an instance. The record (an `ExecutionTerminated`) becomes the generation's last turn.
#[derive(Clone, Debug)]
pub struct End {
    /// The right to write.
    pub fence: Fence,
    /// Which.
    pub id: InstanceId,
    /// When.
    pub time: Timestamp,
    /// The operator's words.
    pub reason: String,
}

/// What became of an operator's end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The instance is Terminated; its inbox and its due entry are gone.
    Done {
        /// The instance.
        instance: InstanceKey,
        /// The generation that ended.
        generation: GenerationKey,
        /// What others are told of it: its parent, entities that it locked.
        delivered: Vec<Delivered>,
    },
    /// It had ended before.
    Already(RuntimeStatus),
    /// There is no such instance.
    NotFound,
}

/// A rewind: failed instances that run on, a parent with its failed children, in one commit.
#[derive(Clone, Debug)]
pub struct Rewind {
    /// The right to write.
    pub fence: Fence,
    /// The instances that run on.
    pub instances: Vec<RewoundInstance>,
    /// What this was decided upon beside them.
    pub unchanged: Vec<Unchanged>,
}

/// One of the instances of a rewind. Its failed generation goes; a new one with the same creation time and inbox begins.
#[derive(Clone, Debug)]
pub struct RewoundInstance {
    /// The instance.
    pub instance: InstanceKey,
    /// The generation that must still be there, and have failed.
    pub failed: GenerationKey,
    /// From this turn (from 1) on the new generation has `records`; what lies before it has from the failed one.
    pub from: TurnNumber,
    /// At least one; the last one's summary is how the new generation stands.
    pub records: Vec<Arc<TurnRecord>>,
    /// Actions whose [`InboxMessage::ChildEnded`] leave the inbox: what they tell is outdated.
    pub settled: BTreeSet<Sequence>,
    /// What is put into its inbox then.
    pub messages: Vec<InboxMessage>,
    /// Children to start, as in [`TurnCommit::children`].
    pub children: Vec<ChildStart>,
}

/// An instance on which a rewind was decided: it must have this generation still, and be live or ended still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchanged {
    /// The instance.
    pub instance: InstanceKey,
    /// Its generation.
    pub generation: GenerationKey,
    /// Whether it is live.
    pub live: bool,
}

/// What became of a rewind.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewound {
    /// It is durable: all of it.
    Done {
        /// The new generations, in the order of [`Rewind::instances`].
        generations: Vec<GenerationKey>,
        /// What it did to inboxes and other instances.
        effects: Effects,
    },
    /// Something is not as it was when this was decided: nothing was stored.
    Changed,
}

/// What became of a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purged {
    /// The instance and all that belongs to it are gone, in one commit. (Space is given back later, in slices.)
    Done,
    /// It is live, and stays.
    Live(RuntimeStatus),
    /// There is no such instance.
    NotFound,
}

/// What a status read returns beside the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The input (else `started.input` is `null`).
    pub input: bool,
    /// Every record.
    pub history: bool,
}

/// Which instances have expired: those that ended so at this time or earlier. `None` is none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Completed.
    pub completed: Option<Timestamp>,
    /// Failed.
    pub failed: Option<Timestamp>,
    /// Terminated or canceled.
    pub terminated: Option<Timestamp>,
    /// The clock. What was created later was so while the clock was wrong.
    pub now: Timestamp,
}

impl Expiry {
    /// What has this status expired if it ended by then; never what is live.
    pub fn of(&self, status: RuntimeStatus) -> Option<Timestamp> {
        match status {
            RuntimeStatus::Completed => self.completed,
            RuntimeStatus::Failed => self.failed,
            RuntimeStatus::Terminated | RuntimeStatus::Canceled => self.terminated,
            RuntimeStatus::Pending
            | RuntimeStatus::Running
            | RuntimeStatus::Suspended
            | RuntimeStatus::ContinuedAsNew => None,
        }
    }

    /// What was created after this has not expired.
    pub fn latest(&self) -> Option<Timestamp> {
        self.completed.max(self.failed).max(self.terminated)
    }
}

/// A slice of the search for instances that have expired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// They, with the generations that have ended.
    pub instances: Vec<(InstanceKey, GenerationKey)>,
    /// After which instance the search goes on; `None` once it has found all.
    pub next: Option<InstanceKey>,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// With this output.
    Completed(Json),
    /// By a failure.
    Failed(crate::durable::Failure),
    /// By an operator, who gave this reason.
    Terminated(String),
}

/// An instance as it is stored: one consistent moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its number.
    pub instance: InstanceKey,
    /// Its id.
    pub id: InstanceId,
    /// Its present (or last) generation.
    pub generation: GenerationKey,
    /// How it was started.
    pub started: Arc<ExecutionStarted>,
    /// When the generation was created.
    pub created: Timestamp,
    /// When its last record was written.
    pub updated: Timestamp,
    /// How it stands.
    pub summary: Summary,
    /// Its custom status.
    pub custom_status: Option<Json>,
    /// How it ended, if it did.
    pub output: Option<Output>,
    /// Every record from the start on, if asked for.
    pub history: Option<Vec<Arc<TurnRecord>>>,
}

/// A query over instances, in order of instance number.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created at this time or earlier.
    pub created_to: Option<Timestamp>,
    /// In one of these states; empty means any.
    pub statuses: Vec<RuntimeStatus>,
    /// The id begins with this (case-sensitive).
    pub prefix: Option<String>,
    /// After this instance.
    pub after: Option<InstanceKey>,
    /// At most this many; a page may be shorter and still have a successor.
    pub limit: usize,
    /// With inputs.
    pub input: bool,
}

/// A page of instances.
#[derive(Clone, Debug)]
pub struct Page {
    /// The instances (without history).
    pub instances: Vec<Snapshot>,
    /// Where the next page begins (`Query::after`); `None` on the last.
    pub next: Option<InstanceKey>,
}

/// How many messages of an orchestration's inbox are read at once: what a turn takes, and carries over to the next execution,
/// must not grow with what waits. (An entity's are read all, as what unlocks it may be the last.)
pub const INBOX_PAGE: usize = 1_000;

/// All that is needed to continue an instance: one consistent moment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its number.
    pub instance: InstanceKey,
    /// Its id.
    pub id: InstanceId,
    /// Its present generation, which is open.
    pub generation: GenerationKey,
    /// Every record from the start on, in order; the turn's number is the index. Empty for an entity.
    pub records: Vec<Arc<TurnRecord>>,
    /// For an entity its one record, and that one's number.
    pub entity: Option<(TurnNumber, Arc<EntityRecord>)>,
    /// Its inbox, in order; of an orchestration the first [`INBOX_PAGE`] messages.
    pub inbox: Vec<(MessageNumber, InboxMessage)>,
    /// The last message number of the instance so far (0 if there was none), or if there are more messages the last one's
    /// here: what is not in the inbox up to it was taken.
    pub messages_to: MessageNumber,
    /// The inbox holds more messages, after `messages_to`.
    pub has_more: bool,
}

/// A live instance, as recovery sees it.
#[derive(Clone, Debug)]
pub struct OpenInstance {
    /// Its number.
    pub instance: InstanceKey,
    /// Its id.
    pub id: InstanceId,
    /// Its present generation.
    pub generation: GenerationKey,
    /// Its last record's summary.
    pub summary: Summary,
    /// Whether its inbox holds a message.
    pub has_messages: bool,
}

/// Where the schedule of a timer function stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerStatus {
    /// The last firing.
    pub last: Option<Timestamp>,
    /// The next firing; none if there is none any more.
    pub next: Option<Timestamp>,
    /// When this was written.
    pub updated: Timestamp,
    /// A number that differs from another schedule's.
    pub schedule: u32,
}

/// A due entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When the generation's earliest timer is due.
    pub at: Timestamp,
    /// The generation.
    pub generation: GenerationKey,
    /// Its instance.
    pub instance: InstanceKey,
}

/// How far a search for an instance that needs a component has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentUse {
    /// This instance needs it: it runs on it and is live, or Failed (it could be rewound).
    By(InstanceKey),
    /// None that was looked at needs it: the search goes on with this instance.
    SearchFrom(InstanceKey),
    /// No instance from where the search began needs it.
    Nobody,
}

/// What makes a task hub durable. See the module's page for what every method promises.
///
/// Commits take effect in the order in which storage decides them; a read that begins after a commit was answered sees it.
pub trait Storage: Send + Sync + 'static {
    /// The singleton gate: one conditional insert. Of any number of concurrent starts of one id under
    /// [`OverridableStates::NonRunningStates`] or `None`, exactly one is [`Started::Started`], and every loser is answered
    /// after the winner's commit is durable. Overriding drops the old generation's records, inbox and due entry.
    fn start(&self, start: Start) -> StorageFuture<'_, Started>;

    /// Commits a turn, if its generation is still open and `number` is the next.
    fn commit_turn(&self, commit: TurnCommit) -> StorageFuture<'_, Committed>;

    /// Commits a batch, if the entity is there and `number` is the next.
    fn commit_entity(&self, commit: EntityCommit) -> StorageFuture<'_, EntityCommitted>;

    /// Reads one entity; `None` if it has no state.
    fn entity(&self, id: EntityId) -> StorageFuture<'_, Option<EntitySnapshot>>;

    /// Reads a page of entities.
    fn entities(&self, query: EntityQuery) -> StorageFuture<'_, EntityPage>;

    /// Puts a message into a live instance's inbox, or an entity's, which is made if there is none.
    fn put_message(&self, message: PutMessage) -> StorageFuture<'_, Put>;

    /// Ends a live instance.
    fn end(&self, end: End) -> StorageFuture<'_, Ended>;

    /// Lets failed instances run on, all of them or none.
    fn rewind(&self, rewind: Rewind) -> StorageFuture<'_, Rewound>;

    /// Deletes an ended instance.
    fn purge(&self, fence: Fence, id: InstanceId) -> StorageFuture<'_, Purged>;

    /// Searches the instances after this one, in order of number, for at most `limit` that have expired; it may find fewer,
    /// even none, and go on. What cannot be read has not expired. Instances that come after the first one which was created
    /// after [`Expiry::latest`], but not after [`Expiry::now`], under an id that was new need not be found: they are younger.
    fn expired(&self, expiry: Expiry, after: Option<InstanceKey>, limit: usize) -> StorageFuture<'_, Expired>;

    /// Deletes those of these instances that have ended and whose generation it still is, in one commit; how many.
    fn purge_generations(&self, fence: Fence, instances: Vec<(InstanceKey, GenerationKey)>) -> StorageFuture<'_, u64>;

    /// Keeps a component's bytes; does nothing if it has them.
    fn put_component(&self, digest: Digest, bytes: Arc<[u8]>) -> StorageFuture<'_, ()>;

    /// A component's bytes.
    fn component(&self, digest: Digest) -> StorageFuture<'_, Option<Arc<[u8]>>>;

    /// The digests of all components whose bytes are kept, in order.
    fn components(&self) -> StorageFuture<'_, Vec<Digest>>;

    /// Searches the instances from this one on, in order of number and at most `limit` of them, for the first that needs a
    /// component. An instance whose records cannot be read counts as one that does.
    fn component_use(&self, digest: Digest, from: InstanceKey, limit: usize) -> StorageFuture<'_, ComponentUse>;

    /// Deletes a component's bytes; does nothing if they are not there. Whether an instance needs them the caller knows.
    fn drop_component(&self, fence: Fence, digest: Digest) -> StorageFuture<'_, ()>;

    /// Gives back the space of generations that are gone: at most `limit` records. True if there may be more.
    fn collect(&self, limit: usize) -> StorageFuture<'_, bool>;

    /// Reads one instance. Entities are none, here and in lists.
    fn snapshot(&self, id: InstanceId, want: Want) -> StorageFuture<'_, Option<Snapshot>>;

    /// Reads a page of instances.
    fn list(&self, query: Query) -> StorageFuture<'_, Page>;

    /// Reads what is needed to continue an instance; `None` if it is not live (any more).
    fn load(&self, instance: InstanceKey) -> StorageFuture<'_, Option<Loaded>>;

    /// Live instances after this one, in order of number, at most `limit`.
    fn open_instances(&self, after: Option<InstanceKey>, limit: usize) -> StorageFuture<'_, Vec<OpenInstance>>;

    /// Due entries after this one in order (`at`, `generation`), at most `limit`.
    fn due(&self, after: Option<Due>, limit: usize) -> StorageFuture<'_, Vec<Due>>;

    /// Where the schedule of a timer function stands; none if that was never written.
    fn timer_status(&self, function: FunctionName) -> StorageFuture<'_, Option<TimerStatus>>;

    /// Keeps where the schedule of a timer function stands, in place of what was kept before.
    fn put_timer_status(&self, function: FunctionName, status: TimerStatus) -> StorageFuture<'_, ()>;

    /// How many commits (transactions made durable) there have been since it was opened; for benchmarks and the log.
    fn commits(&self) -> u64;

    /// Ends what the backend runs, after everything accepted is durable.
    fn close(&self) -> StorageFuture<'_, ()>;
}
