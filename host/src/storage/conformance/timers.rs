//! Timer functions.

use super::*;
use crate::{durable::FunctionName, storage::TimerStatus};

pub(crate) fn where_a_timer_stands_is_kept_by_function(backend: &Backend) {
    let storage = (backend.open)();
    let status = |last: Option<i64>, next: Option<i64>, updated: i64| TimerStatus {
        last: last.map(Timestamp),
        next: next.map(Timestamp),
        updated: Timestamp(updated),
        schedule: u32::MAX,
    };
    let (nightly, other) = (FunctionName::new("Nightly"), FunctionName::new("Nightly2"));
    assert_eq!(ok(storage.timer_status(nightly.clone())), None);
    ok(storage.put_timer_status(nightly.clone(), status(None, Some(5), 1)));
    ok(storage.put_timer_status(other.clone(), status(Some(1), None, 2)));
    assert_eq!(ok(storage.timer_status(nightly.clone())), Some(status(None, Some(5), 1)));
    ok(storage.put_timer_status(FunctionName::new("NIGHTLY"), status(Some(5), Some(9), 6)));
    ok(storage.put_timer_status(other.clone(), status(None, Some(3), 2)));
    ok(storage.close());
    drop(storage);
    let storage = (backend.open)();
    assert_eq!(ok(storage.timer_status(nightly)), Some(status(Some(5), Some(9), 6)), "names in any case");
    assert_eq!(ok(storage.timer_status(other)), Some(status(None, Some(3), 2)), "what is none now is none");
}
