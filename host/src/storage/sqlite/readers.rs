//! The reading threads. Each has a connection of its own; each read is one short transaction: one consistent moment.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{schema, schema::OpenError, writer::Shared};
use crate::storage::{StorageError, StorageFuture};

/// Long reads (a list, a long history) keep one thread each; the others serve the short ones.
const THREADS: usize = 3;

/// At most this many reads wait; one more is answered [`StorageError::Busy`].
const QUEUE_MAX: usize = 16_384;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The queue of the reading threads, and the threads.
pub(super) struct Readers {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

/// Lets the commit thread have the file for a moment without readers: a log can only begin anew when nobody reads from it, and
/// under steady reads that moment would never come by itself.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    reading: usize,
    closed: bool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a read; waits while the gate is closed.
    fn read<T>(&self, read: impl FnOnce() -> T) -> T {
        struct Leave<'a>(&'a Gate);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.lock().reading -= 1;
                self.0.changed.notify_all();
            }
        }
        let mut state =
            self.changed.wait_while(self.lock(), |state| state.closed).unwrap_or_else(PoisonError::into_inner);
        state.reading += 1;
        drop(state);
        let _leave = Leave(self);
        read()
    }

    /// Runs `work` while nobody reads, if the reads under way end within `patience`; else does without.
    pub(super) fn alone(&self, patience: Duration, work: impl FnOnce()) {
        let mut state = self.lock();
        state.closed = true;
        let (state, _) = self
            .changed
            .wait_timeout_while(state, patience, |state| state.reading > 0)
            .unwrap_or_else(PoisonError::into_inner);
        let is_alone = state.reading == 0;
        drop(state);
        if is_alone {
            work();
        }
        self.lock().closed = false;
        self.changed.notify_all();
    }
}

struct Running {
    queue: SyncSender<Read>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn spawn(path: &Path, vfs: Option<&str>, shared: Arc<Shared>) -> Result<Self, OpenError> {
        let (queue, reads) = sync_channel(QUEUE_MAX);
        let reads = Arc::new(Mutex::new(reads));
        let mut threads = Vec::new();
        for number in 0..THREADS {
            let conn = schema::open_reader(path, vfs)?;
            let reads = Arc::clone(&reads);
            let thread = std::thread::Builder::new()
                .name(format!("soloist-read-{number}"))
                .spawn(move || serve(&conn, &reads))
                .map_err(|error| OpenError::Io { path: path.to_owned(), what: error.to_string() })?;
            threads.push(thread);
        }
        Ok(Self { shared, running: Mutex::new(Some(Running { queue, threads })) })
    }

    /// Puts a read into the queue, at once; the future is its answer.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> StorageFuture<'static, T> {
        let (reply, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let job: Read = Box::new(move |conn| {
            let result = match shared.poisoned() {
                Some(poisoned) => Err(poisoned),
                None => shared.gate.read(|| in_transaction(conn, read)),
            };
            if let Err(StorageError::Poisoned(why)) = &result {
                shared.poison(why);
            }
            let _ = reply.send(result);
        });
        let sent = match &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(running) => running.queue.try_send(job).map_err(|error| match error {
                TrySendError::Full(_) => StorageError::Busy(format!("{QUEUE_MAX} reads wait already")),
                TrySendError::Disconnected(_) => StorageError::Poisoned("the reading threads have ended".to_owned()),
            }),
            None => Err(StorageError::Poisoned("it is closed".to_owned())),
        };
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(StorageError::Busy("a read panicked".to_owned())))
        })
    }

    /// Ends the threads after the reads that wait.
    pub(super) fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { queue, threads }) = running {
            drop(queue);
            for thread in threads {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(conn: &Connection, reads: &Mutex<Receiver<Read>>) {
    loop {
        // Only one thread waits at the queue; the others wait for its place.
        let next = reads.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        // A panic drops the reply, which tells the caller; the transaction is ended for the next read.
        if catch_unwind(AssertUnwindSafe(|| read(conn))).is_err() && !conn.is_autocommit() {
            let _ = conn.execute_batch("ROLLBACK");
        }
    }
}

fn in_transaction<T>(
    conn: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    conn.prepare_cached("BEGIN")?.execute(())?;
    let result = read(conn);
    let ended = conn.prepare_cached("ROLLBACK").and_then(|mut end| end.execute(()));
    let value = result?;
    ended?;
    Ok(value)
}
