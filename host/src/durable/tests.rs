//! The core's tests: build a history, run one step, compare events. No clock, no sleep, no wasm.

mod properties;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

mod http;

pub(super) const LIMITS: TurnLimits = TurnLimits { actions_max: 100 };

pub(super) fn next() -> Successor {
    Successor {
        execution_id: ExecutionId("next".into()),
        component: Digest([8; 32]),
        handler: "Echo".into(),
        contract: "1.0.0".into(),
    }
}

fn execution() -> Arc<ExecutionStarted> {
    Arc::new(ExecutionStarted {
        name: "Echo".into(),
        handler: "Echo".into(),
        version: None,
        execution_id: ExecutionId("e".into()),
        component: Digest([7; 32]),
        contract: "1.0.0".into(),
        input: Json::null(),
        parent: None,
        tags: vec![],
        trace_context: None,
        scheduled_start: None,
    })
}

pub(super) fn start_record() -> Arc<TurnRecord> {
    let summary = Summary { status: RuntimeStatus::Pending, custom_status: None, next_due: None, outstanding: 0 };
    let events = vec![HistoryEvent::ExecutionStarted(Box::new((*execution()).clone()))];
    Arc::new(TurnRecord { time: Timestamp(1_000), events, summary })
}

pub(super) fn fold(records: &[Arc<TurnRecord>]) -> Instance {
    Instance::fold(InstanceKey(1), InstanceId::parse("i").unwrap(), GenerationKey(2), records).unwrap()
}

pub(super) fn fresh() -> Instance {
    fold(&[start_record()])
}

pub(super) fn task(sequence: Sequence) -> Action {
    Action::ScheduleTask(TaskScheduled {
        sequence,
        name: "Say".into(),
        input: Json::null(),
        retry: None,
        timeout_ms: None,
        tags: vec![],
    })
}

pub(super) fn timer(sequence: Sequence, at: i64) -> Action {
    Action::CreateTimer { sequence, fire_at: Timestamp(at) }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what `end_turn` takes")]
pub(super) fn waiting(actions: Vec<Action>) -> Result<GuestTurn, Failure> {
    Ok(GuestTurn { actions, outcome: GuestOutcome::Waiting })
}

pub(super) fn ended(sequence: Sequence) -> Message {
    Message::TaskEnded { generation: GenerationKey(2), sequence, outcome: Ok(Json::null()) }
}

pub(super) fn event(number: i64) -> Message {
    let body = InboxMessage::EventRaised { name: "Evt".into(), input: Json::null() };
    Message::Inbox { number: MessageNumber(number), body }
}

/// Runs one turn and applies its record.
fn turn(instance: &mut Instance, messages: Vec<Message>, now: i64, actions: Vec<Action>) -> Arc<TurnRecord> {
    let turn = instance.begin_turn(messages, Timestamp(now)).expect("there is something to take");
    let ended = instance.end_turn(turn, waiting(actions), LIMITS, next).unwrap();
    instance.apply(&ended.record);
    ended.record
}

#[test]
fn the_first_turn_runs_without_a_message_and_later_ones_do_not() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![task(0)]);
    assert_eq!(instance.status(), RuntimeStatus::Running);
    assert!(instance.begin_turn(vec![], Timestamp(3_000)).is_none());
}

#[test]
fn a_sequential_step_is_one_record() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![task(0)]);
    let record = turn(&mut instance, vec![ended(0)], 3_000, vec![task(1)]);
    assert!(matches!(
        record.events.as_slice(),
        [
            HistoryEvent::TaskCompleted { sequence: 0, .. },
            HistoryEvent::TaskScheduled(TaskScheduled { sequence: 1, .. })
        ]
    ));
    assert_eq!(record.summary.outstanding, 1);
}

#[test]
fn an_outcome_counts_once_however_often_it_comes() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![task(0), task(1)]);
    let record = turn(&mut instance, vec![ended(0), ended(0)], 3_000, vec![]);
    assert_eq!(record.events.len(), 1);
    assert!(instance.begin_turn(vec![ended(0)], Timestamp(4_000)).is_none());
    let stranger = Message::TaskEnded { generation: GenerationKey(1), sequence: 1, outcome: Ok(Json::null()) };
    assert!(instance.begin_turn(vec![stranger], Timestamp(4_000)).is_none(), "of a generation that is gone");
}

#[test]
fn an_inbox_message_counts_once() {
    let mut instance = fresh();
    turn(&mut instance, vec![event(1), event(1), event(2)], 2_000, vec![]);
    assert_eq!(instance.events_raised(), 2);
    assert!(instance.begin_turn(vec![event(2)], Timestamp(3_000)).is_none());
}

#[test]
fn a_timer_fires_when_it_is_due_and_not_before() {
    let mut instance = fresh();
    let record = turn(&mut instance, vec![], 2_000, vec![timer(0, 9_000), timer(1, 5_000)]);
    assert_eq!(record.summary.next_due, Some(Timestamp(5_000)));
    assert!(instance.begin_turn(vec![], Timestamp(4_999)).is_none());
    let record = turn(&mut instance, vec![], 5_000, vec![]);
    assert_eq!(record.events, [HistoryEvent::TimerFired { sequence: 1 }]);
    assert_eq!(record.summary.next_due, Some(Timestamp(9_000)));
}

#[test]
fn the_orchestrators_clock_never_goes_back_and_timers_go_by_the_hosts() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 9_000, vec![timer(0, 8_000), timer(1, 7_500)]);
    let record = turn(&mut instance, vec![event(1)], 5_000, vec![]);
    assert_eq!(record.time, Timestamp(9_000));
    assert_eq!(record.events.len(), 1, "the host's clock was set back: nothing is due");
}

#[test]
fn a_canceled_action_is_closed_and_its_answer_dropped() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![task(0), timer(1, 5_000)]);
    let cancels = vec![Action::Cancel { sequence: 0 }, Action::Cancel { sequence: 1 }];
    let record = turn(&mut instance, vec![event(1)], 3_000, cancels);
    assert_eq!((record.summary.outstanding, record.summary.next_due), (0, None));
    assert!(instance.begin_turn(vec![ended(0)], Timestamp(9_000)).is_none());
}

#[test]
fn a_terminal_record_absorbs_everything() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![task(0), timer(1, 5_000)]);
    let begun = instance.begin_turn(vec![ended(0)], Timestamp(3_000)).unwrap();
    let done = Ok(GuestTurn { actions: vec![task(2)], outcome: GuestOutcome::Completed(Json::null()) });
    let ended_turn = instance.end_turn(begun, done, LIMITS, next).unwrap();
    instance.apply(&ended_turn.record);
    assert_eq!(instance.status(), RuntimeStatus::Completed);
    assert_eq!(instance.outstanding().count(), 0);
    assert!(instance.begin_turn(vec![ended(2), event(1)], Timestamp(9_000)).is_none());
}

#[test]
fn code_that_fails_or_breaks_a_limit_fails_the_execution() {
    let instance = fresh();
    let end = |guest| {
        let turn = instance.begin_turn(vec![], Timestamp(2_000)).unwrap();
        let record = instance.end_turn(turn, guest, LIMITS, next).unwrap().record;
        match record.events.last() {
            Some(HistoryEvent::ExecutionFailed { failure }) => failure.kind.clone(),
            other => panic!("it should have failed: {other:?}"),
        }
    };
    assert_eq!(end(Err(Failure::new("Panic", "boom"))), "Panic");
    assert_eq!(end(waiting((0..=100).map(task).collect())), "TooManyActions");
    let large = Json::string(&"x".repeat(8 * 1024));
    assert_eq!(end(waiting(vec![Action::SetCustomStatus(large)])), "CustomStatusTooLarge");
    assert_eq!(end(waiting(vec![Action::Unsupported { sequence: 0, what: "call-http" }])), "NotSupported");
}

#[test]
fn the_action_that_breaks_the_limit_is_not_done() {
    let instance = fresh();
    let turn = instance.begin_turn(vec![], Timestamp(2_000)).unwrap();
    let actions = (0..=100).map(task).chain([Action::SetCustomStatus(Json::string("too late"))]).collect();
    let record = instance.end_turn(turn, waiting(actions), LIMITS, next).unwrap().record;
    let scheduled = record.events.iter().filter(|event| matches!(event, HistoryEvent::TaskScheduled(_))).count();
    assert_eq!(scheduled, 100);
    // What takes no number may follow the last one.
    let turn = instance.begin_turn(vec![], Timestamp(2_000)).unwrap();
    let within =
        (0..100).map(task).chain([Action::SetCustomStatus(Json::string("well")), Action::Cancel { sequence: 0 }]);
    let ended = instance.end_turn(turn, waiting(within.collect()), LIMITS, next).unwrap();
    assert_eq!(ended.record.summary.status, RuntimeStatus::Running);
}

#[test]
fn a_guest_that_breaks_the_contract_stalls_and_nothing_is_recorded() {
    let instance = fresh();
    for actions in [
        vec![task(1)],
        vec![task(0), task(0)],
        vec![Action::Cancel { sequence: 0 }],
        vec![Action::Consumed { index: 0 }],
    ] {
        let turn = instance.begin_turn(vec![], Timestamp(2_000)).unwrap();
        assert!(instance.end_turn(turn, waiting(actions.clone()), LIMITS, next).is_err(), "{actions:?}");
    }
}

/// An activity with a retry policy.
pub(super) fn retried(sequence: Sequence, retry: RetryPolicy) -> Action {
    let Action::ScheduleTask(task) = task(sequence) else { panic!("it is a task") };
    Action::ScheduleTask(TaskScheduled { retry: Some(retry), ..task })
}

pub(super) fn policy() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 3,
        first_interval_ms: 1_000.0,
        backoff_coefficient: 2.0,
        max_interval_ms: None,
        retry_timeout_ms: None,
        retry_kinds: vec![],
        never_retry_kinds: vec![],
    }
}

fn failed(kind: &str) -> Message {
    Message::TaskEnded { generation: GenerationKey(2), sequence: 0, outcome: Err(Failure::new(kind, "no")) }
}

#[test]
fn a_failed_attempt_is_repeated_after_its_interval_and_the_last_failure_reaches_the_code() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![retried(0, policy())]);
    let mut now = 3_000_000;
    for (attempt, interval) in [(1, 1_000_000), (2, 2_000_000)] {
        let record = turn(&mut instance, vec![failed("Error")], now, vec![]);
        assert!(matches!(record.events[..], [HistoryEvent::TaskRetryScheduled { attempt: a, .. }] if a == attempt));
        assert_eq!(record.summary.next_due, Some(Timestamp(now + interval)));
        assert_eq!(record.summary.outstanding, 0, "nothing runs meanwhile");
        assert!(instance.begin_turn(vec![], Timestamp(now + interval - 1)).is_none());
        now += interval;
        let begun = instance.begin_turn(vec![], Timestamp(now)).unwrap();
        assert!(!begun.needs_guest(), "the code knows nothing of it");
        let record = turn(&mut instance, vec![], now, vec![]);
        assert_eq!(record.events, [HistoryEvent::TaskRetryStarted { sequence: 0, attempt: attempt + 1 }]);
        assert_eq!((record.summary.outstanding, record.summary.next_due), (1, None));
    }
    let record = turn(&mut instance, vec![failed("Error")], now, vec![]);
    assert!(matches!(record.events[..], [HistoryEvent::TaskFailed { .. }]), "the third attempt was the last");
}

#[test]
fn a_retry_policy_knows_when_to_give_up() {
    let next = |policy: &RetryPolicy, attempt, kind, elapsed| {
        policy.next_interval_ms(attempt, &Failure::new(kind, ""), elapsed)
    };
    assert_eq!(next(&policy(), 1, "Error", 0.0), Some(1_000.0));
    assert_eq!(next(&policy(), 2, "Error", 0.0), Some(2_000.0));
    assert_eq!(next(&policy(), 3, "Error", 0.0), None, "attempts include the first");
    let capped = RetryPolicy { max_interval_ms: Some(1_500.0), max_attempts: 100, ..policy() };
    assert_eq!(next(&capped, 60, "Error", 0.0), Some(1_500.0));
    let timed = RetryPolicy { retry_timeout_ms: Some(5_000.0), ..policy() };
    assert_eq!(next(&timed, 1, "Error", 4_999.0), Some(1_000.0));
    assert_eq!(next(&timed, 1, "Error", 5_000.0), None);
    let only = RetryPolicy { retry_kinds: vec!["Busy".into()], ..policy() };
    assert_eq!((next(&only, 1, "Busy", 0.0), next(&only, 1, "Error", 0.0)), (Some(1_000.0), None));
    let never = RetryPolicy { never_retry_kinds: vec!["Busy".into()], ..only };
    assert_eq!(next(&never, 1, "Busy", 0.0), None);
    let fatal = Failure { non_retriable: true, ..Failure::new("Error", "") };
    assert_eq!(policy().next_interval_ms(1, &fatal, 0.0), None);
}

#[test]
fn a_canceled_activity_is_not_repeated() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![retried(0, policy())]);
    turn(&mut instance, vec![failed("Error")], 3_000, vec![]);
    let record = turn(&mut instance, vec![event(1)], 4_000, vec![Action::Cancel { sequence: 0 }]);
    assert_eq!((record.summary.outstanding, record.summary.next_due), (0, None));
    assert!(instance.begin_turn(vec![], Timestamp(9_000_000)).is_none());
}

#[test]
fn a_suspended_execution_takes_nothing_until_it_is_resumed() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![task(0), timer(1, 5_000)]);
    assert_eq!(instance.hold(Hold::Resume, "", Timestamp(3_000)), Err(RuntimeStatus::Running));
    let held = instance.hold(Hold::Suspend, "wait", Timestamp(3_000)).unwrap();
    instance.apply(&held.record);
    assert_eq!((instance.status(), instance.next_due()), (RuntimeStatus::Suspended, None));
    assert_eq!(instance.hold(Hold::Suspend, "", Timestamp(3_000)), Err(RuntimeStatus::Suspended));
    assert!(instance.begin_turn(vec![ended(0), event(1)], Timestamp(9_000)).is_none());
    let resumed = instance.hold(Hold::Resume, "go", Timestamp(9_000)).unwrap();
    instance.apply(&resumed.record);
    assert_eq!(instance.next_due(), Some(Timestamp(5_000)), "it is overdue now");
    assert_eq!(turn(&mut instance, vec![ended(0)], 9_000, vec![]).events.len(), 2);
}

#[test]
fn an_execution_that_has_not_run_is_pending_again_after_a_suspension() {
    let mut instance = fresh();
    for (hold, status) in [(Hold::Suspend, RuntimeStatus::Suspended), (Hold::Resume, RuntimeStatus::Pending)] {
        let held = instance.hold(hold, "", Timestamp(2_000)).unwrap();
        instance.apply(&held.record);
        assert_eq!(instance.status(), status);
    }
    // Recovery picks up what is pending: nothing else tells that there is a first turn to run.
    assert_eq!((instance.next_due(), instance.outstanding().count()), (None, 0));
    assert!(instance.begin_turn(vec![], Timestamp(3_000)).is_some());
}

#[test]
fn what_was_not_received_is_carried_over_continue_as_new() {
    let mut instance = fresh();
    let consume = |index| Action::Consumed { index };
    let status = Action::SetCustomStatus(Json::string("s"));
    turn(&mut instance, vec![event(1), event(2)], 2_000, vec![consume(1), status]);
    let begun = instance.begin_turn(vec![event(3), event(4)], Timestamp(3_000)).unwrap();
    let outcome = GuestOutcome::ContinueAsNew { input: Json::string("again") };
    let guest = Ok(GuestTurn { actions: vec![consume(2)], outcome });
    let ended = instance.end_turn(begun, guest, LIMITS, next).unwrap();
    let following = ended.next.expect("it continues as new");
    let carried: Vec<i64> = following.carried.iter().map(|(number, _)| number.0).collect();
    assert_eq!(carried, [1, 4]);
    assert_eq!(following.custom_status, Some(Json::string("s")));
    let ExecutionStarted { name, execution_id, input, .. } = &*following.started;
    assert_eq!((name.as_str(), execution_id.as_str(), input.as_str()), ("Echo", "next", "\"again\""));
}

#[test]
fn replay_compares_what_the_code_asks_for() {
    let mut instance = fresh();
    let mut records = vec![start_record()];
    assert!(Replay::of(&records).is_none(), "no turn has run");
    records.push(turn(&mut instance, vec![], 2_000, vec![task(0), timer(1, 9_000)]));
    records.push(turn(&mut instance, vec![ended(0), event(1)], 3_000, vec![Action::Cancel { sequence: 1 }]));
    let replay = Replay::of(&records).unwrap();
    assert_eq!(replay.turns, 2);
    assert!(matches!(
        replay.events.as_slice(),
        [
            GuestEvent::TurnStarted(Timestamp(2_000)),
            GuestEvent::ExecutionStarted(_),
            GuestEvent::TurnStarted(Timestamp(3_000)),
            GuestEvent::TaskCompleted(0, _),
            GuestEvent::EventRaised { index: 0, .. }
        ]
    ));
    let same = vec![task(0), timer(1, 9_000), Action::SetCustomStatus(Json::null()), Action::Cancel { sequence: 1 }];
    assert_eq!(replay.check(&waiting(same.clone()).unwrap()), Ok(()));
    let text = replay.check(&waiting(vec![task(0)]).unwrap()).unwrap_err().to_string();
    assert!(
        text.contains("Non-Deterministic") && text.contains("records timer at") && text.contains("nothing"),
        "{text}"
    );
    let ended = GuestTurn { actions: same, outcome: GuestOutcome::Completed(Json::null()) };
    assert!(replay.check(&ended).unwrap_err().to_string().contains("where the history goes on"));
}

/// One thing that a random guest may do in a turn.
#[derive(Clone, Debug)]
enum Step {
    Task,
    Timer(i64),
    Cancel(prop::sample::Index),
    Answer(prop::sample::Index),
    Event,
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            3 => Just(Step::Task),
            2 => (0..50_000_i64).prop_map(Step::Timer),
            1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            4 => any::<prop::sample::Index>().prop_map(Step::Answer),
            2 => Just(Step::Event),
            3 => (0..20_000_i64).prop_map(Step::Wait),
        ],
        1..60,
    )
}

proptest! {
    /// However a history came about: folding it again gives the state that applying step by step gave, its summary is the
    /// last record's, and what is outstanding is what was scheduled and neither ended nor was canceled.
    #[test]
    fn a_fold_equals_incremental_apply(steps in steps()) {
        let mut instance = fresh();
        let mut records = vec![start_record()];
        let (mut now, mut made, mut messages) = (2_000, 0_u32, 0_i64);
        for step in steps {
            let (taken, actions) = match step {
                Step::Task => (vec![], vec![task(made)]),
                Step::Timer(after) => (vec![], vec![timer(made, now + after)]),
                Step::Cancel(_) if made == 0 => continue,
                Step::Cancel(which) => {
                    (vec![], vec![Action::Cancel { sequence: u32::try_from(which.index(made as usize)).unwrap() }])
                }
                Step::Answer(_) if made == 0 => continue,
                Step::Answer(which) => (vec![ended(u32::try_from(which.index(made as usize)).unwrap())], vec![]),
                Step::Event => { messages += 1; (vec![event(messages)], vec![]) }
                Step::Wait(span) => { now += span; (vec![], vec![]) }
            };
            // The code acts only in a turn: an event opens one where nothing else does.
            let taken = if taken.is_empty() && !actions.is_empty() { messages += 1; vec![event(messages)] } else { taken };
            made += u32::try_from(actions.iter().filter(|a| !matches!(a, Action::Cancel { .. })).count()).unwrap();
            if let Some(turn) = instance.begin_turn(taken, Timestamp(now)) {
                let limits = TurnLimits { actions_max: 1_000 };
                let ended = instance.end_turn(turn, waiting(actions), limits, next).unwrap();
                instance.apply(&ended.record);
                records.push(ended.record);
            }
        }
        prop_assert_eq!(&fold(&records), &instance);
        prop_assert_eq!(records.last().unwrap().summary, instance.summary());
        let closed: std::collections::BTreeSet<_> = records.iter().flat_map(|r| &r.events).filter_map(|e| match e {
            HistoryEvent::TaskCompleted { sequence, .. } | HistoryEvent::ActionCanceled { sequence } => Some(*sequence),
            _ => None,
        }).collect();
        let open: Vec<_> = records.iter().flat_map(|r| &r.events).filter_map(|e| match e {
            HistoryEvent::TaskScheduled(task) if !closed.contains(&task.sequence) => Some(task.sequence),
            _ => None,
        }).collect();
        prop_assert_eq!(instance.outstanding().map(|t| t.work.sequence()).collect::<Vec<_>>(), open);
    }
}

#[test]
fn a_timeout_is_told_as_durable_functions_tells_it() {
    use std::time::Duration;
    for (timeout, text) in [
        (Duration::from_secs(1_800), "00:30:00"),
        (Duration::from_millis(1_500), "00:00:01.5000000"),
        (Duration::from_secs(90_061), "1.01:01:01"),
        (Duration::ZERO, "00:00:00"),
    ] {
        let failure = Failure::timed_out("F", timeout);
        assert_eq!(failure.message, format!("Timeout value of {text} exceeded by function 'F'"));
        assert_eq!((failure.kind.as_str(), failure.non_retriable), ("Timeout", false));
    }
}

#[test]
fn a_replaced_component_runs_the_execution_from_then_on_and_changes_nothing_else() {
    let mut instance = fresh();
    let mut records = vec![start_record()];
    let replaced =
        |n: u8| ComponentReplaced { component: Digest([n; 32]), handler: "other".into(), contract: "1.0.1".into() };
    // Before the code has run, and after.
    let replacing = instance.replace_component(replaced(1), Timestamp(1_500));
    instance.apply(&replacing.record);
    records.push(replacing.record);
    assert!(instance.is_new() && instance.status() == RuntimeStatus::Pending);
    records.push(turn(&mut instance, vec![], 2_000, vec![task(0), timer(1, 9_000)]));
    let before = instance.summary();
    let replacing = instance.replace_component(replaced(2), Timestamp(2_500));
    instance.apply(&replacing.record);
    records.push(replacing.record);
    assert_eq!(instance.summary(), before);
    assert_eq!(instance.execution().component, Digest([2; 32]));
    assert_eq!((instance.execution().handler.as_str(), instance.execution().contract.as_str()), ("other", "1.0.1"));
    let replay = Replay::of(&records).unwrap();
    assert!(matches!(replay.events[..], [GuestEvent::TurnStarted(Timestamp(2_000)), GuestEvent::ExecutionStarted(_)]));
    let folded = Instance::fold(instance.key(), instance.id().clone(), instance.generation(), &records).unwrap();
    assert_eq!(folded, instance);
    records.push(turn(&mut instance, vec![ended(0)], 3_000, vec![]));
    assert_eq!(instance.outstanding().count(), 0);
}
