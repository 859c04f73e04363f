//! The task hub: who runs when.

mod client;
mod executor;

pub use client::{ClientError, OrchestrationStatus, StartNew, StartOutcome, StatusPage, StatusQuery, StatusWant};
pub use executor::{
    ActivityCall, Executor, ExecutorFuture, Functions, GuestError, Orchestrator, OrchestratorCall, OrchestratorGuest,
};

use crate::durable::Json;

/// A running task hub. Cheap to share: `Arc<Hub>`.
#[derive(Debug)]
pub struct Hub {}

impl Hub {
    /// Starts an orchestration through the singleton gate. Returns once the decision is durable.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn start_new(&self, _start: StartNew) -> Result<StartOutcome, ClientError> {
        Err(ClientError::Unavailable("not running".into()))
    }

    /// Reads an instance; none if there is no such instance.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self, _id: &str, _want: StatusWant) -> Result<Option<OrchestrationStatus>, ClientError> {
        Err(ClientError::Unavailable("not running".into()))
    }

    /// Lists instances.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self, _query: StatusQuery) -> Result<StatusPage, ClientError> {
        Err(ClientError::Unavailable("not running".into()))
    }

    /// Delivers an external event. Returns once it is durable; the orchestration may consume it later.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::Gone`].
    pub async fn raise_event(&self, _id: &str, _name: &str, _input: Json) -> Result<(), ClientError> {
        Err(ClientError::Unavailable("not running".into()))
    }

    /// Ends an instance. Returns once that is durable.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::Gone`].
    pub async fn terminate(&self, _id: &str, _reason: &str) -> Result<(), ClientError> {
        Err(ClientError::Unavailable("not running".into()))
    }

    /// Deletes an ended instance.
    ///
    /// # Errors
    /// [`ClientError::NotFound`]; [`ClientError::Conflict`] while it is live.
    pub async fn purge(&self, _id: &str) -> Result<(), ClientError> {
        Err(ClientError::Unavailable("not running".into()))
    }
}
