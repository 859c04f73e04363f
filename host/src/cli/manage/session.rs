//! One command's talk with a host: requests, refusals as failures, pages, waiting for an end.

use std::{ops::ControlFlow, process::ExitCode, time::Duration};

use http::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::args::Remote;
use super::client::{Answer, Ask, Client};
use super::failure::{Exit, Failure};
use super::model::Status;
use super::output::Output;

/// The greatest page that a host gives.
const PAGE: u64 = 1_000;
/// The first and the greatest pause between two looks at an instance.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long a host that answered before may be away while an instance is waited for without a limit.
const ABSENCE: Duration = Duration::from_secs(60);

/// A command's host and its output.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    pub(super) output: Output,
}

/// How much of an instance to read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Want {
    pub input: bool,
    pub history: bool,
    /// The history with every event, from hosts that show it so.
    pub raw: bool,
}

/// What a command is about, for messages: `instance "x"`.
pub(super) fn instance(id: &str) -> String {
    format!("instance {id:?}")
}

impl Session {
    /// Reads what the caller said of the host. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Exit::Usage`].
    pub(super) fn open(remote: &Remote) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(remote)?, output: Output::new(remote.format) })
    }

    /// The host, for messages.
    pub(super) fn url(&self) -> &str {
        self.client.url()
    }

    /// Sends a request about something.
    ///
    /// # Errors
    /// What the host refuses, by the table of exit codes; and as [`Client::send`].
    pub(super) async fn send(&mut self, about: &str, ask: &Ask) -> Result<Answer, Failure> {
        let answer = self.client.send(ask).await?;
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(refusal(self.client.url(), about, &answer)) }
    }

    /// Reads an answer's body.
    ///
    /// # Errors
    /// [`Exit::Failed`] if it is not what a host sends.
    pub(super) fn read<T: DeserializeOwned>(&self, body: &str) -> Result<T, Failure> {
        serde_json::from_str(body).map_err(|error| {
            let url = self.client.url();
            Failure::failed(format!(
                "what answers at {url} is no Soloist host: its answer is not what one sends ({error})"
            ))
        })
    }

    /// Reads an instance's status: as the host sent it, and what it says.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(super) async fn status(&mut self, id: &str, want: Want) -> Result<(String, Status), Failure> {
        let flag = |wanted: bool| if wanted { "true" } else { "false" };
        let mut ask = Ask::new(Method::GET, &["instances", id]).query("showInput", flag(want.input));
        if want.history {
            ask = ask.query("showHistory", "true").query("showHistoryOutput", "true");
        }
        if want.raw {
            ask = ask.query("showRawHistory", "true");
        }
        let answer = self.send(&instance(id), &ask).await?;
        let status = self.read(&answer.body)?;
        Ok((answer.body, status))
    }

    /// POST to an instance, where the answer says nothing but that it is done.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(super) async fn operate(&mut self, id: &str, operation: &str, reason: Option<&str>) -> Result<(), Failure> {
        let ask = Ask::new(Method::POST, &["instances", id, operation]).maybe("reason", reason);
        self.send(&instance(id), &ask).await.map(drop)
    }

    /// Reads a list page by page, up to `top` elements in all, from `token` on; returns where it goes on.
    ///
    /// # Errors
    /// As [`Session::send`], and what `each` fails with.
    pub(super) async fn pages<F>(&mut self, ask: &Ask, list: List<'_>, mut each: F) -> Result<String, Failure>
    where
        F: FnMut(&mut Self, Vec<Box<RawValue>>) -> Result<ControlFlow<()>, Failure>,
    {
        let (mut left, mut token) = (list.top, list.token.to_owned());
        while left > 0 {
            let ask = ask.clone().query("top", &left.min(PAGE).to_string()).from(&token);
            let answer = self.send("list", &ask).await?;
            let page: Vec<Box<RawValue>> = self.read(&answer.body)?;
            if page.is_empty() && answer.continuation == token && !token.is_empty() {
                return Err(Failure::failed("the host's list does not go on: it sent the same place twice"));
            }
            left = left.saturating_sub(page.len() as u64);
            token = answer.continuation;
            if each(self, page)?.is_break() || token.is_empty() {
                break;
            }
        }
        Ok(token)
    }

    /// Waits until an instance has ended; returns its status then.
    ///
    /// # Errors
    /// [`Exit::TimedOut`] if it has not in time. A host that is away for a while, as during its own restart, is none.
    pub(super) async fn wait(&mut self, id: &str, timeout: Option<Duration>) -> Result<(String, Status), Failure> {
        let Some(timeout) = timeout else { return self.poll(id).await };
        tokio::time::timeout(timeout, self.poll(id)).await.unwrap_or_else(|_| {
            Err(Failure::new(
                Exit::TimedOut,
                format!("{} has not ended within {} s; it goes on", instance(id), timeout.as_secs_f64()),
            ))
        })
    }

    async fn poll(&mut self, id: &str) -> Result<(String, Status), Failure> {
        let mut pause = PAUSES.0;
        let mut away_since: Option<Instant> = None;
        let mut has_answered = false;
        loop {
            match self.status(id, Want { input: true, ..Want::default() }).await {
                Ok(found) if found.1.has_ended() => return Ok(found),
                Ok(_) => (has_answered, away_since) = (true, None),
                Err(failure) => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if !has_answered || !is_passing(&failure) || since.elapsed() > ABSENCE {
                        return Err(failure);
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// Which part of a list to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    /// At most so many elements.
    pub top: u64,
    /// Where it goes on; empty at its beginning.
    pub token: &'a str,
}

impl List<'_> {
    /// All of it.
    pub(super) const ALL: List<'static> = List { top: u64::MAX, token: "" };
}

/// How `wait` tells of an instance's end.
pub(super) fn code_of(status: &Status) -> ExitCode {
    if status.runtime_status == "Completed" { ExitCode::SUCCESS } else { Exit::Failed.into() }
}

fn is_passing(failure: &Failure) -> bool {
    matches!(failure.exit, Exit::Unreachable | Exit::TimedOut) || matches!(failure.http_status, Some(429 | 503))
}

/// What a host says with an error. Members are absent from the short forms.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Envelope {
    message: String,
    exception_message: String,
    exception_type: String,
}

impl Envelope {
    fn read(body: &str) -> Self {
        if let Ok(envelope) = serde_json::from_str(body) {
            return envelope;
        }
        // Some answers are a text, bare or as JSON.
        let message = serde_json::from_str(body).unwrap_or_else(|_| body.trim().chars().take(500).collect());
        Self { message, ..Self::default() }
    }

    fn text(&self) -> &str {
        if self.exception_message.is_empty() { &self.message } else { &self.exception_message }
    }
}

/// An answer that is an error, as a failure.
fn refusal(url: &str, about: &str, answer: &Answer) -> Failure {
    let envelope = Envelope::read(&answer.body);
    let said = envelope.text();
    let told = |otherwise: &str| if said.is_empty() { otherwise.to_owned() } else { said.to_owned() };
    let (exit, message) = match answer.status {
        // Hosts answer so where one restarts or starts what is not there.
        400 if envelope.message.starts_with("InstanceId does not match") => {
            (Exit::NotFound, format!("there is no {about} at {url}"))
        }
        400 if said.contains("doesn't exist") => (Exit::NotFound, said.to_owned()),
        400 => (Exit::Usage, told("the host refuses an argument and does not say why")),
        401 | 403 => (
            Exit::NotAuthorised,
            format!("{url} asks for a key that may do this: give one with --key-file, or in the variable SOLOIST_KEY"),
        ),
        404 => (Exit::NotFound, format!("there is no {about} at {url}")),
        409 => (Exit::Conflict, told("the state forbids it")),
        410 => (Exit::Conflict, format!("{about} has ended already")),
        408 | 504 => (Exit::TimedOut, told("the request took too long")),
        // What a host that keeps Azure's status codes says of a state that forbids it.
        500 if is_conflict(&envelope) => (Exit::Conflict, said.to_owned()),
        status => (Exit::Failed, format!("{} ({url} answered {status})", told("the host could not do it"))),
    };
    Failure { http_status: Some(answer.status), ..Failure::new(exit, message) }
}

fn is_conflict(envelope: &Envelope) -> bool {
    let kinds = ["System.InvalidOperationException", "OrchestrationAlreadyExistsException"];
    kinds.iter().any(|kind| envelope.exception_type.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Failure {
        refusal("http://h", "instance \"x\"", &Answer { status, body: body.into(), continuation: String::new() })
    }

    #[test]
    fn each_refusal_has_its_exit_code() {
        let envelope = |exception: &str, kind: &str| {
            format!(r#"{{"Message":"M","ExceptionMessage":"{exception}","ExceptionType":"{kind}","StackTrace":""}}"#)
        };
        let exists = "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException";
        for (status, body, exit, part) in [
            (400, envelope("must not start with @", "System.ArgumentException"), Exit::Usage, "start with @"),
            (400, envelope("The function 'X' doesn't exist, is", "E"), Exit::NotFound, "'X'"),
            (400, r#"{"Message":"InstanceId does not match a valid"}"#.into(), Exit::NotFound, "instance \"x\""),
            (400, "\"Please provide\"".into(), Exit::Usage, "Please provide"),
            (400, String::new(), Exit::Usage, "refuses"),
            (401, String::new(), Exit::NotAuthorised, "--key-file"),
            (403, String::new(), Exit::NotAuthorised, "--key-file"),
            (404, String::new(), Exit::NotFound, "no instance \"x\" at http://h"),
            (408, String::new(), Exit::TimedOut, "too long"),
            (409, envelope("is in the Running state", "E"), Exit::Conflict, "Running"),
            (410, String::new(), Exit::Conflict, "has ended"),
            (500, envelope("already exists.", exists), Exit::Conflict, "already exists"),
            (500, envelope("is suspended", "System.InvalidOperationException"), Exit::Conflict, "suspended"),
            (500, envelope("broke", "System.IO.IOException"), Exit::Failed, "broke"),
            (501, envelope("not support", "System.NotSupportedException"), Exit::Failed, "501"),
            (503, "busy".into(), Exit::Failed, "busy"),
            (302, "<html>".into(), Exit::Failed, "302"),
        ] {
            let failure = refused(status, &body);
            assert_eq!(failure.exit, exit, "{status} {body}");
            assert_eq!(failure.http_status, Some(status));
            assert!(failure.message.contains(part), "{part} in {}", failure.message);
        }
    }

    #[test]
    fn only_what_passes_by_itself_is_waited_out() {
        assert!(is_passing(&refused(503, "")) && is_passing(&refused(429, "")));
        assert!(is_passing(&Failure::new(Exit::Unreachable, "")));
        for status in [401, 404, 500] {
            assert!(!is_passing(&refused(status, "")));
        }
    }
}
