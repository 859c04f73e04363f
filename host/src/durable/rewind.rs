//! Rewind: how far a failed generation is undone, and the history with which its successor begins.
//!
//! What the code asked for last is the point to which it is undone: the turns up to there stay as they are. In the turns after
//! it stays what happened (results, events, timers), but for the final failures: they are dropped, and their activities and
//! children are open again. The code is handed those turns once more, as new ones, so whatever it makes of them is recorded
//! now: the same as before, or something else, now that a failure is missing or the code was mended. What the failing turn had
//! sent is kept in mind, and not sent again.
//!
//! A failure before those turns stays if the code has answered to it by asking for something, and is dropped if it has not
//! ([`Unanswered`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ChildScheduled, ComponentReplaced, ExecutionRewound, ExecutionStarted, Failure, GenerationKey, HistoryEvent,
    Instance, InstanceId, InstanceKey, NotAHistory, OpenChild, RewoundTask, RuntimeStatus, Sequence, Timestamp,
    TurnNumber, TurnRecord, Work,
};

mod unanswered;

pub use unanswered::Unanswered;
use unanswered::is_one_of;

/// A failed generation while it is undone.
#[derive(Clone, Debug)]
pub struct Rewind {
    instance: Instance,
    /// From here on records are others than they were.
    changed: TurnNumber,
    /// From here on the code is handed its turns once more.
    from: TurnNumber,
    tail: Vec<TurnRecord>,
    failure: Failure,
    dropped: BTreeMap<Sequence, Failure>,
    sent: Vec<HistoryEvent>,
}

/// What a rewind is told from outside.
#[derive(Clone, Debug)]
pub struct RewindOrder {
    /// The operator's words.
    pub reason: String,
    /// When.
    pub time: Timestamp,
    /// The component that the execution goes on with.
    pub component: ComponentReplaced,
    /// Children that are started again, because there is no instance of them that could go on: by the parent's action.
    pub fresh: BTreeSet<Sequence>,
    /// Of [`Rewind::detached_starts`] those of which there is no instance: they are started when the code asks again.
    pub unstarted: BTreeSet<Sequence>,
}

/// The history with which a rewound generation begins.
#[derive(Clone, Debug, PartialEq)]
pub struct RewoundHistory {
    /// From this turn on `records`; what lies before is the failed generation's.
    pub from: TurnNumber,
    /// The records from there on; the last one is the rewind's own.
    pub records: Vec<Arc<TurnRecord>>,
    /// The state after them, but with the failed generation's number.
    pub state: Instance,
}

fn turn_number(turn: usize) -> TurnNumber {
    TurnNumber(u32::try_from(turn).expect("turns are numbered by 32 bits"))
}

/// How many records there are up to the last turn that asked for something. What the failing turn asked for never took effect,
/// so it does not count.
fn last_asked(records: &[Arc<TurnRecord>]) -> usize {
    let has_asked = |record: &Arc<TurnRecord>| record.events.iter().any(HistoryEvent::is_compared_action);
    let before = &records[..records.len().saturating_sub(1)];
    before.iter().rposition(has_asked).map_or(records.len().min(1), |asked| asked + 1)
}

impl Rewind {
    /// Undoes a generation; `None` if it has not failed. Of the failures before the turns that are undone it drops those of
    /// the `unanswered` actions.
    ///
    /// # Errors
    /// [`NotAHistory`] as [`Instance::fold`].
    pub fn of(
        instance: InstanceKey,
        id: InstanceId,
        generation: GenerationKey,
        records: &[Arc<TurnRecord>],
        unanswered: &BTreeSet<Sequence>,
    ) -> Result<Option<Self>, NotAHistory> {
        let failing = records.last().map_or(&[][..], |last| &last.events);
        let failure = failing.iter().rev().find_map(|event| match event {
            HistoryEvent::ExecutionFailed { failure } => Some(failure.clone()),
            _ => None,
        });
        let Some(failure) = failure.filter(|_| records.len() > 1) else { return Ok(None) };
        let from = last_asked(records);
        let is_changed = |record: &Arc<TurnRecord>| record.events.iter().any(|event| is_one_of(event, unanswered));
        let changed = records[..from].iter().position(is_changed).unwrap_or(from);
        let mut rewind = Self {
            instance: Instance::fold(instance, id, generation, &records[..changed])?,
            changed: turn_number(changed),
            from: turn_number(from),
            tail: Vec::new(),
            failure,
            dropped: BTreeMap::new(),
            sent: failing.iter().filter(|event| rewound_sends(event, records)).cloned().collect(),
        };
        records[changed..from].iter().for_each(|record| rewind.keep(record, unanswered));
        records[from..].iter().for_each(|record| rewind.undo(record));
        // What an earlier rewind keeps in mind was not sent anew.
        let mut before = rewind.instance.sent_before().to_vec();
        rewind.sent.retain(|action| !HistoryEvent::take_sent(&mut before, action));
        Ok(Some(rewind))
    }

    /// Takes a turn over without the failures of these.
    fn keep(&mut self, record: &TurnRecord, unanswered: &BTreeSet<Sequence>) {
        let (failures, kept): (Vec<_>, Vec<_>) =
            record.events.iter().cloned().partition(|event| is_one_of(event, unanswered));
        let failures = failures.iter().filter_map(HistoryEvent::final_failure);
        self.dropped.extend(failures.map(|(sequence, failure)| (sequence, failure.clone())));
        self.tail.push(self.instance.fold_anew(record.time, kept, record.summary.status));
    }

    /// Takes a turn over without what the code asked for in it, and without final failures.
    fn undo(&mut self, record: &TurnRecord) {
        let mut kept = Vec::new();
        for event in &record.events {
            match event {
                HistoryEvent::TaskFailed { sequence, failure }
                | HistoryEvent::ChildFailed { sequence, failure }
                | HistoryEvent::HttpFailed { sequence, failure } => {
                    self.dropped.insert(*sequence, failure.clone());
                    if planted!(RewindKeepsFailures) {
                        kept.push(event.clone());
                    }
                }
                HistoryEvent::TaskCompleted { .. } if planted!(RewindDropsResults) => {}
                HistoryEvent::TaskCompleted { .. }
                | HistoryEvent::ChildCompleted { .. }
                | HistoryEvent::HttpCompleted { .. }
                | HistoryEvent::EntityCompleted { .. }
                | HistoryEvent::EntityFailed { .. }
                | HistoryEvent::LocksGranted { .. }
                | HistoryEvent::LocksFailed { .. }
                | HistoryEvent::HttpPollScheduled { .. }
                | HistoryEvent::HttpPollStarted { .. }
                | HistoryEvent::TaskRetryScheduled { .. }
                | HistoryEvent::TaskRetryStarted { .. }
                | HistoryEvent::TimerFired { .. }
                | HistoryEvent::EventRaised { .. }
                | HistoryEvent::ExecutionSuspended { .. }
                | HistoryEvent::ExecutionResumed { .. }
                | HistoryEvent::ExecutionRewound(_)
                | HistoryEvent::ComponentReplaced(_)
                | HistoryEvent::ExecutionStarted(_) => kept.push(event.clone()),
                HistoryEvent::TaskScheduled(_)
                | HistoryEvent::ChildScheduled(_)
                | HistoryEvent::HttpScheduled(_)
                | HistoryEvent::EntityCalled(_)
                | HistoryEvent::EntitySignaled(_)
                | HistoryEvent::LocksRequested(_)
                | HistoryEvent::LocksReleased { .. }
                | HistoryEvent::EventSent(_)
                | HistoryEvent::TimerCreated { .. }
                | HistoryEvent::ActionCanceled { .. }
                | HistoryEvent::EventConsumed { .. }
                | HistoryEvent::CustomStatusSet { .. }
                | HistoryEvent::ExecutionCompleted { .. }
                | HistoryEvent::ExecutionFailed { .. }
                | HistoryEvent::ExecutionTerminated { .. } => {}
            }
        }
        let status = record.summary.status;
        let status = if status.is_terminal() { RuntimeStatus::Running } else { status };
        self.tail.push(self.instance.fold_anew(record.time, kept, status));
    }

    /// Children that need an instance that goes on, or a start: those whose failure was dropped, and those that were open.
    /// (An open detached start needs none: its decision is in the inbox.)
    pub fn children(&self) -> impl Iterator<Item = OpenChild<'_>> {
        let refused = self.dropped.keys().filter_map(|sequence| self.instance.task(*sequence));
        let refused = refused.filter_map(|task| match &task.work {
            Work::Child(child) if child.detached => {
                Some(OpenChild { child, attempt: task.attempt, instance_id: child.instance_id.clone() })
            }
            Work::Child(_) | Work::Activity(_) | Work::Http(_) | Work::Entity(_) | Work::Locks(_) => None,
        });
        self.instance.children().chain(refused)
    }

    /// Detached starts that the failing turn may have made: the action, and the id that belongs to it alone.
    pub fn detached_starts(&self) -> impl Iterator<Item = (Sequence, &str)> {
        self.sent.iter().filter_map(|action| match action {
            HistoryEvent::ChildScheduled(child) => Some((child.sequence, child.instance_id.as_str())),
            _ => None,
        })
    }

    /// True if it failed in a critical section, or while it waited for one: its locks are gone, and it cannot go on as if it
    /// held them.
    pub fn has_lost_locks(&self) -> bool {
        self.instance.section().is_some()
    }

    /// How it was started.
    pub fn execution(&self) -> &Arc<ExecutionStarted> {
        self.instance.execution()
    }

    /// The history of the generation that takes the failed one's place.
    pub fn finish(mut self, order: RewindOrder) -> RewoundHistory {
        let RewindOrder { reason, time, component, fresh, unstarted } = order;
        let anew: BTreeSet<_> = self.dropped.keys().chain(&fresh).copied().collect();
        let tasks = anew.into_iter().filter_map(|sequence| {
            let task = self.instance.task(sequence)?;
            let attempt = match task.work {
                Work::Activity(_) | Work::Http(_) | Work::Entity(_) | Work::Locks(_) => 1,
                Work::Child(_) => task.attempt + u32::from(fresh.contains(&sequence)),
            };
            Some(RewoundTask { sequence, attempt, failure: self.dropped.get(&sequence).cloned() })
        });
        let tasks = tasks.collect();
        let is_sent = |action: &HistoryEvent| action.sent().is_some_and(|sequence| !unstarted.contains(&sequence));
        self.sent.retain(is_sent);
        let rewound = ExecutionRewound { reason, from: self.from, failure: self.failure, tasks, sent: self.sent };
        let mut events = vec![HistoryEvent::ExecutionRewound(Box::new(rewound))];
        let before = self.instance.execution();
        if (component.component, &component.handler) != (before.component, &before.handler) {
            events.push(HistoryEvent::ComponentReplaced(component));
        }
        let time = time.max(self.instance.last_time());
        let last = self.instance.fold_anew(time, events, RuntimeStatus::Running);
        let records = self.tail.into_iter().chain([last]).map(Arc::new).collect();
        RewoundHistory { from: self.changed, records, state: self.instance }
    }
}

/// Whether what the failing turn has sent must not be sent again. A detached start under an id that the code has chosen is not
/// among that: whoever has the id decides, as with every start.
fn rewound_sends(event: &HistoryEvent, records: &[Arc<TurnRecord>]) -> bool {
    let execution_id = records.first().and_then(|first| match first.events.first() {
        Some(HistoryEvent::ExecutionStarted(started)) => Some(&started.execution_id),
        _ => None,
    });
    match event {
        HistoryEvent::ChildScheduled(child) => {
            child.detached
                && execution_id.is_some_and(|of| child.instance_id == ChildScheduled::derived_id(of, child.sequence))
        }
        event => event.sent().is_some(),
    }
}

#[cfg(test)]
mod tests;
