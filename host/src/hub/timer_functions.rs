//! Timer functions: fires each when its schedule says, one run of a function at a time.
//!
//! Where a monitored schedule stands is kept in storage, and written after a run has ended: a run that the end of the
//! process cut short was due and has not happened, so the next start makes up for it, once, and says so. What is not
//! monitored is remembered nowhere. Nobody else fires: a data folder has one host.
//!
//! Each function has a tokio task, until the hub stops or another definition takes its place; it sleeps until
//! the next occurrence and looks at the clock in between, as that may be set. What became due while the function ran, or while the machine slept, fires once or not at all, never in a burst.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

use super::{Hub, ScheduleStatus, TimerCall, worker::Inner};
use crate::{
    durable::{ExecutionId, Failure, FunctionName, Timestamp},
    flight::{CallKind, timer_text},
    storage::{StorageError, TimerStatus},
};

/// The first occurrence after the second time, of the series in which the first one is; none if there is none.
pub type NextOccurrence = Arc<dyn Fn(Timestamp, Timestamp) -> Option<Timestamp> + Send + Sync>;

/// The longest uninterrupted sleep: how late a jump of the wall clock is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// A run that begins later than this after it was due is told so.
const LATE: Duration = Duration::from_secs(10);

/// A clock that is set back by more than this is taken for one that was wrong before: the schedule begins anew. By less, what
/// has fired does not fire again.
const SET_BACK_MAX: Duration = Duration::from_hours(1);

/// A timer function that is deployed.
#[derive(Clone)]
pub struct TimerFunction {
    /// Its name.
    pub name: FunctionName,
    /// Its schedule.
    pub next: NextOccurrence,
    /// A number that differs from another schedule's.
    pub schedule: u32,
    /// Where the schedule stands is kept, and an occurrence that was missed is made up for.
    pub is_monitored: bool,
    /// It runs when the host starts, too.
    pub run_on_startup: bool,
    /// The schedule follows daylight saving time.
    pub adjust_for_dst: bool,
    /// How a run that failed is repeated.
    pub retry: Option<TimerRetry>,
}

/// How a run of a timer function that failed is repeated. The repetitions belong to their firing, and end with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerRetry {
    /// How many further runs; none is without end.
    pub max_retry_count: Option<u32>,
    /// The first wait.
    pub first_wait: Duration,
    /// Each wait is twice the one before, up to this.
    pub max_wait: Duration,
}

impl TimerRetry {
    /// How long after a number of failed runs the next one begins; none if there is none.
    fn wait_after(&self, failed: u32) -> Option<Duration> {
        if self.max_retry_count.is_some_and(|max| failed > max) {
            return None;
        }
        Some(self.first_wait.saturating_mul(1 << (failed - 1).min(30)).min(self.max_wait))
    }
}

/// An occurrence that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Firing {
    scheduled: Timestamp,
    is_past_due: bool,
}

/// Where a schedule stands, in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    last: Option<Timestamp>,
    next: Option<Timestamp>,
    updated: Timestamp,
}

impl TimerFunction {
    /// Decides what a host that starts does: fire at once, and from where the schedule goes on.
    fn on_start(&self, stored: Option<TimerStatus>, now: Timestamp) -> (Standing, Option<Firing>) {
        let is_of_future = |status: &TimerStatus| now.until(status.updated) > SET_BACK_MAX;
        let stored = stored.filter(|stored| stored.schedule == self.schedule && !is_of_future(stored));
        let standing = match stored {
            Some(TimerStatus { last, next, updated, .. }) => Standing { last, next, updated },
            None => self.anew(now),
        };
        let firing = match standing.next.filter(|next| *next <= now) {
            Some(scheduled) => Some(Firing { scheduled, is_past_due: true }),
            None if self.run_on_startup => Some(Firing { scheduled: now, is_past_due: false }),
            None => None,
        };
        (standing, firing)
    }

    fn anew(&self, now: Timestamp) -> Standing {
        Standing { last: None, next: (self.next)(now, now), updated: now }
    }

    /// Where the schedule stands after a run that began at `began` and ended at `now`. What became due meanwhile is skipped.
    fn after(&self, firing: Firing, began: Timestamp, now: Timestamp) -> Standing {
        if now.until(began) > SET_BACK_MAX {
            return self.anew(now);
        }
        let last = if firing.is_past_due { began.max(firing.scheduled) } else { firing.scheduled };
        let from = match () {
            () if planted!(MissedFiresInBurst) => firing.scheduled,
            () if planted!(SetBackFiresTwice) => now,
            () => now.max(last),
        };
        Standing { last: Some(last), next: (self.next)(last, from), updated: now }
    }

    fn status(&self, standing: Standing) -> TimerStatus {
        let Standing { last, next, updated } = standing;
        TimerStatus { last, next, updated, schedule: self.schedule }
    }
}

/// The timer functions that have a task, by name.
#[derive(Default)]
pub(super) struct Running(Mutex<BTreeMap<FunctionName, Task>>);

/// A timer function's task.
struct Task {
    function: TimerFunction,
    /// It begins no further run.
    retired: Arc<AtomicBool>,
    handle: JoinHandle<()>,
}

/// What a timer function's task looks at.
struct Turns<'a> {
    inner: &'a Inner,
    retired: &'a AtomicBool,
}

impl Turns<'_> {
    /// True once no run may begin any more.
    fn are_over(&self) -> bool {
        self.inner.is_stopping() || self.retired.load(Ordering::Relaxed)
    }
}

impl Hub {
    /// Fires these timer functions, each as its schedule says, in place of those before, until the hub stops. One whose
    /// definition is as before goes on; another begins as at a start, once the run of the one before has ended.
    pub fn run_timers(&self, functions: Vec<TimerFunction>) {
        let mut running = self.timer_functions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        for function in functions {
            let name = function.name.clone();
            let task = match before.remove(&name) {
                Some(task) if task.goes_on(&function) => task,
                old => Task::begin(self.inner.clone(), function, old),
            };
            running.insert(name, task);
        }
        // Kept: should the function come back, it waits for the end of the run that may be under way.
        for (name, task) in before {
            task.retired.store(true, Ordering::Relaxed);
            running.insert(name, task);
        }
    }
}

impl Task {
    fn begin(inner: Arc<Inner>, function: TimerFunction, old: Option<Self>) -> Self {
        let retired = Arc::new(AtomicBool::new(false));
        let (own, timer) = (retired.clone(), function.clone());
        let handle = tokio::spawn(async move {
            if let Some(old) = old {
                old.retired.store(true, Ordering::Relaxed);
                // However it ended, it runs no more.
                let _ = old.handle.await;
            }
            let name = timer.name.clone();
            let turns = Turns { inner: &inner, retired: &own };
            if AssertUnwindSafe(run(&turns, timer)).catch_unwind().await.is_err() {
                error!(function = %name, "the host panicked while it fired a timer function, which fires no more");
            }
        });
        Self { function, retired, handle }
    }

    /// True if it fires a function of this definition, and will.
    fn goes_on(&self, function: &TimerFunction) -> bool {
        let TimerFunction { name, next: _, schedule, is_monitored, run_on_startup, adjust_for_dst, retry } = function;
        let own = &self.function;
        let is_same = (&own.name, own.schedule, own.is_monitored) == (name, *schedule, *is_monitored)
            && (own.run_on_startup, own.adjust_for_dst, own.retry) == (*run_on_startup, *adjust_for_dst, *retry);
        is_same && !self.retired.load(Ordering::Relaxed)
    }
}

async fn run(turns: &Turns<'_>, function: TimerFunction) {
    let inner = turns.inner;
    let stored = if function.is_monitored || planted!(UnmonitoredRemembered) {
        stored(turns, &function.name).await
    } else {
        None
    };
    if turns.are_over() {
        return;
    }
    let (mut standing, mut firing) = function.on_start(stored, inner.ambient.now());
    match firing {
        Some(Firing { is_past_due: true, .. }) => {
            info!(function = %function.name, "a timer function is past due on startup and runs now");
        }
        Some(_) => info!(function = %function.name, "a timer function is configured to run on startup and runs now"),
        None => {}
    }
    // Written before the first firing, too: one that a down time swallows is missed from here on.
    if stored != Some(function.status(standing)) {
        store(inner, &function, standing).await;
    }
    while !turns.are_over() {
        if let Some(firing) = firing {
            if planted!(FiringKeptBeforeRun) {
                store(inner, &function, function.after(firing, inner.ambient.now(), inner.ambient.now())).await;
            }
            let began = inner.ambient.now();
            // What was cut short was due and has not happened: whoever comes next makes up for it. What has happened does not
            // fire again because another definition takes over.
            let has_happened = fire(turns, &function, firing, standing, began).await;
            if !has_happened || inner.is_stopping() {
                return;
            }
            standing = function.after(firing, began, inner.ambient.now());
            store(inner, &function, standing).await;
        }
        firing = occurrence(turns, &function, &mut standing).await;
    }
}

/// Waits for the next occurrence; none once no run may begin, or where the schedule had to begin anew.
async fn occurrence(turns: &Turns<'_>, function: &TimerFunction, standing: &mut Standing) -> Option<Firing> {
    let inner = turns.inner;
    let mut before = inner.ambient.now();
    while !turns.are_over() {
        let now = inner.ambient.now();
        if now.until(before) > SET_BACK_MAX {
            warn!(function = %function.name, "the clock was set back: the schedule begins anew");
            *standing = function.anew(now);
            store(inner, function, *standing).await;
            return None;
        }
        before = before.max(now);
        let wait = match standing.next {
            Some(next) if next <= now => {
                return Some(Firing { scheduled: next, is_past_due: next.until(now) > LATE });
            }
            Some(next) => now.until(next).min(SLEEP_MAX),
            // It never comes; only a clock that is set back could bring one.
            None => SLEEP_MAX,
        };
        inner.ambient.sleep(wait).await;
    }
    None
}

/// Waits before a repetition. False if it must not be made any more.
async fn wait(turns: &Turns<'_>, mut left: Duration) -> bool {
    while !left.is_zero() && !turns.are_over() {
        let step = left.min(SLEEP_MAX);
        turns.inner.ambient.sleep(step).await;
        left -= step;
    }
    !turns.are_over()
}

/// Runs the function, and again if it failed and its policy says so. A failure is logged and does not stop the schedule. False
/// if repetitions are left that nobody makes any more.
async fn fire(
    turns: &Turns<'_>,
    function: &TimerFunction,
    firing: Firing,
    standing: Standing,
    began: Timestamp,
) -> bool {
    let inner = turns.inner;
    let next = function.after(firing, began, began).next;
    let text = ExecutionId(timer_text(&function.name).into());
    if let Some(diagnostics) = inner.parking.why_parked(&text) {
        error!(function = %function.name, %diagnostics, "a timer function does not run");
        return true;
    }
    let status = ScheduleStatus { last: standing.last, last_updated: Some(standing.updated), next };
    for failed in 1.. {
        let call = TimerCall {
            name: function.name.clone(),
            invocation_id: inner.ambient.fresh_id(),
            scheduled: firing.scheduled,
            is_past_due: firing.is_past_due,
            adjust_for_dst: function.adjust_for_dst,
            status: function.is_monitored.then_some(status),
        };
        let invocation_id = call.invocation_id.clone();
        debug!(function = %function.name, %invocation_id, is_past_due = firing.is_past_due, "a timer function runs");
        let noted = (CallKind::Timer, &text, function.name.as_str());
        let alone = inner.parking.alone_if_suspect(&text).await;
        let run = inner.parking.watch(&*inner.ambient, noted, alone, inner.executor.timer(call));
        let run = AssertUnwindSafe(run).catch_unwind().await;
        let failure = match run {
            Ok(Ok(())) => return true,
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new("HostPanic", "the host panicked while the timer function ran"),
        };
        let repeats = function.retry.and_then(|retry| retry.wait_after(failed)).filter(|_| !failure.non_retriable);
        error!(
            function = %function.name, %invocation_id, kind = %failure.kind, reason = %failure.message,
            is_repeated = repeats.is_some(), "a timer function failed"
        );
        match repeats {
            Some(span) if wait(turns, span).await => {}
            Some(_) => return false,
            None => return true,
        }
    }
    true
}

async fn stored(turns: &Turns<'_>, function: &FunctionName) -> Option<TimerStatus> {
    let inner = turns.inner;
    while !turns.are_over() {
        match inner.storage.timer_status(function.clone()).await {
            Ok(status) => return status,
            Err(error @ StorageError::Corrupt(_)) => {
                error!(%function, %error, "cannot read where a timer's schedule stands: it begins anew");
                return None;
            }
            Err(error) => {
                inner.note(&error);
                error!(%function, %error, "cannot read where a timer's schedule stands, trying again");
                inner.ambient.sleep(SLEEP_MAX).await;
            }
        }
    }
    None
}

async fn store(inner: &Inner, function: &TimerFunction, standing: Standing) {
    if !function.is_monitored && !planted!(UnmonitoredRemembered) {
        return;
    }
    match inner.storage.put_timer_status(function.name.clone(), function.status(standing)).await {
        Ok(()) => debug!(function = %function.name, "it is kept where a timer's schedule stands"),
        Err(error) => {
            inner.note(&error);
            // The next firing writes it; after a crash before that, this one fires once more.
            error!(function = %function.name, %error, "cannot keep where a timer's schedule stands");
        }
    }
}

#[cfg(test)]
mod tests;
