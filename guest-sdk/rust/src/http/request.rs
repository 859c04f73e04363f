//! What came in.

use crate::bindings::exports::soloist::functions::http_function as wit;
use crate::bindings::soloist::functions::types::{Header, Parameter};
use crate::json::Json;
use serde::de::DeserializeOwned;
use std::fmt;

/// A request.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    inner: wit::Request,
}

/// The request is at fault. By `?` in an HTTP trigger it becomes a 400 with this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest(String);

impl BadRequest {
    /// Says what is wrong, for the caller to read.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRequest {}

impl HttpRequest {
    /// The method, in upper case.
    pub fn method(&self) -> &str {
        &self.inner.method
    }

    /// The absolute URL, as the client wrote it.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Names this invocation in the log.
    pub fn invocation_id(&self) -> &str {
        &self.inner.invocation_id
    }

    /// The first header of this name; names compare without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers in order, as pairs of name (in lower case) and value.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner.headers.iter().map(|header| (header.name.as_str(), header.value.as_str()))
    }

    /// The first query parameter of this name, percent-decoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query_pairs().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All query parameters in order, percent-decoded.
    pub fn query_pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.inner.query)
    }

    /// The route parameter of this name, percent-decoded; names compare without regard to case.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The route parameter of this name.
    /// # Errors
    /// If the route has none, or the client left it out.
    pub fn required_param(&self, name: &str) -> Result<&str, BadRequest> {
        self.param(name).ok_or_else(|| BadRequest(format!("the route parameter '{name}' is missing")))
    }

    /// All route parameters, percent-decoded.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.inner.params)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.inner.body
    }

    /// The body as text.
    /// # Errors
    /// If it is not UTF-8.
    pub fn text(&self) -> Result<&str, BadRequest> {
        std::str::from_utf8(&self.inner.body).map_err(|error| BadRequest(format!("the body is not UTF-8: {error}")))
    }

    /// The body, read as JSON. An empty one reads as `null`.
    /// # Errors
    /// If it is not JSON or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BadRequest> {
        let payload = self.payload()?;
        payload.decode().map_err(|error| BadRequest(format!("the body is JSON, but not of the right shape: {error}")))
    }

    /// The body as it is, checked to be one JSON value: an input to hand on. An empty one is `null`.
    /// # Errors
    /// If it is not JSON.
    pub fn payload(&self) -> Result<Json, BadRequest> {
        match self.text()? {
            "" => Ok(Json::null()),
            text => Json::from_text(text).map_err(|error| BadRequest(format!("the body is not JSON: {error}"))),
        }
    }

    /// A request for unit tests: a method, a URL and a body; [`Self::with_param`] and the like add to it.
    pub fn for_test(method: &str, url: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new(wit::Request {
            function_name: "test".into(),
            invocation_id: "test".into(),
            method: method.to_uppercase(),
            url: url.into(),
            params: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            body: body.into(),
            trace_context: None,
        })
    }

    /// Adds a route parameter (for unit tests).
    pub fn with_param(mut self, name: &str, value: &str) -> Self {
        self.inner.params.push(Parameter { name: name.into(), value: value.into() });
        self
    }

    /// Adds a query parameter (for unit tests).
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        self.inner.query.push(Parameter { name: name.into(), value: value.into() });
        self
    }

    /// Adds a header (for unit tests).
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.inner.headers.push(Header { name: name.to_lowercase(), value: value.into() });
        self
    }

    pub(crate) fn new(inner: wit::Request) -> Self {
        Self { inner }
    }
}

fn pairs(parameters: &[Parameter]) -> impl Iterator<Item = (&str, &str)> {
    parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_handed_on_as_it_is_or_refused_with_the_reason() {
        let payload = |body: &[u8]| HttpRequest::for_test("post", "http://host/", body).payload();
        assert_eq!(payload(b"").unwrap(), Json::null());
        assert_eq!(payload(b"{\"a\": 1.0}").unwrap().text(), "{\"a\": 1.0}");
        assert!(payload(b"{").unwrap_err().to_string().starts_with("the body is not JSON: "));
        assert!(payload(b"\xff").unwrap_err().to_string().starts_with("the body is not UTF-8: "));
    }

    #[test]
    fn names_of_headers_and_route_parameters_compare_without_regard_to_case() {
        let request = HttpRequest::for_test("get", "http://host/", "")
            .with_header("X-Key", "a")
            .with_param("instanceId", "b")
            .with_query("q", "c")
            .with_query("q", "d");
        assert_eq!(request.header("x-KEY"), Some("a"));
        assert_eq!(request.param("instanceid"), Some("b"));
        assert_eq!(request.query("q"), Some("c"));
        assert_eq!(request.query("Q"), None);
        assert_eq!(request.method(), "GET");
        assert!(request.required_param("other").unwrap_err().to_string().contains("'other'"));
    }
}
