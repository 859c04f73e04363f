//! Where a request goes: the management API, the host's own pages, or a function.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header, request};
use hyper::body::Incoming;
use tracing::{Instrument, debug, debug_span, error, warn};

use super::body::BodyReader;
use super::error::ApiError;
use super::functions::{FunctionMatch, FunctionRoutes, HttpFunctions, function_reply, invocation};
use super::links::{MANAGEMENT_PATH, Origin};
use super::management::Management;
use super::reply::{self, Reply};
use super::{ServerOptions, Services};

/// Serves requests: one for the whole server.
pub(super) struct Router {
    management: Management,
    routes: FunctionRoutes,
    functions: Arc<dyn HttpFunctions>,
    bodies: BodyReader,
    custom_headers: HeaderMap,
    use_forwarded_host: bool,
}

impl Router {
    pub(super) fn new(services: Services, options: ServerOptions) -> Self {
        Self {
            management: Management::new(services.client, options.hub_name, options.json_depth_max),
            routes: services.routes,
            functions: services.functions,
            bodies: BodyReader::new(options.max_request_bytes, options.buffered_bytes_max),
            custom_headers: checked_headers(options.custom_headers),
            use_forwarded_host: options.use_forwarded_host,
        }
    }

    /// Answers a request that came in by the address `local`.
    pub(super) async fn handle(&self, request: Request<Incoming>, local: SocketAddr) -> Reply {
        let (parts, body) = request.into_parts();
        let span = debug_span!("http.request", method = %parts.method, path = parts.uri.path());
        let answer = match check_host(&parts) {
            // A handler that panics answers 500: without this its connection would just end.
            Ok(()) => AssertUnwindSafe(self.dispatch(&parts, body, local).instrument(span))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    error!(method = %parts.method, path = parts.uri.path(), "a request's handler panicked");
                    Err(ApiError::internal())
                }),
            Err(error) => Err(error),
        };
        let mut reply = answer.unwrap_or_else(ApiError::into_reply);
        if below(parts.uri.path(), "/admin").is_none() {
            for (name, value) in &self.custom_headers {
                reply.headers_mut().insert(name, value.clone());
            }
        }
        debug!(method = %parts.method, path = parts.uri.path(), status = reply.status().as_u16(), "request answered");
        reply
    }

    async fn dispatch(&self, parts: &request::Parts, body: Incoming, local: SocketAddr) -> Result<Reply, ApiError> {
        let path = parts.uri.path();
        if let Some(tail) = below(path, MANAGEMENT_PATH) {
            let body = self.bodies.read(&parts.headers, body);
            // Boxed: it is the largest future of all and the rarest.
            return Box::pin(self.management.handle(parts, tail, &self.origin(parts, local), body)).await;
        }
        // Nothing of an app is ever served here, whatever its routes say.
        if below(path, "/runtime").is_some() || below(path, "/admin").is_some() {
            return admin(&parts.method, path);
        }
        if let Some(found) = (self.routes)(&parts.method, path) {
            return self.call_function(found, parts, body, local).await;
        }
        if percent_encoding::percent_decode_str(path).decode_utf8().is_err() {
            return Err(ApiError::bad_request("the path is not UTF-8: percent-encode names and ids as UTF-8"));
        }
        if path == "/" && parts.method == Method::GET {
            return Ok(reply::text(StatusCode::OK, "Soloist is running.\n"));
        }
        Err(ApiError::not_found())
    }

    async fn call_function(
        &self,
        found: FunctionMatch,
        parts: &request::Parts,
        body: Incoming,
        local: SocketAddr,
    ) -> Result<Reply, ApiError> {
        // Held until the response is there: it counts against the memory for bodies.
        let body = self.bodies.read(&parts.headers, body).await?;
        let function = Arc::clone(&found.function);
        let invocation = invocation(found, parts, body.bytes.clone(), self.origin(parts, local));
        let invocation_id = invocation.invocation_id.clone();
        let reply = self.functions.call(invocation).await.inspect_err(|error| {
            debug!(%function, %invocation_id, %error, "function gave no response");
        })?;
        Ok(function_reply(&function, &invocation_id, reply))
    }

    fn origin(&self, parts: &request::Parts, local: SocketAddr) -> Origin {
        Origin::of_request(&parts.uri, &parts.headers, local, self.use_forwarded_host)
    }
}

/// HTTP/1.1 asks for exactly one `Host`: with none or two, nobody can say which host is meant.
fn check_host(parts: &request::Parts) -> Result<(), ApiError> {
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && parts.version < Version::HTTP_11) {
        return Ok(());
    }
    Err(ApiError::bad_request("the request must have exactly one Host header"))
}

/// The host's own endpoints.
fn admin(method: &Method, path: &str) -> Result<Reply, ApiError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_ping = path.eq_ignore_ascii_case("/admin/host/ping") && (method == Method::GET || method == Method::POST);
    if is_ping { Ok(reply::empty(StatusCode::OK)) } else { Err(ApiError::not_found()) }
}

/// The rest of a path below a base, which compares without regard to case.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    let (head, tail) = path.split_at_checked(base.len())?;
    let is_below = head.eq_ignore_ascii_case(base) && (tail.is_empty() || tail.starts_with('/'));
    is_below.then_some(tail)
}

/// Headers that can be sent; the others are named in the log.
fn checked_headers(headers: Vec<(String, String)>) -> HeaderMap {
    let mut checked = HeaderMap::new();
    for (name, value) in headers {
        match (HeaderName::try_from(&name), HeaderValue::from_bytes(value.as_bytes())) {
            (Ok(name), Ok(value)) => {
                checked.insert(name, value);
            }
            _ => warn!(header = %name, "invalid header left out: see extensions.http.customHeaders in host.json"),
        }
    }
    checked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_ends_at_a_slash() {
        assert_eq!(below("/Admin/x", "/admin"), Some("/x"));
        assert_eq!(below("/admin", "/admin"), Some(""));
        assert_eq!(below("/administrator", "/admin"), None);
        assert_eq!(below("/adm", "/admin"), None);
    }

    #[test]
    fn ping_answers_get_and_post() {
        assert_eq!(admin(&Method::GET, "/admin/host/ping").unwrap().status(), 200);
        assert_eq!(admin(&Method::POST, "/Admin/Host/Ping/").unwrap().status(), 200);
        assert!(admin(&Method::DELETE, "/admin/host/ping").is_err());
        assert!(admin(&Method::GET, "/admin/host/status").is_err());
    }
}
