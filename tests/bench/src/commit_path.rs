//! The commit path: starts and turns against SQLite storage, without a host, beside the bare append log.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use soloist::{
    durable::{
        Digest, ExecutionId, ExecutionStarted, HistoryEvent, InstanceId, Json, OverridableStates, RuntimeStatus,
        Summary, TaskScheduled, Timestamp, TurnNumber, TurnRecord,
    },
    storage::{Committed, Fence, Start, Started, Storage, TurnCommit, sqlite::Sqlite},
};

use crate::{
    bench::Bench,
    crowd::{Crowd, Tally},
    machine,
    raw::{self, CLIENTS},
    report::{Figure, Ratio, Round},
};

/// Turns of an instance; the last one ends it.
const TURNS: u32 = 6;

/// Measures at every number of waiters, log and storage in turn. Starts are work that storage has and is not credited for.
///
/// # Errors
/// When a file cannot be written, or storage refuses a commit.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = crate::scratch()?;
    for waiters in CLIENTS {
        let mut logs = Vec::new();
        let rounds = bench.rounds(|round| {
            let file = |kind: &str| folder.path().join(format!("{kind}-{waiters}-{round}"));
            logs.push(raw::append_log(&bench.crowd, &file("log"), waiters, bench.plan.duration)?);
            storage(&bench.crowd, &file("hub"), waiters, bench.plan.duration)
        })?;
        let log = Figure::new("commit", format!("append log, {waiters} waiters"), logs);
        let figure = Figure::new("commit", format!("turns committed to storage, {waiters} waiters"), rounds);
        let value = figure.per_second() / log.per_second().max(1e-9);
        bench.show(log);
        bench.show(figure.ratio(Some(Ratio { value, of: format!("the log at {waiters}") })));
    }
    Ok(())
}

fn storage(crowd: &Crowd, path: &Path, waiters: usize, duration: Duration) -> Result<Round> {
    let storage = Arc::new(Sqlite::open(path)?);
    let flushes = machine::disk_flushes(path);
    let (samples, _) = crowd.measure(waiters, |client| {
        let storage = Arc::clone(&storage);
        async move {
            let (mut tally, until) = (Tally::default(), Instant::now() + duration);
            let mut instance = 0;
            while Instant::now() < until {
                one_instance(&*storage, &format!("client-{client}-instance-{instance}"), &mut tally).await?;
                instance += 1;
            }
            Ok(tally)
        }
    })?;
    let flushes = machine::disk_flushes(path).zip(flushes).map(|(after, before)| after - before);
    Ok(Round { commits: Some(storage.commits()), flushes, ..Round::of(samples) })
}

async fn one_instance(storage: &dyn Storage, id: &str, tally: &mut Tally) -> Result<()> {
    let start = Start {
        fence: Fence::default(),
        id: InstanceId::parse(id)?,
        policy: OverridableStates::NonRunningStates,
        time: Timestamp(1),
        started: Arc::new(started(id)),
    };
    let Started::Started { instance, generation, .. } = storage.start(start).await? else {
        anyhow::bail!("{id} exists");
    };
    tally.uncounted += 1;
    for number in 1..=TURNS {
        let began = Instant::now();
        let commit = TurnCommit {
            fence: Fence::default(),
            instance,
            generation,
            number: TurnNumber(number),
            record: Arc::new(turn(number)),
            took: Vec::new(),
            children: Vec::new(),
            messages: Vec::new(),
            notify: None,
            next: None,
            previous_due: None,
        };
        let committed = storage.commit_turn(commit).await?;
        anyhow::ensure!(matches!(committed, Committed::Committed(_)), "turn {number} of {id} is fenced");
        tally.add(began);
    }
    Ok(())
}

fn started(id: &str) -> ExecutionStarted {
    ExecutionStarted {
        name: "E1_HelloSequence".to_owned(),
        handler: "hello_sequence".to_owned(),
        version: None,
        execution_id: ExecutionId(id.into()),
        component: Digest([7; 32]),
        contract: "1.0.0".to_owned(),
        input: Json::string(&"x".repeat(100)),
        parent: None,
        tags: Vec::new(),
        trace_context: None,
        scheduled_start: None,
    }
}

fn turn(number: u32) -> TurnRecord {
    let completed = HistoryEvent::TaskCompleted { sequence: number, result: Json::string("Hello Tokyo, and others!") };
    let (event, status, outstanding) = if number == TURNS {
        (HistoryEvent::ExecutionCompleted { output: Json::string("Hello all") }, RuntimeStatus::Completed, 0)
    } else {
        let task = TaskScheduled {
            sequence: number + 1,
            name: "E1_SayHello".to_owned(),
            input: Json::string("Tokyo, and others"),
            retry: None,
            timeout_ms: None,
            tags: Vec::new(),
        };
        (HistoryEvent::TaskScheduled(task), RuntimeStatus::Running, 1)
    };
    TurnRecord {
        time: Timestamp(1_795_217_333_372_123),
        events: vec![completed, event],
        summary: Summary { status, custom_status: None, next_due: None, outstanding },
    }
}
