//! Ending an instance with its sub-orchestrations, which may be starting others meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{ClientError, Hub, joined, worker::Inner};
use crate::{
    durable::{Creation, ExecutionId, FunctionName, Instance, InstanceId, RuntimeStatus},
    storage::{End, Ended, Fence, StorageError, Want},
};

/// So many of a tree end at once: they share commits.
const AT_ONCE: usize = 64;

/// A tree of more than this many might grow as fast as it is ended. From there on sub-orchestrations of the orchestrators that
/// are met are held back.
const HOLD_BACK_AFTER: usize = 64;

/// Orchestrators whose sub-orchestrations do not begin for now, because a tree of them is being ended.
#[derive(Default)]
pub(super) struct HeldBack {
    /// For how many trees.
    names: Mutex<BTreeMap<FunctionName, usize>>,
    over: Notify,
}

impl HeldBack {
    /// Whether this instance must not begin now.
    pub fn holds(&self, instance: &Instance) -> bool {
        let execution = instance.execution();
        if !instance.is_new() || execution.parent.is_none() {
            return false;
        }
        let names = self.lock();
        !names.is_empty() && names.contains_key(&FunctionName::new(&execution.name))
    }

    /// Returns once this instance may begin. It need not wait to be ended itself: then its turn is given up.
    pub async fn may_begin(&self, instance: &Instance) {
        while self.holds(instance) {
            // Listens before it looks again: an end between the two is heard.
            let over = self.over.notified();
            if self.holds(instance) {
                over.await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FunctionName, usize>> {
        self.names.lock().expect("no code panics while it holds this lock")
    }
}

/// What one tree holds back; over with the value.
struct Holding<'a> {
    held_back: &'a HeldBack,
    names: Vec<FunctionName>,
}

impl Holding<'_> {
    fn add(&mut self, name: FunctionName) {
        if !self.names.contains(&name) {
            *self.held_back.lock().entry(name.clone()).or_default() += 1;
            self.names.push(name);
        }
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut names = self.held_back.lock();
        for name in &self.names {
            if let Some(trees) = names.get_mut(name) {
                *trees -= 1;
            }
        }
        names.retain(|_, trees| *trees > 0);
        drop(names);
        self.held_back.over.notify_waiters();
    }
}

/// A sub-orchestration for which an execution waited when it was ended.
struct Left {
    id: InstanceId,
    parent: ExecutionId,
}

impl Hub {
    /// Ends an instance and, after it, every sub-orchestration that it waits for, and theirs. Returns once all of that is
    /// durable; after a crash meanwhile some may have ended and others not. It goes on if the caller does not wait for it,
    /// who may be an activity of one of them.
    ///
    /// It comes to an end even if the sub-orchestrations start others without end: while a large tree is ended, no new
    /// sub-orchestration of the same orchestrators begins, of other trees neither, nor the next generation of one.
    ///
    /// If it was terminated before, the others are ended all the same: so what was broken off is gone on with.
    ///
    /// # Errors
    /// As [`Hub::terminate`], for the instance itself; what has ended by then among the others is no error.
    pub async fn terminate_with_children(&self, id: &str, reason: &str) -> Result<(), ClientError> {
        self.check_running()?;
        let (inner, id, reason) = (self.inner.clone(), InstanceId::from_stored(id), reason.to_owned());
        joined(tokio::spawn(async move { inner.terminate_tree(id, &reason).await })).await
    }
}

impl Inner {
    /// Ends an instance. Whoever calls it lets it run to its end.
    pub(super) async fn terminate(
        self: &Arc<Self>,
        id: InstanceId,
        fence: Fence,
        reason: &str,
    ) -> Result<(), ClientError> {
        let end = End { fence, id: id.clone(), time: self.ambient.now(), reason: reason.to_owned() };
        match self.storage.end(end).await.inspect_err(|error| self.note(error))? {
            Ended::Done { instance, generation, delivered } => {
                delivered.into_iter().for_each(|delivered| self.put_delivered(delivered));
                info!(instance_id = %id, "orchestration terminated");
                self.end_from_outside(instance, generation);
                self.endings.tell(&id);
                Ok(())
            }
            Ended::Already(status) => Err(ClientError::Gone(status)),
            Ended::NotFound => Err(ClientError::NotFound(id.as_str().to_owned())),
        }
    }

    async fn terminate_tree(self: &Arc<Self>, id: InstanceId, reason: &str) -> Result<(), ClientError> {
        let gone = match self.terminate(id.clone(), Fence::default(), reason).await {
            Ok(()) => None,
            // Others of it may live: it was ended alone, or a host's end broke this off.
            Err(error @ ClientError::Gone(RuntimeStatus::Terminated)) => Some(error),
            Err(error) => return Err(error),
        };
        let mut waiting = self.left_children(&id).await?;
        let mut holding = Holding { held_back: &self.held_back, names: vec![] };
        let (mut ending, mut met, mut failed) = (FuturesUnordered::new(), 0, None);
        loop {
            while failed.is_none()
                && ending.len() < AT_ONCE
                && let Some(child) = waiting.pop()
            {
                ending.push(self.end_child(child, reason));
            }
            // Also after a failure those that have begun are let run to their ends.
            let Some(ended) = ending.next().await else { break };
            match ended {
                Ok(Some((name, children))) => {
                    met += 1;
                    if met > HOLD_BACK_AFTER {
                        holding.add(name);
                    }
                    waiting.extend(children);
                }
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
            if self.is_stopping() {
                failed.get_or_insert_with(|| ClientError::Unavailable("the host is going down".into()));
            }
        }
        if let Some(error) = &failed {
            warn!(
                instance_id = %id, %error,
                "not every sub-orchestration of an instance was terminated with it: terminate it with them once more"
            );
        }
        failed.or(gone).map_or(Ok(()), Err)
    }

    /// Ends a child; returns its orchestrator and what it leaves. None if it has ended, or another instance has its id.
    async fn end_child(
        self: &Arc<Self>,
        child: Left,
        reason: &str,
    ) -> Result<Option<(FunctionName, Vec<Left>)>, ClientError> {
        let snapshot = self.storage.snapshot(child.id.clone(), Want::default()).await;
        let Some(found) = snapshot.inspect_err(|error| self.note(error))? else { return Ok(None) };
        if found.started.parent.as_ref().is_none_or(|parent| parent.execution_id != child.parent.as_str()) {
            return Ok(None);
        }
        let creation = Creation { instance: found.instance, time: found.created };
        let fence = Fence { creation: Some(creation), ..Fence::default() };
        match self.terminate(child.id.clone(), fence, reason).await {
            Ok(()) | Err(ClientError::Gone(RuntimeStatus::Terminated)) => {
                let name = FunctionName::new(&found.started.name);
                Ok(Some((name, self.left_children(&child.id).await?)))
            }
            Err(ClientError::NotFound(_) | ClientError::Gone(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The sub-orchestrations for which an instance waited when it was terminated: it starts no others.
    async fn left_children(&self, id: &InstanceId) -> Result<Vec<Left>, ClientError> {
        let want = Want { input: false, history: true };
        let snapshot = self.storage.snapshot(id.clone(), want).await;
        let Some(snapshot) = snapshot.inspect_err(|error| self.note(error))? else { return Ok(vec![]) };
        if snapshot.summary.status != RuntimeStatus::Terminated {
            // It was started anew since.
            return Ok(vec![]);
        }
        let mut records = snapshot.history.unwrap_or_default();
        // A fold of its end has nothing open.
        records.pop();
        let folded = Instance::fold(snapshot.instance, snapshot.id, snapshot.generation, &records);
        let folded = folded.map_err(|error| StorageError::Corrupt(error.to_string()))?;
        let parent = &folded.execution().execution_id;
        let left = |id: String| Left { id: InstanceId::from_stored(&id), parent: parent.clone() };
        Ok(folded.open_children().map(left).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{Digest, ExecutionStarted, GenerationKey, InstanceKey, Json, ParentInstance, Timestamp};

    fn fresh(name: &str, has_parent: bool) -> Instance {
        let parent =
            ParentInstance { name: "P".into(), instance_id: "p".into(), execution_id: "of p".into(), sequence: 0 };
        let started = ExecutionStarted {
            name: name.into(),
            handler: name.into(),
            version: None,
            execution_id: ExecutionId("e".into()),
            component: Digest([0; 32]),
            contract: "1.0.0".into(),
            input: Json::null(),
            parent: has_parent.then_some(parent),
            tags: vec![],
            trace_context: None,
            scheduled_start: None,
        };
        let id = InstanceId::from_stored("i");
        Instance::started(InstanceKey(1), id, GenerationKey(2), Arc::new(started), Timestamp(0))
    }

    #[tokio::test]
    async fn what_is_held_back_begins_once_no_tree_holds_it() {
        let held_back = HeldBack::default();
        let holds = |names: &[&str]| {
            let mut holding = Holding { held_back: &held_back, names: vec![] };
            names.iter().for_each(|name| holding.add(FunctionName::new(name)));
            holding
        };
        let (one, other) = (holds(&["A", "a", "B"]), holds(&["A"]));
        let child = fresh("a", true);
        for (instance, is_held) in [(&child, true), (&fresh("C", true), false), (&fresh("A", false), false)] {
            assert_eq!(held_back.holds(instance), is_held);
        }
        let mut waits = Box::pin(held_back.may_begin(&child));
        assert!(futures::poll!(&mut waits).is_pending());
        drop(one);
        assert!(futures::poll!(&mut waits).is_pending(), "the other tree is not over");
        drop(other);
        assert!(futures::poll!(&mut waits).is_ready());
        assert!(!held_back.holds(&child) && held_back.lock().is_empty());
    }
}
