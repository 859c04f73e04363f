//! Entities without a host.

use super::text;
pub use crate::bindings::exports::soloist::functions::entity::{EntityAction, EntitySignal, EntityStart};
use crate::bindings::exports::soloist::functions::entity::{EntityContext, Operation, OperationResult};
use crate::entity::{EntityId, batch};
use crate::failure::{Failure, Result};
use crate::json::Json;
use crate::registry::{self, Kind, Run};
use crate::time::{Timestamp, millis};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// An entity that a test sends operations.
///
/// What its operations ask for (signals, starts) is kept for the test to look at, and not done.
///
/// ```
/// use soloist_sdk::prelude::*;
/// use soloist_sdk::testing::EntityScript;
///
/// #[entity]
/// fn greeter(ctx: EntityContext, name: String) -> Result<String> {
///     ctx.set_state(&name)?;
///     Ok(format!("Hello {name}!"))
/// }
///
/// # fn main() {
/// let mut greeter = EntityScript::new("Greeter", "front door");
/// assert_eq!(greeter.call::<String>("greet", "Tokyo").unwrap(), "Hello Tokyo!");
/// assert_eq!(greeter.state::<String>().unwrap(), "Tokyo");
/// # }
/// ```
///
/// Its methods panic if the JSON does not fit, which is what a test wants.
pub struct EntityScript {
    function: String,
    id: EntityId,
    state: Option<String>,
    actions: Vec<EntityAction>,
    now: Timestamp,
    batches: u32,
}

impl EntityScript {
    /// An entity that does not exist yet, at 2026-01-01T00:00:00Z.
    pub fn new(function: &str, key: &str) -> Self {
        Self {
            function: function.to_owned(),
            id: EntityId::new(function, key),
            state: None,
            actions: Vec::new(),
            now: Timestamp::from_millis(super::BEGIN),
            batches: 0,
        }
    }

    /// The same entity in this state.
    pub fn with_state(mut self, state: &(impl Serialize + ?Sized)) -> Self {
        self.state = Some(text(state));
        self
    }

    /// Calls an operation, as orchestrations do.
    /// # Errors
    /// The operation's failure.
    pub fn call<T: DeserializeOwned>(&mut self, operation: &str, input: &(impl Serialize + ?Sized)) -> Result<T> {
        let operation =
            Operation { is_signal: false, caller: Some("test-instance".into()), ..signal(operation, input) };
        let result = self.run(vec![operation]).swap_remove(0)?;
        Ok(result.decode().expect("the operation's result is of the asked type"))
    }

    /// Signals an operation.
    /// # Errors
    /// The operation's failure, which outside of tests nobody is told.
    pub fn signal(&mut self, operation: &str, input: &(impl Serialize + ?Sized)) -> Result<()> {
        self.run(vec![signal(operation, input)]).swap_remove(0).map(drop)
    }

    /// Signals several operations, as pairs of name and input, in one batch: how the host hands over what has come together.
    pub fn batch<'a>(&mut self, operations: impl IntoIterator<Item = (&'a str, Json)>) -> Vec<Result<Json>> {
        self.run(operations.into_iter().map(|(operation, input)| signal(operation, &input)).collect())
    }

    /// Lets time pass.
    pub fn pass(&mut self, duration: Duration) -> &mut Self {
        self.now = Timestamp::from_millis(self.now.as_millis() + millis(duration));
        self
    }

    /// The state; none if the entity does not exist.
    pub fn state<T: DeserializeOwned>(&self) -> Option<T> {
        let state = self.state.as_deref()?;
        Some(serde_json::from_str(state).expect("the state is of the asked type"))
    }

    /// The state as JSON text; none if the entity does not exist.
    pub fn state_text(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// What the operations have asked for since the last time.
    pub fn take_actions(&mut self) -> Vec<EntityAction> {
        std::mem::take(&mut self.actions)
    }

    fn run(&mut self, operations: Vec<Operation>) -> Vec<Result<Json>> {
        let Run::Entity(make) = registry::find(Kind::Entity, &self.function).unwrap_or_else(|e| panic!("{e}")).run
        else {
            unreachable!("an entity was looked for")
        };
        self.batches += 1;
        let context = EntityContext {
            function_name: self.function.clone(),
            id: self.id.to_wit(),
            timestamp: self.now.as_millis(),
            execution_id: format!("test-batch-{}", self.batches),
        };
        let mut result = batch::run(&mut *make(), context, self.state.take(), operations);
        self.state = result.state;
        self.actions.append(&mut result.actions);
        let results = result.results.into_iter().map(|result| match result {
            OperationResult::Completed(output) => Ok(Json::from_text(&output).expect("the SDK writes JSON")),
            OperationResult::Failed(failure) => Err(Failure::from_wit(failure)),
        });
        results.collect()
    }
}

fn signal(name: &str, input: &(impl Serialize + ?Sized)) -> Operation {
    Operation { name: name.to_owned(), input: text(input), is_signal: true, caller: None, trace_context: None }
}
