//! Instances whose retention has ended.

use super::*;
use crate::storage::Expiry;

/// Completed at 10 or earlier, failed never, terminated at 20 or earlier.
const EXPIRY: Expiry =
    Expiry { completed: Some(Timestamp(10)), failed: None, terminated: Some(Timestamp(20)), now: Timestamp(100) };

/// What has expired, slice by slice.
fn expired(storage: &dyn Storage, limit: usize) -> Vec<(InstanceKey, GenerationKey)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let slice = ok(storage.expired(EXPIRY, after, limit));
        assert!(slice.instances.len() <= limit);
        found.extend(slice.instances);
        match slice.next {
            Some(next) => {
                assert!(after.is_none_or(|after| next > after), "the search goes on");
                after = Some(next);
            }
            None => return found,
        }
    }
}

fn of(live: &Live) -> (InstanceKey, GenerationKey) {
    (live.instance, live.generation)
}

pub(crate) fn what_has_expired_is_found_in_slices_and_nothing_else(backend: &Backend) {
    let storage = &*(backend.open)();
    let [mut old, mut older, mut young, waits, ended, mut failed] =
        ["old", "older", "young", "waits", "ended", "failed"].map(|text| begin(storage, text, 1));
    ok(storage.put_message(operation(&named("counter", "a"), "add")));
    old.complete(storage, 10);
    older.complete(storage, 2);
    young.complete(storage, 11);
    terminate(storage, "ended", 20);
    let failure = HistoryEvent::ExecutionFailed { failure: crate::durable::Failure::new("Kind", "why") };
    let turn = failed.turn(2, RuntimeStatus::Failed, vec![failure]);
    failed.commit(storage, turn);
    // It was used before, and ended again later.
    begin(storage, "again", 2).complete(storage, 3);
    let again = begin(storage, "again", 30);
    for limit in [1, 2, 100] {
        assert_eq!(expired(storage, limit), [of(&old), of(&older), of(&ended)], "by {limit}");
    }
    assert_eq!(ok(storage.expired(Expiry::default(), None, 9)), crate::storage::Expired::default());
    let found = expired(storage, 100);
    assert_eq!(ok(storage.purge_generations(Fence::default(), found)), 3);
    assert!(["old", "older", "ended"].iter().all(|text| see(storage, text).is_none()));
    assert_eq!(status(storage, "young"), RuntimeStatus::Completed);
    assert_eq!(status(storage, "failed"), RuntimeStatus::Failed);
    assert_eq!(load(storage, &waits).map(|loaded| loaded.generation), Some(waits.generation));
    assert_eq!(load(storage, &again).map(|loaded| loaded.generation), Some(again.generation));
    assert_eq!(expired(storage, 100), []);
    while ok(storage.collect(10)) {}
    assert!(begin(storage, "old", 40).generation > again.generation, "the id is free");
}

pub(crate) fn an_instance_that_a_wrong_clock_made_hides_no_other_one(backend: &Backend) {
    let storage = &*(backend.open)();
    let of_future = begin(storage, "future", 1_000_000);
    let mut old = begin(storage, "old", 1);
    old.complete(storage, 2);
    assert_eq!(expired(storage, 100), [of(&old)]);
    assert_eq!(load(storage, &of_future).map(|loaded| loaded.generation), Some(of_future.generation));
}

pub(crate) fn what_was_found_expired_is_deleted_only_if_it_is_still_that(backend: &Backend) {
    let storage = &*(backend.open)();
    let [mut restarted, mut purged, lives] = ["restarted", "purged", "lives"].map(|text| begin(storage, text, 1));
    restarted.complete(storage, 2);
    purged.complete(storage, 2);
    let mut found = expired(storage, 100);
    assert_eq!(found, [of(&restarted), of(&purged)]);
    // Meanwhile one id was started again and has ended again, and another one is gone.
    let mut anew = begin(storage, "restarted", 3);
    anew.complete(storage, 4);
    assert_eq!(anew.instance, restarted.instance);
    ok(storage.purge(Fence::default(), id("purged")));
    found.push(of(&lives));
    assert_eq!(ok(storage.purge_generations(Fence::default(), found)), 0);
    assert_eq!(see(storage, "restarted").map(|seen| seen.generation), Some(anew.generation));
    assert_eq!(status(storage, "lives"), RuntimeStatus::Pending);
}
