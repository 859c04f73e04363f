//! Entities, from orchestrations: calls, signals and critical sections.

use super::context::OrchestrationContext;
use super::options::FireAt;
use super::task::{Answer, Shared, Task};
use crate::bindings::exports::soloist::functions::orchestrator as wit;
use crate::entity::EntityId;
use crate::failure::{Failure, Result};
use crate::json;
use crate::time::Timestamp;
use futures_core::FusedFuture;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Entities.
impl OrchestrationContext {
    /// An entity to call or to signal. Making this does nothing yet.
    ///
    /// ```
    /// use soloist_sdk::prelude::*;
    ///
    /// #[orchestrator]
    /// async fn vote(ctx: OrchestrationContext, topic: String) -> Result<i64> {
    ///     let counter = ctx.entity("Counter", topic);
    ///     counter.signal("add", &1)?;
    ///     counter.call("get", &()).await
    /// }
    /// ```
    pub fn entity(&self, name: &str, key: impl Into<String>) -> Entity {
        Entity { ctx: self.clone(), id: EntityId::new(name, key) }
    }

    /// Calls an operation of an entity; `.await` gives its result.
    /// # Errors
    /// The task fails with the operation's failure, with kind `InvalidPayload` if the input or the result does not fit, and
    /// with kind `LockingRulesViolation` if a [critical section](Self::lock) forbids the call.
    pub fn call_entity<T: DeserializeOwned>(
        &self,
        entity: &EntityId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
    ) -> Task<T> {
        let name = format!("{entity}.{operation}");
        let input = json::encode(input, || format!("the input of '{name}'"));
        let called = input.and_then(|input| {
            self.state.borrow_mut().call_entity(entity, |sequence| {
                wit::Action::CallEntity(wit::CallEntity {
                    sequence,
                    entity: entity.to_wit(),
                    operation: operation.to_owned(),
                    input,
                })
            })
        });
        match called {
            Ok(sequence) => Task::open(self.state.clone(), sequence, &name),
            Err(failure) => Task::refused(failure),
        }
    }

    /// Sends an entity an operation and does not wait for it. Once the turn is durable, it will be done exactly once.
    /// # Errors
    /// Kind `InvalidPayload` if the input cannot be written as JSON, kind `LockingRulesViolation` if this execution has
    /// locked the entity.
    pub fn signal_entity(&self, entity: &EntityId, operation: &str, input: &(impl Serialize + ?Sized)) -> Result<()> {
        self.signal(entity, operation, input, None)
    }

    /// Sends an entity an operation, to be delivered at a [`Timestamp`] or after a [`std::time::Duration`].
    /// # Errors
    /// As [`Self::signal_entity`].
    pub fn signal_entity_at(
        &self,
        entity: &EntityId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
        time: impl Into<FireAt>,
    ) -> Result<()> {
        self.signal(entity, operation, input, Some(time.into().counted_from(self.current_time())))
    }

    fn signal(
        &self,
        entity: &EntityId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
        scheduled: Option<Timestamp>,
    ) -> Result<()> {
        let input = json::encode(input, || format!("the input of '{entity}.{operation}'"))?;
        let mut state = self.state.borrow_mut();
        state.section.check_signal(entity)?;
        state.record_numbered(|sequence| {
            wit::Action::SignalEntity(wit::SignalEntity {
                sequence,
                entity: entity.to_wit(),
                operation: operation.to_owned(),
                input,
                scheduled: scheduled.map(Timestamp::as_millis),
            })
        });
        Ok(())
    }

    /// Waits for the locks of these entities; `.await` gives a guard. While it lives no one else's operation runs on them.
    ///
    /// Locks are taken in one order by everybody, so that no two orchestrations wait for each other. They are released when
    /// the guard is dropped or [unlocked](CriticalSection::unlock), and at the latest when the execution ends, however it
    /// ends. Dropping what this returns before it is ready takes the request back.
    ///
    /// While locks are held or waited for:
    /// - no more locks may be asked for, and no sub-orchestration called;
    /// - of entities only locked ones may be called, each by one call at a time, and they may not be signalled. Others may be
    ///   signalled, but not called.
    ///
    /// ```
    /// use soloist_sdk::prelude::*;
    ///
    /// #[orchestrator]
    /// async fn transfer(ctx: OrchestrationContext, (from, to, amount): (String, String, i64)) -> Result<bool> {
    ///     let (from, to) = (ctx.entity("Account", from), ctx.entity("Account", to));
    ///     let section = ctx.lock([&from, &to]).await?;
    ///     if from.call::<i64>("get", &()).await? < amount {
    ///         return Ok(false);
    ///     }
    ///     from.call::<i64>("add", &-amount).await?;
    ///     to.call::<i64>("add", &amount).await?;
    ///     section.unlock();
    ///     Ok(true)
    /// }
    /// ```
    /// # Errors
    /// The request fails with kind `LockingRulesViolation` inside of another critical section, and with the host's failure
    /// if the locks cannot be had, for example because there is no such entity function.
    pub fn lock(&self, entities: impl IntoIterator<Item: Into<EntityId>>) -> LockRequest {
        let entities: BTreeSet<EntityId> = entities.into_iter().map(Into::into).collect();
        let requested = self.state.borrow_mut().lock_entities(entities.clone());
        let stage = match requested {
            Ok(lock) => {
                let state = self.state.clone();
                Stage::Open { answer: Answer::open(state.clone(), lock), state, lock, entities }
            }
            Err(failure) => Stage::Refused(failure),
        };
        LockRequest { stage: Some(stage) }
    }

    /// True inside of a critical section: while locks are held.
    pub fn is_locked(&self) -> bool {
        self.state.borrow().section.is_inside()
    }
}

/// An entity, as an orchestration sees it: [`OrchestrationContext::entity`].
#[derive(Clone)]
pub struct Entity {
    ctx: OrchestrationContext,
    id: EntityId,
}

impl Entity {
    /// Its name and key.
    pub fn id(&self) -> &EntityId {
        &self.id
    }

    /// Calls an operation; `.await` gives its result.
    /// # Errors
    /// As [`OrchestrationContext::call_entity`].
    pub fn call<T: DeserializeOwned>(&self, operation: &str, input: &(impl Serialize + ?Sized)) -> Task<T> {
        self.ctx.call_entity(&self.id, operation, input)
    }

    /// Sends an operation and does not wait for it.
    /// # Errors
    /// As [`OrchestrationContext::signal_entity`].
    pub fn signal(&self, operation: &str, input: &(impl Serialize + ?Sized)) -> Result<()> {
        self.ctx.signal_entity(&self.id, operation, input)
    }

    /// Sends an operation, to be delivered at a [`Timestamp`] or after a [`std::time::Duration`].
    /// # Errors
    /// As [`OrchestrationContext::signal_entity`].
    pub fn signal_at(&self, operation: &str, input: &(impl Serialize + ?Sized), time: impl Into<FireAt>) -> Result<()> {
        self.ctx.signal_entity_at(&self.id, operation, input, time)
    }
}

impl From<&Entity> for EntityId {
    fn from(entity: &Entity) -> Self {
        entity.id.clone()
    }
}

impl From<&EntityId> for EntityId {
    fn from(id: &EntityId) -> Self {
        id.clone()
    }
}

/// The wait for locks. Its output is a `Result<CriticalSection>`.
#[must_use = "a request for locks that is dropped is taken back: await it"]
pub struct LockRequest {
    /// None once it has returned.
    stage: Option<Stage>,
}

enum Stage {
    Refused(Failure),
    Open { answer: Answer, state: Shared, lock: u32, entities: BTreeSet<EntityId> },
}

impl Future for LockRequest {
    type Output = Result<CriticalSection>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let stage = self.stage.as_mut().expect("a request for locks is not polled after it has returned");
        if let Stage::Open { answer, .. } = stage {
            match answer.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(failure)) => *stage = Stage::Refused(failure),
                Poll::Ready(Ok(_null)) => {}
            }
        }
        Poll::Ready(match self.stage.take().expect("it was there just now") {
            Stage::Refused(failure) => Err(failure),
            Stage::Open { state, lock, entities, .. } => {
                Ok(CriticalSection { state, lock, entities: entities.into_iter().collect() })
            }
        })
    }
}

impl FusedFuture for LockRequest {
    fn is_terminated(&self) -> bool {
        self.stage.is_none()
    }
}

/// The locks of some entities. Dropping it releases them.
#[must_use = "locks are released when this is dropped: keep it as long as they are needed"]
pub struct CriticalSection {
    state: Shared,
    lock: u32,
    entities: Vec<EntityId>,
}

impl CriticalSection {
    /// The entities that are locked, in order and without repetitions.
    pub fn entities(&self) -> &[EntityId] {
        &self.entities
    }

    /// Releases the locks, as dropping it does.
    pub fn unlock(self) {}
}

impl Drop for CriticalSection {
    fn drop(&mut self) {
        self.state.borrow_mut().unlock_entities(self.lock);
    }
}
