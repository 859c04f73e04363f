//! The commit path: starts and turns against SQLite storage, beside a bare append log in the same run.
//!
//! The log is what no storage can beat: records appended to one file by one thread, all that wait in one write and one
//! `fdatasync`. It decides nothing, indexes nothing and cannot be read.

use std::{
    fmt,
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

/// How many clients wait at once.
const WAITERS: [usize; 3] = [1, 32, 256];

/// Turns of an instance; the last one ends it.
const TURNS: u32 = 6;

/// Each point is measured this often, log and storage in turn; the median is reported.
const ROUNDS: usize = 3;

const DURATION: Duration = Duration::from_secs(2);

/// The size of a record in the log: about what storage writes for a turn.
const LOG_RECORD_BYTES: usize = 83;

/// What one measurement found.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Turns (or records of the log) acknowledged per second.
    pub per_second: f64,
    /// Half of the acknowledgements, of starts too, took no longer.
    pub p50: Duration,
    /// 99 of 100 acknowledgements took no longer.
    pub p99: Duration,
    /// How many acknowledgements shared a commit.
    pub per_commit: f64,
}

/// The medians at one number of waiters.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The number of waiters.
    pub waiters: usize,
    /// Storage.
    pub storage: Measured,
    /// The bare log.
    pub log: Measured,
}

impl Point {
    /// Turns per second against records per second of the log. Starts are work that storage has and is not credited for.
    pub fn ratio(&self) -> f64 {
        self.storage.per_second / self.log.per_second
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waiters, storage, log } = self;
        for (name, measured) in [("storage", storage), ("log", log)] {
            writeln!(
                f,
                "{waiters:>4} waiters  {name:<8} {:>9.0}/s  p50 {:>7.0} us  p99 {:>7.0} us  {:>6.1} per commit",
                measured.per_second,
                measured.p50.as_secs_f64() * 1e6,
                measured.p99.as_secs_f64() * 1e6,
                measured.per_commit,
            )?;
        }
        write!(f, "{waiters:>4} waiters  ratio    {:.3}", self.ratio())
    }
}

/// Measures every point and prints it. Files are written below `target` if that exists (a memory file system would
/// measure nothing), else in the system's folder for temporary files.
///
/// # Errors
/// When a file cannot be written, or storage refuses a commit.
pub fn run() -> Result<Vec<Point>> {
    let folder = if Path::new("target").is_dir() { tempfile::tempdir_in("target")? } else { tempfile::tempdir()? };
    println!("commit path, in {}: an instance is a start and {TURNS} turns", folder.path().display());
    let mut points = Vec::new();
    for waiters in WAITERS {
        let (mut storage, mut log) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            log.push(measure_log(&folder.path().join(format!("log-{waiters}-{round}")), waiters)?);
            storage.push(measure_storage(&folder.path().join(format!("hub-{waiters}-{round}.db")), waiters)?);
        }
        let point = Point { waiters, storage: median(storage), log: median(log) };
        println!("{point}");
        points.push(point);
    }
    Ok(points)
}

fn median(mut rounds: Vec<Measured>) -> Measured {
    rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    rounds[rounds.len() / 2]
}

/// Acknowledgements of one client.
#[derive(Default)]
struct Tally {
    latencies: Vec<Duration>,
    turns: u64,
}

impl Tally {
    fn add(&mut self, began: Instant, is_turn: bool) {
        self.latencies.push(began.elapsed());
        self.turns += u64::from(is_turn);
    }
}

fn measure_storage(path: &Path, waiters: usize) -> Result<Measured> {
    let storage = Arc::new(Sqlite::open(path)?);
    let measured = measure(
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
    tally.add(began, false);
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
            notify: None,
            next: None,
            previous_due: None,
        };
        let committed = storage.commit_turn(commit).await?;
        anyhow::ensure!(matches!(committed, Committed::Committed(_)), "turn {number} of {id} is fenced");
        tally.add(began, true);
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

fn measure_log(path: &Path, waiters: usize) -> Result<Measured> {
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
                    tally.add(began, true);
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
fn measure<C>(waiters: usize, client: impl Fn(usize) -> C, commits: impl Fn() -> u64) -> Result<Measured>
where
    C: Future<Output = Result<Tally>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (before, began) = (commits(), Instant::now());
    let clients: Vec<_> = (0..waiters).map(|number| runtime.spawn(client(number))).collect();
    let (mut latencies, mut turns) = (Vec::new(), 0);
    for client in clients {
        let tally = runtime.block_on(client)??;
        latencies.extend(tally.latencies);
        turns += tally.turns;
    }
    let elapsed = began.elapsed();
    anyhow::ensure!(!latencies.is_empty(), "nothing was acknowledged");
    latencies.sort_unstable();
    let per_commit = latencies.len() as f64 / (commits() - before).max(1) as f64;
    Ok(Measured {
        per_second: turns as f64 / elapsed.as_secs_f64(),
        p50: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
        per_commit,
    })
}
