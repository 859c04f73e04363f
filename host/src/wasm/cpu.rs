//! CPU time of guests: who ticks, who counts, and where the long-running ones go.
//!
//! Guests yield at the engine's epoch. [`Ticker`] advances it once a millisecond, only while guests run. [`Lanes::run`]
//! polls a call where it was made (the fast lane); one that has used more than [`FAST_LANE`] is handed to threads of its own
//! with a lower priority, so that calls that loop for ever do not stand in anybody's way. Time counts inside `poll`
//! only: a guest that waits in the host uses none.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use wasmtime::EngineWeak;

use crate::memory;

/// How much CPU time a call may use on the thread that made it.
const FAST_LANE: Duration = Duration::from_millis(2);
/// How long a guest over its budget has to reach its next epoch check, before it is dropped without telling where it was.
const GRACE: Duration = Duration::from_millis(100);
/// One tick of the epoch.
const TICK: Duration = Duration::from_millis(1);
/// How long the ticker goes on after the last guest: parking and waking it for each of many short calls would cost more.
const LINGER_TICKS: u32 = 20;
/// For how long no guest has run when the host counts as at rest.
const REST: Duration = Duration::from_millis(250);
/// At rest memory is given back, once so many guests have run since the last time: fewer leave little behind.
const BURST: u64 = 1_000;
/// How much nicer the slow lane's threads are.
const SLOW_LANE_NICE: i32 = 10;

/// One entry, in [`Ticker`]'s counter: entries in the upper half, guests inside in the lower.
const ENTRY: u64 = (1 << 32) + 1;

/// Advances the epoch while guests run, and sleeps otherwise.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Ticking>,
    thread: thread::Thread,
}

#[derive(Debug, Default)]
struct Ticking {
    entries: AtomicU64,
    parked: AtomicBool,
    ended: AtomicBool,
}

impl Ticker {
    /// Starts the ticker's thread; it ends with the ticker or the engine.
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Ticking::default());
        let ticking = Arc::clone(&shared);
        let handle = thread::Builder::new().name("soloist-epoch".to_owned()).spawn(move || ticking.run(&engine))?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// A guest runs until the answer is dropped.
    fn enter(&self) -> Inside<'_> {
        self.shared.entries.fetch_add(ENTRY, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Inside(&self.shared.entries)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

struct Inside<'a>(&'a AtomicU64);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticking {
    fn run(&self, engine: &EngineWeak) {
        let (mut seen, mut idle) = (0, 0);
        // What the counter showed when memory was last given back.
        let mut tidied = 0_u64;
        while !self.ended.load(Ordering::SeqCst) {
            let now = self.entries.load(Ordering::SeqCst);
            let busy = now != seen || now & 0xffff_ffff != 0;
            seen = now;
            idle = if busy { 0 } else { idle + 1 };
            if idle > LINGER_TICKS {
                self.parked.store(true, Ordering::SeqCst);
                // Look again after saying so: a guest that entered in between saw no reason to wake anybody.
                let still = || self.entries.load(Ordering::SeqCst) == seen && !self.ended.load(Ordering::SeqCst);
                let is_after_burst = (seen >> 32).abs_diff(tidied >> 32) >= BURST;
                if still() && is_after_burst {
                    thread::park_timeout(REST);
                } else if still() {
                    thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                if is_after_burst && still() {
                    memory::give_back();
                    tidied = seen;
                }
                idle = 0;
                continue;
            }
            thread::sleep(TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
        }
    }
}

/// What a call and its guest both know of the call's CPU time.
#[derive(Debug)]
pub(super) struct Meter {
    budget_ms: AtomicU64,
    exceeded: AtomicBool,
}

impl Meter {
    /// A meter for a call.
    pub(super) fn new(budget: Duration) -> Self {
        let meter = Self { budget_ms: AtomicU64::new(0), exceeded: AtomicBool::new(false) };
        meter.begin_call(budget);
        meter
    }

    /// Begins a call.
    pub(super) fn begin_call(&self, budget: Duration) {
        self.budget_ms.store(u64::try_from(budget.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.exceeded.store(false, Ordering::Relaxed);
    }

    /// The call's budget.
    pub(super) fn budget(&self) -> Duration {
        Duration::from_millis(self.budget_ms.load(Ordering::Relaxed))
    }

    /// True once the call is over its budget: its guest stops itself at the next epoch check.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }
}

/// The call was dropped: it was over its budget and did not reach an epoch check.
#[derive(Debug)]
pub(super) struct Overrun;

/// Runs calls: first where they are made, then, if they take long, on threads of their own.
#[derive(Debug)]
pub(super) struct Lanes {
    ticker: Arc<Ticker>,
    slow: SlowLane,
}

impl Lanes {
    /// Starts the ticker and the slow lane's threads.
    pub(super) fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        Ok(Self { ticker: Arc::new(Ticker::start(engine.weak())?), slow: SlowLane::start()? })
    }

    /// Runs a call to its end or to its budget's. Dropping the future drops the call, wherever it runs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        meter: Arc<Meter>,
        call: Pin<Box<dyn Future<Output = T> + Send>>,
    ) -> Result<T, Overrun> {
        let mut metered = Metered {
            call,
            meter,
            ticker: Arc::clone(&self.ticker),
            clock: Clock::Wall,
            used: Duration::ZERO,
            fast: true,
        };
        match (&mut metered).await {
            Step::Ended(output) => return Ok(output),
            Step::Overrun => return Err(Overrun),
            Step::LeaveFastLane => metered.fast = false,
        }
        let mut task = AbortOnDrop(self.slow.handle.spawn(metered));
        match (&mut task.0).await {
            Ok(Step::Ended(output)) => Ok(output),
            Ok(Step::Overrun | Step::LeaveFastLane) => Err(Overrun),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Aborted: the host goes down.
                Err(_) => Err(Overrun),
            },
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Threads for calls that take long: as many as cores, with a lower priority than everybody else's.
#[derive(Debug)]
struct SlowLane {
    handle: tokio::runtime::Handle,
    runtime: Option<tokio::runtime::Runtime>,
}

impl SlowLane {
    fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(thread::available_parallelism().map_or(2, usize::from))
            .thread_name("soloist-slow")
            // Each poll here lasts a millisecond: newcomers must not wait for sixty of them, tokio's default.
            .global_queue_interval(1)
            .event_interval(1)
            .enable_all()
            .on_thread_start(lower_priority)
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for SlowLane {
    fn drop(&mut self) {
        // Without waiting: this may be dropped on a thread that must not block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lowers the calling thread's priority. Where the system refuses, guests merely compete on equal terms.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    // SAFETY: plain system calls on the calling thread; on Linux niceness belongs to a thread.
    unsafe {
        let thread = libc::syscall(libc::SYS_gettid);
        if let Ok(thread) = libc::id_t::try_from(thread) {
            libc::setpriority(libc::PRIO_PROCESS, thread, SLOW_LANE_NICE);
        }
    }
}

/// How a metered call stands.
enum Step<T> {
    /// It ended.
    Ended(T),
    /// It takes long: poll it again elsewhere.
    LeaveFastLane,
    /// It is over its budget and does not stop.
    Overrun,
}

/// Which clock measures a poll.
#[derive(Clone, Copy)]
enum Clock {
    /// Time passed: nearly free, but counts the time in which the thread did not get a core.
    Wall,
    /// The thread's own CPU time: exact, a system call.
    Thread,
}

/// A call whose CPU time is counted while it is polled.
struct Metered<T> {
    call: Pin<Box<dyn Future<Output = T> + Send>>,
    meter: Arc<Meter>,
    ticker: Arc<Ticker>,
    clock: Clock,
    used: Duration,
    fast: bool,
}

impl<T> Future for Metered<T> {
    type Output = Step<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Step<T>> {
        let this = &mut *self;
        let polled = {
            let _inside = this.ticker.enter();
            let watch = Stopwatch::start(this.clock);
            let polled = this.call.as_mut().poll(cx);
            this.used += watch.elapsed();
            polled
        };
        if let Poll::Ready(output) = polled {
            return Poll::Ready(Step::Ended(output));
        }
        let budget = this.meter.budget();
        if this.used > budget.saturating_add(GRACE) {
            return Poll::Ready(Step::Overrun);
        }
        if this.used > budget {
            this.meter.exceeded.store(true, Ordering::Relaxed);
        }
        if this.fast && this.used > FAST_LANE {
            // A call on a busy machine looks long on the wall clock. Only the thread's own time sends it away.
            match this.clock {
                Clock::Wall => (this.clock, this.used) = (Clock::Thread, Duration::ZERO),
                Clock::Thread => return Poll::Ready(Step::LeaveFastLane),
            }
        }
        Poll::Pending
    }
}

struct Stopwatch(Clock, Instant, Duration);

impl Stopwatch {
    fn start(clock: Clock) -> Self {
        let cpu = match clock {
            Clock::Wall => Duration::ZERO,
            Clock::Thread => thread_cpu_time(),
        };
        Self(clock, Instant::now(), cpu)
    }

    fn elapsed(&self) -> Duration {
        match self.0 {
            // Not more than it takes to look closer: the machine may have been asleep.
            Clock::Wall => self.1.elapsed().min(2 * FAST_LANE),
            Clock::Thread => thread_cpu_time().saturating_sub(self.2),
        }
    }
}

/// The calling thread's CPU time.
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
