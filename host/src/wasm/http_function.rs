//! HTTP functions: one request in, one response out, a fresh guest for each.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{
    Callable, ManagementUrlsFor, Wasm,
    console::Console,
    contract::{self, exports::http_function, imports::types},
    cpu::Meter,
    fault::Fault,
    guest::{self, GuestLimits, Role},
    slot,
};
use crate::{
    durable::{Failure, FunctionName, TraceContext},
    flight::{Call, CallKind},
};

/// A request for a function.
#[derive(Clone, Debug, Default)]
pub struct HttpRequest {
    /// The method, in upper case.
    pub method: String,
    /// The absolute URL, as the client wrote it.
    pub url: String,
    /// The route's parameters.
    pub params: Vec<(String, String)>,
    /// The query's parameters, in order.
    pub query: Vec<(String, String)>,
    /// The headers, in order, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The trace that the request belongs to.
    pub trace_context: Option<TraceContext>,
}

/// A call of an HTTP function.
pub struct HttpCall {
    /// The function.
    pub function: FunctionName,
    /// Names this invocation in the log.
    pub invocation_id: String,
    /// The request.
    pub request: HttpRequest,
    /// The URLs of instances, under the request's origin.
    pub urls: Option<ManagementUrlsFor>,
}

/// A function's response. Its header names and values are the guest's: whoever sends them checks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HttpCallError {
    /// Every guest is busy, and stayed so.
    #[error(
        "every guest is busy: {0} requests are running (extensions.soloist.maxConcurrentGuests and \
         extensions.http.maxConcurrentRequests in host.json)"
    )]
    Throttled(usize),
    /// As many requests run or wait as may.
    #[error("{0} requests are running or waiting already (extensions.http.maxOutstandingRequests in host.json)")]
    Outstanding(usize),
    /// The code's own fault. It has been logged; clients are told nothing of it.
    #[error("{}: {}", .0.kind, .0.message)]
    Guest(Failure),
    /// No guest can be had.
    #[error("{0}")]
    Unavailable(String),
    /// There is no such function: it was taken away since the request was routed to it.
    #[error("http function {:?} is not deployed", .0.as_str())]
    NotDeployed(FunctionName),
}

/// The right of a request to have a guest.
pub(super) struct Admitted {
    _outstanding: Option<OwnedSemaphorePermit>,
    _guest: OwnedSemaphorePermit,
}

impl Wasm {
    /// The HTTP function of that name.
    pub(super) fn http_function(&self, name: &FunctionName) -> Result<Arc<Callable>, HttpCallError> {
        let found = self.deployment().http.get(name).cloned();
        found.ok_or_else(|| HttpCallError::NotDeployed(name.clone()))
    }

    /// Waits until a request may have a guest.
    pub(super) async fn admit(&self) -> Result<Admitted, HttpCallError> {
        let outstanding = match &self.outstanding {
            Some((most, requests)) => {
                let permit = Arc::clone(requests).try_acquire_owned();
                Some(permit.map_err(|_| HttpCallError::Outstanding(*most))?)
            }
            None => None,
        };
        let guest = slot(&self.requests, self.request_wait).await.ok_or(HttpCallError::Throttled(self.requests_max))?;
        Ok(Admitted { _outstanding: outstanding, _guest: guest })
    }

    /// Runs an HTTP function. Dropping the future stops the guest.
    ///
    /// # Errors
    /// [`HttpCallError`].
    pub async fn call_http(&self, call: HttpCall) -> Result<HttpReply, HttpCallError> {
        let function = self.http_function(&call.function)?;
        let admitted = self.admit().await?;
        let console = Arc::new(Console::new(Arc::clone(&function.name), call.invocation_id.as_str().into()));
        let meter = Arc::new(Meter::new(self.cpu_limit));
        let role = Role::Effects {
            settings: self.settings.get(),
            client: function.client,
            urls: call.urls,
            trace_context: call.request.trace_context.clone(),
        };
        let (shared, printed, metered) = (Arc::clone(&self.shared), Arc::clone(&console), Arc::clone(&meter));
        let (limits, invocation_id, request) = (self.response_limits, call.invocation_id, call.request);
        let timeout = self.function_timeout;
        let _flight = self.recorder.begin(&Call {
            kind: CallKind::Http,
            execution: "",
            number: 0,
            attempt: 1,
            function: &function.name,
        });
        let call = self.run(meter, {
            let function = Arc::clone(&function);
            async move {
                let _admitted = admitted;
                let mut store = guest::store(&shared, printed, role, metered, limits);
                let request = to_guest(&function, invocation_id, request);
                let handled = handle(&mut store, &function, &request).await;
                let response = handled.map_err(|error| Fault::of(&error, store.data()))?;
                from_guest(response, limits)
            }
        });
        // Whoever gives the call up stops its guest.
        let outcome = match timeout {
            None => call.await,
            Some(timeout) => tokio::time::timeout(timeout, call)
                .await
                .unwrap_or_else(|_| Err(Fault::Timeout(Box::new(Failure::timed_out(&function.name, timeout))))),
        };
        match outcome {
            Ok(reply) => {
                console.flush();
                Ok(reply)
            }
            Err(Fault::Unavailable(reason)) => Err(HttpCallError::Unavailable(reason)),
            Err(fault) => Err(HttpCallError::Guest(guest::report(&console, fault))),
        }
    }
}

async fn handle(
    store: &mut wasmtime::Store<guest::GuestState>,
    function: &Callable,
    request: &http_function::Request,
) -> wasmtime::Result<http_function::Response> {
    let component = &function.component;
    let instance = component.effects.instantiate_async(&mut *store).await?;
    let indices = component.http_function.as_ref().expect("deploying checked that the interface is exported");
    indices.load(&mut *store, &instance)?.call_handle(store, request).await
}

fn to_guest(function: &Callable, invocation_id: String, request: HttpRequest) -> http_function::Request {
    let parameters = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(name, value)| types::Parameter { name, value }).collect()
    };
    http_function::Request {
        function_name: function.handler.clone(),
        invocation_id,
        method: request.method,
        url: request.url,
        params: parameters(request.params),
        query: parameters(request.query),
        headers: request.headers.into_iter().map(|(name, value)| types::Header { name, value }).collect(),
        body: request.body,
        trace_context: request.trace_context.as_ref().map(contract::trace_to_guest),
    }
}

fn from_guest(response: http_function::Response, limits: GuestLimits) -> Result<HttpReply, Fault> {
    if response.body.len() > limits.transfer_bytes_max {
        return Err(Fault::TooLarge(limits.transfer_bytes_max, limits.transfer_limit));
    }
    if !(200..=999).contains(&response.status) {
        return Err(Fault::InvalidOutput(format!("{} is no status code for a response", response.status)));
    }
    Ok(HttpReply {
        status: response.status,
        headers: response.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        body: response.body,
    })
}
