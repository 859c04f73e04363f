//! One world: a few instances, their clients, and a host that lives, ends in the midst of its work and lives again on the same
//! storage.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64},
    },
    time::Duration,
};

use soloist::{
    ambient::Ambient,
    durable::{Digest, FunctionName, OverridableStates},
    flight::Book,
    hub::{Functions, Hub, HubConfig, HubParts, Orchestrator},
    storage::{Storage, memory::Memory},
};
use tokio::sync::Notify;

use crate::{
    bugs::{Bug, Buggy},
    check,
    clients::{self, Context},
    dice::{Clock, Dice, Life, Of, Tally},
    entity_world,
    faults::{Ending, Faults, Faulty, Recorder},
    guest::{Programs, Script, Slots},
    operator,
    plan::Plan,
    timer_oracle::Oracle,
    timers::{self, Timers},
};

/// A life that lasts longer than this, by its own clock, has lost something.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Where a world's data is: opened once for each life.
pub type Open = Arc<dyn Fn() -> Arc<dyn Storage> + Send + Sync>;

/// What a world is made of.
pub struct Setup {
    pub seed: u64,
    pub faults: Faults,
    /// A mistake that is to be found.
    pub bug: Option<&'static Bug>,
    /// Real threads and real time, so many times as fast.
    pub pace: Option<u32>,
    pub open: Open,
}

impl Setup {
    /// A simulated world over memory.
    pub fn of_seed(seed: u64) -> Self {
        let memory = Memory::new();
        let open: Open = Arc::new(move || Arc::new(memory.handle()));
        Self { seed, faults: Faults::of_seed(seed), bug: None, pace: None, open }
    }
}

pub struct World {
    setup: Setup,
    plans: Vec<Arc<Plan>>,
    entities: Arc<entity_world::Clients>,
    timers: Arc<Vec<timers::Function>>,
    clock: Arc<Clock>,
    tally: Arc<Tally>,
    recorder: Arc<Recorder>,
    ran: Arc<Mutex<BTreeSet<(String, u32, u32)>>>,
    trace: Arc<Mutex<Vec<String>>>,
    sweeps: bool,
}

impl World {
    /// Runs a world to its end, checks every invariant, and tells what it did.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn run(setup: Setup) -> Arc<Tally> {
        Self::live(setup).tally.clone()
    }

    /// What happened, call by call.
    pub fn trace(seed: u64) -> Vec<String> {
        let world = Self::live(Setup::of_seed(seed));
        world.trace.lock().expect("alone").clone()
    }

    fn live(setup: Setup) -> Self {
        let mut dice = Dice::new(setup.seed);
        let instances = 2 + dice.below(4);
        let plans = (0..instances).map(|n| Arc::new(Plan::random(n, instances, &mut dice))).collect();
        let (is_loose, tally) = (setup.pace.is_some(), Arc::<Tally>::default());
        let timers = Arc::new(timers::of_seed(setup.seed));
        let oracle = Mutex::new(Oracle::new(&timers, is_loose, tally.clone()));
        let recorder = Recorder { is_loose, timers: oracle, ..Recorder::default() };
        let world = Self {
            plans,
            entities: Arc::new(entity_world::Clients::random(&mut dice)),
            timers,
            clock: Arc::new(Clock::new(setup.pace.unwrap_or(1))),
            tally,
            recorder: Arc::new(recorder),
            ran: Arc::default(),
            trace: Arc::default(),
            sweeps: dice.one_in(4),
            setup,
        };
        let mut ends = world.setup.faults.ends;
        let mut jumps = world.setup.faults.jumps;
        loop {
            let ending = match dice.below(6) {
                _ if ends == 0 => Ending::Done,
                0 => Ending::Stop,
                1 => Ending::Poison,
                _ => Ending::Crash,
            };
            let ended = world.one_life(&mut dice, ending, std::mem::take(&mut jumps));
            if !ended {
                world.tally.count(Of::Work, "seeds");
                let graves = world.recorder.graves.lock().expect("alone");
                check::graves(&graves, world.setup.seed);
                drop(graves);
                return world;
            }
            ends = ends.saturating_sub(1);
            world.clock.jump(dice.below(20_000_000) as i64);
        }
    }

    fn runtime(&self) -> tokio::runtime::Runtime {
        match self.setup.pace {
            None => tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build(),
            Some(_) => tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build(),
        }
        .expect("a runtime")
    }

    /// One life of the host. True if it ended before the work was done.
    fn one_life(&self, dice: &mut Dice, ending: Ending, jumps: u64) -> bool {
        let runtime = self.runtime();
        let mut own = Dice::new(dice.next());
        let ended = runtime.block_on(async {
            let ahead = Duration::from_millis(self.setup.bug.map_or(0, |bug| bug.clock_ahead_ms));
            let life = Arc::new(Life::new(self.clock.clone(), ahead));
            let storage = self.storage(&life, ending, &mut own);
            let timers = Timers::new(self.timers.clone(), life.clone(), self.recorder.clone(), self.setup.seed);
            let timers = Arc::new(timers);
            let (hub, slots) = self.start_hub(&life, &storage, timers.clone(), &mut own);
            let context = Arc::new(Context {
                seed: self.setup.seed,
                hub: hub.clone(),
                life: life.clone(),
                real: storage.real.clone(),
                recorder: self.recorder.clone(),
                tally: self.tally.clone(),
                plans: self.plans.clone(),
                entities: self.entities.clone(),
                timers: timers.clone(),
                slots,
            });
            timers.begin(&context);
            (0..jumps).for_each(|_| self.jump_some_time(&life, &mut own));
            let before = storage.real.commits();
            let stop_after = own.below(8_000);
            let ended = tokio::select! {
                biased;
                () = self.recorder.is_broken.notified() => self.broken(),
                () = storage.crash.notified() => true,
                error = hub.failed() => {
                    assert_eq!(ending, Ending::Poison, "storage failed by itself: {error}");
                    true
                }
                () = self.stop(&hub, &life, ending, stop_after) => true,
                () = work(&context, &mut own, self.sweeps) => false,
                () = life.nap(self.patience()) => self.give_up(&*storage.real).await,
            };
            self.recorder.timers(&life, |oracle, moment| oracle.life_ends(moment));
            let figures = hub.figures();
            self.tally.add(Of::Work, "replays", figures.replays);
            self.tally.add(Of::Work, "commits", storage.real.commits() - before);
            self.clock.jump(life.elapsed_micros());
            ended
        });
        match self.setup.pace {
            None => runtime.shutdown_background(),
            // What still runs must not reach into the next life.
            Some(_) => runtime.shutdown_timeout(Duration::from_secs(10)),
        }
        self.recorder.in_flight.wait();
        if let Some(broken) = self.recorder.broken.lock().expect("alone").take() {
            panic!("seed {}: {broken}", self.setup.seed);
        }
        ended
    }

    /// In a time that goes fast a busy machine needs more of it.
    fn patience(&self) -> Duration {
        if self.recorder.is_loose { PATIENCE * 10 } else { PATIENCE }
    }

    fn broken(&self) -> bool {
        let broken = self.recorder.broken.lock().expect("no panic while it is locked").take();
        panic!("seed {}: {}", self.setup.seed, broken.unwrap_or_default());
    }

    fn jump_some_time(&self, life: &Arc<Life>, dice: &mut Dice) {
        let (after, by) = (dice.below(10_000), dice.below(40_000_000) as i64 - 20_000_000);
        let (life, tally) = (life.clone(), self.tally.clone());
        tokio::spawn(async move {
            life.nap_millis(after).await;
            tally.count(Of::Fault, if by < 0 { "clock set back" } else { "clock set forward" });
            life.jump(by);
        });
    }

    async fn stop(&self, hub: &Hub, life: &Life, ending: Ending, after_ms: u64) {
        if ending != Ending::Stop {
            std::future::pending::<()>().await;
        }
        life.nap_millis(after_ms).await;
        self.tally.count(Of::Fault, "hub stopped at work");
        self.recorder.timers(life, |oracle, _| {
            oracle.stops(true);
            Ok(())
        });
        hub.stop();
        life.nap_millis(after_ms % 700).await;
    }

    fn storage(&self, life: &Arc<Life>, ending: Ending, dice: &mut Dice) -> Arc<Faulty> {
        let calls = match ending {
            Ending::Crash | Ending::Poison => 1 + dice.below(160) as i64,
            Ending::Done | Ending::Stop => i64::MAX,
        };
        let real = (self.setup.open)();
        let under = match self.setup.bug.and_then(|bug| bug.storage) {
            Some(mistake) => Arc::new(Buggy::new(real.clone(), life.clone(), mistake, dice.next())),
            None => real.clone(),
        };
        Arc::new(Faulty {
            real,
            under,
            life: life.clone(),
            dice: Mutex::new(Dice::new(dice.next())),
            faults: self.setup.faults,
            ending,
            calls_to_end: AtomicI64::new(calls),
            crashed: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            crash: Notify::new(),
            tally: self.tally.clone(),
            recorder: self.recorder.clone(),
            last_turns: Mutex::default(),
            trace: self.trace.clone(),
        })
    }

    /// Tells what is known of the instances that did not end.
    async fn give_up(&self, real: &dyn Storage) -> bool {
        let want = soloist::storage::Want { input: true, history: true };
        let mut told = String::new();
        for open in real.open_instances(None, 20).await.expect("the real storage answers") {
            let inbox = real.load(open.instance).await.expect("the real storage answers").map(|loaded| loaded.inbox);
            told += &format!("its inbox: {:?}\n", inbox.map(|inbox| inbox.into_iter().take(5).collect::<Vec<_>>()));
            let snapshot = real.snapshot(open.id, want).await.expect("the real storage answers");
            let Some(snapshot) = snapshot else { continue };
            let history = snapshot.history.unwrap_or_default();
            let last = &history[history.len().saturating_sub(3)..];
            told += &format!("{} {:?} {last:#?}\n", snapshot.id, snapshot.summary);
        }
        panic!("seed {}: an instance did not end in {:?} of its time\n{told}", self.setup.seed, self.patience())
    }

    fn start_hub(
        &self,
        life: &Arc<Life>,
        storage: &Arc<Faulty>,
        timers: Arc<Timers>,
        dice: &mut Dice,
    ) -> (Arc<Hub>, Slots) {
        let programs = self.plans.iter().map(|plan| (plan.id.clone(), (plan.program.clone(), plan.quirks.clone())));
        let ambient: Arc<dyn Ambient> = life.clone();
        let mut script = Script {
            slots: Slots::new(0),
            programs: Arc::new(programs.collect::<Programs>()),
            life: life.clone(),
            dice: Mutex::new(Dice::new(dice.next())),
            evict_one_in: [0, 2, 5][dice.below(3) as usize],
            storage: storage.real.clone(),
            ran: self.ran.clone(),
            tally: self.tally.clone(),
            recorder: self.recorder.clone(),
            running: entity_world::Running::default(),
            timers,
            other_entropy: self.setup.bug.is_some_and(|bug| bug.other_entropy),
        };
        let orchestrators = ["Program", "Child", "FailingChild", "FragileChild", "FragileParent"].map(|name| {
            let name = FunctionName::new(name);
            let orchestrator = Orchestrator {
                name: name.clone(),
                handler: "Program".into(),
                component: Digest([1; 32]),
                contract: "1.0.0".into(),
            };
            (name, Arc::new(orchestrator))
        });
        let (concurrent_activities, concurrent_turns) = (1 + dice.below(4) as usize, 1 + dice.below(4) as usize);
        let residents_max = [100, 1, 100, 3][self.setup.seed as usize % 4];
        // As many as a host has.
        let slots = Slots::new(concurrent_turns + residents_max);
        script.slots = slots.clone();
        let hub = Hub::start(HubParts {
            storage: storage.clone(),
            executor: Arc::new(script),
            ambient,
            functions: Functions {
                orchestrators: BTreeMap::from(orchestrators),
                entities: entity_world::FUNCTIONS.map(FunctionName::new).into(),
                ..Functions::default()
            },
            config: HubConfig {
                policy: OverridableStates::None,
                concurrent_activities,
                concurrent_turns,
                actions_max: 1_000,
                resident_bytes: [0, 1_000, 1_000_000, 1_000_000][dice.below(4) as usize],
                residents_max,
                due_page: 1 + dice.below(3) as usize,
                function_timeout: None,
                concurrent_entities: 1 + dice.below(3) as usize,
                entity_batch_max: 1 + dice.below(4) as usize,
                http_poll_wait: Duration::from_secs(30),
                retention: soloist::hub::Retention::default(),
            },
            recorder: Arc::new(soloist::flight::Recorder::off()),
            book: Book::default(),
        });
        (hub, slots)
    }
}

/// Prints what happened, if one seed is asked for, whether it broke an invariant or not.
impl Drop for World {
    fn drop(&mut self) {
        if std::env::var("SOLOIST_SEED").is_ok() {
            let trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
            trace.iter().for_each(|line| println!("{line}"));
        }
    }
}

/// All that clients do, until nothing is left to do and nothing is left over.
async fn work(context: &Arc<Context>, dice: &mut Dice, sweeps: bool) {
    let clients =
        context.plans.iter().map(|plan| tokio::spawn(clients::client(context.clone(), plan.clone(), dice.next())));
    let mut clients: Vec<_> = clients.collect();
    clients.push(tokio::spawn(entity_world::client(context.clone(), dice.next())));
    let mut operator = tokio::spawn(operator::operate(context.clone(), dice.next(), sweeps));
    let all = async {
        futures::future::try_join_all(clients).await.expect("a client found an invariant broken");
        operator::settle(context).await;
    };
    tokio::select! {
        biased;
        ended = &mut operator => ended.expect("the operator found an invariant broken"),
        () = all => operator.abort(),
    }
}
