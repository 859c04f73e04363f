//! The server: the only place that accepts connections.
//!
//! It speaks HTTP/1.1 and HTTP/2, with TLS or without, reads requests (whole, but for functions that speak HTTP themselves),
//! finds out whom they are for, and writes the answers: functions on their routes, the management API under
//! [`MANAGEMENT_PATH`], the host's own pages. It never runs guests, never touches storage and decides nothing about
//! instances: it asks through [`DurableClient`], [`FunctionRoutes`] and [`HttpFunctions`].
//!
//! Its tokio tasks: the accept loop (a thread with its own runtime, from [`Server::serve`] until [`Serving::shutdown`]); one task
//! per connection on the caller's runtime, until the connection ends, and over HTTP/2 one per request; for a body that nobody
//! wants one that reads the rest of it, for at most ten seconds; with TLS one that looks whether the certificate's files have
//! changed, until the server shuts down. A panic in a handler is a 500 of that request alone.
//!
//! Start reading at [`Server`], then `router`, `functions` and `management`. `error` knows every status code of an error.

mod accept;
mod access;
mod admin;
mod bind;
mod body;
mod connection;
mod cors;
mod error;
mod frames;
mod functions;
mod hsts;
mod json_text;
pub mod keys;
mod links;
mod management;
mod openapi;
mod patience;
mod port_holder;
mod query;
mod reply;
mod router;
mod rpc;
mod sniff;
mod stalls;
mod starter;
mod time;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

pub use admin::{AppAdmin, FunctionInfo, HttpFunctionInfo, InvokeError};
pub use bind::BindError;
pub use functions::{
    FunctionErrors, FunctionInError, FunctionMatch, FunctionRoutes, HttpCallError, HttpFunctions, HttpInvocation,
    HttpReply, HttpStream,
};
pub use keys::LINK_PREFIX;
pub use links::{InstanceUrls, MANAGEMENT_PATH, ManagementUrls, Origin};
pub use management::{DurableClient, history_events};
pub use port_holder::PortHolder;
pub use rpc::RpcSecret;
pub use tls::{Tls, TlsError, TlsFiles};

use crate::app::{AllowedHost, Cors, Hsts};
use accept::{Accepted, spawn_acceptor};
use connection::{Phase, Reception, serve_connection};
use router::Router;

/// A body that comes, or goes, while it is made.
pub type BodyStream = UnsyncBoxBody<Bytes, io::Error>;

/// Tells what this process has too little of to take more requests of functions, if anything.
pub type Overload = Arc<dyn Fn() -> Option<&'static str> + Send + Sync>;

/// How often it is looked whether the files of the certificate have changed.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);

/// Whom the server asks.
#[derive(Clone)]
pub struct Services {
    /// The task hub.
    pub client: Arc<dyn DurableClient>,
    /// Which function serves a request.
    pub routes: FunctionRoutes,
    /// Which function would serve a request, were it not in error; none keeps that to the log.
    pub errors: Option<FunctionErrors>,
    /// Who runs functions.
    pub functions: Arc<dyn HttpFunctions>,
    /// The app, for the admin pages.
    pub app: Arc<dyn AppAdmin>,
    /// The keys that callers need; none asks for none, and lets pages of other sites do nothing at all.
    pub keys: Option<Arc<keys::Keys>>,
}

/// The server's settings.
#[derive(Clone)]
pub struct ServerOptions {
    /// The task hub's name, for links.
    pub hub_name: String,
    /// The largest body of a request. Default 100 MiB.
    pub max_request_bytes: u64,
    /// The deepest nesting of a JSON payload. Default 128.
    pub json_depth_max: usize,
    /// The memory that the bodies of all requests in work may take together; more are answered 503. Default 1 GiB.
    pub buffered_bytes_max: u64,
    /// Added to every response but those of `/admin`. Invalid ones are left out, with a warning.
    pub custom_headers: Vec<(String, String)>,
    /// Links name the host and the scheme that a proxy's `X-Forwarded-Host` and `X-Forwarded-Proto` give.
    pub use_forwarded_host: bool,
    /// A conflict with an instance's state is answered 500, as the original does, not 409.
    pub azure_status_codes: bool,
    /// Serves the management API a second time, under a path that nobody can guess: for clients that were handed it. None
    /// serves it once.
    pub rpc_secret: Option<RpcSecret>,
    /// Under which names and addresses it is reached, beside loopback and the address that a request came in by. Web pages of
    /// other hosts may send it nothing that changes anything.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The connections that may exist at a time; more wait to be accepted. None: three quarters of the files that this process
    /// may open, so that storage never lacks one.
    pub connections_max: Option<usize>,
    /// For how long a client may do nothing.
    pub timeouts: Timeouts,
    /// With a certificate, TLS is spoken and nothing else.
    pub tls: Option<Tls>,
    /// Which pages of other sites may call functions.
    pub cors: Option<Cors>,
    /// What browsers are told over TLS.
    pub hsts: Option<Hsts>,
    /// While it gives a reason, requests of functions are answered 429.
    pub overload: Option<Overload>,
}

impl ServerOptions {
    /// The starter JSON of a server with these settings that listens on `local`: what a client in another process needs to
    /// know. With an [`rpc_secret`](Self::rpc_secret) or the key of templates whoever reads it may do everything.
    pub fn starter_json(&self, local: SocketAddr, key: Option<&keys::KeyValue>) -> String {
        let reception = Reception { local, is_tls: self.tls.is_some() };
        let rpc_base_url = self.rpc_secret.as_ref().map(|secret| secret.base_url(reception));
        starter::starter_json(&Origin::of_reception(reception), &self.hub_name, key, rpc_base_url.as_deref())
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            hub_name: "TestHubName".to_owned(),
            max_request_bytes: 100 << 20,
            json_depth_max: crate::durable::DEPTH_MAX,
            buffered_bytes_max: 1 << 30,
            custom_headers: vec![],
            use_forwarded_host: false,
            azure_status_codes: false,
            rpc_secret: None,
            allowed_hosts: vec![],
            connections_max: None,
            timeouts: Timeouts::default(),
            tls: None,
            cors: None,
            hsts: None,
            overload: None,
        }
    }
}

/// For how long a client may do nothing, before its connection is closed. A drip gains no time: of a head the whole counts,
/// of a body and a response all the time that was spent waiting for the client, with a second more for each KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Between a request's first byte and the end of its headers. Default 10 s.
    pub head: Duration,
    /// Before a body must come at a pace of 1 KiB/s. Default 10 s.
    pub body: Duration,
    /// Between requests. Default 75 s.
    pub idle: Duration,
    /// Before a response must be taken at a pace of 1 KiB/s; one pause may last twice as long at most. Default 30 s.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(30),
        }
    }
}

/// A server that listens and does not accept yet: clients that connect wait.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
}

impl Server {
    /// Listens on an address; port 0 takes any that is free.
    ///
    /// # Errors
    /// [`BindError`], which names the remedy.
    pub fn bind(address: IpAddr, port: u16) -> Result<Self, BindError> {
        let address = SocketAddr::new(address, port);
        let listener = bind::bind(address)?;
        let local = listener.local_addr().map_err(|source| BindError::Other { address, source })?;
        Ok(Self { listener, local })
    }

    /// Where it listens, with the port that it really has.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Begins to accept. Connections are served on the runtime that this is called in, which must be multi-threaded and have
    /// IO and time enabled.
    ///
    /// # Errors
    /// If the accepting thread cannot be started.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn serve(self, services: Services, options: ServerOptions) -> io::Result<Serving> {
        let (phase, receiver) = watch::channel(Phase::Serving);
        let timeouts = options.timeouts;
        let connections_max = options.connections_max.unwrap_or_else(connections_for_open_files);
        let tls = options.tls.clone();
        let router = Arc::new(Router::new(services, options));
        let server = connection::Server { router, timeouts, tls: tls.as_ref().map(Tls::acceptor) };
        let runtime = Handle::current();
        if let Some(tls) = tls {
            runtime.spawn(watch_certificate(tls, receiver.clone()));
        }
        spawn_acceptor(self.listener, connections_max, receiver, move |accepted| {
            let server = server.clone();
            runtime.spawn(async move {
                let Accepted { stream, permit, phase } = accepted;
                serve_connection(stream, server, phase).await;
                drop(permit);
            });
        })?;
        Ok(Serving { phase, local: self.local })
    }
}

/// A server that accepts. Dropping it drops the listener and every connection at once.
#[derive(Debug)]
pub struct Serving {
    phase: watch::Sender<Phase>,
    local: SocketAddr,
}

impl Serving {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Stops accepting, closes idle connections, lets requests in work finish for at most `grace`, then drops the rest.
    /// Returns how many connections were dropped with a request in work.
    pub async fn shutdown(self, grace: Duration) -> usize {
        self.phase.send_replace(Phase::Draining);
        if timeout(grace, self.phase.closed()).await.is_ok() {
            return 0;
        }
        let dropped = self.phase.receiver_count();
        warn!(connections = dropped, "connections dropped: their requests did not end in time");
        self.phase.send_replace(Phase::Closed);
        // A connection ends at its next poll; one whose poll is stuck must not hold up the end of the process.
        let _ = timeout(Duration::from_secs(1), self.phase.closed()).await;
        dropped
    }
}

/// Reads the certificate again when its files change, until the server shuts down.
async fn watch_certificate(tls: Tls, mut phase: watch::Receiver<Phase>) {
    while timeout(CERTIFICATE_EVERY, phase.changed()).await.is_err() {
        let tls = tls.clone();
        // Files may be on a disk that hangs: nobody else waits for it.
        let _ = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await;
    }
}

/// Raises this process's soft limit of open files to the hard one, and leaves a quarter of it to storage and components.
fn connections_for_open_files() -> usize {
    const MOST: u64 = 1 << 20;
    const FALLBACK: usize = 512;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer, and nothing else is touched.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return FALLBACK;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max.min(MOST).max(limit.rlim_cur), ..limit };
    // SAFETY: `raised` is a valid limit; a refusal leaves the old one in force.
    let files = if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        raised.rlim_cur
    } else {
        limit.rlim_cur
    };
    usize::try_from(files.min(MOST) / 4 * 3).unwrap_or(FALLBACK).max(16)
}

#[cfg(test)]
mod tests;
