//! A stream that gives up on a peer who does not go on: half a request's head, or a response that nobody reads.
//!
//! hyper has one timeout for an idle connection and for a head that comes slowly. They must differ: idle connections are worth
//! keeping for minutes (a client that polls every ten seconds would else meet a connection just being closed), half a head is
//! not.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// For how long a peer may pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first bytes of a request until its head is complete.
    pub head: Duration,
    /// Between two reads of a response's bytes.
    pub write: Duration,
}

/// Tells the stream when requests begin and end. While one is in work, nothing is expected from the peer.
///
/// A count of both: odd while a request is in work. So the stream sees a request even if it began and ended between two reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// A request begins or ends.
    pub(super) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The stream.
pub(super) struct PatientStream<S> {
    stream: S,
    patience: Patience,
    progress: Progress,
    /// The progress at the last read.
    seen: u64,
    /// A request's first bytes have come.
    head_begun: bool,
    head_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> PatientStream<S> {
    pub(super) fn new(stream: S, patience: Patience, progress: Progress) -> Self {
        Self { stream, patience, progress, seen: 0, head_begun: false, head_timer: None, write_timer: None }
    }

    /// What a write's poll means for the peer's time.
    fn written<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.write_timer = None;
            return poll;
        }
        ready!(elapse(&mut self.write_timer, self.patience.write, context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Polls a timer, made at the first poll.
fn elapse(timer: &mut Option<Pin<Box<Sleep>>>, duration: Duration, context: &mut Context<'_>) -> Poll<()> {
    timer.get_or_insert_with(|| Box::pin(sleep(duration))).as_mut().poll(context)
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let poll = Pin::new(&mut this.stream).poll_read(context, buffer);
        let count = this.progress.count();
        if count != this.seen {
            (this.seen, this.head_begun, this.head_timer) = (count, false, None);
        }
        if count % 2 == 1 {
            return poll;
        }
        if poll.is_ready() {
            // More of the same head does not prolong its time.
            this.head_begun = true;
            return poll;
        }
        if !this.head_begun {
            return Poll::Pending;
        }
        ready!(elapse(&mut this.head_timer, this.patience.head, context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.written(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
