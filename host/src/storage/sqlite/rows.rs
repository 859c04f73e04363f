//! Rows as values, for those who write and those who read.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    durable::{
        Digest, GenerationKey, InstanceId, InstanceKey, RuntimeStatus, Summary, Timestamp, TurnNumber, TurnRecord,
    },
    storage::{
        StorageError,
        record::{self, Encoded, Payloads, Texts},
        rules,
    },
};

/// An instance's row.
pub(super) struct Instance {
    pub key: InstanceKey,
    pub id: InstanceId,
    pub generation: GenerationKey,
    pub created: Timestamp,
    /// How it ended; `None` while it is open.
    pub ended: Option<RuntimeStatus>,
    pub last_message: i64,
}

/// A record as it is stored.
pub(super) struct Stored {
    pub generation: GenerationKey,
    pub turn: TurnNumber,
    pub bytes: Vec<u8>,
}

/// The columns that [`Instance::read`] reads.
pub(super) const COLUMNS: &str = "key, id, generation, created, status, last_message";

impl Instance {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StorageError> {
        let status: Option<u8> = row.get(4)?;
        Ok(Self {
            key: InstanceKey(row.get(0)?),
            id: InstanceId::from_stored(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?),
            generation: GenerationKey(row.get(2)?),
            created: Timestamp(row.get(3)?),
            ended: status.map(record::status_of).transpose()?,
            last_message: row.get(5)?,
        })
    }

    pub(super) fn by_id(conn: &Connection, id: &InstanceId) -> Result<Option<Self>, StorageError> {
        let mut select = conn
            .prepare_cached("SELECT key, id, generation, created, status, last_message FROM instance WHERE id = ?1")?;
        let mut rows = select.query([id.as_str()])?;
        rows.next()?.map(Self::read).transpose()
    }

    pub(super) fn by_key(conn: &Connection, key: InstanceKey) -> Result<Option<Self>, StorageError> {
        let mut select = conn
            .prepare_cached("SELECT key, id, generation, created, status, last_message FROM instance WHERE key = ?1")?;
        let mut rows = select.query([key.0])?;
        rows.next()?.map(Self::read).transpose()
    }

    /// The last record's turn, time and summary.
    pub(super) fn head(&self, conn: &Connection) -> Result<Head, StorageError> {
        let last = Stored::last(conn, self.generation)?;
        let (time, summary) = last.head()?;
        self.check_status(summary.status)?;
        Ok(Head { turn: last.turn, time, summary })
    }

    /// Its present status.
    pub(super) fn status(&self, conn: &Connection) -> Result<RuntimeStatus, StorageError> {
        match self.ended {
            Some(status) => Ok(status),
            None => Ok(self.head(conn)?.summary.status),
        }
    }

    /// Row and records must tell the same of it.
    pub(super) fn check_status(&self, recorded: RuntimeStatus) -> Result<(), StorageError> {
        if self.ended == Some(recorded).filter(|status| status.is_terminal()) {
            return Ok(());
        }
        Err(StorageError::Corrupt(format!(
            "instance {:?} is {recorded} by its history, but {} by its row",
            self.id,
            self.ended.map_or("open", RuntimeStatus::as_str)
        )))
    }
}

/// Where a generation stands.
pub(super) struct Head {
    pub turn: TurnNumber,
    pub time: Timestamp,
    pub summary: Summary,
}

impl Stored {
    /// A generation's last record.
    pub(super) fn last(conn: &Connection, generation: GenerationKey) -> Result<Self, StorageError> {
        conn.prepare_cached("SELECT turn, record FROM history WHERE generation = ?1 ORDER BY turn DESC LIMIT 1")?
            .query_row([generation.0], |row| Self::read(generation, row))
            .optional()?
            .ok_or_else(|| StorageError::Corrupt(format!("generation {generation} has no records")))
    }

    /// A generation's record of this turn.
    pub(super) fn of(conn: &Connection, generation: GenerationKey, turn: TurnNumber) -> Result<Self, StorageError> {
        conn.prepare_cached("SELECT turn, record FROM history WHERE generation = ?1 AND turn = ?2")?
            .query_row(params![generation.0, turn.0], |row| Self::read(generation, row))
            .optional()?
            .ok_or_else(|| StorageError::Corrupt(format!("generation {generation} has no record of turn {turn}")))
    }

    fn read(generation: GenerationKey, row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { generation, turn: TurnNumber(row.get(0)?), bytes: row.get(1)? })
    }

    pub(super) fn head(&self) -> Result<(Timestamp, Summary), StorageError> {
        record::head(&self.bytes).map_err(|error| self.name(error))
    }

    /// The whole record.
    pub(super) fn decode(&self, conn: &Connection) -> Result<TurnRecord, StorageError> {
        self.with_payloads(conn, |texts| record::decode(&self.bytes, texts))
    }

    pub(super) fn with_payloads<T>(
        &self,
        conn: &Connection,
        decode: impl FnOnce(Texts<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut beside = Beside { conn, generation: self.generation, turn: self.turn };
        decode(Texts::Fetch(&mut beside)).map_err(|error| self.name(error))
    }

    /// The record; JSON that is stored beside it is not read and `null`.
    pub(super) fn decode_without_payloads(&self) -> Result<TurnRecord, StorageError> {
        record::decode(&self.bytes, Texts::Skip).map_err(|error| self.name(error))
    }

    fn name(&self, error: StorageError) -> StorageError {
        match error {
            StorageError::Corrupt(what) => {
                StorageError::Corrupt(format!("{what} (generation {}, turn {})", self.generation, self.turn))
            }
            error @ (StorageError::Full(_) | StorageError::Busy(_) | StorageError::Poisoned(_)) => error,
        }
    }
}

/// Every record of a generation, from the start on, without a gap.
pub(super) fn history(conn: &Connection, generation: GenerationKey) -> Result<Vec<Arc<TurnRecord>>, StorageError> {
    let mut select = conn.prepare_cached("SELECT turn, record FROM history WHERE generation = ?1 ORDER BY turn")?;
    let mut rows = select.query([generation.0])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let stored = Stored::read(generation, row)?;
        if stored.turn.0 as usize != records.len() {
            let missing = records.len();
            return Err(StorageError::Corrupt(format!("generation {generation} has no record of turn {missing}")));
        }
        records.push(Arc::new(stored.decode(conn)?));
    }
    if records.is_empty() {
        return Err(StorageError::Corrupt(format!("generation {generation} has no records")));
    }
    Ok(records)
}

/// Begins the names of the rows of `meta` that tell in which turn of a generation its component was replaced last.
const REPLACED: &str = "replaced:";

/// Notes that this turn's record replaces the component.
pub(super) fn note_replaced_component(
    conn: &Connection,
    generation: GenerationKey,
    turn: TurnNumber,
) -> Result<(), StorageError> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta(name, value) VALUES (?1, ?2)")?
        .execute(params![format!("{REPLACED}{generation}"), turn.0])?;
    Ok(())
}

/// The generation is gone.
pub(super) fn forget_replaced_component(conn: &Connection, generation: GenerationKey) -> Result<(), StorageError> {
    conn.prepare_cached("DELETE FROM meta WHERE name = ?1")?.execute([format!("{REPLACED}{generation}")])?;
    Ok(())
}

/// The turn in which a generation's component was replaced last.
pub(super) fn replaced_component_turn(
    conn: &Connection,
    generation: GenerationKey,
) -> Result<Option<TurnNumber>, StorageError> {
    Ok(conn
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([format!("{REPLACED}{generation}")], |row| row.get(0).map(TurnNumber))
        .optional()?)
}

/// The component that runs a generation.
pub(super) fn component_of(conn: &Connection, generation: GenerationKey) -> Result<Digest, StorageError> {
    let Some(turn) = replaced_component_turn(conn, generation)? else {
        let first = Stored::of(conn, generation, TurnNumber::START)?.decode_without_payloads()?;
        return Ok(rules::started(&first, false)?.component);
    };
    let record = Stored::of(conn, generation, turn)?.decode_without_payloads()?;
    rules::replaced_component(&record).ok_or_else(|| {
        StorageError::Corrupt(format!(
            "generation {generation} has no other component in turn {turn}, though it should"
        ))
    })
}

/// The first records of a generation.
#[derive(Default)]
pub(super) struct Slice {
    /// How many they are.
    pub records: i64,
    /// The last one's turn.
    pub last: Option<i64>,
    /// Whether one of them may have payloads beside it.
    pub has_payloads: bool,
}

/// The first records of a generation, `limit` at most.
pub(super) fn slice(conn: &Connection, generation: GenerationKey, limit: i64) -> Result<Slice, StorageError> {
    let mut select =
        conn.prepare_cached("SELECT turn, record FROM history WHERE generation = ?1 ORDER BY turn LIMIT ?2")?;
    let mut rows = select.query([generation.0, limit])?;
    let mut slice = Slice::default();
    while let Some(row) = rows.next()? {
        slice.records += 1;
        slice.last = Some(row.get(0)?);
        slice.has_payloads |= record::has_payloads(row.get_ref(1)?.as_blob().unwrap_or_default());
    }
    Ok(slice)
}

/// The payloads beside one record.
struct Beside<'c> {
    conn: &'c Connection,
    generation: GenerationKey,
    turn: TurnNumber,
}

impl Payloads for Beside<'_> {
    fn payload(&mut self, number: u32) -> Result<Option<Vec<u8>>, StorageError> {
        let mut select = self
            .conn
            .prepare_cached("SELECT bytes FROM payload WHERE generation = ?1 AND turn = ?2 AND number = ?3")?;
        Ok(select.query_row(params![self.generation.0, self.turn.0, number], |row| row.get(0)).optional()?)
    }
}

/// Writes the payloads beside a record.
pub(super) fn insert_payloads(
    conn: &Connection,
    generation: GenerationKey,
    turn: TurnNumber,
    record: &Encoded,
) -> Result<(), StorageError> {
    for (number, text) in (0u32..).zip(&record.payloads) {
        conn.prepare_cached("INSERT INTO payload(generation, turn, number, bytes) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![generation.0, turn.0, number, text.as_bytes()])?;
    }
    Ok(())
}
