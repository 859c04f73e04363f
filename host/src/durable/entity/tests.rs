//! Batches: what is taken, what is left, and in which order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::durable::{InboxMessage, InstanceKey, MessageNumber, TurnNumber};

const LIMITS: BatchLimits = BatchLimits { operations_max: 100, bytes_max: 1_000_000 };

fn entity() -> Entity {
    let id = EntityId::parse("Counter", "k").unwrap();
    Entity::new(InstanceKey(1), id, GenerationKey(1), TurnNumber::START, Arc::new(EntityRecord::new()))
}

fn operation(name: &str) -> EntityOperation {
    EntityOperation {
        id: format!("id {name}"),
        name: name.into(),
        input: Json::null(),
        sender: None,
        reply: None,
        scheduled: None,
        trace_context: None,
    }
}

fn put(operation: EntityOperation) -> InboxMessage {
    InboxMessage::EntityOperation(Box::new(operation))
}

fn holder(n: i64) -> LockHolder {
    LockHolder {
        instance_id: InstanceId::from_stored(&format!("i{n}")),
        execution_id: ExecutionId(format!("e{n}").into()),
        generation: GenerationKey(n),
        sequence: 0,
    }
}

fn of_holder(n: i64, name: &str) -> InboxMessage {
    let LockHolder { instance_id, execution_id, .. } = holder(n);
    let sender = Some(Sender { instance_id, execution_id: Some(execution_id) });
    put(EntityOperation { sender, reply: Some(9), ..operation(name) })
}

fn request(n: i64) -> InboxMessage {
    let entities = vec![entity().id().instance_id(), InstanceId::from_stored("@other@x")];
    InboxMessage::LockRequest(Box::new(LockRequest { holder: holder(n), entities, position: 0 }))
}

fn unlock(n: i64) -> InboxMessage {
    InboxMessage::Unlock { generation: GenerationKey(n), sequence: 0 }
}

/// Runs a batch whose operations all return null; the names of those that ran.
fn run(entity: &mut Entity, now: i64) -> Option<(Vec<String>, EndedBatch)> {
    let batch = entity.plan(Timestamp(now), LIMITS)?;
    let names = batch.operations.iter().map(|operation| operation.name.clone()).collect();
    let results = batch.operations.iter().map(|_| Ok(Json::null())).collect::<Vec<_>>();
    let ran = (!results.is_empty()).then(|| EntityRan { results, state: Some(Json::null()), actions: vec![] });
    let ended = entity.end(batch, ran);
    entity.apply(&ended);
    Some((names, ended))
}

fn add(entity: &mut Entity, from: i64, messages: Vec<InboxMessage>) {
    for (number, message) in (from..).zip(messages) {
        entity.add(MessageNumber(number), message);
    }
}

#[test]
fn ids_are_lower_case_names_and_any_key() {
    let id = EntityId::parse("Counter", "K@1").unwrap();
    assert_eq!(id.to_string(), "@counter@K@1");
    assert_eq!(EntityId::of_instance(&id.instance_id()), Some(id));
    assert_eq!(EntityId::of_instance(&InstanceId::from_stored("a@b")), None);
    assert!(EntityId::parse("c", "").is_ok(), "the empty key is one");
    for (name, key) in [("", "k"), ("a@b", "k"), ("a", "k/x"), ("a#", "k"), ("a", "\n")] {
        assert!(EntityId::parse(name, key).is_err(), "{name:?} {key:?}");
    }
    assert_eq!(EntityId::parse("c", &"x".repeat(255)), Err(EntityIdError::TooLong));
}

#[test]
fn operations_run_in_order_and_answer_whoever_waits() {
    let mut entity = entity();
    assert!(run(&mut entity, 1).is_none(), "there is nothing to do");
    add(&mut entity, 1, vec![put(operation("a")), of_holder(3, "b"), put(operation("c"))]);
    let (ran, ended) = run(&mut entity, 5).unwrap();
    assert_eq!(ran, ["a", "b", "c"]);
    assert_eq!(ended.took, [MessageNumber(1), MessageNumber(2), MessageNumber(3)]);
    let [(to, InboxMessage::EntityAnswered { sequence: 9, outcome: Ok(_), .. })] = ended.messages.as_slice() else {
        panic!("{:?}", ended.messages)
    };
    assert_eq!(to.as_str(), "i3");
    assert_eq!((ended.record.last_operation, ended.number), (Timestamp(5), TurnNumber(1)));
    assert!(run(&mut entity, 6).is_none());
}

#[test]
fn a_full_batch_takes_nothing_more_so_that_nothing_overtakes() {
    let mut entity = entity();
    add(&mut entity, 1, vec![put(operation("a")), put(operation("b")), request(1), put(operation("c"))]);
    let batch = entity.plan(Timestamp(1), BatchLimits { operations_max: 1, ..LIMITS }).unwrap();
    assert_eq!((batch.operations.len(), batch.execution_id()), (1, "id a"));
    let large = EntityOperation { input: Json::string(&"x".repeat(100)), ..operation("large") };
    add(&mut entity, 0, vec![put(large)]);
    let batch = entity.plan(Timestamp(1), BatchLimits { bytes_max: 10, ..LIMITS }).unwrap();
    assert_eq!(batch.operations.len(), 1, "one is always taken");
}

#[test]
fn what_waits_counts_as_memory() {
    let mut entity = entity();
    let large = || EntityOperation { input: Json::string(&"x".repeat(100_000)), ..operation("large") };
    add(&mut entity, 1, vec![put(large()), put(EntityOperation { scheduled: Some(Timestamp(9)), ..large() })]);
    assert!((200_000..210_000).contains(&entity.bytes()), "{}", entity.bytes());
}

#[test]
fn a_locked_entity_serves_its_holder_and_the_others_wait_in_order() {
    let mut entity = entity();
    add(
        &mut entity,
        1,
        vec![put(operation("before")), request(1), put(operation("x")), request(2), of_holder(1, "mine")],
    );
    let (ran, ended) = run(&mut entity, 1).unwrap();
    assert_eq!(ran, ["before", "mine"]);
    let goes_on = |message: &(InstanceId, InboxMessage)| {
        matches!(&message.1, InboxMessage::LockRequest(request) if request.position == 1)
            && message.0.as_str() == "@other@x"
    };
    assert!(ended.messages.iter().any(goes_on), "{:?}", ended.messages);
    assert!(run(&mut entity, 2).is_none());
    add(&mut entity, 6, vec![unlock(1), of_holder(2, "next")]);
    let (ran, ended) = run(&mut entity, 3).unwrap();
    assert_eq!((ran, ended.record.lock.clone()), (vec!["x".to_owned(), "next".to_owned()], Some(holder(2))));
    add(&mut entity, 8, vec![unlock(2)]);
    let (_, ended) = run(&mut entity, 4).unwrap();
    assert_eq!(ended.record.lock, None);
}

#[test]
fn the_last_entity_of_a_request_grants_it() {
    let mut entity = entity();
    let mut last = request(1);
    if let InboxMessage::LockRequest(request) = &mut last {
        request.position = 1;
    }
    add(&mut entity, 1, vec![last]);
    let (_, ended) = run(&mut entity, 1).unwrap();
    let [(to, InboxMessage::LockAnswered { outcome: Ok(()), .. })] = ended.messages.as_slice() else {
        panic!("{:?}", ended.messages)
    };
    assert_eq!(to.as_str(), "i1");
}

#[test]
fn a_request_that_was_given_up_is_dropped_and_so_is_a_stray_unlock() {
    let mut entity = entity();
    add(&mut entity, 1, vec![request(1), request(2), unlock(2), unlock(7), unlock(1), put(operation("a"))]);
    let (ran, ended) = run(&mut entity, 1).unwrap();
    assert_eq!((ran, ended.record.lock.clone(), ended.messages.len()), (vec!["a".to_owned()], None, 0));
    assert_eq!(ended.took.len(), 6);
}

#[test]
fn scheduled_signals_wait_for_their_time_and_come_in_its_order() {
    let mut entity = entity();
    let at = |name: &str, at| put(EntityOperation { scheduled: Some(Timestamp(at)), ..operation(name) });
    add(&mut entity, 1, vec![at("late", 30), at("early", 20), put(operation("now"))]);
    let (ran, ended) = run(&mut entity, 10).unwrap();
    assert_eq!((ran, ended.record.next_due), (vec!["now".to_owned()], Some(Timestamp(20))));
    assert!(run(&mut entity, 19).is_none());
    let (ran, ended) = run(&mut entity, 40).unwrap();
    assert_eq!((ran, ended.record.next_due), (vec!["early".to_owned(), "late".to_owned()], None));
    // One that is alone costs a record of the host's, without a guest: the timers must know of it.
    add(&mut entity, 4, vec![at("alone", 90)]);
    let (ran, ended) = run(&mut entity, 50).unwrap();
    assert!(ran.is_empty() && ended.record.next_due == Some(Timestamp(90)) && ended.took.is_empty());
    // What is due while it is locked waits for the lock, not for a time.
    add(&mut entity, 5, vec![request(1)]);
    run(&mut entity, 60).unwrap();
    let (_, ended) = run(&mut entity, 95).unwrap();
    assert_eq!((ended.record.next_due, ended.took.len()), (None, 0));
    add(&mut entity, 6, vec![unlock(1)]);
    assert_eq!(run(&mut entity, 96).unwrap().0, ["alone"]);
}

#[test]
fn what_a_batch_asks_for_has_ids_that_a_repetition_has_too() {
    let mut entity = entity();
    add(&mut entity, 1, vec![put(operation("a"))]);
    let ended = || {
        let batch = entity.plan(Timestamp(1), LIMITS).unwrap();
        let signal = EntityAction::Signal {
            entity: EntityId::parse("other", "x").unwrap(),
            operation: "add".into(),
            input: Json::null(),
            scheduled: None,
        };
        let actions = vec![signal.clone(), signal];
        entity.end(batch, Some(EntityRan { results: vec![Ok(Json::null())], state: None, actions }))
    };
    assert_eq!(ended(), ended());
    let ids: BTreeSet<_> = ended()
        .messages
        .into_iter()
        .map(|(_, message)| match message {
            InboxMessage::EntityOperation(operation) => operation.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), 2, "and differ from each other");
}

/// What reaches an entity, in any order that storage allows.
#[derive(Clone, Debug)]
enum Arrives {
    Signal,
    Scheduled(i64),
    Request(i64),
    Unlock(i64),
    OfHolder(i64),
}

fn arrives() -> impl Strategy<Value = Arrives> {
    prop_oneof![
        Just(Arrives::Signal),
        (0..60i64).prop_map(Arrives::Scheduled),
        (1..4i64).prop_map(Arrives::Request),
        (1..4i64).prop_map(Arrives::Unlock),
        (1..4i64).prop_map(Arrives::OfHolder),
    ]
}

proptest! {
    /// However messages arrive and batches fall: everything runs once, in order; while it is locked only its holder's; and
    /// how an entity was rebuilt from record and inbox makes no difference.
    #[test]
    fn everything_runs_once_and_in_order(
        rounds in proptest::collection::vec(proptest::collection::vec(arrives(), 0..6), 1..12),
        operations_max in 1..4usize,
    ) {
        let limits = BatchLimits { operations_max, ..LIMITS };
        let (mut entity, mut inbox, mut number, mut ran) = (entity(), Vec::new(), 0, Vec::new());
        let unlocks = vec![Arrives::Unlock(1), Arrives::Unlock(2), Arrives::Unlock(3)];
        let closing = (0..12).map(|_| unlocks.clone());
        for (time, round) in (0..).step_by(10).zip(rounds.into_iter().chain(closing)) {
            for arrival in round {
                number += 1;
                let name = format!("{number}");
                let message = match arrival {
                    Arrives::Signal => put(operation(&name)),
                    Arrives::Scheduled(at) => {
                        put(EntityOperation { scheduled: Some(Timestamp(at)), ..operation(&name) })
                    }
                    Arrives::Request(n) => request(n),
                    Arrives::Unlock(n) => unlock(n),
                    Arrives::OfHolder(n) => of_holder(n, &name),
                };
                inbox.push((MessageNumber(number), message.clone()));
                entity.add(MessageNumber(number), message);
            }
            while let Some(batch) = entity.plan(Timestamp(time), limits) {
                let mut rebuilt = Entity::new(entity.key, entity.id.clone(), entity.generation, entity.turn, entity.record.clone());
                inbox.iter().cloned().for_each(|(number, message)| rebuilt.add(number, message));
                prop_assert_eq!(rebuilt.plan(Timestamp(time), limits), Some(batch.clone()));
                prop_assert!(batch.operations.len() <= operations_max);
                for operation in &batch.operations {
                    prop_assert!(operation.scheduled.is_none_or(|at| at.0 <= time), "never early");
                }
                ran.extend(batch.operations.clone());
                let results = batch.operations.iter().map(|_| Ok(Json::null())).collect();
                let ended = entity.end(batch, Some(EntityRan { results, state: None, actions: vec![] }));
                inbox.retain(|(number, _)| !ended.took.contains(number));
                entity.apply(&ended);
                prop_assert_eq!(entity.ready.len() + entity.scheduled.len(), inbox.len());
            }
        }
        let count = |sender: Option<&str>| ran.iter().filter(|operation| {
            operation.scheduled.is_none() && operation.sender.as_ref().map(|s| s.instance_id.as_str()) == sender
        }).map(|operation| operation.name.parse::<i64>().unwrap()).collect::<Vec<_>>();
        for sender in [None, Some("i1"), Some("i2"), Some("i3")] {
            prop_assert!(count(sender).windows(2).all(|pair| pair[0] < pair[1]), "in order per sender");
        }
        let names: BTreeSet<_> = ran.iter().map(|operation| &operation.name).collect();
        prop_assert_eq!(names.len(), ran.len(), "once");
        prop_assert!(inbox.is_empty(), "nothing is left when every lock is released: {:?}", inbox);
    }
}
