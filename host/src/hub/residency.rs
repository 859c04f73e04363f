//! Which guests stay in memory between turns, under a budget of bytes and a number of slots. An instance whose guest went is
//! rebuilt by replay; nobody can tell but for time.
//!
//! Who goes first: guests that only wait for an event, which may take hours, before guests whose next turn is in sight; they
//! never fill more than half of the budget. Among equals the one whose replay would cost the least for the memory that it
//! holds, counted from the time of its last turn: what others cost that had to go since is taken off its worth (the
//! algorithm is GreedyDual-Size), so a long history keeps its guest longer, but not for ever, and guests that cost the same
//! go in the order of their last use.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use crate::durable::InstanceKey;

/// What a replay costs beside its turns, in turns: a guest must be made.
const FRESH_GUEST_TURNS: u64 = 20;

/// Of the budget, event waiters may fill one part in so many.
const IDLE_SHARE: usize = 2;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub bytes: usize,
    pub guests: usize,
}

/// A guest that could stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    /// What it holds.
    pub bytes: usize,
    /// How many turns its replay would take.
    pub turns: u32,
    /// Its next turn is in sight: an activity runs, or a timer is due before long.
    pub soon: bool,
}

/// Book-keeping only: guests live in their cells.
pub(super) struct Residency {
    budget: Budget,
    state: Mutex<Residents>,
}

#[derive(Default)]
struct Residents {
    /// Guests that wait for an event, and those whose next turn is in sight.
    idle: Queue,
    soon: Queue,
    by_instance: HashMap<InstanceKey, Place>,
    entered: u64,
    /// Who has waited long for a slot, and for how many of them one is still to go.
    waiting: usize,
    owed: usize,
}

/// Where a guest is in its queue.
#[derive(Clone, Copy)]
struct Place {
    soon: bool,
    rank: (u64, u64),
    bytes: usize,
}

/// Guests in the order in which they go.
#[derive(Default)]
struct Queue {
    by_rank: BTreeMap<(u64, u64), InstanceKey>,
    bytes: usize,
    /// The worth of the last one that had to go.
    gone: u64,
}

impl Queue {
    fn exceeds(&self, bytes: usize, guests: usize) -> bool {
        self.bytes > bytes || self.by_rank.len() > guests
    }
}

impl Residents {
    fn queue(&mut self, soon: bool) -> &mut Queue {
        if soon { &mut self.soon } else { &mut self.idle }
    }

    fn remove(&mut self, instance: InstanceKey) {
        if let Some(Place { soon, rank, bytes }) = self.by_instance.remove(&instance) {
            let queue = self.queue(soon);
            queue.by_rank.remove(&rank);
            queue.bytes -= bytes;
        }
    }

    fn insert(&mut self, instance: InstanceKey, stay: Stay) {
        self.entered += 1;
        let entered = self.entered;
        let queue = self.queue(stay.soon);
        // Turns per MiB.
        let worth = ((FRESH_GUEST_TURNS + u64::from(stay.turns)) << 20) / (stay.bytes.max(1) as u64);
        let rank = (queue.gone.saturating_add(worth), entered);
        queue.by_rank.insert(rank, instance);
        queue.bytes += stay.bytes;
        self.by_instance.insert(instance, Place { soon: stay.soon, rank, bytes: stay.bytes });
    }

    fn bytes(&self) -> usize {
        self.idle.bytes + self.soon.bytes
    }

    /// The next one to go, if one must.
    fn victim(&mut self, budget: Budget) -> Option<InstanceKey> {
        let idle_exceeds = self.idle.exceeds(budget.bytes / IDLE_SHARE, budget.guests.div_ceil(IDLE_SHARE));
        let exceeds = self.bytes() > budget.bytes || self.by_instance.len() > budget.guests;
        if idle_exceeds || exceeds { self.first_to_go() } else { None }
    }

    fn first_to_go(&mut self) -> Option<InstanceKey> {
        let queue = if self.idle.by_rank.is_empty() { &mut self.soon } else { &mut self.idle };
        let (rank, victim) = queue.by_rank.first_key_value()?;
        let (rank, victim) = (*rank, *victim);
        queue.gone = rank.0;
        self.remove(victim);
        Some(victim)
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

    /// Counts a guest that stays. Returns the instances whose guests must go for it; it may be one of them.
    pub fn enter(&self, instance: InstanceKey, stay: Stay) -> Vec<InstanceKey> {
        let mut residents = self.lock();
        residents.remove(instance);
        residents.insert(instance, stay);
        let mut victims: Vec<_> = std::iter::from_fn(|| residents.victim(self.budget)).collect();
        residents.owed = residents.owed.saturating_sub(victims.len());
        if residents.owed > 0
            && let Some(victim) = residents.first_to_go()
        {
            residents.owed -= 1;
            victims.push(victim);
        }
        victims
    }

    /// Counts one who has waited long for a slot, until the answer is dropped: one guest is to go for it.
    pub fn wait(&self) -> Waiter<'_> {
        let mut residents = self.lock();
        residents.waiting += 1;
        residents.owed += 1;
        Waiter(self)
    }

    /// The instance whose guest goes for one who waits, if that is owed and a guest rests.
    pub fn first_to_go(&self) -> Option<InstanceKey> {
        let mut residents = self.lock();
        if residents.owed == 0 {
            return None;
        }
        let victim = residents.first_to_go()?;
        residents.owed -= 1;
        Some(victim)
    }

    /// True if a guest that does not rest must go for one who waits.
    pub fn gives_way(&self) -> bool {
        let mut residents = self.lock();
        let owed = residents.owed > 0;
        residents.owed -= usize::from(owed);
        owed
    }

    /// One that was to go was found at work, and has not gone.
    pub fn has_not_gone(&self) {
        let mut residents = self.lock();
        residents.owed = (residents.owed + 1).min(residents.waiting);
    }

    /// How many guests stay.
    pub fn guests(&self) -> usize {
        self.lock().by_instance.len()
    }

    /// Forgets a guest: a worker has it, or it is gone.
    pub fn leave(&self, instance: InstanceKey) {
        self.lock().remove(instance);
    }
}

/// Somebody who waits for a slot.
pub(super) struct Waiter<'a>(&'a Residency);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut residents = self.0.lock();
        residents.waiting -= 1;
        residents.owed = residents.owed.min(residents.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residency(bytes: usize, guests: usize) -> Residency {
        Residency::new(Budget { bytes, guests })
    }

    fn soon(bytes: usize, turns: u32) -> Stay {
        Stay { bytes, turns, soon: true }
    }

    fn idle(bytes: usize, turns: u32) -> Stay {
        Stay { bytes, turns, soon: false }
    }

    #[test]
    fn of_guests_that_cost_the_same_the_least_recently_used_goes_first() {
        let residency = residency(100, 10);
        assert!(residency.enter(InstanceKey(1), soon(40, 1)).is_empty());
        assert!(residency.enter(InstanceKey(2), soon(40, 1)).is_empty());
        assert!(residency.enter(InstanceKey(1), soon(40, 1)).is_empty(), "used again");
        assert_eq!(residency.enter(InstanceKey(3), soon(40, 1)), [InstanceKey(2)]);
        residency.leave(InstanceKey(1));
        assert!(residency.enter(InstanceKey(4), soon(60, 1)).is_empty());
    }

    #[test]
    fn who_only_waits_for_an_event_goes_before_who_has_something_running() {
        let residency = residency(100, 10);
        assert!(residency.enter(InstanceKey(1), soon(40, 1)).is_empty());
        assert!(residency.enter(InstanceKey(2), idle(40, 1_000_000)).is_empty());
        assert_eq!(residency.enter(InstanceKey(3), soon(40, 1)), [InstanceKey(2)]);
        assert!(residency.enter(InstanceKey(3), soon(60, 1)).is_empty());
        assert_eq!(residency.enter(InstanceKey(4), idle(40, 1)), [InstanceKey(4)], "it does not even stay");
    }

    #[test]
    fn one_guest_goes_for_each_who_waits_for_a_slot() {
        let residency = residency(100, 10);
        assert!(residency.enter(InstanceKey(1), soon(10, 1)).is_empty());
        assert_eq!(residency.first_to_go(), None, "nobody waits");
        let (first, second) = (residency.wait(), residency.wait());
        assert_eq!(residency.first_to_go(), Some(InstanceKey(1)));
        assert_eq!(residency.first_to_go(), None, "no other one rests");
        assert_eq!(residency.enter(InstanceKey(2), soon(10, 1)), [InstanceKey(2)], "the next to rest");
        assert!(residency.enter(InstanceKey(3), soon(10, 1)).is_empty(), "two waited");
        residency.has_not_gone();
        assert!(residency.gives_way() && !residency.gives_way());
        residency.has_not_gone();
        drop((first, second));
        assert!(!residency.gives_way(), "who waited has a slot, wherever it came from");
    }

    #[test]
    fn who_only_waits_for_an_event_fills_half_of_the_budget() {
        let few = residency(100, 3);
        assert!(few.enter(InstanceKey(1), idle(25, 1)).is_empty());
        assert!(few.enter(InstanceKey(2), idle(25, 1)).is_empty());
        assert_eq!(few.enter(InstanceKey(3), idle(25, 1)), [InstanceKey(1)], "by bytes");
        let many = residency(1_000, 3);
        assert!(many.enter(InstanceKey(1), idle(1, 1)).is_empty());
        assert!(many.enter(InstanceKey(2), idle(1, 1)).is_empty());
        assert_eq!(many.enter(InstanceKey(3), idle(1, 1)), [InstanceKey(1)], "by number");
        assert!(many.enter(InstanceKey(4), soon(1, 1)).is_empty());
        assert!(!many.enter(InstanceKey(5), soon(1, 1)).is_empty(), "three in all");
    }

    #[test]
    fn a_long_history_stays_longer_but_not_for_ever() {
        let residency = residency(100, 10);
        assert!(residency.enter(InstanceKey(0), soon(50, 200)).is_empty());
        assert!(residency.enter(InstanceKey(1), soon(50, 0)).is_empty());
        let mut gone = Vec::new();
        for short in 2..30 {
            gone.extend(residency.enter(InstanceKey(short), soon(50, 0)));
        }
        let long = gone.iter().position(|gone| *gone == InstanceKey(0));
        // Its replay costs eleven times as much: so many times the two others that fit go before it.
        assert!(long.is_some_and(|at| (11..=22).contains(&at)), "{gone:?}");
    }

    #[test]
    fn the_larger_of_two_goes_first() {
        let residency = residency(100, 10);
        assert!(residency.enter(InstanceKey(1), soon(20, 1)).is_empty());
        assert!(residency.enter(InstanceKey(2), soon(70, 1)).is_empty());
        assert_eq!(residency.enter(InstanceKey(3), soon(20, 1)), [InstanceKey(2)]);
    }

    #[test]
    fn a_budget_of_nothing_admits_nothing() {
        let none = residency(0, 10);
        assert!(!none.admits(1) && none.keeps_none());
        assert!(!residency(1, 1).keeps_none());
    }
}
