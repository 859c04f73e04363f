//! `soloist instances show` and `history`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::One;
use crate::cli::manage::{
    failure::Failure,
    model::{Event, Status},
    output::{Style, Table, cell, style_of, styled_cell},
    session::{Session, Want},
    text,
    timeline::Timeline,
    when,
};

/// `soloist instances show`.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    #[command(flatten)]
    one: One,
    /// Payloads as they are, not shortened
    #[arg(long)]
    full: bool,
}

/// `soloist instances history`.
#[derive(Debug, clap::Args)]
pub(super) struct History {
    #[command(flatten)]
    one: One,
}

const ALL: Want = Want { input: true, history: true, raw: false };

impl Show {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (body, status) = session.status(&self.one.id, Want { raw: !session.output.is_json(), ..ALL }).await?;
        if session.output.is_json() {
            return session.output.json(&body);
        }
        session.output.write(&self.head(session, &status))?;
        let events = status.history_events.unwrap_or_default();
        let lines = Timeline::new(&events).render(when::now(), &session.output);
        if lines.is_empty() { Ok(()) } else { session.output.write(&format!("\n{lines}")) }
    }

    fn head(&self, session: &Session, status: &Status) -> String {
        let payload = |payload: &Option<Box<RawValue>>| match payload {
            None => String::new(),
            Some(payload) if self.full => text::inert_json(payload.get()),
            Some(payload) => text::short(payload.get()),
        };
        let time = |time: &str| format!("{} UTC", when::for_people(time));
        let took = took(status).map_or(String::new(), |took| format!(" (took {took})"));
        let lines = [
            ("id", cell(&status.instance_id)),
            ("function", cell(&status.name)),
            ("status", styled_cell(&status.runtime_status, style_of(&status.runtime_status))),
            ("created", cell(&time(&status.created_time))),
            ("last updated", cell(&format!("{}{took}", time(&status.last_updated_time)))),
            ("input", cell(&payload(&status.input))),
            ("custom status", cell(&payload(&status.custom_status))),
            ("output", cell(&payload(&status.output))),
            ("diagnostics", styled_cell(status.diagnostics.as_deref().unwrap_or_default(), Style::Bad)),
        ];
        let rows: Vec<_> = lines
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| vec![styled_cell(name, Style::Dim), value])
            .collect();
        Table::new(2).rows(&rows, &session.output)
    }
}

/// How long an ended execution took, by its history: a status has whole seconds only.
fn took(status: &Status) -> Option<String> {
    let events = status.history_events.as_ref().filter(|_| status.has_ended())?;
    let (first, last) = (when::host_time(&events.first()?.timestamp)?, when::host_time(&events.last()?.timestamp)?);
    Some(when::between(first, last))
}

/// Of a status only its history, as the host sent it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnlyHistory {
    #[serde(default)]
    history_events: Option<Box<RawValue>>,
}

/// An instance's history as JSON; empty before its first turn.
///
/// # Errors
/// As [`Session::send`].
pub(in super::super) async fn history_json(session: &mut Session, id: &str) -> Result<String, Failure> {
    let (body, _) = session.status(id, ALL).await?;
    let history: OnlyHistory = session.read(&body)?;
    Ok(history.history_events.map_or("[]".to_owned(), |events| events.get().to_owned()))
}

impl History {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let json = history_json(session, &self.one.id).await?;
        if session.output.is_json() {
            return session.output.json(&json);
        }
        let events: Vec<Event> = session.read(&json)?;
        if events.is_empty() {
            eprintln!("nothing has happened yet");
            return Ok(());
        }
        let mut rows = vec![["TIME (UTC)", "EVENT", "WHAT", ""].map(|heading| styled_cell(heading, Style::Dim)).into()];
        rows.extend(events.iter().map(row));
        session.output.write(&Table::new(4).rows(&rows, &session.output))
    }
}

fn row(event: &Event) -> Vec<crate::cli::manage::output::Cell> {
    let time = match when::host_time(&event.timestamp) {
        Some(moment) => moment.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string(),
        None => event.timestamp.clone(),
    };
    let due = event.fire_at.as_deref().map(|due| format!("due {}", when::for_people(due)));
    let what = [
        event.function_name.clone().or(event.name.clone()),
        event.instance_id.clone(),
        due,
        event.orchestration_status.clone(),
    ];
    let payload = |name: &str, payload: &Option<Box<RawValue>>| {
        payload.as_ref().map(|payload| format!("{name} {}", text::short(payload.get())))
    };
    let reason = event.reason.as_deref().filter(|reason| !reason.is_empty()).map(text::short);
    let more = [payload("input", &event.input), payload("result", &event.result), reason];
    let joined = |parts: &[Option<String>]| parts.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    vec![cell(&time), cell(&event.event_type), cell(&joined(&what)), cell(&joined(&more))]
}
