//! The commit path: starts and turns against SQLite storage, beside a bare append log in the same run.
//!
//! The log is what no storage can beat: records appended to one file by one thread, all that wait in one write and one
//! `fdatasync`. It decides nothing, indexes nothing and cannot be read.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use soloist::{
    durable::{
        Digest, ExecutionId, ExecutionStarted, HistoryEvent, InstanceId, Json, OverridableStates, RuntimeStatus,
        Summary, TaskScheduled, Timestamp, TurnNumber, TurnRecord,
    },
    storage::{Committed, Fence, Start, Started, Storage, TurnCommit, sqlite::Sqlite},
};
use tokio::sync::oneshot;

use crate::{
    crowd::{Crowd, Tally},
    report::{Row, Samples},
};

/// How many clients wait at once.
const WAITERS: [usize; 3] = [1, 32, 256];

/// Turns of an instance; the last one ends it.
const TURNS: u32 = 6;

/// Each point is measured this often, log and storage in turn; the median by rate is reported.
const ROUNDS: usize = 3;

const DURATION: Duration = Duration::from_secs(1);

/// The size of a record in the log: about what storage writes for a turn.
const LOG_RECORD_BYTES: usize = 83;

/// What one measurement found.
struct Measured {
    /// The acknowledgements, of starts too.
    samples: Samples,
    /// Turns (or records of the log) acknowledged per second. Starts are work that storage has and is not credited for.
    per_second: f64,
    commits: u64,
}

/// Measures at every number of waiters. Files are written below `target` if that exists: a memory file system would
/// measure nothing.
///
/// # Errors
/// When a file cannot be written, or storage refuses a commit.
pub fn run() -> Result<()> {
    let folder = crate::scratch()?;
    let crowd = Crowd::new()?;
    for waiters in WAITERS {
        let (mut storage, mut log) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            log.push(measure_log(&crowd, &folder.path().join(format!("log-{waiters}-{round}")), waiters)?);
            storage.push(measure_storage(&crowd, &folder.path().join(format!("hub-{waiters}-{round}.db")), waiters)?);
        }
        let (storage, log) = (median(storage), median(log));
        let ratio = storage.per_second / log.per_second;
        print(format!("bare log, {waiters} waiters"), log, String::new());
        print(format!("storage, {waiters} waiters"), storage, format!(", {ratio:.3} of the log"));
    }
    Ok(())
}

fn print(name: String, measured: Measured, ratio: String) {
    let Measured { samples, per_second, commits } = measured;
    let per_commit = samples.len() as f64 / commits.max(1) as f64;
    let note = format!("{per_second:.0} turns/s, {per_commit:.1} a commit{ratio}");
    Row::new("commit", name, samples).commits(Some(commits)).note(note).print();
}

fn median(mut rounds: Vec<Measured>) -> Measured {
    rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    rounds.swap_remove(rounds.len() / 2)
}

fn measure_storage(crowd: &Crowd, path: &Path, waiters: usize) -> Result<Measured> {
    let storage = Arc::new(Sqlite::open(path)?);
    let measured = measure(
        crowd,
        waiters,
        |client| {
            let storage = Arc::clone(&storage);
            async move {
                let (mut tally, until) = (Tally::default(), Instant::now() + DURATION);
                let mut instance = 0;
                while Instant::now() < until {
                    one_instance(&*storage, &format!("client-{client}-instance-{instance}"), &mut tally).await?;
                    instance += 1;
                }
                Ok(tally)
            }
        },
        || storage.commits(),
    )?;
    Ok(measured)
}

async fn one_instance(storage: &dyn Storage, id: &str, tally: &mut Tally) -> Result<()> {
    let began = Instant::now();
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
    tally.add(began);
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

/// A record for the log, and whom to tell.
type Append = ([u8; LOG_RECORD_BYTES], oneshot::Sender<()>);

fn measure_log(crowd: &Crowd, path: &Path, waiters: usize) -> Result<Measured> {
    let mut file = File::options().create_new(true).append(true).open(path).context("opening the log")?;
    let (queue, appends) = mpsc::channel::<Append>();
    let commits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&commits);
    let thread = std::thread::spawn(move || -> std::io::Result<()> {
        let mut bytes = Vec::new();
        while let Ok(first) = appends.recv() {
            let batch: Vec<Append> = std::iter::once(first).chain(appends.try_iter().take(4095)).collect();
            bytes.clear();
            batch.iter().for_each(|(record, _)| bytes.extend_from_slice(record));
            file.write_all(&bytes)?;
            file.sync_data()?;
            counted.fetch_add(1, Ordering::Relaxed);
            for (_, reply) in batch {
                let _ = reply.send(());
            }
        }
        Ok(())
    });
    let measured = measure(
        crowd,
        waiters,
        |_client| {
            let queue = queue.clone();
            async move {
                let (mut tally, until) = (Tally::default(), Instant::now() + DURATION);
                while Instant::now() < until {
                    let began = Instant::now();
                    let (reply, answer) = oneshot::channel();
                    queue.send(([7; LOG_RECORD_BYTES], reply)).context("the log's thread has ended")?;
                    answer.await.context("the log's thread has ended")?;
                    tally.add(began);
                }
                Ok(tally)
            }
        },
        || commits.load(Ordering::Relaxed),
    )?;
    drop(queue);
    thread.join().expect("the log's thread does not panic")?;
    Ok(measured)
}

/// Runs so many clients at once.
fn measure<C>(crowd: &Crowd, waiters: usize, client: impl Fn(usize) -> C, commits: impl Fn() -> u64) -> Result<Measured>
where
    C: Future<Output = Result<Tally>> + Send + 'static,
{
    let before = commits();
    let (samples, uncounted) = crowd.measure(waiters, client)?;
    let turns = (samples.len() - uncounted) as f64 / samples.len() as f64;
    Ok(Measured { per_second: samples.per_second() * turns, commits: commits() - before, samples })
}
