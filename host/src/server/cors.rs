//! CORS: which pages of other sites may call functions.
//!
//! Nothing else of a host is ever opened by it: the management API and the host's own pages stay behind the
//! [`Door`](super::access::Door), whatever is allowed here.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request};

use super::reply::{self, Reply};
use crate::app::Cors;

/// How long a browser may remember the answer to its question.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// A page whose request is allowed.
#[derive(Clone, Debug)]
pub(super) struct AllowedPage {
    /// What the browser compares with the page's origin.
    origin: HeaderValue,
    credentials: bool,
    is_any: bool,
}

/// The page that a request comes from, if it may call functions.
pub(super) fn allowed_page(cors: Option<&Cors>, parts: &request::Parts) -> Option<AllowedPage> {
    let cors = cors?;
    let mut origins = parts.headers.get_all(header::ORIGIN).iter();
    let origin = origins.next()?;
    if origins.next().is_some() || !cors.allows(origin.to_str().ok()?) {
        return None;
    }
    let is_any = cors.origins.is_none();
    let origin = if is_any { HeaderValue::from_static("*") } else { origin.clone() };
    Some(AllowedPage { origin, credentials: cors.credentials, is_any })
}

impl AllowedPage {
    /// The answer to a browser that asks before it sends: it may send what it asks for.
    pub(super) fn preflight(&self, parts: &request::Parts) -> Option<Reply> {
        if parts.method != Method::OPTIONS {
            return None;
        }
        let method = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.clone();
        let mut reply = reply::empty(StatusCode::NO_CONTENT);
        let headers = reply.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method);
        if let Some(asked) = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(reply)
    }

    /// Lets the page read an answer. What a function said of that itself stays.
    pub(super) fn admit(&self, headers: &mut HeaderMap) {
        if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
            if self.credentials {
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }

    /// Whether answers differ by origin.
    pub(super) fn varies(&self) -> bool {
        !self.is_any
    }
}

/// Tells caches that an answer depends on the page.
pub(super) fn vary(headers: &mut HeaderMap) {
    const ORIGIN: HeaderName = header::ORIGIN;
    let is_told = headers.get_all(header::VARY).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|name| name.trim().eq_ignore_ascii_case(ORIGIN.as_str()) || name.trim() == "*")
        })
    });
    if !is_told {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}
