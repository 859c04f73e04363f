//! Timer functions: one call, a fresh guest for each firing.

use std::sync::Arc;

use super::{
    Callable, Wasm,
    console::Console,
    contract::{self, exports::timer_function, imports::types},
    cpu::Meter,
    fault::Fault,
    guest::{self, GuestState, Role},
};
use crate::{
    durable::{Failure, Timestamp},
    hub::TimerCall,
};

impl Wasm {
    /// Runs a timer function to its end, within `functionTimeout`. It takes a slot of the activities'.
    pub(super) async fn run_timer(&self, call: TimerCall) -> Result<(), Failure> {
        let Some(function) = self.deployment().timers.get(&call.name).cloned() else {
            let text = format!("timer function {:?} is not deployed", call.name.as_str());
            return Err(Failure { non_retriable: true, ..Failure::new("FunctionNotFound", text) });
        };
        let permit = Arc::clone(&self.activities).acquire_owned().await.expect("the semaphore is never closed");
        let console = Arc::new(Console::new(Arc::clone(&function.name), call.invocation_id.as_str().into()));
        let meter = Arc::new(Meter::new(self.cpu_limit));
        let role =
            Role::Effects { settings: self.settings.get(), client: function.client, urls: None, trace_context: None };
        let (shared, printed, metered) = (Arc::clone(&self.shared), Arc::clone(&console), Arc::clone(&meter));
        let (limits, timeout, name) = (self.call_limits, self.function_timeout, Arc::clone(&function.name));
        let run = self.run(meter, async move {
            let _permit = permit;
            let mut store = guest::store(&shared, printed, role, metered, limits);
            let fired = fire(&mut store, &function, &call).await;
            match fired.map_err(|error| Fault::of(&error, store.data()))? {
                Ok(()) => Ok(Ok(())),
                Err(failure) => contract::checked_failure(limits, "the timer function's failure", failure).map(Err),
            }
        });
        // Whoever gives the call up stops its guest.
        let outcome = match timeout {
            None => run.await,
            Some(timeout) => tokio::time::timeout(timeout, run)
                .await
                .unwrap_or_else(|_| Err(Fault::Timeout(Box::new(Failure::timed_out(&name, timeout))))),
        };
        match outcome {
            Ok(result) => {
                console.flush();
                result
            }
            Err(fault) => Err(guest::report(&console, fault)),
        }
    }
}

async fn fire(
    store: &mut wasmtime::Store<GuestState>,
    function: &Callable,
    call: &TimerCall,
) -> wasmtime::Result<Result<(), types::Failure>> {
    let component = &function.component;
    let instance = component.effects.instantiate_async(&mut *store).await?;
    let indices = component.timer_function.as_ref().expect("deploying checked that the interface is exported");
    let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis_f64);
    let context = timer_function::TimerContext {
        function_name: function.handler.clone(),
        invocation_id: call.invocation_id.clone(),
        scheduled: call.scheduled.as_millis_f64(),
        is_past_due: call.is_past_due,
        adjust_for_dst: call.adjust_for_dst,
        status: call.status.map(|status| timer_function::ScheduleStatus {
            last: millis(status.last),
            last_updated: millis(status.last_updated),
            next: millis(status.next),
        }),
        trace_context: None,
    };
    indices.load(&mut *store, &instance)?.call_fire(store, &context).await
}
