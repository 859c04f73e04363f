//! Orchestrators and entities without a host: feed events, look at the actions.
//!
//! ```
//! use soloist_sdk::prelude::*;
//! use soloist_sdk::testing::Script;
//!
//! #[orchestrator]
//! async fn greet(ctx: OrchestrationContext, name: String) -> Result<String> {
//!     ctx.call_activity("SayHello", &name).await
//! }
//!
//! # fn main() {
//! let mut script = Script::start("greet", &"Tokyo");
//! assert_eq!(script.take_tasks(), [(0, "SayHello".into(), "\"Tokyo\"".into())]);
//! script.complete(0, &"Hello Tokyo!");
//! assert_eq!(script.output::<String>(), "Hello Tokyo!");
//! # }
//! ```
//!
//! Or let the script answer by itself: [`Script::run`]. Entities: [`EntityScript`]. Functions with a durable client: [`TestHub`].

mod entity;
// Only native tests have a use for it.
#[cfg_attr(target_arch = "wasm32", allow(dead_code))]
pub(crate) mod hub;

pub use crate::bindings::exports::soloist::functions::orchestrator::{
    Action, CallEntity, CallHttp, Cancel, Completed, Consumed, ContinueAsNew, CreateSubOrchestration, CreateTimer,
    Event, EventRaised, ExecutionStarted, Failed, HttpCompleted, HttpRetryPolicy, LockEntities, Outcome,
    ParentInstance, ScheduleTask, SendEvent, SignalEntity, StartOrchestration, TimerFired, TurnContext, TurnResult,
    TurnStarted, UnlockEntities, WaitForEvent,
};
pub use entity::{EntityAction, EntityScript, EntitySignal, EntityStart};
pub use hub::{ClientCall, TestHub};

use crate::entity::EntityId;
use crate::failure::Failure;
use crate::json::Json;
use crate::orchestration::DurableHttpResponse;
use crate::orchestration::executor::Executor;
use crate::time::{Timestamp, millis};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::VecDeque;
use std::time::Duration;

/// When tests begin: 2026-01-01T00:00:00Z.
pub(crate) const BEGIN: f64 = 1_767_225_600_000.0;

/// An orchestration that a test plays the host for.
///
/// Its methods panic if the JSON does not fit, which is what a test wants.
pub struct Script {
    context: TurnContext,
    executor: Executor,
    now: Timestamp,
    events: Vec<Event>,
    actions: Vec<Action>,
    /// Index of the first action that no `take_…` has returned.
    taken: usize,
    outcome: Outcome,
    messages: u32,
}

impl Script {
    /// Starts an orchestrator by its name, at 2026-01-01T00:00:00Z, as instance `test-instance`.
    pub fn start(function: &str, input: &(impl Serialize + ?Sized)) -> Self {
        let mut script = Self::prepare(function);
        let input = text(input);
        script.feed(vec![Event::ExecutionStarted(ExecutionStarted {
            name: function.to_owned(),
            version: None,
            input,
            parent: None,
            tags: Vec::new(),
            trace_context: None,
            scheduled_start: None,
        })]);
        script
    }

    /// An orchestration that has seen no event, not even its start.
    pub fn prepare(function: &str) -> Self {
        let context = TurnContext {
            function_name: function.to_owned(),
            instance_id: "test-instance".into(),
            execution_id: "test-execution".into(),
            replaying: false,
            skip_actions: 0,
        };
        Self {
            executor: Executor::new(&context),
            context,
            now: Timestamp::from_millis(BEGIN),
            events: Vec::new(),
            actions: Vec::new(),
            taken: 0,
            outcome: Outcome::Waiting,
            messages: 0,
        }
    }

    /// Starts an orchestrator and answers all that it asks for until it ends: by `answer`, which is given a name and an
    /// input, or for timers by letting the time pass (the earliest first). Locks are granted, detached starts admitted. Stops
    /// early if it waits for an external event.
    ///
    /// | asked for | name | answer |
    /// |---|---|---|
    /// | activity, sub-orchestration | the function's | the result |
    /// | operation of an entity | `@counter@key.add` | the result |
    /// | durable HTTP | `GET https://…` | a [`DurableHttpResponse`] as JSON |
    pub fn run(
        function: &str,
        input: &(impl Serialize + ?Sized),
        mut answer: impl FnMut(&str, Json) -> crate::Result<Json>,
    ) -> Self {
        let mut script = Self::start(function, input);
        let mut calls: VecDeque<(u32, String, String)> = VecDeque::new();
        let mut timers: Vec<CreateTimer> = Vec::new();
        let (mut locks, mut starts) = (VecDeque::new(), VecDeque::<StartOrchestration>::new());
        loop {
            for action in script.take_actions() {
                match action {
                    Action::ScheduleTask(task) => calls.push_back((task.sequence, task.name, task.input)),
                    Action::CreateSubOrchestration(child) => calls.push_back((child.sequence, child.name, child.input)),
                    Action::CallEntity(call) => {
                        let name = format!("{}.{}", EntityId::from_wit(call.entity), call.operation);
                        calls.push_back((call.sequence, name, call.input));
                    }
                    Action::CallHttp(call) => {
                        let name = format!("{} {}", call.method, call.uri);
                        calls.push_back((call.sequence, name, text(&call.content)));
                    }
                    Action::LockEntities(lock) => locks.push_back(lock.sequence),
                    Action::StartOrchestration(start) => starts.push_back(start),
                    Action::CreateTimer(timer) => timers.push(timer),
                    Action::Cancel(cancel) => {
                        calls.retain(|(sequence, ..)| *sequence != cancel.sequence);
                        timers.retain(|timer| timer.sequence != cancel.sequence);
                        locks.retain(|lock| *lock != cancel.sequence);
                    }
                    _ => {}
                }
            }
            if !matches!(script.outcome, Outcome::Waiting) {
                return script;
            }
            if let Some(lock) = locks.pop_front() {
                script.grant(lock);
            } else if let Some(start) = starts.pop_front() {
                let id = start.instance_id.unwrap_or_else(|| format!("test-execution:{}", start.sequence));
                script.complete(start.sequence, &id);
            } else if let Some((sequence, name, input)) = calls.pop_front() {
                let answer = answer(&name, Json::from_text(&input).expect("the SDK writes JSON"));
                script.settle(sequence, answer.map(Json::into_text));
            } else if let Some(next) = timers.iter().min_by(|a, b| a.fire_at.total_cmp(&b.fire_at)).cloned() {
                timers.retain(|timer| timer.sequence != next.sequence);
                script.now = Timestamp::from_millis(next.fire_at.max(script.now.as_millis()));
                script.fire(next.sequence);
            } else {
                return script;
            }
        }
    }

    /// The result of whatever has one: an activity, a sub-orchestration, a detached start (its instance id), the operation of
    /// an entity, a durable HTTP call (a [`DurableHttpResponse`]).
    pub fn complete(&mut self, sequence: u32, output: &(impl Serialize + ?Sized)) -> &mut Self {
        self.settle(sequence, Ok(text(output)))
    }

    /// All locks of a request are held.
    pub fn grant(&mut self, sequence: u32) -> &mut Self {
        self.settle(sequence, Ok("null".into()))
    }

    /// The failure of whatever may fail.
    pub fn fail(&mut self, sequence: u32, failure: Failure) -> &mut Self {
        self.settle(sequence, Err(failure))
    }

    /// A timer fires. The clock goes on to its time, if it is not later already.
    pub fn fire(&mut self, sequence: u32) -> &mut Self {
        let due = self.actions.iter().find_map(|action| match action {
            Action::CreateTimer(timer) if timer.sequence == sequence => Some(timer.fire_at),
            _ => None,
        });
        self.now = Timestamp::from_millis(due.unwrap_or_default().max(self.now.as_millis()));
        self.feed(vec![Event::TimerFired(TimerFired { sequence })])
    }

    /// An external event arrives.
    pub fn raise(&mut self, name: &str, payload: &(impl Serialize + ?Sized)) -> &mut Self {
        let message = self.messages;
        self.messages += 1;
        self.feed(vec![Event::EventRaised(EventRaised { message, name: name.to_owned(), input: text(payload) })])
    }

    /// Lets time pass; the next event's turn is that much later.
    pub fn pass(&mut self, duration: Duration) -> &mut Self {
        self.now = Timestamp::from_millis(self.now.as_millis() + millis(duration));
        self
    }

    /// Feeds a turn of these events.
    pub fn feed(&mut self, events: Vec<Event>) -> &mut Self {
        let turn = Event::TurnStarted(TurnStarted { timestamp: self.now.as_millis() });
        self.call(std::iter::once(turn).chain(events).collect())
    }

    /// One call of the guest, with exactly these events.
    pub fn call(&mut self, events: Vec<Event>) -> &mut Self {
        self.events.extend(events.iter().cloned());
        let result = self.executor.turn(&self.context, events);
        self.actions.extend(result.actions);
        self.outcome = result.outcome;
        self
    }

    /// Sets what holds for the calls from here on: whether they replay, and how many leading actions to leave out.
    pub fn set_replaying(&mut self, replaying: bool, skip_actions: u32) -> &mut Self {
        (self.context.replaying, self.context.skip_actions) = (replaying, skip_actions);
        self
    }

    /// Every event so far: feeding them to a fresh script must give the same actions.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Every action so far.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The actions since the last `take_…`.
    pub fn take_actions(&mut self) -> Vec<Action> {
        let new = self.actions[self.taken..].to_vec();
        self.taken = self.actions.len();
        new
    }

    /// Of the actions since the last `take_…`, the activities as (number, name, input); the others are left out.
    pub fn take_tasks(&mut self) -> Vec<(u32, String, String)> {
        let tasks = self.take_actions().into_iter().filter_map(|action| match action {
            Action::ScheduleTask(task) => Some((task.sequence, task.name, task.input)),
            _ => None,
        });
        tasks.collect()
    }

    /// Of the actions since the last `take_…`, the calls of entities as (number, entity and operation, input); the others are
    /// left out. An operation is written as `@counter@key.add`.
    pub fn take_entity_calls(&mut self) -> Vec<(u32, String, String)> {
        let calls = self.take_actions().into_iter().filter_map(|action| match action {
            Action::CallEntity(call) => {
                Some((call.sequence, format!("{}.{}", EntityId::from_wit(call.entity), call.operation), call.input))
            }
            _ => None,
        });
        calls.collect()
    }

    /// How the execution stands.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The output of a completed orchestration.
    /// # Panics
    /// If it has not completed, or with something else.
    pub fn output<T: DeserializeOwned>(&self) -> T {
        match &self.outcome {
            Outcome::Completed(output) => serde_json::from_str(output).expect("the output is of the asked type"),
            other => panic!("the orchestration has not completed: {other:?}"),
        }
    }

    /// The failure of a failed orchestration.
    /// # Panics
    /// If it has not failed.
    pub fn failure(&self) -> Failure {
        match &self.outcome {
            Outcome::Failed(failure) => Failure::from_wit(failure.clone()),
            other => panic!("the orchestration has not failed: {other:?}"),
        }
    }

    fn settle(&mut self, sequence: u32, answer: Result<String, Failure>) -> &mut Self {
        let asked = self.actions.iter().find(|action| number(action) == Some(sequence));
        let event = match answer {
            Ok(output) => completed(asked, Completed { sequence, output }),
            Err(failure) => failed(asked, Failed { sequence, failure: failure.into_wit() }),
        };
        self.feed(vec![event])
    }
}

/// The number under which an action is answered.
fn number(action: &Action) -> Option<u32> {
    match action {
        Action::ScheduleTask(task) => Some(task.sequence),
        Action::CreateSubOrchestration(child) => Some(child.sequence),
        Action::StartOrchestration(start) => Some(start.sequence),
        Action::CreateTimer(timer) => Some(timer.sequence),
        Action::CallEntity(call) => Some(call.sequence),
        Action::LockEntities(lock) => Some(lock.sequence),
        Action::CallHttp(call) => Some(call.sequence),
        Action::Cancel(_)
        | Action::WaitForEvent(_)
        | Action::Consumed(_)
        | Action::SendEvent(_)
        | Action::SignalEntity(_)
        | Action::UnlockEntities(_)
        | Action::SetCustomStatus(_) => None,
    }
}

/// The answer that fits what was asked for; that of an activity if nothing was.
fn completed(asked: Option<&Action>, done: Completed) -> Event {
    match asked {
        Some(Action::CreateSubOrchestration(_)) => Event::SubOrchestrationCompleted(done),
        Some(Action::StartOrchestration(_)) => Event::DetachedStartCompleted(done),
        Some(Action::CallEntity(_)) => Event::EntityOperationCompleted(done),
        Some(Action::LockEntities(_)) => Event::LockGranted(done),
        Some(Action::CallHttp(_)) => {
            let response: DurableHttpResponse =
                serde_json::from_str(&done.output).expect("a durable HTTP call is answered by a response");
            Event::HttpCompleted(response.into_wit(done.sequence))
        }
        _ => Event::TaskCompleted(done),
    }
}

fn failed(asked: Option<&Action>, done: Failed) -> Event {
    match asked {
        Some(Action::CreateSubOrchestration(_)) => Event::SubOrchestrationFailed(done),
        Some(Action::StartOrchestration(_)) => Event::DetachedStartFailed(done),
        Some(Action::CallEntity(_)) => Event::EntityOperationFailed(done),
        Some(Action::LockEntities(_)) => Event::LockFailed(done),
        Some(Action::CallHttp(_)) => Event::HttpFailed(done),
        _ => Event::TaskFailed(done),
    }
}

fn text(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("a test's value can be written as JSON")
}
