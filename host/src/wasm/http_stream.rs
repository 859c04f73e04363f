//! HTTP functions that speak HTTP themselves: components that export `wasi:http/incoming-handler`. A request's body goes in
//! while it comes, the response goes out while the guest makes it; who does not read holds the guest up, not the host's memory.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::{sync::oneshot, task::JoinHandle};
use wasmtime_wasi_http::{
    Error, WasiHttpView as _,
    p2::{
        bindings::http::types::{ErrorCode, Scheme},
        body::HyperOutgoingBody,
    },
};

use super::{
    Callable, HttpCallError, ManagementUrlsFor, Wasm,
    console::Console,
    cpu::Meter,
    fault::Fault,
    guest::{self, GuestState, Role},
};
use crate::{
    durable::{Failure, FunctionName, TraceContext},
    flight::{Call, CallKind},
};

/// A call of a function that speaks HTTP itself.
pub struct HttpStreamCall {
    /// The function.
    pub function: FunctionName,
    /// Names this invocation in the log.
    pub invocation_id: String,
    /// The request: its target as the client wrote it, with a `Host`. An error of the body tells what kept the rest of it away:
    /// [`io::ErrorKind::FileTooLarge`], [`io::ErrorKind::TimedOut`], or that it ended.
    pub request: Request<UnsyncBoxBody<Bytes, io::Error>>,
    /// The client sees it as sent over TLS.
    pub is_tls: bool,
    /// The trace that the request belongs to.
    pub trace_context: Option<TraceContext>,
    /// The URLs of instances, under the request's origin.
    pub urls: Option<ManagementUrlsFor>,
}

type Head = Result<Response<HyperOutgoingBody>, ErrorCode>;

impl Wasm {
    /// Runs a function that speaks HTTP itself, up to its response's head. The guest goes on, within the limits of every
    /// call, while the body is read and after its end. Dropping the future, or the body before its end, stops the guest.
    ///
    /// # Errors
    /// [`HttpCallError`]. What fails later ends the body with an error.
    pub async fn stream_http(&self, call: HttpStreamCall) -> Result<Response<GuestBody>, HttpCallError> {
        let function = self.http_function(&call.function)?;
        let admitted = self.admit().await?;
        let console = Arc::new(Console::new(Arc::clone(&function.name), call.invocation_id.as_str().into()));
        let meter = Arc::new(Meter::new(self.cpu_limit));
        let role = Role::Effects {
            settings: self.settings.get(),
            client: function.client,
            urls: call.urls,
            trace_context: call.trace_context,
        };
        let (shared, printed, metered) = (Arc::clone(&self.shared), Arc::clone(&console), Arc::clone(&meter));
        let limits = self.response_limits;
        let (sender, head) = oneshot::channel();
        let cut = Arc::new(AtomicBool::new(false));
        let (request, is_tls, name, is_cut) = (call.request, call.is_tls, Arc::clone(&function.name), Arc::clone(&cut));
        let handling = async move {
            let _admitted = admitted;
            let mut store = guest::store(&shared, printed, role, metered, limits);
            // Made after the store, and so dropped before it: whoever reads the body knows why it ends.
            let mut cut = CutOnDrop(Some(is_cut));
            let handled = handle(&mut store, &function, request, is_tls, sender).await;
            handled.map_err(|error| Fault::of(&error, store.data()))?;
            cut.0 = None;
            Ok(())
        };
        let (lanes, recorder, timeout) = (Arc::clone(&self.lanes), Arc::clone(&self.recorder), self.function_timeout);
        let task = tokio::spawn(async move {
            let call = Call { kind: CallKind::Http, execution: "", number: 0, attempt: 1, function: &name };
            let _flight = recorder.begin(&call);
            let handling = lanes.metered(meter, handling);
            let outcome = match timeout {
                None => handling.await,
                Some(timeout) => tokio::time::timeout(timeout, handling)
                    .await
                    .unwrap_or_else(|_| Err(Fault::Timeout(Box::new(Failure::timed_out(&name, timeout))))),
            };
            match outcome {
                Ok(()) => {
                    console.flush();
                    Ok(())
                }
                Err(Fault::Unavailable(reason)) => Err(HttpCallError::Unavailable(reason)),
                Err(fault) => Err(HttpCallError::Guest(guest::report(&console, fault))),
            }
        });
        Guest { task, is_wanted: true }.response(head, cut).await
    }
}

async fn handle(
    store: &mut wasmtime::Store<GuestState>,
    function: &Callable,
    request: Request<UnsyncBoxBody<Bytes, io::Error>>,
    is_tls: bool,
    sender: oneshot::Sender<Head>,
) -> wasmtime::Result<()> {
    let component = &function.component;
    let instance = component.effects.instantiate_async(&mut *store).await?;
    let indices = component.incoming_handler.as_ref().expect("deploying checked that the interface is exported");
    let scheme = if is_tls { Scheme::Https } else { Scheme::Http };
    let request = request.map(|body| body.map_err(|error| body_error(&error)));
    let request = store.data_mut().http().new_incoming_request(scheme, request)?;
    let outparam = store.data_mut().http().new_response_outparam(sender)?;
    indices.load(&mut *store, &instance)?.call_handle(store, request, outparam).await
}

/// What a guest is told when it cannot have the rest of its request.
fn body_error(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Error::HttpRequestBodySize(None),
        io::ErrorKind::TimedOut => Error::ConnectionReadTimeout,
        _ => Error::ConnectionTerminated,
    }
}

/// The running guest. Dropping it stops the guest, unless its response is out.
struct Guest {
    task: JoinHandle<Result<(), HttpCallError>>,
    is_wanted: bool,
}

impl Guest {
    /// Waits for the response's head, or for a guest that ends without one.
    async fn response(
        mut self,
        head: oneshot::Receiver<Head>,
        cut: Arc<AtomicBool>,
    ) -> Result<Response<GuestBody>, HttpCallError> {
        let without = |what: String| HttpCallError::Guest(Failure::new("InvalidOutput", what));
        match head.await {
            Ok(Ok(response)) => {
                let declared = content_length(response.headers());
                Ok(response.map(|body| GuestBody { body, guest: Some(self), cut, declared, sent: 0 }))
            }
            Ok(Err(code)) => {
                let failure = without(format!("the function answered with the error {code:?} in place of a response"));
                tracing::error!(reason = %failure, "a function failed");
                Err(failure)
            }
            Err(_) => match (&mut self.task).await {
                Ok(Ok(())) => {
                    let failure = without("the function ended without a response".to_owned());
                    tracing::error!(reason = %failure, "a function failed");
                    Err(failure)
                }
                Ok(Err(error)) => Err(error),
                Err(error) => Err(HttpCallError::Unavailable(format!("the guest's task ended: {error}"))),
            },
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.is_wanted {
            self.task.abort();
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Notes that a guest ended other than by returning.
struct CutOnDrop(Option<Arc<AtomicBool>>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(cut) = &self.0 {
            cut.store(true, Ordering::Release);
        }
    }
}

/// The body of a guest's response. Dropping it before its end stops the guest; after its end, the guest goes on by itself.
pub struct GuestBody {
    body: HyperOutgoingBody,
    guest: Option<Guest>,
    /// The guest ended other than by returning.
    cut: Arc<AtomicBool>,
    /// The length that the guest declared, and what has come.
    declared: Option<u64>,
    sent: u64,
}

impl GuestBody {
    /// Nothing more is wanted of the guest.
    fn let_go(&mut self) {
        if let Some(mut guest) = self.guest.take() {
            guest.is_wanted = false;
        }
    }
}

impl std::fmt::Debug for GuestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestBody").field("declared", &self.declared).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) if this.cut.load(Ordering::Acquire) => {
                Poll::Ready(Some(Err(io::Error::other("the function failed"))))
            }
            Poll::Ready(None) => {
                this.let_go();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                this.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                if frame.is_trailers() || this.declared == Some(this.sent) {
                    this.let_go();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error.to_string())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.declared
            .map_or_else(SizeHint::default, |declared| SizeHint::with_exact(declared.saturating_sub(self.sent)))
    }
}
