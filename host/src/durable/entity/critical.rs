//! Critical sections of an orchestration, and their rules. The texts are Durable Functions' own.

use super::EntityId;
use crate::durable::{Failure, LocksRequested, Sequence};

/// The kind of the failures by which the rules of critical sections are enforced.
pub const LOCKING_RULES: &str = "LockingRulesViolation";

/// A critical section of an execution: requested, and from the grant to the unlock entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The `lock-entities` action.
    pub sequence: Sequence,
    /// What is locked, ascending, each once.
    pub entities: Vec<EntityId>,
    /// All locks are held.
    pub granted: bool,
}

impl Section {
    /// A section that was asked for: ordered and without repetitions.
    pub fn ordered(entities: &[EntityId]) -> Vec<EntityId> {
        let mut entities = entities.to_vec();
        entities.sort();
        entities.dedup();
        entities
    }

    /// The code asks for locks. An execution has one section at most: while it has one, another request is refused.
    pub(in crate::durable) fn request(section: &mut Option<Self>, locks: &LocksRequested) {
        let LocksRequested { sequence, entities } = locks;
        section.get_or_insert_with(|| Self { sequence: *sequence, entities: entities.clone(), granted: false });
    }

    /// All locks of the action are held.
    pub(in crate::durable) fn grant(section: &mut Option<Self>, sequence: Sequence) {
        if let Some(section) = section.as_mut().filter(|section| section.sequence == sequence) {
            section.granted = true;
        }
    }

    /// The action's locks are given up, cannot be had, or are released. Returns the section if it was this one.
    pub(in crate::durable) fn end(section: &mut Option<Self>, sequence: Sequence) -> Option<Self> {
        section.take_if(|section| section.sequence == sequence)
    }
}

fn violation(text: &str) -> Failure {
    Failure { non_retriable: true, ..Failure::new(LOCKING_RULES, text) }
}

/// Why an execution may not ask for locks now.
pub(in crate::durable) fn refused_lock(section: Option<&Section>) -> Option<Failure> {
    section.map(|_| violation("Cannot acquire more locks when already holding some locks."))
}

/// Why it may not call this entity now.
pub(in crate::durable) fn refused_call(section: Option<&Section>, entity: &EntityId) -> Option<Failure> {
    let section = section.filter(|section| section.granted)?;
    (!section.entities.contains(entity)).then(|| {
        violation("Cannot call an entity from within a critical section unless it is one of the locked entities.")
    })
}

/// Why it may not signal this entity now.
pub(in crate::durable) fn refused_signal(section: Option<&Section>, entity: &EntityId) -> Option<Failure> {
    let section = section.filter(|section| section.granted)?;
    section.entities.contains(entity).then(|| {
        violation("Cannot signal an entity from within a critical section if the entity is one of the locked entities.")
    })
}

/// Why it may not call a sub-orchestration now.
pub(in crate::durable) fn refused_child(section: Option<&Section>) -> Option<Failure> {
    section
        .filter(|section| section.granted)
        .map(|_| violation("Cannot invoke sub-orchestrations from within a critical section."))
}
