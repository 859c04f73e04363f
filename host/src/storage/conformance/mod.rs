//! What every backend must do: one suite, run against each by `storage_conformance!`.

mod continues;
mod entities;
mod gate;
mod messages;
mod reads;
mod retention;
mod rewinds;
mod timers;
mod turns;

use std::sync::Arc;

pub(super) use self::{
    continues::*, entities::*, gate::*, messages::*, reads::*, retention::*, rewinds::*, timers::*, turns::*,
};
use super::{
    Committed, End, Ended, Fence, Loaded, PutMessage, Query, Snapshot, Start, Started, Storage, StorageFuture,
    TurnCommit, Want,
};
use crate::durable::{
    Digest, ExecutionId, ExecutionStarted, GenerationKey, HistoryEvent, InboxMessage, InstanceId, InstanceKey, Json,
    MessageNumber, NextExecution, OverridableStates, RuntimeStatus, Summary, Timestamp, TurnNumber, TurnRecord,
};

/// A backend's data, and how to open one more independent handle of it.
pub(super) struct Backend {
    pub open: Box<dyn Fn() -> Arc<dyn Storage>>,
    /// What must outlive the handles.
    pub _keep: Box<dyn std::any::Any>,
}

/// Makes a module of tests; `$open` is a function that returns a fresh [`Backend`].
macro_rules! storage_conformance {
    ($module:ident, $open:expr) => {
        $crate::storage::conformance::storage_conformance!(@tests $module, $open,
            a_policy_admits_exactly_the_states_that_it_names,
            of_racing_starts_of_one_id_exactly_one_is_accepted,
            racing_starts_under_any_state_all_win_and_one_remains,
            a_replaced_instance_keeps_its_number_and_nothing_else,
            a_purged_id_starts_afresh,
            ids_are_case_sensitive,
            what_is_meant_for_one_start_reaches_no_later_one,
            turns_are_committed_in_order_and_once,
            a_turn_of_a_generation_that_is_gone_is_fenced,
            an_end_is_the_last_turn,
            an_end_keeps_the_custom_status_and_the_order_of_time,
            due_entries_follow_the_summary,
            due_entries_are_read_in_pages,
            large_payloads_come_back_whole,
            messages_are_kept_in_order_until_a_turn_takes_them,
            message_numbers_outlive_generations,
            messages_are_dropped_when_the_instance_ends,
            a_message_for_nobody_is_refused,
            a_long_inbox_is_read_in_pages_but_an_entitys_whole,
            an_entity_is_made_by_its_first_message_and_is_no_instance,
            a_batch_takes_the_place_of_the_record_before_it,
            an_entity_without_state_goes_once_its_inbox_is_empty,
            an_entitys_due_entry_follows_its_record,
            entities_are_listed_in_pages_by_name_and_time,
            a_turns_messages_are_in_its_commit,
            what_a_turn_starts_it_may_send_events_to,
            a_lock_ends_with_its_generation,
            a_lock_request_goes_on_only_while_it_stands,
            a_continued_instance_is_pending_with_the_new_execution,
            what_is_carried_is_in_the_inbox_again_in_order,
            a_continued_generation_leaves_no_due_entry,
            a_custom_status_outlives_its_generation,
            continuing_is_fenced_like_any_turn,
            records_of_continued_generations_are_collected,
            a_rewound_instance_runs_on_with_its_records,
            what_a_failed_instance_was_sent_is_there_once_it_is_rewound,
            a_rewind_is_decided_upon_what_is_there,
            a_rewind_is_of_all_its_instances_or_none,
            a_rewind_starts_children_through_the_gate,
            a_rewound_instance_needs_the_component_that_it_goes_on_with,
            a_snapshot_returns_what_is_asked_for,
            a_snapshot_tells_how_the_instance_ended,
            lists_are_filtered_and_paged_in_order,
            a_prefix_is_compared_byte_by_byte,
            open_instances_are_read_in_pages,
            a_purge_is_all_or_nothing,
            what_has_expired_is_found_in_slices_and_nothing_else,
            an_instance_that_a_wrong_clock_made_hides_no_other_one,
            what_was_found_expired_is_deleted_only_if_it_is_still_that,
            garbage_is_collected_in_slices,
            components_are_kept_by_digest,
            a_component_is_needed_by_live_and_failed_instances_that_run_on_it,
            a_replaced_component_is_needed_no_longer,
            a_component_is_dropped_once_and_for_every_handle,
            where_a_timer_stands_is_kept_by_function,
            handles_see_each_others_commits,
            everything_is_there_after_reopening,
        );
    };
    (@tests $module:ident, $open:expr, $($test:ident,)*) => {
        mod $module {
            $(#[test]
            fn $test() {
                $crate::storage::conformance::$test(&$open());
            })*
        }
    };
}
pub(super) use storage_conformance;

/// Waits for an answer on this thread.
pub(super) fn wait<T>(future: StorageFuture<'_, T>) -> Result<T, super::StorageError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Waits for an answer that must be good.
pub(super) fn ok<T>(future: StorageFuture<'_, T>) -> T {
    wait(future).unwrap()
}

pub(super) fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

/// A start at `time`, whose execution id and input bear that time, too.
pub(super) fn start_of(text: &str, policy: OverridableStates, time: i64) -> Start {
    Start {
        fence: Fence::default(),
        id: id(text),
        policy,
        time: Timestamp(time),
        started: Arc::new(ExecutionStarted {
            name: "Echo".to_owned(),
            handler: "echo".to_owned(),
            version: None,
            execution_id: ExecutionId(format!("execution-{time}").into()),
            component: Digest([7; 32]),
            contract: "1.0.0".to_owned(),
            input: Json::parse(time.to_string()).unwrap(),
            parent: None,
            tags: Vec::new(),
            trace_context: None,
            scheduled_start: None,
        }),
    }
}

/// A generation that a test writes.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub instance: InstanceKey,
    pub generation: GenerationKey,
    pub number: TurnNumber,
    pub due: Option<Timestamp>,
}

/// Starts an instance that must not be there, or may be replaced under the default policy.
pub(super) fn begin(storage: &dyn Storage, text: &str, time: i64) -> Live {
    begin_under(storage, text, OverridableStates::NonRunningStates, time)
}

pub(super) fn begin_under(storage: &dyn Storage, text: &str, policy: OverridableStates, time: i64) -> Live {
    match ok(storage.start(start_of(text, policy, time))) {
        Started::Started { instance, generation, .. } => {
            Live { instance, generation, number: TurnNumber::START, due: None }
        }
        other => panic!("{text} is not started: {other:?}"),
    }
}

impl Live {
    /// The commit of the next turn with these events.
    pub(super) fn turn(&self, time: i64, status: RuntimeStatus, events: Vec<HistoryEvent>) -> TurnCommit {
        let summary = Summary { status, custom_status: None, next_due: None, outstanding: 0 };
        TurnCommit {
            fence: Fence::default(),
            instance: self.instance,
            generation: self.generation,
            number: self.number.next(),
            record: Arc::new(TurnRecord { time: Timestamp(time), events, summary }),
            took: Vec::new(),
            children: Vec::new(),
            messages: Vec::new(),
            notify: None,
            next: None,
            previous_due: self.due,
        }
    }

    /// Commits a turn that must be accepted.
    pub(super) fn commit(&mut self, storage: &dyn Storage, commit: TurnCommit) {
        let (number, due) = (commit.number, commit.record.summary.next_due);
        assert_eq!(ok(storage.commit_turn(commit)), Committed::Committed(crate::storage::Effects::default()));
        (self.number, self.due) = (number, due);
    }

    /// The commit of a turn by which the instance continues as execution `execution-{time}`, carrying these messages.
    pub(super) fn next(&self, time: i64, carried: &[(i64, &str)]) -> TurnCommit {
        let body = |name: &str| InboxMessage::EventRaised { name: name.to_owned(), input: Json::string(name) };
        let next = NextExecution {
            started: start_of("any", OverridableStates::AnyState, time).started,
            custom_status: None,
            carried: carried.iter().map(|&(number, name)| (MessageNumber(number), body(name))).collect(),
        };
        TurnCommit { next: Some(Arc::new(next)), ..self.turn(time, RuntimeStatus::ContinuedAsNew, Vec::new()) }
    }

    /// Commits a turn by which the instance continues, which must be accepted.
    pub(super) fn go_on(&mut self, storage: &dyn Storage, commit: TurnCommit) {
        let Committed::Continued(generation, _) = ok(storage.commit_turn(commit)) else {
            panic!("it does not continue")
        };
        assert!(generation > self.generation, "generations ascend");
        *self = Self { instance: self.instance, generation, number: TurnNumber::START, due: None };
    }

    /// Commits a turn that leaves the instance running.
    pub(super) fn run(&mut self, storage: &dyn Storage, time: i64) {
        let sequence = self.number.0;
        let turn = self.turn(time, RuntimeStatus::Running, vec![HistoryEvent::TimerFired { sequence }]);
        self.commit(storage, turn);
    }

    /// Commits a turn that ends the instance well.
    pub(super) fn complete(&mut self, storage: &dyn Storage, time: i64) {
        let output = HistoryEvent::ExecutionCompleted { output: Json::string("done") };
        let turn = self.turn(time, RuntimeStatus::Completed, vec![output]);
        self.commit(storage, turn);
    }
}

pub(super) fn with_summary(mut commit: TurnCommit, change: impl FnOnce(&mut Summary)) -> TurnCommit {
    change(&mut Arc::get_mut(&mut commit.record).unwrap().summary);
    commit
}

pub(super) fn terminate(storage: &dyn Storage, text: &str, time: i64) -> Ended {
    let end = End { fence: Fence::default(), id: id(text), time: Timestamp(time), reason: format!("reason {time}") };
    ok(storage.end(end))
}

pub(super) fn event(text: &str, name: &str) -> PutMessage {
    let body = InboxMessage::EventRaised { name: name.to_owned(), input: Json::string(name) };
    PutMessage { fence: Fence::default(), id: id(text), body }
}

pub(super) fn see(storage: &dyn Storage, text: &str) -> Option<Snapshot> {
    ok(storage.snapshot(id(text), Want { input: true, history: true }))
}

pub(super) fn status(storage: &dyn Storage, text: &str) -> RuntimeStatus {
    see(storage, text).unwrap().summary.status
}

pub(super) fn load(storage: &dyn Storage, live: &Live) -> Option<Loaded> {
    ok(storage.load(live.instance))
}

pub(super) fn inbox(storage: &dyn Storage, live: &Live) -> Vec<(i64, String)> {
    let InboxNames(names) = load(storage, live).unwrap().inbox.into_iter().collect();
    names
}

struct InboxNames(Vec<(i64, String)>);

impl FromIterator<(MessageNumber, InboxMessage)> for InboxNames {
    fn from_iter<T: IntoIterator<Item = (MessageNumber, InboxMessage)>>(messages: T) -> Self {
        let name = |(number, body): (MessageNumber, InboxMessage)| match body {
            InboxMessage::EventRaised { name, input: _ } => (number.0, name),
            other => panic!("no event: {other:?}"),
        };
        Self(messages.into_iter().map(name).collect())
    }
}

/// Every id that a query finds, page by page.
pub(super) fn ids(storage: &dyn Storage, query: &Query) -> Vec<String> {
    let mut query = query.clone();
    let mut found = Vec::new();
    loop {
        let page = ok(storage.list(query.clone()));
        assert!(page.instances.len() <= query.limit);
        found.extend(page.instances.iter().map(|snapshot| snapshot.id.as_str().to_owned()));
        match page.next {
            Some(next) => {
                assert!(query.after.is_none_or(|after| next > after), "pages go on");
                query.after = Some(next);
            }
            None => return found,
        }
    }
}
