//! What goes wrong: storage that delays, fails, hands out damage and crashes, all within its contract. It also keeps what
//! the oracle wants to know: what was replaced and purged, and whether a timer fired early.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use soloist::{
    durable::{
        Creation, Digest, EntityId, FunctionName, GenerationKey, HistoryEvent, InboxMessage, InstanceId, InstanceKey,
        Json,
    },
    storage::{
        Committed, ComponentUse, Due, End, Ended, EntityCommit, EntityCommitted, EntityPage, EntityQuery,
        EntitySnapshot, Expired, Expiry, Fence, Loaded, OpenInstance, Page, Purged, Put, PutMessage, Query, Rewind,
        Rewound, Snapshot, Start, Started, Storage, StorageError, StorageFuture, TimerStatus, TurnCommit, Want,
    },
};
use tokio::sync::Notify;

use crate::{
    dice::{Dice, Life, Of, Tally},
    entity_world::Notes,
    timer_oracle::{Moment, Oracle},
};

/// Every fault that a run must have met.
pub const FAULTS: &[&str] = &[
    "crash before a commit",
    "crash after a commit",
    "crash at a read",
    "commit refused",
    "storage poisoned, commit not made",
    "storage poisoned, commit made",
    "read error",
    "corrupt record",
    "corrupt history",
    "message delivered again",
    "activity run again",
    "clock set forward",
    "clock set back",
    "guest evicted",
    "guest unavailable",
    "guest diverges",
    "entity guest unavailable",
    "hub stopped at work",
];

/// How much goes wrong in a world.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Lives that end before the work is done.
    pub ends: u64,
    pub errors_in_1000: u64,
    /// Loads that hand out damage.
    pub corrupt_in_1000: u64,
    /// Loads that hand out messages that were taken.
    pub again_in_1000: u64,
    pub jumps: u64,
}

impl Faults {
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xFA17);
        Self {
            ends: dice.below(5),
            errors_in_1000: [0, 0, 20, 60][dice.below(4) as usize],
            corrupt_in_1000: [0, 0, 0, 50][dice.below(4) as usize],
            again_in_1000: [0, 300][dice.below(2) as usize],
            jumps: dice.below(4),
        }
    }
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Once all is done.
    Done,
    /// At a storage call.
    Crash,
    /// Storage fails for good at a commit.
    Poison,
    /// The hub is stopped.
    Stop,
}

/// Starts and purges that are being made, by id. Real threads finish what they are at when a life ends, and what is recorded of
/// a call is recorded a moment after others see what it did.
#[derive(Default)]
pub struct InFlight {
    calls: Mutex<BTreeMap<String, u64>>,
    changed: Condvar,
}

impl InFlight {
    fn begin(&self, id: &str) {
        *self.calls.lock().expect("no panic while it is locked").entry(id.to_owned()).or_default() += 1;
    }

    fn end(&self, id: &str) {
        let mut calls = self.calls.lock().expect("no panic while it is locked");
        let left = calls.get_mut(id).expect("a call ends once");
        *left -= 1;
        if *left == 0 {
            calls.remove(id);
        }
        self.changed.notify_all();
    }

    pub fn has(&self, id: &str) -> bool {
        self.calls.lock().expect("no panic while it is locked").contains_key(id)
    }

    /// Waits until there is none.
    pub fn wait(&self) {
        let calls = self.calls.lock().expect("no panic while it is locked");
        drop(self.changed.wait_while(calls, |calls| !calls.is_empty()).expect("no panic while it is locked"));
    }
}

/// An event that a turn sent to another instance.
#[derive(Clone, Debug)]
pub struct SentEvent {
    pub to: String,
    /// The generation into whose inbox it was put, once that is known.
    pub reached: Option<GenerationKey>,
    /// A committed turn has sent it: a rewound execution must not send it again.
    pub is_sent: bool,
}

/// What an instance's event carries: another number than every event that another execution, or a client, sends.
pub fn sent_number(execution_id: &str, sequence: u32) -> u64 {
    let execution = u64::from_str_radix(execution_id, 16).expect("an execution id of this world is a number");
    (2_000 + execution) * 1_000_000 + u64::from(sequence)
}

/// What the oracle keeps, over all lives.
#[derive(Default)]
pub struct Recorder {
    /// Instances that were handed damage, or whose guests diverged: they may stall.
    pub damaged: Mutex<BTreeMap<String, u64>>,
    /// What was replaced or purged, as it was then.
    pub graves: Mutex<Vec<Grave>>,
    /// An invariant that was found broken where no panic would be seen.
    pub broken: Mutex<Option<String>>,
    pub is_broken: Notify,
    /// What turns and batches did to entities.
    pub entities: Mutex<Notes>,
    /// Activities whose result is recorded: execution and action.
    pub completed: Mutex<BTreeSet<(String, u32)>>,
    /// Events that turns sent, by number.
    pub events: Mutex<BTreeMap<u64, SentEvent>>,
    pub in_flight: Arc<InFlight>,
    /// What timer functions did.
    pub timers: Mutex<Oracle>,
    /// Several threads: what is read beside a commit may be older than the commit.
    pub is_loose: bool,
}

/// The last moment of a generation.
pub struct Grave {
    pub snapshot: Snapshot,
    pub purged: bool,
}

impl Recorder {
    pub fn violate(&self, text: String) {
        self.broken.lock().expect("no panic while it is locked").get_or_insert(text);
        self.is_broken.notify_one();
    }

    /// Tells the oracle of timer functions what happens.
    pub fn timers(&self, life: &Life, note: impl FnOnce(&mut Oracle, Moment) -> Result<(), String>) {
        let noted = note(&mut self.timers.lock().expect("no panic while it is locked"), Moment::of(life));
        noted.unwrap_or_else(|text| self.violate(text));
    }

    pub fn damage(&self, id: &str) {
        *self.damaged.lock().expect("no panic while it is locked").entry(id.to_owned()).or_default() += 1;
    }

    pub fn is_damaged(&self, id: &str) -> bool {
        self.damaged.lock().expect("no panic while it is locked").contains_key(id)
    }

    /// How many generations of this id were replaced or purged.
    pub fn graves_of(&self, id: &str) -> usize {
        let graves = self.graves.lock().expect("no panic while it is locked");
        graves.iter().filter(|grave| grave.snapshot.id.as_str() == id).count()
    }

    /// True if a generation of this id that is asked for was replaced or purged.
    pub fn has_grave(&self, id: &str, is_wanted: impl Fn(GenerationKey) -> bool) -> bool {
        let graves = self.graves.lock().expect("no panic while it is locked");
        graves.iter().any(|grave| grave.snapshot.id.as_str() == id && is_wanted(grave.snapshot.generation))
    }

    fn bury(&self, snapshot: Option<Snapshot>, purged: bool) {
        let Some(snapshot) = snapshot else { return };
        let is_live = !snapshot.summary.status.is_terminal();
        if purged && is_live {
            self.violate(format!("I11: a live instance was purged: {} {:?}", snapshot.id, snapshot.summary));
        }
        self.graves.lock().expect("no panic while it is locked").push(Grave { snapshot, purged });
    }
}

/// Storage that behaves badly within its contract.
pub struct Faulty {
    /// What it all rests on; the oracle looks here.
    pub real: Arc<dyn Storage>,
    /// What calls go to: the same, or with a planted mistake before it.
    pub under: Arc<dyn Storage>,
    pub life: Arc<Life>,
    pub dice: Mutex<Dice>,
    pub faults: Faults,
    pub ending: Ending,
    /// Storage calls until the process ends, if it ends at one.
    pub calls_to_end: AtomicI64,
    pub crashed: AtomicBool,
    pub poisoned: AtomicBool,
    pub crash: Notify,
    pub tally: Arc<Tally>,
    pub recorder: Arc<Recorder>,
    /// How old the process was when an instance's last turn was committed.
    pub last_turns: Mutex<BTreeMap<InstanceKey, i64>>,
    pub trace: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Commit,
    Read,
}

/// What befalls a call.
enum Fate {
    Works,
    Error(StorageError),
    CrashBefore,
    CrashAfter,
    PoisonBefore,
    PoisonAfter,
}

fn poison() -> StorageError {
    StorageError::Poisoned("simulated".into())
}

impl Faulty {
    fn fate(&self, call: Call) -> (Duration, Duration, Fate) {
        let mut dice = self.dice.lock().expect("no panic while it is locked");
        let delay =
            |dice: &mut Dice| Duration::from_micros([0, 0, 50, 50, 300, 300, 5_000, 200_000][dice.below(8) as usize]);
        let (before, after) = (delay(&mut dice), delay(&mut dice));
        if !(before + after).is_zero() {
            self.tally.count(Of::Delay, "storage call delayed");
        }
        if self.poisoned.load(Ordering::Relaxed) {
            return (before, after, Fate::Error(poison()));
        }
        let left = self.calls_to_end.fetch_sub(1, Ordering::Relaxed);
        let heads = dice.below(2) == 0;
        let fault = match (self.ending, call) {
            (Ending::Crash, Call::Commit) if left <= 0 && heads => Some(("crash before a commit", Fate::CrashBefore)),
            (Ending::Crash, Call::Commit) if left <= 0 => Some(("crash after a commit", Fate::CrashAfter)),
            (Ending::Crash, Call::Read) if left <= 0 => Some(("crash at a read", Fate::CrashBefore)),
            (Ending::Poison, Call::Commit) if left <= 0 && heads => {
                Some(("storage poisoned, commit not made", Fate::PoisonBefore))
            }
            (Ending::Poison, Call::Commit) if left <= 0 => Some(("storage poisoned, commit made", Fate::PoisonAfter)),
            _ if dice.below(1000) < self.faults.errors_in_1000 => {
                let busy = dice.below(2) == 0;
                let error = if busy { StorageError::Busy } else { StorageError::Full };
                let what = if call == Call::Commit { "commit refused" } else { "read error" };
                Some((what, Fate::Error(error("simulated".into()))))
            }
            _ => None,
        };
        let Some((what, fate)) = fault else { return (before, after, Fate::Works) };
        self.tally.count(Of::Fault, what);
        (before, after, fate)
    }

    async fn call<T>(
        &self,
        kind: Call,
        what: &str,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let (before, after, fate) = self.fate(kind);
        self.life.nap(before).await;
        if self.crashed.load(Ordering::Relaxed) {
            // A process that is dead calls nothing.
            std::future::pending::<()>().await;
        }
        let result = match fate {
            Fate::Works if self.poisoned.load(Ordering::Relaxed) => Err(poison()),
            Fate::Works => call.await,
            Fate::Error(error) => Err(error),
            Fate::CrashBefore => self.die(what, "before").await,
            Fate::CrashAfter => {
                let _ = call.await;
                self.die(what, "after").await
            }
            Fate::PoisonBefore | Fate::PoisonAfter => {
                if matches!(fate, Fate::PoisonAfter) && !self.poisoned.load(Ordering::Relaxed) {
                    let _ = call.await;
                }
                self.poisoned.store(true, Ordering::Relaxed);
                self.note_timers(|oracle, _| oracle.stops(false));
                Err(poison())
            }
        };
        self.note(format!("{} {what} {}", self.life.true_now(), result.is_ok()));
        self.life.nap(after).await;
        result
    }

    fn note_timers(&self, note: impl FnOnce(&mut Oracle, Moment)) {
        self.recorder.timers(&self.life, |oracle, moment| {
            note(oracle, moment);
            Ok(())
        });
    }

    fn note(&self, line: String) {
        self.trace.lock().expect("no panic while it is locked").push(line);
    }

    async fn die<T>(&self, what: &str, when: &str) -> T {
        self.note(format!("{} crash {when} {what}", self.life.true_now()));
        self.crashed.store(true, Ordering::Relaxed);
        self.crash.notify_one();
        std::future::pending().await
    }

    /// Makes a call. Several threads finish what they are at when a life ends: what comes of it must not be missed then.
    async fn to_the_end<T: Send + 'static>(&self, id: InstanceId, call: impl Future<Output = T> + Send + 'static) -> T {
        if !self.recorder.is_loose {
            return call.await;
        }
        let (answer, answered) = tokio::sync::oneshot::channel();
        let in_flight = self.recorder.in_flight.clone();
        in_flight.begin(id.as_str());
        std::thread::spawn(move || {
            let ended = futures::executor::block_on(call);
            in_flight.end(id.as_str());
            let _ = answer.send(ended);
        });
        answered.await.expect("the thread answers")
    }

    async fn start_and_bury(&self, start: Start) -> Result<Started, StorageError> {
        let (real, under, recorder) = (self.real.clone(), self.under.clone(), self.recorder.clone());
        let of = start.id.clone();
        let call = async move {
            let before = before(&*real, &start.id).await;
            let started = under.start(start).await?;
            if matches!(started, Started::Started { replaced: Some(_), .. }) {
                recorder.bury(before, false);
            }
            Ok(started)
        };
        self.to_the_end(of, call).await
    }

    async fn purge_and_bury(&self, fence: Fence, id: InstanceId) -> Result<Purged, StorageError> {
        let (real, under, recorder) = (self.real.clone(), self.under.clone(), self.recorder.clone());
        let of = id.clone();
        let call = async move {
            loop {
                let before = before(&*real, &id).await;
                let mut fence = fence;
                if recorder.is_loose {
                    // What is purged must be what was read: of the end of what ends only now, or of another, nobody would know.
                    let Some(before) = &before else { return Ok(Purged::NotFound) };
                    let status = before.summary.status;
                    if !status.is_terminal() {
                        return Ok(Purged::Live(status));
                    }
                    let read = Creation { instance: before.instance, time: before.created };
                    if fence.creation.replace(read).is_some_and(|only| only != read) {
                        return Ok(Purged::NotFound);
                    }
                }
                let purged = under.purge(fence, id.clone()).await?;
                if recorder.is_loose && purged == Purged::NotFound {
                    continue;
                }
                if purged == Purged::Done {
                    recorder.bury(before, true);
                }
                return Ok(purged);
            }
        };
        self.to_the_end(of, call).await
    }

    async fn commit_batch(&self, commit: EntityCommit) -> Result<EntityCommitted, StorageError> {
        let committed = self.under.commit_entity(commit.clone()).await?;
        if committed != EntityCommitted::Fenced {
            let noted = self.recorder.entities.lock().expect("no panic while it is locked").batch(&commit);
            noted.unwrap_or_else(|text| self.recorder.violate(text));
        }
        Ok(committed)
    }

    /// Keeps what a turn sends: before its commit what may be sent, after it what was.
    fn note_sent(&self, events: &[HistoryEvent], is_committed: bool) {
        self.recorder.entities.lock().expect("no panic while it is locked").turn(events.iter(), is_committed);
        let mut sent = self.recorder.events.lock().expect("no panic while it is locked");
        for event in events {
            if let HistoryEvent::EventSent(event) = event {
                let to = event.instance_id.clone();
                sent.entry(number_of(&event.input)).or_insert(SentEvent { to, reached: None, is_sent: false });
            }
        }
    }

    /// Keeps which activities must not run again.
    async fn note_completed(&self, instance: InstanceKey, events: &[HistoryEvent]) {
        let sequences = events.iter().filter_map(|event| match event {
            HistoryEvent::TaskCompleted { sequence, .. } => Some(*sequence),
            _ => None,
        });
        let sequences: Vec<_> = sequences.collect();
        if sequences.is_empty() || self.recorder.is_loose {
            return;
        }
        let Ok(Some(loaded)) = self.real.load(instance).await else { return };
        let started = loaded.records.iter().flat_map(|record| &record.events).find_map(|event| match event {
            HistoryEvent::ExecutionStarted(started) => Some(started),
            _ => None,
        });
        // One that has continued as new by this turn is another execution.
        let has_them = |sequence: &u32| {
            let mut all = loaded.records.iter().flat_map(|record| &record.events);
            all.any(|event| matches!(event, HistoryEvent::TaskCompleted { sequence: of, .. } if of == sequence))
        };
        let Some(started) = started else { return };
        let execution = started.execution_id.as_str();
        let completed = sequences.into_iter().filter(has_them).map(|sequence| (execution.to_owned(), sequence));
        self.recorder.completed.lock().expect("no panic while it is locked").extend(completed);
    }

    /// Keeps which generations a turn's events have reached.
    async fn note_delivered(&self, events: &[HistoryEvent], committed: &Committed) {
        let (Committed::Committed(effects) | Committed::Continued(_, effects)) = committed else { return };
        let is_delivered = |number: u64| {
            let mut bodies = effects.delivered.iter().map(|delivered| &delivered.body);
            bodies.any(|body| matches!(body, InboxMessage::EventRaised { input, .. } if number_of(input) == number))
        };
        for event in events {
            let HistoryEvent::EventSent(event) = event else { continue };
            let to = before(&*self.real, &InstanceId::from_stored(&event.instance_id)).await;
            let is_live = to.is_some_and(|to| !to.summary.status.is_terminal());
            let number = number_of(&event.input);
            let was_sent = {
                let mut sent = self.recorder.events.lock().expect("no panic while it is locked");
                sent.get_mut(&number).is_some_and(|sent| std::mem::replace(&mut sent.is_sent, true))
            };
            if is_live && !was_sent && !self.recorder.is_loose && !is_delivered(number) {
                self.recorder.violate(format!("I8: a sent event did not reach a live instance: {event:?}"));
            }
            if was_sent && is_delivered(number) {
                self.recorder.violate(format!("I8: an event was sent again: {event:?}"));
            }
        }
        for delivered in &effects.delivered {
            let InboxMessage::EventRaised { input, .. } = &delivered.body else { continue };
            let number = number_of(input);
            let to = {
                let sent = self.recorder.events.lock().expect("no panic while it is locked");
                sent.get(&number).map(|sent| sent.to.clone())
            };
            let Some(to) = to else { continue };
            let reached = before(&*self.real, &InstanceId::from_stored(&to)).await.map(|snapshot| snapshot.generation);
            let mut sent = self.recorder.events.lock().expect("no panic while it is locked");
            sent.get_mut(&number).expect("it was there").reached = reached;
        }
    }

    async fn commit_and_check(&self, commit: TurnCommit) -> Result<Committed, StorageError> {
        let (instance, since) = (commit.instance, self.last_turn(commit.instance));
        let fired: Vec<_> = commit.record.events.iter().filter_map(fired).collect();
        let before = if fired.is_empty() { None } else { self.real.load(instance).await? };
        let latest = self.life.latest_since(since);
        let events = commit.record.events.clone();
        self.note_sent(&events, false);
        let committed = self.under.commit_turn(commit).await?;
        if committed != Committed::Fenced {
            self.note_sent(&events, true);
            self.note_completed(instance, &events).await;
            self.note_delivered(&events, &committed).await;
            let mut last_turns = self.last_turns.lock().expect("no panic while it is locked");
            last_turns.insert(instance, self.life.elapsed_micros());
        }
        for (loaded, sequence) in before.iter().flat_map(|loaded| fired.iter().map(move |fired| (loaded, *fired))) {
            let events = loaded.records.iter().flat_map(|record| &record.events);
            let due = events.filter_map(|event| due_of(event, sequence)).next_back();
            if due.is_none_or(|due| due > latest) && committed != Committed::Fenced {
                self.recorder.violate(format!("I7: {} took {sequence} early: {due:?} > {latest}", loaded.id));
            }
        }
        Ok(committed)
    }

    fn last_turn(&self, instance: InstanceKey) -> i64 {
        self.last_turns.lock().expect("no panic while it is locked").get(&instance).copied().unwrap_or(0)
    }

    /// What a load hands out: what is stored, or damage, or messages again that were taken.
    async fn load_badly(&self, instance: InstanceKey) -> Result<Option<Loaded>, StorageError> {
        let Some(mut loaded) = self.under.load(instance).await? else { return Ok(None) };
        if loaded.entity.is_some() {
            // Nobody tells an entity to go on once it stalls, and what it has taken is nowhere.
            return Ok(Some(loaded));
        }
        let mut dice = self.dice.lock().expect("no panic while it is locked");
        if dice.below(1000) < self.faults.corrupt_in_1000 {
            self.recorder.damage(loaded.id.as_str());
            if dice.below(2) == 0 {
                self.tally.count(Of::Fault, "corrupt record");
                return Err(StorageError::Corrupt("simulated".into()));
            }
            self.tally.count(Of::Fault, "corrupt history");
            loaded.records.remove(0);
            return Ok(Some(loaded));
        }
        let mut again = false;
        // Only events: a child's end names no attempt, so storage's promise not to repeat it is needed there.
        for event in loaded.records.iter().flat_map(|record| &record.events) {
            if let HistoryEvent::EventRaised { message, name, input } = event
                && dice.below(1000) < self.faults.again_in_1000
            {
                again = true;
                let body = InboxMessage::EventRaised { name: name.clone(), input: input.clone() };
                loaded.inbox.push((*message, body));
            }
        }
        self.tally.add(Of::Fault, "message delivered again", u64::from(again));
        if again {
            loaded.inbox.sort_by_key(|(number, _)| *number);
        }
        Ok(Some(loaded))
    }
}

async fn before(real: &dyn Storage, id: &InstanceId) -> Option<Snapshot> {
    let want = Want { input: true, history: true };
    real.snapshot(id.clone(), want).await.expect("the real storage answers")
}

/// The number that an event carries.
fn number_of(input: &Json) -> u64 {
    input.as_str().parse().expect("events carry numbers")
}

/// The timer or attempt that an event says is due.
fn fired(event: &HistoryEvent) -> Option<u32> {
    match event {
        HistoryEvent::TimerFired { sequence }
        | HistoryEvent::TaskRetryStarted { sequence, .. }
        | HistoryEvent::HttpPollStarted { sequence } => Some(*sequence),
        _ => None,
    }
}

/// When that is, if this event says so.
fn due_of(event: &HistoryEvent, of: u32) -> Option<i64> {
    match event {
        HistoryEvent::TimerCreated { sequence, fire_at: at }
        | HistoryEvent::TaskRetryScheduled { sequence, due: at, .. }
        | HistoryEvent::HttpPollScheduled { sequence, due: at, .. }
            if *sequence == of =>
        {
            Some(at.0)
        }
        _ => None,
    }
}

macro_rules! forward {
    ($($kind:ident $name:ident($($argument:ident: $type:ty),*) -> $result:ty = $method:ident;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> StorageFuture<'_, $result> {
            // Inside a block of its own: memory acts when it is called, and a call that crashes before must not act.
            let call = async move { forward!(@ self $method $name ($($argument),*)) };
            Box::pin(self.call(Call::$kind, stringify!($name), call))
        })*
    };
    (@ $self:ident plain $name:ident ($($argument:ident),*)) => { $self.under.$name($($argument),*).await };
    (@ $self:ident $method:ident $name:ident ($($argument:ident),*)) => { $self.$method($($argument),*).await };
}

impl Storage for Faulty {
    forward! {
        Commit start(start: Start) -> Started = start_and_bury;
        Commit commit_turn(commit: TurnCommit) -> Committed = commit_and_check;
        Commit commit_entity(commit: EntityCommit) -> EntityCommitted = commit_batch;
        Read entity(id: EntityId) -> Option<EntitySnapshot> = plain;
        Read entities(query: EntityQuery) -> EntityPage = plain;
        Commit put_message(message: PutMessage) -> Put = plain;
        Commit end(end: End) -> Ended = plain;
        Commit rewind(rewind: Rewind) -> Rewound = plain;
        Commit purge(fence: Fence, id: InstanceId) -> Purged = purge_and_bury;
        Read expired(expiry: Expiry, after: Option<InstanceKey>, limit: usize) -> Expired = plain;
        Commit purge_generations(fence: Fence, instances: Vec<(InstanceKey, GenerationKey)>) -> u64 = plain;
        Commit put_component(digest: Digest, bytes: Arc<[u8]>) -> () = plain;
        Read component(digest: Digest) -> Option<Arc<[u8]>> = plain;
        Read components() -> Vec<Digest> = plain;
        Read component_use(digest: Digest, from: InstanceKey, limit: usize) -> ComponentUse = plain;
        Commit drop_component(fence: Fence, digest: Digest) -> () = plain;
        Commit collect(limit: usize) -> bool = plain;
        Read snapshot(id: InstanceId, want: Want) -> Option<Snapshot> = plain;
        Read list(query: Query) -> Page = plain;
        Read load(instance: InstanceKey) -> Option<Loaded> = load_badly;
        Read open_instances(after: Option<InstanceKey>, limit: usize) -> Vec<OpenInstance> = plain;
        Read due(after: Option<Due>, limit: usize) -> Vec<Due> = plain;
        Commit close() -> () = plain;
    }

    fn timer_status(&self, function: FunctionName) -> StorageFuture<'_, Option<TimerStatus>> {
        Box::pin(async move {
            let call = self.under.timer_status(function.clone());
            let read = self.call(Call::Read, "timer_status", call).await;
            if read.is_ok() {
                self.note_timers(|oracle, moment| oracle.read(&function, moment));
            }
            read
        })
    }

    fn put_timer_status(&self, function: FunctionName, status: TimerStatus) -> StorageFuture<'_, ()> {
        Box::pin(async move {
            self.note_timers(|oracle, moment| oracle.keeps(&function, moment));
            let call = async {
                self.under.put_timer_status(function.clone(), status).await?;
                self.note_timers(|oracle, moment| oracle.kept(&function, moment));
                Ok(())
            };
            let kept = self.call(Call::Commit, "put_timer_status", call).await;
            self.note_timers(|oracle, moment| oracle.answered(&function, moment));
            kept
        })
    }

    fn commits(&self) -> u64 {
        self.real.commits()
    }
}
