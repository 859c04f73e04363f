//! Entities: what their commits write, and what reads return of them.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    commits,
    rows::{self, Instance, Stored},
    writer::Batch,
};
use crate::{
    durable::{EntityId, EntityRecord, GenerationKey, InboxMessage, InstanceId, InstanceKey, Json, TurnNumber},
    storage::{
        Begun, Effects, EntityCommit, EntityCommitted, EntityPage, EntityQuery, EntitySnapshot, PutMessage, Started,
        StorageError,
        record::{self, Encoded, Texts},
        rules,
    },
};

type Decided<T> = Result<T, StorageError>;

/// A page of a list looks at no more rows than this, however few it finds.
const EXAMINED_MAX: usize = 10_000;

/// A page of a list ends once its states have this many bytes.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// What a message does to the notes of locks.
pub(super) enum Lock {
    /// Nothing that concerns its delivery.
    Unaffected,
    /// It releases one.
    Released,
    /// It asks for one that its holder does not want any more: it is dropped.
    Dropped,
}

/// Keeps the notes of which locks generations hold or have asked for.
pub(super) fn note_lock(conn: &Connection, message: &PutMessage) -> Decided<Lock> {
    match &message.body {
        InboxMessage::LockRequest(request) => {
            let (generation, sequence) = (request.holder.generation.0, request.holder.sequence);
            if request.position == 0 {
                for entity in &request.entities {
                    conn.prepare_cached(
                        "INSERT INTO lock(generation, sequence, entity) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![generation, sequence, entity.as_str()])?;
                }
                return Ok(Lock::Unaffected);
            }
            let stands = conn
                .prepare_cached("SELECT 1 FROM lock WHERE generation = ?1 AND sequence = ?2 AND entity = ?3")?
                .exists(params![generation, sequence, message.id.as_str()])?;
            Ok(if stands { Lock::Unaffected } else { Lock::Dropped })
        }
        InboxMessage::Unlock { generation, sequence } => {
            conn.prepare_cached("DELETE FROM lock WHERE generation = ?1 AND sequence = ?2 AND entity = ?3")?
                .execute(params![generation.0, sequence, message.id.as_str()])?;
            Ok(Lock::Released)
        }
        InboxMessage::EventRaised { .. }
        | InboxMessage::ChildEnded { .. }
        | InboxMessage::EntityOperation(_)
        | InboxMessage::EntityAnswered { .. }
        | InboxMessage::LockAnswered { .. } => Ok(Lock::Unaffected),
    }
}

/// Makes an entity that a message reaches for the first time.
pub(super) fn create(batch: &Batch<'_>, id: &InstanceId) -> Decided<Instance> {
    let conn = batch.conn();
    let key = batch.next_key()?;
    let record = EntityRecord::new();
    conn.prepare_cached("INSERT INTO instance(key, id, generation, created, last_message) VALUES (?1, ?2, ?1, ?3, 0)")?
        .execute(params![key, id.as_str(), record.time.0])?;
    conn.prepare_cached("INSERT INTO history(generation, turn, record) VALUES (?1, 0, ?2)")?
        .execute(params![key, record::encode_entity(&record).bytes])?;
    Ok(Instance {
        key: InstanceKey(key),
        id: id.clone(),
        generation: GenerationKey(key),
        created: record.time,
        ended: None,
        last_message: 0,
    })
}

/// A batch, if the entity is there and it is the next.
pub(super) fn commit(batch: &Batch<'_>, commit: &EntityCommit, record: &Encoded) -> Decided<EntityCommitted> {
    let conn = batch.conn();
    let EntityCommit { instance, generation, number, took, previous_due, .. } = commit;
    let replaced = conn
        .prepare_cached("DELETE FROM history WHERE generation = ?1 AND turn = ?2 - 1")?
        .execute(params![generation.0, number.0])?;
    if replaced == 0 {
        return Ok(EntityCommitted::Fenced);
    }
    conn.prepare_cached("DELETE FROM payload WHERE generation = ?1 AND turn = ?2 - 1")?
        .execute(params![generation.0, number.0])?;
    conn.prepare_cached("INSERT INTO history(generation, turn, record) VALUES (?1, ?2, ?3)")?.execute(params![
        generation.0,
        number.0,
        record.bytes
    ])?;
    rows::insert_payloads(conn, *generation, *number, record)?;
    commits::take_messages(conn, *instance, took)?;
    commits::move_due(conn, *instance, *generation, *previous_due, commit.record.next_due)?;
    let mut effects = Effects::default();
    start_all(batch, commit, &mut effects)?;
    commits::send(batch, &commit.messages, &mut effects)?;
    if commit.record.is_empty() && is_inbox_empty(conn, *instance)? {
        commits::move_due(conn, *instance, *generation, commit.record.next_due, None)?;
        conn.prepare_cached("DELETE FROM payload WHERE generation = ?1")?.execute([generation.0])?;
        conn.prepare_cached("DELETE FROM history WHERE generation = ?1")?.execute([generation.0])?;
        conn.prepare_cached("DELETE FROM instance WHERE key = ?1")?.execute([instance.0])?;
        return Ok(EntityCommitted::Gone(effects));
    }
    Ok(EntityCommitted::Committed(effects))
}

fn start_all(batch: &Batch<'_>, commit: &EntityCommit, effects: &mut Effects) -> Decided<()> {
    for request in &commit.starts {
        let started = commits::start(batch, request, &record::encode(&rules::start_record(request)))?;
        if let Started::Started { instance, generation, replaced, messages_to, delivered } = started {
            effects.delivered.extend(delivered);
            effects.begun.push(Begun {
                instance,
                generation,
                replaced,
                messages_to,
                id: request.id.clone(),
                started: request.started.clone(),
                time: request.time,
            });
        }
    }
    Ok(())
}

fn is_inbox_empty(conn: &Connection, instance: InstanceKey) -> Decided<bool> {
    Ok(!conn.prepare_cached("SELECT 1 FROM inbox WHERE instance = ?1")?.exists([instance.0])?)
}

/// An entity's one record.
pub(super) fn record_of(conn: &Connection, generation: GenerationKey) -> Decided<(TurnNumber, EntityRecord)> {
    let stored = Stored::last(conn, generation)?;
    Ok((stored.turn, stored.decode_entity(conn)?))
}

/// One entity that has a state.
pub(super) fn read(conn: &Connection, id: &EntityId) -> Decided<Option<EntitySnapshot>> {
    let Some(row) = Instance::by_id(conn, &id.instance_id())? else { return Ok(None) };
    let (_, record) = record_of(conn, row.generation)?;
    Ok(record.state.is_some().then(|| EntitySnapshot { id: id.clone(), record }))
}

/// A page of entities that have a state.
pub(super) fn list(conn: &Connection, query: &EntityQuery) -> Decided<EntityPage> {
    let begin = query.name.as_ref().map_or("@".to_owned(), |name| format!("@{name}@"));
    // No id that begins so sorts behind this: it is the beginning with its last character replaced by the next one.
    let end = format!("{}A", &begin[..begin.len() - 1]);
    let mut after = query.after.as_ref().map(ToString::to_string);
    let (mut entities, mut bytes, mut examined) = (Vec::new(), 0, 0);
    loop {
        let row = conn
            .prepare_cached(match after {
                Some(_) => "SELECT id, generation FROM instance WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT 1",
                // The first may be the empty key's.
                None => "SELECT id, generation FROM instance WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1",
            })?
            .query_row([after.as_ref().unwrap_or(&begin), &end], |row| {
                Ok((row.get::<_, String>(0)?, GenerationKey(row.get(1)?)))
            })
            .optional()?;
        let Some((id, generation)) = row else { return Ok(EntityPage { entities, next: None }) };
        if entities.len() >= query.limit.max(1) || bytes >= PAGE_BYTES || examined >= EXAMINED_MAX {
            let last = after.map(|after| InstanceId::from_stored(&after));
            return Ok(EntityPage { entities, next: last.as_ref().and_then(EntityId::of_instance) });
        }
        examined += 1;
        let stored = Stored::last(conn, generation)?;
        let mut record =
            if query.state { stored.decode_entity(conn)? } else { stored.decode_entity_without_payloads()? };
        if !query.state {
            record.state = record.state.map(|_| Json::null());
        }
        if rules::matches_entity(query, &record) {
            let named = EntityId::of_instance(&InstanceId::from_stored(&id));
            let named = named.ok_or_else(|| StorageError::Corrupt(format!("{id:?} is no entity id")))?;
            bytes += record.state.as_ref().map_or(0, |state| state.as_str().len());
            entities.push(EntitySnapshot { id: named, record });
        }
        after = Some(id);
    }
}

impl Stored {
    fn decode_entity(&self, conn: &Connection) -> Decided<EntityRecord> {
        self.with_payloads(conn, |texts| record::decode_entity(&self.bytes, texts))
    }

    /// The record; a state that is stored beside it is not read and `null`.
    fn decode_entity_without_payloads(&self) -> Decided<EntityRecord> {
        record::decode_entity(&self.bytes, Texts::Skip)
    }
}
