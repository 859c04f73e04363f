//! How errors become responses.

use super::{BadRequest, HttpResponse};
use crate::client::{AlreadyExists, ClientError};
use crate::failure::Failure;
use crate::log;
use std::any::Any;
use std::error::Error;
use std::fmt;

/// What an HTTP trigger returns.
pub type HttpResult<T = HttpResponse> = Result<T, HttpError>;

/// An error on its way to becoming a response. Every standard error becomes one by `?`:
///
/// | error | response |
/// |---|---|
/// | [`BadRequest`], [`ClientError::InvalidArgument`] | 400, the text |
/// | [`ClientError::UnknownFunction`], [`ClientError::NotFound`] | 404, the text |
/// | [`AlreadyExists`], [`ClientError::Conflict`] | 409, the text |
/// | [`ClientError::Gone`] | 410, the text |
/// | [`ClientError::NotSupported`] | 501, the text |
/// | [`ClientError::Unavailable`] | 503, the text |
/// | any other | 500 without internals; the text goes to the log |
///
/// For another answer make one with [`HttpError::new`].
pub struct HttpError {
    response: HttpResponse,
    /// For the log, where the response keeps silent.
    unexpected: Option<String>,
}

impl HttpError {
    /// Answers with this status code and text.
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { response: HttpResponse::new(status).text(text), unexpected: None }
    }

    /// The response that the caller will see.
    pub fn response(&self) -> &HttpResponse {
        &self.response
    }

    /// Logs what the caller must not see and gives what it may.
    pub(crate) fn into_response(self) -> HttpResponse {
        if let Some(message) = self.unexpected {
            log::error(message);
        }
        self.response
    }

    fn unexpected(message: String) -> Self {
        let response = HttpResponse::new(500).text("the function failed; its log says why");
        Self { response, unexpected: Some(message) }
    }
}

impl<E: Error + 'static> From<E> for HttpError {
    fn from(error: E) -> Self {
        match status(&error) {
            Some(status) => Self::new(status, error.to_string()),
            None => {
                let mut message = error.to_string();
                let mut source = error.source();
                while let Some(cause) = source {
                    message = format!("{message}: {cause}");
                    source = cause.source();
                }
                Self::unexpected(message)
            }
        }
    }
}

impl From<Failure> for HttpError {
    fn from(failure: Failure) -> Self {
        Self::unexpected(format!("{failure:?}"))
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.response.bytes());
        write!(f, "{}: {}", self.response.status(), self.unexpected.as_deref().unwrap_or(&text))
    }
}

/// The status code of an error that the caller may read.
fn status(error: &dyn Any) -> Option<u16> {
    if error.is::<BadRequest>() {
        return Some(400);
    }
    if error.is::<AlreadyExists>() {
        return Some(409);
    }
    error.downcast_ref::<ClientError>().and_then(|error| match error {
        ClientError::InvalidArgument(_) => Some(400),
        ClientError::UnknownFunction(_) | ClientError::NotFound { .. } => Some(404),
        ClientError::Conflict(_) => Some(409),
        ClientError::Gone { .. } => Some(410),
        ClientError::NotSupported(_) => Some(501),
        ClientError::Unavailable(_) => Some(503),
        ClientError::UnreadableState(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::RuntimeStatus;

    fn answer(error: impl Into<HttpError>) -> (u16, String) {
        let response = error.into().into_response();
        (response.status(), String::from_utf8(response.bytes().to_vec()).unwrap())
    }

    #[test]
    fn each_error_of_the_client_has_its_status_code() {
        let id = || "a".to_owned();
        assert_eq!(answer(ClientError::InvalidArgument("no".into())), (400, "no".into()));
        assert_eq!(answer(ClientError::UnknownFunction("no".into())), (404, "no".into()));
        assert_eq!(answer(ClientError::NotFound { instance_id: id() }), (404, "instance 'a' not found".into()));
        assert_eq!(answer(ClientError::Conflict("no".into())), (409, "no".into()));
        let gone = ClientError::Gone { status: RuntimeStatus::Completed };
        assert_eq!(answer(gone), (410, "the instance has ended: it is Completed".into()));
        assert_eq!(answer(ClientError::NotSupported("no".into())), (501, "no".into()));
        assert_eq!(answer(ClientError::Unavailable("no".into())), (503, "no".into()));
        let exists = AlreadyExists { instance_id: id(), status: RuntimeStatus::Running };
        assert_eq!(answer(exists), (409, "An instance with ID 'a' already exists.".into()));
        assert_eq!(answer(BadRequest::new("no")), (400, "no".into()));
    }

    #[test]
    fn other_errors_tell_the_caller_nothing() {
        let (status, text) = answer("secret".parse::<u8>().unwrap_err());
        assert_eq!((status, text.contains("digit")), (500, false));
        let (status, text) = answer(Failure::new("secret"));
        assert_eq!((status, text.contains("secret")), (500, false));
    }
}
