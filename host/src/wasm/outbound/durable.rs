//! Durable HTTP: one request that the host sends for an orchestrator, through the gate that functions' own requests pass.
//!
//! Redirects are answers, as they are to functions: whoever follows one makes another request, which is judged again.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{Destination, Outbound, Timeouts, TokenProviders, deliver};
use crate::{
    durable::{Failure, HttpAnswer, HttpScheduled},
    hub::HttpRequestCall,
    wasm::console::Console,
};

/// The kind of the failure of a request that got no answer; another attempt may get one.
const REQUEST_FAILED: &str = "HttpRequestException";

/// The kind of the failure of a request that cannot be sent as it is.
const INVALID: &str = "InvalidHttpRequest";

/// Headers that are the connection's own business: they are left out of requests and answers.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// What durable HTTP needs beside the gate.
pub(in crate::wasm) struct DurableHttp {
    /// Where bearer tokens come from.
    pub(in crate::wasm) tokens: TokenProviders,
    /// The largest answer, in bytes.
    pub(in crate::wasm) content_bytes_max: usize,
}

impl DurableHttp {
    /// Sends a request and reads its answer to the end. How long that may take is the caller's to bound.
    pub(in crate::wasm) async fn request(
        &self,
        outbound: &Outbound,
        call: &HttpRequestCall,
    ) -> Result<HttpAnswer, Failure> {
        let console = Console::new(call.name.as_str().into(), call.instance_id.as_str().into());
        let target = target(call.poll.as_deref().unwrap_or(&call.call.uri))?;
        let mut request = to_send(&call.call, call.poll.is_some(), &target)?;
        if let Some(source) = &call.call.token_source
            && is_same_origin(&call.call.uri, &target)
        {
            let token = self.tokens.token(source).await?;
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| invalid("the token of the token source is no header's value"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let timeouts = Timeouts { first_byte: Timeouts::MAX, between_bytes: Timeouts::MAX, ..Timeouts::DEFAULT };
        // Durable requests are counted by the hub; the permit only fits the shape of those that guests send.
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a new semaphore has its permit");
        let sent = deliver(outbound, &console, request, timeouts, permit).await;
        let (response, drive) = sent.map_err(|error| unanswered(&target, &error))?;
        let (head, body) = response.into_parts();
        let read = read(body, self.content_bytes_max);
        let content = tokio::select! {
            biased;
            content = read => content,
            // The connection's end comes with the body's; until then it moves the bytes.
            never = async { std::pin::Pin::from(drive).await.ok(); std::future::pending().await } => never,
        };
        let content = content.map_err(|error| match error {
            Unread::TooLarge => Failure {
                non_retriable: true,
                ..Failure::new(
                    "HttpResponseTooLarge",
                    format!(
                        "the response of {} is larger than {} bytes (extensions.soloist.maxPayloadBytes in host.json)",
                        shown(&target),
                        self.content_bytes_max
                    ),
                )
            },
            Unread::Failed(error) => unanswered(&target, &error),
        })?;
        answer(head.status.as_u16(), &head.headers, content)
    }
}

/// Checks the URL of a request.
fn target(uri: &str) -> Result<Uri, Failure> {
    let wrong =
        |reason: &str| invalid(&format!("the URL of the request is no absolute URL of http or https: {reason}"));
    let uri = uri.split('#').next().unwrap_or_default();
    let uri: Uri = uri.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => return Err(wrong(&format!("its scheme is {other}"))),
        None => return Err(wrong("it has no scheme")),
    }
    match Destination::of(&uri) {
        Ok(_) => Ok(uri),
        Err(_) => Err(wrong("its host or port is malformed, or it holds a user name")),
    }
}

/// The request of a call, or the poll of its work at another URL.
fn to_send(call: &HttpScheduled, is_poll: bool, target: &Uri) -> Result<Request<WasiBody>, Failure> {
    let method = if is_poll { Method::GET } else { method(&call.method)? };
    let content = call.content.as_deref().filter(|_| !is_poll);
    let same_origin = is_same_origin(&call.uri, target);
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        let Some((name, value)) = to_header(name, value)? else { continue };
        let is_kept = match (is_poll, &name) {
            (false, _) => true,
            (true, name) if is_of_content(name) || name == "x-functions-key" => false,
            (true, name) => same_origin || !HttpScheduled::is_credential(name.as_str()),
        };
        if is_kept {
            headers.append(name, value);
        }
    }
    let is_multipart = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().starts_with(b"multipart/");
    if headers.get(header::CONTENT_TYPE).is_some_and(is_multipart) {
        return Err(multipart());
    }
    if content.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    let authority = target.authority().expect("a destination has one").as_str();
    headers.insert(header::HOST, HeaderValue::try_from(authority).map_err(|_| invalid("the URL's host is malformed"))?);
    let body = Full::new(Bytes::from(content.unwrap_or_default().to_owned()));
    let mut request = Request::new(body.map_err(|never| match never {}).boxed_unsync());
    *request.method_mut() = method;
    *request.uri_mut() = target.clone();
    *request.headers_mut() = headers;
    Ok(request)
}

fn method(name: &str) -> Result<Method, Failure> {
    match Method::from_bytes(name.to_ascii_uppercase().as_bytes()) {
        Ok(Method::CONNECT) => Err(invalid("the method CONNECT is not for durable HTTP calls")),
        Ok(method) => Ok(method),
        Err(_) => Err(invalid(&format!("{name:?} is no HTTP method"))),
    }
}

/// A header that is sent; none for one that is the host's to set.
fn to_header(name: &str, value: &str) -> Result<Option<(HeaderName, HeaderValue)>, Failure> {
    let name = HeaderName::try_from(name).map_err(|_| invalid(&format!("{name:?} is no header's name")))?;
    // The value may be a secret: it is not shown.
    let value = HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes())
        .map_err(|_| invalid(&format!("the value of the header {name} has characters that no header may have")))?;
    let is_hosts = matches!(name, header::HOST | header::CONTENT_LENGTH | header::EXPECT) || HOP_BY_HOP.contains(&name);
    Ok((!is_hosts).then_some((name, value)))
}

/// A header that describes a body: a poll has none.
fn is_of_content(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-")
}

/// True if a URL leads to where the call's own leads: scheme, host and port.
fn is_same_origin(call: &str, target: &Uri) -> bool {
    let origin =
        |uri: &Uri| Destination::of(uri).map(|found| (found.host.to_ascii_lowercase(), found.port, found.is_tls));
    let call = self::target(call).ok().and_then(|call| origin(&call).ok());
    call.is_some() && call == origin(target).ok()
}

enum Unread {
    TooLarge,
    Failed(Error),
}

async fn read(mut body: WasiBody, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Failed)?.into_data() else { continue };
        if content.len() + data.len() > bytes_max {
            return Err(Unread::TooLarge);
        }
        content.extend_from_slice(&data);
    }
    Ok(content)
}

fn answer(status: u16, headers: &HeaderMap, content: Vec<u8>) -> Result<HttpAnswer, Failure> {
    let shown = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name));
    let headers: Vec<_> =
        shown.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes().to_vec()))).collect();
    let is_multipart = |(name, value): &(String, String)| {
        name == "content-type" && value.to_ascii_lowercase().starts_with("multipart/")
    };
    if headers.iter().any(is_multipart) {
        return Err(multipart());
    }
    Ok(HttpAnswer { status, headers, content: text(content).into() })
}

/// Bytes as text: UTF-8, or else each byte as the character of its number, so that none is lost.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// Scheme, host and path: a query may hold secrets.
fn shown(target: &Uri) -> String {
    let scheme = target.scheme_str().unwrap_or_default();
    format!("{scheme}://{}{}", target.authority().map_or("", |authority| authority.as_str()), target.path())
}

fn invalid(text: &str) -> Failure {
    Failure { non_retriable: true, ..Failure::new(INVALID, text) }
}

fn multipart() -> Failure {
    invalid("Multipart content is not supported with CallHttpAsync.")
}

/// There is no answer: why.
fn unanswered(target: &Uri, error: &Error) -> Failure {
    let shown = shown(target);
    match error {
        Error::DestinationIpProhibited => Failure {
            non_retriable: true,
            ..Failure::new(
                "HttpDestinationRefused",
                format!(
                    "the request to {shown} was refused: its destination is not public; extensions.soloist.outboundAllow in \
                     host.json can allow it"
                ),
            )
        },
        Error::ConnectionTimeout => Failure::new(
            REQUEST_FAILED,
            format!("no connection to {shown} within {} s", Timeouts::DEFAULT.connect.as_secs()),
        ),
        error => Failure::new(REQUEST_FAILED, format!("the request to {shown} got no answer: {}", reason(error))),
    }
}

/// What an error says, with what lies beneath it.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(beneath) = source {
        let more = beneath.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = beneath.source();
    }
    text
}

#[cfg(test)]
mod tests;
