//! Which guests stay in memory between turns: the least recently used go first, under a budget of bytes and a number of
//! slots. An instance whose guest went is rebuilt by replay; nobody can tell but for time.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use crate::durable::InstanceKey;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub bytes: usize,
    pub guests: usize,
}

/// Book-keeping only: guests live in their cells.
pub(super) struct Residency {
    budget: Budget,
    state: Mutex<Residents>,
}

#[derive(Default)]
struct Residents {
    by_age: BTreeMap<u64, InstanceKey>,
    by_instance: HashMap<InstanceKey, (u64, usize)>,
    bytes: usize,
    clock: u64,
}

impl Residents {
    fn remove(&mut self, instance: InstanceKey) {
        if let Some((age, bytes)) = self.by_instance.remove(&instance) {
            self.by_age.remove(&age);
            self.bytes -= bytes;
        }
    }
}

impl Residency {
    pub fn new(budget: Budget) -> Self {
        Self { budget, state: Mutex::new(Residents::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, Residents> {
        self.state.lock().expect("no code panics while it holds the residency's lock")
    }

    /// True if no guest may stay between turns, not even until a turn that is due at once.
    pub fn keeps_none(&self) -> bool {
        !self.admits(1)
    }

    /// True if a guest of this size may stay at all.
    pub fn admits(&self, bytes: usize) -> bool {
        self.budget.guests > 0 && bytes <= self.budget.bytes
    }

    /// Counts a guest that stays, as the most recently used. Returns the instances whose guests must go for it.
    pub fn enter(&self, instance: InstanceKey, bytes: usize) -> Vec<InstanceKey> {
        let mut residents = self.lock();
        residents.remove(instance);
        residents.clock += 1;
        let age = residents.clock;
        residents.by_age.insert(age, instance);
        residents.by_instance.insert(instance, (age, bytes));
        residents.bytes += bytes;
        let mut victims = Vec::new();
        while residents.bytes > self.budget.bytes || residents.by_age.len() > self.budget.guests {
            let Some((_, oldest)) = residents.by_age.first_key_value() else { break };
            let oldest = *oldest;
            residents.remove(oldest);
            victims.push(oldest);
        }
        victims
    }

    /// Forgets a guest: a worker has it, or it is gone.
    pub fn leave(&self, instance: InstanceKey) {
        self.lock().remove(instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let residency = Residency::new(Budget { bytes: 100, guests: 10 });
        assert!(residency.enter(InstanceKey(1), 40).is_empty());
        assert!(residency.enter(InstanceKey(2), 40).is_empty());
        assert!(residency.enter(InstanceKey(1), 40).is_empty(), "used again");
        assert_eq!(residency.enter(InstanceKey(3), 40), [InstanceKey(2)]);
        residency.leave(InstanceKey(1));
        assert!(residency.enter(InstanceKey(4), 60).is_empty());
    }

    #[test]
    fn a_budget_of_nothing_admits_nothing() {
        let residency = Residency::new(Budget { bytes: 0, guests: 10 });
        assert!(!residency.admits(1) && residency.keeps_none());
        assert!(!Residency::new(Budget { bytes: 1, guests: 1 }).keeps_none());
    }
}
