//! Outgoing requests: `wasi:http/outgoing-handler` for functions with effects, and those that the host sends for
//! orchestrators (`durable`).
//!
//! A request may go to public addresses, and to what `extensions.soloist.outboundAllow` in host.json names. The address that
//! is judged is the one that is connected to: a name is resolved once, here. Redirects are not followed: the guest follows
//! them, with a new request, which is judged again. No proxy is used, and connections are not shared between requests.
//!
//! A request belongs to its guest: dropping the guest drops the request, wherever it is.
//!
//! `address` says what is public, `connection` connects and sends, `durable` makes requests of durable HTTP calls with the
//! tokens of `token`; this file decides and tells.

mod address;
mod connection;
mod durable;
#[cfg(test)]
mod tests;
mod token;

pub(super) use durable::DurableHttp;
pub use token::{AppSettingTokens, TokenFuture, TokenProvider, TokenProviders};

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response, uri::Scheme};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, p2::bindings::http::types::ErrorCode};

use super::console::Console;
use crate::app::OutboundRule;

/// Requests of one guest that may be open at once: each holds buffers of the host's.
const REQUESTS_MAX: usize = 64;

/// What a guest may hand over of a request's body at once, in bytes.
const BODY_CHUNK_BYTES: usize = 64 << 10;

/// How long the parts of a request may take where the guest does not say.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    /// Finding the address, connecting, and TLS.
    connect: Duration,
    /// From then to the response's head.
    first_byte: Duration,
    /// Between pieces of its body.
    between_bytes: Duration,
}

impl Timeouts {
    const DEFAULT: Self = Self {
        connect: Duration::from_secs(30),
        first_byte: Duration::from_secs(120),
        between_bytes: Duration::from_secs(120),
    };

    /// As long as makes no difference: clocks cannot hold every time that a guest may ask for.
    const MAX: Duration = Duration::from_hours(24 * 365);

    fn of(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        let chosen = |asked: Option<Duration>, default: Duration| asked.unwrap_or(default).min(Self::MAX);
        Self {
            connect: chosen(options.connect_timeout, Self::DEFAULT.connect),
            first_byte: chosen(options.first_byte_timeout, Self::DEFAULT.first_byte),
            between_bytes: chosen(options.between_bytes_timeout, Self::DEFAULT.between_bytes),
        }
    }
}

/// What every guest's requests have in common.
pub(super) struct Outbound {
    allow: Vec<OutboundRule>,
    tls: tokio_rustls::TlsConnector,
}

impl Outbound {
    /// Requests to public addresses and to what the rules allow. TLS trusts the root certificates of Mozilla's list.
    pub(super) fn new(allow: Vec<OutboundRule>) -> Self {
        Self { allow, tls: connection::tls(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()) }
    }

    /// True if a request for `host` may connect to an address.
    fn is_allowed(&self, host: &str, address: SocketAddr) -> bool {
        address::is_public(address.ip()) || self.allow.iter().any(|rule| rule.allows(host, address))
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination {
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    is_tls: bool,
}

impl Destination {
    fn of(uri: &http::Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        // A name and password before the host would be sent in the clear as a part of the Host header.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let after_address = authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, after)| after);
        let port = match after_address.split_once(':').map(|(_, port)| port) {
            None | Some("") if is_tls => 443,
            None | Some("") => 80,
            Some(port) => port.parse().map_err(|_| Error::HttpRequestUriInvalid)?,
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Error::HttpRequestUriInvalid);
        }
        Ok(Self { host, port, is_tls })
    }
}

/// A guest's outgoing requests.
pub(super) struct Outgoing {
    outbound: Arc<Outbound>,
    console: Arc<Console>,
    /// False for orchestrators and entities. They cannot get here; should they, nothing is sent.
    has_effects: bool,
    /// Made with the first request: most guests send none.
    open: Option<Arc<Semaphore>>,
}

impl Outgoing {
    pub(super) fn new(outbound: Arc<Outbound>, console: Arc<Console>, has_effects: bool) -> Self {
        Self { outbound, console, has_effects, open: None }
    }

    fn admit(&mut self) -> Result<OwnedSemaphorePermit, Error> {
        if !self.has_effects {
            return Err(Error::HttpRequestDenied);
        }
        let open = self.open.get_or_insert_with(|| Arc::new(Semaphore::new(REQUESTS_MAX)));
        Arc::clone(open).try_acquire_owned().map_err(|_| Error::ConnectionLimitReached)
    }
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let admitted = self.admit();
        let (outbound, console) = (Arc::clone(&self.outbound), Arc::clone(&self.console));
        Box::new(async move { deliver(&outbound, &console, request, Timeouts::of(options), admitted?).await })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        if error.is_timeout() {
            ErrorCode::HttpResponseTimeout
        } else if error.is_incomplete_message() {
            ErrorCode::HttpResponseIncomplete
        } else if error.is_parse_too_large() {
            ErrorCode::HttpResponseHeaderSectionSize(None)
        } else if error.is_canceled() || error.is_closed() || error.is_body_write_aborted() {
            ErrorCode::ConnectionTerminated
        } else {
            ErrorCode::HttpProtocolError
        }
    }

    fn p2_error_from_connect(&mut self, error: &io::Error) -> ErrorCode {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            io::ErrorKind::TimedOut => ErrorCode::ConnectionTimeout,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorCode::DestinationIpUnroutable,
            _ => ErrorCode::DestinationUnavailable,
        }
    }

    fn p2_error_from_tls(&mut self, _error: &io::Error) -> ErrorCode {
        ErrorCode::TlsProtocolError
    }
}

/// Judges where a request goes, and sends it.
async fn deliver(
    outbound: &Outbound,
    console: &Console,
    request: Request<WasiBody>,
    timeouts: Timeouts,
    permit: OwnedSemaphorePermit,
) -> Sent {
    let destination = Destination::of(request.uri())?;
    let connect = async {
        let found = connection::resolve(&destination).await?;
        let allowed: Vec<SocketAddr> =
            found.iter().copied().filter(|address| outbound.is_allowed(&destination.host, *address)).collect();
        if allowed.is_empty() {
            report_refusal(console, &destination, &found);
            return Err(Error::DestinationIpProhibited);
        }
        connection::connect(outbound, &destination, &allowed, timeouts.connect).await
    };
    let stream = tokio::time::timeout(timeouts.connect, connect).await.map_err(|_| Error::ConnectionTimeout)??;
    connection::exchange(stream, request, timeouts, permit).await
}

fn report_refusal(console: &Console, destination: &Destination, found: &[SocketAddr]) {
    let addresses: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    tracing::warn!(
        function = console.function(),
        instance_id = console.instance_id(),
        destination = format!("{}:{}", destination.host, destination.port),
        addresses = addresses.join(", "),
        "an outgoing request was refused: its destination is not public; extensions.soloist.outboundAllow in host.json \
         can allow it"
    );
}
