//! The executor against scripted hosts: what each event makes the code do, and that batching cannot be observed.

use crate::prelude::*;
use crate::testing::{Action, Cancel, Consumed, Event, Failed, Outcome, Script, TimerFired, TurnStarted, WaitForEvent};
use futures::channel::oneshot;
use futures::future::{Either, join_all, select, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[orchestrator]
async fn t_sequence(ctx: OrchestrationContext, cities: Vec<String>) -> Result<Vec<String>> {
    let mut greetings = Vec::new();
    for city in cities {
        ctx.set_custom_status(&city)?;
        greetings.push(ctx.call_activity("Greet", &city).await?);
    }
    Ok(greetings)
}

#[orchestrator]
async fn t_join_75(ctx: OrchestrationContext) -> Result<u32> {
    let numbers = try_join_all((0..75).map(|n| ctx.call_activity::<u32>("Number", &n))).await?;
    Ok(numbers.iter().sum())
}

#[orchestrator]
async fn t_race(ctx: OrchestrationContext) -> Result<Vec<String>> {
    let mut winners = Vec::new();
    for round in 0..6 {
        let work = ctx.call_activity::<u32>("Work", &round);
        let timer = ctx.create_timer(SECOND);
        winners.push(match select(work, timer).await {
            Either::Left((result, _)) => format!("work {result:?} at {}", ctx.current_time()),
            Either::Right(((), _)) => format!("timer {}", ctx.new_guid()),
        });
    }
    Ok(winners)
}

#[orchestrator]
async fn t_events(ctx: OrchestrationContext) -> Result<Vec<Json>> {
    let mut received = Vec::new();
    for _ in 0..4 {
        if let Some(payload) = ctx.wait_for_event_with_timeout("Evt", SECOND).await? {
            received.push(payload);
        }
        // Two waits for one name, of which the first may be dropped with its event at hand.
        let (first, second) = (ctx.wait_for_event::<Json>("Evt"), ctx.wait_for_event::<Json>("evt"));
        let other = ctx.wait_for_event::<Json>("Other");
        received.push(match select(other, second).await {
            Either::Left((payload, _)) | Either::Right((payload, _)) => payload?,
        });
        drop(first);
    }
    Ok(received)
}

#[orchestrator]
async fn t_select_biased(ctx: OrchestrationContext) -> Result<u32> {
    let mut total = 0;
    let mut work = ctx.call_activity::<u32>("Work", &0);
    let mut event = ctx.wait_for_event::<u32>("Evt");
    let mut timer = ctx.create_timer(SECOND);
    loop {
        futures::select_biased! {
            n = work => { total += n.unwrap_or(1); work = ctx.call_activity("Work", &total); }
            n = event => { total += n.unwrap_or(2); event = ctx.wait_for_event("Evt"); }
            () = timer => { total += 5; timer = ctx.create_timer(SECOND); }
        }
        if total > 20 {
            return Ok(total);
        }
    }
}

#[orchestrator]
async fn t_unordered(ctx: OrchestrationContext) -> Result<Vec<u32>> {
    let (sender, receiver) = oneshot::channel();
    let producer = async {
        let mut tasks: FuturesUnordered<_> = (0..40).map(|n| ctx.call_activity::<u32>("Number", &n)).collect();
        let mut order = Vec::new();
        while let Some(n) = tasks.next().await {
            order.push(n.unwrap_or_default());
            if order.len() == 30 {
                break; // ten are given up
            }
        }
        sender.send(order).ok();
    };
    let consumer = async { receiver.await.map_err(Failure::from) };
    futures::join!(consumer, producer).0
}

#[orchestrator]
async fn t_continue(ctx: OrchestrationContext, left: u32) -> Result<()> {
    ctx.create_timer(SECOND).await;
    let _abandoned = ctx.call_activity::<u32>("Work", &left);
    if left == 0 { Ok(()) } else { ctx.continue_as_new(&(left - 1)) }
}

#[orchestrator]
async fn t_children(ctx: OrchestrationContext) -> Result<String> {
    let started = ctx.start_orchestration("Side", &1, StartOptions::new().with_instance_id("side"));
    let options = SubOrchestrationOptions::new().with_instance_id("child");
    let child: String = ctx.call_sub_orchestration_with_options("Child", &2, options).await?;
    Ok(format!("{child} {}", started.await?))
}

#[orchestrator]
async fn t_stuck() {
    std::future::pending().await
}

#[orchestrator]
async fn t_fails(ctx: OrchestrationContext) -> Result<u32, std::num::ParseIntError> {
    let text = ctx.call_activity::<String>("Read", &()).await.unwrap_or_default();
    text.parse()
}

const FUNCTIONS: [(&str, &str); 9] = [
    ("t_sequence", r#"["a","b","c","d","e"]"#),
    ("t_join_75", "null"),
    ("t_race", "null"),
    ("t_events", "null"),
    ("t_select_biased", "null"),
    ("t_unordered", "null"),
    ("t_continue", "3"),
    ("t_sections", "null"),
    ("t_requests", "null"),
];

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// A host that answers in random order, at times fails a task, and at times answers what was given up already.
fn play(function: &str, input: &str, dice: &mut Dice) -> Script {
    let mut script = Script::start(function, &Json::from_text(input).unwrap());
    let mut open: Vec<Action> = Vec::new();
    for step in 0..400 {
        if !matches!(script.outcome(), Outcome::Waiting) {
            break;
        }
        for action in script.take_actions() {
            match action {
                Action::ScheduleTask(_)
                | Action::CreateTimer(_)
                | Action::CallEntity(_)
                | Action::LockEntities(_)
                | Action::CallHttp(_) => open.push(action),
                Action::Cancel(Cancel { sequence }) if dice.below(2) == 0 => {
                    open.retain(|action| number(action) != Some(sequence));
                }
                _ => {}
            }
        }
        script.pass(Duration::from_millis(dice.below(700) as u64));
        if open.is_empty() || dice.below(4) == 0 {
            script.raise(["Evt", "EVT", "other"][dice.below(3)], &step);
            continue;
        }
        match open.swap_remove(dice.below(open.len())) {
            Action::ScheduleTask(task) if dice.below(12) == 0 => {
                script.fail(task.sequence, Failure::new("unlucky"));
            }
            Action::ScheduleTask(task) if function == "t_sequence" => {
                script.complete(task.sequence, &task.input);
            }
            Action::ScheduleTask(task) => {
                script.complete(task.sequence, &task.sequence);
            }
            Action::CreateTimer(timer) => {
                script.fire(timer.sequence);
            }
            Action::CallHttp(call) if dice.below(4) > 0 => {
                script.complete(call.sequence, &DurableHttpResponse::for_test(200, "[]"));
            }
            call if dice.below(8) == 0 || matches!(call, Action::CallHttp(_)) => {
                script.fail(number(&call).unwrap(), Failure::new("unlucky"));
            }
            call => {
                script.complete(number(&call).unwrap(), &step);
            }
        }
    }
    script
}

fn number(action: &Action) -> Option<u32> {
    match action {
        Action::ScheduleTask(task) => Some(task.sequence),
        Action::CreateTimer(timer) => Some(timer.sequence),
        Action::CallEntity(call) => Some(call.sequence),
        Action::LockEntities(lock) => Some(lock.sequence),
        Action::CallHttp(call) => Some(call.sequence),
        Action::Cancel(cancel) => Some(cancel.sequence),
        _ => None,
    }
}

#[test]
fn how_the_host_batches_events_cannot_be_observed() {
    let mut dice = Dice(7);
    let (mut ended, mut cancels, mut consumed) = (0, 0, 0);
    for (function, input) in FUNCTIONS {
        for round in 0..60 {
            let played = play(function, input, &mut dice);
            ended += usize::from(!matches!(played.outcome(), Outcome::Waiting));
            cancels += played.actions().iter().filter(|action| matches!(action, Action::Cancel(_))).count();
            consumed += played.actions().iter().filter(|action| matches!(action, Action::Consumed(_))).count();

            let mut at_once = Script::prepare(function);
            at_once.call(played.events().to_vec());
            assert_eq!(at_once.actions(), played.actions(), "{function}, round {round}, in one call");
            assert_eq!(at_once.outcome(), played.outcome(), "{function}, round {round}, in one call");

            let mut in_batches = Script::prepare(function);
            let mut rest = played.events();
            while !rest.is_empty() {
                let (batch, later) = rest.split_at(1 + dice.below(rest.len().min(9)));
                in_batches.call(batch.to_vec());
                rest = later;
            }
            assert_eq!(in_batches.actions(), played.actions(), "{function}, round {round}, in batches");
            assert_eq!(in_batches.outcome(), played.outcome(), "{function}, round {round}, in batches");
        }
    }
    assert!(
        ended > 200 && cancels > 200 && consumed > 200,
        "too tame: {ended} ended, {cancels} cancels, {consumed} consumed"
    );
}

#[test]
fn the_host_can_leave_out_leading_actions_that_are_compared() {
    let played = play("t_race", "null", &mut Dice(3));
    for skip in 0..8 {
        let mut replayed = Script::prepare("t_race");
        replayed.set_replaying(true, skip).call(played.events().to_vec());
        let expected: Vec<_> = played.actions().iter().skip(skip as usize).cloned().collect();
        assert_eq!(replayed.actions(), expected);
    }
    // What is not compared is never left out.
    let played = play("t_sequence", FUNCTIONS[0].1, &mut Dice(3));
    let mut replayed = Script::prepare("t_sequence");
    replayed.set_replaying(true, 100).call(played.events().to_vec());
    assert!(replayed.actions().iter().all(|action| matches!(action, Action::SetCustomStatus(_))));
    assert!(!replayed.actions().is_empty());
}

#[test]
fn numbers_go_up_from_0_in_the_order_of_the_calls() {
    let mut script = Script::start("t_join_75", &());
    let numbers: Vec<u32> = script.take_tasks().into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers, (0..75).collect::<Vec<_>>());
    for number in (0..75).rev() {
        assert!(matches!(script.outcome(), Outcome::Waiting));
        script.complete(number, &number);
    }
    assert_eq!(script.output::<u32>(), 74 * 75 / 2);
}

#[test]
fn the_loser_of_a_race_is_cancelled_and_its_late_answer_ignored() {
    let mut script = Script::start("t_race", &());
    script.take_actions();
    script.complete(0, &1);
    assert_eq!(script.take_actions()[0], Action::Cancel(Cancel { sequence: 1 }));
    script.fire(1);
    assert_eq!((script.take_actions(), script.outcome()), (vec![], &Outcome::Waiting));
    script.fire(3);
    assert_eq!(script.take_actions()[0], Action::Cancel(Cancel { sequence: 2 }));
}

#[orchestrator]
async fn t_two_events(ctx: OrchestrationContext) -> Result<(Json, Json)> {
    ctx.create_timer(SECOND).await;
    let early: Json = ctx.wait_for_event("evt").await?;
    drop(ctx.wait_for_event::<Json>("evt")); // takes nothing, though an event may be there
    Ok((early, ctx.wait_for_event("EVT").await?))
}

#[test]
fn events_are_kept_in_order_until_the_code_receives_them() {
    let mut script = Script::start("t_two_events", &());
    script.raise("Evt", &"first").raise("unasked", &0).raise("eVT", &"second");
    assert!(!script.actions().iter().any(|action| matches!(action, Action::Consumed(_))));
    script.take_actions();
    script.fire(0);
    let wait = |name: &str| Action::WaitForEvent(WaitForEvent { name: name.into() });
    let consumed = |message| Action::Consumed(Consumed { message });
    assert_eq!(script.take_actions(), [wait("evt"), consumed(0), wait("evt"), wait("EVT"), consumed(2)]);
    assert_eq!(script.output::<(String, String)>(), ("first".into(), "second".into()));
}

#[test]
fn continue_as_new_is_an_outcome_with_the_next_input() {
    let mut script = Script::start("t_continue", &1);
    script.fire(0);
    let Outcome::ContinueAsNew(next) = script.outcome() else { panic!("{:?}", script.outcome()) };
    assert_eq!(next.input, "0");
    let mut script = Script::start("t_continue", &0);
    assert_eq!(script.fire(0).outcome(), &Outcome::Completed("null".into()));
}

#[test]
fn nothing_is_recorded_after_the_outcome() {
    let mut script = Script::start("t_continue", &0);
    script.fire(0).take_actions();
    let outcome = script.outcome().clone();
    script.raise("Evt", &1).complete(1, &1).complete(99, &1);
    assert_eq!((script.take_actions(), script.outcome()), (vec![], &outcome));
}

#[test]
fn children_and_detached_starts_are_answered_each_in_its_own_way() {
    let mut script = Script::start("t_children", &());
    let [Action::StartOrchestration(side), Action::CreateSubOrchestration(child)] = &script.take_actions()[..] else {
        panic!("{:?}", script.actions())
    };
    assert_eq!((side.sequence, side.instance_id.as_deref()), (0, Some("side")));
    assert_eq!((child.sequence, child.instance_id.as_deref()), (1, Some("child")));
    script.complete(1, &"done");
    script.feed(vec![Event::DetachedStartCompleted(crate::testing::Completed {
        sequence: 0,
        output: "\"side\"".into(),
    })]);
    assert_eq!(script.output::<String>(), "done side");
}

#[test]
fn awaiting_what_nothing_can_wake_fails_as_stuck() {
    assert_eq!(Script::start("t_stuck", &()).failure().kind(), "Stuck");
}

#[test]
fn an_error_fails_the_orchestration_under_its_types_name() {
    let mut script = Script::start("t_fails", &());
    script.complete(0, &"x");
    assert_eq!(script.failure().kind(), "ParseIntError");
    let script = Script::start("t_sequence", &7);
    assert_eq!(script.failure().kind(), "InvalidPayload");
    assert!(script.failure().message().starts_with("the input of orchestrator 't_sequence' cannot be read: "));
}

fn fault(script: &Script) -> &str {
    let Outcome::Faulted(failure) = script.outcome() else { panic!("not faulted: {:?}", script.outcome()) };
    &failure.message
}

#[test]
fn a_history_of_other_code_faults() {
    let unmade = Event::TimerFired(TimerFired { sequence: 75 });
    let mut script = Script::start("t_join_75", &());
    script.feed(vec![unmade]);
    assert_eq!(fault(&script), "the history answers action 75, which this code never made; it made 75");
    assert_eq!(script.actions().len(), 75, "actions of the events before are kept");

    let mut script = Script::start("t_join_75", &());
    script.fire(3);
    assert_eq!(fault(&script), "the history answers action 3 as Timer, but this code made it Activity");

    let mut script = Script::prepare("t_race");
    script
        .call(vec![Event::TurnStarted(TurnStarted { timestamp: 0.0 }), Event::TimerFired(TimerFired { sequence: 0 })]);
    assert_eq!(fault(&script), "the history does not begin with execution-started");

    assert!(fault(&Script::start("t_nothing", &())).contains("'t_race'"), "the known functions are listed");
}

#[test]
fn facts_clock_and_guids_are_those_of_the_execution() {
    #[orchestrator]
    async fn t_facts(ctx: OrchestrationContext) -> (String, String, String, [String; 2], bool) {
        let guids = [ctx.new_guid(), ctx.new_guid()];
        let replaying = ctx.is_replaying();
        (ctx.instance_id(), ctx.execution_id(), ctx.current_time().to_string(), guids, replaying)
    }
    type Facts = (String, String, String, [String; 2], bool);
    let live = Script::start("t_facts", &());
    let facts: Facts = live.output();
    assert_eq!(facts.0, "test-instance");
    assert_eq!(facts.1, "test-execution");
    assert_eq!(facts.2, "2026-01-01T00:00:00.000Z");
    assert_ne!(facts.3[0], facts.3[1]);
    assert!(!facts.4);
    let mut replayed = Script::prepare("t_facts");
    replayed.set_replaying(true, 0).call(live.events().to_vec());
    let again: Facts = replayed.output();
    assert_eq!((again.3, again.4), (facts.3, true));
}

#[test]
fn a_failed_activity_can_be_handled() {
    #[orchestrator]
    async fn t_handles(ctx: OrchestrationContext) -> String {
        let results = join_all([ctx.call_activity::<u8>("A", &1), ctx.call_activity::<u8>("B", &2)]).await;
        results.into_iter().map(|result| result.map_or_else(|f| f.kind().to_owned(), |n| n.to_string())).collect()
    }
    let mut script = Script::start("t_handles", &());
    script.fail(1, Failure::new("no").with_kind("Broken")).complete(0, &7);
    assert_eq!(script.output::<String>(), "7Broken");
    let mut script = Script::start("t_handles", &());
    let failed = Failed { sequence: 0, failure: Failure::new("no").into_wit() };
    script.feed(vec![Event::TaskFailed(failed)]).complete(1, &"not a number");
    assert_eq!(script.output::<String>(), "ErrorInvalidPayload");
}
