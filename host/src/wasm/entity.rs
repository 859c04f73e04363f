//! Entities: one call per batch of operations, a fresh guest for each. What it returns follows from the call alone: its clock
//! and its entropy are the call's.

use std::sync::Arc;

use super::{
    Callable, Wasm,
    console::Console,
    contract::{self, exports::entity, imports::types, payload},
    cpu::Meter,
    fault::Fault,
    guest::{self, GuestLimits, GuestState, Role},
    wasi::Replayable,
};
use crate::{
    durable::{EntityAction, EntityOperation, EntityRan, EntityStart},
    hub::{EntityCall, GuestError},
};

impl Wasm {
    /// Runs a batch of operations.
    pub(super) async fn run_entity(&self, call: EntityCall) -> Result<EntityRan, GuestError> {
        let Some(function) = self.deployment().entities.get(&call.name).cloned() else {
            return Err(GuestError::Unavailable(format!("no entity function {} is deployed", call.name)));
        };
        let permit = Arc::clone(&self.entities).acquire_owned().await.expect("the semaphore is never closed");
        let instance_id = call.entity.instance_id();
        let console = Arc::new(Console::new(Arc::clone(&function.name), instance_id.as_str().into()));
        let meter = Arc::new(Meter::new(self.cpu_limit));
        let mut world = Replayable::new(&call.execution_id);
        world.now_micros = call.time.0.unsigned_abs();
        let (shared, printed, metered) = (Arc::clone(&self.shared), Arc::clone(&console), Arc::clone(&meter));
        let limits = self.call_limits;
        let outcome = self
            .run(meter, async move {
                let _permit = permit;
                let mut store = guest::store(&shared, printed, Role::Deterministic(world), metered, limits);
                let ran = invoke(&mut store, &function, &call).await;
                ran_from_guest(limits, ran.map_err(|error| Fault::of(&error, store.data()))?)
            })
            .await;
        match outcome {
            Ok(ran) => {
                console.flush();
                Ok(ran)
            }
            Err(Fault::Unavailable(why)) => Err(GuestError::Unavailable(why)),
            Err(fault) => Err(GuestError::Code(guest::report(&console, fault))),
        }
    }
}

async fn invoke(
    store: &mut wasmtime::Store<GuestState>,
    function: &Callable,
    call: &EntityCall,
) -> wasmtime::Result<entity::BatchResult> {
    let component = &function.component;
    let instance = component.deterministic.instantiate_async(&mut *store).await?;
    let indices = component.entity.as_ref().expect("deploying checked that the interface is exported");
    let context = entity::EntityContext {
        function_name: function.handler.clone(),
        id: types::EntityId { name: call.entity.name().to_owned(), key: call.entity.key().to_owned() },
        timestamp: call.time.as_millis_f64(),
        execution_id: call.execution_id.clone(),
    };
    let state = call.state.as_ref().map(|state| state.as_str().to_owned());
    let operations: Vec<_> = call.operations.iter().map(operation_to_guest).collect();
    indices.load(&mut *store, &instance)?.call_run(store, &context, state.as_ref(), &operations).await
}

fn operation_to_guest(operation: &EntityOperation) -> entity::Operation {
    entity::Operation {
        name: operation.name.clone(),
        input: operation.input.as_str().to_owned(),
        is_signal: operation.reply.is_none(),
        caller: operation.sender.as_ref().map(|sender| sender.instance_id.as_str().to_owned()),
        trace_context: operation.trace_context.as_ref().map(contract::trace_to_guest),
    }
}

fn ran_from_guest(limits: GuestLimits, ran: entity::BatchResult) -> Result<EntityRan, Fault> {
    let results = ran.results.into_iter().map(|result| match result {
        entity::OperationResult::Completed(result) => payload(limits, "an operation's result", result).map(Ok),
        entity::OperationResult::Failed(failure) => {
            contract::checked_failure(limits, "an operation's failure", failure).map(Err)
        }
    });
    Ok(EntityRan {
        results: results.collect::<Result<_, _>>()?,
        state: ran.state.map(|state| payload(limits, "the entity's state", state)).transpose()?,
        actions: ran.actions.into_iter().map(|action| action_from_guest(limits, action)).collect::<Result<_, _>>()?,
    })
}

fn action_from_guest(limits: GuestLimits, action: entity::EntityAction) -> Result<EntityAction, Fault> {
    match action {
        entity::EntityAction::SignalEntity(signal) => Ok(EntityAction::Signal {
            entity: contract::entity_from_guest(&signal.entity)?,
            input: payload(limits, &format!("the input of operation {:?}", signal.operation), signal.input)?,
            scheduled: contract::signal_time(&signal.operation, signal.scheduled)?,
            operation: signal.operation,
        }),
        entity::EntityAction::StartOrchestration(start) => Ok(EntityAction::Start(EntityStart {
            input: payload(limits, &format!("the input of orchestration {:?}", start.name), start.input)?,
            scheduled_start: start
                .scheduled_start
                .map(|at| contract::checked_time(&format!("the start of {:?}", start.name), at))
                .transpose()?,
            name: start.name,
            instance_id: start.instance_id.filter(|id| !id.is_empty()),
            version: start.version,
        })),
    }
}
