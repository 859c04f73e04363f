//! Rewind: how far a failed generation is undone, and the history with which its successor begins.
//!
//! What the code asked for last is the point to which it is undone: the turns up to there stay as they are. In the turns after
//! it stays what happened (results, events, timers), but for the final failures: they are dropped, and their activities and
//! children are open again. The code is handed those turns once more, as new ones, so whatever it makes of them is recorded
//! now: the same as before, or something else, now that a failure is missing or the code was mended. A failure to which the
//! code had answered by asking for something stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ComponentReplaced, ExecutionRewound, ExecutionStarted, Failure, GenerationKey, HistoryEvent, Instance, InstanceId,
    InstanceKey, NotAHistory, OpenChild, RewoundTask, RuntimeStatus, Sequence, Timestamp, TurnNumber, TurnRecord, Work,
};

/// A failed generation while it is undone.
#[derive(Clone, Debug)]
pub struct Rewind {
    instance: Instance,
    from: TurnNumber,
    tail: Vec<TurnRecord>,
    failure: Failure,
    dropped: BTreeMap<Sequence, Failure>,
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

impl Rewind {
    /// Undoes a generation; `None` if it has not failed.
    ///
    /// # Errors
    /// [`NotAHistory`] as [`Instance::fold`].
    pub fn of(
        instance: InstanceKey,
        id: InstanceId,
        generation: GenerationKey,
        records: &[Arc<TurnRecord>],
    ) -> Result<Option<Self>, NotAHistory> {
        let failure = records.last().and_then(|last| {
            last.events.iter().rev().find_map(|event| match event {
                HistoryEvent::ExecutionFailed { failure } => Some(failure.clone()),
                _ => None,
            })
        });
        let Some(failure) = failure.filter(|_| records.len() > 1) else { return Ok(None) };
        // What the failing turn asked for never took effect, so it does not count.
        let has_asked = |record: &Arc<TurnRecord>| record.events.iter().any(HistoryEvent::is_compared_action);
        let from = records[..records.len() - 1].iter().rposition(has_asked).map_or(1, |asked| asked + 1);
        let mut rewind = Self {
            instance: Instance::fold(instance, id, generation, &records[..from])?,
            from: TurnNumber(u32::try_from(from).expect("turns are numbered by 32 bits")),
            tail: Vec::new(),
            failure,
            dropped: BTreeMap::new(),
        };
        records[from..].iter().for_each(|record| rewind.undo(record));
        Ok(Some(rewind))
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
        let RewindOrder { reason, time, component, fresh } = order;
        let anew: BTreeSet<_> = self.dropped.keys().chain(&fresh).copied().collect();
        let tasks = anew.into_iter().filter_map(|sequence| {
            let task = self.instance.task(sequence)?;
            let attempt = match task.work {
                Work::Activity(_) | Work::Http(_) | Work::Entity(_) | Work::Locks(_) => 1,
                Work::Child(_) => task.attempt + u32::from(fresh.contains(&sequence)),
            };
            Some(RewoundTask { sequence, attempt, failure: self.dropped.get(&sequence).cloned() })
        });
        let rewound = ExecutionRewound { reason, from: self.from, failure: self.failure, tasks: tasks.collect() };
        let mut events = vec![HistoryEvent::ExecutionRewound(Box::new(rewound))];
        let before = self.instance.execution();
        if (component.component, &component.handler) != (before.component, &before.handler) {
            events.push(HistoryEvent::ComponentReplaced(component));
        }
        let time = time.max(self.instance.last_time());
        let last = self.instance.fold_anew(time, events, RuntimeStatus::Running);
        let records = self.tail.into_iter().chain([last]).map(Arc::new).collect();
        RewoundHistory { from: self.from, records, state: self.instance }
    }
}

#[cfg(test)]
mod tests;
