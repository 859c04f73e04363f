//! `soloist durable`: the verbs and flags of `func durable` of Azure's Core Tools v4, over the management API.
//!
//! Statuses are shown as the management API has them, not as the Azure Storage backend stores them. Exit codes are those of
//! the other commands: the Core Tools know only 0 and 1.

mod task_hub;

use std::process::ExitCode;

use http::Method;
use jiff::Timestamp as Moment;
use serde_json::value::RawValue;

use super::args::{Remote, name};
use super::ask::confirm;
use super::client::Ask;
use super::failure::{Exit, Failure};
use super::instances::{Filter, StartNew, count_ended, history_json, purge_by, raise, status};
use super::model::Status;
use super::pretty::pretty;
use super::session::{List, Session, Want};
use super::{payload, text, when};
use crate::ambient::{Ambient as _, System};

/// `soloist durable`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in super::super) struct Durable {
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    ignored: Ignored,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  soloist durable start-new --function-name E1_HelloSequence --id hello --input @input.json
  soloist durable get-runtime-status --id hello --show-output
  soloist durable get-instances --runtime-status failed --top 15
  soloist durable purge-history --created-before 2026-01-31T00:00:00Z --runtime-status completed --yes

As with func durable, the text of --input and --event-data is passed as a string; @FILE holds JSON.
Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unreachable, 6 not authorised, 8 timed out.";

/// What only the Core Tools need.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Accepted without effect: a host has one task hub and its own storage")]
struct Ignored {
    /// Without effect
    #[arg(long, value_name = "NAME", global = true)]
    connection_string_setting: Option<String>,
    /// Without effect
    #[arg(long, value_name = "NAME", global = true)]
    task_hub_name: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start a new instance of an orchestrator function
    StartNew(StartNewArgs),
    /// Show the status of instances
    GetInstances(GetInstances),
    /// Show the status of one instance
    GetRuntimeStatus(GetRuntimeStatus),
    /// Show the history of one instance
    GetHistory(Id),
    /// Raise an event at an instance
    RaiseEvent(RaiseEvent),
    /// Terminate an instance
    Terminate(Terminate),
    /// Rewind a failed instance
    Rewind(Rewind),
    /// Delete ended instances and their histories
    PurgeHistory(PurgeHistory),
    /// Terminate and delete every instance, and delete every entity
    DeleteTaskHub(task_hub::DeleteTaskHub),
}

/// One instance.
#[derive(Debug, clap::Args)]
struct Id {
    /// The instance's id
    #[arg(long, value_parser = name)]
    id: String,
}

#[derive(Debug, clap::Args)]
struct StartNewArgs {
    /// The orchestrator function
    #[arg(long, value_parser = name)]
    function_name: String,
    /// The id of the new instance [default: the host makes one]
    #[arg(long, value_parser = name)]
    id: Option<String>,
    /// The input: a text, or @FILE with JSON
    #[arg(long, allow_hyphen_values = true)]
    input: Option<String>,
}

/// Which instances, in the Core Tools' words.
#[derive(Debug, clap::Args)]
struct Which {
    /// Created at or after this time, UTC: ISO 8601 or mm/dd/yyyy HH:mm
    #[arg(long, value_name = "TIME", num_args = 1..=3)]
    created_after: Vec<String>,
    /// Created at or before this time
    #[arg(long, value_name = "TIME", num_args = 1..=3)]
    created_before: Vec<String>,
    /// With one of these statuses, separated by spaces
    #[arg(long, value_name = "STATUS", num_args = 1..)]
    runtime_status: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct GetInstances {
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    top: u64,
    /// Where to go on: what the call before printed
    #[arg(long, value_name = "TOKEN", default_value = "", allow_hyphen_values = true)]
    continuation_token: String,
}

#[derive(Debug, clap::Args)]
struct GetRuntimeStatus {
    #[command(flatten)]
    id: Id,
    /// With the input
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    show_input: bool,
    /// With the output
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    show_output: bool,
}

#[derive(Debug, clap::Args)]
struct RaiseEvent {
    #[command(flatten)]
    id: Id,
    /// The event's name [default: Event_ and a random id]
    #[arg(long, value_parser = name)]
    event_name: Option<String>,
    /// What it carries: a text, or @FILE with JSON
    #[arg(long, allow_hyphen_values = true)]
    event_data: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Terminate {
    #[command(flatten)]
    id: Id,
    /// Why
    #[arg(long, default_value = "Instance termination.")]
    reason: String,
}

#[derive(Debug, clap::Args)]
struct Rewind {
    #[command(flatten)]
    id: Id,
    /// Why
    #[arg(long, default_value = "Instance rewind.")]
    reason: String,
}

#[derive(Debug, clap::Args)]
struct PurgeHistory {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Durable {
    pub(in super::super) fn run(self) -> ExitCode {
        let Self { remote, ignored, verb } = self;
        super::run(&remote, |session| verb.run(session, ignored))
    }
}

impl Verb {
    async fn run(self, mut session: Session, ignored: Ignored) -> Result<ExitCode, Failure> {
        let session = &mut session;
        match self {
            Self::StartNew(start) => start.run(session).await?,
            Self::GetInstances(get) => get.run(session).await?,
            Self::GetRuntimeStatus(get) => get.run(session).await?,
            Self::GetHistory(Id { id }) => {
                let history = history_json(session, &id).await.map_err(|failure| not_found(failure, &id))?;
                show(session, &history)?;
            }
            Self::RaiseEvent(raise) => raise.run(session).await?,
            Self::Terminate(terminate) => terminate.run(session).await?,
            Self::Rewind(rewind) => rewind.run(session).await?,
            Self::PurgeHistory(purge) => purge.run(session).await?,
            Self::DeleteTaskHub(delete) => delete.run(session, ignored.task_hub_name.as_deref()).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// JSON: indented for people.
fn show(session: &Session, json: &str) -> Result<(), Failure> {
    if session.output.is_json() {
        return session.output.json(json);
    }
    session.output.write(&format!("{}\n", pretty(&text::inert_json(json))))
}

fn not_found(failure: Failure, id: &str) -> Failure {
    match failure.exit {
        Exit::NotFound => {
            Failure { message: format!("Could not find an orchestration instance with id '{id}'"), ..failure }
        }
        _ => failure,
    }
}

impl Which {
    fn filter(&self) -> Result<Filter, Failure> {
        let time = |flag: &str, words: &[String]| match words {
            [] => Ok(None),
            words => when::core_tools_moment(&words.join(" "))
                .map(Some)
                .map_err(|error| Failure::usage(format!("{flag}: {error}"))),
        };
        let words = self.runtime_status.iter().flat_map(|list| list.split([' ', ','])).filter(|word| !word.is_empty());
        let status = words
            .map(|word| status(word).map_err(|error| Failure::usage(format!("--runtime-status {word:?}: {error}"))))
            .collect::<Result<_, _>>()?;
        Ok(Filter {
            status,
            created_after: time("--created-after", &self.created_after)?,
            created_before: time("--created-before", &self.created_before)?,
        })
    }
}

impl StartNewArgs {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        if self.input.as_ref().is_some_and(|input| input.trim_start().starts_with(['{', '['])) {
            eprintln!("note: as with func durable this input is passed as a string; for JSON say --input @FILE");
        }
        let input = self.input.as_deref().map(|input| payload::core_tools("--input", input)).transpose()?;
        let start = StartNew { function: &self.function_name, id: self.id.as_deref(), input };
        let (body, id) = start.send(session, None).await?;
        if session.output.is_json() {
            return session.output.json(&body);
        }
        let (_, status) = session.status(&id, Want::default()).await?;
        let Status { name, created_time, .. } = status;
        session.output.line(&format!("Started '{name}' at {created_time}. Instance ID: '{id}'."))
    }
}

impl GetInstances {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let ask = self.which.filter()?.apply(Ask::new(Method::GET, &["instances"]));
        let mut found: Vec<Box<RawValue>> = Vec::new();
        let list = List { top: self.top, token: &self.continuation_token };
        let token = session
            .pages(&ask, list, |_, page| {
                found.extend(page);
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .await?;
        let array = format!("[{}]", found.iter().map(|raw| raw.get()).collect::<Vec<_>>().join(","));
        if session.output.is_json() {
            let token = serde_json::Value::from(token.as_str());
            return session.output.json(&format!("{{\"instances\":{array},\"continuationToken\":{token}}}"));
        }
        show(session, &array)?;
        session.output.line(&format!("Continuation token for next set of results: '{token}'"))
    }
}

impl GetRuntimeStatus {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let want = Want { input: self.show_input, ..Want::default() };
        let (_, status) = session.status(&self.id.id, want).await.map_err(|failure| not_found(failure, &self.id.id))?;
        show(session, &status_json(&status, self.show_output))
    }
}

/// The status object, with the output or without.
fn status_json(status: &Status, with_output: bool) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let payload = |payload: &Option<Box<RawValue>>| payload.as_ref().map_or("null", |raw| raw.get()).to_owned();
    let output = if with_output { payload(&status.output) } else { "null".to_owned() };
    let mut members = vec![
        ("name", text(&status.name)),
        ("instanceId", text(&status.instance_id)),
        ("runtimeStatus", text(&status.runtime_status)),
        ("input", payload(&status.input)),
        ("customStatus", payload(&status.custom_status)),
        ("output", output),
        ("createdTime", text(&status.created_time)),
        ("lastUpdatedTime", text(&status.last_updated_time)),
    ];
    if let Some(diagnostics) = &status.diagnostics {
        members.push(("diagnostics", text(diagnostics)));
    }
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

impl RaiseEvent {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let id = &self.id.id;
        let event = self.event_name.unwrap_or_else(|| format!("Event_{}", System.fresh_id()));
        let data = self.event_data.as_deref().map(|data| payload::core_tools("--event-data", data)).transpose()?;
        raise(session, id, &event, data).await.map_err(|failure| not_found(failure, id))?;
        let json = serde_json::json!({ "instanceId": id, "operation": "raiseEvent", "eventName": event });
        session.output.done(&format!("Raised event '{event}' to instance '{id}'."), &json.to_string())
    }
}

impl Terminate {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let id = &self.id.id;
        session.operate(id, "terminate", Some(&self.reason)).await.map_err(|failure| match failure.exit {
            Exit::NotFound => {
                let message = format!("Failed to find instance '{id}'. No instance was terminated.");
                Failure { message, ..failure }
            }
            _ => failure,
        })?;
        let json = serde_json::json!({ "instanceId": id, "operation": "terminate" });
        session.output.done(&format!("Successfully terminated '{id}'"), &json.to_string())
    }
}

impl Rewind {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let id = &self.id.id;
        let (_, before) = session.status(id, Want::default()).await.map_err(|failure| not_found(failure, id))?;
        session.operate(id, "rewind", Some(&self.reason)).await?;
        let (_, after) = session.status(id, Want::default()).await?;
        if session.output.is_json() {
            let json = serde_json::json!({
                "instanceId": id,
                "operation": "rewind",
                "before": before.runtime_status,
                "after": after.runtime_status,
            });
            return session.output.json(&json.to_string());
        }
        session.output.line(&format!("Rewind message sent to instance '{id}'. Retrieving new status now..."))?;
        session.output.line(&format!("Status before rewind: {}", before.runtime_status))?;
        session.output.line(&format!("Status after rewind: {}", after.runtime_status))
    }
}

impl PurgeHistory {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mut filter = self.which.filter()?;
        let named = !filter.status.is_empty();
        filter.status.retain(|status| status.is_terminal());
        // Statuses of live instances alone match nothing; without any, everything that has ended does.
        let count = if named && filter.status.is_empty() { 0 } else { count_ended(session, &filter).await? };
        let deleted = if count == 0 {
            0
        } else {
            confirm(&format!("Delete {count} ended instances and their histories at {}?", session.url()), self.yes)?;
            purge_by(session, &filter).await?
        };
        if session.output.is_json() {
            return session.output.json(&serde_json::json!({ "instancesDeleted": deleted }).to_string());
        }
        let shown = |moment: Option<Moment>| moment.map_or("any time".to_owned(), |moment| moment.to_string());
        let (after, before) = (shown(filter.created_after), shown(filter.created_before));
        let mut line =
            format!("Purged orchestration history for all instances created between '{after}' and '{before}'");
        if named {
            let statuses: Vec<_> = filter.status.iter().map(|status| status.as_str()).collect();
            let statuses = statuses.join(",");
            line.push_str(&format!(" and whose runtime status matched one of the following: [{statuses}]"));
        }
        session.output.line(&line)?;
        session.output.line(&format!("Instances deleted: {deleted}"))
    }
}
