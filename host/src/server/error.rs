//! The one place where errors become status codes and texts.

use std::{borrow::Cow, time::Duration};

use http::{StatusCode, header};

use super::body::BodyError;
use super::functions::HttpCallError;
use super::json_text::JsonObject;
use super::reply::{self, Reply};
use crate::durable::{Json, JsonError, RuntimeStatus};
use crate::hub::ClientError;
use crate::storage::StorageError;

const INVALID_JSON: &str = "Invalid JSON content";
const INCORRECT_ARGUMENT: &str = "One or more of the arguments submitted is incorrect";
const WENT_WRONG: &str = "Something went wrong while processing your request";
const NOT_SUPPORTED: &str = "This operation is not supported";
const UNAVAILABLE: &str = "The host cannot process your request now";

/// An answer that is an error: a status code and what the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    body: Body,
    retry_after: Option<Duration>,
    /// The connection ends with the answer.
    closes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Empty,
    Text(String),
    /// `{"Message":…}`
    Message(Cow<'static, str>),
    /// A text as JSON, quotes included.
    JsonText(&'static str),
    /// Durable Functions' envelope. Its stack trace is always empty: internals stay in the log.
    Envelope {
        message: &'static str,
        exception: String,
        kind: &'static str,
    },
}

impl ApiError {
    fn new(status: StatusCode, body: Body) -> Self {
        Self { status, body, retry_after: None, closes: false }
    }

    fn envelope(status: StatusCode, message: &'static str, exception: String, kind: &'static str) -> Self {
        Self::new(status, Body::Envelope { message, exception, kind })
    }

    fn retry_after(self, duration: Duration) -> Self {
        Self { retry_after: Some(duration), ..self }
    }

    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, Body::Text(text.into()))
    }

    /// Nothing there: 404 with an empty body, which clients test for.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Body::Empty)
    }

    /// The instance has ended: 410.
    pub(super) fn gone() -> Self {
        Self::new(StatusCode::GONE, Body::Empty)
    }

    /// An argument is at fault.
    pub(super) fn argument(exception: impl Into<String>) -> Self {
        Self::envelope(StatusCode::BAD_REQUEST, INCORRECT_ARGUMENT, exception.into(), "System.ArgumentException")
    }

    /// The body is no JSON value.
    pub(super) fn invalid_json(error: &JsonError) -> Self {
        Self::envelope(StatusCode::BAD_REQUEST, INVALID_JSON, error.to_string(), "Newtonsoft.Json.JsonReaderException")
    }

    /// The body is not declared to be JSON.
    pub(super) fn not_json() -> Self {
        Self::new(StatusCode::BAD_REQUEST, Body::Message("Only application/json request content is supported".into()))
    }

    /// An argument is at fault, where the original tells it in the short form.
    pub(super) fn message(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Body::Message(message.into()))
    }

    /// A start's id is taken.
    pub(super) fn already_exists(status: RuntimeStatus) -> Self {
        Self::envelope(
            StatusCode::CONFLICT,
            WENT_WRONG,
            format!("An Orchestration instance with the status {status} already exists."),
            "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException",
        )
    }

    /// The instance's state forbids it.
    pub(super) fn conflict(exception: impl Into<String>) -> Self {
        Self::envelope(StatusCode::CONFLICT, WENT_WRONG, exception.into(), "System.InvalidOperationException")
    }

    /// A purge by filter that does not say from when on. The original's answer: a bare text, as JSON.
    pub(super) fn purge_needs_a_time() -> Self {
        Self::new(StatusCode::BAD_REQUEST, Body::JsonText("Please provide value for 'createdTimeFrom' parameter."))
    }

    /// A restart of an instance that does not exist: the original's answer, which is no 404. The typo is its own.
    pub(super) fn restart_of_unknown(id: &str) -> Self {
        Self::envelope(
            StatusCode::BAD_REQUEST,
            "InstanceId does not match a valid orchestration instance.",
            format!("An orchestrastion with the instanceId {id} was not found."),
            "System.ArgumentException",
        )
    }

    /// This host does not do that.
    pub(super) fn not_supported(exception: impl Into<String>) -> Self {
        Self::envelope(StatusCode::NOT_IMPLEMENTED, NOT_SUPPORTED, exception.into(), "System.NotSupportedException")
    }

    /// No key, or none that opens this: 401 with an empty body. Which of the two, nobody is told.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, Body::Empty)
    }

    /// The request names a host that this one is not.
    pub(super) fn misdirected() -> Self {
        let text = "the request's Host is not a name of this host; to be reached by that name, list it in \
                    extensions.soloist.allowedHosts in host.json";
        Self::text(StatusCode::MISDIRECTED_REQUEST, text)
    }

    /// The function that the path is for cannot be served; told only where nobody but the developer asks.
    pub(super) fn function_in_error(function: &str, reason: &str) -> Self {
        Self::text(StatusCode::SERVICE_UNAVAILABLE, format!("The '{function}' function is in error: {reason}\n"))
    }

    /// This host has about all that it can use.
    pub(super) fn overloaded() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, Body::Empty).retry_after(Duration::from_secs(1))
    }

    /// The request comes from a web page of another site.
    pub(super) fn foreign_page() -> Self {
        let text = "the request comes from a web page of another site; to let that page in, list its host in \
                    extensions.soloist.allowedHosts in host.json";
        Self::text(StatusCode::FORBIDDEN, text)
    }

    /// The request breaks HTTP's rules.
    pub(super) fn bad_request(text: &'static str) -> Self {
        Self::text(StatusCode::BAD_REQUEST, text)
    }

    /// Something of ours broke; the log has it.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Body::Empty)
    }

    /// The same, with the original's code for a conflict with an instance's state: 500.
    pub(super) fn with_azure_code(self) -> Self {
        if self.status == StatusCode::CONFLICT {
            return Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..self };
        }
        self
    }

    pub(super) fn into_reply(self) -> Reply {
        let reply = match self.body {
            Body::Empty => reply::empty(self.status),
            Body::Text(text) => reply::text(self.status, text),
            Body::Message(message) => reply::json(self.status, JsonObject::new().string("Message", &message).finish()),
            Body::JsonText(text) => reply::json(self.status, Json::string(text).as_str().to_owned()),
            Body::Envelope { message, exception, kind } => {
                let object = JsonObject::new()
                    .string("Message", message)
                    .string("ExceptionMessage", &exception)
                    .string("ExceptionType", kind)
                    .string("StackTrace", "");
                reply::json(self.status, object.finish())
            }
        };
        let reply = if self.closes { reply::with_header(reply, header::CONNECTION, "close") } else { reply };
        match self.retry_after {
            // Whole seconds, rounded up: zero would mean at once.
            Some(wait) => {
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                reply::with_header(reply, header::RETRY_AFTER, &seconds.to_string())
            }
            None => reply,
        }
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::InvalidArgument(text) | ClientError::UnknownFunction(text) => Self::argument(text),
            ClientError::NotFound(_) => Self::not_found(),
            ClientError::Gone(_) => Self::gone(),
            ClientError::Conflict(text) => Self::conflict(text),
            ClientError::NotSupported(text) => Self::not_supported(text),
            ClientError::Unavailable(text) => Self::unavailable(text),
            ClientError::Storage(error) => error.into(),
        }
    }
}

impl ApiError {
    fn unavailable(text: String) -> Self {
        let kind = "System.InvalidOperationException";
        Self::envelope(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, text, kind).retry_after(Duration::from_secs(1))
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        let kind = "System.IO.IOException";
        match error {
            // The error's own words name paths of this machine: they stay in the log.
            StorageError::Full(_) => {
                tracing::warn!(%error, "request refused: the disk is full");
                let text = "The disk that holds the data folder is full. Free some space and try again.".to_owned();
                Self::envelope(StatusCode::INSUFFICIENT_STORAGE, WENT_WRONG, text, kind)
            }
            StorageError::Busy(_) => {
                tracing::warn!(%error, "request refused: storage is busy");
                Self::unavailable("Storage is busy. Try again.".to_owned())
            }
            StorageError::Corrupt(_) | StorageError::Poisoned(_) => {
                tracing::error!(%error, "request failed: storage");
                let text = "Storage failed. The host's log has the details.".to_owned();
                Self::envelope(StatusCode::INTERNAL_SERVER_ERROR, WENT_WRONG, text, kind)
            }
        }
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::text(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            BodyError::Slow => Self { closes: true, ..Self::text(StatusCode::REQUEST_TIMEOUT, error.to_string()) },
            BodyError::Broken => Self::text(StatusCode::BAD_REQUEST, error.to_string()),
            BodyError::Overloaded => {
                Self::text(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).retry_after(Duration::from_secs(1))
            }
        }
    }
}

impl From<HttpCallError> for ApiError {
    fn from(error: HttpCallError) -> Self {
        match error {
            HttpCallError::Throttled { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, Body::Empty).retry_after(retry_after)
            }
            HttpCallError::Failed => Self::internal(),
            HttpCallError::NotFound => Self::not_found(),
            HttpCallError::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, Body::Empty).retry_after(Duration::from_secs(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    fn shown(error: impl Into<ApiError>) -> (u16, String) {
        let reply = error.into().into_reply();
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_envelope_is_the_documented_one() {
        assert_eq!(
            shown(ApiError::already_exists(RuntimeStatus::Running)),
            (
                409,
                r#"{"Message":"Something went wrong while processing your request","ExceptionMessage":"An Orchestration instance with the status Running already exists.","ExceptionType":"DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException","StackTrace":""}"#.into()
            )
        );
        let (status, body) = shown(ClientError::UnknownFunction("The function 'X' doesn't exist".into()));
        assert_eq!(status, 400);
        assert!(body.starts_with(r#"{"Message":"One or more of the arguments submitted is incorrect","ExceptionMessage":"The function 'X' doesn't exist","ExceptionType":"System.ArgumentException""#), "{body}");
    }

    #[test]
    fn not_found_and_gone_have_no_body() {
        assert_eq!(shown(ClientError::NotFound("a".into())), (404, String::new()));
        assert_eq!(shown(ClientError::Gone(RuntimeStatus::Failed)), (410, String::new()));
        assert_eq!(shown(HttpCallError::Failed), (500, String::new()));
    }

    #[test]
    fn storage_errors_keep_their_internals_to_themselves() {
        for (error, code) in [
            (StorageError::Full("/secret".into()), 507),
            (StorageError::Busy("/secret".into()), 503),
            (StorageError::Corrupt("/secret".into()), 500),
            (StorageError::Poisoned("/secret".into()), 500),
        ] {
            let (status, body) = shown(ClientError::from(error));
            assert_eq!(status, code);
            assert!(!body.contains("secret") && body.starts_with(r#"{"Message":"#), "{body}");
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let error = HttpCallError::Throttled { retry_after: Duration::from_millis(1200) };
        let reply = ApiError::from(error).into_reply();
        assert_eq!((reply.status().as_u16(), reply.headers()["retry-after"].to_str().unwrap()), (429, "2"));
    }
}
