//! The hub with scripted functions: what ends the host again and again, and limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{
    ambient::System,
    durable::{
        Action, ChildScheduled, Digest, EntityCalled, EntityId, EntityRan, Failure, FunctionName, GuestEvent,
        GuestOutcome, GuestTurn, LockHolder, LockRequest, Message, TaskScheduled, Timestamp,
    },
    flight,
    storage::{Delivered, Loaded, memory::Memory},
};

mod late_answers;
mod places;

/// How the scripted functions behave.
#[derive(Default)]
struct Script {
    /// `Poison*` never end; else they return.
    poisonous: AtomicBool,
    /// Replays run into a limit.
    replay_fails: AtomicBool,
    /// What runs now: instance ids.
    running: Mutex<BTreeSet<String>>,
    /// A life has ended: nothing of it runs.
    ended: tokio::sync::Notify,
    /// How often a timer function has run to its end.
    fired: AtomicUsize,
    /// Room for guests, if that is bounded.
    slots: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
    slot_waiters_now: AtomicUsize,
    slot_waiters_most: AtomicUsize,
    turns_now: AtomicUsize,
    turns_most: AtomicUsize,
}

impl Script {
    /// Never ends while it is poisonous, and runs until its life ends.
    async fn poison(&self, what: &str) {
        if !self.poisonous.load(Ordering::SeqCst) {
            return;
        }
        let ended = self.ended.notified();
        {
            let _running = Running::new(self, what);
            ended.await;
        }
        panic!("this life has ended: whoever called goes no further");
    }
}

/// Tells that something runs, until it is dropped.
struct Running<'a>(&'a Script, String);

impl<'a> Running<'a> {
    fn new(script: &'a Script, what: &str) -> Self {
        script.running.lock().unwrap().insert(what.to_owned());
        Self(script, what.to_owned())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.lock().unwrap().remove(&self.1);
    }
}

/// Runs the activity that its input names and returns its result; under the name `PoisonTurn` it never gets so far.
struct Guest {
    script: Arc<Script>,
    call: OrchestratorCall,
    _slot: GuestSlot,
    /// The next event, and where they end.
    collects: (u32, u32),
}

impl Guest {
    /// Receives the events `0`, `1`, … in order, up to the number that its input ends with, `CollectsOne` one in each
    /// execution; fails if they come in another order.
    fn collects(&mut self, events: &[GuestEvent]) -> GuestTurn {
        let mut turn = GuestTurn { actions: vec![], outcome: GuestOutcome::Waiting };
        for event in events {
            match event {
                GuestEvent::ExecutionStarted(started) => {
                    let (next, end) = started.input.as_str().trim_matches('"').split_once('-').unwrap();
                    self.collects = (next.parse().unwrap(), end.parse().unwrap());
                }
                GuestEvent::EventRaised { index, input, .. } if turn.outcome == GuestOutcome::Waiting => {
                    let (next, end) = self.collects;
                    turn.actions.push(Action::Consumed { index: *index });
                    self.collects.0 = next + 1;
                    turn.outcome = if input.as_str() != next.to_string() {
                        GuestOutcome::Failed(Failure::new("Order", format!("{} came, not {next}", input.as_str())))
                    } else if next + 1 == end {
                        GuestOutcome::Completed(Json::null())
                    } else if self.call.name == "CollectsOne" {
                        GuestOutcome::ContinueAsNew { input: Json::string(&format!("{}-{end}", next + 1)) }
                    } else {
                        GuestOutcome::Waiting
                    };
                }
                _ => {}
            }
        }
        turn
    }
}

/// Starts a child of its own kind, for ever.
fn nests(call: &OrchestratorCall, events: &[GuestEvent]) -> GuestTurn {
    let is_first = events.iter().any(|event| matches!(event, GuestEvent::ExecutionStarted(_)));
    let child = ChildScheduled {
        sequence: 0,
        name: call.name.clone(),
        instance_id: format!("{}:0", call.execution_id.as_str()),
        input: Json::null(),
        version: None,
        detached: false,
        retry: None,
        policy: None,
        scheduled_start: None,
        tags: vec![],
    };
    let child = Action::StartChild { child: Box::new(child), instance_id: None };
    GuestTurn { actions: is_first.then_some(child).into_iter().collect(), outcome: GuestOutcome::Waiting }
}

/// Asks for an activity.
fn schedule(sequence: u32, name: &str) -> Action {
    Action::ScheduleTask(TaskScheduled {
        sequence,
        name: name.to_owned(),
        input: Json::null(),
        retry: None,
        timeout_ms: None,
        tags: vec![],
    })
}

impl Guest {
    /// Asks for activities 0 and 1; once 1 has completed for 2, and fails if that does. A replay without the failure of 0 never
    /// ends.
    async fn branches(&self, replaying: bool, events: &[GuestEvent]) -> GuestTurn {
        let mut turn = GuestTurn { actions: vec![], outcome: GuestOutcome::Waiting };
        for event in events {
            match event {
                GuestEvent::ExecutionStarted(_) => turn.actions.extend([schedule(0, "Fails"), schedule(1, "Slow")]),
                GuestEvent::TaskCompleted(1, _) => turn.actions.push(schedule(2, "Fails")),
                GuestEvent::TaskFailed(2, failure) => turn.outcome = GuestOutcome::Failed(failure.clone()),
                _ => {}
            }
        }
        let has = |wanted: fn(&GuestEvent) -> bool| events.iter().any(wanted);
        let is_without = !has(|event| matches!(event, GuestEvent::TaskFailed(0, _)));
        if replaying && is_without && has(|event| matches!(event, GuestEvent::TaskCompleted(1, _))) {
            let _running = Running::new(&self.script, "a replay");
            std::future::pending::<()>().await;
        }
        turn
    }
}

impl OrchestratorGuest for Guest {
    fn turn<'a>(
        &'a mut self,
        replaying: bool,
        _: u32,
        events: &'a [GuestEvent],
    ) -> ExecutorFuture<'a, Result<GuestTurn, GuestError>> {
        Box::pin(async move {
            if self.call.name == "Nests" {
                return Ok(nests(&self.call, events));
            }
            let script = &self.script;
            let now = script.turns_now.fetch_add(1, Ordering::SeqCst) + 1;
            script.turns_most.fetch_max(now, Ordering::SeqCst);
            if self.call.name == "PoisonTurn" && script.poisonous.load(Ordering::SeqCst) {
                let _running = Running::new(script, self.call.instance_id.as_str());
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            script.turns_now.fetch_sub(1, Ordering::SeqCst);
            let over = |limit: &str| GuestError::Code(Failure::new("CpuLimitExceeded", format!("over {limit}")));
            if replaying && script.replay_fails.load(Ordering::SeqCst) {
                return Err(over("guestCpuMilliseconds"));
            }
            if self.call.name == "Calls" {
                let call = EntityCalled {
                    sequence: 0,
                    entity: EntityId::parse("counter", "poison").unwrap(),
                    operation: "add".to_owned(),
                    input: Json::null(),
                };
                let outcome = GuestOutcome::Failed(Failure::new("Over", "it did not wait"));
                return Ok(GuestTurn { actions: vec![Action::CallEntity(call)], outcome });
            }
            if self.call.name == "Loops" {
                let step = |event: &GuestEvent| match event {
                    GuestEvent::ExecutionStarted(_) => Some(schedule(0, "Step")),
                    GuestEvent::TaskCompleted(sequence, _) => Some(schedule(sequence + 1, "Step")),
                    _ => None,
                };
                let actions = events.iter().filter_map(step).collect();
                return Ok(GuestTurn { actions, outcome: GuestOutcome::Waiting });
            }
            if self.call.name == "Branches" {
                return Ok(self.branches(replaying, events).await);
            }
            if self.call.name.starts_with("Collects") {
                return Ok(self.collects(events));
            }
            let mut turn = GuestTurn { actions: vec![], outcome: GuestOutcome::Waiting };
            for event in events {
                match event {
                    GuestEvent::ExecutionStarted(started) => {
                        let name = started.input.as_str().trim_matches('"').to_owned();
                        if name == "limit" {
                            return Err(over("guestCpuMilliseconds"));
                        }
                        turn.actions.push(schedule(0, &name));
                    }
                    GuestEvent::TaskCompleted(_, output) => turn.outcome = GuestOutcome::Completed(output.clone()),
                    _ => {}
                }
            }
            Ok(turn)
        })
    }

    fn resident_bytes(&self) -> usize {
        1
    }
}

struct Functions(Arc<Script>);

impl Executor for Functions {
    fn slot(&self) -> ExecutorFuture<'_, GuestSlot> {
        let slots = self.0.slots.lock().unwrap().clone();
        let script = self.0.clone();
        Box::pin(async move {
            let Some(slots) = slots else { return GuestSlot::new(()) };
            let now = script.slot_waiters_now.fetch_add(1, Ordering::SeqCst) + 1;
            script.slot_waiters_most.fetch_max(now, Ordering::SeqCst);
            let slot = slots.acquire_owned().await.unwrap();
            script.slot_waiters_now.fetch_sub(1, Ordering::SeqCst);
            GuestSlot::new(slot)
        })
    }

    fn orchestrator(
        &self,
        call: OrchestratorCall,
        slot: GuestSlot,
    ) -> ExecutorFuture<'_, Result<Box<dyn OrchestratorGuest>, GuestError>> {
        let guest = Guest { script: self.0.clone(), call, _slot: slot, collects: (0, 0) };
        Box::pin(async move { Ok(Box::new(guest) as Box<dyn OrchestratorGuest>) })
    }

    fn activity(&self, call: ActivityCall) -> ExecutorFuture<'_, Result<Json, Failure>> {
        let script = self.0.clone();
        Box::pin(async move {
            let _running = Running::new(&script, call.instance_id.as_str());
            if call.name.as_str() == "Poison" && script.poisonous.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            match call.name.as_str() {
                "Fails" => return Err(Failure::new("Planned", "as it should")),
                "Slow" => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => {}
            }
            Ok(Json::string("done"))
        })
    }

    /// Counts its operations.
    fn entity(&self, call: EntityCall) -> ExecutorFuture<'_, Result<EntityRan, GuestError>> {
        let script = self.0.clone();
        Box::pin(async move {
            if call.entity.key() == "poison" {
                script.poison(&call.entity.to_string()).await;
            }
            let before: usize = call.state.map_or(0, |state| state.as_str().parse().unwrap());
            let count = |n: usize| Json::parse(n.to_string()).unwrap();
            let results = (1..=call.operations.len()).map(|n| Ok(count(before + n))).collect();
            Ok(EntityRan { results, state: Some(count(before + call.operations.len())), actions: vec![] })
        })
    }

    fn timer(&self, call: TimerCall) -> ExecutorFuture<'_, Result<(), Failure>> {
        let script = self.0.clone();
        Box::pin(async move {
            script.poison(call.name.as_str()).await;
            script.fired.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}

/// The machine, its clock set forward by so many microseconds.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Ambient for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp(System.now().0 + self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        System.sleep(span)
    }

    fn fresh_id(&self) -> String {
        System.fresh_id()
    }
}

/// A task hub over several lives of a host.
struct World {
    storage: Arc<Memory>,
    clock: Arc<Ahead>,
    script: Arc<Script>,
    folder: tempfile::TempDir,
    turns_max: usize,
    /// Guests that stay between turns, each of one byte.
    residents: usize,
    /// The components of entity and timer functions.
    deployed: BTreeMap<String, String>,
    /// The present life: a hub, and what notes its calls.
    life: Option<(Arc<Hub>, Arc<Recorder>)>,
}

impl World {
    fn new() -> Self {
        let script = Arc::new(Script { poisonous: AtomicBool::new(true), ..Script::default() });
        let folder = tempfile::tempdir().unwrap();
        let deployed = ["counter", "Timer"].map(|name| (name.to_owned(), "1".to_owned())).into();
        let storage = Arc::new(Memory::new());
        let clock = Arc::default();
        let mut world = Self { storage, clock, script, folder, turns_max: 10, residents: 0, deployed, life: None };
        world.live();
        world
    }

    fn live(&mut self) {
        let (recorder, mut book) = flight::open(self.folder.path());
        if book.deploy(self.deployed.clone()) {
            book.save().unwrap();
        }
        let orchestrator = |name: &str| {
            let name = FunctionName::new(name);
            let (handler, component, contract) = ("f".to_owned(), Digest([1; 32]), "1.0.0".to_owned());
            (name.clone(), Arc::new(Orchestrator { name, handler, component, contract }))
        };
        let hub = Hub::start(HubParts {
            storage: self.storage.clone(),
            executor: Arc::new(Functions(self.script.clone())),
            ambient: self.clock.clone(),
            functions: super::Functions {
                orchestrators: ["Runs", "PoisonTurn", "Collects", "CollectsOne", "Loops", "Calls", "Branches", "Nests"]
                    .into_iter()
                    .map(orchestrator)
                    .collect(),
                entities: BTreeSet::from([FunctionName::new("counter")]),
                ..super::Functions::default()
            },
            config: HubConfig {
                policy: OverridableStates::AnyState,
                concurrent_activities: 10,
                concurrent_turns: self.turns_max,
                concurrent_entities: 10,
                entity_batch_max: 100,
                actions_max: 100_000,
                resident_bytes: self.residents,
                residents_max: self.residents,
                due_page: 10,
                function_timeout: None,
                http_poll_wait: std::time::Duration::from_secs(30),
                retention: crate::hub::Retention::default(),
            },
            recorder: recorder.clone(),
            book,
        });
        self.life = Some((hub, recorder));
    }

    fn hub(&self) -> Arc<Hub> {
        self.life.as_ref().unwrap().0.clone()
    }

    /// Ends this life, with a signal of the process's own or with one from outside, and begins the next.
    async fn next_life(&mut self, signal: Option<i32>) {
        let (hub, recorder) = self.life.take().unwrap();
        if let Some(signal) = signal {
            recorder.write_down(signal);
        }
        hub.inner.stopping.store(true, Ordering::SeqCst);
        self.script.ended.notify_waiters();
        let cells: Vec<_> = hub.inner.cells.lock().unwrap().values().cloned().collect();
        for cell in cells {
            cell.lock().stop_activities_before(None);
            cell.ended.notify_one();
        }
        tokio::time::sleep(Duration::from_secs(61)).await;
        self.live();
    }

    async fn start(&self, function: &str, id: &str, activity: &str) {
        let start = StartNew {
            name: FunctionName::new(function),
            instance_id: Some(id.to_owned()),
            input: Json::string(activity),
            policy: None,
            version: None,
            scheduled_start: None,
            tags: vec![],
            trace_context: None,
        };
        self.hub().start_new(start).await.unwrap();
    }

    async fn status(&self, id: &str) -> OrchestrationStatus {
        self.hub().status(id, StatusWant::default()).await.unwrap().unwrap()
    }

    /// Waits for a condition, for less than a minute of its time.
    async fn until(&self, what: &str, is_so: impl AsyncFn(&Self) -> bool) {
        for _ in 0..500 {
            if is_so(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: it does not come to that");
    }

    fn runs(&self, id: &str) -> bool {
        self.script.running.lock().unwrap().contains(id)
    }

    async fn until_completed(&self, id: &str) {
        let completed = async |world: &Self| world.status(id).await.runtime_status == RuntimeStatus::Completed;
        self.until(&format!("{id} completes"), completed).await;
    }

    async fn until_parked(&self, id: &str) -> String {
        let parked = async |world: &Self| world.status(id).await.diagnostics.is_some();
        self.until(&format!("{id} is parked"), parked).await;
        let status = self.status(id).await;
        assert_eq!(status.runtime_status, RuntimeStatus::Running);
        status.diagnostics.unwrap()
    }

    /// The host ends whenever the poison runs, until that is parked. Returns how often.
    async fn end_until_parked(&mut self, id: &str) -> u32 {
        for ends in 0..20 {
            let decided = async |world: &Self| world.runs(id) || world.status(id).await.diagnostics.is_some();
            self.until("the poison runs, or is parked", decided).await;
            if !self.runs(id) {
                return ends;
            }
            self.next_life(Some(libc::SIGABRT)).await;
        }
        panic!("{id} is never parked");
    }

    async fn saved_book(&self) -> Book {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let path: &Path = self.folder.path();
        Book::load(&path.join(flight::BOOK)).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_poisonous_activity_is_parked_and_the_others_go_on() {
    let mut world = World::new();
    world.start("Runs", "poison", "Poison").await;
    world.start("Runs", "neighbour", "Step").await;
    world.until_completed("neighbour").await;
    assert_eq!(world.end_until_parked("poison").await, 5, "twice among others, three times alone");
    let diagnostics = world.until_parked("poison").await;
    assert!(
        diagnostics.starts_with("parked: the host was ended 5 times while activity function 'Poison' (action 0) ran"),
        "{diagnostics}"
    );
    assert!(diagnostics.contains("SIGABRT"), "{diagnostics}");
    world.start("Runs", "later", "Step").await;
    world.until_completed("later").await;
    world.next_life(None).await;
    assert_eq!(world.until_parked("poison").await, diagnostics, "it stays so over a restart");
    assert!(!world.runs("poison"));
    world.script.poisonous.store(false, Ordering::SeqCst);
    world.hub().resume("poison", "deployed a better one").await.unwrap();
    world.until_completed("poison").await;
    assert!(world.saved_book().await.is_empty());
    assert!(world.hub().resume("poison", "").await.is_err(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_poison_is_counted_anew() {
    let mut world = World::new();
    world.start("Runs", "poison", "Poison").await;
    world.end_until_parked("poison").await;
    world.hub().resume("poison", "").await.unwrap();
    world.until("it runs", async |world| world.runs("poison")).await;
    assert!(world.saved_book().await.is_empty(), "durably");
    assert_eq!(world.end_until_parked("poison").await, 5);
    world.hub().suspend("poison", "").await.unwrap();
    assert_eq!(world.status("poison").await.runtime_status, RuntimeStatus::Suspended);
    world.hub().resume("poison", "").await.unwrap();
    world.until("it runs", async |world| world.runs("poison")).await;
}

#[tokio::test(start_paused = true)]
async fn a_poisonous_turn_is_parked_and_can_be_terminated_or_replaced() {
    let mut world = World::new();
    world.start("PoisonTurn", "poison", "Step").await;
    assert_eq!(world.end_until_parked("poison").await, 5);
    let diagnostics = world.status("poison").await.diagnostics.unwrap();
    assert!(diagnostics.contains("while orchestrator function 'PoisonTurn' ran"), "{diagnostics}");
    world.start("Runs", "poison", "Step").await;
    world.until_completed("poison").await;
    assert!(world.saved_book().await.is_empty(), "a replaced one is forgotten");

    world.start("PoisonTurn", "poison", "Step").await;
    world.end_until_parked("poison").await;
    world.hub().terminate("poison", "").await.unwrap();
    assert!(world.saved_book().await.is_empty(), "a terminated one is forgotten");
    world.hub().purge("poison").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ends_from_outside_park_nothing() {
    let mut world = World::new();
    world.start("Runs", "long", "Poison").await;
    for _ in 0..10 {
        world.until("it runs", async |world| world.runs("long")).await;
        world.next_life(None).await;
    }
    world.script.poisonous.store(false, Ordering::SeqCst);
    world.next_life(None).await;
    world.until_completed("long").await;
    assert!(world.saved_book().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn suspects_run_one_after_the_other_and_delay_nobody_else() {
    let mut world = World::new();
    let suspects = ["a", "b", "c"];
    for id in suspects {
        world.start("Runs", id, "Poison").await;
    }
    for _ in 0..2 {
        world.until("all run", async |world| suspects.iter().all(|id| world.runs(id))).await;
        world.next_life(Some(libc::SIGSEGV)).await;
    }
    let count = |world: &World| suspects.iter().filter(|id| world.runs(id)).count();
    world.until("one runs", async |world| count(world) == 1).await;
    world.start("Runs", "other", "Step").await;
    world.until_completed("other").await;
    assert_eq!(count(&world), 1, "the other suspects wait");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(count(&world), 2, "a minute alone clears it");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(count(&world), 3);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(world.saved_book().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_poisons_both_are_parked_and_an_innocent_bystander_is_not() {
    let mut world = World::new();
    for id in ["poison-1", "poison-2"] {
        world.start("Runs", id, "Poison").await;
    }
    world.end_until_parked("poison-1").await;
    world.end_until_parked("poison-2").await;
    for id in ["poison-1", "poison-2"] {
        world.until_parked(id).await;
    }
    world.start("Runs", "bystander", "Poison").await;
    world.until("it runs", async |world| world.runs("bystander")).await;
    assert_eq!(world.status("bystander").await.diagnostics, None);
}

#[tokio::test(start_paused = true)]
async fn a_limit_fails_new_code_by_its_name_and_stalls_a_replay() {
    let mut world = World::new();
    world.start("Runs", "new", "limit").await;
    world.until("it fails", async |world| world.status("new").await.runtime_status == RuntimeStatus::Failed).await;

    world.start("Runs", "replays", "Poison").await;
    world.until("its activity runs", async |world| world.runs("replays")).await;
    world.script.poisonous.store(false, Ordering::SeqCst);
    world.script.replay_fails.store(true, Ordering::SeqCst);
    world.next_life(None).await;
    let diagnostics = world.until_parked("replays").await;
    assert_eq!(diagnostics, "replay was stopped: CpuLimitExceeded: over guestCpuMilliseconds");
    world.hub().resume("replays", "still too slow").await.unwrap();
    world.until_parked("replays").await;
    world.script.replay_fails.store(false, Ordering::SeqCst);
    world.hub().resume("replays", "the limit was raised").await.unwrap();
    world.until_completed("replays").await;
}

fn poison() -> EntityId {
    EntityId::parse("counter", "poison").unwrap()
}

async fn signal(world: &World, entity: EntityId) {
    let (operation, input) = ("add".to_owned(), Json::null());
    let signal = SignalEntity { entity, operation, input, scheduled: None, trace_context: None };
    world.hub().signal_entity(signal).await.unwrap();
}

async fn counts(world: &World, entity: &EntityId) -> Option<String> {
    let read = world.hub().read_entity(entity).await.unwrap();
    read.map(|read| read.state.unwrap().as_str().to_owned())
}

/// The host ends whenever this runs, until it is parked.
async fn end_until_in_book(world: &mut World, what: &str) {
    for _ in 0..5 {
        world.until("it runs", async |world| world.runs(what)).await;
        world.next_life(Some(libc::SIGSEGV)).await;
    }
    let book = world.saved_book().await;
    assert!(!world.runs(what), "it is parked");
    let key = flight::CallKey { execution: what.to_owned(), activity: None };
    let count = book.get(&key).expect("it is counted");
    assert!(count.parked && count.diagnostics(&key).contains("start the host again"), "{}", count.diagnostics(&key));
}

#[tokio::test(start_paused = true)]
async fn a_poisonous_entity_is_parked_until_another_component_is_deployed() {
    let mut world = World::new();
    let (poison, other) = (poison(), EntityId::parse("counter", "other").unwrap());
    world.script.poisonous.store(false, Ordering::SeqCst);
    signal(&world, poison.clone()).await;
    world.until("it counts", async |world| counts(world, &poison).await.is_some()).await;
    world.script.poisonous.store(true, Ordering::SeqCst);
    signal(&world, poison.clone()).await;
    end_until_in_book(&mut world, "@counter@poison").await;

    signal(&world, other.clone()).await;
    world.until("another counts", async |world| counts(world, &other).await.is_some()).await;
    signal(&world, poison.clone()).await;
    world.next_life(None).await;
    signal(&world, poison.clone()).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(!world.runs("@counter@poison"), "it stays so over a restart");
    assert_eq!(counts(&world, &poison).await.as_deref(), Some("1"), "its state can be read");

    world.script.poisonous.store(false, Ordering::SeqCst);
    world.deployed.insert("counter".into(), "2".into());
    world.next_life(None).await;
    world.until("every signal has run", async |world| counts(world, &poison).await.as_deref() == Some("4")).await;
    assert!(world.saved_book().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_poisonous_timer_function_is_parked_until_another_component_is_deployed() {
    let mut world = World::new();
    let timer = || TimerFunction {
        name: FunctionName::new("Timer"),
        next: Arc::new(|_, _| None),
        schedule: 1,
        is_monitored: false,
        run_on_startup: true,
        adjust_for_dst: false,
        retry: None,
    };
    for _ in 0..5 {
        world.hub().run_timers(vec![timer()]);
        world.until("it runs", async |world| world.runs("Timer")).await;
        world.next_life(Some(libc::SIGSEGV)).await;
    }
    world.script.poisonous.store(false, Ordering::SeqCst);
    world.hub().run_timers(vec![timer()]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.script.fired.load(Ordering::SeqCst), 0, "it is parked");
    world.deployed.insert("Timer".into(), "2".into());
    world.next_life(None).await;
    world.hub().run_timers(vec![timer()]);
    world.until("it fires", async |world| world.script.fired.load(Ordering::SeqCst) == 1).await;
    assert!(world.saved_book().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_suspend_that_waits_for_a_turn_is_answered_when_the_hub_stops() {
    let world = World::new();
    world.start("PoisonTurn", "runs", "Step").await;
    world.until("it runs", async |world| world.runs("runs")).await;
    let hub = world.hub();
    let suspend = tokio::spawn(async move { hub.suspend("runs", "").await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!suspend.is_finished(), "it waits for the turn's end");
    world.hub().stop();
    let answer = tokio::time::timeout(Duration::from_secs(1), suspend).await.expect("it is answered").unwrap();
    assert!(matches!(answer, Err(ClientError::Unavailable(_))), "{answer:?}");
}

/// As when an activity ends at the moment at which its instance is terminated and forgotten.
#[tokio::test]
async fn what_comes_for_nobody_leaves_no_cell_behind() {
    let world = World::new();
    let hub = world.hub();
    assert!(!hub.inner.deliver(crate::durable::InstanceKey(7), |_| ()));
    assert_eq!(hub.load(), HubLoad::default());
}

#[tokio::test(start_paused = true)]
async fn a_long_inbox_is_taken_in_order_page_by_page() {
    let mut world = World::new();
    for (residents, function) in [(0, "Collects"), (100, "Collects"), (100, "CollectsOne")] {
        world.residents = residents;
        world.next_life(None).await;
        let id = format!("{function}-{residents}");
        let count = if function == "Collects" { 3_500 } else { 1_200 };
        world.start(function, &id, &format!("0-{count}")).await;
        world.hub().suspend(&id, "").await.unwrap();
        for n in 0..count - 100 {
            world.hub().raise_event(&id, "e", Json::parse(n.to_string()).unwrap()).await.unwrap();
        }
        world.hub().resume(&id, "").await.unwrap();
        for n in count - 100..count {
            world.hub().raise_event(&id, "e", Json::parse(n.to_string()).unwrap()).await.unwrap();
        }
        let ended = async |world: &World| world.status(&id).await.runtime_status.is_terminal();
        world.until("it ends", ended).await;
        let status = world.status(&id).await;
        assert_eq!(status.runtime_status, RuntimeStatus::Completed, "{:?}", status.output);
    }
}

/// An entity as storage has it; none if nothing ever reached it.
async fn entity(world: &World, id: &str) -> Option<Loaded> {
    let open = world.storage.open_instances(None, 100).await.unwrap();
    let found = open.into_iter().find(|found| found.id.as_str() == id)?;
    world.storage.load(found.instance).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_call_of_the_turn_that_ends_an_execution() {
    let world = World::new();
    world.start("Calls", "calls", "").await;
    world.until("it fails", async |world| world.status("calls").await.runtime_status == RuntimeStatus::Failed).await;
    world.until("the operation runs", async |world| world.runs("@counter@poison")).await;
    let inbox = entity(&world, "@counter@poison").await.unwrap().inbox;
    let [(_, InboxMessage::EntityOperation(operation))] = &*inbox else { panic!("one operation: {inbox:?}") };
    // Rewound, the code may use the number for another call: an answer would be taken for that one's.
    assert_eq!((operation.name.as_str(), operation.reply), ("add", None));
}

#[tokio::test(start_paused = true)]
async fn a_lock_request_goes_on_to_an_entity_whose_function_is_gone() {
    let world = World::new();
    world.start("Runs", "holder", "Poison").await;
    let named = |name: &str| EntityId::parse(name, "k").unwrap().instance_id();
    let open = world.storage.open_instances(None, 1).await.unwrap();
    let holder = LockHolder {
        instance_id: open[0].id.clone(),
        execution_id: world.status("holder").await.execution_id,
        generation: open[0].generation,
        sequence: 1,
    };
    let request = LockRequest { holder: holder.clone(), entities: vec![named("counter"), named("went")], position: 0 };
    let body = InboxMessage::LockRequest(Box::new(request));
    let put = PutMessage { fence: Fence::default(), id: named("counter"), body: body.clone() };
    let Put::Accepted { instance, number, .. } = world.storage.put_message(put).await.unwrap() else {
        panic!("an entity takes it")
    };
    world.hub().inner.put_delivered(Delivered { instance, number, body });
    let locked = async |world: &World| {
        let record = entity(world, "@went@k").await.and_then(|loaded| loaded.entity);
        record.is_some_and(|(_, record)| record.lock.as_ref() == Some(&holder))
    };
    world.until("both are locked", locked).await;
    // They are free again once it ends.
    world.hub().terminate("holder", "").await.unwrap();
    world.until("both are free", async |world| entity(world, "@went@k").await.is_none()).await;
    world.until("both are free", async |world| entity(world, "@counter@k").await.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn code_that_never_ends_without_its_failure_holds_a_rewind_up_and_nothing_else() {
    let world = World::new();
    world.start("Branches", "a", "").await;
    let has_failed = async |world: &World| world.status("a").await.runtime_status == RuntimeStatus::Failed;
    world.until("it fails", has_failed).await;
    let rewind = tokio::time::timeout(Duration::from_mins(1), world.hub().rewind("a", "")).await;
    assert!(matches!(rewind, Ok(Ok(()))), "{rewind:?}");
    assert!(!world.runs("a replay"), "its guest is gone");
    world.until("the last activity has failed again", has_failed).await;
    assert_eq!(world.hub().inner.turns.available_permits(), world.turns_max);
}

#[tokio::test(start_paused = true)]
async fn what_is_meant_for_one_start_is_not_done_to_a_later_one() {
    let world = World::new();
    let hub = world.hub();
    for way in ["replaced", "purged"] {
        world.start("Collects", "a", "0-9").await;
        let creation = world.status("a").await.creation();
        let first = Target { id: "a", creation: Some(creation) };
        hub.suspend(first, "").await.unwrap();
        hub.resume(first, "").await.unwrap();
        hub.raise_event(first, "e", Json::parse("0").unwrap()).await.unwrap();
        // The system's clock goes on.
        std::thread::sleep(Duration::from_millis(1));
        if way == "purged" {
            hub.terminate(first, "").await.unwrap();
            hub.purge(first).await.unwrap();
        }
        world.start("Collects", "a", "0-9").await;
        let now = world.status("a").await;
        assert_ne!(now.creation(), creation, "{way}");
        let refused = [
            hub.suspend(first, "").await,
            hub.raise_event(first, "e", Json::null()).await,
            hub.terminate(first, "").await,
            hub.rewind(first, "").await,
            hub.purge(first).await,
            hub.restart(first, true).await.map(drop),
            hub.restart(first, false).await.map(drop),
        ];
        assert!(refused.iter().all(|answer| matches!(answer, Err(ClientError::NotFound(_)))), "{way} {refused:?}");
        hub.suspend("a", "").await.unwrap();
        assert!(matches!(hub.resume(first, "").await, Err(ClientError::NotFound(_))), "{way}");
        assert_eq!(world.status("a").await.runtime_status, RuntimeStatus::Suspended, "{way}");
        hub.terminate("a", "").await.unwrap();
        assert!(matches!(hub.purge(first).await, Err(ClientError::NotFound(_))), "{way}");
        assert!(matches!(hub.restart(first, false).await, Err(ClientError::NotFound(_))), "{way}");
        // The system's clock goes on.
        std::thread::sleep(Duration::from_millis(1));
        let restarted = hub.restart("a", false).await.unwrap();
        assert_eq!(world.status("a").await.creation(), restarted.creation);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_that_waits_for_a_turn_does_not_suspend_what_took_its_instances_place() {
    let world = World::new();
    world.start("PoisonTurn", "a", "Step").await;
    world.until("it runs", async |world| world.runs("a")).await;
    let creation = Some(world.status("a").await.creation());
    let hub = world.hub();
    let suspend = tokio::spawn(async move { hub.suspend(Target { id: "a", creation }, "").await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!suspend.is_finished(), "it was checked, and waits for the turn's end");
    world.start("Collects", "a", "0-9").await;
    let answer = suspend.await.unwrap();
    assert!(matches!(answer, Err(ClientError::NotFound(_))), "{answer:?}");
    world.hub().suspend("a", "").await.expect("it is not suspended");
}

#[tokio::test(start_paused = true)]
async fn a_nest_that_grows_as_fast_as_it_is_ended_ends_though_nobody_waits_for_it() {
    let world = World::new();
    let live = async |world: &World| {
        let statuses = vec![RuntimeStatus::Pending, RuntimeStatus::Running];
        let query = StatusQuery { statuses, top: Some(1000), ..StatusQuery::default() };
        world.hub().list(query).await.unwrap().instances.len()
    };
    for id in ["first", "second", "third"] {
        world.start("Nests", id, "").await;
        while live(&world).await < 100 {
            tokio::task::yield_now().await;
        }
        let hub = world.hub();
        if id == "third" {
            hub.terminate(id, "alone").await.unwrap();
            let answer = hub.terminate_with_children(id, "enough").await;
            assert!(matches!(answer, Err(ClientError::Gone(RuntimeStatus::Terminated))), "{answer:?}");
            assert_eq!(live(&world).await, 0, "what it left has ended, too");
            continue;
        }
        let mut ending = Box::pin(hub.terminate_with_children(id, "enough"));
        assert!(futures::poll!(&mut ending).is_pending());
        if id == "first" {
            drop(ending);
        } else {
            ending.await.unwrap();
            assert_eq!(live(&world).await, 0, "once it is answered");
        }
        world.until("all have ended", async |world| live(world).await == 0).await;
    }
}
