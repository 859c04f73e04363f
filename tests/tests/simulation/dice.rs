//! Chance and time: dice, a clock that jumps, and what is counted.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use soloist::{ambient::Ambient, durable::Timestamp};

/// A small deterministic generator (xorshift*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03 | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `n`; 0 if there is none.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { (self.next() >> 11) % n }
    }

    /// True once in `n` times; never if that is 0.
    pub fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}

/// What the wall clock shows when a world begins, in microseconds.
pub const BEGINNING: i64 = 1_700_000_000_000_000;

/// What a world's instances and hosts share of time: it goes on over crashes.
pub struct Clock {
    offset_micros: AtomicI64,
    ids: AtomicU64,
    lives: AtomicU64,
    /// How much faster than real time the world's goes: 1 where time is simulated.
    pace: u32,
}

impl Clock {
    pub fn new(pace: u32) -> Self {
        let (ids, lives) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { offset_micros: AtomicI64::new(BEGINNING), ids, lives, pace }
    }

    pub fn jump(&self, micros: i64) {
        self.offset_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The clock of one process life.
pub struct Life {
    /// Another one than any other life's of the world.
    pub number: u64,
    clock: std::sync::Arc<Clock>,
    began: tokio::time::Instant,
    /// What the clock showed before it was set back, and when that was.
    set_back: Mutex<Vec<(i64, i64)>>,
    /// How old the process was when the clock was set last.
    set_at: AtomicI64,
    /// A planted mistake: how far ahead of the true clock the host's is.
    ahead_micros: i64,
}

impl Life {
    pub fn new(clock: std::sync::Arc<Clock>, ahead: Duration) -> Self {
        let ahead_micros = i64::try_from(ahead.as_micros()).expect("short");
        let (number, began) = (clock.lives.fetch_add(1, Ordering::Relaxed), tokio::time::Instant::now());
        Self { number, clock, began, set_back: Mutex::default(), set_at: AtomicI64::new(0), ahead_micros }
    }

    /// The world's time since the process began.
    pub fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).expect("short") * i64::from(self.clock.pace)
    }

    /// The true clock.
    pub fn true_now(&self) -> i64 {
        self.clock.offset_micros.load(Ordering::Relaxed) + self.elapsed_micros()
    }

    /// Sets the wall clock.
    pub fn jump(&self, micros: i64) {
        let mut set_back = self.set_back.lock().expect("no panic while it is locked");
        if micros < 0 {
            set_back.push((self.elapsed_micros(), self.true_now()));
        }
        self.set_at.store(self.elapsed_micros(), Ordering::Relaxed);
        self.clock.jump(micros);
    }

    /// How old the process was when the clock was set last.
    pub fn set_at(&self) -> i64 {
        self.set_at.load(Ordering::Relaxed)
    }

    /// The latest time that the true clock has shown since the process was so old.
    pub fn latest_since(&self, elapsed_micros: i64) -> i64 {
        let set_back = self.set_back.lock().expect("no panic while it is locked");
        let before = set_back.iter().filter(|(at, _)| *at >= elapsed_micros).map(|(_, showed)| *showed);
        before.chain([self.true_now()]).max().expect("at least now")
    }

    /// Waits for a span of the world's time.
    pub fn nap(&self, span: Duration) -> tokio::time::Sleep {
        tokio::time::sleep(span / self.clock.pace)
    }

    pub fn nap_millis(&self, millis: u64) -> tokio::time::Sleep {
        self.nap(Duration::from_millis(millis))
    }
}

impl Ambient for Life {
    fn now(&self) -> Timestamp {
        Timestamp(self.true_now() + self.ahead_micros)
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.nap(span))
    }

    fn fresh_id(&self) -> String {
        format!("{:032x}", self.clock.ids.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a count is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// What a world did in all.
    Work,
    /// Something that went wrong on purpose.
    Fault,
    /// Something that is slow on purpose: too frequent to count as a fault.
    Delay,
    /// Something that programs or clients do.
    Production,
}

/// What worlds did, so that a run that tested nothing is seen.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<(Of, &'static str), u64>>);

impl Tally {
    pub fn count(&self, of: Of, what: &'static str) {
        self.add(of, what, 1);
    }

    pub fn add(&self, of: Of, what: &'static str, by: u64) {
        *self.0.lock().expect("no panic while it is locked").entry((of, what)).or_default() += by;
    }

    pub fn merge(&self, other: &Self) {
        for ((of, what), by) in other.0.lock().expect("no panic while it is locked").iter() {
            self.add(*of, what, *by);
        }
    }

    pub fn get(&self, of: Of, what: &'static str) -> u64 {
        self.0.lock().expect("no panic while it is locked").get(&(of, what)).copied().unwrap_or(0)
    }

    pub fn sum(&self, of: Of) -> u64 {
        let counts = self.0.lock().expect("no panic while it is locked");
        counts.iter().filter(|((kind, _), _)| *kind == of).map(|(_, count)| count).sum()
    }

    /// Prints everything, by kind.
    pub fn print(&self) {
        for ((of, what), count) in self.0.lock().expect("no panic while it is locked").iter() {
            println!("{:<10} {what:<40} {count:>12}", format!("{of:?}").to_lowercase());
        }
    }
}
