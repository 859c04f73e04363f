//! What callers outside of orchestrations may ask about entities.

use super::{ClientError, Hub, joined};
use crate::{
    durable::{EntityId, EntityOperation, InboxMessage, Json, Timestamp, TraceContext},
    storage::{EntityQuery, EntitySnapshot, Fence, Put, PutMessage},
};

/// A signal to an entity.
#[derive(Clone, Debug)]
pub struct SignalEntity {
    /// The receiver.
    pub entity: EntityId,
    /// The operation.
    pub operation: String,
    /// Its input.
    pub input: Json,
    /// Not before this time.
    pub scheduled: Option<Timestamp>,
    /// The trace that it belongs to.
    pub trace_context: Option<TraceContext>,
}

/// An entity, as seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityStatus {
    /// Its id.
    pub id: EntityId,
    /// Its state, if asked for.
    pub state: Option<Json>,
    /// When its last operation ended.
    pub last_operation: Timestamp,
}

/// A query over entities.
#[derive(Clone, Debug, Default)]
pub struct EntityStatusQuery {
    /// Of this name only, without regard to case.
    pub name: Option<String>,
    /// Their last operations ended at this time or later.
    pub last_operation_from: Option<Timestamp>,
    /// Their last operations ended at this time or earlier.
    pub last_operation_to: Option<Timestamp>,
    /// At most this many; none is 100.
    pub top: Option<usize>,
    /// Where the page before ended.
    pub continuation: Option<String>,
    /// With states.
    pub state: bool,
}

/// A page of entities.
#[derive(Clone, Debug)]
pub struct EntityStatusPage {
    /// The entities.
    pub entities: Vec<EntityStatus>,
    /// Where the next page begins; none on the last.
    pub continuation: Option<String>,
}

impl Hub {
    /// Sends an entity an operation. Returns once it is durable: it runs exactly once, after every operation for the entity
    /// that was acknowledged before (a scheduled one: when its time has come).
    ///
    /// # Errors
    /// [`ClientError::UnknownFunction`] if no such entity function is deployed; storage's.
    pub async fn signal_entity(&self, signal: SignalEntity) -> Result<(), ClientError> {
        self.check_running()?;
        let inner = self.inner.clone();
        if !inner.knows_entity(&signal.entity) {
            return Err(ClientError::UnknownFunction(inner.unknown_entity(&signal.entity.function())));
        }
        let SignalEntity { entity, operation, input, scheduled, trace_context } = signal;
        let operation = EntityOperation {
            id: inner.ambient.fresh_id(),
            name: operation,
            input,
            sender: None,
            reply: None,
            // What is due needs no wait, and keeps its place among the others.
            scheduled: scheduled.filter(|at| *at > inner.ambient.now()),
            trace_context,
        };
        let body = InboxMessage::EntityOperation(Box::new(operation));
        let put = PutMessage { fence: Fence::default(), id: entity.instance_id(), body: body.clone() };
        // Not on the caller's task: what is durable must run although its caller has gone.
        let task = tokio::spawn(async move {
            match inner.storage.put_message(put).await.inspect_err(|error| inner.note(error))? {
                Put::Accepted { instance, number, .. } => {
                    if inner.deliver(instance, |state| state.put_inbox(number, body)) {
                        inner.spawn_worker(instance);
                    }
                    Ok(())
                }
                Put::Ended(_) | Put::NotFound => {
                    Err(ClientError::Unavailable(format!("storage refused a message for entity {entity}")))
                }
            }
        });
        joined(task).await
    }

    /// Reads an entity's latest committed state; `None` if it has none.
    ///
    /// # Errors
    /// Storage's.
    pub async fn read_entity(&self, id: &EntityId) -> Result<Option<EntityStatus>, ClientError> {
        let read = self.inner.storage.entity(id.clone()).await.inspect_err(|error| self.inner.note(error))?;
        Ok(read.map(|snapshot| seen(snapshot, true)))
    }

    /// Lists entities that have a state, in the order of their ids.
    ///
    /// # Errors
    /// [`ClientError::InvalidArgument`] for a continuation that this host did not make; storage's.
    pub async fn list_entities(&self, query: EntityStatusQuery) -> Result<EntityStatusPage, ClientError> {
        let after = query.continuation.as_deref().filter(|token| !token.is_empty()).map(entity_of).transpose()?;
        let state = query.state;
        let request = EntityQuery {
            name: query.name.map(|name| name.to_ascii_lowercase()),
            last_operation_from: query.last_operation_from,
            last_operation_to: query.last_operation_to,
            after,
            limit: query.top.unwrap_or(100).clamp(1, 1000),
            state,
        };
        let page = self.inner.storage.entities(request).await.inspect_err(|error| self.inner.note(error))?;
        Ok(EntityStatusPage {
            entities: page.entities.into_iter().map(|snapshot| seen(snapshot, state)).collect(),
            continuation: page.next.as_ref().map(token),
        })
    }
}

fn seen(snapshot: EntitySnapshot, with_state: bool) -> EntityStatus {
    let EntitySnapshot { id, record } = snapshot;
    EntityStatus { id, state: record.state.filter(|_| with_state), last_operation: record.last_operation }
}

/// A continuation: the last entity's id in hexadecimal digits, as it must fit into a header.
fn token(last: &EntityId) -> String {
    last.to_string().bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn entity_of(token: &str) -> Result<EntityId, ClientError> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = token.as_bytes().chunks(2).map(byte).collect();
    let id =
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(|id| crate::durable::InstanceId::from_stored(&id));
    id.and_then(|id| EntityId::of_instance(&id))
        .ok_or_else(|| ClientError::InvalidArgument(format!("{token:?} is not a continuation token of this host")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_names_the_last_entity() {
        let id = EntityId::parse("Counter", "kü@x").unwrap();
        assert_eq!(entity_of(&token(&id)).unwrap(), id);
        for strange in ["zz", "4", "6162"] {
            assert!(entity_of(strange).is_err(), "{strange}");
        }
    }
}
