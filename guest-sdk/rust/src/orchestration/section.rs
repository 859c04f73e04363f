//! Critical sections: what the code may do while it holds locks, or waits for them.
//!
//! The rules keep orchestrations from waiting for each other for ever, and entities from being changed by others while they
//! are locked. The texts are those of the original's JavaScript SDK.

use crate::entity::EntityId;
use crate::failure::{Failure, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Where an execution stands. It is in one critical section at most.
#[derive(Default)]
pub(super) enum Section {
    /// In none.
    #[default]
    Outside,
    /// Asked for locks that it has not got yet.
    Requested(Locks),
    /// Holds the locks.
    Inside(Locks),
}

/// The locks of one section.
pub(super) struct Locks {
    /// The number of the `lock-entities` action.
    lock: u32,
    entities: BTreeSet<EntityId>,
    /// Calls of locked entities that are not answered, by their numbers.
    calls: BTreeMap<u32, EntityId>,
}

impl Section {
    /// The code asked for locks.
    pub fn request(&mut self, lock: u32, entities: BTreeSet<EntityId>) {
        *self = Self::Requested(Locks { lock, entities, calls: BTreeMap::new() });
    }

    /// The code has received the locks that it asked for.
    pub fn enter(&mut self) {
        if let Self::Requested(locks) = std::mem::take(self) {
            *self = Self::Inside(locks);
        }
    }

    /// The locks of this action are held or waited for no longer. True if they were.
    pub fn leave(&mut self, lock: u32) -> bool {
        let is_this = self.locks().is_some_and(|locks| locks.lock == lock);
        if is_this {
            *self = Self::Outside;
        }
        is_this
    }

    /// The code called an entity.
    pub fn call_begins(&mut self, sequence: u32, entity: &EntityId) {
        if let Self::Inside(locks) = self {
            locks.calls.insert(sequence, entity.clone());
        }
    }

    /// The call was answered or given up.
    pub fn call_ends(&mut self, sequence: u32) {
        if let Self::Inside(locks) = self {
            locks.calls.remove(&sequence);
        }
    }

    /// True if locks are held.
    pub fn is_inside(&self) -> bool {
        matches!(self, Self::Inside(_))
    }

    /// # Errors
    /// If these locks must not be asked for now.
    pub fn check_lock(&self, entities: &BTreeSet<EntityId>) -> Result<()> {
        if entities.is_empty() {
            let message = "the list of entities to lock must not be empty";
            return Err(Failure::new(message).with_kind("InvalidArgument").non_retriable());
        }
        match self {
            Self::Outside => Ok(()),
            Self::Requested(_) | Self::Inside(_) => {
                Err(violation("Cannot acquire more locks when already holding some locks."))
            }
        }
    }

    /// # Errors
    /// If no sub-orchestration may be called now.
    pub fn check_sub_orchestration(&self) -> Result<()> {
        match self {
            Self::Outside => Ok(()),
            Self::Requested(_) | Self::Inside(_) => {
                Err(violation("Cannot invoke sub-orchestrations from within a critical section."))
            }
        }
    }

    /// # Errors
    /// If this entity must not be called now.
    pub fn check_call(&self, entity: &EntityId) -> Result<()> {
        match self {
            Self::Outside => Ok(()),
            Self::Requested(_) => {
                Err(violation("Must await the completion of the lock request prior to calling any entity."))
            }
            Self::Inside(locks) if !locks.entities.contains(entity) => Err(violation(
                "Cannot call an entity from within a critical section unless it is one of the locked entities.",
            )),
            Self::Inside(locks) if locks.calls.values().any(|called| called == entity) => {
                Err(violation("Cannot call the same entity multiple times in parallel within a critical section."))
            }
            Self::Inside(_) => Ok(()),
        }
    }

    /// # Errors
    /// If this entity must not be signalled now.
    pub fn check_signal(&self, entity: &EntityId) -> Result<()> {
        match self.locks() {
            Some(locks) if locks.entities.contains(entity) => Err(violation(
                "Cannot signal an entity from within a critical section if the entity is one of the locked entities.",
            )),
            _ => Ok(()),
        }
    }

    fn locks(&self) -> Option<&Locks> {
        match self {
            Self::Outside => None,
            Self::Requested(locks) | Self::Inside(locks) => Some(locks),
        }
    }
}

fn violation(message: &str) -> Failure {
    Failure::new(message).with_kind("LockingRulesViolation").non_retriable()
}
