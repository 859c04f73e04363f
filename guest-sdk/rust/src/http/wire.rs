//! A request through `wasi:http/outgoing-handler`. Only a component that sends requests imports it.

use super::client::{RequestBuilder, RequestError, Response};

/// Outside of wasm there is no host to send anything.
#[cfg(not(target_os = "wasi"))]
pub(super) fn send(request: RequestBuilder) -> Result<Response, RequestError> {
    Err(request.error("requests are sent only within a host, not in tests outside of it"))
}

#[cfg(target_os = "wasi")]
pub(super) use wasi::send;

#[cfg(target_os = "wasi")]
mod wasi {
    use super::{RequestBuilder, RequestError, Response};
    use std::time::Duration;
    use wasip2::http::outgoing_handler;
    use wasip2::http::types::{
        ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
        Scheme,
    };
    use wasip2::io::streams::StreamError;

    /// Pieces in which bodies cross to the host and back, in bytes.
    const PIECE_BYTES: usize = 64 << 10;
    /// What the host takes in one blocking write, by WASI's word.
    const WRITE_BYTES: usize = 4096;

    pub fn send(mut request: RequestBuilder) -> Result<Response, RequestError> {
        let body = std::mem::take(&mut request.body);
        let error = |reason: &str| request.error(reason);
        let outgoing = outgoing_request(&request, body.len()).map_err(|reason| error(&reason))?;
        let sink = outgoing.body().map_err(|()| error("the request has no body"))?;
        let options = request.timeout.map(options);
        let answer = outgoing_handler::handle(outgoing, options).map_err(|code| error(&explain(&code)))?;
        // A server may answer before it has read everything: its answer tells more than the failed write.
        let written = write(sink, &body);
        answer.subscribe().block();
        let answer = answer.get().expect("it was waited for").expect("it is asked for once");
        let response = answer.map_err(|code| error(&explain(&code)))?;
        let text = format!("{} {}", request.method, request.url.split(['?', '#']).next().unwrap_or_default());
        let found = read(response, text).map_err(|reason| error(&reason))?;
        if found.is_success() {
            written.map_err(|reason| error(&reason))?;
        }
        Ok(found)
    }

    fn outgoing_request(request: &RequestBuilder, body_bytes: usize) -> Result<OutgoingRequest, String> {
        let (scheme, rest) = match request.url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            _ => return Err("the URL must begin with https:// or http://".into()),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let headers = Fields::new();
        for (name, value) in &request.headers {
            headers
                .append(name, value.as_bytes())
                .map_err(|why| format!("the header {name:?} cannot be sent: {why}"))?;
        }
        let has_length = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let never_empty = matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
        if !has_length && (body_bytes > 0 || never_empty) {
            headers
                .append("content-length", body_bytes.to_string().as_bytes())
                .map_err(|why| format!("the content length cannot be sent: {why}"))?;
        }
        let outgoing = OutgoingRequest::new(headers);
        let invalid = |what: &str| format!("the {what} is not one");
        outgoing.set_method(&method(&request.method)).map_err(|()| invalid("method"))?;
        outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("scheme"))?;
        outgoing.set_authority(Some(authority)).map_err(|()| invalid("URL's host"))?;
        outgoing.set_path_with_query(Some(&target)).map_err(|()| invalid("URL's path"))?;
        Ok(outgoing)
    }

    fn method(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PATCH" => Method::Patch,
            other => Method::Other(other.to_owned()),
        }
    }

    fn options(timeout: Duration) -> RequestOptions {
        let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let options = RequestOptions::new();
        // A host that knows no such option keeps its own times.
        let _ = options.set_connect_timeout(Some(nanoseconds));
        let _ = options.set_first_byte_timeout(Some(nanoseconds));
        let _ = options.set_between_bytes_timeout(Some(nanoseconds));
        options
    }

    fn write(sink: OutgoingBody, body: &[u8]) -> Result<(), String> {
        if !body.is_empty() {
            let stream = sink.write().map_err(|()| "the body cannot be written".to_owned())?;
            for piece in body.chunks(WRITE_BYTES) {
                stream.blocking_write_and_flush(piece).map_err(|why| format!("the body was not taken: {why}"))?;
            }
        }
        OutgoingBody::finish(sink, None).map_err(|code| explain(&code))
    }

    fn read(response: IncomingResponse, request: String) -> Result<Response, String> {
        let status = response.status();
        let headers = response.headers().entries();
        let source = response.consume().map_err(|()| "the response has no body".to_owned())?;
        let mut body = Vec::new();
        {
            let stream = source.stream().map_err(|()| "the body cannot be read".to_owned())?;
            loop {
                match stream.blocking_read(PIECE_BYTES as u64) {
                    Ok(piece) => body.extend_from_slice(&piece),
                    Err(StreamError::Closed) => break,
                    Err(StreamError::LastOperationFailed(why)) => {
                        let code = wasip2::http::types::http_error_code(&why);
                        return Err(code.map_or_else(|| why.to_debug_string(), |code| explain(&code)));
                    }
                }
            }
        }
        drop(IncomingBody::finish(source));
        Ok(Response { status, headers, body, request })
    }

    /// The code in words; the usual ones with what can be done.
    fn explain(code: &ErrorCode) -> String {
        match code {
            ErrorCode::DestinationIpProhibited => "the host does not let functions reach this destination \
                (DestinationIpProhibited); extensions.soloist.outboundAllow in host.json can allow it"
                .into(),
            ErrorCode::ConnectionRefused => "nobody listens there (ConnectionRefused)".into(),
            ErrorCode::ConnectionTimeout => "no connection in time (ConnectionTimeout)".into(),
            ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
                format!("no answer in time ({})", name(code))
            }
            ErrorCode::TlsCertificateError => "the server's certificate is not trusted (TlsCertificateError)".into(),
            other => name(other),
        }
    }

    /// `ErrorCode::DnsError(…)` as `DnsError(…)`.
    fn name(code: &ErrorCode) -> String {
        let text = format!("{code:?}");
        text.strip_prefix("ErrorCode::").unwrap_or(&text).to_owned()
    }
}
