//! Activities: the steps that do real work.

use crate::bindings::exports::soloist::functions::activity as wit;
use crate::time::Timestamp;

/// Who asks for the activity, and for the how-manieth time.
///
/// An activity runs at least once: after a crash of the host it may run again although it was done. Exactly one of its
/// results is recorded.
#[derive(Clone, Debug)]
pub struct ActivityContext {
    inner: wit::ActivityContext,
}

impl ActivityContext {
    /// The instance whose orchestrator scheduled it.
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    /// The execution that scheduled it.
    pub fn execution_id(&self) -> &str {
        &self.inner.execution_id
    }

    /// The activity's name, as the call gave it.
    pub fn name(&self) -> &str {
        &self.inner.function_name
    }

    /// The number of the action that scheduled it.
    pub fn sequence(&self) -> u32 {
        self.inner.sequence
    }

    /// Counts the attempts of the retry policy from 1. A repetition after a crash of the host keeps the number.
    pub fn attempt(&self) -> u32 {
        self.inner.attempt
    }

    /// The same for every run of this attempt, crashes included; different for every other. Give it to services that can
    /// recognise a repeated request.
    pub fn idempotency_key(&self) -> &str {
        &self.inner.idempotency_key
    }

    /// When the attempt is given up.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.inner.deadline.map(Timestamp::from_millis)
    }

    /// The labels of the call, as pairs of key and value.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner.tags.iter().map(|tag| (tag.key.as_str(), tag.value.as_str()))
    }

    /// A context for unit tests: first attempt of action 0 of an instance.
    pub fn for_test(instance_id: &str) -> Self {
        Self::new(wit::ActivityContext {
            function_name: "test".into(),
            instance_id: instance_id.into(),
            execution_id: format!("{instance_id}-execution"),
            sequence: 0,
            attempt: 1,
            idempotency_key: format!("{instance_id}-execution:0:1"),
            deadline: None,
            tags: Vec::new(),
            trace_context: None,
        })
    }

    pub(crate) fn new(inner: wit::ActivityContext) -> Self {
        Self { inner }
    }
}
