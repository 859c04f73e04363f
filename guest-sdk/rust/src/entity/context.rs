//! What an operation knows and may ask for.

use super::EntityId;
use crate::bindings::exports::soloist::functions::entity as wit;
use crate::failure::{Failure, Result};
use crate::guid;
use crate::json;
use crate::log::{self, Level};
use crate::orchestration::{FireAt, StartOptions};
use crate::time::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

/// An entity's way to the world, during one operation.
///
/// What an operation asks for (signals, starts) happens if and when it succeeds, in the same commit as its new state. An
/// operation that fails asks for nothing.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use soloist_sdk::prelude::*;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Door {
///     openings: u32,
/// }
///
/// #[entity]
/// impl Door {
///     fn open(&mut self, ctx: EntityContext) -> Result<()> {
///         self.openings += 1;
///         let total = EntityId::new("Total", "openings");
///         ctx.signal_entity(&total, "add", &1)
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct EntityContext {
    inner: Rc<RefCell<Inner>>,
}

/// What the operations of a batch share.
struct Inner {
    batch: wit::EntityContext,
    id: EntityId,
    guids_made: u32,
    operation: wit::Operation,
    /// The state as the operation left it so far; none if the entity does not exist.
    state: Option<Rc<str>>,
    actions: Vec<wit::EntityAction>,
    is_newly_constructed: bool,
    delete_on_exit: bool,
    /// What `set_result` set.
    result: Option<String>,
    /// Whether a struct keeps the state, so that nobody may change it behind the struct's back.
    state_is_a_struct: bool,
}

/// What a failed operation goes back to.
pub(super) struct Checkpoint {
    state: Option<Rc<str>>,
    actions: usize,
}

/// What is known.
impl EntityContext {
    /// The entity.
    pub fn id(&self) -> EntityId {
        self.inner.borrow().id.clone()
    }

    /// The entity's key.
    pub fn key(&self) -> String {
        self.inner.borrow().id.key().to_owned()
    }

    /// The operation's name, as the sender wrote it.
    pub fn operation_name(&self) -> String {
        self.inner.borrow().operation.name.clone()
    }

    /// True if the entity did not exist before this operation.
    pub fn is_newly_constructed(&self) -> bool {
        self.inner.borrow().is_newly_constructed
    }

    /// True if nobody waits for the result.
    pub fn is_signal(&self) -> bool {
        self.inner.borrow().operation.is_signal
    }

    /// The instance that sent the operation, where one did.
    pub fn caller(&self) -> Option<String> {
        self.inner.borrow().operation.caller.clone()
    }

    /// The entity's clock. It stands still during a batch of operations.
    pub fn current_time(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.borrow().batch.timestamp)
    }

    /// A new GUID; a repetition of the batch after a crash makes the same ones.
    pub fn new_guid(&self) -> String {
        let mut inner = self.inner.borrow_mut();
        let guid = guid::nth(&inner.batch.execution_id, inner.guids_made);
        inner.guids_made += 1;
        guid
    }

    /// Writes a line to the host's log.
    pub fn log(&self, level: Level, message: impl Display) {
        log::write(level, message);
    }
}

/// What may be asked for.
impl EntityContext {
    /// Sends another entity (or this one) an operation, without waiting.
    /// # Errors
    /// Kind `InvalidPayload` if the input cannot be written as JSON.
    pub fn signal_entity(&self, entity: &EntityId, operation: &str, input: &(impl Serialize + ?Sized)) -> Result<()> {
        self.signal(entity, operation, input, None)
    }

    /// Sends another entity (or this one) an operation, to be delivered at a [`Timestamp`] or after a
    /// [`std::time::Duration`].
    /// # Errors
    /// As [`Self::signal_entity`].
    pub fn signal_entity_at(
        &self,
        entity: &EntityId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
        time: impl Into<FireAt>,
    ) -> Result<()> {
        let time = time.into().counted_from(self.current_time());
        self.signal(entity, operation, input, Some(time))
    }

    /// Starts an orchestration, without waiting; returns its instance id. A start under an id that is taken has no effect.
    /// # Errors
    /// Kind `InvalidPayload` if the input cannot be written as JSON, `InvalidArgument` for options that only clients and
    /// orchestrators have: overridable states and tags.
    pub fn start_orchestration(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
        options: StartOptions,
    ) -> Result<String> {
        if options.overridable_states.is_some() || !options.tags.is_empty() {
            let message = format!("the start of '{name}' by an entity takes neither overridable states nor tags");
            return Err(Failure::new(message).with_kind("InvalidArgument").non_retriable());
        }
        let input = json::encode(input, || format!("the input of orchestration '{name}'"))?;
        let instance_id = options.instance_id.unwrap_or_else(|| self.new_guid().replace('-', ""));
        self.ask(wit::EntityAction::StartOrchestration(wit::EntityStart {
            name: name.to_owned(),
            instance_id: Some(instance_id.clone()),
            input,
            version: options.version,
            scheduled_start: options.scheduled_start.map(Timestamp::as_millis),
        }));
        Ok(instance_id)
    }

    /// Deletes the entity when this operation has succeeded. The next operation finds it newly constructed.
    pub fn delete_on_exit(&self) {
        self.inner.borrow_mut().delete_on_exit = true;
    }

    fn signal(
        &self,
        entity: &EntityId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
        scheduled: Option<Timestamp>,
    ) -> Result<()> {
        let input = json::encode(input, || format!("the input of operation '{operation}' of entity '{entity}'"))?;
        self.ask(wit::EntityAction::SignalEntity(wit::EntitySignal {
            entity: entity.to_wit(),
            operation: operation.to_owned(),
            input,
            scheduled: scheduled.map(Timestamp::as_millis),
        }));
        Ok(())
    }

    fn ask(&self, action: wit::EntityAction) {
        self.inner.borrow_mut().actions.push(action);
    }
}

/// For entities that are functions: state, input and result by hand. In the methods of a struct these are `self`, the
/// parameter and the return value.
impl EntityContext {
    /// The state; none if the entity does not exist.
    /// # Errors
    /// Kind `InvalidPayload` if it is not a `T`.
    pub fn get_state<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let (id, state) = (self.id(), self.state_text());
        state.map(|text| json::decode(&text, || format!("the state of entity '{id}'"))).transpose()
    }

    /// The state, or this value if the entity does not exist.
    /// # Errors
    /// As [`Self::get_state`].
    pub fn get_state_or<T: DeserializeOwned>(&self, default: T) -> Result<T> {
        Ok(self.get_state()?.unwrap_or(default))
    }

    /// Replaces the state. JSON's `null` deletes the entity, as in the original.
    /// # Errors
    /// Kind `InvalidPayload` if the value cannot be written as JSON; kind `InvalidOperation` in the methods of a struct.
    pub fn set_state(&self, state: &(impl Serialize + ?Sized)) -> Result<()> {
        if self.inner.borrow().state_is_a_struct {
            let message = format!("the state of entity '{}' is a struct: change `self`", self.id());
            return Err(Failure::new(message).with_kind("InvalidOperation").non_retriable());
        }
        self.write_state(state)
    }

    /// The operation's input; `null` if there is none.
    /// # Errors
    /// Kind `InvalidPayload` if it is not a `T`.
    pub fn get_input<T: DeserializeOwned>(&self) -> Result<T> {
        let (id, operation) = (self.id(), self.operation_name());
        let input = self.input_text();
        json::decode(&input, || format!("the input of operation '{operation}' of entity '{id}'"))
    }

    /// Sets the operation's result. It wins over what the function returns.
    /// # Errors
    /// Kind `InvalidPayload` if the value cannot be written as JSON.
    pub fn set_result(&self, result: &(impl Serialize + ?Sized)) -> Result<()> {
        let operation = self.operation_name();
        let result = json::encode(result, || format!("the result of operation '{operation}'"))?;
        self.inner.borrow_mut().result = Some(result);
        Ok(())
    }
}

/// For the batch.
impl EntityContext {
    pub(super) fn new(batch: wit::EntityContext, state: Option<String>) -> Self {
        let id = EntityId::from_wit(batch.id.clone());
        let operation = wit::Operation {
            name: String::new(),
            input: "null".into(),
            is_signal: true,
            caller: None,
            trace_context: None,
        };
        let inner = Inner {
            batch,
            id,
            guids_made: 0,
            operation,
            is_newly_constructed: state.is_none(),
            state: state.map(Into::into),
            actions: Vec::new(),
            delete_on_exit: false,
            result: None,
            state_is_a_struct: false,
        };
        Self { inner: Rc::new(RefCell::new(inner)) }
    }

    /// Turns to the next operation; returns what to go back to if it fails.
    pub(super) fn begin(&self, operation: wit::Operation) -> Checkpoint {
        let mut inner = self.inner.borrow_mut();
        inner.operation = operation;
        inner.is_newly_constructed = inner.state.is_none();
        inner.delete_on_exit = false;
        inner.result = None;
        Checkpoint { state: inner.state.clone(), actions: inner.actions.len() }
    }

    /// Ends an operation that succeeded; returns its result.
    pub(super) fn complete(&self, output: String) -> String {
        let mut inner = self.inner.borrow_mut();
        if inner.delete_on_exit {
            inner.state = None;
        }
        inner.result.take().unwrap_or(output)
    }

    /// Undoes an operation that failed.
    pub(super) fn roll_back(&self, checkpoint: Checkpoint) {
        let mut inner = self.inner.borrow_mut();
        inner.state = checkpoint.state;
        inner.actions.truncate(checkpoint.actions);
    }

    /// The state and the actions of the whole batch.
    pub(super) fn finish(&self) -> (Option<String>, Vec<wit::EntityAction>) {
        let mut inner = self.inner.borrow_mut();
        (inner.state.take().map(|state| (*state).to_owned()), std::mem::take(&mut inner.actions))
    }

    pub(super) fn keep_state_in_a_struct(&self) {
        self.inner.borrow_mut().state_is_a_struct = true;
    }

    pub(super) fn is_deleted_on_exit(&self) -> bool {
        self.inner.borrow().delete_on_exit
    }

    pub(super) fn state_text(&self) -> Option<Rc<str>> {
        self.inner.borrow().state.clone()
    }

    pub(super) fn input_text(&self) -> String {
        self.inner.borrow().operation.input.clone()
    }

    pub(super) fn write_state(&self, state: &(impl Serialize + ?Sized)) -> Result<()> {
        let id = self.id();
        let text = json::encode(state, || format!("the state of entity '{id}'"))?;
        self.inner.borrow_mut().state = (text != "null").then(|| text.into());
        Ok(())
    }
}
