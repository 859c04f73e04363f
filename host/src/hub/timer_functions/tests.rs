//! Decisions first, then timers that run: under a clock that only waiting moves, and that may be set.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
};

use super::*;
use crate::{
    ambient::Ambient,
    durable::{Json, OverridableStates},
    flight::{Book, Recorder},
    hub::{
        ActivityCall, Executor, ExecutorFuture, Functions, GuestError, GuestSlot, HubConfig, HubParts,
        OrchestratorCall, OrchestratorGuest,
    },
    storage::{Storage, memory::Memory},
};

const SECOND: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp(second * SECOND)
}

/// Every ten minutes, on the minute.
fn function() -> TimerFunction {
    const PERIOD: i64 = 600 * SECOND;
    TimerFunction {
        name: FunctionName::new("T"),
        next: Arc::new(|last, now| Some(Timestamp((now.max(last).0.div_euclid(PERIOD) + 1) * PERIOD))),
        schedule: 7,
        is_monitored: true,
        run_on_startup: false,
        adjust_for_dst: true,
        retry: None,
    }
}

fn stored(last: Option<i64>, next: i64, updated: i64) -> Option<TimerStatus> {
    Some(TimerStatus { last: last.map(at), next: Some(at(next)), updated: at(updated), schedule: 7 })
}

#[test]
fn what_was_missed_while_the_host_was_down_fires_once_at_the_start() {
    let (standing, firing) = function().on_start(stored(Some(600), 1_200, 600), at(5_000));
    assert_eq!(firing, Some(Firing { scheduled: at(1_200), is_past_due: true }));
    assert_eq!(standing.last, Some(at(600)));
    let after = function().after(firing.unwrap(), at(5_000), at(5_001));
    assert_eq!((after.last, after.next), (Some(at(5_000)), Some(at(5_400))), "not once for each that was missed");
    let (_, firing) = function().on_start(Some(function().status(after)), at(5_100));
    assert_eq!(firing, None, "and not at the next start");
}

#[test]
fn nothing_is_past_due_that_was_never_scheduled() {
    let (standing, firing) = function().on_start(None, at(1_000));
    assert_eq!((standing.next, firing), (Some(at(1_200)), None));
    let other = TimerStatus { schedule: 8, ..stored(None, 600, 0).unwrap() };
    assert_eq!(function().on_start(Some(other), at(1_000)).1, None, "another schedule's");
    let future = stored(None, 90_000, 89_000);
    assert_eq!(function().on_start(future, at(1_000)).0.next, Some(at(1_200)), "a clock that was wrong");
}

#[test]
fn run_on_startup_fires_once_even_if_it_is_past_due() {
    let eager = TimerFunction { run_on_startup: true, ..function() };
    let (_, firing) = eager.on_start(None, at(1_000));
    assert_eq!(firing, Some(Firing { scheduled: at(1_000), is_past_due: false }));
    let (_, firing) = eager.on_start(stored(None, 600, 0), at(1_000));
    assert_eq!(firing, Some(Firing { scheduled: at(600), is_past_due: true }));
}

#[test]
fn a_run_that_takes_longer_than_the_period_skips_what_became_due() {
    let firing = Firing { scheduled: at(600), is_past_due: false };
    let after = function().after(firing, at(600), at(2_000));
    assert_eq!((after.last, after.next), (Some(at(600)), Some(at(2_400))));
    let back = function().after(firing, at(600), at(599));
    assert_eq!(back.next, Some(at(1_200)), "a clock that is set back brings no occurrence twice");
    let far_back = function().after(Firing { scheduled: at(90_000), is_past_due: false }, at(90_000), at(1_000));
    assert_eq!(far_back.next, Some(at(1_200)), "unless it was wrong before");
}

#[test]
fn repetitions_wait_as_their_policy_says() {
    let seconds = Duration::from_secs;
    let growing = TimerRetry { max_retry_count: Some(4), first_wait: seconds(1), max_wait: seconds(5) };
    let waits: Vec<_> = (1..=5).map(|failed| growing.wait_after(failed)).collect();
    assert_eq!(waits, [Some(seconds(1)), Some(seconds(2)), Some(seconds(4)), Some(seconds(5)), None]);
    let endless = TimerRetry { max_retry_count: None, max_wait: seconds(1), ..growing };
    assert_eq!(endless.wait_after(u32::MAX), Some(seconds(1)));
}

/// A wall clock that goes with tokio's, which is paused, and can be set.
struct Clock {
    began: tokio::time::Instant,
    offset_micros: AtomicI64,
    ids: AtomicU32,
}

impl Ambient for Clock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.began.elapsed().as_micros()).unwrap();
        Timestamp(elapsed + self.offset_micros.load(Ordering::Relaxed))
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }

    fn fresh_id(&self) -> String {
        self.ids.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// Notes each run: when it was due, whether it was late, when it began.
#[derive(Default)]
struct Runs {
    runs: Mutex<Vec<(i64, bool, i64)>>,
    took: Duration,
    fails: bool,
    clock: Mutex<Option<Arc<Clock>>>,
}

impl Executor for Runs {
    fn orchestrator(
        &self,
        _: OrchestratorCall,
        _: GuestSlot,
    ) -> ExecutorFuture<'_, Result<Box<dyn OrchestratorGuest>, GuestError>> {
        Box::pin(async { Err(GuestError::Unavailable("there is none".into())) })
    }

    fn activity(&self, _: ActivityCall) -> ExecutorFuture<'_, Result<Json, Failure>> {
        Box::pin(async { Ok(Json::null()) })
    }

    fn timer(&self, call: TimerCall) -> ExecutorFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let now = self.clock.lock().unwrap().as_ref().unwrap().now();
            self.runs.lock().unwrap().push((call.scheduled.0 / SECOND, call.is_past_due, now.0 / SECOND));
            tokio::time::sleep(self.took).await;
            if self.fails { Err(Failure::new("Planned", "as it should")) } else { Ok(()) }
        })
    }
}

/// A life of a host that begins at a second.
struct Life {
    hub: Arc<Hub>,
    runs: Arc<Runs>,
    clock: Arc<Clock>,
}

impl Life {
    fn begin(storage: &Arc<Memory>, second: i64, runs: Runs, function: TimerFunction) -> Self {
        let clock = Arc::new(Clock {
            began: tokio::time::Instant::now(),
            offset_micros: AtomicI64::new(second * SECOND),
            ids: AtomicU32::new(0),
        });
        let runs = Arc::new(runs);
        *runs.clock.lock().unwrap() = Some(clock.clone());
        let hub = Hub::start(HubParts {
            storage: storage.clone() as Arc<dyn Storage>,
            executor: runs.clone(),
            ambient: clock.clone(),
            functions: Functions::default(),
            config: HubConfig {
                policy: OverridableStates::None,
                concurrent_activities: 1,
                concurrent_entities: 10,
                entity_batch_max: 100,
                concurrent_turns: 1,
                actions_max: 1,
                resident_bytes: 0,
                residents_max: 0,
                due_page: 1,
                function_timeout: None,
                http_poll_wait: Duration::ZERO,
                retention: crate::hub::Retention::default(),
            },
            recorder: Arc::new(Recorder::off()),
            book: Book::default(),
        });
        hub.run_timers(vec![function]);
        Self { hub, runs, clock }
    }

    fn runs(&self) -> Vec<(i64, bool, i64)> {
        self.runs.runs.lock().unwrap().clone()
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn set_clock(&self, by_seconds: i64) {
        self.clock.offset_micros.fetch_add(by_seconds * SECOND, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn each_occurrence_fires_once_and_a_failure_does_not_stop_the_schedule() {
    let storage = Arc::new(Memory::new());
    let life = Life::begin(&storage, 100, Runs { fails: true, ..Runs::default() }, function());
    life.pass(1_750).await;
    assert_eq!(life.runs(), [(600, false, 600), (1_200, false, 1_200), (1_800, false, 1_800)]);
    life.hub.stop();
    life.pass(5_000).await;
    assert_eq!(life.runs().len(), 3, "a host that stops fires no more");
}

#[tokio::test(start_paused = true)]
async fn a_function_never_overlaps_itself() {
    let storage = Arc::new(Memory::new());
    let slow = Runs { took: Duration::from_secs(1_300), ..Runs::default() };
    let life = Life::begin(&storage, 100, slow, function());
    life.pass(4_000).await;
    assert_eq!(life.runs(), [(600, false, 600), (2_400, false, 2_400)], "1,200 and 1,800 are skipped");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_failed_is_repeated_within_its_firing() {
    let storage = Arc::new(Memory::new());
    let retry =
        TimerRetry { max_retry_count: Some(2), first_wait: Duration::from_secs(10), max_wait: Duration::from_secs(15) };
    let runs = Runs { fails: true, ..Runs::default() };
    let life = Life::begin(&storage, 100, runs, TimerFunction { retry: Some(retry), ..function() });
    life.pass(1_000).await;
    assert_eq!(life.runs(), [(600, false, 600), (600, false, 610), (600, false, 625)]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_crash_cut_short_is_made_up_for_at_the_next_start() {
    let storage = Arc::new(Memory::new());
    let slow = Runs { took: Duration::from_secs(100), ..Runs::default() };
    let life = Life::begin(&storage, 100, slow, function());
    life.pass(550).await;
    assert_eq!(life.runs(), [(600, false, 600)]);
    // What a kill leaves: the run has not ended, and nothing is written any more.
    life.hub.stop();
    let next = Life::begin(&storage, 660, Runs::default(), function());
    next.pass(600).await;
    assert_eq!(next.runs(), [(600, true, 660), (1_200, false, 1_200)]);
    let third = Life::begin(&storage, 1_300, Runs::default(), function());
    third.pass(100).await;
    assert_eq!(third.runs(), [], "what has run is not past due");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_monitored_is_not_made_up_for() {
    let storage = Arc::new(Memory::new());
    let unmonitored = || TimerFunction { is_monitored: false, ..function() };
    let life = Life::begin(&storage, 100, Runs::default(), unmonitored());
    life.pass(10).await;
    life.hub.stop();
    let next = Life::begin(&storage, 700, Runs::default(), unmonitored());
    next.pass(510).await;
    assert_eq!(next.runs(), [(1_200, false, 1_200)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_brings_no_burst_and_nothing_twice() {
    let storage = Arc::new(Memory::new());
    let life = Life::begin(&storage, 100, Runs::default(), function());
    life.pass(550).await;
    life.set_clock(3_000);
    life.pass(10).await;
    let late = life.runs()[1];
    assert_eq!((late.0, late.1, life.runs().len()), (1_200, true, 2), "forward: once, and late");
    assert!((3_650..=3_652).contains(&late.2), "noticed within a second: {late:?}");
    life.set_clock(-100);
    life.pass(60).await;
    assert_eq!(life.runs().len(), 2, "back: 3,600 has passed before");
    life.pass(590).await;
    assert_eq!(life.runs().last(), Some(&(4_200, false, 4_200)));
    life.set_clock(-90_000);
    life.pass(700).await;
    let (scheduled, is_past_due, began) = *life.runs().last().unwrap();
    assert!(scheduled < 0 && !is_past_due && began == scheduled, "far back: it goes on from there: {scheduled}");
}

#[tokio::test(start_paused = true)]
async fn a_run_under_another_definition_neither_fires_again_nor_is_lost() {
    let storage = Arc::new(Memory::new());
    let slow = Runs { took: Duration::from_secs(100), ..Runs::default() };
    let life = Life::begin(&storage, 100, slow, function());
    life.pass(550).await;
    life.hub.run_timers(vec![TimerFunction { adjust_for_dst: false, ..function() }]);
    life.pass(600).await;
    assert_eq!(life.runs(), [(600, false, 600), (1_200, false, 1_200)]);
}

#[tokio::test(start_paused = true)]
async fn another_definition_or_none_does_not_wait_for_repetitions() {
    let storage = Arc::new(Memory::new());
    let hour = Duration::from_hours(1);
    let retry = TimerRetry { max_retry_count: None, first_wait: hour, max_wait: hour };
    let eager = || TimerFunction { retry: Some(retry), ..function() };
    let life = Life::begin(&storage, 100, Runs { fails: true, ..Runs::default() }, eager());
    life.pass(550).await;
    life.hub.run_timers(vec![function()]);
    life.pass(10).await;
    let (scheduled, is_past_due, began) = life.runs()[1];
    assert!(scheduled == 600 && is_past_due && (650..655).contains(&began), "it is made up for: {:?}", life.runs());
    life.hub.run_timers(vec![eager()]);
    life.pass(600).await;
    assert_eq!(life.runs().len(), 3);
    life.hub.run_timers(vec![]);
    life.pass(10_000).await;
    assert_eq!(life.runs().len(), 3, "of what was taken away nothing is repeated");
}
