//! A task hub for functions that have a durable client.

use crate::bindings::soloist::functions::durable_client as wit;
use crate::bindings::soloist::functions::types::EntityId as WitEntityId;
use crate::client::{ClientError, DurableClient, RuntimeStatus};
use crate::entity::EntityId;
use crate::time::Timestamp;
use serde::Serialize;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

thread_local! {
    /// The hub of the test that runs on this thread.
    static HUB: RefCell<Option<Hub>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Hub {
    live: BTreeSet<String>,
    entities: BTreeMap<EntityId, String>,
    calls: Vec<ClientCall>,
}

/// What a function asked its durable client for. Inputs are JSON text.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientCall {
    /// A start that was accepted.
    StartNew {
        /// The orchestrator function.
        name: String,
        /// The instance id, if the function gave one.
        instance_id: Option<String>,
        /// The input.
        input: String,
    },
    /// An external event.
    RaiseEvent {
        /// The receiving instance.
        instance_id: String,
        /// The event's name.
        name: String,
        /// The payload.
        input: String,
    },
    /// An entity's operation.
    SignalEntity {
        /// The entity.
        entity: EntityId,
        /// The operation.
        operation: String,
        /// The operation's input.
        input: String,
        /// When it is to be delivered, if not at once.
        scheduled: Option<Timestamp>,
    },
}

/// A task hub in memory, for native tests of functions that have a [`DurableClient`]: it answers starts, events, signals,
/// reads of entities and management URLs, and notes what it was asked. Other calls are refused.
///
/// It serves the thread that made it, until it is dropped.
///
/// ```
/// use soloist_sdk::prelude::*;
/// use soloist_sdk::testing::{ClientCall, TestHub};
///
/// #[timer_trigger]
/// fn nightly(client: DurableClient) -> Result<()> {
///     client.start_new("Sync", &7, StartOptions::new().with_instance_id("nightly"))?.or_conflict()?;
///     Ok(())
/// }
///
/// # fn main() {
/// let hub = TestHub::new();
/// nightly(hub.client()).unwrap();
/// nightly(hub.client()).unwrap_err(); // the first is live
/// let start = ClientCall::StartNew { name: "Sync".into(), instance_id: Some("nightly".into()), input: "7".into() };
/// assert_eq!(hub.take_calls(), [start]);
/// # }
/// ```
pub struct TestHub {
    _this_thread: std::marker::PhantomData<*const ()>,
}

impl TestHub {
    /// An empty hub. It takes the place of one that this thread had.
    #[allow(clippy::new_without_default)] // it is no mere value: it serves the thread
    pub fn new() -> Self {
        HUB.set(Some(Hub::default()));
        Self { _this_thread: std::marker::PhantomData }
    }

    /// The same hub with a live instance.
    pub fn with_instance(self, instance_id: &str) -> Self {
        change(|hub| hub.live.insert(instance_id.to_owned()));
        self
    }

    /// The same hub with an entity in this state.
    pub fn with_entity(self, entity: &EntityId, state: &(impl Serialize + ?Sized)) -> Self {
        change(|hub| hub.entities.insert(entity.clone(), super::text(state)));
        self
    }

    /// A client of this hub.
    pub fn client(&self) -> DurableClient {
        DurableClient::new()
    }

    /// What was asked for since the last time, in order. Starts that were refused and reads are left out.
    pub fn take_calls(&self) -> Vec<ClientCall> {
        change(|hub| std::mem::take(&mut hub.calls)).unwrap_or_default()
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        HUB.set(None);
    }
}

fn change<T>(change: impl FnOnce(&mut Hub) -> T) -> Option<T> {
    HUB.with_borrow_mut(|hub| hub.as_mut().map(change))
}

// What the client's imports are outside of the host. `None`: there is no hub.

pub(crate) fn start_new(request: &wit::StartRequest) -> Option<Result<wit::StartOutcome, ClientError>> {
    change(|hub| {
        let instance_id = request.instance_id.clone().unwrap_or_else(|| format!("test-instance-{}", hub.calls.len()));
        if !hub.live.insert(instance_id.clone()) {
            let existing = wit::Existing { instance_id, status: RuntimeStatus::Running };
            return Ok(wit::StartOutcome::AlreadyExists(existing));
        }
        let (name, input) = (request.name.clone(), request.input.clone());
        hub.calls.push(ClientCall::StartNew { name, instance_id: request.instance_id.clone(), input });
        let execution_id = format!("{instance_id}-execution");
        Ok(wit::StartOutcome::Started(wit::Started { instance_id, execution_id }))
    })
}

pub(crate) fn raise_event(instance_id: &str, name: &str, input: &str) -> Option<Result<(), ClientError>> {
    change(|hub| {
        let (instance_id, name, input) = (instance_id.to_owned(), name.to_owned(), input.to_owned());
        if !hub.live.contains(&instance_id) {
            return Err(ClientError::NotFound { instance_id });
        }
        hub.calls.push(ClientCall::RaiseEvent { instance_id, name, input });
        Ok(())
    })
}

pub(crate) fn signal_entity(
    entity: &WitEntityId,
    operation: &str,
    input: &str,
    scheduled: Option<f64>,
) -> Option<Result<(), ClientError>> {
    change(|hub| {
        let entity = EntityId::from_wit(entity.clone());
        let (operation, input) = (operation.to_owned(), input.to_owned());
        let scheduled = scheduled.map(Timestamp::from_millis);
        hub.calls.push(ClientCall::SignalEntity { entity, operation, input, scheduled });
        Ok(())
    })
}

pub(crate) fn read_entity(entity: &WitEntityId) -> Option<Result<Option<wit::EntityState>, ClientError>> {
    change(|hub| {
        let state = hub.entities.get(&EntityId::from_wit(entity.clone())).cloned();
        Ok(state.map(|state| wit::EntityState { state, last_operation_time: super::BEGIN }))
    })
}

pub(crate) fn management_urls(instance_id: &str) -> Option<Result<wit::InstanceUrls, ClientError>> {
    let url = |tail: &str| format!("http://localhost/runtime/webhooks/durabletask/instances/{instance_id}{tail}");
    change(|_hub| {
        Ok(wit::InstanceUrls {
            id: instance_id.to_owned(),
            status_query_get_uri: url(""),
            send_event_post_uri: url("/raiseEvent/{eventName}"),
            terminate_post_uri: url("/terminate?reason={text}"),
            rewind_post_uri: url("/rewind?reason={text}"),
            purge_history_delete_uri: url(""),
            restart_post_uri: url("/restart"),
            suspend_post_uri: url("/suspend?reason={text}"),
            resume_post_uri: url("/resume?reason={text}"),
        })
    })
}
