//! One world: a few instances, their clients, and a host that lives, crashes and lives again on the same storage.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use soloist::{
    ambient::Ambient,
    durable::{Digest, FunctionName, Json, OverridableStates, RuntimeStatus},
    flight::{Book, Recorder},
    hub::{ClientError, Functions, Hub, HubConfig, HubParts, Orchestrator, StartNew, StartOutcome, StatusWant},
    storage::{Storage, memory::Memory},
};
use tokio::sync::Notify;

use crate::{
    Totals, check, entities,
    faults::{Clock, Dice, Faults, Faulty, Life},
    program::{self, Script, Step},
};

/// A life that lasts longer than this, by its own clock, has lost something.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// What the clients of an instance know for certain, over all lives.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Starts that were acknowledged as accepted.
    pub accepted: u64,
    /// Starts that were refused.
    pub refused: u64,
    /// Starts whose answer was lost.
    pub start_unknown: u64,
    /// Events whose delivery was acknowledged, in order.
    pub acked: Vec<u64>,
    /// Events whose answer was lost.
    pub unknown: Vec<u64>,
    /// The next event.
    pub next_event: u64,
    pub terminate_acked: bool,
    pub terminate_sent: bool,
    /// Times that an `AnyState` start was accepted (or may have been).
    pub replaced: u64,
}

/// An instance's plan.
pub struct Plan {
    pub id: String,
    pub program: Vec<Step>,
    pub racers: u64,
    pub terminate_after: Option<Duration>,
    pub replace_after: Option<Duration>,
    pub hold_after: Option<Duration>,
    pub truth: Mutex<Truth>,
}

impl Plan {
    pub fn truth(&self) -> std::sync::MutexGuard<'_, Truth> {
        self.truth.lock().expect("no panic while it is locked")
    }
}

pub struct World {
    plans: Vec<Arc<Plan>>,
    /// What clients do to entities: so many signals.
    entities: (Arc<entities::Clients>, u64),
    storage: Arc<Memory>,
    clock: Arc<Clock>,
    trace: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// Runs a seed to its end and checks every invariant.
    pub fn run(seed: u64, faults: Faults) -> Totals {
        let (world, mut totals) = Self::live(seed, faults);
        check::check(seed, &world.plans, &world.entities.0, &*world.storage, &mut totals);
        totals.commits = world.storage.commits();
        if std::env::var("SOLOIST_SEED").is_ok() {
            world.trace.lock().expect("alone").iter().for_each(|line| println!("{line}"));
        }
        totals
    }

    /// What happened, call by call.
    pub fn trace(seed: u64) -> Vec<String> {
        let (world, _) = Self::live(seed, Faults::of_seed(seed));
        world.trace.lock().expect("alone").clone()
    }

    fn live(seed: u64, faults: Faults) -> (Self, Totals) {
        let mut dice = Dice::new(seed);
        let plans = (0..2 + dice.below(4)).map(|n| Arc::new(random_plan(n, &mut dice))).collect();
        let world = Self {
            plans,
            entities: (Arc::default(), dice.below(25)),
            storage: Arc::new(Memory::new()),
            clock: Arc::new(Clock::new()),
            trace: Arc::default(),
        };
        let mut totals = Totals::default();
        let mut crashes = faults.crashes;
        let mut jumps = faults.jumps;
        loop {
            let crash_after = if crashes > 0 { 1 + dice.below(120) as i64 } else { i64::MAX };
            let life = world.one_life(seed, &mut dice, faults, crash_after, std::mem::take(&mut jumps), &mut totals);
            if !life {
                return (world, totals);
            }
            totals.crashes += 1;
            crashes = crashes.saturating_sub(1);
            world.clock.jump(dice.below(20_000_000) as i64);
        }
    }

    /// One life of the host. True if it crashed.
    fn one_life(
        &self,
        seed: u64,
        dice: &mut Dice,
        faults: Faults,
        crash_after: i64,
        jumps: u64,
        totals: &mut Totals,
    ) -> bool {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let mut own = Dice::new(dice.next());
        let crashed = runtime.block_on(async {
            let life = Arc::new(Life { clock: self.clock.clone(), began: tokio::time::Instant::now() });
            let storage = Arc::new(Faulty {
                real: self.storage.clone(),
                dice: Mutex::new(Dice::new(own.next())),
                errors_in_1000: faults.errors_in_1000,
                calls_to_crash: AtomicI64::new(crash_after),
                crashed: AtomicBool::new(false),
                crash: Notify::new(),
                errors: AtomicU64::new(0),
                trace: self.trace.clone(),
            });
            let hub = self.start_hub(&life, &storage, &mut own);
            totals.clock_jumps += jumps;
            for _ in 0..jumps {
                let (after, by) = (own.below(10_000), own.below(40_000_000) as i64 - 20_000_000);
                let clock = self.clock.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    clock.jump(by);
                });
            }
            let clients: Vec<_> =
                self.plans.iter().map(|plan| tokio::spawn(client(hub.clone(), plan.clone(), own.next()))).collect();
            let (to_entities, signals) = self.entities.clone();
            let signaling = {
                let (to_entities, hub, seed, life) = (to_entities.clone(), hub.clone(), own.next(), life.clone());
                tokio::spawn(async move { to_entities.run(hub, signals, seed, move || life.now()).await })
            };
            let all_done = async {
                for client in clients {
                    client.await.expect("a client found an invariant broken");
                }
                signaling.await.expect("a client found an invariant broken");
                to_entities.settle(&hub, &*self.storage, seed).await;
            };
            let crashed = tokio::select! {
                biased;
                () = storage.crash.notified() => true,
                () = all_done => false,
                () = tokio::time::sleep(PATIENCE) => self.give_up(seed).await,
            };
            let figures = hub.figures();
            totals.replays += figures.replays;
            totals.storage_errors += storage.errors.load(Ordering::Relaxed);
            self.clock.jump(life.elapsed_micros());
            crashed
        });
        runtime.shutdown_background();
        crashed
    }

    /// Tells what is known of the instances that did not end.
    async fn give_up(&self, seed: u64) -> bool {
        let want = soloist::storage::Want { input: true, history: true };
        for plan in &self.plans {
            let id = soloist::durable::InstanceId::parse(&plan.id).expect("a legal id");
            let snapshot = self.storage.snapshot(id, want).await.expect("memory answers");
            if let Some(snapshot) = snapshot.filter(|snapshot| !snapshot.summary.status.is_terminal()) {
                let history = snapshot.history.unwrap_or_default();
                let last = &history[history.len().saturating_sub(6)..];
                println!("{} {:?} {:?} {last:#?}", plan.id, plan.program, snapshot.summary);
            }
        }
        panic!("seed {seed}: an instance did not end in an hour of its time")
    }

    fn start_hub(&self, life: &Arc<Life>, storage: &Arc<Faulty<Memory>>, dice: &mut Dice) -> Arc<Hub> {
        let programs: BTreeMap<_, _> = self.plans.iter().map(|plan| (plan.id.clone(), plan.program.clone())).collect();
        let ambient: Arc<dyn Ambient> = life.clone();
        let script = Script {
            programs,
            ambient: ambient.clone(),
            dice: Mutex::new(Dice::new(dice.next())),
            running: Default::default(),
        };
        let orchestrators = ["Program", "Child", "FailingChild"].map(|name| {
            let name = FunctionName::new(name);
            let orchestrator = Orchestrator {
                name: name.clone(),
                handler: "Program".into(),
                component: Digest([1; 32]),
                contract: "1.0.0".into(),
            };
            (name, Arc::new(orchestrator))
        });
        Hub::start(HubParts {
            storage: storage.clone(),
            executor: Arc::new(script),
            ambient,
            functions: Functions {
                orchestrators: BTreeMap::from(orchestrators),
                entities: entities::FUNCTIONS.map(FunctionName::new).into(),
                ..Functions::default()
            },
            config: HubConfig {
                policy: OverridableStates::None,
                concurrent_activities: 1 + dice.below(4) as usize,
                concurrent_turns: 1 + dice.below(4) as usize,
                concurrent_entities: 1 + dice.below(3) as usize,
                entity_batch_max: 1 + dice.below(4) as usize,
                actions_max: 1_000,
                resident_bytes: [0, 1_000, 1_000_000][dice.below(3) as usize],
                residents_max: 100,
                due_page: 1 + dice.below(3) as usize,
                function_timeout: None,
                http_poll_wait: Duration::from_secs(30),
            },
            recorder: Arc::new(Recorder::off()),
            book: Book::default(),
        })
    }
}

fn random_plan(n: u64, dice: &mut Dice) -> Plan {
    let sometimes =
        |dice: &mut Dice, one_in| (dice.below(one_in) == 0).then(|| Duration::from_millis(dice.below(5_000)));
    Plan {
        id: format!("instance-{n}"),
        program: program::random(dice),
        racers: 1 + dice.below(5),
        terminate_after: sometimes(dice, 6),
        replace_after: sometimes(dice, 6),
        hold_after: sometimes(dice, 4),
        truth: Mutex::default(),
    }
}

/// Everything that clients do to one instance, until it has ended.
async fn client(hub: Arc<Hub>, plan: Arc<Plan>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut jobs = Vec::new();
    for _ in 0..plan.racers {
        let wait = Duration::from_millis(dice.below(4));
        jobs.push(tokio::spawn(starter(hub.clone(), plan.clone(), wait, OverridableStates::None)));
    }
    if let Some(after) = plan.replace_after {
        jobs.push(tokio::spawn(starter(hub.clone(), plan.clone(), after, OverridableStates::AnyState)));
    }
    if let Some(after) = plan.terminate_after {
        jobs.push(tokio::spawn(terminator(hub.clone(), plan.clone(), after)));
    }
    if let Some(after) = plan.hold_after {
        jobs.push(tokio::spawn(holder(hub.clone(), plan.clone(), after)));
    }
    // It does not stop at an end: a replacement may follow, and wait for events.
    let sender = tokio::spawn(sender(hub.clone(), plan.clone(), dice.next()));
    for job in jobs {
        job.await.expect("a client found an invariant broken");
    }
    loop {
        let was_accepted = plan.truth().accepted > 0;
        match hub.status(&plan.id, StatusWant::default()).await {
            Ok(Some(status)) if status.runtime_status.is_terminal() => break,
            Ok(Some(status)) => {
                assert_eq!(status.diagnostics.filter(|text| text.contains("Determ")), None, "it stalls")
            }
            Ok(None) => assert!(!was_accepted, "an accepted start is gone"),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(!sender.is_finished(), "the sender found an invariant broken");
    sender.abort();
}

async fn starter(hub: Arc<Hub>, plan: Arc<Plan>, wait: Duration, policy: OverridableStates) {
    tokio::time::sleep(wait).await;
    let replaces = policy == OverridableStates::AnyState;
    if replaces && plan.truth().replaced > 0 {
        return;
    }
    loop {
        if replaces {
            plan.truth().replaced += 1;
        } else {
            plan.truth().start_unknown += 1;
        }
        let start = StartNew {
            name: FunctionName::new("Program"),
            instance_id: Some(plan.id.clone()),
            input: Json::null(),
            policy: Some(policy),
            version: None,
            scheduled_start: None,
            tags: vec![],
            trace_context: None,
        };
        let answer = hub.start_new(start).await;
        plan.truth().start_unknown -= u64::from(!replaces);
        match answer {
            Ok(outcome) => {
                let mut truth = plan.truth();
                match outcome {
                    StartOutcome::Started { .. } if replaces => {}
                    StartOutcome::Started { .. } => truth.accepted += 1,
                    StartOutcome::AlreadyExists { .. } => {
                        assert!(!replaces, "AnyState is never refused");
                        truth.refused += 1;
                    }
                }
            }
            Err(ClientError::Storage(_)) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            Err(error) => panic!("a start was refused: {error}"),
        }
        let seen = hub.status(&plan.id, StatusWant::default()).await;
        assert!(!matches!(seen, Ok(None)), "a decided start must be seen by the next read");
        return;
    }
}

/// Raises numbered events, one after the other, until the instance has ended.
async fn sender(hub: Arc<Hub>, plan: Arc<Plan>, seed: u64) {
    let mut dice = Dice::new(seed);
    loop {
        tokio::time::sleep(Duration::from_millis(dice.below(3_000))).await;
        let was_accepted = plan.truth().accepted > 0;
        let number = plan.truth().next_event;
        // Until its answer is here nobody knows: a crash leaves it so.
        plan.truth().unknown.push(number);
        plan.truth().next_event += 1;
        let payload = Json::parse(number.to_string()).expect("a number");
        let answer = hub.raise_event(&plan.id, if dice.below(2) == 0 { "Evt" } else { "evt" }, payload).await;
        let mut truth = plan.truth();
        if answer.is_ok() {
            truth.acked.push(number);
        }
        truth.unknown.pop();
        match answer {
            Ok(()) | Err(ClientError::Gone(_)) => {}
            Err(ClientError::NotFound(_)) => assert!(!was_accepted, "an accepted start is gone"),
            Err(ClientError::Storage(_)) => {}
            Err(error) => panic!("an event was refused: {error}"),
        }
    }
}

async fn terminator(hub: Arc<Hub>, plan: Arc<Plan>, after: Duration) {
    tokio::time::sleep(after).await;
    loop {
        plan.truth().terminate_sent = true;
        match hub.terminate(&plan.id, "simulated").await {
            Ok(()) => {
                plan.truth().terminate_acked = true;
                let seen = hub.status(&plan.id, StatusWant::default()).await;
                if let Ok(seen) = seen {
                    let status = seen.expect("a terminated instance exists").runtime_status;
                    let may_be_replaced = plan.replace_after.is_some();
                    assert!(
                        status == RuntimeStatus::Terminated || may_be_replaced,
                        "the next read must show it: {status}"
                    );
                }
                return;
            }
            Err(ClientError::Gone(_)) => return,
            Err(ClientError::NotFound(_) | ClientError::Storage(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            Err(error) => panic!("a terminate was refused: {error}"),
        }
    }
}

/// Suspends the instance, and lets it go on a while later, however often that takes.
async fn holder(hub: Arc<Hub>, plan: Arc<Plan>, after: Duration) {
    tokio::time::sleep(after).await;
    for suspend in [true, false] {
        loop {
            let answer = if suspend { hub.suspend(&plan.id, "s").await } else { hub.resume(&plan.id, "r").await };
            match answer {
                Ok(()) => break,
                // Held in an earlier life, or replaced meanwhile.
                Err(ClientError::Conflict(_)) => break,
                Err(ClientError::Gone(_)) => return,
                Err(ClientError::NotFound(_) | ClientError::Storage(_)) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => panic!("a hold was refused: {error}"),
            }
        }
        if suspend {
            let seen = hub.status(&plan.id, StatusWant::default()).await;
            if let (Ok(Some(seen)), None) = (seen, plan.replace_after) {
                let status = seen.runtime_status;
                assert!(
                    status == RuntimeStatus::Suspended || status.is_terminal(),
                    "the next read must show it: {status}"
                );
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
}
