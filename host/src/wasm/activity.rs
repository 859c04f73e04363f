//! Activities: one call, a fresh guest for each.

use std::sync::Arc;

use super::{
    Callable, Wasm,
    console::Console,
    contract::{self, exports::activity},
    cpu::Meter,
    fault::Fault,
    guest::{self, GuestState, Role},
};
use crate::{
    durable::{Failure, FunctionName, Json},
    hub::ActivityCall,
};

impl Wasm {
    /// Runs an activity to its end.
    pub(super) async fn run_activity(&self, call: ActivityCall) -> Result<Json, Failure> {
        let deployment = self.deployment();
        let Some(function) = deployment.activities.get(&call.name).cloned() else {
            return Err(Failure::new("FunctionNotFound", unknown_activity(&call.name, deployment.activities.keys())));
        };
        let permit = Arc::clone(&self.activities).acquire_owned().await.expect("the semaphore is never closed");
        let console = Arc::new(Console::new(Arc::clone(&function.name), call.instance_id.as_str().into()));
        let meter = Arc::new(Meter::new(self.cpu_limit));
        let role = Role::Effects {
            settings: self.settings.get(),
            client: function.client,
            urls: None,
            trace_context: call.trace_context.clone(),
        };
        let (shared, printed, metered) = (Arc::clone(&self.shared), Arc::clone(&console), Arc::clone(&meter));
        let limits = self.call_limits;
        let outcome = self
            .run(meter, async move {
                let _permit = permit;
                let mut store = guest::store(&shared, printed, role, metered, limits);
                let invoked = invoke(&mut store, &function, &call).await;
                match invoked.map_err(|error| Fault::of(&error, store.data()))? {
                    Ok(output) => contract::payload(limits, "the activity's result", output).map(Ok),
                    Err(failure) => contract::checked_failure(limits, "the activity's failure", failure).map(Err),
                }
            })
            .await;
        match outcome {
            Ok(result) => {
                console.flush();
                result
            }
            Err(fault) => Err(guest::report(&console, fault)),
        }
    }
}

async fn invoke(
    store: &mut wasmtime::Store<GuestState>,
    function: &Callable,
    call: &ActivityCall,
) -> wasmtime::Result<Result<String, contract::imports::types::Failure>> {
    let component = &function.component;
    let instance = component.effects.instantiate_async(&mut *store).await?;
    let indices = component.activity.as_ref().expect("deploying checked that the interface is exported");
    let context = activity::ActivityContext {
        function_name: function.handler.clone(),
        instance_id: call.instance_id.as_str().to_owned(),
        execution_id: call.execution_id.as_str().to_owned(),
        sequence: call.sequence,
        attempt: call.attempt,
        idempotency_key: format!("{}:{}:{}", call.execution_id, call.sequence, call.attempt),
        deadline: call.deadline.map(crate::durable::Timestamp::as_millis_f64),
        tags: contract::tags_to_guest(&call.tags),
        trace_context: call.trace_context.as_ref().map(contract::trace_to_guest),
    };
    let input = call.input.as_str().to_owned();
    indices.load(&mut *store, &instance)?.call_invoke(store, &context, &input).await
}

/// Durable Functions' text for an activity that does not exist.
fn unknown_activity<'a>(name: &FunctionName, known: impl Iterator<Item = &'a FunctionName>) -> String {
    let known: Vec<String> = known.map(|name| format!("'{name}'")).collect();
    let known = if known.is_empty() {
        "No activity functions are currently registered!".to_owned()
    } else {
        format!("The following are the known activity functions: {}.", known.join(", "))
    };
    format!(
        "The function '{name}' doesn't exist, is disabled, or is not an activity function. Additional info: {known}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_activity_is_told_which_ones_there_are() {
        let (a, b) = (FunctionName::new("A"), FunctionName::new("B"));
        assert_eq!(
            unknown_activity(&FunctionName::new("X"), [&a, &b].into_iter()),
            "The function 'X' doesn't exist, is disabled, or is not an activity function. Additional info: The following \
             are the known activity functions: 'A', 'B'."
        );
        assert!(unknown_activity(&a, std::iter::empty()).ends_with("No activity functions are currently registered!"));
    }
}
