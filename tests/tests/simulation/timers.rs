//! Timer functions: random schedules, and what a run of one does. What must hold of them is in `timer_oracle.rs`.

use std::{
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use soloist::{
    durable::{EntityId, Failure, FunctionName, InstanceId, Json, OverridableStates, Timestamp},
    hub::{StartNew, TimerCall, TimerFunction, TimerRetry},
    storage::Want,
};

use crate::{
    clients::{Context, may_be_repeated},
    dice::{BEGINNING, Dice, Life},
    entity_world,
    faults::Recorder,
};

/// What timer functions do: every production that a run must have seen.
pub const TIMERS: &[&str] = &[
    "timer function fired",
    "timer function fired unmonitored",
    "timer function past due",
    "timer function late",
    "timer function made up for",
    "timer function ran at startup",
    "timer function skipped what came due meanwhile",
    "timer function failed",
    "timer function repeated",
    "timer function signaled an entity",
    "timer function started a singleton",
];

const SECOND: i64 = 1_000_000;

/// The orchestration of which there is one.
pub const SINGLETON: &str = "nightly";

/// When a function is due; spans are in microseconds.
#[derive(Clone, Copy, Debug)]
enum Rhythm {
    /// At every multiple of a span, as a cron expression.
    Every(i64),
    /// A span after the firing before.
    Pace(i64),
    /// At some moment of most spans, drawn from a number.
    Scattered(i64, u64),
}

/// A schedule that ends at some time.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rhythm: Rhythm,
    until: i64,
}

impl Schedule {
    fn random(dice: &mut Dice) -> Self {
        let span = (2 + dice.below(28) as i64) * SECOND;
        let rhythm = match dice.below(3) {
            0 => Rhythm::Every(span),
            1 => Rhythm::Pace(span),
            _ => Rhythm::Scattered(span, dice.next()),
        };
        let lasts = [60, 200, 200, 1_000][dice.below(4) as usize];
        Self { rhythm, until: BEGINNING + lasts * SECOND }
    }

    /// The first occurrence after a time, of the series in which `last` is.
    pub fn next(&self, last: Timestamp, after: Timestamp) -> Option<Timestamp> {
        let next = match self.rhythm {
            Rhythm::Every(span) => (after.0.div_euclid(span) + 1) * span,
            Rhythm::Pace(span) => last.0 + ((after.0 - last.0).div_euclid(span) + 1) * span,
            Rhythm::Scattered(span, salt) => (after.0.div_euclid(span)..)
                .filter_map(|slot| {
                    let mut dice = Dice::new(salt ^ slot.unsigned_abs());
                    dice.next();
                    let is_empty = dice.one_in(4);
                    (!is_empty).then(|| slot * span + dice.below(span.unsigned_abs()).cast_signed())
                })
                .find(|at| *at > after.0)?,
        };
        (next <= self.until).then_some(Timestamp(next))
    }
}

/// What a run does, beside taking its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Nothing,
    Signal,
    Singleton,
}

/// A timer function of a world.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: FunctionName,
    pub schedule: Schedule,
    pub is_monitored: bool,
    pub run_on_startup: bool,
    pub retry: Option<TimerRetry>,
    /// Runs take up to so many milliseconds.
    takes: u64,
    fails_one_in: u64,
    work: Work,
}

impl Function {
    fn random(number: u64, dice: &mut Dice) -> Self {
        let first_wait = Duration::from_secs(1);
        let retry = TimerRetry { max_retry_count: Some(2), first_wait, max_wait: first_wait.mul_f64(1.5) };
        Self {
            name: FunctionName::new(&format!("Timer{number}")),
            schedule: Schedule::random(dice),
            is_monitored: !dice.one_in(4),
            run_on_startup: dice.one_in(4),
            retry: dice.one_in(3).then_some(retry),
            takes: [0, 0, 2_000, 30_000][dice.below(4) as usize],
            fails_one_in: [0, 3][dice.below(2) as usize],
            work: [Work::Nothing, Work::Signal, Work::Singleton][dice.below(3) as usize],
        }
    }

    fn deployed(&self) -> TimerFunction {
        let schedule = self.schedule;
        TimerFunction {
            name: self.name.clone(),
            next: Arc::new(move |last, after| schedule.next(last, after)),
            schedule: 1,
            is_monitored: self.is_monitored,
            run_on_startup: self.run_on_startup,
            adjust_for_dst: true,
            retry: self.retry,
        }
    }
}

/// The timer functions of a world: half of the worlds have some. Their dice are their own.
pub fn of_seed(seed: u64) -> Vec<Function> {
    let mut dice = Dice::new(seed ^ 0x0071_3E25);
    let functions = [0, 0, 0, 1, 2, 3][dice.below(6) as usize];
    (0..functions).map(|number| Function::random(number, &mut dice)).collect()
}

/// The timer functions of one life.
pub struct Timers {
    functions: Arc<Vec<Function>>,
    life: Arc<Life>,
    recorder: Arc<Recorder>,
    dice: Mutex<Dice>,
    context: OnceLock<Weak<Context>>,
    /// Runs do nothing any more that would leave something behind.
    is_quiet: AtomicBool,
    /// Runs that do.
    busy: AtomicU64,
}

impl Timers {
    pub fn new(functions: Arc<Vec<Function>>, life: Arc<Life>, recorder: Arc<Recorder>, seed: u64) -> Self {
        let dice = Mutex::new(Dice::new(seed ^ life.number ^ 0x0071_3E25));
        let (context, is_quiet, busy) = (OnceLock::new(), AtomicBool::new(false), AtomicU64::new(0));
        Self { functions, life, recorder, dice, context, is_quiet, busy }
    }

    /// Lets the hub fire them.
    pub fn begin(&self, context: &Arc<Context>) {
        self.context.set(Arc::downgrade(context)).expect("a life begins once");
        self.recorder.timers(&self.life, |oracle, moment| {
            oracle.life_begins(moment);
            Ok(())
        });
        context.hub.run_timers(self.functions.iter().map(Function::deployed).collect());
    }

    /// From here on nothing is left behind.
    pub async fn settle(&self) {
        self.is_quiet.store(true, Ordering::SeqCst);
        while self.busy.load(Ordering::SeqCst) > 0 {
            self.life.nap_millis(50).await;
        }
    }

    /// A run.
    pub async fn run(&self, call: TimerCall) -> Result<(), Failure> {
        self.recorder.timers(&self.life, |oracle, moment| oracle.began(&call, moment));
        let function = self.functions.iter().find(|function| function.name == call.name).expect("it is deployed");
        let (takes, fails, works) = {
            let mut dice = self.dice.lock().expect("no panic while it is locked");
            let is_long = dice.one_in(2);
            let takes = if is_long { dice.below(function.takes) } else { 0 };
            (takes, dice.one_in(function.fails_one_in), dice.one_in(3))
        };
        self.life.nap_millis(takes).await;
        if works && let Some(context) = self.context.get().and_then(Weak::upgrade) {
            self.busy.fetch_add(1, Ordering::SeqCst);
            if !self.is_quiet.load(Ordering::SeqCst) {
                work(&context, function.work, &call.invocation_id).await;
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
        }
        self.recorder.timers(&self.life, |oracle, moment| oracle.ended(&call.name, !fails, moment));
        if fails { Err(Failure::new("Planned", "as it should")) } else { Ok(()) }
    }
}

async fn work(context: &Context, work: Work, invocation: &str) {
    match work {
        Work::Nothing => {}
        Work::Signal => {
            let forwarder = EntityId::parse("Forwarder", "f").expect("a legal id");
            entity_world::send(context, forwarder, format!("timer {invocation}"), None).await;
            context.did("timer function signaled an entity");
        }
        Work::Singleton => start_singleton(context).await,
    }
}

/// Starts an orchestration unless it is at work already.
async fn start_singleton(context: &Context) {
    let start = StartNew {
        name: FunctionName::new("Child"),
        instance_id: Some(SINGLETON.into()),
        input: Json::null(),
        policy: Some(OverridableStates::NonRunningStates),
        version: None,
        scheduled_start: None,
        tags: vec![],
        trace_context: None,
    };
    match context.hub.start_new(start).await {
        Ok(soloist::hub::StartOutcome::Started { .. }) => context.did("timer function started a singleton"),
        Ok(_) => context.did("timer function found its singleton at work"),
        Err(error) => {
            if !may_be_repeated(&error) {
                context.recorder.violate(format!("a timer function's start was refused: {error}"));
            }
            return;
        }
    }
    let id = InstanceId::parse(SINGLETON).expect("a legal id");
    let seen = context.real.snapshot(id, Want { input: false, history: false }).await;
    context.settled(SINGLETON).await;
    if matches!(seen, Ok(None)) && context.recorder.graves_of(SINGLETON) == 0 {
        context.recorder.violate("I3: the start that a timer function made is gone".to_owned());
    }
}
