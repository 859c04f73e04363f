//! Replay: what a fresh guest is handed to catch up with its history, and whether it asked for the same.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{
    ExecutionId, ExecutionStarted, GuestEvent, GuestOutcome, GuestTurn, HistoryEvent, Sequence, TurnNumber, TurnRecord,
    turn::{compared_event, guest_event},
};

/// A generation's recorded turns, as events for a guest, and the actions that it must ask for.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What the guest is handed, in one call.
    pub events: Vec<GuestEvent>,
    /// How many turns that is: the CPU budget is that many times a turn's.
    pub turns: u32,
    recorded: Vec<HistoryEvent>,
    execution_id: ExecutionId,
}

/// A replay that asked for something else than its history records: the code is not the code that ran, or is not
/// deterministic.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// The first difference, in a sentence.
    difference: String,
    rows: Vec<DiffRow>,
}

/// One line of the diff of a history and what a replay asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffRow {
    /// Counts actions from 0.
    pub action: usize,
    /// What the history records; none beyond its end.
    pub history: Option<String>,
    /// What the code asks for; none if it asks for nothing more.
    pub code: Option<String>,
    /// The two are not the same.
    pub differs: bool,
}

/// How many actions a diff shows before the first difference, and after it.
const CONTEXT: usize = 4;

/// How wide a diff's columns are, in characters.
const COLUMN: usize = 60;

/// How much of an action a divergence's sentence shows, in characters.
const SENTENCE: usize = 400;

impl Replay {
    /// The replay of a generation's records (the first is its start). `None` if no turn has run.
    pub fn of(records: &[Arc<TurnRecord>]) -> Option<Self> {
        let mut script = Script::of(records)?;
        script.take_turns(&records[1..]);
        script.replay(records)
    }

    /// For a rewound generation whose code has not run since: the replay of the turns before this one (`None` if there was
    /// none), and what the guest is handed after it, as if it were new.
    pub fn rerun(records: &[Arc<TurnRecord>], from: TurnNumber) -> (Option<Self>, Vec<GuestEvent>) {
        let Some((before, again)) = records.split_at_checked(from.0 as usize) else { return (None, vec![]) };
        let Some(mut script) = Script::of(records) else { return (None, vec![]) };
        script.take_turns(before.get(1..).unwrap_or_default());
        let replayed = script.events.len();
        script.take_turns(again);
        let again = script.events.split_off(replayed);
        (script.replay(before), again)
    }

    /// Compares what the guest asked for with what the history records.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, guest: &GuestTurn) -> Result<(), Box<Divergence>> {
        let mut replayed = self.compared(guest);
        let mut recorded = self.recorded.iter();
        for position in 0.. {
            match (recorded.next(), replayed.next()) {
                (None, None) => break,
                (a, b) if a == b.as_ref() || planted!(ReplayUnchecked) => {}
                (a, b) => {
                    let difference = difference(position, a, b.as_ref());
                    return Err(Box::new(Divergence { difference, rows: self.diff(guest, position, None) }));
                }
            }
        }
        let (how, why) = match &guest.outcome {
            GuestOutcome::Waiting => return Ok(()),
            GuestOutcome::Completed(_) => ("the code completes", None),
            GuestOutcome::Failed(failure) => ("the code fails", Some(failure)),
            GuestOutcome::ContinueAsNew { .. } => ("the code continues as new", None),
            GuestOutcome::Faulted(failure) => ("the code cannot go on with this history", Some(failure)),
        };
        let why = why.map_or(String::new(), |failure| format!(" ({}: {})", failure.kind, failure.message));
        let end = if matches!(guest.outcome, GuestOutcome::Faulted(_)) { "" } else { " where the history goes on" };
        let difference = clipped(&format!("{how}{end}{why}"), 0, SENTENCE);
        Err(Box::new(Divergence { difference, rows: self.diff(guest, self.recorded.len(), Some(how)) }))
    }

    fn compared<'a>(&'a self, guest: &'a GuestTurn) -> impl Iterator<Item = HistoryEvent> + 'a {
        guest.actions.iter().filter_map(|action| compared_event(action, &self.execution_id))
    }

    /// Both sides around the first difference; `ended` says how the code ended where the history goes on.
    fn diff(&self, guest: &GuestTurn, position: usize, ended: Option<&str>) -> Vec<DiffRow> {
        let from = position.saturating_sub(CONTEXT);
        let replayed: Vec<HistoryEvent> = self.compared(guest).skip(from).take(2 * CONTEXT + 1).collect();
        let row = |at: usize| {
            let (history, code) = (self.recorded.get(at), replayed.get(at - from));
            (history.is_some() || code.is_some()).then(|| DiffRow {
                action: at,
                history: history.map(describe),
                code: code.map(describe),
                differs: history != code,
            })
        };
        let mut rows: Vec<DiffRow> = (from..=position + CONTEXT).map_while(row).collect();
        if let Some(how) = ended {
            let (history, code) = (Some("(waits for more)".to_owned()), Some(format!("({how})")));
            rows.push(DiffRow { action: position, history, code, differs: true });
        }
        rows
    }
}

impl Divergence {
    /// Both sides around the first difference, one action per row.
    pub fn rows(&self) -> &[DiffRow] {
        &self.rows
    }

    /// The same in two columns, for a terminal: a head, then a line per row; `>` marks the rows that differ.
    pub fn columns(&self) -> Vec<String> {
        let head = format!("  action {:COLUMN$} | the code asks for", "the history records");
        let lines = self.rows.iter().map(|row| {
            let [history, code] = [&row.history, &row.code].map(|side| side.as_deref().unwrap_or("(nothing)"));
            let from = if row.differs { first_difference(history, code, COLUMN) } else { 0 };
            let mark = if row.differs { '>' } else { ' ' };
            let [history, code] = [history, code].map(|side| clipped(side, from, COLUMN));
            format!("{mark} {:>6} {history:COLUMN$} | {code}", row.action)
        });
        std::iter::once(head).chain(lines).map(|line| line.trim_end().to_owned()).collect()
    }
}

/// The first difference, in a sentence that has it, however long the actions are.
fn difference(position: usize, recorded: Option<&HistoryEvent>, replayed: Option<&HistoryEvent>) -> String {
    let [history, code] = [recorded, replayed].map(|side| side.map_or("nothing".to_owned(), describe));
    let from = first_difference(&history, &code, SENTENCE);
    let [history, code] = [history, code].map(|side| clipped(&side, from, SENTENCE));
    format!("at action {position} the history records {history} and the code asks for {code}")
}

/// From which character on two texts are shown so that their first difference is within `room` characters.
fn first_difference(a: &str, b: &str, room: usize) -> usize {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    if same < room - 10 { 0 } else { same - room / 3 }
}

fn clipped(text: &str, from: usize, room: usize) -> String {
    let mut clipped: String = if from > 0 { "…".to_owned() } else { String::new() };
    let room = room - clipped.chars().count();
    let rest: Vec<char> = text.chars().skip(from).collect();
    if rest.len() > room {
        clipped.extend(&rest[..room - 1]);
        clipped.push('…');
    } else {
        clipped.extend(&rest);
    }
    clipped
}

/// A compared event in a line: everything that the comparison looks at.
fn describe(event: &HistoryEvent) -> String {
    let text = match event {
        HistoryEvent::TaskScheduled(task) => {
            let options = [
                task.retry.as_ref().map(|retry| format!(", {retry:?}")),
                task.timeout_ms.map(|ms| format!(", timeout {ms} ms")),
            ];
            let tags = if task.tags.is_empty() { String::new() } else { format!(", {:?}", task.tags) };
            let options: String = options.into_iter().flatten().collect();
            format!("activity {} {}{options}{tags}", task.name, task.input.as_str())
        }
        HistoryEvent::ChildScheduled(child) => {
            let kind = if child.detached { "start" } else { "sub-orchestration" };
            let retry = child.retry.as_ref().map_or(String::new(), |retry| format!(", {retry:?}"));
            let (version, policy, at) = (&child.version, &child.policy, &child.scheduled_start);
            let more = format!("{version:?} {policy:?} {at:?} {:?}", child.tags);
            let more = if more == "None None None []" { String::new() } else { format!(", {more}") };
            format!("{kind} {} as {} {}{retry}{more}", child.name, child.instance_id, child.input.as_str())
        }
        HistoryEvent::TimerCreated { sequence: _, fire_at } => format!("timer at {fire_at:?}"),
        HistoryEvent::ActionCanceled { sequence } => format!("cancel {sequence}"),
        other => format!("{other:?}"),
    };
    // A line is a line, whatever white space a JSON text has.
    text.replace(char::is_control, " ")
}

/// What a guest is handed of records, while it is gathered.
struct Script {
    events: Vec<GuestEvent>,
    recorded: Vec<HistoryEvent>,
    started: Arc<ExecutionStarted>,
    has_begun: bool,
    detached: BTreeSet<Sequence>,
    next_index: u32,
}

impl Script {
    fn of(records: &[Arc<TurnRecord>]) -> Option<Self> {
        let Some(HistoryEvent::ExecutionStarted(started)) = records.first()?.events.first() else { return None };
        Some(Self {
            events: Vec::new(),
            recorded: Vec::new(),
            started: Arc::new((**started).clone()),
            has_begun: false,
            detached: BTreeSet::new(),
            next_index: 0,
        })
    }

    fn take_turns(&mut self, turns: &[Arc<TurnRecord>]) {
        turns.iter().for_each(|record| self.take_turn(record));
    }

    fn take_turn(&mut self, record: &TurnRecord) {
        let turn_at = self.events.len();
        if !self.has_begun && !record.is_hold() {
            self.has_begun = true;
            self.events.push(GuestEvent::ExecutionStarted(self.started.clone()));
        }
        for event in &record.events {
            if let HistoryEvent::ChildScheduled(child) = event
                && child.detached
            {
                self.detached.insert(child.sequence);
            }
            let is_detached = |sequence| self.detached.contains(&sequence);
            self.events.extend(guest_event(event, &mut self.next_index, is_detached));
            if event.is_compared_action() {
                self.recorded.push(event.clone());
            }
        }
        // A turn that was the host's alone (a retry, a hold) was never handed to a guest.
        if self.events.len() > turn_at {
            self.events.insert(turn_at, GuestEvent::TurnStarted(record.time));
        }
    }

    /// The replay of these records, which were taken. `None` if no turn has run.
    fn replay(self, records: &[Arc<TurnRecord>]) -> Option<Replay> {
        let turns = u32::try_from(records.len().checked_sub(1)?).ok()?;
        let Self { events, recorded, started, .. } = self;
        let execution_id = started.execution_id.clone();
        (!events.is_empty()).then_some(Replay { events, turns, recorded, execution_id })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let difference = &self.difference;
        write!(f, "Non-Deterministic workflow detected: {difference}; was the orchestrator's code changed?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{
        Action, Digest, ExecutionStarted, Failure, Json, RuntimeStatus, Summary, TaskScheduled, Timestamp,
    };

    fn scheduled(sequence: u32, name: &str, input: &str) -> TaskScheduled {
        let input = Json::parse(input).unwrap();
        TaskScheduled { sequence, name: name.into(), input, retry: None, timeout_ms: None, tags: vec![] }
    }

    /// A history of these activities, which wait.
    fn history(tasks: &[TaskScheduled]) -> Replay {
        let started = ExecutionStarted {
            name: "O".into(),
            handler: "O".into(),
            version: None,
            execution_id: ExecutionId("e".into()),
            component: Digest([0; 32]),
            contract: "1.0.0".into(),
            input: Json::null(),
            parent: None,
            tags: vec![],
            trace_context: None,
            scheduled_start: None,
        };
        let summary = Summary { status: RuntimeStatus::Running, custom_status: None, next_due: None, outstanding: 0 };
        let record = |events| Arc::new(TurnRecord { time: Timestamp(0), events, summary });
        let tasks = tasks.iter().cloned().map(HistoryEvent::TaskScheduled).collect();
        Replay::of(&[record(vec![HistoryEvent::ExecutionStarted(Box::new(started))]), record(tasks)]).unwrap()
    }

    fn asks(tasks: &[TaskScheduled], outcome: GuestOutcome) -> GuestTurn {
        GuestTurn { actions: tasks.iter().cloned().map(Action::ScheduleTask).collect(), outcome }
    }

    fn steps(count: u32) -> Vec<TaskScheduled> {
        (0..count).map(|n| scheduled(n, "Step", &n.to_string())).collect()
    }

    #[test]
    fn a_diff_shows_both_sides_around_the_first_difference() {
        let recorded = steps(20);
        let mut other = recorded.clone();
        other[10].name = "Charge".into();
        let divergence = history(&recorded).check(&asks(&other, GuestOutcome::Waiting)).unwrap_err();
        let lines = divergence.columns();
        assert_eq!(lines.len(), 1 + 4 + 1 + 4, "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with('>')).count(), 1);
        assert!(lines[1].contains("     6 activity Step 6 ") && lines[1].ends_with("| activity Step 6"), "{lines:#?}");
        assert!(lines[5].starts_with(">     10 activity Step 10") && lines[5].ends_with("| activity Charge 10"));
        let columns: Vec<_> = lines.iter().map(|line| line.chars().position(|c| c == '|')).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{lines:#?}");
        assert_eq!(
            divergence.to_string(),
            "Non-Deterministic workflow detected: at action 10 the history records activity Step 10 and the code asks for \
             activity Charge 10; was the orchestrator's code changed?"
        );
    }

    #[test]
    fn a_difference_deep_in_a_long_input_is_seen() {
        let long = |end: &str| format!("\"{}{end}\"", "x".repeat(300));
        let (a, b) = (scheduled(0, "A", &long("one")), scheduled(0, "A", &long("two")));
        let divergence = history(&[a]).check(&asks(&[b], GuestOutcome::Waiting)).unwrap_err();
        let line = &divergence.columns()[1];
        assert!(line.contains("one\"") && line.contains("two\"") && line.chars().count() < 140, "{line}");
        let long = |end: &str| format!("\"{}{end}\"", "x".repeat(3000));
        let (a, b) = (scheduled(0, "A", &long("one")), scheduled(0, "A", &long("two")));
        let text = history(&[a]).check(&asks(&[b], GuestOutcome::Waiting)).unwrap_err().to_string();
        assert!(text.contains("one\"") && text.contains("two\"") && text.chars().count() < 1000, "{text}");
    }

    #[test]
    fn one_side_may_end_before_the_other() {
        let divergence = history(&steps(2)).check(&asks(&steps(1), GuestOutcome::Waiting)).unwrap_err();
        assert!(divergence.columns()[2].ends_with("| (nothing)"), "{:#?}", divergence.columns());
        let completed = GuestOutcome::Completed(Json::null());
        let divergence = history(&steps(2)).check(&asks(&steps(2), completed)).unwrap_err();
        let lines = divergence.columns();
        assert!(lines[3].starts_with('>') && lines[3].ends_with("| (the code completes)"), "{lines:#?}");
        let faulted = GuestOutcome::Faulted(Failure::new("NonDeterminism", "it never made action 7"));
        let text = history(&steps(2)).check(&asks(&steps(2), faulted)).unwrap_err().to_string();
        assert!(text.contains("cannot go on with this history (NonDeterminism: it never made action 7)"), "{text}");
    }

    #[test]
    fn white_space_in_an_input_does_not_break_a_line() {
        let (a, b) = (scheduled(0, "A", "[1,\n\t2]"), scheduled(0, "A", "[1,\n\t3]"));
        let divergence = history(&[a]).check(&asks(&[b], GuestOutcome::Waiting)).unwrap_err();
        assert!(divergence.columns().iter().all(|line| !line.contains(char::is_control)));
    }
}
