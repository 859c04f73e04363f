//! Orchestrators: a guest per execution, handed events turn by turn, kept or dropped by the hub.
//!
//! Between two turns a guest is a store and nothing else: no stack, no task. During a turn its store belongs to the call,
//! and comes back only from one that succeeded: after a failure, or when the call is dropped, the guest is gone.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use wasmtime::Store;

use super::{
    Wasm,
    component::Compiled,
    console::Console,
    contract::{self, exports::orchestrator, payload},
    cpu::{Lanes, Meter, Overrun},
    fault::Fault,
    guest::{self, GuestLimits, GuestState, Role},
    wasi::Replayable,
};
use crate::{
    durable::{
        Action, ChildScheduled, EntityCalled, EntitySignaled, EventSent, ExecutionStarted, GuestEvent, GuestOutcome,
        GuestTurn, HttpRetry, HttpScheduled, LocksRequested, RetryPolicy, Section, Sequence, TaskScheduled, Timestamp,
        TokenSource,
    },
    hub::{ExecutorFuture, GuestError, GuestSlot, OrchestratorCall, OrchestratorGuest},
};

/// Sequence numbers are below this: one guest language reads larger ones as negative.
const SEQUENCE_END: Sequence = 1 << 31;

impl Wasm {
    /// Makes a guest for an execution; its code first runs in the first turn.
    pub(super) async fn orchestrator_guest(
        &self,
        call: OrchestratorCall,
        slot: GuestSlot,
    ) -> Result<Box<dyn OrchestratorGuest>, GuestError> {
        let component = self.components.get(call.component).await.map_err(GuestError::Unavailable)?;
        if component.orchestrator.is_none() {
            return Err(GuestError::Unavailable(format!("component {} exports no orchestrator", call.component)));
        }
        let console = Arc::new(Console::new(call.name.as_str().into(), call.instance_id.as_str().into()));
        let meter = Arc::new(Meter::new(self.cpu_limit));
        let world = Role::Deterministic(Replayable::new(call.execution_id.as_str()));
        let limits: GuestLimits = self.call_limits;
        let store = guest::store(&self.shared, Arc::clone(&console), world, Arc::clone(&meter), limits);
        let resident_bytes = store.data().resident_bytes();
        Ok(Box::new(Guest {
            lanes: Arc::clone(&self.lanes),
            cpu_limit: self.cpu_limit,
            context: orchestrator::TurnContext {
                function_name: call.handler,
                instance_id: call.instance_id.as_str().to_owned(),
                execution_id: call.execution_id.as_str().to_owned(),
                replaying: false,
                skip_actions: 0,
            },
            live: Some(Live { store, exports: None, component, slot }),
            console,
            meter,
            resident_bytes,
        }))
    }
}

/// A guest of an orchestrator.
struct Guest {
    lanes: Arc<Lanes>,
    cpu_limit: Duration,
    context: orchestrator::TurnContext,
    /// None while a turn runs, and for ever after one that failed.
    live: Option<Live>,
    console: Arc<Console>,
    meter: Arc<Meter>,
    resident_bytes: usize,
}

/// The wasm instance. Its slot is given back when it is dropped.
struct Live {
    store: Store<GuestState>,
    exports: Option<orchestrator::Guest>,
    component: Arc<Compiled>,
    slot: GuestSlot,
}

impl Live {
    fn world(&mut self) -> Option<&mut Replayable> {
        match &mut self.store.data_mut().role {
            Role::Deterministic(world) => Some(world),
            Role::Effects { .. } => None,
        }
    }

    /// A new guest in this one's slot.
    fn renewed(self, execution_id: &str) -> Self {
        let Self { store, component, slot, .. } = self;
        let state = store.data();
        let renewed = guest::store(
            &state.shared,
            Arc::clone(&state.console),
            Role::Deterministic(Replayable::new(execution_id)),
            Arc::clone(&state.meter),
            state.limits,
        );
        Self { store: renewed, exports: None, component, slot }
    }
}

impl OrchestratorGuest for Guest {
    fn turn<'a>(
        &'a mut self,
        replaying: bool,
        turns: u32,
        events: &'a [GuestEvent],
    ) -> ExecutorFuture<'a, Result<GuestTurn, GuestError>> {
        Box::pin(async move {
            let Some(live) = self.live.take() else {
                return Err(GuestError::Unavailable("the guest was dropped after a failed turn".to_owned()));
            };
            let budget = self.cpu_limit.saturating_mul(turns.max(1));
            self.meter.begin_call(budget);
            self.console.begin_call(replaying);
            let context = orchestrator::TurnContext { replaying, ..self.context.clone() };
            let call = Box::pin(run_turn(live, context, Script::new(events)));
            let outcome = match self.lanes.run(Arc::clone(&self.meter), call).await {
                Ok(outcome) => outcome,
                Err(Overrun) => Err(Fault::Cpu(budget, String::new())),
            };
            match outcome {
                Ok((live, turn)) => {
                    self.console.flush();
                    self.resident_bytes = live.store.data().resident_bytes();
                    self.live = Some(live);
                    Ok(turn)
                }
                Err(Fault::Unavailable(reason)) => Err(GuestError::Unavailable(reason)),
                Err(fault) => Err(GuestError::Code(guest::report(&self.console, fault))),
            }
        })
    }

    fn resident_bytes(&self) -> usize {
        self.resident_bytes
    }
}

/// Events for a guest, and where in them turns begin.
struct Script {
    events: Vec<orchestrator::Event>,
    turns: Vec<(usize, Timestamp)>,
}

impl Script {
    fn new(events: &[GuestEvent]) -> Self {
        let turns = events.iter().enumerate().filter_map(|(index, event)| match event {
            GuestEvent::TurnStarted(now) => Some((index, *now)),
            _ => None,
        });
        Self { turns: turns.collect(), events: events.iter().map(event_to_guest).collect() }
    }

    /// The events in one piece, or one per turn; each with the clock to show meanwhile (none: as before).
    fn pieces(&self, by_turn: bool) -> Vec<(Option<Timestamp>, &[orchestrator::Event])> {
        if !by_turn || self.turns.is_empty() {
            return vec![(self.turns.last().map(|(_, now)| *now), &self.events)];
        }
        let ends = self.turns.iter().skip(1).map(|(begin, _)| *begin).chain([self.events.len()]);
        // What comes before the first turn, if anything does, belongs to it.
        let begins = [0].into_iter().chain(self.turns.iter().skip(1).map(|(begin, _)| *begin));
        let turns = self.turns.iter().map(|(_, now)| *now);
        begins.zip(ends).zip(turns).map(|((begin, end), now)| (Some(now), &self.events[begin..end])).collect()
    }
}

/// Hands a guest its events: all at once, for that is three times as fast. Only if the code read the clock meanwhile, which
/// stood at the last turn's time, a new guest is handed them turn by turn; so is every later guest of that component.
async fn run_turn(
    mut live: Live,
    context: orchestrator::TurnContext,
    script: Script,
) -> Result<(Live, GuestTurn), Fault> {
    let several = script.turns.len() > 1;
    let is_fresh = live.exports.is_none();
    let reads_clock = &live.component.reads_clock;
    let by_turn = several && (reads_clock.load(Ordering::Relaxed) || !is_fresh);
    let outcome = run_pieces(&mut live, &context, &script.pieces(by_turn)).await;
    if several && !by_turn && live.world().is_some_and(|world| world.clock_was_read) {
        live.component.reads_clock.store(true, Ordering::Relaxed);
        let mut live = live.renewed(&context.execution_id);
        let turn = run_pieces(&mut live, &context, &script.pieces(true)).await?;
        return Ok((live, turn));
    }
    Ok((live, outcome?))
}

async fn run_pieces(
    live: &mut Live,
    context: &orchestrator::TurnContext,
    pieces: &[(Option<Timestamp>, &[orchestrator::Event])],
) -> Result<GuestTurn, Fault> {
    let limits = live.store.data().limits;
    let mut turn = GuestTurn { actions: Vec::new(), outcome: GuestOutcome::Waiting };
    for (now, events) in pieces {
        if let (Some(now), Some(world)) = (now, live.world()) {
            world.now_micros = now.0.unsigned_abs();
        }
        let called = call(live, context, events).await;
        let result = called.map_err(|error| Fault::of(&error, live.store.data()))?;
        for action in result.actions {
            turn.actions.push(action_from_guest(limits, action)?);
        }
        turn.outcome = outcome_from_guest(limits, result.outcome)?;
        if turn.outcome != GuestOutcome::Waiting {
            break;
        }
    }
    Ok(turn)
}

async fn call(
    live: &mut Live,
    context: &orchestrator::TurnContext,
    events: &[orchestrator::Event],
) -> wasmtime::Result<orchestrator::TurnResult> {
    guest::arm(&mut live.store);
    let exports = match &live.exports {
        Some(exports) => exports,
        None => {
            let instance = live.component.deterministic.instantiate_async(&mut live.store).await?;
            let indices = live.component.orchestrator.as_ref().expect("checked when the guest was made");
            live.exports.insert(indices.load(&mut live.store, &instance)?)
        }
    };
    exports.call_turn(&mut live.store, context, events).await
}

fn event_to_guest(event: &GuestEvent) -> orchestrator::Event {
    match event {
        GuestEvent::TurnStarted(now) => {
            orchestrator::Event::TurnStarted(orchestrator::TurnStarted { timestamp: now.as_millis_f64() })
        }
        GuestEvent::ExecutionStarted(started) => orchestrator::Event::ExecutionStarted(started_to_guest(started)),
        GuestEvent::TaskCompleted(sequence, output) => orchestrator::Event::TaskCompleted(orchestrator::Completed {
            sequence: *sequence,
            output: output.as_str().to_owned(),
        }),
        GuestEvent::TaskFailed(sequence, failure) => orchestrator::Event::TaskFailed(orchestrator::Failed {
            sequence: *sequence,
            failure: contract::failure_to_guest(failure),
        }),
        GuestEvent::ChildCompleted { sequence, detached, result } => {
            let completed = orchestrator::Completed { sequence: *sequence, output: result.as_str().to_owned() };
            if *detached {
                orchestrator::Event::DetachedStartCompleted(completed)
            } else {
                orchestrator::Event::SubOrchestrationCompleted(completed)
            }
        }
        GuestEvent::ChildFailed { sequence, detached, failure } => {
            let failed = orchestrator::Failed { sequence: *sequence, failure: contract::failure_to_guest(failure) };
            if *detached {
                orchestrator::Event::DetachedStartFailed(failed)
            } else {
                orchestrator::Event::SubOrchestrationFailed(failed)
            }
        }
        GuestEvent::HttpCompleted(sequence, answer) => {
            orchestrator::Event::HttpCompleted(orchestrator::HttpCompleted {
                sequence: *sequence,
                status_code: answer.status,
                headers: contract::headers_to_guest(&answer.headers),
                content: (*answer.content).to_owned(),
            })
        }
        GuestEvent::HttpFailed(sequence, failure) => orchestrator::Event::HttpFailed(orchestrator::Failed {
            sequence: *sequence,
            failure: contract::failure_to_guest(failure),
        }),
        GuestEvent::EntityCompleted(sequence, output) => {
            orchestrator::Event::EntityOperationCompleted(orchestrator::Completed {
                sequence: *sequence,
                output: output.as_str().to_owned(),
            })
        }
        GuestEvent::EntityFailed(sequence, failure) => {
            orchestrator::Event::EntityOperationFailed(orchestrator::Failed {
                sequence: *sequence,
                failure: contract::failure_to_guest(failure),
            })
        }
        GuestEvent::LockGranted(sequence) => {
            orchestrator::Event::LockGranted(orchestrator::Completed { sequence: *sequence, output: "null".to_owned() })
        }
        GuestEvent::LockFailed(sequence, failure) => orchestrator::Event::LockFailed(orchestrator::Failed {
            sequence: *sequence,
            failure: contract::failure_to_guest(failure),
        }),
        GuestEvent::TimerFired(sequence) => {
            orchestrator::Event::TimerFired(orchestrator::TimerFired { sequence: *sequence })
        }
        GuestEvent::EventRaised { index, name, input } => orchestrator::Event::EventRaised(orchestrator::EventRaised {
            message: *index,
            name: name.clone(),
            input: input.as_str().to_owned(),
        }),
    }
}

fn started_to_guest(started: &ExecutionStarted) -> orchestrator::ExecutionStarted {
    orchestrator::ExecutionStarted {
        name: started.name.clone(),
        version: started.version.clone(),
        input: started.input.as_str().to_owned(),
        parent: started.parent.as_ref().map(|parent| orchestrator::ParentInstance {
            name: parent.name.clone(),
            instance_id: parent.instance_id.clone(),
            execution_id: parent.execution_id.clone(),
            sequence: parent.sequence,
        }),
        tags: contract::tags_to_guest(&started.tags),
        trace_context: started.trace_context.as_ref().map(contract::trace_to_guest),
        scheduled_start: started.scheduled_start.map(Timestamp::as_millis_f64),
    }
}

fn numbered(sequence: Sequence) -> Result<Sequence, Fault> {
    if sequence < SEQUENCE_END {
        return Ok(sequence);
    }
    Err(Fault::InvalidOutput(format!("action number {sequence} is not below 2^31")))
}

fn retry(what: &str, policy: Option<orchestrator::RetryPolicy>) -> Result<Option<RetryPolicy>, Fault> {
    policy.map(|policy| contract::retry_from_guest(what, policy)).transpose()
}

fn action_from_guest(limits: GuestLimits, action: orchestrator::Action) -> Result<Action, Fault> {
    use orchestrator::Action as From;
    match action {
        From::ScheduleTask(task) => Ok(Action::ScheduleTask(TaskScheduled {
            sequence: numbered(task.sequence)?,
            input: payload(limits, &format!("the input of activity {:?}", task.name), task.input)?,
            retry: retry(&format!("activity {:?}", task.name), task.retry)?,
            name: task.name,
            timeout_ms: task.timeout,
            tags: contract::tags_from_guest(task.tags),
        })),
        From::CreateTimer(timer) => {
            let fire_at = contract::checked_time(&format!("timer {}", timer.sequence), timer.fire_at)?;
            Ok(Action::CreateTimer { sequence: numbered(timer.sequence)?, fire_at })
        }
        From::Cancel(cancel) => Ok(Action::Cancel { sequence: numbered(cancel.sequence)? }),
        From::WaitForEvent(wait) => Ok(Action::WaitForEvent { name: wait.name }),
        From::Consumed(consumed) => Ok(Action::Consumed { index: consumed.message }),
        From::SetCustomStatus(status) => Ok(Action::SetCustomStatus(payload(limits, "the custom status", status)?)),
        From::CreateSubOrchestration(child) => Ok(Action::StartChild {
            child: Box::new(ChildScheduled {
                sequence: numbered(child.sequence)?,
                input: payload(limits, &format!("the input of sub-orchestration {:?}", child.name), child.input)?,
                retry: retry(&format!("sub-orchestration {:?}", child.name), child.retry)?,
                name: child.name,
                instance_id: String::new(),
                version: child.version,
                detached: false,
                policy: child.overridable_states.map(contract::policy_from_guest),
                scheduled_start: None,
                tags: contract::tags_from_guest(child.tags),
            }),
            instance_id: child.instance_id.filter(|id| !id.is_empty()),
        }),
        From::StartOrchestration(start) => Ok(Action::StartChild {
            child: Box::new(ChildScheduled {
                sequence: numbered(start.sequence)?,
                input: payload(limits, &format!("the input of orchestration {:?}", start.name), start.input)?,
                scheduled_start: start
                    .scheduled_start
                    .map(|at| contract::checked_time(&format!("the start of {:?}", start.name), at))
                    .transpose()?,
                name: start.name,
                instance_id: String::new(),
                version: start.version,
                detached: true,
                retry: None,
                policy: start.overridable_states.map(contract::policy_from_guest),
                tags: contract::tags_from_guest(start.tags),
            }),
            instance_id: start.instance_id.filter(|id| !id.is_empty()),
        }),
        From::CallHttp(call) => http_from_guest(limits, call).map(|call| Action::CallHttp(Box::new(call))),
        From::SendEvent(send) => Ok(Action::SendEvent(EventSent {
            sequence: numbered(send.sequence)?,
            input: payload(limits, &format!("the payload of event {:?}", send.name), send.input)?,
            instance_id: send.instance_id,
            name: send.name,
        })),
        From::CallEntity(call) => Ok(Action::CallEntity(EntityCalled {
            sequence: numbered(call.sequence)?,
            entity: contract::entity_from_guest(&call.entity)?,
            input: payload(limits, &format!("the input of operation {:?}", call.operation), call.input)?,
            operation: call.operation,
        })),
        From::SignalEntity(signal) => Ok(Action::SignalEntity(EntitySignaled {
            sequence: numbered(signal.sequence)?,
            entity: contract::entity_from_guest(&signal.entity)?,
            input: payload(limits, &format!("the input of operation {:?}", signal.operation), signal.input)?,
            scheduled: contract::signal_time(&signal.operation, signal.scheduled)?,
            operation: signal.operation,
        })),
        From::LockEntities(lock) => {
            let entities: Result<Vec<_>, _> = lock.entities.iter().map(contract::entity_from_guest).collect();
            let entities = Section::ordered(&entities?);
            Ok(Action::LockEntities(LocksRequested { sequence: numbered(lock.sequence)?, entities }))
        }
        From::UnlockEntities(unlock) => {
            Ok(Action::UnlockEntities { sequence: numbered(unlock.sequence)?, lock: unlock.lock })
        }
    }
}

fn http_from_guest(limits: GuestLimits, call: orchestrator::CallHttp) -> Result<HttpScheduled, Fault> {
    let token_source = call.token_source.map(|source| {
        let options =
            source.options.map(|options| payload(limits, "the options of a token source", options)).transpose()?;
        Ok(TokenSource { kind: source.kind, resource: source.resource_uri, options })
    });
    let retry = call.retry.map(|retry| {
        let policy = contract::retry_from_guest("a durable HTTP call", retry.policy)?;
        Ok(HttpRetry { policy, status_codes: retry.status_codes })
    });
    Ok(HttpScheduled {
        sequence: numbered(call.sequence)?,
        method: call.method,
        uri: call.uri,
        headers: call.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        content: call.content,
        asynchronous_pattern: call.asynchronous_pattern,
        // Not a number is no bound; kept, it would differ from itself when it is compared on replay.
        timeout_ms: call.timeout.filter(|timeout| !timeout.is_nan()),
        retry: retry.transpose()?,
        token_source: token_source.transpose()?,
    })
}

fn outcome_from_guest(limits: GuestLimits, outcome: orchestrator::Outcome) -> Result<GuestOutcome, Fault> {
    use orchestrator::Outcome as From;
    Ok(match outcome {
        From::Waiting => GuestOutcome::Waiting,
        From::Completed(output) => GuestOutcome::Completed(payload(limits, "the orchestration's output", output)?),
        From::Failed(failure) => {
            GuestOutcome::Failed(contract::checked_failure(limits, "the orchestration's failure", failure)?)
        }
        From::ContinueAsNew(next) => {
            GuestOutcome::ContinueAsNew { input: payload(limits, "the next execution's input", next.input)? }
        }
        From::Faulted(failure) => GuestOutcome::Faulted(contract::failure_from_guest(failure)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_cut_where_turns_begin() {
        let turn = |ms: i64| GuestEvent::TurnStarted(Timestamp(ms * 1000));
        let script = Script::new(&[turn(1), GuestEvent::TimerFired(0), turn(2), GuestEvent::TimerFired(1), turn(3)]);
        let shape = |by_turn| -> Vec<_> {
            script.pieces(by_turn).iter().map(|(now, events)| (now.map(|now| now.0 / 1000), events.len())).collect()
        };
        assert_eq!(shape(true), [(Some(1), 2), (Some(2), 2), (Some(3), 1)]);
        assert_eq!(shape(false), [(Some(3), 5)]);
        assert_eq!(Script::new(&[GuestEvent::TimerFired(0)]).pieces(true).len(), 1);
    }

    #[test]
    fn an_activitys_retry_policy_and_timeout_are_kept() {
        let task = |retry_wanted: bool, timeout| {
            let retry = orchestrator::RetryPolicy {
                max_attempts: 3,
                first_interval: 1.0,
                backoff_coefficient: 1.0,
                max_interval: None,
                retry_timeout: None,
                retry_kinds: Vec::new(),
                never_retry_kinds: Vec::new(),
            };
            action_from_guest(
                GuestLimits {
                    memory_bytes_max: 1,
                    transfer_bytes_max: 1_000,
                    transfer_limit: "maxPayloadBytes",
                    json_depth_max: 128,
                },
                orchestrator::Action::ScheduleTask(orchestrator::ScheduleTask {
                    sequence: 0,
                    name: "A".to_owned(),
                    input: "null".to_owned(),
                    retry: retry_wanted.then_some(retry),
                    timeout,
                    tags: Vec::new(),
                }),
            )
        };
        assert!(matches!(task(false, None), Ok(Action::ScheduleTask(_))));
        assert!(matches!(task(true, None), Ok(Action::ScheduleTask(TaskScheduled { retry: Some(_), .. }))));
        assert!(matches!(task(false, Some(1.0)), Ok(Action::ScheduleTask(TaskScheduled { timeout_ms: Some(_), .. }))));
    }

    #[test]
    fn a_retry_policy_that_is_none_is_refused_by_its_rule() {
        type Policy = orchestrator::RetryPolicy;
        let good = || Policy {
            max_attempts: 2,
            first_interval: 1.0,
            backoff_coefficient: 0.0,
            max_interval: Some(0.0),
            retry_timeout: Some(f64::INFINITY),
            retry_kinds: Vec::new(),
            never_retry_kinds: Vec::new(),
        };
        let says = |policy| match retry("activity \"A\"", Some(policy)) {
            Err(Fault::InvalidOutput(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(matches!(retry("A", Some(good())), Ok(Some(_))));
        assert!(says(Policy { max_attempts: 0, ..good() }).contains("activity \"A\" is none: the number of attempts"));
        for first_interval in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(says(Policy { first_interval, ..good() }).contains("the first interval"));
        }
        for backoff_coefficient in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(says(Policy { backoff_coefficient, ..good() }).contains("the back-off coefficient"));
        }
        for bad in [Some(-1.0), Some(f64::NAN)] {
            assert!(says(Policy { max_interval: bad, ..good() }).contains("greatest interval"));
            assert!(says(Policy { retry_timeout: bad, ..good() }).contains("timeout"));
        }
    }

    #[test]
    fn a_time_that_is_no_number_is_refused() {
        assert!(
            matches!(contract::checked_time("timer 7", f64::NAN), Err(Fault::InvalidOutput(text)) if text.contains("timer 7"))
        );
        assert!([f64::INFINITY, -1.0].into_iter().all(|at| contract::checked_time("timer 7", at).is_ok()));
        assert!(
            matches!(contract::signal_time("add", Some(f64::NAN)), Err(Fault::InvalidOutput(text)) if text.contains("\"add\""))
        );
        assert_eq!(contract::signal_time("add", None).unwrap(), None);
    }

    #[test]
    fn action_numbers_stay_below_two_to_the_31() {
        assert!(numbered(SEQUENCE_END - 1).is_ok());
        assert!(matches!(numbered(SEQUENCE_END), Err(Fault::InvalidOutput(_))));
    }
}
