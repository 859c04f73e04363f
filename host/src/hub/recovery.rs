//! After a start: every instance that has work outstanding is picked up, while requests are already served. There is no
//! special case: a picked-up instance is loaded, folded and worked on like any other.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
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

/// How many instances are picked up at once: each holds its history while it waits for a guest.
const AT_ONCE: usize = 256;

/// How long a picked-up instance may keep others waiting: one that cannot go on must not hold recovery up.
const PLACE_MAX: Duration = Duration::from_secs(5);

/// Picks up every open instance with work outstanding, then ends. Instances that only wait for a timer are the timers';
/// those that only wait for an event cost nothing.
pub(super) async fn run(inner: Arc<Inner>) {
    let (mut after, mut open, mut picked_up) = (None, 0_usize, 0_usize);
    let places = Arc::new(Semaphore::new(AT_ONCE));
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
                let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
                if inner.deliver(found.instance, |state| state.wake = true) {
                    let (inner, instance) = (inner.clone(), found.instance);
                    tokio::spawn(async move {
                        let mut work = std::pin::pin!(inner.work_on(instance));
                        tokio::select! {
                            biased;
                            () = &mut work => return,
                            () = inner.ambient.sleep(PLACE_MAX) => drop(place),
                        }
                        work.await;
                    });
                }
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
