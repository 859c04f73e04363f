//! What each commit decides and writes, inside the commit thread's transaction.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc};

use rusqlite::{Connection, params};

use super::{
    entities::{self, Lock},
    rows::{self, Instance, Stored},
    writer::Batch,
};
use crate::{
    durable::{
        Digest, GenerationKey, InboxMessage, InstanceId, InstanceKey, MessageNumber, NextExecution, RuntimeStatus,
        Timestamp, TurnNumber,
    },
    storage::{
        Begun, ChildStart, Committed, Delivered, Effects, End, Ended, Fence, Purged, Put, PutMessage, Start, Started,
        StorageError, TurnCommit,
        record::{self, Encoded},
        rules,
    },
};

type Decided<T> = Result<T, StorageError>;

/// The gate.
pub(super) fn start(batch: &Batch<'_>, start: &Start, record: &Encoded) -> Decided<Started> {
    let conn = batch.conn();
    let taken = Instance::by_id(conn, &start.id)?;
    let is_other = || !taken.as_ref().is_some_and(|taken| start.fence.admits(taken.key, taken.created));
    if start.fence.creation.is_some() && is_other() {
        return Ok(Started::Changed);
    }
    if let Some(taken) = &taken {
        let status = taken.status(conn)?;
        if !start.policy.admits(status) {
            let first = Stored::of(conn, taken.generation, TurnNumber::START)?.decode_without_payloads()?;
            let execution_id = rules::started(&first, false)?.execution_id.clone();
            return Ok(Started::Exists { generation: taken.generation, status, execution_id });
        }
    }
    let delivered = match &taken {
        Some(taken) if taken.ended.is_none() => {
            let parent = parent_of(conn, taken, "Replaced", "another start took its place")?;
            let mut delivered = Vec::from_iter(parent.map(|message| deliver(batch, &message)).transpose()?.flatten());
            delivered.extend(release_locks(batch, taken.generation)?);
            delivered
        }
        Some(_) | None => Vec::new(),
    };
    // Anew: the message may have gone to this very instance.
    let taken = Instance::by_id(conn, &start.id)?;
    let key = batch.next_key()?;
    let generation = GenerationKey(key);
    let (instance, replaced, messages_to) = match taken {
        Some(taken) => {
            drop_generation(conn, &taken)?;
            conn.prepare_cached("UPDATE instance SET generation = ?2, created = ?3, status = NULL WHERE key = ?1")?
                .execute([taken.key.0, generation.0, start.time.0])?;
            (taken.key, Some(taken.generation), MessageNumber(taken.last_message))
        }
        None => {
            // An instance bears the number of its first generation: one ascending series serves both.
            conn.prepare_cached(
                "INSERT INTO instance(key, id, generation, created, last_message) VALUES (?1, ?2, ?1, ?3, 0)",
            )?
            .execute(params![key, start.id.as_str(), start.time.0])?;
            (InstanceKey(key), None, MessageNumber(0))
        }
    };
    conn.prepare_cached("INSERT INTO history(generation, turn, record) VALUES (?1, 0, ?2)")?
        .execute(params![generation.0, record.bytes])?;
    rows::insert_payloads(conn, generation, TurnNumber::START, record)?;
    move_due(conn, instance, generation, None, start.started.scheduled_start)?;
    Ok(Started::Started { instance, generation, replaced, messages_to, delivered })
}

/// A turn, if its generation is open and it is the next.
pub(super) fn commit_turn(batch: &Batch<'_>, commit: &TurnCommit, record: &Encoded) -> Decided<Committed> {
    let conn = batch.conn();
    let TurnCommit { fence: _, instance, generation, number, record: turn, took, previous_due, .. } = commit;
    // Two statements, as one that reads the table that it writes makes SQLite build a temporary copy (10 us). Nothing comes
    // between them: the transaction has held the write lock since its beginning.
    let open = conn
        .prepare_cached(
            "SELECT 1 FROM instance WHERE key = ?1 AND generation = ?2 AND status IS NULL
             AND EXISTS (SELECT 1 FROM history WHERE generation = ?2 AND turn = ?3 - 1)",
        )?
        .exists(params![instance.0, generation.0, number.0])?;
    if !open {
        return Ok(Committed::Fenced);
    }
    if let Some(next) = &commit.next {
        return continue_as_new(batch, commit, next);
    }
    // Histories have no gaps: if the turn before is there and this one is not, this one is the next.
    let written = conn
        .prepare_cached("INSERT INTO history(generation, turn, record) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![generation.0, number.0, record.bytes])?;
    if written == 0 {
        return Ok(Committed::Fenced);
    }
    rows::insert_payloads(conn, *generation, *number, record)?;
    if rules::replaced_component(turn).is_some() {
        rows::note_replaced_component(conn, *generation, *number)?;
    }
    take_messages(conn, *instance, took)?;
    move_due(conn, *instance, *generation, *previous_due, rules::due_after(&turn.summary))?;
    if turn.summary.status.is_terminal() {
        close_instance(conn, *instance, turn.summary.status)?;
    }
    Ok(Committed::Committed(turn_effects(batch, commit)?))
}

/// The execution that takes another's place: the old generation goes, what the new one carries is in its inbox.
fn continue_as_new(batch: &Batch<'_>, commit: &TurnCommit, next: &NextExecution) -> Decided<Committed> {
    let conn = batch.conn();
    let TurnCommit { instance, generation, number, record: turn, took, previous_due, .. } = commit;
    let is_taken = conn
        .prepare_cached("SELECT 1 FROM history WHERE generation = ?1 AND turn = ?2")?
        .exists(params![generation.0, number.0])?;
    if is_taken {
        return Ok(Committed::Fenced);
    }
    // What this very turn took and leaves to the next execution stays where it is.
    let carried: BTreeSet<_> = next.carried.iter().map(|(message, _)| *message).collect();
    let (kept, gone): (Vec<_>, Vec<_>) = took.iter().partition(|message| carried.contains(*message));
    take_messages(conn, *instance, &gone)?;
    let kept = BTreeSet::from_iter(kept);
    move_due(conn, *instance, *generation, *previous_due, None)?;
    conn.prepare_cached("INSERT INTO garbage(generation) VALUES (?1)")?.execute([generation.0])?;
    for (message, body) in next.carried.iter().filter(|(message, _)| !kept.contains(message)) {
        conn.prepare_cached("INSERT INTO inbox(instance, message, body) VALUES (?1, ?2, ?3)")?.execute(params![
            instance.0,
            message.0,
            record::encode_message(body)
        ])?;
    }
    let generation = GenerationKey(batch.next_key()?);
    conn.prepare_cached("UPDATE instance SET generation = ?2 WHERE key = ?1")?.execute([instance.0, generation.0])?;
    let first = record::encode(&rules::next_record(next, turn.time));
    conn.prepare_cached("INSERT INTO history(generation, turn, record) VALUES (?1, 0, ?2)")?
        .execute(params![generation.0, first.bytes])?;
    rows::insert_payloads(conn, generation, TurnNumber::START, &first)?;
    Ok(Committed::Continued(generation, turn_effects(batch, commit)?))
}

/// What a turn does to other instances: starts its children and tells its parent. Comes after the turn's own writes.
fn turn_effects(batch: &Batch<'_>, commit: &TurnCommit) -> Decided<Effects> {
    let mut effects = Effects::default();
    // Events last: what a turn starts it may send them to.
    let is_event = |message: &&PutMessage| matches!(message.body, InboxMessage::EventRaised { .. });
    send(batch, commit.messages.iter().filter(|message| !is_event(message)), &mut effects)?;
    start_children(batch, commit.instance, commit.generation, &commit.children, &mut effects)?;
    send(batch, commit.messages.iter().filter(is_event), &mut effects)?;
    if let Some(message) = &commit.notify {
        effects.delivered.extend(deliver(batch, message)?);
    }
    if commit.next.is_some() || commit.record.summary.status.is_terminal() {
        effects.delivered.extend(release_locks(batch, commit.generation)?);
    }
    Ok(effects)
}

/// Starts an instance's children; the generation is one that has a record of this execution's start.
pub(super) fn start_children(
    batch: &Batch<'_>,
    instance: InstanceKey,
    generation: GenerationKey,
    children: &[ChildStart],
    effects: &mut Effects,
) -> Decided<()> {
    let conn = batch.conn();
    if !children.is_empty() {
        let first = Stored::of(conn, generation, TurnNumber::START)?.decode_without_payloads()?;
        let parent = rules::started(&first, false)?.execution_id.clone();
        for child in children {
            let started = match &child.start {
                Ok(request) => Some(start(batch, request, &record::encode(&rules::start_record(request)))?),
                Err(_) => None,
            };
            if let Some(body) = rules::start_decided(&parent, child, started.as_ref()) {
                effects.delivered.extend(deliver_to(conn, Instance::by_key(conn, instance)?, body)?);
            }
            if let (Ok(request), Some(Started::Started { instance, generation, replaced, messages_to, delivered })) =
                (&child.start, started)
            {
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
    }
    Ok(())
}

/// Sends messages, in order.
pub(super) fn send<'m>(
    batch: &Batch<'_>,
    messages: impl IntoIterator<Item = &'m PutMessage>,
    effects: &mut Effects,
) -> Decided<()> {
    for message in messages {
        match deliver(batch, message)? {
            Some(delivered) => effects.delivered.push(delivered),
            None if matches!(message.body, InboxMessage::EventRaised { .. }) => {
                effects.dropped.push(message.id.clone())
            }
            None => {}
        }
    }
    Ok(())
}

/// Unlocks what a generation that ends has locked, or has asked to lock.
fn release_locks(batch: &Batch<'_>, generation: GenerationKey) -> Decided<Vec<Delivered>> {
    let mut select = batch.conn().prepare_cached("SELECT sequence, entity FROM lock WHERE generation = ?1")?;
    let locks = select.query_map([generation.0], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?)))?;
    let locks: Vec<_> = locks.collect::<Result<_, _>>()?;
    let mut delivered = Vec::new();
    for (sequence, entity) in locks {
        let body = InboxMessage::Unlock { generation, sequence };
        let message = PutMessage { fence: Fence::default(), id: InstanceId::from_stored(&entity), body };
        delivered.extend(deliver(batch, &message)?);
    }
    Ok(delivered)
}

/// What the parent of an instance's present generation is told when that is ended from outside.
fn parent_of(conn: &Connection, row: &Instance, kind: &str, reason: &str) -> Decided<Option<PutMessage>> {
    let first = Stored::of(conn, row.generation, TurnNumber::START)?.decode_without_payloads()?;
    Ok(rules::ended_child(&*rules::started(&first, false)?, kind, reason))
}

/// Puts a message into an inbox, if there is a live instance of that id; of an entity there is always one.
fn deliver(batch: &Batch<'_>, message: &PutMessage) -> Decided<Option<Delivered>> {
    let conn = batch.conn();
    if !message.id.is_entity() {
        return deliver_to(conn, Instance::by_id(conn, &message.id)?, message.body.clone());
    }
    let row = match (Instance::by_id(conn, &message.id)?, entities::note_lock(conn, message)?) {
        (_, Lock::Dropped) => return Ok(None),
        // Nothing holds, or waits for, the lock of an entity that is not there.
        (None, Lock::Released) => return Ok(None),
        (None, Lock::Unaffected) => entities::create(batch, &message.id)?,
        (Some(row), Lock::Released | Lock::Unaffected) => row,
    };
    deliver_to(conn, Some(row), message.body.clone())
}

pub(super) fn deliver_to(conn: &Connection, row: Option<Instance>, body: InboxMessage) -> Decided<Option<Delivered>> {
    let Some(row) = row else { return Ok(None) };
    if let Some(status) = row.ended {
        if rules::keeps_message(status, &body) {
            put(conn, &row, &record::encode_message(&body))?;
        }
        return Ok(None);
    }
    let number = put(conn, &row, &record::encode_message(&body))?;
    Ok(Some(Delivered { instance: row.key, number, body }))
}

fn put(conn: &Connection, row: &Instance, body: &[u8]) -> Decided<MessageNumber> {
    let number = row.last_message + 1;
    conn.prepare_cached("UPDATE instance SET last_message = ?2 WHERE key = ?1")?.execute([row.key.0, number])?;
    conn.prepare_cached("INSERT INTO inbox(instance, message, body) VALUES (?1, ?2, ?3)")?
        .execute(params![row.key.0, number, body])?;
    Ok(MessageNumber(number))
}

/// Takes messages out of an inbox: a record holds them now, or what they did.
pub(super) fn take_messages(conn: &Connection, instance: InstanceKey, took: &[MessageNumber]) -> Decided<()> {
    for numbers in runs(took) {
        conn.prepare_cached("DELETE FROM inbox WHERE instance = ?1 AND message BETWEEN ?2 AND ?3")?.execute([
            instance.0,
            numbers.start().0,
            numbers.end().0,
        ])?;
    }
    Ok(())
}

/// Numbers as ranges without gaps.
fn runs(numbers: &[MessageNumber]) -> impl Iterator<Item = RangeInclusive<MessageNumber>> {
    numbers.chunk_by(|a, b| b.0 == a.0 + 1).map(|run| run[0]..=run[run.len() - 1])
}

/// A message for a live instance.
pub(super) fn put_message(batch: &Batch<'_>, message: &PutMessage, body: &[u8]) -> Decided<Put> {
    let conn = batch.conn();
    if message.id.is_entity() {
        let Some(Delivered { instance, number, .. }) = deliver(batch, message)? else { return Ok(Put::NotFound) };
        // An entity bears its one generation's number.
        return Ok(Put::Accepted { instance, generation: GenerationKey(instance.0), number });
    }
    let row = Instance::by_id(conn, &message.id)?.filter(|row| message.fence.admits(row.key, row.created));
    let Some(row) = row else { return Ok(Put::NotFound) };
    if let Some(status) = row.ended {
        if rules::keeps_message(status, &message.body) {
            put(conn, &row, body)?;
        }
        return Ok(Put::Ended(status));
    }
    let number = put(conn, &row, body)?;
    Ok(Put::Accepted { instance: row.key, generation: row.generation, number })
}

/// The instance that an operator means.
fn meant(conn: &Connection, fence: Fence, id: &InstanceId) -> Decided<Option<Instance>> {
    let row = Instance::by_id(conn, id)?;
    Ok(row.filter(|row| !row.id.is_entity() && fence.admits(row.key, row.created)))
}

/// An operator's end.
pub(super) fn end(batch: &Batch<'_>, end: &End) -> Decided<Ended> {
    let conn = batch.conn();
    let row = meant(conn, end.fence, &end.id)?;
    let Some(row) = row else { return Ok(Ended::NotFound) };
    if let Some(status) = row.ended {
        return Ok(Ended::Already(status));
    }
    let head = row.head(conn)?;
    let record = record::encode(&rules::end_record(end, head.time, head.summary));
    let turn = head.turn.next();
    conn.prepare_cached("INSERT INTO history(generation, turn, record) VALUES (?1, ?2, ?3)")?.execute(params![
        row.generation.0,
        turn.0,
        record.bytes
    ])?;
    rows::insert_payloads(conn, row.generation, turn, &record)?;
    move_due(conn, row.key, row.generation, rules::due_after(&head.summary), None)?;
    close_instance(conn, row.key, RuntimeStatus::Terminated)?;
    let parent = parent_of(conn, &row, "Terminated", &end.reason)?;
    let mut delivered = Vec::from_iter(parent.map(|message| deliver(batch, &message)).transpose()?.flatten());
    delivered.extend(release_locks(batch, row.generation)?);
    Ok(Ended::Done { instance: row.key, generation: row.generation, delivered })
}

/// The deletion of an ended instance.
pub(super) fn purge(batch: &Batch<'_>, fence: Fence, id: &InstanceId) -> Decided<Purged> {
    let conn = batch.conn();
    let Some(row) = meant(conn, fence, id)? else { return Ok(Purged::NotFound) };
    if row.ended.is_none() {
        return Ok(Purged::Live(row.status(conn)?));
    }
    drop_generation(conn, &row)?;
    conn.prepare_cached("DELETE FROM instance WHERE key = ?1")?.execute([row.key.0])?;
    Ok(Purged::Done)
}

/// The deletion of ended generations, unless others have taken their places.
pub(super) fn purge_generations(batch: &Batch<'_>, instances: &[(InstanceKey, GenerationKey)]) -> Decided<u64> {
    let conn = batch.conn();
    let mut purged = 0;
    for (instance, generation) in instances {
        let row = Instance::by_key(conn, *instance)?;
        let Some(row) = row.filter(|row| row.generation == *generation && row.ended.is_some()) else { continue };
        drop_generation(conn, &row)?;
        conn.prepare_cached("DELETE FROM instance WHERE key = ?1")?.execute([row.key.0])?;
        purged += 1;
    }
    Ok(purged)
}

/// Keeps a component.
pub(super) fn put_component(batch: &Batch<'_>, digest: Digest, bytes: &Arc<[u8]>) -> Decided<()> {
    batch
        .conn()
        .prepare_cached("INSERT INTO component(digest, bytes) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![digest.0, &**bytes])?;
    Ok(())
}

/// Deletes a component.
pub(super) fn drop_component(batch: &Batch<'_>, digest: Digest) -> Decided<()> {
    batch.conn().prepare_cached("DELETE FROM component WHERE digest = ?1")?.execute([digest.0])?;
    Ok(())
}

/// Deletes up to `limit` records of generations that are gone; whether there may be more.
pub(super) fn collect(batch: &Batch<'_>, limit: usize) -> Decided<bool> {
    let conn = batch.conn();
    let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
    loop {
        let mut select = conn.prepare_cached("SELECT generation FROM garbage ORDER BY generation LIMIT 1")?;
        let mut rows = select.query(())?;
        let Some(generation) = rows.next()?.map(|row| row.get::<_, i64>(0)).transpose()? else { return Ok(false) };
        drop(rows);
        if left == 0 {
            return Ok(true);
        }
        let slice = rows::slice(conn, GenerationKey(generation), left)?;
        match slice.last {
            Some(last) => {
                // Looked for only where there are some: a search in a table of long rows reads whole rows on its way.
                if slice.has_payloads {
                    conn.prepare_cached("DELETE FROM payload WHERE generation = ?1 AND turn <= ?2")?
                        .execute([generation, last])?;
                }
                conn.prepare_cached("DELETE FROM history WHERE generation = ?1 AND turn <= ?2")?
                    .execute([generation, last])?;
                left -= slice.records;
            }
            None => {
                conn.prepare_cached("DELETE FROM garbage WHERE generation = ?1")?.execute([generation])?;
                rows::forget_replaced_component(conn, GenerationKey(generation))?;
            }
        }
    }
}

/// Drops what an instance's present generation has: inbox and due entry at once, the records in slices later.
fn drop_generation(conn: &Connection, row: &Instance) -> Decided<()> {
    if row.ended.is_none() {
        let head = row.head(conn)?;
        move_due(conn, row.key, row.generation, rules::due_after(&head.summary), None)?;
    }
    if row.ended.is_none_or(rules::keeps_inbox) {
        clear_inbox(conn, row.key)?;
    }
    conn.prepare_cached("INSERT INTO garbage(generation) VALUES (?1)")?.execute([row.generation.0])?;
    Ok(())
}

fn close_instance(conn: &Connection, instance: InstanceKey, status: RuntimeStatus) -> Decided<()> {
    conn.prepare_cached("UPDATE instance SET status = ?2 WHERE key = ?1")?
        .execute(params![instance.0, record::status_number(status)])?;
    if rules::keeps_inbox(status) { Ok(()) } else { clear_inbox(conn, instance) }
}

fn clear_inbox(conn: &Connection, instance: InstanceKey) -> Decided<()> {
    conn.prepare_cached("DELETE FROM inbox WHERE instance = ?1")?.execute([instance.0])?;
    Ok(())
}

/// Moves a generation's due entry, touching nothing if it stays where it is.
pub(super) fn move_due(
    conn: &Connection,
    instance: InstanceKey,
    generation: GenerationKey,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Decided<()> {
    if from == to {
        return Ok(());
    }
    if let Some(at) = from {
        conn.prepare_cached("DELETE FROM due WHERE at = ?1 AND generation = ?2")?.execute([at.0, generation.0])?;
    }
    if let Some(at) = to {
        conn.prepare_cached("INSERT INTO due(at, generation, instance) VALUES (?1, ?2, ?3)")?.execute([
            at.0,
            generation.0,
            instance.0,
        ])?;
    }
    Ok(())
}
