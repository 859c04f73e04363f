//! Entities: what programs and clients do to them, the scripted functions, and what must hold of them in the end.
//!
//! A *counter* keeps a sum and the tags of the operations that it ran: each tag is unlike any other, so that what was lost,
//! ran twice or out of order is seen. An *account* counts; only who has locked it sees consecutive numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::executor::block_on;
use serde_json::{Value, json};
use soloist::{
    durable::{
        Action, EntityAction, EntityCalled, EntityId, EntityOperation, EntityRan, EntitySignaled, Failure,
        HistoryEvent, Json, LocksRequested, Section, Timestamp, TurnRecord,
    },
    hub::{ClientError, EntityCall, GuestError, Hub, SignalEntity},
    storage::{EntityQuery, Storage},
};

use crate::{faults::Dice, program::Guest};

/// The entity functions.
pub const FUNCTIONS: [&str; 4] = ["Counter", "Account", "Forwarder", "Brief"];

/// A step that concerns entities.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityStep {
    /// Signals a counter, at once or after so many milliseconds.
    Signal(u64, Option<u64>),
    /// Calls a counter.
    Call(u64),
    /// Calls an operation that fails.
    Fails,
    /// Calls an operation that ends its guest.
    Traps,
    /// Calls an entity function that does not exist.
    Unknown,
    /// Locks both accounts, counts twice in each, waits so many milliseconds in between.
    Section(u64),
    /// Asks for locks against a timer: the loser is canceled or unlocked.
    LockRace(u64),
    /// Locks both accounts and breaks the rules.
    Breaks,
}

pub fn random(dice: &mut Dice) -> EntityStep {
    match dice.below(12) {
        0 | 1 => EntityStep::Signal(dice.below(2), (dice.below(3) == 0).then(|| dice.below(20_000))),
        2 | 3 => EntityStep::Call(dice.below(2)),
        4 => EntityStep::Fails,
        5 => EntityStep::Traps,
        6 => EntityStep::Unknown,
        7 | 8 => EntityStep::Section([0, 0, 3_000][dice.below(3) as usize]),
        9 | 10 => EntityStep::LockRace(dice.below(1_000)),
        _ => EntityStep::Breaks,
    }
}

pub fn id(name: &str, key: &str) -> EntityId {
    EntityId::parse(name, key).expect("a legal id")
}

fn counter(n: u64) -> EntityId {
    id("Counter", &format!("c{n}"))
}

fn accounts() -> Vec<EntityId> {
    Section::ordered(&[id("Account", "b"), id("account", "a"), id("Account", "b")])
}

/// Where a critical section stands.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    lock: u32,
    race: bool,
    breaks: bool,
    pause: u64,
    paused: bool,
    calls: Vec<u32>,
    seen: Vec<i64>,
}

impl Guest {
    fn call_entity(&mut self, entity: EntityId, operation: &str) -> u32 {
        let sequence = self.number();
        let input = self.tag(sequence);
        self.actions.push(Action::CallEntity(EntityCalled { sequence, entity, operation: operation.into(), input }));
        sequence
    }

    fn tag(&self, sequence: u32) -> Json {
        Json::string(&format!("{}/{}/{sequence}", self.instance_id, self.execution_id))
    }

    pub fn begin_entity(&mut self, step: &EntityStep) {
        match step {
            EntityStep::Signal(n, after) => {
                let sequence = self.number();
                let scheduled = after.map(|millis| self.now.plus(Duration::from_millis(millis)));
                let (entity, input) = (counter(*n), self.tag(sequence));
                let operation = "add".to_owned();
                self.actions.push(Action::SignalEntity(EntitySignaled {
                    sequence,
                    entity,
                    operation,
                    input,
                    scheduled,
                }));
                self.end_step(vec![format!("\"signal {sequence}\"")]);
            }
            EntityStep::Call(n) => self.wait_for_call(counter(*n), "add"),
            EntityStep::Fails => self.wait_for_call(counter(0), "fail"),
            EntityStep::Traps => self.wait_for_call(counter(1), "trap"),
            EntityStep::Unknown => self.wait_for_call(id("Nobody", "x"), "add"),
            EntityStep::Section(pause) => self.lock(Inside { pause: *pause, ..Inside::default() }),
            EntityStep::Breaks => self.lock(Inside { breaks: true, ..Inside::default() }),
            EntityStep::LockRace(millis) => {
                self.lock(Inside { race: true, ..Inside::default() });
                self.timer(*millis);
            }
        }
    }

    fn wait_for_call(&mut self, entity: EntityId, operation: &str) {
        let sequence = self.call_entity(entity, operation);
        self.waits.tasks.insert(sequence, None);
    }

    fn lock(&mut self, inside: Inside) {
        let sequence = self.number();
        self.waits.inside = Some(Inside { lock: sequence, ..inside });
        self.actions.push(Action::LockEntities(LocksRequested { sequence, entities: accounts() }));
    }

    fn unlock(&mut self, result: &str) {
        let lock = self.waits.inside.take().expect("it is inside").lock;
        let sequence = self.number();
        self.actions.push(Action::UnlockEntities { sequence, lock });
        self.end_step(vec![format!("\"{result}\"")]);
    }

    pub fn granted(&mut self, sequence: u32) {
        let Some(inside) = self.waits.inside.clone().filter(|inside| inside.lock == sequence) else { return };
        if inside.race {
            let timer = self.waits.timer.take().expect("the race has a timer");
            self.actions.push(Action::Cancel { sequence: timer });
            return self.unlock("race 3");
        }
        let mut calls = Vec::new();
        if inside.breaks {
            calls.push(self.call_entity(counter(0), "add"));
            let nested = self.number();
            let locks = LocksRequested { sequence: nested, entities: vec![counter(0)] };
            self.actions.push(Action::LockEntities(locks));
            calls.push(nested);
        } else {
            calls.extend(accounts().into_iter().map(|account| self.call_entity(account, "count")));
        }
        self.waits.inside = Some(Inside { calls, ..inside });
    }

    /// An answer within a section. True if it was one.
    pub fn inside(&mut self, sequence: u32, result: &str) -> bool {
        let Some(inside) = self.waits.inside.as_mut().filter(|inside| inside.calls.contains(&sequence)) else {
            return false;
        };
        inside.calls.retain(|call| *call != sequence);
        if inside.breaks {
            assert!(result.contains("LockingRulesViolation"), "a rule was not enforced: {result}");
            if inside.calls.is_empty() {
                self.unlock("refused");
            }
            return true;
        }
        inside.seen.push(result.parse().expect("an account counts"));
        if !inside.calls.is_empty() {
            return true;
        }
        if inside.seen.len() == 2 {
            if inside.pause > 0 && !inside.paused {
                inside.paused = true;
                let pause = inside.pause;
                self.timer(pause);
            } else {
                self.count_again();
            }
            return true;
        }
        let mut sums: Vec<i64> = inside.seen[..2].to_vec();
        sums.sort_unstable();
        let mut again: Vec<i64> = inside.seen[2..].to_vec();
        again.sort_unstable();
        let apart = sums.iter().zip(&again).map(|(a, b)| b - a).sum::<i64>();
        self.unlock(if apart == 2 { "section" } else { "torn" });
        true
    }

    fn count_again(&mut self) {
        let calls = accounts().into_iter().map(|account| self.call_entity(account, "count")).collect();
        self.waits.inside.as_mut().expect("it is inside").calls = calls;
    }

    /// A timer fired while a section is open. True if it was its timer.
    pub fn inside_timer(&mut self) -> bool {
        let Some(inside) = self.waits.inside.clone() else { return false };
        self.waits.timer = None;
        if inside.race {
            self.waits.inside = None;
            self.actions.push(Action::Cancel { sequence: inside.lock });
            self.end_step(vec!["\"race 2\"".into()]);
        } else {
            self.count_again();
        }
        true
    }
}

/// Checks what a step added to the output; how many numbers it took.
pub fn check_step(step: &EntityStep, next: &Value, context: &str) -> u32 {
    let text = next.as_str().map_or_else(|| next.to_string(), str::to_owned);
    let good = match step {
        EntityStep::Signal(..) => text.starts_with("signal "),
        EntityStep::Call(_) => text.parse::<u64>().is_ok(),
        EntityStep::Fails => text == "Planned",
        EntityStep::Traps => text == "Trap",
        EntityStep::Unknown => text == "UnknownFunction",
        EntityStep::Section(_) => text == "section",
        EntityStep::LockRace(_) => text.starts_with("race "),
        EntityStep::Breaks => text == "refused",
    };
    assert!(good, "I12: {step:?} gave {text}: {context}");
    match step {
        EntityStep::Section(0) => 6,
        EntityStep::Section(_) => 7,
        EntityStep::Breaks => 4,
        EntityStep::LockRace(_) => text["race ".len()..].parse().expect("a number"),
        EntityStep::Signal(..) | EntityStep::Call(_) | EntityStep::Fails | EntityStep::Traps | EntityStep::Unknown => 1,
    }
}

/// Which entities run a batch right now.
#[derive(Default)]
pub struct Running(Mutex<BTreeSet<EntityId>>);

impl Running {
    fn enter<'a>(&'a self, id: &EntityId) -> impl Drop + use<'a> {
        struct Leave<'a>(&'a Running, EntityId);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.0.lock().expect("no panic while it is locked").remove(&self.1);
            }
        }
        let is_alone = self.0.lock().expect("no panic while it is locked").insert(id.clone());
        assert!(is_alone, "I12: two batches of {id} run at once");
        Leave(self, id.clone())
    }
}

/// Runs a batch, slowly.
pub async fn run(
    running: &Running,
    call: EntityCall,
    delay: impl Future<Output = ()>,
) -> Result<EntityRan, GuestError> {
    let _alone = running.enter(&call.entity);
    delay.await;
    let mut state = call.state.as_ref().map(|state| serde_json::from_str(state.as_str()).expect("JSON"));
    let mut ran = EntityRan { results: vec![], state: None, actions: vec![] };
    for operation in &call.operations {
        assert!(operation.scheduled.is_none_or(|at| at <= call.time), "a scheduled signal came early");
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
        ("counter", "fail") => {
            *state = Some(json!("broken"));
            Err(Some(Failure::new("Planned", "as it should")))
        }
        ("counter", "trap") => Err(None),
        ("counter", _) => {
            let log = state.get_or_insert_with(|| json!([])).as_array_mut().expect("an array");
            log.push(tag);
            Ok(json!(log.len()))
        }
        ("account", _) => {
            let count = state.as_ref().and_then(Value::as_i64).unwrap_or(0) + 1;
            *state = Some(json!(count));
            Ok(json!(count))
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
            Ok(json!(count))
        }
        (_, "delete") => {
            *state = None;
            Ok(Value::Null)
        }
        (..) => {
            *state = Some(tag);
            Ok(Value::Null)
        }
    }
}

/// What clients know of their signals.
#[derive(Clone, Debug, Default)]
struct Told {
    acked: BTreeSet<String>,
    unknown: BTreeSet<String>,
    sent: u64,
    /// Tags that went straight to a counter, unscheduled, in order, by counter.
    in_order: BTreeMap<u64, Vec<String>>,
    deleted: bool,
}

/// What clients do to entities, over all lives.
#[derive(Default)]
pub struct Clients {
    told: Mutex<Told>,
}

impl Clients {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().expect("no panic while it is locked")
    }

    /// Sends some signals, one after the other.
    pub async fn run(&self, hub: Arc<Hub>, signals: u64, dice: u64, now: impl Fn() -> Timestamp) {
        let mut dice = Dice::new(dice);
        while self.told().sent < signals {
            tokio::time::sleep(Duration::from_millis(dice.below(600))).await;
            let n = self.told().sent;
            self.told().sent += 1;
            let tag = format!("client {n}");
            let which = dice.below(5);
            let scheduled = (dice.below(4) == 0).then(|| now().plus(Duration::from_millis(dice.below(9_000))));
            let entity = match which {
                0 | 1 => counter(which),
                2 => id("Forwarder", "f"),
                3 => id("ACCOUNT", "a"),
                _ => id("Brief", "x"),
            };
            if entity.name() == "account" || entity.name() == "brief" {
                // What they keep tells nothing of single signals.
                let _ = hub.signal_entity(signal(entity, "set", &tag, scheduled)).await;
                continue;
            }
            self.told().unknown.insert(tag.clone());
            match hub.signal_entity(signal(entity, "add", &tag, scheduled)).await {
                Ok(()) => {
                    let mut told = self.told();
                    told.unknown.remove(&tag);
                    told.acked.insert(tag.clone());
                    if which < 2 && scheduled.is_none() {
                        told.in_order.entry(which).or_default().push(tag);
                    }
                }
                Err(ClientError::Storage(_)) => {}
                Err(error) => panic!("a signal was refused: {error}"),
            }
        }
    }

    /// Deletes the brief one, and waits until every acknowledged signal has run and nothing is locked.
    pub async fn settle(&self, hub: &Arc<Hub>, storage: &impl Storage, seed: u64) {
        let mut waited = 0;
        while !(self.told().deleted && self.is_quiet(storage)) {
            if !self.told().deleted {
                let delete = hub.signal_entity(signal(id("Brief", "x"), "delete", "", None)).await;
                self.told().deleted = delete.is_ok();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            waited += 1;
            if waited > 4_000 {
                let told = self.told().clone();
                panic!("seed {seed}: I12: entities do not come to rest: {told:?}\n{:?}", all(storage));
            }
        }
    }

    fn is_quiet(&self, storage: &impl Storage) -> bool {
        let logs = logs(storage);
        let ran: BTreeSet<&String> = logs.values().flatten().collect();
        let is_unlocked = all(storage).iter().all(|(_, _, lock, due)| !lock && !due);
        is_unlocked && self.told().acked.iter().all(|tag| ran.contains(tag)) && messages(storage) == 0
    }

    /// What must hold once everything is quiet. `certain` are the tags of operations that must have run.
    pub fn check(&self, storage: &impl Storage, certain: &BTreeSet<String>, context: &str) {
        let told = self.told().clone();
        let logs = logs(storage);
        let mut ran = BTreeSet::new();
        for tag in logs.values().flatten() {
            assert!(ran.insert(tag.clone()), "I12: {tag} ran twice: {context}");
            let is_known = !tag.starts_with("client") || told.acked.contains(tag) || told.unknown.contains(tag);
            assert!(is_known, "I12: {tag} was never sent: {context}");
        }
        for tag in told.acked.iter().chain(certain) {
            assert!(ran.contains(tag), "I12: {tag} was lost: {context}");
        }
        for (n, sent) in &told.in_order {
            let log = logs.get(&format!("c{n}")).map_or(&[][..], Vec::as_slice);
            let order: Vec<_> = log.iter().filter(|tag| sent.contains(tag)).collect();
            assert_eq!(order, sent.iter().collect::<Vec<_>>(), "I12: signals ran out of order: {context}");
        }
    }
}

fn signal(entity: EntityId, operation: &str, tag: &str, scheduled: Option<Timestamp>) -> SignalEntity {
    SignalEntity { entity, operation: operation.into(), input: Json::string(tag), scheduled, trace_context: None }
}

/// The tags of operations that a history says have been sent.
pub fn certain(records: &[Arc<TurnRecord>]) -> BTreeSet<String> {
    let events = || records.iter().flat_map(|record| &record.events);
    let answered: BTreeSet<_> = events()
        .filter_map(|event| match event {
            HistoryEvent::EntityCompleted { sequence, .. } => Some(*sequence),
            _ => None,
        })
        .collect();
    let tags = events().filter_map(|event| match event {
        HistoryEvent::EntitySignaled(signal) => Some(&signal.input),
        HistoryEvent::EntityCalled(call) if call.operation == "add" && answered.contains(&call.sequence) => {
            Some(&call.input)
        }
        _ => None,
    });
    tags.map(|tag| serde_json::from_str(tag.as_str()).expect("a tag is a string")).collect()
}

/// Every entity with a state: its id, the state, whether it is locked, whether a signal waits for its time.
fn all(storage: &impl Storage) -> Vec<(EntityId, Json, bool, bool)> {
    let query = EntityQuery { limit: 1_000, state: true, ..EntityQuery::default() };
    let page = block_on(storage.entities(query)).expect("memory answers");
    let each = page.entities.into_iter().map(|entity| {
        let record = entity.record;
        (
            entity.id,
            record.state.expect("those with a state are listed"),
            record.lock.is_some(),
            record.next_due.is_some(),
        )
    });
    each.collect()
}

/// How many entities have messages.
fn messages(storage: &impl Storage) -> usize {
    let open = block_on(storage.open_instances(None, 10_000)).expect("memory answers");
    open.iter().filter(|open| open.id.is_entity() && open.has_messages).count()
}

fn logs(storage: &impl Storage) -> BTreeMap<String, Vec<String>> {
    let counters = all(storage).into_iter().filter(|(id, ..)| id.name() == "counter");
    let log = |state: &Json| serde_json::from_str(state.as_str()).expect("a counter keeps an array");
    counters.map(|(id, state, ..)| (id.key().to_owned(), log(&state))).collect()
}
