//! `soloist entities`.

use std::{ops::ControlFlow, process::ExitCode};

use http::Method;
use jiff::Timestamp as Moment;

use super::args::{Remote, name};
use super::client::Ask;
use super::failure::Failure;
use super::instances::json_array;
use super::model::Entity;
use super::output::{Style, Table, cell, styled_cell};
use super::session::{List, Session};
use super::{payload, text, when};

/// `soloist entities`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in super::super) struct Entities {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  soloist entities list --name Counter --state
  soloist entities show Counter steps
  soloist entities signal Counter steps add --input 1
  soloist entities delete @counter@steps

Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unreachable, 6 not authorised, 8 timed out.";

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List entities
    List(ListEntities),
    /// Show one entity's state
    Show(One),
    /// Send an operation, whose result nobody waits for
    Signal(Signal),
    /// Send the operation delete
    Delete(One),
}

/// One entity.
#[derive(Debug, clap::Args)]
struct One {
    /// The entity function's name; or @name@key, without KEY
    #[arg(value_parser = name)]
    name: String,
    /// The key; "" is the empty one
    #[arg(value_name = "KEY")]
    entity_key: Option<String>,
}

/// `soloist entities list`.
#[derive(Debug, clap::Args)]
struct ListEntities {
    /// Of this entity function
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Whose last operation was at or after this time (2026-01-31T12:00:00Z), or at most so long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    used_after: Option<Moment>,
    /// Whose last operation was at or before this time, or at least so long ago
    #[arg(long, value_name = "TIME", value_parser = when::moment)]
    used_before: Option<Moment>,
    /// With states
    #[arg(long)]
    state: bool,
    /// At most so many, over as many pages as it takes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    top: u64,
    /// All of them
    #[arg(long, conflicts_with = "top")]
    all: bool,
}

/// `soloist entities signal`.
#[derive(Debug, clap::Args)]
struct Signal {
    /// The entity function's name
    #[arg(value_parser = name)]
    name: String,
    /// The key; "" is the empty one
    #[arg(value_name = "KEY")]
    entity_key: String,
    /// The operation
    operation: String,
    /// Its input: JSON text, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    input: Option<String>,
}

/// The empty key, in a path.
const EMPTY_KEY: &str = "$";

impl Entities {
    pub(in super::super) fn run(self) -> ExitCode {
        let Self { remote, verb } = self;
        super::run(&remote, |session| verb.run(session))
    }
}

impl Verb {
    async fn run(self, mut session: Session) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(&mut session).await?,
            Self::Show(one) => {
                let (name, key) = one.id()?;
                let ask = Ask::new(Method::GET, &["entities", &name, in_path(&key)]);
                let answer = session.send(&shown(&name, &key), &ask).await?;
                // Either way it is JSON: people see it on one line.
                session.output.json(&answer.body)?;
            }
            Self::Signal(signal) => signal.run(&mut session).await?,
            Self::Delete(one) => {
                let (name, key) = one.id()?;
                delete(&mut session, &name, &key).await?;
                let json = serde_json::json!({ "entityId": { "name": name, "key": key }, "operation": "delete" });
                session.output.done(&format!("sent delete to @{name}@{key}"), &json.to_string())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Sends the operation `delete`.
///
/// # Errors
/// As [`Session::send`].
pub(super) async fn delete(session: &mut Session, name: &str, key: &str) -> Result<(), Failure> {
    let ask = Ask::new(Method::DELETE, &["entities", name, in_path(key)]);
    session.send(&shown(name, key), &ask).await.map(drop)
}

fn in_path(key: &str) -> &str {
    if key.is_empty() { EMPTY_KEY } else { key }
}

fn shown(name: &str, key: &str) -> String {
    format!("entity {:?}", format!("@{name}@{key}"))
}

impl One {
    fn id(self) -> Result<(String, String), Failure> {
        if let Some(key) = self.entity_key {
            return Ok((self.name, key));
        }
        let parts = self.name.strip_prefix('@').and_then(|id| id.split_once('@'));
        match parts {
            Some((name, key)) if !name.is_empty() => Ok((name.to_owned(), key.to_owned())),
            _ => Err(Failure::usage(format!("which key of {}? say NAME KEY or @name@key", self.name))),
        }
    }
}

impl Signal {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let Self { name, entity_key: key, operation, .. } = &self;
        let input = self.input.as_deref().map(|input| payload::json("--input", input)).transpose()?;
        let ask = Ask::new(Method::POST, &["entities", name, in_path(key)]).query("op", operation).json(input);
        session.send(&shown(name, key), &ask).await?;
        let json = serde_json::json!({ "entityId": { "name": name, "key": key }, "operation": operation });
        session.output.done(&format!("sent {operation} to @{name}@{key}"), &json.to_string())
    }
}

impl ListEntities {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let segments: Vec<&str> = ["entities"].into_iter().chain(self.name.as_deref()).collect();
        let time = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
        let ask = Ask::new(Method::GET, &segments)
            .maybe("lastOperationTimeFrom", time(self.used_after).as_deref())
            .maybe("lastOperationTimeTo", time(self.used_before).as_deref())
            .query("fetchState", if self.state { "true" } else { "false" });
        let list = List { top: if self.all { u64::MAX } else { self.top }, token: "" };
        if session.output.is_json() {
            return json_array(session, &ask, list).await;
        }
        let mut table = Table::new(4);
        let mut is_first = true;
        let token = session
            .pages(&ask, list, |session, page| {
                let mut rows = Vec::with_capacity(page.len() + 1);
                if is_first && !page.is_empty() {
                    is_first = false;
                    let state = if self.state { "STATE" } else { "" };
                    rows.push(
                        ["NAME", "KEY", "LAST OPERATION (UTC)", state].map(|h| styled_cell(h, Style::Dim)).into(),
                    );
                }
                for raw in page {
                    let entity: Entity = session.read(raw.get())?;
                    let state = entity.state.map_or(String::new(), |state| text::short(state.get()));
                    let last = when::for_people(&entity.last_operation_time);
                    rows.push(vec![
                        cell(&entity.entity_id.name),
                        cell(&entity.entity_id.key),
                        cell(&last),
                        cell(&state),
                    ]);
                }
                session.output.write(&table.rows(&rows, &session.output))?;
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        if is_first {
            eprintln!("no entities");
        } else if !token.is_empty() {
            eprintln!("there may be more: say --top N or --all");
        }
        Ok(())
    }
}
