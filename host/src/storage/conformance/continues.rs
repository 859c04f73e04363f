//! Continue-as-new.

use super::*;
use crate::storage::Due;

pub(crate) fn a_continued_instance_is_pending_with_the_new_execution(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    let first = live.clone();
    live.run(storage, 2);
    let next = live.next(5, &[]);
    live.go_on(storage, next);
    let seen = see(storage, "a").unwrap();
    assert_eq!((seen.instance, seen.generation), (first.instance, live.generation));
    assert_eq!((seen.created, seen.updated), (Timestamp(1), Timestamp(5)), "the creation time is the instance's");
    let pending = Summary { status: RuntimeStatus::Pending, custom_status: None, next_due: None, outstanding: 0 };
    assert_eq!((seen.summary, seen.output), (pending, None));
    assert_eq!(seen.started, start_of("a", OverridableStates::None, 5).started);
    let history = seen.history.unwrap();
    assert_eq!(history.len(), 1, "nothing of the old history is left");
    assert_eq!(history[0].events, [HistoryEvent::ExecutionStarted(Box::new((*seen.started).clone()))]);
    let open = ok(storage.open_instances(None, 10));
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].generation, open[0].summary, open[0].has_messages), (live.generation, pending, false));
    let exists = ok(storage.start(start_of("a", OverridableStates::NonRunningStates, 6)));
    let execution_id = ExecutionId("execution-5".into());
    let status = RuntimeStatus::Pending;
    assert_eq!(exists, Started::Exists { generation: live.generation, status, execution_id }, "it stays one instance");
    live.run(storage, 7);
    live.complete(storage, 8);
    assert_eq!(see((backend.open)().as_ref(), "a").unwrap().history.unwrap().len(), 3);
}

pub(crate) fn what_is_carried_is_in_the_inbox_again_in_order(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    for name in ["one", "two", "three", "four"] {
        ok(storage.put_message(event("a", name)));
    }
    // An earlier turn took the first two; this one takes the third, and the fourth is not taken at all.
    let took = vec![MessageNumber(1), MessageNumber(2)];
    let turn = TurnCommit { took, ..live.turn(2, RuntimeStatus::Running, Vec::new()) };
    live.commit(storage, turn);
    ok(storage.put_message(event("a", "five")));
    let took = vec![MessageNumber(3)];
    let next = TurnCommit { took, ..live.next(3, &[(1, "one"), (3, "three")]) };
    live.go_on(storage, next);
    let named = |entries: &[(i64, &str)]| -> Vec<(i64, String)> {
        entries.iter().map(|&(number, name)| (number, name.to_owned())).collect()
    };
    let expected = named(&[(1, "one"), (3, "three"), (4, "four"), (5, "five")]);
    assert_eq!(inbox(storage, &live), expected, "the second was received, all others are there");
    let loaded = load(storage, &live).unwrap();
    assert_eq!((loaded.messages_to, loaded.records.len()), (MessageNumber(5), 1));
    assert!(ok(storage.open_instances(None, 10))[0].has_messages);
    // A message that is carried over again and again keeps its number; new ones go on behind all.
    let took = vec![MessageNumber(1), MessageNumber(3), MessageNumber(4)];
    let next = TurnCommit { took, ..live.next(4, &[(4, "four")]) };
    live.go_on(storage, next);
    ok(storage.put_message(event("a", "six")));
    assert_eq!(inbox(storage, &live), named(&[(4, "four"), (5, "five"), (6, "six")]));
}

pub(crate) fn a_continued_generation_leaves_no_due_entry(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    let turn = with_summary(live.turn(2, RuntimeStatus::Running, Vec::new()), |summary| {
        (summary.next_due, summary.outstanding) = (Some(Timestamp(50)), 2);
    });
    live.commit(storage, turn);
    assert_eq!(ok(storage.due(None, 10)).len(), 1);
    let next = live.next(3, &[]);
    live.go_on(storage, next);
    assert_eq!(ok(storage.due(None, 10)), []);
    let turn = with_summary(live.turn(4, RuntimeStatus::Running, Vec::new()), |summary| {
        summary.next_due = Some(Timestamp(60));
    });
    live.commit(storage, turn);
    let due = Due { at: Timestamp(60), generation: live.generation, instance: live.instance };
    assert_eq!(ok(storage.due(None, 10)), [due]);
}

pub(crate) fn a_custom_status_outlives_its_generation(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    let set = |commit: TurnCommit, status: &str| {
        let mut next = NextExecution::clone(commit.next.as_ref().unwrap());
        next.custom_status = Some(Json::string(status));
        TurnCommit { next: Some(Arc::new(next)), ..commit }
    };
    // The second is so large that SQLite keeps it beside the record.
    for status in ["short".to_owned(), "long".repeat(40_000)] {
        let next = set(live.next(2, &[]), &status);
        live.go_on(storage, next);
        let seen = see(storage, "a").unwrap();
        assert_eq!(seen.custom_status, Some(Json::string(&status)));
        assert_eq!(seen.history.unwrap()[0].events.len(), 2);
        let turn = with_summary(live.turn(3, RuntimeStatus::Running, Vec::new()), |summary| {
            summary.custom_status = Some(TurnNumber::START);
        });
        live.commit(storage, turn);
        let page = ok(storage.list(Query { limit: 1, ..Query::default() }));
        assert_eq!(page.instances[0].custom_status, Some(Json::string(&status)));
    }
    terminate(storage, "a", 9);
    assert_eq!(see(storage, "a").unwrap().custom_status, Some(Json::string(&"long".repeat(40_000))));
}

pub(crate) fn continuing_is_fenced_like_any_turn(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    ok(storage.put_message(event("a", "one")));
    live.run(storage, 2);
    let fenced = |live: &Live, number: u32| {
        let commit = TurnCommit { number: TurnNumber(number), took: vec![MessageNumber(1)], ..live.next(9, &[]) };
        assert_eq!(ok(storage.commit_turn(commit)), Committed::Fenced, "turn {number}");
    };
    fenced(&live, 0);
    fenced(&live, 1);
    fenced(&live, 3);
    assert_eq!(inbox(storage, &live), [(1, "one".to_owned())], "what is fenced takes nothing");
    assert_eq!(see(storage, "a").unwrap().history.unwrap().len(), 2);
    let old = live.clone();
    let next = live.next(3, &[]);
    live.go_on(storage, next.clone());
    assert_eq!(ok(storage.commit_turn(next)), Committed::Fenced, "the same turn twice");
    let turn = old.turn(4, RuntimeStatus::Running, Vec::new());
    assert_eq!(ok(storage.commit_turn(turn)), Committed::Fenced, "the old generation is gone");
    assert_eq!(inbox(storage, &live), [(1, "one".to_owned())]);
    let mut ended = begin(storage, "ended", 1);
    ended.complete(storage, 2);
    fenced(&ended, 2);
    terminate(storage, "a", 5);
    fenced(&live, 1);
    fenced(&live, 2);
    assert_eq!(status(storage, "a"), RuntimeStatus::Terminated);
}

pub(crate) fn records_of_continued_generations_are_collected(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    for time in 2..12 {
        live.run(storage, time);
        live.run(storage, time);
        let next = live.next(time, &[]);
        live.go_on(storage, next);
    }
    // Thirty records.
    assert!(ok(storage.collect(10)), "there is more");
    while ok(storage.collect(10)) {}
    assert_eq!(see(storage, "a").unwrap().history.unwrap().len(), 1);
    live.run(storage, 20);
    live.complete(storage, 21);
    assert_eq!(status((backend.open)().as_ref(), "a"), RuntimeStatus::Completed);
}
