//! Reads, purge, components, handles.

use sha2::Digest as _;

use super::*;
use crate::{
    durable::{ComponentReplaced, Failure},
    storage::{ComponentUse, Output, Purged},
};

pub(crate) fn a_snapshot_returns_what_is_asked_for(backend: &Backend) {
    let storage = &*(backend.open)();
    assert!(see(storage, "a").is_none());
    let mut live = begin(storage, "a", 5);
    live.run(storage, 6);
    let least = ok(storage.snapshot(id("a"), Want::default())).unwrap();
    assert_eq!((least.instance, least.generation), (live.instance, live.generation));
    assert_eq!((least.created, least.updated), (Timestamp(5), Timestamp(6)));
    assert_eq!((least.started.name.as_str(), least.started.input.as_str()), ("Echo", "null"));
    assert!(least.history.is_none() && least.output.is_none() && least.custom_status.is_none());
    let most = see(storage, "a").unwrap();
    assert_eq!(most.started, start_of("a", OverridableStates::None, 5).started);
    let history = most.history.unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[0].events, [HistoryEvent::ExecutionStarted(Box::new((*most.started).clone()))]);
    assert_eq!(history[0].summary.status, RuntimeStatus::Pending);
}

pub(crate) fn a_snapshot_tells_how_the_instance_ended(backend: &Backend) {
    let storage = &*(backend.open)();
    begin(storage, "completed", 1).complete(storage, 2);
    assert_eq!(see(storage, "completed").unwrap().output, Some(Output::Completed(Json::string("done"))));
    let mut live = begin(storage, "failed", 1);
    let failure = Failure::new("Kind", "text");
    let event = HistoryEvent::ExecutionFailed { failure: failure.clone() };
    let turn = live.turn(2, RuntimeStatus::Failed, vec![event]);
    live.commit(storage, turn);
    assert_eq!(see(storage, "failed").unwrap().output, Some(Output::Failed(failure)));
}

pub(crate) fn lists_are_filtered_and_paged_in_order(backend: &Backend) {
    let storage = &*(backend.open)();
    let all: Vec<String> = (0..30).map(|number| format!("{}-{number}", ["b", "a", "ä"][number % 3])).collect();
    for (time, text) in (0..).zip(&all) {
        let mut live = begin(storage, text, time);
        match time % 5 {
            0 => live.complete(storage, time),
            1 => live.run(storage, time),
            _ => {}
        }
    }
    let expected = |keep: &dyn Fn(usize, &str) -> bool| -> Vec<String> {
        all.iter().enumerate().filter(|(number, text)| keep(*number, text)).map(|(_, text)| text.clone()).collect()
    };
    for limit in [1, 4, 100] {
        let query = Query { limit, ..Query::default() };
        assert_eq!(ids(storage, &query), all);
        let prefixed = Query { prefix: Some("a".to_owned()), ..query.clone() };
        assert_eq!(ids(storage, &prefixed), expected(&|_, text| text.starts_with('a')));
        let running = Query { statuses: vec![RuntimeStatus::Running, RuntimeStatus::Completed], ..query.clone() };
        assert_eq!(ids(storage, &running), expected(&|number, _| number % 5 < 2));
        let between = Query { created_from: Some(Timestamp(7)), created_to: Some(Timestamp(12)), ..query.clone() };
        assert_eq!(ids(storage, &between), expected(&|number, _| (7..=12).contains(&number)));
        let nothing = Query { statuses: vec![RuntimeStatus::Failed], ..query.clone() };
        assert_eq!(ids(storage, &nothing), Vec::<String>::new());
    }
    let page = ok(storage.list(Query { limit: 1, input: true, ..Query::default() }));
    assert_eq!(page.instances[0].started.input.as_str(), "0");
    let page = ok(storage.list(Query { limit: 1, ..Query::default() }));
    assert_eq!(page.instances[0].started.input.as_str(), "null");
}

pub(crate) fn a_prefix_is_compared_byte_by_byte(backend: &Backend) {
    let storage = &*(backend.open)();
    for text in ["a%", "a%b", "aXb", "A%", "a_", "a", "a\u{10ffff}\u{10ffff}", "b"] {
        begin(storage, text, 1);
    }
    let find = |prefix: &str| ids(storage, &Query { prefix: Some(prefix.to_owned()), limit: 9, ..Query::default() });
    assert_eq!(find("a%"), ["a%", "a%b"]);
    assert_eq!(find("a\u{10ffff}"), ["a\u{10ffff}\u{10ffff}"]);
    assert_eq!(find("a"), ["a%", "a%b", "aXb", "a_", "a", "a\u{10ffff}\u{10ffff}"]);
    assert_eq!(find("a%b").len() + find("").len(), 9);
}

pub(crate) fn open_instances_are_read_in_pages(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut expected = Vec::new();
    for number in 0..20 {
        let mut live = begin(storage, &format!("a{number}"), 1);
        match number % 3 {
            0 => live.complete(storage, 2),
            1 => {
                let turn = live.turn(2, RuntimeStatus::Running, Vec::new());
                let turn = with_summary(turn, |summary| summary.outstanding = 4);
                live.commit(storage, turn);
                expected.push((live.instance, RuntimeStatus::Running, 4));
            }
            _ => expected.push((live.instance, RuntimeStatus::Pending, 0)),
        }
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = ok(storage.open_instances(after, 3));
        let Some(last) = page.last() else { break };
        after = Some(last.instance);
        assert!(page.len() <= 3);
        found.extend(page.iter().map(|open| (open.instance, open.summary.status, open.summary.outstanding)));
    }
    assert_eq!(found, expected);
}

pub(crate) fn a_purge_is_all_or_nothing(backend: &Backend) {
    let storage = &*(backend.open)();
    let purge = |text| ok(storage.purge(Fence::default(), id(text)));
    assert_eq!(purge("a"), Purged::NotFound);
    let mut live = begin(storage, "a", 1);
    assert_eq!(purge("a"), Purged::Live(RuntimeStatus::Pending));
    live.run(storage, 2);
    assert_eq!(purge("a"), Purged::Live(RuntimeStatus::Running));
    assert_eq!(see(storage, "a").unwrap().history.unwrap().len(), 2, "it stays whole");
    live.complete(storage, 3);
    assert_eq!(purge("a"), Purged::Done);
    assert_eq!(purge("a"), Purged::NotFound);
    assert!(see(storage, "a").is_none() && load(storage, &live).is_none());
    assert_eq!(ids(storage, &Query { limit: 5, ..Query::default() }), Vec::<String>::new());
    assert!(ok(storage.open_instances(None, 5)).is_empty());
}

pub(crate) fn garbage_is_collected_in_slices(backend: &Backend) {
    let storage = &*(backend.open)();
    assert!(!ok(storage.collect(10)), "there is nothing");
    for text in ["a", "b"] {
        let mut live = begin(storage, text, 1);
        for time in 2..20 {
            live.run(storage, time);
        }
        live.complete(storage, 20);
        ok(storage.purge(Fence::default(), id(text)));
    }
    begin(storage, "kept", 1).run(storage, 2);
    // Forty records.
    assert!(ok(storage.collect(30)), "a slice does not delete it all");
    let slices = (0..40).take_while(|_| ok(storage.collect(3))).count();
    assert!((3..=5).contains(&slices), "{slices}");
    assert_eq!(see(storage, "kept").unwrap().history.unwrap().len(), 2);
}

pub(crate) fn components_are_kept_by_digest(backend: &Backend) {
    let storage = &*(backend.open)();
    let bytes: Arc<[u8]> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
    let digest = Digest(sha2::Sha256::digest(&bytes).into());
    assert!(ok(storage.component(digest)).is_none());
    ok(storage.put_component(digest, Arc::clone(&bytes)));
    ok(storage.put_component(digest, Arc::clone(&bytes)));
    assert_eq!(ok((backend.open)().component(digest)), Some(bytes));
}

/// What [`start_of`] starts instances on.
const STARTED_ON: Digest = Digest([7; 32]);
const FIRST: InstanceKey = InstanceKey(i64::MIN);

fn in_use(storage: &dyn Storage, digest: Digest) -> ComponentUse {
    ok(storage.component_use(digest, FIRST, 100))
}

pub(crate) fn a_component_is_needed_by_live_and_failed_instances_that_run_on_it(backend: &Backend) {
    let storage = &*(backend.open)();
    let other = Digest([9; 32]);
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::Nobody);
    begin(storage, "completed", 1).complete(storage, 2);
    begin(storage, "terminated", 3);
    terminate(storage, "terminated", 4);
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::Nobody, "neither goes on");
    let mut failed = begin(storage, "failed", 5);
    let mut pending = begin(storage, "pending", 6);
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::By(failed.instance), "the first that needs it");
    assert_eq!(in_use(storage, other), ComponentUse::Nobody);
    let events = vec![HistoryEvent::ExecutionFailed { failure: Failure::new("Kind", "text") }];
    failed.commit(storage, failed.turn(7, RuntimeStatus::Failed, events));
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::By(failed.instance), "it could be rewound");
    assert_eq!(ok(storage.purge(Fence::default(), id("failed"))), Purged::Done);
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::By(pending.instance));
    // In slices: two have ended, one is gone.
    let slice = ok(storage.component_use(STARTED_ON, FIRST, 2));
    assert_eq!(slice, ComponentUse::SearchFrom(pending.instance));
    assert_eq!(ok(storage.component_use(STARTED_ON, pending.instance, 1)), ComponentUse::By(pending.instance));
    pending.complete(storage, 8);
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::Nobody);
}

pub(crate) fn a_replaced_component_is_needed_no_longer(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    for number in [9, 10] {
        live.run(storage, 2);
        let component = Digest([number; 32]);
        let replaced = ComponentReplaced { component, handler: "echo".into(), contract: "1.0.0".into() };
        let turn = live.turn(3, RuntimeStatus::Running, vec![HistoryEvent::ComponentReplaced(replaced)]);
        live.commit(storage, turn);
        assert_eq!(in_use(storage, component), ComponentUse::By(live.instance));
        assert_eq!(in_use(&*(backend.open)(), Digest([number - 1; 32])), ComponentUse::Nobody);
    }
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::Nobody);
    // An execution that takes its place runs on what it was started on.
    live.go_on(storage, live.next(4, &[]));
    assert_eq!(in_use(storage, STARTED_ON), ComponentUse::By(live.instance));
    assert_eq!(in_use(storage, Digest([10; 32])), ComponentUse::Nobody);
}

pub(crate) fn a_component_is_dropped_once_and_for_every_handle(backend: &Backend) {
    let (one, other) = ((backend.open)(), (backend.open)());
    let (a, b) = (Digest(sha2::Sha256::digest(b"a").into()), Digest(sha2::Sha256::digest(b"b").into()));
    ok(one.put_component(a, Arc::from(&b"a"[..])));
    ok(one.put_component(b, Arc::from(&b"b"[..])));
    let mut both = vec![a, b];
    both.sort();
    assert_eq!(ok(other.components()), both);
    ok(other.drop_component(Fence::default(), a));
    ok(other.drop_component(Fence::default(), a));
    assert!(ok(one.component(a)).is_none());
    assert_eq!(ok(one.components()), [b]);
    ok(one.put_component(a, Arc::from(&b"a"[..])));
    assert_eq!(ok(other.component(a)), Some(Arc::from(&b"a"[..])));
}

pub(crate) fn handles_see_each_others_commits(backend: &Backend) {
    let (one, other) = ((backend.open)(), (backend.open)());
    let mut live = begin(&*one, "a", 1);
    assert_eq!(load(&*other, &live).unwrap().records.len(), 1);
    let exists = ok(other.start(start_of("a", OverridableStates::NonRunningStates, 2)));
    assert!(matches!(exists, Started::Exists { .. }));
    live.run(&*other, 3);
    live.run(&*one, 4);
    let done = Ended::Done { instance: live.instance, generation: live.generation, delivered: vec![] };
    assert_eq!(terminate(&*other, "a", 5), done);
    assert_eq!(ok(one.commit_turn(live.turn(6, RuntimeStatus::Running, Vec::new()))), Committed::Fenced);
    let next = begin(&*one, "b", 1);
    let last = begin(&*other, "c", 1);
    assert!(live.generation < next.generation && next.generation < last.generation, "keys come from the data");
    assert!(one.commits() > 0 && other.commits() > 0);
}

pub(crate) fn everything_is_there_after_reopening(backend: &Backend) {
    let storage = (backend.open)();
    let mut live = begin(&*storage, "a", 1);
    let turn = with_summary(live.turn(2, RuntimeStatus::Running, Vec::new()), |summary| {
        summary.next_due = Some(Timestamp(9));
    });
    live.commit(&*storage, turn);
    ok(storage.put_message(event("a", "x")));
    begin(&*storage, "b", 3).complete(&*storage, 4);
    let (a, b) = (see(&*storage, "a").unwrap(), see(&*storage, "b").unwrap());
    ok(storage.close());
    drop(storage);
    let storage = &*(backend.open)();
    let same = |old: &Snapshot, new: &Snapshot| {
        assert_eq!((old.instance, old.generation, old.summary), (new.instance, new.generation, new.summary));
        assert_eq!((&old.history, &old.output, &old.started), (&new.history, &new.output, &new.started));
    };
    same(&a, &see(storage, "a").unwrap());
    same(&b, &see(storage, "b").unwrap());
    assert_eq!(inbox(storage, &live), [(1, "x".to_owned())]);
    assert_eq!(ok(storage.due(None, 5)).len(), 1);
    live.run(storage, 10);
    assert!(begin(storage, "c", 11).generation > live.generation);
}
