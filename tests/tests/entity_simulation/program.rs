//! Scripted functions: random programs, run by a hand-written guest that keeps to the contract. No wasm, no futures.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use soloist::{
    ambient::Ambient,
    durable::{
        Action, ChildScheduled, EntityRan, Failure, GuestEvent, GuestOutcome, GuestTurn, Json, RetryPolicy,
        TaskScheduled, Timestamp,
    },
    hub::{ActivityCall, EntityCall, Executor, ExecutorFuture, GuestError, OrchestratorCall, OrchestratorGuest},
};

use crate::{
    entities::{self, EntityStep, Inside, Running},
    faults::Dice,
};

/// One step of a program. Its result is a number or text that joins the output.
#[derive(Clone, Debug)]
pub enum Step {
    /// One activity.
    Activity,
    /// Several at once.
    FanOut(u32),
    /// An activity that fails; the failure is caught.
    FailingActivity,
    /// A durable timer, in milliseconds.
    Timer(u64),
    /// Waits for the event.
    Event,
    /// The event against a timer: the loser is canceled, or the wait is given up.
    Race(u64),
    /// A custom status.
    Status,
    /// An activity whose first attempts fail: this many of them, retried by the host.
    Retry(u32),
    /// A sub-orchestration of one activity.
    Child,
    /// A sub-orchestration that fails; the failure is caught.
    FailingChild,
    /// An activity that takes longer than it may: this many attempts are stopped, and the next, if the policy allows one, is
    /// quick.
    Slow(u32),
    /// Begins anew, this many times in all; only as the last step.
    Again(u32),
    /// Something with entities.
    Entity(EntityStep),
    /// Fails the orchestration.
    Fail,
}

/// A random program.
pub fn random(dice: &mut Dice) -> Vec<Step> {
    let mut steps: Vec<Step> = (0..dice.below(8))
        .map(|_| match dice.below(24) {
            16..=23 => Step::Entity(entities::random(dice)),
            0..=3 => Step::Activity,
            4 => Step::FanOut(1 + u32::try_from(dice.below(6)).expect("small")),
            5 => Step::FailingActivity,
            6 | 7 => Step::Timer(dice.below(30_000)),
            8 | 9 => Step::Event,
            10 => Step::Race(dice.below(2_000)),
            12 => Step::Child,
            13 => Step::FailingChild,
            11 => Step::Retry(u32::try_from(dice.below(4)).expect("small")),
            14 => Step::Slow(u32::try_from(dice.below(4)).expect("small")),
            _ => Step::Status,
        })
        .collect();
    match dice.below(10) {
        0 => steps.push(Step::Fail),
        1 | 2 if steps.iter().any(|step| !matches!(step, Step::Status)) => {
            steps.push(Step::Again(1 + u32::try_from(dice.below(3)).expect("small")));
        }
        _ => {}
    }
    steps
}

/// Three attempts, a second and two apart.
pub fn retry_policy() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 3,
        first_interval_ms: 1_000.0,
        backoff_coefficient: 2.0,
        max_interval_ms: None,
        retry_timeout_ms: None,
        retry_kinds: vec![],
        never_retry_kinds: vec![],
    }
}

/// How long an attempt of a slow activity may take.
const SLOW_TIMEOUT: Duration = Duration::from_secs(5);

/// What an activity returns: known without running it.
pub fn activity_result(sequence: u32) -> String {
    format!("\"a{sequence}\"")
}

/// Runs programs and activities, with delays.
pub struct Script {
    pub programs: BTreeMap<String, Vec<Step>>,
    pub ambient: Arc<dyn Ambient>,
    pub dice: Mutex<Dice>,
    pub running: Running,
}

impl Script {
    fn delay(&self) -> Duration {
        let mut dice = self.dice.lock().expect("no panic while it is locked");
        if dice.below(4) == 0 { Duration::from_millis(dice.below(400)) } else { Duration::ZERO }
    }
}

impl Executor for Script {
    fn orchestrator(
        &self,
        call: OrchestratorCall,
    ) -> ExecutorFuture<'_, Result<Box<dyn OrchestratorGuest>, GuestError>> {
        Box::pin(async move {
            let program = match call.name.as_str() {
                "Child" => vec![Step::Activity],
                "FailingChild" => vec![Step::Activity, Step::Fail],
                _ => self.programs[call.instance_id.as_str()].clone(),
            };
            let guest: Box<dyn OrchestratorGuest> = Box::new(Guest {
                instance_id: call.instance_id.as_str().to_owned(),
                execution_id: call.execution_id.as_str().to_owned(),
                ..Guest::new(program, self.delay(), self.ambient.clone())
            });
            Ok(guest)
        })
    }

    fn entity(&self, call: EntityCall) -> ExecutorFuture<'_, Result<EntityRan, GuestError>> {
        let delay = self.ambient.sleep(self.delay());
        Box::pin(entities::run(&self.running, call, delay))
    }

    fn activity(&self, call: ActivityCall) -> ExecutorFuture<'_, Result<Json, Failure>> {
        let delay = self.delay();
        let is_bounded = call.name.as_str() == "Slow";
        assert_eq!(
            call.deadline,
            is_bounded.then(|| self.ambient.now().plus(SLOW_TIMEOUT)),
            "the deadline is the timeout's"
        );
        Box::pin(async move {
            self.ambient.sleep(delay).await;
            // The policy allows three attempts; the input tells how many fail.
            let fails: u32 = call.input.as_str().parse().unwrap_or(0);
            if call.name.as_str() == "Slow" && call.attempt <= fails {
                self.ambient.sleep(Duration::from_secs(3_000)).await;
                panic!("an activity ran on beyond its timeout");
            }
            if call.name.as_str() == "Fails" || (call.name.as_str() == "Works" && call.attempt <= fails) {
                return Err(Failure::new("Planned", "as it should"));
            }
            Ok(Json::parse(activity_result(call.sequence)).expect("a JSON string"))
        })
    }
}

/// A guest: where its program stands.
pub struct Guest {
    pub instance_id: String,
    pub execution_id: String,
    program: Vec<Step>,
    delay: Duration,
    ambient: Arc<dyn Ambient>,
    at: usize,
    next: u32,
    pub now: Timestamp,
    pub waits: Waits,
    buffered: VecDeque<(u32, String)>,
    output: Vec<String>,
    /// How often it has begun anew.
    rounds: u32,
    pub actions: Vec<Action>,
    outcome: GuestOutcome,
}

/// What the present step waits for.
#[derive(Default)]
pub struct Waits {
    pub tasks: BTreeMap<u32, Option<String>>,
    pub timer: Option<u32>,
    pub inside: Option<Inside>,
    event: bool,
}

impl Guest {
    fn new(program: Vec<Step>, delay: Duration, ambient: Arc<dyn Ambient>) -> Self {
        Self {
            instance_id: String::new(),
            execution_id: String::new(),
            program,
            delay,
            ambient,
            at: 0,
            next: 0,
            now: Timestamp(0),
            waits: Waits::default(),
            buffered: VecDeque::new(),
            output: vec![],
            rounds: 0,
            actions: vec![],
            outcome: GuestOutcome::Waiting,
        }
    }

    pub fn number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn task(&mut self, name: &str) {
        self.task_with(name, 0, None, None);
    }

    fn task_with(&mut self, name: &str, fails: u32, retry: Option<RetryPolicy>, timeout: Option<Duration>) {
        let sequence = self.number();
        self.waits.tasks.insert(sequence, None);
        self.actions.push(Action::ScheduleTask(TaskScheduled {
            sequence,
            name: name.into(),
            input: Json::parse(fails.to_string()).expect("a number"),
            retry,
            timeout_ms: timeout.map(|timeout| timeout.as_secs_f64() * 1_000.0),
            tags: vec![],
        }));
    }

    fn child(&mut self, name: &str) {
        let sequence = self.number();
        self.waits.tasks.insert(sequence, None);
        let child = ChildScheduled {
            sequence,
            name: name.into(),
            instance_id: String::new(),
            input: Json::null(),
            version: None,
            detached: false,
            retry: None,
            policy: None,
            scheduled_start: None,
            tags: vec![],
        };
        self.actions.push(Action::StartChild { child: Box::new(child), instance_id: None });
    }

    pub fn timer(&mut self, millis: u64) {
        let sequence = self.number();
        let fire_at = self.now.plus(Duration::from_millis(millis));
        self.waits.timer = Some(sequence);
        self.actions.push(Action::CreateTimer { sequence, fire_at });
    }

    /// Begins the step at which the program stands.
    fn begin(&mut self) {
        let Some(step) = self.program.get(self.at).cloned() else {
            let output = format!("[{}]", self.output.join(","));
            self.outcome = GuestOutcome::Completed(Json::parse(output).expect("an array"));
            return;
        };
        match step {
            Step::Activity => self.task("Works"),
            Step::FanOut(n) => (0..n).for_each(|_| self.task("Works")),
            Step::FailingActivity => self.task("Fails"),
            Step::Timer(millis) => self.timer(millis),
            Step::Event => self.wait_for_event(),
            Step::Race(millis) => {
                self.wait_for_event();
                self.timer(millis);
            }
            Step::Status => {
                self.actions.push(Action::SetCustomStatus(Json::string(&format!("s{}", self.at))));
                self.end_step(vec![]);
            }
            Step::Retry(fails) => self.task_with("Works", fails, Some(retry_policy()), None),
            Step::Child => self.child("Child"),
            Step::FailingChild => self.child("FailingChild"),
            Step::Slow(fails) => self.task_with("Slow", fails, Some(retry_policy()), Some(SLOW_TIMEOUT)),
            Step::Again(times) if self.rounds < times => {
                let input = format!("[{},[{}]]", self.rounds + 1, self.output.join(","));
                self.outcome = GuestOutcome::ContinueAsNew { input: Json::parse(input).expect("an array") };
            }
            Step::Again(_) => self.end_step(vec![]),
            Step::Entity(step) => self.begin_entity(&step),
            Step::Fail => self.outcome = GuestOutcome::Failed(Failure::new("Planned", "the end")),
        }
        self.take_buffered();
    }

    fn wait_for_event(&mut self) {
        self.waits.event = true;
        self.actions.push(Action::WaitForEvent { name: "Evt".into() });
    }

    fn take_buffered(&mut self) {
        if !self.waits.event || self.outcome != GuestOutcome::Waiting {
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

    fn event(&mut self, event: &GuestEvent) {
        if self.outcome != GuestOutcome::Waiting {
            return;
        }
        match event {
            GuestEvent::HttpCompleted(..) | GuestEvent::HttpFailed(..) => panic!("no program here calls HTTP"),
            GuestEvent::TurnStarted(now) => self.now = *now,
            GuestEvent::ExecutionStarted(started) => {
                let before: Option<(u32, Vec<serde_json::Value>)> =
                    serde_json::from_str(started.input.as_str()).expect("null, or what it gave itself");
                if let Some((rounds, output)) = before {
                    self.rounds = rounds;
                    self.output = output.iter().map(ToString::to_string).collect();
                }
                self.begin();
            }
            GuestEvent::TaskCompleted(sequence, result) => self.answer(*sequence, result.as_str().to_owned()),
            GuestEvent::TaskFailed(sequence, failure) => self.answer(*sequence, format!("\"{}\"", failure.kind)),
            GuestEvent::ChildCompleted { sequence, result, .. } => self.answer(*sequence, result.as_str().to_owned()),
            GuestEvent::ChildFailed { sequence, failure, .. } => {
                self.answer(*sequence, format!("\"{}\"", failure.message));
            }
            GuestEvent::TimerFired(sequence) => {
                assert!(self.next > *sequence, "a timer that was never made");
                if self.waits.timer == Some(*sequence) && !self.inside_timer() {
                    self.end_step(vec!["\"t\"".into()]);
                }
            }
            GuestEvent::EntityCompleted(sequence, result) => {
                if !self.inside(*sequence, result.as_str()) {
                    self.answer(*sequence, result.as_str().to_owned());
                }
            }
            GuestEvent::EntityFailed(sequence, failure) | GuestEvent::LockFailed(sequence, failure) => {
                let kind = format!("\"{}\"", failure.kind);
                if !self.inside(*sequence, &kind) {
                    self.answer(*sequence, kind);
                }
            }
            GuestEvent::LockGranted(sequence) => self.granted(*sequence),
            GuestEvent::EventRaised { index, input, .. } => {
                self.buffered.push_back((*index, input.as_str().to_owned()));
                self.take_buffered();
            }
        }
    }

    fn answer(&mut self, sequence: u32, result: String) {
        assert!(self.next > sequence, "an answer to what was never asked");
        let Some(slot) = self.waits.tasks.get_mut(&sequence) else { return };
        assert!(slot.is_none(), "two answers to one action");
        *slot = Some(result);
        if self.waits.tasks.values().all(Option::is_some) {
            let results = std::mem::take(&mut self.waits.tasks).into_values().flatten().collect();
            self.end_step(results);
        }
    }
}

impl OrchestratorGuest for Guest {
    fn turn<'a>(
        &'a mut self,
        _replaying: bool,
        _turns: u32,
        events: &'a [GuestEvent],
    ) -> ExecutorFuture<'a, Result<GuestTurn, GuestError>> {
        Box::pin(async move {
            self.ambient.sleep(self.delay).await;
            events.iter().for_each(|event| self.event(event));
            Ok(GuestTurn { actions: std::mem::take(&mut self.actions), outcome: self.outcome.clone() })
        })
    }

    fn resident_bytes(&self) -> usize {
        1_000
    }
}
