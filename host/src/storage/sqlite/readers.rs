//! The reading threads. Each has a connection of its own. Short reads that wait together share one transaction, which begins
//! after the last of them was asked for: each sees everything that was acknowledged before.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
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

/// At most this many short reads share a transaction: the first is answered after the last.
const BATCH_MAX: usize = 16;

/// How long a read may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// A few rows: it may wait for others of its kind.
    Short,
    /// Pages of rows, or large ones: nobody waits for it.
    Long,
}

/// Reads, and tells the caller; or tells why it cannot be.
type Read = Box<dyn FnOnce(Result<&Connection, StorageError>) + Send>;

/// The reads that wait.
#[derive(Default)]
struct Queue {
    state: Mutex<Queued>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queued {
    reads: VecDeque<(Length, Read)>,
    /// Threads that wait for reads.
    idle: usize,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, length: Length, read: Read) -> Result<(), StorageError> {
        let mut queued = self.lock();
        if queued.closed {
            return Err(StorageError::Poisoned("it is closed".to_owned()));
        }
        if queued.reads.len() >= QUEUE_MAX {
            return Err(StorageError::Busy(format!("{QUEUE_MAX} reads wait already")));
        }
        queued.reads.push_back((length, read));
        let is_anyone_idle = queued.idle > 0;
        drop(queued);
        if is_anyone_idle {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The reads to run next, together; none once the queue is closed and empty.
    fn take(&self) -> Option<Vec<Read>> {
        let mut queued = self.lock();
        loop {
            if !queued.reads.is_empty() {
                return Some(queued.take());
            }
            if queued.closed {
                return None;
            }
            queued.idle += 1;
            queued = self.arrived.wait(queued).unwrap_or_else(PoisonError::into_inner);
            queued.idle -= 1;
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

impl Queued {
    /// This thread's share of what waits: idle threads have been woken for the rest.
    fn take(&mut self) -> Vec<Read> {
        let share = self.reads.len().div_ceil(self.idle + 1).min(BATCH_MAX);
        let short = self.reads.iter().take(share).take_while(|(length, _)| *length == Length::Short).count();
        self.reads.drain(..short.max(1)).map(|(_, read)| read).collect()
    }
}

/// The queue of the reading threads, and the threads.
pub(super) struct Readers {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
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

impl Readers {
    pub(super) fn spawn(path: &Path, vfs: Option<&str>, shared: Arc<Shared>) -> Result<Self, OpenError> {
        let readers = Self { shared, queue: Arc::default(), threads: Mutex::default() };
        for number in 0..THREADS {
            let conn = schema::open_reader(path, vfs)?;
            let (queue, shared) = (Arc::clone(&readers.queue), Arc::clone(&readers.shared));
            let thread = std::thread::Builder::new()
                .name(format!("soloist-read-{number}"))
                .spawn(move || serve(&conn, &queue, &shared.gate))
                .map_err(|error| OpenError::Io { path: path.to_owned(), what: error.to_string() })?;
            readers.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(readers)
    }

    /// Puts a read into the queue, at once; the future is its answer.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        length: Length,
        read: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> StorageFuture<'static, T> {
        let (reply, answer) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let job = Box::new(move |conn: Result<&Connection, StorageError>| {
            let result = match shared.poisoned() {
                Some(poisoned) => Err(poisoned),
                None => conn.and_then(read),
            };
            if let Err(StorageError::Poisoned(why)) = &result {
                shared.poison(why);
            }
            let _ = reply.send(result);
        });
        let sent = self.queue.put(length, job);
        Box::pin(async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(StorageError::Busy("a read panicked".to_owned())))
        })
    }

    /// Ends the threads after the reads that wait.
    pub(super) fn close(&self) {
        self.queue.close();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

fn serve(conn: &Connection, queue: &Queue, gate: &Gate) {
    while let Some(reads) = queue.take() {
        gate.read(|| in_transaction(conn, reads));
    }
}

/// Runs reads at one moment of the database.
fn in_transaction(conn: &Connection, reads: Vec<Read>) {
    let begun = conn.prepare_cached("BEGIN").and_then(|mut begin| begin.execute(()));
    let begun = begun.map(|_| conn).map_err(StorageError::from);
    for read in reads {
        let begun = begun.clone();
        // A panic drops the reply, which tells the caller; it concerns the others in no way.
        let _ = catch_unwind(AssertUnwindSafe(|| read(begun)));
    }
    if !conn.is_autocommit()
        && let Err(error) = conn.prepare_cached("ROLLBACK").and_then(|mut end| end.execute(()))
    {
        // What was read holds. The next transaction cannot begin, and those who ask for it are told.
        tracing::warn!(%error, "a read could not be ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes from a queue of these reads while so many other threads are idle; how many there are together.
    fn taken(lengths: &[Length], idle: usize) -> Vec<usize> {
        let reads = lengths
            .iter()
            .map(|length| (*length, Box::new(|_: Result<&Connection, StorageError>| {}) as Read))
            .collect();
        let mut queued = Queued { reads, idle, closed: false };
        std::iter::from_fn(|| (!queued.reads.is_empty()).then(|| queued.take().len())).collect()
    }

    #[test]
    fn short_reads_that_wait_go_together_and_idle_threads_get_their_share() {
        use Length::{Long, Short};
        assert_eq!(taken(&[Short; 20], 0), [BATCH_MAX, 4]);
        assert_eq!(taken(&[Short; 6], 2)[0], 2);
        assert_eq!(taken(&[Short], 2), [1]);
        assert_eq!(taken(&[Long, Short, Short], 0), [1, 2], "a long one goes alone");
        assert_eq!(taken(&[Short, Short, Long, Short], 0), [2, 1, 1], "nobody waits for a long one");
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_has_and_takes_no_more() {
        let queue = Queue::default();
        assert!(queue.put(Length::Short, Box::new(|_| {})).is_ok());
        queue.close();
        assert!(matches!(queue.put(Length::Short, Box::new(|_| {})), Err(StorageError::Poisoned(_))));
        assert!(queue.take().is_some_and(|reads| reads.len() == 1) && queue.take().is_none());
    }
}
