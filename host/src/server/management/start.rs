//! Starting an orchestration, or one again, and waiting for its end if the caller wants to.

use std::{future::Future, time::Duration};

use http::{StatusCode, header};
use tokio::time::timeout;

use super::super::body::{Body, BodyError};
use super::super::error::ApiError;
use super::super::reply::{self, Reply};
use super::status::status_json;
use super::{Call, Management, json_body};
use crate::durable::{FunctionName, Json, RuntimeStatus};
use crate::hub::{ClientError, HistoryDetail, OrchestrationStatus, Restarted, StartNew, StartOutcome, StatusWant};

/// Nobody waits longer over one request: connections do not live for ever.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// What a start's path names.
pub(super) struct StartRequest {
    pub name: String,
    pub id: Option<String>,
}

/// For how long to wait for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    timeout: Duration,
}

impl Management {
    pub(super) async fn start(
        &self,
        call: &Call<'_>,
        request: StartRequest,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let wait = Wait::asked_for(call)?;
        let start = StartNew {
            name: FunctionName::new(&request.name),
            instance_id: request.id,
            input: json_body(self.json_depth_max, body).await?,
            policy: None,
            version: call.query.text("version").map(str::to_owned),
            scheduled_start: None,
            tags: vec![],
            trace_context: None,
        };
        let started = match self.client.start_new(start).await? {
            StartOutcome::Started { instance_id, creation, .. } => Restarted { instance_id, creation },
            StartOutcome::AlreadyExists { status, .. } => return Err(ApiError::already_exists(status)),
        };
        self.started(call, &started, wait).await
    }

    pub(super) async fn restart(&self, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
        let wait = Wait::asked_for(call)?;
        let unknown = || ApiError::restart_of_unknown(id);
        let known = call.target(id).map_err(|_| unknown())?;
        let with_new_id = call.query.flag("restartWithNewInstanceId").unwrap_or(true);
        let restarted = self.client.restart(known, with_new_id).await.map_err(|error| match error {
            ClientError::NotFound(_) => unknown(),
            error => error.into(),
        })?;
        self.started(call, &restarted, wait).await
    }

    /// The answer to a start, after the wait that the caller asked for.
    async fn started(&self, call: &Call<'_>, started: &Restarted, wait: Option<Wait>) -> Result<Reply, ApiError> {
        if let Some(wait) = wait
            && let Some(ended) = self.wait_for_end(started, wait).await?
        {
            return Ok(ended_reply(call, &ended));
        }
        Ok(check_status(call, started))
    }

    /// Waits until the instance has ended or the time is up; none if it has not ended (or is gone, or another one is there).
    async fn wait_for_end(&self, started: &Restarted, wait: Wait) -> Result<Option<OrchestrationStatus>, ApiError> {
        let want = StatusWant { input: true, history: false };
        match timeout(wait.timeout, self.client.wait_for_end(started.instance_id.as_str(), want)).await {
            Ok(ended) => Ok(ended?.filter(|ended| ended.creation() == started.creation)),
            Err(_) => Ok(None),
        }
    }
}

impl Wait {
    /// Both parameters make a wait; one alone makes none. The interval only has to fit: nobody polls.
    fn asked_for(call: &Call<'_>) -> Result<Option<Self>, ApiError> {
        let (Some(timeout), Some(interval)) = (call.query.seconds("timeout"), call.query.seconds("pollingInterval"))
        else {
            return Ok(None);
        };
        if interval > timeout {
            return Err(ApiError::argument(format!(
                "Total timeout {} should be bigger than retry timeout {}",
                timeout.as_secs_f64(),
                interval.as_secs_f64()
            )));
        }
        Ok(Some(Self { timeout: timeout.min(WAIT_MAX) }))
    }
}

/// The answer to a start: where to look.
fn check_status(call: &Call<'_>, started: &Restarted) -> Reply {
    let mut urls = call.urls.for_instance(started.instance_id.as_str(), Some(started.creation));
    if call.failure_is_error() {
        urls.status_query_get_uri.push_str("&returnInternalServerErrorOnFailure=true");
    }
    let reply = reply::json(StatusCode::ACCEPTED, urls.check_status_json());
    let reply = reply::with_header(reply, header::LOCATION, &urls.status_query_get_uri);
    reply::with_header(reply, header::RETRY_AFTER, "10")
}

/// The answer to a caller who waited: the bare output if it completed, else the status.
fn ended_reply(call: &Call<'_>, status: &OrchestrationStatus) -> Reply {
    if status.runtime_status == RuntimeStatus::Completed {
        let output = status.output_json().unwrap_or_else(Json::null);
        return reply::json(StatusCode::OK, output.as_str().to_owned());
    }
    let detail = HistoryDetail { input: true, output: false };
    reply::json(call.status_code(status), status_json(status, detail))
}
