//! Rewind.

use std::collections::BTreeSet;

use super::*;
use crate::{
    durable::{ComponentReplaced, ExecutionRewound, Failure},
    storage::{ChildStart, Due, Purged, Rewind, Rewound, RewoundInstance, Unchanged},
};

/// Commits a turn by which the instance fails.
fn fail(storage: &dyn Storage, live: &mut Live, time: i64) {
    let failed = HistoryEvent::ExecutionFailed { failure: Failure::new("Oops", "it failed") };
    let turn = live.turn(time, RuntimeStatus::Failed, vec![failed]);
    live.commit(storage, turn);
}

fn record(time: i64, summary: impl FnOnce(&mut Summary)) -> Arc<TurnRecord> {
    let rewound = ExecutionRewound {
        reason: "mended".to_owned(),
        from: TurnNumber(2),
        failure: Failure::new("Oops", "it failed"),
        tasks: vec![],
        sent: vec![],
    };
    let mut record = TurnRecord {
        time: Timestamp(time),
        events: vec![HistoryEvent::ExecutionRewound(Box::new(rewound))],
        summary: Summary { status: RuntimeStatus::Running, custom_status: None, next_due: None, outstanding: 1 },
    };
    summary(&mut record.summary);
    Arc::new(record)
}

/// One of a rewind's instances: its last record goes, and one of the rewind comes.
fn rewound(storage: &dyn Storage, text: &str, time: i64) -> RewoundInstance {
    let seen = see(storage, text).unwrap();
    let records = seen.history.unwrap();
    RewoundInstance {
        instance: seen.instance,
        failed: seen.generation,
        from: TurnNumber(u32::try_from(records.len()).unwrap() - 1),
        records: vec![record(time, |_| {})],
        settled: BTreeSet::new(),
        messages: vec![],
        children: vec![],
    }
}

fn rewind(instances: Vec<RewoundInstance>) -> Rewind {
    Rewind { fence: Fence::default(), instances, unchanged: vec![] }
}

fn done(storage: &dyn Storage, asked: Rewind) -> (Vec<Live>, crate::storage::Effects) {
    let Rewound::Done { generations, effects } = ok(storage.rewind(asked.clone())) else { panic!("nothing changed") };
    let lives = asked.instances.iter().zip(generations).map(|(rewound, generation)| {
        assert!(generation > rewound.failed, "generations ascend");
        let number = TurnNumber(rewound.from.0 + u32::try_from(rewound.records.len()).unwrap() - 1);
        let due = rewound.records.last().unwrap().summary.next_due;
        Live { instance: rewound.instance, generation, number, due }
    });
    (lives.collect(), effects)
}

pub(crate) fn a_rewound_instance_runs_on_with_its_records(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut start = start_of("a", OverridableStates::NonRunningStates, 1);
    Arc::get_mut(&mut start.started).unwrap().input = Json::string(&"i".repeat(100_000));
    let Started::Started { instance, generation, .. } = ok(storage.start(start)) else { panic!("a is new") };
    let mut live = Live { instance, generation, number: TurnNumber::START, due: None };
    let large = |letter: &str| Json::string(&letter.repeat(100_000));
    let kept = vec![
        HistoryEvent::TaskCompleted { sequence: 0, result: large("k") },
        HistoryEvent::CustomStatusSet { status: large("s") },
    ];
    let status = |summary: &mut Summary| summary.custom_status = Some(TurnNumber(1));
    let turn = with_summary(live.turn(2, RuntimeStatus::Running, kept), status);
    live.commit(storage, turn);
    let dropped = HistoryEvent::TaskCompleted { sequence: 1, result: large("d") };
    let turn = with_summary(live.turn(3, RuntimeStatus::Running, vec![dropped]), status);
    live.commit(storage, turn);
    let failed = HistoryEvent::ExecutionFailed { failure: Failure::new("Oops", "it failed") };
    let turn = with_summary(live.turn(4, RuntimeStatus::Failed, vec![failed]), status);
    live.commit(storage, turn);

    let before = see(storage, "a").unwrap().history.unwrap();
    let again = TurnRecord {
        events: vec![HistoryEvent::TaskCompleted { sequence: 1, result: large("n") }],
        ..TurnRecord::clone(&before[2])
    };
    let last =
        record(9, |summary| (summary.custom_status, summary.next_due) = (Some(TurnNumber(1)), Some(Timestamp(50))));
    let records = vec![Arc::new(again), last];
    let asked = RewoundInstance { from: TurnNumber(2), records: records.clone(), ..rewound(storage, "a", 9) };
    let (lives, effects) = done(storage, rewind(vec![asked]));
    assert_eq!(effects, crate::storage::Effects::default());
    let [mut live] = <[Live; 1]>::try_from(lives).unwrap();
    let seen = see(storage, "a").unwrap();
    assert_eq!(seen.history.unwrap(), [before[0].clone(), before[1].clone(), records[0].clone(), records[1].clone()]);
    assert_eq!((seen.instance, seen.generation), (instance, live.generation));
    assert_eq!((seen.created, seen.updated), (Timestamp(1), Timestamp(9)));
    assert_eq!((seen.summary, seen.output), (records[1].summary, None));
    assert_eq!(seen.custom_status, Some(large("s")));
    let open = ok(storage.open_instances(None, 10));
    assert_eq!((open.len(), open[0].generation), (1, live.generation));
    let due = Due { at: Timestamp(50), generation: live.generation, instance };
    assert_eq!(ok(storage.due(None, 10)), [due]);
    while ok(storage.collect(1)) {}
    live.run(storage, 10);
    live.complete(storage, 11);
    let seen = see((backend.open)().as_ref(), "a").unwrap();
    assert_eq!((seen.history.unwrap().len(), seen.custom_status), (6, None));
}

pub(crate) fn what_a_failed_instance_was_sent_is_there_once_it_is_rewound(backend: &Backend) {
    let storage = &*(backend.open)();
    let ended = |sequence| InboxMessage::ChildEnded {
        execution_id: ExecutionId("execution-1".into()),
        sequence,
        outcome: Ok(Json::null()),
    };
    let names = |live: &Live| -> Vec<String> {
        let inbox = load(storage, live).unwrap().inbox.into_iter();
        let name = |body| match body {
            InboxMessage::EventRaised { name, .. } => name,
            InboxMessage::ChildEnded { sequence, .. } => format!("child {sequence}"),
            InboxMessage::EntityAnswered { sequence, .. } => format!("answer {sequence}"),
            other => panic!("nobody sent it: {other:?}"),
        };
        inbox.map(|(number, body)| format!("{number} {}", name(body))).collect()
    };
    for text in ["a", "purged", "replaced"] {
        let mut live = begin(storage, text, 1);
        ok(storage.put_message(event(text, "one")));
        for sequence in [3, 4] {
            ok(storage.put_message(PutMessage { fence: Fence::default(), id: id(text), body: ended(sequence) }));
        }
        fail(storage, &mut live, 2);
        assert!(matches!(ok(storage.put_message(event(text, "late"))), crate::storage::Put::Ended(_)));
        // An entity's operation is not repeated: its answer is kept whenever it comes.
        let answer = InboxMessage::EntityAnswered {
            execution_id: ExecutionId("execution-1".into()),
            sequence: 6,
            outcome: Ok(Json::null()),
        };
        let late = PutMessage { fence: Fence::default(), id: id(text), body: answer };
        assert!(matches!(ok(storage.put_message(late)), crate::storage::Put::Ended(_)));
    }
    let asked = RewoundInstance { settled: BTreeSet::from([3]), messages: vec![ended(5)], ..rewound(storage, "a", 3) };
    let (lives, effects) = done(storage, rewind(vec![asked]));
    assert_eq!(names(&lives[0]), ["1 one", "3 child 4", "4 answer 6", "5 child 5"]);
    let delivered: Vec<_> =
        effects.delivered.iter().map(|delivered| (delivered.instance, delivered.number.0)).collect();
    assert_eq!(delivered, [(lives[0].instance, 5)]);
    ok(storage.put_message(event("a", "new")));
    assert_eq!(names(&lives[0]).last().unwrap(), "6 new");
    assert_eq!(ok(storage.purge(Fence::default(), id("purged"))), Purged::Done);
    for text in ["purged", "replaced"] {
        assert_eq!(names(&begin(storage, text, 9)), [""; 0], "{text}");
    }
}

pub(crate) fn a_rewind_is_decided_upon_what_is_there(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    live.run(storage, 2);
    let early = rewound(storage, "a", 9);
    assert_eq!(ok(storage.rewind(rewind(vec![early.clone()]))), Rewound::Changed, "it is live");
    fail(storage, &mut live, 3);
    let other = begin(storage, "other", 1);
    let asked = rewound(storage, "a", 9);
    for (generation, is_live) in [(live.generation, true), (other.generation, false)] {
        let unchanged = vec![Unchanged { instance: other.instance, generation, live: is_live }];
        let refused = Rewind { unchanged, ..rewind(vec![asked.clone()]) };
        assert_eq!(ok(storage.rewind(refused)), Rewound::Changed);
    }
    let wrong = RewoundInstance { failed: other.generation, ..asked.clone() };
    assert_eq!(ok(storage.rewind(rewind(vec![wrong]))), Rewound::Changed);
    assert_eq!(status(storage, "a"), RuntimeStatus::Failed, "nothing was done");
    let unchanged = vec![Unchanged { instance: other.instance, generation: other.generation, live: true }];
    let fine = Rewind { unchanged, ..rewind(vec![asked.clone()]) };
    let racers = [storage.rewind(fine.clone()), storage.rewind(fine)].map(ok);
    assert!(matches!(racers[0], Rewound::Done { .. }));
    assert_eq!(racers[1], Rewound::Changed, "of two one is done");
    let late = live.turn(9, RuntimeStatus::Running, vec![]);
    assert_eq!(ok(storage.commit_turn(late)), Committed::Fenced, "the failed generation is gone");
    let exists = ok(storage.start(start_of("a", OverridableStates::NonRunningStates, 9)));
    assert!(matches!(exists, Started::Exists { status: RuntimeStatus::Running, .. }), "it is live again");
    for end in ["completed", "terminated"] {
        let mut ended = begin(storage, end, 1);
        if end == "completed" {
            ended.complete(storage, 2);
        } else {
            terminate(storage, end, 2);
        }
        assert_eq!(ok(storage.rewind(rewind(vec![rewound(storage, end, 9)]))), Rewound::Changed);
    }
}

pub(crate) fn a_rewind_is_of_all_its_instances_or_none(backend: &Backend) {
    let storage = &*(backend.open)();
    for text in ["parent", "child"] {
        let mut live = begin(storage, text, 1);
        live.run(storage, 2);
        fail(storage, &mut live, 3);
    }
    let both = || rewind(vec![rewound(storage, "parent", 9), rewound(storage, "child", 9)]);
    let stale = both();
    done(storage, rewind(vec![rewound(storage, "child", 8)]));
    assert_eq!(ok(storage.rewind(stale)), Rewound::Changed);
    assert_eq!(status(storage, "parent"), RuntimeStatus::Failed);
    let child = see(storage, "child").unwrap();
    let mut again = Live { instance: child.instance, generation: child.generation, number: TurnNumber(2), due: None };
    fail(storage, &mut again, 9);
    let (lives, _) = done(storage, both());
    for (live, text) in lives.iter().zip(["parent", "child"]) {
        let seen = see(storage, text).unwrap();
        assert_eq!((seen.generation, seen.summary.status), (live.generation, RuntimeStatus::Running));
    }
}

pub(crate) fn a_rewind_starts_children_through_the_gate(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "parent", 1);
    fail(storage, &mut live, 2);
    begin(storage, "taken", 3);
    let start = |sequence, text: &str| ChildStart {
        sequence,
        detached: false,
        start: Ok(start_of(text, OverridableStates::NonRunningStates, 9)),
    };
    let children = vec![start(0, "free"), start(1, "taken")];
    let asked = RewoundInstance { children, ..rewound(storage, "parent", 9) };
    let (lives, effects) = done(storage, rewind(vec![asked]));
    assert_eq!(effects.begun.iter().map(|begun| begun.id.as_str()).collect::<Vec<_>>(), ["free"]);
    assert_eq!(status(storage, "free"), RuntimeStatus::Pending);
    let inbox = load(storage, &lives[0]).unwrap().inbox;
    assert!(matches!(inbox[..], [(MessageNumber(1), InboxMessage::ChildEnded { sequence: 1, outcome: Err(_), .. })]));
    assert_eq!(effects.delivered.len(), 1);
}

pub(crate) fn a_rewound_instance_needs_the_component_that_it_goes_on_with(backend: &Backend) {
    let storage = &*(backend.open)();
    let replaced = |n: u8| {
        let (handler, contract) = ("echo".to_owned(), "1.0.0".to_owned());
        HistoryEvent::ComponentReplaced(ComponentReplaced { component: Digest([n; 32]), handler, contract })
    };
    let uses = |component: u8| {
        let used = ok(storage.component_use(Digest([component; 32]), InstanceKey(0), 10));
        matches!(used, crate::storage::ComponentUse::By(_))
    };
    let mut live = begin(storage, "a", 1);
    let turn = live.turn(2, RuntimeStatus::Running, vec![replaced(8)]);
    live.commit(storage, turn);
    fail(storage, &mut live, 3);
    done(storage, rewind(vec![rewound(storage, "a", 9)]));
    while ok(storage.collect(1)) {}
    assert!(uses(8) && !uses(7), "the kept turns tell");
    let seen = see(storage, "a").unwrap();
    let mut live = Live { instance: seen.instance, generation: seen.generation, number: TurnNumber(2), due: None };
    fail(storage, &mut live, 10);
    let mut asked = rewound(storage, "a", 11);
    let mut last = TurnRecord::clone(&asked.records[0]);
    last.events.push(replaced(9));
    asked.records = vec![Arc::new(last)];
    done(storage, rewind(vec![asked]));
    while ok(storage.collect(1)) {}
    assert!(uses(9) && !uses(8) && !uses(7), "the rewind's own turn tells");
}
