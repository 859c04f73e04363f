//! Requests to other services.

use crate::failure::Failure;
use crate::json;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;
use std::time::Duration;

/// Sends HTTP requests from activities and HTTP triggers, one at a time: `send` returns once the response is there.
///
/// The host lets them go to public addresses only; `extensions.soloist.outboundAllow` in `host.json` names others.
/// Redirects are returned, not followed. Orchestrators cannot send requests: they call an activity that does.
///
/// ```no_run
/// use soloist_sdk::prelude::*;
///
/// #[activity]
/// fn get_weather(ctx: ActivityContext, city: String) -> Result<Json> {
///     let response = http::get(format!("https://weather.example/{city}"))
///         .header("idempotency-key", ctx.idempotency_key())
///         .send()?
///         .error_for_status()?;
///     response.json()
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Client {
    headers: Vec<(String, String)>,
    timeout: Option<Duration>,
}

/// Begins a GET request. `url` is absolute: `https://…` or `http://…`.
pub fn get(url: impl Into<String>) -> RequestBuilder {
    Client::new().get(url)
}

/// Begins a POST request.
pub fn post(url: impl Into<String>) -> RequestBuilder {
    Client::new().post(url)
}

impl Client {
    /// A client without headers of its own and with the host's timeouts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header to every request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Bounds, each for itself, the time to connect, to the response's first byte and between the pieces of its body.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Begins a GET request.
    pub fn get(&self, url: impl Into<String>) -> RequestBuilder {
        self.request("GET", url)
    }

    /// Begins a POST request.
    pub fn post(&self, url: impl Into<String>) -> RequestBuilder {
        self.request("POST", url)
    }

    /// Begins a PUT request.
    pub fn put(&self, url: impl Into<String>) -> RequestBuilder {
        self.request("PUT", url)
    }

    /// Begins a DELETE request.
    pub fn delete(&self, url: impl Into<String>) -> RequestBuilder {
        self.request("DELETE", url)
    }

    /// Begins a request with any method, in upper case.
    pub fn request(&self, method: impl Into<String>, url: impl Into<String>) -> RequestBuilder {
        RequestBuilder {
            method: method.into(),
            url: url.into(),
            headers: self.headers.clone(),
            body: Vec::new(),
            timeout: self.timeout,
            problem: None,
        }
    }
}

/// A request that has not been sent.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) timeout: Option<Duration>,
    problem: Option<RequestError>,
}

impl RequestBuilder {
    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Sets the body to a value as JSON, and the content type unless one is set. A value that cannot be written fails `send`.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match json::encode(value, || "the body of a request".into()) {
            Ok(text) => self.body = text.into_bytes(),
            Err(failure) => self.problem = Some(self.error(failure.message())),
        }
        if self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            return self;
        }
        self.header("content-type", "application/json")
    }

    /// As [`Client::timeout`], for this request.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the request and waits for the whole response. Any status code is a response.
    /// # Errors
    /// [`RequestError`] if there is no response: the URL is none, the destination is not allowed or does not answer, a time is
    /// up, the connection or its certificate is bad, or the response is torn.
    pub fn send(self) -> Result<Response, RequestError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        super::wire::send(self)
    }

    pub(super) fn error(&self, reason: &str) -> RequestError {
        // A query may hold secrets, and errors end in logs and histories.
        let place = self.url.split(['?', '#']).next().unwrap_or_default();
        RequestError { message: format!("{} {place}: {reason}", self.method) }
    }
}

/// A response, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) request: String,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// True for status codes from 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name that is a text; names compare without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The headers whose values are texts, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value).ok()?)))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, without a copy.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The body as a text; what is not UTF-8 is replaced by `U+FFFD`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads the body as JSON.
    /// # Errors
    /// If it is not JSON, or not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|_| Failure::new(format!("{}: the response is not UTF-8 text", self.request)))?;
        json::decode(text, || format!("the response to {}", self.request))
    }

    /// The response, if its status code says success.
    /// # Errors
    /// [`RequestError`], with the status code, for any other.
    pub fn error_for_status(self) -> Result<Self, RequestError> {
        if self.is_success() {
            return Ok(self);
        }
        Err(RequestError { message: format!("{}: the answer is status {}", self.request, self.status) })
    }
}

/// Why a request has no response, or not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    message: String,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response { status, headers: vec![("x-a".into(), b"1".to_vec())], body: body.into(), request: "GET x".into() }
    }

    #[test]
    fn a_response_is_read_as_what_it_is() {
        let found = response(200, r#"{"a":1}"#);
        assert_eq!(found.json::<serde_json::Value>().unwrap()["a"], 1);
        assert_eq!((found.header("X-A"), found.text().as_str()), (Some("1"), r#"{"a":1}"#));
        let failure = response(200, "<html>").json::<u32>().unwrap_err();
        assert!(failure.message().contains("the response to GET x"), "{}", failure.message());
        assert!(response(204, "").error_for_status().is_ok());
        assert_eq!(response(503, "").error_for_status().unwrap_err().to_string(), "GET x: the answer is status 503");
    }

    #[test]
    fn errors_do_not_tell_the_query() {
        let request = Client::new().header("a", "b").get("https://x.example/y?key=secret");
        assert_eq!(request.error("no").to_string(), "GET https://x.example/y: no");
    }

    #[test]
    fn outside_of_a_host_nothing_is_sent() {
        let error = get("https://x.example/").send().unwrap_err();
        assert!(error.to_string().contains("only within a host"), "{error}");
    }
}
