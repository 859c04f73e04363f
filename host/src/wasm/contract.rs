//! The contract with guests: types and calls generated from `wit/`, and the translation of words that several interfaces
//! share.

use super::{fault::Fault, guest::GuestLimits};
use crate::durable::{self, Json};

mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "soloist:functions/functions",
        imports: {
            "soloist:functions/log.write": trappable,
            default: async | trappable,
        },
        exports: { default: async },
    });
}

pub(super) use generated::exports::soloist::functions as exports;
pub(super) use generated::soloist::functions as imports;

use imports::types;

/// The contract's package, without its version.
pub(super) const PACKAGE: &str = "soloist:functions";

/// The major versions of the contract that this host speaks, as texts for people.
pub(super) const SUPPORTED: &str = "1.x";

/// Checks a payload that a guest made; `what` names it in the message.
pub(super) fn payload(limits: GuestLimits, what: &str, text: String) -> Result<Json, Fault> {
    if text.len() > limits.transfer_bytes_max {
        return Err(Fault::TooLarge(limits.transfer_bytes_max, limits.transfer_limit));
    }
    Json::parse_within(limits.json_depth_max, text)
        .map_err(|error| Fault::InvalidOutput(format!("{what} is no payload: {error}")))
}

pub(super) fn failure_from_guest(failure: types::Failure) -> durable::Failure {
    durable::Failure {
        kind: failure.kind,
        message: failure.message,
        details: failure.details,
        causes: failure
            .causes
            .into_iter()
            .map(|cause| durable::FailureCause { kind: cause.kind, message: cause.message })
            .collect(),
        properties: failure.properties,
        non_retriable: failure.non_retriable,
    }
}

pub(super) fn failure_to_guest(failure: &durable::Failure) -> types::Failure {
    types::Failure {
        kind: failure.kind.clone(),
        message: failure.message.clone(),
        details: failure.details.clone(),
        causes: failure
            .causes
            .iter()
            .map(|cause| types::FailureCause { kind: cause.kind.clone(), message: cause.message.clone() })
            .collect(),
        properties: failure.properties.clone(),
        non_retriable: failure.non_retriable,
    }
}

/// As [`failure_from_guest`], for a failure that is kept: its properties must be a payload.
pub(super) fn checked_failure(
    limits: GuestLimits,
    what: &str,
    failure: types::Failure,
) -> Result<durable::Failure, Fault> {
    if let Some(properties) = &failure.properties {
        payload(limits, &format!("the properties of {what}"), properties.clone())?;
    }
    Ok(failure_from_guest(failure))
}

pub(super) fn trace_to_guest(trace: &durable::TraceContext) -> types::TraceContext {
    types::TraceContext { traceparent: trace.traceparent.clone(), tracestate: trace.tracestate.clone() }
}

pub(super) fn trace_from_guest(trace: types::TraceContext) -> durable::TraceContext {
    durable::TraceContext { traceparent: trace.traceparent, tracestate: trace.tracestate }
}

pub(super) fn tags_to_guest(tags: &[durable::Tag]) -> Vec<types::Tag> {
    tags.iter().map(|tag| types::Tag { key: tag.key.clone(), value: tag.value.clone() }).collect()
}

pub(super) fn tags_from_guest(tags: Vec<types::Tag>) -> Vec<durable::Tag> {
    tags.into_iter().map(|tag| durable::Tag { key: tag.key, value: tag.value }).collect()
}

pub(super) fn headers_to_guest(headers: &[(String, String)]) -> Vec<types::Header> {
    headers.iter().map(|(name, value)| types::Header { name: name.clone(), value: value.clone() }).collect()
}

pub(super) fn policy_from_guest(policy: types::OverridableStates) -> durable::OverridableStates {
    match policy {
        types::OverridableStates::NonRunningStates => durable::OverridableStates::NonRunningStates,
        types::OverridableStates::AnyState => durable::OverridableStates::AnyState,
        types::OverridableStates::None => durable::OverridableStates::None,
    }
}

/// An entity's id that a guest made.
pub(super) fn entity_from_guest(entity: &types::EntityId) -> Result<durable::EntityId, Fault> {
    durable::EntityId::parse(&entity.name, &entity.key)
        .map_err(|error| Fault::InvalidOutput(format!("@{}@{} is no entity id: {error}", entity.name, entity.key)))
}

/// Checks a retry policy; `what` names its call in the message.
pub(super) fn retry_from_guest(what: &str, retry: types::RetryPolicy) -> Result<durable::RetryPolicy, Fault> {
    let refuse = |rule: &str| Err(Fault::InvalidOutput(format!("the retry policy of {what} is none: {rule}")));
    if retry.max_attempts == 0 {
        return refuse("the number of attempts must be at least 1");
    }
    if !(retry.first_interval > 0.0 && retry.first_interval.is_finite()) {
        return refuse("the first interval must be above 0 and finite");
    }
    if !(retry.backoff_coefficient >= 0.0 && retry.backoff_coefficient.is_finite()) {
        return refuse("the back-off coefficient must be 0 or more and finite");
    }
    if [retry.max_interval, retry.retry_timeout].into_iter().flatten().any(|ms| ms.is_nan() || ms < 0.0) {
        return refuse("the greatest interval and the timeout must not be negative");
    }
    Ok(durable::RetryPolicy {
        max_attempts: retry.max_attempts,
        first_interval_ms: retry.first_interval,
        backoff_coefficient: retry.backoff_coefficient,
        max_interval_ms: retry.max_interval,
        retry_timeout_ms: retry.retry_timeout,
        retry_kinds: retry.retry_kinds,
        never_retry_kinds: retry.never_retry_kinds,
    })
}

/// A time that a guest made; none if it is no number.
pub(super) fn time_from_guest(millis: f64) -> Option<durable::Timestamp> {
    (!millis.is_nan()).then(|| durable::Timestamp::from_millis_f64(millis))
}

/// The time of what a guest asked for.
///
/// # Errors
/// [`Fault::InvalidOutput`] if it is no number.
pub(super) fn checked_time(what: &str, millis: f64) -> Result<durable::Timestamp, Fault> {
    time_from_guest(millis).ok_or_else(|| Fault::InvalidOutput(format!("the time of {what} is not a number")))
}

/// The time at which a signal is to be delivered, if the guest names one.
///
/// # Errors
/// [`Fault::InvalidOutput`] if it is no number.
pub(super) fn signal_time(operation: &str, millis: Option<f64>) -> Result<Option<durable::Timestamp>, Fault> {
    millis.map(|millis| checked_time(&format!("the signal {operation:?}"), millis)).transpose()
}
