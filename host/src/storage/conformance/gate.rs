//! The singleton gate.

use std::sync::{Arc, Barrier};

use super::*;
use crate::{
    durable::Creation,
    storage::{Purged, Put},
};

const POLICIES: [OverridableStates; 3] =
    [OverridableStates::NonRunningStates, OverridableStates::AnyState, OverridableStates::None];

/// Brings a fresh instance into a status.
fn bring(storage: &dyn Storage, text: &str, status: RuntimeStatus) -> Live {
    let mut live = begin(storage, text, 1);
    match status {
        RuntimeStatus::Pending => {}
        RuntimeStatus::Running | RuntimeStatus::Suspended => {
            let turn = live.turn(2, status, Vec::new());
            live.commit(storage, turn);
        }
        RuntimeStatus::Terminated => {
            terminate(storage, text, 2);
        }
        RuntimeStatus::Completed | RuntimeStatus::Failed | RuntimeStatus::Canceled => {
            live.run(storage, 2);
            let turn = live.turn(3, status, Vec::new());
            live.commit(storage, turn);
        }
        RuntimeStatus::ContinuedAsNew => panic!("no instance stays in that status"),
    }
    live
}

pub(crate) fn a_policy_admits_exactly_the_states_that_it_names(backend: &Backend) {
    let storage = &*(backend.open)();
    for (number, policy) in POLICIES.into_iter().enumerate() {
        for status in RuntimeStatus::ALL.into_iter().filter(|&status| status != RuntimeStatus::ContinuedAsNew) {
            let text = format!("{status} {number}");
            let old = bring(storage, &text, status);
            let result = ok(storage.start(start_of(&text, policy, 9)));
            let seen = see(storage, &text).unwrap();
            if policy.admits(status) {
                let Started::Started { instance, generation, replaced, .. } = result else {
                    panic!("{text}: {result:?}");
                };
                assert_eq!((instance, replaced), (old.instance, Some(old.generation)), "{text}");
                assert!(generation > old.generation, "{text}: generations ascend");
                assert_eq!((seen.generation, seen.summary.status), (generation, RuntimeStatus::Pending), "{text}");
                assert_eq!((seen.started.input.as_str(), seen.created), ("9", Timestamp(9)), "{text}");
            } else {
                let execution_id = ExecutionId("execution-1".into());
                assert_eq!(result, Started::Exists { generation: old.generation, status, execution_id }, "{text}");
                assert_eq!((seen.generation, seen.summary.status), (old.generation, status), "{text}");
                assert_eq!(seen.started.input.as_str(), "1", "{text}");
            }
        }
    }
}

/// Starts one id many times at once, half through each of two independent handles; each racer's answer, and the stored
/// instance as that racer saw it when it was answered.
fn race(backend: &Backend, racers: usize, policy: OverridableStates) -> Vec<(i64, Started, Snapshot)> {
    let handles = [(backend.open)(), (backend.open)()];
    let barrier = Arc::new(Barrier::new(racers));
    let threads: Vec<_> = (0..racers)
        .map(|racer| {
            let (storage, barrier) = (Arc::clone(&handles[racer % 2]), Arc::clone(&barrier));
            let other = Arc::clone(&handles[(racer + 1) % 2]);
            std::thread::spawn(move || {
                let time = racer as i64;
                barrier.wait();
                let answer = ok(storage.start(start_of("one", policy, time)));
                // Through the other handle: what is answered is visible to all.
                (time, answer, see(&*other, "one").expect("who is answered sees the winner"))
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

pub(crate) fn of_racing_starts_of_one_id_exactly_one_is_accepted(backend: &Backend) {
    for policy in [OverridableStates::NonRunningStates, OverridableStates::None] {
        let answers = race(backend, 64, policy);
        let stored = see(&*(backend.open)(), "one").unwrap();
        let winners: Vec<i64> = answers
            .iter()
            .filter(|(_, answer, _)| matches!(answer, Started::Started { .. }))
            .map(|&(time, ..)| time)
            .collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(stored.started.input.as_str(), winners[0].to_string(), "the stored input is the winner's");
        for (_, answer, seen) in &answers {
            assert_eq!((seen.generation, seen.created), (stored.generation, stored.created));
            if let Started::Exists { generation, status, execution_id } = answer {
                assert_eq!((*generation, *status), (stored.generation, RuntimeStatus::Pending));
                assert_eq!(*execution_id, stored.started.execution_id);
            }
        }
        let storage = (backend.open)();
        terminate(&*storage, "one", 100);
        ok(storage.purge(Fence::default(), id("one")));
    }
}

pub(crate) fn racing_starts_under_any_state_all_win_and_one_remains(backend: &Backend) {
    let answers = race(backend, 32, OverridableStates::AnyState);
    let stored = see(&*(backend.open)(), "one").unwrap();
    let mut chain: Vec<(GenerationKey, Option<GenerationKey>, i64)> = answers
        .into_iter()
        .map(|(time, answer, _)| match answer {
            Started::Started { instance, generation, replaced, .. } => {
                assert_eq!(instance, stored.instance);
                (generation, replaced, time)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    chain.sort_unstable();
    assert_eq!(chain[0].1, None);
    assert!(chain.windows(2).all(|pair| pair[1].1 == Some(pair[0].0)), "each took its predecessor's place");
    let &(generation, _, time) = chain.last().unwrap();
    assert_eq!((stored.generation, stored.created), (generation, Timestamp(time)), "the last one remains");
    assert_eq!(ok((backend.open)().open_instances(None, 10)).len(), 1);
}

pub(crate) fn a_replaced_instance_keeps_its_number_and_nothing_else(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut old = begin(storage, "a", 1);
    let turn = with_summary(old.turn(2, RuntimeStatus::Running, Vec::new()), |summary| {
        (summary.next_due, summary.outstanding) = (Some(Timestamp(50)), 3);
    });
    old.commit(storage, turn);
    ok(storage.put_message(event("a", "first")));
    let new = begin_under(storage, "a", OverridableStates::AnyState, 7);
    assert_eq!(new.instance, old.instance);
    let loaded = load(storage, &new).unwrap();
    assert_eq!((loaded.generation, loaded.records.len(), loaded.inbox), (new.generation, 1, Vec::new()));
    assert_eq!(ok(storage.due(None, 10)), []);
    let open = ok(storage.open_instances(None, 10));
    assert_eq!(open.len(), 1);
    let summary = Summary { status: RuntimeStatus::Pending, custom_status: None, next_due: None, outstanding: 0 };
    assert_eq!((open[0].generation, open[0].summary, open[0].has_messages), (new.generation, summary, false));
    assert_eq!(ok(storage.commit_turn(old.turn(8, RuntimeStatus::Running, Vec::new()))), Committed::Fenced);
}

pub(crate) fn a_purged_id_starts_afresh(backend: &Backend) {
    let storage = &*(backend.open)();
    let old = begin(storage, "a", 1);
    terminate(storage, "a", 2);
    ok(storage.purge(Fence::default(), id("a")));
    let result = ok(storage.start(start_of("a", OverridableStates::None, 3)));
    let Started::Started { instance, generation, replaced: None, .. } = result else { panic!("{result:?}") };
    assert!(instance > old.instance && generation > old.generation, "numbers are never used again");
}

pub(crate) fn what_is_meant_for_one_start_reaches_no_later_one(backend: &Backend) {
    let storage = &*(backend.open)();
    let fence = |text| {
        let found = see(storage, text).unwrap();
        let creation = Some(Creation { instance: found.instance, time: found.created });
        Fence { creation, ..Fence::default() }
    };
    let end = |fence| End { fence, id: id("a"), time: Timestamp(50), reason: String::new() };
    let again = |fence, time| {
        let start = Start { fence, ..start_of("a", OverridableStates::AnyState, time) };
        ok(storage.start(start))
    };
    begin(storage, "other", 1);
    let other = fence("other");
    let mut times = 10..;
    // By another start in its place, and by one after a purge.
    for is_purged in [false, true] {
        begin_under(storage, "a", OverridableStates::AnyState, times.next().unwrap());
        let first = fence("a");
        assert!(matches!(
            ok(storage.put_message(PutMessage { fence: first, ..event("a", "x") })),
            Put::Accepted { .. }
        ));
        if is_purged {
            terminate(storage, "a", times.next().unwrap());
            assert_eq!(ok(storage.purge(other, id("a"))), Purged::NotFound);
            assert_eq!(ok(storage.purge(first, id("a"))), Purged::Done);
            assert_eq!(again(first, 90), Started::Changed, "it is gone");
            assert!(see(storage, "a").is_none());
        }
        let second = begin_under(storage, "a", OverridableStates::AnyState, times.next().unwrap());
        for gone in [first, other] {
            assert_eq!(ok(storage.put_message(PutMessage { fence: gone, ..event("a", "y") })), Put::NotFound);
            assert_eq!(ok(storage.end(end(gone))), Ended::NotFound);
            assert_eq!(again(gone, 91), Started::Changed);
        }
        assert_eq!(load(storage, &second).unwrap().inbox, [], "nothing came");
        // What it stems from it keeps as it goes on.
        ok(storage.commit_turn(second.next(40, &[])));
        assert!(matches!(ok(storage.end(end(fence("a")))), Ended::Done { .. }));
        assert_eq!(ok(storage.purge(first, id("a"))), Purged::NotFound);
        assert!(matches!(again(fence("a"), 45), Started::Started { .. }));
    }
}

pub(crate) fn ids_are_case_sensitive(backend: &Backend) {
    let storage = &*(backend.open)();
    let lower = begin(storage, "order ü", 1);
    let upper = begin(storage, "ORDER ü", 2);
    assert_ne!(lower.instance, upper.instance);
    assert_eq!(see(storage, "order ü").unwrap().created, Timestamp(1));
    assert!(see(storage, "order Ü").is_none());
}
