//! Turns of an orchestrator: on a guest that is resident, and on a new one that replays what came before.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use soloist::{
    durable::{
        Action, Digest, ExecutionId, ExecutionStarted, GuestEvent, GuestOutcome, GuestTurn, InstanceId, Json, Timestamp,
    },
    hub::{Executor, OrchestratorCall, OrchestratorGuest},
};

use crate::{
    bench::Bench,
    guests::{self, TestApp},
    report::{Figure, Round, Samples},
};

/// How many turns came before, and how often the next one is measured.
const REPLAYS: [(u32, usize); 5] = [(0, 2000), (10, 2000), (100, 500), (1000, 100), (10_000, 20)];

/// Turns of a resident guest.
const RESIDENT_TURNS: u32 = 5000;

/// Measures each.
///
/// # Errors
/// If a guest fails, or does not do what its function does.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = crate::scratch()?;
    let app = bench.crowd.run(guests::deploy(&bench.component, folder.path()))?;
    let rounds = bench.rounds(|_| Ok(Round::of(bench.crowd.run(resident(&app))?)))?;
    let resident = Figure::new("turn", "resident guest", rounds);
    let base = resident.percentile(50);
    bench.show(resident);
    for (steps, samples) in REPLAYS {
        let samples = bench.plan.count(samples, samples / 20);
        let rounds = bench.rounds(|_| Ok(Round::of(bench.crowd.run(replayed(&app, steps, samples))?)))?;
        let figure = Figure::new("turn", format!("new guest, replay of {steps} steps"), rounds);
        let ratio = figure.percentile(50).as_secs_f64() / base.as_secs_f64();
        let per_step = figure.percentile(50).as_secs_f64() * 1e6 / f64::from(steps.max(1));
        bench.show(figure.note(format!("{ratio:.1} resident turns, {per_step:.2} us per step")));
    }
    Ok(())
}

async fn resident(app: &TestApp) -> Result<Samples> {
    let mut guest = guest(app).await?;
    guest.turn(false, 1, &first_turn(app.digest)?).await?;
    let (mut taken, began) = (Vec::new(), Instant::now());
    for sequence in 0..RESIDENT_TURNS {
        let events = step(sequence)?;
        let began = Instant::now();
        let turn = guest.turn(false, 1, &events).await?;
        taken.push(began.elapsed());
        check(&turn, sequence + 1)?;
    }
    Ok(Samples::new(taken, began.elapsed()))
}

/// The turn after so many steps on a guest that is made for it: what an evicted instance costs.
async fn replayed(app: &TestApp, steps: u32, samples: usize) -> Result<Samples> {
    let mut history = first_turn(app.digest)?;
    for sequence in 0..steps {
        history.extend(step(sequence)?);
    }
    let next = step(steps)?;
    let (mut taken, mut total) = (Vec::new(), Duration::ZERO);
    for _ in 0..samples {
        let began = Instant::now();
        let mut guest = guest(app).await?;
        guest.turn(true, steps + 1, &history).await?;
        let turn = guest.turn(false, 1, &next).await?;
        taken.push(began.elapsed());
        drop(guest);
        total += began.elapsed();
        check(&turn, steps + 1)?;
    }
    Ok(Samples::new(taken, total))
}

async fn guest(app: &TestApp) -> Result<Box<dyn OrchestratorGuest>> {
    let call = OrchestratorCall {
        component: app.digest,
        handler: "Chain".to_owned(),
        name: "Chain".to_owned(),
        instance_id: InstanceId::parse("bench")?,
        execution_id: execution(),
    };
    Ok(app.wasm.orchestrator(call, app.wasm.slot().await).await?)
}

fn execution() -> ExecutionId {
    ExecutionId("00000000000040008000000000000000".into())
}

fn first_turn(component: Digest) -> Result<Vec<GuestEvent>> {
    let started = ExecutionStarted {
        name: "Chain".to_owned(),
        handler: "Chain".to_owned(),
        version: None,
        execution_id: execution(),
        component,
        contract: "1.0.0".to_owned(),
        input: Json::parse(r#"{"token":1,"steps":100000}"#)?,
        parent: None,
        tags: Vec::new(),
        trace_context: None,
        scheduled_start: None,
    };
    Ok(vec![GuestEvent::TurnStarted(Timestamp(1)), GuestEvent::ExecutionStarted(started.into())])
}

fn step(sequence: u32) -> Result<[GuestEvent; 2]> {
    let result = Json::parse(sequence.to_string())?;
    Ok([
        GuestEvent::TurnStarted(Timestamp(1_795_217_333_372_123 + i64::from(sequence))),
        GuestEvent::TaskCompleted(sequence, result),
    ])
}

/// The turn scheduled the next step.
fn check(turn: &GuestTurn, sequence: u32) -> Result<()> {
    let is_next = |action: &Action| matches!(action, Action::ScheduleTask(task) if task.sequence == sequence);
    ensure!(turn.outcome == GuestOutcome::Waiting && turn.actions.iter().any(is_next), "unexpected: {turn:?}");
    Ok(())
}
