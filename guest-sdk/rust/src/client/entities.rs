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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ClientCall, TestHub};

    #[test]
    fn signals_and_reads_name_the_entity() {
        let id = EntityId::new("Counter", "a");
        let hub = TestHub::new().with_entity(&id, &5);
        let client = hub.client();
        client.signal_entity_at(&id, "add", &[1], Timestamp::from_millis(7.0)).unwrap();
        let signal = ClientCall::SignalEntity {
            entity: id.clone(),
            operation: "add".into(),
            input: "[1]".into(),
            scheduled: Some(Timestamp::from_millis(7.0)),
        };
        assert_eq!(hub.take_calls(), [signal]);
        assert_eq!(client.read_entity::<u8>(&EntityId::new("counter", "a")).unwrap().unwrap().state, 5);
        assert_eq!(client.read_entity::<u8>(&EntityId::new("Counter", "A")).unwrap(), None);
    }

    #[test]
    fn a_state_of_another_type_is_the_codes_fault() {
        let id = EntityId::new("Counter", "a");
        let hub = TestHub::new().with_entity(&id, "five");
        let error = hub.client().read_entity::<u8>(&id).unwrap_err();
        assert!(error.to_string().starts_with("the state of entity '@counter@a' cannot be read: "), "{error}");
        assert_eq!(crate::http::HttpError::from(error).response().status(), 500);
    }

    #[test]
    fn without_a_hub_every_call_is_refused() {
        let client = TestHub::new().client(); // the hub is gone at the end of this line
        assert!(matches!(client.signal_entity(&EntityId::new("a", "b"), "c", &1), Err(ClientError::NotSupported(_))));
    }
}
