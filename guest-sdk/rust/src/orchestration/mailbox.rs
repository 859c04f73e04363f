//! External events and those who wait for them.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// An external event that the code has not received yet.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    /// The host's number for it.
    pub message: u32,
    /// The payload.
    pub input: String,
}

/// Names one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitId(u32);

struct Waiter {
    id: WaitId,
    /// Set by the last poll that found nothing.
    waker: Option<Waker>,
}

/// Events and waits of one name, both in order of arrival: the n-th wait gets the n-th event.
///
/// An event is bound to a wait only at the moment when the code receives it. A wait that is dropped before therefore needs
/// to give nothing back: those behind it move up.
#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    waiters: VecDeque<Waiter>,
}

/// All external events of an execution. Names compare without regard to case.
#[derive(Default)]
pub(super) struct Mailbox {
    queues: BTreeMap<Rc<str>, Queue>,
    waits_made: u32,
}

impl Mailbox {
    /// Takes in an event; returns the waker of whoever can receive it now.
    pub fn deliver(&mut self, name: &str, event: Event) -> Option<Waker> {
        let queue = self.queues.entry(key(name)).or_default();
        queue.events.push_back(event);
        queue.waiters.get_mut(queue.events.len() - 1)?.waker.take()
    }

    /// Adds a wait behind the others for the same name.
    pub fn wait(&mut self, name: &str) -> (Rc<str>, WaitId) {
        let id = WaitId(self.waits_made);
        self.waits_made += 1;
        let key = key(name);
        self.queues.entry(key.clone()).or_default().waiters.push_back(Waiter { id, waker: None });
        (key, id)
    }

    /// The event for this wait, which ends the wait; or remembers whom to wake.
    pub fn poll(&mut self, name: &str, id: WaitId, waker: &Waker) -> Poll<Event> {
        let queue = self.queues.get_mut(name).expect("a queue lives as long as a wait in it");
        let place = queue.place(id).expect("a wait is in its queue until it has its event");
        match queue.events.remove(place) {
            Some(event) => {
                queue.waiters.remove(place);
                Poll::Ready(event)
            }
            None => {
                queue.waiters[place].waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }

    /// Ends a wait that got no event; returns the waker of whoever can receive an event by that.
    pub fn abandon(&mut self, name: &str, id: WaitId) -> Option<Waker> {
        let queue = self.queues.get_mut(name)?;
        let place = queue.place(id)?;
        queue.waiters.remove(place);
        let waiting = queue.events.len();
        if place < waiting { queue.waiters.get_mut(waiting - 1)?.waker.take() } else { None }
    }

    /// True if somebody is to be woken when an event arrives.
    pub fn has_listeners(&self) -> bool {
        self.queues.values().any(|queue| queue.waiters.iter().any(|waiter| waiter.waker.is_some()))
    }
}

impl Queue {
    fn place(&self, id: WaitId) -> Option<usize> {
        self.waiters.iter().position(|waiter| waiter.id == id)
    }
}

fn key(name: &str) -> Rc<str> {
    name.to_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: u32) -> Event {
        Event { message, input: message.to_string() }
    }

    #[test]
    fn the_nth_wait_gets_the_nth_event_whoever_asks_first() {
        let mut mailbox = Mailbox::default();
        let (name, first) = mailbox.wait("Go");
        let (_, second) = mailbox.wait("GO");
        mailbox.deliver("go", event(0));
        mailbox.deliver("gO", event(1));
        assert_eq!(mailbox.poll(&name, second, Waker::noop()), Poll::Ready(event(1)));
        assert_eq!(mailbox.poll(&name, first, Waker::noop()), Poll::Ready(event(0)));
    }

    #[test]
    fn an_abandoned_wait_leaves_its_event_to_the_next_one_and_wakes_it() {
        let mut mailbox = Mailbox::default();
        let (name, first) = mailbox.wait("go");
        let (_, second) = mailbox.wait("go");
        assert!(mailbox.poll(&name, second, Waker::noop()).is_pending());
        assert!(mailbox.deliver("go", event(0)).is_none(), "the first wait was never polled, nobody is woken");
        assert!(mailbox.abandon(&name, first).is_some());
        assert_eq!(mailbox.poll(&name, second, Waker::noop()), Poll::Ready(event(0)));
        let (_, third) = mailbox.wait("go");
        assert!(mailbox.poll(&name, third, Waker::noop()).is_pending());
        assert!(mailbox.has_listeners());
    }
}
