//! Statuses, and which of them a start may override.

use std::{fmt, str::FromStr};

/// The status of an orchestration's instance: Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuntimeStatus {
    /// The code has run and is not done.
    Running,
    /// The code returned.
    Completed,
    /// Between two executions; never visible from outside.
    ContinuedAsNew,
    /// The code failed.
    Failed,
    /// Not used; read from and written for clients that know it.
    Canceled,
    /// Ended by an operator.
    Terminated,
    /// Accepted; the code has not run yet.
    Pending,
    /// Held by an operator.
    Suspended,
}

impl RuntimeStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Running,
        Self::Completed,
        Self::ContinuedAsNew,
        Self::Failed,
        Self::Canceled,
        Self::Terminated,
        Self::Pending,
        Self::Suspended,
    ];

    /// True once the instance has ended: nothing more happens to it but for restart, rewind, an admitted start and purge.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Canceled | Self::Terminated => true,
            Self::Running | Self::ContinuedAsNew | Self::Pending | Self::Suspended => false,
        }
    }

    /// Azure's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::ContinuedAsNew => "ContinuedAsNew",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::Terminated => "Terminated",
            Self::Pending => "Pending",
            Self::Suspended => "Suspended",
        }
    }
}

impl fmt::Display for RuntimeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no status.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown runtime status {0:?}")]
pub struct UnknownStatus(String);

impl FromStr for RuntimeStatus {
    type Err = UnknownStatus;

    /// Azure's name, without regard to case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// The gate's policy: which states of an existing instance a start may override
/// (Azure's `overridableExistingInstanceStates`, and `None` beside it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverridableStates {
    /// An ended instance may be started again; a live one refuses.
    #[default]
    NonRunningStates,
    /// Every instance is replaced; a live one ends in the same commit.
    AnyState,
    /// An id is used once, for ever.
    None,
}

impl OverridableStates {
    /// Whether a start under this policy may take the place of an instance in `status`.
    pub fn admits(self, status: RuntimeStatus) -> bool {
        match self {
            Self::NonRunningStates => status.is_terminal(),
            Self::AnyState => true,
            Self::None => false,
        }
    }
}

impl FromStr for OverridableStates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [("NonRunningStates", Self::NonRunningStates), ("AnyState", Self::AnyState), ("None", Self::None)]
            .into_iter()
            .find_map(|(name, value)| name.eq_ignore_ascii_case(text).then_some(value))
            .ok_or_else(|| format!("{text:?} is not one of NonRunningStates, AnyState, None"))
    }
}
