//! Runs the operations of a batch, and rolls back those that fail.

use super::EntityContext;
use crate::bindings::exports::soloist::functions::entity as wit;
use crate::failure::{Failure, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An entity's code, for one batch.
pub trait Entity {
    /// Runs the context's operation; returns its result as JSON text. After an `Err`, or a panic, the context's state is
    /// that before the operation: nothing may be kept that says otherwise.
    /// # Errors
    /// If the operation fails.
    fn run(&mut self, ctx: &EntityContext) -> Result<String>;
}

/// Runs the operations, in order. One that fails or panics is rolled back, and the others go on.
///
/// A panic ends a guest on wasm, where nothing catches it: then it is the host that finds out which operation it was. It is
/// caught here for native tests.
pub(crate) fn run(
    entity: &mut dyn Entity,
    context: wit::EntityContext,
    state: Option<String>,
    operations: Vec<wit::Operation>,
) -> wit::BatchResult {
    let ctx = EntityContext::new(context, state);
    let mut results = Vec::with_capacity(operations.len());
    for operation in operations {
        let checkpoint = ctx.begin(operation);
        let ended = catch_unwind(AssertUnwindSafe(|| entity.run(&ctx))).unwrap_or_else(|panic| Err(panicked(&*panic)));
        results.push(match ended {
            Ok(output) => wit::OperationResult::Completed(ctx.complete(output)),
            Err(failure) => {
                ctx.roll_back(checkpoint);
                wit::OperationResult::Failed(failure.into_wit())
            }
        });
    }
    let (state, actions) = ctx.finish();
    wit::BatchResult { results, state, actions }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    Failure::new(message.unwrap_or("the operation panicked")).with_kind("Panic")
}
