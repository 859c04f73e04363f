//! Entities from outside: the scripted functions, what clients do to them, and what must hold of them in the end (I12): every
//! operation has run once and in order, and nothing is locked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use soloist::{
    ambient::Ambient,
    durable::{
        EntityAction, EntityId, EntityOperation, EntityRan, EntityStart, Failure, HistoryEvent, Json, Timestamp,
    },
    hub::{ClientError, EntityCall, EntityStatusQuery, GuestError, SignalEntity},
    storage::{EntityCommit, EntityQuery, EntitySnapshot, Storage, StorageError},
};

use crate::{
    clients::{Context, may_be_repeated},
    dice::{Dice, Life},
    entities::{counter, id},
    faults::Recorder,
};

/// The entity functions.
pub const FUNCTIONS: [&str; 4] = ["Counter", "Account", "Forwarder", "Brief"];

/// Which entities run a batch right now.
#[derive(Default)]
pub struct Running(Mutex<BTreeSet<EntityId>>);

/// A batch that runs, until it is dropped.
pub struct Alone<'a>(&'a Running, EntityId);

impl Running {
    pub fn enter(&self, id: &EntityId, recorder: &Recorder) -> Alone<'_> {
        if !self.0.lock().expect("no panic while it is locked").insert(id.clone()) {
            recorder.violate(format!("I12: two batches of {id} run at once"));
        }
        Alone(self, id.clone())
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.0.lock().expect("no panic while it is locked").remove(&self.1);
    }
}

/// Runs a batch.
pub fn run(call: &EntityCall, life: &Life, recorder: &Recorder) -> Result<EntityRan, GuestError> {
    let mut state = call.state.as_ref().map(|state| serde_json::from_str(state.as_str()).expect("JSON"));
    let mut ran = EntityRan { results: vec![], state: None, actions: vec![] };
    let latest = life.latest_since(0);
    for operation in &call.operations {
        if let Some(at) = operation.scheduled.filter(|at| *at > call.time || at.0 > latest) {
            recorder.violate(format!("I12: {} took a signal for {at:?} early, at {latest}", call.entity));
        }
        if operation.name == "forbidden" {
            recorder.violate(format!("I12: {} ran what a rule forbids: {operation:?}", call.entity));
        }
        let before = state.clone();
        match operate(&call.entity, &mut state, operation, &mut ran.actions, call.time) {
            Ok(result) => ran.results.push(Ok(Json::parse(result.to_string()).expect("JSON"))),
            Err(None) => return Err(GuestError::Code(Failure::new("Trap", "as planned"))),
            Err(Some(failure)) => {
                state = before;
                ran.results.push(Err(failure));
            }
        }
    }
    ran.state = state.map(|state: Value| Json::parse(state.to_string()).expect("JSON"));
    Ok(ran)
}

fn operate(
    entity: &EntityId,
    state: &mut Option<Value>,
    operation: &EntityOperation,
    actions: &mut Vec<EntityAction>,
    now: Timestamp,
) -> Result<Value, Option<Failure>> {
    let tag: Value = serde_json::from_str(operation.input.as_str()).expect("JSON");
    match (entity.name(), operation.name.as_str()) {
        (_, "delete") => {
            *state = None;
            Ok(Value::Null)
        }
        ("counter", "fail") => {
            *state = Some(json!("broken"));
            Err(Some(Failure::new("Planned", "as it should")))
        }
        ("counter", "trap") => Err(None),
        ("counter" | "account", _) => {
            let log = state.get_or_insert_with(|| json!([])).as_array_mut().expect("an array");
            log.push(tag);
            Ok(json!(log.len()))
        }
        ("forwarder", _) => {
            let count = state.as_ref().and_then(Value::as_u64).unwrap_or(0) + 1;
            *state = Some(json!(count));
            actions.push(EntityAction::Signal {
                entity: counter(count % 2),
                operation: "add".into(),
                input: operation.input.clone(),
                scheduled: count.is_multiple_of(3).then(|| now.plus(Duration::from_millis(700))),
            });
            if count.is_multiple_of(2) {
                // By the tag, which is this operation's alone: a forwarder that was deleted counts from one again.
                let tag = tag.as_str().expect("a tag is a string");
                actions.push(EntityAction::Start(EntityStart {
                    name: "Child".into(),
                    instance_id: Some(format!("started by {tag}")),
                    input: Json::null(),
                    version: None,
                    scheduled_start: None,
                }));
            }
            Ok(json!(count))
        }
        (..) => {
            *state = Some(tag);
            Ok(Value::Null)
        }
    }
}

/// What turns and batches did to entities, over all lives.
#[derive(Debug, Default)]
pub struct Notes {
    /// Tags of operations that a turn may have sent.
    sent: BTreeSet<String>,
    /// Tags of operations that a committed turn sent.
    certain: BTreeSet<String>,
    /// Orchestrations that a committed batch started: each is one operation's.
    started: BTreeSet<String>,
}

impl Notes {
    /// A turn's commit begins, or has been made.
    pub fn turn<'a>(&mut self, events: impl Iterator<Item = &'a HistoryEvent>, is_committed: bool) {
        let notes = if is_committed { &mut self.certain } else { &mut self.sent };
        notes.extend(events.filter_map(|event| {
            let (entity, operation, input) = match event {
                HistoryEvent::EntitySignaled(signal) => (&signal.entity, &signal.operation, &signal.input),
                HistoryEvent::EntityCalled(call) => (&call.entity, &call.operation, &call.input),
                _ => return None,
            };
            let is_kept = matches!(operation.as_str(), "add" | "count") && entity.name() != "nobody";
            is_kept.then(|| serde_json::from_str(input.as_str()).expect("a tag is a string"))
        }));
    }

    /// A batch has been committed. What it started that another batch had started before is an error.
    pub fn batch(&mut self, commit: &EntityCommit) -> Result<(), String> {
        let again = commit.starts.iter().find(|start| !self.started.insert(start.id.as_str().to_owned()));
        again.map_or(Ok(()), |start| Err(format!("I12: two batches started {}", start.id)))
    }
}

/// What clients know of their signals.
#[derive(Clone, Debug, Default)]
struct Told {
    acked: BTreeSet<String>,
    unknown: BTreeSet<String>,
    sent: u64,
    /// Tags that went straight to an entity, unscheduled, in order.
    in_order: BTreeMap<EntityId, Vec<String>>,
    /// What was read of an entity that keeps tags.
    seen: BTreeMap<EntityId, Vec<String>>,
    /// All has been checked: from here on entities are deleted.
    judged: bool,
}

/// What clients do to entities, over all lives.
#[derive(Default)]
pub struct Clients {
    signals: u64,
    told: Mutex<Told>,
}

/// Where a client's signal goes.
fn receiver(which: u64) -> EntityId {
    match which {
        0 | 1 => counter(which),
        2 => id("ACCOUNT", "a"),
        3 => id("Brief", "x"),
        _ => id("Forwarder", "f"),
    }
}

fn keeps_tags(entity: &EntityId) -> bool {
    matches!(entity.name(), "counter" | "account")
}

fn tags(state: &Json) -> Vec<String> {
    serde_json::from_str(state.as_str()).expect("it keeps an array of tags")
}

impl Clients {
    pub fn random(dice: &mut Dice) -> Self {
        Self { signals: [0, 5, 12, 20][dice.below(4) as usize], told: Mutex::default() }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no panic while it is locked")
    }
}

/// Sends signals, one after the other, and reads.
pub async fn client(context: Arc<Context>, seed: u64) {
    let mut dice = Dice::new(seed);
    let clients = &context.entities;
    while clients.told().sent < clients.signals {
        context.life.nap_millis(dice.below(600)).await;
        let tag = {
            let mut told = clients.told();
            told.sent += 1;
            format!("client {}", told.sent)
        };
        let entity = receiver(dice.below(6));
        let after = (dice.below(4) == 0).then(|| Duration::from_millis(dice.below(9_000)));
        send(&context, entity, tag, after).await;
        if dice.one_in(3) {
            read(&context, &receiver(dice.below(3))).await;
        }
    }
}

/// Sends an entity a tag, after a while.
pub async fn send(context: &Context, entity: EntityId, tag: String, after: Option<Duration>) {
    let clients = &context.entities;
    clients.told().unknown.insert(tag.clone());
    let signal = SignalEntity {
        entity: entity.clone(),
        operation: "add".into(),
        input: Json::string(&tag),
        scheduled: after.map(|after| context.life.now().plus(after)),
        trace_context: None,
    };
    match context.hub.signal_entity(signal).await {
        Ok(()) => {
            let mut told = clients.told();
            told.unknown.remove(&tag);
            // What the brief one keeps tells nothing of single signals.
            if entity.name() != "brief" {
                told.acked.insert(tag.clone());
            }
            if keeps_tags(&entity) && after.is_none() {
                told.in_order.entry(entity).or_default().push(tag);
            }
            context.did(if after.is_some() { "entity signaled for later" } else { "entity signaled" });
        }
        Err(ClientError::Storage(StorageError::Full(_) | StorageError::Busy(_))) => {
            // Nothing was stored.
            clients.told().unknown.remove(&tag);
        }
        Err(error) => assert!(may_be_repeated(&error), "a signal was refused: {error}"),
    }
}

/// A later read shows all that an earlier one showed.
async fn read(context: &Context, entity: &EntityId) {
    let status = match context.hub.read_entity(entity).await {
        Ok(status) => status,
        Err(error) => return assert!(may_be_repeated(&error), "an entity's read was refused: {error}"),
    };
    let now = status.and_then(|status| status.state).map(|state| tags(&state)).unwrap_or_default();
    let mut told = context.entities.told();
    let seen = told.seen.entry(entity.clone()).or_default();
    assert!(now.starts_with(seen), "I10, I12: {entity} showed {seen:?}, and then {now:?}");
    *seen = now;
    context.did("entity read");
}

/// Every entity with a state, as storage has it.
async fn all(storage: &dyn Storage) -> Vec<EntitySnapshot> {
    let query = EntityQuery { limit: 1_000, state: true, ..EntityQuery::default() };
    storage.entities(query).await.expect("the real storage answers").entities
}

/// Every entity with a state, as the hub lists them, page by page; `None` if a page could not be had.
async fn list(context: &Context) -> Option<Vec<EntityId>> {
    let mut query = EntityStatusQuery { top: Some(2), ..EntityStatusQuery::default() };
    let mut ids = Vec::new();
    loop {
        let page = match context.hub.list_entities(query.clone()).await {
            Ok(page) => page,
            Err(error) => {
                assert!(may_be_repeated(&error), "a list of entities was refused: {error}");
                return None;
            }
        };
        ids.extend(page.entities.into_iter().map(|entity| entity.id));
        query.continuation = page.continuation;
        if query.continuation.is_none() {
            context.did("entities listed");
            return Some(ids);
        }
    }
}

/// Waits until nothing is sent any more, checks what ran, and deletes every entity.
pub async fn settle(context: &Context) {
    let real = &*context.real;
    for waited in 0.. {
        let open = real.open_instances(None, 1_000).await.expect("the real storage answers");
        let all = all(real).await;
        if !context.entities.told().judged {
            let is_done = open.iter().all(|open| open.id.is_entity() && !open.has_messages);
            let is_free = all.iter().all(|entity| entity.record.lock.is_none() && entity.record.next_due.is_none());
            if is_done && is_free {
                check(context, &all);
                let listed = list(context).await;
                let ids: Vec<_> = all.into_iter().map(|entity| entity.id).collect();
                assert!(listed.is_none_or(|listed| listed == ids), "entities are left out of the list: {ids:?}");
                context.entities.told().judged = true;
                continue;
            }
        } else if open.is_empty() && all.is_empty() {
            return;
        } else if waited % 4 == 0 {
            for entity in all.into_iter().filter(|entity| entity.record.state.is_some()) {
                delete(context, entity.id).await;
            }
        }
        if waited > if context.recorder.is_loose { 40_000 } else { 4_000 } {
            let told = context.entities.told().clone();
            panic!(
                "seed {}: I12: entities do not come to rest: {open:?} {told:?}\n{:?}",
                context.seed,
                self::all(real).await
            );
        }
        context.life.nap_millis(500).await;
    }
}

async fn delete(context: &Context, entity: EntityId) {
    let (operation, input) = ("delete".to_owned(), Json::null());
    let signal = SignalEntity { entity, operation, input, scheduled: None, trace_context: None };
    match context.hub.signal_entity(signal).await {
        Ok(()) => context.did("entity deleted"),
        Err(error) => assert!(may_be_repeated(&error), "a signal was refused: {error}"),
    }
}

/// What must hold once everything is quiet.
fn check(context: &Context, entities: &[EntitySnapshot]) {
    let story = format!("seed {}", context.seed);
    let told = context.entities.told().clone();
    let notes = context.recorder.entities.lock().expect("no panic while it is locked");
    let mut ran = BTreeSet::new();
    for entity in entities.iter().filter(|entity| keeps_tags(&entity.id)) {
        let log = tags(entity.record.state.as_ref().expect("those with a state are listed"));
        for tag in &log {
            assert!(ran.insert(tag.clone()), "I12: {tag} ran twice: {story}");
            let is_known = told.acked.contains(tag) || told.unknown.contains(tag) || notes.sent.contains(tag);
            assert!(is_known, "I12: {tag} was never sent: {story}");
        }
        let sent = told.in_order.get(&entity.id).map_or(&[][..], Vec::as_slice);
        let order: Vec<_> = log.iter().filter(|tag| sent.contains(tag)).collect();
        assert_eq!(order, sent.iter().collect::<Vec<_>>(), "I12: a client's signals ran out of order: {story}");
        in_order(&log, &entity.id, &story);
        let seen = told.seen.get(&entity.id).map_or(&[][..], Vec::as_slice);
        assert!(log.starts_with(seen), "I10, I12: {} showed {seen:?}, and has {log:?}: {story}", entity.id);
    }
    for tag in told.acked.iter().chain(&notes.certain) {
        assert!(ran.contains(tag), "I12: {tag} was lost: {story}");
    }
    for id in &notes.started {
        context.did("entity started an orchestration");
        let is_there = context.recorder.graves_of(id);
        assert!(is_there <= 1, "I12: {id} was started {is_there} times: {story}");
    }
}

/// What an execution sent to an entity ran in the order of its actions, but for signals that were scheduled.
fn in_order(log: &[String], entity: &EntityId, story: &str) {
    let mut last = BTreeMap::new();
    for tag in log {
        let Some((execution, sequence)) = tag.rsplit_once('/') else { continue };
        let Ok(sequence) = sequence.parse::<u32>() else { continue };
        let before = last.insert(execution, sequence);
        assert!(before.is_none_or(|before| before < sequence), "I12: {tag} ran out of order in {entity}: {story}");
    }
}

/// Once everything is purged: what entities started was there, once.
pub fn check_started(context: &Context) {
    let notes = context.recorder.entities.lock().expect("no panic while it is locked");
    for id in &notes.started {
        let graves = context.recorder.graves_of(id);
        assert!(
            graves == 1,
            "I12: an entity started {id} once, and it was there {graves} times: seed {}",
            context.seed
        );
    }
}
