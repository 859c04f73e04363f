//! Responses in the shapes that the whole server uses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::BodyStream;
use super::patience::InWork;
use super::stalls::{Stall, Stalls};

/// A response.
pub(super) type Reply = Response<ReplyBody>;

/// The content type of every JSON answer.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
/// The content type of every text, and of a function's response that names none.
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What is handed over at once of a body where others share the connection, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// A response's body: whole, or a stream. Its request counts as in work until this is dropped.
#[derive(Default)]
pub(super) struct ReplyBody {
    content: Content,
    in_work: Option<InWork>,
    stall: Option<Stall>,
}

enum Content {
    Whole(Bytes),
    Stream {
        body: BodyStream,
        /// What has come of it and was not handed over yet.
        rest: Bytes,
    },
}

impl Default for Content {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Content {
    /// What comes next; in pieces where others share the connection.
    fn poll_frame(
        &mut self,
        is_shared: bool,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let bytes = match self {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => bytes,
            Self::Stream { body, rest } => {
                if rest.is_empty() {
                    match ready!(Pin::new(body).poll_frame(context)).transpose()?.map(Frame::into_data) {
                        Some(Ok(data)) => *rest = data,
                        Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                        None => return Poll::Ready(None),
                    }
                }
                rest
            }
        };
        let length = if is_shared { bytes.len().min(PIECE_BYTES) } else { bytes.len() };
        Poll::Ready(Some(Ok(Frame::data(bytes.split_to(length)))))
    }
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Self { content: Content::Whole(bytes), ..Self::default() }
    }
}

impl From<BodyStream> for ReplyBody {
    fn from(body: BodyStream) -> Self {
        Self { content: Content::Stream { body, rest: Bytes::new() }, ..Self::default() }
    }
}

impl ReplyBody {
    /// The request stays in work for as long as this body exists.
    pub(super) fn keep(&mut self, in_work: InWork) {
        self.in_work = Some(in_work);
    }

    /// The body goes out on a connection that others share: in pieces, and it is noted when nobody takes them.
    pub(super) fn share(&mut self, stalls: &Arc<Stalls>) {
        self.stall = Some(Stall::new(stalls));
    }

    /// Takes the stream out, if it is one: what is left is empty.
    pub(super) fn take_stream(&mut self) -> Option<BodyStream> {
        match std::mem::take(&mut self.content) {
            Content::Whole(_) => None,
            Content::Stream { body, .. } => Some(body),
        }
    }

    /// How long the body is, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let poll = this.content.poll_frame(this.stall.is_some(), context);
        if let Some(stall) = &this.stall {
            stall.set(matches!(&poll, Poll::Ready(Some(Ok(_)))));
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Stream { body, rest } => rest.is_empty() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream { body, rest } => match body.size_hint().exact() {
                Some(length) => SizeHint::with_exact(length + rest.len() as u64),
                None => SizeHint::default(),
            },
        }
    }
}

/// A status and nothing else.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = status;
    reply
}

/// A text for people.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    with_body(status, TEXT, text.into())
}

/// A JSON text.
pub(super) fn json(status: StatusCode, json: impl Into<Bytes>) -> Reply {
    with_body(status, JSON, json.into())
}

/// Adds a header; a value that no header can carry is left out.
pub(super) fn with_header(mut reply: Reply, name: header::HeaderName, value: &str) -> Reply {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

fn with_body(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Reply::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, content_type);
    reply
}
