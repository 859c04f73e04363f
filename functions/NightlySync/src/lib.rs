use soloist_sdk::prelude::*;

/// Every night at two: starts SyncCatalog as the singleton `catalog`, unless the last one is still at work.
///
/// Whoever else starts it under this id (HttpStartSingle does) meets the same gate. A night that the host slept through is
/// made up for when it wakes, once.
#[timer_trigger]
fn nightly_sync(timer: TimerInfo, client: DurableClient) -> Result<()> {
    if timer.is_past_due() {
        log::warn(format!("late: this was due at {}", timer.scheduled()));
    }
    let options = StartOptions::new().with_instance_id("catalog");
    match client.start_new("SyncCatalog", &(), options)? {
        StartOutcome::Started(started) => log::info(format!("started '{}'", started.instance_id)),
        StartOutcome::AlreadyExists(existing) => log::warn(format!("not started: {existing}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use soloist_sdk::testing::{ClientCall, TestHub};

    #[test]
    fn a_night_starts_one_sync_and_leaves_a_live_one_alone() {
        let hub = TestHub::new();
        let night = TimerInfo::for_test(Timestamp::from_millis(0.0));
        nightly_sync(night.clone(), hub.client()).unwrap();
        nightly_sync(night.past_due(), hub.client()).unwrap();
        let start = ClientCall::StartNew {
            name: "SyncCatalog".into(),
            instance_id: Some("catalog".into()),
            input: "null".into(),
        };
        assert_eq!(hub.take_calls(), [start]);
    }
}
