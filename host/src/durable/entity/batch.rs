//! What a batch takes, and what it leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    EntityAction, EntityId, EntityOperation, EntityRan, EntityRecord, EntityStart, LockHolder, LockRequest, Sender,
    derived_id,
};
use crate::durable::{GenerationKey, InboxMessage, InstanceId, InstanceKey, MessageNumber, Timestamp, TurnNumber};

/// Bounds of one batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Operations (host.json's `maxEntityOperationBatchSize`).
    pub operations_max: usize,
    /// Bytes of their inputs, beyond which no further one is taken.
    pub bytes_max: usize,
}

/// A live entity: its last record, and what is in its inbox.
///
/// Invariant: `ready` and `scheduled` together hold every message of the inbox that is known, each once.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    pub(super) key: InstanceKey,
    pub(super) id: EntityId,
    pub(super) generation: GenerationKey,
    pub(super) turn: TurnNumber,
    pub(super) record: Arc<EntityRecord>,
    pub(super) ready: BTreeMap<MessageNumber, InboxMessage>,
    pub(super) scheduled: BTreeMap<(Timestamp, MessageNumber), Box<EntityOperation>>,
}

/// What a batch takes: decided, not yet durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The entity's clock during the batch.
    pub time: Timestamp,
    /// The operations to run, in order; none if there is only something for the host to do.
    pub operations: Vec<EntityOperation>,
    took: Vec<MessageNumber>,
    lock: Option<LockHolder>,
    answers: Vec<(InstanceId, InboxMessage)>,
    next_due: Option<Timestamp>,
}

/// What a batch leaves, to be committed.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedBatch {
    /// The number of the record.
    pub number: TurnNumber,
    /// The record: it takes the place of the one before.
    pub record: Arc<EntityRecord>,
    /// The messages that leave the inbox.
    pub took: Vec<MessageNumber>,
    /// Messages for others' inboxes, in order: results, signals, locks.
    pub messages: Vec<(InstanceId, InboxMessage)>,
    /// Orchestrations to start, each with the id that it gets if the code chose none.
    pub starts: Vec<(EntityStart, String)>,
}

impl Batch {
    /// Seeds the entropy of the batch; the same when it is repeated.
    pub fn execution_id(&self) -> &str {
        self.operations.first().map_or("", |operation| &operation.id)
    }
}

impl Entity {
    /// An entity as storage has it.
    pub fn new(
        key: InstanceKey,
        id: EntityId,
        generation: GenerationKey,
        turn: TurnNumber,
        record: Arc<EntityRecord>,
    ) -> Self {
        Self { key, id, generation, turn, record, ready: BTreeMap::new(), scheduled: BTreeMap::new() }
    }

    /// Storage's number.
    pub fn key(&self) -> InstanceKey {
        self.key
    }

    /// Its id.
    pub fn id(&self) -> &EntityId {
        &self.id
    }

    /// Its generation: it has one for all its life.
    pub fn generation(&self) -> GenerationKey {
        self.generation
    }

    /// Its last record.
    pub fn record(&self) -> &Arc<EntityRecord> {
        &self.record
    }

    /// True if messages are in its inbox that no batch has taken.
    pub fn has_messages(&self) -> bool {
        !self.ready.is_empty() || !self.scheduled.is_empty()
    }

    /// The memory that it holds, roughly, in bytes.
    pub fn bytes(&self) -> usize {
        const EACH: usize = 512;
        let state = self.record.state.as_ref().map_or(0, |state| state.as_str().len());
        let ready = self.ready.values().map(|message| match message {
            InboxMessage::EntityOperation(operation) => operation.input.as_str().len(),
            _ => 0,
        });
        let scheduled = self.scheduled.values().map(|operation| operation.input.as_str().len());
        EACH + state + ready.chain(scheduled).map(|input| EACH + input).sum::<usize>()
    }

    /// Takes a message of the inbox into hands.
    pub fn add(&mut self, number: MessageNumber, message: InboxMessage) {
        match message {
            InboxMessage::EntityOperation(operation) if operation.scheduled.is_some() => {
                let at = operation.scheduled.expect("checked by the guard");
                self.scheduled.insert((at, number), operation);
            }
            message => {
                self.ready.insert(number, message);
            }
        }
    }

    /// Decides what the next batch takes at the time `now`: signals whose time has come, earliest first, then what is in the
    /// inbox, in order; while the entity is locked only what is the holder's. `None` if there is nothing to do.
    ///
    /// Pure: nothing changes before the batch is committed.
    pub fn plan(&self, now: Timestamp, limits: BatchLimits) -> Option<Batch> {
        let mut planning = Planning::new(self, now, limits);
        while planning.scan() {}
        // What is due and was left waits for a lock or for the next batch, not for a time.
        let next_due = self.scheduled.keys().map(|(at, _)| *at).find(|at| *at > now);
        if planning.took.is_empty() && next_due == self.record.next_due {
            return None;
        }
        let Planning { took, operations, lock, answers, .. } = planning;
        let took = took.into_iter().collect();
        Some(Batch { time: now.max(self.record.time), operations, took, lock, answers, next_due })
    }

    /// What a batch leaves. `ran` is what its operations did, one result for each; none if it has no operations.
    pub fn end(&self, batch: Batch, ran: Option<EntityRan>) -> EndedBatch {
        let execution_id = batch.execution_id().to_owned();
        let Batch { time, operations, took, lock, answers, next_due } = batch;
        let mut messages = Vec::new();
        let mut starts = Vec::new();
        let (state, last_operation) = match ran {
            Some(EntityRan { results, state, actions }) => {
                assert_eq!(results.len(), operations.len(), "a guest's results are checked when it returns them");
                messages.extend(operations.into_iter().zip(results).filter_map(|(operation, outcome)| {
                    let sender = operation.sender?;
                    let (execution_id, sequence) = (sender.execution_id?, operation.reply?);
                    Some((sender.instance_id, InboxMessage::EntityAnswered { execution_id, sequence, outcome }))
                }));
                for (n, action) in actions.into_iter().enumerate() {
                    let id = derived_id(&execution_id, n);
                    match action {
                        EntityAction::Signal { entity, operation, input, scheduled } => {
                            let sender = Sender { instance_id: self.id.instance_id(), execution_id: None };
                            let operation = EntityOperation {
                                id,
                                name: operation,
                                input,
                                sender: Some(sender),
                                reply: None,
                                scheduled,
                                trace_context: None,
                            };
                            let message = InboxMessage::EntityOperation(Box::new(operation));
                            messages.push((entity.instance_id(), message));
                        }
                        EntityAction::Start(start) => starts.push((start, id)),
                    }
                }
                (state, time)
            }
            None => (self.record.state.clone(), self.record.last_operation),
        };
        messages.extend(answers);
        let record = Arc::new(EntityRecord { time, state, last_operation, lock, next_due });
        EndedBatch { number: self.turn.next(), record, took, messages, starts }
    }

    /// Takes a batch that is durable into the state.
    pub fn apply(&mut self, ended: &EndedBatch) {
        self.turn = ended.number;
        self.record = ended.record.clone();
        let took: BTreeSet<_> = ended.took.iter().copied().collect();
        self.ready.retain(|number, _| !took.contains(number));
        self.scheduled.retain(|(_, number), _| !took.contains(number));
    }
}

/// A batch, while it is put together.
struct Planning<'a> {
    entity: &'a Entity,
    now: Timestamp,
    limits: BatchLimits,
    /// Lock requests that were given up before they were granted.
    given_up: BTreeSet<(GenerationKey, u32)>,
    took: BTreeSet<MessageNumber>,
    operations: Vec<EntityOperation>,
    bytes: usize,
    lock: Option<LockHolder>,
    answers: Vec<(InstanceId, InboxMessage)>,
}

impl<'a> Planning<'a> {
    fn new(entity: &'a Entity, now: Timestamp, limits: BatchLimits) -> Self {
        let lock = entity.record.lock.clone();
        let unlocks = entity.ready.values().filter_map(|message| match message {
            InboxMessage::Unlock { generation, sequence } => Some((*generation, *sequence)),
            _ => None,
        });
        let given_up =
            unlocks.filter(|(of, sequence)| !lock.as_ref().is_some_and(|lock| lock.is(*of, *sequence))).collect();
        Self {
            entity,
            now,
            limits,
            given_up,
            took: BTreeSet::new(),
            operations: Vec::new(),
            bytes: 0,
            lock,
            answers: Vec::new(),
        }
    }

    /// Takes what can be taken, in order. True if the entity was unlocked meanwhile: what was left may be taken now.
    fn scan(&mut self) -> bool {
        let entity = self.entity;
        let now = self.now;
        let due = entity.scheduled.iter().take_while(|((at, _), _)| *at <= now || planted!(ScheduledSignalEarly));
        for ((_, number), operation) in due {
            if !self.took.contains(number) && !self.operation(*number, operation) {
                return false;
            }
        }
        for (number, message) in &entity.ready {
            if self.took.contains(number) {
                continue;
            }
            match message {
                InboxMessage::EntityOperation(operation) => {
                    if !self.operation(*number, operation) {
                        return false;
                    }
                }
                InboxMessage::LockRequest(request) => self.lock_request(*number, request),
                InboxMessage::Unlock { generation, sequence } => {
                    self.took.insert(*number);
                    if self.lock.take_if(|lock| lock.is(*generation, *sequence)).is_some() {
                        return true;
                    }
                }
                // Never sent to an entity; it must leave the inbox all the same.
                InboxMessage::EventRaised { .. }
                | InboxMessage::ChildEnded { .. }
                | InboxMessage::EntityAnswered { .. }
                | InboxMessage::LockAnswered { .. } => {
                    self.took.insert(*number);
                }
            }
        }
        false
    }

    /// Takes an operation, unless the entity is locked by another. False if the batch is full: then it takes nothing more,
    /// for what comes later must not overtake.
    fn operation(&mut self, number: MessageNumber, operation: &EntityOperation) -> bool {
        if self.lock.as_ref().is_some_and(|lock| !lock.sent(operation)) && !planted!(LockIgnored) {
            return true;
        }
        let is_full = self.operations.len() >= self.limits.operations_max || self.bytes >= self.limits.bytes_max;
        if is_full && !self.operations.is_empty() {
            return false;
        }
        self.took.insert(number);
        self.bytes += operation.input.as_str().len();
        self.operations.push(operation.clone());
        true
    }

    fn lock_request(&mut self, number: MessageNumber, request: &LockRequest) {
        let holder = &request.holder;
        if self.given_up.contains(&(holder.generation, holder.sequence)) && !planted!(GivenUpRequestGranted) {
            self.took.insert(number);
        } else if self.lock.is_none() {
            self.took.insert(number);
            self.lock = Some(holder.clone());
            let position = request.position + 1;
            self.answers.push(match request.entities.get(position as usize) {
                Some(next) => {
                    let request = LockRequest { position, ..request.clone() };
                    (next.clone(), InboxMessage::LockRequest(Box::new(request)))
                }
                None => {
                    let (execution_id, sequence) = (holder.execution_id.clone(), holder.sequence);
                    let granted = InboxMessage::LockAnswered { execution_id, sequence, outcome: Ok(()) };
                    (holder.instance_id.clone(), granted)
                }
            });
        }
    }
}
