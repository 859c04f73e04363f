//! Who waits for an instance's end: woken by it, not by a clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::{ClientError, Hub, OrchestrationStatus, StatusWant};
use crate::durable::InstanceId;

/// The instances whose end somebody waits for.
#[derive(Default)]
pub(super) struct Endings {
    waiting: Mutex<HashMap<InstanceId, Waiting>>,
}

#[derive(Default)]
struct Waiting {
    callers: usize,
    ended: Arc<Notify>,
}

impl Endings {
    /// Tells those who wait that an instance has ended, or is gone. To be called once that is durable.
    pub fn tell(&self, id: &InstanceId) {
        if let Some(waiting) = self.lock().get(id) {
            waiting.ended.notify_waiters();
        }
    }

    fn wait_for(&self, id: InstanceId) -> Waiter<'_> {
        let mut all = self.lock();
        let waiting = all.entry(id.clone()).or_default();
        waiting.callers += 1;
        let ended = waiting.ended.clone();
        drop(all);
        Waiter { endings: self, id, ended }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, Waiting>> {
        self.waiting.lock().expect("no code panics while it holds the endings' lock")
    }
}

/// One caller; forgotten with the value.
struct Waiter<'a> {
    endings: &'a Endings,
    id: InstanceId,
    ended: Arc<Notify>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut all = self.endings.lock();
        if let Some(waiting) = all.get_mut(&self.id) {
            waiting.callers -= 1;
            if waiting.callers == 0 {
                all.remove(&self.id);
            }
        }
    }
}

impl Hub {
    /// Waits until an instance has ended and returns how; `None` if there is none of that id (any more). An instance that
    /// continues as new, is restarted or replaced meanwhile is waited for on. It waits without bound: the caller sets one.
    ///
    /// # Errors
    /// Storage's.
    pub async fn wait_for_end(&self, id: &str, want: StatusWant) -> Result<Option<OrchestrationStatus>, ClientError> {
        let waiter = self.inner.endings.wait_for(InstanceId::from_stored(id));
        loop {
            // Listens before it looks: an end between the two is heard.
            let ended = waiter.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            match self.status(id, want).await? {
                Some(status) if !status.runtime_status.is_terminal() => ended.await,
                found => return Ok(found),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_listens_hears_an_end_and_leaves_nothing_behind() {
        let endings = Endings::default();
        let id = InstanceId::from_stored("a");
        endings.tell(&id);
        let (first, second) = (endings.wait_for(id.clone()), endings.wait_for(id.clone()));
        let other = endings.wait_for(InstanceId::from_stored("b"));
        let heard = [first.ended.notified(), second.ended.notified()];
        endings.tell(&id);
        futures::future::join_all(heard).await;
        assert!(futures::poll!(std::pin::pin!(other.ended.notified())).is_pending());
        drop((first, other));
        assert_eq!(endings.lock().len(), 1);
        drop(second);
        assert!(endings.lock().is_empty());
    }
}
