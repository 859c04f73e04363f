//! Rewind: a failed instance runs on, and with it its failed children, in one commit.
//!
//! What is read is not locked: the commit names all that it was decided upon, and if any of that has changed meanwhile nothing
//! is stored and it is decided anew. So a crash finds all of a rewind or nothing, and of two rewinds one finds that the instance
//! has not failed any more.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tracing::{info, warn};

use super::{ClientError, GuestError, Hub, OrchestratorCall, Target, joined, worker::Inner};
use crate::{
    durable::{
        self, ComponentReplaced, ExecutionStarted, FunctionName, Instance, InstanceId, InstanceKey, OpenChild,
        RewindOrder, RewoundHistory, RuntimeStatus, Sequence, Timestamp, TurnRecord, Unanswered, Work,
    },
    flight::{Call, CallKind},
    storage::{
        ChildStart, Fence, Output, Rewind, Rewound, RewoundInstance, Snapshot, StorageError, Unchanged, Want,
        child_ended,
    },
};

/// How often a rewind is decided anew because something changed meanwhile.
const TRIES: usize = 50;

/// How long code is replayed to find out what it has not answered. A turn may run for seconds, and each replay is as many as
/// the history has.
const TRIALS_FOR: Duration = Duration::from_secs(30);

impl Hub {
    /// Lets a failed instance run on: what has completed stays, the activities and children that failed last run again, and
    /// children that have failed themselves are rewound with it. Returns once that is durable, for all of them.
    ///
    /// It goes on with the component that is deployed now, or if the function is gone with the one that it had.
    ///
    /// # Errors
    /// [`ClientError::NotFound`]; [`ClientError::Gone`] if it has ended and not failed; [`ClientError::Conflict`] while it is
    /// live, or if it or one of its children failed in a critical section; [`ClientError::Unavailable`] if its children do not rest for long enough; storage's.
    pub async fn rewind<'a>(&self, target: impl Into<Target<'a>>, reason: &str) -> Result<(), ClientError> {
        self.check_running()?;
        let Target { id, creation } = target.into();
        let (inner, id, reason) = (self.inner.clone(), id.to_owned(), reason.to_owned());
        // Not on the caller's task: see `start_new`.
        let task = tokio::spawn(async move { inner.rewind(Target { id: &id, creation }, &reason).await });
        joined(task).await
    }
}

/// What a parent's rewind does about a child.
enum Fate {
    /// It runs: its end will be told.
    Awaited(Unchanged),
    /// It has completed, which the parent was not told.
    Told(Unchanged, Box<Snapshot>),
    /// It is rewound with its parent.
    Rewound(Box<Snapshot>),
    /// There is no instance that could go on.
    Fresh,
}

impl Inner {
    async fn rewind(self: &Arc<Self>, target: Target<'_>, reason: &str) -> Result<(), ClientError> {
        for _ in 0..TRIES {
            let rewind = self.plan(target, reason).await?;
            let instances: Vec<InstanceKey> = rewind.instances.iter().map(|rewound| rewound.instance).collect();
            let decided = self.storage.rewind(rewind).await.inspect_err(|error| self.note(error))?;
            if let Rewound::Done { generations, effects } = decided {
                info!(instance_id = %target.id, instances = instances.len(), "orchestration rewound");
                for (instance, generation) in instances.into_iter().zip(generations) {
                    self.begin_again(instance, generation);
                }
                self.act(effects);
                return Ok(());
            }
        }
        Err(ClientError::Unavailable(format!("the children of instance {} change all the time: try again", target.id)))
    }

    async fn read(&self, id: &InstanceId) -> Result<Option<Snapshot>, ClientError> {
        let want = Want { input: true, history: true };
        Ok(self.storage.snapshot(id.clone(), want).await.inspect_err(|error| self.note(error))?)
    }

    /// Decides upon what storage shows now. (What is meant stays the same: the commit depends on the generation read here.)
    async fn plan(&self, target: Target<'_>, reason: &str) -> Result<Rewind, ClientError> {
        let root = self.read(&InstanceId::from_stored(target.id)).await?.filter(|root| target.is(root));
        let Some(root) = root else { return Err(ClientError::NotFound(target.id.to_owned())) };
        match root.summary.status {
            RuntimeStatus::Failed => {}
            status if status.is_terminal() => return Err(ClientError::Gone(status)),
            _ => {
                return Err(ClientError::Conflict(
                    "The rewind operation is only supported on failed orchestration instances.".to_owned(),
                ));
            }
        }
        let time = self.ambient.now();
        let mut rewind = Rewind { fence: Fence::default(), instances: vec![], unchanged: vec![] };
        let mut failed = vec![root];
        while let Some(snapshot) = failed.pop() {
            self.plan_one(snapshot, reason, time, &mut rewind, &mut failed).await?;
        }
        Ok(rewind)
    }

    async fn plan_one(
        &self,
        snapshot: Snapshot,
        reason: &str,
        time: Timestamp,
        rewind: &mut Rewind,
        failed: &mut Vec<Snapshot>,
    ) -> Result<(), ClientError> {
        let Snapshot { instance, id, generation, history, .. } = snapshot;
        let records = history.unwrap_or_default();
        let corrupt = |reason: String| ClientError::Storage(StorageError::Corrupt(reason));
        let undo = |unanswered: &BTreeSet<Sequence>| {
            durable::Rewind::of(instance, id.clone(), generation, &records, unanswered)
                .map_err(|error| corrupt(error.to_string()))?
                .ok_or_else(|| corrupt(format!("instance {id} has failed, but its last record does not say so")))
        };
        let mut undone = undo(&BTreeSet::new())?;
        let unanswered = self.unanswered(&id, undone.execution(), &records).await?;
        if !unanswered.is_empty() {
            undone = undo(&unanswered)?;
        }
        if undone.has_lost_locks() {
            return Err(ClientError::Conflict(format!(
                "Cannot rewind the orchestration instance {id} because it failed in a critical section, whose locks it has \
                 lost. Restart it instead."
            )));
        }
        let (mut settled, mut fresh, mut messages) = (BTreeSet::new(), BTreeSet::new(), vec![]);
        for child in undone.children() {
            settled.insert(child.child.sequence);
            match self.fate(&id, undone.execution(), &child).await? {
                Fate::Awaited(unchanged) => rewind.unchanged.push(unchanged),
                Fate::Told(unchanged, child) => {
                    rewind.unchanged.push(unchanged);
                    let Some(Output::Completed(output)) = child.output else { continue };
                    messages.extend(child_ended(&child.started, Ok(output)).map(|message| message.body));
                }
                Fate::Rewound(child) => failed.push(*child),
                Fate::Fresh => {
                    fresh.insert(child.child.sequence);
                }
            }
        }
        let component = self.deployed(undone.execution());
        let unstarted = self.unstarted(&undone).await?;
        let order = RewindOrder { reason: reason.to_owned(), time, component, fresh: fresh.clone(), unstarted };
        let RewoundHistory { from, records, state } = undone.finish(order);
        let children = self.fresh_starts(&state, &fresh);
        let rewound = RewoundInstance { instance, failed: generation, from, records, settled, messages, children };
        rewind.instances.push(rewound);
        Ok(())
    }

    /// The actions whose failures lie before what is undone, and to which the code has not answered: replayed without them, it
    /// asks for the same.
    async fn unanswered(
        &self,
        id: &InstanceId,
        execution: &ExecutionStarted,
        records: &[Arc<TurnRecord>],
    ) -> Result<BTreeSet<Sequence>, ClientError> {
        let Some(mut unanswered) = Unanswered::of(records) else { return Ok(BTreeSet::new()) };
        let ComponentReplaced { component, handler, .. } = self.deployed(execution);
        // Among the turns that run, and known as one should it end the process.
        let (slot, _place) = self.slot_and_place().await;
        let _flight = self.parking.begin(&Call {
            kind: CallKind::Turn,
            execution: execution.execution_id.as_str(),
            number: u32::try_from(records.len()).unwrap_or(u32::MAX),
            attempt: 1,
            function: &execution.name,
        });
        let tries = async {
            while let Some(replay) = unanswered.replay() {
                let call = OrchestratorCall {
                    component,
                    handler: handler.clone(),
                    name: execution.name.clone(),
                    instance_id: id.clone(),
                    execution_id: execution.execution_id.clone(),
                };
                let asked = match self.executor.orchestrator(call, slot.clone()).await {
                    Ok(mut guest) => guest.turn(true, replay.turns, &replay.events).await,
                    Err(error) => Err(error),
                };
                unanswered.asked_the_same(match asked {
                    Ok(asked) => planted!(RewindReplaysNothing) || replay.check(&asked).is_ok(),
                    Err(GuestError::Code(_)) => false,
                    Err(GuestError::Unavailable(why)) => return Err(ClientError::Unavailable(why)),
                });
            }
            Ok(())
        };
        tokio::select! {
            biased;
            tried = tries => tried?,
            // The guest is dropped, and so stopped.
            () = self.ambient.sleep(TRIALS_FOR) => warn!(
                instance_id = %id, "it takes too long to find out which failures the code has not answered: the others stay"
            ),
        }
        Ok(unanswered.sequences())
    }

    /// Of the detached starts that the failing turn may have made those of which there is no instance.
    async fn unstarted(&self, undone: &durable::Rewind) -> Result<BTreeSet<Sequence>, ClientError> {
        let mut unstarted = BTreeSet::new();
        for (sequence, id) in undone.detached_starts() {
            let want = Want { input: false, history: false };
            let found = self.storage.snapshot(InstanceId::from_stored(id), want).await;
            if found.inspect_err(|error| self.note(error))?.is_none() {
                unstarted.insert(sequence);
            }
        }
        Ok(unstarted)
    }

    /// What is to be done about a child that its parent waits for.
    async fn fate(
        &self,
        parent: &InstanceId,
        execution: &ExecutionStarted,
        child: &OpenChild<'_>,
    ) -> Result<Fate, ClientError> {
        if child.child.detached {
            return Ok(Fate::Fresh);
        }
        let found = self.read(&InstanceId::from_stored(&child.instance_id)).await?;
        let Some(found) = found.filter(|found| is_child_of(found, parent, execution, child.child.sequence)) else {
            return Ok(Fate::Fresh);
        };
        let unchanged = |live| Unchanged { instance: found.instance, generation: found.generation, live };
        Ok(match found.summary.status {
            RuntimeStatus::Failed => Fate::Rewound(Box::new(found)),
            RuntimeStatus::Completed => Fate::Told(unchanged(false), Box::new(found)),
            RuntimeStatus::Terminated | RuntimeStatus::Canceled => Fate::Fresh,
            RuntimeStatus::Running
            | RuntimeStatus::Pending
            | RuntimeStatus::Suspended
            | RuntimeStatus::ContinuedAsNew => Fate::Awaited(unchanged(true)),
        })
    }

    /// The starts of children of which there is no instance that could go on.
    fn fresh_starts(&self, parent: &Instance, fresh: &BTreeSet<Sequence>) -> Vec<ChildStart> {
        let tasks = fresh.iter().filter_map(|sequence| parent.task(*sequence));
        let starts = tasks.filter_map(|task| match &task.work {
            Work::Child(child) => Some(ChildStart {
                sequence: child.sequence,
                detached: child.detached,
                start: self.child_start(parent, child, task.attempt, parent.last_time()),
            }),
            Work::Activity(_) | Work::Http(_) | Work::Entity(_) | Work::Locks(_) => None,
        });
        starts.collect()
    }

    /// What an execution goes on with: what is deployed now, or if that is gone what it had.
    fn deployed(&self, execution: &ExecutionStarted) -> ComponentReplaced {
        let deployed = self.deployed_orchestrator(&FunctionName::new(&execution.name));
        let (component, handler, contract) = match &deployed {
            Some(deployed) => (deployed.component, &deployed.handler, &deployed.contract),
            None => (execution.component, &execution.handler, &execution.contract),
        };
        ComponentReplaced { component, handler: handler.clone(), contract: contract.clone() }
    }
}

/// Whether an instance is the one that this action of the parent's execution started.
fn is_child_of(found: &Snapshot, parent: &InstanceId, execution: &ExecutionStarted, sequence: Sequence) -> bool {
    found.started.parent.as_ref().is_some_and(|of| {
        of.instance_id == parent.as_str()
            && of.execution_id == execution.execution_id.as_str()
            && of.sequence == sequence
    })
}
