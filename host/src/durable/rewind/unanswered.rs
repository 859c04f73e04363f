//! Failures to which a failed generation's code has not answered, though other parts of it went on: a branch of several that
//! are waited for together has failed early, say.
//!
//! A history does not tell which action answers what. So it is tried: a failure is unanswered if the code, replayed without it,
//! asks for the same as before.

use std::{collections::BTreeSet, sync::Arc};

use super::last_asked;
use crate::durable::{HistoryEvent, Replay, Sequence, TurnRecord};

/// After so many replays what is not known to be unanswered counts as answered.
const REPLAYS_MAX: u32 = 64;

/// The final failures in the turns that a rewind keeps, while it is found out which of them to drop: all of them, or if the
/// code then asks for something else those of either half, and so on.
#[derive(Clone, Debug)]
pub struct Unanswered<'a> {
    /// The start, and the turns that are kept.
    records: &'a [Arc<TurnRecord>],
    /// Known to be unanswered.
    dropped: BTreeSet<Sequence>,
    /// Groups to try, the last one next; each in order.
    groups: Vec<Vec<Sequence>>,
    replays: u32,
}

impl<'a> Unanswered<'a> {
    /// All final failures before the turns that a rewind undoes anyway; `None` if there are none. (One whose action was given
    /// up afterwards has an answer.)
    pub fn of(records: &'a [Arc<TurnRecord>]) -> Option<Self> {
        let records = &records[..last_asked(records)];
        let events = || records.iter().flat_map(|record| &record.events);
        let canceled = events().filter_map(|event| match event {
            HistoryEvent::ActionCanceled { sequence } => Some(*sequence),
            _ => None,
        });
        let canceled: BTreeSet<Sequence> = canceled.collect();
        let failures = events().filter_map(|event| Some(event.final_failure()?.0));
        let failures: Vec<_> = failures.filter(|sequence| !canceled.contains(sequence)).collect();
        let dropped = BTreeSet::new();
        (!failures.is_empty()).then(|| Self { records, dropped, groups: vec![failures], replays: 0 })
    }

    /// The next replay to make; `None` once all is known.
    pub fn replay(&self) -> Option<Replay> {
        let mut without = self.dropped.clone();
        without.extend(self.groups.last()?);
        let records = self.records.iter().map(|record| {
            if !record.events.iter().any(|event| is_one_of(event, &without)) {
                return record.clone();
            }
            let events = record.events.iter().filter(|event| !is_one_of(event, &without)).cloned();
            Arc::new(TurnRecord { events: events.collect(), ..**record })
        });
        Replay::of(&records.collect::<Vec<_>>())
    }

    /// Whether the code, handed the replay, asked for the same as before.
    pub fn asked_the_same(&mut self, same: bool) {
        let Some(mut group) = self.groups.pop() else { return };
        self.replays += 1;
        if same {
            self.dropped.extend(group);
        } else if group.len() > 1 {
            // The later half is tried first: of several failures code answers the first, as a rule.
            let later = group.split_off(group.len() / 2);
            self.groups.extend([group, later]);
        }
        if self.replays == REPLAYS_MAX {
            self.groups.clear();
        }
    }

    /// Whose failures are unanswered, as far as is known.
    pub fn sequences(self) -> BTreeSet<Sequence> {
        self.dropped
    }
}

/// Whether an event is a final failure of one of these.
pub(super) fn is_one_of(event: &HistoryEvent, sequences: &BTreeSet<Sequence>) -> bool {
    event.final_failure().is_some_and(|(sequence, _)| sequences.contains(&sequence))
}
