//! Where time and randomness enter: nothing else in the host reads a clock or draws a number that matters to an
//! orchestration. The simulation puts its own in place.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::durable::Timestamp;

/// Clock, sleep and entropy.
pub trait Ambient: Send + Sync + 'static {
    /// The wall clock, which may jump.
    fn now(&self) -> Timestamp;

    /// Waits for a span of monotonic time.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// A fresh identifier: 32 lower-case hexadecimal digits, a random UUID without dashes.
    fn fresh_id(&self) -> String;
}

/// The machine's clock and entropy.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Ambient for System {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(span))
    }

    fn fresh_id(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }
}
