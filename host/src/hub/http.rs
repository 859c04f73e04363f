//! Durable HTTP: one request of a call, to its outcome. Queued and counted as an activity.

use std::time::Duration;

use super::{HttpRequestCall, worker::Inner};
use crate::durable::{Failure, HttpOutcome, HttpScheduled, Instance};

/// The request that a call makes next: its own, or a poll.
pub(super) fn http_request_call(instance: &Instance, call: &HttpScheduled, poll: Option<&str>) -> HttpRequestCall {
    HttpRequestCall {
        call: Box::new(call.clone()),
        poll: poll.map(str::to_owned),
        name: instance.execution().name.clone(),
        instance_id: instance.id().clone(),
    }
}

/// Sends a request and tells what its answer leads to. A request that a crash cut short is sent again: at least once.
pub(super) async fn request(
    inner: &Inner,
    request: HttpRequestCall,
    timeout: Option<Duration>,
) -> Result<HttpOutcome, Failure> {
    let (call, poll) = (request.call.clone(), request.poll.clone());
    let sent = inner.executor.http(request);
    let answer = match timeout {
        None => sent.await?,
        Some(timeout) => tokio::select! {
            biased;
            answer = sent => answer?,
            () = inner.ambient.sleep(timeout) => return Err(timed_out(timeout)),
        },
    };
    call.outcome(poll.as_deref(), answer, inner.ambient.now(), inner.http_poll_wait)
}

/// Durable Functions' text for a request that took longer than it may.
fn timed_out(timeout: Duration) -> Failure {
    let timeout = crate::durable::time_span(timeout);
    Failure::new("TimeoutException", format!("A task was canceled. Reached user specified timeout: {timeout}."))
}
