//! What an execution did and how long each step took, from its history.
//!
//! A raw history has every event, retries included, and numbers that tie an end to its beginning. A host that shows none sends
//! the projection: it tells an end together with when it was scheduled, so that timers are matched by when they are due, and an
//! entity's answer where one call is open; otherwise the answer is a line of its own.

use std::collections::BTreeMap;

use jiff::Timestamp as Moment;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::model::Event;
use super::output::{Cell, Output, Style, Table, cell, styled_cell};
use super::{text, when};

/// How wide the bar of the longest step is, in columns.
const BAR: usize = 24;
/// What durable HTTP calls are called in a history.
const HTTP: &str = "BuiltIn::HttpActivity";

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    at: Moment,
    /// None while it goes on, and for what takes no time.
    end: Option<Moment>,
    is_open: bool,
    what: &'static str,
    name: String,
    outcome: &'static str,
    detail: String,
}

impl Step {
    fn new(at: Moment, what: &'static str, name: impl Into<String>) -> Self {
        Self { at, end: None, is_open: false, what, name: name.into(), outcome: "", detail: String::new() }
    }

    fn open(self, outcome: &'static str) -> Self {
        Self { is_open: true, outcome, ..self }
    }

    fn close(&mut self, end: Moment, outcome: &'static str) {
        (self.end, self.is_open, self.outcome) = (Some(end), false, outcome);
    }

    fn closed(mut self, end: Moment, outcome: &'static str) -> Self {
        self.close(end, outcome);
        self
    }

    fn style(&self) -> Style {
        match self.outcome {
            "failed" | "Failed" | "Terminated" => Style::Bad,
            "completed" | "Completed" | "answered" | "granted" | "fired" => Style::Good,
            _ if self.is_open => Style::Busy,
            _ => Style::Plain,
        }
    }
}

/// The steps of an execution, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    steps: Vec<Step>,
    /// Timers that have not fired: when they are due, and their steps.
    timers: Vec<(String, usize)>,
    /// Calls of entities and requests for locks without an answer.
    calls: Vec<usize>,
    /// Of a raw history: steps by the number of what was asked for.
    numbered: BTreeMap<i64, usize>,
    /// Of a raw history: pauses before an attempt or a poll, by the same number.
    pauses: BTreeMap<i64, usize>,
    suspended: Option<usize>,
    has_ended: bool,
}

/// What the original sends to an entity.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    op: String,
    signal: bool,
    lockset: Option<Vec<String>>,
}

/// A durable HTTP call's request.
#[derive(Default, Deserialize)]
#[serde(default)]
struct HttpRequest {
    method: String,
    uri: String,
}

/// What a call of an entity that failed is answered with.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EntityAnswer {
    exception_type: Option<String>,
    result: Option<serde_json::Value>,
}

fn payload<T: Default + serde::de::DeserializeOwned>(json: Option<&RawValue>) -> T {
    json.and_then(|json| serde_json::from_str(json.get()).ok()).unwrap_or_default()
}

impl Timeline {
    /// Reads a history.
    pub(super) fn new(events: &[Event]) -> Self {
        let mut timeline = Self::default();
        let mut last = Moment::UNIX_EPOCH;
        for event in events {
            last = when::host_time(&event.timestamp).unwrap_or(last);
            let before = timeline.steps.len();
            if !timeline.note_raw(event, last) {
                timeline.note(event, last);
            }
            if let Some(number @ 0..) = event.event_id
                && timeline.steps.len() > before
            {
                timeline.numbered.insert(number, before);
            }
        }
        if timeline.has_ended {
            for step in timeline.steps.iter_mut().filter(|step| step.is_open) {
                (step.is_open, step.outcome) = (false, "not ended");
            }
        }
        timeline.steps.sort_by_key(|step| step.at);
        timeline
    }

    /// Notes what only raw histories have. False if the event is none of it.
    fn note_raw(&mut self, event: &Event, now: Moment) -> bool {
        let Some(number) = event.task_scheduled_id.or(event.timer_id) else {
            // Frames of turns, and what is seen elsewhere.
            return matches!(
                event.event_type.as_str(),
                "OrchestratorStarted" | "OrchestratorCompleted" | "EventConsumed" | "CustomStatusSet"
            );
        };
        match event.event_type.as_str() {
            "TaskRetryScheduled" => self.pause(number, event, now, "retry"),
            "HttpPollScheduled" => self.pause(number, event, now, "poll"),
            "TaskRetryStarted" | "HttpPollStarted" => {
                if let Some(pause) = self.pauses.remove(&number) {
                    self.steps[pause].close(now, "started");
                }
            }
            kind => {
                let Some(&at) = self.numbered.get(&number).filter(|_| kind != "EventSent") else { return false };
                self.calls.retain(|call| *call != at);
                let step = &mut self.steps[at];
                let (outcome, detail) = match kind {
                    "ActionCanceled" => ("canceled", String::new()),
                    "TimerFired" => ("fired", String::new()),
                    "EventRaised" => answer(event, step.what),
                    _ if kind.ends_with("Failed") => ("failed", some(&event.reason).to_owned()),
                    _ => ("completed", String::new()),
                };
                step.close(now, outcome);
                step.detail = detail;
            }
        }
        true
    }

    /// A pause before another attempt or poll.
    fn pause(&mut self, number: i64, event: &Event, now: Moment, what: &'static str) {
        let of = self.numbered.get(&number).map_or("", |step| self.steps[*step].name.as_str());
        let attempt = event.attempt.map_or(String::new(), |attempt| format!(" attempt {attempt}"));
        let step = Step::new(now, what, format!("{of}{attempt}")).open("waiting");
        self.pauses.insert(number, self.steps.len());
        self.steps.push(Step { detail: some(&event.reason).to_owned(), ..step });
    }

    fn note(&mut self, event: &Event, now: Moment) {
        match event.event_type.as_str() {
            "ExecutionStarted" => {
                let name = event.function_name.as_deref().or(event.name.as_deref()).unwrap_or_default();
                self.steps.push(Step::new(now, "started", name));
            }
            "TaskScheduled" | "TaskCompleted" | "TaskFailed" => self.steps.push(task(event, now)),
            kind if kind.starts_with("SubOrchestrationInstance") => self.steps.push(child(event, now)),
            "TimerCreated" => {
                let due = some(&event.fire_at);
                self.timers.push((due.to_owned(), self.steps.len()));
                let name = format!("due {}", when::for_people(due));
                self.steps.push(Step::new(now, "timer", name).open("waiting"));
            }
            "TimerFired" => self.timer_fired(some(&event.fire_at), now),
            "EventSent" => self.sent(event, now),
            "EventRaised" => self.raised(event, now),
            "ExecutionSuspended" => {
                self.suspended = Some(self.steps.len());
                self.steps
                    .push(Step { detail: some(&event.reason).into(), ..Step::new(now, "suspended", "").open("") });
            }
            "ExecutionResumed" => {
                let suspended = self.suspended.take();
                if let Some(step) = suspended.and_then(|at| self.steps.get_mut(at)) {
                    step.close(now, "");
                }
                self.steps.push(Step { detail: some(&event.reason).into(), ..Step::new(now, "resumed", "") });
            }
            "ExecutionRewound" => {
                self.steps.push(Step { detail: some(&event.reason).into(), ..Step::new(now, "rewound", "") });
            }
            "ExecutionTerminated" => {
                let reason: String = payload(event.input.as_deref());
                self.end(Step { outcome: "Terminated", detail: reason, ..Step::new(now, "ended", "") });
            }
            "ExecutionCompleted" => {
                let outcome = match some(&event.orchestration_status) {
                    "Failed" => "Failed",
                    "Terminated" => "Terminated",
                    _ => "Completed",
                };
                self.end(Step { outcome, ..Step::new(now, "ended", "") });
            }
            other => self.steps.push(Step::new(now, "event", other)),
        }
    }

    fn end(&mut self, step: Step) {
        self.has_ended = true;
        self.steps.push(step);
    }

    fn timer_fired(&mut self, due: &str, now: Moment) {
        match self.timers.iter().position(|(own, _)| own == due) {
            Some(at) => {
                let (_, step) = self.timers.remove(at);
                self.steps[step].close(now, "fired");
            }
            None => self.steps.push(Step { outcome: "fired", ..Step::new(now, "timer", "") }),
        }
    }

    fn sent(&mut self, event: &Event, now: Moment) {
        let (target, name) = (some(&event.instance_id), some(&event.name));
        if name == "release" && target.is_empty() {
            return self.steps.push(Step::new(now, "unlock", ""));
        }
        if !target.starts_with('@') {
            return self.steps.push(Step::new(now, "event sent", format!("{name} to {target}")));
        }
        let message: Message = payload(event.input.as_deref());
        if let Some(locks) = &message.lockset {
            self.calls.push(self.steps.len());
            self.steps.push(Step::new(now, "lock", locks.join(", ")).open("waiting"));
        } else if message.signal {
            self.steps.push(Step::new(now, "signal", format!("{target} {}", message.op)));
        } else {
            self.calls.push(self.steps.len());
            self.steps.push(Step::new(now, "entity call", format!("{target} {}", message.op)).open("waiting"));
        }
    }

    fn raised(&mut self, event: &Event, now: Moment) {
        let name = some(&event.name);
        // A raw history says whose answer it is: this one is nobody's.
        if name != "op" || self.calls.is_empty() || event.event_id.is_some() {
            return self.steps.push(Step { outcome: "received", ..Step::new(now, "event", name) });
        }
        if let [only] = self.calls[..] {
            self.calls.clear();
            let step = &mut self.steps[only];
            let (outcome, detail) = answer(event, step.what);
            step.close(now, outcome);
            step.detail = detail;
        } else {
            // One of several: which, the history does not say.
            let (outcome, detail) = answer(event, "");
            let open = self.calls.len();
            self.steps.push(Step { outcome, detail, ..Step::new(now, "entity answer", format!("1 of {open} open")) });
            let step = self.calls.remove(0);
            (self.steps[step].is_open, self.steps[step].outcome) = (false, "sent");
        }
    }

    /// The steps as lines; `now` is how far bars of open steps go.
    pub(super) fn render(&self, now: Moment, output: &Output) -> String {
        let Some(first) = self.steps.first() else { return String::new() };
        let zero = first.at;
        let ends = self.steps.iter().map(|step| step.end.unwrap_or(if step.is_open { now } else { step.at }));
        let last = ends.max().unwrap_or(zero);
        let mut rows = vec![
            ["AT", "TOOK", "", "STEP", "WHAT", "RESULT", ""].map(|heading| styled_cell(heading, Style::Dim)).into(),
        ];
        rows.extend(self.steps.iter().map(|step| row(step, zero, last, now)));
        Table::new(7).rows(&rows, output)
    }
}

fn row(step: &Step, zero: Moment, last: Moment, now: Moment) -> Vec<Cell> {
    let end = step.end.or(step.is_open.then_some(now.max(step.at)));
    let took = match (step.end, step.is_open) {
        (Some(end), _) => when::between(step.at, end),
        (None, true) => format!("{}…", when::between(step.at, now.max(step.at))),
        (None, false) => String::new(),
    };
    vec![
        cell(&format!("+{}", when::between(zero, step.at))),
        cell(&took),
        cell(&bar(zero, last, step.at, end.unwrap_or(step.at))),
        cell(step.what),
        cell(&text::short(&step.name)),
        styled_cell(step.outcome, step.style()),
        cell(&text::short(&step.detail)),
    ]
}

/// Where a step lies within the whole: `     #####      `.
fn bar(zero: Moment, last: Moment, from: Moment, to: Moment) -> String {
    let whole = last.duration_since(zero).as_micros().max(1);
    let column = |moment: Moment| {
        let part = moment.duration_since(zero).as_micros().clamp(0, whole) * (BAR as i128) / whole;
        usize::try_from(part).unwrap_or(BAR)
    };
    let (from, to) = (column(from).min(BAR - 1), column(to));
    let long = to.saturating_sub(from).max(1);
    format!("{}{}{}", " ".repeat(from), "#".repeat(long), " ".repeat(BAR.saturating_sub(from + long)))
}

/// What an entity answered to a step of this kind.
fn answer(event: &Event, what: &str) -> (&'static str, String) {
    let answer: EntityAnswer = payload(event.input.as_deref());
    match (answer.exception_type, answer.result) {
        (Some(kind), Some(serde_json::Value::String(text))) => ("failed", format!("{kind}: {text}")),
        (Some(kind), _) => ("failed", kind),
        (None, _) if what == "lock" => ("granted", String::new()),
        (None, _) => ("answered", String::new()),
    }
}

fn some(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

fn task(event: &Event, now: Moment) -> Step {
    let at = event.scheduled_time.as_deref().and_then(when::host_time).unwrap_or(now);
    let name = event.function_name.as_deref().or(event.name.as_deref()).unwrap_or_default();
    let step = if name == HTTP {
        let request: HttpRequest = payload(event.input.as_deref());
        Step::new(at, "http call", format!("{} {}", request.method, request.uri).trim().to_owned())
    } else {
        Step::new(at, "activity", name)
    };
    ended(step, event, now)
}

fn child(event: &Event, now: Moment) -> Step {
    let at = event.scheduled_time.as_deref().and_then(when::host_time).unwrap_or(now);
    let name = event.function_name.as_deref().or(event.name.as_deref()).unwrap_or_default();
    ended(Step::new(at, "child", format!("{name} {}", some(&event.instance_id))), event, now)
}

fn ended(step: Step, event: &Event, now: Moment) -> Step {
    match event.event_type.as_str() {
        kind if kind.ends_with("Completed") => step.closed(now, "completed"),
        kind if kind.ends_with("Failed") => {
            Step { detail: some(&event.reason).to_owned(), ..step.closed(now, "failed") }
        }
        _ => step.open("running"),
    }
}

#[cfg(test)]
mod tests;
