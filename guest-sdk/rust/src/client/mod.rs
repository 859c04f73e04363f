//! The durable client: what functions outside of orchestrations may ask of the task hub.

mod entities;

use crate::bindings::soloist::functions::durable_client as wit;
use crate::http::{HttpRequest, HttpResponse};
use crate::json::{self, Json};
use crate::orchestration::StartOptions;
use crate::time::Timestamp;
use serde::Serialize;
use std::fmt;

pub use entities::EntityState;
pub use wit::{InstanceUrls as ManagementUrls, RuntimeStatus};

/// The durable client, for functions whose `function.json` has a `durableClient` binding.
///
/// A call returns once what it did is durable: after an `Ok` neither a crash of the process nor a power cut undoes it.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[http_trigger]
/// fn start_job(req: HttpRequest, client: DurableClient) -> HttpResult {
///     let id = req.required_param("id")?;
///     let started = client.start_new("Job", &req.payload()?, StartOptions::new().with_instance_id(id))?.or_conflict()?;
///     Ok(client.create_check_status_response(&req, &started.instance_id)?)
/// }
/// ```
#[derive(Debug)]
pub struct DurableClient {
    _made_by_the_sdk: (),
}

/// Why the task hub refused a call.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientError {
    /// The argument is at fault; the text names it and the rule.
    InvalidArgument(String),
    /// No such orchestrator or entity; the text lists the known ones.
    UnknownFunction(String),
    /// No such instance.
    NotFound {
        /// Its id.
        instance_id: String,
    },
    /// The instance has ended.
    Gone {
        /// How.
        status: RuntimeStatus,
    },
    /// The instance's state forbids it; the text says why.
    Conflict(String),
    /// This host cannot do it; the text says what.
    NotSupported(String),
    /// The host cannot do it now; the text says why.
    Unavailable(String),
    /// An entity's state is not of the type that was asked for; the text says where it differs.
    UnreadableState(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument(text)
            | Self::UnknownFunction(text)
            | Self::Conflict(text)
            | Self::NotSupported(text)
            | Self::Unavailable(text)
            | Self::UnreadableState(text) => f.write_str(text),
            Self::NotFound { instance_id } => write!(f, "instance '{instance_id}' not found"),
            Self::Gone { status } => write!(f, "the instance has ended: it is {}", status_name(*status)),
        }
    }
}

impl std::error::Error for ClientError {}

/// The status as Azure's API writes it.
fn status_name(status: RuntimeStatus) -> &'static str {
    match status {
        RuntimeStatus::Running => "Running",
        RuntimeStatus::Completed => "Completed",
        RuntimeStatus::ContinuedAsNew => "ContinuedAsNew",
        RuntimeStatus::Failed => "Failed",
        RuntimeStatus::Canceled => "Canceled",
        RuntimeStatus::Terminated => "Terminated",
        RuntimeStatus::Pending => "Pending",
        RuntimeStatus::Suspended => "Suspended",
    }
}

impl From<wit::ClientError> for ClientError {
    fn from(error: wit::ClientError) -> Self {
        match error {
            wit::ClientError::InvalidArgument(text) => Self::InvalidArgument(text),
            wit::ClientError::UnknownFunction(text) => Self::UnknownFunction(text),
            wit::ClientError::NotFound(instance_id) => Self::NotFound { instance_id },
            wit::ClientError::Gone(status) => Self::Gone { status },
            wit::ClientError::Conflict(text) => Self::Conflict(text),
            wit::ClientError::NotSupported(text) => Self::NotSupported(text),
            wit::ClientError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// An instance that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its id.
    pub instance_id: String,
    /// Its execution id.
    pub execution_id: String,
}

/// An instance that refused a start: its id is taken. By `?` in an HTTP trigger it becomes a 409 with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlreadyExists {
    /// Its id.
    pub instance_id: String,
    /// Its status at the decision.
    pub status: RuntimeStatus,
}

impl fmt::Display for AlreadyExists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text of Azure's page on singleton orchestrators.
        write!(f, "An instance with ID '{}' already exists.", self.instance_id)
    }
}

impl std::error::Error for AlreadyExists {}

/// What the gate decided. Of any number of concurrent starts of one id exactly one is `Started`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the start may have been refused"]
pub enum StartOutcome {
    /// This call started the instance.
    Started(Started),
    /// The id is taken.
    AlreadyExists(AlreadyExists),
}

impl StartOutcome {
    /// Makes an error of a refused start: by `?` a 409.
    /// # Errors
    /// If the id is taken.
    pub fn or_conflict(self) -> Result<Started, AlreadyExists> {
        match self {
            Self::Started(started) => Ok(started),
            Self::AlreadyExists(existing) => Err(existing),
        }
    }
}

/// What a status read returns beyond the least.
#[derive(Clone, Copy, Debug, Default)]
pub struct StatusOptions {
    /// The input.
    pub show_input: bool,
    /// The history.
    pub show_history: bool,
    /// Results within the history.
    pub show_history_output: bool,
}

/// An instance, as seen from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct OrchestrationStatus {
    /// The orchestrator function.
    pub name: String,
    /// The instance id.
    pub instance_id: String,
    /// The execution id.
    pub execution_id: String,
    /// The status.
    pub runtime_status: RuntimeStatus,
    /// The input, if asked for.
    pub input: Option<Json>,
    /// The output; for a failed instance the error's text.
    pub output: Option<Json>,
    /// The custom status.
    pub custom_status: Option<Json>,
    /// When it was created.
    pub created_time: Timestamp,
    /// When it last changed.
    pub last_updated_time: Timestamp,
    /// The history as a JSON array, if asked for.
    pub history: Option<Json>,
    /// Labels, as pairs of key and value.
    pub tags: Vec<(String, String)>,
}

impl OrchestrationStatus {
    /// True if the instance has ended.
    pub fn is_ended(&self) -> bool {
        match self.runtime_status {
            RuntimeStatus::Completed | RuntimeStatus::Failed | RuntimeStatus::Canceled | RuntimeStatus::Terminated => {
                true
            }
            RuntimeStatus::Pending
            | RuntimeStatus::Running
            | RuntimeStatus::Suspended
            | RuntimeStatus::ContinuedAsNew => false,
        }
    }
}

impl From<wit::OrchestrationStatus> for OrchestrationStatus {
    fn from(status: wit::OrchestrationStatus) -> Self {
        let json = |text: Option<String>| text.and_then(|text| Json::from_text(&text).ok());
        Self {
            name: status.name,
            instance_id: status.instance_id,
            execution_id: status.execution_id,
            runtime_status: status.runtime_status,
            input: json(status.input),
            output: json(status.output),
            custom_status: json(status.custom_status),
            created_time: Timestamp::from_millis(status.created_time),
            last_updated_time: Timestamp::from_millis(status.last_updated_time),
            history: json(status.history),
            tags: status.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
        }
    }
}

/// A query over instances; the default asks for all of them, 100 to a page.
#[derive(Clone, Debug, Default)]
pub struct StatusQuery {
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created at this time or earlier.
    pub created_to: Option<Timestamp>,
    /// In one of these states; empty means any.
    pub statuses: Vec<RuntimeStatus>,
    /// The id begins with this.
    pub instance_id_prefix: Option<String>,
    /// At most this many; none is 100.
    pub top: Option<u32>,
    /// Where the page before ended.
    pub continuation: Option<String>,
    /// With inputs.
    pub show_input: bool,
}

/// A page of instances.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusPage {
    /// The instances.
    pub instances: Vec<OrchestrationStatus>,
    /// Where the next page begins; none on the last.
    pub continuation: Option<String>,
}

/// Which ended instances to purge; the default means all of them.
#[derive(Clone, Debug, Default)]
pub struct PurgeFilter {
    /// Created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Created at this time or earlier.
    pub created_to: Option<Timestamp>,
    /// In one of these states; empty means every ended one.
    pub statuses: Vec<RuntimeStatus>,
}

/// Starting and reading.
impl DurableClient {
    /// Starts an orchestration through the gate. A [`Json`] input is kept byte for byte.
    /// # Errors
    /// [`ClientError::InvalidArgument`] for an illegal instance id or an input that is not JSON,
    /// [`ClientError::UnknownFunction`] for the name. A taken id is no error but an outcome.
    pub fn start_new(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
        options: StartOptions,
    ) -> Result<StartOutcome, ClientError> {
        let request = wit::StartRequest {
            name: name.to_owned(),
            instance_id: options.instance_id,
            input: encode(input)?,
            version: options.version,
            scheduled_start: options.scheduled_start.map(Timestamp::as_millis),
            overridable_states: options.overridable_states,
            tags: options.tags,
            trace_context: None,
        };
        Ok(match hub::start_new(&request)? {
            wit::StartOutcome::Started(started) => {
                StartOutcome::Started(Started { instance_id: started.instance_id, execution_id: started.execution_id })
            }
            wit::StartOutcome::AlreadyExists(existing) => StartOutcome::AlreadyExists(AlreadyExists {
                instance_id: existing.instance_id,
                status: existing.status,
            }),
        })
    }

    /// Reads an instance's status; none if there is no such instance.
    /// # Errors
    /// [`ClientError::Unavailable`] if the host cannot read now.
    pub fn get_status(
        &self,
        instance_id: &str,
        options: StatusOptions,
    ) -> Result<Option<OrchestrationStatus>, ClientError> {
        let options = wit::StatusOptions {
            show_input: options.show_input,
            show_history: options.show_history,
            show_history_output: options.show_history_output,
        };
        Ok(hub::get_status(instance_id, options)?.map(Into::into))
    }

    /// Lists instances, a page at a time.
    /// # Errors
    /// [`ClientError::InvalidArgument`] for a continuation that is not one of this hub's.
    pub fn list_instances(&self, query: &StatusQuery) -> Result<StatusPage, ClientError> {
        let page = hub::list_instances(&wit::StatusQuery {
            created_from: query.created_from.map(Timestamp::as_millis),
            created_to: query.created_to.map(Timestamp::as_millis),
            statuses: query.statuses.clone(),
            instance_id_prefix: query.instance_id_prefix.clone(),
            top: query.top,
            continuation: query.continuation.clone(),
            show_input: query.show_input,
        })?;
        let instances = page.instances.into_iter().map(Into::into).collect();
        Ok(StatusPage { instances, continuation: page.continuation })
    }
}

/// Messages to instances. Each fails with [`ClientError::NotFound`] if there is no such instance, with
/// [`ClientError::Gone`] if it has ended and with [`ClientError::Conflict`] if its state forbids the call.
impl DurableClient {
    /// Raises an external event. It is kept until the orchestrator waits for it.
    /// # Errors
    /// As above.
    pub fn raise_event(
        &self,
        instance_id: &str,
        name: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<(), ClientError> {
        hub::raise_event(instance_id, name, &encode(payload)?)
    }

    /// Ends an instance, at once.
    /// # Errors
    /// As above.
    pub fn terminate(&self, instance_id: &str, reason: &str) -> Result<(), ClientError> {
        hub::terminate(instance_id, reason, false)
    }

    /// Ends an instance together with its sub-orchestrations.
    /// # Errors
    /// As above.
    pub fn terminate_with_children(&self, instance_id: &str, reason: &str) -> Result<(), ClientError> {
        hub::terminate(instance_id, reason, true)
    }

    /// Holds an instance: messages are kept, its code does not run.
    /// # Errors
    /// As above.
    pub fn suspend(&self, instance_id: &str, reason: &str) -> Result<(), ClientError> {
        hub::suspend(instance_id, reason)
    }

    /// Lets a suspended instance go on.
    /// # Errors
    /// As above.
    pub fn resume(&self, instance_id: &str, reason: &str) -> Result<(), ClientError> {
        hub::resume(instance_id, reason)
    }

    /// Lets a failed instance run on: what has completed stays, only what failed runs again. Failed sub-orchestrations go on
    /// with it.
    /// # Errors
    /// As above.
    pub fn rewind(&self, instance_id: &str, reason: &str) -> Result<(), ClientError> {
        hub::rewind(instance_id, reason)
    }

    /// Starts an instance again with its input, under its own id.
    /// # Errors
    /// As above; [`ClientError::Conflict`] while it is live.
    pub fn restart(&self, instance_id: &str) -> Result<(), ClientError> {
        hub::restart(instance_id, false).map(drop)
    }

    /// Starts another instance with the same input; returns its id.
    /// # Errors
    /// [`ClientError::NotFound`] if there is no such instance.
    pub fn restart_with_new_id(&self, instance_id: &str) -> Result<String, ClientError> {
        hub::restart(instance_id, true)
    }

    /// Deletes an ended instance; returns how many were deleted.
    /// # Errors
    /// [`ClientError::NotFound`] if there is no such instance, [`ClientError::Conflict`] while it is live.
    pub fn purge(&self, instance_id: &str) -> Result<u32, ClientError> {
        hub::purge(instance_id)
    }

    /// Deletes ended instances; returns how many were deleted.
    /// # Errors
    /// [`ClientError::Unavailable`] if the host cannot do it now.
    pub fn purge_by(&self, filter: &PurgeFilter) -> Result<u32, ClientError> {
        hub::purge_by(&wit::PurgeFilter {
            created_from: filter.created_from.map(Timestamp::as_millis),
            created_to: filter.created_to.map(Timestamp::as_millis),
            statuses: filter.statuses.clone(),
        })
    }
}

/// URLs.
impl DurableClient {
    /// The URLs under which an instance is managed, keys included.
    /// # Errors
    /// [`ClientError::Unavailable`] if the host serves no management API.
    pub fn management_urls(&self, instance_id: &str) -> Result<ManagementUrls, ClientError> {
        hub::management_urls(instance_id)
    }

    /// The answer to a request that started an instance: 202, with the URLs under which to follow it. The URLs have the
    /// origin of the request that is being answered.
    /// # Errors
    /// As [`Self::management_urls`].
    pub fn create_check_status_response(
        &self,
        _request: &HttpRequest,
        instance_id: &str,
    ) -> Result<HttpResponse, ClientError> {
        check_status_response(&self.management_urls(instance_id)?)
    }

    pub(crate) fn new() -> Self {
        Self { _made_by_the_sdk: () }
    }
}

/// The shape of Azure's HTTP API. Its body has no rewind URL.
fn check_status_response(urls: &ManagementUrls) -> Result<HttpResponse, ClientError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct CheckStatus<'a> {
        id: &'a str,
        status_query_get_uri: &'a str,
        send_event_post_uri: &'a str,
        terminate_post_uri: &'a str,
        purge_history_delete_uri: &'a str,
        restart_post_uri: &'a str,
        suspend_post_uri: &'a str,
        resume_post_uri: &'a str,
    }
    let body = encode(&CheckStatus {
        id: &urls.id,
        status_query_get_uri: &urls.status_query_get_uri,
        send_event_post_uri: &urls.send_event_post_uri,
        terminate_post_uri: &urls.terminate_post_uri,
        purge_history_delete_uri: &urls.purge_history_delete_uri,
        restart_post_uri: &urls.restart_post_uri,
        suspend_post_uri: &urls.suspend_post_uri,
        resume_post_uri: &urls.resume_post_uri,
    })?;
    Ok(HttpResponse::new(202)
        .header("location", &urls.status_query_get_uri)
        .header("retry-after", "10")
        .header("content-type", "application/json; charset=utf-8")
        .text(body))
}

fn encode(value: &(impl Serialize + ?Sized)) -> Result<String, ClientError> {
    json::encode(value, || "the argument".into()).map_err(|failure| ClientError::InvalidArgument(failure.to_string()))
}

/// The imported functions with our error type. Outside of the host a test's hub answers some of them; else they are refused.
mod hub {
    use super::{ClientError, wit};
    use crate::bindings::soloist::functions::types::EntityId as WitEntityId;

    macro_rules! imports {
        ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
            #[cfg(target_arch = "wasm32")]
            pub fn $name($($argument: $type),*) -> Result<$result, ClientError> {
                Ok(wit::$name($($argument),*)?)
            }
        )*};
    }
    macro_rules! refused {
        ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
            imports! { $($name($($argument: $type),*) -> $result;)* }
            $(#[cfg(not(target_arch = "wasm32"))]
            pub fn $name($(_: $type),*) -> Result<$result, ClientError> {
                Err(no_hub(stringify!($name)))
            })*
        };
    }
    macro_rules! played {
        ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
            imports! { $($name($($argument: $type),*) -> $result;)* }
            $(#[cfg(not(target_arch = "wasm32"))]
            pub fn $name($($argument: $type),*) -> Result<$result, ClientError> {
                crate::testing::hub::$name($($argument),*).unwrap_or_else(|| Err(no_hub(stringify!($name))))
            })*
        };
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn no_hub(call: &str) -> ClientError {
        ClientError::NotSupported(format!("there is no task hub outside of the host: {call}"))
    }

    played! {
        start_new(request: &wit::StartRequest) -> wit::StartOutcome;
        raise_event(instance_id: &str, name: &str, input: &str) -> ();
        signal_entity(entity: &WitEntityId, operation: &str, input: &str, scheduled: Option<f64>) -> ();
        read_entity(entity: &WitEntityId) -> Option<wit::EntityState>;
        management_urls(instance_id: &str) -> wit::InstanceUrls;
    }
    refused! {
        get_status(instance_id: &str, options: wit::StatusOptions) -> Option<wit::OrchestrationStatus>;
        list_instances(query: &wit::StatusQuery) -> wit::StatusPage;
        terminate(instance_id: &str, reason: &str, recursive: bool) -> ();
        suspend(instance_id: &str, reason: &str) -> ();
        resume(instance_id: &str, reason: &str) -> ();
        rewind(instance_id: &str, reason: &str) -> ();
        restart(instance_id: &str, with_new_instance_id: bool) -> String;
        purge(instance_id: &str) -> u32;
        purge_by(filter: &wit::PurgeFilter) -> u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_status_response_is_that_of_azure() {
        let url = |tail: &str| format!("http://h/instances/a{tail}?code=k");
        let response = check_status_response(&ManagementUrls {
            id: "a".into(),
            status_query_get_uri: url(""),
            send_event_post_uri: url("/raiseEvent/{eventName}"),
            terminate_post_uri: url("/terminate"),
            rewind_post_uri: url("/rewind"),
            purge_history_delete_uri: url(""),
            restart_post_uri: url("/restart"),
            suspend_post_uri: url("/suspend"),
            resume_post_uri: url("/resume"),
        })
        .unwrap();
        assert_eq!(response.status(), 202);
        assert_eq!(response.get_header("Location"), Some("http://h/instances/a?code=k"));
        assert_eq!(response.get_header("Retry-After"), Some("10"));
        assert_eq!(response.get_header("Content-Type"), Some("application/json; charset=utf-8"));
        let body = std::str::from_utf8(response.bytes()).unwrap();
        let expected = r#"{"id":"a","statusQueryGetUri":"http://h/instances/a?code=k","sendEventPostUri":"http://h/instances/a/raiseEvent/{eventName}?code=k","terminatePostUri":"http://h/instances/a/terminate?code=k","purgeHistoryDeleteUri":"http://h/instances/a?code=k","restartPostUri":"http://h/instances/a/restart?code=k","suspendPostUri":"http://h/instances/a/suspend?code=k","resumePostUri":"http://h/instances/a/resume?code=k"}"#;
        assert_eq!(body, expected);
    }
}
