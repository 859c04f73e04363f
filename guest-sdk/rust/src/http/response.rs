//! What goes out.

use crate::bindings::exports::soloist::functions::http_function as wit;
use crate::bindings::soloist::functions::types::Header;
use crate::failure::{Failure, Result};
use crate::json;
use serde::Serialize;

/// A response.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[http_trigger]
/// fn hello(req: HttpRequest) -> HttpResponse {
///     match req.query("name") {
///         Some(name) => HttpResponse::ok().text(format!("Hello {name}!")),
///         None => HttpResponse::new(400).text("say who you are: ?name="),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HttpResponse {
    inner: wit::Response,
}

impl HttpResponse {
    /// An empty response with this status code.
    pub fn new(status: u16) -> Self {
        Self { inner: wit::Response { status, headers: Vec::new(), body: Vec::new() } }
    }

    /// An empty response with status 200.
    pub fn ok() -> Self {
        Self::new(200)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.inner.headers.push(Header { name: name.to_ascii_lowercase(), value: value.into() });
        self
    }

    /// Sets the body, as it is. Without a `Content-Type` header the host says `text/plain; charset=utf-8`.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.inner.body = bytes.into();
        self
    }

    /// Sets the body to a text.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.body(text.into())
    }

    /// Sets the body to JSON and the content type to `application/json; charset=utf-8`, unless one is set.
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Result<Self, Failure> {
        let text = json::encode(value, || "the response".into())?;
        let response = match self.get_header("content-type") {
            Some(_) => self,
            None => self.header("content-type", "application/json; charset=utf-8"),
        };
        Ok(response.text(text))
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.inner.status
    }

    /// The first header of this name; names compare without regard to case.
    pub fn get_header(&self, name: &str) -> Option<&str> {
        let header = self.inner.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        Some(&header.value)
    }

    /// The body.
    pub fn bytes(&self) -> &[u8] {
        &self.inner.body
    }

    pub(crate) fn into_wit(self) -> wit::Response {
        self.inner
    }
}
