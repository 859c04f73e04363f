//! The management API: Durable Functions' HTTP interface to the task hub, under [`MANAGEMENT_PATH`](super::MANAGEMENT_PATH).
//!
//! Paths become an [`Operation`], the hub does it, and its answer becomes a status object, links or an error. Nothing is
//! decided here that the hub could decide, and no state is kept.

mod client;
mod entities;
mod history;
mod http_call;
mod operation;
mod raw_history;
mod start;
mod status;

use std::{future::Future, sync::Arc};

use http::{HeaderMap, HeaderName, StatusCode, header, request};

pub use client::DurableClient;
pub use history::history_events;

use super::ServerOptions;
use super::access::Presented;
use super::body::{Body, BodyError};
use super::error::ApiError;
use super::json_text::{JsonObject, array};
use super::keys::{Demand, Keys};
use super::links::{ManagementUrls, Origin};
use super::query::Query;
use super::reply::{self, Reply};
use super::starter::starter_json;
use crate::durable::{InstanceId, Json, JsonError, RuntimeStatus};
use crate::hub::{Creation, HistoryDetail, OrchestrationStatus, PurgeFilter, StatusQuery, StatusWant, Target};
use operation::Operation;
use start::StartRequest;
use status::{raw_status_json, status_json};

/// Where a page of a list ends, both ways.
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation-token");
/// Payloads above this are checked on a thread of their own, so that other connections do not wait for it.
const LARGE_BYTES: usize = 256 << 10;

/// Serves the management API.
pub(super) struct Management {
    client: Arc<dyn DurableClient>,
    /// None: no keys are asked for.
    keys: Option<Arc<Keys>>,
    hub_name: String,
    json_depth_max: usize,
    azure_status_codes: bool,
}

/// How a request reached the API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached<'a> {
    /// Scheme and authority, for links.
    pub origin: &'a Origin,
    /// The API's base path in links: never the secret one.
    pub base: &'a str,
    /// The rest of the path, still percent-encoded.
    pub tail: &'a str,
    /// By the secret path: whoever knows it needs no key.
    pub is_secret: bool,
}

/// Whether the API takes a method and a path below its base.
#[cfg(test)]
pub(super) fn is_operation(method: &http::Method, tail: &str) -> bool {
    Operation::parse(method, tail).is_some()
}

/// What an operation may need of its request.
struct Call<'a> {
    headers: &'a HeaderMap,
    query: Query,
    url: String,
    urls: ManagementUrls,
    /// By a link: only what this start made may be touched.
    creation: Option<Creation>,
}

impl Management {
    pub(super) fn new(client: Arc<dyn DurableClient>, keys: Option<Arc<Keys>>, options: &ServerOptions) -> Self {
        Self {
            client,
            keys,
            hub_name: options.hub_name.clone(),
            json_depth_max: options.json_depth_max,
            azure_status_codes: options.azure_status_codes,
        }
    }

    /// Answers a request below the API's base; `body` reads the body when an operation wants it.
    pub(super) async fn handle(
        &self,
        parts: &request::Parts,
        reached: Reached<'_>,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let reply = self.perform(parts, reached, body).await;
        if self.azure_status_codes { reply.map_err(ApiError::with_azure_code) } else { reply }
    }

    /// The starter JSON: all that a client of another process needs to know of this host, for who may do everything here.
    ///
    /// # Errors
    /// 401 without a key that opens the API.
    pub(super) fn starter(
        &self,
        parts: &request::Parts,
        origin: &Origin,
        rpc_base_url: Option<&str>,
    ) -> Result<Reply, ApiError> {
        let key = match &self.keys {
            Some(keys) if Presented::by(parts).key().is_some_and(|key| keys.open_for(key, Demand::DurableTask)) => {
                Some(keys.template_key())
            }
            Some(_) => return Err(ApiError::unauthorized()),
            None => None,
        };
        Ok(reply::json(StatusCode::OK, starter_json(origin, &self.hub_name, key.as_ref(), rpc_base_url)))
    }

    async fn perform(
        &self,
        parts: &request::Parts,
        reached: Reached<'_>,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let Reached { origin, base, tail, is_secret } = reached;
        let operation = Operation::parse(&parts.method, tail);
        let creation = match self.keys.as_ref().filter(|_| !is_secret) {
            Some(keys) => self.authorise(keys, &Presented::by(parts), operation.as_ref()).await?,
            None => None,
        };
        let operation = operation.ok_or_else(ApiError::not_found)?;
        let query = parts.uri.query();
        let call = Call {
            headers: &parts.headers,
            query: query.map(Query::parse).unwrap_or_default(),
            url: query.map_or_else(|| format!("{origin}{base}{tail}"), |query| format!("{origin}{base}{tail}?{query}")),
            creation,
            urls: ManagementUrls::new(origin, &self.hub_name, self.keys.as_ref().map(|keys| keys.signer())),
        };
        match operation {
            Operation::Start { name, id } => self.start(&call, StartRequest { name, id }, body).await,
            Operation::Status(id) => self.status(&call, &id).await,
            Operation::List => self.list(&call).await,
            Operation::Purge(id) => self.purge(&call, &id).await,
            Operation::RaiseEvent { id, name } => self.raise_event(&call, &id, &name, body).await,
            Operation::PurgeBy => self.purge_by(&call).await,
            Operation::Terminate(id) => self.terminate(&call, &id).await,
            Operation::Suspend(id) => self.suspend(&call, &id).await,
            Operation::Resume(id) => self.resume(&call, &id).await,
            Operation::Rewind(id) => self.rewind(&call, &id).await,
            Operation::Restart(id) => self.restart(&call, &id).await,
            Operation::ReadEntity(path) => self.read_entity(&path).await,
            Operation::ListEntities(name) => self.list_entities(&call, name).await,
            Operation::SignalEntity(path) => self.signal_entity(&call, &path, body).await,
            Operation::DeleteEntity(path) => self.delete_entity(&path).await,
            // There is one host per task hub.
            Operation::MakePrimary => Ok(reply::empty(StatusCode::OK)),
            Operation::NotUtf8 => {
                Err(ApiError::argument("The path is not UTF-8. Percent-encode names and ids as UTF-8."))
            }
        }
    }

    /// Lets a caller do what the path asks for: who has the key, anything; who has a signed link, what that is for, to the start
    /// that it was made for, which is returned. By the time that it is done another one may have the id: whoever does it looks
    /// again.
    async fn authorise(
        &self,
        keys: &Keys,
        presented: &Presented,
        operation: Option<&Operation>,
    ) -> Result<Option<Creation>, ApiError> {
        let code = presented.key().ok_or_else(ApiError::unauthorized)?;
        if keys.open_for(code, Demand::DurableTask) {
            return Ok(None);
        }
        let (id, verb) = operation.and_then(Operation::linked).ok_or_else(ApiError::unauthorized)?;
        let signer = keys.signer();
        let token = signer.verified(code, id, verb).ok_or_else(ApiError::unauthorized)?;
        // 404 if it is gone: its holder knew of it, and clients that wait for that end.
        let now = self.client.status(known_form(id)?, StatusWant::default()).await?.ok_or_else(ApiError::not_found)?;
        let creation = now.creation();
        if signer.token(id, creation) == token { Ok(Some(creation)) } else { Err(ApiError::unauthorized()) }
    }

    async fn status(&self, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
        let detail = call.detail();
        let flag = |name| call.query.flag(name).unwrap_or(false);
        let raw = flag("showRawHistory");
        let want = StatusWant { input: detail.input, history: raw || flag("showHistory") };
        let status = self.existing(call.target(id)?, want).await?;
        let body = if raw { raw_status_json(&status, detail) } else { status_json(&status, detail) };
        let reply = reply::json(call.status_code(&status), body);
        Ok(if status.runtime_status.is_terminal() {
            reply
        } else {
            let reply = reply::with_header(reply, header::LOCATION, &call.url);
            reply::with_header(reply, header::RETRY_AFTER, "5")
        })
    }

    async fn list(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let query = &call.query;
        let detail = call.detail();
        let page = self
            .client
            .list(StatusQuery {
                created_from: query.time("createdTimeFrom"),
                created_to: query.time("createdTimeTo"),
                statuses: query.statuses("runtimeStatus"),
                prefix: query.text("instanceIdPrefix").filter(|prefix| !prefix.is_empty()).map(str::to_owned),
                top: query.number("top").filter(|top| *top > 0),
                continuation: call.continuation(),
                input: detail.input,
            })
            .await?;
        let body = array(page.instances.iter().map(|status| status_json(status, detail)));
        let reply = reply::json(StatusCode::OK, body);
        // Always there: clients go on until it is empty.
        Ok(reply::with_header(reply, CONTINUATION, page.continuation.as_deref().unwrap_or("")))
    }

    async fn purge(&self, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
        self.client.purge(call.target(id)?).await?;
        Ok(deleted(1))
    }

    async fn purge_by(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        match self.client.purge_by(purge_filter(&call.query)?).await? {
            0 => Err(ApiError::not_found()),
            instances => Ok(deleted(instances)),
        }
    }

    async fn raise_event(
        &self,
        call: &Call<'_>,
        id: &str,
        name: &str,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        // Durable Functions' order: an ended instance is 410 whatever the body is.
        let target = call.target(id)?;
        self.live(target).await?;
        if !is_json(call.headers) {
            return Err(ApiError::not_json());
        }
        let input = json_body(self.json_depth_max, body).await?;
        self.client.raise_event(target, name, input).await?;
        Ok(reply::empty(StatusCode::ACCEPTED))
    }

    async fn terminate(&self, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
        self.client.terminate(call.target(id)?, call.reason()).await?;
        Ok(reply::empty(StatusCode::ACCEPTED))
    }

    async fn suspend(&self, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
        self.client.suspend(call.target(id)?, call.reason()).await?;
        Ok(reply::empty(StatusCode::ACCEPTED))
    }

    async fn resume(&self, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
        self.client.resume(call.target(id)?, call.reason()).await?;
        Ok(reply::empty(StatusCode::ACCEPTED))
    }

    async fn rewind(&self, call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
        self.client.rewind(call.target(id)?, call.reason()).await?;
        Ok(reply::empty(StatusCode::ACCEPTED))
    }

    async fn existing(&self, target: Target<'_>, want: StatusWant) -> Result<OrchestrationStatus, ApiError> {
        let found = self.client.status(target.id, want).await?;
        found.filter(|found| target.admits(found.creation())).ok_or_else(ApiError::not_found)
    }

    /// Refuses an instance that has ended.
    async fn live(&self, target: Target<'_>) -> Result<(), ApiError> {
        let status = self.existing(target, StatusWant::default()).await?.runtime_status;
        if status.is_terminal() { Err(ApiError::gone()) } else { Ok(()) }
    }
}

impl Call<'_> {
    /// The instance that the caller means, if one could have this id: of any other there is none.
    fn target<'a>(&self, id: &'a str) -> Result<Target<'a>, ApiError> {
        Ok(Target { id: known_form(id)?, creation: self.creation })
    }

    fn reason(&self) -> &str {
        self.query.text("reason").unwrap_or("")
    }

    /// Where the page before ended. One that is no text is passed on as well: it is refused like any that is none.
    fn continuation(&self) -> Option<String> {
        let token = self.headers.get(CONTINUATION).filter(|token| !token.is_empty())?;
        Some(String::from_utf8_lossy(token.as_bytes()).into_owned())
    }

    fn detail(&self) -> HistoryDetail {
        HistoryDetail {
            // True by default: clients leave the parameter out and expect the input.
            input: self.query.flag("showInput").unwrap_or(true),
            output: self.query.flag("showHistoryOutput").unwrap_or(false),
        }
    }

    fn status_code(&self, status: &OrchestrationStatus) -> StatusCode {
        match status.runtime_status {
            RuntimeStatus::Running
            | RuntimeStatus::Pending
            | RuntimeStatus::ContinuedAsNew
            | RuntimeStatus::Suspended => StatusCode::ACCEPTED,
            RuntimeStatus::Completed | RuntimeStatus::Terminated | RuntimeStatus::Canceled => StatusCode::OK,
            RuntimeStatus::Failed if self.failure_is_error() => StatusCode::INTERNAL_SERVER_ERROR,
            RuntimeStatus::Failed => StatusCode::OK,
        }
    }

    fn failure_is_error(&self) -> bool {
        self.query.flag("returnInternalServerErrorOnFailure").unwrap_or(false)
    }
}

fn deleted(instances: u64) -> Reply {
    reply::json(StatusCode::OK, JsonObject::new().raw("instancesDeleted", &instances.to_string()).finish())
}

/// What a query asks to delete. What cannot be read is refused, or matches nothing, where elsewhere it would count as absent:
/// that would delete more than the caller meant.
fn purge_filter(query: &Query) -> Result<PurgeFilter, ApiError> {
    let created_from = query.time("createdTimeFrom").ok_or_else(ApiError::purge_needs_a_time)?;
    let created_to = match query.text("createdTimeTo").filter(|text| !text.trim().is_empty()) {
        Some(text) => Some(query.time("createdTimeTo").ok_or_else(|| {
            ApiError::argument(format!("createdTimeTo {text:?} is not an ISO 8601 time, such as 2026-01-31T12:00:00Z"))
        })?),
        None => None,
    };
    let statuses = query.statuses("runtimeStatus");
    let names_statuses = query.text("runtimeStatus").is_some_and(|text| !text.trim().is_empty());
    if names_statuses && statuses.is_empty() {
        return Err(ApiError::not_found());
    }
    Ok(PurgeFilter { created_from: Some(created_from), created_to, statuses })
}

/// The id, if an instance could have it: of any other there is none.
fn known_form(id: &str) -> Result<&str, ApiError> {
    InstanceId::parse(id).map(|_| id).map_err(|_| ApiError::not_found())
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media_type = value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// A body as a payload; an empty one is `null`.
async fn json_body(depth_max: usize, body: impl Future<Output = Result<Body, BodyError>>) -> Result<Json, ApiError> {
    checked_json(depth_max, body.await?).await?.map_err(|error| ApiError::invalid_json(&error))
}

async fn checked_json(depth_max: usize, body: Body) -> Result<Result<Json, JsonError>, ApiError> {
    if body.bytes.len() > LARGE_BYTES {
        return tokio::task::spawn_blocking(move || Json::from_body(depth_max, &body.bytes))
            .await
            .map_err(|_| ApiError::internal());
    }
    Ok(Json::from_body(depth_max, &body.bytes))
}

#[cfg(test)]
pub(super) mod tests;
