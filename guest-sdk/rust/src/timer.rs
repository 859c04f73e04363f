//! Timer triggers: functions that run on a schedule.

use crate::bindings::exports::soloist::functions::timer_function as wit;
use crate::time::Timestamp;

/// A firing of a timer trigger.
///
/// A firing is durable: one that was due while the host was down happens at its next start, once, and says
/// [so](Self::is_past_due).
#[derive(Clone, Debug)]
pub struct TimerInfo {
    inner: wit::TimerContext,
}

/// Where a monitored schedule stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleStatus {
    /// The firing before this one.
    pub last: Option<Timestamp>,
    /// When the status was last written.
    pub last_updated: Option<Timestamp>,
    /// The next firing.
    pub next: Option<Timestamp>,
}

impl TimerInfo {
    /// The function's name, as the host calls it.
    pub fn name(&self) -> &str {
        &self.inner.function_name
    }

    /// Names this invocation in the log.
    pub fn invocation_id(&self) -> &str {
        &self.inner.invocation_id
    }

    /// When it was due.
    pub fn scheduled(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.scheduled)
    }

    /// True if it fires later than it was due, for example because the host was down.
    pub fn is_past_due(&self) -> bool {
        self.inner.is_past_due
    }

    /// Whether the schedule follows daylight saving time.
    pub fn adjust_for_dst(&self) -> bool {
        self.inner.adjust_for_dst
    }

    /// Where the schedule stands; none if `useMonitor` is off.
    pub fn schedule_status(&self) -> Option<ScheduleStatus> {
        let time = |millis: Option<f64>| millis.map(Timestamp::from_millis);
        self.inner.status.as_ref().map(|status| ScheduleStatus {
            last: time(status.last),
            last_updated: time(status.last_updated),
            next: time(status.next),
        })
    }

    /// A firing for unit tests: in time, and without a status.
    pub fn for_test(scheduled: Timestamp) -> Self {
        Self::new(wit::TimerContext {
            function_name: "test".into(),
            invocation_id: "test-invocation".into(),
            scheduled: scheduled.as_millis(),
            is_past_due: false,
            adjust_for_dst: true,
            status: None,
            trace_context: None,
        })
    }

    /// The same firing, but late.
    pub fn past_due(mut self) -> Self {
        self.inner.is_past_due = true;
        self
    }

    /// The same firing of a schedule that stands so.
    pub fn with_schedule_status(mut self, status: ScheduleStatus) -> Self {
        let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
        self.inner.status = Some(wit::ScheduleStatus {
            last: millis(status.last),
            last_updated: millis(status.last_updated),
            next: millis(status.next),
        });
        self
    }

    pub(crate) fn new(inner: wit::TimerContext) -> Self {
        Self { inner }
    }
}
