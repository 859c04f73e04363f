//! Entities.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::map::{Map, Row};
use crate::{
    durable::{EntityId, EntityRecord, GenerationKey, InboxMessage, InstanceId, InstanceKey, Json, TurnNumber},
    storage::{
        Begun, Due, Effects, EntityCommit, EntityCommitted, EntityPage, EntityQuery, EntitySnapshot, PutMessage, Start,
        Started, StorageError, record, rules,
    },
};

impl Map {
    /// Prepares an entity for a message, and keeps the notes of locks. False if the message is to be dropped.
    pub(super) fn reach_entity(&mut self, message: &PutMessage) -> bool {
        let id = &message.id;
        match &message.body {
            InboxMessage::LockRequest(request) if request.position == 0 => {
                let holder = &request.holder;
                let note = |entity: &InstanceId| (holder.generation, holder.sequence, entity.clone());
                self.locks.extend(request.entities.iter().map(note));
            }
            InboxMessage::LockRequest(request) => {
                let stands = self.locks.contains(&(request.holder.generation, request.holder.sequence, id.clone()));
                if !stands && !planted!(DeadLockRequestKept) {
                    return false;
                }
            }
            InboxMessage::Unlock { generation, sequence } => {
                self.locks.remove(&(*generation, *sequence, id.clone()));
                return self.ids.contains_key(id);
            }
            InboxMessage::EventRaised { .. }
            | InboxMessage::ChildEnded { .. }
            | InboxMessage::EntityOperation(_)
            | InboxMessage::EntityAnswered { .. }
            | InboxMessage::LockAnswered { .. } => {}
        }
        if !self.ids.contains_key(id) {
            self.last_key += 1;
            let key = InstanceKey(self.last_key);
            let record = Arc::new(EntityRecord::new());
            let row = Row {
                id: id.clone(),
                generation: GenerationKey(self.last_key),
                created: record.time,
                last_message: 0,
                records: Vec::new(),
                entity: Some((TurnNumber::START, record)),
                inbox: BTreeMap::new(),
            };
            self.instances.insert(key, row);
            self.ids.insert(id.clone(), key);
            self.open.insert(key);
        }
        true
    }

    pub(super) fn commit_entity(&mut self, commit: EntityCommit) -> Result<EntityCommitted, StorageError> {
        let EntityCommit { fence: _, instance, generation, number, record, took, messages, starts, previous_due } =
            commit;
        let Some(row) = self.instances.get_mut(&instance).filter(|row| row.generation == generation) else {
            return Ok(EntityCommitted::Fenced);
        };
        match &mut row.entity {
            Some(entity) if entity.0.next() == number => {
                debug_assert_eq!(previous_due, entity.1.next_due, "previous_due is the last record's next_due");
                debug_assert!(record::entity_survives(&record), "a record can be stored");
                *entity = (number, record.clone());
            }
            Some(_) | None => return Ok(EntityCommitted::Fenced),
        }
        for message in took {
            row.inbox.remove(&message);
        }
        if let Some(at) = previous_due {
            self.due.remove(&Due { at, generation, instance });
        }
        if let Some(at) = record.next_due {
            self.due.insert(Due { at, generation, instance });
        }
        self.commits += 1;
        let mut effects = Effects::default();
        for start in starts {
            if let Started::Started { instance, generation, replaced, messages_to, delivered } = self.start(&start)? {
                effects.delivered.extend(delivered);
                let Start { id, time, started, .. } = start;
                effects.begun.push(Begun { instance, generation, replaced, messages_to, id, started, time });
            }
        }
        self.send(messages, &mut effects);
        if record.is_empty() && self.instances[&instance].inbox.is_empty() {
            let row = self.instances.remove(&instance).expect("it was changed above");
            self.ids.remove(&row.id);
            if let Some(at) = record.next_due {
                self.due.remove(&Due { at, generation, instance });
            }
            self.open.remove(&instance);
            return Ok(EntityCommitted::Gone(effects));
        }
        Ok(EntityCommitted::Committed(effects))
    }

    pub(super) fn entity(&self, id: &EntityId) -> Option<EntitySnapshot> {
        let row = &self.instances[self.ids.get(&id.instance_id())?];
        let record = EntityRecord::clone(&row.entity.as_ref()?.1);
        record.state.is_some().then(|| EntitySnapshot { id: id.clone(), record })
    }

    pub(super) fn entities(&self, query: &EntityQuery) -> EntityPage {
        let begin = query.name.as_ref().map_or("@".to_owned(), |name| format!("@{name}@"));
        let first = query.after.as_ref().map_or(InstanceId::from_stored(&begin), EntityId::instance_id);
        let from = if query.after.is_some() { Bound::Excluded(first) } else { Bound::Included(first) };
        let mut entities: Vec<EntitySnapshot> = Vec::new();
        for (id, instance) in self.ids.range((from, Bound::Unbounded)) {
            let (Some(named), true) = (EntityId::of_instance(id), id.as_str().starts_with(&begin)) else { break };
            let Some((_, record)) = &self.instances[instance].entity else { continue };
            if !rules::matches_entity(query, record) {
                continue;
            }
            if entities.len() >= query.limit.max(1) {
                return EntityPage { next: entities.last().map(|last| last.id.clone()), entities };
            }
            let mut record = EntityRecord::clone(record);
            if !query.state {
                record.state = record.state.map(|_| Json::null());
            }
            entities.push(EntitySnapshot { id: named, record });
        }
        EntityPage { entities, next: None }
    }
}
