//! The accept loop: on a thread of its own, so that no guest ever delays a connection.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{error, warn};

use super::connection::Phase;

/// The pause after the system had no file or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// Of an ongoing trouble the log is told this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A connection, and its right to exist.
pub(super) struct Accepted {
    /// Non-blocking.
    pub stream: TcpStream,
    pub permit: OwnedSemaphorePermit,
    pub phase: watch::Receiver<Phase>,
}

/// Accepts until the phase changes. At most `connections_max` connections exist; more wait in the kernel's backlog.
///
/// # Errors
/// If the thread cannot be started.
pub(super) fn spawn_acceptor(
    listener: TcpListener,
    connections_max: usize,
    phase: watch::Receiver<Phase>,
    serve: impl Fn(Accepted) + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let slots = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let accept = move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, &slots, phase, serve).await,
                Err(error) => error!(%error, "cannot watch the listening socket"),
            }
        });
    };
    std::thread::Builder::new().name("soloist-accept".to_owned()).spawn(accept).map(drop)
}

async fn accept(
    listener: tokio::net::TcpListener,
    slots: &Arc<Semaphore>,
    mut phase: watch::Receiver<Phase>,
    serve: impl Fn(Accepted),
) {
    let (mut full, mut failing) = (Quietly::default(), Quietly::default());
    loop {
        if slots.available_permits() == 0 && full.may_speak() {
            warn!("no more connections are accepted until others end: the limit of open files is near");
        }
        // A clone that has not seen the next change either: whoever holds it will.
        let connection_phase = phase.clone();
        let accepted = tokio::select! {
            biased;
            _ = phase.changed() => return,
            accepted = next(&listener, slots) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => serve(Accepted { stream, permit, phase: connection_phase }),
            // The client's trouble: the next one has nothing to do with it.
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if failing.may_speak() {
                    error!(%error, "cannot accept connections");
                }
                tokio::select! {
                    biased;
                    _ = phase.changed() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// The next connection, taken off this thread's runtime: it belongs to another one.
async fn next(
    listener: &tokio::net::TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream.into_std()?, permit))
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// Keeps an ongoing trouble from filling the log.
#[derive(Default)]
struct Quietly {
    spoke: Option<Instant>,
}

impl Quietly {
    fn may_speak(&mut self) -> bool {
        let may = self.spoke.is_none_or(|spoke| spoke.elapsed() >= LOG_EVERY);
        if may {
            self.spoke = Some(Instant::now());
        }
        may
    }
}
