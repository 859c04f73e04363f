//! Children: what a turn starts, and what its commit did to other instances.

use std::{collections::BTreeSet, sync::Arc};

use tracing::warn;

use super::{unknown_orchestrator, worker::Inner};
use crate::{
    durable::{
        ChildScheduled, EndedTurn, ExecutionId, ExecutionStarted, Failure, FunctionName, HistoryEvent, Instance,
        InstanceId, Json, ParentInstance, Timestamp, TurnRecord, Work,
    },
    storage::{ChildStart, Delivered, Effects, Fence, Start},
};

/// How a turn's record ends its execution, for the parent; `None` if it does not.
pub(super) fn outcome_of(record: &TurnRecord) -> Option<Result<Json, Failure>> {
    record.events.iter().rev().find_map(|event| match event {
        HistoryEvent::ExecutionCompleted { output } => Some(Ok(output.clone())),
        HistoryEvent::ExecutionFailed { failure } => Some(Err(failure.clone())),
        _ => None,
    })
}

impl Inner {
    /// The children that a turn starts: those that its code asked for and did not give up again, and next attempts. An
    /// execution that ends waits for nobody: then only detached ones. None that a turn which a rewind undid has started.
    pub(super) fn child_starts(&self, instance: &Instance, ended: &EndedTurn, is_last: bool) -> Vec<ChildStart> {
        let EndedTurn { record, refused, sent_before, .. } = ended;
        let canceled = record.events.iter().filter_map(|event| match event {
            HistoryEvent::ActionCanceled { sequence } => Some(*sequence),
            _ => None,
        });
        let canceled: BTreeSet<_> = canceled.collect();
        let asked = record.events.iter().filter_map(|event| match event {
            HistoryEvent::ChildScheduled(child) => Some((&**child, 1)),
            HistoryEvent::TaskRetryStarted { sequence, attempt } => match &instance.task(*sequence)?.work {
                Work::Child(child) => Some((&**child, *attempt)),
                Work::Activity(_) | Work::Http(_) | Work::Entity(_) | Work::Locks(_) => None,
            },
            _ => None,
        });
        asked
            .filter(|(child, _)| !sent_before.contains(&child.sequence))
            .filter(|(child, _)| child.detached || !(is_last || canceled.contains(&child.sequence)))
            .map(|(child, attempt)| ChildStart {
                sequence: child.sequence,
                detached: child.detached,
                start: match refused.get(&child.sequence) {
                    Some(failure) => Err(failure.clone()),
                    None => self.child_start(instance, child, attempt, record.time),
                },
            })
            .collect()
    }

    pub(super) fn child_start(
        &self,
        parent: &Instance,
        child: &ChildScheduled,
        attempt: u32,
        time: Timestamp,
    ) -> Result<Start, Failure> {
        let fatal = |kind, text| Failure { non_retriable: true, ..Failure::new(kind, text) };
        let name = FunctionName::new(&child.name);
        let Some(function) = self.deployed_orchestrator(&name) else {
            return Err(fatal("UnknownFunction", unknown_orchestrator(&name, &self.functions())));
        };
        let execution = parent.execution();
        let id = InstanceId::parse(&child.attempt_id(&execution.execution_id, attempt))
            .map_err(|error| fatal("InvalidInstanceId", error.to_string()))?;
        if id == *parent.id() {
            return Err(fatal(
                "InvalidInstanceId",
                "The instance ID of a sub-orchestration must be different than the instance ID of a parent orchestration."
                    .to_owned(),
            ));
        }
        let started = ExecutionStarted {
            name: function.name.as_str().to_owned(),
            handler: function.handler.clone(),
            version: child.version.clone(),
            execution_id: ExecutionId(self.ambient.fresh_id().into()),
            component: function.component,
            contract: function.contract.clone(),
            input: child.input.clone(),
            parent: (!child.detached).then(|| ParentInstance {
                name: execution.name.clone(),
                instance_id: parent.id().as_str().to_owned(),
                execution_id: execution.execution_id.as_str().to_owned(),
                sequence: child.sequence,
            }),
            tags: child.tags.clone(),
            trace_context: execution.trace_context.clone(),
            scheduled_start: child.scheduled_start,
        };
        let policy = child.policy.unwrap_or(self.policy);
        Ok(Start { fence: Fence::default(), id, policy, time, started: Arc::new(started) })
    }

    /// Acts on what a commit did to other instances. Memory only.
    pub(super) fn act(self: &Arc<Self>, effects: Effects) {
        for child in effects.begun {
            let state = Instance::started(child.instance, child.id, child.generation, child.started, child.time);
            self.begin(child.instance, child.replaced, state, child.messages_to);
        }
        effects.delivered.into_iter().for_each(|delivered| self.put_delivered(delivered));
        for to in effects.dropped {
            warn!(%to, "an event that an orchestration sent is dropped: there is no live instance of that id");
        }
    }

    /// Brings a message that is in an instance's inbox to its cell.
    pub(super) fn put_delivered(self: &Arc<Self>, delivered: Delivered) {
        let Delivered { instance, number, body } = delivered;
        if self.deliver(instance, |state| state.put_inbox(number, body)) {
            self.spawn_worker(instance);
        }
    }
}
