//! Entities: batches of operations, and what orchestrations say to entities.

use std::{collections::BTreeSet, sync::Arc};

use tracing::{Instrument, debug, debug_span, warn};

use super::{
    EntityCall, GuestError,
    cell::{Cell, Held},
    unknown_orchestrator,
    worker::{Inner, Round},
};
use crate::{
    durable::{
        Batch, EndedBatch, EndedTurn, Entity, EntityId, EntityOperation, EntityRan, EntityStart, EventSent,
        ExecutionId, ExecutionStarted, Failure, FunctionName, HistoryEvent, InboxMessage, Instance, InstanceId,
        LockHolder, LockRequest, LocksRequested, Message, Section, Sender, Sequence, Timestamp,
    },
    flight::{CallKind, entity_text},
    storage::{EntityCommit, EntityCommitted, Fence, Loaded, PutMessage, Start},
};

/// Bytes of inputs that one batch takes, but for its first operation.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;

impl Inner {
    /// Takes an entity that was loaded into hands.
    pub(super) fn take_entity(&self, cell: &Cell, held: &mut Held, loaded: Loaded) -> Result<(), String> {
        let Loaded { instance, id, generation, records: _, entity, inbox, messages_to, has_more: _ } = loaded;
        let (number, record) = entity.expect("the caller found that it is an entity");
        let id = EntityId::of_instance(&id).ok_or_else(|| format!("{id:?} is no entity id"))?;
        let mut entity = Entity::new(instance, id, generation, number, record);
        inbox.into_iter().for_each(|(number, body)| entity.add(number, body));
        cell.lock().anchor_inbox(messages_to);
        *held = Held { entity: Some(Box::new(entity)), ..Held::default() };
        Ok(())
    }

    /// Takes messages into hands and runs one batch, if there is something for it to do.
    pub(super) async fn entity_round(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        held: &mut Held,
        messages: Vec<Message>,
    ) -> Round {
        let entity = held.entity.as_deref_mut().expect("the caller holds an entity");
        for message in messages {
            if let Message::Inbox { number, body } = message {
                entity.add(number, body);
            }
        }
        let Some(batch) = entity.plan(self.ambient.now(), self.batch_limits) else {
            self.set_timer(cell, entity.generation(), entity.record().next_due);
            return Round::Again;
        };
        let ran = if batch.operations.is_empty() {
            None
        } else {
            let text = ExecutionId(entity_text(entity.id()).into());
            if let Some(why) = self.parking.why_parked(&text) {
                // What is sent to it stays in its inbox, and its state can be read.
                return Round::Stall(why);
            }
            let span = debug_span!("entity.batch", entity = %entity.id(), operations = batch.operations.len());
            match self.run_batch(entity, &batch, &text).instrument(span).await {
                Ok(ran) => Some(ran),
                Err(why) => return Round::Later { messages: vec![], why },
            }
        };
        let ended = entity.end(batch, ran);
        self.store_entity(cell, held, ended).await
    }

    /// Waits for a place among the batches that run, and runs one. An error is the text of why nothing could be run now.
    async fn run_batch(&self, entity: &Entity, batch: &Batch, text: &ExecutionId) -> Result<EntityRan, String> {
        let function = entity.id().function();
        if !self.functions().entities.contains(&function) {
            return Err(self.unknown_entity(&function));
        }
        let alone = self.parking.alone_if_suspect(text).await;
        let _slot = self.entity_slots.acquire().await.expect("the semaphore is never closed");
        let call = (CallKind::Entity, text, function.as_str());
        let ran = self.parking.watch(&*self.ambient, call, alone, self.run_together(entity, batch)).await?;
        for (operation, result) in batch.operations.iter().zip(&ran.results) {
            if let (None, Err(failure)) = (operation.reply, result) {
                warn!(
                    entity = %entity.id(), operation = %operation.name, kind = %failure.kind, reason = %failure.message,
                    "a signal failed"
                );
            }
        }
        Ok(ran)
    }

    /// Runs a batch's operations. What an operation does to its guest is that operation's failure.
    async fn run_together(&self, entity: &Entity, batch: &Batch) -> Result<EntityRan, String> {
        let function = entity.id().function();
        let state = entity.record().state.clone();
        let call = |operations: &[EntityOperation], state, id: &str| EntityCall {
            name: function.clone(),
            entity: entity.id().clone(),
            execution_id: id.to_owned(),
            time: batch.time,
            state,
            operations: operations.to_vec(),
        };
        let ran = match self.run_operations(call(&batch.operations, state.clone(), batch.execution_id())).await {
            Ok(ran) => ran,
            Err(GuestError::Unavailable(why)) => return Err(why),
            Err(GuestError::Code(failure)) if batch.operations.len() == 1 => failed(state, failure),
            Err(GuestError::Code(failure)) => {
                // One of them is to blame: alone each can only harm itself.
                debug!(entity = %entity.id(), reason = %failure.message, "a batch failed as a whole");
                let mut all = EntityRan { results: vec![], state, actions: vec![] };
                for operation in &batch.operations {
                    let alone = call(std::slice::from_ref(operation), all.state.clone(), &operation.id);
                    let ran = match self.run_operations(alone).await {
                        Ok(ran) => ran,
                        Err(GuestError::Unavailable(why)) => return Err(why),
                        Err(GuestError::Code(failure)) => failed(all.state.take(), failure),
                    };
                    all.results.extend(ran.results);
                    all.actions.extend(ran.actions);
                    all.state = ran.state;
                }
                all
            }
        };
        Ok(ran)
    }

    /// One guest call, within the bound on every function's time.
    async fn run_operations(&self, call: EntityCall) -> Result<EntityRan, GuestError> {
        let (name, count) = (call.name.clone(), call.operations.len());
        let ran = match self.function_timeout {
            None => self.executor.entity(call).await,
            Some(timeout) => tokio::select! {
                biased;
                ran = self.executor.entity(call) => ran,
                () = self.ambient.sleep(timeout) => {
                    Err(GuestError::Code(Failure::timed_out(name.as_str(), timeout)))
                }
            },
        }?;
        if ran.results.len() != count {
            let text = format!("entity {name} returned {} results for {count} operations", ran.results.len());
            return Err(GuestError::Code(Failure::new("InvalidOutput", text)));
        }
        Ok(ran)
    }

    /// Makes a batch durable, then lets it take effect.
    async fn store_entity(self: &Arc<Self>, cell: &Arc<Cell>, held: &mut Held, ended: EndedBatch) -> Round {
        let entity = held.entity.as_deref_mut().expect("a batch has ended");
        let starts = ended.starts.iter().filter_map(|(start, id)| self.entity_start(entity.id(), start, id, &ended));
        // A lock needs no code: a request that did not go on would hold the locks that it has for ever.
        let known = |to: &InstanceId, body: &InboxMessage| {
            let runs_code = matches!(body, InboxMessage::EntityOperation(_));
            !runs_code || EntityId::of_instance(to).is_none_or(|to| self.knows_entity(&to))
        };
        let (messages, strange): (Vec<_>, Vec<_>) =
            ended.messages.iter().cloned().partition(|(to, body)| known(to, body));
        for (to, _) in strange {
            warn!(entity = %entity.id(), %to, "a signal to an unknown entity function is dropped");
        }
        let commit = EntityCommit {
            fence: Fence::default(),
            instance: cell.instance,
            generation: entity.generation(),
            number: ended.number,
            record: ended.record.clone(),
            took: ended.took.clone(),
            messages: messages.into_iter().map(|(id, body)| put(id, body)).collect(),
            starts: starts.collect(),
            previous_due: entity.record().next_due,
        };
        match self.storage.commit_entity(commit).await {
            Ok(EntityCommitted::Committed(effects)) => {
                entity.apply(&ended);
                debug!(entity = %entity.id(), took = ended.took.len(), "batch committed");
                self.set_timer(cell, entity.generation(), ended.record.next_due);
                // What this batch left may be for the next.
                cell.lock().wake |= entity.has_messages();
                self.act(effects);
                Round::Again
            }
            Ok(EntityCommitted::Gone(effects)) => {
                debug!(entity = %entity.id(), "entity deleted");
                self.timers.set(cell.instance, entity.generation(), None);
                *held = Held::default();
                self.act(effects);
                Round::Again
            }
            Ok(EntityCommitted::Fenced) => {
                self.start_over(cell, held, vec![]);
                Round::Again
            }
            Err(_) if planted!(BatchKeptAfterFailedCommit) => {
                entity.apply(&ended);
                Round::Again
            }
            Err(error) => self.storage_failed(error, vec![]),
        }
    }

    /// The start of an orchestration that an entity asked for; `None`, and a line in the log, if there can be none.
    fn entity_start(&self, entity: &EntityId, start: &EntityStart, id: &str, ended: &EndedBatch) -> Option<Start> {
        let refuse = |reason: String| {
            warn!(%entity, orchestrator = %start.name, %reason, "an entity's start of an orchestration is dropped");
        };
        let name = FunctionName::new(&start.name);
        let Some(function) = self.deployed_orchestrator(&name) else {
            refuse(unknown_orchestrator(&name, &self.functions()));
            return None;
        };
        let id = match InstanceId::parse(start.instance_id.as_deref().unwrap_or(id)) {
            Ok(id) => id,
            Err(error) => {
                refuse(error.to_string());
                return None;
            }
        };
        let started = ExecutionStarted {
            name: function.name.as_str().to_owned(),
            handler: function.handler.clone(),
            version: start.version.clone(),
            execution_id: ExecutionId(self.ambient.fresh_id().into()),
            component: function.component,
            contract: function.contract.clone(),
            input: start.input.clone(),
            parent: None,
            tags: Vec::new(),
            trace_context: None,
            scheduled_start: start.scheduled_start,
        };
        let time: Timestamp = ended.record.time;
        Some(Start { fence: Fence::default(), id, policy: self.policy, time, started: Arc::new(started) })
    }

    pub(super) fn knows_entity(&self, id: &EntityId) -> bool {
        self.functions().entities.contains(&id.function())
    }

    /// Durable Functions' text for an entity function that does not exist.
    pub(super) fn unknown_entity(&self, name: &FunctionName) -> String {
        let known: Vec<String> = self.functions().entities.iter().map(|name| format!("'{name}'")).collect();
        let known = if known.is_empty() {
            "No entity functions are currently registered!".to_owned()
        } else {
            format!("The following are the known entity functions: {}.", known.join(", "))
        };
        format!(
            "The function '{name}' doesn't exist, is disabled, or is not an entity function. Additional info: {known}"
        )
    }

    /// What a turn says to others, in order: operations and locks to entities, events to orchestrations; and to its own
    /// instance the answers to what cannot be asked for.
    pub(super) fn turn_messages(&self, instance: &Instance, ended: &EndedTurn, is_last: bool) -> Vec<PutMessage> {
        let canceled = ended.record.events.iter().filter_map(|event| match event {
            HistoryEvent::ActionCanceled { sequence } => Some(*sequence),
            _ => None,
        });
        let saying = Saying { inner: self, instance, ended, is_last, canceled: canceled.collect() };
        let mut messages = Vec::new();
        for event in &ended.record.events {
            saying.event(event, &mut messages);
        }
        messages
    }
}

/// An operation that ended its guest: nothing of it remains.
fn failed(state: Option<crate::durable::Json>, failure: Failure) -> EntityRan {
    EntityRan { results: vec![Err(failure)], state, actions: vec![] }
}

fn put(id: InstanceId, body: InboxMessage) -> PutMessage {
    PutMessage { fence: Fence::default(), id, body }
}

/// A turn whose messages are being written.
struct Saying<'a> {
    inner: &'a Inner,
    instance: &'a Instance,
    ended: &'a EndedTurn,
    /// The execution ends: nobody waits for an answer any more.
    is_last: bool,
    canceled: BTreeSet<Sequence>,
}

impl Saying<'_> {
    fn event(&self, event: &HistoryEvent, messages: &mut Vec<PutMessage>) {
        match event {
            HistoryEvent::EntityCalled(call) if self.canceled.contains(&call.sequence) => {}
            HistoryEvent::EntityCalled(call) => {
                let refused = self.ended.refused.get(&call.sequence).cloned();
                let message = match refused.or_else(|| self.unknown(&call.entity)) {
                    Some(failure) => self.answer_call(call.sequence, failure),
                    None => {
                        let operation = self.operation(call.sequence, &call.operation, &call.input);
                        // Of an execution that ends nobody waits for it, and once rewound its code may call another so.
                        let reply = (!self.is_last).then_some(call.sequence);
                        let operation = EntityOperation { reply, ..operation };
                        put(call.entity.instance_id(), InboxMessage::EntityOperation(Box::new(operation)))
                    }
                };
                messages.push(message);
            }
            event if event.sent().is_some_and(|sequence| self.ended.sent_before.contains(&sequence)) => {
                messages.extend(self.started_before(event));
            }
            HistoryEvent::EntitySignaled(signal) if self.ended.refused.contains_key(&signal.sequence) => {}
            HistoryEvent::EntitySignaled(signal) => match self.unknown(&signal.entity) {
                Some(failure) => {
                    warn!(instance_id = %self.instance.id(), reason = %failure.message, "a signal is dropped");
                }
                None => {
                    let operation = self.operation(signal.sequence, &signal.operation, &signal.input);
                    let operation = EntityOperation { scheduled: signal.scheduled, ..operation };
                    let body = InboxMessage::EntityOperation(Box::new(operation));
                    messages.push(put(signal.entity.instance_id(), body));
                }
            },
            HistoryEvent::LocksRequested(locks) if self.canceled.contains(&locks.sequence) || self.is_last => {}
            HistoryEvent::LocksRequested(locks) => messages.push(self.locks_requested(locks)),
            HistoryEvent::LocksReleased { lock: sequence, .. } | HistoryEvent::ActionCanceled { sequence } => {
                let released = self.ended.released.iter().filter(|section| section.sequence == *sequence);
                messages.extend(released.flat_map(|section| self.unlocks(section)));
            }
            HistoryEvent::EventSent(sent) => messages.extend(self.event_sent(sent)),
            _ => {}
        }
    }

    fn operation(&self, sequence: Sequence, name: &str, input: &crate::durable::Json) -> EntityOperation {
        let execution = self.instance.execution();
        EntityOperation {
            id: format!("{}:{sequence:08x}", execution.execution_id),
            name: name.to_owned(),
            input: input.clone(),
            sender: Some(Sender {
                instance_id: self.instance.id().clone(),
                execution_id: Some(execution.execution_id.clone()),
            }),
            reply: None,
            scheduled: None,
            trace_context: execution.trace_context.clone(),
        }
    }

    fn unknown(&self, entity: &EntityId) -> Option<Failure> {
        (!self.inner.knows_entity(entity)).then(|| {
            let text = self.inner.unknown_entity(&entity.function());
            Failure { non_retriable: true, ..Failure::new("UnknownFunction", text) }
        })
    }

    fn answer_call(&self, sequence: Sequence, failure: Failure) -> PutMessage {
        let execution_id = self.instance.execution().execution_id.clone();
        let body = InboxMessage::EntityAnswered { execution_id, sequence, outcome: Err(failure) };
        put(self.instance.id().clone(), body)
    }

    /// To its own instance: the detached start that this action asks for was made before a rewind.
    fn started_before(&self, event: &HistoryEvent) -> Option<PutMessage> {
        let HistoryEvent::ChildScheduled(child) = event else { return None };
        let execution_id = self.instance.execution().execution_id.clone();
        let outcome = Ok(crate::durable::Json::string(&child.instance_id));
        let body = InboxMessage::ChildEnded { execution_id, sequence: child.sequence, outcome };
        (!self.is_last).then(|| put(self.instance.id().clone(), body))
    }

    fn locks_requested(&self, locks: &LocksRequested) -> PutMessage {
        let LocksRequested { sequence, entities } = locks;
        let (sequence, execution_id) = (*sequence, self.instance.execution().execution_id.clone());
        let refused = self.ended.refused.get(&sequence).cloned();
        let outcome =
            match (refused.or_else(|| entities.iter().find_map(|entity| self.unknown(entity))), entities.first()) {
                (Some(failure), _) => Err(failure),
                (None, None) => Ok(()),
                (None, Some(first)) => {
                    let holder = LockHolder {
                        instance_id: self.instance.id().clone(),
                        execution_id,
                        generation: self.instance.generation(),
                        sequence,
                    };
                    let all = entities.iter().map(EntityId::instance_id).collect();
                    let request = LockRequest { holder, entities: all, position: 0 };
                    return put(first.instance_id(), InboxMessage::LockRequest(Box::new(request)));
                }
            };
        put(self.instance.id().clone(), InboxMessage::LockAnswered { execution_id, sequence, outcome })
    }

    fn unlocks(&self, section: &Section) -> impl Iterator<Item = PutMessage> {
        let (generation, sequence) = (self.instance.generation(), section.sequence);
        section
            .entities
            .iter()
            .map(move |entity| put(entity.instance_id(), InboxMessage::Unlock { generation, sequence }))
    }

    fn event_sent(&self, sent: &EventSent) -> Option<PutMessage> {
        match InstanceId::parse(&sent.instance_id) {
            Ok(id) => {
                let body = InboxMessage::EventRaised { name: sent.name.clone(), input: sent.input.clone() };
                Some(put(id, body))
            }
            Err(error) => {
                warn!(instance_id = %self.instance.id(), to = %sent.instance_id, %error, "a sent event is dropped");
                None
            }
        }
    }
}
