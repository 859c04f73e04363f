//! Scripted functions: programs, run by a hand-written guest that keeps to the contract. No wasm, no futures.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use soloist::{
    ambient::Ambient,
    durable::{
        Action, ChildScheduled, EntityRan, EventSent, ExecutionStarted, Failure, GuestEvent, GuestOutcome, GuestTurn,
        HistoryEvent, HttpAnswer, HttpRetry, HttpScheduled, Json, RetryPolicy, TaskScheduled, Timestamp,
    },
    hub::{
        ActivityCall, EntityCall, Executor, ExecutorFuture, GuestError, GuestSlot, HttpRequestCall, OrchestratorCall,
        OrchestratorGuest, TimerCall,
    },
    storage::{Storage, Want},
};
use tokio::sync::Semaphore;

use crate::{
    branches::Branches,
    dice::{Dice, Life, Of, Tally},
    entities::Inside,
    entity_world,
    faults::{Recorder, sent_number},
    plan::instance_id,
    program::{FRAGILE, Fragile, SLOW_TIMEOUT, Step, activity_result, retry_policy},
    timers::Timers,
};

/// A guest of this size stays resident only where the budget is large.
const GUEST_BYTES: usize = 1_000;

/// What is odd about an instance's guests, over all lives: counts down.
#[derive(Debug, Default)]
pub struct Quirks {
    /// Guests that cannot be had.
    pub unavailable: AtomicU64,
    /// Replays that ask for something else.
    pub diverge: AtomicU64,
    /// What is fragile works by now.
    pub mended: AtomicBool,
}

impl Quirks {
    fn take(left: &AtomicU64) -> bool {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// The instances' programs.
pub type Programs = BTreeMap<String, (Vec<Step>, Arc<Quirks>)>;

/// Room for guests.
#[derive(Clone)]
pub struct Slots {
    room: Arc<Semaphore>,
    total: usize,
}

impl Slots {
    pub fn new(total: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(total)), total }
    }

    /// True if there is no guest.
    pub fn are_free(&self) -> bool {
        self.room.available_permits() == self.total
    }
}

/// Runs programs and activities, with delays.
pub struct Script {
    pub slots: Slots,
    pub programs: Arc<Programs>,
    pub life: Arc<Life>,
    pub dice: Mutex<Dice>,
    /// Once in so many times a guest is too large to stay.
    pub evict_one_in: u64,
    /// The real storage: an activity runs only once that is recorded.
    pub storage: Arc<dyn Storage>,
    /// Activities that ran, over all lives.
    pub ran: Arc<Mutex<BTreeSet<(String, u32, u32)>>>,
    pub tally: Arc<Tally>,
    pub recorder: Arc<Recorder>,
    /// Entities that run a batch.
    pub running: entity_world::Running,
    pub timers: Arc<Timers>,
    /// A planted mistake: a guest draws other numbers than the one before it.
    pub other_entropy: bool,
}

impl Script {
    fn delay(&self) -> Duration {
        let mut dice = self.dice.lock().expect("no panic while it is locked");
        if dice.below(4) == 0 { Duration::from_millis(dice.below(400)) } else { Duration::ZERO }
    }

    /// An activity runs only if storage says so, and the attempt that storage says.
    async fn check_recorded(&self, call: &ActivityCall) {
        let want = Want { input: false, history: true };
        let stored = self.storage.snapshot(call.instance_id.clone(), want).await;
        let Ok(Some(snapshot)) = stored else { return };
        if snapshot.started.execution_id != call.execution_id || snapshot.summary.status.is_terminal() {
            return;
        }
        let records = snapshot.history.expect("asked for");
        let mut attempts = records.iter().flat_map(|record| &record.events).filter_map(|event| match event {
            HistoryEvent::TaskScheduled(task) if task.sequence == call.sequence => Some(1),
            HistoryEvent::TaskRetryStarted { sequence, attempt } if *sequence == call.sequence => Some(*attempt),
            HistoryEvent::ExecutionRewound(rewound) => {
                rewound.tasks.iter().find(|task| task.sequence == call.sequence).map(|task| task.attempt)
            }
            _ => None,
        });
        let recorded = attempts.next_back();
        if recorded != Some(call.attempt) {
            self.recorder.violate(format!("an activity ran as attempt {} of {recorded:?}: {call:?}", call.attempt));
        }
    }
}

impl Executor for Script {
    fn slot(&self) -> ExecutorFuture<'_, GuestSlot> {
        let room = self.slots.room.clone();
        Box::pin(async move { GuestSlot::new(room.acquire_owned().await.expect("the semaphore is never closed")) })
    }

    fn orchestrator(
        &self,
        call: OrchestratorCall,
        slot: GuestSlot,
    ) -> ExecutorFuture<'_, Result<Box<dyn OrchestratorGuest>, GuestError>> {
        Box::pin(async move {
            let quirks = self.programs.get(call.instance_id.as_str()).map(|(_, quirks)| quirks.clone());
            let quirks = quirks.unwrap_or_default();
            if Quirks::take(&quirks.unavailable) {
                self.tally.count(Of::Fault, "guest unavailable");
                return Err(GuestError::Unavailable("simulated".into()));
            }
            let odd = self.other_entropy.then(|| self.life.fresh_id());
            let entropy = odd.unwrap_or_else(|| call.execution_id.as_str().to_owned());
            let entropy = entropy.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
            let mut own = self.dice.lock().expect("no panic while it is locked").clone();
            let dice = Dice::new(own.next() ^ entropy);
            let delay = self.delay();
            let guest: Box<dyn OrchestratorGuest> = Box::new(Guest {
                _slot: slot,
                programs: self.programs.clone(),
                name: call.name,
                id: call.instance_id.as_str().to_owned(),
                execution_id: call.execution_id.as_str().to_owned(),
                quirks,
                delay,
                entropy,
                life: self.life.clone(),
                dice: Mutex::new(dice),
                evict_one_in: self.evict_one_in,
                tally: self.tally.clone(),
                recorder: self.recorder.clone(),
                diverged: false,
                state: State::default(),
            });
            Ok(guest)
        })
    }

    /// The URL tells what is answered: how often the work is asked after, or nothing at all.
    fn http(&self, call: HttpRequestCall) -> ExecutorFuture<'_, Result<HttpAnswer, Failure>> {
        let delay = self.delay();
        Box::pin(async move {
            self.life.nap(delay).await;
            let url = call.poll.as_deref().unwrap_or(&call.call.uri);
            let Some(polls) = url.strip_prefix("http://sim/polls/") else {
                return Err(Failure::new("Planned", "as it should"));
            };
            let polls: u32 = polls.parse().expect("a number");
            let header = |name: &str, value: String| (name.to_owned(), value);
            let headers = match polls.checked_sub(1) {
                Some(left) => vec![header("location", left.to_string()), header("retry-after", polls.to_string())],
                None => vec![],
            };
            let status = if headers.is_empty() { 200 } else { 202 };
            Ok(HttpAnswer { status, headers, content: format!("a{}", call.call.sequence).into() })
        })
    }

    fn entity(&self, call: EntityCall) -> ExecutorFuture<'_, Result<EntityRan, GuestError>> {
        let delay = self.delay();
        let is_unavailable = self.dice.lock().expect("no panic while it is locked").one_in(40);
        Box::pin(async move {
            if is_unavailable {
                self.tally.count(Of::Fault, "entity guest unavailable");
                return Err(GuestError::Unavailable("simulated".into()));
            }
            let _alone = self.running.enter(&call.entity, &self.recorder);
            self.life.nap(delay).await;
            entity_world::run(&call, &self.life, &self.recorder)
        })
    }

    fn timer(&self, call: TimerCall) -> ExecutorFuture<'_, Result<(), Failure>> {
        Box::pin(self.timers.run(call))
    }

    fn activity(&self, call: ActivityCall) -> ExecutorFuture<'_, Result<Json, Failure>> {
        let delay = self.delay();
        if call.deadline.is_some() != (call.name.as_str() == "Slow") {
            self.recorder.violate(format!("the deadline is the timeout's: {call:?}"));
        }
        let step = (call.execution_id.as_str().to_owned(), call.sequence);
        if self.recorder.completed.lock().expect("no panic while it is locked").contains(&step) {
            self.recorder.violate(format!("I6: an activity runs again though its result is recorded: {call:?}"));
        }
        let key = (call.execution_id.as_str().to_owned(), call.sequence, call.attempt);
        if !self.ran.lock().expect("no panic while it is locked").insert(key) {
            self.tally.count(Of::Fault, "activity run again");
        }
        Box::pin(async move {
            self.check_recorded(&call).await;
            self.life.nap(delay).await;
            // The policy allows three attempts; the input tells how many fail.
            let fails: u32 = call.input.as_str().parse().unwrap_or(0);
            if call.name.as_str() == "Slow" && call.attempt <= fails {
                self.life.nap(Duration::from_secs(3_000)).await;
                self.recorder.violate(format!("an activity ran on beyond its timeout: {call:?}"));
            }
            if call.name.as_str() == FRAGILE {
                let quirks = self.programs.get(call.input.as_str().trim_matches('"')).map(|(_, quirks)| quirks);
                if quirks.is_some_and(|quirks| !quirks.mended.load(Ordering::Relaxed)) {
                    return Err(Failure::new(FRAGILE, "until it is mended"));
                }
            }
            if call.name.as_str() == "Fails" || (call.name.as_str() == "Works" && call.attempt <= fails) {
                return Err(Failure::new("Planned", "as it should"));
            }
            Ok(Json::parse(activity_result(call.sequence)).expect("a JSON string"))
        })
    }
}

/// A guest: where its program stands.
struct Guest {
    _slot: GuestSlot,
    programs: Arc<Programs>,
    name: String,
    id: String,
    execution_id: String,
    quirks: Arc<Quirks>,
    delay: Duration,
    entropy: u64,
    life: Arc<Life>,
    dice: Mutex<Dice>,
    evict_one_in: u64,
    tally: Arc<Tally>,
    recorder: Arc<Recorder>,
    /// It asked for something else in its replay: it must not be used.
    diverged: bool,
    state: State,
}

/// Where a program stands.
#[derive(Default)]
pub struct State {
    pub id: String,
    pub execution_id: String,
    program: Vec<Step>,
    /// The plan that it is part of.
    plan: String,
    entropy: u64,
    at: usize,
    next: u32,
    pub now: Option<Timestamp>,
    pub waits: Waits,
    buffered: VecDeque<(u32, String)>,
    output: Vec<String>,
    /// How often it has begun anew.
    rounds: u32,
    pub actions: Vec<Action>,
    outcome: Option<GuestOutcome>,
}

/// What the present step waits for.
#[derive(Default)]
pub struct Waits {
    pub tasks: BTreeMap<u32, Option<String>>,
    pub timer: Option<u32>,
    pub inside: Option<Inside>,
    pub branches: Option<Branches>,
    event: bool,
}

impl State {
    pub fn number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn task(&mut self, name: &str) {
        self.task_with(name, Json::parse("0").expect("a number"), None, None);
    }

    fn task_with(&mut self, name: &str, input: Json, retry: Option<RetryPolicy>, timeout: Option<Duration>) {
        let sequence = self.ask_task(name, input, retry, timeout);
        self.waits.tasks.insert(sequence, None);
    }

    /// An activity that something else than the step waits for.
    pub fn plain_task(&mut self, name: &str) -> u32 {
        self.ask_task(name, Json::parse("0").expect("a number"), None, None)
    }

    /// One that fails until it is mended.
    pub fn fragile_task(&mut self) -> u32 {
        self.ask_task(FRAGILE, Json::string(&self.plan), None, None)
    }

    fn ask_task(&mut self, name: &str, input: Json, retry: Option<RetryPolicy>, timeout: Option<Duration>) -> u32 {
        let sequence = self.number();
        self.actions.push(Action::ScheduleTask(TaskScheduled {
            sequence,
            name: name.into(),
            input,
            retry,
            timeout_ms: timeout.map(|timeout| timeout.as_secs_f64() * 1_000.0),
            tags: vec![],
        }));
        sequence
    }

    pub fn fail(&mut self, outcome: GuestOutcome) {
        self.outcome = Some(outcome);
    }

    fn failing_task(&mut self, name: &str, fails: u32, timeout: Option<Duration>) {
        let input = Json::parse(fails.to_string()).expect("a number");
        self.task_with(name, input, Some(retry_policy()), timeout);
    }

    fn fragile(&mut self, what: Fragile) {
        let plan = Json::string(&self.plan);
        match what {
            Fragile::Activity => self.task_with(FRAGILE, plan, None, None),
            Fragile::OneOfThree => {
                self.task("Works");
                self.task_with(FRAGILE, plan, None, None);
                self.task("Works");
            }
            Fragile::Retried => self.task_with(FRAGILE, plan, Some(retry_policy()), None),
            Fragile::Child => self.child("FragileChild", None, false),
            Fragile::Branches(late) => self.begin_branches(late),
            Fragile::Grandchildren => (0..2).for_each(|_| self.child("FragileParent", None, false)),
        }
    }

    fn child(&mut self, name: &str, retry: Option<RetryPolicy>, detached: bool) {
        let sequence = self.number();
        self.waits.tasks.insert(sequence, None);
        let child = ChildScheduled {
            sequence,
            name: name.into(),
            instance_id: String::new(),
            input: if name.starts_with(FRAGILE) { Json::string(&self.plan) } else { Json::null() },
            version: None,
            detached,
            retry,
            policy: None,
            scheduled_start: None,
            tags: vec![],
        };
        self.actions.push(Action::StartChild { child: Box::new(child), instance_id: None });
    }

    fn http(&mut self, uri: &str) {
        let sequence = self.number();
        self.waits.tasks.insert(sequence, None);
        self.actions.push(Action::CallHttp(Box::new(HttpScheduled {
            sequence,
            method: "POST".into(),
            uri: uri.into(),
            headers: vec![],
            content: None,
            asynchronous_pattern: true,
            timeout_ms: None,
            retry: Some(HttpRetry { policy: retry_policy(), status_codes: vec![] }),
            token_source: None,
        })));
    }

    pub fn timer(&mut self, millis: u64) {
        let sequence = self.number();
        let fire_at = self.now.expect("a turn has begun").plus(Duration::from_millis(millis));
        self.waits.timer = Some(sequence);
        self.actions.push(Action::CreateTimer { sequence, fire_at });
    }

    /// Begins the step at which the program stands.
    fn begin(&mut self) {
        let Some(step) = self.program.get(self.at).cloned() else {
            let output = format!("[{}]", self.output.join(","));
            self.outcome = Some(GuestOutcome::Completed(Json::parse(output).expect("an array")));
            return;
        };
        match step {
            Step::Activity => self.task("Works"),
            Step::FanOut(n) => (0..n).for_each(|_| self.task("Works")),
            Step::FailingActivity => self.task("Fails"),
            Step::Timer(millis) => self.timer(millis),
            Step::RandomTimer => self.timer(self.entropy.wrapping_add(self.at as u64) % 5_000),
            Step::Event => self.wait_for_event(),
            Step::Race(millis) => {
                self.wait_for_event();
                self.timer(millis);
            }
            Step::ActivityRace(millis) => {
                self.task("Works");
                self.timer(millis);
            }
            Step::Status => {
                self.actions.push(Action::SetCustomStatus(Json::string(&format!("s{}", self.at))));
                self.end_step(vec![]);
            }
            Step::Retry(fails) => self.failing_task("Works", fails, None),
            Step::Child => self.child("Child", None, false),
            Step::FailingChild => self.child("FailingChild", None, false),
            Step::RetriedChild => self.child("FailingChild", Some(retry_policy()), false),
            Step::Detached => self.child("Child", None, true),
            Step::Http(polls) => self.http(&format!("http://sim/polls/{polls}")),
            Step::FailingHttp => self.http("http://sim/fails"),
            Step::Slow(fails) => self.failing_task("Slow", fails, Some(SLOW_TIMEOUT)),
            Step::Fragile(what) => self.fragile(what),
            Step::Again(times) if self.rounds < times => {
                let input = format!("[{},[{}]]", self.rounds + 1, self.output.join(","));
                self.outcome = Some(GuestOutcome::ContinueAsNew { input: Json::parse(input).expect("an array") });
            }
            Step::Again(_) => self.end_step(vec![]),
            Step::Entity(step) => self.begin_entity(&step),
            Step::SendEvents(to, n) => self.send_events(to, n),
            Step::Fail => self.outcome = Some(GuestOutcome::Failed(Failure::new("Planned", "the end"))),
        }
        self.take_buffered();
    }

    fn send_events(&mut self, to: u64, n: u32) {
        for _ in 0..n {
            let sequence = self.number();
            let input = Json::parse(sent_number(&self.execution_id, sequence).to_string()).expect("a number");
            let (instance_id, name) = (instance_id(to), "Evt".to_owned());
            self.actions.push(Action::SendEvent(EventSent { sequence, instance_id, name, input }));
        }
        self.end_step(vec![]);
    }

    fn wait_for_event(&mut self) {
        self.waits.event = true;
        self.actions.push(Action::WaitForEvent { name: "Evt".into() });
    }

    fn take_buffered(&mut self) {
        if !self.waits.event || self.outcome.is_some() {
            return;
        }
        if let Some((index, input)) = self.buffered.pop_front() {
            self.actions.push(Action::Consumed { index });
            if let Some(sequence) = self.waits.timer {
                self.actions.push(Action::Cancel { sequence });
            }
            self.end_step(vec![input]);
        }
    }

    pub fn end_step(&mut self, results: Vec<String>) {
        self.output.extend(results);
        self.waits = Waits::default();
        self.at += 1;
        self.begin();
    }

    fn started(&mut self, started: &ExecutionStarted) {
        if !started.name.starts_with(FRAGILE) {
            let before: Option<(u32, Vec<serde_json::Value>)> =
                serde_json::from_str(started.input.as_str()).expect("null, or what it gave itself");
            if let Some((rounds, output)) = before {
                self.rounds = rounds;
                self.output = output.iter().map(ToString::to_string).collect();
            }
        }
        self.begin();
    }

    fn event(&mut self, event: &GuestEvent) {
        if self.outcome.is_some() {
            return;
        }
        let branch = match event {
            GuestEvent::TaskCompleted(sequence, result) => Some((*sequence, Ok(result.as_str().to_owned()))),
            GuestEvent::TaskFailed(sequence, failure) => Some((*sequence, Err(failure.clone()))),
            _ => None,
        };
        if branch.is_some_and(|(sequence, result)| self.branch_answer(sequence, &result)) {
            return;
        }
        match event {
            GuestEvent::TurnStarted(now) => self.now = Some(*now),
            GuestEvent::ExecutionStarted(started) => self.started(started),
            GuestEvent::TaskCompleted(sequence, result) => self.answer(*sequence, result.as_str().to_owned()),
            GuestEvent::TaskFailed(_, failure) | GuestEvent::ChildFailed { failure, .. } if failure.kind == FRAGILE => {
                self.outcome = Some(GuestOutcome::Failed(failure.clone()));
            }
            GuestEvent::TaskFailed(sequence, failure) => self.answer(*sequence, format!("\"{}\"", failure.kind)),
            GuestEvent::ChildCompleted { sequence, detached: true, .. } => self.answer(*sequence, "\"d\"".into()),
            GuestEvent::ChildCompleted { sequence, result, .. } => self.answer(*sequence, result.as_str().to_owned()),
            GuestEvent::ChildFailed { sequence, failure, .. } => {
                self.answer(*sequence, format!("\"{}\"", failure.message));
            }
            GuestEvent::HttpCompleted(sequence, answer) => {
                self.answer(*sequence, format!("\"{}\"", answer.content));
            }
            GuestEvent::EntityCompleted(sequence, result) => self.entity_answer(*sequence, result.as_str().to_owned()),
            GuestEvent::EntityFailed(sequence, failure) | GuestEvent::LockFailed(sequence, failure) => {
                self.entity_answer(*sequence, format!("\"{}\"", failure.kind));
            }
            GuestEvent::LockGranted(sequence) => self.granted(*sequence),
            GuestEvent::HttpFailed(sequence, failure) => self.answer(*sequence, format!("\"{}\"", failure.kind)),
            GuestEvent::TimerFired(sequence) => {
                if self.next <= *sequence {
                    return self.fail(impossible("a timer fires that was never made"));
                }
                if self.waits.timer == Some(*sequence) && !self.inside_timer() {
                    if let Some(task) = self.waits.tasks.keys().next() {
                        self.actions.push(Action::Cancel { sequence: *task });
                    }
                    self.end_step(vec!["\"t\"".into()]);
                }
            }
            GuestEvent::EventRaised { index, input, .. } => {
                self.buffered.push_back((*index, input.as_str().to_owned()));
                self.take_buffered();
            }
        }
    }

    fn entity_answer(&mut self, sequence: u32, result: String) {
        if !self.inside(sequence, &result) {
            self.answer(sequence, result);
        }
    }

    fn answer(&mut self, sequence: u32, result: String) {
        if self.next <= sequence {
            return self.fail(impossible("an answer to what was never asked"));
        }
        let Some(slot) = self.waits.tasks.get_mut(&sequence) else { return };
        assert!(slot.is_none(), "two answers to one action");
        *slot = Some(result);
        if self.waits.tasks.values().all(Option::is_some) {
            if let Some(timer) = self.waits.timer {
                self.actions.push(Action::Cancel { sequence: timer });
            }
            let results = std::mem::take(&mut self.waits.tasks).into_values().flatten().collect();
            self.end_step(results);
        }
    }
}

/// No history of this code: a rewind tries what its code would have made of another.
fn impossible(text: &str) -> GuestOutcome {
    GuestOutcome::Faulted(Failure::new("Impossible", text))
}

impl Guest {
    /// Which program it runs: its name or, of the one that all instances share, a label tells.
    fn choose_program(&mut self, started: &ExecutionStarted) {
        self.state.entropy = self.entropy;
        self.state.id.clone_from(&self.id);
        self.state.execution_id.clone_from(&self.execution_id);
        self.state.program = match self.name.as_str() {
            "Child" => vec![Step::Activity],
            "FailingChild" => vec![Step::Activity, Step::Fail],
            "FragileChild" | "FragileParent" => {
                self.state.plan = started.input.as_str().trim_matches('"').to_owned();
                match self.name.as_str() {
                    "FragileChild" => vec![Step::Activity, Step::Fragile(Fragile::Activity)],
                    _ => vec![Step::Fragile(Fragile::Child)],
                }
            }
            _ => {
                let plan = started.tags.iter().find(|tag| tag.key == "plan").expect("every start is labelled");
                self.state.plan.clone_from(&plan.value);
                self.programs[plan.value.as_str()].0.clone()
            }
        };
    }

    /// Asks for something else than the code did before.
    fn diverge(&mut self) {
        self.diverged = true;
        self.tally.count(Of::Fault, "guest diverges");
        self.recorder.damage(&self.id);
        let is_compared = |action: &Action| match action {
            Action::CallEntity(_)
            | Action::SignalEntity(_)
            | Action::LockEntities(_)
            | Action::UnlockEntities { .. }
            | Action::SendEvent(_) => true,
            Action::ScheduleTask(_)
            | Action::CallHttp(_)
            | Action::StartChild { .. }
            | Action::CreateTimer { .. }
            | Action::Cancel { .. } => true,
            Action::WaitForEvent { .. }
            | Action::Consumed { .. }
            | Action::SetCustomStatus(_)
            | Action::Unsupported { .. } => false,
        };
        match self.state.actions.iter().rposition(is_compared) {
            Some(last) => drop(self.state.actions.remove(last)),
            None => self.state.outcome = Some(GuestOutcome::Completed(Json::null())),
        }
    }
}

impl OrchestratorGuest for Guest {
    fn turn<'a>(
        &'a mut self,
        replaying: bool,
        _turns: u32,
        events: &'a [GuestEvent],
    ) -> ExecutorFuture<'a, Result<GuestTurn, GuestError>> {
        Box::pin(async move {
            self.life.nap(self.delay).await;
            if self.diverged {
                self.recorder.violate(format!("I5: a guest of {} that diverged was used", self.id));
            }
            for event in events {
                if let GuestEvent::ExecutionStarted(started) = event {
                    self.choose_program(started);
                }
                self.state.event(event);
            }
            if replaying && Quirks::take(&self.quirks.diverge) {
                self.diverge();
            }
            let outcome = self.state.outcome.clone().unwrap_or(GuestOutcome::Waiting);
            Ok(GuestTurn { actions: std::mem::take(&mut self.state.actions), outcome })
        })
    }

    fn resident_bytes(&self) -> usize {
        if self.dice.lock().expect("no panic while it is locked").one_in(self.evict_one_in) {
            self.tally.count(Of::Fault, "guest evicted");
            return usize::MAX / 2;
        }
        GUEST_BYTES
    }
}
