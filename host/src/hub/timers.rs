//! Timers: wakes instances when their earliest timer is due.
//!
//! The due entries in storage are the truth. In memory is only a window of the earliest ones, so that a million sleeping
//! instances cost nothing; when the window runs dry the next page is read.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Notify;
use tracing::error;

use super::worker::Inner;
use crate::{
    durable::{GenerationKey, InstanceKey, Timestamp},
    storage::Due,
};

/// The longest uninterrupted sleep while a timer is open: how late a jump of the wall clock is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Which generations are due when.
pub(super) struct Timers {
    /// How many due entries are read at once.
    page: usize,
    state: Mutex<Window>,
    changed: Notify,
}

#[derive(Default)]
struct Window {
    due: BTreeSet<Due>,
    at: HashMap<GenerationKey, Due>,
    /// Storage holds entries beyond this one that are not in the window.
    horizon: Option<Due>,
    /// While a page is being read: the generations that are due no longer since that read began. It may show them still.
    cleared: Option<HashSet<GenerationKey>>,
}

impl Timers {
    pub fn new(page: usize) -> Self {
        Self { page: page.max(1), state: Mutex::default(), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Window> {
        self.state.lock().expect("no code panics while it holds the timers' lock")
    }

    /// Sets when a generation is due; `None` for never. Storage has it already.
    pub fn set(&self, instance: InstanceKey, generation: GenerationKey, at: Option<Timestamp>) {
        let mut window = self.lock();
        let first = window.due.first().copied();
        if let Some(old) = window.at.remove(&generation) {
            window.due.remove(&old);
        }
        if let Some(at) = at {
            let due = Due { at, generation, instance };
            // The horizon itself is in the window: the next page begins after it.
            if window.horizon.is_none_or(|horizon| due <= horizon) {
                window.due.insert(due);
                window.at.insert(generation, due);
            }
        } else if let Some(cleared) = &mut window.cleared {
            cleared.insert(generation);
        }
        if window.due.first().copied() != first {
            self.changed.notify_one();
        }
    }

    /// How many entries are in the window.
    pub fn open(&self) -> usize {
        self.lock().due.len()
    }

    /// Takes out everything that is due at `now`, or tells how long to wait: `None` for until something changes.
    fn take_due(&self, now: Timestamp) -> Result<Vec<Due>, Option<Duration>> {
        let mut window = self.lock();
        let mut taken = Vec::new();
        while let Some(first) = window.due.first().copied().filter(|first| first.at <= now) {
            window.due.remove(&first);
            window.at.remove(&first.generation);
            taken.push(first);
        }
        if !taken.is_empty() {
            return Ok(taken);
        }
        Err(window.due.first().map(|first| now.until(first.at).min(SLEEP_MAX)))
    }

    /// Where the next page begins, if the window may miss what comes next.
    fn page_wanted(&self) -> Option<Due> {
        let mut window = self.lock();
        let first = window.due.first().copied();
        // Taken: what is set while the page is being read must be kept, as the read may have begun before it.
        window.horizon.take_if(|horizon| first.is_none_or(|first| first > *horizon))
    }

    /// To be called before a page is read: what is set from here on is newer than what it shows.
    fn begin_page(&self) {
        self.lock().cleared = Some(HashSet::new());
    }

    fn add_page(&self, page: &[Due]) {
        let mut window = self.lock();
        window.horizon = page.last().copied().filter(|_| page.len() >= self.page);
        let cleared = window.cleared.take().unwrap_or_default();
        for due in page {
            // What was set meanwhile is newer than what was read.
            if !window.at.contains_key(&due.generation) && !cleared.contains(&due.generation) {
                window.due.insert(*due);
                window.at.insert(due.generation, *due);
            }
        }
    }
}

/// Wakes what is due until the hub stops.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut page_after = Some(None);
    while !inner.is_stopping() {
        if let Some(after) = page_after {
            inner.timers.begin_page();
            match inner.storage.due(after, inner.timers.page).await {
                Ok(page) => inner.timers.add_page(&page),
                Err(error) => {
                    inner.note(&error);
                    error!(%error, "cannot read what is due, trying again");
                    inner.ambient.sleep(SLEEP_MAX).await;
                    continue;
                }
            }
        }
        page_after = inner.timers.page_wanted().map(Some);
        match inner.timers.take_due(inner.ambient.now()) {
            Ok(due) => due.iter().for_each(|due| inner.wake(due.instance)),
            Err(_) if page_after.is_some() => {}
            Err(wait) => inner.timers.wait(wait.map(|wait| inner.ambient.sleep(wait))).await,
        }
    }
}

impl Timers {
    async fn wait(&self, sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>) {
        let sleep = async {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.changed.notified() => {}
            () = sleep => {}
        }
    }

    /// Makes the timers' task look around: the hub stops.
    pub fn poke(&self) {
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when an instance is terminated while the page that holds its timer is on its way.
    #[test]
    fn what_is_due_no_longer_since_a_page_was_begun_to_be_read_is_not_taken_from_it() {
        let timers = Timers::new(10);
        let due = |key| Due { at: Timestamp(5), generation: GenerationKey(key), instance: InstanceKey(key) };
        timers.begin_page();
        timers.set(due(1).instance, due(1).generation, Some(due(1).at));
        (1..=2).for_each(|key| timers.set(due(key).instance, due(key).generation, None));
        timers.add_page(&[due(1), due(2), due(3)]);
        assert_eq!(timers.take_due(Timestamp(5)), Ok(vec![due(3)]));
        // What was due no longer during one read may be so again during the next.
        timers.begin_page();
        timers.set(due(1).instance, due(1).generation, None);
        timers.set(due(1).instance, due(1).generation, Some(due(1).at));
        timers.add_page(&[due(2)]);
        assert_eq!(timers.take_due(Timestamp(5)), Ok(vec![due(1), due(2)]));
    }

    #[test]
    fn the_last_entry_of_a_page_that_is_set_again_is_kept() {
        let timers = Timers::new(1);
        let due = Due { at: Timestamp(5), generation: GenerationKey(1), instance: InstanceKey(1) };
        timers.add_page(&[due]);
        timers.set(due.instance, due.generation, Some(due.at));
        assert_eq!(timers.take_due(Timestamp(5)), Ok(vec![due]));
    }
}
