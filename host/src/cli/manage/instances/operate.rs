//! The verbs of one instance: start, raise, terminate, suspend, resume, rewind, restart, wait.

use std::process::ExitCode;

use http::Method;

use super::{One, Patience};
use crate::cli::manage::{
    args::name,
    client::Ask,
    failure::Failure,
    model::{Started, Status},
    output::style_of,
    payload,
    session::{Session, code_of, instance},
    text,
};

/// `soloist instances start`.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The orchestrator function
    #[arg(value_parser = name)]
    function: String,
    /// The id of the new instance [default: the host makes one]
    #[arg(long, value_parser = name)]
    id: Option<String>,
    /// The input: JSON text, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    input: Option<String>,
    /// A label that the code can read
    #[arg(long, value_name = "TEXT")]
    code_version: Option<String>,
    /// Wait for its end, as the verb wait does
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

/// `soloist instances raise`.
#[derive(Debug, clap::Args)]
pub(super) struct Raise {
    #[command(flatten)]
    one: One,
    /// The event's name
    #[arg(value_parser = name)]
    event: String,
    /// What it carries: JSON text, @FILE, or - for standard input [default: null]
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    data: Option<String>,
}

/// Verbs that take a reason.
#[derive(Debug, clap::Args)]
pub(super) struct WithReason {
    #[command(flatten)]
    one: One,
    /// Why: a text that the history keeps
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// `soloist instances restart`.
#[derive(Debug, clap::Args)]
pub(super) struct Restart {
    #[command(flatten)]
    one: One,
    /// Under the same id, which begins afresh [default: under a new one]
    #[arg(long)]
    same_id: bool,
}

/// `soloist instances wait`.
#[derive(Debug, clap::Args)]
pub(super) struct Wait {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    patience: Patience,
}

impl Start {
    pub(super) async fn run(self, session: &mut Session) -> Result<ExitCode, Failure> {
        if self.patience.timeout.is_some() && !self.wait {
            return Err(Failure::usage("--timeout is how long to wait for the end: say --wait, too"));
        }
        let input = self.input.as_deref().map(|input| payload::json("--input", input)).transpose()?;
        let start = StartNew { function: &self.function, id: self.id.as_deref(), input };
        let (body, id) = start.send(session, self.code_version.as_deref()).await?;
        if self.wait {
            // On standard error: what is printed is the end.
            eprintln!("started {}", text::printable(&id));
            return end(session, &id, &self.patience).await;
        }
        session.output.done(&format!("started {id}"), &body)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A start.
pub(in super::super) struct StartNew<'a> {
    pub function: &'a str,
    pub id: Option<&'a str>,
    /// JSON; none is `null`.
    pub input: Option<String>,
}

impl StartNew<'_> {
    /// Starts it; returns the host's answer and the id.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(in super::super) async fn send(
        self,
        session: &mut Session,
        version: Option<&str>,
    ) -> Result<(String, String), Failure> {
        let segments: Vec<&str> = ["orchestrators", self.function].into_iter().chain(self.id).collect();
        let ask = Ask::new(Method::POST, &segments).maybe("version", version).json(self.input);
        let answer = session.send(&format!("function {:?}", self.function), &ask).await?;
        let started: Started = session.read(&answer.body)?;
        Ok((answer.body, started.id))
    }
}

impl Raise {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let data = self.data.as_deref().map(|data| payload::json("--data", data)).transpose()?;
        raise(session, &self.one.id, &self.event, data).await?;
        let json = serde_json::json!({ "instanceId": self.one.id, "operation": "raiseEvent", "eventName": self.event });
        session.output.done(&format!("raised {} at {}", self.event, self.one.id), &json.to_string())
    }
}

/// Raises an event.
///
/// # Errors
/// As [`Session::send`].
pub(in super::super) async fn raise(
    session: &mut Session,
    id: &str,
    event: &str,
    data: Option<String>,
) -> Result<(), Failure> {
    let ask = Ask::new(Method::POST, &["instances", id, "raiseEvent", event]).json(data);
    session.send(&instance(id), &ask).await.map(drop)
}

impl WithReason {
    pub(super) async fn run(self, session: &mut Session, operation: &str, done: &str) -> Result<(), Failure> {
        session.operate(&self.one.id, operation, self.reason.as_deref()).await?;
        let json = serde_json::json!({ "instanceId": self.one.id, "operation": operation });
        session.output.done(&format!("{done} {}", self.one.id), &json.to_string())
    }
}

impl Restart {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let is_new = if self.same_id { "false" } else { "true" };
        let ask = Ask::new(Method::POST, &["instances", &self.one.id, "restart"]);
        let ask = ask.query("restartWithNewInstanceId", is_new);
        let answer = session.send(&instance(&self.one.id), &ask).await?;
        let started: Started = session.read(&answer.body)?;
        let line = match self.same_id {
            true => format!("restarted {}", started.id),
            false => format!("restarted {} as {}", self.one.id, started.id),
        };
        session.output.done(&line, &answer.body)
    }
}

impl Wait {
    pub(super) async fn run(self, session: &mut Session) -> Result<ExitCode, Failure> {
        end(session, &self.one.id, &self.patience).await
    }
}

/// Waits for an instance's end and tells it.
async fn end(session: &mut Session, id: &str, patience: &Patience) -> Result<ExitCode, Failure> {
    let (body, status) = session.wait(id, patience.timeout).await?;
    if session.output.is_json() {
        session.output.json(&body)?;
    } else {
        session.output.write(&end_line(session, &status))?;
    }
    Ok(code_of(&status))
}

fn end_line(session: &Session, status: &Status) -> String {
    let output = status.output.as_ref().map_or(String::new(), |output| format!(": {}", text::short(output.get())));
    let runtime_status = text::printable(&status.runtime_status);
    let runtime_status = session.output.styled(&runtime_status, style_of(&status.runtime_status));
    format!("{} {runtime_status}{output}\n", text::printable(&status.instance_id))
}
