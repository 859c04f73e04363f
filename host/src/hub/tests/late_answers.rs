//! Answers of storage that come when the world has gone on.

use super::*;

/// The instance `a`, once nothing is done with it, as storage has it.
async fn loaded(world: &World) -> (InstanceKey, Loaded) {
    world.until("it rests", async |world| world.hub().load() == HubLoad::default()).await;
    let instance = world.status("a").await.instance;
    (instance, world.storage.load(instance).await.unwrap().unwrap())
}

/// The same, of one that collects ten events and is suspended.
async fn suspended(world: &World) -> (InstanceKey, Loaded) {
    world.start("Collects", "a", "0-9").await;
    world.hub().suspend("a", "").await.unwrap();
    loaded(world).await
}

/// As when a worker's load began before the instance was replaced or terminated, and is answered after it.
#[tokio::test(start_paused = true)]
async fn a_suspension_that_was_read_too_late_keeps_nobody_waiting() {
    for way in ["replaced", "terminated"] {
        let world = World::new();
        let hub = world.hub();
        let (instance, loaded) = suspended(&world).await;
        let generation = loaded.generation;
        hub.inner.deliver(instance, |state| {
            state.running = true;
            state.mailbox.push(Message::TaskEnded { generation, sequence: 0, outcome: Ok(Json::null()) });
        });
        match way {
            "replaced" => world.start("Collects", "a", "0-9").await,
            _ => hub.terminate("a", "").await.unwrap(),
        }
        let (cell, mut held) = (hub.inner.find_cell(instance).unwrap(), cell::Held::default());
        hub.inner.take_loaded(&cell, &mut held, loaded, &mut vec![]).unwrap();
        hub.inner.start_over(&cell, &mut held, vec![]);
        hub.inner.work_on(instance).await;
        if way == "replaced" {
            assert_eq!(world.status("a").await.runtime_status, RuntimeStatus::Running);
        }
        assert_eq!(hub.load(), HubLoad::default(), "{way}");
    }
}

/// As when an instance is terminated while a worker that will stall looks at it, or is rewound before its worker has the
/// answer to the commit that failed it.
#[tokio::test(start_paused = true)]
async fn a_worker_leaves_no_timer_of_a_generation_that_is_gone() {
    let world = World::new();
    let hub = world.hub();
    world.start("Collects", "a", "0-9").await;
    let (instance, loaded) = loaded(&world).await;
    let (generation, now) = (loaded.generation, world.clock.now());
    let at = Some(now.plus(Duration::from_hours(1)));
    hub.inner.deliver(instance, |state| {
        state.running = true;
        state.set_live_from(GenerationKey(generation.0 + 1));
    });
    let (cell, mut held) = (hub.inner.find_cell(instance).unwrap(), cell::Held::default());
    hub.inner.take_loaded(&cell, &mut held, loaded, &mut vec![]).unwrap();
    hub.inner.set_timer(&cell, generation, at);
    assert_eq!(hub.load().timers, 0, "what is set after the end");
    hub.inner.timers.set(instance, generation, at);
    let ended = held.instance.as_ref().unwrap().hold(Hold::Suspend, "", now).unwrap();
    hub.inner.store(&cell, &mut held, ended, vec![]).await;
    assert_eq!(hub.load().timers, 0, "what was set before the end");
}

/// A start of `Collects` under the id `a`.
fn collecting(input: &str, time: Timestamp, scheduled_start: Option<Timestamp>) -> Start {
    let started = ExecutionStarted {
        name: "Collects".into(),
        handler: "f".into(),
        version: None,
        execution_id: ExecutionId("e".into()),
        component: Digest([1; 32]),
        contract: "1.0.0".into(),
        input: Json::string(input),
        parent: None,
        tags: vec![],
        trace_context: None,
        scheduled_start,
    };
    let (id, policy) = (InstanceId::from_stored("a"), OverridableStates::AnyState);
    Start { fence: Fence::default(), id, policy, time, started: Arc::new(started) }
}

/// Makes a start of which the hub does not know yet; what is returned lets it know.
async fn start_unknown(world: &World, start: Start) -> impl FnOnce() {
    let (id, started, time) = (start.id.clone(), start.started.clone(), start.time);
    let decided = world.storage.start(start).await.unwrap();
    let Started::Started { instance, generation, replaced, messages_to, .. } = decided else {
        panic!("any state may be replaced")
    };
    let fresh = Instance::started(instance, id, generation, started, time);
    let hub = world.hub();
    move || hub.inner.begin(instance, replaced, fresh, messages_to)
}

/// As when storage's answer to a start that is scheduled comes late: after messages, and after its time.
#[tokio::test(start_paused = true)]
async fn what_came_for_a_scheduled_start_before_the_hub_knew_of_it_is_not_lost() {
    let world = World::new();
    let (hub, hour) = (world.hub(), Duration::from_hours(1));
    let time = world.clock.now();
    let begin = start_unknown(&world, collecting("0-2", time, Some(time.plus(hour)))).await;
    hub.raise_event("a", "e", Json::parse("0").unwrap()).await.unwrap();
    world.until("it sleeps", async |world| world.hub().load() == HubLoad { timers: 1, ..HubLoad::default() }).await;
    world.clock.0.fetch_add(i64::try_from(hour.as_micros()).unwrap(), Ordering::SeqCst);
    begin();
    hub.raise_event("a", "e", Json::parse("1").unwrap()).await.unwrap();
    world.until_completed("a").await;
}

/// As when storage's answer to a start that takes the place of a suspended instance comes late: after a message, which came
/// while a worker was still being told that the instance is suspended.
#[tokio::test(start_paused = true)]
async fn what_came_for_a_start_in_a_suspended_instances_place_before_the_hub_knew_of_it_is_not_lost() {
    let world = World::new();
    let hub = world.hub();
    let (instance, loaded) = suspended(&world).await;
    hub.inner.deliver(instance, |state| state.running = true);
    let begin = start_unknown(&world, collecting("0-2", world.clock.now(), None)).await;
    hub.raise_event("a", "e", Json::parse("0").unwrap()).await.unwrap();
    let (cell, mut held) = (hub.inner.find_cell(instance).unwrap(), cell::Held::default());
    hub.inner.take_loaded(&cell, &mut held, loaded, &mut vec![]).unwrap();
    hub.inner.start_over(&cell, &mut held, vec![]);
    hub.inner.work_on(instance).await;
    assert_eq!(hub.load(), HubLoad::default(), "it is believed to be suspended");
    begin();
    hub.raise_event("a", "e", Json::parse("1").unwrap()).await.unwrap();
    world.until_completed("a").await;
}
