//! The commit thread: takes all operations that wait into one transaction, and answers each once that is durable.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{error, readers::Gate, schema};
use crate::storage::{StorageError, StorageFuture};

/// At most this many operations share a commit.
const BATCH_MAX: usize = 4096;

/// At most this many operations wait; one more is answered [`StorageError::Busy`].
const QUEUE_MAX: usize = 65_536;

/// How long a commit waits for as many operations as the ones before it had. Without it, those who were answered by the
/// last commit and come back at once miss the next.
const GATHER_MAX: Duration = Duration::from_micros(100);

/// When the log is so many times longer than it is to become (128 MB), readers are held back for a moment, so that it can
/// begin anew.
const LOG_LENGTHS_MAX: i64 = 8;

/// How long reads under way are waited for then; if they take longer, a later commit tries again.
const READERS_PATIENCE: Duration = Duration::from_millis(50);

/// A transaction that operations write into.
pub(super) struct Batch<'c> {
    conn: &'c Connection,
    /// The last key that was given out, once an operation has asked for it.
    last_key: Cell<Option<i64>>,
}

impl<'c> Batch<'c> {
    pub(super) fn conn(&self) -> &'c Connection {
        self.conn
    }

    /// A new key: one ascending series for instances and generations. Read and written once per transaction.
    pub(super) fn next_key(&self) -> Result<i64, StorageError> {
        let last = match self.last_key.get() {
            Some(last) => last,
            None => self
                .conn
                .prepare_cached("SELECT value FROM meta WHERE name = 'last_key'")?
                .query_row((), |row| row.get(0))?,
        };
        self.last_key.set(Some(last + 1));
        Ok(last + 1)
    }

    fn finish(&self) -> Result<(), StorageError> {
        if let Some(last) = self.last_key.get() {
            self.conn.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'last_key'")?.execute([last])?;
        }
        Ok(())
    }
}

/// An operation that waits. Its transaction may be rolled back and run again, so `run` changes nothing but the database.
trait Operation: Send {
    fn run(&mut self, batch: &Batch<'_>) -> Result<(), StorageError>;
    /// Tells the caller: what `run` decided, or why it is not so.
    fn answer(self: Box<Self>, result: Result<(), StorageError>);
}

struct Job<T, F> {
    decide: F,
    decided: Option<T>,
    reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<T: Send, F: Fn(&Batch<'_>) -> Result<T, StorageError> + Send> Operation for Job<T, F> {
    fn run(&mut self, batch: &Batch<'_>) -> Result<(), StorageError> {
        self.decided = Some((self.decide)(batch)?);
        Ok(())
    }

    fn answer(self: Box<Self>, result: Result<(), StorageError>) {
        let decided = self.decided;
        let answer = result.map(|()| decided.expect("an operation is answered well only after it ran"));
        // The caller may have stopped waiting; what it asked for holds all the same.
        let _ = self.reply.send(answer);
    }
}

/// What threads of one handle tell each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Why nothing is accepted any more.
    poison: OnceLock<String>,
    commits: AtomicU64,
    /// Holds readers back for a moment.
    pub(super) gate: Gate,
}

impl Shared {
    /// Ends the acceptance of anything, for ever.
    pub(super) fn poison(&self, why: &str) {
        if self.poison.set(why.to_owned()).is_ok() {
            tracing::error!(%why, "storage failed and accepts nothing more");
        }
    }

    pub(super) fn poisoned(&self) -> Option<StorageError> {
        self.poison.get().map(|why| StorageError::Poisoned(why.clone()))
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

/// The queue of the commit thread, and the thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    queue: SyncSender<Box<dyn Operation>>,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Writer {
    pub(super) fn spawn(conn: Connection, shared: Arc<Shared>, checkpoint_pages: i64) -> std::io::Result<Self> {
        let (queue, operations) = sync_channel(QUEUE_MAX);
        let (end, ended) = oneshot::channel::<()>();
        let commits = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("soloist-commit".to_owned()).spawn(move || {
            CommitThread { conn, shared: commits, operations, recent: 1.0, checkpoint_pages }.run();
            drop(end);
        })?;
        Ok(Self { shared, running: Mutex::new(Some(Running { queue, thread, ended })) })
    }

    /// Puts an operation into the queue, at once; the future is its answer.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        decide: impl Fn(&Batch<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> StorageFuture<'static, T> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Job { decide, decided: None, reply });
        let sent = match &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(running) => running.queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => StorageError::Busy(format!("{QUEUE_MAX} commits wait already")),
                TrySendError::Disconnected(_) => StorageError::Poisoned("the commit thread has ended".to_owned()),
            }),
            None => Err(StorageError::Poisoned("it is closed".to_owned())),
        };
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| {
                Err(shared.poisoned().unwrap_or(StorageError::Poisoned("the commit thread has ended".to_owned())))
            })
        })
    }

    /// Ends the thread after everything accepted is durable.
    pub(super) async fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { queue, thread, ended }) = running {
            drop(queue);
            // An error is the sender's end, which is the thread's.
            let _ = ended.await;
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { queue, thread, ended: _ }) = running {
            drop(queue);
            // Ends once the queue is empty: what was accepted becomes durable.
            let _ = thread.join();
        }
    }
}

struct CommitThread {
    conn: Connection,
    shared: Arc<Shared>,
    operations: Receiver<Box<dyn Operation>>,
    /// How many operations recent commits had.
    recent: f64,
    /// How long the log may become.
    checkpoint_pages: i64,
}

impl CommitThread {
    fn run(mut self) {
        while let Ok(first) = self.operations.recv() {
            let batch = self.gather(first);
            // A panic drops the batch, which tells its callers; whether it is stored is not known.
            if catch_unwind(AssertUnwindSafe(|| self.commit(batch))).is_err() {
                self.shared.poison("the commit thread panicked");
            }
        }
        if self.shared.poisoned().is_none() {
            // The next start need not read the log, and the folder is left small.
            let tidied = checkpoint(&self.conn, "TRUNCATE").and_then(|_| schema::tidy_on_close(&self.conn, true));
            if let Err(error) = tidied {
                tracing::warn!(%error, "the last checkpoint failed; the next start continues from the log");
            }
        }
    }

    fn gather(&mut self, first: Box<dyn Operation>) -> Vec<Box<dyn Operation>> {
        let mut batch = vec![first];
        let mut began: Option<Instant> = None;
        while batch.len() < BATCH_MAX {
            match self.operations.try_recv() {
                Ok(operation) => batch.push(operation),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    let began = *began.get_or_insert_with(Instant::now);
                    if batch.len() as f64 >= self.recent.round() || began.elapsed() >= GATHER_MAX {
                        break;
                    }
                    std::thread::yield_now();
                }
            }
        }
        self.recent += (batch.len() as f64 - self.recent) / 8.0;
        batch
    }

    /// Commits operations together; if one of them fails by itself, each alone, so that only that one does.
    fn commit(&self, mut batch: Vec<Box<dyn Operation>>) {
        let commits = self.shared.commits();
        match self.transact(&mut batch) {
            Err(StorageError::Corrupt(_)) if batch.len() > 1 => {
                for operation in batch {
                    let mut alone = vec![operation];
                    let result = self.transact(&mut alone);
                    answer(alone, &result);
                }
            }
            result => answer(batch, &result),
        }
        // After the answers: nobody waits for a checkpoint but those who come during it.
        if self.shared.commits() != commits {
            self.checkpoint_if_long();
        }
    }

    fn transact(&self, batch: &mut [Box<dyn Operation>]) -> Result<(), StorageError> {
        if let Some(poisoned) = self.shared.poisoned() {
            return Err(poisoned);
        }
        let changes = self.conn.total_changes();
        let result = self.write(batch);
        if result.is_err()
            && !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            self.shared.poison(&format!("a rollback failed: {error}"));
        }
        if let Err(StorageError::Poisoned(why)) = &result {
            self.shared.poison(why);
        }
        if result.is_ok() && self.conn.total_changes() != changes {
            self.shared.commits.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn write(&self, operations: &mut [Box<dyn Operation>]) -> Result<(), StorageError> {
        // Taking the write lock first waits for another handle here, where nothing has been decided yet.
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        let batch = Batch { conn: &self.conn, last_key: Cell::new(None) };
        for operation in operations {
            operation.run(&batch)?;
        }
        batch.finish()?;
        self.conn.prepare_cached("COMMIT")?.execute(()).map(drop).map_err(|error| error::of_commit(&error))
    }

    /// Lets the log begin anew. Another process that reads just now (a backup) is not waited for long.
    fn restart_log(&self) -> Result<(), rusqlite::Error> {
        self.conn.busy_timeout(READERS_PATIENCE)?;
        let result = checkpoint(&self.conn, "RESTART").map(drop);
        self.conn.busy_timeout(schema::BUSY_TIMEOUT)?;
        result
    }

    fn checkpoint_if_long(&self) {
        let result = checkpoint(&self.conn, "NOOP").and_then(|pages| {
            if pages < self.checkpoint_pages {
                return Ok(());
            }
            checkpoint(&self.conn, "PASSIVE")?;
            let mut result = Ok(());
            if log_pages(&self.conn)? >= LOG_LENGTHS_MAX * self.checkpoint_pages {
                // Everything is copied, but for readers' marks the log cannot begin anew.
                self.shared.gate.alone(READERS_PATIENCE, || result = self.restart_log());
            }
            result
        });
        match result.map_err(StorageError::from) {
            Ok(()) => {}
            // The next commit tries again; until it succeeds the log grows.
            Err(StorageError::Full(error) | StorageError::Busy(error)) => {
                tracing::warn!(%error, "a checkpoint failed");
            }
            // The commits are durable and answered so; but the disk, or the file, is not to be trusted with more.
            Err(StorageError::Corrupt(error) | StorageError::Poisoned(error)) => {
                self.shared.poison(&format!("a checkpoint failed: {error}"));
            }
        }
    }
}

/// Runs a checkpoint of this kind; how many pages the log has that are not copied yet.
fn checkpoint(conn: &Connection, kind: &str) -> Result<i64, rusqlite::Error> {
    conn.prepare_cached(&format!("PRAGMA wal_checkpoint({kind})"))?.query_row((), |row| {
        let (log, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(log - copied)
    })
}

/// How many pages the log has.
fn log_pages(conn: &Connection) -> Result<i64, rusqlite::Error> {
    conn.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row((), |row| row.get(1))
}

fn answer(batch: Vec<Box<dyn Operation>>, result: &Result<(), StorageError>) {
    for operation in batch {
        operation.answer(result.clone());
    }
}
