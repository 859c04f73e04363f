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
