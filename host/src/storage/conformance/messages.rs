//! The inbox.

use super::*;
use crate::storage::Put;

fn put(storage: &dyn Storage, text: &str, name: &str) -> Put {
    ok(storage.put_message(event(text, name)))
}

fn named(entries: &[(i64, &str)]) -> Vec<(i64, String)> {
    entries.iter().map(|&(number, name)| (number, name.to_owned())).collect()
}

pub(crate) fn messages_are_kept_in_order_until_a_turn_takes_them(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    for (number, name) in [(1, "x"), (2, "y"), (3, "z")] {
        let accepted =
            Put::Accepted { instance: live.instance, generation: live.generation, number: MessageNumber(number) };
        assert_eq!(put(storage, "a", name), accepted);
    }
    assert_eq!(inbox(storage, &live), named(&[(1, "x"), (2, "y"), (3, "z")]));
    assert!(ok(storage.open_instances(None, 10))[0].has_messages);
    let took = vec![MessageNumber(1), MessageNumber(3)];
    let turn = TurnCommit { took, ..live.turn(2, RuntimeStatus::Running, Vec::new()) };
    live.commit(storage, turn);
    assert_eq!(inbox(storage, &live), named(&[(2, "y")]));
    let took = vec![MessageNumber(2)];
    let turn = TurnCommit { took, ..live.turn(2, RuntimeStatus::Running, Vec::new()) };
    let fenced = TurnCommit { number: TurnNumber(1), ..turn.clone() };
    assert_eq!(ok(storage.commit_turn(fenced)), Committed::Fenced);
    assert_eq!(inbox(storage, &live), named(&[(2, "y")]), "what is fenced takes nothing");
    live.commit(storage, turn);
    assert!(!ok(storage.open_instances(None, 10))[0].has_messages);
    put(storage, "a", "w");
    assert_eq!(inbox(storage, &live), named(&[(4, "w")]), "numbers go on after the inbox was empty");
}

pub(crate) fn message_numbers_outlive_generations(backend: &Backend) {
    let storage = &*(backend.open)();
    begin(storage, "a", 1);
    put(storage, "a", "x");
    put(storage, "a", "y");
    let live = begin_under(storage, "a", OverridableStates::AnyState, 2);
    put(storage, "a", "z");
    assert_eq!(inbox(storage, &live), named(&[(3, "z")]));
}

pub(crate) fn messages_are_dropped_when_the_instance_ends(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut completed = begin(storage, "completed", 1);
    begin(storage, "terminated", 1);
    put(storage, "completed", "x");
    put(storage, "terminated", "x");
    completed.complete(storage, 2);
    terminate(storage, "terminated", 2);
    for text in ["completed", "terminated"] {
        let live = begin(storage, text, 3);
        assert_eq!(inbox(storage, &live), []);
    }
}

pub(crate) fn a_message_for_nobody_is_refused(backend: &Backend) {
    let storage = &*(backend.open)();
    assert_eq!(put(storage, "a", "x"), Put::NotFound);
    let mut live = begin(storage, "a", 1);
    live.complete(storage, 2);
    assert_eq!(put(storage, "a", "x"), Put::Ended(RuntimeStatus::Completed));
    ok(storage.purge(Fence::default(), id("a")));
    assert_eq!(put(storage, "a", "x"), Put::NotFound);
}
