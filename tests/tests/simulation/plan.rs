//! What clients are to do to an instance id, and what they know of it for certain.
//!
//! An id lives through eras: each begins with a start, ends when the instance has ended, and is judged then.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use crate::{
    dice::Dice,
    guest::Quirks,
    program::{self, Step},
};

/// What clients do, apart from what programs do: every production that a run must have seen.
pub const CLIENTS: &[&str] = &[
    "start accepted",
    "start refused",
    "scheduled start",
    "event raised",
    "suspend",
    "resume",
    "resume of a stalled instance",
    "terminate",
    "terminate with children",
    "replace",
    "start on an ended id",
    "purge, then start",
    "restart",
    "restart with a new id",
    "rewind",
    "rewind of a failure of its own",
    "purge of a child",
    "purge by filter",
    "list",
    "entity signaled",
    "entity signaled for later",
    "entity read",
    "entities listed",
    "entity started an orchestration",
    "entity deleted",
    "sent event consumed",
];

/// How an id is used once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// A start under the policy `NonRunningStates`.
    Start,
    /// A purge, then a start under the policy `None`.
    PurgeThenStart,
    /// A restart.
    Restart,
}

/// What happens in one era, beside events.
#[derive(Clone, Debug)]
pub struct Era {
    /// How it begins, but for the first.
    pub reuse: Reuse,
    /// Whether a copy of the instance is started under a new id after it.
    pub copy: bool,
    pub terminate_after: Option<Duration>,
    pub with_children: bool,
    pub replace_after: Option<Duration>,
    pub hold_after: Option<Duration>,
    pub scheduled: Option<Duration>,
}

/// An instance's plan.
pub struct Plan {
    pub id: String,
    pub program: Vec<Step>,
    /// Racing starts in the first era.
    pub racers: u64,
    /// Concurrent senders of events.
    pub senders: u64,
    pub eras: Vec<Era>,
    pub quirks: Arc<Quirks>,
    truth: Mutex<Truth>,
}

/// Where an id stands, over all lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It is being started, and runs.
    #[default]
    Runs,
    /// The era is over and judged.
    Judged,
    /// It is to be purged.
    Purges,
    /// It is to be started again.
    Starts,
    /// Nothing more is done.
    Done,
}

/// An event, as its sender knows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub era: usize,
    /// The truth's `epoch` when it was sent.
    pub epoch: u64,
    pub acked: bool,
    /// It was acknowledged before anybody asked for a replacement.
    pub before_replacement: bool,
}

/// What the clients of an instance know for certain, over all lives.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub era: usize,
    pub phase: Phase,
    /// Starts of this era: by label, whether it is known that they were accepted.
    pub starts: BTreeMap<u64, bool>,
    /// Starts of any era.
    pub labels: u64,
    /// Starts of this era whose answer was lost.
    pub start_unknown: u64,
    /// Starts of this era that were accepted, but for replacements.
    pub accepted: u64,
    pub refused: u64,
    /// All executions of this era come of one start.
    pub one_start: bool,
    /// Counts replacements that were acknowledged.
    pub epoch: u64,
    pub replace_sent: bool,
    /// The replacement that was acknowledged.
    pub replaced: Option<u64>,
    pub events: BTreeMap<u64, Sent>,
    pub next_event: [u64; 2],
    pub terminate_sent: bool,
    /// The epoch in which a terminate was sent that was acknowledged.
    pub terminate_acked: Option<u64>,
    /// `resume` calls by anybody: while there are some a suspension may end.
    pub resumes: u64,
    /// The operator's is under way.
    pub is_resuming: bool,
    /// Several executions may have followed each other, and which is the last is not known.
    pub is_muddled: bool,
    /// The generation that was judged last.
    pub judged: Option<soloist::durable::GenerationKey>,
}

impl Truth {
    /// True if what was acknowledged in `epoch` concerns the last execution of the era for certain.
    pub fn is_certain(&self, epoch: u64) -> bool {
        !self.is_muddled && (self.one_start || (self.epoch > 0 && epoch == self.epoch))
    }

    /// The next era begins.
    pub fn next_era(&mut self) {
        *self = Self {
            era: self.era + 1,
            phase: Phase::Runs,
            labels: self.labels,
            events: std::mem::take(&mut self.events),
            next_event: self.next_event,
            judged: self.judged,
            starts: std::mem::take(&mut self.starts),
            accepted: self.accepted,
            start_unknown: self.start_unknown,
            // One that was sent to the last era's instance may reach this one's.
            resumes: self.resumes,
            is_resuming: self.is_resuming,
            one_start: self.start_unknown == 0 && self.accepted == 1,
            ..Self::default()
        };
    }

    /// The starts that follow belong to the next era.
    pub fn forget_starts(&mut self) {
        self.starts.clear();
        self.accepted = 0;
        self.start_unknown = 0;
    }
}

/// The id of a world's `n`th instance.
pub fn instance_id(n: u64) -> String {
    format!("instance-{n}")
}

impl Plan {
    /// The plan of the `n`th instance of a world with so many.
    pub fn random(n: u64, instances: u64, dice: &mut Dice) -> Self {
        let program = program::random(dice, instances);
        let mut eras: Vec<_> = (0..=[0, 0, 1, 2][dice.below(4) as usize]).map(|_| Era::random(dice)).collect();
        if matches!(program.last(), Some(Step::Again(_))) {
            // A restart takes the last execution's input, which holds what came before.
            eras.iter_mut().filter(|era| era.reuse == Reuse::Restart).for_each(|era| era.reuse = Reuse::Start);
        }
        // Events wake an instance that should have woken by itself: who needs none often gets none.
        let is_event = |step: &Step| matches!(step, Step::Event);
        let senders = if program.iter().any(is_event) { 1 + dice.below(2) } else { dice.below(2) };
        let quirk = |dice: &mut Dice, one_in| if dice.one_in(one_in) { 1 + dice.below(2) } else { 0 };
        let quirks = Quirks { unavailable: quirk(dice, 8).into(), diverge: quirk(dice, 8).into(), ..Quirks::default() };
        Self {
            id: instance_id(n),
            program,
            racers: 1 + dice.below(5),
            senders,
            eras,
            quirks: Arc::new(quirks),
            truth: Mutex::new(Truth { one_start: true, ..Truth::default() }),
        }
    }

    pub fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().expect("no panic while it is locked")
    }

    pub fn era(&self) -> &Era {
        &self.eras[self.truth().era]
    }
}

impl Era {
    fn random(dice: &mut Dice) -> Self {
        let sometimes = |dice: &mut Dice, one_in| dice.one_in(one_in).then(|| Duration::from_millis(dice.below(5_000)));
        Self {
            reuse: [Reuse::Start, Reuse::PurgeThenStart, Reuse::Restart][dice.below(3) as usize],
            copy: dice.one_in(8),
            terminate_after: sometimes(dice, 6),
            with_children: dice.one_in(3),
            replace_after: sometimes(dice, 6),
            hold_after: sometimes(dice, 3),
            scheduled: sometimes(dice, 8),
        }
    }
}
