//! The inbox.

use super::*;
use crate::storage::{INBOX_PAGE, Put};

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
    let Started::Started { instance, messages_to, .. } =
        ok(storage.start(start_of("a", OverridableStates::AnyState, 2)))
    else {
        panic!("any state is replaced")
    };
    assert_eq!(messages_to, MessageNumber(2), "all up to it are gone");
    put(storage, "a", "z");
    let loaded = ok(storage.load(instance)).unwrap();
    assert_eq!((loaded.messages_to, loaded.inbox.len()), (MessageNumber(3), 1));
    assert_eq!(loaded.inbox[0].0, MessageNumber(3));
    let fresh = begin(storage, "b", 1);
    assert_eq!(load(storage, &fresh).unwrap().messages_to, MessageNumber(0));
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

pub(crate) fn a_long_inbox_is_read_in_pages_but_an_entitys_whole(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "a", 1);
    let page = INBOX_PAGE as i64;
    for _ in 0..page {
        put(storage, "a", "x");
    }
    let loaded = load(storage, &live).unwrap();
    assert_eq!((loaded.inbox.len(), loaded.messages_to, loaded.has_more), (INBOX_PAGE, MessageNumber(page), false));
    for _ in 0..3 {
        put(storage, "a", "x");
    }
    let loaded = load(storage, &live).unwrap();
    assert_eq!((loaded.inbox.len(), loaded.messages_to, loaded.has_more), (INBOX_PAGE, MessageNumber(page), true));
    let took = (1..=2).map(MessageNumber).collect();
    live.commit(storage, TurnCommit { took, ..live.turn(2, RuntimeStatus::Running, Vec::new()) });
    let loaded = load(storage, &live).unwrap();
    assert_eq!((loaded.inbox[0].0, loaded.messages_to), (MessageNumber(3), MessageNumber(page + 2)));
    assert!(loaded.has_more);
    let took = (3..=3).map(MessageNumber).collect();
    live.commit(storage, TurnCommit { took, ..live.turn(2, RuntimeStatus::Running, Vec::new()) });
    let loaded = load(storage, &live).unwrap();
    assert_eq!((loaded.inbox.len(), loaded.messages_to, loaded.has_more), (INBOX_PAGE, MessageNumber(page + 3), false));
    // What unlocks an entity may be the last of its messages.
    let entity = crate::durable::EntityId::parse("counter", "k").unwrap().instance_id();
    let body = InboxMessage::Unlock { generation: GenerationKey(1), sequence: 0 };
    let unlock = PutMessage { id: entity.clone(), body, ..event("a", "x") };
    let signal = |name: &str| PutMessage { id: entity.clone(), ..event("a", name) };
    let Put::Accepted { instance, .. } = ok(storage.put_message(signal("first"))) else { panic!("it is made") };
    for _ in 0..page {
        ok(storage.put_message(signal("x")));
    }
    ok(storage.put_message(unlock));
    let loaded = ok(storage.load(instance)).unwrap();
    assert_eq!((loaded.inbox.len(), loaded.has_more), (INBOX_PAGE + 2, false));
}
