//! What goes wrong: dice, a clock that jumps, and storage that delays, fails and crashes.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use soloist::{
    ambient::Ambient,
    durable::{Digest, EntityId, FunctionName, InstanceId, InstanceKey, Timestamp},
    storage::{
        Committed, ComponentUse, Due, End, Ended, EntityCommit, EntityCommitted, EntityPage, EntityQuery,
        EntitySnapshot, Fence, Loaded, OpenInstance, Page, Purged, Put, PutMessage, Query, Rewind, Rewound, Snapshot,
        Start, Started, Storage, StorageError, StorageFuture, TimerStatus, TurnCommit, Want,
    },
};
use tokio::sync::Notify;

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
}

/// How much goes wrong in a world.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub crashes: u64,
    pub errors_in_1000: u64,
    pub jumps: u64,
}

impl Faults {
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xFA17);
        Self { crashes: dice.below(5), errors_in_1000: [0, 0, 20, 60][dice.below(4) as usize], jumps: dice.below(3) }
    }
}

/// The world's clock: tokio's paused one, and an offset that crashes and jumps move.
pub struct Clock {
    offset_micros: AtomicI64,
    ids: AtomicU64,
}

impl Clock {
    pub fn new() -> Self {
        Self { offset_micros: AtomicI64::new(1_700_000_000_000_000), ids: AtomicU64::new(0) }
    }

    pub fn jump(&self, micros: i64) {
        self.offset_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The clock of one process life.
pub struct Life {
    pub clock: Arc<Clock>,
    pub began: tokio::time::Instant,
}

impl Life {
    pub fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_micros()).expect("short")
    }
}

impl Ambient for Life {
    fn now(&self) -> Timestamp {
        Timestamp(self.clock.offset_micros.load(Ordering::Relaxed) + self.elapsed_micros())
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }

    fn fresh_id(&self) -> String {
        format!("{:032x}", self.clock.ids.fetch_add(1, Ordering::Relaxed))
    }
}

/// Storage that behaves badly within its contract.
pub struct Faulty<S> {
    pub real: Arc<S>,
    pub dice: Mutex<Dice>,
    pub errors_in_1000: u64,
    /// Storage calls until the process crashes.
    pub calls_to_crash: AtomicI64,
    pub crashed: AtomicBool,
    pub crash: Notify,
    pub errors: AtomicU64,
    pub trace: Arc<Mutex<Vec<String>>>,
}

/// What befalls a call.
enum Fate {
    Works,
    Error(StorageError),
    CrashBefore,
    CrashAfter,
}

impl<S: Storage> Faulty<S> {
    fn fate(&self) -> (Duration, Duration, Fate) {
        let mut dice = self.dice.lock().expect("no panic while it is locked");
        let delay =
            |dice: &mut Dice| Duration::from_micros([0, 0, 50, 50, 300, 300, 5_000, 200_000][dice.below(8) as usize]);
        let (before, after) = (delay(&mut dice), delay(&mut dice));
        let left = self.calls_to_crash.fetch_sub(1, Ordering::Relaxed);
        if left <= 0 {
            let fate = if dice.below(2) == 0 { Fate::CrashBefore } else { Fate::CrashAfter };
            return (before, after, fate);
        }
        if dice.below(1000) < self.errors_in_1000 {
            self.errors.fetch_add(1, Ordering::Relaxed);
            let error = if dice.below(2) == 0 {
                StorageError::Busy("simulated".into())
            } else {
                StorageError::Full("simulated".into())
            };
            return (before, after, Fate::Error(error));
        }
        (before, after, Fate::Works)
    }

    async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let (before, after, fate) = self.fate();
        tokio::time::sleep(before).await;
        if self.crashed.load(Ordering::Relaxed) {
            // A process that is dead calls nothing.
            std::future::pending::<()>().await;
        }
        let result = match fate {
            Fate::Works => call.await,
            Fate::Error(error) => Err(error),
            Fate::CrashBefore => self.die(what, "before").await,
            Fate::CrashAfter => {
                let _ = call.await;
                self.die(what, "after").await
            }
        };
        self.trace.lock().expect("no panic while it is locked").push(format!("{what} {}", result.is_ok()));
        tokio::time::sleep(after).await;
        result
    }

    async fn die<T>(&self, what: &str, when: &str) -> T {
        self.trace.lock().expect("no panic while it is locked").push(format!("crash {when} {what}"));
        self.crashed.store(true, Ordering::Relaxed);
        self.crash.notify_one();
        std::future::pending().await
    }
}

macro_rules! forward {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> StorageFuture<'_, $result> {
            // Inside a block of its own: memory acts when it is called, and a call that crashes before must not act.
            Box::pin(self.call(stringify!($name), async move { self.real.$name($($argument),*).await }))
        })*
    };
}

impl<S: Storage> Storage for Faulty<S> {
    forward! {
        start(start: Start) -> Started;
        commit_turn(commit: TurnCommit) -> Committed;
        commit_entity(commit: EntityCommit) -> EntityCommitted;
        entity(id: EntityId) -> Option<EntitySnapshot>;
        entities(query: EntityQuery) -> EntityPage;
        put_message(message: PutMessage) -> Put;
        end(end: End) -> Ended;
        rewind(rewind: Rewind) -> Rewound;
        purge(fence: Fence, id: InstanceId) -> Purged;
        put_component(digest: Digest, bytes: Arc<[u8]>) -> ();
        component(digest: Digest) -> Option<Arc<[u8]>>;
        components() -> Vec<Digest>;
        component_use(digest: Digest, from: InstanceKey, limit: usize) -> ComponentUse;
        drop_component(fence: Fence, digest: Digest) -> ();
        collect(limit: usize) -> bool;
        snapshot(id: InstanceId, want: Want) -> Option<Snapshot>;
        list(query: Query) -> Page;
        load(instance: InstanceKey) -> Option<Loaded>;
        open_instances(after: Option<InstanceKey>, limit: usize) -> Vec<OpenInstance>;
        due(after: Option<Due>, limit: usize) -> Vec<Due>;
        timer_status(function: FunctionName) -> Option<TimerStatus>;
        put_timer_status(function: FunctionName, status: TimerStatus) -> ();
        close() -> ();
    }

    fn commits(&self) -> u64 {
        self.real.commits()
    }
}
