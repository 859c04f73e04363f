//! Entities that are structs: an operation is a method.

use super::EntityContext;
use super::batch::Entity;
use crate::failure::{Failure, Result};
use crate::registry::is_similar;
use serde::{Serialize, de::DeserializeOwned};

/// A method, with the code that turns the operation's input into its parameters and its result into JSON.
pub struct Operation<S> {
    /// The method's name.
    pub name: &'static str,
    /// What runs it.
    pub method: Method<S>,
}

/// What runs a method.
pub enum Method<S> {
    /// Of `&self`: the state stays as it is.
    Read(fn(&S, EntityContext) -> Result<String>),
    /// Of `&mut self`.
    Write(fn(&mut S, EntityContext) -> Result<String>),
}

/// A struct as an entity.
pub struct Methods<S: 'static> {
    operations: &'static [Operation<S>],
    /// The state of an entity that does not exist yet.
    init: fn(EntityContext) -> Result<S>,
    /// The state as of the last operation that succeeded, so that a batch reads it once.
    state: Option<S>,
}

impl<S> Methods<S> {
    /// Of these operations.
    pub fn new(operations: &'static [Operation<S>], init: fn(EntityContext) -> Result<S>) -> Self {
        Self { operations, init, state: None }
    }

    fn unknown(&self, ctx: &EntityContext) -> Failure {
        let mut names: Vec<&str> = self.operations.iter().map(|operation| operation.name).chain(["delete"]).collect();
        names.sort_unstable();
        names.dedup();
        let (id, wanted) = (ctx.id(), ctx.operation_name());
        let message = format!("entity '{}' has no operation '{wanted}'; it has: '{}'", id.name(), names.join("', '"));
        Failure::new(message).with_kind("UnknownOperation").non_retriable()
    }
}

impl<S: Serialize + DeserializeOwned> Entity for Methods<S> {
    fn run(&mut self, ctx: &EntityContext) -> Result<String> {
        ctx.keep_state_in_a_struct();
        // Taken out: after a failure or a panic it is read anew from what the context goes back to.
        let kept = self.state.take();
        let wanted = ctx.operation_name();
        let Some(operation) = self.operations.iter().find(|operation| is_similar(operation.name, &wanted)) else {
            if is_similar(&wanted, "delete") {
                ctx.delete_on_exit();
                return Ok("null".into());
            }
            return Err(self.unknown(ctx));
        };
        let mut state = match kept {
            Some(state) => state,
            None => match ctx.get_state()? {
                Some(state) => state,
                None => (self.init)(ctx.clone())?,
            },
        };
        let output = match operation.method {
            Method::Read(method) => method(&state, ctx.clone())?,
            Method::Write(method) => {
                let output = method(&mut state, ctx.clone())?;
                ctx.write_state(&state)?;
                output
            }
        };
        if !ctx.is_deleted_on_exit() && ctx.state_text().is_some() {
            self.state = Some(state);
        }
        Ok(output)
    }
}
