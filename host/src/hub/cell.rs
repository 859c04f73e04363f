//! A cell: what the hub keeps in memory of one instance, while it has a reason to.
//!
//! At most one worker runs a cell at a time. Whoever brings a message puts it into the cell and, if no worker runs it,
//! becomes its worker. A cell without worker, guest, messages and running activities is removed from the hub.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use futures::future::AbortHandle;
use tokio::sync::{Notify, oneshot};

use super::OrchestratorGuest;
use crate::{
    durable::{
        Creation, Entity, GenerationKey, Hold, InboxMessage, Instance, InstanceKey, Message, MessageNumber,
        RuntimeStatus, Sequence,
    },
    storage::{INBOX_PAGE, StorageError},
};

/// What the hub keeps of one instance.
pub(super) struct Cell {
    /// The instance.
    pub instance: InstanceKey,
    /// Told when the present generation may have ended from outside: a running turn is given up.
    pub ended: Notify,
    state: Mutex<State>,
}

/// An instance's state and its guest, as a worker holds them. Both or neither may be missing: they are rebuilt from storage.
#[derive(Default)]
pub(super) struct Held {
    /// The fold.
    pub instance: Option<Box<Instance>>,
    /// The guest; it has seen exactly the turns of the fold.
    pub guest: Option<Box<dyn OrchestratorGuest>>,
    /// For an entity: its record, and what is in its inbox.
    pub entity: Option<Box<Entity>>,
}

/// An activity that was handed to the activity queue and has not ended.
pub(super) enum Dispatched {
    /// It waits for a free slot.
    Waiting,
    /// It runs.
    Running(AbortHandle),
}

/// An operator's wish, and where the answer goes.
pub(super) struct Control {
    pub hold: Hold,
    /// Only for the instance that this start made.
    pub creation: Option<Creation>,
    pub reason: String,
    pub answer: oneshot::Sender<Result<(), HoldError>>,
}

/// Why an operator's wish was not met.
#[derive(Debug)]
pub(super) enum HoldError {
    /// The instance is in this state.
    Status(RuntimeStatus),
    /// It has ended.
    Ended,
    /// Storage failed.
    Storage(StorageError),
}

#[derive(Default)]
pub(super) struct State {
    /// Counts what began or ended from outside: a verdict on a generation that is gone must not fall on its successor.
    pub changes: u64,
    /// Generations before this one have ended from outside, whatever a worker holds.
    live_from: Option<GenerationKey>,
    /// Set once the cell has left the hub: whoever still finds it must look for its successor.
    pub removed: bool,
    /// A worker runs it.
    pub running: bool,
    /// A turn may be possible without a message: the first one, or a timer is due.
    pub wake: bool,
    /// What operators want of it, in order.
    pub controls: VecDeque<Control>,
    /// It is suspended: messages wait.
    pub suspended: bool,
    /// Why it stalls. While it does no worker runs it.
    pub stalled: Option<Arc<str>>,
    /// An operator let it go on after a stall: the component that is deployed now is tried.
    pub try_deployed: bool,
    /// What keeps its worker from going on for now.
    pub trouble: Option<Arc<str>>,
    /// While no worker runs it.
    pub held: Held,
    /// Outcomes of activities and durable HTTP requests.
    pub mailbox: Vec<Message>,
    /// Messages that are durable in the inbox and have not been taken.
    inbox: BTreeMap<MessageNumber, InboxMessage>,
    /// Every inbox message up to this one was given to a worker (or had been dropped): what comes again is a duplicate.
    inbox_known_to: Option<MessageNumber>,
    /// Storage's inbox holds messages after that which were not read yet: to be read before the next turn.
    unread: bool,
    /// Activities and durable HTTP requests under way.
    pub activities: BTreeMap<(GenerationKey, Sequence), Dispatched>,
}

impl Cell {
    pub fn new(instance: InstanceKey) -> Self {
        Self { instance, ended: Notify::new(), state: Mutex::new(State::default()) }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds a cell's lock")
    }
}

impl State {
    /// Puts in a message that is durable in the inbox.
    pub fn put_inbox(&mut self, number: MessageNumber, body: InboxMessage) {
        if (self.stalled.is_some() || self.suspended) && !self.running {
            // Nobody takes it now, and whoever does will read the inbox anew. A worker may have begun that read before this.
            // A cell that is about to go would take this with it: then storage is asked at once, as it is without a cell.
            self.suspended &= !self.is_idle();
            self.wake = true;
            return;
        }
        if self.unread {
            return;
        }
        // Kept although the inbox may be being read just now: that read may have begun before this message was there.
        if self.inbox_known_to.is_none_or(|known| number > known) {
            self.inbox.insert(number, body);
        }
        self.wake |= self.inbox_known_to.is_none();
    }

    /// The messages that a turn may take now: all outcomes, and as many of the inbox as are read at once.
    ///
    /// Inbox messages go in the order of their numbers without a gap: two senders' answers may reach this cell in another
    /// order than storage committed them, and what a turn takes must be what storage would hand out.
    pub fn take_messages(&mut self) -> Vec<Message> {
        let mut messages = std::mem::take(&mut self.mailbox);
        let limit = messages.len() + INBOX_PAGE;
        while let Some(next) = self.inbox_known_to.map(|known| MessageNumber(known.0 + 1)) {
            if messages.len() == limit {
                break;
            }
            let first = self.inbox.keys().next().copied().filter(|_| planted!(InboxWithGaps));
            let next = first.unwrap_or(next);
            let Some(body) = self.inbox.remove(&next) else { break };
            self.inbox_known_to = Some(next);
            messages.push(Message::Inbox { number: next, body });
        }
        messages
    }

    /// Everything up to `known_to` was read from storage (or is known to be nothing).
    pub fn anchor_inbox(&mut self, known_to: MessageNumber) {
        if self.inbox_known_to.is_none_or(|known| known < known_to) {
            self.inbox_known_to = Some(known_to);
        }
        let known_to = self.inbox_known_to;
        self.inbox.retain(|number, _| Some(*number) > known_to);
    }

    /// The inbox was read up to `known_to`, and storage has more of it: what came by hand will be read there.
    pub fn anchor_page(&mut self, known_to: MessageNumber) {
        self.inbox_known_to = Some(known_to);
        self.inbox.clear();
        self.unread = true;
    }

    /// True if the inbox was read in part: the rest is for the next turn.
    pub fn has_unread(&self) -> bool {
        self.unread
    }

    /// True if messages wait that no turn took.
    pub fn has_inbox(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Forgets what is known of the inbox: storage has it, and will be asked.
    pub fn forget_inbox(&mut self) {
        self.inbox_known_to = None;
        self.inbox.clear();
        self.unread = false;
    }

    /// A generation has begun, or the one before it has ended, from outside.
    pub fn set_live_from(&mut self, generation: GenerationKey) {
        self.live_from = self.live_from.max(Some(generation));
    }

    /// True if a generation has ended from outside.
    pub fn is_gone(&self, generation: GenerationKey) -> bool {
        self.live_from.is_some_and(|live_from| generation < live_from)
    }

    /// A generation was found suspended, or not to be. One that has ended from outside since keeps nobody waiting: what took
    /// its place must run.
    pub fn set_suspended(&mut self, generation: GenerationKey, suspended: bool) {
        self.suspended = suspended && !self.is_gone(generation);
    }

    /// A generation was found to have nothing to do before its timer; but what took its place may have.
    pub fn sleep_till_timer(&mut self, generation: GenerationKey) {
        self.wake &= self.is_gone(generation);
    }

    /// Stops the activities of generations that have ended from outside.
    pub fn stop_gone_activities(&mut self) {
        if self.live_from.is_some() {
            self.stop_activities_before(self.live_from);
        }
    }

    /// True if a worker has something to do.
    pub fn has_work(&self) -> bool {
        let next = self.inbox_known_to.map(|known| MessageNumber(known.0 + 1));
        if planted!(InboxWithGaps) && !self.inbox.is_empty() && self.stalled.is_none() && !self.suspended {
            return true;
        }
        if !self.controls.is_empty() {
            return true;
        }
        self.stalled.is_none()
            && !self.suspended
            && (self.wake
                || self.unread
                || !self.mailbox.is_empty()
                || next.is_some_and(|next| self.inbox.contains_key(&next)))
    }

    /// True if nothing is lost when the cell is forgotten.
    pub fn is_idle(&self) -> bool {
        !self.running
            && (!self.wake || self.suspended)
            && self.controls.is_empty()
            && self.stalled.is_none()
            && self.held.guest.is_none()
            && self.held.entity.is_none()
            && self.mailbox.is_empty()
            && self.inbox.is_empty()
            && !self.unread
            && self.activities.is_empty()
    }

    /// Stops the activities of generations before this one; of all with `None`.
    pub fn stop_activities_before(&mut self, generation: Option<GenerationKey>) {
        let is_gone = |of: &GenerationKey| generation.is_none_or(|generation| *of < generation);
        let gone: Vec<_> = self.activities.keys().filter(|(of, _)| is_gone(of)).copied().collect();
        gone.into_iter().for_each(|key| self.stop_activity(key));
    }

    /// Stops an activity. Its outcome, should there be one, is dropped.
    pub fn stop_activity(&mut self, key: (GenerationKey, Sequence)) {
        if let Some(Dispatched::Running(task)) = self.activities.remove(&key) {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::Json;

    fn event(name: &str) -> InboxMessage {
        InboxMessage::EventRaised { name: name.to_owned(), input: Json::null() }
    }

    fn numbers(messages: &[Message]) -> Vec<i64> {
        messages
            .iter()
            .map(|message| match message {
                Message::Inbox { number, .. } => number.0,
                Message::TaskEnded { .. } | Message::HttpEnded { .. } => panic!("no activity here"),
            })
            .collect()
    }

    #[test]
    fn messages_are_taken_in_commit_order_however_they_arrive() {
        let mut state = State::default();
        state.anchor_inbox(MessageNumber(3));
        state.put_inbox(MessageNumber(5), event("b"));
        assert!(!state.has_work(), "4 is committed and on its way");
        assert!(state.take_messages().is_empty());
        state.put_inbox(MessageNumber(4), event("a"));
        assert_eq!(numbers(&state.take_messages()), [4, 5]);
    }

    #[test]
    fn a_message_that_comes_while_the_inbox_is_read_is_not_lost() {
        let mut state = State::default();
        state.put_inbox(MessageNumber(4), event("committed after the read began"));
        state.anchor_inbox(MessageNumber(3));
        assert_eq!(numbers(&state.take_messages()), [4]);
    }

    #[test]
    fn a_message_that_comes_while_the_inbox_is_read_after_a_suspension_is_not_lost() {
        let mut state = State { suspended: true, running: true, ..State::default() };
        state.put_inbox(MessageNumber(4), event("committed after the read began"));
        state.suspended = false;
        state.anchor_inbox(MessageNumber(3));
        assert_eq!(numbers(&state.take_messages()), [4]);
    }

    #[test]
    fn a_message_for_a_suspended_instance_does_not_go_with_its_cell() {
        let mut state = State { suspended: true, wake: true, ..State::default() };
        assert!(state.is_idle(), "it is about to go");
        state.put_inbox(MessageNumber(4), event("for what has just taken its place"));
        assert!(!state.is_idle() && state.has_work());
        let mut state = State { suspended: true, ..State::default() };
        state.activities.insert((GenerationKey(1), 0), Dispatched::Waiting);
        state.put_inbox(MessageNumber(4), event("for later"));
        assert!(!state.is_idle() && !state.has_work());
        state.suspended = false;
        assert!(state.has_work());
    }

    #[test]
    fn a_message_that_was_read_from_storage_is_not_taken_again() {
        let mut state = State::default();
        state.put_inbox(MessageNumber(1), event("early"));
        assert!(state.wake, "without an anchor storage is asked");
        state.anchor_inbox(MessageNumber(2));
        state.put_inbox(MessageNumber(2), event("late"));
        state.put_inbox(MessageNumber(1), event("later"));
        assert!(state.take_messages().is_empty());
    }

    #[test]
    fn a_turn_takes_no_more_messages_than_a_page() {
        let mut state = State::default();
        state.anchor_inbox(MessageNumber(0));
        let all = INBOX_PAGE as i64 + 5;
        (1..=all).for_each(|number| state.put_inbox(MessageNumber(number), event("e")));
        assert_eq!(state.take_messages().len(), INBOX_PAGE);
        assert!(state.has_work());
        assert_eq!(numbers(&state.take_messages()), (all - 4..=all).collect::<Vec<_>>());
        assert!(!state.has_work());
    }

    #[test]
    fn what_comes_while_the_inbox_was_read_in_part_is_read_with_the_rest() {
        let mut state = State::default();
        state.put_inbox(MessageNumber(1_001), event("committed before the read"));
        state.anchor_page(MessageNumber(1_000));
        state.put_inbox(MessageNumber(1_500), event("late"));
        assert!(state.take_messages().is_empty() && !state.has_inbox());
        assert!(state.has_work() && !state.is_idle(), "the rest is to be read");
        state.forget_inbox();
        state.put_inbox(MessageNumber(1_501), event("later"));
        state.anchor_inbox(MessageNumber(1_500));
        assert_eq!(numbers(&state.take_messages()), [1_501]);
    }

    #[test]
    fn what_was_found_of_a_generation_that_has_been_replaced_does_not_keep_its_successor_waiting() {
        let (old, new) = (GenerationKey(2), GenerationKey(3));
        let mut state = State { wake: true, ..State::default() };
        state.set_live_from(new);
        state.set_suspended(old, true);
        assert!(state.has_work());
        state.sleep_till_timer(old);
        assert!(state.has_work());
        state.set_suspended(new, true);
        assert!(!state.has_work());
        state.set_suspended(new, false);
        state.sleep_till_timer(new);
        assert!(!state.has_work());
    }

    #[tokio::test]
    async fn what_began_after_its_generation_had_ended_is_stopped() {
        let mut state = State::default();
        state.set_live_from(GenerationKey(3));
        let (stop, stopped) = AbortHandle::new_pair();
        state.activities.insert((GenerationKey(2), 0), Dispatched::Running(stop));
        state.activities.insert((GenerationKey(3), 0), Dispatched::Waiting);
        state.stop_gone_activities();
        assert!(futures::future::Abortable::new(std::future::pending::<()>(), stopped).await.is_err());
        assert_eq!(state.activities.keys().collect::<Vec<_>>(), [&(GenerationKey(3), 0)]);
    }
}
