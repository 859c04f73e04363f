//! How large a history has become: replay reads all of it.

use super::{Failure, HistoryEvent, TurnRecord};

/// Events from which on an operator is warned.
const WARN_EVENTS: u64 = 10_000;
/// Bytes of payloads from which on an operator is warned.
const WARN_BYTES: u64 = 50 << 20;

/// How large a history is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Events.
    pub events: u64,
    /// Bytes of the payloads in them.
    pub bytes: u64,
}

impl std::ops::Add for HistorySize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { events: self.events + other.events, bytes: self.bytes + other.bytes }
    }
}

impl HistorySize {
    /// The size of one record.
    pub fn of(record: &TurnRecord) -> Self {
        let bytes: usize = record.events.iter().map(payload_bytes).sum();
        Self { events: record.events.len() as u64, bytes: bytes as u64 }
    }

    /// True if a history that was of this size and is now of that one has become so large that it is worth a warning: at
    /// 10,000 events or 50 MiB, and at each doubling.
    pub fn is_warned_at(self, now: Self) -> bool {
        let level = |size: u64, first: u64| (size / first).checked_ilog2();
        level(self.events, WARN_EVENTS) < level(now.events, WARN_EVENTS)
            || level(self.bytes, WARN_BYTES) < level(now.bytes, WARN_BYTES)
    }
}

fn payload_bytes(event: &HistoryEvent) -> usize {
    let of_failure = |failure: &Failure| failure.message.len() + failure.details.as_ref().map_or(0, String::len);
    match event {
        HistoryEvent::TaskScheduled(task) => task.input.as_str().len(),
        HistoryEvent::ChildScheduled(child) => child.input.as_str().len(),
        HistoryEvent::TaskCompleted { result, .. }
        | HistoryEvent::ChildCompleted { result, .. }
        | HistoryEvent::EntityCompleted { result, .. } => result.as_str().len(),
        HistoryEvent::EntityCalled(call) => call.input.as_str().len(),
        HistoryEvent::EntitySignaled(signal) => signal.input.as_str().len(),
        HistoryEvent::EventSent(sent) => sent.input.as_str().len(),
        HistoryEvent::TaskFailed { failure, .. }
        | HistoryEvent::ChildFailed { failure, .. }
        | HistoryEvent::EntityFailed { failure, .. }
        | HistoryEvent::TaskRetryScheduled { failure, .. } => of_failure(failure),
        HistoryEvent::EventRaised { input, .. } => input.as_str().len(),
        HistoryEvent::CustomStatusSet { status } => status.as_str().len(),
        // Small, or the last: nothing is worth a warning any more.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(events: u64, bytes: u64) -> HistorySize {
        HistorySize { events, bytes }
    }

    #[test]
    fn a_large_history_is_warned_of_once_and_at_each_doubling() {
        let warned = |from: HistorySize, to: HistorySize| from.is_warned_at(to);
        assert!(!warned(size(0, 0), size(9_999, WARN_BYTES - 1)));
        assert!(warned(size(9_999, 0), size(10_000, 0)));
        assert!(!warned(size(10_000, 0), size(19_999, 0)));
        assert!(warned(size(19_999, 0), size(20_000, 0)));
        assert!(!warned(size(20_000, 0), size(39_999, 0)));
        assert!(warned(size(5, 0), size(45_000, 0)), "in one step");
        assert!(warned(size(1, WARN_BYTES - 1), size(2, WARN_BYTES)));
        assert!(warned(size(1, WARN_BYTES), size(2, 2 * WARN_BYTES)));
    }
}
