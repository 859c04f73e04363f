//! Where a request goes: the management API, the host's own pages, or a function.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header, request};
use hyper::body::Incoming;
use tracing::{Instrument, debug, debug_span, error, warn};

use super::access::{self, Door, Presented};
use super::admin::Admin;
use super::body::{BodyReader, Unread};
use super::connection::Reception;
use super::cors;
use super::error::ApiError;
use super::functions::{
    self, FunctionErrors, FunctionMatch, FunctionRoutes, HttpFunctions, function_reply, invocation,
};
use super::hsts::HstsHeader;
use super::keys::{Demand, Keys};
use super::links::{MANAGEMENT_PATH, Origin, V1_MANAGEMENT_PATH};
use super::management::{Management, Reached};
use super::openapi;
use super::query::Query;
use super::reply::{self, Reply};
use super::rpc::{self, RpcSecret};
use super::{BodyStream, HttpCallError, Overload, ServerOptions, Services};
use crate::app::Cors;

/// Serves requests: one for the whole server.
pub(super) struct Router {
    management: Management,
    routes: FunctionRoutes,
    errors: Option<FunctionErrors>,
    functions: Arc<dyn HttpFunctions>,
    bodies: BodyReader,
    overload: Option<Overload>,
    cors: Option<Cors>,
    hsts: Option<HstsHeader>,
    custom_headers: HeaderMap,
    use_forwarded_host: bool,
    rpc_secret: Option<RpcSecret>,
    admin: Admin,
    door: Door,
    keys: Option<Arc<Keys>>,
}

/// The path of the starter JSON.
const STARTER_PATH: &str = "/admin/host/durableClient";

impl Router {
    pub(super) fn new(services: Services, options: ServerOptions) -> Self {
        let Services { client, routes, errors, functions, app, keys } = services;
        let admin = Admin::new(app, client.clone(), keys.clone(), options.hub_name.clone());
        Self {
            management: Management::new(client, keys.clone(), &options),
            routes,
            errors,
            functions,
            bodies: BodyReader::new(options.max_request_bytes, options.buffered_bytes_max, options.timeouts.body),
            overload: options.overload,
            cors: options.cors,
            hsts: options.hsts.as_ref().map(HstsHeader::new),
            custom_headers: checked_headers(options.custom_headers),
            use_forwarded_host: options.use_forwarded_host,
            rpc_secret: options.rpc_secret,
            admin,
            door: Door::new(options.allowed_hosts, keys.is_none()),
            keys,
        }
    }

    /// Answers a request.
    pub(super) async fn handle(&self, request: Request<Incoming>, reception: Reception) -> Reply {
        let (mut parts, body) = request.into_parts();
        let body = Unread::new(&parts.headers, body);
        let checked = check_framing(&parts).and_then(|()| check_host(&mut parts));
        let parts = parts;
        let path = rpc::shown(parts.uri.path());
        let is_own = is_own(parts.uri.path());
        let page = if is_own { None } else { cors::allowed_page(self.cors.as_ref(), &parts) };
        let span = debug_span!("http.request", method = %parts.method, path);
        let checked = checked.and_then(|()| self.door.check(&parts, reception.local, page.is_some()));
        let answer = match (checked, page.as_ref().and_then(|page| page.preflight(&parts))) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(preflight)) => Ok(preflight),
            // A handler that panics answers 500: without this its connection would just end.
            (Ok(()), None) => AssertUnwindSafe(self.dispatch(&parts, body, reception).instrument(span))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| {
                    error!(method = %parts.method, path, "a request's handler panicked");
                    Err(ApiError::internal())
                }),
        };
        let mut reply = answer.unwrap_or_else(ApiError::into_reply);
        let headers = reply.headers_mut();
        if !is_own && self.cors.is_some() {
            if let Some(page) = &page {
                page.admit(headers);
            }
            if page.as_ref().is_none_or(cors::AllowedPage::varies) {
                cors::vary(headers);
            }
        }
        self.decorate(&parts, reception, headers);
        if parts.method == Method::HEAD {
            without_body(&mut reply);
        }
        if parts.version == Version::HTTP_2 {
            // What HTTP/1 says of a connection, HTTP/2 has no words for.
            reply.headers_mut().remove(header::CONNECTION);
        }
        debug!(method = %parts.method, path, status = reply.status().as_u16(), "request answered");
        reply
    }

    /// Adds what every answer has.
    fn decorate(&self, parts: &request::Parts, reception: Reception, headers: &mut HeaderMap) {
        if below(parts.uri.path(), "/admin").is_none() {
            for (name, value) in &self.custom_headers {
                headers.insert(name, value.clone());
            }
        }
        if let Some(hsts) = self.hsts.as_ref().filter(|_| reception.is_tls) {
            let authority = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let authority = authority.and_then(|host| host.parse::<Authority>().ok());
            if let Some(value) = authority.as_ref().and_then(|authority| hsts.for_host(authority.host())) {
                headers.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
            }
        }
    }

    async fn dispatch(&self, parts: &request::Parts, body: Unread, reception: Reception) -> Result<Reply, ApiError> {
        let path = parts.uri.path();
        // Only where a link may be made of it.
        let origin = below(path, "/runtime").or_else(|| below(path, "/admin")).map(|_| self.origin(parts, reception));
        if let Some(reached) = origin.as_ref().and_then(|origin| self.reached(path, origin)) {
            let body = self.bodies.read(body);
            // Boxed: it is the largest future of all and the rarest.
            return Box::pin(self.management.handle(parts, reached, body)).await;
        }
        if let Some(starter) = self.starter(parts, reception) {
            return starter;
        }
        if let Some(tail) = below(path, "/admin") {
            let body = self.bodies.read(body);
            return Box::pin(self.admin.handle(parts, tail, &self.origin(parts, reception), body)).await;
        }
        if let Some(tail) = below(path, "/runtime/health") {
            return Box::pin(self.admin.health(&parts.method, tail)).await;
        }
        // Nothing of an app is ever served here, whatever its routes say.
        if below(path, "/runtime").is_some() {
            return Err(ApiError::not_found());
        }
        // Nobody is tunnelled anywhere.
        if parts.method == Method::CONNECT {
            return Err(ApiError::not_found());
        }
        if let Some(found) = (self.routes)(&parts.method, path) {
            return self.call_function(found, parts, body, reception).await;
        }
        if let Some(found) = self.errors.as_ref().and_then(|errors| errors(&parts.method, path)) {
            return Err(ApiError::function_in_error(&found.function, &found.reason));
        }
        if percent_encoding::percent_decode_str(path).decode_utf8().is_err() {
            return Err(ApiError::bad_request("the path is not UTF-8: percent-encode names and ids as UTF-8"));
        }
        if path == openapi::PATH && matches!(parts.method, Method::GET | Method::HEAD) {
            return self.openapi(parts);
        }
        if path == "/" && matches!(parts.method, Method::GET | Method::HEAD) {
            return Ok(reply::text(StatusCode::OK, "Soloist is running.\n"));
        }
        Err(ApiError::not_found())
    }

    async fn call_function(
        &self,
        found: FunctionMatch,
        parts: &request::Parts,
        body: Unread,
        reception: Reception,
    ) -> Result<Reply, ApiError> {
        let seen = self.authorised(&found, parts)?;
        let parts = &*seen;
        if let Some(reason) = self.overload.as_ref().and_then(|overload| overload()) {
            debug!(function = %found.function, reason, "request refused: this process has about all that it can use");
            return Err(ApiError::overloaded());
        }
        if found.is_streamed {
            return Box::pin(self.stream_function(found.function, parts, body, self.origin(parts, reception))).await;
        }
        // Held until the response is there: it counts against the memory for bodies.
        let body = self.bodies.read(body).await?;
        let function = Arc::clone(&found.function);
        let invocation = invocation(found, parts, body.bytes.clone(), self.origin(parts, reception));
        let invocation_id = invocation.invocation_id.clone();
        let reply = self.functions.call(invocation).await.inspect_err(|error| {
            debug!(%function, %invocation_id, %error, "function gave no response");
        })?;
        Ok(function_reply(&function, &invocation_id, reply))
    }

    async fn stream_function(
        &self,
        function: Arc<str>,
        parts: &request::Parts,
        body: Unread,
        origin: Origin,
    ) -> Result<Reply, ApiError> {
        let (body, verdict) = self.bodies.stream(body)?;
        let stream = functions::stream(Arc::clone(&function), parts, BodyStream::new(body), origin);
        let invocation_id = stream.invocation_id.clone();
        let response = self.functions.stream(stream).await;
        // A function that fails for want of its request's body is not at fault, and says nothing that is worth more.
        let is_failure = response
            .as_ref()
            .map_or_else(|error| *error == HttpCallError::Failed, |response| response.status().is_server_error());
        if let Some(error) = verdict.error().filter(|_| is_failure) {
            return Err(error.into());
        }
        let response = response.inspect_err(|error| {
            debug!(%function, %invocation_id, %error, "function gave no response");
        })?;
        Ok(functions::stream_reply(&function, &invocation_id, response))
    }

    /// If a path is below one of the management API's: how it was reached.
    fn reached<'a>(&self, path: &'a str, origin: &'a Origin) -> Option<Reached<'a>> {
        let public = below(path, MANAGEMENT_PATH).or_else(|| below(path, V1_MANAGEMENT_PATH));
        if let Some(tail) = public {
            return Some(Reached { origin, base: &path[..path.len() - tail.len()], tail, is_secret: false });
        }
        let tail = self.rpc_secret.as_ref()?.tail(path)?;
        Some(Reached { origin, base: MANAGEMENT_PATH, tail, is_secret: true })
    }

    /// The starter JSON, if that is what is asked for.
    fn starter(&self, parts: &request::Parts, reception: Reception) -> Option<Result<Reply, ApiError>> {
        let path = parts.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        if !path.eq_ignore_ascii_case(STARTER_PATH) || parts.method != Method::GET {
            return None;
        }
        let with_rpc = parts.uri.query().map(Query::parse).unwrap_or_default().flag("rpc").unwrap_or(true);
        let rpc = self.rpc_secret.as_ref().filter(|_| with_rpc).map(|secret| secret.base_url(reception));
        Some(self.management.starter(parts, &self.origin(parts, reception), rpc.as_deref()))
    }

    /// What is served, for who may use the management API.
    fn openapi(&self, parts: &request::Parts) -> Result<Reply, ApiError> {
        if !self.admin.opens(parts, Demand::DurableTask) {
            return Err(ApiError::unauthorized());
        }
        let document = openapi::document(&self.admin.app().http_functions(), self.keys.is_some());
        Ok(reply::json(StatusCode::OK, document.to_string()))
    }

    /// The request as the function sees it, if its caller may call it.
    fn authorised<'a>(
        &self,
        found: &FunctionMatch,
        parts: &'a request::Parts,
    ) -> Result<Cow<'a, request::Parts>, ApiError> {
        let Some(keys) = &self.keys else { return Ok(Cow::Borrowed(parts)) };
        let presented = Presented::by(parts);
        let demand = Demand::Function { name: &found.function, level: found.auth_level };
        if !demand.is_open() && !presented.key().is_some_and(|key| keys.open_for(key, demand)) {
            return Err(ApiError::unauthorized());
        }
        if presented.key().is_some_and(|key| keys.knows(key)) {
            let mut seen = parts.clone();
            access::without_key(&mut seen);
            return Ok(Cow::Owned(seen));
        }
        Ok(Cow::Borrowed(parts))
    }

    fn origin(&self, parts: &request::Parts, reception: Reception) -> Origin {
        Origin::of_request(&parts.uri, &parts.headers, reception, self.use_forwarded_host)
    }
}

/// A coding that nobody here undoes would reach a function as its body.
fn check_framing(parts: &request::Parts) -> Result<(), ApiError> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if is_chunked(one) => Ok(()),
        _ => Err(ApiError::bad_request("Transfer-Encoding may be chunked and nothing else")),
    }
}

/// HTTP/1.1 asks for exactly one `Host`: with none or two, nobody can say which host is meant. HTTP/2 has it in the target;
/// then it becomes a header, and so do the pieces of a cookie become one.
fn check_host(parts: &mut request::Parts) -> Result<(), ApiError> {
    if parts.version == Version::HTTP_2 {
        let named = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let mut hosts = parts.headers.get_all(header::HOST).iter();
        if named.as_ref().is_some_and(|named| hosts.any(|host| host != named)) {
            return Err(ApiError::bad_request("the Host header is another than the request's authority"));
        }
        if let Some(named) = named.filter(|_| !parts.headers.contains_key(header::HOST)) {
            parts.headers.insert(header::HOST, named);
        }
        join_cookies(&mut parts.headers);
    }
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && parts.version < Version::HTTP_11) {
        return Ok(());
    }
    Err(ApiError::bad_request("the request must have exactly one Host header"))
}

fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// The answer to HEAD: as if it were GET, without the body.
fn without_body(reply: &mut Reply) {
    let length = reply.body().length();
    if let Some(length) = length.filter(|_| !reply.headers().contains_key(header::CONTENT_LENGTH)) {
        reply.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    if let Some(stream) = reply.body_mut().take_stream() {
        functions::finish(stream);
    }
}

/// The host's own paths: nothing of an app is served there, whatever its routes say.
fn is_own(path: &str) -> bool {
    below(path, "/admin").or_else(|| below(path, "/runtime")).is_some()
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
}
