//! One connection, from its first byte to its close: TLS or none, HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::debug;

use super::Timeouts;
use super::frames::FrameWatch;
use super::patience::{InWork, Patience, PatientStream, Progress, Watch};
use super::reply::ReplyBody;
use super::router::Router;
use super::sniff::{Protocol, Sniffed, sniff};
use super::stalls::Stalls;

/// The request line and all headers together. More is answered 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What is read from a connection at once, at most; never less than a head.
const READ_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;
/// Requests of one HTTP/2 connection that may be in work at a time.
const STREAMS_MAX: u32 = 128;
/// Streams that a peer may open and reset before anybody has looked at them. More end the connection.
const RESETS_MAX: usize = 32;
/// What an HTTP/2 peer may send of one body, and of all together, before somebody reads it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What is held of one HTTP/2 response for a peer that does not take it, in bytes.
const SEND_BYTES_MAX: usize = 64 << 10;
/// How often an HTTP/2 connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a peer that is told to go has to take note.
const GOODBYE: Duration = Duration::from_secs(1);

/// The first byte of every TLS connection.
const TLS_HANDSHAKE: u8 = 22;
const SPEAKS_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 51\r\n\r\nthis port speaks HTTPS: begin the URL with https://";

/// How the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It accepts.
    Serving,
    /// Requests in work are finished, then their connections are closed.
    Draining,
    /// Connections are dropped.
    Closed,
}

/// By what way a request came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reception {
    /// The address of this host that it was sent to.
    pub local: SocketAddr,
    /// It was encrypted on its way.
    pub is_tls: bool,
}

/// What connections are served with.
#[derive(Clone)]
pub(super) struct Server {
    pub router: Arc<Router>,
    pub timeouts: Timeouts,
    pub tls: Option<TlsAcceptor>,
}

/// Serves a connection until it ends.
pub(super) async fn serve_connection(stream: TcpStream, server: Server, mut phase: watch::Receiver<Phase>) {
    let (stream, local) = match prepare(stream) {
        Ok(prepared) => prepared,
        Err(error) => return debug!(%error, "connection ended before it began"),
    };
    let reception = Reception { local, is_tls: server.tls.is_some() };
    let ended = match server.tls.clone() {
        None => plain(stream, server, reception, &mut phase).await,
        Some(acceptor) => encrypted(stream, &acceptor, server, reception, &mut phase).await,
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended before its first request");
    }
}

fn prepare(stream: TcpStream) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((tokio::net::TcpStream::from_std(stream)?, local))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// What comes before the first request. Until that is there, a connection has nothing to finish.
async fn beginning<T>(
    phase: &watch::Receiver<Phase>,
    begin: impl Future<Output = io::Result<Option<T>>>,
) -> io::Result<Option<T>> {
    let mut ending = phase.clone();
    tokio::select! {
        biased;
        _ = ending.wait_for(|phase| *phase != Phase::Serving) => Ok(None),
        begun = begin => begun,
    }
}

async fn plain(
    mut stream: tokio::net::TcpStream,
    server: Server,
    reception: Reception,
    phase: &mut watch::Receiver<Phase>,
) -> io::Result<()> {
    let Timeouts { idle, head, .. } = server.timeouts;
    if let Some(sniffed) = beginning(phase, sniff(&mut stream, idle, head)).await? {
        serve(stream, sniffed, server, reception, phase).await;
    }
    Ok(())
}

async fn encrypted(
    stream: tokio::net::TcpStream,
    acceptor: &TlsAcceptor,
    server: Server,
    reception: Reception,
    phase: &mut watch::Receiver<Phase>,
) -> io::Result<()> {
    let Some(stream) = beginning(phase, handshake(stream, acceptor, &server.timeouts)).await? else { return Ok(()) };
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    serve(stream, Sniffed { protocol, bytes: Bytes::new(), since: Instant::now() }, server, reception, phase).await;
    Ok(())
}

async fn handshake(
    mut stream: tokio::net::TcpStream,
    acceptor: &TlsAcceptor,
    timeouts: &Timeouts,
) -> io::Result<Option<TlsStream<tokio::net::TcpStream>>> {
    let mut first = [0];
    match timeout(timeouts.idle, stream.peek(&mut first)).await {
        Err(_) | Ok(Ok(0)) => return Ok(None),
        Ok(peeked) => peeked?,
    };
    if first[0] != TLS_HANDSHAKE {
        timeout(timeouts.head, refuse_plain(&mut stream)).await.unwrap_or(Ok(()))?;
        return Ok(None);
    }
    timeout(timeouts.head, acceptor.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)?.map(Some)
}

async fn serve<S: Stream>(
    stream: S,
    sniffed: Sniffed,
    server: Server,
    reception: Reception,
    phase: &mut watch::Receiver<Phase>,
) {
    match sniffed.protocol {
        Protocol::Http1 => serve_http1(stream, sniffed, server, reception, phase).await,
        Protocol::Http2 => serve_http2(stream, sniffed, server, reception, phase).await,
    }
}

/// Tells a client that does not speak TLS what it met. A stranger's bytes are not answered at length: once, and closed.
async fn refuse_plain(stream: &mut tokio::net::TcpStream) -> io::Result<()> {
    stream.write_all(SPEAKS_TLS).await?;
    stream.shutdown().await?;
    // Closed with something unread, the connection would be reset, and the answer lost.
    let mut rest = [0; 4096];
    let mut left = 16;
    while left > 0 && stream.read(&mut rest).await? > 0 {
        left -= 1;
    }
    Ok(())
}

async fn serve_http1<S: Stream>(
    stream: S,
    sniffed: Sniffed,
    server: Server,
    reception: Reception,
    phase: &mut watch::Receiver<Phase>,
) {
    let Server { router, timeouts, .. } = server;
    let progress = Progress::default();
    let patience = Patience { head: timeouts.head, write: timeouts.write };
    let watch = Watch::Heads(progress.clone());
    let io = TokioIo::new(PatientStream::new(stream, sniffed.bytes, sniffed.since, patience, watch));
    let service = service_fn(|request| answer(Arc::clone(&router), request, reception, progress.begin(), None));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.idle)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            biased;
            now = changed(phase) => match now {
                Phase::Serving => {}
                Phase::Draining => connection.as_mut().graceful_shutdown(),
                Phase::Closed => return,
            },
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended with an error");
                }
                return;
            }
        }
    }
}

async fn serve_http2<S: Stream>(
    stream: S,
    sniffed: Sniffed,
    server: Server,
    reception: Reception,
    phase: &mut watch::Receiver<Phase>,
) {
    let Server { router, timeouts, .. } = server;
    let progress = Progress::default();
    let (frames, stalls) = (Arc::new(FrameWatch::new()), Arc::new(Stalls::default()));
    let patience = Patience { head: timeouts.head, write: timeouts.write };
    let watch = Watch::Frames(Arc::clone(&frames));
    let io = TokioIo::new(PatientStream::new(stream, sniffed.bytes, sniffed.since, patience, watch));
    let service = service_fn(|request| {
        answer(Arc::clone(&router), request, reception, progress.begin(), Some(Arc::clone(&stalls)))
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle = Idle { steps: 0, since: Instant::now() };
    let mut is_draining = false;
    loop {
        tokio::select! {
            biased;
            now = changed(phase) => match now {
                Phase::Serving => {}
                Phase::Draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                Phase::Closed => return,
            },
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended with an error");
                }
                return;
            }
            _ = look.tick() => {
                let reason = if frames.owed_for() > timeouts.head {
                    "a header block was not completed in time"
                } else if stalls.longest() > timeouts.write {
                    "a response was not taken in time"
                } else if idle.lasts(&progress) > timeouts.idle {
                    "it was idle"
                } else if is_draining && idle.lasts(&progress) > GOODBYE {
                    "the server shuts down"
                } else {
                    continue;
                };
                debug!(reason, "connection ended");
                // Tells the peer, as far as it listens.
                connection.as_mut().graceful_shutdown();
                let _ = timeout(GOODBYE, connection.as_mut()).await;
                return;
            }
        }
    }
}

async fn changed(phase: &mut watch::Receiver<Phase>) -> Phase {
    phase.changed().await.map_or(Phase::Closed, |()| *phase.borrow())
}

/// Since when a connection has had no request in work.
struct Idle {
    steps: u64,
    since: Instant,
}

impl Idle {
    fn lasts(&mut self, progress: &Progress) -> Duration {
        let steps = progress.steps();
        if steps != self.steps || !progress.is_idle() {
            (self.steps, self.since) = (steps, Instant::now());
        }
        self.since.elapsed()
    }
}

/// Answers one request; `stalls` is there for a connection that others share.
async fn answer(
    router: Arc<Router>,
    request: Request<Incoming>,
    reception: Reception,
    in_work: InWork,
    stalls: Option<Arc<Stalls>>,
) -> Result<Response<ReplyBody>, Infallible> {
    let mut reply = router.handle(request, reception).await;
    let body = reply.body_mut();
    body.keep(in_work);
    if let Some(stalls) = &stalls {
        body.share(stalls);
    }
    Ok(reply)
}
