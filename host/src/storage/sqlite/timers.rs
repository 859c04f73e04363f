//! Where the schedules of timer functions stand: rows of `meta`, as they are few and made of numbers.

use rusqlite::{Connection, params};

use super::writer::Batch;
use crate::{
    durable::{FunctionName, Timestamp},
    storage::{StorageError, TimerStatus},
};

/// A row's name; the function's is in lower case, as names compare without regard to it.
fn row(function: &FunctionName, field: &str) -> String {
    format!("timer/{}/{field}", function.as_str().to_ascii_lowercase())
}

pub(super) fn status(conn: &Connection, function: &FunctionName) -> Result<Option<TimerStatus>, StorageError> {
    let read = |field: &str| -> Result<Option<i64>, StorageError> {
        let mut select = conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        let mut rows = select.query([row(function, field)])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    };
    let (Some(updated), Some(schedule)) = (read("updated")?, read("schedule")?) else { return Ok(None) };
    let schedule = u32::try_from(schedule)
        .map_err(|_| StorageError::Corrupt(format!("the schedule of timer function {function} is no number of one")))?;
    let time = |field: &str| Ok::<_, StorageError>(read(field)?.map(Timestamp));
    Ok(Some(TimerStatus { last: time("last")?, next: time("next")?, updated: Timestamp(updated), schedule }))
}

pub(super) fn put_status(batch: &Batch<'_>, function: &FunctionName, status: TimerStatus) -> Result<(), StorageError> {
    let fields = [
        ("last", status.last.map(|at| at.0)),
        ("next", status.next.map(|at| at.0)),
        ("updated", Some(status.updated.0)),
        ("schedule", Some(i64::from(status.schedule))),
    ];
    for (field, value) in fields {
        let name = row(function, field);
        match value {
            Some(value) => batch
                .conn()
                .prepare_cached(
                    "INSERT INTO meta(name, value) VALUES (?1, ?2) ON CONFLICT(name) DO UPDATE SET value = ?2",
                )?
                .execute(params![name, value])?,
            None => batch.conn().prepare_cached("DELETE FROM meta WHERE name = ?1")?.execute([name])?,
        };
    }
    Ok(())
}
