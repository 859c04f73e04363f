//! What each read returns, inside one transaction of a reading connection.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params, types::Value};
use sha2::{Digest as _, Sha256};

use super::entities;
use super::rows::{self, COLUMNS, Instance, Stored};
use crate::{
    durable::{Digest, GenerationKey, InstanceId, InstanceKey, MessageNumber, Timestamp, TurnNumber},
    storage::{
        ComponentUse, Due, Expired, Expiry, INBOX_PAGE, Loaded, OpenInstance, Page, Query, Snapshot, StorageError,
        Want, record, rules,
    },
};

type Read<T> = Result<T, StorageError>;

/// A page of a list looks at no more rows than this, however few it finds: a read must not hold its moment for long.
const EXAMINED_MAX: usize = 10_000;

/// A slice of the search for what has expired looks at no more rows than this, each of which may take a read of its last
/// record.
const EXPIRED_EXAMINED_MAX: usize = 2_000;

/// A page of a list ends once its inputs have this many bytes.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn snapshot(conn: &Connection, id: &InstanceId, want: Want) -> Read<Option<Snapshot>> {
    let row = Instance::by_id(conn, id)?.filter(|row| !row.id.is_entity());
    row.map(|row| snapshot_of(conn, row, want)).transpose()
}

fn snapshot_of(conn: &Connection, row: Instance, want: Want) -> Read<Snapshot> {
    let first = Stored::of(conn, row.generation, TurnNumber::START)?;
    let first = if want.input { first.decode(conn)? } else { first.decode_without_payloads()? };
    let last = Stored::last(conn, row.generation)?;
    let (updated, summary) = last.head()?;
    row.check_status(summary.status)?;
    let output = if row.ended.is_some() { rules::output(&last.decode(conn)?) } else { None };
    let custom_status = match summary.custom_status {
        Some(turn) => Some(rules::custom_status(&Stored::of(conn, row.generation, turn)?.decode(conn)?, turn)?),
        None => None,
    };
    let history = if want.history { Some(rows::history(conn, row.generation)?) } else { None };
    Ok(Snapshot {
        instance: row.key,
        id: row.id,
        generation: row.generation,
        started: rules::started(&first, want.input)?,
        created: row.created,
        updated,
        summary,
        custom_status,
        output,
        history,
    })
}

pub(super) fn list(conn: &Connection, query: &Query) -> Read<Page> {
    let limit = query.limit.max(1);
    let (statement, parameters) = list_statement(conn, query)?;
    let mut select = conn.prepare_cached(&statement)?;
    let mut rows = select.query(rusqlite::params_from_iter(parameters))?;
    let (mut instances, mut bytes, mut examined) = (Vec::new(), 0, 0);
    let mut last = None;
    while let Some(row) = rows.next()? {
        if instances.len() >= limit || bytes >= PAGE_BYTES || examined >= EXAMINED_MAX {
            return Ok(Page { instances, next: last });
        }
        let row = Instance::read(row)?;
        (examined, last) = (examined + 1, Some(row.key));
        if matches(conn, query, &row)? {
            let found = snapshot_of(conn, row, Want { input: query.input, history: false })?;
            bytes += found.started.input.as_str().len();
            instances.push(found);
        }
    }
    Ok(Page { instances, next: None })
}

/// The rows to look at, in order of key: those that the index of ids gives if they are few, else all.
fn list_statement(conn: &Connection, query: &Query) -> Read<(String, Vec<Value>)> {
    let after = Value::from(query.after.map_or(i64::MIN, |key| key.0));
    let Some(prefix) = query.prefix.as_deref().filter(|prefix| !prefix.is_empty()) else {
        return Ok((format!("SELECT {COLUMNS} FROM instance WHERE key > ?1 ORDER BY key"), vec![after]));
    };
    // No id sorts behind this: U+10FFFF is the last code point, and ids are shorter.
    let end = format!("{prefix}{}", "\u{10ffff}".repeat(257));
    let range = "id >= ?1 AND id <= ?2";
    let few: i64 = conn
        .prepare_cached(&format!(
            "SELECT count(*) FROM (SELECT 1 FROM instance WHERE {range} LIMIT {})",
            EXAMINED_MAX + 1
        ))?
        .query_row(params![prefix, end], |row| row.get(0))?;
    if few > EXAMINED_MAX as i64 {
        return Ok((format!("SELECT {COLUMNS} FROM instance WHERE key > ?1 ORDER BY key"), vec![after]));
    }
    // The + keeps SQLite from walking the whole table by key instead.
    let statement = format!("SELECT {COLUMNS} FROM instance WHERE {range} AND +key > ?3 ORDER BY +key");
    Ok((statement, vec![Value::from(prefix.to_owned()), Value::from(end), after]))
}

fn matches(conn: &Connection, query: &Query, row: &Instance) -> Read<bool> {
    let Query { created_from, created_to, statuses, prefix, after: _, limit: _, input: _ } = query;
    Ok(!row.id.is_entity()
        && created_from.is_none_or(|from| row.created >= from)
        && created_to.is_none_or(|to| row.created <= to)
        && prefix.as_ref().is_none_or(|prefix| row.id.as_str().starts_with(prefix))
        && (statuses.is_empty() || statuses.contains(&row.status(conn)?)))
}

pub(super) fn expired(conn: &Connection, expiry: Expiry, after: Option<InstanceKey>, limit: usize) -> Read<Expired> {
    let mut expired = Expired::default();
    let Some(latest) = expiry.latest() else { return Ok(expired) };
    let mut select = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM instance WHERE key > ?1 ORDER BY key"))?;
    let mut rows = select.query([after.map_or(i64::MIN, |key| key.0)])?;
    let (mut last, mut examined) = (None, 0);
    while let Some(row) = rows.next()? {
        if examined >= EXPIRED_EXAMINED_MAX || expired.instances.len() >= limit.max(1) {
            return Ok(Expired { next: last, ..expired });
        }
        let row = Instance::read(row)?;
        // An instance bears the number of its first generation, and numbers ascend with time: what follows was made later. (One
        // that was made in the future tells nothing: the clock has been put back since.)
        if row.created > latest && row.created <= expiry.now && row.generation.0 == row.key.0 {
            break;
        }
        (examined, last) = (examined + 1, Some(row.key));
        let by = row.ended.and_then(|status| expiry.of(status)).filter(|by| row.created <= *by && !row.id.is_entity());
        let ended = by.map(|_| row.head(conn)).transpose();
        let has_expired = match ended {
            Ok(head) => by.zip(head).is_some_and(|(by, head)| head.time <= by),
            // It stays for whoever looks into it, and keeps no other one.
            Err(StorageError::Corrupt(_)) => false,
            Err(error) => return Err(error),
        };
        if has_expired {
            expired.instances.push((row.key, row.generation));
        }
    }
    Ok(expired)
}

pub(super) fn load(conn: &Connection, instance: InstanceKey) -> Read<Option<Loaded>> {
    let Some(row) = Instance::by_key(conn, instance)?.filter(|row| row.ended.is_none()) else { return Ok(None) };
    let (records, entity) = if row.id.is_entity() {
        let (number, record) = entities::record_of(conn, row.generation)?;
        (Vec::new(), Some((number, Arc::new(record))))
    } else {
        let records = rows::history(conn, row.generation)?;
        let last = records.last().expect("a history that was read has a record");
        row.check_status(last.summary.status)?;
        (records, None)
    };
    let limit = if entity.is_some() { usize::MAX } else { INBOX_PAGE };
    let mut select =
        conn.prepare_cached("SELECT message, body FROM inbox WHERE instance = ?1 ORDER BY message LIMIT ?2")?;
    let mut messages = select.query([instance.0, rows_max(limit.saturating_add(1))])?;
    let (mut inbox, mut has_more) = (Vec::new(), false);
    while let Some(message) = messages.next()? {
        if inbox.len() == limit {
            has_more = true;
            break;
        }
        let body = message.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        inbox.push((MessageNumber(message.get(0)?), record::decode_message(body)?));
    }
    let last_read = inbox.last().map(|(number, _)| *number).filter(|_| has_more);
    let messages_to = last_read.unwrap_or(MessageNumber(row.last_message));
    let Instance { id, generation, .. } = row;
    Ok(Some(Loaded { instance, id, generation, records, entity, inbox, messages_to, has_more }))
}

pub(super) fn open_instances(conn: &Connection, after: Option<InstanceKey>, limit: usize) -> Read<Vec<OpenInstance>> {
    let mut select = conn.prepare_cached(
        "SELECT key, id, generation, created, status, last_message, EXISTS (SELECT 1 FROM inbox WHERE instance = key)
         FROM instance INDEXED BY instance_open WHERE status IS NULL AND key > ?1 ORDER BY key LIMIT ?2",
    )?;
    let mut rows = select.query([after.map_or(i64::MIN, |key| key.0), rows_max(limit)])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let has_messages = row.get(6)?;
        let row = Instance::read(row)?;
        let summary = row.head(conn)?.summary;
        open.push(OpenInstance { instance: row.key, id: row.id, generation: row.generation, summary, has_messages });
    }
    Ok(open)
}

pub(super) fn due(conn: &Connection, after: Option<Due>, limit: usize) -> Read<Vec<Due>> {
    let mut select = conn.prepare_cached(
        "SELECT at, generation, instance FROM due WHERE (at, generation) > (?1, ?2) ORDER BY at, generation LIMIT ?3",
    )?;
    let (at, generation) = after.map_or((i64::MIN, i64::MIN), |after| (after.at.0, after.generation.0));
    let due = select.query_map([at, generation, rows_max(limit)], |row| {
        Ok(Due {
            at: Timestamp(row.get(0)?),
            generation: GenerationKey(row.get(1)?),
            instance: InstanceKey(row.get(2)?),
        })
    })?;
    Ok(due.collect::<Result<_, _>>()?)
}

pub(super) fn component(conn: &Connection, digest: Digest) -> Read<Option<Arc<[u8]>>> {
    let bytes: Option<Vec<u8>> = conn
        .prepare_cached("SELECT bytes FROM component WHERE digest = ?1")?
        .query_row([digest.0], |row| row.get(0))
        .optional()?;
    let Some(bytes) = bytes else { return Ok(None) };
    if Sha256::digest(&bytes).as_slice() != digest.0 {
        return Err(StorageError::Corrupt(format!("the bytes of component {digest} do not have its digest")));
    }
    Ok(Some(bytes.into()))
}

pub(super) fn components(conn: &Connection) -> Read<Vec<Digest>> {
    let mut select = conn.prepare_cached("SELECT digest FROM component ORDER BY digest")?;
    let digests = select.query_map((), |row| row.get(0).map(Digest))?;
    Ok(digests.collect::<Result<_, _>>()?)
}

pub(super) fn component_use(conn: &Connection, digest: Digest, from: InstanceKey, limit: usize) -> Read<ComponentUse> {
    let mut select =
        conn.prepare_cached(&format!("SELECT {COLUMNS} FROM instance WHERE key >= ?1 ORDER BY key LIMIT ?2"))?;
    let mut rows = select.query([from.0, rows_max(limit.saturating_add(1))])?;
    let mut examined = 0;
    while let Some(row) = rows.next()? {
        let row = Instance::read(row)?;
        if examined == limit {
            return Ok(ComponentUse::SearchFrom(row.key));
        }
        examined += 1;
        // Entities run on what is deployed.
        if !row.id.is_entity() && row.ended.is_none_or(rules::needs_component) {
            match rows::component_of(conn, row.generation) {
                Ok(component) if component != digest => {}
                Ok(_) | Err(StorageError::Corrupt(_)) => return Ok(ComponentUse::By(row.key)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(ComponentUse::Nobody)
}

fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
