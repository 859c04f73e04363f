//! The durable client: what callers outside of orchestrations may ask of the hub. Served over HTTP and to guests.

use crate::durable::{
    Creation, ExecutionId, FunctionName, InstanceId, InstanceKey, Json, OverridableStates, RuntimeStatus, Tag,
    Timestamp, TraceContext, TurnRecord,
};
use crate::storage::{Fence, Output, Snapshot, StorageError};
use std::sync::Arc;

/// A start.
#[derive(Clone, Debug)]
pub struct StartNew {
    /// The orchestrator function.
    pub name: FunctionName,
    /// The instance id as the caller gave it; none (or an empty one) makes one: 32 hexadecimal digits.
    pub instance_id: Option<String>,
    /// The input.
    pub input: Json,
    /// The gate's policy; none is the host's.
    pub policy: Option<OverridableStates>,
    /// The version label.
    pub version: Option<String>,
    /// Not before this time.
    pub scheduled_start: Option<Timestamp>,
    /// Labels.
    pub tags: Vec<Tag>,
    /// The trace that it belongs to.
    pub trace_context: Option<TraceContext>,
}

/// The instance that a caller means. A bare id means whichever has it at the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The id.
    pub id: &'a str,
    /// Only the one that this start made: to a later one of the id nothing is done, as if there were no instance. It counts
    /// where the decision is made durable, not before.
    pub creation: Option<Creation>,
}

impl Target<'_> {
    /// Whether what stems from this start is meant.
    pub(crate) fn admits(self, creation: Creation) -> bool {
        self.creation.is_none_or(|only| only == creation)
    }

    /// Whether this instance is meant.
    pub(super) fn is(self, found: &Snapshot) -> bool {
        self.admits(Creation { instance: found.instance, time: found.created })
    }

    /// The instance's id, and the right to write to it alone.
    pub(super) fn fenced(self) -> (InstanceId, Fence) {
        (InstanceId::from_stored(self.id), Fence { creation: self.creation, ..Fence::default() })
    }
}

impl<'a> From<&'a str> for Target<'a> {
    fn from(id: &'a str) -> Self {
        Self { id, creation: None }
    }
}

impl<'a> From<&'a String> for Target<'a> {
    fn from(id: &'a String) -> Self {
        Self::from(id.as_str())
    }
}

/// A restarted instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// Its id: a new one, or the same.
    pub instance_id: InstanceId,
    /// Its new start.
    pub creation: Creation,
}

/// What became of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartOutcome {
    /// This call started the instance.
    Started {
        /// Its id.
        instance_id: InstanceId,
        /// The execution.
        execution_id: ExecutionId,
        /// This start.
        creation: Creation,
    },
    /// The id is taken.
    AlreadyExists {
        /// Its id.
        instance_id: InstanceId,
        /// Its status at the decision.
        status: RuntimeStatus,
    },
}

/// Why a request was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// An argument is at fault: the text is Durable Functions' where it has one.
    #[error("{0}")]
    InvalidArgument(String),
    /// No such orchestrator. The text is Durable Functions' own and lists the known ones.
    #[error("{0}")]
    UnknownFunction(String),
    /// No such instance.
    #[error("instance {0:?} not found")]
    NotFound(String),
    /// The instance has ended.
    #[error("the instance has ended: it is {0}")]
    Gone(RuntimeStatus),
    /// The instance's state forbids it.
    #[error("{0}")]
    Conflict(String),
    /// This host cannot do it.
    #[error("{0}")]
    NotSupported(String),
    /// The host is going down or overloaded: try again.
    #[error("{0}")]
    Unavailable(String),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a status read returns beside the least.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatusWant {
    /// The input.
    pub input: bool,
    /// The history.
    pub history: bool,
}

/// What is shown of a history beside what happened and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryDetail {
    /// With inputs.
    pub input: bool,
    /// With results.
    pub output: bool,
}

/// An instance, as seen from outside.
#[derive(Clone, Debug)]
pub struct OrchestrationStatus {
    /// The orchestrator function.
    pub name: String,
    /// The instance.
    pub instance_id: InstanceId,
    /// The execution.
    pub execution_id: ExecutionId,
    /// The status.
    pub runtime_status: RuntimeStatus,
    /// The input, if asked for.
    pub input: Option<Json>,
    /// How it ended, if it did.
    pub output: Option<Output>,
    /// The custom status.
    pub custom_status: Option<Json>,
    /// Its number.
    pub instance: InstanceKey,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Every record, if asked for; empty while it is Pending.
    pub history: Option<Vec<Arc<TurnRecord>>>,
    /// Why it stalls, while it does: text for the operator.
    pub diagnostics: Option<String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

impl OrchestrationStatus {
    /// The start that it stems from.
    pub fn creation(&self) -> Creation {
        Creation { instance: self.instance, time: self.created }
    }

    /// The output as the status object shows it: the output, the failure's text, or the reason; none while it is live.
    pub fn output_json(&self) -> Option<Json> {
        match self.output.as_ref()? {
            Output::Completed(output) => Some(output.clone()),
            Output::Failed(failure) => {
                Some(Json::string(&format!("Orchestrator function '{}' failed: {}", self.name, failure.message)))
            }
            Output::Terminated(reason) => Some(Json::string(reason)),
        }
    }
}

/// A query over instances.
#[derive(Clone, Debug, Default)]
pub struct StatusQuery {
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created at this time or earlier.
    pub created_to: Option<Timestamp>,
    /// In one of these states; empty means any.
    pub statuses: Vec<RuntimeStatus>,
    /// The id begins with this.
    pub prefix: Option<String>,
    /// At most this many; none is 100.
    pub top: Option<usize>,
    /// Where the page before ended.
    pub continuation: Option<String>,
    /// With inputs.
    pub input: bool,
}

/// A page of instances.
#[derive(Clone, Debug)]
pub struct StatusPage {
    /// The instances.
    pub instances: Vec<OrchestrationStatus>,
    /// Where the next page begins; none on the last.
    pub continuation: Option<String>,
}

/// Which ended instances to purge.
#[derive(Clone, Debug, Default)]
pub struct PurgeFilter {
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created at this time or earlier.
    pub created_to: Option<Timestamp>,
    /// In one of these states, of which only those count in which an instance has ended: a list of live states only matches
    /// nothing. Empty means every state in which an instance has ended.
    pub statuses: Vec<RuntimeStatus>,
}
