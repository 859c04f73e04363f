//! HTTP functions: from a request on a route to the guest's response.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes};
use tracing::{debug, warn};

use super::BodyStream;
use super::error::ApiError;
use super::links::Origin;
use super::query::Query;
use super::reply::{self, Reply, ReplyBody};
use crate::app::AuthLevel;

/// How long a response's body is read that nobody wants.
const FINISH_TIME_MAX: Duration = Duration::from_secs(10);

/// Finds the function that serves a method (as sent) and a path (as sent: percent-encoded, without query).
pub type FunctionRoutes = Arc<dyn Fn(&Method, &str) -> Option<FunctionMatch> + Send + Sync>;

/// The function that serves a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionMatch {
    /// The function's name.
    pub function: Arc<str>,
    /// The route's parameters, decoded.
    pub params: Vec<(String, String)>,
    /// Which key a caller needs.
    pub auth_level: AuthLevel,
    /// The function speaks HTTP itself: it reads the request while it comes, and its response goes out while it is made.
    pub is_streamed: bool,
}

/// Finds the function that would serve a method and a path, as [`FunctionRoutes`] does, were it not in error.
pub type FunctionErrors = Arc<dyn Fn(&Method, &str) -> Option<FunctionInError> + Send + Sync>;

/// A function that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInError {
    /// The function's name.
    pub function: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A request for a function.
#[derive(Clone, Debug)]
pub struct HttpInvocation {
    /// The function's name.
    pub function: Arc<str>,
    /// The method, as sent.
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// The route's parameters, decoded.
    pub params: Vec<(String, String)>,
    /// The query's parameters, decoded, in order; names may repeat.
    pub query: Vec<(String, String)>,
    /// The headers, in order, names in lower case; values that are not UTF-8 are read as Latin-1.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
    /// Names this invocation in the log: a new GUID.
    pub invocation_id: String,
    /// Under which the caller reached this host: for the links that the function gives out.
    pub origin: Origin,
}

/// A request for a function that speaks HTTP itself.
#[derive(Debug)]
pub struct HttpStream {
    /// The function's name.
    pub function: Arc<str>,
    /// The request, with its path and query as sent and one `Host`.
    pub request: Request<BodyStream>,
    /// Names this invocation in the log: a new GUID.
    pub invocation_id: String,
    /// Under which the caller reached this host.
    pub origin: Origin,
}

/// A function's response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpReply {
    /// The status code; below 200 or above 999 is the function's failure.
    pub status: u16,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body, sent as it is.
    pub body: Bytes,
}

/// Why a function gave no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpCallError {
    /// No guest came free in time. The caller may try again after this time.
    #[error("no guest came free in time")]
    Throttled {
        /// How long the caller should wait.
        retry_after: Duration,
    },
    /// The function failed. The log has the reason, written by whoever ran it; the caller is told nothing of it.
    #[error("the function failed")]
    Failed,
    /// The function cannot be run now, through no fault of its own.
    #[error("the function cannot be run now")]
    Unavailable,
    /// It was taken away since the request was routed to it.
    #[error("there is no such function any more")]
    NotFound,
}

/// Runs HTTP functions.
pub trait HttpFunctions: Send + Sync + 'static {
    /// Runs a function on a request. Dropping the future (the client has gone) stops the guest.
    fn call(&self, invocation: HttpInvocation) -> BoxFuture<'_, Result<HttpReply, HttpCallError>>;

    /// Runs a function that speaks HTTP itself, up to its response's head. Dropping the future, or the response's body before
    /// its end, stops the guest. An error in the body tells that the function failed.
    fn stream(&self, stream: HttpStream) -> BoxFuture<'_, Result<Response<BodyStream>, HttpCallError>>;
}

/// Makes the request of a function that speaks HTTP itself.
pub(super) fn stream(function: Arc<str>, parts: &request::Parts, body: BodyStream, origin: Origin) -> HttpStream {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.headers_mut() = parts.headers.clone();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().unwrap_or_default();
    HttpStream { function, request, invocation_id: uuid::Uuid::new_v4().to_string(), origin }
}

/// Makes the response to a client from one that a function streams.
pub(super) fn stream_reply(function: &str, invocation_id: &str, response: Response<BodyStream>) -> Reply {
    let (mut head, body) = response.into_parts();
    if head.status.is_informational() {
        warn!(%function, %invocation_id, status = head.status.as_u16(), "function returned an invalid status code");
        return ApiError::internal().into_reply();
    }
    let length = head.headers.get(header::CONTENT_LENGTH).cloned();
    for name in CONNECTION_HEADERS {
        head.headers.remove(*name);
    }
    let bodiless = is_bodiless(head.status);
    let mut reply = if bodiless { reply::empty(head.status) } else { Reply::new(ReplyBody::default()) };
    *reply.status_mut() = head.status;
    *reply.headers_mut() = head.headers;
    if bodiless {
        finish(body);
        return reply;
    }
    // Whoever let the guest write the body has counted its bytes.
    if let Some(length) = length {
        reply.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    *reply.body_mut() = if body.is_end_stream() { ReplyBody::default() } else { body.into() };
    reply
}

/// Lets a function end whose response's body nobody wants. One that goes on for long is stopped: no client waits for it, nor
/// could one that goes away end it.
pub(super) fn finish(mut body: BodyStream) {
    let read = async move { while let Some(Ok(_)) = body.frame().await {} };
    tokio::spawn(tokio::time::timeout(FINISH_TIME_MAX, read));
}

fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Makes the invocation of a function from a request.
pub(super) fn invocation(found: FunctionMatch, parts: &request::Parts, body: Bytes, origin: Origin) -> HttpInvocation {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    HttpInvocation {
        function: found.function,
        method: parts.method.as_str().to_owned(),
        url: format!("{origin}{target}"),
        params: found.params,
        query: parts.uri.query().map(Query::parse).unwrap_or_default().into_pairs(),
        headers: headers_of(&parts.headers),
        body,
        invocation_id: uuid::Uuid::new_v4().to_string(),
        origin,
    }
}

fn headers_of(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), header_text(value.as_bytes()))).collect()
}

/// A header's value as text: UTF-8, or else Latin-1, in which every byte is a character.
fn header_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// Makes the response to a client from a function's.
pub(super) fn function_reply(function: &str, invocation_id: &str, reply: HttpReply) -> Reply {
    let status = match StatusCode::from_u16(reply.status) {
        // 1xx is not a response: it announces one.
        Ok(status) if !status.is_informational() => status,
        Ok(_) | Err(_) => {
            warn!(%function, %invocation_id, status = reply.status, "function returned an invalid status code");
            return ApiError::internal().into_reply();
        }
    };
    let bodiless = is_bodiless(status);
    let mut response = if bodiless { reply::empty(status) } else { Reply::new(reply.body.into()) };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in reply.headers {
        if is_connection_header(&name) {
            debug!(%function, %invocation_id, header = %name, "dropped a header that the connection owns");
            continue;
        }
        // Bytes, not text: a value that came in as UTF-8 goes out as UTF-8.
        match (HeaderName::try_from(&name), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => {
                headers.append(name, value);
            }
            _ => warn!(%function, %invocation_id, header = %name, "dropped an invalid header of a function's response"),
        }
    }
    if !bodiless && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, reply::TEXT);
    }
    response
}

/// Headers that say how a message is carried, not what it is: the server's own.
fn is_connection_header(name: &str) -> bool {
    CONNECTION_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

const CONNECTION_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], body: &'static str) -> Reply {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        function_reply("F", "1", HttpReply { status, headers, body: body.into() })
    }

    #[test]
    fn a_response_without_content_type_is_plain_text() {
        assert_eq!(reply(200, &[], "x").headers()["content-type"], "text/plain; charset=utf-8");
        let json = reply(200, &[("Content-Type", "application/json")], "{}");
        assert_eq!(json.headers().get_all("content-type").iter().collect::<Vec<_>>(), ["application/json"]);
    }

    #[test]
    fn bad_headers_are_dropped_and_the_rest_is_sent() {
        let headers = [
            ("Transfer-Encoding", "chunked"),
            ("content-length", "99"),
            ("Connection", "close"),
            ("bad name", "x"),
            ("", "x"),
            ("x-bad", "a\r\nset-cookie: b"),
            ("set-cookie", "a"),
            ("Set-Cookie", "b"),
            ("x-text", "ü"),
        ];
        let reply = reply(200, &headers, "x");
        let names: Vec<&str> = reply.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["set-cookie", "x-text", "content-type"]);
        assert_eq!(reply.headers().get_all("set-cookie").iter().count(), 2);
        assert_eq!(reply.headers()["x-text"].as_bytes(), "ü".as_bytes());
    }

    #[test]
    fn statuses_are_as_given_or_the_functions_failure() {
        for bad in [0, 99, 100, 101, 199, 1000, u16::MAX] {
            assert_eq!(reply(bad, &[], "x").status().as_u16(), 500, "{bad}");
        }
        for good in [200, 299, 418, 599, 999] {
            assert_eq!(reply(good, &[], "x").status().as_u16(), good);
        }
    }

    #[test]
    fn some_statuses_have_no_body() {
        use hyper::body::Body;
        for status in [204, 205, 304] {
            let reply = reply(status, &[("etag", "1")], "x");
            assert_eq!(reply.body().size_hint().exact(), Some(0));
            assert!(!reply.headers().contains_key("content-type") && reply.headers().contains_key("etag"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_wants_is_not_read_for_ever() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<()>(1);
        let pieces = futures::stream::unfold(sender, |sender| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok(hyper::body::Frame::data(Bytes::from("line"))), sender))
        });
        finish(BodyStream::new(http_body_util::StreamBody::new(pieces)));
        let dropped = tokio::time::timeout(2 * FINISH_TIME_MAX, receiver.recv()).await;
        assert_eq!(dropped, Ok(None), "its sender is gone");
    }

    #[test]
    fn header_values_that_are_not_utf8_are_latin_1() {
        assert_eq!(header_text(b"caf\xe9"), "café");
        assert_eq!(header_text("café".as_bytes()), "café");
    }
}
