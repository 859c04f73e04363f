//! What an execution knows and has asked for: everything but its code and its future.

use super::mailbox::Mailbox;
use super::section::Section;
use crate::bindings::exports::soloist::functions::orchestrator::{
    Action, Cancel, Consumed, ExecutionStarted, HttpCompleted, LockEntities, UnlockEntities,
};
use crate::entity::EntityId;
use crate::failure::{Failure, Result};
use crate::guid;
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::task::{Poll, Waker};

/// What is known about the execution from its start on.
pub(super) struct Facts {
    pub instance_id: String,
    pub execution_id: String,
    pub started: ExecutionStarted,
}

/// What kind of answer a numbered action gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Activity,
    SubOrchestration,
    DetachedStart,
    Timer,
    EntityCall,
    Lock,
    Http,
}

/// What a numbered action is answered with.
pub(super) enum Reply {
    /// A payload.
    Json(String),
    /// The response to a durable HTTP call.
    Http(Box<HttpCompleted>),
}

impl Reply {
    /// The payload of any answer but that of a durable HTTP call.
    pub fn into_json(self) -> String {
        match self {
            Self::Json(text) => text,
            Self::Http(_) => unreachable!("answers are checked for their kind"),
        }
    }
}

/// A numbered action whose answer the code still holds a future for.
struct OpenTask {
    kind: Kind,
    answer: Option<Result<Reply>>,
    /// Set by the last poll that found no answer.
    waker: Option<Waker>,
}

/// The state of one execution.
///
/// Invariants: numbers are given in the order in which the code makes its actions, without gaps; after the end nothing is
/// recorded any more; a task is in `tasks` exactly as long as its future lives and has not returned its answer.
pub(super) struct State {
    pub facts: Facts,
    /// The orchestrator's clock: the present turn's time.
    pub now: Timestamp,
    /// Whether the present call hands over events that an earlier guest has seen.
    pub replaying: bool,
    /// How many leading numbered actions and cancels the host does not want to see.
    pub skip_actions: u32,
    pub mailbox: Mailbox,
    pub section: Section,
    next_sequence: u32,
    /// How many numbered actions and cancels were made.
    compared_actions: u32,
    ended: bool,
    actions: Vec<Action>,
    tasks: BTreeMap<u32, OpenTask>,
    guids_made: u32,
}

impl State {
    pub fn new(facts: Facts, now: Timestamp) -> Self {
        Self {
            facts,
            now,
            replaying: false,
            skip_actions: 0,
            mailbox: Mailbox::default(),
            section: Section::default(),
            next_sequence: 0,
            compared_actions: 0,
            ended: false,
            actions: Vec::new(),
            tasks: BTreeMap::new(),
            guids_made: 0,
        }
    }

    /// Records an action that takes a number and is answered later; returns the number.
    pub fn open_task(&mut self, kind: Kind, action: impl FnOnce(u32) -> Action) -> u32 {
        let sequence = self.record_numbered(action);
        self.tasks.insert(sequence, OpenTask { kind, answer: None, waker: None });
        sequence
    }

    /// Records an action that takes a number, and that nobody waits for; returns the number.
    pub fn record_numbered(&mut self, action: impl FnOnce(u32) -> Action) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.record_compared(action(sequence));
        sequence
    }

    /// Records the call of an entity, if the critical section allows it; returns its number.
    /// # Errors
    /// Kind `LockingRulesViolation`.
    pub fn call_entity(&mut self, entity: &EntityId, action: impl FnOnce(u32) -> Action) -> Result<u32> {
        self.section.check_call(entity)?;
        let sequence = self.open_task(Kind::EntityCall, action);
        self.section.call_begins(sequence, entity);
        Ok(sequence)
    }

    /// Records the request for locks; returns its number.
    /// # Errors
    /// Kind `LockingRulesViolation` inside of another critical section.
    pub fn lock_entities(&mut self, entities: BTreeSet<EntityId>) -> Result<u32> {
        self.section.check_lock(&entities)?;
        let named = entities.iter().map(EntityId::to_wit).collect();
        let lock =
            self.open_task(Kind::Lock, |sequence| Action::LockEntities(LockEntities { sequence, entities: named }));
        self.section.request(lock, entities);
        Ok(lock)
    }

    /// Gives up the locks of this action, which were granted.
    pub fn unlock_entities(&mut self, lock: u32) {
        if self.section.leave(lock) {
            self.record_numbered(|sequence| Action::UnlockEntities(UnlockEntities { sequence, lock }));
        }
    }

    /// Records an action that takes no number and is no cancel.
    pub fn record(&mut self, action: Action) {
        if !self.ended {
            self.actions.push(action);
        }
    }

    fn record_compared(&mut self, action: Action) {
        if self.ended {
            return;
        }
        self.compared_actions += 1;
        if self.compared_actions > self.skip_actions {
            self.actions.push(action);
        }
    }

    /// Takes in the answer to an action; returns whom to wake.
    ///
    /// An answer to a task that was given up is dropped: it may have been under way already.
    /// # Errors
    /// If the code never made this action, or made one of another kind: then this history is not of this code.
    pub fn answer(&mut self, sequence: u32, kind: Kind, answer: Result<Reply>) -> Result<Option<Waker>> {
        if sequence >= self.next_sequence {
            let message = format!(
                "the history answers action {sequence}, which this code never made; it made {}",
                self.next_sequence
            );
            return Err(Failure::new(message).with_kind("NonDeterminism"));
        }
        let Some(task) = self.tasks.get_mut(&sequence) else {
            return Ok(None);
        };
        if task.kind != kind {
            let message =
                format!("the history answers action {sequence} as {kind:?}, but this code made it {:?}", task.kind);
            return Err(Failure::new(message).with_kind("NonDeterminism"));
        }
        if task.answer.is_none() {
            task.answer = Some(answer);
            self.section.call_ends(sequence);
        }
        Ok(task.waker.take())
    }

    /// The answer to a task, which closes it; or remembers whom to wake.
    pub fn poll_task(&mut self, sequence: u32, waker: &Waker) -> Poll<Result<Reply>> {
        let task = self.tasks.get_mut(&sequence).expect("a task stays open until its future has returned the answer");
        match task.answer.take() {
            Some(answer) => {
                let closed = self.tasks.remove(&sequence);
                match (closed.map(|task| task.kind), &answer) {
                    (Some(Kind::Lock), Ok(_granted)) => self.section.enter(),
                    (Some(Kind::Lock), Err(_)) => drop(self.section.leave(sequence)),
                    _ => {}
                }
                Poll::Ready(answer)
            }
            None => {
                // The waker of this very poll: `join_all` of many tasks polls only what was woken by its own wakers.
                task.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Closes a task whose future was dropped: without an answer it is cancelled. A detached start goes on by itself.
    pub fn drop_task(&mut self, sequence: u32) {
        let Some(task) = self.tasks.remove(&sequence) else {
            return;
        };
        self.section.call_ends(sequence);
        match (task.kind, task.answer) {
            (Kind::DetachedStart, _) => {}
            // Granted, but the code has not seen it: nobody else will release these locks.
            (Kind::Lock, Some(Ok(_))) => self.unlock_entities(sequence),
            (kind, answer) => {
                if kind == Kind::Lock {
                    self.section.leave(sequence);
                }
                if answer.is_none() {
                    self.record_compared(Action::Cancel(Cancel { sequence }));
                }
            }
        }
    }

    /// Tells the host that the code received this external event.
    pub fn consume(&mut self, message: u32) {
        self.record(Action::Consumed(Consumed { message }));
    }

    /// True if an event that may still come would wake the code.
    pub fn has_listeners(&self) -> bool {
        self.tasks.values().any(|task| task.waker.is_some()) || self.mailbox.has_listeners()
    }

    /// Ends the execution: the outcome settles whatever is open, so nothing is recorded from here on.
    pub fn end(&mut self) {
        self.ended = true;
    }

    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The next GUID: version 5, from the execution id and a counter, so that every replay makes the same ones.
    pub fn new_guid(&mut self) -> String {
        let guid = guid::nth(&self.facts.execution_id, self.guids_made);
        self.guids_made += 1;
        guid
    }
}
