//! After a start: every instance that has work outstanding is picked up, while requests are already served. There is no
//! special case: a picked-up instance is loaded, folded and worked on like any other.

use std::{sync::Arc, time::Duration};

use tracing::{error, info};

use super::worker::Inner;
use crate::durable::RuntimeStatus;

/// How many open instances are looked at in one read.
const PAGE: usize = 1_000;

/// How many records one slice of collection deletes, and the pause between slices: a large purge must not delay commits.
const SLICE: usize = 200;
const PAUSE: Duration = Duration::from_millis(2);

/// A wait after a storage error.
const RETRY: Duration = Duration::from_secs(1);

/// Picks up every open instance with work outstanding, then ends. Instances that only wait for a timer are the timers';
/// those that only wait for an event cost nothing.
pub(super) async fn run(inner: Arc<Inner>) {
    let (mut after, mut open, mut picked_up) = (None, 0_usize, 0_usize);
    while !inner.is_stopping() {
        let page = match inner.storage.open_instances(after, PAGE).await {
            Ok(page) => page,
            Err(error) => {
                inner.note(&error);
                error!(%error, "recovery cannot read the open instances, trying again");
                inner.ambient.sleep(RETRY).await;
                continue;
            }
        };
        let Some(last) = page.last() else { break };
        after = Some(last.instance);
        open += page.len();
        for found in &page {
            let pending = found.summary.status == RuntimeStatus::Pending;
            if pending || found.summary.outstanding > 0 || found.has_messages {
                picked_up += 1;
                inner.wake(found.instance);
            }
        }
        tokio::task::yield_now().await;
    }
    if open > 0 {
        info!(open, picked_up, "recovered");
    }
}

/// Gives back the space of generations that are gone, whenever there are some.
pub(super) async fn collect_garbage(inner: Arc<Inner>) {
    while !inner.is_stopping() {
        match inner.storage.collect(SLICE).await {
            Ok(true) => inner.ambient.sleep(PAUSE).await,
            Ok(false) => inner.garbage.notified().await,
            Err(error) => {
                inner.note(&error);
                error!(%error, "cannot give back space, trying again");
                inner.ambient.sleep(RETRY).await;
            }
        }
    }
}
