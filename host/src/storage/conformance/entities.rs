//! Entities: made by messages, one record each, and locks that end with their holders.

use std::sync::Arc;

use super::{Backend, Live, begin, event, id, ids, ok, start_of, terminate};
use crate::{
    durable::{
        EntityId, EntityOperation, EntityRecord, ExecutionId, GenerationKey, InboxMessage, InstanceId, Json,
        LockHolder, LockRequest, MessageNumber, OverridableStates, RuntimeStatus, Timestamp, TurnNumber,
    },
    storage::{
        ChildStart, Committed, Delivered, Due, Effects, Ended, EntityCommit, EntityCommitted, EntityQuery, Fence,
        Loaded, Purged, Put, PutMessage, Query, Started, Storage, TurnCommit, Want,
    },
};

pub(super) fn named(name: &str, key: &str) -> EntityId {
    EntityId::parse(name, key).unwrap()
}

pub(super) fn operation(to: &EntityId, name: &str) -> PutMessage {
    let operation = EntityOperation {
        id: name.to_owned(),
        name: name.to_owned(),
        input: Json::string(name),
        sender: None,
        reply: None,
        scheduled: None,
        trace_context: None,
    };
    let body = InboxMessage::EntityOperation(Box::new(operation));
    PutMessage { fence: Fence::default(), id: to.instance_id(), body }
}

/// Puts an operation into an entity's inbox, and loads it.
fn reach(storage: &dyn Storage, to: &EntityId, name: &str) -> Loaded {
    let Put::Accepted { instance, .. } = ok(storage.put_message(operation(to, name))) else {
        panic!("an entity refuses nothing")
    };
    ok(storage.load(instance)).unwrap()
}

/// The commit of a batch that takes everything and leaves this state.
fn batch(loaded: &Loaded, time: i64, state: Option<&str>) -> EntityCommit {
    let (number, before) = loaded.entity.as_ref().unwrap();
    let record = EntityRecord {
        time: Timestamp(time),
        state: state.map(|text| Json::parse(text.to_owned()).unwrap()),
        last_operation: Timestamp(time),
        ..EntityRecord::clone(before)
    };
    EntityCommit {
        fence: Fence::default(),
        instance: loaded.instance,
        generation: loaded.generation,
        number: number.next(),
        record: Arc::new(record),
        took: loaded.inbox.iter().map(|(number, _)| *number).collect(),
        messages: Vec::new(),
        starts: Vec::new(),
        previous_due: before.next_due,
    }
}

fn set(storage: &dyn Storage, entity: &EntityId, time: i64, state: &str) {
    let commit = batch(&reach(storage, entity, "set"), time, Some(state));
    assert_eq!(ok(storage.commit_entity(commit)), EntityCommitted::Committed(Effects::default()));
}

fn state(storage: &dyn Storage, entity: &EntityId) -> Option<String> {
    let read = ok(storage.entity(entity.clone()))?;
    Some(read.record.state.unwrap().as_str().to_owned())
}

pub(crate) fn an_entity_is_made_by_its_first_message_and_is_no_instance(backend: &Backend) {
    let storage = &*(backend.open)();
    let counter = named("Counter", "k");
    let loaded = reach(storage, &counter, "add");
    assert_eq!(loaded.id.as_str(), "@counter@k");
    let (number, record) = loaded.entity.clone().unwrap();
    assert_eq!((number, &*record, loaded.records.len()), (TurnNumber::START, &EntityRecord::new(), 0));
    let again = reach(storage, &counter, "add");
    assert_eq!((again.instance, again.inbox.len()), (loaded.instance, 2), "there is one");
    assert_eq!(state(storage, &counter), None, "it has no state yet");
    let open = ok(storage.open_instances(None, 10));
    assert_eq!((open.len(), open[0].has_messages), (1, true), "recovery finds it");
    // It is no instance to anyone.
    let (id, fence) = (counter.instance_id(), Fence::default());
    assert!(ok(storage.snapshot(id.clone(), Want::default())).is_none());
    assert!(ids(storage, &Query { limit: 10, ..Query::default() }).is_empty());
    assert!(ids(storage, &Query { limit: 10, prefix: Some("@".to_owned()), ..Query::default() }).is_empty());
    assert_eq!(ok(storage.purge(fence, id.clone())), Purged::NotFound);
    let end = crate::storage::End { fence, id, time: Timestamp(1), reason: String::new() };
    assert_eq!(ok(storage.end(end)), Ended::NotFound);
}

pub(crate) fn a_batch_takes_the_place_of_the_record_before_it(backend: &Backend) {
    let storage = &*(backend.open)();
    let counter = named("counter", "k");
    let large = format!("\"{}\"", "x".repeat(70_000));
    for (time, text) in [(5, "1"), (6, large.as_str()), (7, "2"), (8, large.as_str())] {
        let loaded = reach(storage, &counter, "set");
        let commit = batch(&loaded, time, Some(text));
        assert_eq!(ok(storage.commit_entity(commit.clone())), EntityCommitted::Committed(Effects::default()));
        assert_eq!(ok(storage.commit_entity(commit)), EntityCommitted::Fenced, "once");
        assert_eq!(state(storage, &counter).as_deref(), Some(text));
        let after = ok(storage.load(loaded.instance)).unwrap();
        assert_eq!((after.inbox.len(), after.entity.unwrap().1.last_operation), (0, Timestamp(time)));
    }
}

pub(crate) fn an_entity_without_state_goes_once_its_inbox_is_empty(backend: &Backend) {
    let storage = &*(backend.open)();
    let counter = named("counter", "k");
    set(storage, &counter, 1, "1");
    let loaded = reach(storage, &counter, "delete");
    let late = operation(&counter, "late");
    assert!(matches!(ok(storage.put_message(late)), Put::Accepted { .. }));
    assert_eq!(ok(storage.commit_entity(batch(&loaded, 2, None))), EntityCommitted::Committed(Effects::default()));
    assert_eq!(state(storage, &counter), None);
    let loaded = ok(storage.load(loaded.instance)).unwrap();
    assert_eq!(loaded.inbox.len(), 1, "what came late is not lost");
    assert_eq!(ok(storage.commit_entity(batch(&loaded, 3, None))), EntityCommitted::Gone(Effects::default()));
    assert!(ok(storage.load(loaded.instance)).is_none());
    assert_eq!(ok(storage.commit_entity(batch(&loaded, 3, None))), EntityCommitted::Fenced);
    assert!(ok(storage.open_instances(None, 10)).is_empty());
    let anew = reach(storage, &counter, "add");
    assert!(anew.instance > loaded.instance, "another one");
    // A lock keeps it, and so does a message to itself.
    let mut commit = batch(&anew, 4, None);
    Arc::get_mut(&mut commit.record).unwrap().lock = Some(holder(&id("h"), GenerationKey(1), 0));
    assert!(matches!(ok(storage.commit_entity(commit)), EntityCommitted::Committed(_)));
    let mut commit = batch(&reach(storage, &counter, "x"), 5, None);
    Arc::get_mut(&mut commit.record).unwrap().lock = None;
    commit.messages = vec![operation(&counter, "self")];
    assert!(matches!(ok(storage.commit_entity(commit)), EntityCommitted::Committed(_)));
}

pub(crate) fn an_entitys_due_entry_follows_its_record(backend: &Backend) {
    let storage = &*(backend.open)();
    let counter = named("counter", "k");
    let loaded = reach(storage, &counter, "set");
    let mut commit = batch(&loaded, 1, Some("1"));
    Arc::get_mut(&mut commit.record).unwrap().next_due = Some(Timestamp(50));
    ok(storage.commit_entity(commit));
    let due = Due { at: Timestamp(50), generation: loaded.generation, instance: loaded.instance };
    assert_eq!(ok(storage.due(None, 10)), [due]);
    let mut commit = batch(&ok(storage.load(loaded.instance)).unwrap(), 2, Some("1"));
    Arc::get_mut(&mut commit.record).unwrap().next_due = None;
    ok(storage.commit_entity(commit));
    assert!(ok(storage.due(None, 10)).is_empty());
}

pub(crate) fn entities_are_listed_in_pages_by_name_and_time(backend: &Backend) {
    let storage = &*(backend.open)();
    let all =
        [("counter", "", 1), ("counter", "a", 2), ("counter", "b@c", 3), ("counter-x", "a", 4), ("other", "a", 5)];
    for (name, key, time) in all {
        set(storage, &named(name, key), time, "[1]");
    }
    reach(storage, &named("counter", "without a state"), "x");
    let find = |query: EntityQuery| {
        let (mut query, mut found) = (EntityQuery { limit: 2, ..query }, Vec::new());
        loop {
            let page = ok(storage.entities(query.clone()));
            assert!(page.entities.len() <= 2);
            found.extend(page.entities.iter().map(|entity| entity.id.to_string()));
            assert!(page.entities.iter().all(|entity| {
                entity.record.state.as_ref().map(Json::as_str) == Some(if query.state { "[1]" } else { "null" })
            }));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return found,
            }
        }
    };
    let ids = ["@counter-x@a", "@counter@", "@counter@a", "@counter@b@c", "@other@a"];
    assert_eq!(find(EntityQuery::default()), ids);
    let counters = EntityQuery { name: Some("counter".to_owned()), state: true, ..EntityQuery::default() };
    assert_eq!(find(counters.clone()), ids[1..4]);
    let (from, to) = (Some(Timestamp(2)), Some(Timestamp(4)));
    let some = EntityQuery { last_operation_from: from, last_operation_to: to, ..EntityQuery::default() };
    assert_eq!(find(some), ["@counter-x@a", "@counter@a", "@counter@b@c"]);
}

pub(crate) fn a_turns_messages_are_in_its_commit(backend: &Backend) {
    let storage = &*(backend.open)();
    let live = begin(storage, "a", 1);
    begin(storage, "b", 1);
    let counter = named("counter", "k");
    let messages =
        vec![operation(&counter, "one"), event("b", "two"), event("nobody", "three"), operation(&counter, "four")];
    let turn = TurnCommit { messages, ..live.turn(2, RuntimeStatus::Running, Vec::new()) };
    let Committed::Committed(effects) = ok(storage.commit_turn(turn.clone())) else { panic!("it is open") };
    let numbers: Vec<_> = effects.delivered.iter().map(|delivered| delivered.number.0).collect();
    assert_eq!((numbers, effects.dropped), (vec![1, 2, 1], vec![id("nobody")]));
    assert_eq!(ok(storage.commit_turn(turn)), Committed::Fenced, "and are sent once");
    let entity = ok(storage.load(effects.delivered[0].instance)).unwrap();
    assert_eq!((entity.id.as_str(), entity.inbox.len()), ("@counter@k", 2));
    // A batch's likewise; and it starts orchestrations through the gate.
    let mut commit = batch(&entity, 3, Some("1"));
    commit.messages = vec![event("b", "five"), operation(&named("other", "x"), "six")];
    commit.starts = vec![
        start_of("a", OverridableStates::NonRunningStates, 3),
        start_of("c", OverridableStates::NonRunningStates, 3),
    ];
    let EntityCommitted::Committed(effects) = ok(storage.commit_entity(commit)) else { panic!("it is there") };
    assert_eq!((effects.begun.len(), effects.delivered.len()), (1, 2));
    assert_eq!(effects.begun[0].id, id("c"), "the other is live");
}

pub(crate) fn what_a_turn_starts_it_may_send_events_to(backend: &Backend) {
    let storage = &*(backend.open)();
    let live = begin(storage, "a", 1);
    let start = start_of("detached", OverridableStates::NonRunningStates, 2);
    let turn = TurnCommit {
        children: vec![ChildStart { sequence: 0, detached: true, start: Ok(start) }],
        messages: vec![event("detached", "hello")],
        ..live.turn(2, RuntimeStatus::Running, Vec::new())
    };
    let Committed::Committed(effects) = ok(storage.commit_turn(turn)) else { panic!("it is open") };
    assert_eq!((effects.begun.len(), effects.begun[0].replaced, effects.dropped), (1, None, vec![]));
    let started = ok(storage.load(effects.begun[0].instance)).unwrap();
    assert_eq!((started.inbox.len(), started.messages_to), (1, MessageNumber(1)));
    // A live one that a start replaces is told, as its timer must not stay.
    let live = Live { number: live.number.next(), ..live };
    let start = start_of("detached", OverridableStates::AnyState, 3);
    let turn = TurnCommit {
        children: vec![ChildStart { sequence: 1, detached: true, start: Ok(start) }],
        ..live.turn(3, RuntimeStatus::Running, Vec::new())
    };
    let Committed::Committed(again) = ok(storage.commit_turn(turn)) else { panic!("it is open") };
    assert_eq!(again.begun[0].replaced, Some(effects.begun[0].generation));
}

fn holder(instance_id: &InstanceId, generation: GenerationKey, sequence: u32) -> LockHolder {
    LockHolder { instance_id: instance_id.clone(), execution_id: ExecutionId("e".into()), generation, sequence }
}

fn request(text: &str, live: &Live, sequence: u32, position: u32) -> PutMessage {
    let entities = vec![named("account", "a").instance_id(), named("account", "b").instance_id()];
    let to = entities[position as usize].clone();
    let request = LockRequest { holder: holder(&id(text), live.generation, sequence), entities, position };
    PutMessage { fence: Fence::default(), id: to, body: InboxMessage::LockRequest(Box::new(request)) }
}

/// A turn that asks for the locks of two entities, of which the first gets the request.
fn lock(storage: &dyn Storage, text: &str, live: &mut Live, sequence: u32) {
    let turn = TurnCommit {
        messages: vec![request(text, live, sequence, 0)],
        ..live.turn(2, RuntimeStatus::Running, Vec::new())
    };
    assert!(matches!(ok(storage.commit_turn(turn)), Committed::Committed(_)));
    live.number = live.number.next();
}

fn unlocks(delivered: &[Delivered]) -> usize {
    delivered.iter().filter(|delivered| matches!(delivered.body, InboxMessage::Unlock { .. })).count()
}

pub(crate) fn a_lock_ends_with_its_generation(backend: &Backend) {
    let storage = &*(backend.open)();
    // The second account is there, so that its unlock is seen.
    set(storage, &named("account", "b"), 1, "1");
    let end = |text: &str, live: &Live| -> Vec<Delivered> {
        match text {
            "terminated" => match terminate(storage, text, 3) {
                Ended::Done { delivered, .. } => delivered,
                other => panic!("{other:?}"),
            },
            "replaced" => match ok(storage.start(start_of(text, OverridableStates::AnyState, 3))) {
                Started::Started { delivered, .. } => delivered,
                other => panic!("{other:?}"),
            },
            "continued" => match ok(storage.commit_turn(live.next(3, &[]))) {
                Committed::Continued(_, effects) => effects.delivered,
                other => panic!("{other:?}"),
            },
            _ => match ok(storage.commit_turn(live.turn(3, RuntimeStatus::Completed, Vec::new()))) {
                Committed::Committed(effects) => effects.delivered,
                other => panic!("{other:?}"),
            },
        }
    };
    for text in ["completed", "terminated", "replaced", "continued"] {
        let mut live = begin(storage, text, 1);
        lock(storage, text, &mut live, 4);
        assert_eq!(unlocks(&end(text, &live)), 2, "{text}: of both, held or not");
        if matches!(text, "continued" | "replaced") {
            terminate(storage, text, 4);
        }
        let again = begin(storage, text, 5);
        let Ended::Done { delivered, .. } = terminate(storage, text, 6) else { panic!("it is live") };
        assert!(delivered.is_empty(), "{text}: {again:?} has locked nothing");
    }
}

pub(crate) fn a_lock_request_goes_on_only_while_it_stands(backend: &Backend) {
    let storage = &*(backend.open)();
    let mut live = begin(storage, "h", 1);
    lock(storage, "h", &mut live, 4);
    assert!(matches!(ok(storage.put_message(request("h", &live, 4, 1))), Put::Accepted { .. }), "it stands");
    let (generation, sequence) = (live.generation, 4);
    let unlock = |key: &str| PutMessage {
        fence: Fence::default(),
        id: named("account", key).instance_id(),
        body: InboxMessage::Unlock { generation, sequence },
    };
    assert!(matches!(ok(storage.put_message(unlock("b"))), Put::Accepted { .. }));
    assert_eq!(ok(storage.put_message(request("h", &live, 4, 1))), Put::NotFound, "it was given up");
    // Another one of the same holder is another one.
    lock(storage, "h", &mut live, 9);
    assert_eq!(ok(storage.put_message(request("h", &live, 4, 1))), Put::NotFound);
    assert!(matches!(ok(storage.put_message(request("h", &live, 9, 1))), Put::Accepted { .. }));
    terminate(storage, "h", 5);
    assert_eq!(ok(storage.put_message(request("h", &live, 9, 1))), Put::NotFound, "nor when its holder has gone");
    let unlock = PutMessage { id: named("account", "nowhere").instance_id(), ..unlock("b") };
    assert_eq!(ok(storage.put_message(unlock)), Put::NotFound, "an unlock makes no entity");
    let loaded = reach(storage, &named("account", "b"), "x");
    let numbers: Vec<_> = loaded.inbox.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).map(MessageNumber).collect::<Vec<_>>(), "without a gap");
}
