//! Runs activities, durable HTTP requests among them: at most so many at once, in turn between instances, so that a fan-out
//! of ten thousand does not keep others waiting.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::FutureExt as _;
use futures::future::{AbortHandle, AbortRegistration, Abortable};
use tracing::{Instrument, debug, debug_span, warn};

use super::{
    ActivityCall, HttpRequestCall,
    cell::{Cell, Dispatched},
    http::{http_request_call, request},
    parking::Alone,
    worker::Inner,
};
use crate::{
    durable::{
        Failure, FunctionName, GenerationKey, Instance, InstanceKey, Json, Message, OpenTask, Sequence, TaskScheduled,
        Work,
    },
    flight::{Call, CallKind},
};

/// An activity that waits for its slot.
struct Waiting {
    cell: Arc<Cell>,
    generation: GenerationKey,
    sequence: Sequence,
    job: Job,
    /// How long it may run.
    timeout: Option<Duration>,
    /// It is a suspect's, and none other runs.
    alone: Option<Alone>,
}

/// What is to be run.
enum Job {
    Activity(ActivityCall),
    Http(HttpRequestCall),
}

/// The activities that wait, by instance.
pub(super) struct ActivityQueue {
    slots: usize,
    state: Mutex<Queues>,
}

#[derive(Default)]
struct Queues {
    running: usize,
    waiting: BTreeMap<InstanceKey, VecDeque<Waiting>>,
    /// Instances that have something waiting, in the order of their turns.
    order: VecDeque<InstanceKey>,
}

impl ActivityQueue {
    pub fn new(slots: usize) -> Self {
        Self { slots: slots.max(1), state: Mutex::new(Queues::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.state.lock().expect("no code panics while it holds the activity queue's lock")
    }

    fn put(&self, waiting: Waiting) {
        let instance = waiting.cell.instance;
        let mut queues = self.lock();
        let queue = queues.waiting.entry(instance).or_default();
        queue.push_back(waiting);
        if queue.len() == 1 {
            queues.order.push_back(instance);
        }
    }

    /// Takes the next activity, if a slot is free. The slot is the caller's until [`ActivityQueue::release`].
    fn take(&self) -> Option<Waiting> {
        let mut queues = self.lock();
        if queues.running >= self.slots {
            return None;
        }
        let instance = queues.order.pop_front()?;
        let queue = queues.waiting.get_mut(&instance).expect("an instance in the order has a queue");
        let next = queue.pop_front().expect("a queue in the order is not empty");
        if queue.is_empty() {
            queues.waiting.remove(&instance);
        } else {
            queues.order.push_back(instance);
        }
        queues.running += 1;
        Some(next)
    }

    /// How many run, and how many wait.
    pub fn running_and_waiting(&self) -> (usize, usize) {
        let queues = self.lock();
        (queues.running, queues.waiting.values().map(VecDeque::len).sum())
    }

    fn release(&self) {
        self.lock().running -= 1;
    }
}

/// Gives a slot back, however its activity ends: by a result, a panic or being stopped.
struct Slot(Arc<Inner>);

impl Drop for Slot {
    fn drop(&mut self) {
        if !planted!(SlotLeaked) {
            self.0.activities.release();
        }
        self.0.start_activities();
    }
}

impl Inner {
    /// Hands activities to the queue, but for those that are under way, or have ended: their outcome is among the `taken`, or
    /// in the mailbox; and for one that is parked. A suspect is queued once no other one runs.
    pub(super) fn dispatch<'a>(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        instance: &Instance,
        tasks: impl Iterator<Item = &'a OpenTask>,
        taken: &BTreeSet<(GenerationKey, Sequence)>,
    ) {
        let generation = instance.generation();
        let mut new = Vec::new();
        {
            // Under one lock: an activity that ends meanwhile would be found neither here nor there, and run again.
            let mut state = cell.lock();
            let ended: BTreeSet<_> = state.mailbox.iter().filter_map(Message::ended_task).collect();
            for task in tasks {
                let sequence = task.work.sequence();
                let key = (generation, sequence);
                let parked = self.parking.is_parked(&instance.execution().execution_id, Some(sequence));
                if parked || ended.contains(&key) || taken.contains(&key) || state.activities.contains_key(&key) {
                    continue;
                }
                let Some((job, timeout_ms)) = job_of(instance, task) else { continue };
                state.activities.insert(key, Dispatched::Waiting);
                new.push((sequence, job, shorter(timeout_ms, self.function_timeout)));
            }
        }
        for (sequence, job, timeout) in new {
            let is_suspect = self.parking.is_suspect(&instance.execution().execution_id, Some(sequence));
            let waiting = Waiting { cell: cell.clone(), generation, sequence, job, timeout, alone: None };
            if is_suspect {
                tokio::spawn(self.clone().queue_alone(waiting));
            } else {
                self.activities.put(waiting);
            }
        }
        self.start_activities();
    }

    /// Queues a suspect once no other one runs. It holds no slot while it waits for that.
    async fn queue_alone(self: Arc<Self>, waiting: Waiting) {
        let alone = self.parking.alone().await;
        if !self.is_stopping() {
            self.activities.put(Waiting { alone: Some(alone), ..waiting });
            self.start_activities();
        }
    }

    /// Starts waiting activities while slots are free.
    fn start_activities(self: &Arc<Self>) {
        if self.is_stopping() {
            return;
        }
        while let Some(waiting) = self.activities.take() {
            let key = (waiting.generation, waiting.sequence);
            let cell = waiting.cell.clone();
            let (stop, stopped) = AbortHandle::new_pair();
            let is_wanted = match cell.lock().activities.get_mut(&key) {
                Some(entry) => {
                    *entry = Dispatched::Running(stop);
                    true
                }
                // Its generation ended while it waited.
                None => false,
            };
            if is_wanted {
                tokio::spawn(run(self.clone(), waiting, stopped, Slot(self.clone())));
            } else {
                self.activities.release();
            }
        }
    }
}

fn activity_call(instance: &Instance, task: &TaskScheduled, attempt: u32) -> ActivityCall {
    let execution = instance.execution();
    ActivityCall {
        name: FunctionName::new(&task.name),
        input: task.input.clone(),
        instance_id: instance.id().clone(),
        execution_id: execution.execution_id.clone(),
        sequence: task.sequence,
        attempt,
        deadline: None,
        tags: task.tags.clone(),
        trace_context: execution.trace_context.clone(),
    }
}

/// What an open task calls, and its own bound in milliseconds; none for a child, which is called by nobody.
fn job_of(instance: &Instance, task: &OpenTask) -> Option<(Job, Option<f64>)> {
    match &task.work {
        Work::Activity(scheduled) => {
            Some((Job::Activity(activity_call(instance, scheduled, task.attempt)), scheduled.timeout_ms))
        }
        Work::Http(http) => Some((Job::Http(http_request_call(instance, http, task.poll.as_deref())), http.timeout_ms)),
        Work::Child(_) | Work::Entity(_) | Work::Locks(_) => None,
    }
}

/// How long one attempt may take: the shorter of the call's own timeout and the host's for every function.
fn shorter(of_call_ms: Option<f64>, of_functions: Option<Duration>) -> Option<Duration> {
    let of_call = of_call_ms
        .filter(|ms| !ms.is_nan())
        .map(|ms| Duration::try_from_secs_f64(ms.max(0.0) / 1_000.0).unwrap_or(Duration::MAX));
    [of_call, of_functions].into_iter().flatten().min()
}

/// One attempt, noted while it runs.
async fn attempt(
    inner: &Inner,
    call: ActivityCall,
    timeout: Option<Duration>,
    alone: Option<Alone>,
) -> Result<Json, Failure> {
    let flight = inner.parking.begin(&Call {
        kind: CallKind::Activity,
        execution: call.execution_id.as_str(),
        number: call.sequence,
        attempt: call.attempt,
        function: call.name.as_str(),
    });
    let Some(alone) = alone else { return timed_attempt(inner, call, timeout).await };
    let key = (call.execution_id.clone(), Some(call.sequence));
    let call = timed_attempt(inner, call, timeout);
    inner.parking.run_alone(&*inner.ambient, key, alone, &flight, call).await
}

/// One attempt, to its end or until its time is up. The time is monotonic and begins with the guest: waiting for a slot does
/// not count, and an attempt that a crash cut short begins anew. The guest is gone when this returns.
async fn timed_attempt(inner: &Inner, mut call: ActivityCall, timeout: Option<Duration>) -> Result<Json, Failure> {
    let Some(timeout) = timeout else { return inner.executor.activity(call).await };
    call.deadline = Some(inner.ambient.now().plus(timeout));
    let (name, attempt) = (call.name.clone(), call.attempt);
    let expired = inner.ambient.sleep(timeout);
    tokio::select! {
        biased;
        outcome = inner.executor.activity(call) => outcome,
        () = expired => {
            let failure = Failure::timed_out(name.as_str(), timeout);
            warn!(attempt, reason = failure.message, "activity stopped");
            Err(failure)
        }
    }
}

/// Runs one activity or HTTP request and brings its outcome to its instance; if no worker runs that, this task becomes its
/// worker.
///
/// Only the call can be stopped, not the task: it may be working on the instance by then.
async fn run(inner: Arc<Inner>, waiting: Waiting, stopped: AbortRegistration, slot: Slot) {
    let Waiting { cell, generation, sequence, job, timeout, alone } = waiting;
    let call = AssertUnwindSafe(ended(&inner, job, timeout, alone, generation, sequence)).catch_unwind();
    let Ok(message) = Abortable::new(call, stopped).await else { return };
    let message = message.unwrap_or_else(|_| {
        let failure = Failure::new("HostPanic", "the host panicked while the activity ran");
        Message::TaskEnded { generation, sequence, outcome: Err(failure) }
    });
    // Out of the activities and into the mailbox in one step: a worker that finds it in neither would run it again.
    let begin = inner.deliver(cell.instance, |state| {
        if state.activities.remove(&(generation, sequence)).is_some() {
            state.mailbox.push(message);
        }
    });
    drop(slot);
    if begin {
        inner.work_on(cell.instance).await;
    }
}

/// Makes a call; the message says how it ended.
async fn ended(
    inner: &Inner,
    job: Job,
    timeout: Option<Duration>,
    alone: Option<Alone>,
    generation: GenerationKey,
    sequence: Sequence,
) -> Message {
    match job {
        Job::Activity(call) => {
            let span = debug_span!("activity", name = %call.name, instance_id = %call.instance_id, sequence);
            let outcome = attempt(inner, call, timeout, alone).instrument(span).await;
            if let Err(failure) = &outcome {
                debug!(sequence, kind = %failure.kind, "activity failed");
            }
            Message::TaskEnded { generation, sequence, outcome }
        }
        Job::Http(call) => {
            let span = debug_span!("http", name = %call.name, instance_id = %call.instance_id, sequence);
            let outcome = request(inner, call, timeout).instrument(span).await;
            if let Err(failure) = &outcome {
                debug!(sequence, kind = %failure.kind, reason = %failure.message, "durable HTTP request failed");
            }
            Message::HttpEnded { generation, sequence, outcome }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_timeout_bounds_an_attempt() {
        let seconds = Duration::from_secs;
        assert_eq!(shorter(None, None), None);
        assert_eq!(shorter(None, Some(seconds(2))), Some(seconds(2)));
        assert_eq!(shorter(Some(1_000.0), None), Some(seconds(1)));
        assert_eq!(shorter(Some(1_000.0), Some(seconds(2))), Some(seconds(1)));
        assert_eq!(shorter(Some(3_000.0), Some(seconds(2))), Some(seconds(2)));
        assert_eq!(shorter(Some(f64::NAN), Some(seconds(2))), Some(seconds(2)));
        assert_eq!(shorter(Some(-1.0), Some(seconds(2))), Some(Duration::ZERO));
        assert_eq!(shorter(Some(f64::INFINITY), Some(seconds(2))), Some(seconds(2)));
    }
}
