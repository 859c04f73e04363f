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

/// Long reads (a list, a long history) keep one thread each.
const THREADS: usize = 3;

/// So many long reads run at once: the other threads are left to the short ones, however many long ones wait.
const LONG_MAX: usize = THREADS - 1;

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
    /// Each with the number of reads that came before it.
    short: VecDeque<(u64, Read)>,
    long: VecDeque<(u64, Read)>,
    arrivals: u64,
    /// Long reads that run.
    long_running: usize,
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
        if queued.short.len() + queued.long.len() >= QUEUE_MAX {
            return Err(StorageError::Busy(format!("{QUEUE_MAX} reads wait already")));
        }
        queued.put(length, read);
        let is_anyone_idle = queued.idle > 0;
        drop(queued);
        if is_anyone_idle {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The reads to run next, together; none once the queue is closed and nothing is left for this thread.
    fn take(&self) -> Option<(Length, Vec<Read>)> {
        let mut queued = self.lock();
        loop {
            if let Some(taken) = queued.take() {
                return Some(taken);
            }
            if queued.closed {
                // Long ones that are left belong to the threads that run long ones.
                return None;
            }
            queued.idle += 1;
            queued = self.arrived.wait(queued).unwrap_or_else(PoisonError::into_inner);
            queued.idle -= 1;
        }
    }

    /// What was taken has been run.
    fn done(&self, length: Length) {
        if length == Length::Short {
            return;
        }
        let mut queued = self.lock();
        queued.long_running -= 1;
        // The thread that says so may go on with short ones.
        let is_waiting = !queued.long.is_empty() && queued.idle > 0;
        drop(queued);
        if is_waiting {
            self.arrived.notify_one();
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

impl Queued {
    fn put(&mut self, length: Length, read: Read) {
        self.arrivals += 1;
        let reads = match length {
            Length::Short => &mut self.short,
            Length::Long => &mut self.long,
        };
        reads.push_back((self.arrivals, read));
    }

    /// This thread's share of what waits and may run, first come, first served: idle threads have been woken for the rest.
    fn take(&mut self) -> Option<(Length, Vec<Read>)> {
        let first = |reads: &VecDeque<(u64, Read)>| reads.front().map_or(u64::MAX, |(arrival, _)| *arrival);
        if self.long_running < LONG_MAX && first(&self.long) < first(&self.short) {
            let (_, read) = self.long.pop_front()?;
            self.long_running += 1;
            return Some((Length::Long, vec![read]));
        }
        let share = self.short.len().div_ceil(self.idle + 1).min(BATCH_MAX);
        let reads: Vec<Read> = self.short.drain(..share).map(|(_, read)| read).collect();
        (!reads.is_empty()).then_some((Length::Short, reads))
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
    while let Some((length, reads)) = queue.take() {
        gate.read(|| in_transaction(conn, reads));
        queue.done(length);
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

    use Length::{Long, Short};

    fn queued(lengths: &[Length]) -> Queued {
        let mut queued = Queued::default();
        lengths.iter().for_each(|length| queued.put(*length, Box::new(|_| {})));
        queued
    }

    /// Takes from a queue of these reads, each of which ends at once, while so many other threads are idle; how many are
    /// taken together.
    fn taken(lengths: &[Length], idle: usize) -> Vec<usize> {
        let mut queued = Queued { idle, ..queued(lengths) };
        let mut take = || {
            let (length, reads) = queued.take()?;
            queued.long_running -= usize::from(length == Long);
            Some(reads.len())
        };
        std::iter::from_fn(&mut take).collect()
    }

    #[test]
    fn short_reads_that_wait_go_together_and_idle_threads_get_their_share() {
        assert_eq!(taken(&[Short; 20], 0), [BATCH_MAX, 4]);
        assert_eq!(taken(&[Short; 6], 2)[0], 2);
        assert_eq!(taken(&[Short], 2), [1]);
        assert_eq!(taken(&[Long, Short, Short], 0), [1, 2], "a long one goes alone");
        assert_eq!(taken(&[Short, Long, Long], 0), [1, 1, 1], "nobody waits for a long one");
    }

    #[test]
    fn long_reads_leave_a_thread_to_the_short_ones() {
        let mut queued = queued(&[Long, Long, Long, Short]);
        let mut take = || queued.take().map(|(length, reads)| (length, reads.len()));
        assert_eq!([take(), take(), take(), take()], [Some((Long, 1)), Some((Long, 1)), Some((Short, 1)), None]);
        queued.long_running -= 1;
        assert_eq!(queued.take().map(|(length, _)| length), Some(Long));
    }

    #[test]
    fn every_read_is_run_however_they_mix_and_a_closed_queue_is_emptied() {
        let queue = Queue::default();
        let run = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    while let Some((length, reads)) = queue.take() {
                        run.fetch_add(reads.len(), std::sync::atomic::Ordering::SeqCst);
                        queue.done(length);
                    }
                });
            }
            for number in 0..3_000 {
                let length = if number % 7 < 4 { Long } else { Short };
                queue.put(length, Box::new(|_| {})).unwrap();
                if number % 100 == 0 {
                    std::thread::yield_now();
                }
            }
            queue.close();
        });
        assert_eq!(run.into_inner(), 3_000);
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_has_and_takes_no_more() {
        let queue = Queue::default();
        assert!(queue.put(Length::Short, Box::new(|_| {})).is_ok());
        queue.close();
        assert!(matches!(queue.put(Length::Short, Box::new(|_| {})), Err(StorageError::Poisoned(_))));
        assert!(queue.take().is_some_and(|(_, reads)| reads.len() == 1) && queue.take().is_none());
    }
}
