//! The oracle: what storage holds in the end must be explained by the programs and by what clients were told.

use std::{collections::BTreeSet, sync::Arc};

use futures::executor::block_on;
use soloist::{
    durable::{HistoryEvent, InstanceId, RuntimeStatus, TurnRecord},
    storage::{Output, Snapshot, Storage, Want},
};

use crate::{
    Totals, entities,
    program::{Step, activity_result},
    world::{Plan, Truth},
};

pub fn check(seed: u64, plans: &[Arc<Plan>], clients: &entities::Clients, storage: &impl Storage, totals: &mut Totals) {
    let mut certain = BTreeSet::new();
    for plan in plans {
        let want = Want { input: true, history: true };
        let id = InstanceId::parse(&plan.id).expect("a legal id");
        let snapshot =
            block_on(storage.snapshot(id, want)).expect("memory answers").expect("every instance was started");
        let truth = plan.truth().clone();
        let context = format!("seed {seed}, {}: {truth:?}, program {:?}", plan.id, plan.program);
        let records = snapshot.history.as_ref().expect("asked for");
        check_history(records, &context);
        certain.extend(entities::certain(records));
        check_starts(&truth, &context);
        check_outcome(plan, &truth, &snapshot, records, &context);
        totals.refused_starts += truth.refused;
        totals.replaced += u64::from(truth.replaced > 0);
        match snapshot.summary.status {
            RuntimeStatus::Completed => totals.completed += 1,
            RuntimeStatus::Terminated => totals.terminated += 1,
            _ => {}
        }
        let consumed = records.iter().flat_map(|record| &record.events);
        totals.events_consumed +=
            consumed.filter(|event| matches!(event, HistoryEvent::EventConsumed { .. })).count() as u64;
    }
    clients.check(storage, &certain, &format!("seed {seed}"));
}

/// Of racing starts under the policy None exactly one is accepted, over all lives.
fn check_starts(truth: &Truth, context: &str) {
    assert!(truth.accepted <= 1, "I2: several starts were accepted: {context}");
    assert!(truth.start_unknown > 0 || truth.accepted == 1 || truth.replaced > 0, "I2: nobody was accepted: {context}");
}

/// One ExecutionStarted, first; at most one terminal event, last; one answer per question, none before it; no timer early.
fn check_history(records: &[Arc<TurnRecord>], context: &str) {
    let mut asked = BTreeSet::new();
    let mut answered = BTreeSet::new();
    let mut messages = BTreeSet::new();
    let mut due = std::collections::BTreeMap::new();
    let (mut ended, mut suspended) = (false, false);
    let mut time = records[0].time;
    for (number, record) in records.iter().enumerate() {
        assert!(record.time >= time, "the orchestrator's clock went back: {context}");
        time = record.time;
        for event in &record.events {
            let is_end = matches!(event, HistoryEvent::ExecutionTerminated { .. });
            let is_resume = matches!(event, HistoryEvent::ExecutionResumed { .. });
            assert!(!suspended || is_end || is_resume, "something happened while suspended: {context}");
            assert!(!ended, "I4, I9: something happened after the end: {context}");
            match event {
                HistoryEvent::ExecutionStarted(_) => assert_eq!(number, 0, "I4: started twice: {context}"),
                HistoryEvent::TaskScheduled(task) => assert!(asked.insert(task.sequence), "asked twice: {context}"),
                HistoryEvent::TimerCreated { sequence, fire_at } => {
                    assert!(asked.insert(*sequence), "asked twice: {context}");
                    due.insert(*sequence, *fire_at);
                }
                HistoryEvent::ChildScheduled(child) => assert!(asked.insert(child.sequence), "asked twice: {context}"),
                HistoryEvent::EntityCalled(call) => assert!(asked.insert(call.sequence), "asked twice: {context}"),
                HistoryEvent::LocksRequested(locks) => {
                    assert!(asked.insert(locks.sequence), "asked twice: {context}");
                }
                HistoryEvent::EntityCompleted { sequence, .. }
                | HistoryEvent::EntityFailed { sequence, .. }
                | HistoryEvent::LocksGranted { sequence }
                | HistoryEvent::LocksFailed { sequence, .. }
                | HistoryEvent::TaskCompleted { sequence, .. }
                | HistoryEvent::TaskFailed { sequence, .. }
                | HistoryEvent::ChildCompleted { sequence, .. }
                | HistoryEvent::ChildFailed { sequence, .. } => {
                    assert!(asked.contains(sequence), "I6: an answer without a question: {context}");
                    assert!(answered.insert(*sequence), "I6: two results: {context}");
                }
                HistoryEvent::TaskRetryScheduled { sequence, due: at, .. } => {
                    assert!(!answered.contains(sequence), "I6: an attempt after the result: {context}");
                    due.insert(*sequence, *at);
                }
                HistoryEvent::TaskRetryStarted { sequence, .. } => {
                    assert!(due[sequence] <= record.time, "a back-off was cut short: {context}");
                }
                HistoryEvent::ExecutionSuspended { .. } => {
                    assert!(!suspended, "suspended twice: {context}");
                    suspended = true;
                    continue;
                }
                HistoryEvent::ExecutionResumed { .. } => {
                    assert!(suspended, "resumed without having been suspended: {context}");
                    suspended = false;
                }
                HistoryEvent::TimerFired { sequence } => {
                    assert!(answered.insert(*sequence), "I7: fired twice: {context}");
                    assert!(due[sequence] <= record.time, "I7: fired early: {context}");
                }
                HistoryEvent::EventRaised { message, .. } => {
                    assert!(messages.insert(*message), "I8: taken twice: {context}");
                }
                HistoryEvent::ExecutionCompleted { .. }
                | HistoryEvent::ExecutionFailed { .. }
                | HistoryEvent::ExecutionTerminated { .. } => ended = true,
                // No program here calls HTTP or replaces components.
                HistoryEvent::HttpScheduled(_)
                | HistoryEvent::HttpCompleted { .. }
                | HistoryEvent::HttpFailed { .. }
                | HistoryEvent::HttpPollScheduled { .. }
                | HistoryEvent::HttpPollStarted { .. }
                | HistoryEvent::EntitySignaled(_)
                | HistoryEvent::LocksReleased { .. }
                | HistoryEvent::EventSent(_)
                | HistoryEvent::ActionCanceled { .. }
                | HistoryEvent::ExecutionRewound(_)
                | HistoryEvent::EventConsumed { .. }
                | HistoryEvent::CustomStatusSet { .. }
                | HistoryEvent::ComponentReplaced(_) => {}
            }
        }
    }
    assert!(ended, "every instance must have ended: {context}");
}

fn check_outcome(plan: &Plan, truth: &Truth, snapshot: &Snapshot, records: &[Arc<TurnRecord>], context: &str) {
    let replaced = truth.replaced > 0;
    match snapshot.output.as_ref().expect("it has ended") {
        Output::Completed(output) => {
            assert!(!truth.terminate_acked || replaced, "I3: an acknowledged terminate was lost: {context}");
            let got: Vec<serde_json::Value> = serde_json::from_str(output.as_str()).expect("an array");
            let consumed = check_output(&plan.program, &got, context);
            assert!(!plan.program.iter().any(|step| matches!(step, Step::Fail)), "it should have failed: {context}");
            check_events(truth, &consumed, replaced, context);
        }
        Output::Failed(failure) => {
            assert_eq!(failure.message, "the end", "{context}");
            assert!(plan.program.iter().any(|step| matches!(step, Step::Fail)), "{context}");
            assert!(!truth.terminate_acked || replaced, "I3: an acknowledged terminate was lost: {context}");
        }
        Output::Terminated(reason) => {
            assert_eq!(reason, "simulated", "{context}");
            assert!(truth.terminate_sent, "nobody terminated it: {context}");
        }
    }
    assert!(records[0].events.len() <= 2, "{context}");
}

/// Whether an output is what the program gives; returns the events that are in it.
fn check_output(program: &[Step], output: &[serde_json::Value], context: &str) -> Vec<u64> {
    let (mut sequence, mut consumed) = (0, Vec::new());
    let mut output = output.iter();
    let mut next = || output.next().unwrap_or_else(|| panic!("the output is too short: {context}"));
    // A program that begins anew runs its steps again, and numbers them anew.
    let rounds = if let Some(Step::Again(times)) = program.last() { times + 1 } else { 1 };
    for step in (0..rounds).flat_map(|_| program) {
        match step {
            Step::Again(_) => sequence = 0,
            Step::Retry(fails) | Step::Slow(fails) if *fails < 3 => {
                assert_eq!(next().to_string(), activity_result(sequence), "{context}");
                sequence += 1;
            }
            Step::Retry(_) => {
                assert_eq!(next(), "Planned", "three attempts were not enough: {context}");
                sequence += 1;
            }
            Step::Child => {
                assert_eq!(next().to_string(), format!("[{}]", activity_result(0)), "{context}");
                sequence += 1;
            }
            Step::FailingChild => {
                assert_eq!(next(), "the end", "{context}");
                sequence += 1;
            }
            Step::Slow(_) => {
                assert_eq!(next(), "Timeout", "three attempts were stopped: {context}");
                sequence += 1;
            }
            Step::Activity | Step::FanOut(_) => {
                for _ in 0..if let Step::FanOut(n) = step { *n } else { 1 } {
                    assert_eq!(next().to_string(), activity_result(sequence), "{context}");
                    sequence += 1;
                }
            }
            Step::FailingActivity => {
                assert_eq!(next(), "Planned", "{context}");
                sequence += 1;
            }
            Step::Timer(_) => {
                assert_eq!(next(), "t", "{context}");
                sequence += 1;
            }
            Step::Event => consumed.push(next().as_u64().expect("an event's number")),
            Step::Race(_) => {
                consumed.extend(next().as_u64());
                sequence += 1;
            }
            Step::Entity(step) => sequence += entities::check_step(step, next(), context),
            Step::Status | Step::Fail => {}
        }
    }
    assert!(output.next().is_none(), "the output is too long: {context}");
    consumed
}

/// I8: consumed in the order in which they were sent, none twice, and no acknowledged one left out before the last.
fn check_events(truth: &Truth, consumed: &[u64], replaced: bool, context: &str) {
    assert!(consumed.windows(2).all(|pair| pair[0] < pair[1]), "I8: reordered or doubled: {consumed:?} {context}");
    let Some(last) = consumed.last() else { return };
    let known: BTreeSet<_> = truth.acked.iter().chain(&truth.unknown).collect();
    assert!(
        consumed.iter().all(|event| known.contains(event)),
        "I8: an event that nobody sent: {consumed:?} {context}"
    );
    // A replacement drops what was sent to the generation before it.
    if !replaced {
        let lost: Vec<_> = truth.acked.iter().filter(|event| *event < last && !consumed.contains(event)).collect();
        assert!(lost.is_empty(), "I3, I8: lost {lost:?}: {context}");
    }
}
