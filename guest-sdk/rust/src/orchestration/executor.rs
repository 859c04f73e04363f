//! Applies events, one by one, and runs the code as far as it goes after each.

use super::context::OrchestrationContext;
use super::mailbox;
use super::state::{Facts, Kind, Reply, State};
use super::task::Shared;
use crate::bindings::exports::soloist::functions::orchestrator as wit;
use crate::failure::{Failure, Result};
use crate::json::Json;
use crate::registry::{self, Orchestration, Run};
use crate::time::Timestamp;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use wit::{Event, Outcome, TurnContext, TurnResult};

/// One execution of one orchestrator: what a guest holds from its first turn to its last.
pub(crate) struct Executor {
    execution_id: String,
    /// The present turn's time.
    now: Timestamp,
    running: Option<Running>,
    outcome: Outcome,
}

/// The code, and what it shares with its context and its tasks.
struct Running {
    state: Shared,
    code: Orchestration,
    woken: Arc<WakeFlag>,
    waker: Waker,
}

/// Whether something that the code polls has moved.
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Executor {
    /// For the execution that the first call names.
    pub fn new(context: &TurnContext) -> Self {
        Self {
            execution_id: context.execution_id.clone(),
            now: Timestamp::default(),
            running: None,
            outcome: Outcome::Waiting,
        }
    }

    /// Applies events; returns what the code asked for meanwhile, and how it stands.
    ///
    /// The code runs after *each* event, never after several: how the host batches them cannot be observed.
    pub fn turn(&mut self, context: &TurnContext, events: Vec<Event>) -> TurnResult {
        if context.execution_id != self.execution_id {
            let message = format!("this guest runs execution '{}', not '{}'", self.execution_id, context.execution_id);
            let outcome = Outcome::Faulted(fault(message).into_wit());
            return TurnResult { actions: Vec::new(), outcome };
        }
        let mut actions = Vec::new();
        for event in events {
            if !matches!(self.outcome, Outcome::Waiting) {
                break; // the outcome stands, whatever comes later
            }
            let applied = self.apply(context, event);
            let outcome = match (applied, &mut self.running) {
                (Err(fault), _) => Some(Outcome::Faulted(fault.into_wit())),
                (Ok(()), Some(running)) => running.run(),
                (Ok(()), None) => None,
            };
            if let Some(running) = &self.running {
                actions.append(&mut running.state.borrow_mut().take_actions());
            }
            if let Some(outcome) = outcome {
                self.outcome = outcome;
                self.end();
            }
        }
        TurnResult { actions, outcome: self.outcome.clone() }
    }

    /// Takes an event in, without running the code.
    /// # Errors
    /// If this history cannot be one of this code.
    fn apply(&mut self, context: &TurnContext, event: Event) -> Result<()> {
        if let Event::TurnStarted(turn) = &event {
            self.now = Timestamp::from_millis(turn.timestamp);
        }
        match (&mut self.running, event) {
            (None, Event::TurnStarted(_)) => Ok(()),
            (None, Event::ExecutionStarted(started)) => {
                self.running = Some(Running::start(context, started, self.now)?);
                Ok(())
            }
            (None, _) => Err(fault("the history does not begin with execution-started".into())),
            (Some(_), Event::ExecutionStarted(_)) => Err(fault("the history holds execution-started twice".into())),
            (Some(running), event) => running.apply(context, self.now, event),
        }
    }

    /// Drops the code. Its tasks go with it, and cancel nothing: the outcome settles them.
    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.state.borrow_mut().end();
        }
    }
}

impl Running {
    fn start(context: &TurnContext, started: wit::ExecutionStarted, now: Timestamp) -> Result<Self> {
        let function = registry::find(registry::Kind::Orchestrator, &context.function_name)?;
        let Run::Orchestrator(begin) = function.run else {
            return Err(fault(format!("'{}' is no orchestrator", function.name)));
        };
        let facts =
            Facts { instance_id: context.instance_id.clone(), execution_id: context.execution_id.clone(), started };
        let mut state = State::new(facts, now);
        state.replaying = context.replaying;
        state.skip_actions = context.skip_actions;
        let state = Rc::new(RefCell::new(state));
        let woken = Arc::new(WakeFlag(AtomicBool::new(true)));
        Ok(Self { code: begin(OrchestrationContext::new(state.clone())), state, waker: woken.clone().into(), woken })
    }

    fn apply(&mut self, context: &TurnContext, now: Timestamp, event: Event) -> Result<()> {
        let mut state = self.state.borrow_mut();
        state.now = now;
        state.replaying = context.replaying;
        state.skip_actions = context.skip_actions;
        let waker = match event {
            Event::TurnStarted(_) | Event::ExecutionStarted(_) => None,
            Event::EventRaised(raised) => {
                state.mailbox.deliver(&raised.name, mailbox::Event { message: raised.message, input: raised.input })
            }
            Event::TimerFired(fired) => state.answer(fired.sequence, Kind::Timer, Ok(Reply::Json("null".into())))?,
            Event::HttpCompleted(done) => state.answer(done.sequence, Kind::Http, Ok(Reply::Http(Box::new(done))))?,
            Event::TaskCompleted(done) => completed(&mut state, Kind::Activity, done)?,
            Event::SubOrchestrationCompleted(done) => completed(&mut state, Kind::SubOrchestration, done)?,
            Event::DetachedStartCompleted(done) => completed(&mut state, Kind::DetachedStart, done)?,
            Event::EntityOperationCompleted(done) => completed(&mut state, Kind::EntityCall, done)?,
            Event::LockGranted(done) => completed(&mut state, Kind::Lock, done)?,
            Event::TaskFailed(done) => failed(&mut state, Kind::Activity, done)?,
            Event::SubOrchestrationFailed(done) => failed(&mut state, Kind::SubOrchestration, done)?,
            Event::DetachedStartFailed(done) => failed(&mut state, Kind::DetachedStart, done)?,
            Event::EntityOperationFailed(done) => failed(&mut state, Kind::EntityCall, done)?,
            Event::LockFailed(done) => failed(&mut state, Kind::Lock, done)?,
            Event::HttpFailed(done) => failed(&mut state, Kind::Http, done)?,
        };
        drop(state);
        // Woken without the borrow: whoever is woken may drop tasks.
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Runs the code until it ends or waits for an event; returns the outcome if it ended.
    fn run(&mut self) -> Option<Outcome> {
        let mut cx = Context::from_waker(&self.waker);
        while self.woken.0.swap(false, Relaxed) {
            if let Poll::Ready(result) = self.code.as_mut().poll(&mut cx) {
                return Some(outcome(result));
            }
        }
        if self.state.borrow().has_listeners() {
            return None;
        }
        let message = "the orchestrator awaits something that is not a durable task, so nothing can ever wake it";
        Some(Outcome::Failed(Failure::new(message).with_kind("Stuck").non_retriable().into_wit()))
    }
}

fn completed(state: &mut State, kind: Kind, done: wit::Completed) -> Result<Option<Waker>> {
    state.answer(done.sequence, kind, Ok(Reply::Json(done.output)))
}

fn failed(state: &mut State, kind: Kind, done: wit::Failed) -> Result<Option<Waker>> {
    state.answer(done.sequence, kind, Err(Failure::from_wit(done.failure)))
}

fn outcome(result: Result<String>) -> Outcome {
    match result {
        Ok(output) => Outcome::Completed(output),
        Err(failure) => match failure.into_continue_as_new() {
            Ok(input) => {
                let input = Json::into_text(input);
                Outcome::ContinueAsNew(wit::ContinueAsNew { input, version: None, tags: None })
            }
            Err(failure) => Outcome::Failed(failure.into_wit()),
        },
    }
}

/// The host's mistake, or a history of other code: not a failure of the orchestration.
fn fault(message: String) -> Failure {
    Failure::new(message).with_kind("Protocol")
}
