//! Turns, ends, due entries.

use super::*;
use crate::storage::{Due, Output};

pub(crate) fn turns_are_committed_in_order_and_once(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    let first = live.turn(2, RuntimeStatus::Running, vec![HistoryEvent::TimerFired { sequence: 0 }]);
    let skipped = TurnCommit { number: TurnNumber(2), ..first.clone() };
    assert_eq!(ok(storage.commit_turn(skipped)), Committed::Fenced, "a turn is missing before it");
    let again = TurnCommit { number: TurnNumber::START, ..first.clone() };
    assert_eq!(ok(storage.commit_turn(again)), Committed::Fenced, "the start is written once");
    live.commit(storage, first.clone());
    assert_eq!(ok(storage.commit_turn(first.clone())), Committed::Fenced, "the same turn twice");
    live.run(storage, 3);
    let loaded = load(storage, &live).unwrap();
    assert_eq!(loaded.records.len(), 3);
    assert_eq!(loaded.records[1], first.record);
    assert_eq!(status(storage, "a"), RuntimeStatus::Running);
}

pub(crate) fn a_turn_of_a_generation_that_is_gone_is_fenced(backend: &Backend) {
    let storage = &*(backend.open)();
    let fenced = |live: &Live| {
        let turn = live.turn(9, RuntimeStatus::Running, Vec::new());
        assert_eq!(ok(storage.commit_turn(turn)), Committed::Fenced);
    };
    let mut completed = begin(storage, "completed", 1);
    completed.complete(storage, 2);
    fenced(&completed);
    let mut terminated = begin(storage, "terminated", 1);
    terminate(storage, "terminated", 2);
    fenced(&terminated);
    terminated.number = terminated.number.next();
    fenced(&terminated);
    let replaced = begin(storage, "replaced", 1);
    begin_under(storage, "replaced", OverridableStates::AnyState, 2);
    fenced(&replaced);
    ok(storage.purge(Fence::default(), id("terminated")));
    fenced(&terminated);
    let nobody = Live { instance: InstanceKey(1 << 40), ..replaced.clone() };
    fenced(&nobody);
    let confused = Live { instance: completed.instance, ..replaced };
    fenced(&confused);
    assert_eq!(see(storage, "completed").unwrap().history.unwrap().len(), 2);
    assert_eq!(see(storage, "replaced").unwrap().history.unwrap().len(), 1);
}

pub(crate) fn an_end_is_the_last_turn(backend: &Backend) {
    let storage = &*(backend.open)();
    assert_eq!(terminate(storage, "a", 1), Ended::NotFound);
    let mut live = begin(storage, "a", 1);
    live.run(storage, 2);
    let done = Ended::Done { instance: live.instance, generation: live.generation, delivered: vec![] };
    assert_eq!(terminate(storage, "a", 5), done);
    assert_eq!(terminate(storage, "a", 6), Ended::Already(RuntimeStatus::Terminated));
    let seen = see(storage, "a").unwrap();
    assert_eq!((seen.summary.status, seen.updated), (RuntimeStatus::Terminated, Timestamp(5)));
    assert_eq!(seen.output, Some(Output::Terminated("reason 5".to_owned())));
    let history = seen.history.unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(history[2].events, [HistoryEvent::ExecutionTerminated { reason: "reason 5".to_owned() }]);
    assert!(load(storage, &live).is_none());
    let mut other = begin(storage, "b", 1);
    other.complete(storage, 2);
    assert_eq!(terminate(storage, "b", 6), Ended::Already(RuntimeStatus::Completed));
}

pub(crate) fn an_end_keeps_the_custom_status_and_the_order_of_time(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    let set = |text| HistoryEvent::CustomStatusSet { status: Json::string(text) };
    let turn = live.turn(20, RuntimeStatus::Running, vec![set("early"), set("late")]);
    let turn = with_summary(turn, |summary| summary.custom_status = Some(TurnNumber(1)));
    live.commit(storage, turn);
    let turn = live.turn(30, RuntimeStatus::Running, Vec::new());
    let turn = with_summary(turn, |summary| {
        (summary.custom_status, summary.outstanding) = (Some(TurnNumber(1)), 2);
    });
    live.commit(storage, turn);
    assert_eq!(see(storage, "a").unwrap().custom_status, Some(Json::string("late")));
    terminate(storage, "a", 10);
    let seen = see(storage, "a").unwrap();
    assert_eq!(seen.updated, Timestamp(30), "time never goes back");
    assert_eq!(seen.custom_status, Some(Json::string("late")));
    assert_eq!((seen.summary.outstanding, seen.summary.next_due), (0, None));
}

/// Commits a running turn whose earliest timer is due at `due`.
fn arm(storage: &dyn Storage, live: &mut Live, due: Option<i64>) {
    let turn = with_summary(live.turn(2, RuntimeStatus::Running, Vec::new()), |summary| {
        summary.next_due = due.map(Timestamp);
    });
    live.commit(storage, turn);
}

fn due_of(at: i64, live: &Live) -> Due {
    Due { at: Timestamp(at), generation: live.generation, instance: live.instance }
}

pub(crate) fn due_entries_follow_the_summary(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    let due = || ok(storage.due(None, 10));
    assert_eq!(due(), []);
    arm(storage, &mut live, Some(50));
    assert_eq!(due(), [due_of(50, &live)]);
    arm(storage, &mut live, Some(50));
    arm(storage, &mut live, Some(40));
    assert_eq!(due(), [due_of(40, &live)]);
    let fenced = with_summary(live.turn(3, RuntimeStatus::Running, Vec::new()), |summary| {
        summary.next_due = Some(Timestamp(1));
    });
    ok(storage.commit_turn(TurnCommit { number: TurnNumber(1), ..fenced }));
    assert_eq!(due(), [due_of(40, &live)], "what is fenced moves nothing");
    arm(storage, &mut live, None);
    assert_eq!(due(), []);
    arm(storage, &mut live, Some(60));
    terminate(storage, "a", 4);
    assert_eq!(due(), [], "an end drops it");
    let mut live = begin(storage, "a", 5);
    arm(storage, &mut live, Some(70));
    live.complete(storage, 6);
    assert_eq!(due(), [], "completion drops it");
    let mut start = start_of("b", OverridableStates::AnyState, 7);
    Arc::get_mut(&mut start.started).unwrap().scheduled_start = Some(Timestamp(80));
    let Started::Started { instance, generation, .. } = ok(storage.start(start)) else { panic!("b is new") };
    let live = Live { instance, generation, number: TurnNumber::START, due: Some(Timestamp(80)) };
    assert_eq!(due(), [due_of(80, &live)], "a scheduled start is due");
    assert_eq!(see(storage, "b").unwrap().summary.next_due, Some(Timestamp(80)));
    begin_under(storage, "b", OverridableStates::AnyState, 8);
    assert_eq!(due(), [], "replacement drops it");
}

pub(crate) fn due_entries_are_read_in_pages(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut expected = Vec::new();
    for number in 0..25 {
        let mut live = begin(storage, &format!("a{number}"), 1);
        let at = 100 - (number / 5);
        arm(storage, &mut live, Some(at));
        expected.push(due_of(at, &live));
    }
    expected.sort_unstable();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = ok(storage.due(after, 7));
        let Some(&last) = page.last() else { break };
        assert!(page.len() <= 7);
        found.extend(page);
        after = Some(last);
    }
    assert_eq!(found, expected);
}

pub(crate) fn large_payloads_come_back_whole(backend: &Backend) {
    let storage = &*(backend.open)();
    let big = |letter: &str, length: usize| Json::string(&letter.repeat(length));
    let mut start = start_of("a", OverridableStates::NonRunningStates, 1);
    Arc::get_mut(&mut start.started).unwrap().input = big("i", 5_000_000);
    let Started::Started { instance, generation, .. } = ok(storage.start(start)) else { panic!("a is new") };
    let mut live = Live { instance, generation, number: TurnNumber::START, due: None };
    let lengths = [65_533, 65_534, 65_535, 65_536, 200_000, 70_000];
    let events =
        (0..).zip(lengths).map(|(sequence, length)| HistoryEvent::TaskCompleted { sequence, result: big("r", length) });
    // More than a megabyte of results that are small by themselves.
    let many = (10..50).map(|sequence| HistoryEvent::TaskCompleted { sequence, result: big("m", 60_000) });
    let turn = live.turn(2, RuntimeStatus::Running, events.chain(many).collect());
    let record = Arc::clone(&turn.record);
    live.commit(storage, turn);
    let output = HistoryEvent::ExecutionCompleted { output: big("o", 1_000_000) };
    let turn = with_summary(
        live.turn(
            3,
            RuntimeStatus::Completed,
            vec![HistoryEvent::CustomStatusSet { status: big("c", 90_000) }, output],
        ),
        |summary| summary.custom_status = Some(TurnNumber(2)),
    );
    live.commit(storage, turn);
    let seen = see(storage, "a").unwrap();
    assert_eq!(seen.started.input, big("i", 5_000_000));
    assert_eq!(seen.history.unwrap()[1], record);
    assert_eq!(seen.output, Some(Output::Completed(big("o", 1_000_000))));
    assert_eq!(seen.custom_status, Some(big("c", 90_000)));
    let least = ok(storage.snapshot(id("a"), Want::default())).unwrap();
    assert_eq!(least.started.input, Json::null());
}
