//! Durable HTTP: requests that the host sends for an orchestration.

use super::context::OrchestrationContext;
use super::options::RetryPolicy;
use super::state::{Kind, Reply};
use super::task::{Answer, Shared};
use crate::bindings::exports::soloist::functions::orchestrator as wit;
use crate::bindings::soloist::functions::types::Header;
use crate::failure::{Failure, Result};
use crate::json::{self, Json};
use crate::time::millis;
use futures_core::FusedFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Durable HTTP.
impl OrchestrationContext {
    /// Sends a request; `.await` gives the response, whatever its status code.
    ///
    /// The host sends it, outside of the orchestrator, as an activity would: at least once, to the addresses that activities
    /// may reach. The response is recorded once. A 202 with a `Location` is followed, at the pace that `Retry-After` asks for,
    /// until the work is done; see [`DurableHttpRequest::without_polling`].
    ///
    /// ```
    /// use soloist_sdk::prelude::*;
    ///
    /// #[orchestrator]
    /// async fn exchange_rate(ctx: OrchestrationContext, currency: String) -> Result<f64> {
    ///     let url = format!("https://rates.example/{currency}");
    ///     let response = ctx.call_http(DurableHttpRequest::get(url)).await?.error_for_status()?;
    ///     response.json()
    /// }
    /// ```
    /// # Errors
    /// The call fails if there is no response: the URL is none, the destination is not allowed or does not answer, a time is
    /// up, or the token cannot be had. With [retries](DurableHttpRequest::retry), if the last attempt fails, too.
    pub fn call_http(&self, request: DurableHttpRequest) -> HttpCall {
        if let Some(problem) = request.problem {
            return HttpCall { answer: Answer::refused(problem) };
        }
        let status_codes = request.retried_codes;
        let retry = request.retry.map(|policy| wit::HttpRetryPolicy { policy: policy.0, status_codes });
        let sequence = self
            .state
            .borrow_mut()
            .open_task(Kind::Http, |sequence| wit::Action::CallHttp(wit::CallHttp { sequence, retry, ..request.call }));
        HttpCall { answer: Answer::open(Shared::clone(&self.state), sequence) }
    }
}

/// A request that the host is to send: [`OrchestrationContext::call_http`].
///
/// ```
/// use soloist_sdk::{DurableHttpRequest, RetryPolicy, TokenSource};
/// use std::time::Duration;
///
/// let request = DurableHttpRequest::post("https://management.example/machines/7/restart")
///     .json(&["now"])
///     .timeout(Duration::from_secs(10))
///     .retry(RetryPolicy::new(3, Duration::from_secs(5)))
///     .retry_on([429, 503])
///     .token_source(TokenSource::managed_identity("https://management.example"));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request is sent by `OrchestrationContext::call_http`"]
pub struct DurableHttpRequest {
    call: wit::CallHttp,
    retry: Option<RetryPolicy>,
    retried_codes: Vec<u16>,
    problem: Option<Failure>,
}

impl DurableHttpRequest {
    /// A request with any method, in upper case. `url` is absolute: `https://…` or `http://…`.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        let call = wit::CallHttp {
            sequence: 0, // given by the call
            method: method.into(),
            uri: url.into(),
            headers: Vec::new(),
            content: None,
            asynchronous_pattern: true,
            timeout: None,
            retry: None,
            token_source: None,
        };
        Self { call, retry: None, retried_codes: Vec::new(), problem: None }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// A PUT request.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// A DELETE request.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Sets the body. Without a content type it is sent as `text/plain; charset=utf-8`.
    pub fn content(mut self, text: impl Into<String>) -> Self {
        self.call.content = Some(text.into());
        self
    }

    /// Sets the body to a value as JSON, and the content type unless one is set. A value that cannot be written fails the call.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match json::encode(value, || format!("the body of {} {}", self.call.method, self.call.uri)) {
            Ok(text) => self.call.content = Some(text),
            Err(failure) => self.problem = Some(failure),
        }
        if self.call.headers.iter().any(|header| header.name.eq_ignore_ascii_case("content-type")) {
            return self;
        }
        self.header("content-type", "application/json")
    }

    /// Takes a 202 for the answer, instead of asking at its `Location` until the work is done.
    pub fn without_polling(mut self) -> Self {
        self.call.asynchronous_pattern = false;
        self
    }

    /// Bounds each single request.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call.timeout = Some(millis(timeout));
        self
    }

    /// Repeats a request that gets no response, or one with a status code outside of 200 to 299 (see [`Self::retry_on`]).
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Of status codes only these are retried. Without [`Self::retry`] it has no effect.
    pub fn retry_on(mut self, status_codes: impl IntoIterator<Item = u16>) -> Self {
        self.retried_codes.extend(status_codes);
        self
    }

    /// Sends a bearer token with each request.
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.call.token_source = Some(source.0);
        self
    }
}

/// Where the host gets the bearer token for a request. The token itself never comes near the orchestration.
#[derive(Clone, Debug)]
pub struct TokenSource(wit::TokenSource);

impl TokenSource {
    /// The token for this resource from a provider that the host has under this name.
    pub fn new(kind: impl Into<String>, resource: impl Into<String>) -> Self {
        Self(wit::TokenSource { kind: kind.into(), resource_uri: resource.into(), options: None })
    }

    /// The token for this resource from the provider `AzureManagedIdentity`.
    pub fn managed_identity(resource: impl Into<String>) -> Self {
        Self::new("AzureManagedIdentity", resource)
    }

    /// Options of the provider, a JSON object.
    pub fn with_options(mut self, options: Json) -> Self {
        self.0.options = Some(options.into_text());
        self
    }
}

/// The response to a durable HTTP call. In JSON as the original writes it: `{"statusCode":…,"headers":{…},"content":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DurableHttpResponse {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    content: String,
}

impl DurableHttpResponse {
    /// A response for unit tests.
    pub fn for_test(status: u16, content: impl Into<String>) -> Self {
        Self { status_code: status, headers: BTreeMap::new(), content: content.into() }
    }

    /// The same response with a header.
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_lowercase(), value.into());
        self
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status_code
    }

    /// True for status codes from 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status_code)
    }

    /// The header of this name, compared without regard to case; several of one name are joined by `, `.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_lowercase()).map(String::as_str)
    }

    /// All headers by name, in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The body, read as JSON.
    /// # Errors
    /// Kind `InvalidPayload` if it is not JSON or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        json::decode(&self.content, || "the body of the response".into())
    }

    /// The response, if it says that the request was successful.
    /// # Errors
    /// Kind `HttpStatus` for status codes outside of 200 to 299.
    pub fn error_for_status(self) -> Result<Self> {
        if self.is_success() {
            return Ok(self);
        }
        Err(Failure::new(format!("the request was answered with status {}", self.status_code)).with_kind("HttpStatus"))
    }

    fn from_wit(done: wit::HttpCompleted) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for header in done.headers {
            match headers.get_mut(&header.name.to_lowercase()) {
                Some(value) => *value = format!("{value}, {}", header.value),
                None => {
                    headers.insert(header.name.to_lowercase(), header.value);
                }
            }
        }
        Self { status_code: done.status_code, headers, content: done.content }
    }

    pub(crate) fn into_wit(self, sequence: u32) -> wit::HttpCompleted {
        let headers = self.headers.into_iter().map(|(name, value)| Header { name, value }).collect();
        wit::HttpCompleted { sequence, status_code: self.status_code, headers, content: self.content }
    }
}

/// A durable HTTP call under way. Its output is a `Result<DurableHttpResponse>`. Dropping it gives it up.
#[must_use = "a call that is dropped is given up: await it"]
pub struct HttpCall {
    answer: Answer,
}

impl Future for HttpCall {
    type Output = Result<DurableHttpResponse>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.poll(cx).map(|answer| match answer? {
            Reply::Http(done) => Ok(DurableHttpResponse::from_wit(*done)),
            Reply::Json(_) => unreachable!("answers are checked for their kind"),
        })
    }
}

impl FusedFuture for HttpCall {
    fn is_terminated(&self) -> bool {
        self.answer.is_returned()
    }
}
