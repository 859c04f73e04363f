//! Entities: state under a name and a key, with operations that run one after the other.
//!
//! The host hands over a batch of operations and the state before it; the guest runs them in order and returns their
//! results, the state after the last one, and what they asked for. An operation that fails leaves no trace but its failure.
//!
//! - [`id`]: names of entities
//! - [`context`]: what an operation knows and may ask for
//! - [`batch`]: runs the operations of a batch, and rolls back those that fail
//! - [`methods`]: entities that are structs; [`function`]: entities that are functions

pub(crate) mod batch;
mod context;
pub(crate) mod function;
mod id;
pub(crate) mod methods;
#[cfg(test)]
mod tests;

pub use context::EntityContext;
pub use id::EntityId;
