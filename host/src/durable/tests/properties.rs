//! What holds for any history, however it came about.

use super::*;

/// One thing that befalls an execution, or that its code does.
#[derive(Clone, Debug)]
enum Step {
    /// The code asks for an activity that the host tries three times.
    Task,
    Timer(i64),
    Cancel(prop::sample::Index),
    /// An activity ends, well or not; whether it was open or not.
    End(prop::sample::Index, bool),
    Event,
    Wait(i64),
    Hold(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        3 => Just(Step::Task),
        2 => (0..50_000_i64).prop_map(Step::Timer),
        1 => index().prop_map(Step::Cancel),
        4 => (index(), any::<bool>()).prop_map(|(which, fails)| Step::End(which, fails)),
        2 => Just(Step::Event),
        3 => (0..2_000_000_i64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Hold),
    ];
    prop::collection::vec(step, 1..60)
}

/// A history, and all that its code asked for, turn by turn.
struct Story {
    instance: Instance,
    records: Vec<Arc<TurnRecord>>,
    asked: Vec<Vec<Action>>,
}

/// Plays steps. With `twice` every message comes twice in a turn, and what was taken before comes again with it.
fn play(steps: &[Step], twice: bool) -> Story {
    let mut story = Story { instance: fresh(), records: vec![start_record()], asked: vec![vec![]] };
    let (mut now, mut made, mut events) = (2_000, 0_u32, 0_i64);
    for step in steps {
        let pick = |which: &prop::sample::Index| u32::try_from(which.index(made as usize)).unwrap();
        let (mut taken, actions) = match step {
            Step::Task => (vec![], vec![retried(made, policy())]),
            Step::Timer(after) => (vec![], vec![timer(made, now + after)]),
            Step::Cancel(_) | Step::End(..) if made == 0 => continue,
            Step::Cancel(which) => (vec![], vec![Action::Cancel { sequence: pick(which) }]),
            Step::End(which, fails) => {
                let outcome = if *fails { Err(Failure::new("Error", "no")) } else { Ok(Json::null()) };
                (vec![Message::TaskEnded { generation: GenerationKey(2), sequence: pick(which), outcome }], vec![])
            }
            Step::Event => (vec![], vec![]),
            Step::Wait(span) => {
                now += span;
                (vec![], vec![])
            }
            Step::Hold(suspend) => {
                let hold = if *suspend { Hold::Suspend } else { Hold::Resume };
                if let Ok(held) = story.instance.hold(hold, "", Timestamp(now)) {
                    story.instance.apply(&held.record);
                    story.records.push(held.record);
                    story.asked.push(vec![]);
                }
                continue;
            }
        };
        // The code acts only in a turn: an event opens one where nothing else does.
        let acts = !actions.is_empty() || matches!(step, Step::Event);
        if acts && story.instance.status() == RuntimeStatus::Suspended {
            continue;
        }
        if acts {
            events += 1;
            taken.push(event(events));
        }
        if twice {
            taken.extend(taken.clone());
            taken.extend((1..=events).map(event));
        }
        made +=
            u32::try_from(actions.iter().filter(|action| !matches!(action, Action::Cancel { .. })).count()).unwrap();
        let Some(turn) = story.instance.begin_turn(taken, Timestamp(now)) else { continue };
        let limits = TurnLimits { actions_max: 1_000 };
        let ended = story.instance.end_turn(turn, waiting(actions.clone()), limits, next).unwrap();
        story.instance.apply(&ended.record);
        story.records.push(ended.record);
        story.asked.push(actions);
    }
    story
}

proptest! {
    /// With retries and holds, too: folding the records again gives the state that applying them one by one gave.
    #[test]
    fn a_fold_of_any_prefix_equals_incremental_apply(steps in steps()) {
        let story = play(&steps, false);
        let mut applied = fresh();
        for end in 1..=story.records.len() {
            prop_assert_eq!(&fold(&story.records[..end]), &applied);
            prop_assert_eq!(story.records[end - 1].summary, applied.summary());
            if let Some(record) = story.records.get(end) {
                applied.apply(record);
            }
        }
        prop_assert_eq!(&applied, &story.instance);
    }

    /// A message that comes again, in the same turn or in any later one, changes nothing.
    #[test]
    fn messages_that_come_twice_count_once(steps in steps()) {
        let (once, twice) = (play(&steps, false), play(&steps, true));
        prop_assert_eq!(once.records, twice.records);
        prop_assert_eq!(once.instance, twice.instance);
    }

    /// Replay of every prefix is content with what the code asked for then, and with nothing less.
    #[test]
    fn replay_of_every_prefix_asks_for_the_same(steps in steps()) {
        let story = play(&steps, false);
        for end in 2..=story.records.len() {
            let Some(replay) = Replay::of(&story.records[..end]) else { continue };
            let asked: Vec<Action> = story.asked[..end].concat();
            prop_assert!(replay.check(&waiting(asked.clone()).unwrap()).is_ok());
            for left_out in 0..asked.len() {
                let mut less = asked.clone();
                less.remove(left_out);
                prop_assert!(replay.check(&waiting(less).unwrap()).is_err(), "{:?} is missed", asked[left_out]);
            }
        }
    }

    /// What is outstanding is what was scheduled or begun again, and has neither ended, nor waits for its next attempt, nor was
    /// canceled.
    #[test]
    fn what_is_outstanding_was_performed_and_has_not_ended(steps in steps()) {
        let story = play(&steps, false);
        let mut open = std::collections::BTreeSet::new();
        for event in story.records.iter().flat_map(|record| &record.events) {
            match event {
                HistoryEvent::TaskScheduled(TaskScheduled { sequence, .. })
                | HistoryEvent::TaskRetryStarted { sequence, .. } => drop(open.insert(*sequence)),
                HistoryEvent::TaskCompleted { sequence, .. }
                | HistoryEvent::TaskFailed { sequence, .. }
                | HistoryEvent::TaskRetryScheduled { sequence, .. }
                | HistoryEvent::ActionCanceled { sequence } => drop(open.remove(sequence)),
                _ => {}
            }
        }
        let outstanding: Vec<_> = story.instance.outstanding().map(|task| task.work.sequence()).collect();
        prop_assert_eq!(story.instance.summary().outstanding as usize, outstanding.len());
        prop_assert_eq!(outstanding, open.into_iter().collect::<Vec<_>>());
    }

    /// After an end nothing is taken, nothing is open and nothing is due.
    #[test]
    fn an_end_absorbs_whatever_came_before(steps in steps()) {
        let mut story = play(&steps, false);
        if story.instance.status() == RuntimeStatus::Suspended {
            story.instance.apply(&story.instance.hold(Hold::Resume, "", Timestamp(1 << 40)).unwrap().record);
        }
        let turn = story.instance.begin_turn(vec![event(1_000)], Timestamp(1 << 40)).unwrap();
        let outcome = GuestOutcome::Completed(Json::null());
        let ended = story.instance.end_turn(turn, Ok(GuestTurn { actions: vec![], outcome }), LIMITS, next).unwrap();
        story.instance.apply(&ended.record);
        prop_assert!(story.instance.begin_turn(vec![event(1_001), super::ended(0)], Timestamp(1 << 41)).is_none());
        prop_assert_eq!((story.instance.outstanding().count(), story.instance.next_due()), (0, None));
        prop_assert!(story.instance.hold(Hold::Suspend, "", Timestamp(1 << 41)).is_err());
    }
}
