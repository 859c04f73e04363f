//! The grammar: what a program may do, and what must come of it. A production is added here (a [`Step`], its place in
//! [`random`], its name, what it [gives](Step::check)) and carried out in `guest.rs`.

use std::time::Duration;

use soloist::durable::RetryPolicy;

use crate::{
    branches,
    dice::Dice,
    entities::{self, EntityStep},
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
    /// A durable timer whose length is drawn from the execution's own entropy.
    RandomTimer,
    /// Waits for the event.
    Event,
    /// The event against a timer: the loser is canceled, or the wait is given up.
    Race(u64),
    /// An activity against a timer: the loser is canceled.
    ActivityRace(u64),
    /// A custom status.
    Status,
    /// An activity whose first attempts fail: this many of them, retried by the host.
    Retry(u32),
    /// A sub-orchestration of one activity.
    Child,
    /// A sub-orchestration that fails; the failure is caught.
    FailingChild,
    /// The same, but the host tries three times.
    RetriedChild,
    /// An orchestration that is started and not waited for.
    Detached,
    /// An activity that takes longer than it may: this many attempts are stopped, and the next, if the policy allows one, is
    /// quick.
    Slow(u32),
    /// A durable HTTP call whose work is asked after this many times before it is done.
    Http(u32),
    /// A durable HTTP call that never gets an answer, not at the third attempt.
    FailingHttp,
    /// Something with entities.
    Entity(EntityStep),
    /// Sends so many events to the instance of this number.
    SendEvents(u64, u32),
    /// Begins anew, this many times in all; only as the last step.
    Again(u32),
    /// Something that fails, and the orchestration with it, until it is mended and the instance rewound.
    Fragile(Fragile),
    /// Fails the orchestration.
    Fail,
}

/// What fails until it is mended.
#[derive(Clone, Copy, Debug)]
pub enum Fragile {
    /// An activity.
    Activity,
    /// One of several activities at once.
    OneOfThree,
    /// An activity, after all attempts of its policy.
    Retried,
    /// A sub-orchestration.
    Child,
    /// Two sub-orchestrations at once, each of which has one that fails.
    Grandchildren,
    /// An activity of one of several branches, while the others go on; whether one of them answers late to another failure.
    Branches(bool),
}

/// The kind of the failures that end with the mending.
pub const FRAGILE: &str = "Fragile";

/// The name of every production, but for those with entities.
pub const STEPS: &[&str] = &[
    "activity",
    "fan-out",
    "failing activity",
    "timer",
    "random timer",
    "event",
    "race of event and timer",
    "race of activity and timer",
    "custom status",
    "retry",
    "child",
    "failing child",
    "retried child",
    "detached child",
    "timeout",
    "durable HTTP",
    "failing durable HTTP",
    "continue-as-new",
    "fragile step",
    "failure",
    "event sent",
    "fragile branch",
];

fn small(dice: &mut Dice, n: u64) -> u32 {
    u32::try_from(dice.below(n)).expect("small")
}

/// A random program, in a world of so many instances.
pub fn random(dice: &mut Dice, instances: u64) -> Vec<Step> {
    let mut steps: Vec<Step> = (0..dice.below(8))
        .map(|_| match dice.below(40) {
            0..=3 => Step::Activity,
            4 => Step::FanOut(1 + small(dice, 6)),
            5 => Step::FailingActivity,
            6 => Step::Timer(dice.below(30_000)),
            7 => Step::Timer(dice.below(2)),
            8 => Step::RandomTimer,
            9..=11 => Step::Event,
            12 => Step::Race(dice.below(2_000)),
            13 | 14 => Step::ActivityRace(dice.below(400)),
            15 => Step::Retry(small(dice, 4)),
            16 => Step::Child,
            17 => Step::FailingChild,
            18 => Step::RetriedChild,
            19 => Step::Detached,
            20 | 21 => Step::Slow(small(dice, 4)),
            22 | 23 => Step::Http(small(dice, 4)),
            24 => Step::FailingHttp,
            25 | 26 => Step::Fragile(Fragile::random(dice)),
            27..=34 => Step::Entity(entities::random(dice)),
            35..=37 => Step::SendEvents(dice.below(instances), 1 + small(dice, 3)),
            _ => Step::Status,
        })
        .collect();
    if dice.one_in(6) {
        steps.push(Step::Entity(entities::random_last(dice)));
    }
    match dice.below(10) {
        0 => steps.push(Step::Fail),
        1..=3 if steps.iter().any(|step| !matches!(step, Step::Status)) => {
            steps.push(Step::Again(1 + small(dice, 3)));
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
pub const SLOW_TIMEOUT: Duration = Duration::from_secs(5);

/// What an activity returns: known without running it.
pub fn activity_result(sequence: u32) -> String {
    format!("\"a{sequence}\"")
}

impl Step {
    pub fn name(&self) -> &'static str {
        let number = match self {
            Self::Activity => 0,
            Self::FanOut(_) => 1,
            Self::FailingActivity => 2,
            Self::Timer(_) => 3,
            Self::RandomTimer => 4,
            Self::Event => 5,
            Self::Race(_) => 6,
            Self::ActivityRace(_) => 7,
            Self::Status => 8,
            Self::Retry(_) => 9,
            Self::Child => 10,
            Self::FailingChild => 11,
            Self::RetriedChild => 12,
            Self::Detached => 13,
            Self::Slow(_) => 14,
            Self::Http(_) => 15,
            Self::FailingHttp => 16,
            Self::Again(_) => 17,
            Self::Fragile(Fragile::Branches(_)) => 21,
            Self::Fragile(_) => 18,
            Self::Fail => 19,
            Self::SendEvents(..) => 20,
            Self::Entity(step) => return step.name(),
        };
        STEPS[number]
    }

    /// Whether the output goes on with what this step gives.
    fn check(&self, output: &mut Output<'_>) {
        match self {
            Self::Again(_) => output.sequence = 0,
            Self::Slow(fails) if *fails < 3 && output.is_loose => output.activity_or("Timeout"),
            Self::Retry(fails) | Self::Slow(fails) if *fails < 3 => output.activity(),
            Self::Retry(_) | Self::FailingActivity | Self::FailingHttp => output.numbered("Planned"),
            Self::Slow(_) => output.numbered("Timeout"),
            Self::Child => output.child(),
            Self::Fragile(what) => what.check(output),
            Self::FailingChild | Self::RetriedChild => output.numbered("the end"),
            Self::Detached => output.numbered("d"),
            Self::Activity | Self::Http(_) => output.activity(),
            Self::FanOut(n) => (0..*n).for_each(|_| output.activity()),
            Self::Timer(_) | Self::RandomTimer => output.numbered("t"),
            Self::Event => {
                let event = output.next().as_u64().expect("an event's number");
                output.consumed.push(event);
            }
            Self::Race(_) => {
                let event = output.next().as_u64();
                output.consumed.extend(event);
                output.sequence += 1;
            }
            Self::ActivityRace(_) => {
                // The timer comes after the activity.
                let (got, activity) = (output.next().to_string(), activity_result(output.sequence));
                assert!(got == activity || got == "\"t\"", "{got}: {}", output.context);
                output.sequence += 2;
            }
            Self::SendEvents(_, n) => output.sequence += n,
            Self::Entity(step) => {
                let context = output.context;
                output.sequence += step.check(output.next(), context);
            }
            Self::Status | Self::Fail => {}
        }
    }
}

impl Fragile {
    fn random(dice: &mut Dice) -> Self {
        match dice.below(8) {
            0 => Self::Activity,
            1 => Self::OneOfThree,
            2 => Self::Retried,
            3 => Self::Child,
            4 => Self::Grandchildren,
            n => Self::Branches(n == 5),
        }
    }

    /// All of it has worked in the end, each part once.
    fn check(self, output: &mut Output<'_>) {
        let child = format!("[{},{}]", activity_result(0), activity_result(1));
        match self {
            Self::Activity | Self::Retried => output.activity(),
            Self::OneOfThree => (0..3).for_each(|_| output.activity()),
            Self::Child => output.text(&child),
            Self::Branches(_) => {
                output.text("\"branches\"");
                output.sequence += branches::NUMBERS - 1;
            }
            Self::Grandchildren => (0..2).for_each(|_| output.text(&format!("[{child}]"))),
        }
    }
}

/// An output that is being compared with its program.
struct Output<'a> {
    rest: std::slice::Iter<'a, serde_json::Value>,
    sequence: u32,
    consumed: Vec<u64>,
    /// In a time that goes fast, on a machine that is busy, what is quick may take longer than it may.
    is_loose: bool,
    context: &'a str,
}

impl Output<'_> {
    fn next(&mut self) -> &serde_json::Value {
        self.rest.next().unwrap_or_else(|| panic!("the output is too short: {}", self.context))
    }

    fn numbered(&mut self, wanted: &str) {
        let context = self.context;
        assert_eq!(self.next(), wanted, "{context}");
        self.sequence += 1;
    }

    fn activity(&mut self) {
        let (context, wanted) = (self.context, activity_result(self.sequence));
        assert_eq!(self.next().to_string(), wanted, "{context}");
        self.sequence += 1;
    }

    fn activity_or(&mut self, failure: &str) {
        let (context, wanted) = (self.context, activity_result(self.sequence));
        let got = self.next().to_string();
        assert!([wanted, format!("{failure:?}")].contains(&got), "{got}: {context}");
        self.sequence += 1;
    }

    fn child(&mut self) {
        self.text(&format!("[{}]", activity_result(0)));
    }

    fn text(&mut self, wanted: &str) {
        let context = self.context;
        assert_eq!(self.next().to_string(), wanted, "{context}");
        self.sequence += 1;
    }
}

/// Whether an output is what the program gives; returns the events that are in it. Loosely: a slow activity may have timed out each
/// time.
pub fn check_output(program: &[Step], output: &[serde_json::Value], is_loose: bool, context: &str) -> Vec<u64> {
    let mut output = Output { rest: output.iter(), sequence: 0, consumed: vec![], is_loose, context };
    // A program that begins anew runs its steps again, and numbers them anew.
    let rounds = if let Some(Step::Again(times)) = program.last() { times + 1 } else { 1 };
    (0..rounds).flat_map(|_| program).for_each(|step| step.check(&mut output));
    assert!(output.rest.next().is_none(), "the output is too long: {context}");
    output.consumed
}
