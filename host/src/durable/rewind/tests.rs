//! What a rewind drops, keeps and opens again: a history, a rewind, and the code's next turn.

use std::{collections::BTreeSet, sync::Arc};

use super::super::{tests::*, *};

/// A generation that runs, with its records.
struct Run {
    records: Vec<Arc<TurnRecord>>,
    state: Instance,
    /// Earlier failures that a rewind drops, too.
    unanswered: BTreeSet<Sequence>,
}

impl Run {
    fn new() -> Self {
        Self { records: vec![start_record()], state: fresh(), unanswered: BTreeSet::new() }
    }

    fn of(records: Vec<Arc<TurnRecord>>) -> Self {
        // The fold asserts that every record's summary is its own.
        let state = fold(&records);
        Self { records, state, unanswered: BTreeSet::new() }
    }

    fn turn(&mut self, messages: Vec<Message>, now: i64, actions: Vec<Action>) -> &mut Self {
        self.end(messages, now, actions, GuestOutcome::Waiting)
    }

    fn end(&mut self, messages: Vec<Message>, now: i64, actions: Vec<Action>, outcome: GuestOutcome) -> &mut Self {
        let turn = self.state.begin_turn(messages, Timestamp(now)).expect("there is something to take");
        let ended = self.state.end_turn(turn, Ok(GuestTurn { actions, outcome }), LIMITS, next).unwrap();
        self.state.apply(&ended.record);
        self.records.push(ended.record);
        self
    }

    fn fail(&mut self, messages: Vec<Message>, now: i64, actions: Vec<Action>) -> &mut Self {
        self.end(messages, now, actions, GuestOutcome::Failed(Failure::new("Oops", "it failed")))
    }

    fn hold(&mut self, hold: Hold, now: i64) -> &mut Self {
        let ended = self.state.hold(hold, "r", Timestamp(now)).unwrap();
        self.state.apply(&ended.record);
        self.records.push(ended.record);
        self
    }

    fn undo(&self) -> Rewind {
        let (key, generation) = (self.state.key(), self.state.generation());
        Rewind::of(key, self.state.id().clone(), generation, &self.records, &self.unanswered)
            .unwrap()
            .expect("it has failed")
    }

    /// The failures to which code has not answered that, handed a replay's events, asks for these actions.
    fn find_unanswered(&mut self, code: impl Fn(&[GuestEvent]) -> Vec<Action>) -> usize {
        let records = self.records.clone();
        let Some(mut unanswered) = Unanswered::of(&records) else { return 0 };
        let mut replays = 0;
        while let Some(replay) = unanswered.replay() {
            replays += 1;
            let asked = GuestTurn { actions: code(&replay.events), outcome: GuestOutcome::Waiting };
            unanswered.asked_the_same(replay.check(&asked).is_ok());
        }
        self.unanswered = unanswered.sequences();
        replays
    }

    fn rewound(&self, now: i64) -> Self {
        self.rewound_with(now, &[])
    }

    fn rewound_with(&self, now: i64, fresh: &[Sequence]) -> Self {
        let order = RewindOrder {
            reason: "mended".into(),
            time: Timestamp(now),
            component: ComponentReplaced {
                component: Digest([9; 32]),
                handler: "Mended".into(),
                contract: "1.1.0".into(),
            },
            fresh: fresh.iter().copied().collect(),
            unstarted: BTreeSet::new(),
        };
        let RewoundHistory { from, records, state } = self.undo().finish(order);
        let before = self.records[..from.0 as usize].iter().cloned();
        let run = Self::of(before.chain(records).collect());
        assert_eq!(run.state, state);
        run
    }

    /// What the guest is handed next: what is replayed, and what is new to it.
    fn handed(&self, messages: Vec<Message>, now: i64) -> (Vec<GuestEvent>, Vec<GuestEvent>) {
        let from = self.state.rerun().expect("its code has not run since the rewind");
        let (replay, again) = Replay::rerun(&self.records, from);
        let turn = self.state.begin_turn(messages, Timestamp(now)).expect("its code runs again");
        (replay.map_or(vec![], |replay| replay.events), [again, turn.guest_events(&self.state)].concat())
    }

    /// The ids of detached starts that the rewind keeps in mind.
    fn starts_sent(&self) -> Vec<&str> {
        let sent = self.rewind_event().sent.iter();
        let starts = sent.filter_map(|action| match action {
            HistoryEvent::ChildScheduled(child) => Some(child.instance_id.as_str()),
            _ => None,
        });
        starts.collect()
    }

    fn rewind_event(&self) -> &ExecutionRewound {
        let rewound = self.records.iter().rev().flat_map(|record| &record.events).find_map(|event| match event {
            HistoryEvent::ExecutionRewound(rewound) => Some(rewound),
            _ => None,
        });
        rewound.unwrap()
    }

    fn open(&self) -> Vec<Sequence> {
        self.state.outstanding().map(|task| task.work.sequence()).collect()
    }
}

fn fails(sequence: Sequence) -> Message {
    Message::TaskEnded { generation: GenerationKey(2), sequence, outcome: Err(Failure::new("Error", "no")) }
}

fn child(sequence: Sequence, id: Option<&str>, retry: Option<RetryPolicy>) -> Action {
    let child = ChildScheduled {
        sequence,
        name: "Child".into(),
        instance_id: String::new(),
        input: Json::null(),
        version: None,
        detached: false,
        retry,
        policy: None,
        scheduled_start: None,
        tags: vec![],
    };
    Action::StartChild { child: Box::new(child), instance_id: id.map(str::to_owned) }
}

fn child_ends(number: i64, sequence: Sequence, outcome: Result<Json, Failure>) -> Message {
    let body = InboxMessage::ChildEnded { execution_id: ExecutionId("e".into()), sequence, outcome };
    Message::Inbox { number: MessageNumber(number), body }
}

fn no() -> Result<Json, Failure> {
    Err(Failure::new("Error", "no"))
}

#[test]
fn only_a_failed_generation_is_undone() {
    let undone = |run: &Run| {
        Rewind::of(InstanceKey(1), InstanceId::parse("i").unwrap(), GenerationKey(2), &run.records, &BTreeSet::new())
            .unwrap()
            .is_some()
    };
    let mut run = Run::new();
    assert!(!undone(&run));
    assert!(!undone(run.turn(vec![], 2_000, vec![task(0)])));
    assert!(!undone(run.end(vec![ended(0)], 3_000, vec![], GuestOutcome::Completed(Json::null()))));
    assert!(undone(Run::new().fail(vec![], 2_000, vec![])));
}

#[test]
fn the_failed_steps_run_again_and_those_that_were_open_and_nothing_else() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0), task(1), task(2), task(3)]);
    run.turn(vec![ended(0)], 3_000, vec![]).turn(vec![fails(1)], 4_000, vec![]);
    // What the failing turn gives up is not given up.
    run.fail(vec![ended(2)], 5_000, vec![Action::Cancel { sequence: 3 }]);
    let mut run = run.rewound(9_000);
    assert_eq!((run.state.status(), run.open()), (RuntimeStatus::Running, vec![1, 3]));
    assert_eq!(run.state.summary().outstanding, 3, "two activities and the code itself");
    let ExecutionRewound { reason, from, failure, tasks, sent } = run.rewind_event();
    assert!(sent.is_empty());
    assert_eq!((reason.as_str(), *from, failure.message.as_str()), ("mended", TurnNumber(2), "it failed"));
    assert_eq!(*tasks, [RewoundTask { sequence: 1, attempt: 1, failure: Some(Failure::new("Error", "no")) }]);
    let names: Vec<_> = run.records.iter().map(|record| record.events.len()).collect();
    assert_eq!(names, [1, 4, 1, 0, 1, 2], "turns keep their places");
    let ExecutionStarted { execution_id, component, handler, contract, .. } = &**run.state.execution();
    assert_eq!(
        (execution_id.as_str(), component.0[0], handler.as_str(), contract.as_str()),
        ("e", 9, "Mended", "1.1.0")
    );
    let (replayed, again) = run.handed(vec![], 9_000);
    assert!(matches!(replayed[..], [GuestEvent::TurnStarted(_), GuestEvent::ExecutionStarted(_)]));
    assert!(
        matches!(
            again[..],
            [
                GuestEvent::TurnStarted(Timestamp(3_000)),
                GuestEvent::TaskCompleted(0, _),
                GuestEvent::TurnStarted(Timestamp(5_000)),
                GuestEvent::TaskCompleted(2, _),
            ]
        ),
        "{again:?}"
    );
    run.turn(vec![], 9_000, vec![]);
    assert_eq!((run.state.rerun(), run.state.summary().outstanding), (None, 2));
    run.turn(vec![ended(1)], 10_000, vec![]);
    run.end(vec![ended(3)], 11_000, vec![], GuestOutcome::Completed(Json::null()));
    assert_eq!(run.state.status(), RuntimeStatus::Completed);
}

#[test]
fn what_the_code_makes_of_a_history_without_the_failure_is_recorded_then() {
    // An activity against a timer: both ended in one turn, and the failure came first.
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0), timer(1, 5_000)]);
    run.fail(vec![fails(0)], 6_000, vec![]);
    let mut run = run.rewound(9_000);
    assert_eq!(run.records[2].events, [HistoryEvent::TimerFired { sequence: 1 }]);
    let (_, again) = run.handed(vec![], 9_000);
    assert_eq!(again, [GuestEvent::TurnStarted(Timestamp(6_000)), GuestEvent::TimerFired(1)]);
    // Now the timer wins, and the code does something else: that is new, not a divergence.
    run.turn(vec![], 9_000, vec![Action::Cancel { sequence: 0 }, task(2)]);
    let replay = Replay::of(&run.records).unwrap();
    let asks = vec![task(0), timer(1, 5_000), Action::Cancel { sequence: 0 }, task(2)];
    assert_eq!(replay.check(&waiting(asks).unwrap()), Ok(()));
    assert_eq!(replay.events.last(), Some(&GuestEvent::TimerFired(1)), "a replay hands out the same");
}

#[test]
fn what_comes_with_the_first_turn_is_handed_behind_what_is_handed_again() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0)]).fail(vec![fails(0), event(1)], 3_000, vec![]);
    let mut run = run.rewound(9_000);
    let (_, live) = run.handed(vec![event(2)], 9_500);
    run.turn(vec![event(2)], 9_500, vec![]);
    let replay = Replay::of(&run.records).unwrap();
    assert_eq!(replay.events[2..], live, "a later guest sees exactly what this one saw");
    assert!(matches!(
        live[..],
        [
            GuestEvent::TurnStarted(Timestamp(3_000)),
            GuestEvent::EventRaised { index: 0, .. },
            GuestEvent::TurnStarted(Timestamp(9_500)),
            GuestEvent::EventRaised { index: 1, .. },
        ]
    ));
}

#[test]
fn a_failure_to_which_the_code_answered_stays() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0)]);
    run.turn(vec![fails(0)], 3_000, vec![task(1)]);
    run.fail(vec![fails(1)], 4_000, vec![]);
    let run = run.rewound(9_000);
    assert!(matches!(run.records[2].events[0], HistoryEvent::TaskFailed { sequence: 0, .. }));
    assert_eq!((run.open(), run.rewind_event().tasks.len()), (vec![1], 1));
}

#[test]
fn a_failure_of_the_codes_own_is_dropped_and_the_code_runs_on_from_there() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0)]).fail(vec![ended(0)], 3_000, vec![task(1)]);
    let mut run = run.rewound(9_000);
    assert!(run.rewind_event().tasks.is_empty());
    assert!(run.open().is_empty(), "what the failing turn asked for never ran");
    let (_, again) = run.handed(vec![], 9_000);
    assert!(matches!(again[..], [GuestEvent::TurnStarted(Timestamp(3_000)), GuestEvent::TaskCompleted(0, _)]));
    run.turn(vec![], 9_000, vec![task(1)]);
    assert_eq!(run.open(), [1]);
}

#[test]
fn an_execution_that_failed_in_its_first_turn_runs_it_again() {
    let mut run = Run::new();
    run.hold(Hold::Suspend, 1_500).hold(Hold::Resume, 1_600).fail(vec![event(1)], 2_000, vec![task(0)]);
    let run = run.rewound(9_000);
    let (replayed, again) = run.handed(vec![], 9_000);
    assert!(replayed.is_empty());
    assert!(matches!(
        again[..],
        [
            GuestEvent::TurnStarted(Timestamp(2_000)),
            GuestEvent::ExecutionStarted(_),
            GuestEvent::EventRaised { index: 0, .. },
        ]
    ));
}

#[test]
fn what_was_received_or_told_since_is_received_and_told_again() {
    let mut run = Run::new();
    let status = |text| Action::SetCustomStatus(Json::string(text));
    run.turn(vec![], 2_000, vec![status("begun"), task(0)]);
    run.turn(vec![fails(0)], 3_000, vec![status("trouble")]);
    run.fail(vec![event(1)], 4_000, vec![Action::Consumed { index: 0 }]);
    let mut run = run.rewound(9_000);
    assert_eq!(run.state.custom_status(), Some(&Json::string("begun")));
    assert_eq!(run.state.unconsumed().count(), 1);
    run.turn(vec![], 9_000, vec![]);
    run.turn(vec![ended(0)], 9_500, vec![Action::Consumed { index: 0 }]);
    assert_eq!(run.state.unconsumed().count(), 0);
}

#[test]
fn timers_stay_as_they_are_and_overdue_ones_fire_at_once() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![timer(0, 8_000), timer(1, 50_000), task(2)]).fail(vec![fails(2)], 3_000, vec![]);
    let mut run = run.rewound(9_000);
    assert_eq!(run.state.next_due(), Some(Timestamp(8_000)));
    let (_, live) = run.handed(vec![], 9_000);
    assert_eq!(live, [GuestEvent::TurnStarted(Timestamp(9_000)), GuestEvent::TimerFired(0)]);
    run.turn(vec![], 9_000, vec![]);
    assert_eq!(run.state.next_due(), Some(Timestamp(50_000)));
}

#[test]
fn a_retry_policy_counts_afresh_and_a_back_off_goes_on() {
    let policy = || RetryPolicy { retry_timeout_ms: Some(5_000.0), max_attempts: 2, ..policy() };
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![retried(0, policy()), retried(1, policy())]);
    run.turn(vec![fails(0)], 3_000, vec![]).turn(vec![], 1_003_000, vec![]);
    run.turn(vec![fails(1)], 1_003_500, vec![]);
    run.fail(vec![fails(0)], 1_004_000, vec![]);
    let mut run = run.rewound(90_000_000);
    assert_eq!(run.state.task(0).map(|task| task.attempt), Some(1));
    let waits = run.state.task(1).unwrap();
    assert_eq!((waits.attempt, waits.retry_at), (2, Some(Timestamp(2_003_500))), "its back-off is long over");
    run.turn(vec![], 90_000_000, vec![]);
    assert_eq!(run.open(), [0, 1]);
    run.turn(vec![fails(0)], 90_001_000, vec![]);
    assert_eq!(run.state.task(0).map(|task| task.attempt), Some(2), "both bounds of the policy count from the rewind");
    run.turn(vec![], 91_001_000, vec![]);
    let last = run.turn(vec![fails(0)], 91_002_000, vec![]).records.last().unwrap();
    assert!(matches!(last.events[..], [HistoryEvent::TaskFailed { sequence: 0, .. }]));
}

#[test]
fn a_childs_attempts_go_on_but_its_policy_counts_afresh() {
    let policy = || RetryPolicy { max_attempts: 2, ..policy() };
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![child(0, None, Some(policy())), child(1, Some("own"), None), child(2, None, None)]);
    run.turn(vec![child_ends(1, 0, no())], 3_000, vec![]).turn(vec![], 1_003_000, vec![]);
    run.turn(vec![child_ends(2, 0, no())], 1_004_000, vec![]);
    run.fail(vec![child_ends(3, 1, no())], 1_005_000, vec![]);
    let ids = |run: &Run| run.state.open_children().collect::<Vec<_>>();
    let undone = run.undo();
    let waits: Vec<_> = undone.children().map(|child| child.instance_id).collect();
    assert_eq!(waits, ["e:00000000:2", "own", "e:00000002"], "the failed ones, and the one that was open");
    assert_eq!(ids(&run.rewound(2_000_000)), ["e:00000000:2", "own", "e:00000002"]);
    let mut fresh = run.rewound_with(2_000_000, &[0, 1, 2]);
    assert_eq!(ids(&fresh), ["e:00000000:3", "own", "e:00000002:2"], "started again, under ids that are free");
    fresh.turn(vec![], 2_000_000, vec![]).turn(vec![child_ends(4, 0, no())], 3_000_000, vec![]);
    assert_eq!(fresh.state.task(0).map(|task| task.attempt), Some(4), "one more attempt");
    fresh.turn(vec![], 4_000_000, vec![]).turn(vec![child_ends(5, 0, no())], 4_100_000, vec![]);
    assert!(fresh.state.task(0).is_none(), "and no more");
}

#[test]
fn a_refused_detached_start_is_tried_again() {
    let mut run = Run::new();
    let Action::StartChild { mut child, .. } = child(0, None, None) else { unreachable!() };
    child.detached = true;
    run.turn(vec![], 2_000, vec![Action::StartChild { child, instance_id: Some("free".into()) }]);
    run.fail(vec![child_ends(1, 0, no())], 3_000, vec![]);
    let undone = run.undo();
    let starts: Vec<_> = undone.children().map(|child| (child.child.detached, child.instance_id)).collect();
    assert_eq!(starts, [(true, "free".to_owned())]);
}

#[test]
fn a_rewound_execution_can_be_held_fail_and_be_rewound_again() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0), task(1)]).fail(vec![fails(0)], 3_000, vec![]);
    let mut run = run.rewound(9_000);
    run.hold(Hold::Suspend, 9_100);
    assert_eq!((run.state.status(), run.state.summary().outstanding), (RuntimeStatus::Suspended, 3));
    assert!(run.state.begin_turn(vec![], Timestamp(9_200)).is_none());
    run.hold(Hold::Resume, 9_300);
    assert!(run.state.rerun().is_some(), "a hold is not the code's turn");
    run.turn(vec![], 9_400, vec![]).turn(vec![ended(1)], 9_500, vec![]).fail(vec![fails(0)], 9_600, vec![]);
    let mut again = run.rewound(20_000);
    assert_eq!(again.open(), [0]);
    let rewinds = again.records.iter().flat_map(|record| &record.events);
    let rewinds = rewinds.filter(|event| matches!(event, HistoryEvent::ExecutionRewound(_))).count();
    assert_eq!(rewinds, 2, "the history tells of both");
    let (_, live) = again.handed(vec![], 20_000);
    again.turn(vec![], 20_000, vec![]);
    assert_eq!(Replay::of(&again.records).unwrap().events[2..], live);
    again.end(vec![ended(0)], 21_000, vec![], GuestOutcome::Completed(Json::null()));
    assert_eq!(fold(&again.records), again.state);
}

#[test]
fn who_failed_in_a_critical_section_has_lost_its_locks() {
    let entities = vec![EntityId::parse("Counter", "k").unwrap()];
    let lock = Action::LockEntities(LocksRequested { sequence: 0, entities });
    let granted = || {
        let body = InboxMessage::LockAnswered { execution_id: ExecutionId("e".into()), sequence: 0, outcome: Ok(()) };
        Message::Inbox { number: MessageNumber(1), body }
    };
    let mut waits = Run::new();
    waits.turn(vec![], 2_000, vec![lock.clone(), task(1)]).fail(vec![fails(1)], 3_000, vec![]);
    assert!(waits.undo().has_lost_locks());
    let mut holds = Run::new();
    holds.turn(vec![], 2_000, vec![lock.clone()]).turn(vec![granted()], 3_000, vec![task(1)]);
    let leave = Action::UnlockEntities { sequence: 2, lock: 0 };
    // That it leaves as it fails does not help: what the failing turn asked for is undone.
    holds.fail(vec![fails(1)], 4_000, vec![leave.clone()]);
    assert!(holds.undo().has_lost_locks());
    let mut left = Run::new();
    left.turn(vec![], 2_000, vec![lock]).turn(vec![granted()], 3_000, vec![task(1)]);
    left.turn(vec![ended(1)], 4_000, vec![leave, task(3)]).fail(vec![fails(3)], 5_000, vec![]);
    assert!(!left.undo().has_lost_locks());
}

fn signal(sequence: Sequence, input: &str) -> Action {
    let entity = EntityId::parse("Counter", "k").unwrap();
    let (operation, input) = ("add".to_owned(), Json::string(input));
    Action::SignalEntity(EntitySignaled { sequence, entity, operation, input, scheduled: None })
}

fn detached(sequence: Sequence, id: Option<&str>) -> Action {
    let Action::StartChild { mut child, instance_id } = child(sequence, id, None) else { unreachable!() };
    child.detached = true;
    Action::StartChild { child, instance_id }
}

/// What the code's next turn sends, and which of it had been sent before.
fn sent_before(run: &mut Run, now: i64, actions: Vec<Action>, outcome: GuestOutcome) -> Vec<Sequence> {
    let turn = run.state.begin_turn(vec![], Timestamp(now)).expect("its code runs again");
    let ended = run.state.end_turn(turn, Ok(GuestTurn { actions, outcome }), LIMITS, next).unwrap();
    run.state.apply(&ended.record);
    run.records.push(ended.record);
    ended.sent_before.into_iter().collect()
}

#[test]
fn what_the_failing_turn_has_sent_is_not_sent_again() {
    let sent = EventSent { sequence: 2, instance_id: "i".into(), name: "E".into(), input: Json::null() };
    let sends = |at: i64| {
        let sent = Action::SendEvent(sent.clone());
        let Action::SignalEntity(signal) = signal(1, "a") else { unreachable!() };
        // For a time that the code reckons from its clock.
        let signal = Action::SignalEntity(EntitySignaled { scheduled: Some(Timestamp(at)), ..signal });
        vec![signal, sent, detached(3, None), detached(4, Some("own")), task(5)]
    };
    let failed = || GuestOutcome::Failed(Failure::new("Oops", "it failed"));
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0)]).fail(vec![ended(0)], 3_000, sends(5_000));
    let mut run = run.rewound(9_000);
    assert_eq!(run.starts_sent(), ["e:00000003"], "an id of the code's own tells nothing of who started it");
    let mut again = Run::of(run.records.clone());
    assert_eq!(sent_before(&mut again, 9_000, sends(99_000), GuestOutcome::Waiting), [1, 2, 3]);
    assert_eq!(fold(&again.records), again.state);
    // It fails anew, and what it has sent stays in mind, whatever it sent in the meantime.
    let other = vec![signal(1, "b")];
    assert!(sent_before(&mut run, 9_000, other.clone(), failed()).is_empty());
    let mut run = run.rewound(10_000);
    let mut other_again = Run::of(run.records.clone());
    assert_eq!(sent_before(&mut other_again, 10_000, other, GuestOutcome::Waiting), [1]);
    assert_eq!(sent_before(&mut run, 10_000, sends(99_000), failed()), [1, 2, 3]);
    let mut run = run.rewound(11_000);
    // A turn later it is the same still, also under another number; once more it is another.
    assert!(sent_before(&mut run, 11_000, vec![], GuestOutcome::Waiting).is_empty());
    let late = run.state.clone();
    let turn = late.begin_turn(vec![event(7)], Timestamp(12_000)).unwrap();
    let asked = GuestTurn { actions: vec![task(1), signal(2, "a"), signal(3, "a")], outcome: GuestOutcome::Waiting };
    let ended = late.end_turn(turn, Ok(asked), LIMITS, next).unwrap();
    assert_eq!(ended.sent_before.into_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_detached_start_that_nothing_came_of_is_made_again() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0)]).fail(vec![ended(0)], 3_000, vec![detached(1, None), signal(2, "a")]);
    let undone = run.undo();
    assert_eq!(undone.detached_starts().collect::<Vec<_>>(), [(1, "e:00000001")]);
    let component = ComponentReplaced { component: Digest([9; 32]), handler: "M".into(), contract: "1.0.0".into() };
    let (reason, fresh, unstarted) = (String::new(), BTreeSet::new(), BTreeSet::from([1]));
    let order = RewindOrder { reason, time: Timestamp(9_000), component, fresh, unstarted };
    let RewoundHistory { from, records, .. } = undone.finish(order);
    let mut run = Run::of(run.records[..from.0 as usize].iter().cloned().chain(records).collect());
    let asked = vec![detached(1, None), signal(2, "a")];
    assert_eq!(sent_before(&mut run, 9_000, asked, GuestOutcome::Waiting), [2]);
}

fn has(events: &[GuestEvent], wanted: Sequence) -> bool {
    events.iter().any(|event| {
        matches!(event, GuestEvent::TaskCompleted(sequence, _) | GuestEvent::TaskFailed(sequence, _) if *sequence == wanted)
    })
}

#[test]
fn a_failure_that_no_branch_answered_is_dropped_though_others_went_on() {
    // Branches: one of activity 0, one of 1 and then 2. All are waited for, then the failure of 0 is the code's.
    let code = |events: &[GuestEvent]| {
        let first = vec![task(0), task(1)];
        if has(events, 1) { [first, vec![task(2)]].concat() } else { first }
    };
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0), task(1)]).turn(vec![fails(0)], 3_000, vec![]);
    run.turn(vec![ended(1)], 4_000, vec![task(2)]).fail(vec![ended(2)], 5_000, vec![]);
    assert_eq!(run.find_unanswered(code), 1);
    let mut run = run.rewound(9_000);
    let ExecutionRewound { from, tasks, .. } = run.rewind_event();
    assert_eq!((*from, tasks.len(), tasks[0].sequence), (TurnNumber(4), 1, 0));
    assert_eq!(run.open(), [0], "the failed one, and nothing else");
    assert!(run.records[2].events.is_empty(), "turns keep their places");
    let (replayed, again) = run.handed(vec![], 9_000);
    assert!(has(&replayed, 1) && !has(&replayed, 0) && has(&again, 2), "{replayed:?} {again:?}");
    run.turn(vec![], 9_000, vec![]);
    run.end(vec![ended(0)], 10_000, vec![], GuestOutcome::Completed(Json::null()));
    assert_eq!(fold(&run.records), run.state);
}

#[test]
fn of_many_failures_exactly_those_that_the_code_answered_stay() {
    // Activities 0 to 39 at once, all of which fail; for two of them another takes their place.
    let (all, answered) = (40, [7, 8]);
    let first = || (0..all).map(task).collect::<Vec<_>>();
    let code = |events: &[GuestEvent]| {
        let again = answered.iter().filter(|sequence| has(events, **sequence)).count() as u32;
        [first(), (all..all + again).map(task).collect()].concat()
    };
    let mut run = Run::new();
    run.turn(vec![], 2_000, first()).turn(vec![fails(3), fails(7), fails(4)], 3_000, vec![task(all)]);
    let rest = (0..all).filter(|sequence| ![3, 4, 7, 8].contains(sequence)).map(fails).collect();
    run.turn(rest, 4_000, vec![]).turn(vec![fails(8)], 5_000, vec![task(all + 1)]).fail(vec![event(1)], 6_000, vec![]);
    let replays = run.find_unanswered(code);
    assert_eq!(run.unanswered, (0..all).filter(|sequence| !answered.contains(sequence)).collect());
    assert!(replays <= 24, "{replays} replays");
    let rewound = run.rewound(9_000);
    assert_eq!(rewound.open().len(), 38 + 2, "the failed ones, and the two that took the place of others");
}

#[test]
fn what_was_given_up_after_its_failure_has_an_answer_and_other_code_keeps_all() {
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0), task(1)]).turn(vec![fails(0)], 3_000, vec![]);
    run.turn(vec![ended(1)], 4_000, vec![Action::Cancel { sequence: 0 }, task(2)]).fail(vec![ended(2)], 5_000, vec![]);
    assert!(Unanswered::of(&run.records).is_none());
    let mut run = Run::new();
    run.turn(vec![], 2_000, vec![task(0), task(1)]).turn(vec![fails(0)], 3_000, vec![]);
    run.turn(vec![ended(1)], 4_000, vec![task(2)]).fail(vec![ended(2)], 5_000, vec![]);
    assert_eq!(run.find_unanswered(|_| vec![timer(0, 5)]), 1);
    assert!(run.unanswered.is_empty());
}
