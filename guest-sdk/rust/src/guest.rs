//! The component's exports: each finds the function that is meant and hands over.

use crate::activity::ActivityContext;
use crate::bindings::exports::soloist::functions::{activity, entity, http_function, orchestrator, timer_function};
use crate::bindings::soloist::functions::types::Failure as WitFailure;
use crate::entity::batch;
use crate::failure::Failure;
use crate::http::{HttpRequest, HttpResponse};
use crate::log;
use crate::orchestration::executor::Executor;
use crate::registry::{self, Kind, Run};
use crate::timer::TimerInfo;
use std::cell::RefCell;

thread_local! {
    /// The execution that this guest runs. A guest serves one, from its first turn to its last.
    static EXECUTOR: RefCell<Option<Executor>> = const { RefCell::new(None) };
}

/// Implements what `wit/` exports.
pub(crate) struct Component;

impl orchestrator::Guest for Component {
    fn turn(context: orchestrator::TurnContext, events: Vec<orchestrator::Event>) -> orchestrator::TurnResult {
        EXECUTOR
            .with_borrow_mut(|executor| executor.get_or_insert_with(|| Executor::new(&context)).turn(&context, events))
    }
}

impl activity::Guest for Component {
    fn invoke(context: activity::ActivityContext, input: String) -> Result<String, WitFailure> {
        match registry::find(Kind::Activity, &context.function_name).map(|function| function.run) {
            Ok(Run::Activity(run)) => run(ActivityContext::new(context), input).map_err(Failure::into_wit),
            Ok(_) => unreachable!("an activity was looked for"),
            Err(unknown) => Err(unknown.into_wit()),
        }
    }
}

impl http_function::Guest for Component {
    fn handle(request: http_function::Request) -> http_function::Response {
        let response = match registry::find(Kind::Http, &request.function_name).map(|function| function.run) {
            Ok(Run::Http(run)) => run(HttpRequest::new(request)),
            Ok(_) => unreachable!("an http trigger was looked for"),
            Err(unknown) => {
                log::error(&unknown);
                HttpResponse::new(500).text(unknown.message())
            }
        };
        response.into_wit()
    }
}

impl entity::Guest for Component {
    fn run(
        context: entity::EntityContext,
        state: Option<String>,
        operations: Vec<entity::Operation>,
    ) -> entity::BatchResult {
        match registry::find(Kind::Entity, &context.function_name).map(|function| function.run) {
            Ok(Run::Entity(make)) => batch::run(&mut *make(), context, state, operations),
            Ok(_) => unreachable!("an entity was looked for"),
            Err(unknown) => {
                let failure = unknown.into_wit();
                let results = operations.iter().map(|_| entity::OperationResult::Failed(failure.clone())).collect();
                entity::BatchResult { results, state, actions: Vec::new() }
            }
        }
    }
}

impl timer_function::Guest for Component {
    fn fire(context: timer_function::TimerContext) -> Result<(), WitFailure> {
        match registry::find(Kind::Timer, &context.function_name).map(|function| function.run) {
            Ok(Run::Timer(run)) => run(TimerInfo::new(context)).map_err(Failure::into_wit),
            Ok(_) => unreachable!("a timer trigger was looked for"),
            Err(unknown) => Err(unknown.into_wit()),
        }
    }
}
