//! One connection: HTTP/1.1 over TCP, from its first byte to its close.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tracing::debug;

use super::Timeouts;
use super::patience::{Patience, PatientStream, Progress};
use super::router::Router;

/// The request line and all headers together. More is answered 431.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What is read from a connection at once, at most; never less than a head.
const READ_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

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

/// Serves a connection until it ends.
pub(super) async fn serve_connection(
    stream: TcpStream,
    router: Arc<Router>,
    timeouts: Timeouts,
    mut phase: watch::Receiver<Phase>,
) {
    let (stream, local) = match prepare(stream) {
        Ok(prepared) => prepared,
        Err(error) => return debug!(%error, "connection ended before it began"),
    };
    let progress = Progress::default();
    let patience = Patience { head: timeouts.head, write: timeouts.write };
    let io = TokioIo::new(PatientStream::new(stream, patience, progress.clone()));
    let service = service_fn(|request| {
        let (router, progress) = (Arc::clone(&router), progress.clone());
        async move {
            progress.step();
            let reply = router.handle(request, local).await;
            progress.step();
            Ok::<_, Infallible>(reply)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.idle)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = Box::pin(connection);
    loop {
        tokio::select! {
            biased;
            changed = phase.changed() => {
                let now = changed.map_or(Phase::Closed, |()| *phase.borrow());
                match now {
                    Phase::Serving => {}
                    Phase::Draining => connection.as_mut().graceful_shutdown(),
                    Phase::Closed => return,
                }
            }
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended with an error");
                }
                return;
            }
        }
    }
}

fn prepare(stream: TcpStream) -> std::io::Result<(tokio::net::TcpStream, SocketAddr)> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((tokio::net::TcpStream::from_std(stream)?, local))
}
