//! Entities, seen from outside.

use super::{ClientError, DurableClient, encode, hub};
use crate::entity::EntityId;
use crate::json;
use crate::time::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// An entity's state, as of its last operation.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityState<T> {
    /// The state.
    pub state: T,
    /// When the last operation ended.
    pub last_operation_time: Timestamp,
}

/// Entities.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[http_trigger]
/// fn count(req: HttpRequest, client: DurableClient) -> HttpResult {
///     let counter = EntityId::new("Counter", req.required_param("key")?);
///     client.signal_entity(&counter, "add", &1)?; // will be done, later
///     let before = client.read_entity::<i64>(&counter)?.map_or(0, |entity| entity.state);
///     Ok(HttpResponse::ok().text(before.to_string()))
/// }
/// ```
impl DurableClient {
    /// Sends an entity an operation. Once this returns `Ok` the operation will be done, exactly once; its result is told
    /// nobody. Operations that one sender sends one after the other are done in that order.
    /// # Errors
    /// [`ClientError::UnknownFunction`] for the entity's name, [`ClientError::InvalidArgument`] for an illegal key.
    pub fn signal_entity(
        &self,
        entity: &EntityId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
    ) -> Result<(), ClientError> {
        hub::signal_entity(&entity.to_wit(), operation, &encode(input)?, None)
    }

    /// Sends an entity an operation, to be delivered at this time.
    /// # Errors
    /// As [`Self::signal_entity`].
    pub fn signal_entity_at(
        &self,
        entity: &EntityId,
        operation: &str,
        input: &(impl Serialize + ?Sized),
        time: Timestamp,
    ) -> Result<(), ClientError> {
        hub::signal_entity(&entity.to_wit(), operation, &encode(input)?, Some(time.as_millis()))
    }

    /// Reads an entity's state as of its last operation that is durable; none if it does not exist.
    /// # Errors
    /// [`ClientError::UnreadableState`] if the state is not a `T`.
    pub fn read_entity<T: DeserializeOwned>(&self, entity: &EntityId) -> Result<Option<EntityState<T>>, ClientError> {
        let Some(read) = hub::read_entity(&entity.to_wit())? else {
            return Ok(None);
        };
        let state = json::decode(&read.state, || format!("the state of entity '{entity}'"))
            .map_err(|failure| ClientError::UnreadableState(failure.to_string()))?;
        Ok(Some(EntityState { state, last_operation_time: Timestamp::from_millis(read.last_operation_time) }))
    }
}
