//! How the code words what it asks for.

use crate::bindings::soloist::functions::types::{OverridableStates, RetryPolicy as WitRetryPolicy, Tag};
use crate::time::{Timestamp, millis};
use std::time::Duration;

/// How the host repeats a failed activity or sub-orchestration.
///
/// After the n-th failed attempt (counted from 1) the host waits min(first interval × backoff^(n-1), max interval).
///
/// ```
/// use soloist_sdk::RetryPolicy;
/// use std::time::Duration;
///
/// let policy = RetryPolicy::new(5, Duration::from_secs(1)).with_backoff(2.0).with_max_interval(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct RetryPolicy(pub(super) WitRetryPolicy);

impl RetryPolicy {
    /// At most `max_attempts` attempts, the first included (at least 1), with `first_interval` (above 0) between them.
    pub fn new(max_attempts: u32, first_interval: Duration) -> Self {
        Self(WitRetryPolicy {
            max_attempts,
            first_interval: millis(first_interval),
            backoff_coefficient: 1.0,
            max_interval: None,
            retry_timeout: None,
            retry_kinds: Vec::new(),
            never_retry_kinds: Vec::new(),
        })
    }

    /// Multiplies the wait by this from one attempt to the next.
    pub fn with_backoff(mut self, coefficient: f64) -> Self {
        self.0.backoff_coefficient = coefficient;
        self
    }

    /// No wait is longer than this.
    pub fn with_max_interval(mut self, interval: Duration) -> Self {
        self.0.max_interval = Some(millis(interval));
        self
    }

    /// A failure later than this after the first attempt began is the last: nothing is attempted again.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.0.retry_timeout = Some(millis(timeout));
        self
    }

    /// Retries only failures of this kind (and of others named by this).
    pub fn only_kind(mut self, kind: impl Into<String>) -> Self {
        self.0.retry_kinds.push(kind.into());
        self
    }

    /// Never retries failures of this kind.
    pub fn except_kind(mut self, kind: impl Into<String>) -> Self {
        self.0.never_retry_kinds.push(kind.into());
        self
    }
}

/// When a timer fires: at a time, or after a duration counted from the present turn.
#[derive(Clone, Copy, Debug)]
pub enum FireAt {
    /// At this time; one in the past fires at once.
    At(Timestamp),
    /// After this duration.
    After(Duration),
}

impl FireAt {
    /// The time that is meant, where the present turn began at `now`.
    pub(crate) fn counted_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::After(duration) => now + duration,
        }
    }
}

impl From<Timestamp> for FireAt {
    fn from(time: Timestamp) -> Self {
        Self::At(time)
    }
}

impl From<Duration> for FireAt {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

/// What may be said about the call of an activity.
#[derive(Clone, Debug, Default)]
pub struct TaskOptions {
    pub(super) retry: Option<RetryPolicy>,
    pub(super) timeout: Option<Duration>,
    pub(super) tags: Vec<Tag>,
}

impl TaskOptions {
    /// Nothing special.
    pub fn new() -> Self {
        Self::default()
    }

    /// Repeats failed attempts.
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Bounds one attempt; the activity's own timeout applies as well.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Adds a label.
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push(Tag { key: key.into(), value: value.into() });
        self
    }
}

/// What may be said about a sub-orchestration.
#[derive(Clone, Debug, Default)]
pub struct SubOrchestrationOptions {
    pub(super) instance_id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) overridable_states: Option<OverridableStates>,
    pub(super) tags: Vec<Tag>,
}

impl SubOrchestrationOptions {
    /// Nothing special.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the child this instance id; without, one is derived from this execution.
    pub fn with_instance_id(mut self, instance_id: impl Into<String>) -> Self {
        self.instance_id = Some(instance_id.into());
        self
    }

    /// Gives the child a version label.
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Repeats failed attempts.
    pub fn with_retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Says what an existing instance with that id means; without, the host's setting holds.
    pub fn with_overridable_states(mut self, states: OverridableStates) -> Self {
        self.overridable_states = Some(states);
        self
    }

    /// Adds a label.
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push(Tag { key: key.into(), value: value.into() });
        self
    }
}

/// What may be said about the start of an orchestration, by a client or by another orchestration.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    pub(crate) instance_id: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) scheduled_start: Option<Timestamp>,
    pub(crate) overridable_states: Option<OverridableStates>,
    pub(crate) tags: Vec<Tag>,
}

impl StartOptions {
    /// Nothing special: the host makes an instance id.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts it under this instance id.
    pub fn with_instance_id(mut self, instance_id: impl Into<String>) -> Self {
        self.instance_id = Some(instance_id.into());
        self
    }

    /// Gives it a version label.
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Starts it at this time.
    pub fn scheduled_at(mut self, time: Timestamp) -> Self {
        self.scheduled_start = Some(time);
        self
    }

    /// Says which states of an existing instance the start may override; without, the binding's setting holds, else the host's.
    pub fn with_overridable_states(mut self, states: OverridableStates) -> Self {
        self.overridable_states = Some(states);
        self
    }

    /// Adds a label.
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push(Tag { key: key.into(), value: value.into() });
        self
    }
}
