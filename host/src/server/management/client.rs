//! The management API's port to the hub.

use futures::future::BoxFuture;

use crate::durable::{EntityId, Json};
use crate::hub::{
    ClientError, EntityStatus, EntityStatusPage, EntityStatusQuery, Hub, OrchestrationStatus, PurgeFilter, Restarted,
    SignalEntity, StartNew, StartOutcome, StatusPage, StatusQuery, StatusWant, Target,
};

/// What the management API asks of the hub. Implemented by [`Hub`]; tests script it.
///
/// Every method does what [`Hub`]'s method of the same name does. Dropping a future does not undo what it asked for.
pub trait DurableClient: Send + Sync + 'static {
    /// [`Hub::start_new`].
    fn start_new(&self, start: StartNew) -> BoxFuture<'_, Result<StartOutcome, ClientError>>;
    /// [`Hub::status`].
    fn status<'a>(
        &'a self,
        id: &'a str,
        want: StatusWant,
    ) -> BoxFuture<'a, Result<Option<OrchestrationStatus>, ClientError>>;
    /// [`Hub::wait_for_end`].
    fn wait_for_end<'a>(
        &'a self,
        id: &'a str,
        want: StatusWant,
    ) -> BoxFuture<'a, Result<Option<OrchestrationStatus>, ClientError>>;
    /// [`Hub::list`].
    fn list(&self, query: StatusQuery) -> BoxFuture<'_, Result<StatusPage, ClientError>>;
    /// [`Hub::raise_event`].
    fn raise_event<'a>(
        &'a self,
        target: Target<'a>,
        name: &'a str,
        input: Json,
    ) -> BoxFuture<'a, Result<(), ClientError>>;
    /// [`Hub::terminate`].
    fn terminate<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>>;
    /// [`Hub::suspend`].
    fn suspend<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>>;
    /// [`Hub::resume`].
    fn resume<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>>;
    /// [`Hub::rewind`].
    fn rewind<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>>;
    /// [`Hub::restart`].
    fn restart<'a>(&'a self, target: Target<'a>, with_new_id: bool) -> BoxFuture<'a, Result<Restarted, ClientError>>;
    /// [`Hub::purge`].
    fn purge<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<(), ClientError>>;
    /// [`Hub::purge_by`].
    fn purge_by(&self, filter: PurgeFilter) -> BoxFuture<'_, Result<u64, ClientError>>;
    /// [`Hub::signal_entity`].
    fn signal_entity(&self, signal: SignalEntity) -> BoxFuture<'_, Result<(), ClientError>>;
    /// [`Hub::read_entity`].
    fn read_entity(&self, id: EntityId) -> BoxFuture<'_, Result<Option<EntityStatus>, ClientError>>;
    /// [`Hub::list_entities`].
    fn list_entities(&self, query: EntityStatusQuery) -> BoxFuture<'_, Result<EntityStatusPage, ClientError>>;
}

impl DurableClient for Hub {
    fn signal_entity(&self, signal: SignalEntity) -> BoxFuture<'_, Result<(), ClientError>> {
        Box::pin(Hub::signal_entity(self, signal))
    }

    fn read_entity(&self, id: EntityId) -> BoxFuture<'_, Result<Option<EntityStatus>, ClientError>> {
        Box::pin(async move { Hub::read_entity(self, &id).await })
    }

    fn list_entities(&self, query: EntityStatusQuery) -> BoxFuture<'_, Result<EntityStatusPage, ClientError>> {
        Box::pin(Hub::list_entities(self, query))
    }

    fn start_new(&self, start: StartNew) -> BoxFuture<'_, Result<StartOutcome, ClientError>> {
        Box::pin(Hub::start_new(self, start))
    }

    fn status<'a>(
        &'a self,
        id: &'a str,
        want: StatusWant,
    ) -> BoxFuture<'a, Result<Option<OrchestrationStatus>, ClientError>> {
        Box::pin(Hub::status(self, id, want))
    }

    fn wait_for_end<'a>(
        &'a self,
        id: &'a str,
        want: StatusWant,
    ) -> BoxFuture<'a, Result<Option<OrchestrationStatus>, ClientError>> {
        Box::pin(Hub::wait_for_end(self, id, want))
    }

    fn list(&self, query: StatusQuery) -> BoxFuture<'_, Result<StatusPage, ClientError>> {
        Box::pin(Hub::list(self, query))
    }

    fn raise_event<'a>(
        &'a self,
        target: Target<'a>,
        name: &'a str,
        input: Json,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(Hub::raise_event(self, target, name, input))
    }

    fn terminate<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(Hub::terminate(self, target, reason))
    }

    fn suspend<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(Hub::suspend(self, target, reason))
    }

    fn resume<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(Hub::resume(self, target, reason))
    }

    fn rewind<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(Hub::rewind(self, target, reason))
    }

    fn restart<'a>(&'a self, target: Target<'a>, with_new_id: bool) -> BoxFuture<'a, Result<Restarted, ClientError>> {
        Box::pin(Hub::restart(self, target, with_new_id))
    }

    fn purge<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(Hub::purge(self, target))
    }

    fn purge_by(&self, filter: PurgeFilter) -> BoxFuture<'_, Result<u64, ClientError>> {
        Box::pin(Hub::purge_by(self, filter))
    }
}
