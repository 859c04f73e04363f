//! What orchestrators await.
//!
//! Every future here does its work when it is made, not when it is first polled: the order of the calls in the code is the
//! order of the actions. Dropping one that is open gives it up.

use super::mailbox::WaitId;
use super::state::{Reply, State};
use crate::failure::{Failure, Result};
use crate::json;
use futures_core::FusedFuture;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

pub(super) type Shared = Rc<RefCell<State>>;

/// A numbered action that awaits its answer. Dropping it while it is open cancels it.
struct Open {
    state: Shared,
    sequence: u32,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.state.borrow_mut().drop_task(self.sequence);
    }
}

/// The future of a numbered action, before its answer is decoded.
pub(super) struct Answer {
    stage: Stage,
}

enum Stage {
    Open(Open),
    /// The request could not be made, so there is no action.
    Refused(Failure),
    Returned,
}

impl Answer {
    pub(super) fn open(state: Shared, sequence: u32) -> Self {
        Self { stage: Stage::Open(Open { state, sequence }) }
    }

    pub(super) fn refused(failure: Failure) -> Self {
        Self { stage: Stage::Refused(failure) }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply>> {
        let answer = match &self.stage {
            Stage::Open(open) => match open.state.borrow_mut().poll_task(open.sequence, cx.waker()) {
                Poll::Ready(answer) => answer,
                Poll::Pending => return Poll::Pending,
            },
            Stage::Refused(failure) => Err(failure.clone()),
            Stage::Returned => panic!("a durable task was polled after it had returned"),
        };
        self.stage = Stage::Returned;
        Poll::Ready(answer)
    }

    pub(super) fn is_returned(&self) -> bool {
        matches!(self.stage, Stage::Returned)
    }
}

/// An activity, a sub-orchestration or a call of an entity under way. Its output is a `Result<T>`.
///
/// Dropping it before it has returned cancels it: its result, should one arrive, is dropped. In particular a task that is
/// neither awaited nor kept is cancelled at once.
#[must_use = "a task that is dropped is cancelled: await it"]
pub struct Task<T> {
    answer: Answer,
    name: String,
    output: PhantomData<fn() -> T>,
}

impl<T> Task<T> {
    pub(super) fn open(state: Shared, sequence: u32, name: &str) -> Self {
        Self { answer: Answer::open(state, sequence), name: name.to_owned(), output: PhantomData }
    }

    pub(super) fn refused(failure: Failure) -> Self {
        Self { answer: Answer::refused(failure), name: String::new(), output: PhantomData }
    }
}

impl<T: DeserializeOwned> Future for Task<T> {
    type Output = Result<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(answer) = self.answer.poll(cx) else {
            return Poll::Pending;
        };
        let output = |reply: Reply| json::decode(&reply.into_json(), || format!("the result of '{}'", self.name));
        Poll::Ready(answer.and_then(output))
    }
}

impl<T: DeserializeOwned> FusedFuture for Task<T> {
    fn is_terminated(&self) -> bool {
        self.answer.is_returned()
    }
}

/// A durable timer. Dropping it before it fires cancels it.
#[must_use = "a timer that is dropped is cancelled: await it"]
pub struct Timer {
    answer: Answer,
}

impl Timer {
    pub(super) fn open(state: Shared, sequence: u32) -> Self {
        Self { answer: Answer::open(state, sequence) }
    }
}

impl Future for Timer {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.answer.poll(cx).map(|_fired| ())
    }
}

impl FusedFuture for Timer {
    fn is_terminated(&self) -> bool {
        self.answer.is_returned()
    }
}

/// The start of an orchestration that this one does not wait for.
///
/// Awaiting it tells whether the start was admitted and under which instance id. Dropping it changes nothing.
pub struct DetachedStart {
    answer: Answer,
}

impl DetachedStart {
    pub(super) fn open(state: Shared, sequence: u32) -> Self {
        Self { answer: Answer::open(state, sequence) }
    }

    pub(super) fn refused(failure: Failure) -> Self {
        Self { answer: Answer::refused(failure) }
    }
}

impl Future for DetachedStart {
    type Output = Result<String>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(answer) = self.answer.poll(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(answer.and_then(|id| json::decode(&id.into_json(), || "the started instance's id".into())))
    }
}

impl FusedFuture for DetachedStart {
    fn is_terminated(&self) -> bool {
        self.answer.is_returned()
    }
}

/// The wait for an external event.
///
/// The event is received, and the host told so, at the moment when this future returns it. Dropped before, it takes nothing:
/// the event stays for the next wait, and beyond continue-as-new.
#[must_use = "a wait that is dropped receives nothing: await it"]
pub struct EventWait<T> {
    state: Shared,
    name: Rc<str>,
    /// None once the event is received.
    wait: Option<WaitId>,
    payload: PhantomData<fn() -> T>,
}

impl<T> EventWait<T> {
    pub(super) fn open(state: Shared, name: Rc<str>, wait: WaitId) -> Self {
        Self { state, name, wait: Some(wait), payload: PhantomData }
    }
}

impl<T: DeserializeOwned> Future for EventWait<T> {
    type Output = Result<T>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let wait = self.wait.expect("a wait is not polled after it has returned");
        let event = {
            let mut state = self.state.borrow_mut();
            let Poll::Ready(event) = state.mailbox.poll(&self.name, wait, cx.waker()) else {
                return Poll::Pending;
            };
            state.consume(event.message);
            event
        };
        self.wait = None;
        Poll::Ready(json::decode(&event.input, || format!("the payload of event '{}'", self.name)))
    }
}

impl<T: DeserializeOwned> FusedFuture for EventWait<T> {
    fn is_terminated(&self) -> bool {
        self.wait.is_none()
    }
}

impl<T> Drop for EventWait<T> {
    fn drop(&mut self) {
        if let Some(wait) = self.wait {
            let next = self.state.borrow_mut().mailbox.abandon(&self.name, wait);
            // Woken without the borrow: whoever is woken may drop tasks.
            if let Some(waker) = next {
                waker.wake();
            }
        }
    }
}

/// The wait for an external event, up to a time. Returns `None` if the time is over first.
#[must_use = "a wait that is dropped receives nothing: await it"]
pub struct EventWaitWithTimeout<T> {
    parts: Option<(EventWait<T>, Timer)>,
}

impl<T> EventWaitWithTimeout<T> {
    pub(super) fn new(event: EventWait<T>, timer: Timer) -> Self {
        Self { parts: Some((event, timer)) }
    }
}

impl<T: DeserializeOwned> Future for EventWaitWithTimeout<T> {
    type Output = Result<Option<T>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (event, timer) = self.parts.as_mut().expect("a wait is not polled after it has returned");
        // The event first: where both are there, the answer is worth more than the news that it is late.
        let result = match Pin::new(event).poll(cx) {
            Poll::Ready(payload) => payload.map(Some),
            Poll::Pending if Pin::new(timer).poll(cx).is_ready() => Ok(None),
            Poll::Pending => return Poll::Pending,
        };
        self.parts = None; // gives up the other one
        Poll::Ready(result)
    }
}

impl<T: DeserializeOwned> FusedFuture for EventWaitWithTimeout<T> {
    fn is_terminated(&self) -> bool {
        self.parts.is_none()
    }
}
