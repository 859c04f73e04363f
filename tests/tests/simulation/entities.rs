//! What programs do with entities: steps that signal, call and lock them.
//!
//! A *counter* and an *account* keep the tags of the operations that they ran: each tag is unlike any other, so that what was
//! lost, ran twice or out of order is seen. Their answer is how many they have run; only who has locked the accounts sees
//! consecutive numbers. The functions themselves, and what must hold of them in the end, are in `entity_world.rs`.

use std::time::Duration;

use serde_json::Value;
use soloist::durable::{Action, EntityCalled, EntityId, EntitySignaled, Json, LocksRequested, Section};

use crate::{dice::Dice, guest::State};

/// A step that concerns entities.
#[derive(Clone, Debug, PartialEq)]
pub enum EntityStep {
    /// Signals a counter.
    Signal(u64),
    /// Signals a counter, for so many milliseconds later.
    SignalLater(u64, u64),
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
    /// Locks both accounts, counts in each, and never unlocks; only before the end.
    Keep,
    /// Asks for both locks and waits so many milliseconds, whether they are granted or not; only before the end.
    Ask(u64),
}

/// The name of every production.
pub const STEPS: &[&str] = &[
    "entity signal",
    "scheduled entity signal",
    "entity call",
    "failing operation",
    "trapping operation",
    "unknown entity",
    "critical section",
    "race of locks and timer",
    "broken rule",
    "locks kept to the end",
    "locks awaited to the end",
];

/// A random step.
pub fn random(dice: &mut Dice) -> EntityStep {
    match dice.below(12) {
        0 => EntityStep::Signal(dice.below(2)),
        1 => EntityStep::SignalLater(dice.below(2), dice.below(20_000)),
        2 | 3 => EntityStep::Call(dice.below(2)),
        4 => EntityStep::Fails,
        5 => EntityStep::Traps,
        6 => EntityStep::Unknown,
        7 | 8 => EntityStep::Section([0, 0, 3_000][dice.below(3) as usize]),
        9 | 10 => EntityStep::LockRace(dice.below(1_000)),
        _ => EntityStep::Breaks,
    }
}

/// A random step for the end of a program: what it locks is released by the execution's end.
pub fn random_last(dice: &mut Dice) -> EntityStep {
    if dice.below(2) == 0 { EntityStep::Keep } else { EntityStep::Ask(dice.below(2_000)) }
}

pub fn id(name: &str, key: &str) -> EntityId {
    EntityId::parse(name, key).expect("a legal id")
}

pub fn counter(n: u64) -> EntityId {
    id("Counter", &format!("c{n}"))
}

fn accounts() -> Vec<EntityId> {
    Section::ordered(&[id("Account", "b"), id("account", "a"), id("Account", "b")])
}

impl EntityStep {
    pub fn name(&self) -> &'static str {
        let number = match self {
            Self::Signal(_) => 0,
            Self::SignalLater(..) => 1,
            Self::Call(_) => 2,
            Self::Fails => 3,
            Self::Traps => 4,
            Self::Unknown => 5,
            Self::Section(_) => 6,
            Self::LockRace(_) => 7,
            Self::Breaks => 8,
            Self::Keep => 9,
            Self::Ask(_) => 10,
        };
        STEPS[number]
    }

    /// Checks what a step added to the output; how many numbers it took.
    pub fn check(&self, next: &Value, context: &str) -> u32 {
        let text = next.as_str().map_or_else(|| next.to_string(), str::to_owned);
        let good = match self {
            Self::Signal(_) | Self::SignalLater(..) => text == "signal",
            Self::Call(_) => text.parse::<u64>().is_ok(),
            Self::Fails => text == "Planned",
            Self::Traps => text == "Trap",
            Self::Unknown => text == "UnknownFunction",
            Self::Section(_) => text == "section",
            Self::LockRace(_) => text == "race 2" || text == "race 3",
            Self::Breaks => text == "refused",
            Self::Keep => text == "kept",
            Self::Ask(_) => text == "t",
        };
        assert!(good, "I12: {self:?} gave {text}: {context}");
        match self {
            Self::Section(0) => 6,
            Self::Section(_) => 7,
            Self::Breaks => 4,
            Self::LockRace(_) => text["race ".len()..].parse().expect("a number"),
            Self::Keep => 3,
            Self::Ask(_) => 2,
            Self::Signal(_) | Self::SignalLater(..) | Self::Call(_) | Self::Fails | Self::Traps | Self::Unknown => 1,
        }
    }
}

/// What goes on once the locks of a section are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Counts, waits so many milliseconds if that is not 0, counts again.
    #[default]
    Counts,
    Pauses(u64),
    /// Unlocks at once; the timer that it races with is canceled.
    Races,
    Breaks,
    Keeps,
}

/// Where a critical section stands.
#[derive(Clone, Debug, Default)]
pub struct Inside {
    lock: u32,
    kind: Kind,
    calls: Vec<u32>,
    seen: Vec<i64>,
}

impl State {
    /// The tag of an operation: who sent it, and as which action.
    fn tag(&self, sequence: &str) -> Json {
        Json::string(&format!("{}/{}/{sequence}", self.id, self.execution_id))
    }

    fn call_entity(&mut self, entity: EntityId, operation: &str) -> u32 {
        let sequence = self.number();
        let input = self.tag(&sequence.to_string());
        self.actions.push(Action::CallEntity(EntityCalled { sequence, entity, operation: operation.into(), input }));
        sequence
    }

    pub fn signal_entity(&mut self, entity: EntityId, operation: &str, after: Option<u64>) {
        let sequence = self.number();
        let now = self.now.expect("a turn has begun");
        self.actions.push(Action::SignalEntity(EntitySignaled {
            sequence,
            entity,
            operation: operation.into(),
            // A scheduled one keeps no order: it is tagged so.
            input: if after.is_some() {
                self.tag(&format!("{sequence} later"))
            } else {
                self.tag(&sequence.to_string())
            },
            scheduled: after.map(|millis| now.plus(Duration::from_millis(millis))),
        }));
    }

    pub fn begin_entity(&mut self, step: &EntityStep) {
        match step {
            EntityStep::Signal(n) => {
                self.signal_entity(counter(*n), "add", None);
                self.end_step(vec!["\"signal\"".into()]);
            }
            EntityStep::SignalLater(n, millis) => {
                self.signal_entity(counter(*n), "add", Some(*millis));
                self.end_step(vec!["\"signal\"".into()]);
            }
            EntityStep::Call(n) => self.wait_for_call(counter(*n), "add"),
            EntityStep::Fails => self.wait_for_call(counter(0), "fail"),
            EntityStep::Traps => self.wait_for_call(counter(1), "trap"),
            EntityStep::Unknown => self.wait_for_call(id("Nobody", "x"), "add"),
            EntityStep::Section(0) => self.lock(Kind::Counts),
            EntityStep::Section(pause) => self.lock(Kind::Pauses(*pause)),
            EntityStep::Breaks => self.lock(Kind::Breaks),
            EntityStep::Keep => self.lock(Kind::Keeps),
            EntityStep::LockRace(millis) => {
                self.lock(Kind::Races);
                self.timer(*millis);
            }
            EntityStep::Ask(millis) => {
                self.lock(Kind::Keeps);
                self.waits.inside = None;
                self.timer(*millis);
            }
        }
    }

    fn wait_for_call(&mut self, entity: EntityId, operation: &str) {
        let sequence = self.call_entity(entity, operation);
        self.waits.tasks.insert(sequence, None);
    }

    fn lock(&mut self, kind: Kind) {
        let sequence = self.number();
        self.waits.inside = Some(Inside { lock: sequence, kind, ..Inside::default() });
        self.actions.push(Action::LockEntities(LocksRequested { sequence, entities: accounts() }));
    }

    fn unlock(&mut self, result: &str) {
        let lock = self.waits.inside.take().expect("it is inside").lock;
        let sequence = self.number();
        self.actions.push(Action::UnlockEntities { sequence, lock });
        self.end_step(vec![format!("\"{result}\"")]);
    }

    /// The locks of a section are held.
    pub fn granted(&mut self, sequence: u32) {
        let Some(inside) = self.waits.inside.as_ref().filter(|inside| inside.lock == sequence) else { return };
        match inside.kind {
            Kind::Races => {
                let timer = self.waits.timer.take().expect("the race has a timer");
                self.actions.push(Action::Cancel { sequence: timer });
                self.unlock("race 3");
            }
            Kind::Breaks => {
                let call = self.call_entity(counter(0), "forbidden");
                let nested = self.number();
                let locks = LocksRequested { sequence: nested, entities: vec![counter(0)] };
                self.actions.push(Action::LockEntities(locks));
                self.waits.inside.as_mut().expect("checked above").calls = vec![call, nested];
            }
            Kind::Counts | Kind::Pauses(_) | Kind::Keeps => self.count(),
        }
    }

    fn count(&mut self) {
        let calls = accounts().into_iter().map(|account| self.call_entity(account, "count")).collect();
        self.waits.inside.as_mut().expect("it is inside").calls = calls;
    }

    /// An answer within a section. True if it was one.
    pub fn inside(&mut self, sequence: u32, result: &str) -> bool {
        let Some(inside) = self.waits.inside.as_mut().filter(|inside| inside.calls.contains(&sequence)) else {
            return false;
        };
        inside.calls.retain(|call| *call != sequence);
        // A number, or the kind of a failure: then it is none of those that a section sees.
        inside.seen.push(match inside.kind {
            Kind::Breaks => i64::from(result.contains("LockingRulesViolation")),
            _ => result.parse().unwrap_or(i64::MIN),
        });
        if !inside.calls.is_empty() {
            return true;
        }
        match (inside.kind, inside.seen.as_slice()) {
            (Kind::Breaks, seen) => {
                let all = seen.iter().all(|refused| *refused == 1);
                self.unlock(if all { "refused" } else { "a rule was not enforced" });
            }
            (Kind::Keeps, _) => {
                self.waits.inside = None;
                self.end_step(vec!["\"kept\"".into()]);
            }
            (Kind::Pauses(millis), [_, _]) => self.timer(millis),
            (_, [_, _]) => self.count(),
            (_, seen) => {
                let (before, after) = seen.split_at(2);
                let apart: i64 = after.iter().sum::<i64>().wrapping_sub(before.iter().sum());
                self.unlock(if apart == 2 { "section" } else { "torn" });
            }
        }
        true
    }

    /// A timer fired while a section is open. True if it was its timer.
    pub fn inside_timer(&mut self) -> bool {
        let Some(inside) = self.waits.inside.clone() else { return false };
        self.waits.timer = None;
        if inside.kind == Kind::Races {
            self.waits.inside = None;
            self.actions.push(Action::Cancel { sequence: inside.lock });
            self.end_step(vec!["\"race 2\"".into()]);
        } else {
            self.count();
        }
        true
    }
}
