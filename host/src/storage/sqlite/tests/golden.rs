//! Format 1, as text, for ever: files like this one are on disks.

use std::{fmt::Write as _, sync::Arc};

use rusqlite::{Connection, types::Value};

use super::{
    super::Sqlite,
    scenario::{Model, Op, Picture, assert_sound, component},
    temporary,
};
use crate::{
    durable::{
        HistoryEvent, Json, MessageNumber, NextExecution, OverridableStates, RuntimeStatus, Timestamp, TurnNumber,
    },
    storage::{
        End, Fence, TurnCommit,
        conformance::{Live, event, id, ok, start_of, status, with_summary},
    },
};

const FORMAT_1: &str = include_str!("../golden/format-1.sql");

/// One of everything that a file holds. Never changed: it is what wrote the golden file.
fn scenario() -> Vec<Op> {
    let start = |text: &str, time: i64| start_of(text, OverridableStates::AnyState, time);
    let live = |key: i64, turns: u32, due: Option<i64>| Live {
        instance: crate::durable::InstanceKey(key),
        generation: crate::durable::GenerationKey(key),
        number: TurnNumber(turns),
        due: due.map(Timestamp),
    };
    let mut large = start("large", 2);
    Arc::get_mut(&mut large.started).unwrap().input = Json::string(&"x".repeat(70_000));
    let mut scheduled = start("scheduled", 3);
    Arc::get_mut(&mut scheduled.started).unwrap().scheduled_start = Some(Timestamp(900));
    let custom = HistoryEvent::CustomStatusSet { status: Json::string("half way") };
    let waiting = with_summary(live(1, 0, None).turn(5, RuntimeStatus::Running, vec![custom]), |summary| {
        (summary.custom_status, summary.next_due, summary.outstanding) = (Some(TurnNumber(1)), Some(Timestamp(800)), 2);
    });
    let output = HistoryEvent::ExecutionCompleted { output: Json::string("done") };
    let continues = live(5, 0, None).next(9, &[(1, "carried")]);
    let next = NextExecution {
        custom_status: Some(Json::string("kept")),
        ..NextExecution::clone(continues.next.as_ref().unwrap())
    };
    let took = vec![MessageNumber(1)];
    let end = End { fence: Fence::default(), id: id("ended"), time: Timestamp(8), reason: "enough".to_owned() };
    let (digest, bytes) = component(0);
    vec![
        Op::Start(start("waiting ü", 1)),
        Op::Start(large),
        Op::Start(scheduled),
        Op::Start(start("ended", 4)),
        Op::Start(start("continued", 4)),
        Op::Turn(waiting),
        Op::Put(event("waiting ü", "Approval")),
        Op::Turn(live(2, 0, None).turn(6, RuntimeStatus::Completed, vec![output])),
        Op::End(end),
        Op::Put(event("continued", "carried")),
        Op::Put(event("continued", "later")),
        Op::Turn(TurnCommit { took, next: Some(Arc::new(next)), ..continues }),
        Op::Component(digest, bytes),
    ]
}

fn model() -> Model {
    Model::new().after(&scenario())
}

/// A database as the statements that make it.
fn dump(conn: &Connection) -> String {
    let mut text =
        String::from("-- Storage format 1: its layout, and one of everything that it holds. Never changed.\n");
    for pragma in ["application_id", "user_version"] {
        let value: i64 = conn.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
        writeln!(text, "PRAGMA {pragma} = {value};").unwrap();
    }
    let mut schema = conn.prepare("SELECT name, type, sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    let entries = schema.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    for (name, kind, sql) in entries.map(Result::<(String, String, String), _>::unwrap) {
        // Not what the format began with; made when a file lacks it.
        if name == "lock" {
            continue;
        }
        writeln!(text, "{sql};").unwrap();
        if kind == "table" {
            rows(conn, &name, &mut text);
        }
    }
    text
}

fn rows(conn: &Connection, table: &str, text: &mut String) {
    let mut select = conn
        .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
        .unwrap_or_else(|_| conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).expect("a table has a column"));
    let columns = select.column_count();
    let mut rows = select.query(()).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..columns).map(|column| literal(&row.get(column).unwrap())).collect();
        writeln!(text, "INSERT INTO {table} VALUES ({});", values.join(", ")).unwrap();
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        // The large input: what is between its quotes is one letter.
        Value::Blob(bytes) if bytes.len() > 10_000 => {
            let inner = &bytes[1..bytes.len() - 1];
            assert!(inner.iter().all(|byte| byte == &b'x'), "only one large payload is in the scenario");
            format!("CAST('\"' || replace(hex(zeroblob({})), '00', 'x') || '\"' AS BLOB)", inner.len())
        }
        Value::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("X'{hex}'")
        }
    }
}

#[test]
fn a_file_of_format_1_is_opened_read_and_continued() {
    let (_folder, path) = temporary();
    Connection::open(&path).unwrap().execute_batch(FORMAT_1).unwrap();
    let storage = Sqlite::open(&path).unwrap();
    assert_eq!(Picture::of(&storage).unwrap(), model().picture());
    // It goes on: the next key, the next message, the next turn.
    let mut model = model();
    let waiting = Live {
        instance: crate::durable::InstanceKey(1),
        generation: crate::durable::GenerationKey(1),
        number: TurnNumber(1),
        due: Some(Timestamp(800)),
    };
    for op in [
        Op::Put(event("waiting ü", "again")),
        Op::Turn(TurnCommit {
            took: vec![MessageNumber(1)],
            ..waiting.turn(10, RuntimeStatus::Running, vec![HistoryEvent::TimerFired { sequence: 0 }])
        }),
        Op::Start(start_of("large", OverridableStates::NonRunningStates, 11)),
        Op::Start(start_of("new", OverridableStates::NonRunningStates, 12)),
        Op::Collect(100),
    ] {
        assert_eq!(ok(op.submit(&storage)), model.apply(&op));
    }
    assert_eq!(Picture::of(&storage).unwrap(), model.picture());
    assert_eq!(status(&storage, "continued"), RuntimeStatus::Pending);
    drop(storage);
    assert_sound(&Connection::open(&path).unwrap());
}

#[test]
fn format_1_is_written_as_it_always_was() {
    let (_folder, path) = temporary();
    let storage = Sqlite::open(&path).unwrap();
    for op in scenario() {
        ok(op.submit(&storage));
    }
    drop(storage);
    let written = dump(&Connection::open(&path).unwrap());
    assert!(written == FORMAT_1, "another layout or codec is another format; written now:\n{written}");
}
