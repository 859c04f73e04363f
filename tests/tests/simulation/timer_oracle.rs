//! What must hold of timer functions (I7), told by what a host without faults would do.
//!
//! Each occurrence of a schedule fires once, when it is due and not before; what comes due while the function runs is
//! skipped. A monitored schedule stands where its last firing left it once that has ended and is kept: a run that was cut
//! short, or what was missed while the host was down, fires once at the next start, past due. A clock that is set brings
//! no burst and nothing twice. What is not monitored begins anew at each start.
//!
//! The oracle does not look at what is kept, only at whether and when: what it knows is when runs begin and end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use soloist::{
    durable::{FunctionName, Timestamp},
    hub::{ScheduleStatus, TimerCall},
};

use crate::{
    dice::{Life, Of, Tally},
    timers::Function,
};

/// A run that begins later than this after it was due is told so, in microseconds.
const LATE: i64 = 10_000_000;

/// So much later than it is due a function may fire, in microseconds: the clock is looked at once a second.
const SLACK: i64 = 1_500_000;

/// So long reads may fail, in microseconds, until a function begins.
const BEGINS_WITHIN: i64 = 30_000_000;

/// A moment of a life, as all its clocks show it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    life: u64,
    /// The wall clock.
    now: Timestamp,
    /// The latest time that the wall clock has shown in this life.
    latest: i64,
    /// How old the process is.
    age: i64,
    /// How old it was when the clock was set last.
    set_at: i64,
}

impl Moment {
    pub fn of(life: &Life) -> Self {
        let (now, latest) = (Timestamp(life.true_now()), life.latest_since(0));
        Self { life: life.number, now, latest, age: life.elapsed_micros(), set_at: life.set_at() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Firing {
    scheduled: Timestamp,
    is_past_due: bool,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    last: Option<Timestamp>,
    next: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It is not known yet where it stands.
    Starts {
        since: i64,
    },
    /// Where it stands is to be kept at once; then this fires.
    Owes(Option<Firing>),
    /// That is being done.
    Keeps(Option<Firing>),
    /// This fires at once, or else the next occurrence when it is due.
    Waits {
        since: i64,
        firing: Option<Firing>,
    },
    Runs {
        firing: Firing,
        began: Timestamp,
        failed: u32,
    },
    /// The run failed and is to be repeated.
    Repeats {
        firing: Firing,
        began: Timestamp,
        failed: u32,
        due: i64,
    },
}

/// What is known of one function.
#[derive(Debug)]
struct Model {
    function: Function,
    /// Where it stands for those who come later.
    kept: Option<Standing>,
    standing: Standing,
    phase: Phase,
    /// A firing of which nothing is kept.
    undone: Option<Timestamp>,
}

impl Model {
    fn anew(&self, now: Timestamp) -> Standing {
        Standing { last: None, next: self.function.schedule.next(now, now) }
    }

    fn starts(&mut self, at: Moment) {
        let is_kept = self.kept.is_some() || !self.function.is_monitored;
        self.standing = self.kept.unwrap_or_else(|| self.anew(at.now));
        let firing = match self.standing.next {
            Some(scheduled) if scheduled <= at.now => Some(Firing { scheduled, is_past_due: true }),
            _ => self.function.run_on_startup.then_some(Firing { scheduled: at.now, is_past_due: false }),
        };
        self.phase = if is_kept { Phase::Waits { since: at.age, firing } } else { Phase::Owes(firing) };
    }

    fn after(&self, firing: Firing, began: Timestamp, now: Timestamp) -> Standing {
        let last = if firing.is_past_due { began.max(firing.scheduled) } else { firing.scheduled };
        Standing { last: Some(last), next: self.function.schedule.next(last, now.max(last)) }
    }

    /// What fires if something fires now, and how old the process was when it might have.
    fn expected(&self, at: Moment) -> Option<(Firing, i64)> {
        let Phase::Waits { since, firing } = self.phase else { return None };
        if let Some(firing) = firing {
            return Some((firing, since));
        }
        let scheduled = self.standing.next.filter(|next| *next <= at.now)?;
        let late = at.now.0 - scheduled.0;
        Some((Firing { scheduled, is_past_due: late > LATE }, since.max(at.set_at).max(at.age - late)))
    }

    fn wait_after(&self, failed: u32) -> Option<i64> {
        let retry = self.function.retry?;
        let wait = retry.first_wait.saturating_mul(1 << (failed - 1)).min(retry.max_wait);
        let is_allowed = retry.max_retry_count.is_none_or(|max| failed <= max);
        is_allowed.then(|| micros(wait))
    }

    /// Something should have happened by now.
    fn overdue(&self, at: Moment) -> Option<&'static str> {
        match self.phase {
            Phase::Starts { since } if at.age - since > BEGINS_WITHIN => Some("it never begins"),
            Phase::Owes(_) => Some("where it stands is not kept"),
            Phase::Waits { .. } => {
                let (_, since) = self.expected(at)?;
                (at.age - since > SLACK).then_some("an occurrence is skipped")
            }
            Phase::Repeats { due, .. } if at.age - due > SLACK => Some("a failed run is not repeated"),
            _ => None,
        }
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).expect("short")
}

/// What is known of all timer functions of a world.
#[derive(Debug, Default)]
pub struct Oracle {
    models: BTreeMap<String, Model>,
    life: u64,
    /// The hub is stopped, or about to: what is not done need not be done.
    is_stopping: bool,
    is_stopped: bool,
    /// Time goes fast and on several threads: only what holds whatever the time is checked.
    is_loose: bool,
    tally: Arc<Tally>,
}

type Checked = Result<(), String>;

impl Oracle {
    pub fn new(functions: &[Function], is_loose: bool, tally: Arc<Tally>) -> Self {
        let model = |function: &Function| Model {
            function: function.clone(),
            kept: None,
            standing: Standing { last: None, next: None },
            phase: Phase::Starts { since: 0 },
            undone: None,
        };
        let models = functions.iter().map(|function| (function.name.as_str().to_owned(), model(function)));
        Self { models: models.collect(), is_loose, tally, ..Self::default() }
    }

    /// The function, unless it is another life's, or times are not to be relied on.
    fn model(&mut self, function: &FunctionName, at: Moment) -> Option<&mut Model> {
        if self.is_loose || self.life != at.life {
            return None;
        }
        Some(self.models.get_mut(function.as_str()).expect("a function of this world"))
    }

    pub fn life_begins(&mut self, at: Moment) {
        (self.life, self.is_stopping, self.is_stopped) = (at.life, false, false);
        for model in self.models.values_mut() {
            model.phase = Phase::Starts { since: at.age };
            if !model.function.is_monitored {
                model.undone = None;
                model.starts(at);
            }
        }
    }

    /// From here on what is not done is no mistake.
    pub fn stops(&mut self, is_stopped: bool) {
        self.is_stopping = true;
        self.is_stopped |= is_stopped;
    }

    pub fn life_ends(&self, at: Moment) -> Checked {
        if self.is_stopping || self.is_loose || self.life != at.life {
            return Ok(());
        }
        match self.models.values().find_map(|model| model.overdue(at).map(|what| (what, model))) {
            Some((what, model)) => wrong(what, model, at),
            None => Ok(()),
        }
    }

    /// The host knows where the schedule stands.
    pub fn read(&mut self, function: &FunctionName, at: Moment) {
        if let Some(model) = self.model(function, at)
            && let Phase::Starts { .. } = model.phase
        {
            model.starts(at);
        }
    }

    /// The host begins to keep where it stands.
    pub fn keeps(&mut self, function: &FunctionName, at: Moment) {
        if let Some(model) = self.model(function, at)
            && let Phase::Owes(firing) = model.phase
        {
            model.phase = Phase::Keeps(firing);
        }
    }

    /// That is durable.
    pub fn kept(&mut self, function: &FunctionName, at: Moment) {
        if let Some(model) = self.model(function, at)
            && let Phase::Keeps(_) = model.phase
        {
            (model.kept, model.undone) = (Some(model.standing), None);
        }
    }

    /// The host was told so, or that it is not.
    pub fn answered(&mut self, function: &FunctionName, at: Moment) {
        if let Some(model) = self.model(function, at)
            && let Phase::Keeps(firing) = model.phase
        {
            model.phase = Phase::Waits { since: at.age, firing };
        }
    }

    /// A run begins.
    pub fn began(&mut self, call: &TimerCall, at: Moment) -> Checked {
        if self.life != at.life {
            return Ok(());
        }
        let (tally, is_stopped, is_loose) = (self.tally.clone(), self.is_stopped, self.is_loose);
        let model = self.models.get_mut(call.name.as_str()).expect("a function of this world");
        if call.scheduled.0 > at.latest {
            return wrong(&format!("it fires early: {call:?}"), model, at);
        }
        let firing = Firing { scheduled: call.scheduled, is_past_due: call.is_past_due };
        let (began, failed) = match model.phase {
            Phase::Runs { .. } => return wrong(&format!("it overlaps itself: {call:?}"), model, at),
            _ if is_loose => (at.now, 0),
            Phase::Repeats { firing: of, began, failed, due } if of == firing => {
                if !(due..due + SLACK).contains(&at.age) {
                    return wrong(&format!("it is not repeated when it should be: {call:?}"), model, at);
                }
                tally.count(Of::Production, "timer function repeated");
                (began, failed)
            }
            _ => {
                let expected = model.expected(at);
                if is_stopped || expected.is_none_or(|(expected, _)| expected != firing) {
                    return wrong(&format!("it fires, and should not: {call:?}"), model, at);
                }
                if expected.is_some_and(|(_, since)| at.age - since > SLACK) {
                    return wrong(&format!("it fires late: {call:?}"), model, at);
                }
                count(&tally, model, firing);
                (at.now, 0)
            }
        };
        if !is_loose && !is_told(model, call, model.after(firing, began, began)) {
            return wrong(&format!("it is not told where it stands: {call:?}"), model, at);
        }
        model.phase = Phase::Runs { firing, began, failed };
        model.undone = Some(firing.scheduled).filter(|_| model.function.is_monitored);
        Ok(())
    }

    /// A run has ended.
    pub fn ended(&mut self, function: &FunctionName, is_success: bool, at: Moment) -> Checked {
        if self.life != at.life {
            return Ok(());
        }
        let (tally, is_loose) = (self.tally.clone(), self.is_loose);
        let model = self.models.get_mut(function.as_str()).expect("a function of this world");
        let Phase::Runs { firing, began, failed } = model.phase else {
            return wrong("a run ends that has not begun", model, at);
        };
        if !is_success {
            tally.count(Of::Production, "timer function failed");
        }
        if is_loose {
            model.phase = Phase::Waits { since: at.age, firing: None };
            return Ok(());
        }
        let failed = failed + u32::from(!is_success);
        if let Some(wait) = model.wait_after(failed.max(1)).filter(|_| !is_success) {
            model.phase = Phase::Repeats { firing, began, failed, due: at.age + wait };
            return Ok(());
        }
        model.standing = model.after(firing, began, at.now);
        if model.standing.next != model.after(firing, began, began).next {
            tally.count(Of::Production, "timer function skipped what came due meanwhile");
        }
        let is_monitored = model.function.is_monitored;
        model.phase = if is_monitored { Phase::Owes(None) } else { Phase::Waits { since: at.age, firing: None } };
        Ok(())
    }
}

/// Whether a run is told where its schedule stands, and what comes next.
fn is_told(model: &Model, call: &TimerCall, after: Standing) -> bool {
    match call.status {
        Some(ScheduleStatus { last, last_updated: _, next }) => {
            model.function.is_monitored && (last, next) == (model.standing.last, after.next)
        }
        None => !model.function.is_monitored,
    }
}

fn count(tally: &Tally, model: &Model, firing: Firing) {
    let is_first = matches!(model.phase, Phase::Waits { firing: Some(_), .. });
    let is_monitored = model.function.is_monitored;
    tally.count(
        Of::Production,
        match (is_first, firing.is_past_due) {
            (true, true) if model.undone == Some(firing.scheduled) => "timer function made up for",
            (true, true) => "timer function past due",
            (true, false) => "timer function ran at startup",
            (false, true) => "timer function late",
            (false, false) if is_monitored => "timer function fired",
            (false, false) => "timer function fired unmonitored",
        },
    );
}

fn wrong(what: &str, model: &Model, at: Moment) -> Checked {
    Err(format!("I7: a timer function: {what}; {at:?} {model:?}"))
}
