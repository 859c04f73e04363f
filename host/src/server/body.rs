//! Request bodies: read whole, within a limit, in bounded time and memory.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{timeout, timeout_at};

use super::patience::{Alarm, Pace};

/// How much of a refused body is read and thrown away, so that its sender gets to read the answer.
const DISCARD_BYTES_MAX: u64 = 256 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

/// Reads bodies, and bounds the memory that all bodies held at one moment take together.
#[derive(Debug)]
pub(super) struct BodyReader {
    limit_bytes: u64,
    budget_bytes: u64,
    /// How long a body's bytes may keep this host waiting before they must come at a pace.
    grace: Duration,
    held_bytes: Arc<AtomicU64>,
}

/// A body, and its share of the budget, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Body {
    /// The bytes.
    pub bytes: Bytes,
    _share: Share,
}

impl BodyReader {
    /// A reader for bodies of at most `limit_bytes`, which together take at most `budget_bytes`.
    pub(super) fn new(limit_bytes: u64, budget_bytes: u64, grace: Duration) -> Self {
        Self { limit_bytes, budget_bytes, grace, held_bytes: Arc::default() }
    }

    /// A body that is read while it comes, within the same limits but for the memory, which it does not take.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] for one that says so itself. Of others the stream tells, and [`Verdict`].
    pub(super) fn stream(&self, unread: Unread) -> Result<(GuardedBody, Verdict), BodyError> {
        if unread.declared_bytes().is_some_and(|length| length > self.limit_bytes) {
            return Err(self.too_large());
        }
        let (body, expects) = unread.take();
        let verdict = Verdict::default();
        let guarded = GuardedBody {
            body,
            expects,
            limit_bytes: self.limit_bytes,
            bytes: 0,
            pace: Pace::new(self.grace),
            alarm: Alarm::default(),
            verdict: verdict.clone(),
        };
        Ok((guarded, verdict))
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`BodyError`]. What is left of the body is then discarded in the background: a connection that is closed with unread
    /// data is reset, and its client would never see the answer.
    pub(super) async fn read(&self, unread: Unread) -> Result<Body, BodyError> {
        let mut share = Share { bytes: 0, held: Arc::clone(&self.held_bytes) };
        if unread.declared_bytes().is_some_and(|length| length > self.limit_bytes) {
            return Err(self.too_large());
        }
        let (Some(mut body), expects) = unread.take() else {
            return Ok(Body { bytes: Bytes::new(), _share: share });
        };
        match self.collect(&mut body, &mut share).await {
            Ok(bytes) => Ok(Body { bytes, _share: share }),
            Err(error) => {
                if error != BodyError::Broken {
                    discard_later(body, expects && share.bytes == 0);
                }
                Err(error)
            }
        }
    }

    async fn collect(&self, body: &mut Incoming, share: &mut Share) -> Result<Bytes, BodyError> {
        let mut pace = Pace::new(self.grace);
        let mut collected = Collected::Nothing;
        loop {
            let frame = timeout_at(pace.deadline(), body.frame()).await.map_err(|_| BodyError::Slow)?;
            let Some(frame) = frame else { return Ok(collected.into_bytes()) };
            // Trailers are frames without data: nobody here reads them.
            let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
            share.take(data.len() as u64, self.budget_bytes)?;
            if share.bytes > self.limit_bytes {
                return Err(self.too_large());
            }
            pace.moved(data.len());
            let expected = body.size_hint().lower();
            collected.add(data, expected);
        }
    }

    fn too_large(&self) -> BodyError {
        BodyError::TooLarge { limit_bytes: self.limit_bytes }
    }
}

/// A body that nobody has begun to read: that of a request that is refused, it may be. What is left when this is dropped is
/// discarded, so that its sender gets to read the answer.
pub(super) struct Unread {
    /// None if there is none, or nothing is left of it.
    body: Option<Incoming>,
    /// The client waits to be told to send.
    expects: bool,
}

impl Unread {
    /// The body of a request with these headers.
    pub(super) fn new(headers: &HeaderMap, body: Incoming) -> Self {
        Self { body: Some(body).filter(|body| !body.is_end_stream()), expects: headers.contains_key(header::EXPECT) }
    }

    /// The length that it has by its headers.
    fn declared_bytes(&self) -> Option<u64> {
        self.body.as_ref().and_then(|body| body.size_hint().exact())
    }

    /// The body, if there is one, and whether the client waits to be told to send.
    fn take(mut self) -> (Option<Incoming>, bool) {
        (self.body.take(), self.expects)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            discard_later(body, self.expects);
        }
    }
}

/// Why a request's body could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It is larger than allowed.
    #[error(
        "the request body is larger than {limit_bytes} bytes; the limit is extensions.soloist.maxRequestBytes in host.json"
    )]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// It did not come in time.
    #[error("the request body did not arrive in time")]
    Slow,
    /// It ended early or is not framed as HTTP asks.
    #[error("the request body is incomplete or malformed")]
    Broken,
    /// Bodies of other requests take all the memory that there is for them.
    #[error("too many request bodies at once; try again")]
    Overloaded,
}

#[cfg(test)]
impl Body {
    /// A body that came from nowhere.
    pub(super) fn for_test(bytes: Bytes) -> Self {
        Self { bytes, _share: Share { bytes: 0, held: Arc::default() } }
    }
}

/// What has come. Most bodies are one frame, and are then not copied.
enum Collected {
    Nothing,
    One(Bytes),
    Many(Vec<u8>),
}

impl Collected {
    /// Adds a frame; about `expected` more bytes are to come.
    fn add(&mut self, data: Bytes, expected: u64) {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                // The length is the client's claim: memory for more than this waits until the bytes are there.
                let expected = usize::try_from(expected.min(1 << 20)).unwrap_or(0);
                let mut all = Vec::with_capacity(first.len() + data.len() + expected);
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
                Self::Many(all)
            }
            Self::Many(mut all) => {
                all.extend_from_slice(&data);
                Self::Many(all)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(all) => all.into(),
        }
    }
}

/// What became of a body that is read while it comes: the first thing that was wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<OnceLock<BodyError>>);

impl Verdict {
    /// What was wrong with the body, so far.
    pub(super) fn error(&self) -> Option<BodyError> {
        self.0.get().copied()
    }
}

/// A body that is read while it comes. What is left of it when it is dropped is discarded.
pub(super) struct GuardedBody {
    body: Option<Incoming>,
    /// The client waits to be told to send.
    expects: bool,
    limit_bytes: u64,
    bytes: u64,
    pace: Pace,
    alarm: Alarm,
    verdict: Verdict,
}

impl GuardedBody {
    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let _ = self.verdict.0.set(error);
        let kind = match error {
            BodyError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            BodyError::Slow => io::ErrorKind::TimedOut,
            BodyError::Broken | BodyError::Overloaded => io::ErrorKind::UnexpectedEof,
        };
        Poll::Ready(Some(Err(io::Error::new(kind, error))))
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(context) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(_))) => this.fail(BodyError::Broken),
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.pace.moved(length);
                this.bytes += length as u64;
                if this.bytes > this.limit_bytes {
                    return this.fail(BodyError::TooLarge { limit_bytes: this.limit_bytes });
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => match this.alarm.poll(this.pace.deadline(), context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => this.fail(BodyError::Slow),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for GuardedBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            discard_later(body, self.expects && self.bytes == 0);
        }
    }
}

/// Discards the rest of a body in the background, unless its client waits for `100 Continue`: it has sent nothing, and must
/// not be asked to.
fn discard_later(body: Incoming, waits: bool) {
    if !waits && let Ok(runtime) = Handle::try_current() {
        runtime.spawn(timeout(DISCARD_TIME_MAX, discard(body)));
    }
}

async fn discard(mut body: Incoming) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
        if discarded > DISCARD_BYTES_MAX {
            return;
        }
    }
}

/// A share of the budget.
#[derive(Debug)]
struct Share {
    bytes: u64,
    held: Arc<AtomicU64>,
}

impl Share {
    fn take(&mut self, bytes: u64, budget_bytes: u64) -> Result<(), BodyError> {
        // Counted first: dropping this share gives it all back.
        self.bytes += bytes;
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > budget_bytes { Err(BodyError::Overloaded) } else { Ok(()) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}
