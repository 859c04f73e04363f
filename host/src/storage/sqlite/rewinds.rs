//! What the commit of a rewind decides and writes, inside the commit thread's transaction.

use rusqlite::{Connection, params};

use super::{
    commits::{deliver_to, move_due, start_children},
    rows::{self, Instance, Stored},
    writer::Batch,
};
use crate::{
    durable::{GenerationKey, RuntimeStatus, TurnNumber},
    storage::{
        Effects, Rewind, Rewound, RewoundInstance, StorageError, Unchanged,
        record::{self, Encoded},
        rules,
    },
};

type Decided<T> = Result<T, StorageError>;

/// Failed instances run on; `records` are each one's new ones.
pub(super) fn rewind(batch: &Batch<'_>, rewind: &Rewind, records: &[Vec<Encoded>]) -> Decided<Rewound> {
    let conn = batch.conn();
    for unchanged in &rewind.unchanged {
        if !is_unchanged(conn, unchanged)? {
            return Ok(Rewound::Changed);
        }
    }
    for rewound in &rewind.instances {
        let row = Instance::by_key(conn, rewound.instance)?;
        let is_failed = |row: &Instance| row.generation == rewound.failed && row.ended == Some(RuntimeStatus::Failed);
        if !row.as_ref().is_some_and(is_failed) {
            return Ok(Rewound::Changed);
        }
    }
    let mut generations = Vec::new();
    for (rewound, records) in rewind.instances.iter().zip(records) {
        generations.push(rewind_one(batch, rewound, records)?);
    }
    let mut effects = Effects::default();
    for (rewound, generation) in rewind.instances.iter().zip(&generations) {
        for body in &rewound.messages {
            let row = Instance::by_key(conn, rewound.instance)?;
            effects.delivered.extend(deliver_to(conn, row, body.clone())?);
        }
        start_children(batch, rewound.instance, *generation, &rewound.children, &mut effects)?;
    }
    Ok(Rewound::Done { generations, effects })
}

fn is_unchanged(conn: &Connection, unchanged: &Unchanged) -> Decided<bool> {
    let row = Instance::by_key(conn, unchanged.instance)?;
    Ok(row.is_some_and(|row| row.generation == unchanged.generation && row.ended.is_none() == unchanged.live))
}

fn rewind_one(batch: &Batch<'_>, rewound: &RewoundInstance, records: &[Encoded]) -> Decided<GenerationKey> {
    let conn = batch.conn();
    let RewoundInstance { instance, failed, from, .. } = rewound;
    let generation = GenerationKey(batch.next_key()?);
    conn.prepare_cached("INSERT INTO garbage(generation) VALUES (?1)")?.execute([failed.0])?;
    conn.prepare_cached("UPDATE instance SET generation = ?2, status = NULL WHERE key = ?1")?
        .execute([instance.0, generation.0])?;
    for copy in [
        "INSERT INTO history(generation, turn, record)
         SELECT ?2, turn, record FROM history WHERE generation = ?1 AND turn < ?3",
        "INSERT INTO payload(generation, turn, number, bytes)
         SELECT ?2, turn, number, bytes FROM payload WHERE generation = ?1 AND turn < ?3",
    ] {
        conn.prepare_cached(copy)?.execute(params![failed.0, generation.0, from.0])?;
    }
    if let Some(turn) = replaced_before(conn, *failed, *from)? {
        rows::note_replaced_component(conn, generation, turn)?;
    }
    for ((turn, record), decoded) in (from.0..).map(TurnNumber).zip(records).zip(&rewound.records) {
        conn.prepare_cached("INSERT INTO history(generation, turn, record) VALUES (?1, ?2, ?3)")?.execute(params![
            generation.0,
            turn.0,
            record.bytes
        ])?;
        rows::insert_payloads(conn, generation, turn, record)?;
        if rules::replaced_component(decoded).is_some() {
            rows::note_replaced_component(conn, generation, turn)?;
        }
    }
    drop_settled(conn, rewound)?;
    let due = rewound.records.last().and_then(|last| rules::due_after(&last.summary));
    move_due(conn, *instance, generation, None, due)?;
    Ok(generation)
}

/// The last turn before this one in which a generation's component was replaced.
fn replaced_before(conn: &Connection, generation: GenerationKey, turn: TurnNumber) -> Decided<Option<TurnNumber>> {
    let Some(last) = rows::replaced_component_turn(conn, generation)? else { return Ok(None) };
    if last < turn {
        return Ok(Some(last));
    }
    for turn in (0..turn.0).rev().map(TurnNumber) {
        let record = Stored::of(conn, generation, turn)?.decode(conn)?;
        if rules::replaced_component(&record).is_some() {
            return Ok(Some(turn));
        }
    }
    Ok(None)
}

/// Takes out of the inbox what is outdated.
fn drop_settled(conn: &Connection, rewound: &RewoundInstance) -> Decided<()> {
    let mut select = conn.prepare_cached("SELECT message, body FROM inbox WHERE instance = ?1 ORDER BY message")?;
    let mut messages = select.query([rewound.instance.0])?;
    let mut outdated = Vec::new();
    while let Some(message) = messages.next()? {
        let body = record::decode_message(message.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
        if rules::is_settled(&body, &rewound.settled) {
            outdated.push(message.get::<_, i64>(0)?);
        }
    }
    drop(messages);
    for message in outdated {
        conn.prepare_cached("DELETE FROM inbox WHERE instance = ?1 AND message = ?2")?
            .execute([rewound.instance.0, message])?;
    }
    Ok(())
}
