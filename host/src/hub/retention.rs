//! Retention: deletes instances that ended long enough ago, in slices, beside all other work.
//!
//! Each instance is taken by itself, as by a purge with a filter: a child that has ended goes although its parent lives (which
//! has been told its result), a parent although its children live. A live instance never goes, nor does an entity.

use std::{sync::Arc, time::Duration};

use tracing::{error, info};

use super::worker::Inner;
use crate::{
    durable::{InstanceKey, Timestamp},
    storage::{Expiry, Fence, StorageError},
};

/// How many instances one commit deletes at most: about a millisecond of the commit thread.
const SLICE: usize = 64;

/// The pause after a slice is so many times what the slice took, so that others have most of the time.
const PAUSE_FACTOR: u32 = 4;

/// The least and the longest pause after a slice.
const PAUSE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_secs(1));

/// The least and the longest time between two searches; in between it is a tenth of the shortest retention.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));

/// A wait after a storage error.
const RETRY: Duration = Duration::from_secs(5);

/// How long instances are kept after their end, by how they ended; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Completed ones.
    pub completed: Option<Duration>,
    /// Failed ones, which could be rewound.
    pub failed: Option<Duration>,
    /// Terminated and canceled ones.
    pub terminated: Option<Duration>,
}

impl Retention {
    /// How often to search; `None` if all are kept.
    fn every(&self) -> Option<Duration> {
        let shortest = [self.completed, self.failed, self.terminated].into_iter().flatten().min()?;
        Some((shortest / 10).clamp(EVERY.0, EVERY.1))
    }

    fn expiry(&self, now: Timestamp) -> Expiry {
        let before = |kept: Option<Duration>| {
            let micros = i64::try_from(kept?.as_micros()).ok()?;
            Some(Timestamp(now.0.saturating_sub(micros)))
        };
        Expiry {
            completed: before(self.completed),
            failed: before(self.failed),
            terminated: before(self.terminated),
            now,
        }
    }
}

/// Searches and deletes until the hub stops; ends at once if all instances are kept.
pub(super) async fn run(inner: Arc<Inner>, retention: Retention) {
    let Some(every) = retention.every() else { return };
    let (mut after, mut purged) = (None, 0);
    while !inner.is_stopping() {
        let began = inner.ambient.now();
        let pause = match slice(&inner, retention.expiry(began), after).await {
            Ok((count, next)) => {
                purged += count;
                after = next;
                match next {
                    Some(_) => (began.until(inner.ambient.now()) * PAUSE_FACTOR).clamp(PAUSE.0, PAUSE.1),
                    None => {
                        if purged > 0 {
                            info!(instances = purged, "instances purged: their retention has ended");
                        }
                        purged = 0;
                        every
                    }
                }
            }
            Err(error) => {
                inner.note(&error);
                error!(%error, "cannot purge instances whose retention has ended, trying again");
                RETRY
            }
        };
        inner.ambient.sleep(pause).await;
    }
}

/// One slice: how many instances went, and after which instance the search goes on, if it does.
async fn slice(
    inner: &Inner,
    expiry: Expiry,
    after: Option<InstanceKey>,
) -> Result<(u64, Option<InstanceKey>), StorageError> {
    let found = inner.storage.expired(expiry, after, SLICE).await?;
    if found.instances.is_empty() {
        return Ok((0, found.next));
    }
    let purged = inner.storage.purge_generations(Fence::default(), found.instances).await?;
    inner.garbage.notify_one();
    inner.released.notify_one();
    Ok((purged, found.next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_retention_decides_how_often_is_searched() {
        let hours = |hours: u64| Some(Duration::from_secs(3_600 * hours));
        let retention = Retention { completed: hours(5), failed: hours(1_000), terminated: None };
        assert_eq!(retention.every(), Some(Duration::from_secs(1_800)));
        assert_eq!(Retention { completed: None, ..retention }.every(), Some(EVERY.1));
        assert_eq!(Retention { terminated: Some(Duration::from_secs(1)), ..retention }.every(), Some(EVERY.0));
        assert_eq!(Retention::default().every(), None);
    }

    #[test]
    fn what_is_kept_for_ever_never_expires() {
        let retention = Retention { failed: Some(Duration::from_secs(2)), ..Retention::default() };
        let expiry = retention.expiry(Timestamp(5_000_000));
        assert_eq!(
            expiry,
            Expiry { failed: Some(Timestamp(3_000_000)), now: Timestamp(5_000_000), ..Expiry::default() }
        );
    }
}
