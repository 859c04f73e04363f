//! A small HTTP client: connections are kept, every request has a deadline.

use std::{io, time::Duration};

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde_json::Value;

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(240);

/// A client of one host.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    key: Option<String>,
    http: legacy::Client<legacy::connect::HttpConnector, Full<Bytes>>,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// A header's text; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
    }
}

impl Client {
    /// A client of the host at this URL.
    pub fn new(base: &str) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new()).build_http();
        Self { base: base.to_owned(), key: None, http }
    }

    /// Sends this key with every request.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Sends a request. `target` is a path with query, or a whole URL.
    ///
    /// # Errors
    /// If there was no response: the host is gone, or does not answer.
    pub async fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> io::Result<Reply> {
        let url = if target.starts_with('/') { format!("{}{target}", self.base) } else { target.to_owned() };
        let mut request = Request::builder().method(method).uri(url);
        if let Some(key) = &self.key {
            request = request.header("x-functions-key", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).map_err(io::Error::other)?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(io::Error::other)?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            Ok(Reply { status: StatusCode::as_u16(&parts.status), headers: parts.headers, body })
        };
        let answer = tokio::time::timeout(DEADLINE, exchange).await;
        answer.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("{method} {target}: no answer"))))
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let reply = self.try_send(method, target, headers, body).await;
        reply.unwrap_or_else(|error| panic!("{method} {target}: {error:?}"))
    }

    /// GET.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[], "").await
    }

    /// DELETE.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn delete(&self, target: &str) -> Reply {
        self.send("DELETE", target, &[], "").await
    }

    /// POST of JSON.
    ///
    /// # Panics
    /// If there is no response.
    pub async fn post(&self, target: &str, body: impl Into<Bytes>) -> Reply {
        self.send("POST", target, &[("content-type", "application/json")], body).await
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// If there was no response.
    pub async fn try_post(&self, target: &str, body: impl Into<Bytes>) -> io::Result<Reply> {
        self.try_send("POST", target, &[("content-type", "application/json")], body).await
    }
}
