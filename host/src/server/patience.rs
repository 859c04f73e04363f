//! Patience with a peer, and its end: half a request's head, a body that drips, a response that nobody reads.
//!
//! Whoever sends a little of it from time to time gains nothing: a head has one limit from its first byte to its last, and
//! bodies have a [`Pace`], which counts all the time that was spent waiting for them.
//!
//! hyper has one timeout for an idle connection and for a head that comes slowly. They must differ: idle connections are worth
//! keeping (a client that polls every ten seconds would else meet a connection just being closed), half a head is not.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::frames::FrameWatch;

/// A body must come, or be taken, at this pace at least, once its grace is over.
const BYTES_PER_SECOND_MIN: u64 = 1 << 10;

/// What is left to say to whoever does not finish a request's head over HTTP/1.
const FAREWELL: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How many times its grace one pause of a response's taker may last. What the system buffers for a peer counts as taken: one
/// that reads nothing at all would else have earned an hour by it, and a function's guest would wait for that long.
const PAUSE_GRACES_MAX: u32 = 2;

/// How long a peer may keep others waiting for bytes: a grace, and a second more for each KiB that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    grace: Duration,
    /// No single pause may last longer, whatever was earned.
    pause_max: Duration,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, pause_max: Duration::from_hours(24), bytes: 0, waited: Duration::ZERO, waiting_since: None }
    }

    /// The pace of whoever takes a response.
    fn of_taker(grace: Duration) -> Self {
        Self { pause_max: grace * PAUSE_GRACES_MAX, ..Self::new(grace) }
    }

    /// Bytes came.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing came: until when it is waited for.
    pub(super) fn deadline(&mut self) -> Instant {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / BYTES_PER_SECOND_MIN);
        since + self.grace.saturating_add(earned).saturating_sub(self.waited).min(self.pause_max)
    }
}

/// A timer that is made when it is first needed, and set anew only when its time has changed.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    pub(super) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

/// Counts a connection's requests. While one is in work, nothing is expected from the peer but its body.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests that began or ended.
    steps: AtomicU64,
    in_work: AtomicU64,
}

/// A request in work: from the end of its head to the end of its response.
#[derive(Debug)]
pub(super) struct InWork(Progress);

impl Progress {
    /// A request begins.
    pub(super) fn begin(&self) -> InWork {
        self.0.in_work.fetch_add(1, Ordering::Relaxed);
        self.0.steps.fetch_add(1, Ordering::Relaxed);
        InWork(self.clone())
    }

    /// How many requests began or ended so far.
    pub(super) fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::Relaxed)
    }

    /// True if no request is in work.
    pub(super) fn is_idle(&self) -> bool {
        self.0.in_work.load(Ordering::Relaxed) == 0
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.0.in_work.fetch_sub(1, Ordering::Relaxed);
        self.0.0.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// For how long a peer may pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first bytes of a request until its head is complete.
    pub head: Duration,
    /// The grace of a response's bytes.
    pub write: Duration,
}

/// What is looked for in what comes in.
pub(super) enum Watch {
    /// HTTP/1: a head that is begun must be completed.
    Heads(Progress),
    /// HTTP/2: the frames are watched; what is overdue, the connection's owner decides.
    Frames(Arc<FrameWatch>),
}

/// The stream.
pub(super) struct PatientStream<S> {
    stream: S,
    /// What was read before the protocol was known.
    prefix: Bytes,
    patience: Patience,
    watch: Watch,
    /// The progress at the last read.
    seen: u64,
    /// When a request's first bytes came.
    head_since: Option<Instant>,
    head_alarm: Alarm,
    farewell: Option<&'static [u8]>,
    /// Bytes were written that may not have left yet.
    unflushed: bool,
    /// The last flush had to wait for the peer.
    flush_waits: bool,
    write_pace: Pace,
    write_alarm: Alarm,
}

impl<S> PatientStream<S> {
    /// `prefix` is what was read of the stream already, the first byte of it at `since`.
    pub(super) fn new(stream: S, prefix: Bytes, since: Instant, patience: Patience, watch: Watch) -> Self {
        Self {
            stream,
            head_since: (!prefix.is_empty()).then_some(since),
            prefix,
            patience,
            watch,
            seen: 0,
            head_alarm: Alarm::default(),
            farewell: None,
            unflushed: false,
            flush_waits: false,
            write_pace: Pace::of_taker(patience.write),
            write_alarm: Alarm::default(),
        }
    }

    /// What a write's poll means for the peer's time.
    fn written(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Ready(Ok(bytes)) => {
                self.unflushed = true;
                self.write_pace.moved(*bytes);
                poll
            }
            Poll::Ready(Err(_)) => poll,
            Poll::Pending => {
                ready!(self.write_alarm.poll(self.write_pace.deadline(), context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> PatientStream<S> {
    fn read_on(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let length = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> PatientStream<S> {
    /// Says that the head did not come in time, if nothing else is being said, and closes.
    fn part(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let farewell = self.farewell.get_or_insert(if self.unflushed { b"" } else { FAREWELL });
        while !farewell.is_empty() {
            // Whoever does not even take this is not waited for.
            match Pin::new(&mut self.stream).poll_write(context, farewell) {
                Poll::Ready(Ok(written)) if written > 0 => *farewell = &farewell[written..],
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        let _ = Pin::new(&mut self.stream).poll_flush(context);
        let _ = Pin::new(&mut self.stream).poll_shutdown(context);
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let poll = this.read_on(context, buffer);
        let progress = match &this.watch {
            Watch::Heads(progress) => progress,
            Watch::Frames(frames) => {
                if poll.is_ready() {
                    frames.read(&buffer.filled()[before..]);
                }
                return poll;
            }
        };
        let steps = progress.steps();
        if steps != this.seen {
            (this.seen, this.head_since) = (steps, None);
            this.write_pace = Pace::of_taker(this.patience.write);
        }
        if !progress.is_idle() {
            return poll;
        }
        if poll.is_ready() {
            // More of the same head does not prolong its time.
            this.head_since.get_or_insert_with(Instant::now);
            return poll;
        }
        let Some(since) = this.head_since else { return Poll::Pending };
        ready!(this.head_alarm.poll(since + this.patience.head, context));
        this.part(context).map(Err)
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
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        match &poll {
            Poll::Ready(flushed) => {
                if flushed.is_ok() {
                    self.unflushed = false;
                }
                if std::mem::take(&mut self.flush_waits) {
                    // The peer has taken it: from here on nobody waits for it.
                    self.write_pace.moved(0);
                }
                poll
            }
            // TLS holds what the socket does not take.
            Poll::Pending => {
                self.flush_waits = true;
                let deadline = self.write_pace.deadline();
                ready!(self.write_alarm.poll(deadline, context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drip_earns_no_more_time_than_its_bytes_are_worth() {
        let began = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(10));
        // A byte every second: the grace is used up all the same.
        while Instant::now() < pace.deadline() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            pace.moved(1);
        }
        assert_eq!(began.elapsed().as_secs(), 11);
        // At the pace it may go on for ever, and what nobody waited for costs nothing.
        let mut pace = Pace::new(Duration::from_secs(10));
        for _ in 0..100 {
            assert!(Instant::now() < pace.deadline());
            tokio::time::sleep(Duration::from_secs(1)).await;
            pace.moved(1 << 10);
            tokio::time::sleep(Duration::from_secs(100)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_response_has_no_long_pause_however_much_was_taken() {
        let began = Instant::now();
        let mut pace = Pace::of_taker(Duration::from_secs(30));
        pace.moved(100 << 20);
        assert_eq!(pace.deadline(), began + Duration::from_secs(60));
        // Each pause begins anew, and what was taken pays for all of them.
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_secs(59)).await;
            assert!(Instant::now() < pace.deadline());
            pace.moved(1);
        }
        let began = Instant::now();
        let mut pace = Pace::of_taker(Duration::from_secs(30));
        while Instant::now() < pace.deadline() {
            tokio::time::sleep(Duration::from_secs(20)).await;
            pace.moved(1);
        }
        assert_eq!(began.elapsed().as_secs(), 40, "a byte now and then gains nothing");
    }
}
