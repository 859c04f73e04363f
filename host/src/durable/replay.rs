//! Replay: what a fresh guest is handed to catch up with its history, and whether it asked for the same.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{
    ExecutionId, GuestEvent, GuestOutcome, GuestTurn, HistoryEvent, TurnRecord,
    turn::{compared_event, guest_event},
};

/// A generation's recorded turns, as events for a guest, and the actions that it must ask for.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What the guest is handed, in one call.
    pub events: Vec<GuestEvent>,
    /// How many turns that is: the CPU budget is that many times a turn's.
    pub turns: u32,
    recorded: Vec<HistoryEvent>,
    execution_id: ExecutionId,
}

/// A replay that asked for something else than its history records: the code is not the code that ran, or is not
/// deterministic.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    position: usize,
    recorded: Option<HistoryEvent>,
    replayed: Option<HistoryEvent>,
    ended: bool,
}

impl Replay {
    /// The replay of a generation's records (the first is its start). `None` if no turn has run.
    pub fn of(records: &[Arc<TurnRecord>]) -> Option<Self> {
        let (start, turns) = records.split_first()?;
        let Some(HistoryEvent::ExecutionStarted(started)) = start.events.first() else { return None };
        let mut detached = BTreeSet::new();
        let first = turns.iter().position(|record| !record.is_hold())?;
        let mut replay = Self {
            events: Vec::new(),
            turns: u32::try_from(turns.len()).ok()?,
            recorded: Vec::new(),
            execution_id: started.execution_id.clone(),
        };
        let mut next_index = 0;
        for (number, record) in turns.iter().enumerate() {
            let turn_at = replay.events.len();
            if number == first {
                replay.events.push(GuestEvent::ExecutionStarted(Arc::new((**started).clone())));
            }
            for event in &record.events {
                if let HistoryEvent::ChildScheduled(child) = event
                    && child.detached
                {
                    detached.insert(child.sequence);
                }
                let is_detached = |sequence| detached.contains(&sequence);
                replay.events.extend(guest_event(event, &mut next_index, is_detached));
                if event.is_compared_action() {
                    replay.recorded.push(event.clone());
                }
            }
            // A turn that was the host's alone (a retry, a hold) was never handed to a guest.
            if replay.events.len() > turn_at {
                replay.events.insert(turn_at, GuestEvent::TurnStarted(record.time));
            }
        }
        Some(replay)
    }

    /// Compares what the guest asked for with what the history records.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, guest: &GuestTurn) -> Result<(), Box<Divergence>> {
        let mut replayed = guest.actions.iter().filter_map(|action| compared_event(action, &self.execution_id));
        let mut recorded = self.recorded.iter();
        for position in 0.. {
            match (recorded.next(), replayed.next()) {
                (None, None) => break,
                (a, b) if a == b.as_ref() => {}
                (a, b) => {
                    let recorded = a.cloned();
                    return Err(Box::new(Divergence { position, recorded, replayed: b, ended: false }));
                }
            }
        }
        match guest.outcome {
            GuestOutcome::Waiting => Ok(()),
            GuestOutcome::Completed(_)
            | GuestOutcome::Failed(_)
            | GuestOutcome::ContinueAsNew { .. }
            | GuestOutcome::Faulted(_) => {
                Err(Box::new(Divergence { position: self.recorded.len(), recorded: None, replayed: None, ended: true }))
            }
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |event: &Option<HistoryEvent>| match event {
            Some(event) => shorten(&format!("{event:?}")),
            None => "nothing".to_owned(),
        };
        f.write_str("Non-Deterministic workflow detected: ")?;
        if self.ended {
            return f.write_str("the code ended where the history goes on; was the orchestrator's code changed?");
        }
        write!(
            f,
            "at action {} the history records {} and the code asks for {}; was the orchestrator's code changed?",
            self.position,
            show(&self.recorded),
            show(&self.replayed)
        )
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
