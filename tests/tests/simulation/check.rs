//! The oracle: what storage holds must be explained by the programs and by what clients were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use soloist::{
    durable::{
        GenerationKey, HistoryEvent, InstanceId, MessageNumber, RetryPolicy, RuntimeStatus, Sequence, Timestamp,
        TurnRecord,
    },
    storage::{Output, Snapshot, Want},
};

use crate::{
    clients::Context,
    dice::{Of, Tally},
    faults::Grave,
    plan::{Plan, Truth},
    program::{FRAGILE, Step, check_output},
};

/// Judges an era: the instance has ended, and nobody sends any more.
pub async fn era(context: &Context, plan: &Plan) {
    let judged = plan.truth().judged;
    let want = Want { input: true, history: true };
    let id = InstanceId::parse(&plan.id).expect("a legal id");
    let stored = context.real.snapshot(id, want).await.expect("the real storage answers");
    context.settled(&plan.id).await;
    let is_of_era = |snapshot: &Snapshot| judged.is_none_or(|judged| snapshot.generation > judged);
    let snapshot = stored.filter(|snapshot| is_of_era(snapshot)).or_else(|| {
        let graves = context.recorder.graves.lock().expect("no panic while it is locked");
        let of_era = |grave: &&Grave| grave.snapshot.id.as_str() == plan.id && is_of_era(&grave.snapshot);
        let last = graves.iter().filter(of_era).max_by_key(|grave| grave.snapshot.generation);
        last.map(|grave| grave.snapshot.clone())
    });
    let mut truth = plan.truth().clone();
    let purges = purges(context, plan, judged);
    // An id that was purged is free: a start that was sent again in a later life was a new one.
    let starts = truth.accepted + truth.start_unknown + u64::from(truth.replace_sent);
    truth.is_muddled = purges > 0 && starts > 1;
    let story = format!("seed {}, {}: {truth:?}, {purges} purged, program {:?}", context.seed, plan.id, plan.program);
    let snapshot = snapshot.unwrap_or_else(|| panic!("I3: an acknowledged start is gone: {story}"));
    let records = snapshot.history.as_ref().expect("asked for");
    let has_ended = History::check(records, &story);
    assert!(has_ended, "every instance must have ended: {story}");
    check_starts(&truth, purges, &snapshot, &story);
    let is_loose = context.recorder.is_loose;
    let consumed = check_outcome(plan, &truth, &snapshot, (purges > 0, is_loose), &story);
    check_sent_events(context, plan, &truth, purges, &consumed, &story);
    count(&context.tally, plan, &snapshot);
    plan.truth().judged = Some(snapshot.generation);
}

/// How often instances of the era were purged by somebody else.
fn purges(context: &Context, plan: &Plan, judged: Option<GenerationKey>) -> u64 {
    let graves = context.recorder.graves.lock().expect("no panic while it is locked");
    let of_era = graves.iter().filter(|Grave { snapshot, purged }| {
        *purged && snapshot.id.as_str() == plan.id && judged.is_none_or(|judged| snapshot.generation > judged)
    });
    of_era.count() as u64
}

/// Judges what was replaced or purged: its history is one, and what was purged had ended.
pub fn graves(graves: &[Grave], seed: u64) {
    for Grave { snapshot, purged } in graves {
        let story = format!("seed {seed}, buried (purged: {purged}): {}", snapshot.id);
        let has_ended = History::check(snapshot.history.as_ref().expect("asked for"), &story);
        assert!(has_ended || !purged, "I11: a live instance was purged: {story}");
    }
}

fn count(tally: &Tally, plan: &Plan, snapshot: &Snapshot) {
    if snapshot.summary.status != RuntimeStatus::Terminated {
        plan.program.iter().for_each(|step| tally.count(Of::Production, step.name()));
    }
    tally.count(
        Of::Work,
        match snapshot.summary.status {
            RuntimeStatus::Completed => "instances that completed",
            RuntimeStatus::Failed => "instances that failed",
            _ => "instances that were terminated",
        },
    );
    let events = snapshot.history.iter().flatten().flat_map(|record| &record.events);
    let consumed = events.filter(|event| matches!(event, HistoryEvent::EventConsumed { .. })).count();
    tally.add(Of::Work, "events consumed", consumed as u64);
}

/// Of racing starts under the policy None exactly one is accepted; the execution that there is came of a start that was
/// accepted, or may have been; of an acknowledged replacement if there was one.
fn check_starts(truth: &Truth, purges: u64, snapshot: &Snapshot, story: &str) {
    assert!(truth.accepted <= 1 + purges, "I2: several starts were accepted: {story}");
    let someone = truth.start_unknown > 0 || truth.accepted >= 1 || truth.replace_sent;
    assert!(someone, "I2: nobody was accepted: {story}");
    let label = snapshot.started.tags.iter().find(|tag| tag.key == "start");
    let label: u64 = label.expect("every start is labelled").value.parse().expect("a number");
    if truth.is_muddled {
        return;
    }
    if let Some(replaced) = truth.replaced {
        assert_eq!(label, replaced, "I3: an acknowledged replacement is gone: {story}");
    } else if truth.one_start && truth.start_unknown == 0 && !truth.starts.is_empty() {
        assert_eq!(truth.starts.get(&label), Some(&true), "I2: not the start that was accepted: {label} {story}");
    }
}

/// A history, as it is read from the start on.
struct History<'a> {
    asked: BTreeSet<Sequence>,
    answered: BTreeSet<Sequence>,
    canceled: BTreeSet<Sequence>,
    messages: Option<MessageNumber>,
    due: BTreeMap<Sequence, Timestamp>,
    attempts: BTreeMap<Sequence, u32>,
    /// Attempts before a rewind, which policies do not count.
    attempts_before: BTreeMap<Sequence, u32>,
    policies: BTreeMap<Sequence, RetryPolicy>,
    /// HTTP calls whose work was accepted.
    accepted: BTreeSet<Sequence>,
    ended: bool,
    suspended: bool,
    story: &'a str,
}

impl<'a> History<'a> {
    /// One ExecutionStarted, first; at most one terminal event, last; one answer per question, none before it and none after
    /// a cancel; no timer and no attempt early; messages in their order. True if it has ended.
    fn check(records: &[Arc<TurnRecord>], story: &'a str) -> bool {
        let mut history = Self {
            asked: BTreeSet::new(),
            answered: BTreeSet::new(),
            canceled: BTreeSet::new(),
            messages: None,
            due: BTreeMap::new(),
            attempts: BTreeMap::new(),
            attempts_before: BTreeMap::new(),
            policies: BTreeMap::new(),
            accepted: BTreeSet::new(),
            ended: false,
            suspended: false,
            story,
        };
        let mut time = records[0].time;
        let mut scheduled = None;
        for (number, record) in records.iter().enumerate() {
            assert!(record.time >= time, "the orchestrator's clock went back: {story}");
            time = record.time;
            for event in &record.events {
                match event {
                    HistoryEvent::ExecutionStarted(started) => {
                        assert_eq!(number, 0, "I4: started twice: {story}");
                        scheduled = started.scheduled_start;
                    }
                    _ => history.event(event, record.time),
                }
            }
            let is_turn = number > 0 && !record.is_hold() && record.summary.status != RuntimeStatus::Terminated;
            assert!(!is_turn || scheduled.is_none_or(|at| at <= time), "I7: it was scheduled for later: {story}");
        }
        history.ended
    }

    fn ask(&mut self, sequence: Sequence) {
        assert!(self.asked.insert(sequence), "asked twice: {}", self.story);
    }

    fn answer(&mut self, sequence: Sequence) {
        assert!(self.asked.contains(&sequence), "I6: an answer without a question: {}", self.story);
        assert!(self.answered.insert(sequence), "I6: two results: {}", self.story);
        assert!(!self.canceled.contains(&sequence), "I6: a result of what was canceled: {}", self.story);
    }

    fn event(&mut self, event: &HistoryEvent, time: Timestamp) {
        let story = self.story;
        let is_end = matches!(event, HistoryEvent::ExecutionTerminated { .. });
        let is_resume = matches!(event, HistoryEvent::ExecutionResumed { .. });
        assert!(!self.suspended || is_end || is_resume, "something happened while suspended: {story}");
        assert!(!self.ended, "I4, I9: something happened after the end: {story}");
        match event {
            HistoryEvent::TaskScheduled(task) => {
                self.ask(task.sequence);
                self.policies.extend(task.retry.clone().map(|policy| (task.sequence, policy)));
            }
            HistoryEvent::ChildScheduled(child) => {
                self.ask(child.sequence);
                self.policies.extend(child.retry.clone().map(|policy| (child.sequence, policy)));
            }
            HistoryEvent::HttpScheduled(call) => {
                self.ask(call.sequence);
                self.policies.extend(call.retry.clone().map(|retry| (call.sequence, retry.policy)));
            }
            HistoryEvent::HttpPollScheduled { sequence, due, .. } => {
                assert!(!self.answered.contains(sequence), "I6: a poll after the answer: {story}");
                self.accepted.insert(*sequence);
                self.due.insert(*sequence, *due);
            }
            HistoryEvent::HttpPollStarted { sequence } => {
                assert!(self.due[sequence] <= time, "a wait between polls was cut short: {story}");
            }
            HistoryEvent::EntityCalled(call) => self.ask(call.sequence),
            HistoryEvent::LocksRequested(locks) => self.ask(locks.sequence),
            HistoryEvent::TimerCreated { sequence, fire_at } => {
                self.ask(*sequence);
                self.due.insert(*sequence, *fire_at);
            }
            HistoryEvent::TaskCompleted { sequence, .. }
            | HistoryEvent::TaskFailed { sequence, .. }
            | HistoryEvent::ChildCompleted { sequence, .. }
            | HistoryEvent::ChildFailed { sequence, .. }
            | HistoryEvent::EntityCompleted { sequence, .. }
            | HistoryEvent::EntityFailed { sequence, .. }
            | HistoryEvent::LocksGranted { sequence }
            | HistoryEvent::LocksFailed { sequence, .. }
            | HistoryEvent::HttpCompleted { sequence, .. }
            | HistoryEvent::HttpFailed { sequence, .. } => self.answer(*sequence),
            HistoryEvent::TaskRetryScheduled { sequence, attempt, due, .. } => {
                self.retry(*sequence, *attempt, *due, time);
            }
            HistoryEvent::TaskRetryStarted { sequence, attempt } => {
                assert!(self.due[sequence] <= time, "a back-off was cut short: {story}");
                assert_eq!(*attempt, self.attempts[sequence] + 1, "an attempt was not counted: {story}");
            }
            HistoryEvent::ExecutionSuspended { .. } => self.suspended = true,
            HistoryEvent::ExecutionResumed { .. } => {
                assert!(self.suspended, "resumed without having been suspended: {story}");
                self.suspended = false;
            }
            HistoryEvent::TimerFired { sequence } => {
                self.answer(*sequence);
                assert!(self.due[sequence] <= time, "I7: fired early: {story}");
            }
            HistoryEvent::EventRaised { message, .. } => {
                assert!(self.messages < Some(*message), "I8: taken twice, or out of order: {story}");
                self.messages = Some(*message);
            }
            HistoryEvent::ExecutionRewound(rewound) => {
                for task in &rewound.tasks {
                    assert!(self.asked.contains(&task.sequence), "what nobody asked for is rewound: {story}");
                    assert!(!self.answered.contains(&task.sequence), "what has an answer is rewound: {story}");
                    self.attempts.insert(task.sequence, task.attempt - 1);
                    self.attempts_before.insert(task.sequence, task.attempt - 1);
                }
            }
            HistoryEvent::ActionCanceled { sequence } => {
                self.canceled.insert(*sequence);
            }
            HistoryEvent::ExecutionCompleted { .. }
            | HistoryEvent::ExecutionFailed { .. }
            | HistoryEvent::ExecutionTerminated { .. } => self.ended = true,
            _ => {}
        }
    }

    /// Attempts are counted, and wait for as long as the policy says.
    fn retry(&mut self, sequence: Sequence, attempt: u32, due: Timestamp, time: Timestamp) {
        let story = self.story;
        assert!(!self.answered.contains(&sequence), "I6: an attempt after the result: {story}");
        assert!(!self.accepted.contains(&sequence), "accepted work was begun again: {story}");
        let before = self.attempts.insert(sequence, attempt).unwrap_or(0);
        assert_eq!(attempt, before + 1, "an attempt was not counted: {story}");
        let policy = &self.policies[&sequence];
        let attempt = attempt - self.attempts_before.get(&sequence).unwrap_or(&0);
        assert!(attempt < policy.max_attempts, "more attempts than the policy allows: {story}");
        let factor = policy.backoff_coefficient.powi(i32::try_from(attempt).expect("small") - 1);
        let interval_ms = policy.first_interval_ms * factor;
        let waits_ms = due.as_millis_f64() - time.as_millis_f64();
        assert!((waits_ms - interval_ms).abs() < 1.0, "a back-off of {waits_ms} ms, not {interval_ms}: {story}");
        self.due.insert(sequence, due);
    }
}

/// Returns the events that were consumed.
fn check_outcome(
    plan: &Plan,
    truth: &Truth,
    snapshot: &Snapshot,
    (purged, is_loose): (bool, bool),
    story: &str,
) -> Vec<u64> {
    let fails = plan.program.iter().any(|step| matches!(step, Step::Fail));
    let must_be_terminated = truth.terminate_acked.is_some_and(|epoch| truth.is_certain(epoch));
    match snapshot.output.as_ref().expect("it has ended") {
        Output::Completed(output) => {
            assert!(!must_be_terminated, "I3: an acknowledged terminate was lost: {story}");
            assert!(!fails, "it should have failed: {story}");
            let got: Vec<serde_json::Value> = serde_json::from_str(output.as_str()).expect("an array");
            let consumed = check_output(&plan.program, &got, is_loose, story);
            check_events(truth, &consumed, story);
            return consumed;
        }
        // Before it could be rewound.
        Output::Failed(failure) if failure.kind == FRAGILE => assert!(purged, "it was not rewound: {story}"),
        Output::Failed(failure) => {
            assert!(!must_be_terminated, "I3: an acknowledged terminate was lost: {story}");
            assert_eq!(failure.message, "the end", "{story}");
            assert!(fails, "{story}");
        }
        Output::Terminated(reason) => {
            assert_eq!(reason, "simulated", "{story}");
            assert!(truth.terminate_sent, "nobody terminated it: {story}");
        }
    }
    vec![]
}

/// I8 for what instances send to each other: each was sent to this id and while this execution was there, is consumed once, in
/// the order of its sender, and none that reached it is left out before the last.
fn check_sent_events(context: &Context, plan: &Plan, truth: &Truth, purges: u64, consumed: &[u64], story: &str) {
    let sent = context.recorder.events.lock().expect("no panic while it is locked");
    let is_one = truth.one_start && !truth.replace_sent && purges == 0 && !truth.is_muddled;
    let is_exact = !context.recorder.is_loose;
    let mut last = BTreeMap::new();
    for event in consumed.iter().filter(|event| **event >= 2_000_000_000) {
        let found = sent.get(event).filter(|sent| sent.to == plan.id);
        let found = found.unwrap_or_else(|| panic!("I8: nobody sent {event} to it: {story}"));
        let is_of_another = is_exact && found.reached.is_none_or(|reached| Some(reached) <= truth.judged);
        assert!(!is_of_another, "I8: {event} was sent to another execution: {found:?} {story}");
        let before = last.insert(event / 1_000_000, *event);
        assert!(before.is_none_or(|before| before < *event), "I8: {event} came out of order, or twice: {story}");
        context.did("sent event consumed");
    }
    for last in last.into_values().filter(|_| is_exact && is_one) {
        let lost = sent.range(last / 1_000_000 * 1_000_000..last).filter(|(event, sent)| {
            let is_of_era = sent.reached.is_some_and(|reached| Some(reached) > truth.judged);
            sent.to == plan.id && is_of_era && !consumed.contains(event)
        });
        let lost: Vec<_> = lost.collect();
        assert!(lost.is_empty(), "I8: lost {lost:?}, got {consumed:?}: {story}");
    }
}

/// I8: consumed in the order in which each sender sent them, none twice, none of another execution's, and no acknowledged one
/// left out before the last.
fn check_events(truth: &Truth, consumed: &[u64], story: &str) {
    let of_sender = |sender: u64| consumed.iter().copied().filter(move |event| event / 1_000_000 == sender);
    for sender in 0..2 {
        let mine: Vec<u64> = of_sender(sender).collect();
        assert!(mine.windows(2).all(|pair| pair[0] < pair[1]), "I8: reordered or doubled: {mine:?} {story}");
        for event in &mine {
            let sent = truth.events.get(event);
            assert!(sent.is_some(), "I8: an event that nobody sent: {event} {story}");
            let is_of_another = sent.is_some_and(|sent| {
                sent.era != truth.era || (sent.acked && sent.before_replacement && truth.replaced.is_some())
            });
            assert!(!is_of_another, "I8: {event} was sent to another execution: {story}");
        }
        let Some(last) = mine.last() else { continue };
        let lost = truth.events.iter().filter(|(event, sent)| {
            *event / 1_000_000 == sender
                && *event < last
                && sent.acked
                && sent.era == truth.era
                && truth.is_certain(sent.epoch)
                && !mine.contains(event)
        });
        let lost: Vec<_> = lost.collect();
        assert!(lost.is_empty(), "I3, I8: lost {lost:?}, got {mine:?}: {story}");
    }
}
