//! Planted mistakes: each must be found, or the simulation proves little.
//!
//! Most are made by storage that breaks its contract ([`Buggy`]); those inside the core and the hub need the feature
//! `planted-bugs` of the host's crate.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use soloist::{
    durable::{
        Digest, EntityId, FunctionName, GenerationKey, InboxMessage, InstanceId, InstanceKey, MessageNumber,
        RuntimeStatus,
    },
    storage::{
        Committed, ComponentUse, Due, End, Ended, EntityCommit, EntityCommitted, EntityPage, EntityQuery,
        EntitySnapshot, Expired, Expiry, Fence, Loaded, OpenInstance, Page, Purged, Put, PutMessage, Query, Rewind,
        Rewound, Snapshot, Start, Started, Storage, StorageError, StorageFuture, TimerStatus, TurnCommit, Want,
    },
};

use crate::dice::{Dice, Life};

/// A mistake and where it is planted.
#[derive(Debug)]
pub struct Bug {
    pub name: &'static str,
    /// In storage.
    pub storage: Option<Mistake>,
    /// In the core or the hub.
    #[cfg(feature = "planted-bugs")]
    pub inside: Option<soloist::planted::Bug>,
    /// In the host's clock: so much is it ahead.
    pub clock_ahead_ms: u64,
    /// In the executor: a guest draws other numbers than the one before it.
    pub other_entropy: bool,
}

/// What storage does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    TurnAckedBeforeCommit,
    EventAckedBeforeCommit,
    TerminateAckedBeforeCommit,
    CarriedDropped,
    FenceIgnored,
    TakenDeliveredAgain,
    DueEntriesLost,
    TwoStartsAdmitted,
    LoserAnsweredFirst,
    LivePurged,
    PurgeForgotten,
    EndNotTold,
    TookLost,
    PutLostInCrash,
    InboxReordered,
    InboxOfReplaced,
    EventStoredTwice,
    StaleReads,
    ChildNotStarted,
    OpenInstancesLost,
    ReplacementForgotten,
    ListSkips,
    SignalLost,
    AnswerLost,
    OperationLeft,
    OperationDoubled,
    SentEventLost,
    SentEventDoubled,
    SentEventMisdelivered,
    EntityStartLost,
    EntityStartRepeated,
    EntityListSkips,
    EntityReadsStale,
    TimerStatusLost,
}

const NOTHING: Bug = Bug {
    name: "",
    storage: None,
    #[cfg(feature = "planted-bugs")]
    inside: None,
    clock_ahead_ms: 0,
    other_entropy: false,
};

const fn storage(name: &'static str, mistake: Mistake) -> Bug {
    Bug { name, storage: Some(mistake), ..NOTHING }
}

#[cfg(feature = "planted-bugs")]
const fn inside(name: &'static str, bug: soloist::planted::Bug) -> Bug {
    Bug { name, inside: Some(bug), ..NOTHING }
}

/// Every planted mistake.
pub static BUGS: &[Bug] = &[
    storage("a turn is acknowledged before it is committed", Mistake::TurnAckedBeforeCommit),
    storage("an event is acknowledged before it is committed", Mistake::EventAckedBeforeCommit),
    storage("a terminate is acknowledged before it is committed", Mistake::TerminateAckedBeforeCommit),
    storage("carried events are dropped at continue-as-new", Mistake::CarriedDropped),
    storage("the generation fence is ignored", Mistake::FenceIgnored),
    storage("taken messages are delivered to the next generation", Mistake::TakenDeliveredAgain),
    storage("due entries are lost", Mistake::DueEntriesLost),
    storage("two racing starts are admitted", Mistake::TwoStartsAdmitted),
    storage("a loser is answered before the winner is durable", Mistake::LoserAnsweredFirst),
    storage("a live instance is purged", Mistake::LivePurged),
    storage("a purge is forgotten", Mistake::PurgeForgotten),
    storage("a parent is not told of its child's end", Mistake::EndNotTold),
    storage("what a turn took stays in the inbox", Mistake::TookLost),
    storage("messages are lost in a crash", Mistake::PutLostInCrash),
    storage("the inbox is read out of order", Mistake::InboxReordered),
    storage("a replacement gets its predecessor's events", Mistake::InboxOfReplaced),
    storage("an event is stored twice", Mistake::EventStoredTwice),
    storage("status reads are stale", Mistake::StaleReads),
    storage("a child's start is left out of its parent's commit", Mistake::ChildNotStarted),
    storage("recovery does not see every open instance", Mistake::OpenInstancesLost),
    storage("an acknowledged replacement is not made", Mistake::ReplacementForgotten),
    storage("a list leaves instances out", Mistake::ListSkips),
    storage("a turn's signal to an entity is lost", Mistake::SignalLost),
    storage("the answer of an entity's operation is lost", Mistake::AnswerLost),
    storage("an operation that has run stays in the inbox", Mistake::OperationLeft),
    storage("an operation that is sent is doubled", Mistake::OperationDoubled),
    storage("an event that a turn sends is lost", Mistake::SentEventLost),
    storage("an event that a turn sends is doubled", Mistake::SentEventDoubled),
    storage("an event that a turn sends reaches another instance", Mistake::SentEventMisdelivered),
    storage("an orchestration that an entity starts is lost", Mistake::EntityStartLost),
    storage("a batch starts again what one before it started", Mistake::EntityStartRepeated),
    storage("a list leaves entities out", Mistake::EntityListSkips),
    storage("reads of entities are stale", Mistake::EntityReadsStale),
    storage("where a timer function stands is lost", Mistake::TimerStatusLost),
    Bug { name: "timers fire early by a clock that is ahead", clock_ahead_ms: 300, ..NOTHING },
    Bug { name: "replay draws other random numbers", other_entropy: true, ..NOTHING },
    #[cfg(feature = "planted-bugs")]
    inside("messages are not deduplicated", soloist::planted::Bug::MessageDedupeOff),
    #[cfg(feature = "planted-bugs")]
    inside("an end does not absorb", soloist::planted::Bug::TerminalDoesNotAbsorb),
    #[cfg(feature = "planted-bugs")]
    inside("attempts are not counted", soloist::planted::Bug::RetryAttemptNotCounted),
    #[cfg(feature = "planted-bugs")]
    inside("a crash shortens a back-off", soloist::planted::Bug::BackOffForgottenByFold),
    #[cfg(feature = "planted-bugs")]
    inside("the result of a canceled task is delivered", soloist::planted::Bug::CanceledResultDelivered),
    #[cfg(feature = "planted-bugs")]
    inside("timers go by the orchestrator's clock", soloist::planted::Bug::TimerByOrchestratorsClock),
    #[cfg(feature = "planted-bugs")]
    inside("a guest is kept after a fenced commit", soloist::planted::Bug::GuestKeptAfterFencedCommit),
    #[cfg(feature = "planted-bugs")]
    inside("the inbox is taken with gaps", soloist::planted::Bug::InboxWithGaps),
    #[cfg(feature = "planted-bugs")]
    inside("of several outcomes one is kept", soloist::planted::Bug::SecondOutcomeDropped),
    #[cfg(feature = "planted-bugs")]
    inside("activities are not run again after a crash", soloist::planted::Bug::OutstandingNotDispatched),
    #[cfg(feature = "planted-bugs")]
    inside("a suspension does not survive", soloist::planted::Bug::SuspensionForgottenByFold),
    #[cfg(feature = "planted-bugs")]
    inside("slots of activities leak", soloist::planted::Bug::SlotLeaked),
    #[cfg(feature = "planted-bugs")]
    inside("residency entries leak", soloist::planted::Bug::ResidencyLeaked),
    #[cfg(feature = "planted-bugs")]
    inside("timers leak", soloist::planted::Bug::TimerLeaked),
    #[cfg(feature = "planted-bugs")]
    inside("cells leak", soloist::planted::Bug::CellLeaked),
    #[cfg(feature = "planted-bugs")]
    inside("replay is not compared", soloist::planted::Bug::ReplayUnchecked),
    #[cfg(feature = "planted-bugs")]
    inside("the last event is not carried over", soloist::planted::Bug::LastEventNotCarried),
    #[cfg(feature = "planted-bugs")]
    inside("locks are kept at terminate", soloist::planted::Bug::LocksKeptAtTerminate),
    #[cfg(feature = "planted-bugs")]
    inside("locks are kept at a replacement", soloist::planted::Bug::LocksKeptAtReplacement),
    #[cfg(feature = "planted-bugs")]
    inside("locks are kept at continue-as-new and at an end", soloist::planted::Bug::LocksKeptAtContinueAsNew),
    #[cfg(feature = "planted-bugs")]
    inside("a dead generation's lock request goes on", soloist::planted::Bug::DeadLockRequestKept),
    #[cfg(feature = "planted-bugs")]
    inside("a lock request that was given up is granted", soloist::planted::Bug::GivenUpRequestGranted),
    #[cfg(feature = "planted-bugs")]
    inside("locks are ignored", soloist::planted::Bug::LockIgnored),
    #[cfg(feature = "planted-bugs")]
    inside("scheduled signals come early", soloist::planted::Bug::ScheduledSignalEarly),
    #[cfg(feature = "planted-bugs")]
    inside("a batch is kept after a failed commit", soloist::planted::Bug::BatchKeptAfterFailedCommit),
    #[cfg(feature = "planted-bugs")]
    inside("a rewind keeps the failed step", soloist::planted::Bug::RewindKeepsFailures),
    #[cfg(feature = "planted-bugs")]
    inside("a rewind runs a successful step again", soloist::planted::Bug::RewindDropsResults),
    #[cfg(feature = "planted-bugs")]
    inside("accepted HTTP work is begun again after a crash", soloist::planted::Bug::AcceptanceForgottenByFold),
    #[cfg(feature = "planted-bugs")]
    inside("the answer to an HTTP poll is lost", soloist::planted::Bug::PollAnswerLost),
    #[cfg(feature = "planted-bugs")]
    inside("a rewound execution sends again what it has sent", soloist::planted::Bug::RewindSendsAgain),
    #[cfg(feature = "planted-bugs")]
    inside("a rewind drops failures that have answers", soloist::planted::Bug::RewindReplaysNothing),
    #[cfg(feature = "planted-bugs")]
    inside("a timer function's run that a crash cut short is forgotten", soloist::planted::Bug::FiringKeptBeforeRun),
    #[cfg(feature = "planted-bugs")]
    inside("a timer function fires again for all that was missed", soloist::planted::Bug::MissedFiresInBurst),
    #[cfg(feature = "planted-bugs")]
    inside("a clock that is set back brings a firing twice", soloist::planted::Bug::SetBackFiresTwice),
    #[cfg(feature = "planted-bugs")]
    inside("a schedule that is not monitored is remembered", soloist::planted::Bug::UnmonitoredRemembered),
];

/// What was answered and is not stored yet.
enum Pending {
    Turn(TurnCommit),
    Put(PutMessage),
    End(End),
}

/// Storage with a mistake.
pub struct Buggy {
    real: Arc<dyn Storage>,
    life: Arc<Life>,
    mistake: Mistake,
    dice: Mutex<Dice>,
    pending: Mutex<Option<Pending>>,
    /// What a mistake needs to know of the past.
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    taken: BTreeMap<InstanceKey, Vec<(MessageNumber, InboxMessage)>>,
    starting: Vec<InstanceId>,
    seen: BTreeMap<InstanceId, Snapshot>,
    seen_entities: BTreeMap<EntityId, EntitySnapshot>,
    entity_starts: Vec<Start>,
}

impl Buggy {
    pub fn new(real: Arc<dyn Storage>, life: Arc<Life>, mistake: Mistake, seed: u64) -> Self {
        let (dice, pending, memory) = (Mutex::new(Dice::new(seed)), Mutex::default(), Mutex::default());
        Self { real, life, mistake, dice, pending, memory }
    }

    fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn sometimes(&self, mistake: Mistake) -> bool {
        self.is(mistake) && self.dice.lock().expect("no panic while it is locked").one_in(4)
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().expect("no panic while it is locked")
    }

    fn owe(&self, pending: Pending) {
        *self.pending.lock().expect("no panic while it is locked") = Some(pending);
    }

    /// Stores what was answered before.
    async fn flush(&self) -> Result<(), StorageError> {
        let pending = self.pending.lock().expect("no panic while it is locked").take();
        match pending {
            Some(Pending::Turn(commit)) => self.real.commit_turn(commit).await.map(drop),
            Some(Pending::Put(message)) => self.real.put_message(message).await.map(drop),
            Some(Pending::End(end)) => self.real.end(end).await.map(drop),
            None => Ok(()),
        }
    }

    async fn find(&self, id: &InstanceId) -> Result<Option<Snapshot>, StorageError> {
        self.real.snapshot(id.clone(), Want { input: true, history: true }).await
    }

    async fn start_badly(&self, start: Start) -> Result<Started, StorageError> {
        if self.is(Mistake::LoserAnsweredFirst) {
            let racing = self.memory().starting.contains(&start.id);
            if racing {
                let (generation, execution_id) =
                    (soloist::durable::GenerationKey(1), start.started.execution_id.clone());
                return Ok(Started::Exists { generation, status: RuntimeStatus::Pending, execution_id });
            }
            self.memory().starting.push(start.id.clone());
            self.life.nap_millis(300).await;
            self.memory().starting.retain(|id| *id != start.id);
        }
        let before = self.find(&start.id).await?;
        if let Some(before) = before.as_ref().filter(|_| self.sometimes(Mistake::ReplacementForgotten))
            && start.policy.admits(before.summary.status)
        {
            let (instance, generation, messages_to) = (before.instance, before.generation, MessageNumber(0));
            return Ok(Started::Started { instance, generation, replaced: None, messages_to, delivered: vec![] });
        }
        let inbox = match &before {
            Some(before) => self.real.load(before.instance).await?.map(|loaded| loaded.inbox).unwrap_or_default(),
            None => vec![],
        };
        let id = start.id.clone();
        let started = self.real.start(start).await?;
        match &started {
            Started::Exists { generation, .. } if self.sometimes(Mistake::TwoStartsAdmitted) => {
                let instance = before.expect("it exists").instance;
                let (generation, messages_to) = (*generation, MessageNumber(0));
                Ok(Started::Started { instance, generation, replaced: None, messages_to, delivered: vec![] })
            }
            Started::Started { replaced: Some(_), .. } if self.is(Mistake::InboxOfReplaced) => {
                for (_, body) in inbox {
                    self.real.put_message(PutMessage { fence: Fence::default(), id: id.clone(), body }).await?;
                }
                Ok(started)
            }
            _ => Ok(started),
        }
    }

    async fn commit_badly(&self, mut commit: TurnCommit) -> Result<Committed, StorageError> {
        if self.is(Mistake::TurnAckedBeforeCommit)
            && commit.children.is_empty()
            && commit.messages.is_empty()
            && commit.notify.is_none()
            && commit.next.is_none()
            && let Some(loaded) = self.real.load(commit.instance).await?
            && loaded.generation == commit.generation
            && loaded.records.len() == commit.number.0 as usize
        {
            self.owe(Pending::Turn(commit));
            return Ok(Committed::Committed(soloist::storage::Effects::default()));
        }
        if let Some(next) = commit.next.as_mut().filter(|_| self.is(Mistake::CarriedDropped)) {
            Arc::make_mut(next).carried.clear();
        }
        if self.is(Mistake::TookLost) {
            commit.took.clear();
        }
        if self.sometimes(Mistake::EndNotTold) {
            commit.notify = None;
        }
        if self.sometimes(Mistake::ChildNotStarted) {
            commit.children.clear();
        }
        self.send_badly(&mut commit.messages);
        if self.is(Mistake::TakenDeliveredAgain) {
            let loaded = self.real.load(commit.instance).await?;
            let inbox = loaded.map(|loaded| loaded.inbox).unwrap_or_default();
            let took = inbox.into_iter().filter(|(number, _)| commit.took.contains(number));
            self.memory().taken.entry(commit.instance).or_default().extend(took);
        }
        let committed = self.real.commit_turn(commit.clone()).await?;
        if committed == Committed::Fenced
            && self.is(Mistake::FenceIgnored)
            && let Some(loaded) = self.real.load(commit.instance).await?
        {
            let last = loaded.records.last().expect("never empty").summary;
            commit.generation = loaded.generation;
            commit.number = soloist::durable::TurnNumber(u32::try_from(loaded.records.len()).expect("small"));
            commit.previous_due = last.next_due;
            return self.real.commit_turn(commit).await;
        }
        Ok(committed)
    }

    fn send_badly(&self, messages: &mut Vec<PutMessage>) {
        let is_event = |message: &PutMessage| matches!(message.body, InboxMessage::EventRaised { .. });
        messages.retain(|message| match &message.body {
            InboxMessage::EntityOperation(operation) => {
                operation.reply.is_some() || !self.sometimes(Mistake::SignalLost)
            }
            InboxMessage::EntityAnswered { .. } => !self.sometimes(Mistake::AnswerLost),
            InboxMessage::EventRaised { .. } => !self.sometimes(Mistake::SentEventLost),
            _ => true,
        });
        let doubled = messages.iter().filter(|message| match &message.body {
            InboxMessage::EventRaised { .. } => self.sometimes(Mistake::SentEventDoubled),
            InboxMessage::EntityOperation(_) => self.sometimes(Mistake::OperationDoubled),
            _ => false,
        });
        let doubled: Vec<_> = doubled.cloned().collect();
        messages.extend(doubled);
        for message in messages.iter_mut().filter(|message| is_event(message)) {
            if self.sometimes(Mistake::SentEventMisdelivered) {
                message.id = InstanceId::from_stored(if message.id.as_str().ends_with('0') {
                    "instance-1"
                } else {
                    "instance-0"
                });
            }
        }
    }

    async fn batch_badly(&self, mut commit: EntityCommit) -> Result<EntityCommitted, StorageError> {
        if self.sometimes(Mistake::OperationLeft) {
            commit.took.pop();
        }
        if self.sometimes(Mistake::EntityStartLost) {
            commit.starts.clear();
        }
        if self.is(Mistake::EntityStartRepeated) {
            let mut memory = self.memory();
            let before = memory.entity_starts.clone();
            memory.entity_starts.extend_from_slice(&commit.starts);
            commit.starts.extend(before);
        }
        self.send_badly(&mut commit.messages);
        self.real.commit_entity(commit).await
    }

    async fn entity_badly(&self, id: EntityId) -> Result<Option<EntitySnapshot>, StorageError> {
        let now = self.real.entity(id.clone()).await?;
        let stale = self.memory().seen_entities.get(&id).cloned();
        if stale.is_some() && self.sometimes(Mistake::EntityReadsStale) {
            return Ok(stale);
        }
        // The first of them is kept.
        if let Some(now) = now.clone() {
            self.memory().seen_entities.entry(id).or_insert(now);
        }
        Ok(now)
    }

    async fn entities_badly(&self, query: EntityQuery) -> Result<EntityPage, StorageError> {
        let mut page = self.real.entities(query).await?;
        if self.sometimes(Mistake::EntityListSkips) {
            page.entities.pop();
        }
        Ok(page)
    }

    async fn put_badly(&self, message: PutMessage) -> Result<Put, StorageError> {
        if self.is(Mistake::EventAckedBeforeCommit)
            && let Some(snapshot) = self.find(&message.id).await?
            && let Some(loaded) = self.real.load(snapshot.instance).await?
        {
            self.owe(Pending::Put(message));
            let (instance, generation) = (snapshot.instance, snapshot.generation);
            let number = MessageNumber(loaded.messages_to.0 + 1);
            return Ok(Put::Accepted { instance, generation, number });
        }
        if self.sometimes(Mistake::EventStoredTwice) {
            self.real.put_message(message.clone()).await?;
        }
        self.real.put_message(message).await
    }

    async fn end_badly(&self, end: End) -> Result<Ended, StorageError> {
        if self.is(Mistake::TerminateAckedBeforeCommit)
            && let Some(snapshot) = self.find(&end.id).await?
            && !snapshot.summary.status.is_terminal()
        {
            self.owe(Pending::End(end));
            let (instance, generation) = (snapshot.instance, snapshot.generation);
            return Ok(Ended::Done { instance, generation, delivered: vec![] });
        }
        self.real.end(end).await
    }

    async fn purge_badly(&self, fence: Fence, id: InstanceId) -> Result<Purged, StorageError> {
        if self.sometimes(Mistake::PurgeForgotten) && self.find(&id).await?.is_some() {
            return Ok(Purged::Done);
        }
        if self.is(Mistake::LivePurged) {
            let time = soloist::durable::Timestamp(self.life.true_now());
            self.real.end(End { fence, id: id.clone(), time, reason: "simulated".into() }).await?;
        }
        self.real.purge(fence, id).await
    }

    async fn snapshot_badly(&self, id: InstanceId, want: Want) -> Result<Option<Snapshot>, StorageError> {
        let now = self.real.snapshot(id.clone(), want).await?;
        if self.is(Mistake::StaleReads) {
            let stale = self.memory().seen.get(&id).cloned();
            if stale.is_some() && self.sometimes(Mistake::StaleReads) {
                return Ok(stale);
            }
            self.memory().seen.extend(now.clone().map(|now| (id, now)));
        }
        Ok(now)
    }

    async fn list_badly(&self, query: Query) -> Result<Page, StorageError> {
        let mut page = self.real.list(query).await?;
        if self.sometimes(Mistake::ListSkips) {
            page.instances.pop();
        }
        Ok(page)
    }

    async fn load_badly(&self, instance: InstanceKey) -> Result<Option<Loaded>, StorageError> {
        let Some(mut loaded) = self.real.load(instance).await? else { return Ok(None) };
        match self.mistake {
            Mistake::InboxReordered => loaded.inbox.reverse(),
            // The first load after a start of the process.
            Mistake::PutLostInCrash => {
                let is_first = self.memory().taken.insert(instance, vec![]).is_none();
                if is_first {
                    loaded.inbox.retain(|(_, body)| !matches!(body, InboxMessage::EventRaised { .. }));
                }
            }
            Mistake::TakenDeliveredAgain => {
                let again = self.memory().taken.get(&instance).cloned().unwrap_or_default();
                loaded.inbox.extend(again);
                loaded.inbox.sort_by_key(|(number, _)| *number);
                loaded.inbox.dedup_by_key(|(number, _)| *number);
            }
            _ => {}
        }
        Ok(Some(loaded))
    }

    async fn due_badly(&self, after: Option<Due>, limit: usize) -> Result<Vec<Due>, StorageError> {
        let mut due = self.real.due(after, limit).await?;
        if self.sometimes(Mistake::DueEntriesLost) {
            due.pop();
        }
        Ok(due)
    }

    async fn keep_timer_badly(&self, function: FunctionName, status: TimerStatus) -> Result<(), StorageError> {
        if self.sometimes(Mistake::TimerStatusLost) {
            return Ok(());
        }
        self.real.put_timer_status(function, status).await
    }

    async fn open_badly(&self, after: Option<InstanceKey>, limit: usize) -> Result<Vec<OpenInstance>, StorageError> {
        let mut open = self.real.open_instances(after, limit).await?;
        if self.is(Mistake::OpenInstancesLost) && open.len() > 1 {
            // The last one would be found again at the top of the next page.
            open.remove(0);
        }
        Ok(open)
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $($to:ident).+;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> StorageFuture<'_, $result> {
            Box::pin(async move {
                self.flush().await?;
                self.$($to).+($($argument),*).await
            })
        })*
    };
}

impl Storage for Buggy {
    forward! {
        start(start: Start) -> Started = start_badly;
        commit_turn(commit: TurnCommit) -> Committed = commit_badly;
        commit_entity(commit: EntityCommit) -> EntityCommitted = batch_badly;
        entity(id: EntityId) -> Option<EntitySnapshot> = entity_badly;
        entities(query: EntityQuery) -> EntityPage = entities_badly;
        put_message(message: PutMessage) -> Put = put_badly;
        end(end: End) -> Ended = end_badly;
        rewind(rewind: Rewind) -> Rewound = real.rewind;
        purge(fence: Fence, id: InstanceId) -> Purged = purge_badly;
        expired(expiry: Expiry, after: Option<InstanceKey>, limit: usize) -> Expired = real.expired;
        purge_generations(fence: Fence, instances: Vec<(InstanceKey, GenerationKey)>) -> u64 = real.purge_generations;
        put_component(digest: Digest, bytes: Arc<[u8]>) -> () = real.put_component;
        component(digest: Digest) -> Option<Arc<[u8]>> = real.component;
        components() -> Vec<Digest> = real.components;
        component_use(digest: Digest, from: InstanceKey, limit: usize) -> ComponentUse = real.component_use;
        drop_component(fence: Fence, digest: Digest) -> () = real.drop_component;
        collect(limit: usize) -> bool = real.collect;
        snapshot(id: InstanceId, want: Want) -> Option<Snapshot> = snapshot_badly;
        list(query: Query) -> Page = list_badly;
        load(instance: InstanceKey) -> Option<Loaded> = load_badly;
        open_instances(after: Option<InstanceKey>, limit: usize) -> Vec<OpenInstance> = open_badly;
        due(after: Option<Due>, limit: usize) -> Vec<Due> = due_badly;
        timer_status(function: FunctionName) -> Option<TimerStatus> = real.timer_status;
        put_timer_status(function: FunctionName, status: TimerStatus) -> () = keep_timer_badly;
        close() -> () = real.close;
    }

    fn commits(&self) -> u64 {
        self.real.commits()
    }
}
