//! Entities that are functions: one for all operations, whatever their names.

use super::EntityContext;
use super::batch::Entity;
use crate::failure::Result;

/// Runs one operation of a function that is an entity.
pub struct Function(pub fn(EntityContext) -> Result<String>);

impl Entity for Function {
    fn run(&mut self, ctx: &EntityContext) -> Result<String> {
        (self.0)(ctx.clone())
    }
}
